//! Green's streams under guards on tokens: what of them was too long, counted the moment it is known.
//!
//! A verdict falls once for each stream and bound. A first token is late the moment its bound passes, not when it comes: a green that hangs
//! sends none. Before the answer's head nobody knows whether there will be a stream, so a request that has waited for so long is asked then
//! whether it wants one ([`StreamWish`]); where its body says so and is not kept any more, the verdict waits for the head. A stream that
//! ends without a token is late. Of gaps a stream has the share that was too long, at its end or after [`JUDGED_GAPS`]; one that says
//! nothing for as long as a stall takes ([`TokenBound::stall`]) is too long in all.
//!
//! What is no stream leaves the count, and so does a stream whose client goes before the verdict, or one that fails amid its tokens: that
//! is the error rate's business.
//!
//! Costs a request of green a small allocation and a place in a queue, under a shift with such guards; nothing otherwise.

#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, header::ACCEPT};

use super::{
    grpc_messages::Form,
    pulse::SWEEP,
    upload::{Progress, RequestBody},
};
use crate::{
    clock,
    meter::{
        FailureKind, FleetMeters, JUDGED_GAPS, MAX_TOKEN_BOUNDS, Shard, Stamp, TokenBound, Verdict,
        WHOLE_STREAM, WatchPoint,
    },
    route::StreamWish,
    time::Moment,
};

/// One worker's streams of one shift's green, or of one of its variants.
#[derive(Debug)]
pub(super) struct WatchedStreams {
    watch: Arc<WatchPoint>,
    green: Arc<FleetMeters>,
    worker: usize,
    /// For each bound on the first token its index, and the requests in the order in which they were dealt, those that have passed it gone.
    first_tokens: RefCell<Vec<(usize, VecDeque<Rc<Stream>>)>>,
    /// Streams whose tokens come, while there is a bound on gaps, and when they were looked at last.
    flowing: RefCell<Vec<Rc<Stream>>>,
    looked_at: Cell<Moment>,
}

/// One request among them. Whoever holds it tells what happens to it.
#[derive(Debug)]
pub(super) struct WatchedStream {
    all: Rc<WatchedStreams>,
    stream: Rc<Stream>,
}

#[derive(Debug)]
struct Stream {
    dealt_at: Moment,
    stamp: Stamp,
    /// What asks for a stream, until the head has come.
    wish: RefCell<Option<(StreamWish, Weak<RequestBody>)>>,
    phase: Cell<Phase>,
    /// A bit for each bound on which the verdict has fallen.
    settled: Cell<u8>,
    gaps: Cell<u32>,
    long: Cell<[u16; MAX_TOKEN_BOUNDS]>,
    /// Since when the instance is waited for, while it is.
    awaited_since: Cell<Option<Moment>>,
}

const _: () = assert!(MAX_TOKEN_BOUNDS <= 8, "each bound has a bit");
const _: () = assert!(JUDGED_GAPS <= u16::MAX as u32, "long gaps are counted in 16 bits");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// No head has come.
    Unanswered,
    /// It is a stream, without a token so far.
    Awaited,
    /// Its tokens come.
    Flowing,
    /// It is no stream, or has ended.
    Over,
}

/// What an answer is, as its head tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Tokens come one after the other.
    Stream,
    /// Perhaps: the next token will tell.
    Untold,
    /// Something else.
    Whole,
}

impl WatchedStreams {
    /// Those of the green with these meters, among the worker's or as new ones; `None` when no guard on tokens watches it.
    pub(super) fn of(
        watch: &Arc<WatchPoint>,
        green: &Arc<FleetMeters>,
        worker: usize,
        known: &mut Vec<Rc<Self>>,
    ) -> Option<Rc<Self>> {
        if watch.token_bounds().is_empty() {
            return None;
        }
        let is_it =
            |streams: &&Rc<Self>| Arc::ptr_eq(&streams.watch, watch) && Arc::ptr_eq(&streams.green, green);
        if let Some(found) = known.iter().find(is_it) {
            return Some(Rc::clone(found));
        }
        let new = Rc::new(Self::new(Arc::clone(watch), Arc::clone(green), worker));
        known.push(Rc::clone(&new));
        Some(new)
    }

    fn new(watch: Arc<WatchPoint>, green: Arc<FleetMeters>, worker: usize) -> Self {
        let is_first = |bound: &TokenBound| matches!(bound, TokenBound::FirstToken { .. });
        let bounds = watch.token_bounds().iter().enumerate();
        let first_tokens =
            bounds.filter(|(_, bound)| is_first(bound)).map(|(index, _)| (index, VecDeque::new()));
        let first_tokens = RefCell::new(first_tokens.collect());
        Self { first_tokens, watch, green, worker, flowing: RefCell::default(), looked_at: Cell::default() }
    }

