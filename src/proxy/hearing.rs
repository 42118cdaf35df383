//! What is heard of one answer as it passes: its tokens, told to the meters and to the guards that watch green's streams.

use std::time::Duration;

use super::{
    grpc_messages::Messages,
    tap::{Pace, Progress, Tap},
    tokens::{Kind, WatchedStream},
};
use crate::{
    clock,
    meter::{Gaps, Shard, Verdict},
    time::Moment,
};

/// What is heard of one answer.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Only of a response that is a stream, or may be one.
    reader: Option<Reader>,
    /// Only of a green under guards on tokens.
    watched: Option<WatchedStream>,
    /// Whether the response's body was asked for more than has come.
    awaits_more: bool,
    /// The longest time between two of its tokens.
    worst_gap: Option<Duration>,
}

/// What reads an answer as a stream.
#[derive(Debug)]
pub(super) enum Reader {
    /// Its tokens are in events.
    Events(Box<Tap>),
    /// They are the messages of a gRPC call.
    Messages(Box<Messages>),
}

/// Who must act for an answer to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// Its instance.
    Instance,
    /// Its instance, or the client with its next message.
    Untold,
}

/// Where tokens are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted<'a> {
    /// `None` of an answer that counts for nobody.
    pub(super) shard: Option<&'a Shard>,
    /// When the request was dispatched.
    pub(super) since: Moment,
    /// How much of its body has gone to its instance.
    pub(super) sent_bytes: u64,
}

impl Hearing {
    /// Of an answer that guards on tokens watch, or do not.
    pub(super) fn of(watched: Option<WatchedStream>) -> Self {
        Self { watched, ..Self::default() }
    }

    /// What watches the request as a stream.
    pub(super) fn watched(&self) -> Option<&WatchedStream> {
        self.watched.as_ref()
    }

    /// The head has come, and with it what reads the body, if anything does.
    pub(super) fn answered(&mut self, reader: Option<Reader>, now: Moment) {
        if let Some(watched) = &self.watched {
            watched.answered(reader.as_ref().map_or(Kind::Whole, Reader::kind), now);
        }
        self.reader = reader;
    }

    /// Another answer takes this one's place, of which nothing but the head has come.
    pub(super) fn adopt(&mut self, other: &mut Self, now: Moment) {
        self.answered(other.reader.take(), now);
    }

    /// Nothing of the answer is heard any more; another one may come.
    pub(super) fn silence(&mut self) {
        self.reader = None;
    }

    /// What comes now is no answer to a request.
    pub(super) fn forget(&mut self) {
        if let Some(watched) = &self.watched {
            watched.forget();
        }
    }

    /// The client takes more than has come.
    pub(super) fn await_more(&mut self, turn: Turn) {
        self.awaits_more = true;
        if let (Some(watched), Turn::Instance) = (&self.watched, turn) {
            watched.await_more();
        }
    }

    /// Whether the answer is a stream of events.
    pub(super) fn reads_events(&self) -> bool {
        matches!(self.reader, Some(Reader::Events(_)))
    }

