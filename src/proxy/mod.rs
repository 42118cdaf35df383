//! The data plane: one worker per core, each with its own listeners, connections and meters.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::{meter::WorkerMeters, route::RouteTable};

/// What the data plane needs from the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Whether responses carry `x-snapback-fleet`.
    pub expose_fleet: bool,
    /// For a client to send a request's head.
    pub head_timeout: Duration,
    /// How long an idle client connection is kept.
    pub keep_alive_timeout: Duration,
    /// How long an idle upstream connection is kept.
    pub upstream_idle_timeout: Duration,
    /// The largest request head.
    pub head_limit_bytes: usize,
    /// How many client connections a worker holds at most.
    pub connections_per_worker: usize,
    /// After the stop signal, how long running requests may finish.
    pub drain_timeout: Duration,
}

/// Listening sockets, bound but not served yet: each worker has one for each address (SO_REUSEPORT).
#[derive(Debug)]
pub struct Listeners {}

impl Listeners {
    /// Binds every address once for each worker. Port 0 takes a free port, the same for all workers.
    pub fn bind(_addresses: &[SocketAddr], _workers: usize) -> Result<Self, BindError> {
        todo!()
    }

    /// The addresses with their real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        todo!()
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said, and what would help.
    pub reason: String,
}

/// The running workers.
#[derive(Debug)]
pub struct DataPlane {}

impl DataPlane {
    /// Starts the workers. They stop when `shutdown` turns true: no new connections, running requests finish within the drain timeout.
    pub fn start(
        _listeners: Listeners,
        _settings: Settings,
        _table: Arc<ArcSwap<RouteTable>>,
        _meters: Arc<[WorkerMeters]>,
        _shutdown: watch::Receiver<bool>,
    ) -> std::io::Result<Self> {
        todo!()
    }

    /// Waits until every worker has drained. Blocks.
    pub fn join(self) {
        todo!()
    }
}
