//! Whether a step may end before its bake is over: all of a plan's safe tests at work.
//!
//! **Measures** the evidence, in nats, that green is within every bound: each guard's, the margin by which it may fail more often than blue, and
//! every other regression's. The least of them counts, so none needs a part of the level (intersection and union, Berger 1982).
//!
//! **What counts** are the requests dealt in this step, and nothing that is still open passes for a success: an open request of green counts as
//! failed, or slow, until it is not, and of blue's counts what is known. Each such sum is at most what the test will have made of the same
//! requests once all of them are settled, so no look needs to wait for that. Where requests take long, the many that are open at any moment
//! would hide the evidence; so the requests of the newest bet's stamp, which hold most of them, are also left out of both fleets together, and
//! the larger of the two results counts.
//!
//! **Guarantee**: that of the safe tests. What was dealt to blue before the step began and ends in it could only be taken for evidence: requests are
//! told apart by their stamps, and where the meters do not tell stamps (times, client errors) as many bad ones of blue are
//! left out as were open then.
//!
//! **Cold start**: every step begins anew. **Misses**: faults that come later, and everything where sticky keys deal clients: their requests are no
//! coins of their own, so there nothing is called safe.

use super::{
    AlarmPlan, Dealing, FleetPair, RegressionBound, SAFE_EVIDENCE, SafeGuard, SafeShare, Slow, Tolerance,
    book::Counted, cells,
};
use crate::{
    meter::{CohortReading, Reading, Stamp},
    weight::Share,
};

/// When a plan's steps may end early.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RampRule {
    /// By how much green's rates of failures and of client errors may lie above blue's, between 0 and 1.
    pub margin: f64,
    /// So many of green's requests must have been dealt in the step.
    pub requests: u64,
}

/// The least tolerance of a regression on times with which green can be shown not to be slower: of two fleets that are equally fast
/// nothing shows that one is not the slower by a hair.
pub const SAFE_RATIO: f64 = 1.2;

/// The evidence that a step may end early.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Safety {
    /// Green requests dealt in the step.
    pub requests: u64,
    /// Of those, known to have failed.
    pub failures: u64,
    /// The least evidence over all tests, in nats.
    pub ln_e: f64,
    /// Whether as many requests were dealt as the plan asks for.
    pub is_enough: bool,
}

/// All safe tests of one shift.
#[derive(Clone, Debug)]
pub(super) struct Ramp {
    rule: RampRule,
    guards: Vec<(Counted, SafeGuard)>,
    /// The margin of each regression whose counts the meters do not tell by stamps, by its place in the plan.
    others: Vec<(usize, f64)>,
    step: Option<Step>,
    safety: Option<Safety>,
}

/// The step under way, from its first stamp on.
#[derive(Clone, Debug)]
struct Step {
    share: f64,
    /// `None` until the step's first bet.
    stamps: Option<Stamps>,
}

#[derive(Clone, Debug)]
struct Stamps {
    first: Stamp,
    newest: Stamp,
    before_newest: [Counts; 2],
    of_newest: [Counts; 2],
    last: [Reading; 2],
    /// Bad requests that regressions had counted when the step began, and what blue had open and had settled.
    bad_before: Vec<Vec<Slow>>,
    blue_open: u64,
    blue_settled: u64,
}

/// What the requests of some stamps have come to.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    cohort: CohortReading,
    /// Requests of an older stamp that were open in the same place of the meters, and will seem to settle among these.
    owed: u64,
}

impl Safety {
    /// Whether the step may end.
    pub fn is_shown(&self) -> bool {
        self.is_enough && self.ln_e >= SAFE_EVIDENCE
    }
}

