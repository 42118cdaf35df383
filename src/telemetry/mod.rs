//! What the process says about itself: metrics for Prometheus, lines for its log.
//!
//! The meters are the metrics already: one writer each, summed by whoever reads. So nothing here is bumped by the data plane; a
//! scrape reads the meters and writes them down. The metrics facade and its exporter are left out: that recorder can take a latency only
//! by recording every sample again (some 450,000 for 15 s at 30,000 requests a second, each with a clock reading and a
//! push), where ours are counted in buckets that can simply be added, and it keeps showing the series of an instance that has gone
//! until they time out.

mod buckets;
mod collector;
mod exposition;
mod log;
mod names;
mod totals;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use collector::{ShiftFigures, Telemetry};
pub use exposition::CONTENT_TYPE;
pub use log::{LogError, start_logging};
