//! What the clients have seen.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use crate::{
    meter::{Histogram, HistogramSnapshot},
    time::WallTime,
};

/// How many failures are kept one by one; more are only counted. The story has some dozens.
const KEPT: usize = 10_000;

/// Written by the clients, read by the story.
#[derive(Debug, Default)]
pub(in crate::demo) struct Ledger {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    served: u64,
    failed: u64,
    failures: Vec<Failure>,
    latency: Histogram,
}

/// A request without a good answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::demo) struct Failure {
    /// When it was sent.
    pub(in crate::demo) sent_at: WallTime,
    /// When its client knew.
    pub(in crate::demo) ended_at: WallTime,
    /// What its client saw.
    pub(in crate::demo) what: String,
}

/// The sum so far.
#[derive(Clone, Debug)]
pub(in crate::demo) struct Tally {
    /// Good answers.
    pub(in crate::demo) served: u64,
    /// Requests without one.
    pub(in crate::demo) failed: u64,
    /// The first [`KEPT`] of them, in the order in which they ended.
    pub(in crate::demo) failures: Vec<Failure>,
    /// From the request to the last byte, of good answers.
    pub(in crate::demo) latency: HistogramSnapshot,
}

impl Ledger {
    /// A good answer to its last byte, in this time.
    pub(in crate::demo) fn served(&self, took: Duration) {
        let mut pages = self.pages();
        pages.served += 1;
        pages.latency.record(took);
    }

    /// A request came to nothing good.
    pub(in crate::demo) fn failed(&self, failure: Failure) {
        let mut pages = self.pages();
        pages.failed += 1;
        if pages.failures.len() < KEPT {
            pages.failures.push(failure);
        }
    }

    /// The sum so far.
    pub(in crate::demo) fn tally(&self) -> Tally {
        let pages = self.pages();
        let mut latency = HistogramSnapshot::default();
        pages.latency.add_to(&mut latency);
        Tally { served: pages.served, failed: pages.failed, failures: pages.failures.clone(), latency }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().expect("no holder of this lock panics")
    }
}

impl Tally {
    /// All requests that came to an end.
    pub(in crate::demo) fn requests(&self) -> u64 {
        self.served + self.failed
    }
}