impl Ramp {
    /// For a plan, if its steps may end early at all.
    pub(super) fn of(plan: &AlarmPlan, dealing: Dealing, counted: &[Counted]) -> Option<Self> {
        let rule = plan.ramp.filter(|_| dealing == Dealing::Deck)?;
        let guards = plan.guards.iter().zip(counted);
        let regressions = plan.regressions.iter().enumerate();
        let margin = |tolerance| match tolerance {
            Tolerance::Points(points) => rule.margin.max(points),
            Tolerance::Ratio(_) => rule.margin,
        };
        Some(Self {
            rule,
            guards: guards
                .map(|(guard, counted)| (*counted, SafeGuard::new(guard.bound.permitted())))
                .collect(),
            others: regressions
                .filter_map(|(place, regression)| match regression.bound {
                    RegressionBound::ErrorRate { .. } => None,
                    RegressionBound::ClientErrorRate { tolerance } => Some((place, margin(tolerance))),
                    RegressionBound::Latency { .. }
                    | RegressionBound::FirstToken { .. }
                    | RegressionBound::TokenGap { .. } => Some((place, 0.0)),
                })
                .collect(),
            step: None,
            safety: None,
        })
    }

    /// A step begins. Where green has everything there is nothing to end early.
    pub(super) fn begin_step(&mut self, share: Share) {
        self.safety = None;
        let share = share.as_fraction();
        self.step = (share > 0.0 && share < 1.0).then_some(Step { share, stamps: None });
    }

    /// Requests dealt from now on have this stamp. `bad` is what each regression has counted so far.
    pub(super) fn begin_stamp(&mut self, stamp: Stamp, fleets: [&Reading; 2], bad: &[Vec<Slow>]) {
        let Some(step) = &mut self.step else { return };
        let fresh = fleets.map(|reading| Counts::of_slot(reading.cohort(stamp)));
        if let Some(stamps) = &mut step.stamps {
            stamps.newest = stamp;
            for (older, newest) in stamps.before_newest.iter_mut().zip(stamps.of_newest) {
                *older = older.plus(newest);
            }
            stamps.of_newest = fresh;
        } else {
            let [_, blue] = fleets;
            step.stamps = Some(Stamps {
                first: stamp,
                newest: stamp,
                before_newest: [Counts::default(); 2],
                of_newest: fresh,
                last: fleets.map(Clone::clone),
                bad_before: bad.to_vec(),
                blue_open: blue.dealt.saturating_sub(blue.settled()),
                blue_settled: settled(blue),
            });
        }
    }

    /// Takes in what both fleets did since the last look.
    pub(super) fn look(&mut self, fleets: [&Reading; 2], bad: &[Vec<Slow>]) {
        let Some(Step { share, stamps: Some(stamps) }) = &mut self.step else { return };
        let share = *share;
        stamps.take_in(fleets);
        let [green, _] = stamps.all();
        let tests = self.guards.iter().map(|(counted, fresh)| {
            let evidence = |[green, _]: [Counts; 2]| {
                let (mut test, mut tally) = (fresh.clone(), counted.tally(&green.cohort));
                tally.failures += green.open() as f64;
                test.observe(tally);
                test.ln_e()
            };
            evidence(stamps.before_newest).max(evidence(stamps.all()))
        });
        let errors = {
            let evidence = |[green, blue]: [Counts; 2]| {
                share_evidence(
                    share,
                    self.rule.margin,
                    [green.cohort.failed + green.open(), blue.known(), blue.cohort.failed],
                )
            };
            evidence(stamps.before_newest).max(evidence(stamps.all()))
        };
        let others =
            self.others.iter().map(|(place, margin)| stamps.unstamped(share, *margin, fleets, *place, bad));
        let ln_e = tests.chain([errors]).chain(others).fold(f64::INFINITY, f64::min);
        self.safety = Some(Safety {
            requests: green.cohort.dealt,
            failures: green.cohort.failed,
            ln_e,
            is_enough: green.cohort.dealt >= self.rule.requests,
        });
    }

    /// The evidence of the last look in this step.
    pub(super) fn safety(&self) -> Option<Safety> {
        self.safety
    }
}

