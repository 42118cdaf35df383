//! What a webhook is to send next: which lanes have something, and when a failed one is tried again. Without I/O and clock.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    store::{Cursors, Lane},
    time::Moment,
};

/// The first wait after a failed attempt, doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest: a receiver that is back gets its events within five minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A webhook's lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    origin: u64,
    lanes: BTreeMap<Lane, State>,
}

/// One lane.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The last event that is done with.
    pub(super) done: u64,
    /// The newest event that may have to be sent.
    pub(super) newest: u64,
    /// Failed attempts at the event after `done`.
    pub(super) attempts: u32,
    /// When the next attempt may be made.
    pub(super) due: Moment,
    /// What the last failed attempt came to.
    pub(super) problem: Option<String>,
    /// Whether an attempt is under way.
    pub(super) is_busy: bool,
}

impl Lanes {
    /// Goes on where the webhook was.
    pub(super) fn new(cursors: Cursors) -> Self {
        let Cursors { origin, lanes } = cursors;
        let lanes = lanes.into_iter().map(|(lane, done)| (lane, State::after(done)));
        Self { origin, lanes: lanes.collect() }
    }

    /// There is an event in this lane.
    pub(super) fn heard(&mut self, lane: Lane, event: u64) {
        let state = self.lanes.entry(lane).or_insert_with(|| State::after(self.origin));
        state.newest = state.newest.max(event);
    }

    /// A lane whose next event may be sent now; it is busy from now on.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<(Lane, u64)> {
        let (lane, state) =
            self.lanes.iter_mut().find(|(_, state)| state.is_pending() && state.due <= now)?;
        state.is_busy = true;
        Some((lane.clone(), state.done))
    }

    /// The moment at which the next lane becomes due, if any waits.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.lanes.values().filter(|state| state.is_pending()).map(|state| state.due).min()
    }

    /// Everything up to this event is done with.
    pub(super) fn done(&mut self, lane: &Lane, event: u64) {
        if let Some(state) = self.lanes.get_mut(lane) {
            state.done = state.done.max(event);
            state.attempts = 0;
            state.problem = None;
            state.is_busy = false;
        }
    }

    /// An attempt failed; says how many did at this event. `jitter` from 0 to 1 spreads the waits, so that receivers that were down are not met
    /// by all their senders at once.
    pub(super) fn failed(&mut self, lane: &Lane, problem: String, now: Moment, jitter: f64) -> u32 {
        let Some(state) = self.lanes.get_mut(lane) else { return 0 };
        state.attempts = state.attempts.saturating_add(1);
        state.problem = Some(problem);
        state.is_busy = false;
        state.due = now.after(wait(state.attempts, jitter));
        state.attempts
    }

    /// There is nothing after this event.
    pub(super) fn exhausted(&mut self, lane: &Lane, event: u64) {
        if let Some(state) = self.lanes.get_mut(lane) {
            state.done = state.done.max(event).max(state.newest);
            state.is_busy = false;
        }
    }

    /// The lane is left alone until this moment: not its receiver failed, but what is behind it.
    pub(super) fn rest(&mut self, lane: &Lane, problem: String, until: Moment) {
        if let Some(state) = self.lanes.get_mut(lane) {
            state.problem = Some(problem);
            state.is_busy = false;
            state.due = until;
        }
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Lane, &State)> {
        self.lanes.iter()
    }
}

impl State {
    fn after(done: u64) -> Self {
        Self { done, newest: done, attempts: 0, due: Moment::default(), problem: None, is_busy: false }
    }

    fn is_pending(&self) -> bool {
        !self.is_busy && self.newest > self.done
    }
}

/// Between half of the full wait and all of it.
fn wait(attempts: u32, jitter: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let full = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::EndpointName;

    fn lane(text: &str) -> Lane {
        Lane::Endpoint(EndpointName::parse(text).unwrap())
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(1).after(Duration::from_secs(seconds))
    }

    fn lanes() -> Lanes {
        Lanes::new(Cursors { origin: 10, lanes: [(lane("chat"), 20)].into() })
    }

    #[test]
    fn a_lane_sends_one_event_at_a_time_and_goes_on_where_it_was() {
        let mut lanes = lanes();
        assert_eq!(lanes.take_due(at(1)), None);
        lanes.heard(lane("chat"), 21);
        lanes.heard(lane("score"), 22);
        assert_eq!(lanes.take_due(at(1)), Some((lane("chat"), 20)));
        assert_eq!(lanes.take_due(at(1)), Some((lane("score"), 10)));
        lanes.heard(lane("chat"), 23);
        assert_eq!(lanes.take_due(at(1)), None);
        lanes.done(&lane("chat"), 21);
        assert_eq!(lanes.take_due(at(1)), Some((lane("chat"), 21)));
        lanes.done(&lane("chat"), 23);
        assert_eq!(lanes.take_due(at(1)), None);
    }

    #[test]
    fn a_failing_lane_waits_longer_and_longer_and_holds_up_no_other() {
        let mut lanes = lanes();
        lanes.heard(lane("chat"), 21);
        let mut now = at(1);
        for (attempts, seconds) in (1..).zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]) {
            assert_eq!(lanes.take_due(now), Some((lane("chat"), 20)), "attempt {attempts}");
            assert_eq!(lanes.failed(&lane("chat"), "500".to_owned(), now, 1.0), attempts);
            lanes.heard(lane("score"), 30 + u64::from(attempts));
            assert_eq!(lanes.take_due(now).map(|(lane, _)| lane), Some(lane("score")));
            lanes.done(&lane("score"), 30 + u64::from(attempts));
            assert_eq!(lanes.take_due(now), None);
            let due = now.after(Duration::from_secs(seconds));
            assert_eq!(lanes.next_due(), Some(due));
            now = due;
        }
        lanes.take_due(now);
        lanes.done(&lane("chat"), 21);
        lanes.heard(lane("chat"), 22);
        lanes.take_due(now);
        assert_eq!(lanes.failed(&lane("chat"), "500".to_owned(), now, 0.0), 1);
        assert_eq!(lanes.next_due(), Some(now.after(Duration::from_millis(500))));
    }
}
