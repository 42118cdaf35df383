//! Metrics and alarms as CloudWatch has them, without a clock, a network or a journal.
//!
//! `distribution` is what the samples of a span of time come to, `series` keeps such spans at three resolutions, and `store` finds them by
//! namespace, name and dimensions. What the proxy itself measures comes from `fleets`, fed with the meters once a second; everything else is
//! what users put. `statistic` makes values of distributions. `alarm` evaluates metric alarms by [`crate::alarm::ThresholdAlarm`], whose semantics
//! are CloudWatch's; `rule` is the language of composite alarms and `math` that of metric math.

mod alarm;
mod distribution;
mod fleets;
mod math;
mod rule;
mod series;
mod statistic;
mod store;

pub use alarm::{Evaluated, Input, MetricAlarm};
pub use distribution::{Distribution, StatisticSet};
pub use fleets::{
    FLEET_DIMENSION, FLEETS, FleetKey, INSTANCES_NAMESPACE, INVOCATIONS_NAMESPACE, Metric, Sample, Tally,
};
pub use math::{Math, MathError};
pub use rule::{CompositeRule, RuleError};
pub use series::{FINE_SECONDS, MINUTES_SECONDS, SLOT_SECONDS, SLOTS_SECONDS};
pub use statistic::Stat;
pub use store::{Kept, MetricId, Spans, Store, StoreFull};
