//! Single bad instances get no requests for a while.
//!
//! Failures in a row are counted for an instance over all workers: with a count for each worker, eight workers would take forty
//! failures to see what five tell. The counts are atomics that nobody writes as long as nothing fails; a request that ends well reads
//! one of them. An ejected instance comes back by one request, the trial, which one worker wins by compare-and-swap: if it ends
//! well the instance is back, else it is ejected for twice as long.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{Fleet, Instance};
use crate::{time::Moment, weight::Share};

/// After how many failures in a row an instance is ejected, for how long, and how many of a fleet at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EjectionRule {
    /// So many failures in a row; never, if zero.
    pub after: u32,
    /// For so long the first time, and twice as long each time that it comes back and fails again.
    pub base_time: Duration,
    /// But no longer than this. An instance that has been back for as long begins anew.
    pub longest_time: Duration,
    /// No more than this part of a fleet's instances.
    pub max_share: Share,
}

/// An instance's failures and ejections.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Failures since the last good answer.
    in_a_row: AtomicU32,
    /// Ejections since it began anew.
    times: AtomicU32,
    /// When the current ejection is over, or the last one was.
    until_nanos: AtomicU64,
}

impl Record {
    /// How long it is ejected now, which is one time more.
    fn next(&self, rule: &EjectionRule, now: Moment) -> Duration {
        let until = Moment::from_nanos(self.until_nanos.load(Relaxed));
        let times = if now.since(until) >= rule.longest_time { 0 } else { self.times.load(Relaxed) };
        self.times.store(times.saturating_add(1), Relaxed);
        let span = rule.base_time.saturating_mul(2_u32.saturating_pow(times)).min(rule.longest_time);
        self.until_nanos.store(now.after(span).as_nanos(), Relaxed);
        span
    }

    fn is_over(&self, now: Moment) -> bool {
        now.as_nanos() >= self.until_nanos.load(Relaxed)
    }
}

impl Instance {
    /// Whether it is ejected and may be given a trial: a single request, whose end says whether it is back.
    pub fn is_due_for_trial(&self, now: Moment) -> bool {
        self.standing().is_ejected() && self.record().is_over(now)
    }

    /// Takes the trial for one request. Only one has it at a time; whoever got it ends it.
    pub fn begin_trial(&self, now: Moment) -> bool {
        self.is_due_for_trial(now) && self.standing().begin_trial()
    }

    /// The trial says nothing: another request may have it.
    pub fn give_trial_back(&self) {
        self.standing().end_trial();
    }

    /// The trial ended badly: ejected again. Says for how long.
    pub fn fail_trial(&self, rule: &EjectionRule, now: Moment) -> Duration {
        let span = self.record().next(rule, now);
        self.standing().end_trial();
        span
    }

    /// It gets requests again.
    pub fn readmit(&self) {
        self.record().in_a_row.store(0, Relaxed);
        self.standing().readmit();
    }

    /// Whether it gets no requests because it failed too many.
    pub fn is_ejected(&self) -> bool {
        self.standing().is_ejected()
    }

    /// A request ended well.
    pub fn succeeded(&self) {
        let in_a_row = &self.record().in_a_row;
        if in_a_row.load(Relaxed) != 0 {
            in_a_row.store(0, Relaxed);
        }
    }
}

impl Fleet {
    /// An instance of this fleet failed a request. If that is one failure too many, and the fleet can do without it, it is ejected; says
    /// for how long then.
    pub fn failed(&self, instance: &Instance, rule: &EjectionRule, now: Moment) -> Option<Duration> {
        let in_a_row = instance.record().in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        if in_a_row < rule.after || instance.is_ejected() || !self.can_lose(instance, rule, 1) {
            return None;
        }
        let span = instance.record().next(rule, now);
        instance.standing().eject();
        // Another worker may have ejected another instance at this moment, each of them the last one that could go.
        if !self.can_lose(instance, rule, 0) {
            instance.readmit();
            return None;
        }
        Some(span)
    }

