//! The watchdog: when nobody looks at the alarms, or nobody decides any more, green gets nothing more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{sync::Notify, time::MissedTickBehavior};

use super::{evaluator::Heartbeat, timer::Timer, watched::Roster};
use crate::{shift::Cause, time::Moment};

/// The evaluator has not run for so long: a hundred times what it takes when all is well, and short enough that a green that breaks
/// meanwhile harms few.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(1);

/// How often the watchdog looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// A watchdog that itself comes so much too late was stopped together with the evaluator and the data plane (a suspended machine, a
/// debugger): nobody was served unwatched, so the evaluator gets one more interval to run first.
const OVERSLEPT: Duration = Duration::from_millis(500);

/// Watches the evaluator and the control task.
#[derive(Debug)]
pub(super) struct Watchdog {
    pub(super) roster: Arc<Roster>,
    pub(super) heartbeat: Arc<Heartbeat>,
    pub(super) collapse: Arc<Collapse>,
    pub(super) timer: Timer,
    pub(super) notice: Arc<Notify>,
}

/// Whether the control task has ended in the middle of something. Then nobody carries out an abort or an execution timeout any more.
#[derive(Debug, Default)]
pub(super) struct Collapse(AtomicBool);

/// What the control task holds as long as it runs.
#[derive(Debug)]
pub(super) struct Vital(pub(super) Arc<Collapse>);

impl Drop for Vital {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.0.store(true, Ordering::Release);
        }
    }
}

impl Watchdog {
    /// Runs until it is aborted.
    pub(super) async fn run(self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = self.timer.now();
        loop {
            ticks.tick().await;
            let now = self.timer.now();
            if now.since(last) < INTERVAL + OVERSLEPT {
                self.look(now);
            }
            last = now;
        }
    }

    /// Snaps every shift back that gives green traffic, if the evaluator has stalled or the control task has collapsed.
    pub(super) fn look(&self, now: Moment) {
        let age = self.heartbeat.age(now);
        let why = if self.collapse.0.load(Ordering::Acquire) {
            "control has ended in the middle of something and must be started again: all traffic goes to blue"
        } else if age > STALLED_AFTER {
            "the evaluator has stalled: all traffic goes to blue"
        } else {
            return;
        };
        for watched in self.roster.live() {
            if watched.snapped().is_none() && watched.snap(Cause::EvaluatorStalled).is_some() {
                tracing::error!(
                    endpoint = %watched.endpoint,
                    shift = %watched.shift,
                    age_ms = age.as_millis(),
                    "{why}"
                );
                self.notice.notify_one();
            }
        }
    }
}
