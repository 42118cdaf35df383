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
