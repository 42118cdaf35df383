//! Alarms: rules over live traffic, judged by tests that stay valid however often they are looked at.
//!
//! Pure: readings of the meters go in, standings and evidence come out. `guard` holds the test of a bound on green, `share` the test of
//! green against blue, `latency` that of its latency; all keep their wealth in `cells`, and `purse` says when their money goes in. `book` turns
//! the meters' counters into what they are fed with. `safe` tests the opposite, that green is within its bounds, and `detect` forecasts
//! what a step can find. `threshold` judges periods as CloudWatch does, by one `statistic` each. `recent` finds, for people, what tipped an
//! alarm.

mod book;
mod cells;
mod detect;
mod evidence;
mod guard;
mod latency;
mod purse;
mod recent;
mod safe;
mod share;
mod statistic;
#[cfg(test)]
mod tests;
mod threshold;

pub use book::AlarmBook;
pub use detect::{Forecast, POWER, RegressionOutlook};
pub use evidence::{AlarmEvidence, AlarmState, Standing, Telling, Verdicts};
pub use guard::{GuardTest, Tally};
pub use latency::{LEAST_ANSWERS, LatencyTest, Marks, QUANTILES, Slow, Worst};
pub use purse::Purse;
pub use safe::{SAFE_EVIDENCE, SafeGuard, SafeShare};
pub use share::{FleetPair, ShareTest, Tolerance};
pub use statistic::{Statistic, Trim};
pub use threshold::{Comparison, Datapoint, LowSamples, MissingData, ThresholdAlarm, ThresholdRule};

use std::time::Duration;

/// The alarms of a shift.
#[derive(Clone, PartialEq, Debug)]
pub struct AlarmPlan {
    /// The guards, each with a name of its own (checked by `config`).
    pub guards: Vec<Guard>,
    /// The probability, over the whole shift and all its alarms together, that a healthy green is called bad: between 0 and 0.5.
    pub false_alarm: f64,
    /// Failures of green that reached clients, after which the shift ends whatever the alarms say.
    pub max_failures: Option<u64>,
}

/// An absolute bound on green.
#[derive(Clone, PartialEq, Debug)]
pub struct Guard {
    /// Unique among the shift's alarms.
    pub name: String,
    /// What is bounded.
    pub bound: GuardBound,
}

/// What a guard bounds, and by how much.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum GuardBound {
    /// The fraction of requests that fail stays below this, above 0 and below 1.
    ErrorRate {
        /// The bound.
        below: f64,
    },
    /// This quantile of the time from dispatch to the last byte stays below this time.
    Latency {
        /// Above 0 and below 1.
        quantile: f64,
        /// The bound.
        below: Duration,
    },
}

impl Default for AlarmPlan {
    /// No alarms; once in a thousand shifts is rarer than shifts fail for real.
    fn default() -> Self {
        Self { guards: Vec::new(), false_alarm: 0.001, max_failures: None }
    }
}

impl AlarmPlan {
    /// The evidence in nats at which one of this plan's alarms is raised, in the shift's `life`-th process life counted from 0:
    /// the false-alarm probability is divided evenly, and halved for each life.
    pub fn threshold(&self, life: u32) -> f64 {
        (self.guards.len().max(1) as f64 / self.false_alarm).ln() + f64::from(life) * std::f64::consts::LN_2
    }

    /// The least number of requests of one step that raise this guard's alarm if all of them fail, in a plan with this many bakes.
    /// A step that sees fewer can find nothing. `u64::MAX` when no number does.
    pub fn least_requests(&self, guard: &Guard, bakes: usize) -> u64 {
        let mut purse = Purse::new(bakes);
        purse.begin_step();
        guard::least_failures(guard.bound.permitted(), self.threshold(0), purse.first_part())
    }
}

impl GuardBound {
    /// The permitted probability of failure of one request: p0.
    pub fn permitted(&self) -> f64 {
        match self {
            Self::ErrorRate { below } => *below,
            // In a double 1 - 0.99 is 0.010000000000000009; rounded to the decimals that a double of this size can tell apart, it is 0.01
            // again, which is what was asked for and what people are shown.
            Self::Latency { quantile, .. } => ((1.0 - quantile) * 1e15).round().max(1.0) / 1e15,
        }
    }
}
