//! A worker's connections to one instance.
//!
//! Idle connections are a stack: the one used last is taken first, so that a burst's extra connections grow old and are
//! closed. A connection belongs to one request at a time and comes back only when both bodies ended cleanly.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::AbortHandle,
};

use super::{error::Failure, gather, upload::Upload};
use crate::{
    fleet::Instance,
    net::{Plain, Stream},
    time::Moment,
    tls::{Connector, Keychain},
};

/// Idle connections that a worker keeps for an instance. More would be of use only to a worker with more requests in flight
/// on one instance than this, and those it opens again within a round trip.
const IDLE_CONNECTIONS: usize = 256;

/// What is offered to instances in TLS handshakes.
const PROTOCOLS: [&str; 1] = ["http/1.1"];

/// hyper's read and write buffers on an upstream connection: large enough that a big body moves in few system calls, small
/// enough that thousands of streams fit in memory. A response head must fit too.
const BUFFER_BYTES: usize = 64 * 1024;

/// One instance as a worker sees it.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) instance: Arc<Instance>,
    tls: Option<Arc<Connector>>,
    idle: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Moment,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Upload>,
    /// Whether a byte has come since the request was sent.
    heard: Rc<Cell<bool>>,
    task: AbortHandle,
}

/// The connection's task would go on as long as the instance takes no more of a request, so it is ended, not left.
impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection in the hands of a request. Dropped, it is closed; [`Lease::release`] keeps it for the next request.
#[derive(Debug)]
pub(super) struct Lease {
    upstream: Rc<Upstream>,
    connection: Connection,
    is_reused: bool,
}

impl Upstream {
    pub(super) fn new(instance: Arc<Instance>, keychain: &Keychain) -> Rc<Self> {
        let tls = instance.tls().map(|spec| keychain.connector(spec));
        Rc::new(Self { instance, tls, idle: RefCell::default() })
    }

    /// The idle connection that was used last, unless it is too old or closed.
    pub(super) fn checkout(self: &Rc<Self>, now: Moment, idle_timeout: Duration) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, since }) = idle.pop() {
            if now.since(since) >= idle_timeout {
                idle.clear();
            } else if connection.sender.is_ready() {
                connection.heard.set(false);
                return Some(Lease { upstream: Rc::clone(self), connection, is_reused: true });
            }
        }
        None
    }

    /// Makes a connection.
    pub(super) async fn connect(self: &Rc<Self>, timeout: Duration) -> Result<Lease, Failure> {
        let stream = match tokio::time::timeout(timeout, self.open()).await {
            Ok(opened) => opened?,
            Err(_) => return Err(Failure::ConnectTimeout),
        };
        let address = self.instance.address().clone();
        let heard = Rc::new(Cell::new(false));
        let socket = UpstreamSocket { stream, heard: Rc::clone(&heard), writes: Writes::Flow };
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(Failure::Internal)?;
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %address, "an upstream connection ended");
            }
        });
        Ok(Lease {
            upstream: Rc::clone(self),
            connection: Connection { sender, heard, task: task.abort_handle() },
            is_reused: false,
        })
    }

    async fn open(&self) -> Result<Stream, Failure> {
        let address = self.instance.address();
        let opened = match address.unix_path() {
            Some(path) => Plain::connect_unix(path).await,
            None => Plain::connect(self.instance.socket_address().ok_or(Failure::Unresolved)?).await,
        };
        let plain = opened.map_err(Failure::ConnectFailed)?;
        match &self.tls {
            None => Ok(Stream::Plain(plain)),
            Some(tls) => {
                let shaken = tls.connect(plain, address.host(), &PROTOCOLS).await;
                shaken.map(Stream::Tls).map_err(Failure::ConnectFailed)
            }
        }
    }

    /// Closes what has been idle for too long and forgets what the instance has closed.
    pub(super) fn sweep(&self, now: Moment, idle_timeout: Duration) {
        self.idle
            .borrow_mut()
            .retain(|idle| now.since(idle.since) < idle_timeout && !idle.connection.sender.is_closed());
    }
}

impl Lease {
    /// Whether it has served a request before, so that the instance may have closed it meanwhile.
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Whether any byte of a response has come.
    pub(super) fn has_heard(&self) -> bool {
        self.connection.heard.get()
    }

    pub(super) fn sender(&mut self) -> &mut SendRequest<Upload> {
        &mut self.connection.sender
    }

    /// Keeps the connection for the next request, if its last exchange ended cleanly.
    pub(super) fn release(self, now: Moment) {
        let Self { upstream, connection, is_reused: _ } = self;
        let mut idle = upstream.idle.borrow_mut();
        if connection.sender.is_ready() && idle.len() < IDLE_CONNECTIONS {
            idle.push(Idle { connection, since: now });
        }
    }
}

/// The socket of an upstream connection.
///
/// An instance may answer early, such as with 413, and close while the request is still being written. The write then fails
/// although the answer is there to be read. So a failed write is not reported: it stays pending, and what the reading
/// side finds, an answer or the end, decides how the request went.
struct UpstreamSocket {
    stream: Stream,
    heard: Rc<Cell<bool>>,
    writes: Writes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    Flow,
    /// The instance reads no more.
    Refused,
}

impl UpstreamSocket {
    fn settle<T>(&mut self, written: io::Result<T>) -> Poll<io::Result<T>> {
        match written {
            Err(error) if is_refusal(&error) => {
                self.writes = Writes::Refused;
                Poll::Pending
            }
            Ok(_) | Err(_) => Poll::Ready(written),
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl AsyncRead for UpstreamSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.heard.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UpstreamSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.writes == Writes::Refused {
            return Poll::Pending;
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.settle(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.writes == Writes::Refused {
            return Poll::Pending;
        }
        let written = ready!(gather::poll_write(&mut self.stream, context, slices));
        self.settle(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// TLS writes what it holds back when it is flushed, so a flush can find out too that the instance reads no more.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.writes == Writes::Refused {
            return Poll::Pending;
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.settle(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
