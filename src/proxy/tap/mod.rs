//! Reads the stream of a model server as it passes, and changes, keeps back and delays nothing.
//!
//! What a stream came to is inside it: its status was 200 before the model had computed anything. An error is an event like any other,
//! after it often comes `[DONE]`, and a server that died may close the body as if all were well. So the tap looks for what a complete
//! answer ends with. It also knows when the first token came, and the gaps between tokens.
//!
//! Text is parsed until the first token is found, a handful of events at most. From then on an event costs a search for its end, a look at
//! its first bytes ([`mod@glance`]) and a copy into a ring that keeps the last few, which are parsed once at the end ([`ring`]). That an event
//! has text is known for sure only then, so an event is counted when it leaves the ring.
//!
//! What is not known is never a failure: bare text that calls itself an event stream counts frame by frame, and a stream of unknown
//! events is good at its clean end. A stream in which nothing came at all is a failure.

#[expect(clippy::indexing_slicing, reason = "what a JSON value does not have is null")]
mod event;
mod glance;
mod pace;
#[expect(clippy::indexing_slicing, reason = "places are remainders of the number of events")]
mod ring;
mod scanner;
#[expect(clippy::indexing_slicing, reason = "bounds are those of bytes that memchr found")]
mod split;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use self::{
    event::{Content, Said, Sign},
    glance::{Glance, glance, is_event},
    ring::{Ring, State},
    split::{Framing, Splitter},
};
pub(super) use self::{
    pace::Pace,
    scanner::{Meaning, Scanner},
};
use crate::{
    meter::{FailureKind, Gaps, Verdict},
    time::Moment,
};

/// What reads one response's body.
#[derive(Debug)]
pub struct Tap {
    framing: Framing,
    splitter: Splitter,
    events: Ring,
    beginning: Beginning,
    /// Whether a frame of the open event was waited for, and when the last one came.
    is_awaited: bool,
    frame_at: Moment,
    first_text: Option<Moment>,
    last_text: Moment,
    pace: Pace,
    texts: u64,
    tokens: Option<u64>,
    signs: Signs,
}

/// What the beginning of a stream shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beginning {
    /// Not yet whether it is what it is called.
    Untold,
    Events,
    /// That it is something else: every frame counts as a text.
    Frames,
}

/// What was seen of the answer as a whole.
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    has_data: bool,
    /// Whether the stream is one that shows its end.
    shows_end: bool,
    is_complete: bool,
    /// Whether an answer was broken off; another one to the same prompt may be complete.
    is_broken: bool,
    has_failed: bool,
    is_refused: bool,
    is_done: bool,
}

/// What the client has seen of an answer when an event comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Nothing,
    Something,
}

/// What a frame has brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// A part of the answer.
    Made,
    /// Nothing but signs of life.
    None,
}

impl Tap {
    /// For a response with this status and these headers, if it is a stream that can be read. What is compressed is not decompressed.
    pub fn of(status: u16, headers: &HeaderMap) -> Option<Box<Self>> {
        let framing = framing(status, headers)?;
        Some(Box::new(Self::new(framing)))
    }

    fn new(framing: Framing) -> Self {
        Self {
            framing,
            splitter: Splitter::new(framing),
            events: Ring::default(),
            beginning: match framing {
                Framing::Sse => Beginning::Untold,
                Framing::Lines => Beginning::Events,
            },
            is_awaited: false,
            frame_at: Moment::default(),
            first_text: None,
            last_text: Moment::default(),
            pace: Pace::default(),
            texts: 0,
            tokens: None,
            signs: Signs::default(),
        }
    }

    /// Reads a frame that came at `now`. `was_awaited` says whether the proxy waited for it: what was there already when the client took
    /// what came before tells nothing about the model's pace. Each gap between texts is told once.
    pub fn read(
        &mut self,
        frame: &[u8],
        now: Moment,
        was_awaited: bool,
        gap: impl FnMut(Duration),
    ) -> Progress {
        if frame.is_empty() {
            return Progress::None;
        }
        self.is_awaited |= was_awaited;
        self.frame_at = now;
        match self.beginning {
            Beginning::Frames => {
                let is_awaited = std::mem::take(&mut self.is_awaited);
                self.count(now, is_awaited, gap);
                Progress::Made
            }
            Beginning::Untold | Beginning::Events => self.read_events(frame, now, gap),
        }
    }

