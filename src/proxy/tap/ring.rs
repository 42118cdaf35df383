//! The last events of a stream, whose end is told by them.

use crate::time::Moment;

/// What tells the end, a finish reason, a count of tokens and `[DONE]`, is within the last four events of every known server.
const KEPT: usize = 4;

/// Of a longer event only this much is kept. Texts come in parts of some hundred bytes; what is longer repeats the whole answer.
const EVENT_BYTES: usize = 16 * 1024;

/// The open event and the last ones before it. Its memory is used again, and bounded: [`KEPT`] + 1 times [`EVENT_BYTES`].
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: [Event; KEPT + 1],
    open: usize,
    kept: usize,
}

/// One event.
#[derive(Debug, Default)]
pub(super) struct Event {
    bytes: Vec<u8>,
    /// When the frame that it ended in came.
    pub(super) at: Moment,
    /// Whether the proxy waited for that frame.
    pub(super) is_awaited: bool,
    pub(super) state: State,
}

/// What is known of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum State {
    /// That it is text, most likely.
    #[default]
    Text,
    /// That it is none.
    Silent,
    /// Everything: it has been counted.
    Read,
}

impl Ring {
    /// The event that has not ended.
    pub(super) fn open(&mut self) -> &mut Event {
        &mut self.events[self.open]
    }

    /// Ends the open event and begins another in the place of the oldest, which is given as it was if it was kept.
    pub(super) fn close(&mut self) -> Option<(Moment, bool, State)> {
        self.open = (self.open + 1) % self.events.len();
        self.kept += 1;
        let oldest = &mut self.events[self.open];
        let told = (oldest.at, oldest.is_awaited, oldest.state);
        oldest.clear();
        (self.kept > KEPT).then(|| {
            self.kept = KEPT;
            told
        })
    }

    /// Takes out the oldest event that is kept.
    pub(super) fn take_oldest(&mut self) -> Option<Event> {
        let place = (self.open + self.events.len() - self.kept) % self.events.len();
        self.kept = self.kept.checked_sub(1)?;
        Some(std::mem::take(&mut self.events[place]))
    }
}

impl Event {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn append(&mut self, part: &[u8]) {
        let room = EVENT_BYTES - self.bytes.len();
        self.bytes.extend_from_slice(part.get(..room).unwrap_or(part));
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.state = State::Text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_four_events_are_kept_in_order_and_the_fifth_last_is_given_back() {
        let mut ring = Ring::default();
        let mut given = Vec::new();
        for number in 0_u8..7 {
            let open = ring.open();
            open.append(&[number]);
            open.at = Moment::from_nanos(number.into());
            given.extend(ring.close().map(|(at, ..)| at.as_nanos()));
        }
        assert_eq!(given, [0, 1, 2]);
        let kept: Vec<u8> = std::iter::from_fn(|| ring.take_oldest()).map(|event| event.bytes()[0]).collect();
        assert_eq!(kept, [3, 4, 5, 6]);
    }

    #[test]
    fn no_event_takes_more_than_its_bound() {
        let mut event = Event::default();
        for _ in 0..3 {
            event.append(&[7; EVENT_BYTES / 2 + 1]);
        }
        assert_eq!(event.bytes().len(), EVENT_BYTES);
    }
}
