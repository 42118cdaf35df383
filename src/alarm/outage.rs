//! The part of a guard's money that waits for a total outage.
//!
//! **Measures** whether requests dealt to green one after the other have all failed: a run; and whether so many of those dealt close together
//! have: a crowd.
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
//! Where hundreds of requests are open at a time they end in another order than they were dealt in, and an open one may yet be good, so no run
//! is seen before the last of them has failed. Completions in their own order would tell at once, and are no evidence: fast failures overtake slow
//! successes, and after a lull a healthy green's first answers are its failures. So a smaller part of the money is bet, at each request too, on crowds: at
//! least so many failures among the next so many requests dealt, each of [`CROWDS`] within as many requests as make it as improbable as its stake says.
//! In virtual time, 300 open requests whose answers come 10 ms early or late cost 14 failures instead of 25 (the tests have the table).
//! As few as of a run it cannot take: of five failures among thirty requests nobody knows yet whether the rest are good.
//!
//! **Guarantee**: a bet at fair odds, decided before the request is dealt, so the money left and won is an e-process, in the order of dealing
//! and whenever its failures become known; the guard's evidence is its average with the other bets, weighted by [`RESERVE`] (Vovk and Wang
//! 2021). Counted by hand: with N requests within the bound, some run of `length` fails with a probability of at most N p0^length.
//! With a burst factor D, runs are D times as long: groups of at most D failures with one cause are one event each; then nothing is bet on crowds.
//! A crowd of L among M: given the past each request fails with a probability of at most p0, so their number is at most a binomial's, and the stake is
//! the threshold times P(Binomial(M, p0) >= L) at least.
//!
//! **Cold start**: none. **Units**: fractions of the reserve, nats. **Misses**: everything but runs and crowds; open requests are no failures, so a
//! green whose failures take long is found by the other bets. Latency guards have no reserve: what takes as long as their bound is no sudden end.

use super::{Guard, GuardBound, cells::log_add, detect::binomial_tail, guard::least_failures};
use crate::meter::{CROWDS, Run};

/// The part of a guard's money that waits for runs. A twentieth costs the other bets a twentieth of a nat, less than one request of a hundred;
/// twice as much would find an outage by the same number of failures for twice as many requests.
const RUNS: f64 = 0.05;

/// The part that waits for crowds, which are bet on in so many sizes that half of it would cost a sixth of a failure.
const CROWD: f64 = 0.025;

/// Both.
const RESERVE: f64 = RUNS + CROWD;

/// Bets on crowds that the first part of their money is for; each further part is for twice as many.
const FIRST_CROWDS: u64 = 1_024;

/// The most requests that hold a crowd. One worker remembers some more than this and what is open besides.
const WIDEST: u64 = 256;

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
    crowds: Crowds,
    is_won: bool,
}

