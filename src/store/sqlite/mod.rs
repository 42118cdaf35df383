//! The journal in one SQLite file.
//!
//! WAL with full sync: a commit appends to one file and waits for one sync, and is durable when it returns. The connection holds the
//! exclusive lock from opening to dropping, so there is one writer and no second process; the price is that other tools can read the
//! file only while no snapback runs. The lock goes with its process, however that ends.

mod freezes;
mod outbox;
mod queue;
mod resources;
mod rows;
mod schema;

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};

use self::{rows::ReadError, schema::SchemaError};
use super::{Chain, Event, Journal, Loaded, Record, Resource, ShiftRecord, StoreError};
use crate::name::{EndpointName, ShiftId};

/// How long opening waits for another process's lock: long enough for one that is just ending, short enough for an operator who has
/// started a second one by mistake.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// How much of the past stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// So many of the newest events.
    pub events: u64,
    /// So many of the newest shifts of each endpoint that are over.
    pub shifts: u32,
}

impl Default for Kept {
    /// At some 400 bytes an event this is 40 MB: months of shifts, for a client of the stream that was away. A shift started every hour
    /// stays for six weeks.
    fn default() -> Self {
        Self { events: 100_000, shifts: 1_000 }
    }
}

/// The journal in one SQLite file (WAL, full sync). Every call blocks: on the disk, and on the calls of other threads.
#[derive(Debug)]
pub struct SqliteJournal {
    path: PathBuf,
    kept: Kept,
    connection: Mutex<Connection>,
}

impl SqliteJournal {
    /// Opens or makes the file and brings its format up to date. A file that cannot be used is left as it was.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_keeping(path, Kept::default())
    }

    /// The same with this much of the past.
    pub fn open_keeping(path: &Path, kept: Kept) -> Result<Self, StoreError> {
        let connection = prepare(path).map_err(|error| open_error(path, error))?;
        Ok(Self { path: path.to_owned(), kept, connection: Mutex::new(connection) })
    }

    /// A panic in another thread leaves no transaction open, so the connection stays good.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, StoreError> {
        read(&self.connection()).map_err(|error| StoreError::Corrupt {
            path: self.path.clone(),
            reason: match error {
                ReadError::Sqlite(error) => advise(&error),
                ReadError::Row(reason) => reason,
            },
        })
    }

    fn write_error(&self, error: &rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { path },
            Some(_) | None => StoreError::Write { path, reason: advise(error) },
        }
    }
}

impl Journal for SqliteJournal {
    fn load(&self) -> Result<Loaded, StoreError> {
        self.read(|connection| {
            Ok(Loaded {
                endpoints: rows::endpoints(connection)?,
                running: rows::running(connection)?,
                fleets: rows::fleets(connection)?,
                freezes: freezes::all(connection)?,
                queue: queue::all(connection)?,
                head: rows::chain(connection)?.head,
            })
        })
    }

    fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        write_all(&mut self.connection(), records, self.kept).map_err(|error| self.write_error(&error))
    }

    fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(|connection| rows::events_after(connection, after, limit))
    }

    fn shifts_of(&self, endpoint: &EndpointName, limit: usize) -> Result<Vec<ShiftRecord>, StoreError> {
        self.read(|connection| rows::shifts_of(connection, endpoint, limit))
    }

    fn shift(&self, id: &ShiftId) -> Result<Option<ShiftRecord>, StoreError> {
        self.read(|connection| rows::shift(connection, id))
    }

    fn resources(&self, kind: &'static str) -> Result<Vec<Resource>, StoreError> {
        self.read(|connection| resources::all(connection, kind))
    }

    fn resource(&self, kind: &'static str, name: &str) -> Result<Option<Resource>, StoreError> {
        self.read(|connection| resources::one(connection, kind, name))
    }

    fn chain(&self) -> Result<Chain, StoreError> {
        self.read(rows::chain)
    }

    /// In memory, since a disk that is full is a good reason for a backup; the log's pages are in it.
    fn backup(&self) -> Result<Vec<u8>, StoreError> {
        let mut connection = self.connection();
        let copy = connection.serialize(MAIN_DB).map(|copy| copy.to_vec());
        copy.map_err(|error| StoreError::Corrupt { path: self.path.clone(), reason: advise(&error) })
    }
}

/// Nothing is written before the file is known to be a journal of a format that is known here.
fn prepare(path: &Path) -> Result<Connection, SchemaError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_PATIENCE)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    if connection.is_readonly(MAIN_DB)? {
        return Err(SchemaError::ReadOnly);
    }
    schema::check(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    schema::migrate(&mut connection)?;
    Ok(connection)
}

/// A transaction that is not committed rolls back when it is dropped.
fn write_all(connection: &mut Connection, records: &[Record], kept: Kept) -> rusqlite::Result<()> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for record in records {
        rows::write(&transaction, record, kept)?;
    }
    transaction.commit()
}

fn open_error(path: &Path, error: SchemaError) -> StoreError {
    let open = |reason: String| StoreError::Open { path: path.to_owned(), reason };
    match error {
        SchemaError::Newer { found, known } => StoreError::Newer { path: path.to_owned(), found, known },
        SchemaError::Foreign => {
            open("it is another program's database: name another file in [state] path".to_owned())
        }
        SchemaError::ReadOnly => open(READ_ONLY.to_owned()),
        SchemaError::Sqlite(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::InUse { path: path.to_owned() }
            }
            Some(ErrorCode::CannotOpen) => open(cannot_open(path)),
            Some(_) | None => open(advise(&error)),
        },
    }
}

/// SQLite says only that it cannot; the system says why. Leaves no file behind.
fn cannot_open(path: &Path) -> String {
    if path.is_dir() {
        return "it is a directory: name a file in [state] path".to_owned();
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        let directory = directory.display();
        return format!("there is no directory {directory}: make it, or name another file in [state] path");
    }
    let probe = if path.exists() {
        OpenOptions::new().append(true).open(path).map(drop)
    } else {
        File::create_new(path).and_then(|_| fs::remove_file(path))
    };
    let said = probe.err().map_or_else(|| "SQLite cannot open it".to_owned(), |error| error.to_string());
    format!("{said}: make it and its directory writable, or name another file in [state] path")
}

const READ_ONLY: &str = "it is read-only: make it writable for the user that snapback runs as";

/// What SQLite says, and what would help.
fn advise(error: &rusqlite::Error) -> String {
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "free some space on its disk",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "make the file and its directory writable for the user that snapback runs as"
        }
        Some(ErrorCode::SystemIoFailure) => "check its disk, and the limit on the size of files (ulimit -f)",
        Some(ErrorCode::NotADatabase) => "name another file in [state] path",
        Some(ErrorCode::DatabaseCorrupt) => {
            "put back a backup (snapback journal backup makes them), or move the file away: a start without it serves what the configuration \
             file says, and knows nothing of shifts before"
        }
        Some(_) | None => return error.to_string(),
    };
    format!("{error}: {advice}")
}

#[cfg(test)]
mod tests;
