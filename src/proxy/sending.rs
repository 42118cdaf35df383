//! A request on its way to an instance: head, then body, as they come.

use std::{
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::BufMut;
use http::HeaderMap;

use super::{
    headers::BodyFraming,
    outbox::Outbox,
    trailers,
    upload::{RequestBody, UploadError},
};
use crate::net::Stream;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sending {
    body: Option<Rc<RequestBody>>,
    framing: BodyFraming,
    /// Which frame of the body is next.
    place: usize,
    /// The head, and what is to be written next.
    out: Outbox,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Flowing,
    /// The last byte is in `out`, or has been written.
    Ended,
    /// The instance reads no more. It may have answered early, such as with 413, so this is no failure yet: what the reading
    /// side finds, an answer or the end, decides.
    Refused,
}

impl Sending {
    /// A request with this head, in a buffer that holds nothing else.
    pub(super) fn new(head: Vec<u8>, framing: BodyFraming, body: Option<Rc<RequestBody>>) -> Self {
        let state = if body.is_some() { State::Flowing } else { State::Ended };
        Self { out: Outbox::new(head), body, framing, place: 0, state }
    }

    /// Whether it was written to its last byte.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Ended && self.out.is_written() && !self.out.is_held()
    }

    /// The buffer, for the next request.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.out.into_buffer()
    }

    /// The buffer of a request that is complete, for the next one. The answer may go on for hours.
    pub(super) fn spare_buffer(&mut self) -> Option<Vec<u8>> {
        let buffer = if self.is_complete() { std::mem::take(self.out.small()) } else { Vec::new() };
        (buffer.capacity() > 0).then_some(buffer)
    }

    /// Writes what there is. Ready when the request is complete, or when its body failed.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            self.fill(context)?;
            if self.state == State::Refused {
                return Poll::Pending;
            }
            let written = match (self.out.is_written(), self.out.is_held()) {
                (true, false) if self.state == State::Ended => return Poll::Ready(Ok(())),
                (true, false) => return Poll::Pending,
                (true, true) => ready!(self.out.poll_flush(context, stream)),
                (false, _) => ready!(self.out.poll_write(context, stream)),
            };
            if written.is_err() {
                self.state = State::Refused;
            }
        }
    }

    /// Takes frames until there is enough for one write.
    fn fill(&mut self, context: &mut Context<'_>) -> Result<(), UploadError> {
        while self.state == State::Flowing
            && self.out.has_room()
            && let Some(body) = &self.body
        {
            match body.poll_frame(self.place, context) {
                Poll::Pending => break,
                Poll::Ready(Some(frame)) => {
                    self.place += 1;
                    match (frame?.into_data(), self.framing) {
                        (Ok(data), BodyFraming::Chunked) => self.out.push_chunk(data),
                        (Ok(data), BodyFraming::Empty | BodyFraming::Length) => self.out.push(data),
                        (Err(frame), _) => self.end(frame.into_trailers().ok()),
                    }
                }
                Poll::Ready(None) => self.end(None),
            }
        }
        Ok(())
    }

    /// Trailers need chunks around them: with a length they would be taken for the next request.
    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.state = State::Ended;
        match (self.framing, trailers) {
            (BodyFraming::Chunked, None) => self.out.small().put_slice(b"0\r\n\r\n"),
            (BodyFraming::Chunked, Some(trailers)) => trailers::write_end(self.out.small(), &trailers),
            (BodyFraming::Empty | BodyFraming::Length, _) => {}
        }
    }
}
