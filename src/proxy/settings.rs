//! What the data plane needs from the configuration.

use std::time::Duration;

/// What the data plane needs from the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Whether responses carry `x-snapback-fleet`.
    pub expose_fleet: bool,
    /// For a client to send a request's head, once its first byte came.
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
