//! What the handlers share.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use tokio::sync::{Semaphore, watch};

use super::{
    access::Access,
    aws::runtime::{self, Inlet},
    identities::Identities,
    refusals::Refusals,
    sagemaker,
    tokens::{Gate, Tokens},
};
use crate::{
    aws::Keyring,
    config::{AwsConfig, AwsKey, IdentitySpec},
    control::Handle,
    delivery::Webhooks,
    telemetry::Telemetry,
    tls,
};

/// How many event streams are open at a time. Each costs a connection and a place in control's channel; dashboards and terminals
/// on one proxy are a few.
const STREAMS: usize = 64;

/// How many replays are computed at a time: each takes a core for seconds, and the proxy needs the others.
const REPLAYS: usize = 1;

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
    /// TLS, if callers connect with it.
    pub tls: Option<Arc<tls::Server>>,
    /// Who may call, if callers are asked.
    pub tokens: Option<Arc<Tokens>>,
    /// The same by certificates.
    pub identities: Vec<IdentitySpec>,
    /// How webhooks and the file of events do.
    pub webhooks: Webhooks,
    /// The file of events, against which the journal's end is checked.
    pub events_file: Option<PathBuf>,
    /// What it speaks of Amazon's APIs.
    pub aws: AwsConfig,
    /// The keys of those who may call them, for the data plane; kept as they are.
    pub keyring: Option<Arc<Keyring>>,
    /// Where invocations go.
    pub inlet: Inlet,
}

/// The same, once the port is bound.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) handle: Handle,
    pub(super) telemetry: Telemetry,
    pub(super) source: Option<PathBuf>,
    pub(super) access: Access,
    pub(super) gate: Option<Gate>,
    pub(super) identities: Arc<Identities>,
    pub(super) refusals: Refusals,
    pub(super) draining: watch::Receiver<bool>,
    pub(super) shutdown: watch::Receiver<bool>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) replays: Arc<Semaphore>,
    pub(super) tls: Option<Arc<tls::Server>>,
    pub(super) webhooks: Webhooks,
    pub(super) events_file: Option<PathBuf>,
    /// SageMaker's API, where it is spoken.
    pub(super) sagemaker: Option<Arc<sagemaker::Api>>,
    pub(super) keyring: Option<Arc<Keyring>>,
    pub(super) inlet: Inlet,
    /// A place for each invocation on its way through this port.
    pub(super) invocations: Arc<Semaphore>,
}

impl Port {
    /// For a port bound to this address, which ends when `shutdown` turns true.
    pub(super) fn new(admin: Admin, bound: SocketAddr, shutdown: watch::Receiver<bool>) -> Self {
        let Admin {
            handle,
            telemetry,
            source,
            allow_remote,
            draining,
            tls,
            tokens,
            identities,
            webhooks,
            events_file,
            aws,
            keyring,
            inlet,
        } = admin;
        let (is_local, is_signed) = (bound.ip().is_loopback(), aws.sagemaker && !aws.keys.is_empty());
        let asks_who = tokens.is_some() || !identities.is_empty();
        let takes_any_name = allow_remote || tls.is_some() || tokens.is_some() && !is_local;
        Self {
            gate: asks_who.then(|| Gate::new(tokens, is_local, is_signed)),
            identities: Arc::new(Identities(identities)),
            refusals: Refusals::new(handle.clone()),
            sagemaker: aws
                .sagemaker
                .then(|| Arc::new(sagemaker::Api::new(handle.clone(), telemetry.table(), aws))),
            handle,
            telemetry,
            source,
            // A browser that was led here under another name is stopped by the name in the certificate, or has no token to show.
            access: if takes_any_name { Access::AnyName } else { Access::Named { bound: bound.ip() } },
            draining,
            shutdown,
            streams: Arc::new(Semaphore::new(STREAMS)),
            replays: Arc::new(Semaphore::new(REPLAYS)),
            tls,
            webhooks,
            events_file,
            keyring,
            inlet,
            invocations: Arc::new(Semaphore::new(runtime::INVOCATIONS)),
        }
    }
}

impl Port {
    /// Whose signatures count, where SageMaker's API is spoken.
    pub(super) fn keys(&self) -> Arc<[AwsKey]> {
        self.sagemaker.as_ref().map_or_else(Arc::default, |api| Arc::clone(api.keys()))
    }
}

/// Waits until the signal turns true or its sender is gone, which ends this port too.
pub(super) async fn stopped(mut signal: watch::Receiver<bool>) {
    let _seen = signal.wait_for(|stop| *stop).await.is_ok();
}
