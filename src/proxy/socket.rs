//! A client's socket, as whoever speaks a protocol on it reads and writes it.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client::{AtClose, Client};

/// The connection's socket. Dropping it closes the connection, whoever still holds the [`Client`].
#[derive(Debug)]
pub(super) struct ClientSocket {
    client: Rc<Client>,
}

impl ClientSocket {
    pub(super) fn new(client: Rc<Client>) -> Self {
        Self { client }
    }

    /// Reads what the client still sends and throws it away, until it has closed its side too.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.begin_lingering();
        let mut waste = [0; 8192];
        loop {
            let mut buffer = ReadBuf::new(&mut waste);
            ready!(self.client.with_stream(|stream| Pin::new(stream).poll_read(context, &mut buffer)))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.with_stream(|stream| Pin::new(stream).poll_shutdown(context))
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What was read to tell the protocol comes first.
        if self.client.has_input() {
            self.client.with_input(|input| {
                let length = input.len().min(buffer.remaining());
                buffer.put_slice(&input.split_to(length));
            });
            return Poll::Ready(Ok(()));
        }
        self.client.with_stream(|stream| Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.client.wrote(self.client.with_stream(|stream| Pin::new(stream).poll_write(context, bytes)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.client
            .wrote(self.client.with_stream(|stream| Pin::new(stream).poll_write_vectored(context, slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.client.with_stream(|stream| Pin::new(stream).poll_flush(context));
        self.client.set_blocked(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.client.at_close() {
            AtClose::Nothing | AtClose::Reset => self.poll_close(context),
            AtClose::Linger => {
                ready!(self.poll_close(context))?;
                self.poll_linger(context)
            }
            AtClose::Lingering => self.poll_linger(context),
        }
    }
}

impl Drop for ClientSocket {
    fn drop(&mut self) {
        let stream = self.client.take_stream();
        if self.client.at_close() == AtClose::Reset
            && let Some(Err(error)) = stream.map(|stream| stream.set_zero_linger())
        {
            tracing::debug!(%error, "could not reset a client connection");
        }
    }
}
