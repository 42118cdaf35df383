//! Alarms: rules over live traffic, judged by tests that stay valid however often they are looked at.
//!
//! Pure: readings of the meters go in, standings and evidence come out. `guard` holds the test of a bound on green, `outage` the part of its
//! money that waits for a sudden end, `share` the test of green against blue, `latency` that of its latency; all keep their wealth in `cells`, and `purse` says when their money goes in. `book` turns
//! the meters' counters into what they are fed with, by a `contest` for each regression. `safe` tests the opposite, that green is within its
//! bounds, for a `ramp` whose steps may end early, `detect` forecasts what a step can find, and `outlook` what a plan's numbers do to a healthy green. `threshold` judges periods as
//! CloudWatch does, by one `statistic` each; `external` holds what others report, and `poll` what they are asked. `recent` finds, for people, what tipped an alarm.

mod book;
mod cells;
mod contest;
mod detect;
mod evidence;
mod external;
mod guard;
mod latency;
mod outage;
mod outlook;
mod plan;
mod poll;
mod purse;
mod ramp;
mod recent;
mod safe;
mod share;
mod statistic;
mod tails;
#[cfg(test)]
mod tests;
mod threshold;

pub use book::{AlarmBook, Sight};
pub use contest::Dealing;
pub use detect::{Forecast, POWER, RegressionOutlook};
pub use evidence::{AlarmEvidence, AlarmState, Compared, Rule, Standing, Telling, Verdicts};
pub use external::{External, ExternalBook, ExternalEvidence, Polls, Source};
pub use guard::{GuardTest, Tally};
pub use latency::{LEAST_ANSWERS, LatencyTest, Marks, QUANTILES, Slow, Worst};
pub use outlook::{BUDGET_CHANCE, chance_of_spending, fitting_burst, sufficient_budget};
pub use plan::{AlarmPlan, Budget, Guard, GuardBound, Regression, RegressionBound};
pub use poll::{Answer, Method, Poll, PollUrl, PollUrlError, Query, Question, Subject, Token};
pub use purse::Purse;
pub use ramp::{RampRule, SAFE_RATIO, Safety};
pub use safe::{SAFE_EVIDENCE, SafeGuard, SafeShare};
pub use share::{FleetPair, ShareTest, Tolerance};
pub use statistic::{Samples, Statistic, Trim};
pub use tails::{Edges, Tails};
pub use threshold::{
    Bound, Comparison, Datapoint, LowSamples, Measure, MissingData, Threshold, ThresholdAlarm, ThresholdBook,
    ThresholdEvidence, ThresholdRule, Totals, Unit,
};