    fn read_events(&mut self, mut frame: &[u8], now: Moment, mut gap: impl FnMut(Duration)) -> Progress {
        // Until there is a text, whatever comes is progress.
        let mut progress = if self.first_text.is_none() { Progress::Made } else { Progress::None };
        while !frame.is_empty() {
            let part = self.splitter.next(frame);
            self.events.open().append(part.event);
            if self.beginning == Beginning::Untold {
                match is_event(self.events.open().bytes()) {
                    Some(true) => self.beginning = Beginning::Events,
                    Some(false) => {
                        self.beginning = Beginning::Frames;
                        let is_awaited = std::mem::take(&mut self.is_awaited);
                        self.count(now, is_awaited, gap);
                        return Progress::Made;
                    }
                    None => {}
                }
            }
            frame = part.rest;
            let is_idle = if part.ends { self.end_event(now, &mut gap) } else { self.is_open_idle() };
            if !is_idle {
                progress = Progress::Made;
            }
        }
        progress
    }

    /// Whether nothing, or a comment, has come of the open event.
    fn is_open_idle(&mut self) -> bool {
        matches!(self.events.open().bytes().first(), None | Some(b':' | b'\r' | b'\n'))
    }

    /// The open event has ended. Whether it was no more than a sign of life.
    fn end_event(&mut self, now: Moment, mut gap: impl FnMut(Duration)) -> bool {
        let event = self.events.open();
        if event.bytes().trim_ascii().is_empty() {
            event.clear();
            return true;
        }
        let state = match (glance(self.framing, event.bytes()), self.first_text) {
            (Glance::Idle, _) => {
                event.clear();
                return true;
            }
            (Glance::Silent | Glance::Text | Glance::Suspect, None) => {
                let said = said(self.framing, event.bytes());
                self.take_in(said, now, false, &mut gap);
                State::Read
            }
            (Glance::Silent, Some(_)) => State::Silent,
            (Glance::Text, Some(_)) => State::Text,
            (Glance::Suspect, Some(_)) => self.look_for_error(),
        };
        let is_awaited = std::mem::take(&mut self.is_awaited);
        let event = self.events.open();
        (event.at, event.is_awaited, event.state) = (now, is_awaited, state);
        if let Some((at, is_awaited, State::Text)) = self.events.close() {
            self.count(at, is_awaited, gap);
        }
        false
    }

    fn look_for_error(&mut self) -> State {
        let said = said(self.framing, self.events.open().bytes());
        match said.sign {
            Sign::Failed | Sign::Refused => {
                self.signs.take_in(said, Told::Something);
                State::Read
            }
            Sign::None | Sign::Complete | Sign::Broken | Sign::Done => State::Text,
        }
    }

    fn take_in(&mut self, said: Said, at: Moment, is_awaited: bool, gap: impl FnMut(Duration)) {
        let told = if self.first_text.is_some() { Told::Something } else { Told::Nothing };
        self.signs.take_in(said, told);
        self.tokens = said.tokens.or(self.tokens);
        if matches!(said.content, Content::Text | Content::Unknown) {
            self.count(at, is_awaited, gap);
        }
    }

    fn count(&mut self, at: Moment, is_awaited: bool, mut gap: impl FnMut(Duration)) {
        self.signs.has_data = true;
        self.texts += 1;
        if self.first_text.is_none() {
            self.first_text = Some(at);
        } else if is_awaited && at > self.last_text {
            let time = at.since(self.last_text);
            self.pace.add(time);
            gap(time);
        }
        self.last_text = at;
    }

    /// Whether an event has said that the model failed.
    pub fn has_failed(&self) -> bool {
        self.signs.has_failed
    }

    /// When the first text came.
    pub fn first_text(&self) -> Option<Moment> {
        self.first_text
    }

