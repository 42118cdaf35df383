//! The messages of a gRPC stream as its tokens: the first of them, the gaps between them, how many there are.
//!
//! Nothing on the wire says whether a call is a stream. A method that is known to be one is ([`Form`]), and so is one of whose calls one had a
//! second message before ([`StreamingMethods`]); of any other, a call whose second message has come, and one with a single message is taken
//! for a unary call, which has no tokens. A message counts when its last byte is there, since no client can use it before; whether it is
//! compressed does not matter.
//!
//! A conversation holds many requests, and what passes between an answer and the next request is the client's time. So a gap counts only
//! if the client has sent nothing in between.

use std::{cell::RefCell, collections::HashSet, time::Duration};

use super::{grpc_framing::Framing, tap::Pace};
use crate::{meter::Gaps, time::Moment};

/// Methods of an endpoint that a worker remembers as streams. Services have some tens of methods; beyond this, a server that streams under any
/// path would make the memory grow with what clients ask for.
const METHODS: usize = 256;

/// The longest path that is remembered.
const PATH_BYTES: usize = 256;

/// What is known of a call by its method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Its messages are no tokens.
    Unary,
    /// They are, and each message of the client's asks for one.
    Stream,
    /// They are, as calls of the method have shown before. What the client's messages ask for is not known.
    Seen,
    /// Nothing: its second message will tell.
    Untold,
}

/// The methods of one endpoint of which a call had a second message, on one worker. That a method never streams cannot be known: a stream
/// may have a single message. What a call counts as is settled by calls before it, so no call is chosen by what it comes to.
#[derive(Debug, Default)]
pub(super) struct StreamingMethods(RefCell<HashSet<Box<str>>>);

/// What reads one call's answer.
#[derive(Debug)]
pub(super) struct Messages {
    framing: Framing,
    is_stream: bool,
    /// Whether a frame of the open message was waited for.
    is_awaited: bool,
    count: u64,
    first: Moment,
    last: Moment,
    /// What the client had sent when the last message came.
    sent_bytes: u64,
    pace: Pace,
}

impl Form {
    /// By a call's path. Of the Open Inference Protocol's methods one streams; gRPC's own services, such as those of health and
    /// reflection, have no tokens.
    pub(super) fn of(path: &str) -> Self {
        match path.strip_prefix("/inference.GRPCInferenceService/") {
            Some("ModelStreamInfer") => Self::Stream,
            Some(_) => Self::Unary,
            None if path.starts_with("/grpc.") => Self::Unary,
            None => Self::Untold,
        }
    }

    /// What reads an answer of this form, if it may have tokens.
    pub(super) fn messages(self) -> Option<Box<Messages>> {
        let is_stream = match self {
            Self::Unary => return None,
            Self::Stream | Self::Seen => true,
            Self::Untold => false,
        };
        Some(Box::new(Messages {
            framing: Framing::default(),
            is_stream,
            is_awaited: false,
            count: 0,
            first: Moment::default(),
            last: Moment::default(),
            sent_bytes: 0,
            pace: Pace::default(),
        }))
    }
}

impl StreamingMethods {
    /// What is known of a call of this path, with what was seen.
    pub(super) fn form(&self, path: &str, by_itself: Form) -> Form {
        match by_itself {
            Form::Untold if self.0.borrow().contains(path) => Form::Seen,
            Form::Unary | Form::Stream | Form::Seen | Form::Untold => by_itself,
        }
    }

    /// A call of this path has had a second message.
    pub(super) fn see(&self, path: &str) {
        let mut methods = self.0.borrow_mut();
        if methods.len() < METHODS && path.len() <= PATH_BYTES && !methods.contains(path) {
            methods.insert(path.into());
        }
    }
}

impl Messages {
    /// Reads a frame. `was_awaited` says whether the proxy waited for it, and `sent_bytes` what the client has sent so far. Messages that
    /// come together are one token in time, as a client sees them.
    pub(super) fn read(
        &mut self,
        frame: &[u8],
        now: impl FnOnce() -> Moment,
        was_awaited: bool,
        sent_bytes: u64,
        mut gap: impl FnMut(Duration),
    ) {
        self.is_awaited |= was_awaited;
        let ends = self.framing.ends_in(frame);
        if ends == 0 {
            return;
        }
        let now = now();
        let is_awaited = std::mem::take(&mut self.is_awaited);
        if self.count == 0 {
            self.first = now;
        } else if is_awaited && sent_bytes == self.sent_bytes && now > self.last {
            let time = now.since(self.last);
            self.pace.add(time);
            gap(time);
        }
        self.count += ends;
        self.is_stream |= self.count > 1;
        (self.last, self.sent_bytes) = (now, sent_bytes);
    }

