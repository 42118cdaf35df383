//! A response on its way to the client: its head as text, and its body as it comes.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes};
use http::{
    HeaderMap, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING},
    response,
};
use http_body::Body;
use hyper::ext::ReasonPhrase;

use super::head::Terms;
use crate::proxy::{
    body::ResponseBody,
    client::{Client, Order},
    decode::number,
    headers::write_line,
    outbox::Outbox,
    socket::ClientSocket,
    trailers,
    worker::Worker,
};

/// A response on its way. Small, since a token stream keeps it for as long as it lasts: the buffer is there only while there is something
/// to write.
#[derive(Debug)]
pub(super) struct Reply {
    out: Outbox,
    body: ResponseBody,
    framing: Framing,
    state: State,
    /// Whether the socket has taken less than it was given. Until it takes the rest, no more is asked for.
    is_blocked: bool,
    /// Whether what there is waits until the other connections of this turn have read.
    is_waiting: bool,
    takes_trailers: bool,
    is_last: bool,
}

/// How the client finds the end of the body (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framing {
    /// There is none, whatever the head states.
    Empty {
        /// The length that the answer to a HEAD states.
        stated: Option<u64>,
    },
    /// After so many more bytes.
    Length(u64),
    Chunked,
    /// Where the connection ends.
    Close,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Flowing,
    /// The last byte is in `out`, or has been written.
    Ended,
    /// Its end came too early, which only the missing end tells the client, once what came before it is written.
    Broken,
}

impl Reply {
    /// A response to a client with these terms.
    pub(super) fn new(response: Response<ResponseBody>, terms: Terms, client: &Client) -> Self {
        let worker = &client.worker;
        let (head, body) = response.into_parts();
        let framing = Framing::of(&head, &body, terms);
        let is_last = client.order() != Order::Serve
            || !terms.keeps_alive
            || framing == Framing::Close
            || says_close(&head.headers);
        let mut buffer = worker.take_buffer();
        buffer.put_slice(client.stop_asking());
        write_head(&mut buffer, &head, Ending { framing, terms, is_last }, worker);
        worker.give_headers(head.headers);
        let mut reply = Self {
            out: Outbox::new(buffer),
            body,
            framing,
            state: State::Flowing,
            is_blocked: false,
            is_waiting: false,
            takes_trailers: terms.takes_trailers,
            is_last,
        };
        if matches!(framing, Framing::Empty { .. } | Framing::Length(0)) {
            reply.finish();
        }
        reply
    }

    /// Gives its buffer back. Whether the connection is not to be kept.
    pub(super) fn end(&mut self, worker: &Worker) -> bool {
        worker.give_buffer(std::mem::take(self.out.small()));
        self.is_last
    }

    /// Writes what there is. Ready when all of it was written, or with an error when there will be no end.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        worker: &Worker,
        socket: &mut ClientSocket,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.is_blocked {
                self.fill(context, worker);
            }
            if !self.out.is_written() {
                if self.lets_others_read(context) {
                    return Poll::Pending;
                }
                let written = self.out.poll_write(context, socket)?;
                self.is_blocked = written.is_pending();
                ready!(written);
                continue;
            }
            ready!(self.out.poll_flush(context, socket))?;
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Broken => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                State::Flowing => {
                    worker.give_buffer(std::mem::take(self.out.small()));
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether a part of a stream is to be written only when the others that came in the same turn were read. Many small writes in a row find
    /// their readers awake; with reads between them each write wakes its reader anew, which costs the kernel more than the write does.
    fn lets_others_read(&mut self, context: &Context<'_>) -> bool {
        let is_small_part = self.state == State::Flowing && self.out.has_room() && !self.is_blocked;
        self.is_waiting = is_small_part && !self.is_waiting;
        if self.is_waiting {
            context.waker().wake_by_ref();
        }
        self.is_waiting
    }

    /// Takes parts of the body until there is enough for one write.
    fn fill(&mut self, context: &mut Context<'_>, worker: &Worker) {
        while self.state == State::Flowing && self.out.has_room() {
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => return,
                Poll::Ready(frame) => frame,
            };
            if self.out.small().capacity() == 0 {
                *self.out.small() = worker.take_buffer();
            }
            match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                Some(Ok(Ok(part))) => self.push(part),
                Some(Ok(Err(frame))) => self.end_body(frame.into_trailers().ok()),
                Some(Err(_)) => self.state = State::Broken,
                None => self.end_body(None),
            }
        }
    }

    fn push(&mut self, part: Bytes) {
        match &mut self.framing {
            Framing::Length(left) => {
                let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
                // More than was stated would be the next response.
                let Some(rest) = left.checked_sub(length) else {
                    self.state = State::Broken;
                    return;
                };
                *left = rest;
                self.out.push(part);
                if rest == 0 {
                    self.finish();
                }
            }
            Framing::Chunked => self.out.push_chunk(part),
            Framing::Close => self.out.push(part),
            Framing::Empty { .. } => {}
        }
    }

    fn end_body(&mut self, trailers: Option<HeaderMap>) {
        match (self.framing, trailers) {
            (Framing::Length(_), _) => self.state = State::Broken,
            (Framing::Chunked, Some(trailers)) if self.takes_trailers => {
                trailers::write_end(self.out.small(), &trailers);
                self.finish();
            }
            (Framing::Chunked, _) => {
                self.out.small().put_slice(b"0\r\n\r\n");
                self.finish();
            }
            (Framing::Close | Framing::Empty { .. }, _) => self.finish(),
        }
    }

    /// Nothing more is asked for, which ends the exchange.
    fn finish(&mut self) {
        self.state = State::Ended;
        self.body = ResponseBody::Empty;
    }
}

