//! Looks at green's meters: what they decide, and what they say of when.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;

use super::world::{CANARY, Memory, chat, config_of, plan};
use crate::{
    alarm::{AlarmPlan, Dealing, Guard, GuardBound, Regression, RegressionBound, Tolerance},
    config::PlanSpec,
    control::{
        Execution, Parts,
        evaluator::{Evaluator, Heartbeat, Round},
        publisher::Publisher,
        start,
        timer::Timer,
        watched::{Live, Roster, WatchParts, Watched},
    },
    fleet::{Address, Fleet},
    meter::{Bell, FailureKind, FleetMeters, Outcome, Stamp, Timing, Verdict},
    name::{EndpointName, ShiftId, Version},
    route::{FleetRoute, RouteTable},
    shift::{Cause, Standing},
    time::Moment,
    weight::Share,
};

struct Bench {
    evaluator: Evaluator,
    watched: Arc<Watched>,
    blue: FleetRoute,
    timer: Timer,
}

impl Bench {
    fn new(bound: GuardBound) -> Self {
        let alarms = AlarmPlan {
            guards: vec![Guard { name: "guard".to_owned(), bound, burst: None }],
            ..AlarmPlan::default()
        };
        Self::with(&alarms, Share::ALL, FleetMeters::new(1))
    }

    /// A step of this share, beside a blue with these meters.
    fn with(alarms: &AlarmPlan, share: Share, blue: FleetMeters) -> Self {
        let (timer, bell) = (Timer::new(), Arc::new(Bell::new()));
        let table = Arc::new(ArcSwap::from_pointee(RouteTable::default()));
        let publisher = Arc::new(Publisher::new(table, timer));
        let (endpoint, shift) = (EndpointName::parse("chat").unwrap(), ShiftId::parse("chat-1").unwrap());
        publisher.arm(&endpoint, &shift);
        let fleet = |version, meters| FleetRoute {
            fleet: Arc::new(Fleet::of(Version::parse(version).unwrap(), Vec::new())),
            meters: Arc::new(meters),
        };
        let (green, blue) = (fleet("v2", FleetMeters::new(1)), fleet("v1", blue));
        let watched = Arc::new(Watched::new(WatchParts {
            endpoint,
            shift,
            green,
            blue: blue.clone(),
            dealing: Dealing::Deck,
            alarms,
            bakes: 1,
            life: 0,
            spent: 0,
            bell: Arc::clone(&bell),
            publisher,
            timer,
        }));
        let roster = Arc::new(Roster::default());
        roster.add(Arc::clone(&watched));
        watched.begin_step(share);
        watched.set_live(Live::Yes);
        let evaluator = Evaluator {
            roster,
            bell,
            timer,
            notice: Arc::default(),
            heartbeat: Arc::new(Heartbeat::default()),
        };
        Self { evaluator, watched, blue, timer }
    }

    /// Counts answers and says when, ringing as the data plane does.
    fn serve(&self, count: usize, verdict: Verdict, millis: u64) {
        let outcome = outcome(verdict, millis);
        let (watch, shard) = (&self.watched.watch, self.watched.green.meters.shard(0));
        for _ in 0..count {
            let now = self.timer.now();
            shard.dealt(watch.stamp(), now);
            if let Some(order) = watch.order() {
                // The clock stands still, and no two requests are dealt in one nanosecond for long.
                let dealt_at = now.after(Duration::from_nanos(self.watched.green.meters.read().dealt));
                order.dealt(0, dealt_at);
                if let Verdict::Failure(_) = verdict {
                    order.failed(0, dealt_at);
                }
            }
            shard.settled(watch.stamp(), Some(watch), &outcome);
            if watch.is_against(&outcome) {
                watch.ring(now);
            }
        }
    }
}