    /// Whether the call is known to be a stream.
    pub(super) fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// When the first message of a stream came.
    pub(super) fn first(&self) -> Option<Moment> {
        (self.is_stream && self.count > 0).then_some(self.first)
    }

    /// How many messages a stream has had.
    pub(super) fn count(&self) -> u64 {
        if self.is_stream { self.count } else { 0 }
    }

    /// How its gaps were, once that was told.
    pub(super) fn gaps(&self) -> Option<Gaps> {
        self.pace.told()
    }

    /// How far apart they come.
    pub(super) fn pace(&mut self) -> &mut Pace {
        &mut self.pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = &[0, 0, 0, 0, 2, 7, 7];
    const COMPRESSED: &[u8] = &[1, 0, 0, 0, 1, 9];

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    /// Frames with their moments and with what the client had sent; the gaps in milliseconds.
    fn read(messages: &mut Messages, frames: &[(u64, &[u8], u64)]) -> Vec<u128> {
        let mut gaps = Vec::new();
        for (millis, frame, sent) in frames {
            messages.read(frame, || at(*millis), true, *sent, |gap| gaps.push(gap.as_millis()));
        }
        gaps
    }

    #[test]
    fn a_call_of_an_unknown_method_is_a_stream_from_its_second_message_on() {
        let mut messages = Form::of("/my.Model/Generate").messages().unwrap();
        assert!(read(&mut messages, &[(10, MESSAGE, 5)]).is_empty());
        assert_eq!((messages.is_stream(), messages.first(), messages.count()), (false, None, 0));
        assert_eq!(read(&mut messages, &[(30, COMPRESSED, 5)]), [20]);
        assert_eq!((messages.first(), messages.count()), (Some(at(10)), 2));
    }

    #[test]
    fn a_method_is_known_as_a_stream_once_a_call_of_it_was_one_and_few_are_remembered() {
        let methods = StreamingMethods::default();
        let form = |path: &str| methods.form(path, Form::of(path));
        assert_eq!(form("/my.Model/Generate"), Form::Untold);
        methods.see("/my.Model/Generate");
        methods.see(&format!("/{}", "m".repeat(PATH_BYTES)));
        (0..2 * METHODS).for_each(|number| methods.see(&format!("/{number}")));
        assert_eq!((form("/my.Model/Generate"), form("/my.Model/Predict")), (Form::Seen, Form::Untold));
        assert_eq!(form("/grpc.health.v1.Health/Watch"), Form::Unary);
        assert_eq!(methods.0.borrow().len(), METHODS);
    }

    #[test]
    fn tritons_streams_are_known_by_their_method_and_other_methods_of_its_protocol_cost_nothing() {
        let mut messages = Form::of("/inference.GRPCInferenceService/ModelStreamInfer").messages().unwrap();
        assert!(read(&mut messages, &[(10, MESSAGE, 5)]).is_empty());
        assert_eq!((messages.first(), messages.count()), (Some(at(10)), 1));
        for path in ["/inference.GRPCInferenceService/ModelInfer", "/grpc.health.v1.Health/Watch"] {
            assert!(Form::of(path).messages().is_none(), "{path}");
        }
    }

    #[test]
    fn a_message_counts_with_its_last_byte_and_several_at_once_are_one_in_time() {
        let mut messages = Form::Stream.messages().unwrap();
        let (beginning, end) = MESSAGE.split_at(3);
        let both = [end, MESSAGE].concat();
        assert_eq!(read(&mut messages, &[(5, beginning, 1), (10, &both, 1), (50, MESSAGE, 1)]), [40]);
        assert_eq!((messages.first(), messages.count()), (Some(at(10)), 3));
    }

    #[test]
    fn the_time_until_the_clients_next_request_is_no_gap_and_neither_is_what_was_there_already() {
        let mut messages = Form::Stream.messages().unwrap();
        let frames = [(10, MESSAGE, 1), (20, MESSAGE, 1), (9_000, MESSAGE, 2), (9_020, MESSAGE, 2)];
        assert_eq!(read(&mut messages, &frames), [10, 20]);
        messages.read(MESSAGE, || at(9_900), false, 2, |gap| panic!("{gap:?}"));
    }
}