impl Stamps {
    fn take_in(&mut self, fleets: [&Reading; 2]) {
        let older = self.newest.before();
        for (index, now) in fleets.into_iter().enumerate() {
            let last = &self.last[index];
            let since = |stamp: Stamp| now.cohort(stamp).since(last.cohort(stamp));
            let (of_newest, of_older) = (since(self.newest), since(older));
            self.of_newest[index].cohort = self.of_newest[index].cohort.plus(&of_newest);
            if self.newest != self.first {
                self.before_newest[index].cohort = self.before_newest[index].cohort.plus(&of_older);
            }
            self.last[index].clone_from(now);
        }
    }

    fn all(&self) -> [Counts; 2] {
        let [green, blue] = self.before_newest;
        let [newest_green, newest_blue] = self.of_newest;
        [green.plus(newest_green), blue.plus(newest_blue)]
    }

    /// The evidence of a regression whose counts have no stamps: an average over blue's quantiles where it compares several.
    fn unstamped(
        &self,
        share: f64,
        margin: f64,
        fleets: [&Reading; 2],
        place: usize,
        bad: &[Vec<Slow>],
    ) -> f64 {
        let [green, _] = self.all();
        let [_, blue_now] = fleets;
        let (Some(before), Some(now)) = (self.bad_before.get(place), bad.get(place)) else {
            return f64::MIN;
        };
        let blue_settled = settled(blue_now).saturating_sub(self.blue_settled).saturating_sub(self.blue_open);
        let each: Vec<f64> = before
            .iter()
            .zip(now)
            .map(|(before, now)| {
                let green = now.green.saturating_sub(before.green) + green.open();
                let blue = now.blue.saturating_sub(before.blue).saturating_sub(self.blue_open);
                share_evidence(share, margin, [green, blue_settled, blue])
            })
            .collect();
        cells::log_sum(f64::NEG_INFINITY, each.iter()) - (each.len().max(1) as f64).ln()
    }
}

impl Counts {
    fn of_slot(slot: &CohortReading) -> Self {
        Self { cohort: CohortReading::default(), owed: slot.dealt.saturating_sub(slot.settled) }
    }

    fn plus(self, other: Self) -> Self {
        Self { cohort: self.cohort.plus(&other.cohort), owed: self.owed + other.owed }
    }

    /// Requests that have settled for sure.
    fn settled(&self) -> u64 {
        self.cohort.settled.saturating_sub(self.owed)
    }

    /// Requests that may be open.
    fn open(&self) -> u64 {
        self.cohort.dealt.saturating_sub(self.settled())
    }

    /// Requests whose end told something, for sure.
    fn known(&self) -> u64 {
        self.settled().saturating_sub(self.cohort.left)
    }
}

fn settled(reading: &Reading) -> u64 {
    reading.succeeded + reading.client_errors + reading.excused + reading.failed()
}

/// `green_failed`, `blue_settled` and `blue_failed`, in this order.
fn share_evidence(share: f64, margin: f64, [green_failed, blue_settled, blue_failed]: [u64; 3]) -> f64 {
    let mut test = SafeShare::new(share, margin);
    test.observe(FleetPair { green_dealt: 0, green_failed, blue_settled, blue_failed });
    test.ln_e()
}

impl AlarmPlan {
    /// The least number of green requests after which a step at this share can end early, if none of green's fails and blue fails at this
    /// rate; `None` when no number does, or steps do not end early.
    pub fn least_safe_requests(&self, share: Share, blue_rate: f64) -> Option<u64> {
        let rule = self.ramp?;
        let share = share.as_fraction();
        let mut least = rule.requests;
        for guard in &self.guards {
            let is_safe = |requests: u64| {
                let mut test = SafeGuard::new(guard.bound.permitted());
                test.observe(super::Tally { requests: requests as f64, failures: 0.0 });
                test.ln_e() >= SAFE_EVIDENCE
            };
            least = least.max(cells::least(is_safe)?);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a forecast; casts saturate"
        )]
        let is_safe = |requests: u64| {
            let blue = requests as f64 * (1.0 - share) / share;
            share_evidence(share, rule.margin, [0, blue as u64, (blue * blue_rate) as u64]) >= SAFE_EVIDENCE
        };
        Some(least.max(cells::least(is_safe)?))
    }
}
