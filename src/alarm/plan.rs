//! The alarms of a shift, as the plan states them.

use std::time::Duration;

use super::{
    AlarmState, Dealing, External, Purse, RampRule, Threshold, Tolerance,
    outage::{Reserve, least_requests},
};
use crate::meter::{Timing, TokenBound, WarmUp};

/// The alarms of a shift.
#[derive(Clone, PartialEq, Debug)]
pub struct AlarmPlan {
    /// Bounds on green. Every alarm has a name of its own (checked by `config`).
    pub guards: Vec<Guard>,
    /// Comparisons of green with blue.
    pub regressions: Vec<Regression>,
    /// Statistics of green's periods against bounds. They promise nothing about false alarms and take no part of `false_alarm`.
    pub thresholds: Vec<Threshold>,
    /// What others watch and report.
    pub externals: Vec<External>,
    /// The probability, over the whole shift and all its alarms together, that a healthy green is called bad: between 0 and 0.5.
    pub false_alarm: f64,
    /// Failures of green that reached clients, after which the shift ends whatever the alarms say.
    pub max_failures: Option<u64>,
    /// Which first requests of green's instances no alarm judges by how long they take.
    pub warm_up: Option<WarmUp>,
    /// When steps may end early; `None` for never.
    pub ramp: Option<RampRule>,
}

/// The failures that a plan permits green, and those that reached clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Failures so far.
    pub failures: u64,
    /// The number that ends the shift, at least 1.
    pub max_failures: u64,
}

impl Budget {
    /// The name that it has among alarms, which no alarm can have.
    pub const NAME: &'static str = "max_failures";

    /// What it says: ok until it is spent.
    pub fn state(&self) -> AlarmState {
        if self.failures >= self.max_failures { AlarmState::Alarm } else { AlarmState::Ok }
    }

    /// How much of it is spent, 0 to 1.
    pub fn nearness(&self) -> f64 {
        (self.failures as f64 / self.max_failures.max(1) as f64).min(1.0)
    }
}

/// An absolute bound on green.
#[derive(Clone, PartialEq, Debug)]
pub struct Guard {
    /// Unique among the shift's alarms.
    pub name: String,
    /// What is bounded.
    pub bound: GuardBound,
    /// How many failures may come together, from 1; `None` for one, or four where a sticky key deals whole clients.
    pub burst: Option<u32>,
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
    /// This quantile of the time from dispatch to a stream's first token stays below this time. A stream that ends without one is late.
    FirstToken {
        /// Above 0 and below 1.
        quantile: f64,
        /// The bound.
        below: Duration,
    },
    /// This quantile of the time from one token to the next stays below this time, in the mean over streams: long streams do not outweigh
    /// short ones.
    TokenGap {
        /// Above 0 and below 1.
        quantile: f64,
        /// The bound.
        below: Duration,
    },
}

/// A comparison of green with blue over the same moments.
#[derive(Clone, PartialEq, Debug)]
pub struct Regression {
    /// Unique among the shift's alarms.
    pub name: String,
    /// What is compared.
    pub bound: RegressionBound,
    /// How many failures may come together, from 1; `None` for one, or four where a sticky key deals whole clients.
    pub burst: Option<u32>,
}

/// What a regression compares, and by how much green may be worse.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum RegressionBound {
    /// The fraction of requests that fail.
    ErrorRate {
        /// By how much green's may exceed blue's.
        tolerance: Tolerance,
    },
    /// The fraction of requests with an answer that blames the client: a green that serves another model name answers 404 to everything.
    ClientErrorRate {
        /// By how much green's may exceed blue's.
        tolerance: Tolerance,
    },
    /// The time from dispatch to the last byte of complete answers; of open requests, as far as it has come.
    Latency {
        /// One of blue's quantiles, above 0 and below 1; `None` for all of [`super::QUANTILES`] together.
        quantile: Option<f64>,
        /// How many times as long green may take, at least 1.
        ratio: f64,
    },
    /// The time from dispatch to a stream's first token.
    FirstToken {
        /// As for latency.
        quantile: Option<f64>,
        /// As for latency.
        ratio: f64,
    },
    /// The mean time from one token of a stream to the next.
    TokenGap {
        /// One of blue's quantiles over streams, above 0 and below 1; `None` for all of [`super::QUANTILES`] together.
        quantile: Option<f64>,
        /// How many times as far apart green's tokens may come, at least 1.
        ratio: f64,
    },
}

