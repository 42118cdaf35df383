//! Time limits without timers.
//!
//! A timer per wait would cost each request several insertions into the runtime's wheel, with their clock reads. Instead
//! whoever makes progress beats, which is an increment, and the worker looks at all pulses every [`SWEEP`]. The price is
//! that a limit is noticed up to two sweeps late, never early; the limits are tenths of a second to minutes.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    task::{Poll, Waker},
    time::Duration,
};

use super::{pace::Pace, settings::LeastRate};
use crate::time::Moment;

/// How often a worker looks for connections that are late. Ten looks a second at 10,000 connections cost about a
/// thousandth of a core; a limit is meant to the second, not to the millisecond.
pub(super) const SWEEP: Duration = Duration::from_millis(100);

/// How often it looks at what cannot wait for the next sweep, while there is any: open requests under latency alarms, as often as the
/// evaluator looks, so that a late one is at most twice as long unseen; and gRPC's deadlines, which are commonly hundreds of milliseconds.
/// A hundred looks a second cost less than a thousandth of a core.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// Whether something still happens on a connection, and how long nothing may happen.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    beats: Cell<u32>,
    /// Whether the instance says no more than that it lives.
    is_idle: Cell<bool>,
    limit: Cell<Duration>,
    /// When what is under way must be over, whatever happens until then.
    deadline: Cell<Option<Moment>>,
    late: Cell<Option<Late>>,
    pub(super) pace: Pace,
    is_expired: Cell<bool>,
    has_rung: Cell<bool>,
    seen: Cell<u32>,
    seen_at: Cell<Moment>,
    waker: RefCell<Option<Waker>>,
}

/// What was not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Late {
    /// Nothing happened for as long as was allowed.
    Silent,
    /// The deadline has passed.
    Overdue,
    /// So has the one that the client set.
    Expired,
    /// The client sends its request's body, or takes its response, too slowly.
    Slow,
}

impl Pulse {
    /// The instance says that it lives, and no more: passing that on is no progress.
    pub(super) fn idle(&self) {
        self.is_idle.set(true);
    }

    /// Something was passed on.
    pub(super) fn beat_unless_idle(&self) {
        if !self.is_idle.get() {
            self.beat();
        }
    }

    /// Something happened: the limit counts from now.
    pub(super) fn beat(&self) {
        self.is_idle.set(false);
        self.beats.set(self.beats.get().wrapping_add(1));
    }

    /// A new wait begins, in which nothing may happen for `limit`. After the client's own deadline none does.
    pub(super) fn expect_within(&self, limit: Duration) {
        self.limit.set(limit);
        self.late.set(self.is_expired.get().then_some(Late::Expired));
        self.beat();
    }

    /// Everything must be over by then; `None` lifts that.
    pub(super) fn end_by(&self, deadline: Option<Moment>) {
        self.deadline.set(deadline);
    }

    /// What was asked for is over, and only an answer that says so has to get out.
    pub(super) fn expect_end_within(&self, limit: Duration) {
        self.is_expired.set(false);
        self.end_by(None);
        self.expect_within(limit);
    }

    /// Whether a limit was not kept, and which.
    pub(super) fn late(&self) -> Option<Late> {
        self.late.get()
    }

    /// Whether a limit was not kept.
    pub(super) fn is_late(&self) -> bool {
        self.late.get().is_some()
    }

    /// Whether the time that the client gave is over.
    pub(super) fn is_expired(&self) -> bool {
        self.is_expired.get()
    }

    /// The time that the client gave is over: wakes the listening task. No further wait begins.
    pub(super) fn expire(&self) {
        self.is_expired.set(true);
        self.late.set(Some(Late::Expired));
        self.wake();
    }

    /// The moment of an alarm has come: wakes the listening task. Nothing is late for it.
    pub(super) fn ring(&self) {
        self.has_rung.set(true);
        self.wake();
    }

    /// A new alarm is set.
    pub(super) fn silence(&self) {
        self.has_rung.set(false);
    }

    /// Whether the alarm's moment has come.
    pub(super) fn has_rung(&self) -> bool {
        self.has_rung.get()
    }

