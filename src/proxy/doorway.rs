//! The way into the data plane from within the process, for requests to SageMaker Runtime's API that came to the admin port.
//!
//! It is a connection like any other, of a Unix-domain pair: whoever has the other end speaks HTTP/1.1 on it. It is counted, limited and
//! drained like all, has no greeting, and leads to endpoints that speak this API alone.

use std::{io, os::unix::net::UnixStream, sync::Arc};

use tokio::sync::mpsc;

use super::{accept::Handed, forwarded::Door};
use crate::{
    meter::WorkerMeters,
    net::{Parked, Peer},
};

/// The way in. Clones lead to the same workers.
#[derive(Clone, Debug)]
pub struct Doorway {
    workers: Arc<[mpsc::Sender<Handed>]>,
    meters: Arc<[WorkerMeters]>,
}

/// Why there is no way in at this moment.
#[derive(Debug, thiserror::Error)]
pub enum DoorwayError {
    /// The workers drain, or as many connections wait for one of them as may.
    #[error("no worker takes a connection")]
    Closed,
    /// The system gives no sockets.
    #[error("cannot make a pair of sockets")]
    Exhausted(#[from] io::Error),
}

impl Doorway {
    pub(super) fn new(workers: Arc<[mpsc::Sender<Handed>]>, meters: Arc<[WorkerMeters]>) -> Self {
        Self { workers, meters }
    }

    /// A connection to the worker that holds the fewest, for requests of this peer. Neither end blocks.
    ///
    /// # Errors
    /// When there is none now. Nothing was sent, so to try again is safe.
    pub fn open(&self, peer: Peer) -> Result<UnixStream, DoorwayError> {
        let counts = self.meters.iter().map(|meters| meters.connections.get());
        let least = self.workers.iter().zip(counts).min_by_key(|(_, connections)| *connections);
        let Some((worker, _)) = least else { return Err(DoorwayError::Closed) };
        let place = worker.try_reserve().map_err(|_| DoorwayError::Closed)?;
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        place.send(Handed { stream: Parked::Unix(theirs), peer, tls: None, door: Door::Admin });
        Ok(ours)
    }
}
