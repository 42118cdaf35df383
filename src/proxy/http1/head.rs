//! A request's head, read strictly: what two parsers could read differently is refused and not repaired (RFC 9112 section 11.2).
//!
//! Here stands what only the lines as they came can show: how the body is framed, and where the head ends. What the head asks for is the
//! gate's to judge. Heads are parsed by httparse, as those of responses are.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header::EXPECT, request};
use httparse::{ParserConfig, Status};

use crate::proxy::{
    blank_line::Searched,
    chunks::Chunks,
    decode::{BodyDecoder, number},
    error::Failure,
    gate::Bounds,
    headers::{self, ConnectionLine, Kind},
};
use crate::route::Underscores;

/// Header lines of a request.
const HEADERS_LIMIT: usize = 100;

/// Longer targets are no URI to the http crate. The gate's own limit is lower.
const URI_LIMIT_BYTES: usize = u16::MAX as usize - 1;

const NOT_HTTP: Failure = Failure::BadRequest("Its head could not be parsed.");

/// A request's head, and what follows from it.
#[derive(Debug)]
pub(in crate::proxy) struct Head {
    pub(in crate::proxy) parts: request::Parts,
    pub(in crate::proxy) body: BodyDecoder,
    pub(in crate::proxy) terms: Terms,
}

/// On what terms the client wants its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) struct Terms {
    pub(in crate::proxy) is_http_1_1: bool,
    pub(in crate::proxy) is_head: bool,
    pub(in crate::proxy) keeps_alive: bool,
    pub(in crate::proxy) takes_trailers: bool,
    /// It sends the body when it is asked to, by a 100.
    pub(in crate::proxy) waits_to_be_asked: bool,
}

impl Terms {
    /// Those of a client whose request was not understood.
    pub(super) const UNKNOWN: Self = Self {
        is_http_1_1: true,
        is_head: false,
        keeps_alive: false,
        takes_trailers: false,
        waits_to_be_asked: false,
    };
}

/// What the lines say about the message.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    coding: Coding,
    connection: ConnectionLine,
    takes_trailers: bool,
    expects: bool,
}

/// What the Transfer-Encoding lines say.
#[derive(Clone, Copy, Default)]
enum Coding {
    /// There is none.
    #[default]
    None,
    /// One line that is exactly `chunked`.
    Chunked,
    /// One line with the name of another coding.
    Unknown,
    Unclear,
}

/// Takes a head from `input` once it is complete. `searched` goes from one call to the next; `spare` gives the map for its headers.
pub(in crate::proxy) fn read(
    input: &mut Bytes,
    searched: &mut Searched,
    bounds: Bounds,
    spare: impl FnOnce() -> HeaderMap,
) -> Result<Option<Head>, Failure> {
    let limit_bytes = bounds.limit_bytes;
    if input.len() <= limit_bytes && !searched.may_be_complete(input) {
        searched.note(input);
        return Ok(None);
    }
    let mut lines = [const { MaybeUninit::uninit() }; HEADERS_LIMIT];
    let mut request = httparse::Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut request, input, &mut lines);
    let length = match parsed {
        // A head that is complete may have come in one read with what is beyond the limit.
        Ok(Status::Complete(length)) if length <= limit_bytes => length,
        Ok(Status::Partial) if input.len() <= limit_bytes => {
            searched.note(input);
            return Ok(None);
        }
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Failure::LargeHead),
        Err(_) => return Err(NOT_HTTP),
    };
    if has_bare_line_feed(input.get(..length).unwrap_or_default()) {
        return Err(Failure::BadRequest("A line of its head ends in a bare line feed."));
    }
    let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes()).map_err(|_| NOT_HTTP)?;
    let target = request.path.unwrap_or_default();
    if target.len() > URI_LIMIT_BYTES {
        return Err(Failure::LongTarget);
    }
    let uri = Uri::from_maybe_shared(input.slice_ref(target.as_bytes()))
        .map_err(|_| Failure::BadRequest("Its target is not a URI."))?;
    let is_http_1_1 = request.version == Some(1);
    let mut fields = spare();
    fields.reserve(request.headers.len());
    let mut framing = Framing::default();
    for line in &*request.headers {
        take_line(input, line, &mut fields, &mut framing, bounds.underscores)?;
    }
    let body = framing.body(is_http_1_1)?;
    let terms = Terms {
        is_http_1_1,
        is_head: method == Method::HEAD,
        keeps_alive: framing.connection.keeps_alive(is_http_1_1),
        takes_trailers: framing.takes_trailers,
        waits_to_be_asked: framing.expects && is_http_1_1 && !body.is_done(),
    };
    searched.forget();
    input.advance(length);
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.version = if is_http_1_1 { Version::HTTP_11 } else { Version::HTTP_10 };
    (parts.method, parts.uri, parts.headers) = (method, uri, fields);
    Ok(Some(Head { parts, body, terms }))
}

