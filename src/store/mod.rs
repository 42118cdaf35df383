//! The journal: the durable record of endpoints, shifts and events.
//!
//! Every decision is committed here before it takes effect, except going back to blue, which acts first. The store owns its
//! serialised forms; conversions destructure in full, so that a new domain field cannot be forgotten.

pub mod chain;
mod form;
mod outbox;
mod sqlite;

pub use chain::{Chain, Checked, Hash, Head};
pub use outbox::{Cursors, DeadLetter, Lane, Outbox, Progress};
pub use sqlite::{Kept, SqliteJournal};

use std::path::PathBuf;

use crate::{
    config::{EndpointSpec, PlanSpec},
    fleet::{FleetSpec, Member},
    name::{EndpointName, FleetId, ShiftId},
    shift::Snapshot,
    time::WallTime,
    weight::Share,
};

/// An endpoint as the journal knows it.
#[derive(Clone, PartialEq, Debug)]
pub struct EndpointRecord {
    /// What the config file or the API said last.
    pub declared: EndpointSpec,
    /// Who said it: a reload removes only endpoints that a file declared.
    pub origin: Origin,
    /// The fleet in service: `declared.blue` until a shift promotes another.
    pub serving: FleetSpec,
    /// Which of the provisioned fleets that is; `None` where no provider makes its instances.
    pub fleet: Option<FleetId>,
    /// A provisioned fleet whose instances serve beside those: what a rollback that failed left of green. The next fleet takes the place
    /// of both.
    pub rest: Option<FleetId>,
}

/// A fleet whose instances a provider makes. Written before the provider is asked for the first one, and gone only when it has let the
/// last one go, so that no instance exists that the journal does not know of.
#[derive(Clone, PartialEq, Debug)]
pub struct FleetRecord {
    /// Its identity, which providers take as the token that makes a repeated order the same order.
    pub id: FleetId,
    /// Whose.
    pub endpoint: EndpointName,
    /// What it is made from.
    pub spec: FleetSpec,
    /// How many instances are wanted.
    pub count: u32,
    /// Those that were there when this was written.
    pub members: Vec<Member>,
}

/// Where an endpoint was declared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The configuration file.
    File,
    /// `PUT /v1/endpoints/{name}`.
    Api,
}

impl FleetRecord {
    /// How many instances are known.
    pub fn known(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// The same with another count. Of fewer instances the first stay.
    pub fn scaled(&self, count: u32) -> Self {
        let mut scaled = Self { count, ..self.clone() };
        scaled.members.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        scaled
    }
}

/// A shift as the journal knows it.
#[derive(Clone, PartialEq, Debug)]
pub struct ShiftRecord {
    /// Its id.
    pub id: ShiftId,
    /// Whose shift it is.
    pub endpoint: EndpointName,
    /// The fleet that was in service when it began.
    pub blue: FleetSpec,
    /// Which of the provisioned fleets that is.
    pub blue_fleet: Option<FleetId>,
    /// The plan, green's fleet in it.
    pub plan: PlanSpec,
    /// Where it is.
    pub snapshot: Snapshot,
    /// When `snapshot` was taken.
    pub recorded_at: WallTime,
    /// Who started it.
    pub actor: String,
    /// When it was accepted.
    pub started_at: WallTime,
    /// The moments of its decision.
    pub moments: Moments,
    /// The last figures of alarms and fleets, as JSON of the control module's making; for shifts that are over.
    pub report: serde_json::Value,
}

/// A document that another face of the proxy keeps: named within its kind, and read by nobody but that face.
#[derive(Clone, PartialEq, Debug)]
pub struct Resource {
    /// What it is, such as `model`: one word of lower-case letters and dashes.
    pub kind: &'static str,
    /// Its name among its kind.
    pub name: String,
    /// The face's own form of it.
    pub document: serde_json::Value,
}

/// A shift that waits for its turn.
#[derive(Clone, PartialEq, Debug)]
pub struct QueuedShift {
    /// The id that it will have.
    pub id: ShiftId,
    /// Whose.
    pub endpoint: EndpointName,
    /// Its plan.
    pub plan: PlanSpec,
    /// Who asked for it.
    pub actor: String,
    /// From where.
    pub peer: Option<String>,
    /// Why, in their words; may be empty.
    pub reason: String,
    /// Since when it waits.
    pub queued_at: WallTime,
    /// The running shift that is to make way for it.
    pub supersedes: Option<ShiftId>,
    /// What was to be known of the plan then, as JSON of the control module's making.
    pub findings: serde_json::Value,
}

/// Nothing of an endpoint, or of any, goes on until somebody lifts it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Freeze {
    /// Whose; `None` for all endpoints, those to come among them.
    pub endpoint: Option<EndpointName>,
    /// Who asked for it.
    pub actor: String,
    /// Why, in their words; may be empty.
    pub reason: String,
    /// Since when.
    pub since: WallTime,
}

