//! `GET /v1/history`: what happened, the newest first.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{
    extract::{HistoryFilter, Parameters},
    problem::Fault,
    represent,
    state::Port,
    wire,
};
use crate::{name::EndpointName, store::Event};

/// How many events one answer gives at most: a page of a timeline.
const GIVEN: usize = 100;

/// How many it looks through at most, of which those of one endpoint may be few.
const LOOKED_THROUGH: u64 = 10_000;

/// How many are read at a time; the journal gives no more at once.
const BATCH: u64 = 1_000;

/// `GET /v1/history`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct History {
    /// Newest first.
    pub events: Vec<wire::Event>,
    /// Ask with `before` of this for older ones; null when there are none.
    pub next: Option<u64>,
}

pub(super) async fn list(
    State(port): State<Arc<Port>>,
    Parameters(HistoryFilter { endpoint, before }): Parameters<HistoryFilter>,
) -> Result<Json<History>, Fault> {
    let endpoint = endpoint.map(|name| EndpointName::parse(&name)).transpose()?;
    let chain = port.handle.chain().await?;
    let mut before = before.unwrap_or(u64::MAX).min(chain.head.id.saturating_add(1));
    let end = before.saturating_sub(LOOKED_THROUGH).max(chain.anchor.id.saturating_add(1));
    let mut events: Vec<Event> = Vec::new();
    while before > end && events.len() < GIVEN {
        let from = before.saturating_sub(BATCH).max(end);
        let batch = port.handle.events_after(from.saturating_sub(1)).await?;
        let wanted = |event: &Event| event.id < before && (endpoint.is_none() || event.endpoint == endpoint);
        events.extend(batch.into_iter().rev().filter(wanted));
        before = from;
    }
    if events.len() > GIVEN {
        events.truncate(GIVEN);
        before = events.last().map_or(before, |event| event.id);
    }
    let next = (before > chain.anchor.id.saturating_add(1)).then_some(before);
    Ok(Json(History { events: events.into_iter().map(represent::event).collect(), next }))
}
