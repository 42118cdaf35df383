//! What must hold for any bytes that reach a parser of the data plane: a function each, which panics when it does not.
//!
//! `tests/fuzz` drives these with libFuzzer, the tests of the crate's own `fuzzing` with random bytes and with what was once found.

use std::cell::RefCell;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST},
};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    blank_line::Searched,
    decode,
    forwarded::{Downstream, Scheme},
    gate::{self, Bounds, downgrade},
    headers::{self, Additions, BodyFraming, Kind, NewId, RequestIds},
    http1::{Head, read_head},
    preface,
    tap::{Meaning, Scanner, Tap},
};
use crate::{
    meter::Verdict,
    net::{Peer, TrustedProxies, TrustedProxy},
    route::Underscores,
    time::Moment,
};

/// Larger than any input, and nothing is dropped, so that all of it is looked at.
const BOUNDS: Bounds = Bounds { limit_bytes: 1 << 20, underscores: Underscores::Pass };

/// A text in pieces; the choice says how long they are. At least one, which may be empty.
pub(crate) fn pieces(choice: u8, text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let length = usize::from(choice).max(1);
    let rest = if text.is_empty() { Some(text) } else { None };
    rest.into_iter().chain(text.chunks(length))
}

/// What was made of a response.
#[derive(PartialEq, Eq, Debug)]
struct Understood {
    status: u16,
    lines: Vec<(HeaderName, HeaderValue)>,
    data: Vec<u8>,
    is_done: bool,
    /// What came after its end.
    left: Vec<u8>,
}

/// A response means the same however it is cut into reads, and nothing that belongs to one hop passes. The first byte chooses
/// the method and the cut.
pub fn response(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let method = if choice & 1 == 0 { Method::GET } else { Method::HEAD };
    let whole = understand(&method, std::iter::once(text));
    let cut = understand(&method, pieces(choice >> 1, text));
    assert_eq!(whole, cut, "the cut changes the meaning");
    let Some(Understood { lines, .. }) = whole else { return };
    let mut lengths = 0;
    for (name, value) in &lines {
        match headers::kind(name.as_str()) {
            Kind::Connection | Kind::SingleHop | Kind::Own | Kind::Coding | Kind::Te => {
                panic!("{name} passes")
            }
            Kind::Length => {
                lengths += 1;
                assert!(value.as_bytes().iter().all(u8::is_ascii_digit), "a length is a number");
            }
            Kind::Host
            | Kind::Forwarded
            | Kind::RequestId
            | Kind::Trailer
            | Kind::Underscored
            | Kind::Other => {}
        }
    }
    assert!(lengths <= 1, "one length");
}

/// Reads a response from these pieces as a call does; `None` when it is malformed or its head not complete.
fn understand<'a>(method: &Method, mut pieces: impl Iterator<Item = &'a [u8]>) -> Option<Understood> {
    let (mut input, mut headers, mut progress) =
        (Bytes::new(), HeaderMap::new(), decode::Progress::default());
    let head = loop {
        input = [&input, pieces.next()?].concat().into();
        let question = decode::Question { method, ask: None };
        if let Some(head) = decode::read_head(&mut input, question, &mut headers, &mut progress).ok()? {
            break head;
        }
    };
    let (mut body, mut data) = (head.body, Vec::new());
    loop {
        while let Some(part) = body.decode(&mut input).ok()? {
            data.extend_from_slice(&part);
        }
        match pieces.next() {
            Some(piece) => input = [&input, piece].concat().into(),
            None => break,
        }
    }
    if let Some(trailers) = body.take_trailers().ok()? {
        let passes =
            |name: &HeaderName| matches!(headers::kind(name.as_str()), Kind::Other | Kind::Underscored);
        assert!(trailers.keys().all(passes), "{trailers:?}");
    }
    let lines = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let status = head.line.status.as_u16();
    Some(Understood { status, lines, data, is_done: body.is_done(), left: input.to_vec() })
}

/// A chunked body is read as a second, plainer parser reads it.
pub fn chunks(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let read = understand(&Method::GET, std::iter::once(&head[..]).chain(pieces(*choice, text)));
    match (read, plain_chunks(text)) {
        (Some(read), Some(plain)) => {
            assert!(read.is_done, "the end is seen");
            let left = text.get(plain.length..).unwrap_or_default();
            assert_eq!((read.data, &read.left[..]), (plain.data, left));
        }
        (Some(read), None) => assert!(!read.is_done, "an end where there is none"),
        // Trailers need not be headers to the plain parser, and nothing is too long for it.
        (None, Some(plain)) => {
            assert!(plain.has_trailers || text.len() > 16 * 1024, "refused without a reason");
        }
        (None, None) => {}
    }
}

