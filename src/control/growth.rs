//! Instances that join a fleet in service, or return to it, begin with a small part of its requests.
//!
//! A model server that has just started fills its caches and compiles its kernels with the first requests; with its whole part at once
//! they would pile up on it. Parts count against those of the others, so the fleet as a whole is never slowed: where all instances
//! are new they share as ever, and what a fleet gets is the split's alone. Green's instances grow only while green has a share;
//! before, they have had no requests to be spared.

use std::{sync::Arc, time::Duration};

use crate::{fleet::Instance, time::Moment};

/// What an instance begins with, in thousandths of its part: enough to warm up by.
const FLOOR: u16 = 100;
const WHOLE: u16 = 1_000;

/// The instances of a fleet that have not grown to their whole part, and since when they grow: not before they are healthy.
#[derive(Debug, Default)]
pub(super) struct Growth(Vec<(Arc<Instance>, Option<Moment>)>);

impl Growth {
    /// An instance joins others that serve: it grows from now on.
    pub(super) fn join(&mut self, instance: &Arc<Instance>, slow_start: Duration, now: Moment) {
        self.place(instance, slow_start, Some(now));
    }

    /// An instance gets no requests any more. It is small already when it returns.
    pub(super) fn fall(&mut self, instance: &Arc<Instance>, slow_start: Duration) {
        self.place(instance, slow_start, None);
    }

    /// An instance is healthy. If it had fallen, it grows from now on; one that was only unknown has had its part of the requests.
    pub(super) fn rise(&mut self, instance: &Arc<Instance>, slow_start: Duration, now: Moment) {
        let is_it = |(young, since): &(Arc<Instance>, Option<Moment>)| {
            Arc::ptr_eq(young, instance) && since.is_none()
        };
        if self.0.iter().any(is_it) {
            self.place(instance, slow_start, Some(now));
        }
    }

    /// Gives everyone the part of this moment.
    pub(super) fn tick(&mut self, slow_start: Duration, now: Moment) {
        self.0.retain(|(instance, since)| {
            let Some(since) = since else { return true };
            let growth = grown(now.since(*since), slow_start);
            instance.set_growth(growth);
            growth < WHOLE
        });
    }

    /// The growth of those that are among these instances: the fleet has become another one.
    pub(super) fn of(mut self, instances: &[Arc<Instance>]) -> Self {
        self.0.retain(|(young, _)| instances.iter().any(|instance| Arc::ptr_eq(instance, young)));
        self
    }

    fn place(&mut self, instance: &Arc<Instance>, slow_start: Duration, since: Option<Moment>) {
        instance.set_growth(if slow_start.is_zero() { WHOLE } else { FLOOR });
        self.0.retain(|(young, _)| !Arc::ptr_eq(young, instance));
        self.0.push((Arc::clone(instance), since));
    }
}

/// Thousandths after so long: in a straight line from the floor.
fn grown(age: Duration, slow_start: Duration) -> u16 {
    if age >= slow_start {
        return WHOLE;
    }
    let more = u128::from(WHOLE - FLOOR) * age.as_nanos() / slow_start.as_nanos().max(1);
    u16::try_from(more).map_or(WHOLE, |more| WHOLE.min(FLOOR + more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Address, Weight};

    const SPAN: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn instance() -> Arc<Instance> {
        Arc::new(Instance::new(Address::parse("a:1").unwrap(), 1).weighing(Weight::new(2).unwrap()))
    }

    #[test]
    fn a_part_grows_in_a_straight_line_from_a_tenth_and_no_further_than_the_whole() {
        let (mut growth, instance) = (Growth::default(), instance());
        let whole = instance.part();
        growth.join(&instance, SPAN, at(100));
        let parts: Vec<_> = [100, 110, 120, 130, 500]
            .into_iter()
            .map(|now| {
                growth.tick(SPAN, at(now));
                instance.part() * 100 / whole
            })
            .collect();
        assert_eq!(parts, [10, 40, 70, 100, 100]);
        assert_eq!((growth.0.len(), instance.weight().get()), (0, 2));
    }

    #[test]
    fn who_comes_back_is_small_from_the_first_moment() {
        let (mut growth, instance) = (Growth::default(), instance());
        let whole = instance.part();
        growth.fall(&instance, SPAN);
        growth.tick(SPAN, at(1_000));
        assert_eq!(instance.part() * 10, whole);
        growth.rise(&instance, SPAN, at(2_000));
        growth.tick(SPAN, at(2_010));
        assert_eq!(instance.part() * 10, whole * 4);
        growth.rise(&instance, SPAN, at(2_020));
        growth.tick(SPAN, at(2_030));
        assert_eq!(instance.part(), whole, "healthy again and again is no new beginning");
    }

    #[test]
    fn who_was_only_unknown_keeps_its_part() {
        let (mut growth, instance) = (Growth::default(), instance());
        let whole = instance.part();
        growth.rise(&instance, SPAN, at(1));
        assert_eq!(instance.part(), whole);
    }

    #[test]
    fn without_a_slow_start_nobody_is_kept_small() {
        let (mut growth, instance) = (Growth::default(), instance());
        let whole = instance.part();
        growth.fall(&instance, SPAN);
        growth.rise(&instance, Duration::ZERO, at(1));
        assert_eq!(instance.part(), whole);
        growth.join(&instance, SPAN, at(1));
        growth.tick(Duration::ZERO, at(1));
        assert_eq!(instance.part(), whole, "the owner has taken it back meanwhile");
    }
}
