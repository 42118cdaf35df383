//! A call over HTTP/1, which has the connection to itself: sent and answered in the request's own task, both ways at once.

use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    call::{INTERIM_LIMIT, Lost, Switched},
    decode::{self, BodyDecoder, Head, Malformed, Question, StatusLine},
    pool::Lease,
    sending::Sending,
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
    interim_left: u32,
    body: BodyDecoder,
    is_kept_alive: bool,
}

/// Where a worker's upstream connections read to. Responses are cut from one piece of memory after the other: a few bytes of
/// a token stream cost no buffer of their own, and idle connections none at all.
#[derive(Debug, Default)]
pub(super) struct ReadMemory(RefCell<BytesMut>);

/// The size of a piece. One slow client keeps at most this much from being used again.
const PIECE_BYTES: usize = 64 * 1024;

/// The least room for a read: below it a new piece is begun. A big body then moves in reads of 16 to 64 KiB.
const ROOM_BYTES: usize = 16 * 1024;

impl ReadMemory {
    /// What comes next; nothing at the end.
    pub(super) fn poll_read(
        &self,
        context: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<Bytes>> {
        let mut memory = self.0.borrow_mut();
        if memory.capacity() < ROOM_BYTES {
            memory.reserve(PIECE_BYTES);
        }
        ready!(pin!(stream.read_buf(&mut *memory)).poll(context))?;
        Poll::Ready(Ok(memory.split().freeze()))
    }
}

impl Http1Call {
    pub(super) fn new(lease: Lease, sending: Sending) -> Self {
        Self {
            lease,
            sending,
            input: Bytes::new(),
            has_heard: false,
            interim_left: INTERIM_LIMIT,
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
            let head = decode::read_head(&mut self.input, question, headers, &mut self.interim_left);
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
        (Switched { lease, early: input }, sending.into_buffer())
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

fn join(earlier: Bytes, later: Bytes) -> Bytes {
    if earlier.is_empty() {
        return later;
    }
    let mut joined = BytesMut::with_capacity(earlier.len() + later.len());
    joined.extend_from_slice(&earlier);
    joined.extend_from_slice(&later);
    joined.freeze()
}
