//! A call over HTTP/1, which has the connection to itself: sent and answered in the request's own task, both ways at once.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Frame;

use super::{
    call::Lost,
    decode::{self, BodyDecoder, Head, Malformed, Question, StatusLine},
    pool::Lease,
    read_memory::{ReadMemory, join},
    sending::Sending,
    upgrade::{Instance, Switched},
};
use crate::time::Moment;

/// One request on one connection. Dropped before the end of both directions, it closes the connection.
#[derive(Debug)]
pub(super) struct Http1Call {
    lease: Lease,
    sending: Sending,
    /// What has come and was not looked at.
    input: Bytes,
    has_heard: bool,
    head: decode::Progress,
    body: BodyDecoder,
    is_kept_alive: bool,
}

impl Http1Call {
    pub(super) fn new(lease: Lease, sending: Sending) -> Self {
        Self {
            lease,
            sending,
            input: Bytes::new(),
            has_heard: false,
            head: decode::Progress::default(),
            body: BodyDecoder::Length(0),
            is_kept_alive: false,
        }
    }

    /// Whether its connection had served a request before and has brought no byte of a response: the instance may have closed it
    /// at the very moment at which the request was sent.
    pub(super) fn may_have_been_closed(&self) -> bool {
        self.lease.is_reused() && !self.has_heard
    }

    /// Sends the request and waits for the head of the response, whose headers are put into `headers`.
    pub(super) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        memory: &ReadMemory,
        question: Question<'_>,
        headers: &mut HeaderMap,
    ) -> Poll<Result<StatusLine, Lost>> {
        self.send(context)?;
        loop {
            let read = ready!(self.poll_read(context, memory));
            let bytes = read.and_then(some).map_err(Lost::Closed)?;
            self.has_heard = true;
            self.input = join(std::mem::take(&mut self.input), bytes);
            let head = decode::read_head(&mut self.input, question, headers, &mut self.head);
            if let Some(Head { line, body, is_kept_alive }) = head.map_err(Lost::Malformed)? {
                if line.status == StatusCode::SWITCHING_PROTOCOLS && !self.sending.is_complete() {
                    let defect = "It switches protocols before it can have read the request.";
                    return Poll::Ready(Err(Lost::Malformed(Malformed(defect))));
                }
                (self.body, self.is_kept_alive) = (body, is_kept_alive);
                return Poll::Ready(Ok(line));
            }
        }
    }

    /// The next part of the response's body that comes; the request goes on being sent meanwhile.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        memory: &ReadMemory,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        self.send(context)?;
        loop {
            if let Some(bytes) = self.body.decode(&mut self.input).map_err(Lost::Malformed)? {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.body.is_done() {
                let trailers = self.body.take_trailers().map_err(Lost::Malformed)?;
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            // Empty as it is, it would keep the memory that it was cut from.
            self.input = Bytes::new();
            let bytes = ready!(self.poll_read(context, memory)).map_err(Lost::Closed)?;
            if bytes.is_empty() && !self.body.close() {
                return Poll::Ready(Some(Err(Lost::Closed(io::ErrorKind::UnexpectedEof.into()))));
            }
            self.input = bytes;
        }
    }

    /// Whether the response has come to its last byte, and its trailers were taken.
    pub(super) fn is_answered(&self) -> bool {
        self.body.is_done() && !self.body.has_trailers()
    }

    /// How many bytes of the response's body are to come, if that is known.
    pub(super) fn bytes_left(&self) -> Option<u64> {
        self.body.bytes_left()
    }

    /// The request's buffer, if nothing more is written.
    pub(super) fn spare_buffer(&mut self) -> Option<Vec<u8>> {
        self.sending.spare_buffer()
    }

    /// Gives the connection back if both directions ended cleanly, else closes it. Returns the request's buffer.
    pub(super) fn end(self, now: Moment) -> Vec<u8> {
        let Self { lease, sending, input, body, is_kept_alive, .. } = self;
        // Bytes after the response would be taken for the next one.
        if is_kept_alive && body.is_done() && input.is_empty() && sending.is_complete() {
            lease.release(now);
        }
        sending.into_buffer()
    }

    /// Takes the connection out of HTTP, after a 101, and the request's buffer.
    pub(super) fn switch(self) -> (Switched, Vec<u8>) {
        let Self { lease, sending, input, .. } = self;
        (Switched { instance: Instance::Connection(lease), early: input }, sending.into_buffer())
    }

    fn send(&mut self, context: &mut Context<'_>) -> Result<(), Lost> {
        if self.sending.is_complete() {
            return Ok(());
        }
        match self.sending.poll(context, self.lease.stream()) {
            Poll::Ready(Err(error)) => Err(Lost::Request(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>, memory: &ReadMemory) -> Poll<io::Result<Bytes>> {
        memory.poll_read(context, self.lease.stream())
    }
}

/// An empty read is the end of the connection.
fn some(bytes: Bytes) -> io::Result<Bytes> {
    if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}
