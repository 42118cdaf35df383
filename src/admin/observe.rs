//! Keeps the totals of the metrics up to date between scrapes.
//!
//! A scrape every fifteen seconds would miss a shift that lasts one: its green comes and goes between two scrapes, and its failures with
//! it. So there is a look at every event of control, among them each change of a shift's state, and one a second besides.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast::{self, error::RecvError};

use super::state::Port;
use crate::{
    control::{Fate, ShiftView},
    name::ShiftId,
    shift::State,
    store::{Event, Moments},
    telemetry::{Aftermath, Reload, Reloaded, ShiftEnd},
};

/// How often there is a look without an event. Each reads some thousand counters for each fleet, tens of microseconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks until it is dropped, or control has ended.
pub(super) async fn observe(port: &Arc<Port>, mut events: broadcast::Receiver<Event>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => port.telemetry.look(),
            event = events.recv() => match event {
                Ok(event) => {
                    port.telemetry.look();
                    if let Some((what, came_to)) = reloaded(&event) {
                        port.telemetry.count_reload(what, came_to);
                    }
                    if let Some(id) = ended(event) {
                        // On its own, because the next look must not wait for control's answer.
                        tokio::spawn(count(Arc::clone(port), id));
                    }
                }
                // What was missed led to what the table shows now; of shifts that ended and files that were read meanwhile, the counts lack.
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "events were missed: metrics may lack ends of shifts and reloads");
                    port.telemetry.look();
                }
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// The reload that this event tells of.
fn reloaded(event: &Event) -> Option<(Reloaded, Reload)> {
    match event.kind.as_str() {
        "config.reloaded" => Some((Reloaded::Config, Reload::Applied)),
        "config.refused" => Some((Reloaded::Config, Reload::Refused)),
        "certificates.reloaded" => Some((Reloaded::Certificates, Reload::Applied)),
        "certificates.refused" => Some((Reloaded::Certificates, Reload::Refused)),
        _ => None,
    }
}

/// The shift whose end this event tells.
fn ended(event: Event) -> Option<ShiftId> {
    let over = matches!(event.after.as_deref(), Some("promoted" | "rolled_back" | "rollback_failed"));
    event.shift.filter(|_| over && event.kind == "shift.state")
}

async fn count(port: Arc<Port>, id: ShiftId) {
    match port.handle.shift(&id).await {
        Ok(view) => {
            if let Some(end) = end(&view) {
                port.telemetry.count_shift(&view.endpoint, &end);
            }
        }
        Err(error) => tracing::warn!(%error, shift = %id, "the end of a shift is not in the metrics"),
    }
}

fn aftermath(view: &ShiftView) -> Aftermath {
    let Moments { published_at, drained_at, .. } = view.moments;
    let drain = published_at.zip(drained_at).map(|(published, drained)| {
        let millis = drained.as_millis().saturating_sub(published.as_millis());
        Duration::from_millis(u64::try_from(millis).unwrap_or_default())
    });
    let open = |fate: Fate| {
        let Fate { open: _, late: _, finished, rescued, failed, client_gone, running, cut } = fate;
        [finished, rescued, failed, client_gone, running, cut]
    };
    Aftermath {
        last_green_dispatch: view.publish_to_last_green_dispatch,
        drain,
        green_responses: view.green_responses_to_decision,
        open: view.fate.map(open),
        is_blue_short: view.blue_short.is_some(),
    }
}

fn end(view: &ShiftView) -> Option<ShiftEnd> {
    match &view.state {
        State::Promoted => Some(ShiftEnd::Promoted),
        State::RolledBack { cause } => Some(ShiftEnd::RolledBack {
            cause: cause.clone(),
            decision: view.decision,
            aftermath: aftermath(view),
        }),
        State::RollbackFailed { cause, reason: _, back: _ } => {
            Some(ShiftEnd::RollbackFailed { cause: cause.clone() })
        }
        State::Preparing { .. }
        | State::Baking { .. }
        | State::Holding { .. }
        | State::Paused { .. }
        | State::RetiringBatch { .. }
        | State::PreparingBatch { .. }
        | State::HoldingBatch { .. }
        | State::TerminationWait { .. }
        | State::Retiring { .. }
        | State::RollingBack { .. }
        | State::ReleasingBatch { .. }
        | State::Restoring { .. } => None,
    }
}