/// Counts blue's answers.
fn serve_blue(meters: &FleetMeters, count: usize, verdict: Verdict, millis: u64) {
    for _ in 0..count {
        meters.shard(0).dealt(Stamp::default(), Moment::from_nanos(1));
        meters.shard(0).settled(Stamp::default(), None, &outcome(verdict, millis));
    }
}

fn outcome(verdict: Verdict, millis: u64) -> Outcome {
    Outcome::of(verdict, Duration::from_millis(millis))
}

const ERRORS: GuardBound = GuardBound::ErrorRate { below: 0.01 };

async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn the_breach_is_the_first_ring_since_the_look_before() {
    let bench = Bench::new(ERRORS);
    assert_eq!(bench.evaluator.round(), Round::Watching);
    pass(6).await;
    let rung = bench.timer.now();
    bench.serve(20, Verdict::Failure(FailureKind::Reset), 1);
    pass(4).await;
    bench.evaluator.round();
    let snap = bench.watched.snapped().unwrap();
    assert_eq!((snap.breach, snap.decided.since(rung)), (Some(rung), Duration::from_millis(4)));
    assert!(matches!(snap.cause, Cause::Alarm { .. }));
    assert_eq!((snap.green_responses, snap.green_in_flight), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_that_tips_a_latency_guard_rings_too() {
    let bound = GuardBound::Latency { quantile: 0.99, below: Duration::from_millis(250) };
    let bench = Bench::new(bound);
    bench.evaluator.round();
    pass(3).await;
    let rung = bench.timer.now();
    bench.serve(20, Verdict::Success, 300);
    pass(2).await;
    bench.evaluator.round();
    let snap = bench.watched.snapped().unwrap();
    assert_eq!(snap.breach, Some(rung));
    let Cause::Alarm { evidence, .. } = snap.cause else { panic!("{:?}", snap.cause) };
    assert!(evidence.starts_with("p99 latency below 250 ms: 20 of 20 requests took as long"), "{evidence}");
}

#[tokio::test(start_paused = true)]
async fn without_a_ring_the_breach_is_as_early_as_it_can_have_been() {
    let bench = Bench::new(ERRORS);
    let looked = bench.timer.now();
    bench.evaluator.round();
    pass(6).await;
    bench.serve(20, Verdict::Failure(FailureKind::Reset), 1);
    // Somebody else's look took the ring.
    bench.evaluator.bell.answer();
    pass(4).await;
    bench.evaluator.round();
    let snap = bench.watched.snapped().unwrap();
    assert_eq!((snap.breach, snap.decided.since(looked)), (Some(looked), Duration::from_millis(10)));
}

fn regressions(bound: RegressionBound) -> AlarmPlan {
    let regressions = vec![Regression { name: "regression".to_owned(), bound, burst: None }];
    AlarmPlan { regressions, ..AlarmPlan::default() }
}

/// Green gets a tenth; blue has given 1,000 answers before.
fn beside_blue(bound: RegressionBound) -> Bench {
    let blue = FleetMeters::new(1);
    (0..1_000).for_each(|place| serve_blue(&blue, 1, Verdict::Success, 50 + place % 100));
    Bench::with(&regressions(bound), Share::from_basis_points(1_000).unwrap(), blue)
}

#[tokio::test(start_paused = true)]
async fn a_green_that_fails_more_often_than_blue_is_snapped_back() {
    let tolerance = Tolerance::Ratio(1.0);
    for (bound, verdict, told) in [
        (RegressionBound::ErrorRate { tolerance }, Verdict::Failure(FailureKind::Reset), "failed"),
        (
            RegressionBound::ClientErrorRate { tolerance },
            Verdict::ClientError,
            "were answered with a client error",
        ),
    ] {
        let bench = beside_blue(bound);
        assert_eq!(bench.watched.judge(None), Standing::InsufficientData);
        serve_blue(&bench.blue.meters, 45, Verdict::Success, 60);
        bench.serve(5, verdict, 1);
        bench.evaluator.round();
        let snap = bench.watched.snapped().unwrap();
        let Cause::Alarm { name, evidence } = snap.cause else { panic!("{:?}", snap.cause) };
        assert_eq!(name, "regression");
        assert!(
            evidence.contains(&format!("5 of 5 requests {told}, 100.00% where blue had 0 of 45")),
            "{evidence}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn failures_of_both_fleets_together_raise_no_regression() {
    let bench = beside_blue(RegressionBound::ErrorRate { tolerance: Tolerance::Ratio(1.0) });
    for _ in 0..50 {
        serve_blue(&bench.blue.meters, 9, Verdict::Failure(FailureKind::Reset), 1);
        bench.serve(1, Verdict::Failure(FailureKind::Reset), 1);
        bench.evaluator.round();
    }
    assert_eq!(bench.watched.snapped(), None);
    assert_eq!(bench.watched.judge(None), Standing::Clear);
}

#[tokio::test(start_paused = true)]
async fn a_green_that_is_slower_than_blue_is_snapped_back_with_blues_quantile_as_evidence() {
    let bench = beside_blue(RegressionBound::Latency { quantile: Some(0.95), ratio: 1.2 });
    assert_eq!(bench.watched.judge(None), Standing::InsufficientData);
    serve_blue(&bench.blue.meters, 90, Verdict::Success, 60);
    bench.serve(10, Verdict::Success, 160);
    bench.evaluator.round();
    assert_eq!(bench.watched.judge(None), Standing::Clear, "within the tolerance");
    serve_blue(&bench.blue.meters, 90, Verdict::Success, 60);
    bench.serve(10, Verdict::Success, 400);
    bench.evaluator.round();
    let snap = bench.watched.snapped().unwrap();
    let Cause::Alarm { evidence, .. } = snap.cause else { panic!("{:?}", snap.cause) };
    let told = "latency at most 1.2x blue's: 10 of 20 requests took 174 ms or longer, 1.2 times blue's p95, 50.00% where blue had 0 of 180";
    assert!(evidence.starts_with(told), "{evidence}");
}

#[tokio::test(start_paused = true)]
async fn a_green_whose_tokens_come_later_than_blues_is_snapped_back_while_its_streams_are_open() {
    for (bound, told) in [
        (
            RegressionBound::FirstToken { quantile: Some(0.95), ratio: 1.2 },
            "first token at most 1.2x blue's: 10 of 20 streams had their first token after 174 ms or longer, 1.2 times blue's p95, 50.00% \
             where blue had 0 of 180, 0.00%",
        ),
        (
            RegressionBound::TokenGap { quantile: Some(0.95), ratio: 1.2 },
            "token gap at most 1.2x blue's: 10 of 20 streams had their tokens apart by 174 ms or longer, 1.2 times blue's p95, 50.00% \
             where blue had 0 of 180, 0.00%",
        ),
    ] {
        let stream = |meters: &FleetMeters, stamp, millis| {
            let (shard, time) = (meters.shard(0), Duration::from_millis(millis));
            shard.dealt(stamp, Moment::from_nanos(1));
            if bound.timing() == Some(Timing::TokenGap) { shard.paced(time) } else { shard.first_token(time) }
        };
        let blue = FleetMeters::new(1);
        (0..1_000).for_each(|place| stream(&blue, Stamp::default(), 50 + place % 100));
        let bench = Bench::with(&regressions(bound), Share::from_basis_points(1_000).unwrap(), blue);
        let serve = |green_millis| {
            (0..90).for_each(|_| stream(&bench.blue.meters, Stamp::default(), 60));
            let (meters, stamp) = (&bench.watched.green.meters, bench.watched.watch.stamp());
            (0..10).for_each(|_| stream(meters, stamp, green_millis));
            bench.evaluator.round();
        };
        assert_eq!(bench.watched.judge(None), Standing::InsufficientData);
        serve(160);
        assert_eq!(bench.watched.judge(None), Standing::Clear, "within the tolerance");
        serve(400);
        let Cause::Alarm { evidence, .. } = bench.watched.snapped().unwrap().cause else {
            panic!("no alarm")
        };
        assert_eq!(evidence, told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_latency_regression_waits_for_a_blue_that_tells_its_quantiles() {
    let bound = RegressionBound::Latency { quantile: None, ratio: 1.0 };
    let bench =
        Bench::with(&regressions(bound), Share::from_basis_points(5_000).unwrap(), FleetMeters::new(1));
    bench.serve(60, Verdict::Success, 400);
    serve_blue(&bench.blue.meters, 60, Verdict::Success, 60);
    assert_eq!(bench.watched.judge(None), Standing::InsufficientData);
    assert_eq!(bench.watched.evidence()[0].missing, 40);
    bench.serve(40, Verdict::Success, 400);
    serve_blue(&bench.blue.meters, 40, Verdict::Success, 60);
    assert_eq!(
        bench.watched.judge(None),
        Standing::Clear,
        "answers before the quantiles were known do not count"
    );
    bench.serve(40, Verdict::Success, 400);
    bench.watched.judge(None);
    assert!(bench.watched.snapped().is_some());
}

#[tokio::test(start_paused = true)]
async fn with_all_traffic_on_green_a_regression_rests_and_lacks_nothing() {
    let bench = beside_blue(RegressionBound::ErrorRate { tolerance: Tolerance::Ratio(1.0) });
    bench.watched.begin_step(Share::ALL);
    assert_eq!(bench.watched.judge(None), Standing::Clear);
    bench.serve(50, Verdict::Failure(FailureKind::Reset), 1);
    assert_eq!(bench.watched.judge(None), Standing::Clear);
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_once_is_not_decided_again() {
    let bench = Bench::new(ERRORS);
    bench.serve(20, Verdict::Failure(FailureKind::Reset), 1);
    let Standing::Breached(cause) = bench.watched.judge(None) else { panic!("not raised") };
    let first = bench.watched.snapped().unwrap();
    pass(50).await;
    bench.serve(20, Verdict::Failure(FailureKind::Reset), 1);
    bench.evaluator.round();
    assert_eq!(bench.watched.snap(Cause::Aborted), Some(first.clone()));
    assert_eq!(first.cause, cause);
}

#[tokio::test(start_paused = true)]
async fn a_steps_first_bet_is_placed_before_its_first_request_is_dealt() {
    let bench = Bench::new(ERRORS);
    let placed = bench.watched.watch.stamp();
    bench.serve(3, Verdict::Failure(FailureKind::Reset), 1);
    assert_eq!(bench.watched.watch.stamp(), placed, "no look has come in between");
    bench.evaluator.round();
    // A bet placed after them could not be paid by them.
    assert_eq!(bench.watched.snapped().unwrap().green_responses, 3);
}

#[tokio::test(start_paused = true)]
async fn a_later_steps_bet_is_placed_when_it_begins_whatever_is_still_open() {
    let bench = Bench::new(ERRORS);
    let first = bench.watched.watch.stamp();
    bench.watched.green.meters.shard(0).dealt(first, bench.timer.now());
    bench.watched.begin_step(Share::ALL);
    assert_eq!(first.age(bench.watched.watch.stamp()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shift_without_a_share_is_not_looked_at() {
    let bench = Bench::new(ERRORS);
    bench.watched.set_live(Live::No);
    assert_eq!(bench.evaluator.round(), Round::Idle);
    bench.serve(20, Verdict::Failure(FailureKind::Reset), 1);
    bench.evaluator.round();
    assert_eq!(bench.watched.snapped(), None);
}

/// The whole of control as it runs, on real time, with real health checks and the evaluator's own thread.
#[tokio::test]
async fn the_evaluators_thread_goes_to_blue_by_itself() {
    let (blue, green) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let text = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    let config = config_of(&[("chat", "v1", &text(&blue), "/")]);
    let table = Arc::new(ArcSwap::from_pointee(RouteTable::default()));
    let parts = Parts {
        keychain: Arc::default(),
        config: &config,
        journal: Arc::new(Memory::default()),
        table: Arc::clone(&table),
        bell: Arc::new(Bell::new()),
        workers: 1,
        heir: crate::provider::Heir::Nobody,
    };
    let (handle, control) = start::start(parts).unwrap();
    let mut events = handle.subscribe();
    let mut spec: PlanSpec = plan(CANARY);
    spec.green.instances = vec![Address::parse(&text(&green)).unwrap().into()];
    let id = handle.start_shift(&chat(), spec, "ann", Execution::Real).await.unwrap().id;
    while events.recv().await.unwrap().after.as_deref() != Some("baking") {}
    let route = loop {
        let route = Arc::clone(table.load().named(&chat()).unwrap());
        if route.split.green > Share::NONE {
            break route;
        }
        tokio::task::yield_now().await;
    };
    let (watch, meters) = (route.watch.clone().unwrap(), route.green.clone().unwrap().meters);
    let outcome = Outcome {
        status: Some(500),
        ..Outcome::of(Verdict::Failure(FailureKind::ServerError), Duration::from_millis(1))
    };
    for _ in 0..20 {
        let now = crate::clock::now();
        meters.shard(0).dealt(watch.stamp(), now);
        meters.shard(0).settled(watch.stamp(), Some(&watch), &outcome);
        watch.ring(now);
    }
    // This thread is control's own, so nobody but the evaluator's thread can act before it yields.
    #[expect(clippy::disallowed_methods, reason = "a test on real time needs a bound of its own")]
    let began = Instant::now();
    while table.load().named(&chat()).unwrap().split.green > Share::NONE {
        assert!(began.elapsed() < Duration::from_secs(10), "the evaluator did not act");
        std::thread::yield_now();
    }
    while events.recv().await.unwrap().after.as_deref() != Some("rolled_back") {}
    let view = handle.shift(&id).await.unwrap();
    assert!(view.decision.is_some() && view.moments.breach_at <= view.moments.decided_at, "{view:#?}");
    control.stop().await;
    assert!(handle.endpoints().await.is_err(), "control has ended");
}

#[tokio::test(start_paused = true)]
async fn a_threshold_snaps_back_at_the_end_of_the_period_that_raises_it() {
    let threshold = serde_json::json!([{
        "name": "slow", "metric": "latency", "statistic": "p90", "above": "300ms", "period": "1s", "datapoints": "2 of 3"
    }]);
    let mut document = plan(CANARY).to_json();
    document["guard"] = serde_json::json!([]);
    document["threshold"] = threshold;
    let alarms = PlanSpec::from_json(&document).unwrap().alarms;
    let bench = Bench::with(&alarms, Share::ALL, FleetMeters::new(1));
    for _ in 0..2 {
        bench.serve(20, Verdict::Success, 400);
        pass(999).await;
        bench.evaluator.round();
        assert_eq!(bench.watched.snapped(), None);
        assert_eq!(bench.watched.judge(None), Standing::InsufficientData);
        pass(1).await;
        bench.evaluator.round();
    }
    let snap = bench.watched.snapped().unwrap();
    assert_eq!(
        (snap.green_responses, snap.decided.since(snap.breach.unwrap())),
        (40, Duration::from_millis(1))
    );
    let Cause::Alarm { name, evidence } = snap.cause else { panic!("{:?}", snap.cause) };
    assert_eq!(name, "slow");
    assert!(
        evidence.starts_with(
            "latency p90 above 300 ms in 2 of 3 periods of 1 s: 2 of the last 2 breach, the newest with 40"
        ),
        "{evidence}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_may_end_early_on_evidence_and_not_before_ten_seconds() {
    let bound = RegressionBound::ErrorRate { tolerance: Tolerance::Ratio(1.0) };
    let alarms = AlarmPlan {
        ramp: Some(crate::alarm::RampRule { margin: 0.05, requests: 100 }),
        ..regressions(bound)
    };
    let bench = Bench::with(&alarms, Share::from_basis_points(1_000).unwrap(), FleetMeters::new(1));
    let serve = || {
        for _ in 0..300 {
            let (watch, shard) = (&bench.watched.watch, bench.blue.meters.shard(0));
            for _ in 0..9 {
                shard.dealt(watch.stamp(), Moment::from_nanos(1));
                shard.settled(watch.stamp(), Some(watch), &outcome(Verdict::Success, 60));
            }
            bench.serve(1, Verdict::Success, 60);
            bench.evaluator.round();
        }
    };
    serve();
    pass(9_900).await;
    assert_eq!(bench.watched.judge(None), Standing::Clear);
    assert!(bench.watched.safety().unwrap().is_shown());
    pass(200).await;
    let Standing::Safe { evidence } = bench.watched.judge(None) else {
        panic!("{:?}", bench.watched.safety())
    };
    let told = "that green is within every bound, after 300 of its requests in this step, 0 of which failed";
    assert!(evidence.starts_with("odds of ") && evidence.ends_with(told), "{evidence}");
    serve();
    assert_eq!(bench.watched.judge(None), Standing::Safe { evidence }, "it stands as it was first told");
    bench.watched.begin_step(Share::from_basis_points(5_000).unwrap());
    pass(11_000).await;
    assert_eq!(bench.watched.judge(None), Standing::InsufficientData);
}

/// How many responses of an outage it takes after so many good ones, where the evaluator looks at each without delay.
fn responses_to_a_decision(healthy: usize) -> usize {
    let bench = Bench::new(ERRORS);
    for _ in 0..healthy / 10 {
        bench.serve(10, Verdict::Success, 1);
        bench.evaluator.round();
    }
    let is_decided = |_: &usize| {
        bench.serve(1, Verdict::Failure(FailureKind::Reset), 1);
        bench.evaluator.round();
        bench.watched.snapped().is_some()
    };
    (1..100).find(is_decided).unwrap()
}

/// What is left of an outage's cost where no time passes between a response and its look is the test's own. More than this is the evaluator's
/// wake-up, and requests that end in another order than they were dealt in.
#[tokio::test(start_paused = true)]
async fn an_outage_takes_three_responses_at_a_steps_start_and_five_after_ten_thousand_good_ones() {
    let taken = [0, 10, 100, 1_000, 10_000, 50_000].map(responses_to_a_decision);
    assert_eq!(taken, [3, 3, 4, 4, 5, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_shift_that_rang_does_not_wait_for_the_others() {
    let (bench, other) = (Bench::new(ERRORS), Bench::new(ERRORS));
    bench.evaluator.roster.add(Arc::clone(&other.watched));
    other.serve(1, Verdict::Failure(FailureKind::Reset), 1);
    assert!(other.watched.watch.take_rung() && !other.watched.watch.take_rung());
    assert!(!bench.watched.watch.take_rung());
    other.serve(10, Verdict::Failure(FailureKind::Reset), 1);
    bench.evaluator.round();
    assert!(other.watched.snapped().is_some() && bench.watched.snapped().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_look_that_panics_takes_its_own_shift_back_to_blue_and_whoever_looked_goes_on() {
    let bench = Bench::new(GuardBound::ErrorRate { below: 0.01 });
    let standing = bench.watched.judge_by(None, |_, _| panic!("as no alarm should"));
    assert_eq!(standing, Standing::Breached(Cause::EvaluatorStalled));
    assert_eq!(bench.watched.snapped().unwrap().cause, Cause::EvaluatorStalled);
    assert_eq!(bench.evaluator.round(), Round::Watching);
    assert_eq!(bench.watched.judge(None), Standing::Breached(Cause::EvaluatorStalled), "it stays so");
}
