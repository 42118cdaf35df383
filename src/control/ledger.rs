//! What control writes into the journal, and whether it can.
//!
//! Events get their numbers here, at the commit that makes them durable, so the stream has no gaps; subscribers hear of an event
//! after that and not before.

use std::{sync::Arc, time::Duration};

use tokio::sync::{broadcast, watch};

use super::aside::aside;
use crate::{
    fault,
    name::{EndpointName, ShiftId},
    store::{Event, Hash, Head, Journal, Record, StoreError},
    time::{Moment, WallTime},
    weight::Share,
};

/// How many events a subscriber may lag behind before it has to read the journal.
pub(super) const EVENTS_KEPT: usize = 1024;

/// The first wait after a failed commit; doubled with each further failure.
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// The longest wait between tries: a disk that has room again is used within ten seconds.
const LAST_RETRY: Duration = Duration::from_secs(10);

/// So many events that nothing waits for stand together at most.
const MOST_DEFERRED: usize = 64;

/// An event before it has its number and its place in the chain.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Draft {
    pub(super) at: WallTime,
    pub(super) kind: &'static str,
    pub(super) endpoint: Option<EndpointName>,
    pub(super) shift: Option<ShiftId>,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    pub(super) share: Option<Share>,
    pub(super) actor: String,
    pub(super) peer: Option<String>,
    pub(super) cause: String,
    pub(super) reason: Option<String>,
    pub(super) evidence: Option<serde_json::Value>,
}

/// The journal's one writer.
#[derive(Debug)]
pub(super) struct Ledger {
    journal: Arc<dyn Journal>,
    last: Head,
    events: broadcast::Sender<Event>,
    ready: watch::Sender<Result<(), String>>,
    failures: u32,
    deferred: Vec<Draft>,
}

impl Ledger {
    pub(super) fn new(
        journal: Arc<dyn Journal>,
        last: Head,
        events: broadcast::Sender<Event>,
        ready: watch::Sender<Result<(), String>>,
    ) -> Self {
        Self { journal, last, events, ready, failures: 0, deferred: Vec::new() }
    }

    /// Keeps an event that nothing waits for until the next commit, which it precedes. When a hundred instances come up, or go, at once, that
    /// is a few waits for the disk and not a hundred, behind which an abort would stand.
    pub(super) fn defer(&mut self, draft: Draft) {
        self.deferred.push(draft);
    }

    /// Whether no more should be deferred.
    pub(super) fn is_full(&self) -> bool {
        self.deferred.len() >= MOST_DEFERRED
    }

    /// Makes durable what was deferred.
    pub(super) async fn settle(&mut self) -> Result<(), StoreError> {
        if self.deferred.is_empty() { Ok(()) } else { self.commit(Vec::new(), &[]).await }
    }

    /// Makes records and events durable, all or none. The disk is waited for on a thread that may block.
    pub(super) async fn commit(&mut self, records: Vec<Record>, drafts: &[Draft]) -> Result<(), StoreError> {
        let what = if records.is_empty() && drafts.is_empty() { told(&self.deferred) } else { told(drafts) };
        let (records, events) = self.number(records, drafts);
        let journal = Arc::clone(&self.journal);
        fault::point(|| format!("before {what}"));
        let written = aside(move || journal.commit(&records)).await;
        fault::point(|| format!("after {what}"));
        let written = written.unwrap_or_else(|error| Err(thread_failed(&error)));
        self.conclude(written, events)
    }

    /// The same from where blocking is allowed: at the start, before anything is served.
    pub(super) fn commit_blocking(
        &mut self,
        records: Vec<Record>,
        drafts: &[Draft],
    ) -> Result<(), StoreError> {
        let (records, events) = self.number(records, drafts);
        fault::point(|| format!("before {}", told(drafts)));
        let written = self.journal.commit(&records);
        fault::point(|| format!("after {}", told(drafts)));
        self.conclude(written, events)
    }

    /// A thing to read with, from where blocking is allowed.
    pub(super) fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Whether the last commit failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// When a failed commit is to be tried again.
    pub(super) fn retry_at(&self, now: Moment) -> Moment {
        let doublings = self.failures.saturating_sub(1).min(16);
        now.after(FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY))
    }

    fn number(&mut self, mut records: Vec<Record>, drafts: &[Draft]) -> (Vec<Record>, Vec<Event>) {
        let deferred = std::mem::take(&mut self.deferred);
        let chained = deferred.into_iter().chain(drafts.iter().cloned()).scan(self.last, |last, draft| {
            let event = draft.into_event(*last);
            *last = event.head();
            Some(event)
        });
        let events: Vec<_> = chained.collect();
        records.extend(events.iter().cloned().map(Record::Event));
        (records, events)
    }

    fn conclude(&mut self, written: Result<(), StoreError>, events: Vec<Event>) -> Result<(), StoreError> {
        match &written {
            Ok(()) => {
                if self.failures > 0 {
                    tracing::info!("the journal can be written again");
                }
                self.failures = 0;
                drop(self.ready.send_replace(Ok(())));
                for event in events {
                    self.last = event.head();
                    // Nobody may be listening, which is no error.
                    drop(self.events.send(event));
                }
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                tracing::error!(%error, failures = self.failures, "the journal cannot be written");
                drop(self.ready.send_replace(Err(error.to_string())));
            }
        }
        written
    }
}

/// A commit in the words of its first event: how many follow may depend on the traffic.
fn told(drafts: &[Draft]) -> String {
    match drafts.first() {
        Some(Draft { kind, after: Some(after), .. }) => format!("commit of {kind} {after}"),
        Some(Draft { kind, after: None, .. }) => format!("commit of {kind}"),
        None => "commit of records".to_owned(),
    }
}

/// The thread that was to read or write the journal panicked, or the runtime is ending.
pub(super) fn thread_failed(error: &tokio::task::JoinError) -> StoreError {
    StoreError::Write { path: "journal".into(), reason: error.to_string() }
}

impl Draft {
    /// One of nothing but this; the rest is filled in by struct update.
    pub(super) fn new(at: WallTime, kind: &'static str, actor: &str, cause: String) -> Self {
        Self {
            at,
            kind,
            endpoint: None,
            shift: None,
            before: None,
            after: None,
            share: None,
            actor: actor.to_owned(),
            peer: None,
            cause,
            reason: None,
            evidence: None,
        }
    }

    fn into_event(self, last: Head) -> Event {
        let Self { at, kind, endpoint, shift, before, after, share, actor, peer, cause, reason, evidence } =
            self;
        let event = Event {
            id: last.id + 1,
            at,
            kind: kind.to_owned(),
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
            hash: Hash::NONE,
        };
        Event { hash: event.hash_after(last.hash), ..event }
    }
}
