//! What is taken out of a head and put into it on its way through.
//!
//! One pass over the names finds what needs an edit; most heads need few. Headers that concern one hop (RFC 9110 section 7.6.1)
//! go, in both directions, and so does what `Connection` names, except what the proxy itself relies on: a client must not
//! be able to remove its own address. What the proxy states about a client replaces what the client states.
//! `x-snapback-` is the proxy's own and never passes.

use bytes::BytesMut;
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, TRANSFER_ENCODING},
    request, response,
};
use rand::{Rng, rngs::StdRng};

use super::forwarded::Downstream;

// Names as values, since a text would be checked, hashed and copied for each request.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Says which fleet answered, where the config asks for it.
static FLEET: HeaderName = HeaderName::from_static("x-snapback-fleet");

/// Every header with this prefix is the proxy's own.
const OWN_PREFIX: &str = "x-snapback-";

/// Headers that end here. Framing is written anew by the other side's encoder, `Expect` is answered by the proxy, and
/// `Forwarded` would be a second voice beside the `X-Forwarded-` headers, unless a trusted proxy began it.
const SINGLE_HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authorization",
    "proxy-authenticate",
    "expect",
    "forwarded",
];

/// The place of `connection` in [`SINGLE_HOP`].
const CONNECTION_BIT: u16 = 1;

/// Headers that `Connection` cannot remove.
const PROTECTED: [&str; 9] = [
    "host",
    "content-length",
    "authorization",
    "cookie",
    "set-cookie",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-request-id",
];

/// Whether a request comes with a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HasBody {
    Yes,
    No,
}

/// Whether the client's connection is kept after a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Connection {
    Kept,
    Closed,
}

/// Edits a request's head for the instance. `instance` names the host when the client, speaking HTTP/1.0, did not.
pub(super) fn to_upstream(
    head: &mut request::Parts,
    downstream: &Downstream,
    has_body: HasBody,
    instance: &str,
    ids: &mut RequestIds,
) {
    let headers = &mut head.headers;
    let continued = downstream.continued(headers);
    strip(headers);
    downstream.state(headers);
    if let Some(line) = continued {
        headers.insert(FORWARDED, line);
    }
    if !headers.contains_key(HOST)
        && let Ok(instance) = HeaderValue::from_str(instance)
    {
        headers.insert(HOST, instance);
    }
    if !headers.contains_key(&REQUEST_ID) {
        headers.insert(&REQUEST_ID, ids.next());
    }
    // A body of unknown length is chunked, said here: hyper would drop the body of a GET that does not say so.
    if has_body == HasBody::Yes && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    head.version = Version::HTTP_11;
}

