//! Fleets and their instances: who could take a request, and how busy each is.
//!
//! Pure: no sockets. The provider makes fleets, the prober sets health, the data plane counts in-flight requests.

mod ejection;
mod instance;
mod protocol;
mod provider;
mod spec;
mod standing;
mod tls;
mod variant;
mod warmth;

pub use ejection::EjectionRule;
pub use instance::{Address, AddressError, Health, Instance};
pub use protocol::Protocol;
pub use provider::{CommandSpec, DnsSpec, Member, OnExit, ProcessSpec, ProviderSpec};
pub use spec::{FleetSpec, InstanceSpec, Weight};
pub use tls::{CertificateFiles, UpstreamTls};
pub use variant::{MAX_VARIANTS, Variant, VariantSpec, VariantWeight, in_words};
pub use warmth::Warmth;

use std::{fmt, sync::Arc};

use crate::name::Version;

/// The fleet in service, or the one coming in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Side {
    /// The fleet in service.
    Blue,
    /// The fleet coming in.
    Green,
}

impl Side {
    /// `blue` or `green`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The interchangeable instances of one model version, live.
#[derive(Debug)]
pub struct Fleet {
    /// What the fleet serves.
    pub version: Version,
    /// The instances. A different set of instances is a different `Fleet` value in a new route table; an instance kept
    /// from one to the next is the same `Arc`, so its in-flight count goes on.
    pub instances: Vec<Arc<Instance>>,
    /// The parts that its instances are in, in their order; none where it has one, without a name.
    pub variants: Vec<Variant>,
}

impl Fleet {
    /// A fleet that is one variant without a name.
    pub fn of(version: Version, instances: Vec<Arc<Instance>>) -> Self {
        Self { version, instances, variants: Vec::new() }
    }

    /// Requests in flight on all instances, over all workers.
    pub fn in_flight(&self) -> u64 {
        self.instances.iter().map(|instance| instance.in_flight()).sum()
    }

    /// How many instances pass their health checks.
    pub fn healthy(&self) -> usize {
        self.instances.iter().filter(|instance| instance.health() == Health::Healthy).count()
    }
}
