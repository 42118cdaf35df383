//! The access log: a line of JSON for each request, or for a sample of them, written by a thread of its own.
//!
//! A worker hands a finished request to a queue of its own and goes on; nobody is woken, since the writer looks by itself. The queues are
//! bounded: what finds no room is counted and lost, as is what cannot be written, because no request may wait for a disk or a terminal.

mod line;
mod writer;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use super::passage::Passage;
use crate::config::AccessLogConfig;

pub use writer::{AccessLogError, AccessLogWriter};

/// The workers' side of the log.
#[derive(Debug)]
pub struct AccessLog {
    /// One for each worker.
    queues: Box<[SyncSender<Box<Passage>>]>,
    counts: Arc<Counts>,
    /// The odds for requests that came to nothing bad, and for the others.
    sample: f64,
    sample_failures: f64,
    pub(super) with_query: bool,
}

/// What became of lines.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) written: AtomicU64,
    /// The queue was full.
    pub(super) dropped: AtomicU64,
    /// They could not be written.
    pub(super) failed: AtomicU64,
}

impl AccessLog {
    /// Starts the writer's thread. The log stays open until the writer is told to stop.
    ///
    /// # Errors
    /// When the file cannot be opened, or the system gives no thread.
    pub fn start(
        config: &AccessLogConfig,
        workers: usize,
    ) -> Result<(Arc<Self>, AccessLogWriter), AccessLogError> {
        let AccessLogConfig { to, sample, sample_failures, with_query, queue } = config;
        let counts = Arc::new(Counts::default());
        let (queues, receivers): (Vec<_>, Vec<Receiver<_>>) =
            (0..workers).map(|_| sync_channel(*queue)).unzip();
        let writer = AccessLogWriter::start(to, receivers, Arc::clone(&counts))?;
        let log = Self {
            queues: queues.into(),
            counts,
            sample: *sample,
            sample_failures: *sample_failures,
            with_query: *with_query,
        };
        Ok((Arc::new(log), writer))
    }

    /// Whether the query is wanted with the path.
    pub fn wants_query(&self) -> bool {
        self.with_query
    }

    /// The odds for such a request.
    pub fn rate(&self, passage: &Passage) -> f64 {
        if passage.is_bad() { self.sample_failures } else { self.sample }
    }

    /// Takes a request that is to be told of, from this worker.
    pub fn take(&self, worker: usize, passage: Box<Passage>) {
        let Some(queue) = self.queues.get(worker) else { return };
        match queue.try_send(passage) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counts.dropped.fetch_add(1, Relaxed);
            }
        }
    }

    /// Lines that were written, lost for want of room in the queue, and lost because they could not be written.
    pub(super) fn counts(&self) -> [u64; 3] {
        let Counts { written, dropped, failed } = &*self.counts;
        [written.load(Relaxed), dropped.load(Relaxed), failed.load(Relaxed)]
    }
}
