//! The admin port: native API, events, metrics, health.

pub mod wire;

use std::path::PathBuf;

use tokio::{net::TcpListener, sync::watch};

use crate::{control::Handle, telemetry::Telemetry};

/// What the admin port serves from.
#[derive(Debug)]
pub struct Admin {
    /// Control.
    pub handle: Handle,
    /// The collector behind `/metrics`.
    pub telemetry: Telemetry,
    /// The file that a reload reads again; without one, reloads are refused.
    pub source: Option<PathBuf>,
    /// Whether callers may name this port by a host that is not this machine's own (`[admin] allow_remote`).
    pub allow_remote: bool,
    /// True once the data plane takes no new connections: `/readyz` says so, so that balancers look elsewhere.
    pub draining: watch::Receiver<bool>,
}

/// Serves until `shutdown` turns true; returns when open requests have ended, event streams among them, or after a bounded wait.
pub async fn serve(_listener: TcpListener, _admin: Admin, _shutdown: watch::Receiver<bool>) {
    todo!()
}
