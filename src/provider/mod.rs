//! Providers: what starts and stops a fleet's instances.
//!
//! A provider carries out single orders and remembers as little as it can: what is wanted, how often something is tried and what is done
//! about a failure is its caller's business (`control`). An order names its fleet by an identity that the journal knew before the order
//! was given, so that a repeated order, after a timeout or a crash, is the same order and makes nothing twice.
//!
//! - `fixed`: the addresses that the configuration names; nothing is started.
//! - `process`: processes of this machine.
//! - `command`: an operator's commands.
//! - `dns`: the addresses of a name; somebody else starts and ends what listens there.

mod command;
mod dns;
mod fixed;
mod process;

pub use command::CommandProvider;
pub use fixed::StaticProvider;
pub use process::ProcessProvider;

use std::{fmt::Debug, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::{
    fleet::{Member, ProviderSpec},
    name::{EndpointName, FleetId, Version},
};

/// What a provider is to do for a fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Which fleet: the token that makes two orders the same one.
    pub fleet: FleetId,
    /// Whose.
    pub endpoint: EndpointName,
    /// What it serves.
    pub version: Version,
    /// How its instances are made.
    pub provider: Arc<ProviderSpec>,
    /// How many it is to have.
    pub count: u32,
    /// The instances that it is known to have; they are kept as far as they still exist, where they listen.
    pub members: Vec<Member>,
}

/// Makes fleets, and lets them go. Every method may be called again after it failed, or was dropped half-way.
pub trait Provider: Send + Sync + Debug {
    /// Makes the fleet have as many instances as ordered and says which. Whether they are ready is the prober's business.
    fn provision<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Vec<Member>, ProviderError>>;

    /// What there is of the fleet, ordered or not.
    fn list<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Vec<Member>, ProviderError>>;

    /// Lets these instances of the fleet go. Called when nothing is in flight on them, or their drain deadline has passed.
    fn retire<'a>(
        &'a self,
        order: &'a Order,
        members: &'a [Member],
    ) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Returns when the fleet's instances may be others than those that were told: then it is to be provisioned once more.
    fn changed<'a>(&'a self, order: &'a Order, told: &'a [Member]) -> BoxFuture<'a, ()>;

    /// How long one call for this fleet may take.
    fn patience(&self, order: &Order) -> Duration;
}

/// All providers.
#[derive(Clone, Debug)]
pub struct Providers {
    /// How many workers count requests in flight.
    pub workers: usize,
    process: Arc<ProcessProvider>,
    command: Arc<dyn Provider>,
    dns: Arc<dns::DnsProvider>,
}

/// Who goes on when this process of the proxy ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heir {
    /// Nobody that is known of.
    Nobody,
    /// A process that has the same sockets and takes over what was started.
    Successor,
}

/// Something that happened to an instance, for the stream of events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct News {
    /// Whose.
    pub endpoint: EndpointName,
    /// Of which fleet.
    pub fleet: FleetId,
    /// What.
    pub kind: NewsKind,
    /// The instance and the circumstances, in a sentence.
    pub text: String,
}

/// What happened to an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewsKind {
    /// It was started, for the first time or once more.
    Started,
    /// An earlier process of the proxy had started it, and this one has taken it over.
    Adopted,
    /// It ended by itself.
    Died,
    /// It listens elsewhere from now on.
    Moved,
    /// It was let go and has ended.
    Stopped,
    /// The fleet's name cannot be resolved; the last known instances stay.
    Unresolved,
    /// It can be again.
    Resolved,
}

/// Why an order was not carried out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot {attempted} instances of {version}: {reason}")]
pub struct ProviderError {
    /// `provision`, `list` or `retire`.
    pub attempted: &'static str,
    /// The fleet's version.
    pub version: Version,
    /// What went wrong.
    pub reason: String,
}

impl Providers {
    /// `folder` is where processes are remembered and write their logs; it is made when the first is started. News are sent as they
    /// happen, and wait for a place. `command` makes what operators' commands are to make.
    pub fn new(
        workers: usize,
        folder: PathBuf,
        news: mpsc::Sender<News>,
        command: Arc<dyn Provider>,
    ) -> Self {
        let dns = Arc::new(dns::DnsProvider::new(news.clone()));
        Self { workers, process: Arc::new(ProcessProvider::new(folder, news)), command, dns }
    }

    /// Whoever makes such instances.
    pub fn of(&self, spec: &ProviderSpec) -> &dyn Provider {
        match spec {
            ProviderSpec::Process(_) => &*self.process,
            ProviderSpec::Command(_) => &*self.command,
            ProviderSpec::Dns(_) => &*self.dns,
        }
    }

    /// The addresses that are simply there.
    pub fn fixed(&self) -> StaticProvider {
        StaticProvider { workers: self.workers }
    }

    /// Ends what is to end with the proxy, and waits for it.
    pub async fn close(&self, heir: Heir) {
        self.process.close(heir).await;
    }
}

impl Order {
    fn error(&self, attempted: &'static str, reason: impl ToString) -> ProviderError {
        ProviderError { attempted, version: self.version.clone(), reason: reason.to_string() }
    }
}

impl NewsKind {
    /// The event's kind.
    pub const fn event(self) -> &'static str {
        match self {
            Self::Started => "instance.started",
            Self::Adopted => "instance.adopted",
            Self::Died => "instance.died",
            Self::Moved => "instance.moved",
            Self::Stopped => "instance.stopped",
            Self::Unresolved => "fleet.unresolved",
            Self::Resolved => "fleet.resolved",
        }
    }
}