/// When things happened, by the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moments {
    /// The response that tipped the alarm was counted.
    pub breach_at: Option<WallTime>,
    /// The evaluator (or an operator, or a timeout) decided to go back.
    pub decided_at: Option<WallTime>,
    /// The blue-only table was published.
    pub published_at: Option<WallTime>,
    /// The last request was dealt to green.
    pub last_green_dispatch_at: Option<WallTime>,
    /// The fleet that had to go had nothing in flight.
    pub drained_at: Option<WallTime>,
    /// The shift was over.
    pub ended_at: Option<WallTime>,
}

/// One entry of the stream of events. Ids rise without gaps, and each entry is chained to the one before ([`chain`]).
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Its place in the stream, from 1.
    pub id: u64,
    /// When.
    pub at: WallTime,
    /// What kind: `shift.started`, `shift.queued`, `shift.dropped`, `shift.state`, `shift.command`, `shift.batch`, `shift.warning`, `alarm.state`, `endpoint.put`, `endpoint.deleted`, `endpoint.weighted`, `instance.health`, `instance.started`, `instance.adopted`,
    /// `instance.died`, `instance.moved`, `instance.stopped`, `instance.replaced`, `fleet.provisioned`, `fleet.failed`, `fleet.scaled`, `fleet.retired`, `fleet.unresolved`, `fleet.resolved`, `config.reloaded`, `config.refused`,
    /// `endpoint.frozen`, `endpoint.unfrozen`, `resource.put`, `resource.deleted`, `aws.event`, `certificates.reloaded`, `certificates.refused`, `command.refused`, `access.refused`,
    /// `log.level`, `journal.cut`, `webhook.retried`.
    pub kind: String,
    /// Whose.
    pub endpoint: Option<EndpointName>,
    /// Which shift's.
    pub shift: Option<ShiftId>,
    /// The state before; of an endpoint, the version that served.
    pub before: Option<String>,
    /// The state after; of an endpoint, the version that serves.
    pub after: Option<String>,
    /// Green's share after.
    pub share: Option<Share>,
    /// Who or what caused it: `operator`, `alarm`, `timer`, `prober`, `file`, or a name that a client gave.
    pub actor: String,
    /// From where a client asked for it.
    pub peer: Option<String>,
    /// Why, in a sentence with numbers.
    pub cause: String,
    /// Why, in the words of whoever asked for it.
    pub reason: Option<String>,
    /// The figures behind it: an object of texts, numbers of few digits, lists and such objects, so that it reads back to the same text. Of an
    /// `aws.event` the whole event as the service of Amazon's would send it.
    pub evidence: Option<serde_json::Value>,
    /// What chains it to the one before; [`Hash::NONE`] for entries from before there was a chain.
    pub hash: Hash,
}

