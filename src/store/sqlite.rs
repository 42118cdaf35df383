//! The journal in one SQLite file.

use std::path::Path;

use super::{Event, Journal, Loaded, Record, ShiftRecord, StoreError};
use crate::name::{EndpointName, ShiftId};

/// The journal in one SQLite file (WAL, full sync).
#[derive(Debug)]
pub struct SqliteJournal {}

impl SqliteJournal {
    /// Opens or makes the file and brings its format up to date.
    pub fn open(_path: &Path) -> Result<Self, StoreError> {
        todo!()
    }
}

impl Journal for SqliteJournal {
    fn load(&self) -> Result<Loaded, StoreError> {
        todo!()
    }

    fn commit(&self, _records: &[Record]) -> Result<(), StoreError> {
        todo!()
    }

    fn events_after(&self, _after: u64, _limit: usize) -> Result<Vec<Event>, StoreError> {
        todo!()
    }

    fn shifts_of(&self, _endpoint: &EndpointName, _limit: usize) -> Result<Vec<ShiftRecord>, StoreError> {
        todo!()
    }

    fn shift(&self, _id: &ShiftId) -> Result<Option<ShiftRecord>, StoreError> {
        todo!()
    }
}
