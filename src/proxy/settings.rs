//! What the data plane needs from the configuration.

use std::{sync::Arc, time::Duration};

use crate::{
    aws::Keyring,
    net::{ProxyProtocol, TrustedProxies},
    route::Underscores,
    telemetry::Witnesses,
    tls::Keychain,
};

/// What the data plane needs from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether responses carry `x-snapback-fleet`.
    pub expose_fleet: bool,
    /// Whether responses of endpoints with variants carry `x-snapback-variant`.
    pub expose_variant: bool,
    /// For a client to send a request's head, once its first byte came.
    pub head_timeout: Duration,
    /// How long an idle client connection is kept.
    pub keep_alive_timeout: Duration,
    /// How long an idle upstream connection is kept.
    pub upstream_idle_timeout: Duration,
    /// The largest request head.
    pub head_limit_bytes: usize,
    /// What becomes of header names with underscores, but for gRPC's metadata.
    pub underscores: Underscores,
    /// How fast clients must send and take what they are waited for.
    pub least_rate: LeastRate,
    /// How many client connections a worker holds at most.
    pub connections_per_worker: usize,
    /// How many connections to instances a worker has at most; requests that would need more get 503.
    pub upstreams_per_worker: usize,
    /// How many requests a worker has in flight at most; more get 503.
    pub requests_per_worker: usize,
    /// How many bytes of request bodies a worker keeps for second tries at most; bodies beyond that pass without one.
    pub replay_memory_bytes: usize,
    /// How much of a request body is read in search of the model, where only the model tells the endpoint.
    pub model_window_bytes: usize,
    /// After the stop signal, how long running requests may finish.
    pub drain_timeout: Duration,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// The peers whose `forwarded` and `x-forwarded-` headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// What Amazon's resources are called here, where the facade of SageMaker is on.
    pub amazon: Option<Amazon>,
    /// Makes connections to instances with TLS.
    pub keychain: Arc<Keychain>,
    /// Who is told of requests.
    pub witnesses: Witnesses,
}

/// What stands in the names of Amazon's resources, and who may call them.
#[derive(Clone, Debug)]
pub struct Amazon {
    /// Such as `us-east-1`.
    pub region: Box<str>,
    /// Twelve digits.
    pub account: Box<str>,
    /// The keys that requests are signed with; `None` where nobody has to sign.
    pub keyring: Option<Arc<Keyring>>,
    /// Whose requests are held against the keys.
    pub signers: Signers,
}

/// Whose invocations must be signed, where there are keys. Those from within the process come from a port that asks for signatures itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signers {
    /// Everybody's.
    All,
    /// Those that come by the admin port.
    Admin,
}

/// How fast clients must send request bodies and take responses; slower ones are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeastRate {
    /// Zero for no bound.
    pub bytes_per_second: u64,
    /// How long a client must have been waited for, without a pause, until it is judged.
    pub window: Duration,
}

impl LeastRate {
    /// Half a minute: a phone that changes cells, or a laptop that wakes up, is back by then.
    pub const WINDOW: Duration = Duration::from_secs(30);
}
