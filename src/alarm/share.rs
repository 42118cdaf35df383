//! The regression's test: does green fail more often than blue at the same moments?
//!
//! **Measures** the evidence, in nats, that green's requests fail with a higher probability than blue's. The deck deals each request to green
//! with a probability w, so while green is no worse, whichever failure becomes known next is green's with a probability of at most w:
//! Przyborowski's and Wilenski's test of two rates given their total (1940), as an e-process.
//!
//! **Estimator**: twelve cells each bet on one alternative probability q above w that a failure is green's; green's failure
//! multiplies a cell's wealth by q/w, blue's by (1-q)/(1-w). Successes do not enter. A test of both fleets' rates is up to 45 % faster at a
//! total outage, but it also bets on successes, and these have a time of arrival: a green that is slower, and fails no more often, was called
//! bad by it in every shift, and by this one in none.
//!
//! **Tolerance**: a ratio r permits green r times blue's rate: the probability above is r w/(r w + 1 - w). Percentage points t give blue t
//! imaginary failures for each request that it settles, a little more where blue fails itself (Bernoulli's inequality; holds as long
//! as blue's true rate is below twice its rate so far plus 1 %).
//!
//! **Guarantee**: at most a = e^-threshold, at whatever moments one looks, as long as green is within the tolerance and the labels are dealt by
//! the deck. A request that a rule sent to its fleet has no coin and stays out. A late failure needs no care: its label is a fresh coin for every
//! bet placed before it is known, and one dealt at a smaller share makes the test more careful.
//!
//! **Sticky keys**: the label belongs to the client, so one broken client's retries are one coin. The promise is then approximate, and
//! increments are divided by a burst factor: exact when failures come in groups of at most so many with one label.
//!
//! **Cold start**: none. **Misses**: an outage of both fleets (the guards' business), a green that is better, and everything while green
//! has all the traffic: with nothing to compare with, the test rests. A total outage at a share of 50 % takes 13 to 18 requests.

use super::cells::{self, CELLS, Cells, NOTHING, log_add, log_sum};

/// The farthest alternative: odds of green's label this many times those that are permitted.
const FARTHEST_ODDS: f64 = 2_000.0;

/// How many of blue's requests the tolerance in percentage points looks back on; when more have come, old ones count half.
const BLUE_HISTORY: f64 = 20_000.0;

/// By how much green may be worse than blue.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Tolerance {
    /// Green may fail so many times as often, at least 1. 1 is no tolerance.
    Ratio(f64),
    /// Green's rate may lie so much above blue's, from 0 and below 1: 0.005 for half a percentage point.
    Points(f64),
}

/// What both fleets' requests have come to since the last look, read at the same moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FleetPair {
    /// Green requests dealt.
    pub green_dealt: u64,
    /// Failures of green that became known.
    pub green_failed: u64,
    /// Requests of blue that settled, failed ones among them.
    pub blue_settled: u64,
    /// Failures of blue that became known.
    pub blue_failed: u64,
}

/// One regression's test.
#[derive(Clone, Debug)]
pub struct ShareTest {
    tolerance: Tolerance,
    burst: f64,
    labels: Option<Labels>,
    wealth: Cells,
    blue_failures: f64,
    blue_requests: f64,
    /// Imaginary failures of blue for each request that it settles.
    forgiven: f64,
}

/// What labels of failures add to the logarithms of the cells' wealth, at one share.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    /// ln(q/w).
    pub(super) green: Cells,
    /// ln((1-q)/(1-w)).
    pub(super) blue: Cells,
}

impl ShareTest {
    /// A test with nothing put in yet, which rests until its first step begins. `burst`, at least 1, is how many failures may come
    /// together.
    pub fn new(tolerance: Tolerance, burst: f64) -> Self {
        Self {
            tolerance,
            burst: burst.max(1.0),
            labels: None,
            wealth: NOTHING,
            blue_failures: 0.0,
            blue_requests: 0.0,
            forgiven: 0.0,
        }
    }

    /// Tells how blue did before the shift, which a tolerance in percentage points looks at.
    pub fn remember_blue(&mut self, requests: u64, failures: u64) {
        self.blue_requests += requests as f64;
        self.blue_failures += failures as f64;
    }

    /// Green's share of the requests dealt from now on. At 0 or 1 the test rests.
    pub fn set_share(&mut self, share: f64) {
        self.labels = (share > 0.0 && share < 1.0).then(|| {
            let ratio = match self.tolerance {
                Tolerance::Ratio(ratio) => ratio,
                Tolerance::Points(_) => 1.0,
            };
            Labels::above(permitted(share, ratio)).divided_by(self.burst)
        });
    }

