//! The `static` provider: addresses given, instances run by somebody else.

use std::sync::Arc;

use super::{Provider, ProviderError};
use crate::fleet::{Fleet, FleetSpec, Instance, InstanceSpec};

/// Takes the addresses as they are.
#[derive(Clone, Copy, Debug)]
pub struct StaticProvider {
    /// How many workers count in-flight requests.
    pub workers: usize,
}

impl StaticProvider {
    /// The fleet of these addresses, at once: the instances are there already, so nothing can fail, and a start can recover its fleets
    /// before it serves.
    pub fn fleet(&self, spec: &FleetSpec) -> Arc<Fleet> {
        let instance = |InstanceSpec { address, weight, max_concurrency }: &InstanceSpec| {
            let instance = Instance::new(address.clone(), self.workers);
            instance.set_max_concurrency(*max_concurrency);
            Arc::new(instance.weighing(*weight).speaking(spec.protocol).secured(spec.tls.clone()))
        };
        Arc::new(Fleet {
            version: spec.version.clone(),
            instances: spec.instances.iter().map(instance).collect(),
        })
    }
}

impl Provider for StaticProvider {
    async fn provision(&self, spec: &FleetSpec) -> Result<Arc<Fleet>, ProviderError> {
        Ok(self.fleet(spec))
    }

    async fn retire(&self, _fleet: &Fleet) -> Result<(), ProviderError> {
        Ok(())
    }
}
