//! One end of a tunnel, whatever carries it: a connection, or a stream of one.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::proxy::read_memory::ReadMemory;

/// One end of a tunnel. Dropped before its own direction has ended, it is broken off.
pub(in crate::proxy) trait End {
    /// What comes next; nothing at the end.
    fn poll_take(&mut self, context: &mut Context<'_>, memory: &ReadMemory) -> Poll<io::Result<Bytes>>;

    /// Takes some of these bytes away, at least one.
    fn poll_put(&mut self, context: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>>;

    /// Lets go what was held back.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says that nothing more is put.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl<S: AsyncRead + AsyncWrite + Unpin> End for S {
    fn poll_take(&mut self, context: &mut Context<'_>, memory: &ReadMemory) -> Poll<io::Result<Bytes>> {
        memory.poll_read(context, self)
    }

    fn poll_put(&mut self, context: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        match ready!(Pin::new(self).poll_write(context, bytes))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            length => {
                bytes.advance(length);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_flush(context)
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_shutdown(context)
    }
}