impl Framing {
    fn of(head: &response::Parts, body: &ResponseBody, terms: Terms) -> Self {
        let declared = head.headers.get(CONTENT_LENGTH).and_then(|length| number(length.as_bytes()));
        if terms.is_head {
            let own = if let ResponseBody::Own(_) = body { body.size_hint().exact() } else { None };
            return Self::Empty { stated: declared.or(own) };
        }
        let is_empty = matches!(
            head.status,
            StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if is_empty {
            return Self::Empty { stated: None };
        }
        if body.is_end_stream() {
            return Self::Length(0);
        }
        match declared.or_else(|| body.size_hint().exact()) {
            Some(length) => Self::Length(length),
            None if terms.is_http_1_1 => Self::Chunked,
            None => Self::Close,
        }
    }
}

fn says_close(headers: &HeaderMap) -> bool {
    headers.get(CONNECTION).is_some_and(|connection| connection == "close")
}

/// What a head says about the end of its response.
struct Ending {
    framing: Framing,
    terms: Terms,
    is_last: bool,
}

fn write_head(out: &mut Vec<u8>, head: &response::Parts, ending: Ending, worker: &Worker) {
    let Ending { framing, terms, is_last } = ending;
    out.put_slice(if terms.is_http_1_1 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
    out.put_slice(head.status.as_str().as_bytes());
    out.put_slice(b" ");
    match head.extensions.get::<ReasonPhrase>() {
        Some(reason) => out.put_slice(reason.as_bytes()),
        None => out.put_slice(head.status.canonical_reason().unwrap_or_default().as_bytes()),
    }
    out.put_slice(b"\r\n");
    let mut has_date = false;
    for (name, value) in &head.headers {
        match *name {
            // What says where the body ends is written below, and no other way of saying it passes.
            CONTENT_LENGTH | TRANSFER_ENCODING => continue,
            TRAILER if framing != Framing::Chunked => continue,
            CONNECTION if head.status != StatusCode::SWITCHING_PROTOCOLS => continue,
            DATE => has_date = true,
            _ => {}
        }
        write_line(out, name.as_str(), value.as_bytes());
    }
    if !has_date {
        worker.write_date(out);
    }
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::Empty { stated } => stated,
        Framing::Chunked => {
            out.put_slice(b"transfer-encoding: chunked\r\n");
            None
        }
        Framing::Close => None,
    };
    if let Some(length) = length {
        write!(out, "content-length: {length}\r\n").expect("memory takes every write");
    }
    out.put_slice(match (is_last, terms.is_http_1_1) {
        _ if head.status == StatusCode::SWITCHING_PROTOCOLS => b"\r\n",
        (true, _) => b"connection: close\r\n\r\n",
        (false, true) => b"\r\n",
        // RFC 9112 section 9.3: a client of HTTP/1.0 is told that what it asked for is so.
        (false, false) => &b"connection: keep-alive\r\n\r\n"[..],
    });
}
