//! What is taken out of a head and put into it on its way through.
//!
//! Headers that concern one hop (RFC 9110 section 7.6.1) go, in both directions, and so does what `Connection` names, except
//! what the proxy itself relies on: a client must not be able to remove its own address. What the proxy states about a
//! client replaces what the client states. `x-snapback-` is the proxy's own and never passes.
//!
//! A name with an underscore is another name to the proxy and the same one to servers that write both as CGI does. So such names never pass
//! where they stand for one that the proxy states, relies on or answers. What becomes of the others the data port's configuration says
//! ([`Underscores`](crate::route::Underscores)), and the gate has seen to it. Metadata of gRPC may have underscores by its specification,
//! and does, so there they pass.

use std::cell::RefCell;

use bytes::BufMut;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, HOST},
    request,
};
use rand::{Rng, rngs::StdRng};

use super::{error::Failure, forwarded::Downstream};
use crate::name::VariantName;

/// Says which fleet answered, where the config asks for it.
static FLEET: HeaderName = HeaderName::from_static("x-snapback-fleet");
static VARIANT: HeaderName = HeaderName::from_static("x-snapback-variant");
static INVOKED_VARIANT: HeaderName = HeaderName::from_static("x-amzn-invoked-production-variant");

/// The request's id.
pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Every header with this prefix is the proxy's own.
const OWN_PREFIX: &str = "x-snapback-";

/// What a header is to the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Host,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding`.
    Coding,
    Connection,
    /// `TE`.
    Te,
    /// `Trailer`.
    Trailer,
    /// Ends here: concerns one hop, or is answered by the proxy (`Expect`).
    SingleHop,
    /// What the proxy states about the client (`forwarded`).
    Forwarded,
    RequestId,
    /// The proxy's own to write.
    Own,
    /// Means nothing to the proxy, and has an underscore.
    Underscored,
    Other,
}

/// Why a request is refused where names with underscores are.
pub(super) const UNDERSCORED: Failure = Failure::BadRequest("It has a header whose name has an underscore.");

const KINDS: [(&str, Kind); 17] = [
    ("host", Kind::Host),
    ("content-length", Kind::Length),
    ("transfer-encoding", Kind::Coding),
    ("connection", Kind::Connection),
    ("keep-alive", Kind::SingleHop),
    ("proxy-connection", Kind::SingleHop),
    ("te", Kind::Te),
    ("trailer", Kind::Trailer),
    ("upgrade", Kind::SingleHop),
    ("proxy-authorization", Kind::SingleHop),
    ("proxy-authenticate", Kind::SingleHop),
    ("expect", Kind::SingleHop),
    ("forwarded", Kind::Forwarded),
    ("x-forwarded-for", Kind::Forwarded),
    ("x-forwarded-proto", Kind::Forwarded),
    ("x-forwarded-host", Kind::Forwarded),
    ("x-request-id", Kind::RequestId),
];

/// Of the headers that mean nothing to the proxy, those that `Connection` cannot remove all the same.
const PROTECTED: [&str; 3] = ["authorization", "cookie", "set-cookie"];

/// What a header, named in lower case, is to the proxy.
pub(super) fn kind(name: &str) -> Kind {
    match known(name) {
        Some(kind) => kind,
        None if name.starts_with(OWN_PREFIX) => Kind::Own,
        // A server that does not tell `_` from `-` (CGI, WSGI) would take this for what only the proxy may say.
        None if name.contains('_') => {
            if is_own_in_disguise(name) {
                Kind::Own
            } else {
                Kind::Underscored
            }
        }
        None => Kind::Other,
    }
}

fn is_own_in_disguise(name: &str) -> bool {
    let name = name.replace('_', "-");
    name.starts_with(OWN_PREFIX) || known(&name).is_some()
}

/// What [`KINDS`] says. Length and first letter leave one candidate, so that most names are never compared.
fn known(name: &str) -> Option<Kind> {
    let place = match (name.len(), name.as_bytes().first()?) {
        (4, b'h') => 0,
        (14, b'c') => 1,
        (17, b't') => 2,
        (10, b'c') => 3,
        (10, b'k') => 4,
        (16, b'p') => 5,
        (2, b't') => 6,
        (7, b't') => 7,
        (7, b'u') => 8,
        (19, b'p') => 9,
        (18, b'p') => 10,
        (6, b'e') => 11,
        (9, b'f') => 12,
        (15, b'x') => 13,
        (17, b'x') => 14,
        (16, b'x') => 15,
        (12, b'x') => 16,
        _ => return None,
    };
    KINDS.get(place).filter(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// What the `Connection` lines of a head say.
#[derive(Debug, Default)]
pub(super) struct ConnectionLine {
    named: Vec<HeaderName>,
    has_close: bool,
    has_keep_alive: bool,
}

impl ConnectionLine {
    /// Adds a line.
    pub(super) fn add(&mut self, line: &[u8]) {
        for option in line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.has_keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.has_close = true;
            } else if let Ok(name) = HeaderName::from_bytes(option)
                && matches!(kind(name.as_str()), Kind::Other | Kind::Underscored)
                && !PROTECTED.contains(&name.as_str())
            {
                self.named.push(name);
            }
        }
    }

    /// Whether the connection goes on after the message (RFC 9112 section 9.3).
    pub(super) fn keeps_alive(&self, is_http_1_1: bool) -> bool {
        !self.has_close && (is_http_1_1 || self.has_keep_alive)
    }

    /// Whether the lines name this header, and it may go.
    pub(super) fn names(&self, name: &HeaderName) -> bool {
        self.named.contains(name)
    }

    /// Takes out what the lines name.
    pub(super) fn remove_named(&self, headers: &mut HeaderMap) {
        for name in &self.named {
            headers.remove(name);
        }
    }
}

