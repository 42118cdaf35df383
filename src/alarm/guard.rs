//! The guard's test: is green's rate of failures within its bound?
//!
//! **Measures** the evidence, in nats, that green's requests fail with a probability above the permitted one, p0. The error rate is
//! such a probability; so is a latency quantile: 'p99 below 250 ms' says that a request takes 250 ms or longer with a
//! probability of at most 1 %.
//!
//! **Estimator**: an e-process, the wealth of a player who bets against green. Twelve cells each bet on one alternative rate q above
//! p0; a request that fails multiplies a cell's wealth by q/p0, any other by (1-q)/(1-p0): Wald's likelihood ratio, mixed over
//! alternatives as by Robbins (1970), in the betting form of Waudby-Smith and Ramdas (2024). The alternatives are spaced geometrically in
//! log-odds from 1.25 times the permitted odds to a rate of 95 %, so that the mixture is at most ln 12 = 2.48 nats behind its best cell. A
//! plug-in estimate of the rate needs a fifth to two fifths more requests for small effects, and its value would depend on the order
//! inside a batch.
//!
//! **Guarantee**: as long as every request fails with a probability of at most p0, given the past, the wealth's mean does not grow,
//! so it ever reaches 1/a with a probability of at most a, at whatever moments one looks (Ville 1939).
//!
//! **What counts**: requests dealt, less those whose client went away undecided, and failures known so far; an open request counts as
//! a success until it fails. Counting completions instead would see fast errors before slow successes and call a healthy green bad. A
//! late failure must not pay a bet that was placed after its request was dealt, so the newest bets are kept apart from the older ones
//! ([`super::AlarmBook`] tells requests apart by stamp).
//!
//! A guard on the error rate keeps a part of its money for runs of failures (`outage`); this test is then one of two whose average counts.
//!
//! **Cold start**: none; the first failure counts. **Units**: natural logarithms throughout; a batch can add or take 70,000 nats, which no
//! plain number could hold. **Misses**: rates less than a quarter above p0 in odds are found slowly; failures that come in bursts look
//! like the rate that they are at that time, unless a burst factor says how many belong together. Fractional failures are allowed (a weighted geometric mean is at most the arithmetic one).

use super::cells::{self, CELLS, Cells, NOTHING, log_add, log_sum};

/// One guard's test.
#[derive(Clone, Debug)]
pub struct GuardTest {
    increments: Increments,
    /// ln of each cell's wealth from bets that may be paid by requests of this stamp and the one before.
    older: Cells,
    /// ln of each cell's wealth from the newest bet, which only requests of the current stamp may pay.
    newest: Cells,
}

/// What requests add to the logarithms of the cells' wealth.
#[derive(Clone, Debug)]
pub(super) struct Increments {
    /// ln((1-q)/(1-p0)) of each cell: what a request adds that has not failed.
    of_request: Cells,
    /// ln(q/p0) less the above: what its failure adds to that.
    of_failure: Cells,
}

/// What the requests of one stamp have come to since the last batch.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Tally {
    /// Requests dealt, less those that left undecided: negative when more left than were dealt.
    pub requests: f64,
    /// Failures that have become known, of whenever dealt requests.
    pub failures: f64,
}

impl GuardTest {
    /// A test of this permitted probability of failure, above 0 and below 1, with nothing put in yet. `burst`, at least 1, is how many
    /// failures may come together: with increments divided by it, a group of so many with one cause counts as one.
    pub fn new(permitted: f64, burst: f64) -> Self {
        Self { increments: Increments::new(permitted).divided_by(burst), older: NOTHING, newest: NOTHING }
    }

    /// Puts money on a new bet, in equal parts on every cell. From now on a [`Tally`] is `current` only for requests dealt after this.
    pub fn bet(&mut self, money: f64) {
        let part = cells::even_part(money);
        for (older, newest) in self.older.iter_mut().zip(&mut self.newest) {
            *older = log_add(*older, *newest);
            *newest = part;
        }
    }

    /// Takes in a batch: requests dealt since the newest bet, and those dealt between the bet before and the newest.
    pub fn observe(&mut self, current: Tally, previous: Tally) {
        let both = current.plus(previous);
        for cell in 0..CELLS {
            self.older[cell] += self.increments.of(cell, both);
            self.newest[cell] += self.increments.of(cell, current);
        }
    }

    /// What requests add to the logarithms of the cells' wealth.
    pub(super) fn increments(&self) -> &Increments {
        &self.increments
    }

    /// The evidence against green: ln of the wealth, `cash` being what was not put in.
    pub fn ln_e(&self, cash: f64) -> f64 {
        log_sum(cash.ln(), self.older.iter().chain(&self.newest))
    }

    /// Whether the evidence reaches a threshold. One that is not a number does: going to blue is always safe.
    pub fn reaches(&self, threshold: f64, cash: f64) -> bool {
        cells::reaches(cash.ln(), self.older.iter().chain(&self.newest), 2 * CELLS + 1, threshold)
    }
}

impl Increments {
    /// For this permitted probability of failure.
    pub(super) fn new(permitted: f64) -> Self {
        Self::towards(alternatives(permitted), permitted)
    }

    /// For failures that come so many together: their factors enter as their geometric mean, whose mean is at most 1 under any
    /// dependence between them.
    pub(super) fn divided_by(self, burst: f64) -> Self {
        let divided = |cells: Cells| cells.map(|nats| nats / burst);
        Self { of_request: divided(self.of_request), of_failure: divided(self.of_failure) }
    }

    /// For bets on the rates with these log-odds against the permitted one. A rate so near one that a double is one would lose everything
    /// by a single success, and its log-odds do not.
    pub(super) fn towards(alternatives: Cells, permitted: f64) -> Self {
        let of_request = alternatives.map(|log_odds| cells::ln_rate(-log_odds) - (-permitted).ln_1p());
        let mut of_failure = alternatives.map(|log_odds| cells::ln_rate(log_odds) - permitted.ln());
        for (failure, request) in of_failure.iter_mut().zip(of_request) {
            *failure -= request;
        }
        Self { of_request, of_failure }
    }

    /// What these requests add to one cell.
    pub(super) fn of(&self, cell: usize, tally: Tally) -> f64 {
        tally.requests * self.of_request[cell] + tally.failures * self.of_failure[cell]
    }
}

impl Tally {
    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self { requests: self.requests + other.requests, failures: self.failures + other.failures }
    }
}

/// The least number of requests that raise a guard's alarm if all of them fail, with only this much money on them. With fewer, not even a
/// total outage can be told from chance. `u64::MAX` when no number does.
pub(super) fn least_failures(permitted: f64, burst: f64, threshold: f64, money: f64) -> u64 {
    let gains = alternatives(permitted).map(|log_odds| (cells::ln_rate(log_odds) - permitted.ln()) / burst);
    let stake = cells::even_part(money);
    let raises = |failures: u64| {
        let wealth = gains.map(|gain| stake + failures as f64 * gain);
        log_sum(f64::NEG_INFINITY, wealth.iter()) >= threshold
    };
    cells::least(raises).unwrap_or(u64::MAX)
}

/// The log-odds of the rates that the cells bet on: up to 95 %, or a unit above the permitted rate.
fn alternatives(permitted: f64) -> Cells {
    let log_odds = cells::log_odds(permitted);
    let farthest = (19.0_f64.ln() - log_odds).max(1.0);
    cells::distances(farthest).map(|distance| log_odds + distance)
}
