//! The deadline that a gRPC caller sets for its call.
//!
//! `grpc-timeout` says how long a call may take (gRPC over HTTP/2, "Requests":
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). The caller gives up at that moment by itself, a little before the
//! proxy's clock says so or a little after, and the proxy does too: whoever is first, a call that its instance let run out of time is
//! that instance's failure. A caller that had stopped sending or reading when its time was over blames nobody.
//!
//! No call has a timer. Its pulse is among the worker's deadlines, in the order of time, and the worker looks for what is due every
//! [`LOOK`](super::pulse::LOOK) while there are any: a deadline is noticed up to that much late and never early. Calls without one cost nothing.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use http::{HeaderMap, HeaderValue};
use tokio::sync::Notify;

use super::{caller::Caller, error::Failure, pulse::Pulse, worker::Worker};
use crate::time::Moment;

/// The header's name.
const TIMEOUT: &str = "grpc-timeout";

/// How much of a call's time may be gone before its instance is told of less. The instance learns of the deadline in any case, when the
/// proxy resets the stream, so a new header is only worth its bytes where the instance would plan with time that is not there.
const TOLD_PARTS: u32 = 100;

/// A call that comes with less is over already: some callers send one nanosecond for that.
const SHORTEST: Duration = Duration::from_millis(1);

/// What the clocks of caller and proxy may differ by at a deadline: gRPC's C core rounds a timeout up by up to a hundredth, and both are
/// woken some milliseconds late.
const MARGIN_PARTS: u32 = 50;
const MARGIN: Duration = Duration::from_millis(10);

/// The deadline of one call. Among the worker's deadlines until dropped.
#[derive(Debug)]
pub(super) struct Deadline {
    timeout: Duration,
    key: Key,
    worker: Rc<Worker>,
}

/// The moment, and a number that tells calls of the same moment apart.
type Key = (Moment, u64);

/// A moment at which a request's task is woken. Among the worker's deadlines until dropped.
#[derive(Debug)]
pub(super) struct Alarm {
    key: Key,
    caller: Rc<Caller>,
}

/// What comes at a moment.
#[derive(Debug)]
enum Due {
    /// The end of a call.
    End(Rc<Pulse>),
    /// An alarm.
    Alarm(Rc<Pulse>),
}

/// What one worker's open requests have in front of them: the deadlines of calls, and alarms.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    open: RefCell<BTreeMap<Key, Due>>,
    begun: Cell<u64>,
    seen: Cell<u64>,
    is_watched: Cell<bool>,
    first: Notify,
}

impl Deadline {
    /// Begins a call of `timeout` that came `now`, unless it is over already.
    pub(super) fn begin(
        worker: &Rc<Worker>,
        pulse: &Rc<Pulse>,
        timeout: Duration,
        now: Moment,
    ) -> Result<Rc<Self>, Failure> {
        if timeout < SHORTEST {
            return Err(Failure::Deadline);
        }
        let key = worker.deadlines.insert(now.after(timeout), Due::End(Rc::clone(pulse)));
        Ok(Rc::new(Self { timeout, key, worker: Rc::clone(worker) }))
    }

    /// Whether a call that ends now, by whatever side, has run out of its time.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        let margin = (self.timeout / MARGIN_PARTS + MARGIN).min(self.timeout / 2);
        now.after(margin) >= self.key.0
    }

    /// Tells the instance of a try that begins now how much time is left, where the caller's own header would say too much.
    pub(super) fn tell(&self, headers: &mut HeaderMap, now: Moment) {
        let left = self.key.0.since(now);
        if self.timeout.saturating_sub(left) > self.timeout / TOLD_PARTS {
            headers.insert(TIMEOUT, write(left));
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.worker.deadlines.open.borrow_mut().remove(&self.key);
    }
}

impl Alarm {
    /// Wakes the caller's task at this moment.
    pub(super) fn set(caller: &Rc<Caller>, at: Moment) -> Self {
        caller.pulse.silence();
        let key = caller.worker().deadlines.insert(at, Due::Alarm(Rc::clone(&caller.pulse)));
        Self { key, caller: Rc::clone(caller) }
    }

    /// Whether the moment has come.
    pub(super) fn has_rung(&self) -> bool {
        self.caller.pulse.has_rung()
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.caller.worker().deadlines.open.borrow_mut().remove(&self.key);
    }
}

impl Deadlines {
    fn insert(&self, at: Moment, due: Due) -> Key {
        let number = self.begun.get();
        self.begun.set(number.wrapping_add(1));
        self.open.borrow_mut().insert((at, number), due);
        if !self.is_watched.replace(true) {
            self.first.notify_one();
        }
        (at, number)
    }

