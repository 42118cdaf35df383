//! Threshold alarms: a statistic of each period against a bound, M of the last N periods, with CloudWatch's semantics.
//!
//! A period without a sample is missing. As CloudWatch does, an alarm looks at an *evaluation range* two periods longer than N, so that it
//! needs the missing-data setting only where real datapoints are short:
//! 1. no gap in the newest N periods: these are evaluated;
//! 2. gaps, but N real datapoints in the range: the newest N of these are;
//! 3. fewer: all real ones are, and the shortfall is filled by [`MissingData`].
//!
//! The alarm is raised when at least M of the evaluated datapoints breach. Periods before the alarm began are no gaps: a green that has just
//! got its first requests is not silent.
//!
//! Source: Amazon CloudWatch User Guide, 'Evaluating an alarm' and 'Configuring how CloudWatch alarms treat missing data'; the tables
//! there are this module's tests. **Guarantee**: none about false alarms; that is what guards and regressions are for.
//!
//! `plan` is how a plan states one, `book` what feeds them with green's meters, period by period.

mod book;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use book::{ThresholdBook, ThresholdEvidence, Totals};
pub use plan::{Bound, Measure, Threshold, Unit};

use super::{AlarmState, Statistic};

/// Periods of the evaluation range beyond N: the guide's example has 5 for N = 3, and says no more.
const RANGE_BEYOND: usize = 2;

/// On which side of the bound a value breaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `GreaterThanThreshold`.
    Above,
    /// `GreaterThanOrEqualToThreshold`.
    AtLeast,
    /// `LessThanThreshold`.
    Below,
    /// `LessThanOrEqualToThreshold`.
    AtMost,
}

/// What stands in for datapoints that are short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingData {
    /// Nothing; with no datapoint at all there is too little data. A lone old breach that nothing contradicts raises the alarm.
    Missing,
    /// Nothing; the state stays as it was unless real datapoints decide.
    Ignore,
    /// Breaching datapoints.
    Breaching,
    /// Datapoints that do not breach.
    NotBreaching,
}

/// What a percentile of very few samples does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LowSamples {
    /// It counts like any other.
    Evaluate,
    /// The state does not change in that period.
    Ignore,
}

/// A threshold alarm's rule.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ThresholdRule {
    /// What is made of a period's samples.
    pub statistic: Statistic,
    /// On which side of the bound it breaches.
    pub comparison: Comparison,
    /// The bound, in the statistic's unit.
    pub bound: f64,
    /// N: how many datapoints are evaluated; at least 1.
    pub periods: usize,
    /// M: how many of them must breach; from 1 to N.
    pub datapoints: usize,
    /// What stands in for missing ones.
    pub missing: MissingData,
    /// What a percentile of few samples does.
    pub low_samples: LowSamples,
}

/// A period that is over.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Datapoint {
    /// The statistic's value.
    pub value: f64,
    /// Of how many samples.
    pub samples: u64,
}

/// A threshold alarm at work. Fed with one datapoint at each period's end; costs the same each time.
#[derive(Clone, Debug)]
pub struct ThresholdAlarm {
    rule: ThresholdRule,
    /// The evaluation range, the newest last; a missing datapoint is `None`.
    range: VecDeque<Option<Datapoint>>,
    state: AlarmState,
}

/// What the real datapoints of the range come to.
#[derive(Clone, Copy, Debug)]
struct Evaluated {
    real: usize,
    breaching: usize,
    /// Datapoints to be filled in.
    short: usize,
}

impl Comparison {
    /// Whether a value breaches the bound. One that is not a number does: going to blue is always safe.
    pub fn breaches(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Above => value > bound || value.is_nan(),
            Self::AtLeast => value >= bound || value.is_nan(),
            Self::Below => value < bound || value.is_nan(),
            Self::AtMost => value <= bound || value.is_nan(),
        }
    }
}

impl ThresholdAlarm {
    /// An alarm that has seen no period yet.
    pub fn new(rule: ThresholdRule) -> Self {
        Self { rule, range: VecDeque::new(), state: AlarmState::InsufficientData }
    }

