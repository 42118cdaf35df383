//! Polled alarms, and what shifts make of them.

use super::world::{CANARY, GREEN, World, chat, plan, share};
use crate::{
    alarm::{AlarmState, Source},
    control::{ControlError, Execution, Report},
    name::ShiftId,
    shift::{Cause, State},
    weight::Share,
};

/// A canary of 10% that asks about `quality` every five seconds.
fn asking(more: &str) -> String {
    format!(
        "strategy = {{ type = \"canary\", share = \"10%\", bake = \"10s\", final_bake = \"20s\" }}\n\
         [[external]]\nname = \"quality\"\nlease = \"1m\"\n\
         [external.poll]\nurl = \"http://grader/\"\nevery = \"5s\"\n{more}\n"
    )
}

async fn evidence_of(world: &World, id: &ShiftId) -> String {
    let view = world.until_over(id).await;
    let State::RolledBack { cause: Cause::Alarm { name, evidence } } = view.state else {
        panic!("{:?}", view.state)
    };
    assert_eq!(name, "quality");
    evidence
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_alarm_rolls_back_and_is_journalled_with_its_reason() {
    let world = World::start();
    world.oracle.say("quality", AlarmState::Ok);
    let id = world.begin(&asking("")).await.id;
    world.until_share(&id, "10%").await;
    world.oracle.say("quality", AlarmState::Alarm);
    world.pass(6_000).await;
    assert_eq!(world.green_share(), Share::NONE);
    assert_eq!(evidence_of(&world, &id).await, "answered alarm: scripted");
    let events = world.journal.events();
    let said: Vec<_> = events.iter().filter(|event| event.kind == "alarm.state").collect();
    let changes: Vec<_> =
        said.iter().map(|event| (event.before.as_deref(), event.after.as_deref())).collect();
    assert_eq!(changes, [(Some("insufficient_data"), Some("ok")), (Some("ok"), Some("alarm"))]);
    assert_eq!(
        (said[1].actor.as_str(), said[1].cause.as_str()),
        ("poll", "external alarm quality: answered alarm: scripted")
    );
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_is_raised_while_green_gets_ready_keeps_it_from_its_first_share() {
    let world = World::start();
    world.oracle.say("quality", AlarmState::Ok);
    world.checks.set_sick(&GREEN);
    let id = world.begin(&asking("")).await.id;
    world.oracle.say("quality", AlarmState::Alarm);
    world.pass(10_000).await;
    assert_eq!(world.shift(&id).await.state.as_str(), "preparing");
    world.checks.set_sick(&[]);
    assert_eq!(evidence_of(&world, &id).await, "answered alarm: scripted");
    assert!(
        world.journal.seen().iter().all(|(_, share)| *share == Share::NONE),
        "{:?}",
        world.journal.seen()
    );
    assert_eq!(world.shift(&id).await.green.requests, 0);
}

#[tokio::test(start_paused = true)]
async fn questions_name_the_shift_and_end_with_it() {
    let world = World::start();
    world.oracle.say("quality", AlarmState::Ok);
    let id = world.begin(&asking("")).await.id;
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
    let asked = world.oracle.asked();
    let (first, others) = asked.split_first().unwrap();
    assert_eq!(first.1.shift, "dry-run", "before the shift began");
    assert!(others.iter().all(|(alarm, subject)| {
        (alarm.as_str(), subject.shift.as_str()) == ("quality", id.as_str())
            && (subject.endpoint.as_str(), subject.blue.as_str(), subject.green.as_str())
                == ("chat", "v1", "v2")
    }));
    assert!((6..=9).contains(&others.len()), "30 seconds of bakes, every 5: {}", others.len());
    world.pass(60_000).await;
    assert_eq!(world.oracle.asked().len(), asked.len());
}

#[tokio::test(start_paused = true)]
async fn one_answer_of_two_that_are_needed_rolls_nothing_back() {
    let world = World::start();
    world.oracle.say("quality", AlarmState::Ok);
    let id = world.begin(&asking("datapoints = \"2 of 2\"")).await.id;
    world.until_share(&id, "10%").await;
    world.oracle.say("quality", AlarmState::Alarm);
    world.pass(5_600).await;
    assert_eq!(world.green_share(), share("10%"));
    assert_eq!(world.shift(&id).await.externals[0].evidence.nearness(), 0.5);
    world.pass(5_600).await;
    assert_eq!(world.green_share(), Share::NONE);
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_in_a_row_say_what_the_plan_states() {
    let world = World::start();
    world.oracle.say("quality", AlarmState::Ok);
    let id = world.begin(&asking("errors = 2\non_error = \"alarm\"")).await.id;
    world.until_share(&id, "10%").await;
    world.oracle.fail("quality", "no connection: refused");
    world.pass(5_600).await;
    let polls = world.shift(&id).await.externals[0].evidence.polls.clone();
    assert_eq!((polls.failed_in_a_row, polls.last_failure.as_str()), (1, "no connection: refused"));
    assert_eq!(world.green_share(), share("10%"));
    world.pass(5_600).await;
    assert_eq!(
        evidence_of(&world, &id).await,
        "the last 2 questions failed, which counts as alarm: no connection: refused"
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_is_given_up_and_holds_nobody_else_up() {
    let world = World::start();
    world.oracle.say("quality", AlarmState::Ok);
    let hangs =
        "[[external]]\nname = \"hangs\"\npoll = { url = \"http://b/\", timeout = \"2s\", errors = 100 }\n";
    let id = world.begin(&format!("{}{hangs}", asking(""))).await.id;
    world.until(&id, |view| view.state.as_str() == "holding").await;
    let externals = world.shift(&id).await.externals;
    assert_eq!(externals[0].evidence.state, AlarmState::Ok);
    assert_eq!(externals[1].evidence.state, AlarmState::InsufficientData);
    assert_eq!(externals[1].evidence.polls.last_failure, "no answer within 2s");
    world.oracle.say("hangs", AlarmState::Ok);
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_shift_starts_while_an_alarm_is_raised_that_its_plan_ignores_and_heeds_it_once_it_was_ok() {
    let world = World::start();
    world.oracle.say("quality", AlarmState::Alarm);
    let ignoring = asking("").replacen("[[external]]\n", "[[external]]\nignore_raised = true\n", 1);
    let checked = world.handle.start_shift(&chat(), plan(&ignoring), "ann", Execution::Dry).await.unwrap();
    assert!(checked.findings.iter().any(|finding| finding.code == "alarm_ignored"), "{:?}", checked.findings);
    let id = world.begin(&ignoring).await.id;
    world.until_share(&id, "10%").await;
    world.pass(6_000).await;
    assert_eq!(world.shift(&id).await.externals[0].evidence.source, Source::Ignored);
    assert_eq!(world.green_share(), share("10%"));
    world.oracle.say("quality", AlarmState::Ok);
    world.pass(5_600).await;
    world.oracle.say("quality", AlarmState::Alarm);
    assert_eq!(evidence_of(&world, &id).await, "answered alarm: scripted");
}

#[tokio::test(start_paused = true)]
async fn a_shift_does_not_start_while_an_alarm_of_its_plan_is_raised() {
    let world = World::start();
    world.oracle.say("quality", AlarmState::Alarm);
    let refused =
        world.handle.start_shift(&chat(), plan(&asking("")), "ann", Execution::Real).await.unwrap_err();
    assert!(matches!(refused, ControlError::AlarmRaised { .. }), "{refused}");
    assert_eq!(
        refused.to_string(),
        "chat cannot start this shift: external quality: it is raised already (asked, it says alarm: scripted), so a shift is refused: \
         wait until it is ok, or leave it out, or say ignore_raised = true"
    );
    assert!(world.journal.running().is_none());
    let checked = world.handle.start_shift(&chat(), plan(&asking("")), "ann", Execution::Dry).await.unwrap();
    let codes: Vec<_> = checked.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert!(codes.contains(&"alarm_raised"), "{codes:?}");
    world.oracle.fail("quality", "no connection");
    let checked = world.handle.start_shift(&chat(), plan(&asking("")), "ann", Execution::Dry).await.unwrap();
    let failed = checked.findings.iter().find(|finding| finding.code == "poll_failed").unwrap();
    assert_eq!(
        failed.message,
        "it could not be asked: no connection; after 5 failures in a row it says insufficient data"
    );
}

#[tokio::test(start_paused = true)]
async fn a_report_that_ended_one_shift_keeps_the_next_from_starting_until_it_is_taken_back_or_over() {
    let world = World::start();
    let told = format!("{CANARY}[[external]]\nname = \"grades\"\nlease = \"1m\"\n");
    let report = async |state| {
        let (name, actor, reason) = ("grades".to_owned(), "grader".into(), "odd".to_owned());
        world.handle.report_alarm(Report { name, state, actor, reason }, Execution::Real).await
    };
    let id = world.begin(&told).await.id;
    world.until_share(&id, "10%").await;
    report(AlarmState::Alarm).await.unwrap();
    world.until_over(&id).await;
    let start = async || world.handle.start_shift(&chat(), plan(&told), "ann", Execution::Real).await;
    let refused = start().await.unwrap_err().to_string();
    assert!(refused.contains("it is raised already (reported alarm: odd)"), "{refused}");
    assert_eq!(report(AlarmState::Ok).await.unwrap(), []);
    let id = start().await.unwrap().id;
    world.until_share(&id, "10%").await;
    report(AlarmState::Alarm).await.unwrap();
    world.until_over(&id).await;
    world.pass(61_000).await;
    start().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_question_is_asked_again_before_anything_is_made_of_it() {
    let world = World::start();
    world.oracle.say("quality", AlarmState::Ok);
    let id = world.begin(&asking("")).await.id;
    world.until_share(&id, "10%").await;
    let world = World::start_with(&super::world::config(), world.crash().await);
    world.pass(20).await;
    let view = world.shift(&id).await;
    assert_eq!(view.externals[0].evidence.state, AlarmState::InsufficientData);
    world.oracle.say("quality", AlarmState::Ok);
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
}
