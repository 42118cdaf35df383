//! Freezes as rows. The one of all endpoints has the empty name, which no endpoint has.

use rusqlite::{Connection, Row, Transaction, params};

use super::rows::{ReadError, get, select};
use crate::{name::EndpointName, store::Freeze, time::WallTime};

/// The freeze of all endpoints.
const ALL: &str = "";

pub(super) fn write(transaction: &Transaction<'_>, freeze: &Freeze) -> rusqlite::Result<()> {
    let Freeze { endpoint, actor, reason, since } = freeze;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO freezes (endpoint, actor, reason, since) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![key(endpoint.as_ref()), actor, reason, since.as_millis()])?;
    Ok(())
}

pub(super) fn lift(transaction: &Transaction<'_>, endpoint: Option<&EndpointName>) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM freezes WHERE endpoint = ?1")?.execute([key(endpoint)])?;
    Ok(())
}

/// All freezes, the one of all endpoints first.
pub(super) fn all(connection: &Connection) -> Result<Vec<Freeze>, ReadError> {
    let query = "SELECT endpoint, actor, reason, since FROM freezes ORDER BY endpoint";
    select(connection, "freeze", query, [], read)
}

fn key(endpoint: Option<&EndpointName>) -> &str {
    endpoint.map_or(ALL, EndpointName::as_str)
}

fn read(row: &Row<'_>) -> Result<Freeze, String> {
    let name: String = get(row, "endpoint")?;
    let endpoint = (name != ALL).then(|| EndpointName::parse(&name)).transpose();
    Ok(Freeze {
        endpoint: endpoint.map_err(|error| format!("endpoint: {error}"))?,
        actor: get(row, "actor")?,
        reason: get(row, "reason")?,
        since: WallTime::from_millis(get(row, "since")?),
    })
}
