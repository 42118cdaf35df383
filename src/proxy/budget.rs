//! How many second tries an endpoint may make: rescues and retries together.
//!
//! A fleet that fails makes every request a candidate for a second try, just when the other servers have the least room. So
//! second tries are a part of the requests of the last ten seconds, plus a number that a quiet endpoint may always make. Each
//! worker keeps the budget of its own requests.

use std::cell::{Cell, RefCell};

use crate::{time::Moment, weight::Share};

/// Seconds that are looked back on.
const WINDOW: usize = 10;

/// Second tries that all workers together may always make in the window: at ten requests a second a share would allow two a
/// second, and a fleet that is down fails all ten.
const LEAST: u64 = 100;

/// One worker's second tries for one endpoint.
#[derive(Debug)]
pub(super) struct Budget {
    /// This worker's part of [`LEAST`].
    least: u64,
    /// Requests since the last look.
    fresh: Cell<u64>,
    seconds: RefCell<[Second; WINDOW]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    requests: u64,
    spent: u64,
}

impl Budget {
    /// For one of this many workers.
    pub(super) fn new(workers: usize) -> Self {
        let workers = u64::try_from(workers).unwrap_or(u64::MAX).max(1);
        Self { least: LEAST.div_ceil(workers), fresh: Cell::new(0), seconds: RefCell::default() }
    }

    /// A request was dealt.
    pub(super) fn count(&self) {
        self.fresh.set(self.fresh.get() + 1);
    }

    /// Puts the requests since the last look into the second that it is now.
    pub(super) fn look(&self, now: Moment) {
        let number = now.as_nanos() / 1_000_000_000;
        let mut seconds = self.seconds.borrow_mut();
        let second = current(&mut seconds, number);
        second.requests += self.fresh.take();
    }

    /// Whether one more second try may be made when they may be this share of the requests. If so, it counts as made.
    pub(super) fn spend(&self, share: Share, now: Moment) -> bool {
        if share == Share::NONE {
            return false;
        }
        self.look(now);
        let number = now.as_nanos() / 1_000_000_000;
        let mut seconds = self.seconds.borrow_mut();
        let window = u64::try_from(WINDOW).unwrap_or(u64::MAX);
        let recent = seconds.iter().filter(|second| second.number + window > number);
        let (requests, spent) = recent
            .fold((0, 0), |(requests, spent), second| (requests + second.requests, spent + second.spent));
        let part = requests * u64::from(share.basis_points()) / u64::from(Share::WHOLE);
        let may = spent < part.max(self.least);
        if may {
            current(&mut seconds, number).spent += 1;
        }
        may
    }
}

/// The second of this number, begun anew when its place holds an older one.
#[expect(clippy::indexing_slicing, reason = "the place is a remainder of the length")]
fn current(seconds: &mut [Second; WINDOW], number: u64) -> &mut Second {
    let place = usize::try_from(number % 10).unwrap_or(0) % WINDOW;
    let second = &mut seconds[place];
    if second.number != number {
        *second = Second { number, ..Second::default() };
    }
    second
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    fn spend(budget: &Budget, share: &str, now: Moment, wanted: u64) -> u64 {
        let share = Share::parse(share).unwrap();
        (0..wanted).map(|_| u64::from(budget.spend(share, now))).sum()
    }

    #[test]
    fn a_quiet_endpoint_may_always_make_a_hundred_in_ten_seconds_over_all_workers() {
        for (workers, least) in [(1, 100), (2, 50), (3, 34), (1_000, 1)] {
            let budget = Budget::new(workers);
            assert_eq!(spend(&budget, "20%", at(60_000), 500), least, "{workers}");
            assert_eq!(spend(&budget, "20%", at(69_999), 500), 0);
            assert_eq!(spend(&budget, "20%", at(70_000), 500), least, "the window has passed");
        }
    }

    #[test]
    fn a_busy_endpoint_may_make_its_share_of_the_last_ten_seconds() {
        let budget = Budget::new(1);
        for second in 100..110 {
            (0..1_000).for_each(|_| budget.count());
            budget.look(at(second * 1_000 + 100));
        }
        assert_eq!(spend(&budget, "20%", at(109_900), 5_000), 2_000);
        assert_eq!(
            spend(&budget, "20%", at(111_000), 5_000),
            0,
            "spent, whatever requests have left the window"
        );
    }

    #[test]
    fn a_share_of_nothing_allows_nothing() {
        assert_eq!(spend(&Budget::new(1), "0%", at(1_000), 10), 0);
    }

    proptest! {
        #[test]
        fn within_any_ten_seconds_no_more_is_spent_than_the_larger_of_share_and_least(
            steps in prop::collection::vec((0_u64..3_000, 0_u64..400, 0_u64..200), 1..60),
        ) {
            let (budget, mut now, mut log) = (Budget::new(1), 50_000, Vec::new());
            for (wait, requests, wanted) in steps {
                now += wait;
                (0..requests).for_each(|_| budget.count());
                budget.look(at(now));
                let new = spend(&budget, "20%", at(now), wanted);
                log.push((now, requests, new));
                // Nine whole seconds and the one that runs are never more than ten seconds back.
                let recent = log.iter().filter(|(then, ..)| *then / 1_000 + 10 > now / 1_000);
                let (requests, spent) = recent.fold((0, 0), |sum, (_, r, s)| (sum.0 + r, sum.1 + s));
                // What was spent earlier stays spent when requests leave the window.
                prop_assert!(new == 0 || spent <= (requests / 5).max(LEAST), "{spent} of {requests}");
            }
        }
    }
}
