//! How fast a client sends what it has begun to send, and takes what it is given.
//!
//! A timeout between two parts does not see a client that sends or takes a byte at a time, and so holds a connection, a place in
//! an instance and a response's memory for as long as it likes. What counts here is how many bytes moved while everything waited
//! for the client, without a pause, for a whole window. A client that waits for a model is not measured, nor is one whose
//! instance is the slow one.
//!
//! Bytes are counted where they pass; the sweep looks.

use std::cell::Cell;

use super::settings::LeastRate;
use crate::time::Moment;

/// How fast one client is, on one connection of HTTP/1 or one stream of HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes that passed, in either direction.
    bytes: Cell<u64>,
    is_sending: Cell<bool>,
    is_taking: Cell<bool>,
    /// Since when the client has been waited for, as the looks saw it.
    window: Cell<Option<Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Moment,
    bytes: u64,
}

impl Pace {
    /// So many bytes passed.
    pub(super) fn pass(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().wrapping_add(u64::try_from(bytes).unwrap_or(u64::MAX)));
    }

    /// Whether the client is to send more of its request's body.
    pub(super) fn await_sending(&self, is_sending: bool) {
        self.is_sending.set(is_sending);
    }

    /// Whether the client is to take what it was given.
    pub(super) fn await_taking(&self, is_taking: bool) {
        self.is_taking.set(is_taking);
    }

    /// Whether it has yet to take something.
    pub(super) fn is_taking(&self) -> bool {
        self.is_taking.get()
    }

    /// A look. Whether a window has ended in which the client was too slow.
    pub(super) fn is_too_slow(&self, now: Moment, least: LeastRate) -> bool {
        let is_due = self.is_sending.get() || self.is_taking.get();
        if !is_due || least.bytes_per_second == 0 {
            self.window.set(None);
            return false;
        }
        let bytes = self.bytes.get();
        let Some(window) = self.window.get() else {
            self.window.set(Some(Window { began: now, bytes }));
            return false;
        };
        let span = now.since(window.began);
        if span < least.window {
            return false;
        }
        self.window.set(Some(Window { began: now, bytes }));
        let moved = u128::from(bytes.wrapping_sub(window.bytes)) * 1_000_000_000;
        moved < u128::from(least.bytes_per_second) * span.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LEAST: LeastRate = LeastRate { bytes_per_second: 100, window: Duration::from_secs(30) };

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    /// The second at which a client that passes so many bytes a second is found to be too slow, within two minutes.
    fn found(bytes_per_second: usize, is_due: impl Fn(u64) -> bool, least: LeastRate) -> Option<u64> {
        let pace = Pace::default();
        (0..120).find(|second| {
            pace.await_sending(is_due(*second));
            let is_too_slow = pace.is_too_slow(at(*second), least);
            pace.pass(bytes_per_second);
            is_too_slow
        })
    }

    #[test]
    fn a_client_is_too_slow_when_less_than_the_least_rate_passed_in_a_whole_window() {
        assert_eq!(found(99, |_| true, LEAST), Some(30));
        assert_eq!(found(100, |_| true, LEAST), None);
        assert_eq!(found(0, |_| true, LeastRate { bytes_per_second: 0, ..LEAST }), None);
    }

    #[test]
    fn a_client_that_is_waited_for_now_and_then_is_not_measured() {
        assert_eq!(found(0, |_| false, LEAST), None);
        assert_eq!(found(0, |second| second % 20 != 0, LEAST), None);
        assert_eq!(found(0, |second| second >= 40, LEAST), Some(70));
    }

    #[test]
    fn every_window_counts_for_itself() {
        let pace = Pace::default();
        pace.await_taking(true);
        assert!(!pace.is_too_slow(at(0), LEAST));
        pace.pass(1_000_000);
        assert!(!pace.is_too_slow(at(30), LEAST));
        assert!(pace.is_too_slow(at(60), LEAST), "what was fast once is no excuse");
    }
}