/// The bets on crowds that are placed now.
#[derive(Clone, Debug)]
struct Crowds {
    /// How often the number of bets has doubled; `None` where nothing is bet.
    part: Option<u32>,
    /// For each of [`CROWDS`] the most requests that hold a crowd, 0 where it is not bet on.
    widest: [u64; CROWDS.len()],
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
        let crowds = Crowds { part: None, widest: [0; CROWDS.len()] };
        let reserve = Self { permitted, burst, threshold, dealt: 0, crowds, is_won: false };
        reserve.run_needed().is_some().then_some(reserve)
    }

    /// Takes in how many requests were dealt so far, and the longest run among the last of them.
    pub(super) fn take_in(&mut self, dealt: u64, run: Run) {
        self.dealt = self.dealt.max(dealt).max(run.dealt);
        self.is_won = self.is_won || self.run_needed().is_some_and(|needed| run.length >= needed);
        if self.burst <= 1.0 && !self.is_won {
            self.crowds.follow(self.dealt, self.permitted, self.threshold);
            self.is_won = self.crowds.are_won(&run);
        }
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
        let of_crowds = if self.burst <= 1.0 { left_for_crowds(self.dealt) } else { 1.0 };
        let won = if self.is_won { self.threshold } else { f64::NEG_INFINITY };
        let kept = (RUNS * left.max(0.0) + CROWD * of_crowds).ln();
        log_add(log_add(Self::others_part() + others, kept), won)
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
        let (gain, needed) = (-self.permitted.ln(), self.threshold - RUNS.ln());
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

impl Crowds {
    /// More requests were dealt; where a part of the money is used up, crowds must be closer together from now on.
    fn follow(&mut self, dealt: u64, permitted: f64, threshold: f64) {
        let part = part_of_crowds(dealt);
        if self.part == Some(part) {
            return;
        }
        self.part = Some(part);
        let bets = FIRST_CROWDS as f64 * 2_f64.powi(i32::try_from(part).unwrap_or(i32::MAX));
        let chance = CROWD * money_of(part) / (CROWDS.len() as f64 * bets) * (-threshold).exp();
        self.widest = CROWDS.map(|number| widest(number, permitted, chance));
    }

    /// Failures that were seen lie so close together that a bet is won. Those placed before were on crowds as close or less close.
    fn are_won(&self, run: &Run) -> bool {
        run.spans.iter().zip(self.widest).any(|(span, widest)| *span > 0 && *span <= widest)
    }
}

/// The most requests among which so many failures have at most this chance; 0 where even so many requests in a row have more.
fn widest(number: u64, permitted: f64, chance: f64) -> u64 {
    let is_rare = |requests: u64| binomial_tail(requests as f64, permitted, number as f64) <= chance;
    if !is_rare(number) {
        return 0;
    }
    let (mut rare, mut common) = (number, WIDEST + 1);
    while common - rare > 1 {
        let middle = rare.midpoint(common);
        if is_rare(middle) { rare = middle } else { common = middle }
    }
    rare
}

/// Which part of the money for crowds is bet after so many requests, from 0: each lasts for twice as many as the one before.
fn part_of_crowds(dealt: u64) -> u32 {
    (dealt / FIRST_CROWDS + 1).ilog2()
}

/// How large that part is: all of them together are 1.
fn money_of(part: u32) -> f64 {
    1.0 / (f64::from(part + 1) * f64::from(part + 2))
}

/// How much of the money for crowds has not been bet yet, with a part counted as bet when it begins.
fn left_for_crowds(dealt: u64) -> f64 {
    if dealt == 0 { 1.0 } else { 1.0 / f64::from(part_of_crowds(dealt) + 2) }
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

    /// The page on statistics says how many failures in a row are an outage.
    #[test]
    fn the_pages_table_of_outages_is_what_is_bet() {
        let page = include_str!("../docs/statistics.md");
        for (below, rate) in [("0.1%", 0.001), ("1%", 0.01), ("5%", 0.05)] {
            let cells = [0, 1_000, 10_000, 100_000].map(|dealt| {
                needed_after(rate, 1.0, 1.0, dealt).map_or_else(String::new, |needed| needed.to_string())
            });
            let row = format!("| `below = \"{below}\"` | {} |", cells.join(" | "));
            assert!(page.lines().any(|line| line == row), "the page lacks this line:\n{row}");
        }
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
            assert!(chance <= RUNS * 0.001 / 3.0, "{below} {burst}: {chance}");
        }
    }

    #[test]
    fn the_chance_of_all_crowds_together_is_never_more_than_their_part_and_crowds_are_wider_than_runs() {
        for below in [0.001, 0.01, 0.05, 0.3] {
            let threshold = (3.0_f64 / 0.001).ln();
            let mut crowds = Crowds { part: None, widest: [0; CROWDS.len()] };
            let (mut chance, mut bets, mut dealt) = (0.0, FIRST_CROWDS, 0);
            for part in 0..30 {
                crowds.follow(dealt, below, threshold);
                assert_eq!(crowds.part, Some(part));
                let of_one = CROWDS.iter().zip(crowds.widest).filter(|(_, widest)| *widest > 0);
                chance += bets as f64
                    * of_one
                        .map(|(number, widest)| binomial_tail(widest as f64, below, *number as f64))
                        .sum::<f64>();
                dealt += bets;
                bets *= 2;
            }
            assert!(chance > 0.0 && chance <= CROWD * 0.001 / 3.0, "{below}: {chance}");
        }
        let mut crowds = Crowds { part: None, widest: [0; CROWDS.len()] };
        crowds.follow(10_000, 0.01, 1_000_f64.ln());
        let widest: Vec<_> = CROWDS.iter().zip(crowds.widest).filter(|(_, widest)| *widest > 0).collect();
        assert_eq!(widest[0], (&6, 7));
        assert!(widest.windows(2).all(|pair| pair[0].1 < pair[1].1 || pair[1].1 == WIDEST), "{widest:?}");
    }

    #[test]
    fn failures_close_together_are_an_outage_and_farther_apart_they_are_not_and_where_they_come_in_groups_nothing_is_bet()
     {
        let spans = |number: u64, span: u64| CROWDS.map(|of| if of == number { span } else { 0 });
        let is_won = |burst: f64, number: u64, span: u64| {
            let mut reserve = reserve(0.01, burst, 1.0).unwrap();
            reserve.take_in(10_000, Run { length: 2, spans: spans(number, span), dealt: 10_000 });
            reserve.is_won()
        };
        assert!(is_won(1.0, 9, 20) && !is_won(1.0, 9, 60) && !is_won(4.0, 9, 20));
        assert!(!is_won(1.0, 4, 4), "four in a row are no outage either");
    }

    #[test]
    fn the_evidence_is_none_at_the_start_and_the_threshold_when_a_bet_is_won() {
        let mut reserve = reserve(0.01, 1.0, 1.0).unwrap();
        assert!(reserve.with(0.0).abs() < 1e-12);
        reserve.take_in(10_000, Run { length: 4, dealt: 10_000, ..Run::default() });
        assert!(!reserve.is_won() && reserve.with(0.0) < 0.0, "four after so many are chance");
        reserve.take_in(10_001, Run { length: 5, dealt: 10_001, ..Run::default() });
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
