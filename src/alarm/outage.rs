//! The part of a guard's money that waits for a total outage.
//!
//! **Measures** whether requests dealt to green one after the other have all failed: a run.
//!
//! **Why**: the guard's other bets are placed each so many requests, and the requests that were good since the last one have eaten up
//! what it could win. Whoever bets anew on each single request that an outage begins just there loses next to nothing by it and wins at once: at a
//! permitted rate of 1 % five failures in a row are a chance of one in 10^10. A green that breaks after 10,000 good requests is then found after
//! 5 failures, where the other bets take 8 ([`super::Purse`]).
//!
//! **Estimator**: at each request a stake is put on the bet that it and the next ones, `length` of them, all fail. A bet that is won pays the
//! stake divided by the permitted rate to the power of `length`; one that is lost is lost whole. Each stake is what pays the whole threshold when it
//! wins, and the shortest runs whose stakes are worth it come first: half of the money goes to them, half of the rest to runs of one more,
//! and so on, so that there is money left at any time.
//!
//! **Guarantee**: a bet at fair odds, decided before the request is dealt, so the money left and won is an e-process, in the order of dealing
//! and whenever its failures become known; the guard's evidence is its average with the other bets, weighted by [`RESERVE`] (Vovk and Wang
//! 2021). Counted by hand: with N requests within the bound, some run of `length` fails with a probability of at most N p0^length.
//! With a burst factor D, runs are D times as long: groups of at most D failures with one cause are one event each.
//!
//! **Cold start**: none. **Units**: fractions of the reserve, nats. **Misses**: everything but runs; an open request ends one, so a green whose
//! failures take long is found by the other bets. Latency guards have no reserve: what takes as long as their bound is no sudden end.

use super::{Guard, GuardBound, cells::log_add, guard::least_failures};
use crate::meter::Run;

/// The part of a guard's money. A twentieth costs the other bets a twentieth of a nat, less than one request of a hundred; twice as much would
/// find an outage by the same number of failures for twice as many requests.
const RESERVE: f64 = 0.05;

/// The longest run that is bet on; beyond it the rings of the meters might have forgotten its begin.
const LONGEST: u64 = 64;

/// One guard's reserve.
#[derive(Clone, Debug)]
pub(super) struct Reserve {
    permitted: f64,
    /// How many failures may come together, from 1.
    burst: f64,
    /// The evidence in nats at which the guard is raised.
    threshold: f64,
    /// Requests dealt so far, and with them bets placed.
    dealt: u64,
    is_won: bool,
}

/// Bets on runs of one length.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Tier {
    /// In groups: requests where failures come one by one.
    length: u32,
    /// How many bets its money is good for.
    bets: f64,
    /// What each takes.
    stake: f64,
}

impl Reserve {
    /// A guard's, where it has one.
    pub(super) fn of(guard: &Guard, burst: f64, threshold: f64) -> Option<Self> {
        let permitted = match guard.bound {
            GuardBound::ErrorRate { below } => below,
            GuardBound::Latency { .. } | GuardBound::FirstToken { .. } | GuardBound::TokenGap { .. } => {
                return None;
            }
        };
        let reserve = Self { permitted, burst, threshold, dealt: 0, is_won: false };
        reserve.run_needed().is_some().then_some(reserve)
    }

    /// Takes in how many requests were dealt so far, and the longest run among the last of them.
    pub(super) fn take_in(&mut self, dealt: u64, run: Run) {
        self.dealt = self.dealt.max(dealt).max(run.dealt);
        self.is_won = self.is_won || self.run_needed().is_some_and(|needed| run.length >= needed);
    }

    /// Whether a bet was won. Then the guard is raised.
    pub(super) fn is_won(&self) -> bool {
        self.is_won
    }

    /// How many failures in a row win a bet that is placed now. Earlier bets were on shorter runs or the same.
    pub(super) fn run_needed(&self) -> Option<u64> {
        let mut before = 0.0;
        for tier in self.tiers() {
            before += tier.bets;
            if self.dealt as f64 <= before {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a tier has at most 64 requests"
                )]
                return Some((f64::from(tier.length) * self.burst).ceil() as u64);
            }
        }
        None
    }

    /// The whole guard's evidence, `others` being that of its other bets.
    pub(super) fn with(&self, others: f64) -> f64 {
        let mut left = 1.0;
        let mut bets = self.dealt as f64;
        for tier in self.tiers() {
            left -= bets.min(tier.bets) * tier.stake;
            bets = (bets - tier.bets).max(0.0);
        }
        let won = if self.is_won { self.threshold } else { f64::NEG_INFINITY };
        log_add(log_add(Self::others_part() + others, (RESERVE * left.max(0.0)).ln()), won)
    }

    /// The evidence of the other bets that raises the guard without any help of the reserve.
    pub(super) fn threshold_of_others(&self) -> f64 {
        self.threshold - Self::others_part()
    }

    /// ln of the part of the money that the other bets have.
    fn others_part() -> f64 {
        (-RESERVE).ln_1p()
    }

    /// The tiers that have money for a bet, the shortest runs first.
    fn tiers(&self) -> impl Iterator<Item = Tier> {
        let (gain, needed) = (-self.permitted.ln(), self.threshold - RESERVE.ln());
        let lengths = (1_u32..).take_while(|length| f64::from(*length) * self.burst <= LONGEST as f64);
        let mut money = 0.5;
        lengths.filter_map(move |length| {
            let stake = (needed - f64::from(length) * gain).exp();
            let bets = (money / stake).floor();
            (bets >= 1.0).then(|| {
                money /= 2.0;
                Tier { length, bets, stake }
            })
        })
    }
}

