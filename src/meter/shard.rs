//! One worker's counters for one fleet.

use std::{
    sync::{
        OnceLock,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
            fence,
        },
    },
    time::Duration,
};

use super::{
    CohortReading, FailureKind, GrpcStatus, Hedge, Histogram, MAX_BOUNDS, MAX_MARKS, MAX_TOKEN_BOUNDS,
    Outcome, Reading, Rescue, Stamp, Timing, TokenReading, Verdict, WatchPoint, reading::SLOTS,
};
use crate::time::Moment;

/// A counter with one writer.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Whoever sees this sees what was counted before it.
    fn add_last(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Release);
    }

    fn get_first(&self) -> u64 {
        self.0.load(Acquire)
    }
}

#[derive(Debug, Default)]
struct Cohort {
    dealt: Count,
    settled: Count,
    failed: Count,
    left: Count,
    exceeded: [Count; MAX_BOUNDS],
    excused: [Count; MAX_BOUNDS],
    tokens: [Tokens; MAX_TOKEN_BOUNDS],
}

/// Requests that passed a mark while they were open, and those of them that were answered after all.
#[derive(Debug, Default)]
struct Late {
    passed: Count,
    answered: Count,
}

/// The counters behind a [`TokenReading`].
#[derive(Debug, Default)]
struct Tokens {
    judged: Count,
    long: Count,
    excused: Count,
}

/// Times of tokens, or others that most fleets do not have; made with the first of them.
#[derive(Debug, Default)]
struct TokenTimes(OnceLock<Histogram>);

impl TokenTimes {
    fn record(&self, time: Duration) {
        self.0.get_or_init(Histogram::default).record(time);
    }
}

/// One worker's counters for one fleet. Written by that worker alone; anyone may read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Shard {
    cohorts: [Cohort; SLOTS],
    /// Two banks, by the number of the set of marks.
    late: [[Late; MAX_MARKS]; 2],
    dealt: Count,
    succeeded: Count,
    client_errors: Count,
    excused: Count,
    /// Requests of warm-ups, and those of them that got a complete answer.
    warm_ups: Count,
    warm_answers: Count,
    client_gone: Count,
    shed: Count,
    /// Requests that wait now, since when the first of them does, and how many ever did.
    waiting: Count,
    waiting_since_nanos: Count,
    queued: Count,
    failures: [Count; FailureKind::ALL.len()],
    statuses: [Count; 5],
    grpc_statuses: [Count; GrpcStatus::ALL.len()],
    bytes_in: Count,
    bytes_out: Count,
    retried: Count,
    rescues: [Count; Rescue::ALL.len()],
    hedges: [Count; Hedge::ALL.len()],
    last_dispatch_nanos: Count,
    tokens_out: Count,
    latency: Histogram,
    first_byte: Histogram,
    overhead: TokenTimes,
    first_tokens: Count,
    first_token: TokenTimes,
    token_gap: TokenTimes,
    paced: Count,
    mean_gap: TokenTimes,
}

impl Shard {
    /// A request was dealt to this fleet and goes out now.
    pub fn dealt(&self, stamp: Stamp, now: Moment) {
        self.cohorts[stamp.slot()].dealt.add(1);
        self.dealt.add(1);
        self.last_dispatch_nanos.0.store(now.as_nanos(), Relaxed);
    }

    /// The request that was dealt is one of its instance's warm-up.
    pub fn warm_up(&self) {
        self.warm_ups.add(1);
    }

    /// A request had been here for so long when it was dealt. Told where somebody asks for that.
    pub fn overhead(&self, time: Duration) {
        self.overhead.record(time);
    }

    /// So long after a token of a stream came the next, or several at once.
    pub fn token_gap(&self, gap: Duration) {
        self.token_gap.record(gap);
    }

    /// The first token of a stream came so long after its dispatch.
    pub fn first_token(&self, time: Duration) {
        self.first_token.record(time);
        self.first_tokens.add(1);
    }

    /// A stream's tokens came so far apart in the mean; told once for each stream.
    pub fn paced(&self, mean_gap: Duration) {
        self.mean_gap.record(mean_gap);
        self.paced.add(1);
    }

    /// The verdict on a stream dealt with `stamp` has fallen, for a bound on tokens of this index below [`MAX_TOKEN_BOUNDS`]: so many
    /// millionths of it were too long. Told once for each stream and bound, at the latest before the request is [`Shard::settled`].
    pub fn judge_tokens(&self, stamp: Stamp, watch: &WatchPoint, bound: usize, long: u64) {
        if stamp.age(watch.stamp()) <= 1 {
            let tokens = &self.cohorts[stamp.slot()].tokens[bound];
            tokens.judged.add(1);
            tokens.long.add(long);
        }
    }

