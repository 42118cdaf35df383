//! Reports on external alarms, and what shifts make of them.

use super::world::{Memory, World, chat, config, share};
use crate::{
    alarm::{AlarmState, Source},
    control::{ControlError, Execution, Report},
    name::ShiftId,
    shift::{Cause, State},
    weight::Share,
};

/// A canary of 10% that watches `quality`, with a lease of a minute.
fn watching(more: &str) -> String {
    format!(
        "strategy = {{ type = \"canary\", share = \"10%\", bake = \"10s\", final_bake = \"20s\" }}\n{more}\n\
         [[external]]\nname = \"quality\"\nlease = \"1m\"\n"
    )
}

async fn report(world: &World, state: AlarmState, reason: &str) -> Result<Vec<ShiftId>, ControlError> {
    let (name, actor) = ("quality".to_owned(), "grader".into());
    world.handle.report_alarm(Report { name, state, actor, reason: reason.to_owned() }, Execution::Real).await
}

#[tokio::test(start_paused = true)]
async fn a_raised_external_alarm_rolls_back_before_it_is_answered_with_who_said_so() {
    let world = World::start();
    let id = world.begin(&watching("")).await.id;
    world.until_share(&id, "10%").await;
    assert_eq!(report(&world, AlarmState::Alarm, "odd answers").await.unwrap(), std::slice::from_ref(&id));
    assert_eq!(world.green_share(), Share::NONE);
    let view = world.until_over(&id).await;
    let State::RolledBack { cause: Cause::Alarm { name, evidence } } = &view.state else {
        panic!("{:?}", view.state)
    };
    assert_eq!((name.as_str(), evidence.as_str()), ("quality", "reported alarm: odd answers"));
    assert_eq!(view.externals[0].evidence.state, AlarmState::Alarm);
    assert!(view.moments.decided_at.is_some() && view.moments.breach_at.is_none());
    let events = world.journal.events();
    let reported = events.iter().find(|event| event.kind == "alarm.state").unwrap();
    assert_eq!((reported.actor.as_str(), reported.after.as_deref()), ("grader", Some("alarm")));
    assert_eq!(
        (&reported.shift, reported.cause.as_str()),
        (&Some(id), "external alarm quality: odd answers")
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_holds_until_the_external_alarm_is_reported_ok_and_while_that_holds() {
    let world = World::start();
    let id = world.begin(&watching("")).await.id;
    world.until(&id, |view| view.state.as_str() == "holding").await;
    report(&world, AlarmState::Ok, "").await.unwrap();
    world.until_share(&id, "100%").await;
    let renewed = world.journal.events().len();
    report(&world, AlarmState::Ok, "still").await.unwrap();
    assert_eq!(world.journal.events().len(), renewed, "a renewal is no event");
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
    let refused = report(&world, AlarmState::Alarm, "").await.unwrap_err();
    assert!(matches!(refused, ControlError::NoAlarm { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_runs_out_leads_to_the_stated_state() {
    let world = World::start();
    let id = world.begin(&format!("{}on_expiry = \"alarm\"\n", watching(""))).await.id;
    world.until_share(&id, "10%").await;
    world.pass(55_000).await;
    assert_eq!(world.green_share(), share("10%"));
    report(&world, AlarmState::InsufficientData, "grading").await.unwrap();
    world.pass(59_000).await;
    assert_eq!(world.green_share(), share("10%"));
    world.pass(1_100).await;
    assert_eq!(world.green_share(), Share::NONE);
    let view = world.until_over(&id).await;
    let State::RolledBack { cause: Cause::Alarm { evidence, .. } } = &view.state else {
        panic!("{:?}", view.state)
    };
    assert_eq!(evidence, "no report for 1 min, which counts as alarm");
}

#[tokio::test(start_paused = true)]
async fn too_little_data_of_an_external_alarm_follows_the_plan() {
    for (no_data, state) in [("pass", "promoted"), ("fail", "rolled_back")] {
        let world = World::start();
        let id = world.begin(&watching(&format!("no_data = \"{no_data}\""))).await.id;
        let view = world.until_over(&id).await;
        assert_eq!(view.state.as_str(), state);
        if no_data == "fail" {
            assert_eq!(view.state, State::RolledBack { cause: Cause::NoData });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_on_an_alarm_that_no_shift_watches_says_which_there_are() {
    let world = World::start();
    let refused = report(&world, AlarmState::Ok, "").await.unwrap_err().to_string();
    assert_eq!(refused, "no running shift has an external alarm \"quality\"; there are: none");
    world.begin(&watching("").replace("quality", "grades")).await;
    let refused = report(&world, AlarmState::Ok, "").await.unwrap_err().to_string();
    assert_eq!(refused, "no running shift has an external alarm \"quality\"; there are: grades");
}

#[tokio::test(start_paused = true)]
async fn a_dry_report_changes_nothing() {
    let world = World::start();
    let id = world.begin(&watching("")).await.id;
    world.until_share(&id, "10%").await;
    let report = Report {
        name: "quality".to_owned(),
        state: AlarmState::Alarm,
        actor: "grader".into(),
        reason: String::new(),
    };
    assert_eq!(world.handle.report_alarm(report, Execution::Dry).await.unwrap(), [id]);
    world.pass(50).await;
    assert_eq!(world.green_share(), share("10%"));
}

#[tokio::test(start_paused = true)]
async fn while_the_journal_fails_a_raised_alarm_still_acts_and_an_ok_does_not_count() {
    let journal = std::sync::Arc::<Memory>::default();
    let world = World::start_with(&config(), std::sync::Arc::clone(&journal));
    let id = world.begin(&watching("")).await.id;
    world.until_share(&id, "10%").await;
    journal.set_failing(true);
    assert!(matches!(report(&world, AlarmState::Ok, "").await, Err(ControlError::Store(_))));
    assert_eq!(world.shift(&id).await.externals[0].evidence.state, AlarmState::InsufficientData);
    report(&world, AlarmState::Alarm, "").await.unwrap();
    assert_eq!(world.green_share(), Share::NONE);
    journal.set_failing(false);
    world.until_over(&id).await;
    assert!(world.handle.endpoint(&chat()).await.unwrap().running_shift.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_report_holds_after_a_restart_for_what_is_left_of_its_lease() {
    let world = World::start();
    let id = world.begin(&format!("{}on_expiry = \"alarm\"\n", watching(""))).await.id;
    world.until_share(&id, "10%").await;
    report(&world, AlarmState::Ok, "20 of 20 graded well").await.unwrap();
    let world = World::start_with(&config(), world.crash().await);
    let view = world.shift(&id).await;
    assert_eq!(view.externals[0].evidence.source, Source::Report("20 of 20 graded well".to_owned()));
    assert!(view.externals[0].lease_ends_at.is_some());
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
}
