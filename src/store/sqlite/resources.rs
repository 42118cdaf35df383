//! Other faces' documents as rows.

use rusqlite::{Connection, Params, Row, Transaction, params};

use super::rows::{ReadError, from_json, get, select};
use crate::store::Resource;

pub(super) fn write(transaction: &Transaction<'_>, resource: &Resource) -> rusqlite::Result<()> {
    let Resource { kind, name, document } = resource;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO resources (kind, name, document) VALUES (?1, ?2, ?3)")?
        .execute(params![kind, name, document.to_string()])?;
    Ok(())
}

pub(super) fn remove(transaction: &Transaction<'_>, kind: &str, name: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM resources WHERE kind = ?1 AND name = ?2")?
        .execute([kind, name])?;
    Ok(())
}

/// All of a kind, by name.
pub(super) fn all(connection: &Connection, kind: &'static str) -> Result<Vec<Resource>, ReadError> {
    let query = "SELECT name, document FROM resources WHERE kind = ?1 ORDER BY name";
    read_all(connection, kind, query, [kind])
}

/// One of a kind.
pub(super) fn one(
    connection: &Connection,
    kind: &'static str,
    name: &str,
) -> Result<Option<Resource>, ReadError> {
    let query = "SELECT name, document FROM resources WHERE kind = ?1 AND name = ?2";
    Ok(read_all(connection, kind, query, [kind, name])?.pop())
}

fn read_all(
    connection: &Connection,
    kind: &'static str,
    query: &str,
    params: impl Params,
) -> Result<Vec<Resource>, ReadError> {
    let read = |row: &Row<'_>| {
        let document = from_json(&get::<String>(row, "document")?);
        let document = document.map_err(|error| format!("document: {error}"))?;
        Ok(Resource { kind, name: get(row, "name")?, document })
    };
    select(connection, kind, query, params, read)
}