    /// Whether what has come of the answer shows that it is a stream.
    pub(super) fn hears_stream(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.kind() == Kind::Stream)
    }

    /// The longest time between two tokens, of an answer that counts.
    pub(super) fn worst_gap(&self) -> Option<Duration> {
        self.worst_gap
    }

    /// How far apart its tokens came, once that has been counted.
    pub(super) fn gaps(&self) -> Option<Gaps> {
        match self.reader.as_ref()? {
            Reader::Events(tap) => tap.gaps(),
            Reader::Messages(messages) => messages.gaps(),
        }
    }

    /// Whether anything is heard, or waited for.
    pub(super) fn is_on(&self) -> bool {
        self.reader.is_some() || self.watched.is_some()
    }

    /// Whether it does.
    pub(super) fn awaits_more(&self) -> bool {
        self.awaits_more
    }

    /// A part of the body passes. Whether it was waited for.
    pub(super) fn come(&mut self) -> bool {
        std::mem::take(&mut self.awaits_more)
    }

    /// Reads that part.
    pub(super) fn pass(&mut self, bytes: &[u8], was_awaited: bool, counted: Counted<'_>) -> Progress {
        let Self { reader: Some(reader), watched, awaits_more: _, worst_gap } = self else {
            return Progress::Made;
        };
        let was_silent = reader.first_token().is_none();
        let gap = |gap| counted.gap(gap, watched.as_ref(), worst_gap);
        let heard = match reader {
            Reader::Events(tap) => tap.read(bytes, clock::now(), was_awaited, gap),
            Reader::Messages(messages) => {
                messages.read(bytes, clock::now, was_awaited, counted.sent_bytes, gap);
                Progress::Made
            }
        };
        if let (Progress::Made, Some(watched)) = (heard, &watched) {
            watched.progress();
        }
        self.count_first_and_pace(was_silent, counted);
        heard
    }

    /// The body has come to its end, clean or not; told twice it changes nothing.
    pub(super) fn finish(&mut self, counted: Counted<'_>) {
        let Self { reader: Some(Reader::Events(tap)), watched, awaits_more: _, worst_gap } = self else {
            return;
        };
        let was_silent = tap.first_text().is_none();
        tap.finish(|gap| counted.gap(gap, watched.as_ref(), worst_gap));
        self.count_first_and_pace(was_silent, counted);
    }

    fn count_first_and_pace(&mut self, was_silent: bool, counted: Counted<'_>) {
        let Counted { shard: Some(shard), since, sent_bytes: _ } = counted else { return };
        let Some(reader) = &mut self.reader else { return };
        if was_silent && let Some(at) = reader.first_token() {
            shard.first_token(at.since(since));
            if let Some(watched) = &self.watched {
                watched.first_token(at);
            }
        }
        if let Some(gaps) = reader.pace().of_enough() {
            shard.paced(gaps.mean);
        }
    }

    /// The request ends with this verdict. Told before it is settled, so that nobody sees a settled request without it.
    pub(super) fn end(&mut self, verdict: Verdict, now: Moment, counted: Counted<'_>) {
        // What broke says nothing of the pace that it would have kept.
        if let (Verdict::Success, Some(reader), Some(shard)) = (verdict, &mut self.reader, counted.shard)
            && let Some(gaps) = reader.pace().take()
        {
            shard.paced(gaps.mean);
        }
        if let Some(watched) = self.watched.take() {
            watched.end(verdict, now);
        }
    }

    /// Whether an event has said that the model failed.
    pub(super) fn has_failed(&self) -> bool {
        self.tap().is_some_and(Tap::has_failed)
    }

    /// What an answer of this verdict by its status comes to, now that it has ended cleanly.
    pub(super) fn judge(&self, by_status: Verdict) -> Verdict {
        self.tap().map_or(by_status, |tap| tap.judge(by_status))
    }

    fn tap(&self) -> Option<&Tap> {
        match &self.reader {
            Some(Reader::Events(tap)) => Some(tap),
            Some(Reader::Messages(_)) | None => None,
        }
    }

    /// When its first token came.
    pub(super) fn first_token(&self) -> Option<Moment> {
        self.reader.as_ref()?.first_token()
    }

    /// How many tokens came, as far as its server, its events or its messages tell.
    pub(super) fn tokens(&self) -> u64 {
        match &self.reader {
            Some(Reader::Events(tap)) => tap.tokens(),
            Some(Reader::Messages(messages)) => messages.count(),
            None => 0,
        }
    }
}

impl Reader {
    fn kind(&self) -> Kind {
        match self {
            Self::Messages(messages) if !messages.is_stream() => Kind::Untold,
            Self::Events(_) | Self::Messages(_) => Kind::Stream,
        }
    }

    fn first_token(&self) -> Option<Moment> {
        match self {
            Self::Events(tap) => tap.first_text(),
            Self::Messages(messages) => messages.first(),
        }
    }

    fn pace(&mut self) -> &mut Pace {
        match self {
            Self::Events(tap) => tap.pace(),
            Self::Messages(messages) => messages.pace(),
        }
    }
}

impl Counted<'_> {
    fn gap(self, gap: Duration, watched: Option<&WatchedStream>, worst: &mut Option<Duration>) {
        let Some(shard) = self.shard else { return };
        shard.token_gap(gap);
        *worst = (*worst).max(Some(gap));
        if let Some(watched) = watched {
            watched.gap(gap);
        }
    }
}
