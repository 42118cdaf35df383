//! The evaluator: looks at green's meters, and goes to blue by itself when an alarm is raised.
//!
//! A thread of its own, so that nothing that control waits for (a disk, a name server) stands between a breach and the blue-only
//! table. It acts first; journal and people are told by the control task afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::Notify;

use super::{timer::Timer, watched::Roster};
use crate::{meter::Bell, time::Moment};

/// How long it waits for a ring while a shift gives green traffic. A slow answer that rings nobody is judged at most this late; at
/// ten milliseconds the looks cost about a thousandth of a core.
const PARK: Duration = Duration::from_millis(10);

/// The same while no shift gives green traffic: there is nothing to see, and the heartbeat must be younger than the watchdog's limit
/// when a shift begins.
const IDLE_PARK: Duration = Duration::from_millis(200);

/// The evaluator, apart from its thread.
#[derive(Debug)]
pub(super) struct Evaluator {
    pub(super) roster: Arc<Roster>,
    pub(super) bell: Arc<Bell>,
    pub(super) timer: Timer,
    /// Tells the control task that a standing changed.
    pub(super) notice: Arc<Notify>,
    pub(super) heartbeat: Arc<Heartbeat>,
}

/// When the evaluator finished its last round.
#[derive(Debug, Default)]
pub(super) struct Heartbeat(AtomicU64);

/// The evaluator's thread.
#[derive(Debug)]
pub(super) struct EvaluatorThread {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What a round found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Round {
    /// At least one shift gives green traffic.
    Watching,
    /// None does.
    Idle,
}

impl Evaluator {
    /// Looks at every shift that gives green traffic, once; first at those that rang, which so do not wait for the others.
    pub(super) fn round(&self) -> Round {
        let rung = self.bell.answer();
        let mut live = self.roster.live();
        live.sort_by_cached_key(|watched| !watched.watch.take_rung());
        for watched in &live {
            watched.judge(rung);
            if watched.has_changed() {
                self.notice.notify_one();
            }
        }
        self.heartbeat.beat(self.timer.now());
        if live.is_empty() { Round::Idle } else { Round::Watching }
    }

    /// Starts the thread. It becomes the bell's listener.
    pub(super) fn spawn(self) -> std::io::Result<EvaluatorThread> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::Builder::new().name("snapback-evaluator".to_owned()).spawn(move || {
            self.bell.listen();
            while !told.load(Ordering::Acquire) {
                match self.round() {
                    Round::Watching => thread::park_timeout(PARK),
                    Round::Idle => thread::park_timeout(IDLE_PARK),
                }
            }
        })?;
        Ok(EvaluatorThread { stop, thread })
    }
}

impl EvaluatorThread {
    /// Ends it after the round under way. Blocks for as long.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the evaluator's thread had panicked");
        }
    }
}

impl Heartbeat {
    pub(super) fn beat(&self, now: Moment) {
        self.0.store(now.as_nanos(), Ordering::Release);
    }

    /// How old the last beat is.
    pub(super) fn age(&self, now: Moment) -> Duration {
        now.since(Moment::from_nanos(self.0.load(Ordering::Acquire)))
    }
}
