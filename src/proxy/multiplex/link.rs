//! A shared connection's socket.
//!
//! The h2 crate writes and flushes in the middle of a turn, once for each DATA frame that is not small. Here writes are gathered, and its
//! flushes do nothing: the connection's task flushes at the end of its turn, so that what all requests of a turn have to say goes out in
//! one system call.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{net::Stream, proxy::allowance::Place};

/// What is gathered before it is written, flushed or not. A DATA frame of the usual largest size is written beside it, without a copy.
const GATHER_BYTES: usize = 16 * 1024;

/// What a connection's task, its requests and the h2 crate share.
#[derive(Debug)]
pub(super) struct Link {
    stream: RefCell<Stream>,
    /// For as long as the stream is there.
    _place: Place,
    out: RefCell<BytesMut>,
    /// Bytes that came, of which only the change is of interest.
    heard: Cell<u64>,
    wish: Cell<Wish>,
    is_over: Cell<bool>,
    /// Whether the socket took less than it was given when it was given something last.
    is_blocked: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// What is wanted of a connection's task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    /// To go on.
    None,
    /// To ask the instance whether it is still there.
    Ping,
    /// To end: no request will come any more.
    Close,
    /// To end at once: the instance is not there any more.
    Cut,
}

/// The link as the h2 crate's transport.
#[derive(Debug)]
pub(super) struct Transport(pub(super) Rc<Link>);

impl Link {
    pub(super) fn new(stream: Stream, place: Place) -> Rc<Self> {
        Rc::new(Self {
            stream: RefCell::new(stream),
            _place: place,
            out: RefCell::default(),
            heard: Cell::new(0),
            wish: Cell::new(Wish::None),
            is_over: Cell::new(false),
            is_blocked: Cell::new(false),
            waker: RefCell::default(),
        })
    }

    /// How much has come so far.
    pub(super) fn heard(&self) -> u64 {
        self.heard.get()
    }

    /// Tells the connection's task something.
    pub(super) fn wish(&self, wish: Wish) {
        self.wish.set(wish);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// What was told, once if it is a ping.
    pub(super) fn take_wish(&self, waker: &Waker) -> Wish {
        let mut current = self.waker.borrow_mut();
        if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
            *current = Some(waker.clone());
        }
        let wish = self.wish.get();
        if wish == Wish::Ping {
            self.wish.set(Wish::None);
        }
        wish
    }

    /// The connection has ended.
    pub(super) fn mark_over(&self) {
        self.is_over.set(true);
    }

    /// Whether the connection has ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Whether the instance takes no more for now.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }

    /// Writes what was gathered.
    pub(super) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.out.borrow_mut();
        let mut stream = self.stream.borrow_mut();
        while !out.is_empty() {
            let written = Pin::new(&mut *stream).poll_write(context, &out);
            self.is_blocked.set(written.is_pending());
            let length = ready!(written)?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            out.advance(length);
        }
        // Room for the next turn: advancing has given up what was written.
        out.reserve(GATHER_BYTES / 2);
        Pin::new(&mut *stream).poll_flush(context)
    }

    fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut out = self.out.borrow_mut();
        while out.len() + bytes.len() > GATHER_BYTES {
            let slices = [IoSlice::new(&out), IoSlice::new(bytes)];
            let mut stream = self.stream.borrow_mut();
            let length = ready!(Pin::new(&mut *stream).poll_write_vectored(context, &slices))?;
            let gathered = length.min(out.len());
            out.advance(gathered);
            if length == 0 || length > gathered {
                return Poll::Ready(Ok(length - gathered));
            }
        }
        out.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(context, buffer))?;
        let length = u64::try_from(buffer.filled().len() - before).unwrap_or(u64::MAX);
        self.0.heard.set(self.0.heard.get().wrapping_add(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_flush(context))?;
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(context)
    }
}