/// Edits a response's head for the client.
pub(super) fn to_downstream(head: &mut response::Parts, connection: Connection) {
    strip(&mut head.headers);
    if connection == Connection::Closed {
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // hyper writes the version that the client speaks.
    head.version = Version::HTTP_11;
}

/// Says which fleet the request was dealt to, or that it was rescued.
pub(super) fn expose_fleet(headers: &mut HeaderMap, fleet: &'static str) {
    headers.insert(&FLEET, HeaderValue::from_static(fleet));
}

fn strip(headers: &mut HeaderMap) {
    let mut found: u16 = 0;
    let mut others = Vec::new();
    for name in headers.keys() {
        match place(name.as_str()) {
            Some(place) => found |= 1 << place,
            None if is_own(name.as_str()) => others.push(name.clone()),
            None => {}
        }
    }
    if found & CONNECTION_BIT != 0 {
        others.extend(headers.get_all(CONNECTION).iter().flat_map(named));
    }
    while found != 0 {
        let place = found.trailing_zeros();
        found &= found - 1;
        if let Some(name) = usize::try_from(place).ok().and_then(|place| SINGLE_HOP.get(place)) {
            headers.remove(*name);
        }
    }
    for name in others {
        headers.remove(name);
    }
}

/// Where [`SINGLE_HOP`] has a name. Length and first letter leave one candidate, so that most names are never compared.
fn place(name: &str) -> Option<usize> {
    let place = match (name.len(), name.as_bytes().first()?) {
        (10, b'c') => 0,
        (10, b'k') => 1,
        (16, b'p') => 2,
        (2, b't') => 3,
        (7, b't') => 4,
        (17, b't') => 5,
        (7, b'u') => 6,
        (19, b'p') => 7,
        (18, b'p') => 8,
        (6, b'e') => 9,
        (9, b'f') => 10,
        _ => return None,
    };
    (SINGLE_HOP.get(place) == Some(&name)).then_some(place)
}

/// The headers that a `Connection` line takes with it.
fn named(line: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let names = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names
        .filter(|name| !name.eq_ignore_ascii_case(b"close") && !name.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !PROTECTED.contains(&name.as_str()))
}

/// Whether a header is the proxy's own to write, or would be taken for one of those by a server that does not tell `_` from `-`
/// (CGI, WSGI), which is how such headers are forged.
fn is_own(name: &str) -> bool {
    if name.starts_with(OWN_PREFIX) {
        return true;
    }
    name.contains('_') && {
        let name = name.replace('_', "-");
        let name = name.as_str();
        name.starts_with(OWN_PREFIX) || SINGLE_HOP.contains(&name) || PROTECTED.contains(&name)
    }
}

/// A worker's source of request ids: 128 random bits in hexadecimal digits, as nginx and W3C trace ids have them.
#[derive(Debug)]
pub(super) struct RequestIds {
    rng: StdRng,
    /// Ids are cut from one piece of memory after the other: one allocation for many.
    memory: BytesMut,
}

/// Digits of an id.
const ID_LENGTH: usize = 32;

/// Ids that share a piece of memory. One long-lived request keeps at most this many alive.
const IDS_PER_PIECE: usize = 64;

impl RequestIds {
    pub(super) fn new(rng: StdRng) -> Self {
        Self { rng, memory: BytesMut::new() }
    }

    fn next(&mut self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        if self.memory.capacity() < ID_LENGTH {
            self.memory.reserve(ID_LENGTH * IDS_PER_PIECE);
        }
        let bits = u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64());
        for byte in bits.to_be_bytes() {
            let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
            self.memory.extend_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
        let id = self.memory.split().freeze();
        HeaderValue::from_maybe_shared(id).expect("hexadecimal digits are visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use rand::SeedableRng;

    use super::{super::forwarded::Scheme, *};
    use crate::net::{Peer, TrustedProxies};

    fn forwarded(lines: &[(&str, &str)], has_body: HasBody) -> HeaderMap {
        let mut request = Request::new(());
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        let (mut head, ()) = request.into_parts();
        let peer = Peer::Internet(([192, 0, 2, 7], 1).into());
        let downstream = Downstream::new(peer, Scheme::Http, &TrustedProxies::default());
        let mut ids = RequestIds::new(StdRng::seed_from_u64(1));
        to_upstream(&mut head, &downstream, has_body, "instance:1", &mut ids);
        head.headers
    }

    #[test]
    fn what_concerns_one_hop_is_removed_with_what_connection_names() {
        let headers = forwarded(
            &[
                ("host", "a"),
                ("connection", "keep-alive, X-Private"),
                ("connection", "x-other,close, authorization, x-forwarded-for, host"),
                ("x-private", "1"),
                ("x-other", "1"),
                ("x-kept", "1"),
                ("authorization", "token"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("expect", "100-continue"),
                ("proxy-authorization", "x"),
                ("keep-alive", "timeout=5"),
            ],
            HasBody::No,
        );
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = [
            "authorization",
            "host",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-kept",
            "x-request-id",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn forged_statements_about_the_client_are_replaced() {
        let headers = forwarded(
            &[
                ("host", "a:80"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "2.2.2.2"),
                ("x_forwarded_for", "3.3.3.3"),
                ("x-forwarded-host", "evil"),
                ("x-forwarded-proto", "https"),
                ("forwarded", "for=1.1.1.1"),
                ("x-snapback-fleet", "green"),
                ("x_snapback_fleet", "green"),
                ("api_key", "kept"),
            ],
            HasBody::No,
        );
        assert_eq!(headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), ["192.0.2.7"]);
        assert_eq!(headers["x-forwarded-host"], "a:80");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["api_key"], "kept");
        assert_eq!(headers.len(), 6, "{headers:?}");
    }

    #[test]
    fn every_single_hop_header_is_found_at_its_place() {
        for (expected, name) in SINGLE_HOP.iter().enumerate() {
            assert_eq!(place(name), Some(expected), "{name}");
        }
        assert_eq!((place("connectiom"), place("host")), (None, None));
    }

    #[test]
    fn a_request_id_is_passed_or_made() {
        assert_eq!(forwarded(&[("x-request-id", "mine")], HasBody::No)[&REQUEST_ID], "mine");
        let made = forwarded(&[], HasBody::No)[&REQUEST_ID].to_str().unwrap().to_owned();
        assert_eq!((made.len(), made.bytes().all(|byte| byte.is_ascii_hexdigit())), (32, true), "{made}");
    }

    #[test]
    fn framing_is_written_anew_and_an_old_client_gets_a_host() {
        let headers = forwarded(&[("transfer-encoding", "chunked")], HasBody::No);
        assert_eq!((headers.get(TRANSFER_ENCODING), headers[HOST].as_bytes()), (None, &b"instance:1"[..]));
        assert_eq!(forwarded(&[], HasBody::Yes)[TRANSFER_ENCODING], "chunked");
        assert_eq!(forwarded(&[("content-length", "3")], HasBody::Yes).get(TRANSFER_ENCODING), None);
    }
}
