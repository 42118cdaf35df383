//! A request on its way to an instance: head, then body, as they come.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes};
use http::HeaderMap;
use tokio::io::AsyncWrite;

use super::{
    headers::BodyFraming,
    trailers,
    upload::{RequestBody, UploadError},
};
use crate::net::Stream;

/// Up to this, what is to be written is copied together and sent in one `send`, head and body. From some 16 KiB on, the
/// copy would cost more than a second buffer does.
const GATHER_BYTES: usize = 8 * 1024;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sending {
    body: Option<Rc<RequestBody>>,
    framing: BodyFraming,
    /// Which frame of the body is next.
    place: usize,
    /// The head, and what is to be written next.
    out: Vec<u8>,
    written: usize,
    /// A frame too large to copy, to be written after `out`, and what follows it.
    frame: Bytes,
    frame_end: &'static [u8],
    /// Whether the stream may hold back what was written: TLS does.
    is_held: bool,
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
        Self {
            out: head,
            body,
            framing,
            place: 0,
            written: 0,
            frame: Bytes::new(),
            frame_end: b"",
            is_held: false,
            state,
        }
    }

    /// Whether it was written to its last byte.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Ended && self.is_flushed() && !self.is_held
    }

    /// The buffer, for the next request.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.out
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
            let is_ended = self.state == State::Ended;
            let written = match (self.is_flushed(), self.is_held) {
                (true, false) if is_ended => return Poll::Ready(Ok(())),
                (true, false) => return Poll::Pending,
                (true, true) => ready!(Pin::new(&mut *stream).poll_flush(context)).map(|()| 0),
                (false, _) => ready!(self.poll_write(context, stream)),
            };
            match written {
                Ok(0) if !self.is_flushed() => self.state = State::Refused,
                Ok(length) => self.advance(length),
                Err(_) => self.state = State::Refused,
            }
        }
    }

    fn is_flushed(&self) -> bool {
        self.written == self.out.len() && self.frame.is_empty()
    }

    /// Takes frames until there is enough for one write.
    fn fill(&mut self, context: &mut Context<'_>) -> Result<(), UploadError> {
        while self.state == State::Flowing
            && self.frame.is_empty()
            && self.out.len() - self.written < GATHER_BYTES
            && let Some(body) = &self.body
        {
            match body.poll_frame(self.place, context) {
                Poll::Pending => break,
                Poll::Ready(Some(frame)) => {
                    self.place += 1;
                    match frame?.into_data() {
                        Ok(data) => self.push(data),
                        Err(frame) => self.end(frame.into_trailers().ok()),
                    }
                }
                Poll::Ready(None) => self.end(None),
            }
        }
        Ok(())
    }

    fn push(&mut self, frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        let end: &[u8] = if self.framing == BodyFraming::Chunked {
            put_chunk_size(&mut self.out, frame.len());
            b"\r\n"
        } else {
            b""
        };
        if frame.len() <= GATHER_BYTES {
            self.out.put_slice(&frame);
            self.out.put_slice(end);
        } else {
            self.frame = frame;
            self.frame_end = end;
        }
    }

    /// Trailers need chunks around them: with a length they would be taken for the next request.
    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.state = State::Ended;
        match (self.framing, trailers) {
            (BodyFraming::Chunked, None) => self.out.put_slice(b"0\r\n\r\n"),
            (BodyFraming::Chunked, Some(trailers)) => trailers::write_end(&mut self.out, &trailers),
            (BodyFraming::Empty | BodyFraming::Length, _) => {}
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<usize>> {
        let small = self.out.get(self.written..).unwrap_or_default();
        match (small.is_empty(), self.frame.is_empty()) {
            (_, true) => Pin::new(stream).poll_write(context, small),
            (true, false) => Pin::new(stream).poll_write(context, &self.frame),
            (false, false) => {
                let slices = [IoSlice::new(small), IoSlice::new(&self.frame)];
                Pin::new(stream).poll_write_vectored(context, &slices)
            }
        }
    }

    /// Takes note of what was written, or with nothing, that it was flushed.
    fn advance(&mut self, length: usize) {
        self.is_held = length > 0;
        let small = length.min(self.out.len() - self.written);
        self.written += small;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        if !self.frame.is_empty() {
            self.frame.advance(length - small);
            if self.frame.is_empty() {
                self.out.put_slice(self.frame_end);
            }
        }
    }
}

/// A chunk's size line.
fn put_chunk_size(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = size >> (4 * place) & 0xf;
        out.push(DIGITS.get(digit).copied().unwrap_or(b'0'));
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_size_is_written_in_hexadecimal_digits() {
        for size in [1, 9, 15, 16, 255, 256, 4_096, 65_535, 65_536, 16_777_216] {
            let mut out = Vec::new();
            put_chunk_size(&mut out, size);
            assert_eq!(out, format!("{size:x}\r\n").as_bytes());
        }
    }
}
