//! `/v1/audit`: who did what, and whether the record of it is whole; and `/v1/journal/backup`.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse};
use http::header;

use super::{
    extract::{AuditFilter, Nothing, Parameters},
    problem::Fault,
    represent,
    state::Port,
    wire,
};
use crate::{
    delivery,
    name::EndpointName,
    store::{Chain, Checked, Event, Hash, Head},
};

/// How many events one answer looks through at most; most are no acts of anybody.
const LOOKED_THROUGH: usize = 10_000;

/// How many one answer gives at most.
const GIVEN: usize = 1_000;

/// What belongs into the trail even when no address stands with it: files that are read again, and what points to somebody's hand.
const ACTS: [&str; 14] = [
    "shift.started",
    "shift.queued",
    "shift.dropped",
    "shift.command",
    "endpoint.put",
    "endpoint.deleted",
    "config.reloaded",
    "config.refused",
    "certificates.reloaded",
    "certificates.refused",
    "command.refused",
    "access.refused",
    "journal.cut",
    "log.level",
];

pub(super) async fn list(
    State(port): State<Arc<Port>>,
    Parameters(AuditFilter { endpoint, after }): Parameters<AuditFilter>,
) -> Result<Json<wire::Audit>, Fault> {
    let endpoint = endpoint.map(|name| EndpointName::parse(&name)).transpose()?;
    let (mut last, mut seen) = (after.unwrap_or_default(), 0);
    let mut events = Vec::new();
    while seen < LOOKED_THROUGH && events.len() < GIVEN {
        let batch = port.handle.events_after(last).await?;
        let Some(newest) = batch.last() else { return Ok(Json(wire::Audit { events, next: None })) };
        last = newest.id;
        seen += batch.len();
        let wanted = |event: &Event| is_act(event) && (endpoint.is_none() || event.endpoint == endpoint);
        events.extend(batch.into_iter().filter(wanted).map(represent::event));
    }
    Ok(Json(wire::Audit { events, next: Some(last) }))
}

fn is_act(event: &Event) -> bool {
    event.peer.is_some() || ACTS.contains(&event.kind.as_str())
}

pub(super) async fn verify(
    State(port): State<Arc<Port>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<wire::Verification>, Fault> {
    let seen = last_in_file(&port).await?;
    let checked = port.handle.check_chain(seen).await?;
    let chain = port.handle.chain().await?;
    Ok(Json(verification(checked, chain, seen)))
}

/// The last event in the file of events, against which the journal's end is held.
async fn last_in_file(port: &Port) -> Result<Option<Head>, Fault> {
    let Some(path) = port.events_file.clone() else { return Ok(None) };
    let file = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || delivery::last_written(&path)).await;
    let read = read.map_err(std::io::Error::other).and_then(|read| read);
    read.map_err(|error| Fault::EventsFile { path: file, reason: error.to_string() })
}

fn verification(checked: Checked, chain: Chain, seen: Option<Head>) -> wire::Verification {
    let Chain { anchor, head } = chain;
    let (broken_at, how) = match checked {
        Checked::Whole(_) => (None, None),
        Checked::Broken { event, how } => (Some(event), Some(how)),
    };
    wire::Verification {
        whole: broken_at.is_none(),
        first: anchor.id + 1,
        last: head.id,
        hash: (head.hash != Hash::NONE).then(|| head.hash.to_string()),
        broken_at,
        how,
        file: seen.map(|seen| seen.id),
    }
}

/// The whole journal as one file, as of now.
pub(super) async fn backup(
    State(port): State<Arc<Port>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<impl IntoResponse, Fault> {
    let bytes = port.handle.backup().await?;
    Ok(([(header::CONTENT_TYPE, "application/vnd.sqlite3")], bytes))
}