    /// There will be no verdict on a request dealt with `stamp`: it is no stream, or it ended before anything could be said of it.
    pub fn excuse_tokens(&self, stamp: Stamp, watch: &WatchPoint, bound: usize) {
        if stamp.age(watch.stamp()) <= 1 {
            self.cohorts[stamp.slot()].tokens[bound].excused.add(1);
        }
    }

    /// A request is sent again within the fleet.
    pub fn retried(&self) {
        self.retried.add(1);
    }

    /// So many requests wait for room on an instance, the first of them since this moment. Whoever makes room sees it, or this worker sees
    /// the room.
    pub fn waiting(&self, waiting: usize, since: Moment) {
        let since_nanos = if waiting == 0 { 0 } else { since.as_nanos().max(1) };
        self.waiting.0.store(u64::try_from(waiting).unwrap_or(u64::MAX), Relaxed);
        self.waiting_since_nanos.0.store(since_nanos, Release);
    }

    /// One more request began to wait.
    pub fn queued(&self) {
        self.queued.add(1);
    }

    /// Since when the first request has waited here, if one does.
    pub(super) fn waiting_since(&self) -> Option<Moment> {
        let nanos = self.waiting_since_nanos.get_first();
        (nanos > 0).then(|| Moment::from_nanos(nanos))
    }

    /// What came of a failure that was to be rescued. That one was sent to blue is said before its failure is counted
    /// ([`Shard::settled`]), so that no reader takes it for one that reached a client.
    pub fn rescue(&self, rescue: Rescue) {
        self.rescues[rescue.index()].add(1);
    }

    /// What came of a request whose instance was slow to answer.
    pub fn hedge(&self, hedge: Hedge) {
        self.hedges[hedge.index()].add(1);
    }

    /// A request dealt with `stamp` is still open and has reached a latency bound of the shift's, of this index below [`MAX_BOUNDS`].
    /// Told once for each request and bound; [`Outcome::overdue`] says it at the end, so that it is not counted again.
    pub fn overdue(&self, stamp: Stamp, watch: &WatchPoint, bound: usize) {
        if stamp.age(watch.stamp()) <= 1 {
            self.cohorts[stamp.slot()].exceeded[bound].add(1);
        }
    }

    /// A request that is still open has passed a mark of a comparison, of this index below [`MAX_MARKS`] in the set that is counted in this
    /// bank. Told once for each request and mark; [`Outcome::passed`] says it at the end.
    pub fn passes(&self, bank: usize, mark: usize) {
        self.late[bank % 2][mark].passed.add(1);
    }

    /// How many have passed it and were not answered.
    pub(super) fn late(&self, bank: usize, mark: usize) -> u64 {
        let Late { passed, answered } = &self.late[bank % 2][mark];
        // Whoever was answered had passed before.
        let answered = answered.get_first();
        passed.get().saturating_sub(answered)
    }

    /// A request dealt with `stamp` came to its end. `watch` is the shift's that the request was dealt under, if any.
    pub fn settled(&self, stamp: Stamp, watch: Option<&WatchPoint>, outcome: &Outcome) {
        self.count_for_everyone(outcome);
        let cohort = &self.cohorts[stamp.slot()];
        if let Some(watch) = watch {
            // Failures older than the bet before the newest would pay a bet that was placed after they were dealt.
            if stamp.age(watch.stamp()) <= 1 {
                cohort.judge(watch.bounds_nanos(), outcome);
            }
        }
        cohort.settled.add(1);
    }

    fn count_for_everyone(&self, outcome: &Outcome) {
        match outcome.verdict {
            Verdict::Success => self.succeeded.add(1),
            Verdict::ClientError => self.client_errors.add(1),
            Verdict::Excused => self.excused.add(1),
            Verdict::ClientGone => self.client_gone.add(1),
            Verdict::Shed => self.shed.add(1),
            Verdict::Failure(kind) => self.failures[kind.index()].add_last(1),
        }
        if let Some(status) = outcome.status
            && let Some(count) = self.statuses.get(usize::from(status / 100).wrapping_sub(1))
        {
            count.add(1);
        }
        if let Some(status) = outcome.grpc_status {
            self.grpc_statuses[status.code()].add(1);
        }
        self.tokens_out.add(outcome.tokens_out);
        self.bytes_in.add(outcome.bytes_in);
        self.bytes_out.add(outcome.bytes_out);
        let is_answered = matches!(outcome.verdict, Verdict::Success | Verdict::ClientError);
        if !outcome.is_warm_up {
            self.record_times(outcome, is_answered);
        } else if is_answered {
            self.warm_answers.add(1);
        }
    }

