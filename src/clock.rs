//! The one place that reads the clocks.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::time::{Moment, WallTime};

static ANCHOR: OnceLock<Instant> = OnceLock::new();

/// Now on the monotonic clock. The first call in a process sets the anchor, one second in the past, so that no moment is zero.
#[expect(clippy::disallowed_methods, reason = "this module is where the clock is read")]
pub fn now() -> Moment {
    #[cfg(test)]
    if let Some(now) = simulated::now() {
        return now;
    }
    let now = Instant::now();
    let anchor = ANCHOR.get_or_init(|| now.checked_sub(std::time::Duration::from_secs(1)).unwrap_or(now));
    Moment::from_nanos(u64::try_from(now.saturating_duration_since(*anchor).as_nanos()).unwrap_or(u64::MAX))
}

/// Now on the wall clock. A clock before 1970 reads as 1970.
#[expect(clippy::disallowed_methods, reason = "this module is where the clock is read")]
pub fn wall() -> WallTime {
    #[cfg(test)]
    if let Some(wall) = simulated::wall() {
        return wall;
    }
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// The wall time at which a moment of this process was or will be, as far as today's wall clock knows.
pub fn wall_of(moment: Moment) -> WallTime {
    let (now, wall) = (now(), self::wall());
    let ahead = i64::try_from(moment.since(now).as_millis()).unwrap_or(i64::MAX);
    let behind = i64::try_from(now.since(moment).as_millis()).unwrap_or(i64::MAX);
    WallTime::from_millis(wall.as_millis().saturating_add(ahead).saturating_sub(behind))
}

/// Where the monotonic clock's zero lies on the wall clock as it is now, in nanoseconds since the Unix epoch: for spans, whose times are finer than
/// what the journal has.
#[expect(clippy::disallowed_methods, reason = "this module is where the clock is read")]
pub fn unix_nanos_of_beginning() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
    wall.saturating_sub(now().as_nanos())
}

/// Clocks that a simulation makes. A thread that has been given one reads no other.
#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::RefCell;

    use crate::time::{Moment, WallTime};

    type Clocks = Box<dyn Fn() -> (Moment, WallTime)>;

    thread_local! {
        static CLOCKS: RefCell<Option<Clocks>> = const { RefCell::new(None) };
    }

    /// This thread reads these from now on: the monotonic clock and the wall clock.
    pub(crate) fn begin(clocks: impl Fn() -> (Moment, WallTime) + 'static) {
        CLOCKS.set(Some(Box::new(clocks)));
    }

    pub(super) fn now() -> Option<Moment> {
        CLOCKS.with_borrow(|clocks| Some(clocks.as_ref()?().0))
    }

    pub(super) fn wall() -> Option<WallTime> {
        CLOCKS.with_borrow(|clocks| Some(clocks.as_ref()?().1))
    }
}