/// One change. A commit of several is all or nothing.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::large_enum_variant, reason = "a commit holds a handful, and most of them are events")]
pub enum Record {
    /// An endpoint is new or changed.
    Endpoint(Box<EndpointRecord>),
    /// An endpoint is gone; its shifts stay.
    EndpointDeleted(EndpointName),
    /// A shift is new or changed.
    Shift(Box<ShiftRecord>),
    /// A provisioned fleet is new or changed.
    Fleet(Box<FleetRecord>),
    /// Nothing of a provisioned fleet is left.
    FleetGone(FleetId),
    /// An endpoint, or all, are frozen.
    Freeze(Box<Freeze>),
    /// A freeze of one endpoint, or the one of all, is lifted.
    Unfreeze(Option<EndpointName>),
    /// A document of another face is new or changed.
    Resource(Box<Resource>),
    /// The document of this kind and name is gone.
    ResourceGone(&'static str, String),
    /// A shift waits for its turn.
    Queued(Box<QueuedShift>),
    /// A shift that waited will not begin. One that begins leaves the queue with its first [`Record::Shift`].
    Dequeued(ShiftId),
    /// Something happened.
    Event(Event),
}

/// What a start needs.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Loaded {
    /// All endpoints.
    pub endpoints: Vec<EndpointRecord>,
    /// All shifts that are not over.
    pub running: Vec<ShiftRecord>,
    /// All provisioned fleets of which something may exist.
    pub fleets: Vec<FleetRecord>,
    /// All freezes.
    pub freezes: Vec<Freeze>,
    /// All shifts that wait for their turn, in their order.
    pub queue: Vec<QueuedShift>,
    /// The newest event, which the next one follows.
    pub head: Head,
}

/// Why the journal could not be read or written. Says on which file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("cannot open the journal {path}: {reason}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said, and what would help.
        reason: String,
    },
    /// The file was written by a later version.
    #[error(
        "the journal {path} has format {found}, this version knows up to {known}: run the newer snapback, or name another file in [state] path"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: u32,
        /// The highest format known here.
        known: u32,
    },
    /// Another process has the file.
    #[error("the journal {path} is in use by another process: one snapback serves from one journal")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Nothing was written: there is no room (`SQLITE_FULL`).
    #[error("the disk of the journal {path} is full; nothing was changed: free some space and try again")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Nothing was written: read-only, I/O error.
    #[error("cannot write the journal {path}: {reason}; nothing was changed")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A row does not make sense.
    #[error("the journal {path} holds a record that cannot be read: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Which record, and what is wrong with it.
        reason: String,
    },
}

/// A durable record. Calls block on the disk, so they are made from where blocking is allowed.
///
/// It does not grow for ever: only the newest events stay, and of each endpoint the newest shifts that are over ([`Kept`]).
pub trait Journal: Send + Sync + std::fmt::Debug {
    /// What a start needs.
    fn load(&self) -> Result<Loaded, StoreError>;

    /// Makes all of these durable, or none: when this returns, a power loss does not undo it.
    fn commit(&self, records: &[Record]) -> Result<(), StoreError>;

    /// Events with an id above `after`, oldest first, at most `limit`.
    fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// An endpoint's shifts, newest first, at most `limit`.
    fn shifts_of(&self, endpoint: &EndpointName, limit: usize) -> Result<Vec<ShiftRecord>, StoreError>;

    /// One shift.
    fn shift(&self, id: &ShiftId) -> Result<Option<ShiftRecord>, StoreError>;

    /// All documents of a kind, by name.
    fn resources(&self, kind: &'static str) -> Result<Vec<Resource>, StoreError>;

    /// One document.
    fn resource(&self, kind: &'static str, name: &str) -> Result<Option<Resource>, StoreError>;

    /// Between which events the chain runs.
    fn chain(&self) -> Result<Chain, StoreError>;

    /// The whole of it as one file, as of now. Whoever commits waits meanwhile, about a millisecond a megabyte.
    fn backup(&self) -> Result<Vec<u8>, StoreError>;
}