    /// Whether there is nothing to compare green with.
    pub fn rests(&self) -> bool {
        self.labels.is_none()
    }

    /// Puts money on all cells in equal parts.
    pub fn bet(&mut self, money: f64) {
        let part = cells::even_part(money);
        for wealth in &mut self.wealth {
            *wealth = log_add(*wealth, part);
        }
        if let Tolerance::Points(points) = self.tolerance {
            self.forgiven = forgiven(points, self.blue_requests, self.blue_failures);
            if self.blue_requests > BLUE_HISTORY {
                self.blue_requests /= 2.0;
                self.blue_failures /= 2.0;
            }
        }
    }

    /// Takes in what became known since the last look.
    pub fn observe(&mut self, pair: FleetPair) {
        let FleetPair { green_dealt: _, green_failed, blue_settled, blue_failed } = pair;
        let (settled, failed) = (blue_settled as f64, blue_failed as f64);
        if let Some(labels) = &self.labels {
            let (green, blue) = (green_failed as f64, failed + self.forgiven * settled);
            for cell in 0..CELLS {
                self.wealth[cell] += green * labels.green[cell] + blue * labels.blue[cell];
            }
        }
        self.blue_requests += settled;
        self.blue_failures += failed;
    }

    /// The evidence against green: ln of the wealth, `cash` being what was not put in.
    pub fn ln_e(&self, cash: f64) -> f64 {
        log_sum(cash.ln(), self.wealth.iter())
    }

    /// Whether the evidence reaches a threshold. One that is not a number does: going to blue is always safe.
    pub fn reaches(&self, threshold: f64, cash: f64) -> bool {
        cells::reaches(cash.ln(), self.wealth.iter(), CELLS + 1, threshold)
    }

    /// The least number of green requests of this step that raise the alarm if all of them fail and none of blue's does, with only this
    /// much money on them. `None` when no number does, or the test rests.
    pub fn least_failures(&self, share: f64, threshold: f64, money: f64) -> Option<u64> {
        let labels = self.labels.as_ref()?;
        let points = match self.tolerance {
            Tolerance::Ratio(_) => 0.0,
            Tolerance::Points(points) => forgiven(points, self.blue_requests, self.blue_failures),
        };
        let blue_for_each = points * (1.0 - share) / share;
        cells::least(|failures| {
            labels.value(failures as f64, failures as f64 * blue_for_each, money) >= threshold
        })
    }
}

impl Labels {
    /// Bets on green's label coming more often than with this probability.
    pub(super) fn above(permitted: f64) -> Self {
        Self::at(permitted, cells::distances(FARTHEST_ODDS.ln()))
    }

    /// Bets on it coming less often.
    pub(super) fn below(permitted: f64) -> Self {
        Self::at(permitted, cells::distances(FARTHEST_ODDS.ln()).map(|distance| -distance))
    }

    fn at(permitted: f64, distances: Cells) -> Self {
        let edge = cells::log_odds(permitted);
        let more = |towards: f64, edge: f64| cells::ln_rate(towards) - cells::ln_rate(edge);
        Self {
            green: distances.map(|distance| more(edge + distance, edge)),
            blue: distances.map(|distance| more(-edge - distance, -edge)),
        }
    }

    pub(super) fn divided_by(self, burst: f64) -> Self {
        Self { green: self.green.map(|nats| nats / burst), blue: self.blue.map(|nats| nats / burst) }
    }

    /// ln of the wealth that this money, put in evenly, has become after these labels.
    pub(super) fn value(&self, green: f64, blue: f64, money: f64) -> f64 {
        let stake = cells::even_part(money);
        let wealth: Cells =
            std::array::from_fn(|cell| stake + green * self.green[cell] + blue * self.blue[cell]);
        log_sum(f64::NEG_INFINITY, wealth.iter())
    }
}

/// The largest probability that a failure is green's while green fails at most `ratio` times as often as blue.
pub(super) fn permitted(share: f64, ratio: f64) -> f64 {
    ratio * share / (ratio * share + 1.0 - share)
}

/// Imaginary failures of blue for each request that it settles, for a tolerance in percentage points and what is known of blue.
pub(super) fn forgiven(points: f64, blue_requests: f64, blue_failures: f64) -> f64 {
    let rate = (blue_failures + 0.5) / (blue_requests + 100.0);
    points / (1.0 - (2.0 * rate + 0.01).min(0.5))
}