    /// A request is dealt now.
    pub(super) fn begin(self: &Rc<Self>, stamp: Stamp, now: Moment) -> WatchedStream {
        let stream = Rc::new(Stream {
            dealt_at: now,
            stamp,
            wish: RefCell::new(None),
            phase: Cell::new(Phase::Unanswered),
            settled: Cell::new(0),
            gaps: Cell::new(0),
            long: Cell::new([0; MAX_TOKEN_BOUNDS]),
            awaited_since: Cell::new(None),
        });
        for (_, queue) in &mut *self.first_tokens.borrow_mut() {
            queue.push_back(Rc::clone(&stream));
        }
        WatchedStream { all: Rc::clone(self), stream }
    }

    /// Counts what has passed a bound since the last look.
    pub(super) fn look(&self, now: Moment) {
        for (bound, queue) in &mut *self.first_tokens.borrow_mut() {
            let Some(TokenBound::FirstToken { below }) = self.watch.token_bounds().get(*bound) else {
                continue;
            };
            while let Some(first) = queue.front()
                && (now.since(first.dealt_at) >= *below || first.is_settled(*bound))
            {
                if first.lacks_token() {
                    self.judge(first, *bound, WHOLE_STREAM, now);
                }
                queue.pop_front();
            }
        }
        if now.since(self.looked_at.get()) >= SWEEP {
            self.looked_at.set(now);
            self.look_for_stalls(now);
        }
    }

    fn look_for_stalls(&self, now: Moment) {
        self.flowing.borrow_mut().retain(|stream| {
            let silence = stream.awaited_since.get().map_or(Duration::ZERO, |since| now.since(since));
            for (bound, of_bound) in self.bounds_on_gaps() {
                if of_bound.stall().is_some_and(|stall| silence >= stall) {
                    self.judge(stream, bound, WHOLE_STREAM, now);
                }
            }
            stream.phase.get() == Phase::Flowing
                && self.bounds_on_gaps().any(|(bound, _)| !stream.is_settled(bound))
        });
    }

    fn bounds_on_gaps(&self) -> impl Iterator<Item = (usize, TokenBound)> {
        let all = self.watch.token_bounds().iter().copied().enumerate();
        all.filter(|(_, bound)| matches!(bound, TokenBound::TokenGap { .. }))
    }

    /// The verdict on a stream, unless it has fallen before. A share of its gaps waits for the evaluator's next look.
    fn judge(&self, stream: &Stream, bound: usize, long: u64, now: Moment) {
        if stream.settle(bound) {
            self.shard().judge_tokens(stream.stamp, &self.watch, bound, long);
            if long == WHOLE_STREAM {
                self.watch.ring(now);
            }
        }
    }

    fn excuse(&self, stream: &Stream, bound: usize) {
        if stream.settle(bound) {
            self.shard().excuse_tokens(stream.stamp, &self.watch, bound);
        }
    }

    fn shard(&self) -> &Shard {
        self.green.shard(self.worker)
    }
}

impl Stream {
    fn is_settled(&self, bound: usize) -> bool {
        self.settled.get() & 1 << bound != 0
    }

    /// Whether the verdict is still to fall; from now on it has.
    fn settle(&self, bound: usize) -> bool {
        let before = self.settled.get();
        self.settled.set(before | 1 << bound);
        before & 1 << bound == 0
    }

    /// How many of its gaps were too long for a bound.
    fn long_against(&self, bound: usize) -> u16 {
        self.long.get().get(bound).copied().unwrap_or_default()
    }

    /// Whether it is a stream, or is known to be meant as one, that has everything it takes but its first token.
    fn lacks_token(&self) -> bool {
        match self.phase.get() {
            Phase::Unanswered => self.asks_for_stream(),
            Phase::Awaited => true,
            Phase::Flowing | Phase::Over => false,
        }
    }

    fn asks_for_stream(&self) -> bool {
        let Some((wish, body)) = &*self.wish.borrow() else { return false };
        let body = body.upgrade();
        if *wish == StreamWish::InMessages
            && let Some(body) = &body
        {
            return body.passed_bytes() > 0;
        }
        match body.as_ref().map(|body| body.progress()) {
            // It is the client that is waited for.
            Some(Progress::ClientIsDue | Progress::Stopped(_)) => false,
            Some(Progress::InstanceIsDue | Progress::Complete) | None => {
                wish.with_body(body.and_then(|body| body.asks_for_stream()))
            }
        }
    }
}

impl WatchedStream {
    /// What its head says of a stream, and the body that may say the rest.
    pub(super) fn ask(&self, path: &str, headers: &HeaderMap, body: Option<&Rc<RequestBody>>) {
        let events = b"text/event-stream";
        let mut accepted = headers.get_all(ACCEPT).iter();
        let accepts_events =
            accepted.any(|value| value.as_bytes().windows(events.len()).any(|part| part == events));
        self.wish(StreamWish::of(path, accepts_events), body);
    }

    /// What a gRPC call's method says of a stream.
    pub(super) fn ask_by_method(&self, form: Form, body: Option<&Rc<RequestBody>>) {
        match form {
            Form::Stream => self.wish(StreamWish::InMessages, body),
            // It may be a conversation whose client has much to say first, so the client must have ended.
            Form::Seen => self.wish(StreamWish::Stated, body),
            Form::Unary | Form::Untold => {}
        }
    }

