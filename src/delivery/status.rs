//! What is shown of deliveries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::{
    store::{DeadLetter, Lane, Outbox, StoreError},
    time::WallTime,
};

/// How many requests to try dead letters again may wait; one is as good as many.
pub(super) const RETRIES_WAITING: usize = 1;

/// How a webhook does.
#[derive(Clone, PartialEq, Debug)]
pub struct WebhookStatus {
    /// Its name.
    pub name: String,
    /// Where its events go.
    pub url: String,
    /// Deliveries since the process started.
    pub delivered: u64,
    /// Failed attempts since the process started.
    pub failed: u64,
    /// Events given up since the process started.
    pub given_up: u64,
    /// When it last took an event.
    pub delivered_at: Option<WallTime>,
    /// The lanes that have something to send.
    pub pending: Vec<LaneStatus>,
    /// What could not be delivered, oldest first.
    pub dead_letters: Vec<DeadLetter>,
}

/// How a lane does that has something to send.
#[derive(Clone, PartialEq, Debug)]
pub struct LaneStatus {
    /// Which.
    pub lane: Lane,
    /// The last event that is done with.
    pub done: u64,
    /// The newest event that may have to be sent.
    pub newest: u64,
    /// Failed attempts at the next one.
    pub attempts: u32,
    /// What the last of them came to.
    pub problem: Option<String>,
}

/// How the file of events does.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FileStatus {
    /// The last event that is in it.
    pub written: u64,
    /// Why nothing more can be written, if so.
    pub problem: Option<String>,
}

/// The webhooks as the admin port knows them.
#[derive(Clone, Debug, Default)]
pub struct Webhooks {
    pub(super) all: Arc<[Shown]>,
    pub(super) file: Option<Arc<Mutex<FileStatus>>>,
    pub(super) outbox: Option<Arc<dyn Outbox>>,
}

/// A webhook from outside.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) status: Arc<Mutex<WebhookStatus>>,
    pub(super) retry: mpsc::Sender<()>,
}

impl Webhooks {
    /// All of them as they are. Reads the journal, so it blocks.
    pub fn list(&self) -> Result<Vec<WebhookStatus>, StoreError> {
        let Some(outbox) = &self.outbox else { return Ok(Vec::new()) };
        let with_letters = |status: WebhookStatus| {
            Ok(WebhookStatus { dead_letters: outbox.dead_letters(&status.name)?, ..status })
        };
        self.counts().into_iter().map(with_letters).collect()
    }

    /// The same without their dead letters, and without blocking.
    pub fn counts(&self) -> Vec<WebhookStatus> {
        self.all.iter().map(|shown| lock(&shown.status).clone()).collect()
    }

    /// Has a webhook try its dead letters again, in order, until one fails. `None` when there is none of this name.
    pub fn retry(&self, name: &str) -> Option<()> {
        let shown = self.all.iter().find(|shown| lock(&shown.status).name == name)?;
        // One that waits already does what is asked.
        let _waits = shown.retry.try_send(()).is_ok();
        Some(())
    }

    /// How the file of events does, if there is one.
    pub fn file(&self) -> Option<FileStatus> {
        self.file.as_ref().map(|status| lock(status).clone())
    }
}

/// A panic leaves figures that are whole, if not the newest.
pub(super) fn lock<T>(status: &Mutex<T>) -> MutexGuard<'_, T> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}
