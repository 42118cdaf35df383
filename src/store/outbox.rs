//! How far each webhook has come with the events, and what it could not deliver.
//!
//! The events in the journal are the queue themselves, so a queue costs nothing but a number for each of its lanes, and it is bounded as the
//! journal is.

use std::{collections::BTreeMap, fmt};

use super::{Event, StoreError};
use crate::{name::EndpointName, time::WallTime};

/// The events that are delivered in order among each other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lane {
    /// Those of no endpoint.
    General,
    /// Those of this one.
    Endpoint(EndpointName),
}

/// How far a webhook has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursors {
    /// The newest event at the moment when the webhook was first configured: lanes without a number of their own begin after it.
    pub origin: u64,
    /// The last event of each lane that is done with: delivered, not wanted, or a dead letter.
    pub lanes: BTreeMap<Lane, u64>,
}

/// An event that could not be delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// Its id.
    pub event: u64,
    /// When it was given up.
    pub at: WallTime,
    /// After how many attempts in all.
    pub attempts: u32,
    /// What the last one came to.
    pub reason: String,
}

/// A change of how far a webhook has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The lane is done with everything up to this event.
    Done {
        /// Which lane.
        lane: Lane,
        /// The event.
        event: u64,
    },
    /// An event is given up, for now.
    Dead(DeadLetter),
    /// A dead letter was delivered after all, or its event is no longer kept.
    Buried {
        /// Its event.
        event: u64,
    },
}

/// The durable part of webhooks. Calls block on the disk.
pub trait Outbox: Send + Sync + fmt::Debug {
    /// How far a webhook has come. One that is new begins now.
    fn cursors(&self, webhook: &str) -> Result<Cursors, StoreError>;

    /// The newest event of each lane that has any.
    fn newest(&self) -> Result<BTreeMap<Lane, u64>, StoreError>;

    /// A lane's events with an id above `after`, oldest first, at most `limit`.
    fn events_of(&self, lane: &Lane, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// One event; `None` when it is no longer kept.
    fn event(&self, id: u64) -> Result<Option<Event>, StoreError>;

    /// What a webhook could not deliver, oldest first.
    fn dead_letters(&self, webhook: &str) -> Result<Vec<DeadLetter>, StoreError>;

    /// Makes progress durable, all or none. Of a webhook's dead letters the newest 1,000 stay.
    fn advance(&self, webhook: &str, progress: &[Progress]) -> Result<(), StoreError>;

    /// Forgets the webhooks that are not among these.
    fn keep_only(&self, webhooks: &[String]) -> Result<(), StoreError>;
}
