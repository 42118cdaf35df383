//! Since when the requests speak most against green, and what they came to.
//!
//! **Measures** the stretch of requests up to now that most favours one of the test's alternative rates over the permitted one. A green that
//! breaks late has good totals when its alarm is raised: 28 of 6,706 requests failed where 1 % may. That 28 of the last 41 did
//! is what a person has to know.
//!
//! **Estimator**: Page's one-sided CUSUM (1954), one for each cell of the guard's test: a sum of the cell's log-likelihood increments that
//! begins again at zero, with its counts, whenever it would fall below. The counts shown are those of the cell with the greatest sum;
//! one cell alone would reach too far back for a total outage, or not far enough for a small excess.
//!
//! **Guarantee**: none. The moment is chosen after the fact, so these counts look worse than chance even for a healthy green. They are for
//! display only; the decision is the e-process's ([`super::GuardTest`]) alone.
//!
//! **Cold start**: nothing is counted while nothing speaks against green. **Misses**: the order inside a batch, so the moment is one of a
//! look, some milliseconds apart.

use super::{Tally, cells::CELLS, guard::Increments};

/// The counts of one guard since the moment from which they speak most against green.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    cells: [Sum; CELLS],
}

/// One cell's sum in nats, and what has been counted since it was zero.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    nats: f64,
    tally: Tally,
}

impl Recent {
    /// Takes in a batch, whichever stamps its requests have.
    pub(super) fn observe(&mut self, increments: &Increments, batch: Tally) {
        for (cell, sum) in self.cells.iter_mut().enumerate() {
            let nats = sum.nats + increments.of(cell, batch);
            *sum = if nats > 0.0 { Sum { nats, tally: sum.tally.plus(batch) } } else { Sum::default() };
        }
    }

    /// What has been counted since then. A failure of a request dealt before brings its request with it.
    pub(super) fn tally(&self) -> Tally {
        let worst = self.cells.iter().max_by(|left, right| left.nats.total_cmp(&right.nats));
        let Tally { requests, failures } = worst.map_or_else(Tally::default, |sum| sum.tally);
        Tally { requests: requests.max(failures), failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(permitted: f64, batches: &[(f64, f64)]) -> (f64, f64) {
        let (increments, mut recent) = (Increments::new(permitted), Recent::default());
        for (requests, failures) in batches {
            recent.observe(&increments, Tally { requests: *requests, failures: *failures });
        }
        let Tally { requests, failures } = recent.tally();
        (requests, failures)
    }

    #[test]
    fn good_requests_before_the_break_are_not_among_them() {
        let healthy = [(1_000.0, 0.0); 6];
        let broken = [(1.0, 1.0), (10.0, 6.0), (10.0, 7.0), (20.0, 14.0)];
        assert_eq!(after(0.01, &[&healthy[..], &broken].concat()), (41.0, 28.0));
    }

    #[test]
    fn nothing_is_counted_while_nothing_speaks_against_green() {
        assert_eq!(after(0.01, &[]), (0.0, 0.0));
        assert_eq!(after(0.01, &[(500.0, 0.0), (1.0, 1.0), (2_000.0, 0.0)]), (0.0, 0.0));
    }

    #[test]
    fn a_total_outage_is_told_from_a_small_excess_before_it() {
        let excess = [(100.0, 2.0); 20];
        assert_eq!(after(0.01, &excess), (2_000.0, 40.0));
        assert_eq!(after(0.01, &[&excess[..], &[(60.0, 60.0)]].concat()), (60.0, 60.0));
    }

    #[test]
    fn late_failures_bring_their_requests_with_them() {
        assert_eq!(after(0.01, &[(40.0, 0.0), (0.0, 40.0)]), (40.0, 40.0));
        assert_eq!(after(0.01, &[(40.0, 0.0), (0.0, 30.0), (20.0, 5.0)]), (35.0, 35.0));
    }
}