    /// Whether so many more instances may be ejected, and another one than this can serve.
    fn can_lose(&self, instance: &Instance, rule: &EjectionRule, more: usize) -> bool {
        let ejected = self.instances.iter().filter(|instance| instance.is_ejected()).count();
        let most =
            self.instances.len() * usize::from(rule.max_share.basis_points()) / usize::from(Share::WHOLE);
        let mut others = self.instances.iter().filter(|other| !std::ptr::eq(&***other, instance));
        ejected + more <= most && others.any(|other| other.part() > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        fleet::{Address, Health},
        name::Version,
    };

    const RULE: EjectionRule = EjectionRule {
        after: 3,
        base_time: Duration::from_secs(10),
        longest_time: Duration::from_secs(60),
        max_share: Share::ALL,
    };

    fn fleet(size: usize) -> Fleet {
        let instance =
            |place| Arc::new(Instance::new(Address::parse(&format!("a:{}", place + 1)).unwrap(), 1));
        Fleet::of(Version::parse("v1").unwrap(), (0..size).map(instance).collect())
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn fail(fleet: &Fleet, place: usize, times: u32, now: Moment) -> Option<u64> {
        let instance = &fleet.instances[place];
        let spans: Vec<_> = (0..times).filter_map(|_| fleet.failed(instance, &RULE, now)).collect();
        assert!(spans.len() < 2);
        spans.first().map(Duration::as_secs)
    }

    #[test]
    fn only_failures_in_a_row_eject() {
        let fleet = fleet(2);
        for _ in 0..4 {
            assert_eq!(fail(&fleet, 0, 2, at(1)), None);
            fleet.instances[0].succeeded();
        }
        assert_eq!(fail(&fleet, 0, 3, at(1)), Some(10));
        assert_eq!((fleet.instances[0].part(), fleet.instances[1].part() > 0), (0, true));
    }

    #[test]
    fn an_ejection_is_over_by_one_trial_that_ends_well_and_lasts_twice_as_long_after_one_that_does_not() {
        let fleet = fleet(2);
        let bad = &fleet.instances[0];
        fail(&fleet, 0, 3, at(100));
        assert!(!bad.begin_trial(at(109)), "too early");
        assert!(bad.begin_trial(at(110)) && !bad.begin_trial(at(110)), "one at a time");
        bad.give_trial_back();
        assert!(bad.begin_trial(at(111)));
        assert_eq!(bad.fail_trial(&RULE, at(111)), Duration::from_secs(20));
        assert!(!bad.begin_trial(at(130)) && bad.begin_trial(at(131)));
        assert_eq!(bad.fail_trial(&RULE, at(131)), Duration::from_secs(40));
        assert!(bad.begin_trial(at(171)));
        assert_eq!(bad.fail_trial(&RULE, at(171)), Duration::from_secs(60), "the longest");
        assert!(bad.begin_trial(at(231)));
        bad.readmit();
        assert!(bad.part() > 0 && !bad.is_ejected() && !bad.begin_trial(at(500)));
        assert_eq!(fail(&fleet, 0, 3, at(240)), Some(60), "it fails again at once");
        assert!(bad.begin_trial(at(300)));
        bad.readmit();
        assert_eq!(fail(&fleet, 0, 3, at(360)), Some(10), "after a long time it begins anew");
    }

    #[test]
    fn the_last_one_that_can_serve_is_never_ejected() {
        let fleet = fleet(3);
        fleet.instances[0].set_health(Health::Unhealthy);
        assert_eq!(fail(&fleet, 1, 3, at(1)), Some(10));
        assert_eq!(fail(&fleet, 2, 9, at(1)), None);
    }

    proptest! {
        #[test]
        fn no_more_than_the_share_is_ejected_whatever_fails(
            size in 1_usize..8, points in 0_u16..=10_000, failures in prop::collection::vec(0_usize..8, 0..100),
        ) {
            let fleet = fleet(size);
            let rule = EjectionRule { after: 1, max_share: Share::from_basis_points(points).unwrap(), ..RULE };
            for place in failures {
                fleet.failed(&fleet.instances[place % size], &rule, at(1));
                let ejected = fleet.instances.iter().filter(|instance| instance.is_ejected()).count();
                prop_assert!(ejected * 10_000 <= size * usize::from(points) && ejected < size);
            }
        }
    }
}
