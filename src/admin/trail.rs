//! The native API's representations of where events go and of who did what.

use serde::{Deserialize, Serialize};

use super::wire::Event;
use crate::store::{Hash, chain::Link};

/// `GET /v1/webhooks`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Webhooks {
    /// As configured.
    pub webhooks: Vec<Webhook>,
    /// The file of events, if there is one.
    pub file: Option<EventsFile>,
}

/// How a webhook does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// Where its events go.
    pub url: String,
    /// `idle`, `delivering`, or `failing` when the last attempt in any of its lanes failed.
    pub state: String,
    /// Deliveries since the process started.
    pub delivered: u64,
    /// Failed attempts since the process started.
    pub failed: u64,
    /// Events given up since the process started.
    pub given_up: u64,
    /// When it last took an event.
    pub delivered_at: Option<String>,
    /// What has something to send.
    pub pending: Vec<Pending>,
    /// What could not be delivered, oldest first.
    pub dead_letters: Vec<DeadLetter>,
}

/// The events of an endpoint that wait for their delivery.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// Whose; null for events of no endpoint.
    pub endpoint: Option<String>,
    /// The last event that is done with.
    pub done: u64,
    /// The newest event.
    pub newest: u64,
    /// Failed attempts at the next one.
    pub attempts: u32,
    /// What the last of them came to.
    pub problem: Option<String>,
}

/// An event that could not be delivered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id.
    pub event: u64,
    /// When it was given up.
    pub at: String,
    /// After how many attempts in all.
    pub attempts: u32,
    /// What the last one came to.
    pub reason: String,
}

/// How the file of events does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EventsFile {
    /// The last event that is in it.
    pub written: u64,
    /// Why nothing more can be written, if so.
    pub problem: Option<String>,
}

/// `POST /v1/webhooks/{name}/retry`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Retry {
    /// So many dead letters are tried again, in order, until one fails.
    pub dead_letters: usize,
}

/// `GET /v1/audit`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Audit {
    /// What somebody asked for, or was refused, oldest first.
    pub events: Vec<Event>,
    /// Where to go on: `?after=` this; null at the end.
    pub next: Option<u64>,
}

/// `GET /v1/audit/verification`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Verification {
    /// Whether every event that is kept follows from the one before.
    pub whole: bool,
    /// The first event of the chain that is kept.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The last one's hash: kept elsewhere, it proves later that nothing before it was changed.
    pub hash: Option<String>,
    /// The event at which the chain breaks.
    pub broken_at: Option<u64>,
    /// How.
    pub how: Option<String>,
    /// The last event in the file of events, against which the journal was checked too.
    pub file: Option<u64>,
}

impl Event {
    /// The hash that this event has after an event with this one, if it is one.
    pub fn hash_after(&self, previous: &str) -> Option<String> {
        Hash::parse(previous)?;
        let Self {
            id,
            at,
            kind,
            endpoint,
            shift,
            before,
            after,
            share,
            actor,
            peer,
            cause,
            reason,
            evidence,
            hash: _,
        } = self;
        let link = Link(
            previous,
            *id,
            at,
            kind,
            endpoint.as_deref(),
            shift.as_deref(),
            before.as_deref(),
            after.as_deref(),
            share.as_deref(),
            actor,
            peer.as_deref(),
            cause,
            reason.as_deref(),
            evidence.as_ref(),
        );
        Some(link.hash().to_string())
    }
}
