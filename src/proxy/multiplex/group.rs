//! A worker's shared connections to one instance.
//!
//! There is one until all of its seats are taken; then another one is opened. The one opened first is filled first, so that those of a
//! burst become idle and are closed. However many requests find no seat, one of them opens a connection and the others wait for it.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use tokio::sync::Notify;

use super::connection::{Connection, Seat};
use crate::{
    net::Stream,
    proxy::{allowance::Place, error::Failure},
    time::Moment,
};

/// Connections that a worker has to one instance. An instance that takes a single request on each is no use for more.
const CONNECTIONS: usize = 64;

/// The shared connections to one instance.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Group {
    /// In the order in which they were opened. Those that take no more requests stay until their last one has ended.
    connections: RefCell<Vec<Rc<Connection>>>,
    /// The one that is being opened.
    opening: RefCell<Option<Rc<Opening>>>,
}

/// A connection that is being opened, for those who wait for it.
#[derive(Debug, Default)]
struct Opening {
    ended: Notify,
    failed: RefCell<Option<Failure>>,
}

/// Ends an opening, even if the request that was to open the connection goes away.
struct Opener<'a> {
    group: &'a Group,
    opening: Rc<Opening>,
}

impl Group {
    /// A seat on a connection that is open.
    pub(in crate::proxy) fn seat(&self) -> Option<Seat> {
        self.connections.borrow().iter().find_map(Connection::seat)
    }

    /// A seat on a connection that is open, or is opened by `open`, or by another request meanwhile. The caller bounds the time.
    pub(in crate::proxy) async fn open(
        &self,
        open: impl AsyncFn() -> Result<(Stream, Place), Failure>,
    ) -> Result<Seat, Failure> {
        loop {
            if let Some(seat) = self.seat() {
                return Ok(seat);
            }
            let opening = self.opening.borrow().clone();
            if let Some(opening) = opening {
                opening.ended.notified().await;
                match &*opening.failed.borrow() {
                    Some(failure) => return Err(same(failure)),
                    None => continue,
                }
            }
            if self.connections.borrow().len() >= CONNECTIONS {
                return Err(Failure::ConnectFailed(io::Error::other("as many connections as there may be")));
            }
            let opener = Opener::new(self);
            let opened = match open().await {
                Ok((stream, place)) => Connection::open(stream, place).await.map_err(Failure::ConnectFailed),
                Err(failure) => Err(failure),
            };
            match opened {
                Ok(connection) => self.connections.borrow_mut().push(connection),
                Err(failure) => {
                    opener.fail(&failure);
                    return Err(failure);
                }
            }
        }
    }

    /// Whether a request that finds no seat would have to open a connection itself.
    pub(in crate::proxy) fn is_opening(&self) -> bool {
        self.opening.borrow().is_some()
    }

    /// Closes what has been idle for too long, and looks after the rest.
    pub(in crate::proxy) fn sweep(&self, now: Moment, idle_timeout: Duration) {
        self.connections.borrow_mut().retain(|connection| connection.look(now, idle_timeout));
    }
}

impl<'a> Opener<'a> {
    fn new(group: &'a Group) -> Self {
        let opening = Rc::<Opening>::default();
        group.opening.replace(Some(Rc::clone(&opening)));
        Self { group, opening }
    }

    /// Those who wait fail as well: a connection attempt for each of them would take as long again.
    fn fail(&self, failure: &Failure) {
        self.opening.failed.replace(Some(same(failure)));
    }
}

/// The same failure, for another request. Whose fault it is must not be lost on the way: a system without descriptors is not the instance's.
fn same(failure: &Failure) -> Failure {
    let again = |error: &io::Error| match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    };
    if let Failure::Exhausted(error) = failure {
        Failure::Exhausted(again(error))
    } else if let Failure::ConnectFailed(error) = failure {
        Failure::ConnectFailed(again(error))
    } else if let Failure::Unresolved = failure {
        Failure::Unresolved
    } else {
        Failure::ConnectFailed(io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Opener<'_> {
    fn drop(&mut self) {
        self.group.opening.replace(None);
        self.opening.ended.notify_waiters();
    }
}