    fn record_times(&self, outcome: &Outcome, is_answered: bool) {
        if let Some(first_byte) = outcome.first_byte {
            self.first_byte.record(first_byte);
        }
        if is_answered {
            if !outcome.passed.is_none() {
                self.answer_late(outcome);
            }
            self.latency.record(outcome.duration);
        }
    }

    /// An answer that was counted as slow while it was open is not to be counted so twice: whoever sees its time in the histogram sees this.
    fn answer_late(&self, outcome: &Outcome) {
        for mark in outcome.passed.iter() {
            self.late[outcome.passed.bank()][mark].answered.add_last(1);
        }
        fence(Release);
    }

    /// The distribution of durations of complete answers.
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// The distribution of times to the response's head.
    pub fn first_byte(&self) -> &Histogram {
        &self.first_byte
    }

    /// The distribution of times from requests' arrival to their dispatch; `None` while none was told.
    pub fn overheads(&self) -> Option<&Histogram> {
        self.overhead.0.get()
    }

    /// The distribution of times between tokens of streams; `None` while there is none.
    pub fn token_gaps(&self) -> Option<&Histogram> {
        self.token_gap.0.get()
    }

    /// The distribution of one time for each request that has it; `None` while none has.
    pub fn times(&self, timing: Timing) -> Option<&Histogram> {
        match timing {
            Timing::Latency => Some(&self.latency),
            Timing::FirstToken => self.first_token.0.get(),
            Timing::TokenGap => self.mean_gap.0.get(),
        }
    }

    /// Adds this shard to a sum. Ends are read before beginnings, so that no request seems to end before it began.
    pub(super) fn add_to(&self, sum: &mut Reading) {
        for (total, count) in sum.failures.iter_mut().zip(&self.failures) {
            *total += count.get_first();
        }
        for (total, count) in sum.rescues.iter_mut().zip(&self.rescues) {
            *total += count.get();
        }
        for (total, count) in sum.hedges.iter_mut().zip(&self.hedges) {
            *total += count.get();
        }
        for (total, count) in sum.statuses.iter_mut().zip(&self.statuses) {
            *total += count.get();
        }
        for (total, count) in sum.grpc_statuses.iter_mut().zip(&self.grpc_statuses) {
            *total += count.get();
        }
        sum.succeeded += self.succeeded.get();
        sum.client_errors += self.client_errors.get();
        sum.excused += self.excused.get();
        sum.warm_ups += self.warm_ups.get();
        sum.warm_answers += self.warm_answers.get();
        sum.client_gone += self.client_gone.get();
        sum.shed += self.shed.get();
        sum.waiting += self.waiting.get();
        sum.queued += self.queued.get();
        sum.bytes_in += self.bytes_in.get();
        sum.bytes_out += self.bytes_out.get();
        sum.tokens_out += self.tokens_out.get();
        sum.first_tokens += self.first_tokens.get();
        sum.paced += self.paced.get();
        sum.retried += self.retried.get();
        for (total, cohort) in sum.cohorts.iter_mut().zip(&self.cohorts) {
            cohort.add_to(total);
        }
        sum.dealt += self.dealt.get();
        sum.last_dispatch_nanos = sum.last_dispatch_nanos.max(self.last_dispatch_nanos.get());
    }
}

impl Cohort {
    fn judge(&self, bounds_nanos: &[u64], outcome: &Outcome) {
        let has_latency = match outcome.verdict {
            Verdict::Success | Verdict::ClientError => true,
            Verdict::Failure(_) => {
                self.failed.add(1);
                false
            }
            Verdict::Excused => false,
            Verdict::ClientGone | Verdict::Shed => {
                self.left.add(1);
                false
            }
        };
        for (index, bound) in bounds_nanos.iter().enumerate().take(MAX_BOUNDS) {
            if outcome.overdue.contains(index) {
                continue;
            }
            if !outcome.is_warm_up && outcome.duration.as_nanos() >= u128::from(*bound) {
                self.exceeded[index].add(1);
            } else if outcome.is_warm_up || !has_latency {
                self.excused[index].add(1);
            }
        }
    }

