//! The promises over many shifts: how often a healthy green is called bad, and how many requests a bad one takes.
//!
//! The expected figures were computed by another implementation, with 200 to 1,000 runs of one request per batch. The evidence rises at a
//! failure alone, and inside a part of the purse the order of requests makes no difference; so the successes up to the next
//! failure go in as one batch, cut where a part is due.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::Trial;

const RUNS: usize = 600;

/// One green under one guard.
#[derive(Clone, Copy, Debug)]
struct Case {
    permitted: f64,
    /// Green's rate for so many requests first.
    healthy: (f64, u32),
    /// Its rate from then on.
    rate: f64,
    false_alarm: f64,
}

impl Case {
    /// Requests after the healthy ones up to the alarm, if there are not more than `most`.
    fn alarm_after(&self, most: u32, rng: &mut StdRng) -> Option<u32> {
        let mut trial = Trial::new(self.permitted, 1);
        let threshold = (1.0 / self.false_alarm).ln();
        let (rate, requests) = self.healthy;
        run(&mut trial, rate, requests, f64::INFINITY, rng);
        run(&mut trial, self.rate, most, threshold, rng)
    }

    fn alarms(&self, most: u32, runs: usize) -> Vec<u32> {
        let mut rng = StdRng::seed_from_u64(20_261_124);
        let mut alarms: Vec<u32> = (0..runs).filter_map(|_| self.alarm_after(most, &mut rng)).collect();
        alarms.sort_unstable();
        alarms
    }
}

fn run(trial: &mut Trial, rate: f64, requests: u32, threshold: f64, rng: &mut StdRng) -> Option<u32> {
    let mut done = 0;
    while done < requests {
        let successes = successes_before_a_failure(rate, rng).min(requests - done);
        let mut rest = successes;
        while rest > 0 {
            let part = rest.min(trial.until_due());
            trial.cohorts(part, 0.0, 0.0, true);
            rest -= part;
        }
        done += successes;
        if done < requests {
            done += 1;
            trial.cohorts(1, 1.0, 0.0, true);
            if trial.test.reaches(threshold, trial.purse.cash()) {
                return Some(done);
            }
        }
    }
    None
}

/// Geometric, by inversion.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10^9")]
pub(super) fn successes_before_a_failure(rate: f64, rng: &mut StdRng) -> u32 {
    if rate >= 1.0 {
        return 0;
    }
    let gap = (1.0 - rng.random::<f64>()).ln() / (-rate).ln_1p();
    gap.min(1e9) as u32
}

#[test]
fn a_green_at_its_bound_is_called_bad_less_often_than_promised() {
    for permitted in [0.001, 0.01, 0.05] {
        let case = Case { permitted, healthy: (0.0, 0), rate: permitted, false_alarm: 0.05 };
        let rate = case.alarms(20_000, 1_000).len() as f64 / 1_000.0;
        let most = 0.05 + 3.0 * (0.05 * 0.95 / 1_000.0_f64).sqrt();
        assert!(rate > 0.0 && rate <= most, "{case:?}: {rate}");
    }
}

#[test]
fn a_bad_green_is_found_after_as_many_requests_as_the_table_says() {
    let rows = [
        (0.001, 0.004, 3_338, 7_687),
        (0.001, 0.05, 70, 164),
        (0.01, 0.02, 2_029, 4_457),
        (0.01, 0.05, 220, 451),
        (0.01, 0.2, 22, 47),
        (0.01, 1.0, 3, 3),
        (0.05, 0.1, 406, 808),
        (0.05, 1.0, 4, 4),
    ];
    for (permitted, rate, median, high) in rows {
        check(Case { permitted, healthy: (0.0, 0), rate, false_alarm: 0.001 }, median, high);
    }
}

#[test]
fn a_green_that_breaks_late_is_found_nearly_as_soon() {
    let rows = [
        (0, 1.0, 3, 3),
        (1_000, 1.0, 8, 8),
        (10_000, 1.0, 7, 7),
        (10_000, 0.2, 49, 82),
        (10_000, 0.03, 1_287, 2_256),
    ];
    for (healthy, rate, median, high) in rows {
        check(Case { permitted: 0.01, healthy: (0.002, healthy), rate, false_alarm: 0.001 }, median, high);
    }
}

/// Medians within 15 % and a request, 95 % quantiles within 25 % and two.
fn check(case: Case, median: u32, high: u32) {
    let alarms = case.alarms(200_000, RUNS);
    assert_eq!(alarms.len(), RUNS, "{case:?}");
    within(alarms[RUNS / 2].into(), median.into(), 0.15, 1.0, case);
    within(alarms[RUNS * 95 / 100].into(), high.into(), 0.25, 2.0, case);
}

/// Whether a figure is as expected, up to a fraction of it and so many requests.
pub(super) fn within(found: u64, expected: u64, fraction: f64, requests: f64, case: impl std::fmt::Debug) {
    let (found, expected) = (found as f64, expected as f64);
    assert!(
        (found - expected).abs() <= fraction * expected + requests,
        "{case:?}: {found} where {expected} was expected"
    );
}