    /// A period is over: its datapoint, or `None` when it had no sample. Returns the state from now on.
    pub fn period(&mut self, datapoint: Option<Datapoint>) -> AlarmState {
        if self.range.len() == self.range_length() {
            self.range.pop_front();
        }
        self.range.push_back(datapoint);
        self.judge()
    }

    fn judge(&mut self) -> AlarmState {
        let newest = self.range.back().copied().flatten();
        if !newest.is_some_and(|point| self.has_too_few_samples(point)) {
            self.state = self.evaluate();
        }
        self.state
    }

    /// Goes on from a state that it was in, or was set to.
    pub fn resume(&mut self, state: AlarmState) {
        self.state = state;
    }

    /// Looks at a whole evaluation range, the newest last, instead of the one that it has: periods that slide overlap, and so are not fed
    /// one by one. Of a longer range the newest part counts.
    pub fn look(&mut self, range: impl IntoIterator<Item = Option<Datapoint>>) -> AlarmState {
        self.range.clear();
        for datapoint in range {
            if self.range.len() == self.range_length() {
                self.range.pop_front();
            }
            self.range.push_back(datapoint);
        }
        self.judge()
    }

    /// How many periods the evaluation range has.
    pub fn range_length(&self) -> usize {
        self.rule.periods + RANGE_BEYOND
    }

    /// What it says.
    pub fn state(&self) -> AlarmState {
        self.state
    }

    /// The evaluation range, the newest last.
    pub fn range(&self) -> impl Iterator<Item = Option<Datapoint>> {
        self.range.iter().copied()
    }

    /// How many of the evaluated datapoints breach.
    pub fn breaching(&self) -> usize {
        self.evaluated().breaching
    }

    fn has_too_few_samples(&self, point: Datapoint) -> bool {
        match self.rule.low_samples {
            LowSamples::Evaluate => false,
            LowSamples::Ignore => {
                self.rule.statistic.telling_samples().is_some_and(|least| (point.samples as f64) < least)
            }
        }
    }

    fn evaluate(&self) -> AlarmState {
        let ThresholdRule { datapoints, missing, .. } = self.rule;
        let Evaluated { real, breaching, short } = self.evaluated();
        let raised =
            |breaching: usize| if breaching >= datapoints { AlarmState::Alarm } else { AlarmState::Ok };
        if short == 0 || breaching >= datapoints {
            return raised(breaching);
        }
        match missing {
            MissingData::Breaching => raised(breaching + short),
            MissingData::NotBreaching => raised(breaching),
            MissingData::Missing if real == 0 => AlarmState::InsufficientData,
            MissingData::Missing if self.is_premature() => AlarmState::Alarm,
            MissingData::Missing => AlarmState::Ok,
            // Only a datapoint within the bound says that all is well.
            MissingData::Ignore if breaching < real => AlarmState::Ok,
            MissingData::Ignore => self.state,
        }
    }

    fn evaluated(&self) -> Evaluated {
        let wanted = self.rule.periods;
        let breaches = |point: &Datapoint| self.rule.comparison.breaches(point.value, self.rule.bound);
        let newest = || self.range.iter().rev().flatten().take(wanted);
        let (real, breaching) = (newest().count(), newest().filter(|point| breaches(point)).count());
        Evaluated { real, breaching, short: wanted.min(self.range.len()).saturating_sub(real) }
    }

    /// The guide's rule against a late alarm: the oldest breaching datapoint is M periods old or older, and no datapoint is within the
    /// bound. Where a real datapoint is within it, the rule does not hold, wherever that datapoint stands in the range.
    fn is_premature(&self) -> bool {
        let ThresholdRule { comparison, bound, datapoints, .. } = self.rule;
        let breaches = |point: &Datapoint| comparison.breaches(point.value, bound);
        let oldest = self.range.iter().position(Option::is_some);
        oldest.is_some_and(|oldest| self.range.len() - oldest >= datapoints)
            && self.range.iter().flatten().all(breaches)
    }
}
