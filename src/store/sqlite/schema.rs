//! The journal's tables, and how a file of an earlier format becomes one of this.

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// One entry a format, never changed once released; the file's `user_version` says how many it has been through.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE endpoints (
        name     TEXT PRIMARY KEY,
        origin   TEXT NOT NULL,
        declared TEXT NOT NULL,
        serving  TEXT NOT NULL
    ) STRICT;

    CREATE TABLE shifts (
        ordinal     INTEGER PRIMARY KEY,
        id          TEXT NOT NULL UNIQUE,
        endpoint    TEXT NOT NULL,
        over        INTEGER NOT NULL,
        blue        TEXT NOT NULL,
        plan        TEXT NOT NULL,
        snapshot    TEXT NOT NULL,
        recorded_at INTEGER NOT NULL,
        actor       TEXT NOT NULL,
        started_at  INTEGER NOT NULL,
        moments     TEXT NOT NULL,
        report      TEXT NOT NULL
    ) STRICT;
    CREATE INDEX shifts_of_endpoint ON shifts (endpoint, ordinal);
    CREATE INDEX shifts_running ON shifts (ordinal) WHERE over = 0;

    CREATE TABLE events (
        id       INTEGER PRIMARY KEY,
        at       INTEGER NOT NULL,
        kind     TEXT NOT NULL,
        endpoint TEXT,
        shift    TEXT,
        before   TEXT,
        after    TEXT,
        share    INTEGER,
        actor    TEXT NOT NULL,
        cause    TEXT NOT NULL
    ) STRICT;
",
    "
    ALTER TABLE endpoints ADD COLUMN fleet TEXT;
    ALTER TABLE shifts ADD COLUMN blue_fleet TEXT;

    CREATE TABLE fleets (
        id       TEXT PRIMARY KEY,
        endpoint TEXT NOT NULL,
        spec     TEXT NOT NULL,
        count    INTEGER NOT NULL,
        members  TEXT NOT NULL
    ) STRICT;
",
    "
    ALTER TABLE events ADD COLUMN peer TEXT;
    ALTER TABLE events ADD COLUMN reason TEXT;
    ALTER TABLE events ADD COLUMN evidence TEXT;
    ALTER TABLE events ADD COLUMN hash BLOB;
    CREATE INDEX events_of_endpoint ON events (endpoint, id);

    CREATE TABLE chain (
        one         INTEGER PRIMARY KEY CHECK (one = 1),
        anchor_id   INTEGER NOT NULL,
        anchor_hash BLOB NOT NULL,
        head_id     INTEGER NOT NULL,
        head_hash   BLOB NOT NULL
    ) STRICT;
    INSERT INTO chain
        SELECT 1, coalesce(max(id), 0), zeroblob(32), coalesce(max(id), 0), zeroblob(32) FROM events;

    CREATE TABLE cursors (
        webhook TEXT NOT NULL,
        lane    TEXT NOT NULL,
        event   INTEGER NOT NULL,
        PRIMARY KEY (webhook, lane)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE dead_letters (
        webhook  TEXT NOT NULL,
        event    INTEGER NOT NULL,
        at       INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        reason   TEXT NOT NULL,
        PRIMARY KEY (webhook, event)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE freezes (
        endpoint TEXT PRIMARY KEY,
        actor    TEXT NOT NULL,
        reason   TEXT NOT NULL,
        since    INTEGER NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE resources (
        kind     TEXT NOT NULL,
        name     TEXT NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE endpoints ADD COLUMN rest TEXT;
",
    "
    CREATE TABLE queue (
        ordinal    INTEGER PRIMARY KEY,
        id         TEXT NOT NULL UNIQUE,
        endpoint   TEXT NOT NULL,
        plan       TEXT NOT NULL,
        actor      TEXT NOT NULL,
        peer       TEXT,
        reason     TEXT NOT NULL,
        queued_at  INTEGER NOT NULL,
        supersedes TEXT,
        findings   TEXT NOT NULL
    ) STRICT;
",
];

/// `snap` in ASCII: tells a journal from any other SQLite file before it is touched.
const APPLICATION_ID: i32 = 0x736e_6170;

/// Why a file is not brought up to date.
pub(super) enum SchemaError {
    /// It was written by a later version.
    Newer { found: u32, known: u32 },
    /// It is a SQLite file, but no journal.
    Foreign,
    /// It may be read, but not written.
    ReadOnly,
    /// SQLite says no.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for SchemaError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Checks whose file it is and of which format. Writes nothing.
pub(super) fn check(connection: &Connection) -> Result<(), SchemaError> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let (found, known) = (format(connection)?, MIGRATIONS.len());
    let empty = (tables, application, found) == (0, 0, 0);
    if application != APPLICATION_ID && !empty {
        return Err(SchemaError::Foreign);
    }
    match usize::try_from(found) {
        Ok(format) if format <= known => Ok(()),
        Ok(_) | Err(_) => Err(SchemaError::Newer { found, known: u32::try_from(known).unwrap_or(u32::MAX) }),
    }
}

/// Takes the file through the formats that it has not been through yet, all or none. Takes the lock for writing in any case, so that a
/// file that cannot be written is found out now.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SchemaError> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let found = usize::try_from(format(&transaction)?).unwrap_or(usize::MAX);
    let pending = MIGRATIONS.get(found..).unwrap_or_default();
    for migration in pending {
        transaction.execute_batch(migration)?;
    }
    if !pending.is_empty() {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(
            None,
            "user_version",
            i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX),
        )?;
    }
    transaction.commit()?;
    Ok(())
}

fn format(connection: &Connection) -> rusqlite::Result<u32> {
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_an_earlier_format_keeps_its_rows_and_gains_what_is_new() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.execute("INSERT INTO endpoints VALUES ('chat', 'file', '{}', '{}')", []).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        assert!(migrate(&mut connection).is_ok());
        let fleet: Option<String> = connection
            .query_row("SELECT fleet FROM endpoints WHERE name = 'chat'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(fleet, None);
        assert_eq!(format(&connection).unwrap(), u32::try_from(MIGRATIONS.len()).unwrap());
    }
}
