//! A shift from its start to its end.

use std::time::Duration;

use super::world::{CANARY, Memory, World, chat, config, endpoint_of, plan, share};
use crate::{
    alarm::AlarmState,
    control::{ControlError, Execution, watchdog::STALLED_AFTER},
    fleet::Side,
    route::Signals,
    shift::{Cause, Command, Refusal, State},
    weight::Share,
};

#[tokio::test(start_paused = true)]
async fn a_healthy_canary_is_promoted_and_green_is_then_the_fleet_in_service() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    let green = world.route().green.clone().unwrap();
    let half_way = world.until_share(&id, "100%").await;
    assert_eq!((half_way.state.as_str(), half_way.step, half_way.share), ("baking", Some(1), Share::ALL));
    let view = world.until_over(&id).await;
    assert_eq!((&view.state, view.share), (&State::Promoted, Share::ALL));
    let states: Vec<_> = view.transitions.iter().map(|change| change.after.as_str()).collect();
    assert_eq!(states, ["baking", "baking", "retiring", "promoted"]);
    let route = world.route();
    assert!(std::sync::Arc::ptr_eq(&route.blue.meters, &green.meters), "green's meters go on");
    assert!(std::sync::Arc::ptr_eq(&route.blue.fleet, &green.fleet), "green's instances go on");
    assert!(route.green.is_none() && route.watch.is_none() && route.split.green == Share::NONE);
    assert_eq!(world.journal.endpoint(&chat()).unwrap().serving, plan(CANARY).green);
    assert!(view.moments.drained_at.is_some() && view.moments.ended_at.is_some());
    assert_eq!((view.moments.decided_at, view.decision), (None, None));
    let endpoint = world.handle.endpoint(&chat()).await.unwrap();
    assert_eq!((endpoint.running_shift, endpoint.blue.version.as_str()), (None, "v2"));
}

#[tokio::test(start_paused = true)]
async fn every_step_is_in_the_journal_before_green_is_given_its_share() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_over(&id).await;
    let seen = world.journal.seen();
    let expected =
        [("preparing", "0%"), ("baking", "0%"), ("baking", "10%"), ("retiring", "100%"), ("promoted", "0%")];
    let expected: Vec<_> = expected.iter().map(|(state, text)| ((*state).to_owned(), share(text))).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn a_breach_gives_blue_everything_within_one_look_and_before_the_journal_knows() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.pass(50).await;
    let before = world.table.load().generation();
    world.fail(Side::Green, 12);
    world.pass(11).await;
    assert_eq!(world.green_share(), Share::NONE);
    assert!(world.table.load().generation() > before);
    let view = world.until_over(&id).await;
    let State::RolledBack { cause: Cause::Alarm { name, evidence } } = &view.state else {
        panic!("{:?}", view.state)
    };
    assert_eq!(name, "errors");
    assert!(evidence.contains("requests failed") && evidence.contains("1% is permitted"), "{evidence}");
    assert_eq!(world.journal.seen()[2], ("rolling_back".to_owned(), Share::NONE));
    assert!(view.decision.unwrap() <= Duration::from_millis(10), "{:?}", view.decision);
    assert_eq!(view.publish_to_last_green_dispatch, Some(Duration::ZERO));
    assert_eq!(view.green_in_flight_at_decision, Some(0));
    assert!(view.green_responses_to_decision.unwrap() >= 12);
    assert_eq!((view.green.failed, view.alarms[0].evidence.state), (12, AlarmState::Alarm));
    let moments = view.moments;
    assert!(moments.breach_at <= moments.decided_at && moments.decided_at <= moments.published_at);
    assert!(moments.last_green_dispatch_at <= moments.published_at && moments.drained_at.is_some());
    assert_eq!(world.journal.endpoint(&chat()).unwrap().serving.version.as_str(), "v1");
    assert!(world.route().green.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_dealt_after_the_snap_by_an_old_table_is_told() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    let old = world.route();
    let green = old.green.clone().unwrap();
    green.fleet.instances[0].begin(0);
    world.fail(Side::Green, 12);
    world.pass(11).await;
    assert_eq!(world.green_share(), Share::NONE);
    world.pass(30).await;
    green.meters.shard(0).dealt(old.watch.as_ref().unwrap().stamp(), world.timer.now());
    let view = world.shift(&id).await;
    assert_eq!(view.state.as_str(), "rolling_back");
    let late = view.publish_to_last_green_dispatch.unwrap();
    assert!((Duration::from_millis(29)..Duration::from_millis(42)).contains(&late), "{late:?}");
    world.pass(1000).await;
    assert_eq!(world.shift(&id).await.state.as_str(), "rolling_back", "a request is in flight");
    green.fleet.instances[0].end(0);
    assert_eq!(world.until_over(&id).await.publish_to_last_green_dispatch, Some(late));
}