/// A chunked body as the plain parser reads it.
struct PlainChunks {
    data: Vec<u8>,
    /// With all that is around the data.
    length: usize,
    has_trailers: bool,
}

/// `None` for what is malformed or has no end.
fn plain_chunks(text: &[u8]) -> Option<PlainChunks> {
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let line = line(text.get(at..)?)?;
        at += line.len() + 2;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let mut after = line.iter().skip(digits).skip_while(|byte| matches!(byte, b' ' | b'\t'));
        if !matches!(after.next(), None | Some(b';')) {
            return None;
        }
        let size = std::str::from_utf8(line.get(..digits)?).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            break;
        }
        let end = at.checked_add(size)?;
        data.extend_from_slice(text.get(at..end)?);
        (text.get(end..end.checked_add(2)?)? == b"\r\n").then_some(())?;
        at = end + 2;
    }
    let mut has_trailers = false;
    loop {
        let line = line(text.get(at..)?)?;
        at += line.len() + 2;
        if line.is_empty() {
            return Some(PlainChunks { data, length: at, has_trailers });
        }
        has_trailers = true;
    }
}

/// Up to the line end, which is CRLF and nothing else.
fn line(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().position(|byte| b"\r\n".contains(byte))?;
    text.get(length..)?.starts_with(b"\r\n").then(|| text.get(..length)).flatten()
}

/// A stream of events means the same however it is cut.
pub fn events(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let mut scanner = Scanner::default();
    let mut meanings = pieces(*choice, text).map(|piece| scanner.read(piece));
    let cut = meanings.find(|meaning| *meaning != Meaning::Nothing).unwrap_or(Meaning::Nothing);
    assert_eq!(cut, Scanner::default().read(text));
    for kind in ["text/event-stream", "application/x-ndjson"] {
        let cut = judged(kind, pieces(*choice, text));
        assert_eq!(cut.0, judged(kind, std::iter::once(text)).0, "the cut changes the verdict");
        assert!(cut.1 <= text.len() as u64, "there are more texts than bytes");
    }
}

/// What a stream comes to, and how many texts it has where it counts no tokens itself.
fn judged<'a>(kind: &'static str, pieces: impl Iterator<Item = &'a [u8]>) -> (Verdict, u64) {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    let mut tap = Tap::of(200, &headers).expect("it is a stream");
    for (place, piece) in (0..).zip(pieces) {
        tap.read(piece, Moment::from_nanos(place), true, |_| {});
    }
    tap.finish(|_| {});
    (tap.verdict(), tap.texts())
}

/// A request's head means the same however it is cut into reads, and what it says about its body is said once. The first byte chooses the
/// cut.
pub fn request_head(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let whole = read_request(std::iter::once(text));
    let cut = read_request(pieces(*choice, text));
    let Ok((Head { parts, body, terms }, left)) = &whole else {
        assert!(cut.is_err(), "refused when it comes at once, and let in when it is cut");
        return;
    };
    let Ok((again, left_again)) = &cut else {
        panic!("let in when it comes at once, and refused when it is cut")
    };
    let left_again =
        [left_again, text.get(text.len() - (left.len() - left_again.len())..).unwrap_or_default()];
    assert_eq!(
        (&parts.method, &parts.uri, &parts.headers),
        (&again.parts.method, &again.parts.uri, &again.parts.headers)
    );
    assert_eq!(
        (terms, body.bytes_left(), &left_again.concat()),
        (&again.terms, again.body.bytes_left(), left)
    );
    let head = text.get(..text.len() - left.len()).unwrap_or_default();
    let lines = head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    assert!(lines.clone().all(|line| line.ends_with(b"\r")), "a bare line feed");
    let named = |name: &str| {
        let is_it = |line: &&[u8]| {
            line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        };
        lines.clone().filter(is_it).count()
    };
    assert_eq!(body.bytes_left().is_none(), named("transfer-encoding:") == 1, "chunks");
    assert!(named("transfer-encoding:") == 0 || named("content-length:") == 0 && terms.is_http_1_1);
    assert!(parts.headers.get_all(CONTENT_LENGTH).iter().count() <= 1);
}