/// The least number of a step's requests that raise a guard's alarm if all of them fail, when this much money goes on its other bets
/// first. `u64::MAX` when no number does.
pub(super) fn least_requests(
    guard: &Guard,
    burst: f64,
    (threshold, reserve): (f64, Option<&Reserve>),
    money: f64,
) -> u64 {
    let of_others = reserve.map_or(threshold, Reserve::threshold_of_others);
    let others = least_failures(guard.bound.permitted(), burst, of_others, money);
    reserve.and_then(Reserve::run_needed).map_or(others, |run| run.min(others))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve(below: f64, burst: f64, alarms: f64) -> Option<Reserve> {
        let guard = Guard { name: "errors".to_owned(), bound: GuardBound::ErrorRate { below }, burst: None };
        Reserve::of(&guard, burst, (alarms / 0.001).ln())
    }

    fn needed_after(below: f64, burst: f64, alarms: f64, dealt: u64) -> Option<u64> {
        let mut reserve = reserve(below, burst, alarms).unwrap();
        reserve.take_in(dealt, Run::default());
        reserve.run_needed()
    }

    #[test]
    fn five_failures_in_a_row_are_an_outage_for_as_long_as_most_shifts_last() {
        let runs = [0, 20, 30, 1_200, 1_300, 63_000, 64_000, 3_000_000];
        let runs = runs.map(|dealt| needed_after(0.01, 1.0, 1.0, dealt));
        assert_eq!(runs, [3, 3, 4, 4, 5, 5, 6, 6].map(Some));
        assert_eq!(needed_after(0.01, 1.0, 4.0, 15_000), Some(5));
        assert_eq!(needed_after(0.001, 1.0, 1.0, 12_000), Some(3));
        assert_eq!(needed_after(0.05, 1.0, 1.0, 10_000), Some(8));
        assert_eq!(needed_after(0.01, 4.0, 1.0, 10_000), Some(20), "four with one cause are one");
    }

    #[test]
    fn all_stakes_together_are_never_more_than_the_reserve() {
        for (below, burst) in [(0.001, 1.0), (0.01, 1.0), (0.05, 1.0), (0.3, 1.0), (0.01, 8.0)] {
            let reserve = reserve(below, burst, 3.0).unwrap();
            let spent: f64 = reserve.tiers().map(|tier| tier.bets * tier.stake).sum();
            assert!(spent <= 1.0 && reserve.tiers().count() > 0, "{below} {burst}: {spent}");
            // The union bound, counted by hand.
            let chance: f64 =
                reserve.tiers().map(|tier| tier.bets * below.powi(i32::try_from(tier.length).unwrap())).sum();
            assert!(chance <= RESERVE * 0.001 / 3.0, "{below} {burst}: {chance}");
        }
    }

    #[test]
    fn the_evidence_is_none_at_the_start_and_the_threshold_when_a_bet_is_won() {
        let mut reserve = reserve(0.01, 1.0, 1.0).unwrap();
        assert!(reserve.with(0.0).abs() < 1e-12);
        reserve.take_in(10_000, Run { length: 4, dealt: 10_000 });
        assert!(!reserve.is_won() && reserve.with(0.0) < 0.0, "four after so many are chance");
        reserve.take_in(10_001, Run { length: 5, dealt: 10_001 });
        assert!(reserve.is_won() && reserve.with(-50.0) >= reserve.threshold);
        reserve.take_in(20_000, Run::default());
        assert!(reserve.is_won(), "what is won stays won");
        assert!(reserve.threshold_of_others() > reserve.threshold);
    }

    #[test]
    fn a_bound_that_no_run_tells_from_chance_has_no_reserve_and_neither_has_a_latency() {
        assert!(reserve(0.95, 1.0, 1.0).is_none());
        assert!(reserve(0.01, 64.0, 1.0).is_none());
        let below = std::time::Duration::from_secs(1);
        let slow = Guard {
            name: "slow".to_owned(),
            bound: GuardBound::Latency { quantile: 0.99, below },
            burst: None,
        };
        assert!(Reserve::of(&slow, 1.0, 7.0).is_none());
    }
}
