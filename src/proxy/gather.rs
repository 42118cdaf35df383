//! Small writes in one plain `send`.
//!
//! A head and its body are two buffers, which hyper writes with `writev`. For a few kilobytes that system call costs more than
//! copying them together and sending them with `send`.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

/// Up to this, copying is cheaper. From some 16 KiB on the copy would cost more than `writev` does.
const GATHER_BYTES: usize = 8 * 1024;

thread_local! {
    /// A worker's buffer for the duration of one call.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(GATHER_BYTES));
}

/// Writes these buffers, or a part of them, by the cheaper system call.
pub(super) fn poll_write(
    stream: &mut (impl AsyncWrite + Unpin),
    context: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    match slices {
        [only] => Pin::new(stream).poll_write(context, only),
        _ if total > GATHER_BYTES => Pin::new(stream).poll_write_vectored(context, slices),
        _ => BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            for slice in slices {
                buffer.extend_from_slice(slice);
            }
            Pin::new(stream).poll_write(context, buffer)
        }),
    }
}
