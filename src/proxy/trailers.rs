//! Trailers: the headers that come after a body (RFC 9110 section 6.5).
//!
//! A recipient may take a trailer for a header that it has acted on already, so what says how a message is framed, where it goes, who
//! sent it or what is in its body passes only in the head, and is dropped here (section 6.5.1). So is what concerns one hop, and what the proxy
//! alone may state.

use bytes::BufMut;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use httparse::Status;

use super::{
    decode::Malformed,
    headers::{self, Kind, write_line},
};

/// Lines of a trailer section. gRPC sends three and the caller's own metadata.
const LINES_LIMIT: usize = 64;

/// What may not come late, beside what means something to the proxy.
static HEAD_ONLY: [HeaderName; 23] = [
    header::AUTHORIZATION,
    header::WWW_AUTHENTICATE,
    header::COOKIE,
    header::SET_COOKIE,
    header::CACHE_CONTROL,
    header::PRAGMA,
    header::MAX_FORWARDS,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::AGE,
    header::EXPIRES,
    header::DATE,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::WARNING,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
];

/// Drops what may not come late.
pub(super) fn clean(trailers: &mut HeaderMap) {
    if trailers.keys().all(may_come_late) {
        return;
    }
    let late: Vec<HeaderName> = trailers.keys().filter(|name| !may_come_late(name)).cloned().collect();
    for name in &late {
        trailers.remove(name);
    }
}

fn may_come_late(name: &HeaderName) -> bool {
    matches!(headers::kind(name.as_str()), Kind::Other | Kind::Underscored) && !HEAD_ONLY.contains(name)
}

/// Reads the lines of a chunked body's trailer section, with the empty line at its end, and drops what may not come late.
pub(super) fn read(section: &[u8]) -> Result<HeaderMap, Malformed> {
    const NOT_HTTP: Malformed = Malformed("Its trailers are not HTTP.");
    let mut lines = [httparse::EMPTY_HEADER; LINES_LIMIT];
    let mut trailers = HeaderMap::new();
    match httparse::parse_headers(section, &mut lines) {
        Ok(Status::Complete((length, lines))) if length == section.len() => {
            for line in lines {
                let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| NOT_HTTP)?;
                trailers.append(name, HeaderValue::from_bytes(line.value).map_err(|_| NOT_HTTP)?);
            }
        }
        Ok(_) => return Err(NOT_HTTP),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("It has too many trailers.")),
        Err(_) => return Err(NOT_HTTP),
    }
    clean(&mut trailers);
    Ok(trailers)
}

/// Writes the end of a chunked body that has trailers.
pub(super) fn write_end(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.put_slice(b"0\r\n");
    for (name, value) in trailers {
        write_line(out, name.as_str(), value.as_bytes());
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_may_come_late_passes_and_the_rest_is_dropped() {
        let section = b"grpc-status: 0\r\nContent-Length: 5\r\nhost: evil\r\nset-cookie: a=b\r\nx-checksum: 1\r\n\
            x-snapback-fleet: green\r\nconnection: close\r\nx_forwarded_for: 1\r\nx-checksum: 2\r\ndate: now\r\n\r\n";
        let trailers = read(section).unwrap();
        let names: Vec<_> =
            trailers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(names, [("grpc-status", "0"), ("x-checksum", "1"), ("x-checksum", "2")]);
        let mut out = Vec::new();
        write_end(&mut out, &trailers);
        assert_eq!(out, b"0\r\ngrpc-status: 0\r\nx-checksum: 1\r\nx-checksum: 2\r\n\r\n");
    }

    #[test]
    fn lines_that_are_no_headers_are_refused_and_so_are_too_many() {
        let many: String = (0..100).map(|line| format!("x-{line}: y\r\n")).collect::<String>() + "\r\n";
        for section in [
            "x\r\n\r\n",
            "x: y\r\n z\r\n\r\n",
            "x : y\r\n\r\n",
            "x: \0\r\n\r\n",
            "x: y\r\n",
            ": y\r\n\r\n",
            &many,
        ] {
            assert!(read(section.as_bytes()).is_err(), "{section:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(section in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(read(&section));
        }
    }
}
