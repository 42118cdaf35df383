//! A stream of HTTP/2 that has become a tunnel: bytes both ways, as on a connection. It carries a client's side, or an instance's.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};

use super::End;
use crate::proxy::read_memory::{ReadMemory, unshared};

/// Both directions of a stream. Dropped before it has ended its own, it resets the stream (RFC 8441 section 5).
#[derive(Debug)]
pub(in crate::proxy) struct Duplex {
    sending: SendStream<Bytes>,
    receiving: RecvStream,
}

impl Duplex {
    pub(in crate::proxy) fn new(sending: SendStream<Bytes>, receiving: RecvStream) -> Self {
        Self { sending, receiving }
    }
}

impl End for Duplex {
    fn poll_take(&mut self, context: &mut Context<'_>, _memory: &ReadMemory) -> Poll<io::Result<Bytes>> {
        loop {
            match ready!(self.receiving.poll_data(context)) {
                // An empty frame is no end.
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    // Only of a stream that is there no more is there nothing to release.
                    let _released = self.receiving.flow_control().release_capacity(bytes.len()).is_ok();
                    return Poll::Ready(Ok(bytes));
                }
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(Bytes::new())),
            }
        }
    }

    fn poll_put(&mut self, context: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        self.sending.reserve_capacity(bytes.len());
        let room = match self.sending.capacity() {
            0 => match ready!(self.sending.poll_capacity(context)) {
                Some(room) => room.map_err(broken)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            },
            room => room,
        };
        // The h2 crate may hold it for long, and many small ones beside it: not with all that was read to the same memory.
        let part = unshared(bytes.split_to(room.min(bytes.len())));
        Poll::Ready(self.sending.send_data(part, false).map_err(broken))
    }

    fn poll_flush(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task does, at the end of its turn.
        Poll::Ready(Ok(()))
    }

    fn poll_end(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.sending.send_data(Bytes::new(), true).map_err(broken))
    }
}

fn broken(error: h2::Error) -> io::Error {
    match error.reason() {
        Some(Reason::NO_ERROR | Reason::CANCEL) => io::ErrorKind::ConnectionReset.into(),
        Some(_) | None => error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()),
    }
}