    /// Whether the worker has to look.
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.get()
    }

    /// Waits for the call that makes looking necessary.
    pub(super) async fn begun(&self) {
        self.first.notified().await;
    }

    /// Expires the calls whose time is over, and rings the alarms.
    pub(super) fn look(&self, now: Moment) {
        let mut open = self.open.borrow_mut();
        while let Some(first) = open.first_entry()
            && first.key().0 <= now
        {
            match first.remove() {
                Due::End(pulse) => pulse.expire(),
                Due::Alarm(pulse) => pulse.ring(),
            }
        }
    }

    /// Ends the looking if no call was begun since the last time this was asked and none is open. Between one call and the next of a
    /// client that is at work, it goes on.
    pub(super) fn rest(&self) {
        if self.seen.replace(self.begun.get()) == self.begun.get() && self.open.borrow().is_empty() {
            self.is_watched.set(false);
        }
    }
}

/// How long a call may take by its headers; `None` when they set no limit. What cannot be read is refused as gRPC's servers do: a
/// limit was meant.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let mut values = headers.get_all(TIMEOUT).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => parse(value.as_bytes()).map(Some).ok_or(Failure::BadTimeout),
        (Some(_), Some(_)) => Err(Failure::BadTimeout),
    }
}

/// At most eight digits and a unit.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// In the finest unit that eight digits allow, rounded down and never zero, which is no timeout.
fn write(left: Duration) -> HeaderValue {
    const LIMIT: u128 = 100_000_000;
    let (number, unit) = [(left.as_micros(), 'u'), (left.as_millis(), 'm')]
        .into_iter()
        .find(|(number, _)| *number < LIMIT)
        .unwrap_or((u128::from(left.as_secs()).min(LIMIT - 1), 'S'));
    HeaderValue::try_from(format!("{}{unit}", number.max(1))).expect("digits and a letter are visible ASCII")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_timeout_has_digits_and_a_unit() {
        for (text, nanos) in [
            ("1H", 3_600_000_000_000),
            ("2M", 120_000_000_000),
            ("3S", 3_000_000_000),
            ("99999999m", 99_999_999_000_000),
            ("5u", 5_000),
            ("00000006n", 6),
            ("0S", 0),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(Duration::from_nanos(nanos)), "{text}");
        }
        assert_eq!(parse(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for text in
            ["", "S", "1", "1s", "1h", "1.5S", "-1S", "+1S", "1 S", " 1S", "123456789S", "1mS", "\u{661}S"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_call_has_one_timeout_or_none() {
        let mut headers = HeaderMap::new();
        assert!(matches!(timeout(&headers), Ok(None)));
        headers.append(TIMEOUT, HeaderValue::from_static("1S"));
        assert!(matches!(timeout(&headers), Ok(Some(span)) if span == Duration::from_secs(1)));
        headers.append(TIMEOUT, HeaderValue::from_static("2S"));
        assert!(matches!(timeout(&headers), Err(Failure::BadTimeout)));
    }

    #[test]
    fn what_is_due_expires_and_nothing_before() {
        let (deadlines, [early, late]) = (Deadlines::default(), [(); 2].map(|()| Rc::<Pulse>::default()));
        deadlines.insert(at(100), Due::End(Rc::clone(&early)));
        deadlines.insert(at(200), Due::End(Rc::clone(&late)));
        deadlines.look(at(99));
        assert!(!early.is_expired());
        deadlines.look(at(100));
        assert!(early.is_expired() && early.is_late() && !late.is_expired());
        deadlines.look(at(999));
        assert!(late.is_expired());
    }

    #[test]
    fn looking_ends_when_no_call_was_begun_between_two_rests() {
        let (deadlines, pulse) = (Deadlines::default(), Rc::<Pulse>::default());
        assert!(!deadlines.is_watched());
        let key = deadlines.insert(at(100), Due::End(pulse));
        deadlines.rest();
        deadlines.rest();
        assert!(deadlines.is_watched(), "a call is open");
        deadlines.open.borrow_mut().remove(&key);
        deadlines.insert(at(100), Due::End(Rc::default()));
        deadlines.look(at(100));
        deadlines.rest();
        assert!(deadlines.is_watched(), "a call was begun since");
        deadlines.rest();
        assert!(!deadlines.is_watched());
    }

    proptest! {
        #[test]
        fn what_is_left_is_told_in_the_same_format_and_never_too_large(nanos in 1..90_000_000_000_000_000_u64) {
            let left = Duration::from_nanos(nanos);
            let told = parse(write(left).as_bytes()).unwrap();
            prop_assert!(told <= left.max(Duration::from_micros(1)));
            prop_assert!(left - told.min(left) <= (left / 100).max(Duration::from_micros(1)));
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
