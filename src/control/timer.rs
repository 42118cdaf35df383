//! Moments that control decides by and timers that it waits on, read from one clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    clock,
    time::{Moment, WallTime},
};

/// Ties [`Moment`]s to the runtime's timers. Both count on the system's monotonic clock; under the runtime's paused clock both stand
/// still together, which lets a test run a shift of hours in no time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    moment: Moment,
    instant: Instant,
}

/// The runtime's timers take no instant at the end of time; whoever waits for longer wakes once a day in between.
const FARTHEST: Duration = Duration::from_secs(86_400);

impl Timer {
    pub(super) fn new() -> Self {
        Self { moment: clock::now(), instant: Instant::now() }
    }

    pub(super) fn now(&self) -> Moment {
        self.moment.after(Instant::now().saturating_duration_since(self.instant))
    }

    /// When to wake for a moment, at the latest a day from now.
    pub(super) fn instant(&self, at: Moment) -> Instant {
        Instant::now() + at.since(self.now()).min(FARTHEST)
    }

    /// When the wall clock will show this, if nobody sets it; now where it has shown it.
    pub(super) fn moment_of(&self, wall: WallTime) -> Moment {
        let ahead = wall.as_millis().saturating_sub(clock::wall().as_millis());
        self.now().after(Duration::from_millis(u64::try_from(ahead).unwrap_or_default()))
    }

    /// The wall time of a moment, as far as today's wall clock knows.
    pub(super) fn wall_of(&self, at: Moment) -> WallTime {
        let (now, wall) = (self.now(), clock::wall());
        let ahead = i64::try_from(at.since(now).as_millis()).unwrap_or(i64::MAX);
        let behind = i64::try_from(now.since(at).as_millis()).unwrap_or(i64::MAX);
        WallTime::from_millis(wall.as_millis().saturating_add(ahead).saturating_sub(behind))
    }
}
