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
use http::{HeaderMap, Method};
use http_body::Frame;

use super::{
    decode::{Malformed, StatusLine},
    http1_call::{Http1Call, ReadMemory},
    pool::Lease,
    sending::Sending,
    upload::UploadError,
};
use crate::time::Moment;

/// Interim responses (1xx) before the final one. HAProxy and curl stop at similar numbers.
pub(super) const INTERIM_LIMIT: u32 = 32;

/// One request at one instance. Dropped before the end of both directions, it ends what the instance does for it.
#[derive(Debug)]
pub(super) struct Call {
    transport: Http1Call,
    /// Parts of the body that were kept back.
    held: VecDeque<Frame<Bytes>>,
}

/// Why a call ended before its response did.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
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
    pub(super) fn new(lease: Lease, sending: Sending) -> Self {
        Self { transport: Http1Call::new(lease, sending), held: VecDeque::new() }
    }

    /// Whether its connection had served a request before and has brought no byte of a response: the instance may have closed it
    /// at the very moment at which the request was sent.
    pub(super) fn may_have_been_closed(&self) -> bool {
        self.transport.may_have_been_closed()
    }

    /// The same request on another connection. Its body must be able to replay.
    pub(super) fn again(self, lease: Lease) -> Self {
        Self { transport: self.transport.again(lease), held: VecDeque::new() }
    }

    /// Sends the request and waits for the head of the response, whose headers are put into `headers`.
    pub(super) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        memory: &ReadMemory,
        method: &Method,
        headers: &mut HeaderMap,
    ) -> Poll<Result<StatusLine, Lost>> {
        self.transport.poll_head(context, memory, method, headers)
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
        self.transport.poll_next(context, memory)
    }

    /// Whether the response has come to its end, and nothing of it was kept back.
    pub(super) fn is_answered(&self) -> bool {
        self.held.is_empty() && self.transport.is_answered()
    }

    /// How many bytes of the response's body are to come, if that is known.
    pub(super) fn bytes_left(&self) -> Option<u64> {
        let held: usize = self.held.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        self.transport.bytes_left()?.checked_add(u64::try_from(held).ok()?)
    }

    /// Gives the connection back if both directions ended cleanly, else closes it. Returns the request's buffer.
    pub(super) fn end(self, now: Moment) -> Vec<u8> {
        self.transport.end(now)
    }
}
