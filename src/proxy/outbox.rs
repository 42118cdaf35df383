//! What is to be written to an HTTP/1 connection: a head and small parts of a body copied together, or a big part as it is.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes};
use tokio::io::AsyncWrite;

/// Up to this, what is to be written is copied together and sent in one `send`, head and body. From some 16 KiB on, the
/// copy would cost more than a second buffer does.
const GATHER_BYTES: usize = 8 * 1024;

/// Bytes on their way to a connection.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    small: Vec<u8>,
    written: usize,
    /// A part too large to copy, to be written after `small`, and what follows it.
    large: Bytes,
    large_end: &'static [u8],
    /// Whether the stream may hold back what was written: TLS does.
    is_held: bool,
}

impl Outbox {
    /// With what is in this buffer.
    pub(super) fn new(small: Vec<u8>) -> Self {
        Self { small, ..Self::default() }
    }

    /// The buffer, for another use.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.small
    }

    /// Where small parts are put. Not after a part whose end is still to be written; see [`Outbox::has_room`].
    pub(super) fn small(&mut self) -> &mut Vec<u8> {
        &mut self.small
    }

    /// Whether more can go out in the same write.
    pub(super) fn has_room(&self) -> bool {
        self.large.is_empty() && self.small.len() - self.written < GATHER_BYTES
    }

    /// Whether everything was written.
    pub(super) fn is_written(&self) -> bool {
        self.written == self.small.len() && self.large.is_empty()
    }

    /// Whether the stream may still hold back some of it.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Adds a part of a body.
    pub(super) fn push(&mut self, part: Bytes) {
        self.push_with_end(part, b"");
    }

    /// Adds a part of a body as a chunk.
    pub(super) fn push_chunk(&mut self, part: Bytes) {
        // An empty chunk would be the last one.
        if !part.is_empty() {
            put_chunk_size(&mut self.small, part.len());
            self.push_with_end(part, b"\r\n");
        }
    }

    fn push_with_end(&mut self, part: Bytes, end: &'static [u8]) {
        if part.len() <= GATHER_BYTES {
            self.small.put_slice(&part);
            self.small.put_slice(end);
        } else {
            self.large = part;
            self.large_end = end;
        }
    }

    /// Writes everything.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let small = self.small.get(self.written..).unwrap_or_default();
            let stream = Pin::new(&mut *stream);
            let length = ready!(match (small.is_empty(), self.large.is_empty()) {
                (_, true) => stream.poll_write(context, small),
                (true, false) => stream.poll_write(context, &self.large),
                (false, false) => {
                    stream.poll_write_vectored(context, &[IoSlice::new(small), IoSlice::new(&self.large)])
                }
            })?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(length);
        }
        Poll::Ready(Ok(()))
    }

    /// Makes the stream hold nothing back.
    pub(super) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        if self.is_held {
            ready!(Pin::new(stream).poll_flush(context))?;
            self.is_held = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, length: usize) {
        self.is_held = true;
        let small = length.min(self.small.len() - self.written);
        self.written += small;
        if self.written == self.small.len() {
            self.small.clear();
            self.written = 0;
        }
        if !self.large.is_empty() {
            self.large.advance(length - small);
            if self.large.is_empty() {
                self.large = Bytes::new();
                self.small.put_slice(self.large_end);
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
