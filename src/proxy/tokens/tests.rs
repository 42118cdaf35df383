use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, header::ACCEPT};

use super::{Kind, WatchedStream, WatchedStreams};
use crate::{
    meter::{
        Bell, FailureKind, FleetMeters, JUDGED_GAPS, TokenBound, TokenReading, Verdict, WHOLE_STREAM,
        WatchPoint,
    },
    time::Moment,
};

const FIRST: TokenBound = TokenBound::FirstToken { below: Duration::from_millis(100) };
const GAP: TokenBound = TokenBound::TokenGap { below: Duration::from_millis(80) };
const BROKEN: Verdict = Verdict::Failure(FailureKind::Truncated);
const STALLED: Verdict = Verdict::Failure(FailureKind::IdleTimeout);

/// One worker's green under one bound.
struct Bench {
    streams: Rc<WatchedStreams>,
    watch: Arc<WatchPoint>,
    green: Arc<FleetMeters>,
    bell: Arc<Bell>,
}

impl Bench {
    fn new(bound: TokenBound) -> Self {
        let bell = Arc::new(Bell::new());
        let watch = Arc::new(WatchPoint::new(&[], Arc::clone(&bell)).with_token_bounds(&[bound]));
        let green = Arc::new(FleetMeters::new(1));
        let streams = Rc::new(WatchedStreams::new(Arc::clone(&watch), Arc::clone(&green), 0));
        Self { streams, watch, green, bell }
    }

    fn deal(&self, millis: u64) -> WatchedStream {
        self.streams.begin(self.watch.stamp(), at(millis))
    }

    /// One whose head says that it wants a stream.
    fn deal_asking(&self, millis: u64) -> WatchedStream {
        let stream = self.deal(millis);
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
        stream.ask("/v1/chat/completions", &headers, None);
        stream
    }

    /// One whose tokens come.
    fn deal_flowing(&self, millis: u64) -> WatchedStream {
        let stream = self.deal(millis);
        stream.answered(Kind::Stream, at(millis));
        stream.first_token(at(millis));
        stream
    }

    #[track_caller]
    fn has(&self, judged: u64, long: u64, excused: u64) {
        let reading = self.green.read().cohort(self.watch.stamp()).tokens[0];
        assert_eq!(reading, TokenReading { judged, long, excused });
    }
}

