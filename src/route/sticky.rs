//! Which fleet takes the requests of a session: a stable hash of its key.
//!
//! Every key has a place among the basis points of the whole, and green has those below its share. So the same key always leads to
//! the same fleet while the share stands, a growing share only ever moves keys from blue to green, and a share of nothing moves
//! all of them back. What is exact about a deck is here true on average over keys.
//!
//! The place depends on green's version too: were it the key alone, the same clients would be the first to meet every release.

use http::{HeaderMap, HeaderName, header::COOKIE};

use crate::{fleet::Side, weight::Share};

/// Where a request carries the key of its session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sticky {
    /// In this header; of several the first.
    Header(HeaderName),
    /// In the cookie of this name; of several the first.
    Cookie(String),
}

impl Sticky {
    /// The session's key, unless the request has none.
    pub fn key<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let key = match self {
            Self::Header(name) => headers.get(name)?.as_bytes(),
            Self::Cookie(name) => {
                let pairs =
                    headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|b| *b == b';'));
                let mut values = pairs
                    .filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
                values.next()?
            }
        };
        Some(key).filter(|key| !key.is_empty())
    }
}

/// The fleet of a session while green, of this version, has this share.
pub fn sticky_side(key: &[u8], green_version: &str, share: Share) -> Side {
    if share == Share::NONE {
        return Side::Blue;
    }
    let hash = mixed(fnv1a(fnv1a(FNV_OFFSET, green_version.as_bytes()), key));
    // The high half of the product spreads the hash evenly over the basis points.
    let place = (u128::from(hash) * u128::from(Share::WHOLE)) >> 64;
    if place < u128::from(share.basis_points()) { Side::Green } else { Side::Blue }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: stable over processes, versions and machines, which the standard library's hash does not promise.
fn fnv1a(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of MurmurHash3: FNV leaves the high bits of short keys nearly alone, and the high bits decide.
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn share(points: u16) -> Share {
        Share::from_basis_points(points).unwrap()
    }

    proptest! {
        #[test]
        fn a_growing_share_moves_no_key_back_to_blue(
            key in prop::collection::vec(any::<u8>(), 1..40),
            low in 0_u16..=10_000,
            more in 0_u16..=10_000,
        ) {
            let high = low.saturating_add(more).min(10_000);
            if sticky_side(&key, "v2", share(low)) == Side::Green {
                prop_assert_eq!(sticky_side(&key, "v2", share(high)), Side::Green);
            }
        }

        #[test]
        fn nothing_gives_every_key_to_blue_and_everything_gives_it_to_green(key in prop::collection::vec(any::<u8>(), 1..40)) {
            prop_assert_eq!(sticky_side(&key, "v2", Share::NONE), Side::Blue);
            prop_assert_eq!(sticky_side(&key, "v2", Share::ALL), Side::Green);
        }

        #[test]
        fn the_share_of_keys_is_the_share(points in 0_u16..=10_000, prefix in "[a-z]{0,8}") {
            let keys = 20_000_u32;
            let green = (0..keys).filter(|number| {
                sticky_side(format!("{prefix}{number}").as_bytes(), "v2", share(points)) == Side::Green
            });
            let expected = f64::from(keys) * share(points).as_fraction();
            let deviation = (expected * (1.0 - share(points).as_fraction())).sqrt();
            let green = f64::from(u32::try_from(green.count()).unwrap());
            prop_assert!((green - expected).abs() <= 6.0 * deviation + 1.0, "{} of {}", green, expected);
        }
    }

    #[test]
    fn another_release_meets_other_clients_first() {
        let first = |version| {
            let is_green =
                move |number: &u32| sticky_side(&number.to_le_bytes(), version, share(1_000)) == Side::Green;
            (0..10_000_u32).filter(is_green).collect::<std::collections::BTreeSet<_>>()
        };
        let both = first("v2").intersection(&first("v3")).count();
        assert!((50..200).contains(&both), "{both} of about 1,000, where chance gives 100");
    }

    #[test]
    fn the_key_is_the_headers_first_value_or_the_cookies() {
        let mut headers = HeaderMap::new();
        headers.append("x-session-id", HeaderValue::from_static("one"));
        headers.append("x-session-id", HeaderValue::from_static("two"));
        headers.append(COOKIE, HeaderValue::from_static("xsid=no; other=1"));
        headers.append(COOKIE, HeaderValue::from_static("a=b;  sid=s1=2 ; sid=s2"));
        let header = |name| Sticky::Header(HeaderName::from_static(name));
        let cookie = |name: &str| Sticky::Cookie(name.to_owned());
        assert_eq!(header("x-session-id").key(&headers), Some(&b"one"[..]));
        assert_eq!(header("x-other").key(&headers), None);
        assert_eq!(cookie("sid").key(&headers), Some(&b"s1=2"[..]));
        assert_eq!(cookie("id").key(&headers), None);
        headers.insert("x-session-id", HeaderValue::from_static(""));
        assert_eq!(header("x-session-id").key(&headers), None, "an empty key is none");
    }
}