fn take_line(
    input: &Bytes,
    line: &httparse::Header<'_>,
    fields: &mut HeaderMap,
    framing: &mut Framing,
    underscores: Underscores,
) -> Result<(), Failure> {
    let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| NOT_HTTP)?;
    let value = HeaderValue::from_maybe_shared(input.slice_ref(line.value)).map_err(|_| NOT_HTTP)?;
    match headers::kind(name.as_str()) {
        Kind::Coding => {
            framing.coding = framing.coding.and(line.value);
            return Ok(());
        }
        Kind::Length => {
            // One length said twice is one length (RFC 9112 section 6.3); it passes once.
            if !framing.add_length(line.value)? {
                return Ok(());
            }
        }
        Kind::Connection => framing.connection.add(line.value),
        Kind::Te => framing.takes_trailers |= headers::names_trailers(&value),
        Kind::SingleHop if name == EXPECT => {
            framing.expects |= line.value.eq_ignore_ascii_case(b"100-continue");
        }
        Kind::SingleHop
        | Kind::Host
        | Kind::Trailer
        | Kind::Forwarded
        | Kind::RequestId
        | Kind::Own
        | Kind::Other => {}
        Kind::Underscored => match underscores {
            Underscores::Drop => return Ok(()),
            Underscores::Pass => {}
            Underscores::Refuse => return Err(headers::UNDERSCORED),
        },
    }
    fields.append(name, value);
    Ok(())
}

impl Coding {
    /// With one more line.
    fn and(self, line: &[u8]) -> Self {
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        match self {
            Self::None if line.eq_ignore_ascii_case(b"chunked") => Self::Chunked,
            Self::None if !line.is_empty() && line.iter().all(is_token) => Self::Unknown,
            Self::None | Self::Chunked | Self::Unknown | Self::Unclear => Self::Unclear,
        }
    }
}

impl Framing {
    /// Whether the length is the first one.
    fn add_length(&mut self, length: &[u8]) -> Result<bool, Failure> {
        let length = number(length).ok_or(Failure::BadRequest("Its Content-Length is not a number."))?;
        match self.length.replace(length) {
            None => Ok(true),
            Some(other) if other == length => Ok(false),
            Some(_) => Err(Failure::BadRequest("It has two lengths.")),
        }
    }

    /// RFC 9112 section 6.3, without the cases that are to be repaired: those are refused.
    fn body(&self, is_http_1_1: bool) -> Result<BodyDecoder, Failure> {
        match (self.length, self.coding) {
            (length, Coding::None) => Ok(BodyDecoder::Length(length.unwrap_or_default())),
            (Some(_), _) => Err(Failure::BadRequest("It has both a Content-Length and a Transfer-Encoding.")),
            (None, _) if !is_http_1_1 => Err(Failure::BadRequest("It has chunks in HTTP/1.0.")),
            (None, Coding::Chunked) => Ok(BodyDecoder::Chunked(Chunks::new())),
            (None, Coding::Unknown) => Err(Failure::UnknownCoding),
            (None, Coding::Unclear) => {
                Err(Failure::BadRequest("Its Transfer-Encoding is not exactly chunked."))
            }
        }
    }
}

