//! Which protocol a client speaks, told by the first bytes that it sends.
//!
//! A client that knows beforehand that the proxy speaks HTTP/2 begins with a fixed text (RFC 9113 section 3.4) that is no HTTP/1
//! request. The first byte that differs from it decides, so a client of HTTP/1 waits for nothing.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Room for what is read at first. Most HTTP/1 heads fit, so that being told apart costs them no system call.
const FIRST_READ_BYTES: usize = 2048;

/// A protocol, as a client speaks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spoken {
    /// HTTP/1, or what its parser will refuse.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What was read to tell the protocol and is to be read again.
#[derive(Debug, Default)]
pub(super) struct Peeked {
    bytes: Vec<u8>,
    delivered: usize,
}

impl Peeked {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reads until the protocol can be told; `None` when the stream ends first.
    pub(super) fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Spoken>>> {
        loop {
            if let Some(spoken) = tell(&self.bytes) {
                return Poll::Ready(Ok(Some(spoken)));
            }
            let mut space = [0; FIRST_READ_BYTES];
            let mut buffer = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(None));
            }
            self.bytes.extend_from_slice(buffer.filled());
        }
    }

    /// Reads it again, as much as the buffer takes, and gives the memory back at the end.
    pub(super) fn read(&mut self, buffer: &mut ReadBuf<'_>) {
        let left = self.bytes.get(self.delivered..).unwrap_or_default();
        let taken = left.get(..buffer.remaining()).unwrap_or(left);
        buffer.put_slice(taken);
        self.delivered += taken.len();
        if self.delivered == self.bytes.len() {
            *self = Self::default();
        }
    }
}

/// The protocol of a connection that begins with these bytes, once they say.
pub(super) fn tell(bytes: &[u8]) -> Option<Spoken> {
    match bytes.get(..PREFACE.len()) {
        Some(start) if start == PREFACE => Some(Spoken::Http2),
        Some(_) => Some(Spoken::Http1),
        None if PREFACE.starts_with(bytes) => None,
        None => Some(Spoken::Http1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_from_the_preface_tells_http1() {
        for bytes in ["G", "PO", "PRI * HTTP/1", "PRI * HTTP/2.0\r\n\r\nSN", "\r\n", "\0"] {
            assert_eq!(tell(bytes.as_bytes()), Some(Spoken::Http1), "{bytes:?}");
        }
        for length in 0..PREFACE.len() {
            assert_eq!(tell(&PREFACE[..length]), None, "{length}");
        }
        assert_eq!(tell(PREFACE), Some(Spoken::Http2));
        assert_eq!(tell(&[PREFACE, b"more"].concat()), Some(Spoken::Http2));
    }

    #[test]
    fn what_was_read_ahead_is_read_again_whole_and_in_order() {
        let mut peeked = Peeked { bytes: b"GET / HTTP/1.1".to_vec(), delivered: 0 };
        let mut text = Vec::new();
        while !peeked.is_empty() {
            let mut space = [0; 4];
            let mut buffer = ReadBuf::new(&mut space);
            peeked.read(&mut buffer);
            text.extend_from_slice(buffer.filled());
        }
        assert_eq!(text, b"GET / HTTP/1.1");
    }
}
