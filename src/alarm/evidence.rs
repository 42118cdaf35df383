//! What alarms say, and with which numbers.

use std::time::Duration;

use super::{GuardBound, RegressionBound, Tolerance};
use crate::meter::Timing;

/// What an alarm says (CloudWatch's three states).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AlarmState {
    /// Green is within the bound as far as one can tell.
    Ok,
    /// The bound is violated; stays so for the rest of the shift.
    Alarm,
    /// So few of this step's requests are settled that not even a total outage could have raised it.
    InsufficientData,
}

/// What all alarms say together.
#[derive(Clone, PartialEq, Debug)]
pub enum Standing {
    /// Every alarm is ok.
    Clear,
    /// None is raised, but these have too little data.
    InsufficientData {
        /// The names of those alarms.
        alarms: Vec<String>,
    },
    /// At least one is raised: the first one's evidence.
    Breached(AlarmEvidence),
    /// Green's failures that reached clients have used up the plan's budget.
    BudgetSpent {
        /// Failures so far.
        failures: u64,
        /// The plan's number.
        max_failures: u64,
    },
}

/// An alarm with the numbers behind it.
#[derive(Clone, PartialEq, Debug)]
pub struct AlarmEvidence {
    /// The alarm's name.
    pub name: String,
    /// What it is about.
    pub rule: Rule,
    /// What it says.
    pub state: AlarmState,
    /// Green requests that entered the test in this shift (dealt, less those that left undecided).
    pub requests: u64,
    /// Of those, known to have failed: errors, or answers that took as long as the bound or longer. A regression on latency counts answers
    /// and what is open and late, and of them the slow ones at the quantile that speaks most against green.
    pub failures: u64,
    /// The requests of these since the moment from which they speak most against green; zero while nothing does. What tipped an alarm is
    /// seen here when green was healthy for long before. For people only: the alarm does not come from it.
    pub recent_requests: u64,
    /// Of those, failed.
    pub recent_failures: u64,
    /// The evidence against green in nats: ln E. The odds against chance are e^ln_e to 1. Of a raised alarm, all numbers are those of the
    /// look that raised it.
    pub ln_e: f64,
    /// The ln E at which the alarm is raised: ln(number of alarms / false-alarm probability).
    pub threshold: f64,
    /// How many more requests of this step must settle before a total outage could have raised it; zero once enough have.
    pub missing: u64,
}

/// What an alarm is about.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rule {
    /// A bound on green.
    Guard(GuardBound),
    /// A comparison with blue.
    Regression {
        /// What is compared.
        bound: RegressionBound,
        /// Blue's side of it.
        compared: Compared,
    },
}

/// Blue's side of a comparison, over the moments at which green was compared with it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Compared {
    /// Blue's requests that came to an end that tells something; for latency, its complete answers.
    pub blue_requests: u64,
    /// Of those, failed or slow.
    pub blue_failures: u64,
    /// For latency, blue's quantile that speaks most against green.
    pub quantile: Option<f64>,
    /// From how long on answers of green and of blue count as slow there; unknown until blue's quantiles are.
    pub times: Option<(Duration, Duration)>,
}

/// The counts by which an alarm is best explained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Telling {
    /// Those over the shift.
    All {
        /// Green requests in the test.
        requests: u64,
        /// Of those, failed.
        failures: u64,
    },
    /// Those since the moment from which they speak most against green.
    Last {
        /// Green requests in the test.
        requests: u64,
        /// Of those, failed.
        failures: u64,
    },
}

/// What one look at the meters led to.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdicts {
    /// What the alarms say now.
    pub standing: Standing,
    /// Whether a new bet begins: the caller advances the watch point's stamp and passes the new stamp from then on.
    pub new_bet: bool,
}

impl AlarmState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Alarm, Self::InsufficientData];

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// `ok`, `alarm` or `insufficient_data`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Alarm => "alarm",
            Self::InsufficientData => "insufficient_data",
        }
    }
}

impl Rule {
    /// Whether what it counts are streams.
    pub fn is_of_tokens(&self) -> bool {
        match self {
            Self::Guard(bound) => bound.of_tokens().is_some(),
            Self::Regression { bound, compared: _ } => match bound.timing() {
                Some(Timing::FirstToken | Timing::TokenGap) => true,
                Some(Timing::Latency) | None => false,
            },
        }
    }

    /// The rate of failures that is permitted: a guard's bound, or what blue's own rate so far permits.
    pub fn permitted(&self) -> f64 {
        match self {
            Self::Guard(bound) => bound.permitted(),
            Self::Regression { bound, compared } => {
                let blue = compared.rate();
                match bound {
                    RegressionBound::ErrorRate { tolerance }
                    | RegressionBound::ClientErrorRate { tolerance } => match tolerance {
                        Tolerance::Ratio(ratio) => (blue * ratio).min(1.0),
                        Tolerance::Points(points) => (blue + points).min(1.0),
                    },
                    RegressionBound::Latency { .. }
                    | RegressionBound::FirstToken { .. }
                    | RegressionBound::TokenGap { .. } => blue,
                }
            }
        }
    }
}

impl Compared {
    /// Blue's failures per request; zero without any.
    pub fn rate(&self) -> f64 {
        self.blue_failures as f64 / self.blue_requests.max(1) as f64
    }
}

impl AlarmEvidence {
    /// How near the alarm is: 0 with no evidence against green, 1 when raised.
    pub fn nearness(&self) -> f64 {
        match self.state {
            AlarmState::Alarm => 1.0,
            AlarmState::Ok | AlarmState::InsufficientData => (self.ln_e / self.threshold).clamp(0.0, 1.0),
        }
    }

    /// The counts to show: requests and failures. Only while there is evidence against green are they the recent ones, which are chosen to
    /// look bad and would make a healthy green look ill.
    pub fn telling(&self) -> Telling {
        let Self { requests, failures, recent_requests, recent_failures, .. } = *self;
        if self.ln_e > 0.0 && recent_requests > 0 && recent_requests < requests {
            Telling::Last { requests: recent_requests, failures: recent_failures }
        } else {
            Telling::All { requests, failures }
        }
    }
}
