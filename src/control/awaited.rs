//! Instances that a shift waits for: so many of a fleet, each of which is to have been healthy once.

use std::sync::Arc;

use crate::{
    fleet::{Fleet, Health, Instance},
    shift::Count,
};

/// What is still awaited of an order. Nothing, at first.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// How many were ordered.
    count: usize,
    /// Those that are there and have not been healthy yet.
    instances: Vec<Arc<Instance>>,
    /// How many are not there yet.
    missing: usize,
}

impl Awaited {
    /// So many of a fleet's instances; all of it is as many as are wanted of it.
    pub(super) fn of(fleet: &Fleet, count: Count, wanted: usize) -> Self {
        let count = match count {
            Count::All => wanted,
            Count::First(count) => usize::try_from(count).unwrap_or(usize::MAX),
        };
        Self { count, ..Self::default() }.begun(fleet)
    }

    /// Whether nothing is awaited any more.
    pub(super) fn is_over(&self) -> bool {
        self.instances.is_empty() && self.missing == 0
    }

    /// Whether somebody has instances still to make.
    pub(super) fn is_short(&self) -> bool {
        self.missing > 0
    }

    /// An instance's health has changed. Says whether it was the last that was awaited.
    pub(super) fn hear(&mut self, instance: &Arc<Instance>) -> bool {
        if instance.health() != Health::Healthy || self.is_over() {
            return false;
        }
        self.instances.retain(|awaited| !Arc::ptr_eq(awaited, instance));
        self.is_over()
    }

    /// The fleet has other instances from now on. Says whether nothing is awaited any more by that.
    pub(super) fn remake(&mut self, fleet: &Fleet) -> bool {
        if self.is_over() {
            return false;
        }
        *self = std::mem::take(self).begun(fleet);
        self.is_over()
    }

    fn begun(self, fleet: &Fleet) -> Self {
        let is_unready = |instance: &&Arc<Instance>| instance.health() != Health::Healthy;
        let instances = fleet.instances.iter().take(self.count).filter(is_unready).cloned().collect();
        Self { instances, missing: self.count.saturating_sub(fleet.instances.len()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fleet::Address, name::Version};

    fn fleet(ports: &[u16]) -> Fleet {
        let instance = |port: &u16| {
            let instance = Instance::new(Address::parse(&format!("127.0.0.1:{port}")).unwrap(), 1);
            instance.set_health(Health::Unhealthy);
            Arc::new(instance)
        };
        Fleet::of(Version::parse("v1").unwrap(), ports.iter().map(instance).collect())
    }

    #[test]
    fn an_order_is_over_when_so_many_are_there_and_each_was_healthy_once() {
        let mut all = fleet(&[1, 2, 3]);
        let third = all.instances.pop().unwrap();
        let mut awaited = Awaited::of(&all, Count::First(3), 3);
        all.instances[0].set_health(Health::Healthy);
        assert!(!awaited.hear(&all.instances[0]));
        all.instances[1].set_health(Health::Healthy);
        assert!(!awaited.hear(&all.instances[1]) && awaited.is_short(), "one is still to be made");
        all.instances.push(third);
        assert!(!awaited.remake(&all) && !awaited.is_short());
        all.instances[2].set_health(Health::Healthy);
        assert!(awaited.hear(&all.instances[2]) && awaited.is_over());
        all.instances[0].set_health(Health::Unhealthy);
        assert!(!awaited.remake(&all) && awaited.is_over(), "what is over stays over");
    }

    #[test]
    fn the_last_one_that_was_awaited_may_also_leave() {
        let mut all = fleet(&[1, 2]);
        all.instances[0].set_health(Health::Healthy);
        let mut awaited = Awaited::of(&all, Count::All, 1);
        assert!(awaited.is_over(), "one was wanted, and it is healthy");
        awaited = Awaited::of(&all, Count::All, 2);
        all.instances[1] = Arc::clone(&all.instances[0]);
        assert!(awaited.remake(&all));
    }
}