#[tokio::test(start_paused = true)]
async fn one_bake_is_skipped_once_however_often_it_is_asked_for() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    for _ in 0..2 {
        let view = world.command(&id, Command::SkipBake { step: 0 }).await.unwrap();
        assert_eq!((view.state.as_str(), view.step, view.share), ("baking", Some(1), Share::ALL));
    }
    let asked = world.journal.events().into_iter().filter(|event| event.kind == "shift.command");
    assert_eq!(asked.map(|event| event.cause).collect::<Vec<_>>(), ["skip the bake: because"]);
    let view = world.until_over(&id).await;
    assert_eq!(view.state, State::Promoted);
    world.command(&id, Command::SkipBake { step: 0 }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_never_drains_goes_at_its_deadline() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.route().green.clone().unwrap().fleet.instances[0].begin(0);
    world.command(&id, Command::Abort).await.unwrap();
    let began = world.timer.now();
    let view = world.until_over(&id).await;
    assert!(world.timer.now().since(began) >= Duration::from_secs(30));
    assert_eq!(view.moments.drained_at, None);
}

#[tokio::test(start_paused = true)]
async fn an_abort_takes_effect_before_it_is_answered_and_says_who_and_why() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    let view = world.command(&id, Command::Abort).await.unwrap();
    assert_eq!((view.state.as_str(), world.green_share()), ("rolling_back", Share::NONE));
    let change = view.transitions.last().unwrap();
    assert_eq!((change.actor.as_str(), change.cause.as_str()), ("ann", "aborted: because"));
    assert_eq!(view.moments.breach_at, None);
    assert!(view.moments.decided_at.is_some() && view.moments.published_at.is_some());
    let kinds: Vec<_> = world.journal.events().iter().rev().take(2).map(|event| event.kind.clone()).collect();
    assert_eq!(kinds, ["shift.state", "shift.command"]);
    world.until_over(&id).await;
    let points = world.handle.track(&id).await.unwrap().points();
    assert!(points.iter().all(|point| point.nearness != Some(1.0)), "no alarm was raised: {points:?}");
    let again = world.command(&id, Command::Abort).await.unwrap();
    assert_eq!(again.state.as_str(), "rolled_back", "a repeated abort is granted");
    let refused = world.command(&id, Command::Promote).await.unwrap_err();
    assert!(matches!(refused, ControlError::Refused(Refusal::WrongState { .. })), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_the_share_and_promote_skips_the_bakes() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.command(&id, Command::Pause).await.unwrap();
    world.pass(600_000).await;
    assert_eq!((world.shift(&id).await.state.as_str(), world.green_share()), ("paused", share("10%")));
    world.command(&id, Command::Promote).await.unwrap();
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_second_shift_is_refused_with_the_running_ones_id() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    for execution in [Execution::Dry, Execution::Real] {
        let error = world.handle.start_shift(&chat(), plan(CANARY), "ops", execution).await.unwrap_err();
        assert!(matches!(error, ControlError::ShiftRunning { ref running, .. } if *running == id), "{error}");
    }
    world.command(&id, Command::Abort).await.unwrap();
    world.until_over(&id).await;
    assert_ne!(world.begin(CANARY).await.id, id);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_makes_every_check_and_changes_nothing() {
    let world = World::start();
    world.pass(100).await;
    let (before, generation) = (world.journal.commits().len(), world.table.load().generation());
    let view = world.handle.start_shift(&chat(), plan(CANARY), "ann", Execution::Dry).await.unwrap();
    assert_eq!((view.id.as_str(), view.state.as_str()), ("dry-run", "preparing"));
    assert_eq!((world.journal.commits().len(), world.table.load().generation()), (before, generation));
    assert_eq!(world.handle.endpoint(&chat()).await.unwrap().running_shift, None);
}

#[tokio::test(start_paused = true)]
async fn a_plan_with_the_same_instances_on_both_sides_is_refused_with_the_key() {
    let world = World::start();
    let mut same = plan(CANARY);
    same.green.instances = endpoint_of("chat", "v1", "127.0.0.1:9001", "/").blue.instances;
    let error = world.handle.start_shift(&chat(), same, "ann", Execution::Real).await.unwrap_err();
    let ControlError::Problems(problems) = error else { panic!("{error}") };
    assert_eq!(problems.problems[0].key, "green.instances");
    assert!(world.journal.running().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_plan_with_an_alarm_on_tokens_is_refused_where_no_stream_is_read() {
    let mut config = config();
    config.endpoints[0].signals = Signals::Off;
    let world = World::start_with(&config, Memory::with_commits(&[]));
    for (kind, rule) in [
        ("guard", "metric = \"first_token\"\nquantile = \"p99\"\nbelow = \"1s\"\n"),
        ("regression", "metric = \"token_gap\"\n"),
        (
            "threshold",
            "metric = \"token_gap\"\nstatistic = \"p90\"\nabove = \"1s\"\nperiod = \"1s\"\nname = \"slow\"\n",
        ),
    ] {
        let plan = plan(&format!("{CANARY}[[{kind}]]\n{rule}"));
        let error = world.handle.start_shift(&chat(), plan, "ann", Execution::Real).await.unwrap_err();
        let ControlError::Problems(problems) = error else { panic!("{error}") };
        let [problem] = problems.problems.as_slice() else { panic!("{problems:?}") };
        assert_eq!(problem.key, kind);
        assert!(
            problem.message.contains(
                "chat's streams, and it reads none: give the endpoint signals = \"auto\", or \"grpc\""
            ),
            "{problem:?}"
        );
    }
    assert!(world.journal.running().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_green_that_does_not_become_healthy_in_time_gets_nothing_and_is_rolled_back() {
    let world = World::start();
    world.checks.set_sick(&["127.0.0.1:9004"]);
    let id = world.begin(&format!("ready_timeout = \"20s\"\n{CANARY}")).await.id;
    let view = world.until_over(&id).await;
    assert!(
        matches!(view.state, State::RolledBack { cause: Cause::GreenNotReady { .. } }),
        "{:?}",
        view.state
    );
    assert_eq!((view.green.requests, view.step), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_green_whose_every_instance_fails_its_checks_is_rolled_back() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.checks.set_sick(&["127.0.0.1:9003"]);
    world.pass(30_000).await;
    assert_eq!(world.green_share(), share("10%"), "one instance is left");
    world.checks.set_sick(&super::world::GREEN);
    let view = world.until_over(&id).await;
    assert_eq!(view.state, State::RolledBack { cause: Cause::GreenGone });
}

#[tokio::test(start_paused = true)]
async fn when_the_evaluator_stalls_green_gets_nothing_more() {
    let mut world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.stall_evaluator();
    world.pass(900).await;
    assert_eq!(world.green_share(), share("10%"));
    world.pass(400).await;
    assert_eq!(world.green_share(), Share::NONE);
    assert!(world.heartbeat.age(world.timer.now()) > STALLED_AFTER);
    let view = world.until_over(&id).await;
    assert_eq!(view.state, State::RolledBack { cause: Cause::EvaluatorStalled });
}

#[tokio::test(start_paused = true)]
async fn a_bake_without_enough_data_holds_until_there_is_enough() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    while world.green_share() == Share::NONE {
        world.pass(10).await;
    }
    world.pass(20_000).await;
    let view = world.shift(&id).await;
    assert_eq!((view.state.as_str(), world.green_share()), ("holding", share("10%")));
    assert_eq!(view.alarms[0].evidence.state, AlarmState::InsufficientData);
    world.serve_well(Side::Green, 100);
    world.pass(50).await;
    assert_eq!(world.green_share(), Share::ALL);
}

#[tokio::test(start_paused = true)]
async fn the_views_numbers_are_the_meters() {
    let world = World::start();
    world.serve_well(Side::Blue, 7);
    let id = world.begin(CANARY).await.id;
    while world.green_share() == Share::NONE {
        world.pass(10).await;
    }
    world.serve_well(Side::Blue, 9);
    world.fail(Side::Blue, 1);
    world.serve_well(Side::Green, 10);
    world.pass(20).await;
    let view = world.shift(&id).await;
    assert_eq!((view.blue.requests, view.blue.failed, view.green.succeeded), (10, 1, 10));
    assert_eq!(view.share_got, Some(0.5));
    assert_eq!((view.blue_recent.requests, view.green_recent.requests), (17, 10));
    assert!((view.green_recent.error_rate).abs() < 1e-9 && view.green_recent.p99.is_some());
    assert_eq!(view.next.what, "step 2 of 2: 100% to green");
    let endpoint = world.handle.endpoint(&chat()).await.unwrap();
    assert_eq!((endpoint.blue.traffic.requests, endpoint.share), (17, share("10%")));
    assert_eq!(endpoint.green.unwrap().instances.len(), 2);
    assert_eq!(endpoint.running_shift, Some(id.clone()));
    let shifts = world.handle.shifts(&chat()).await.unwrap();
    assert_eq!((shifts.len(), shifts[0].blue.requests), (1, 10), "the running one is live");
}

#[tokio::test(start_paused = true)]
async fn the_view_of_a_shift_that_is_over_is_what_it_was_at_its_end() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.fail(Side::Green, 12);
    world.pass(11).await;
    let rolling_back = world.shift(&id).await;
    assert_eq!(rolling_back.state.as_str(), "rolling_back");
    let over = world.until_over(&id).await;
    assert_eq!(over.transitions[..2], rolling_back.transitions[..]);
    assert_eq!(over.alarms, rolling_back.alarms);
    assert_eq!(over.decision, rolling_back.decision);
    assert_eq!((over.green.requests, over.green.failed), (rolling_back.green.requests, 12));
    assert_eq!(over.plan, plan(CANARY));
    assert_eq!(over.next.what, "nothing: the shift is over");
    assert_eq!(world.handle.shifts(&chat()).await.unwrap(), [over]);
}

#[tokio::test(start_paused = true)]
async fn events_are_heard_after_they_are_written_and_in_order() {
    let world = World::start();
    let mut heard = world.handle.subscribe();
    let id = world.begin(CANARY).await.id;
    world.until_over(&id).await;
    let mut events = Vec::new();
    while let Ok(event) = heard.try_recv() {
        events.push(event);
    }
    assert_eq!(events, world.handle.events_after(events[0].id - 1).await.unwrap());
    let states: Vec<_> = events
        .iter()
        .filter(|event| event.shift.is_some())
        .map(|event| event.after.clone().unwrap())
        .collect();
    assert_eq!(states, ["preparing", "baking", "baking", "retiring", "promoted"]);
}