    /// Makes this task the one that is woken.
    pub(super) fn listen(&self, waker: &Waker) {
        let mut current = self.waker.borrow_mut();
        if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
            *current = Some(waker.clone());
        }
    }

    /// Wakes the listening task.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Takes note of the beats since the last look and wakes the listening task when a limit has passed.
    pub(super) fn check(&self, now: Moment) {
        if self.seen.get() != self.beats.get() {
            self.seen.set(self.beats.get());
            self.seen_at.set(now);
        } else if now.since(self.seen_at.get()) >= self.limit.get() {
            self.note(Late::Silent);
        }
        if self.deadline.get().is_some_and(|deadline| now >= deadline) {
            self.note(Late::Overdue);
        }
    }

    /// Takes a look at the client's pace; whether it has been found too slow just now.
    pub(super) fn check_pace(&self, now: Moment, least: LeastRate) -> bool {
        let is_found = self.pace.is_too_slow(now, least) && !self.is_late();
        if is_found {
            self.note(Late::Slow);
        }
        is_found
    }

    fn note(&self, late: Late) {
        if self.late.get().is_none() {
            self.late.set(Some(late));
            self.wake();
        }
    }
}

/// Waits for `future` until the pulse is late. The task that listens to the pulse must be the one that polls this.
pub(super) async fn unless_late<T>(pulse: &Pulse, future: impl Future<Output = T>) -> Result<T, Late> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => pulse.late().map_or(Poll::Pending, |late| Poll::Ready(Err(late))),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_pulse_is_late_when_nothing_happened_for_the_limit_and_never_before() {
        let pulse = Pulse::default();
        pulse.expect_within(Duration::from_millis(250));
        for millis in [1_000, 1_100, 1_200] {
            pulse.check(at(millis));
            assert!(!pulse.is_late(), "{millis}");
        }
        pulse.check(at(1_300));
        assert!(pulse.is_late());
    }

    #[test]
    fn a_beat_or_a_new_wait_starts_the_limit_again() {
        let pulse = Pulse::default();
        pulse.expect_within(Duration::from_millis(150));
        pulse.check(at(1_000));
        pulse.beat();
        pulse.check(at(1_100));
        pulse.check(at(1_200));
        assert!(!pulse.is_late());
        pulse.check(at(1_300));
        assert!(pulse.is_late());
        pulse.expect_within(Duration::from_millis(100));
        assert!(!pulse.is_late());
        pulse.check(at(1_400));
        assert!(!pulse.is_late());
    }

    #[test]
    fn passing_signs_of_life_on_is_no_progress_until_something_happens() {
        let pulse = Pulse::default();
        pulse.expect_within(Duration::from_millis(150));
        pulse.check(at(1_000));
        pulse.idle();
        for millis in [1_100, 1_200] {
            pulse.beat_unless_idle();
            pulse.check(at(millis));
        }
        assert!(pulse.is_late());
        pulse.expect_within(Duration::from_millis(150));
        for millis in [1_300, 1_400, 1_500] {
            pulse.beat_unless_idle();
            pulse.check(at(millis));
        }
        assert!(!pulse.is_late());
    }

    #[test]
    fn a_deadline_passes_whatever_happens_until_then_and_again_for_whoever_waits_on() {
        let pulse = Pulse::default();
        pulse.expect_within(Duration::MAX);
        pulse.end_by(Some(at(1_150)));
        for millis in [1_000, 1_100] {
            pulse.beat();
            pulse.check(at(millis));
            assert_eq!(pulse.late(), None, "{millis}");
        }
        pulse.beat();
        pulse.check(at(1_200));
        assert_eq!(pulse.late(), Some(Late::Overdue));
        pulse.expect_within(Duration::MAX);
        pulse.check(at(1_300));
        assert_eq!(pulse.late(), Some(Late::Overdue));
        pulse.expect_within(Duration::MAX);
        pulse.end_by(None);
        pulse.check(at(1_400));
        assert_eq!(pulse.late(), None);
    }

    #[test]
    fn what_has_expired_stays_late_until_its_end_is_due() {
        let pulse = Pulse::default();
        pulse.expire();
        pulse.expect_within(Duration::from_secs(9));
        assert_eq!((pulse.late(), pulse.is_expired()), (Some(Late::Expired), true));
        pulse.expect_end_within(Duration::from_secs(9));
        assert_eq!((pulse.late(), pulse.is_expired()), (None, false));
    }
}
