//! An instance's response: its head, checked strictly, and how its body is framed.
//!
//! hyper has a client too, and it is not used: it puts each connection into a task of its own, with its own buffers and channels.
//! Sending and reading in the request's own task took 37,800 instructions a request down to 23,000, and the CPU time
//! from 1.10 of HAProxy's to 0.96 (`benches/README.md`). Heads are parsed by httparse, as hyper does.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::{
    blank_line::Searched,
    call::INTERIM_LIMIT,
    chunks::Chunks,
    headers::{self, Kind},
    upgrade::Ask,
};

/// What a response answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) method: &'a Method,
    /// What the request wants to switch to.
    pub(super) ask: Option<&'a Ask>,
}

/// A response head larger than this is refused. What model servers send is a tenth of it.
const HEAD_LIMIT_BYTES: usize = 64 * 1024;

/// Header lines of a response. As many as of a request.
const HEADERS_LIMIT: usize = 100;

/// Why bytes from an instance are no response. Never shown to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// How a response begins.
#[derive(Debug)]
pub(super) struct StatusLine {
    pub(super) status: StatusCode,
    /// Unless it is the usual one.
    pub(super) reason: Option<ReasonPhrase>,
}

/// The head of a response, without its headers.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) line: StatusLine,
    pub(super) body: BodyDecoder,
    /// Whether the instance keeps the connection after the response.
    pub(super) is_kept_alive: bool,
}

/// How the rest of a response's body is found in what comes.
#[derive(Debug)]
pub(super) enum BodyDecoder {
    /// So many bytes.
    Length(u64),
    Chunked(Chunks),
    /// Everything until the instance closes.
    UntilClose,
    /// All of that has come.
    Closed,
}

/// What the lines of a head say about the message.
#[derive(Default)]
struct Framing {
    lengths: u32,
    length: u64,
    codings: u32,
    connection: headers::ConnectionLine,
}

/// How far a connection is with the head of a final response.
#[derive(Debug)]
pub(super) struct Progress {
    searched: Searched,
    /// How many more interim responses may come before it.
    interim_left: u32,
}

impl Default for Progress {
    fn default() -> Self {
        Self { searched: Searched::default(), interim_left: INTERIM_LIMIT }
    }
}

/// Takes the head of a final response from `input` and fills `headers` with what passes on, once it is complete. Interim
/// responses before it are dropped.
pub(super) fn read_head(
    input: &mut Bytes,
    question: Question<'_>,
    headers: &mut HeaderMap,
    progress: &mut Progress,
) -> Result<Option<Head>, Malformed> {
    let Progress { searched, interim_left } = progress;
    loop {
        if input.len() <= HEAD_LIMIT_BYTES && !searched.may_be_complete(input) {
            searched.note(input);
            return Ok(None);
        }
        let mut lines = [const { MaybeUninit::uninit() }; HEADERS_LIMIT];
        let mut response = httparse::Response::new(&mut []);
        let parsed =
            ParserConfig::default().parse_response_with_uninit_headers(&mut response, input, &mut lines);
        let length = match parsed {
            // A head that is complete may have come in one read with what is beyond the limit.
            Ok(Status::Complete(length)) if length <= HEAD_LIMIT_BYTES => length,
            Ok(Status::Partial) if input.len() <= HEAD_LIMIT_BYTES => {
                searched.note(input);
                return Ok(None);
            }
            Ok(_) => return Err(Malformed("Its head is too large.")),
            Err(_) => return Err(Malformed("Its head is not HTTP.")),
        };
        searched.forget();
        let code = response.code.unwrap_or_default();
        if matches!(code, 100 | 102..=199) {
            *interim_left =
                interim_left.checked_sub(1).ok_or(Malformed("It has too many interim responses."))?;
            input.advance(length);
            continue;
        }
        let status = final_status(code, question.ask, response.headers)?;
        let mut framing = Framing::default();
        headers.clear();
        headers.reserve(response.headers.len());
        for line in &*response.headers {
            take_line(input, line, headers, &mut framing)?;
        }
        framing.connection.remove_named(headers);
        let is_http_1_1 = response.version == Some(1);
        let reason = response.reason.filter(|reason| Some(*reason) != status.canonical_reason());
        let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
        let head = Head {
            line: StatusLine { status, reason },
            body: framing.body(question.method, status, is_http_1_1)?,
            is_kept_alive: framing.connection.keeps_alive(is_http_1_1),
        };
        input.advance(length);
        return Ok(Some(head));
    }
}

