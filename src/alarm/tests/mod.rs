//! Tests of the alarms: `vectors` fixes the numbers of guards, `properties` what holds for all of them, `share` and `latency` both for regressions,
//! `simulation`, `outages` and `rivalry` the promises over many shifts, `book` the way from the meters to the verdict.

mod book;
mod latency;
mod outages;
mod properties;
mod ramp;
mod rivalry;
mod share;
mod simulation;
mod tokens;
mod vectors;

use std::time::Duration;

use super::{GuardBound, GuardTest, Purse, Tally};

/// A guard with a purse of its own, where requests settle within one batch unless said otherwise.
#[derive(Clone, Debug)]
struct Trial {
    test: GuardTest,
    purse: Purse,
    step_begun: bool,
    since_bet: u32,
}

impl Trial {
    fn new(permitted: f64, steps: usize) -> Self {
        Self::of(permitted, 1.0, steps)
    }

    fn of(permitted: f64, burst: f64, steps: usize) -> Self {
        let mut trial = Self {
            test: GuardTest::new(permitted, burst),
            purse: Purse::new(steps),
            step_begun: false,
            since_bet: 0,
        };
        trial.begin_step();
        trial
    }

    fn begin_step(&mut self) {
        self.purse.begin_step();
        self.step_begun = true;
    }

    /// A batch of requests that all settle in it; returns ln E.
    fn batch(&mut self, requests: u32, failures: f64) -> f64 {
        self.cohorts(requests, failures, 0.0, true);
        self.ln_e()
    }

    /// A batch with failures of the newest bet's requests and of those before; `settled` says whether nothing older than the newest bet
    /// was open before it.
    fn cohorts(&mut self, requests: u32, failures: f64, late: f64, settled: bool) {
        let is_empty = requests == 0 && failures == 0.0 && late == 0.0;
        if !is_empty && self.purse.is_due() && (self.step_begun || settled) {
            self.step_begun = false;
            self.since_bet = 0;
            self.test.bet(self.purse.draw());
        }
        self.since_bet += requests;
        self.purse.dealt(u64::from(requests));
        self.test.observe(
            Tally { requests: f64::from(requests), failures },
            Tally { requests: 0.0, failures: late },
        );
    }

    /// Requests that may go in as one batch without passing by a part of the purse.
    fn until_due(&self) -> u32 {
        64 - self.since_bet % 64
    }

    fn ln_e(&self) -> f64 {
        self.test.ln_e(self.purse.cash())
    }
}

pub(super) fn assert_near(found: f64, expected: f64, what: impl std::fmt::Display) {
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{what}: {found} is not {expected}");
}

#[test]
fn what_a_quantile_permits_is_exact() {
    let below = Duration::from_millis(250);
    for (quantile, permitted) in [(0.5, 0.5), (0.9, 0.1), (0.99, 0.01), (0.999, 0.001), (0.9999, 0.0001)] {
        assert_eq!(GuardBound::Latency { quantile, below }.permitted(), permitted);
    }
    assert!(GuardBound::Latency { quantile: 1.0_f64.next_down(), below }.permitted() > 0.0);
}
