//! The response body on its way downstream.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    caller::Caller,
    error::Failure,
    exchange::{End, Exchange},
    hold::Beginning,
    pool::Lease,
};

/// What a client gets as the body of a response.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// Nothing.
    Empty,
    /// The proxy's own words, until they are taken.
    Own(Bytes),
    /// An instance's body.
    Streamed(Stream),
}

/// An instance's response body: passes frames on as they come, and ends the exchange at the last one.
///
/// Dropped before its end, which happens when the client goes away, it closes the upstream connection, and the exchange
/// counts for nobody, unless the head has said already that the fleet failed.
#[derive(Debug)]
pub(super) struct Stream {
    /// What was held back, to go before the rest.
    beginning: Option<Box<Beginning>>,
    incoming: Incoming,
    /// Until the end.
    open: Option<Open>,
    caller: Rc<Caller>,
    has_waited: bool,
    /// The last byte shows the client nothing: only the connection's end does.
    is_close_delimited: bool,
}

#[derive(Debug)]
struct Open {
    exchange: Exchange,
    lease: Lease,
}

impl ResponseBody {
    /// Streams an instance's body, or ends the exchange at once when there is none.
    pub(super) fn stream(
        caller: &Rc<Caller>,
        beginning: Option<Box<Beginning>>,
        incoming: Incoming,
        exchange: Exchange,
        lease: Lease,
        is_close_delimited: bool,
    ) -> Self {
        let mut stream = Stream {
            incoming,
            open: Some(Open { exchange, lease }),
            caller: Rc::clone(caller),
            has_waited: beginning.is_some(),
            beginning,
            is_close_delimited,
        };
        if stream.is_at_end() {
            stream.complete();
            return Self::Empty;
        }
        Self::Streamed(stream)
    }
}

impl Stream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            let next = match self.beginning.as_mut().and_then(|beginning| beginning.next()) {
                Some(frame) => Poll::Ready(Some(Ok(frame))),
                None => Pin::new(&mut self.incoming).poll_frame(context),
            };
            let frame = match next {
                Poll::Ready(frame) => frame,
                // The client takes what it is given, or this would not be polled: the instance is what is late.
                Poll::Pending if self.caller.pulse.is_late() => {
                    return Poll::Ready(Some(Err(self.cut(Failure::IdleTimeout))));
                }
                Poll::Pending => {
                    self.has_waited = true;
                    return Poll::Pending;
                }
            };
            match frame {
                // Trailers: not forwarded.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(Frame::data(self.pass(bytes)))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.cut(Failure::Truncated(error))))),
                None => {
                    self.complete();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn pass(&mut self, bytes: Bytes) -> Bytes {
        self.caller.pulse.beat();
        if let Some(open) = &mut self.open {
            open.exchange.passed(bytes.len());
        }
        // A body of known length ends with its last byte; nobody asks for another frame then.
        if self.is_at_end() {
            self.complete();
        }
        bytes
    }

    fn is_at_end(&self) -> bool {
        self.beginning.as_ref().is_none_or(|beginning| beginning.is_empty()) && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.incoming.size_hint();
        let held = self.beginning.as_ref().map_or(0, |beginning| beginning.length());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint.set_lower(hint.lower().saturating_add(held));
        hint
    }

    fn complete(&mut self) {
        let Some(Open { exchange, lease }) = self.open.take() else { return };
        let now = exchange.settle_complete(if self.has_waited { End::Now } else { End::WithHead });
        lease.release(now);
        self.caller.end_exchange();
    }

    fn cut(&mut self, failure: Failure) -> Failure {
        if let Some(Open { exchange, lease: _ }) = self.open.take() {
            exchange.settle_failed(&failure);
            if self.is_close_delimited {
                self.caller.client.reset_at_close();
            }
        }
        failure
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Own(_) => false,
            Self::Streamed(stream) => stream.is_at_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Own(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Streamed(stream) => stream.size_hint(),
        }
    }
}
