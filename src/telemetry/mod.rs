//! What the process says about itself: metrics for Prometheus, lines for its log.
//!
//! The meters are the metrics already: one writer each, summed by whoever reads. So nothing here is bumped by the data plane; a
//! scrape reads the meters and hands them to the recorder of the `metrics` crates, whose exporter writes them down.

mod access_log;
mod buckets;
#[cfg(test)]
mod catalogue;
mod collector;
mod deliveries;
mod exposition;
mod fleets;
mod log;
mod log_level;
mod names;
mod panics;
mod passage;
mod reloads;
mod shifts;
mod totals;
mod trace_context;
mod traces;
mod witnesses;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use access_log::{AccessLog, AccessLogError, AccessLogWriter};
pub use collector::Telemetry;
pub use deliveries::{DeliveryFigures, WebhookFigures};
pub use exposition::CONTENT_TYPE;
pub use fleets::FleetFigures;
pub use log::{LogError, start_logging};
pub use log_level::{LogLevel, LogLevelStatus, Passing};
pub use passage::{Attempt, Dealt, Passage, Try, protocol};
pub use reloads::{Reload, Reloaded};
pub use shifts::{Aftermath, ShiftEnd, ShiftFigures};
pub use trace_context::TraceContext;
pub use traces::{TraceCounts, Traced, Traces, is_chosen, new_span};
pub use witnesses::Witnesses;
