//! Blue against itself: how often a plan's alarms are raised on this traffic when nothing is wrong.
//!
//! Blue's outcomes are dealt to blue and green by the plan's shares, over and over with other draws. A plan promises that its guards and
//! regressions call a healthy green bad in at most `false_alarm` of all shifts; traffic whose failures come in bursts can break that
//! promise, and so can a bound that blue itself does not keep. Thresholds and the budget of failures promise nothing and are told apart.
//!
//! **What it misses**: every split deals the same outcomes, so a rare event that is not in the recording shows in none of them, and one
//! that is shows in many.

use std::collections::BTreeMap;

use super::{Behaviour, End, Replay, Stage, behaviour, play};
use crate::{config::PlanSpec, shift::Cause};

/// More would take hours, and tell a rate of one in a hundred thousand.
pub const MOST_SPLITS: u32 = 1_000_000;

/// The standard normal distribution's 97.5 % quantile: an interval of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// What some splits came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Splits {
    /// How many were played.
    pub played: u32,
    /// In how many a guard or a regression was raised.
    pub raised: u32,
    /// In how many each alarm was the first that was raised.
    pub by_alarm: BTreeMap<String, u32>,
    /// In how many the shift was rolled back by something that promises nothing: a threshold, the budget, a deadline.
    pub other_rollbacks: u32,
    /// In how many green was promoted.
    pub promoted: u32,
    /// In how many the recording was over first.
    pub undecided: u32,
}

/// Blue against itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Aa {
    /// What the splits came to.
    pub splits: Splits,
    /// The rate at which guards and regressions were raised.
    pub rate: Interval,
    /// What the plan promises of it.
    pub false_alarm: f64,
    /// What the traffic is like.
    pub behaviour: Behaviour,
}

/// A rate and the interval in which it lies with a confidence of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// As counted.
    pub rate: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Plays splits with these seeds, as long as `goes_on` says so.
pub fn play_splits(
    plan: &PlanSpec,
    stage: &Stage<'_>,
    seeds: impl Iterator<Item = u64>,
    goes_on: impl Fn() -> bool,
) -> Splits {
    let mut splits = Splits::default();
    for seed in seeds {
        if !goes_on() {
            break;
        }
        splits.count(plan, &play(plan, stage, seed));
    }
    splits
}

impl Splits {
    fn count(&mut self, plan: &PlanSpec, replay: &Replay) {
        self.played += 1;
        match &replay.end {
            End::Promoted { .. } => self.promoted += 1,
            End::Undecided { .. } => self.undecided += 1,
            End::RolledBack { cause, .. } => match cause {
                Cause::Alarm { name, .. } => {
                    let promises = plan.alarms.guards.iter().any(|guard| guard.name == *name)
                        || plan.alarms.regressions.iter().any(|regression| regression.name == *name);
                    *if promises { &mut self.raised } else { &mut self.other_rollbacks } += 1;
                    *self.by_alarm.entry(name.clone()).or_default() += 1;
                }
                Cause::FailureBudget { .. }
                | Cause::Aborted
                | Cause::ExecutionTimeout
                | Cause::GreenNotReady { .. }
                | Cause::GreenGone
                | Cause::NoData
                | Cause::Restart
                | Cause::EvaluatorStalled => {
                    self.other_rollbacks += 1;
                    *self.by_alarm.entry(cause.as_str().to_owned()).or_default() += 1;
                }
            },
        }
    }

    /// Both together.
    pub fn plus(mut self, other: Self) -> Self {
        let Self { played, raised, by_alarm, other_rollbacks, promoted, undecided } = other;
        self.played += played;
        self.raised += raised;
        self.other_rollbacks += other_rollbacks;
        self.promoted += promoted;
        self.undecided += undecided;
        for (name, count) in by_alarm {
            *self.by_alarm.entry(name).or_default() += count;
        }
        self
    }
}

impl Aa {
    /// What splits of this stage came to.
    pub fn of(plan: &PlanSpec, stage: &Stage<'_>, splits: Splits) -> Self {
        let rate = Interval::of(splits.raised, splits.played);
        Self { splits, rate, false_alarm: plan.alarms.false_alarm, behaviour: behaviour(stage) }
    }

    /// Whether the splits show that the plan does not keep its promise on this traffic.
    pub fn breaks_promise(&self) -> bool {
        self.rate.low > self.false_alarm
    }

    /// Whether they show that it does. With few splits a small rate cannot be told from nothing.
    pub fn shows_promise(&self) -> bool {
        self.rate.high <= self.false_alarm
    }
}

impl Interval {
    /// Of so many among so many: E. B. Wilson's score interval (1927), which holds for rates near zero too.
    pub fn of(part: u32, whole: u32) -> Self {
        if whole == 0 {
            return Self { rate: 0.0, low: 0.0, high: 1.0 };
        }
        let (count, squared) = (f64::from(whole), Z * Z);
        let rate = f64::from(part) / count;
        let middle = (rate + squared / (2.0 * count)) / (1.0 + squared / count);
        let spread = rate * (1.0 - rate) / count + squared / (4.0 * count * count);
        let half = Z * spread.sqrt() / (1.0 + squared / count);
        let low = if part == 0 { 0.0 } else { (middle - half).max(0.0) };
        let high = if part == whole { 1.0 } else { (middle + half).min(1.0) };
        Self { rate, low, high }
    }
}