    /// How far apart its tokens come.
    pub(super) fn pace(&mut self) -> &mut Pace {
        &mut self.pace
    }

    /// How its gaps were, once that was told.
    pub(super) fn gaps(&self) -> Option<Gaps> {
        self.pace.told()
    }

    /// Nothing more will come; told twice it changes nothing. What is left to be told of gaps is told.
    pub fn finish(&mut self, mut gap: impl FnMut(Duration)) {
        let mut open = std::mem::take(self.events.open());
        (open.at, open.is_awaited) = (self.frame_at, self.is_awaited);
        let mut left: Vec<_> = std::iter::from_fn(|| self.events.take_oldest()).collect();
        // Not every server ends its last event.
        if self.beginning != Beginning::Frames {
            left.push(open);
        }
        for event in left {
            if event.state != State::Read && !event.bytes().trim_ascii().is_empty() {
                let said = said(self.framing, event.bytes());
                self.take_in(said, event.at, event.is_awaited, &mut gap);
            }
        }
    }

    /// How many events, or frames, had text.
    pub fn texts(&self) -> u64 {
        self.texts
    }

    /// How many tokens came, as far as its server or its events tell.
    pub fn tokens(&self) -> u64 {
        self.tokens.unwrap_or(self.texts)
    }

    /// What an answer of this verdict by its status comes to, now that its stream has ended cleanly.
    pub(super) fn judge(&self, by_status: Verdict) -> Verdict {
        if by_status == Verdict::Success { self.verdict() } else { by_status }
    }

    /// What a finished stream says of the fleet, if it ended cleanly.
    pub fn verdict(&self) -> Verdict {
        let Signs { has_data, shows_end, is_complete, is_broken, has_failed, is_refused, is_done } =
            self.signs;
        let is_done_early = is_done && (shows_end || self.first_text.is_none());
        if has_failed || (is_broken && !is_complete) {
            Verdict::Failure(FailureKind::InBand)
        } else if is_refused {
            Verdict::ClientError
        } else if is_complete {
            Verdict::Success
        } else if is_done_early || !has_data {
            Verdict::Failure(FailureKind::InBand)
        } else if shows_end && !is_done {
            Verdict::Failure(FailureKind::Truncated)
        } else {
            Verdict::Success
        }
    }
}

impl Signs {
    /// An error before the first text may be the client's; once the model has begun it is its own.
    fn take_in(&mut self, said: Said, told: Told) {
        let is_nothing = said.content == Content::Nothing && said.sign == Sign::None && !said.shows_end;
        self.has_data |= !is_nothing;
        self.shows_end |= said.shows_end;
        match (said.sign, told) {
            (Sign::None, _) => {}
            (Sign::Complete, _) => self.is_complete = true,
            (Sign::Broken, _) => self.is_broken = true,
            (Sign::Refused, Told::Nothing) => self.is_refused = true,
            (Sign::Failed, _) | (Sign::Refused, Told::Something) => self.has_failed = true,
            (Sign::Done, _) => self.is_done = true,
        }
    }
}

fn said(framing: Framing, event: &[u8]) -> Said {
    match framing {
        Framing::Sse => Said::in_event(event),
        Framing::Lines => Said::in_line(event),
    }
}

/// How a response's events follow one another, if it is a stream that can be read.
fn framing(status: u16, headers: &HeaderMap) -> Option<Framing> {
    let kind = headers.get(CONTENT_TYPE)?.as_bytes();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is = |name: &[u8]| kind.eq_ignore_ascii_case(name);
    let framing = if is(b"text/event-stream") {
        Framing::Sse
    } else if is(b"application/x-ndjson") {
        Framing::Lines
    } else {
        return None;
    };
    ((200..300).contains(&status) && !headers.contains_key(CONTENT_ENCODING)).then_some(framing)
}

/// Whether a response is a stream of events that can be read.
pub(super) fn is_event_stream(status: u16, headers: &HeaderMap) -> bool {
    framing(status, headers) == Some(Framing::Sse)
}