    fn add_to(&self, total: &mut CohortReading) {
        for index in 0..MAX_BOUNDS {
            total.exceeded[index] += self.exceeded[index].get();
            total.excused[index] += self.excused[index].get();
        }
        for (total, Tokens { judged, long, excused }) in total.tokens.iter_mut().zip(&self.tokens) {
            total.add(TokenReading { judged: judged.get(), long: long.get(), excused: excused.get() });
        }
        total.failed += self.failed.get();
        total.left += self.left.get();
        total.settled += self.settled.get();
        total.dealt += self.dealt.get();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::meter::{Bell, FleetMeters, Overdue, PassedMarks};

    fn outcome(verdict: Verdict, millis: u64) -> Outcome {
        Outcome {
            status: Some(200),
            first_byte: Some(Duration::from_millis(1)),
            bytes_in: 10,
            bytes_out: 20,
            ..Outcome::of(verdict, Duration::from_millis(millis))
        }
    }

    fn watch() -> WatchPoint {
        WatchPoint::new(&[Duration::from_millis(100)], Arc::new(Bell::new()))
    }

    #[test]
    fn a_request_is_counted_for_the_bet_it_was_dealt_under() {
        let (meters, watch) = (FleetMeters::new(2), watch());
        let first = watch.stamp();
        meters.shard(0).dealt(first, Moment::from_nanos(5));
        let second = watch.advance();
        meters.shard(1).dealt(second, Moment::from_nanos(7));
        meters.shard(0).settled(first, Some(&watch), &outcome(Verdict::Failure(FailureKind::Reset), 1));
        let reading = meters.read();
        assert_eq!((reading.cohort(first).dealt, reading.cohort(first).failed), (1, 1));
        assert_eq!((reading.cohort(second).dealt, reading.cohort(second).failed), (1, 0));
        assert_eq!((reading.dealt, reading.failed(), reading.last_dispatch_nanos), (2, 1, 7));
        assert_eq!(reading.open_before(second), 0);
    }

    #[test]
    fn a_failure_two_bets_late_is_seen_by_everyone_but_the_guards() {
        let (meters, watch) = (FleetMeters::new(1), watch());
        let old = watch.stamp();
        meters.shard(0).dealt(old, Moment::from_nanos(1));
        watch.advance();
        let current = watch.advance();
        assert_eq!(meters.read().open_before(current), 1);
        meters.shard(0).settled(old, Some(&watch), &outcome(Verdict::Failure(FailureKind::Reset), 1));
        let reading = meters.read();
        assert_eq!((reading.cohort(old).failed, reading.cohort(old).settled, reading.failed()), (0, 1, 1));
        assert_eq!(reading.open_before(current), 0);
    }

    #[test]
    fn a_rescued_failure_is_the_fleets_and_reaches_a_client_only_when_blue_fails_too() {
        let meters = FleetMeters::new(1);
        for rescue in [Rescue::Tried, Rescue::Tried, Rescue::OverBudget] {
            meters.shard(0).rescue(rescue);
            meters.shard(0).settled(
                Stamp::default(),
                None,
                &outcome(Verdict::Failure(FailureKind::Reset), 1),
            );
        }
        let reading = meters.read();
        assert_eq!((reading.failed(), reading.failed_for_clients(), reading.not_rescued()), (3, 1, 1));
        meters.shard(0).rescue(Rescue::Failed);
        assert_eq!((meters.read().failed_for_clients(), meters.read().rescued()), (2, 2));
    }

    #[test]
    fn a_failure_has_no_latency_unless_it_had_passed_the_bound_already() {
        let (meters, watch) = (FleetMeters::new(1), watch());
        let stamp = watch.stamp();
        let cases = [
            (Verdict::Success, 99, 0, 0),
            (Verdict::Success, 100, 1, 0),
            (Verdict::Failure(FailureKind::ServerError), 5, 1, 1),
            (Verdict::Failure(FailureKind::HeadTimeout), 500, 2, 1),
            (Verdict::ClientGone, 5, 2, 2),
            (Verdict::Excused, 5, 2, 3),
            (Verdict::Excused, 500, 3, 3),
        ];
        for (verdict, millis, exceeded, excused) in cases {
            meters.shard(0).dealt(stamp, Moment::from_nanos(1));
            meters.shard(0).settled(stamp, Some(&watch), &outcome(verdict, millis));
            let cohort = *meters.read().cohort(stamp);
            assert_eq!((cohort.exceeded[0], cohort.excused[0]), (exceeded, excused), "{verdict:?} {millis}");
        }
    }

    #[test]
    fn a_request_of_a_warm_up_counts_by_its_end_and_not_by_its_time() {
        let (meters, watch) = (FleetMeters::new(1), watch());
        let stamp = watch.stamp();
        for (verdict, failed) in [
            (Verdict::Success, 0),
            (Verdict::Failure(FailureKind::HeadTimeout), 1),
            (Verdict::ClientError, 1),
        ] {
            meters.shard(0).dealt(stamp, Moment::from_nanos(1));
            meters.shard(0).warm_up();
            let end = Outcome { is_warm_up: true, ..outcome(verdict, 500) };
            assert_eq!(watch.is_against(&end), matches!(verdict, Verdict::Failure(_)));
            meters.shard(0).settled(stamp, Some(&watch), &end);
            let cohort = *meters.read().cohort(stamp);
            assert_eq!((cohort.exceeded[0], cohort.excused[0]), (0, cohort.dealt), "{verdict:?}");
            assert_eq!(cohort.failed, failed, "{verdict:?}");
        }
        let reading = meters.read();
        assert_eq!((reading.warm_ups, reading.warm_answers, reading.dealt), (3, 2, 3));
        assert_eq!((meters.latency().count(), meters.first_byte().count()), (0, 0));
    }

    #[test]
    fn an_overdue_request_counts_at_its_bound_and_not_again_whatever_it_comes_to() {
        let mut passed = Overdue::default();
        passed.insert(0);
        for (verdict, failed, left) in [
            (Verdict::Success, 0, 0),
            (Verdict::Failure(FailureKind::HeadTimeout), 1, 0),
            (Verdict::ClientGone, 0, 1),
        ] {
            let (meters, watch) = (FleetMeters::new(1), watch());
            let stamp = watch.stamp();
            meters.shard(0).dealt(stamp, Moment::from_nanos(1));
            meters.shard(0).overdue(stamp, &watch, 0);
            let open = *meters.read().cohort(stamp);
            assert_eq!((open.exceeded[0], open.settled, open.failed), (1, 0, 0));
            let end = Outcome { overdue: passed, ..outcome(verdict, 500) };
            assert_eq!(watch.is_against(&end), failed == 1, "{verdict:?}");
            meters.shard(0).settled(stamp, Some(&watch), &end);
            let cohort = *meters.read().cohort(stamp);
            assert_eq!((cohort.exceeded[0], cohort.excused[0], cohort.settled), (1, 0, 1), "{verdict:?}");
            assert_eq!((cohort.failed, cohort.left), (failed, left), "{verdict:?}");
        }
    }

    #[test]
    fn a_request_two_bets_old_is_not_overdue_for_the_guards() {
        let (meters, watch) = (FleetMeters::new(1), watch());
        let old = watch.stamp();
        meters.shard(0).dealt(old, Moment::from_nanos(1));
        watch.advance();
        watch.advance();
        meters.shard(0).overdue(old, &watch, 0);
        assert_eq!(meters.read().cohort(old).exceeded[0], 0);
    }

    #[test]
    fn a_request_that_passed_a_mark_is_late_until_it_is_answered_and_for_good_if_it_fails() {
        let mut passed = PassedMarks::of_bank(1);
        passed.insert(2);
        let edges = [crate::meter::Edge::at_or_above(Duration::from_millis(100)).unwrap()];
        for (verdict, late, answers) in [
            (Verdict::Success, 0, 1),
            (Verdict::Failure(FailureKind::HeadTimeout), 1, 0),
            (Verdict::ClientGone, 1, 0),
        ] {
            let meters = FleetMeters::new(1);
            meters.shard(0).passes(1, 2);
            assert_eq!((meters.late(1, 3), meters.late(0, 3)), (vec![0, 0, 1], vec![0; 3]));
            let end = Outcome { passed, ..outcome(verdict, 500) };
            meters.shard(0).settled(Stamp::default(), None, &end);
            assert_eq!(meters.late(1, 3), [0, 0, late], "{verdict:?}");
            assert_eq!(meters.tails(Timing::Latency, &edges), [answers], "{verdict:?}");
        }
        assert_eq!(FleetMeters::new(1).late(0, 20), [0; 20], "more than are told apart");
    }
}
