//! The `static` provider: addresses given, instances run by somebody else.

use std::sync::Arc;

use super::{Provider, ProviderError};
use crate::fleet::{Fleet, FleetSpec, Instance};

/// Takes the addresses as they are.
#[derive(Clone, Copy, Debug)]
pub struct StaticProvider {
    /// How many workers count in-flight requests.
    pub workers: usize,
}

impl Provider for StaticProvider {
    async fn provision(&self, spec: &FleetSpec) -> Result<Arc<Fleet>, ProviderError> {
        let instance =
            |address: &crate::fleet::Address| Arc::new(Instance::new(address.clone(), self.workers));
        Ok(Arc::new(Fleet {
            version: spec.version.clone(),
            instances: spec.instances.iter().map(instance).collect(),
        }))
    }

    async fn retire(&self, _fleet: &Fleet) -> Result<(), ProviderError> {
        Ok(())
    }
}
