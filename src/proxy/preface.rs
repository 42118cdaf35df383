//! Which protocol a client speaks, told by the first bytes that it sends.
//!
//! A client that knows beforehand that the proxy speaks HTTP/2 begins with a fixed text (RFC 9113 section 3.4) that is no HTTP/1
//! request. The first byte that differs from it decides, so a client of HTTP/1 waits for nothing.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A protocol, as a client speaks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spoken {
    /// HTTP/1, or what its parser will refuse.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The protocol of a connection that begins with these bytes, once they say.
pub(super) fn tell(bytes: &[u8]) -> Option<Spoken> {
    match bytes.get(..PREFACE.len()) {
        Some(start) if start == PREFACE => Some(Spoken::Http2),
        Some(_) => Some(Spoken::Http1),
        None if PREFACE.starts_with(bytes) => None,
        None => Some(Spoken::Http1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_from_the_preface_tells_http1() {
        for bytes in ["G", "PO", "PRI * HTTP/1", "PRI * HTTP/2.0\r\n\r\nSN", "\r\n", "\0"] {
            assert_eq!(tell(bytes.as_bytes()), Some(Spoken::Http1), "{bytes:?}");
        }
        for length in 0..PREFACE.len() {
            assert_eq!(tell(&PREFACE[..length]), None, "{length}");
        }
        assert_eq!(tell(PREFACE), Some(Spoken::Http2));
        assert_eq!(tell(&[PREFACE, b"more"].concat()), Some(Spoken::Http2));
    }
}