fn at(millis: u64) -> Moment {
    Moment::from_nanos(millis * 1_000_000)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_first_token_is_judged_when_it_comes_and_the_streams_end_changes_nothing() {
    for (came, long) in [(99, 0), (100, WHOLE_STREAM)] {
        let bench = Bench::new(FIRST);
        let stream = bench.deal(1_000);
        stream.answered(Kind::Stream, at(1_001));
        bench.has(0, 0, 0);
        stream.first_token(at(1_000 + came));
        bench.has(1, long, 0);
        assert_eq!(bench.bell.answer(), (long > 0).then_some(at(1_000 + came)));
        stream.end(BROKEN, at(9_000));
        bench.streams.look(at(9_001));
        bench.has(1, long, 0);
    }
}

#[test]
fn an_open_stream_is_late_at_the_bound_without_a_head_or_with_one() {
    let bench = Bench::new(FIRST);
    let silent = bench.deal_asking(0);
    let begun = bench.deal(0);
    begun.answered(Kind::Stream, at(5));
    bench.streams.look(at(99));
    bench.has(0, 0, 0);
    bench.streams.look(at(100));
    bench.has(2, 2 * WHOLE_STREAM, 0);
    assert_eq!(bench.bell.answer(), Some(at(100)));
    silent.answered(Kind::Stream, at(150));
    silent.first_token(at(200));
    silent.end(Verdict::Success, at(300));
    begun.end(Verdict::ClientGone, at(300));
    bench.has(2, 2 * WHOLE_STREAM, 0);
}

#[test]
fn what_may_be_no_stream_is_not_late_until_its_head_says_that_it_is_one() {
    let bench = Bench::new(FIRST);
    let (stream, whole) = (bench.deal(0), bench.deal(0));
    bench.streams.look(at(500));
    bench.has(0, 0, 0);
    stream.answered(Kind::Stream, at(600));
    bench.has(1, WHOLE_STREAM, 0);
    whole.answered(Kind::Whole, at(600));
    bench.has(1, WHOLE_STREAM, 1);
    whole.end(Verdict::Success, at(700));
    bench.has(1, WHOLE_STREAM, 1);
}

#[test]
fn a_stream_that_its_fleet_ends_without_a_token_is_late_and_one_that_its_client_leaves_is_not_judged() {
    for (verdict, millis, judged) in [
        (Verdict::Success, 20, 1),
        (BROKEN, 20, 1),
        (Verdict::ClientError, 20, 0),
        (Verdict::ClientGone, 20, 0),
        (Verdict::ClientGone, 120, 1),
    ] {
        let bench = Bench::new(FIRST);
        let stream = bench.deal(0);
        stream.answered(Kind::Stream, at(5));
        stream.end(verdict, at(millis));
        bench.has(judged, judged * WHOLE_STREAM, 1 - judged);
    }
    let bench = Bench::new(FIRST);
    bench.deal_asking(0).end(BROKEN, at(20));
    bench.has(0, 0, 1);
}

#[test]
fn a_stream_has_the_share_of_its_gaps_that_was_long() {
    let bench = Bench::new(GAP);
    let stream = bench.deal_flowing(0);
    for gap in [79, 80, 500, 1] {
        stream.gap(millis(gap));
    }
    bench.has(0, 0, 0);
    stream.end(Verdict::Success, at(900));
    bench.has(1, WHOLE_STREAM / 2, 0);
    assert_eq!(bench.bell.answer(), None, "the next look is soon enough for a part");
}

#[test]
fn a_long_stream_is_judged_by_its_first_gaps() {
    let bench = Bench::new(GAP);
    let stream = bench.deal_flowing(0);
    for number in 0..2 * JUDGED_GAPS {
        bench.has(
            u64::from(number >= JUDGED_GAPS),
            if number >= JUDGED_GAPS { WHOLE_STREAM / 4 } else { 0 },
            0,
        );
        stream.gap(millis(if number % 4 == 0 || number >= JUDGED_GAPS { 90 } else { 20 }));
    }
    stream.end(BROKEN, at(1));
    bench.has(1, WHOLE_STREAM / 4, 0);
}

#[test]
fn a_stream_without_a_gap_or_that_ends_amid_them_is_not_judged() {
    for verdict in [Verdict::Success, BROKEN, Verdict::ClientGone] {
        let bench = Bench::new(GAP);
        let stream = bench.deal_flowing(0);
        if verdict != Verdict::Success {
            stream.gap(millis(500));
        }
        stream.end(verdict, at(20));
        bench.has(0, 0, 1);
    }
}

#[test]
fn a_stream_that_says_nothing_for_as_long_as_a_stall_is_long_in_all_of_it() {
    let stall = u64::try_from(GAP.stall().unwrap().as_millis()).unwrap();
    let bench = Bench::new(GAP);
    let now = crate::clock::now();
    let later = |millis: u64| now.after(Duration::from_millis(millis));
    let stream = bench.streams.begin(bench.watch.stamp(), now);
    stream.answered(Kind::Stream, now);
    stream.first_token(now);
    bench.streams.look(later(10 * stall));
    bench.has(0, 0, 0);
    stream.await_more();
    bench.streams.look(later(stall - 1));
    stream.progress();
    bench.streams.look(later(10 * stall));
    bench.has(0, 0, 0);
    stream.await_more();
    bench.streams.look(later(20 * stall));
    bench.has(1, WHOLE_STREAM, 0);
    stream.end(STALLED, later(20 * stall));
    bench.has(1, WHOLE_STREAM, 0);
    let ended_first = bench.deal_flowing(0);
    ended_first.end(STALLED, at(60_000));
    bench.has(2, 2 * WHOLE_STREAM, 0);
}
