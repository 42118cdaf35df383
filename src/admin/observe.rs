//! Keeps the totals of the metrics up to date between scrapes.
//!
//! A scrape every fifteen seconds would miss a shift that lasts one: its green comes and goes between two scrapes, and its failures with
//! it. So there is a look at every event of control, among them each change of a shift's state, and one a second besides.

use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};

use super::state::Port;
use crate::store::Event;

/// How often there is a look without an event. Each reads some thousand counters for each fleet, tens of microseconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks until it is dropped, or control has ended.
pub(super) async fn observe(port: &Port, mut events: broadcast::Receiver<Event>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            event = events.recv() => match event {
                // What was missed led to what the table shows now.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
        port.telemetry.look();
    }
}
