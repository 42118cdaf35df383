//! One write for each turn of an HTTP/2 connection's task.
//!
//! The h2 crate writes and flushes in the middle of a turn, once for each DATA frame that is not small. Here writes are gathered, and its
//! flushes do nothing: the connection's task flushes at the end of its turn, so that what all streams of a turn have to say goes out in
//! one system call.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::{socket::ClientSocket, worker::Worker};

/// What is gathered before it is written, flushed or not. A DATA frame of the usual largest size is written by itself, without a copy.
const GATHER_BYTES: usize = 16 * 1024;

/// What a connection's task and the h2 crate share.
pub(super) struct Turn {
    worker: Rc<Worker>,
    socket: RefCell<ClientSocket>,
    out: RefCell<Out>,
    /// Bytes that came, of which only the change is of interest.
    heard: Cell<u64>,
}

/// What was gathered, in one of the worker's buffers while there is any.
#[derive(Default)]
struct Out {
    buffer: Vec<u8>,
    written: usize,
}

/// The client's socket as the h2 crate's transport.
pub(super) struct Transport(pub(super) Rc<Turn>);

impl Turn {
    pub(super) fn new(worker: &Rc<Worker>, socket: ClientSocket) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(worker),
            socket: RefCell::new(socket),
            out: RefCell::default(),
            heard: Cell::new(0),
        })
    }

    /// How much has come so far.
    pub(super) fn heard(&self) -> u64 {
        self.heard.get()
    }

    /// Writes what was gathered.
    pub(super) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = self.socket.borrow_mut();
        let mut out = self.out.borrow_mut();
        if !out.buffer.is_empty() {
            ready!(out.poll_drain(&mut socket, context))?;
            self.worker.give_buffer(std::mem::take(&mut out.buffer));
        }
        Pin::new(&mut *socket).poll_flush(context)
    }

    fn poll_write(&self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut out = self.out.borrow_mut();
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if out.buffer.len() + length > GATHER_BYTES {
            let mut socket = self.socket.borrow_mut();
            ready!(out.poll_drain(&mut socket, context))?;
            if length > GATHER_BYTES {
                return Pin::new(&mut *socket).poll_write_vectored(context, slices);
            }
        }
        if out.buffer.capacity() == 0 {
            out.buffer = self.worker.take_buffer();
        }
        for slice in slices {
            out.buffer.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
    }
}

impl Out {
    fn poll_drain(&mut self, socket: &mut ClientSocket, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.buffer.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *socket).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.written += length,
            }
        }
        self.buffer.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *self.0.socket.borrow_mut()).poll_read(context, buffer))?;
        let length = u64::try_from(buffer.filled().len() - before).unwrap_or(u64::MAX);
        self.0.heard.set(self.0.heard.get().wrapping_add(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_flush(context))?;
        Pin::new(&mut *self.0.socket.borrow_mut()).poll_shutdown(context)
    }
}
