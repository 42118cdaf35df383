//! One request on its way to an instance and its response on the way back.
//!
//! What differs between protocols is in the calls for each of them. What they have in common, such as keeping the beginning of a body
//! back, is here.

use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, request};
use http_body::Frame;

use super::{
    decode::{Malformed, Question, StatusLine},
    http1_call::Http1Call,
    http2_call::{Following, Http2Call},
    multiplex::Seat,
    pool::Lease,
    read_memory::ReadMemory,
    sending::Sending,
    upgrade::{Ask, Switched},
    upload::UploadError,
};
use crate::time::Moment;

/// Interim responses (1xx) before the final one. HAProxy and curl stop at similar numbers.
pub(super) const INTERIM_LIMIT: u32 = 32;

/// One request at one instance. Dropped before the end of both directions, it ends what the instance does for it.
#[derive(Debug)]
pub(super) struct Call {
    transport: Transport,
    /// Parts of the body that were kept back.
    held: VecDeque<Frame<Bytes>>,
}

#[derive(Debug)]
enum Transport {
    Http1(Http1Call),
    Http2(Http2Call),
}

/// Why a call ended before its response did.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The instance says that it has not looked at the request, or nothing was sent.
    #[error("the instance did not take the request")]
    Refused(#[source] io::Error),
    /// The connection ended.
    #[error("the connection ended")]
    Closed(#[source] io::Error),
    /// What came is no response.
    #[error("the response is malformed")]
    Malformed(#[source] Malformed),
    /// The client's body failed.
    #[error("the request body failed")]
    Request(#[source] UploadError),
}

impl Call {
    /// A call on an HTTP/1 connection.
    pub(super) fn alone(lease: Lease, sending: Sending) -> Self {
        Self { transport: Transport::Http1(Http1Call::new(lease, sending)), held: VecDeque::new() }
    }

    /// A call on a shared HTTP/2 connection.
    pub(super) fn shared(seat: Seat, request: Request<()>, following: Following) -> Self {
        Self { transport: Transport::Http2(Http2Call::new(seat, request, following)), held: VecDeque::new() }
    }

    /// Whether its connection had served a request before and has brought no byte of a response: the instance may have closed it
    /// at the very moment at which the request was sent.
    pub(super) fn may_have_been_closed(&self) -> bool {
        match &self.transport {
            Transport::Http1(call) => call.may_have_been_closed(),
            Transport::Http2(call) => call.may_have_been_closed(),
        }
    }

    /// Sends the request and waits for the head of the response, whose headers take the place of the request's.
    pub(super) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        memory: &ReadMemory,
        head: &mut request::Parts,
        ask: Option<&Ask>,
    ) -> Poll<Result<StatusLine, Lost>> {
        match &mut self.transport {
            Transport::Http1(call) => {
                let question = Question { method: &head.method, ask };
                call.poll_head(context, memory, question, &mut head.headers)
            }
            Transport::Http2(call) => call.poll_head(context, &head.method, &mut head.headers),
        }
    }

    /// Keeps a part of the body back, to come again.
    pub(super) fn hold(&mut self, frame: Frame<Bytes>) {
        self.held.push_back(frame);
    }

    /// Whether parts of the body were kept back.
    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// The next part of the response's body, or its trailers; what was kept back first.
    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        memory: &ReadMemory,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        match self.held.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.poll_next(context, memory),
        }
    }

    /// The next part of the response's body that comes, or its trailers; the request goes on being sent meanwhile.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        memory: &ReadMemory,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        match &mut self.transport {
            Transport::Http1(call) => call.poll_next(context, memory),
            Transport::Http2(call) => call.poll_next(context),
        }
    }

    /// Whether the response has come to its end, and nothing of it was kept back.
    pub(super) fn is_answered(&self) -> bool {
        self.held.is_empty()
            && match &self.transport {
                Transport::Http1(call) => call.is_answered(),
                Transport::Http2(call) => call.is_answered(),
            }
    }

    /// How many bytes of the response's body are to come, if that is known.
    pub(super) fn bytes_left(&self) -> Option<u64> {
        let held: usize = self.held.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let left = match &self.transport {
            Transport::Http1(call) => call.bytes_left(),
            Transport::Http2(call) => call.bytes_left(),
        };
        left?.checked_add(u64::try_from(held).ok()?)
    }

    /// The request's buffer, if nothing more is written. The answer may go on for hours.
    pub(super) fn spare_buffer(&mut self) -> Option<Vec<u8>> {
        match &mut self.transport {
            Transport::Http1(call) => call.spare_buffer(),
            Transport::Http2(_) => None,
        }
    }

    /// Ends a call whose response is there. A connection of its own is kept if both directions ended cleanly, else closed, and the
    /// request's buffer comes back; a stream is reset where it did not.
    pub(super) fn end(self, now: Moment) -> Option<Vec<u8>> {
        match self.transport {
            Transport::Http1(call) => Some(call.end(now)),
            Transport::Http2(_) => None,
        }
    }

    /// Takes the connection, or its stream, out of HTTP, after a 101, and the request's buffer where there was one. `None` of a stream that
    /// was not asked for.
    pub(super) fn switch(self) -> Option<(Switched, Option<Vec<u8>>)> {
        match self.transport {
            Transport::Http1(call) => {
                let (switched, buffer) = call.switch();
                Some((switched, Some(buffer)))
            }
            Transport::Http2(call) => Some((call.switch()?, None)),
        }
    }
}