/// Whether a line ends without a carriage return, which httparse lets pass.
fn has_bare_line_feed(head: &[u8]) -> bool {
    let after = head.get(1..).unwrap_or_default();
    // Without a way out early, so that the compiler looks at many bytes at once: a sixth of the instructions, and a third of memchr's,
    // which stops at each line.
    let is_bare = |before: u8, byte: u8| (byte == b'\n') & (before != b'\r');
    let found = head.iter().zip(after).fold(false, |found, (before, byte)| found | is_bare(*before, *byte));
    found || head.first() == Some(&b'\n')
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_LENGTH;

    use super::*;

    const BOUNDS: Bounds = Bounds { limit_bytes: 4096, underscores: Underscores::Drop };

    fn read_text(text: &str) -> Result<Option<Head>, Failure> {
        let mut input = Bytes::copy_from_slice(text.as_bytes());
        read(&mut input, &mut Searched::default(), BOUNDS, HeaderMap::new)
    }

    #[test]
    fn names_with_underscores_are_dropped_passed_or_refused_as_told() {
        for (underscores, expected) in [
            (Underscores::Drop, Some(vec!["x-a"])),
            (Underscores::Pass, Some(vec!["x-a", "x_a"])),
            (Underscores::Refuse, None),
        ] {
            let mut input = Bytes::from_static(b"GET / HTTP/1.1\r\nX-A: 1\r\nX_A: 2\r\n\r\n");
            let bounds = Bounds { underscores, ..BOUNDS };
            let head = read(&mut input, &mut Searched::default(), bounds, HeaderMap::new).ok().flatten();
            let names = head.map(|head| head.parts.headers.into_iter().flat_map(|(name, _)| name));
            let names = names.map(|names| names.map(|name| name.to_string()).collect::<Vec<_>>());
            assert_eq!(names, expected.map(|names| names.iter().map(ToString::to_string).collect()));
        }
    }

    #[test]
    fn what_follows_a_head_stays_in_the_input() {
        let mut input =
            Bytes::from_static(b"\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET");
        let Head { parts, body, terms } =
            read(&mut input, &mut Searched::default(), BOUNDS, HeaderMap::new).unwrap().unwrap();
        assert_eq!((parts.method, parts.uri.to_string()), (Method::POST, "/a?b".to_owned()));
        assert_eq!((&input[..], body.bytes_left()), (&b"abcGET"[..], Some(3)));
        assert_eq!(terms, Terms { keeps_alive: true, ..Terms::UNKNOWN });
    }

    #[test]
    fn the_terms_are_those_that_the_lines_state() {
        for (lines, terms) in [
            ("1.0\r\n", Terms { is_http_1_1: false, ..Terms::UNKNOWN }),
            (
                "1.0\r\nconnection: Keep-Alive\r\n",
                Terms { is_http_1_1: false, keeps_alive: true, ..Terms::UNKNOWN },
            ),
            ("1.1\r\nconnection: keep-alive\r\nconnection: x, close\r\n", Terms::UNKNOWN),
            (
                "1.1\r\nconnection: close\r\nte: trailers\r\n",
                Terms { takes_trailers: true, ..Terms::UNKNOWN },
            ),
            ("1.1\r\nconnection: close\r\nexpect: 100-Continue\r\n", Terms::UNKNOWN),
            (
                "1.1\r\nconnection: close\r\nexpect: 100-Continue\r\ncontent-length: 1\r\n",
                Terms { waits_to_be_asked: true, ..Terms::UNKNOWN },
            ),
        ] {
            let head = read_text(&format!("GET / HTTP/{lines}\r\n")).unwrap().unwrap();
            assert_eq!(head.terms, terms, "{lines}");
        }
    }

    #[test]
    fn a_head_that_is_not_complete_is_waited_for_up_to_the_limit() {
        let head = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        for length in 0..head.len() {
            assert!(read_text(&head[..length]).unwrap().is_none(), "{length}");
        }
        let long = format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(4096));
        assert!(matches!(read_text(&long), Err(Failure::LargeHead)));
        assert!(matches!(read_text(&format!("{long}\r\n\r\n")), Err(Failure::LargeHead)));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101));
        assert!(matches!(read_text(&many), Err(Failure::LargeHead)));
    }

    #[test]
    fn a_bare_line_feed_is_seen_wherever_it_stands() {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\nx: of some length, so that many bytes are looked at at once\r\n\r\n";
        assert!(!has_bare_line_feed(head));
        for (place, _) in head.iter().enumerate().filter(|(_, byte)| **byte == b'\r') {
            let mut bare = head.to_vec();
            bare.remove(place);
            assert!(has_bare_line_feed(&bare), "{place}");
        }
        assert!(has_bare_line_feed(b"\nGET"));
    }

    #[test]
    fn framing_that_could_be_read_in_two_ways_is_refused_wherever_its_lines_stand() {
        for (lines, is_unknown) in [
            ("content-length: 4\r\ntransfer-encoding: chunked\r\n", false),
            ("transfer-encoding: chunked\r\nx: y\r\nContent-LENGTH:4\r\n", false),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", false),
            ("content-length: 4\r\ncontent-length: 5\r\n", false),
            ("content-length: 4, 4\r\n", false),
            ("x: y\ncontent-length: 4\r\n", false),
            ("transfer-encoding: gzip, chunked\r\n", false),
            ("transfer-encoding: gzip\r\n", true),
        ] {
            let refused = read_text(&format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n")).unwrap_err();
            assert_eq!(matches!(refused, Failure::UnknownCoding), is_unknown, "{lines}");
            assert_eq!(matches!(refused, Failure::BadRequest(_)), !is_unknown, "{lines}");
        }
        let twice =
            read_text("POST / HTTP/1.1\r\ncontent-length: 4\r\ncontent-length: 04\r\n\r\n").unwrap().unwrap();
        assert_eq!(twice.parts.headers.get_all(CONTENT_LENGTH).iter().count(), 1);
    }
}
