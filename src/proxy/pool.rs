//! A worker's connections to one instance.
//!
//! In HTTP/2 they are shared (`multiplex`). In HTTP/1, idle connections are a stack: the one used last is taken first, so that a burst's extra connections grow old and are
//! closed. A connection belongs to one request at a time and comes back only when both directions ended cleanly.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use super::{
    allowance::{Allowance, Place},
    error::Failure,
    multiplex::{Group, Seat},
};
use crate::{
    fleet::{Instance, Protocol},
    net::{Plain, Stream},
    time::Moment,
    tls::{Connector, Keychain},
};

/// Idle connections that a worker keeps for an instance. More would be of use only to a worker with more requests in flight
/// on one instance than this, and those it opens again within a round trip.
const IDLE_CONNECTIONS: usize = 256;

/// One instance as a worker sees it.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) instance: Arc<Instance>,
    tls: Option<Arc<Connector>>,
    allowance: Rc<Allowance>,
    idle: RefCell<Vec<Idle>>,
    shared: Group,
}

/// A request's means to reach its instance.
#[derive(Debug)]
pub(super) enum Way {
    /// A connection of its own, in HTTP/1.
    Alone(Lease),
    /// A seat on one that is shared, in HTTP/2.
    Shared(Seat),
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    place: Place,
    since: Moment,
}

/// A connection in the hands of a request. Dropped, it is closed; [`Lease::release`] keeps it for the next request.
#[derive(Debug)]
pub(super) struct Lease {
    upstream: Rc<Upstream>,
    stream: Stream,
    place: Place,
    is_reused: bool,
}

impl Upstream {
    pub(super) fn new(instance: Arc<Instance>, keychain: &Keychain, allowance: &Rc<Allowance>) -> Rc<Self> {
        let tls = instance.tls().map(|spec| keychain.connector(spec));
        let allowance = Rc::clone(allowance);
        Rc::new(Self { instance, tls, allowance, idle: RefCell::default(), shared: Group::default() })
    }

    /// A connection that is open: the idle one that was used last, unless it is too old or closed, or a shared one that has room.
    pub(super) fn checkout(self: &Rc<Self>, now: Moment, idle_timeout: Duration) -> Option<Way> {
        match self.instance.protocol() {
            Protocol::Http1 => self.checkout_idle(now, idle_timeout).map(Way::Alone),
            Protocol::H2c | Protocol::H2 => self.shared.seat().map(Way::Shared),
        }
    }

    fn checkout_idle(self: &Rc<Self>, now: Moment, idle_timeout: Duration) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { mut stream, place, since }) = idle.pop() {
            if now.since(since) >= idle_timeout {
                idle.clear();
            } else if is_quiet(&mut stream) {
                return Some(Lease { upstream: Rc::clone(self), stream, place, is_reused: true });
            }
        }
        None
    }

    /// Makes a connection, or waits for the one that another request makes to be shared.
    pub(super) async fn connect(self: &Rc<Self>, timeout: Duration) -> Result<Way, Failure> {
        let connected = async {
            Ok(match self.instance.protocol() {
                Protocol::Http1 => {
                    let (stream, place) = self.open().await?;
                    Way::Alone(Lease { upstream: Rc::clone(self), stream, place, is_reused: false })
                }
                Protocol::H2c | Protocol::H2 => {
                    Way::Shared(self.shared.open(async || self.open().await).await?)
                }
            })
        };
        match tokio::time::timeout(timeout, connected).await {
            Ok(connected) => connected,
            Err(_) => Err(Failure::ConnectTimeout),
        }
    }

    /// Whether another request is making a connection that this one can share.
    pub(super) fn is_connecting(&self) -> bool {
        self.shared.is_opening()
    }

    /// Whether connections to it have TLS.
    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    async fn open(&self) -> Result<(Stream, Place), Failure> {
        let place = self.allowance.take()?;
        Ok((self.open_stream().await?, place))
    }

    async fn open_stream(&self) -> Result<Stream, Failure> {
        let address = self.instance.address();
        let opened = match address.unix_path() {
            Some(path) => Plain::connect_unix(path).await,
            None => Plain::connect(self.instance.socket_address().ok_or(Failure::Unresolved)?).await,
        };
        let plain = opened.map_err(Failure::not_connected)?;
        match &self.tls {
            None => Ok(Stream::Plain(plain)),
            Some(tls) => {
                let protocol = self.instance.protocol();
                let shaken = tls.connect(plain, address.host(), &[protocol.alpn()]).await;
                let stream = shaken.map_err(Failure::ConnectFailed)?;
                if protocol != Protocol::Http1 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    let missing = io::Error::other("it did not agree to HTTP/2 in the TLS handshake");
                    return Err(Failure::ConnectFailed(missing));
                }
                Ok(Stream::Tls(stream))
            }
        }
    }

    /// Closes every idle connection: another instance needs one more.
    pub(super) fn close_idle(&self, now: Moment) {
        self.sweep(now, Duration::ZERO);
    }

    /// Closes what has been idle for too long, and what the instance has closed.
    pub(super) fn sweep(&self, now: Moment, idle_timeout: Duration) {
        self.shared.sweep(now, idle_timeout);
        self.idle
            .borrow_mut()
            .retain_mut(|idle| now.since(idle.since) < idle_timeout && is_quiet(&mut idle.stream));
    }
}

impl Lease {
    /// Whether it has served a request before, so that the instance may have closed it meanwhile.
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    pub(super) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Keeps the connection for the next request.
    pub(super) fn release(self, now: Moment) {
        let mut idle = self.upstream.idle.borrow_mut();
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(Idle { stream: self.stream, place: self.place, since: now });
        }
    }
}

/// Whether an idle connection is still open and has sent nothing: bytes that nobody asked for would be taken for the answer to
/// the next request. Asks the runtime what it knows; a system call is made only when it has heard something.
fn is_quiet(stream: &mut Stream) -> bool {
    stream.poll_ahead(&mut Context::from_waker(Waker::noop())).is_pending()
}