/// How a request's body is framed upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BodyFraming {
    /// There is none.
    Empty,
    /// By the Content-Length that the client gave.
    Length,
    Chunked,
}

/// What the proxy adds to a request.
#[derive(Debug)]
pub(super) struct Additions<'a, 'b> {
    pub(super) downstream: &'a Downstream,
    /// Names the host when the client, speaking HTTP/1.0, did not.
    pub(super) instance: &'a str,
    pub(super) framing: BodyFraming,
    /// The protocol that the client wants to switch to.
    pub(super) upgrade: Option<&'a str>,
    pub(super) id: &'a mut NewId<'b>,
}

/// Writes a request's head for the instance, leaving out what does not pass.
pub(super) fn write_request(out: &mut Vec<u8>, head: &request::Parts, additions: Additions<'_, '_>) {
    let mut connection = ConnectionLine::default();
    for line in head.headers.get_all(CONNECTION) {
        connection.add(line.as_bytes());
    }
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    for part in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.put_slice(part.as_bytes());
    }
    let (mut id, mut takes_trailers) = (None, false);
    for (name, value) in &head.headers {
        match kind(name.as_str()) {
            Kind::Te => {
                takes_trailers |= names_trailers(value);
                continue;
            }
            Kind::Trailer if additions.framing != BodyFraming::Chunked => continue,
            Kind::Coding | Kind::Connection | Kind::SingleHop | Kind::Forwarded | Kind::Own => continue,
            Kind::RequestId => id = Some(value),
            Kind::Other | Kind::Underscored if connection.names(name) => continue,
            Kind::Host | Kind::Length | Kind::Trailer | Kind::Underscored | Kind::Other => {}
        }
        write_line(out, name.as_str(), value.as_bytes());
    }
    additions.downstream.write(out, &head.headers);
    if !head.headers.contains_key(HOST) {
        write_line(out, "host", additions.instance.as_bytes());
    }
    if id.is_none() {
        write_line(out, REQUEST_ID.as_str(), additions.id.get());
    }
    if takes_trailers {
        // What concerns one hop is named as such (RFC 9110 section 10.1.4).
        out.put_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    if let Some(protocol) = additions.upgrade {
        out.put_slice(b"connection: upgrade\r\n");
        write_line(out, "upgrade", protocol.as_bytes());
    }
    out.put_slice(match additions.framing {
        BodyFraming::Chunked => b"transfer-encoding: chunked\r\n\r\n",
        BodyFraming::Empty | BodyFraming::Length => b"\r\n",
    });
}

/// Whether a `TE` says that its sender takes trailers, beside whatever transfer codings.
pub(super) fn names_trailers(te: &HeaderValue) -> bool {
    te.as_bytes().split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Where headers go: the text of an HTTP/1 head, or the map of an HTTP/2 head.
pub(super) trait Lines {
    /// Adds a header.
    fn line(&mut self, name: &HeaderName, value: &HeaderValue);
}

impl Lines for Vec<u8> {
    fn line(&mut self, name: &HeaderName, value: &HeaderValue) {
        write_line(self, name.as_str(), value.as_bytes());
    }
}

impl Lines for HeaderMap {
    fn line(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name.clone(), value.clone());
    }
}

/// Writes a header.
pub(super) fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.put_slice(part);
    }
}

/// Whether the client's connection is kept after a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Connection {
    Kept,
    Closed,
}

