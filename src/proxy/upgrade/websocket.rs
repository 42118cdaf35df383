//! The proof in a WebSocket's handshake that the server understood it (RFC 6455 section 4.2.2).

use rand::Rng;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// A `Sec-WebSocket-Key`: 16 bytes in base64.
pub(in crate::proxy) type Key = [u8; 24];

/// What RFC 6455 appends to the key before it is hashed.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The key in a header's value, if it is one.
pub(in crate::proxy) fn key(value: &[u8]) -> Option<Key> {
    let key: Key = value.try_into().ok()?;
    let digits = key.strip_suffix(b"==")?;
    digits.iter().all(|digit| ALPHABET.contains(digit)).then_some(key)
}

/// A key for a request that the proxy writes itself. It need not be secret, only new.
pub(super) fn new_key(rng: &mut impl Rng) -> Key {
    let (high, low) = (rng.next_u64().to_be_bytes(), rng.next_u64().to_be_bytes());
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().zip(high.into_iter().chain(low)) {
        *place = byte;
    }
    base64(&bytes)
}

/// The `Sec-WebSocket-Accept` that answers a key.
pub(in crate::proxy) fn accept(key: &Key) -> [u8; 28] {
    base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, MAGIC].concat()).as_ref())
}

/// So many digits of base64, with padding. `LENGTH` is what these bytes make.
fn base64<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    let mut text = [b'='; LENGTH];
    for (group, digits) in bytes.chunks(3).zip(text.chunks_mut(4)) {
        let byte = |place| u32::from(group.get(place).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (place, digit) in digits.iter_mut().enumerate().take(group.len() + 1) {
            let value = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
            *digit = ALPHABET.get(value).copied().unwrap_or(b'A');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn the_accept_is_that_of_the_standards_example() {
        let key = key(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(&accept(&key), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn base64_has_the_vectors_of_rfc_4648() {
        assert_eq!(&base64::<4>(b"f"), b"Zg==");
        assert_eq!(&base64::<4>(b"fo"), b"Zm8=");
        assert_eq!(&base64::<8>(b"foobar"), b"Zm9vYmFy");
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        let mut rng = StdRng::seed_from_u64(1);
        let made = new_key(&mut rng);
        assert_eq!(key(&made), Some(made));
        assert_ne!(new_key(&mut rng), made);
        for bad in
            [&b""[..], b"dGhlIHNhbXBsZSBub25jZQ=", b"dGhlIHNhbXBsZSBub25jZQ===", b"dGhl,HNhbXBsZSBub25jZQ=="]
        {
            assert_eq!(key(bad), None);
        }
    }
}
