//! Shifts that wait for their turn, as rows. One that has begun is a shift, and not in the queue any more.

use rusqlite::{Connection, Row, Transaction, params};

use super::rows::{ReadError, get, parsed, parsed_if_any, select};
use crate::{
    config::PlanSpec,
    name::{EndpointName, ShiftId},
    store::QueuedShift,
    time::WallTime,
};

pub(super) fn write(transaction: &Transaction<'_>, queued: &QueuedShift) -> rusqlite::Result<()> {
    let QueuedShift { id, endpoint, plan, actor, peer, reason, queued_at, supersedes, findings } = queued;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO queue (id, endpoint, plan, actor, peer, reason, queued_at, supersedes, findings)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            id.as_str(),
            endpoint.as_str(),
            plan.to_json().to_string(),
            actor,
            peer,
            reason,
            queued_at.as_millis(),
            supersedes.as_ref().map(ShiftId::as_str),
            findings.to_string(),
        ])?;
    Ok(())
}

/// Takes one out that has begun or never will.
pub(super) fn leave(transaction: &Transaction<'_>, id: &ShiftId) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM queue WHERE id = ?1")?.execute([id.as_str()])?;
    Ok(())
}

/// Takes all of an endpoint out.
pub(super) fn clear(transaction: &Transaction<'_>, endpoint: &EndpointName) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM queue WHERE endpoint = ?1")?.execute([endpoint.as_str()])?;
    Ok(())
}

/// All there are, in the order in which they came, those that supersede another first.
pub(super) fn all(connection: &Connection) -> Result<Vec<QueuedShift>, ReadError> {
    let query = "SELECT id, endpoint, plan, actor, peer, reason, queued_at, supersedes, findings FROM queue
                 ORDER BY supersedes IS NULL, ordinal";
    select(connection, "queued shift", query, [], read)
}

fn read(row: &Row<'_>) -> Result<QueuedShift, String> {
    let json = |text: &str| serde_json::from_str(text).map_err(|error| error.to_string());
    Ok(QueuedShift {
        id: parsed(row, "id", ShiftId::parse)?,
        endpoint: parsed(row, "endpoint", EndpointName::parse)?,
        plan: parsed(row, "plan", |text| {
            PlanSpec::from_json(&json(text)?).map_err(|problems| problems.to_string())
        })?,
        actor: get(row, "actor")?,
        peer: get(row, "peer")?,
        reason: get(row, "reason")?,
        queued_at: WallTime::from_millis(get(row, "queued_at")?),
        supersedes: parsed_if_any(row, "supersedes", ShiftId::parse)?,
        findings: parsed(row, "findings", json)?,
    })
}