/// Says that the connection ends with this response, if it does.
pub(super) fn announce(headers: &mut HeaderMap, connection: Connection) {
    if connection == Connection::Closed {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Says which fleet the request was dealt to, or that it was rescued.
pub(super) fn expose_fleet(headers: &mut HeaderMap, fleet: &'static str) {
    headers.insert(&FLEET, HeaderValue::from_static(fleet));
}

/// Says which variant the request was dealt to.
pub(super) fn expose_variant(headers: &mut HeaderMap, variant: &VariantName) {
    if let Ok(value) = HeaderValue::from_str(variant.as_str()) {
        headers.insert(&VARIANT, value);
    }
}

/// Says which variant of SageMaker's has served.
pub(super) fn say_invoked(headers: &mut HeaderMap, variant: &VariantName) {
    if let Ok(value) = HeaderValue::from_str(variant.as_str()) {
        headers.insert(&INVOKED_VARIANT, value);
    }
}

/// The id of a request whose client gave it none: made when it is first asked for, and the same for every try.
#[derive(Debug)]
pub(super) struct NewId<'a> {
    ids: &'a RefCell<RequestIds>,
    made: Option<[u8; 32]>,
}

impl<'a> NewId<'a> {
    pub(super) fn new(ids: &'a RefCell<RequestIds>) -> Self {
        Self { ids, made: None }
    }

    pub(super) fn get(&mut self) -> &[u8; 32] {
        self.made.get_or_insert_with(|| self.ids.borrow_mut().next())
    }
}

/// A worker's source of request ids: 128 random bits in hexadecimal digits, as nginx and W3C trace ids have them.
#[derive(Debug)]
pub(super) struct RequestIds(StdRng);

impl RequestIds {
    pub(super) fn new(rng: StdRng) -> Self {
        Self(rng)
    }

    fn next(&mut self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bits = u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64());
        let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
        let mut id = [0; 32];
        for (pair, byte) in id.chunks_exact_mut(2).zip(bits.to_be_bytes()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use rand::SeedableRng;

    use super::{super::forwarded::Scheme, *};
    use crate::net::{Peer, TrustedProxies};

    /// The head as it goes upstream: its lines, sorted, after the first.
    fn forwarded(lines: &[(&str, &str)], framing: BodyFraming) -> Vec<String> {
        let mut request = Request::new(());
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        let (head, ()) = request.into_parts();
        let mut out = Vec::new();
        let peer = Peer::Internet("192.0.2.7:1".parse().unwrap());
        let ids = RefCell::new(RequestIds::new(StdRng::seed_from_u64(1)));
        let additions = Additions {
            downstream: &Downstream::new(peer, Scheme::Http, &TrustedProxies::default()),
            instance: "instance:1",
            framing,
            upgrade: None,
            id: &mut NewId::new(&ids),
        };
        write_request(&mut out, &head, additions);
        let text = String::from_utf8(out).unwrap();
        let head = text.strip_suffix("\r\n\r\n").unwrap();
        let mut lines: Vec<_> = head.split("\r\n").map(str::to_owned).collect();
        assert_eq!(lines.remove(0), "GET / HTTP/1.1");
        lines.sort_unstable();
        lines
    }

    fn names(lines: &[String]) -> Vec<&str> {
        lines.iter().map(|line| line.split(':').next().unwrap()).collect()
    }

    #[test]
    fn what_concerns_one_hop_is_left_out_with_what_connection_names() {
        let lines = forwarded(
            &[
                ("host", "a"),
                ("connection", "keep-alive, X-Private"),
                ("connection", "x-other,close, authorization, x-forwarded-for, host"),
                ("x-private", "1"),
                ("x-other", "1"),
                ("x-kept", "1"),
                ("authorization", "token"),
                ("te", "gzip;q=0.5, Trailers"),
                ("trailer", "x-kept"),
                ("upgrade", "h2c"),
                ("expect", "100-continue"),
                ("proxy-authorization", "x"),
                ("keep-alive", "timeout=5"),
            ],
            BodyFraming::Empty,
        );
        let expected = [
            "authorization",
            "connection",
            "host",
            "te",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-kept",
            "x-request-id",
        ];
        assert_eq!(names(&lines), expected);
    }

    #[test]
    fn forged_statements_about_the_client_are_replaced() {
        let lines = forwarded(
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
                ("x-request-id", "mine"),
            ],
            BodyFraming::Empty,
        );
        let expected = [
            "api_key: kept",
            "host: a:80",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: a:80",
            "x-forwarded-proto: http",
            "x-request-id: mine",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_request_id_is_made_where_none_came() {
        let lines = forwarded(&[("host", "a")], BodyFraming::Empty);
        let id = lines.last().unwrap().strip_prefix("x-request-id: ").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_ne!(forwarded(&[("host", "a")], BodyFraming::Empty)[1], *id);
    }

    #[test]
    fn framing_is_written_anew_and_an_old_client_gets_a_host() {
        let lines = forwarded(&[("transfer-encoding", "chunked")], BodyFraming::Empty);
        assert_eq!(
            (lines[0].as_str(), names(&lines).contains(&"transfer-encoding")),
            ("host: instance:1", false)
        );
        let lines = forwarded(&[("transfer-encoding", "CHUNKED")], BodyFraming::Chunked);
        assert!(lines.contains(&"transfer-encoding: chunked".to_owned()));
        let lines = forwarded(&[("content-length", "3")], BodyFraming::Length);
        assert!(lines.contains(&"content-length: 3".to_owned()));
    }

    #[test]
    fn every_known_header_is_found_at_its_place() {
        for (name, expected) in KINDS {
            assert_eq!(kind(name), expected, "{name}");
        }
        for (name, expected) in [
            ("connectiom", Kind::Other),
            ("x-snapback-x", Kind::Own),
            ("content_length", Kind::Own),
            ("api_key", Kind::Underscored),
            ("", Kind::Other),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