/// 101 is final, where it was asked for.
fn final_status(
    code: u16,
    ask: Option<&Ask>,
    headers: &[httparse::Header<'_>],
) -> Result<StatusCode, Malformed> {
    if let (101, Some(ask)) = (code, ask) {
        return ask.check_answer(headers).map(|()| StatusCode::SWITCHING_PROTOCOLS);
    }
    let status = StatusCode::from_u16(code).ok().filter(|status| (200..=599).contains(&status.as_u16()));
    status.ok_or(Malformed("Its status is not a final one from 200 to 599, or switches protocols unasked."))
}

fn take_line(
    input: &Bytes,
    line: &httparse::Header<'_>,
    headers: &mut HeaderMap,
    framing: &mut Framing,
) -> Result<(), Malformed> {
    const NOT_HTTP: Malformed = Malformed("A header is not HTTP.");
    let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| NOT_HTTP)?;
    match headers::kind(name.as_str()) {
        Kind::Connection => {
            framing.connection.add(line.value);
            return Ok(());
        }
        Kind::SingleHop | Kind::Te | Kind::Own => return Ok(()),
        Kind::Coding => {
            framing.codings += 1;
            return if line.value.eq_ignore_ascii_case(b"chunked") {
                Ok(())
            } else {
                Err(Malformed("It has a transfer coding other than chunked."))
            };
        }
        Kind::Length => {
            framing.lengths += 1;
            framing.length = number(line.value).ok_or(Malformed("Its Content-Length is not a number."))?;
        }
        Kind::Host | Kind::Trailer | Kind::Forwarded | Kind::RequestId | Kind::Underscored | Kind::Other => {}
    }
    let value = HeaderValue::from_maybe_shared(input.slice_ref(line.value)).map_err(|_| NOT_HTTP)?;
    headers.append(name, value);
    Ok(())
}

/// Digits, fewer than would overflow.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let fits = (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    fits.then(|| text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

impl Framing {
    /// RFC 9112 section 6.3, without the cases that are to be repaired: those are refused.
    fn body(&self, method: &Method, status: StatusCode, is_http_1_1: bool) -> Result<BodyDecoder, Malformed> {
        if self.lengths + self.codings > 1 {
            return Err(Malformed("Its length can be read in more than one way."));
        }
        if self.codings > 0 && !is_http_1_1 {
            return Err(Malformed("It has chunks in HTTP/1.0."));
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return match self.lengths + self.codings {
                0 => Ok(BodyDecoder::Length(0)),
                _ => Err(Malformed("It switches protocols, and has a body in the one before.")),
            };
        }
        let is_empty =
            method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(match (self.lengths, self.codings) {
            _ if is_empty => BodyDecoder::Length(0),
            (0, 0) => BodyDecoder::UntilClose,
            (_, 0) => BodyDecoder::Length(self.length),
            (_, _) => BodyDecoder::Chunked(Chunks::new()),
        })
    }
}

impl BodyDecoder {
    /// Whether the last byte has come.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_done(),
            Self::UntilClose => false,
            Self::Closed => true,
        }
    }

    /// Whether trailers came after the last byte and were not taken.
    pub(super) fn has_trailers(&self) -> bool {
        match self {
            Self::Chunked(chunks) => chunks.has_trailers(),
            Self::Length(_) | Self::UntilClose | Self::Closed => false,
        }
    }

    /// The trailers, once.
    pub(super) fn take_trailers(&mut self) -> Result<Option<HeaderMap>, Malformed> {
        match self {
            Self::Chunked(chunks) if chunks.has_trailers() => chunks.take_trailers().map(Some),
            Self::Chunked(_) | Self::Length(_) | Self::UntilClose | Self::Closed => Ok(None),
        }
    }

    /// How many bytes are to come, if that is known.
    pub(super) fn bytes_left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Closed => Some(0),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// The next part of the body in `input`; `None` when it needs more or is done.
    pub(super) fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        match self {
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= u64::try_from(length).unwrap_or(*left);
                Ok((length > 0).then(|| input.split_to(length)))
            }
            Self::Chunked(chunks) => chunks.decode(input),
            Self::UntilClose => Ok((!input.is_empty()).then(|| std::mem::take(input))),
            Self::Closed => Ok(None),
        }
    }

    /// The instance closed. Says whether that is how this body ends.
    pub(super) fn close(&mut self) -> bool {
        if let Self::UntilClose = self {
            *self = Self::Closed;
        }
        self.is_done()
    }
}