/// Reads a request's head from these pieces as a connection does, and what came after it.
fn read_request<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Head, Vec<u8>), ()> {
    let (mut input, mut searched) = (Bytes::new(), Searched::default());
    for piece in pieces {
        input = [&input, piece].concat().into();
        match read_head(&mut input, &mut searched, BOUNDS, HeaderMap::new) {
            Ok(Some(head)) => return Ok((head, input.to_vec())),
            Ok(None) => {}
            Err(_) => return Err(()),
        }
    }
    Err(())
}

/// What was told of a connection's beginning stays true whatever follows.
pub fn preface(bytes: &[u8]) {
    let told = preface::tell(bytes);
    for length in 0..bytes.len().min(64) {
        let before = preface::tell(bytes.get(..length).unwrap_or_default());
        assert!(before.is_none() || before == told, "{before:?} after {length} bytes, then {told:?}");
    }
}

/// What passes for a host is a host to another parser too, and the same one.
pub fn authority(bytes: &[u8]) {
    if !gate::is_authority(bytes) {
        return;
    }
    let text = std::str::from_utf8(bytes).expect("an authority is ASCII");
    assert!(!text.contains(['@', '/', '?', '#', '\\', ',', ' ', '"']), "{text}");
    if let Ok(other) = http::uri::Authority::try_from(bytes) {
        let host = text.rfind(':').filter(|_| !text.ends_with(']')).map_or(text, |colon| &text[..colon]);
        assert_eq!(other.host(), host, "{text}");
    }
}

/// A request of HTTP/2 that the gate lets in is, once it is written for an instance, exactly one request, and the same one. Lines of
/// the input are its method, its target and its headers; the first byte chooses how its body is framed and whether the client is a
/// trusted proxy.
pub fn request(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let mut lines = text.split(|byte| *byte == b'\n');
    let (method, target) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut request = Request::builder().version(Version::HTTP_2).method(method).uri(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        request =
            request.header(line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default());
    }
    let Ok(request) = request.body(()) else { return };
    let (mut head, ()) = request.into_parts();
    if head.method == Method::CONNECT || downgrade::admit(&mut head, BOUNDS).is_err() {
        return;
    }
    let trusted = TrustedProxy::parse("127.0.0.1").into_iter().filter(|_| choice & 1 == 1).collect();
    let peer = Peer::Internet(([127, 0, 0, 1], 9).into());
    let downstream = Downstream::new(peer, Scheme::Http, &TrustedProxies::new(trusted));
    let framing = if choice & 2 == 0 { BodyFraming::Empty } else { BodyFraming::Chunked };
    let (mut out, ids) = (Vec::new(), RefCell::new(RequestIds::new(StdRng::seed_from_u64(1))));
    let mut id = NewId::new(&ids);
    let additions =
        Additions { downstream: &downstream, instance: "instance:1", framing, upgrade: None, id: &mut id };
    headers::write_request(&mut out, &head, additions);

    let mut lines = [httparse::EMPTY_HEADER; 256];
    let mut written = httparse::Request::new(&mut lines);
    let length = match written.parse(&out) {
        Ok(httparse::Status::Complete(length)) => length,
        Err(httparse::Error::TooManyHeaders) => return,
        other => panic!("{other:?} of {:?}", String::from_utf8_lossy(&out)),
    };
    assert_eq!(length, out.len(), "one head and nothing after it");
    let target = head.uri.path_and_query().map(|target| target.as_str());
    assert_eq!((written.method, written.path), (Some(head.method.as_str()), target));
    let named = |wanted: &str| written.headers.iter().filter(|line| line.name == wanted).count();
    assert_eq!(named(HOST.as_str()), 1);
    assert_eq!(named("transfer-encoding"), usize::from(framing == BodyFraming::Chunked));
    assert_eq!(named("upgrade") + named("x-snapback-fleet"), 0);
    // `te: trailers` goes on, and concerns one hop (RFC 9110 section 10.1.4).
    let mut connections = written.headers.iter().filter(|line| line.name == "connection");
    assert!(connections.all(|line| line.value == b"te"), "what a client says of its connection passes");
    assert!(named("x-forwarded-for") == 1 && named("x-forwarded-proto") == 1);
}
