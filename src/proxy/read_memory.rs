//! Where a worker's HTTP/1 connections read to, on both sides.

use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What connections read is cut from one piece of memory after the other: a few bytes of a token stream cost no buffer of their own,
/// and idle connections none at all.
#[derive(Debug, Default)]
pub(super) struct ReadMemory(RefCell<BytesMut>);

/// The size of a piece. One slow client keeps at most this much from being used again, as long as what is kept of it is [`unshared`].
const PIECE_BYTES: usize = 64 * 1024;

/// The least room for a read: below it a new piece is begun. A big body then moves in reads of 16 to 64 KiB.
const ROOM_BYTES: usize = 16 * 1024;

/// What is kept for longer than it takes to pass it on is copied out of its piece below this. Otherwise a client that sends its body a byte at a
/// time would keep a piece for each byte, with everything that other connections read to it meanwhile; above it, a kept byte holds no more
/// than sixteen.
pub(super) const UNSHARED_BYTES: usize = 4 * 1024;

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

/// The same bytes, to be kept: without the piece of memory that they are a small part of.
pub(super) fn unshared(bytes: Bytes) -> Bytes {
    if bytes.len() < UNSHARED_BYTES { Bytes::copy_from_slice(&bytes) } else { bytes }
}

/// What was read before, with what was read now.
pub(super) fn join(earlier: Bytes, later: Bytes) -> Bytes {
    if earlier.is_empty() {
        return later;
    }
    let mut joined = BytesMut::with_capacity(earlier.len() + later.len());
    joined.extend_from_slice(&earlier);
    joined.extend_from_slice(&later);
    joined.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_of_a_piece_lets_it_go() {
        let memory = ReadMemory::default();
        let mut kept = Vec::new();
        for _ in 0..3 {
            let mut sent: &[u8] = b"a";
            let read = std::future::poll_fn(|context| memory.poll_read(context, &mut sent)).await.unwrap();
            assert!(!read.is_unique(), "the rest of the piece is for the next read");
            kept.push(unshared(read));
        }
        assert!(kept.iter().all(|bytes| bytes.is_unique() && bytes == "a"));
        let large = Bytes::from(vec![7; UNSHARED_BYTES]);
        assert!(
            std::ptr::eq(unshared(large.clone()).as_ptr(), large.as_ptr()),
            "what is large is not copied"
        );
    }
}
