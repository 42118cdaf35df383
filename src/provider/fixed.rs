//! The `static` provider: addresses given, instances run by somebody else.

use std::sync::Arc;

use crate::fleet::{Fleet, FleetSpec, Instance, InstanceSpec, Member, Variant};

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
        let Fleet { version, instances, variants: _ } = self.fleet_of(spec, &spec.instances);
        Arc::new(Fleet { version, instances, variants: Variant::of(&spec.variants) })
    }

    /// The fleet of the instances that a provider made.
    pub fn fleet_of_members(&self, spec: &FleetSpec, members: &[Member]) -> Arc<Fleet> {
        let instances: Vec<_> = members.iter().map(|member| member.address.clone().into()).collect();
        Arc::new(self.fleet_of(spec, &instances))
    }

    fn fleet_of(&self, spec: &FleetSpec, instances: &[InstanceSpec]) -> Fleet {
        let instance = |InstanceSpec { address, weight, max_concurrency }: &InstanceSpec| {
            let instance = Instance::new(address.clone(), self.workers);
            instance.set_max_concurrency(*max_concurrency);
            Arc::new(instance.weighing(*weight).speaking(spec.protocol).secured(spec.tls.clone()))
        };
        Fleet::of(spec.version.clone(), instances.iter().map(instance).collect())
    }
}