    fn wish(&self, wish: StreamWish, body: Option<&Rc<RequestBody>>) {
        let body = body.map(Rc::downgrade).unwrap_or_default();
        self.stream.wish.replace(Some((wish, body)));
    }

    /// The answer's head has come.
    pub(super) fn answered(&self, kind: Kind, now: Moment) {
        let Self { all, stream } = self;
        stream.wish.replace(None);
        match kind {
            Kind::Stream => {
                stream.phase.set(Phase::Awaited);
                for (bound, of_bound) in all.watch.token_bounds().iter().enumerate() {
                    if let TokenBound::FirstToken { below } = of_bound
                        && now.since(stream.dealt_at) >= *below
                    {
                        all.judge(stream, bound, WHOLE_STREAM, now);
                    }
                }
            }
            Kind::Untold => {}
            Kind::Whole => self.forget(),
        }
    }

    /// It turns out to be no stream.
    pub(super) fn forget(&self) {
        self.stream.phase.set(Phase::Over);
        for bound in 0..self.all.watch.token_bounds().len() {
            self.all.excuse(&self.stream, bound);
        }
    }

    /// The first token came at this moment.
    pub(super) fn first_token(&self, at: Moment) {
        let Self { all, stream } = self;
        stream.phase.set(Phase::Flowing);
        let time = at.since(stream.dealt_at);
        for (bound, of_bound) in all.watch.token_bounds().iter().enumerate() {
            if let TokenBound::FirstToken { below } = of_bound {
                all.judge(stream, bound, if time >= *below { WHOLE_STREAM } else { 0 }, at);
            }
        }
        if all.bounds_on_gaps().next().is_some() {
            all.flowing.borrow_mut().push(Rc::clone(stream));
        }
    }

    /// So long after a token came the next.
    pub(super) fn gap(&self, gap: Duration) {
        let Self { all, stream } = self;
        if stream.gaps.get() == JUDGED_GAPS {
            return;
        }
        stream.gaps.set(stream.gaps.get() + 1);
        let mut long = stream.long.get();
        for (long, bound) in long.iter_mut().zip(all.watch.token_bounds()) {
            if let TokenBound::TokenGap { below } = bound {
                *long += u16::from(gap >= *below);
            }
        }
        stream.long.set(long);
        if stream.gaps.get() == JUDGED_GAPS {
            self.judge_gaps();
        }
    }

    fn judge_gaps(&self) {
        let Self { all, stream } = self;
        let gaps = u64::from(stream.gaps.get());
        for (bound, _) in all.bounds_on_gaps() {
            match (u64::from(stream.long_against(bound)) * WHOLE_STREAM).checked_div(gaps) {
                // Rounded down, so that the alarm is more careful by a millionth.
                Some(long) => all.judge(stream, bound, long, clock::now()),
                None => all.excuse(stream, bound),
            }
        }
    }

    /// The client takes more than has come.
    pub(super) fn await_more(&self) {
        let since = &self.stream.awaited_since;
        if since.get().is_none() && self.stream.phase.get() == Phase::Flowing {
            since.set(Some(clock::now()));
        }
    }

    /// More has come than signs of life.
    pub(super) fn progress(&self) {
        self.stream.awaited_since.set(None);
    }

    /// The request ends, for this reason.
    pub(super) fn end(self, verdict: Verdict, now: Moment) {
        let Self { all, stream } = &self;
        for (bound, of_bound) in all.watch.token_bounds().iter().enumerate() {
            if stream.is_settled(bound) {
                continue;
            }
            match of_bound {
                TokenBound::FirstToken { below } => {
                    let is_late = stream.lacks_token() && now.since(stream.dealt_at) >= *below;
                    if is_late || self.ends_without_token(verdict) {
                        all.judge(stream, bound, WHOLE_STREAM, now);
                    } else {
                        all.excuse(stream, bound);
                    }
                }
                TokenBound::TokenGap { .. } => match verdict {
                    Verdict::Success => self.judge_gaps(),
                    // What the idle limit has ended stalled for longer than anybody waits.
                    Verdict::Failure(FailureKind::IdleTimeout) if stream.phase.get() == Phase::Flowing => {
                        all.judge(stream, bound, WHOLE_STREAM, now);
                    }
                    Verdict::Failure(_)
                    | Verdict::ClientError
                    | Verdict::Excused
                    | Verdict::ClientGone
                    | Verdict::Shed => {
                        all.excuse(stream, bound);
                    }
                },
            }
        }
        stream.phase.set(Phase::Over);
        stream.wish.replace(None);
    }

    /// Whether the fleet has ended a stream before its first token.
    fn ends_without_token(&self, verdict: Verdict) -> bool {
        let is_fleets = match verdict {
            Verdict::Success | Verdict::Failure(_) => true,
            Verdict::ClientError | Verdict::Excused | Verdict::ClientGone | Verdict::Shed => false,
        };
        is_fleets && self.stream.phase.get() == Phase::Awaited
    }
}
