//! The response body on its way downstream.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    call::{Call, Lost},
    caller::Caller,
    error::Failure,
    exchange::{End, Exchange},
    grpc,
    invocation::EventStream,
    pulse::Late,
    tap::Progress,
};

/// How long a client may take for the part of a response that came before it broke.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a client gets as the body of a response.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// Nothing.
    Empty,
    /// The proxy's own words, until they are taken.
    Own(Bytes),
    /// An instance's body.
    Streamed(Box<Stream>),
    /// The same, in the framing of Amazon's event streams.
    Events(Box<EventStream>),
}

/// An instance's response body: passes frames on as they come, and ends the exchange at the last one.
///
/// Dropped before its end, which happens when the client goes away, it closes the upstream connection, and the exchange
/// counts for nobody, unless the head has said already that the fleet failed.
#[derive(Debug)]
pub(super) struct Stream {
    /// Until the end.
    open: Option<Open>,
    /// What is to be said next of an end that came too early.
    cut: Option<Result<Frame<Bytes>, Failure>>,
    caller: Rc<Caller>,
    has_waited: bool,
    at_end: AtEnd,
}

#[derive(Debug)]
struct Open {
    exchange: Exchange,
    call: Call,
}

/// What shows the client that a body is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AtEnd {
    /// A length or a last chunk.
    Framing,
    /// The end of the connection, as in HTTP/1.0: only a reset can show that it came too early.
    Close,
}

impl ResponseBody {
    /// Streams an instance's body, or ends the exchange at once when there is none.
    pub(super) fn stream(caller: &Rc<Caller>, exchange: Exchange, call: Call, at_end: AtEnd) -> Self {
        let is_empty = call.is_answered();
        let mut stream = Box::new(Stream {
            has_waited: call.is_holding(),
            open: Some(Open { exchange, call }),
            cut: None,
            caller: Rc::clone(caller),
            at_end,
        });
        if is_empty {
            stream.complete();
            return Self::Empty;
        }
        Self::Streamed(stream)
    }
}

impl Stream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if matches!(self.cut, Some(Err(_))) && self.caller.is_flushing() {
            return Poll::Pending;
        }
        if let Some(cut) = self.cut.take() {
            return Poll::Ready(Some(cut));
        }
        let Some(Open { exchange, call }) = &mut self.open else { return Poll::Ready(None) };
        self.caller.has_room();
        let is_expired = self.caller.pulse.is_expired();
        let failure = match call.poll_frame(context, &self.caller.worker().read_memory) {
            // A stream that goes on and on must end too.
            Poll::Ready(Some(Ok(frame))) if is_expired && frame.is_data() => Failure::Deadline,
            Poll::Ready(Some(Ok(frame))) => {
                self.caller.hand_over(frame.data_ref().map_or(0, Bytes::len));
                let heard = match (frame.data_ref(), frame.trailers_ref()) {
                    (Some(bytes), _) => exchange.passed(bytes),
                    (None, Some(trailers)) => {
                        exchange.read_trailers(trailers);
                        Progress::Made
                    }
                    (None, None) => Progress::Made,
                };
                // A server whose model hangs may still say that it lives.
                match heard {
                    Progress::Made => self.caller.pulse.beat(),
                    Progress::None => self.caller.pulse.idle(),
                }
                // Nobody asks for another frame where the length says that this is the last one.
                if call.is_answered() {
                    self.complete();
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => {
                self.complete();
                return Poll::Ready(None);
            }
            Poll::Pending => match self.caller.pulse.late() {
                // The task is about to end for it.
                None | Some(Late::Slow) => {
                    self.has_waited = true;
                    exchange.await_more();
                    if let Some(buffer) = call.spare_buffer() {
                        self.caller.worker().give_buffer(buffer);
                    }
                    return Poll::Pending;
                }
                // Nor is the instance late for a client that has yet to take what came before: a connection asks for some more than the socket
                // has room for, and a kernel that is short of memory stops both sides of a proxy whose clients do not read.
                Some(Late::Silent) if self.caller.pulse.pace.is_taking() => return Poll::Pending,
                // The client has taken what it was given: the instance is what is late.
                Some(Late::Silent) => Failure::IdleTimeout,
                Some(Late::Overdue) => Failure::Overlong,
                Some(Late::Expired) => Failure::Deadline,
            },
            Poll::Ready(Some(Err(Lost::Request(error)))) => error.into(),
            Poll::Ready(Some(Err(lost))) => Failure::Truncated(lost),
        };
        self.cut(failure);
        // The library for HTTP/2 drops what it has not written yet when it sees an error; a turn of the connection without one lets
        // it write what has come. What the client's window has no room for is lost.
        if self.caller.await_flush() { Poll::Pending } else { Poll::Ready(self.cut.take()) }
    }

    fn complete(&mut self) {
        let Some(Open { exchange, call }) = self.open.take() else { return };
        let now = exchange.settle_complete(if self.has_waited { End::Now } else { End::WithHead });
        if let Some(buffer) = call.end(now) {
            self.caller.worker().give_buffer(buffer);
        }
        self.caller.end_exchange();
    }

    fn cut(&mut self, failure: Failure) {
        if let Some(Open { exchange, call: _ }) = self.open.take() {
            exchange.settle_failed(&failure);
        }
        if self.at_end == AtEnd::Close {
            self.caller.client.reset_at_close();
        }
        self.caller.pulse.expect_end_within(LAST_WORDS);
        // A gRPC client is told in words of its own; any other learns it by the missing end.
        self.cut = Some(match self.caller.speaks_grpc() {
            true => Ok(Frame::trailers(grpc::trailers(&failure))),
            false => Err(failure),
        });
    }
}

impl Drop for Stream {
    /// Whoever writes a body of known length asks for nothing after its last byte, not even for the end of the stream that brought it.
    fn drop(&mut self) {
        if self.open.as_ref().is_some_and(|open| open.call.bytes_left() == Some(0)) {
            self.complete();
        }
        if self.open.is_some() && self.at_end == AtEnd::Close {
            self.caller.client.reset_at_close();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Own(bytes) => {
                let bytes = std::mem::take(bytes);
                self.set(Self::Empty);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Streamed(stream) => stream.poll(context),
            Self::Events(events) => events.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Own(_) => false,
            Self::Streamed(stream) => stream.open.is_none() && stream.cut.is_none(),
            Self::Events(events) => events.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let length = match self {
            Self::Empty => Some(0),
            Self::Own(bytes) => u64::try_from(bytes.len()).ok(),
            Self::Streamed(stream) => stream.open.as_ref().and_then(|open| open.call.bytes_left()),
            Self::Events(_) => None,
        };
        length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