impl Default for AlarmPlan {
    /// No alarms; once in a thousand shifts is rarer than shifts fail for real.
    fn default() -> Self {
        Self {
            guards: Vec::new(),
            regressions: Vec::new(),
            thresholds: Vec::new(),
            externals: Vec::new(),
            false_alarm: 0.001,
            max_failures: None,
            warm_up: None,
            ramp: None,
        }
    }
}

impl AlarmPlan {
    /// The first alarm that looks at tokens, by its kind in a plan and its name: of no use where no stream is read.
    pub fn on_tokens(&self) -> Option<(&'static str, &str)> {
        let is_of_tokens = |regression: &&Regression| match regression.bound.timing() {
            Some(Timing::FirstToken | Timing::TokenGap) => true,
            Some(Timing::Latency) | None => false,
        };
        let guard = self.guards.iter().find(|guard| guard.bound.of_tokens().is_some());
        let regression = self.regressions.iter().find(is_of_tokens);
        let threshold = self.thresholds.iter().find(|threshold| threshold.measure.is_of_tokens());
        guard
            .map(|guard| ("guard", guard.name.as_str()))
            .or(regression.map(|regression| ("regression", regression.name.as_str())))
            .or(threshold.map(|threshold| ("threshold", threshold.name.as_str())))
    }

    /// The evidence in nats at which one of this plan's alarms is raised, in the shift's `life`-th process life counted from 0:
    /// the false-alarm probability is divided evenly over guards and regressions, and halved for each life.
    pub fn threshold(&self, life: u32) -> f64 {
        let alarms = self.guards.len() + self.regressions.len();
        (alarms.max(1) as f64 / self.false_alarm).ln() + f64::from(life) * std::f64::consts::LN_2
    }

    /// The evidence at which a guard's bets on its rate raise it by themselves: a part of its money waits for a sudden end.
    pub fn threshold_of_rate(&self, guard: &Guard, dealing: Dealing) -> f64 {
        let threshold = self.threshold(0);
        let reserve = Reserve::of(guard, dealing.burst(guard.burst), threshold);
        reserve.map_or(threshold, |reserve| reserve.threshold_of_others())
    }

    /// The least number of requests of one step that raise this guard's alarm if all of them fail, in a plan with this many bakes.
    /// A step that sees fewer can find nothing. `u64::MAX` when no number does.
    pub fn least_requests(&self, guard: &Guard, bakes: usize, dealing: Dealing) -> u64 {
        let mut purse = Purse::new(bakes);
        purse.begin_step();
        let burst = dealing.burst(guard.burst);
        let threshold = self.threshold(0);
        let reserve = Reserve::of(guard, burst, threshold);
        least_requests(guard, burst, (threshold, reserve.as_ref()), purse.first_part())
    }
}

impl AlarmPlan {
    /// Whether there is an external alarm of this name that waits to be told.
    pub fn is_told(&self, name: &str) -> bool {
        self.externals.iter().any(|external| external.name == name && external.poll.is_none())
    }
}

impl GuardBound {
    /// The permitted probability of failure of one request: p0.
    pub fn permitted(&self) -> f64 {
        match self {
            Self::ErrorRate { below } => *below,
            // In a double 1 - 0.99 is 0.010000000000000009; rounded to the decimals that a double of this size can tell apart, it is 0.01
            // again, which is what was asked for and what people are shown.
            Self::Latency { quantile, .. }
            | Self::FirstToken { quantile, .. }
            | Self::TokenGap { quantile, .. } => ((1.0 - quantile) * 1e15).round().max(1.0) / 1e15,
        }
    }

    /// What the data plane counts for it of each stream.
    pub fn of_tokens(&self) -> Option<TokenBound> {
        match *self {
            Self::ErrorRate { .. } | Self::Latency { .. } => None,
            Self::FirstToken { quantile: _, below } => Some(TokenBound::FirstToken { below }),
            Self::TokenGap { quantile: _, below } => Some(TokenBound::TokenGap { below }),
        }
    }
}

impl RegressionBound {
    /// The time that is compared, if it is one.
    pub const fn timing(&self) -> Option<Timing> {
        match self {
            Self::ErrorRate { .. } | Self::ClientErrorRate { .. } => None,
            Self::Latency { .. } => Some(Timing::Latency),
            Self::FirstToken { .. } => Some(Timing::FirstToken),
            Self::TokenGap { .. } => Some(Timing::TokenGap),
        }
    }
}
