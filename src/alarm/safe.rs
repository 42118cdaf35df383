//! The tests behind 'ramp when safe': is green better than its bound, so that a step need not last its whole bake?
//!
//! **Measures** the evidence that green is *not* bad, the mirror image of the guard's and the regression's: the null hypothesis is that green
//! fails at the bound or above it. Every guard and regression of a plan must have it, so the level needs no division (intersection and
//! union, Berger 1982).
//!
//! **Estimator**: twelve cells that bet on lower rates, or on green's label coming less often; all money is in at the start of a step,
//! and each step begins a fresh test.
//!
//! **Guarantee**: a green at its bound is called safe in at most one step of twenty, at evidence of [`SAFE_EVIDENCE`] nats, however often one
//! looks.
//!
//! **What counts**: settled cohorts only, all requests dealt up to some moment with what each of them came to. Here an open request must not
//! pass for a success, or a green that hangs would be safe. **Misses**: faults that come later: memory that grows, caches that are
//! evicted, the day's peak.

use super::{
    FleetPair, Tally,
    cells::{self, CELLS, Cells, log_sum},
    guard::Increments,
    share::Labels,
};

/// The evidence in nats at which a test says that green is safe: wrong in one step of twenty at the edge.
pub const SAFE_EVIDENCE: f64 = 2.995_732_273_553_991;

/// The farthest alternative below a bound: odds of failure this many times smaller.
const FARTHEST_ODDS: f64 = 1_000.0;

/// Whether green's rate of failures is below a bound.
#[derive(Clone, Debug)]
pub struct SafeGuard {
    increments: Increments,
    wealth: Cells,
}

/// Whether green fails less than a margin more often than blue.
#[derive(Clone, Debug)]
pub struct SafeShare {
    labels: Labels,
    margin: f64,
    wealth: Cells,
}

impl SafeGuard {
    /// A test of one step against this bound, above 0 and below 1.
    pub fn new(permitted: f64) -> Self {
        let edge = cells::log_odds(permitted);
        let alternatives = cells::distances(FARTHEST_ODDS.ln()).map(|distance| edge - distance);
        Self {
            increments: Increments::towards(alternatives, permitted),
            wealth: [cells::even_part(1.0); CELLS],
        }
    }

    /// Takes in settled requests.
    pub fn observe(&mut self, settled: Tally) {
        for (cell, wealth) in self.wealth.iter_mut().enumerate() {
            *wealth += self.increments.of(cell, settled);
        }
    }

    /// The evidence that green is below the bound, in nats.
    pub fn ln_e(&self) -> f64 {
        log_sum(f64::NEG_INFINITY, self.wealth.iter())
    }
}

impl SafeShare {
    /// A test of one step in which green has this share, above 0 and below 1, against the null that green's rate is blue's plus the
    /// margin or more. Latency takes a margin of 0, and counts what was slower than the tolerance times blue's quantile as failed.
    pub fn new(share: f64, margin: f64) -> Self {
        Self { labels: Labels::below(share), margin, wealth: [cells::even_part(1.0); CELLS] }
    }

    /// Takes in settled requests.
    pub fn observe(&mut self, settled: FleetPair) {
        let FleetPair { green_dealt: _, green_failed, blue_settled, blue_failed } = settled;
        let (green, blue) = (green_failed as f64, blue_failed as f64);
        let forgiven = self.margin * (blue_settled as f64 - blue);
        for (cell, wealth) in self.wealth.iter_mut().enumerate() {
            *wealth += green * self.labels.green[cell] + (blue + forgiven) * self.labels.blue[cell];
        }
    }

    /// The evidence that green is less than the margin worse than blue, in nats.
    pub fn ln_e(&self) -> f64 {
        log_sum(f64::NEG_INFINITY, self.wealth.iter())
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::{super::tests::assert_near, *};

    #[test]
    fn the_level_is_one_in_twenty() {
        assert_near(SAFE_EVIDENCE, 20_f64.ln(), "level");
    }

    #[test]
    fn a_guards_safety() {
        let mut test = SafeGuard::new(0.01);
        for (requests, failures, expected) in
            [(100.0, 0.0, 0.706321663096), (278.0, 0.0, 3.00145640486), (1_000.0, 3.0, 4.9475516308)]
        {
            test.observe(Tally { requests, failures });
            assert_near(test.ln_e(), expected, requests);
        }
    }

    #[test]
    fn a_regressions_safety() {
        let mut test = SafeShare::new(0.1, 0.005);
        for (green_failed, blue_settled, blue_failed, expected) in
            [(0, 576, 3, 0.426541350661), (4, 9_000, 45, 1.52873029676), (9, 18_000, 90, 4.49046385888)]
        {
            test.observe(FleetPair { green_dealt: 0, green_failed, blue_settled, blue_failed });
            assert_near(test.ln_e(), expected, blue_settled);
        }
    }

    #[test]
    fn a_green_at_its_bound_is_called_safe_in_few_steps_and_a_perfect_one_after_378_requests() {
        let mut rng = StdRng::seed_from_u64(20_261_124);
        let mut needed = |rate: f64, most: u32| {
            let mut test = SafeGuard::new(0.01);
            (1..=most).find(|_| {
                let failures = f64::from(u8::from(rng.random::<f64>() < rate));
                test.observe(Tally { requests: 1.0, failures });
                test.ln_e() >= SAFE_EVIDENCE
            })
        };
        assert_eq!(needed(0.0, 10_000), Some(378));
        let wrong = (0..300).filter(|_| needed(0.01, 2_000).is_some()).count();
        let most = 0.05 + 3.0 * (0.05 * 0.95 / 300.0_f64).sqrt();
        assert!(wrong > 0 && wrong as f64 / 300.0 <= most, "{wrong}");
    }
}
