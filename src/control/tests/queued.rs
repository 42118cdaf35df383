//! Shifts that wait for their turn.

use std::sync::Arc;

use super::world::{CANARY, Memory, World, chat, config, plan};
use crate::{
    alarm::AlarmState,
    config::PlanSpec,
    control::{Actor, ControlError, Execution, QueuedView, Report, Submitted},
    fleet::FleetSpec,
    name::{ShiftId, Version},
    shift::{Cause, Command, State},
};

/// A plan to another version on instances of its own.
fn plan_to(version: &str, turn: &str) -> PlanSpec {
    let plan = plan(&format!("{turn}\n{CANARY}"));
    let port = 9_100 + u16::from(version.as_bytes()[1]);
    let instances = vec![crate::fleet::Address::parse(&format!("127.0.0.1:{port}")).unwrap().into()];
    PlanSpec {
        green: FleetSpec { version: Version::parse(version).unwrap(), instances, ..plan.green },
        ..plan
    }
}

const QUEUE: &str = "if_running = \"queue\"";
const QUEUE_IN_ANY_CASE: &str = "if_running = \"queue\"\nstart_after = \"ended\"";
const SUPERSEDE: &str = "if_running = \"supersede\"";

async fn submit(world: &World, version: &str, turn: &str) -> Submitted {
    let actor = Actor { reason: "next".to_owned(), ..Actor::from("ann") };
    world.handle.submit_shift(&chat(), plan_to(version, turn), actor).await.unwrap()
}

async fn queue(world: &World, version: &str, turn: &str) -> QueuedView {
    match submit(world, version, turn).await {
        Submitted::Queued(queued) => *queued,
        Submitted::Begun(view) => panic!("{version} has begun: {view:#?}"),
    }
}

/// Lets time pass until a shift that waited has begun.
async fn begun(world: &World, id: &ShiftId) {
    for _ in 0..1_000 {
        if world.handle.shift(id).await.is_ok() {
            return;
        }
        world.pass(100).await;
    }
    panic!("{id} did not begin");
}

async fn waiting(world: &World) -> Vec<ShiftId> {
    world.handle.endpoint(&chat()).await.unwrap().queue.into_iter().map(|view| view.queued.id).collect()
}

fn dropped(journal: &Memory) -> Vec<(String, String)> {
    let events = journal.events().into_iter().filter(|event| event.kind == "shift.dropped");
    events.map(|event| (event.shift.unwrap().to_string(), event.cause)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_queued_shift_begins_when_the_one_before_is_promoted() {
    let world = World::start();
    let first = world.begin(CANARY).await.id;
    let queued = queue(&world, "v3", QUEUE).await;
    assert_eq!(
        (queued.place, queued.waits_for),
        (1, format!("the promotion of {first}; dropped if that goes back"))
    );
    assert_eq!(waiting(&world).await, std::slice::from_ref(&queued.queued.id));
    world.until_over(&first).await;
    begun(&world, &queued.queued.id).await;
    let view = world.shift(&queued.queued.id).await;
    assert_eq!(
        (view.blue_version.as_str(), view.plan.green.version.as_str(), view.actor.as_str()),
        ("v2", "v3", "ann")
    );
    assert_eq!(waiting(&world).await, []);
    assert_eq!(world.until_over(&view.id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_shift_that_goes_back_drops_those_that_wanted_it_promoted_and_lets_the_others_begin() {
    let world = World::start();
    let first = world.begin(CANARY).await.id;
    let (three, four) = (queue(&world, "v3", QUEUE).await, queue(&world, "v4", QUEUE).await);
    let five = queue(&world, "v5", QUEUE_IN_ANY_CASE).await.queued.id;
    let six = queue(&world, "v6", QUEUE).await.queued.id;
    world.command(&first, Command::Abort).await.unwrap();
    world.until_over(&first).await;
    begun(&world, &five).await;
    assert_eq!(world.shift(&five).await.blue_version.as_str(), "v1");
    assert_eq!(waiting(&world).await, std::slice::from_ref(&six), "it waits for the one that has begun");
    let why = format!("{first}, which it was to follow once promoted, was rolled back");
    let ids = [three.queued.id.to_string(), four.queued.id.to_string()];
    assert_eq!(dropped(&world.journal), ids.map(|id| (id, why.clone())));
    world.until_over(&five).await;
    begun(&world, &six).await;
    assert_eq!(world.until_over(&six).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_superseding_shift_rolls_the_running_one_back_first_and_both_say_so() {
    let world = World::start();
    let first = world.begin(CANARY).await.id;
    world.until_share(&first, "10%").await;
    let behind = queue(&world, "v4", QUEUE).await.queued.id;
    let second = queue(&world, "v3", SUPERSEDE).await.queued.id;
    let over = world.until_over(&first).await;
    assert_eq!(over.state, State::RolledBack { cause: Cause::Aborted });
    assert_eq!(over.lineage.superseded_by.as_ref(), Some(&second));
    let cause = &over.transitions.iter().find(|step| step.after == "rolling_back").unwrap().cause;
    assert!(cause.contains(&format!("superseded by {second}: next")), "{cause}");
    begun(&world, &second).await;
    let view = world.shift(&second).await;
    assert_eq!((view.blue_version.as_str(), view.lineage.supersedes.as_ref()), ("v1", Some(&first)));
    assert_eq!(waiting(&world).await, [behind]);
    begun(&world, &second).await;
    assert_eq!(world.until_over(&second).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn the_last_one_that_supersedes_counts() {
    let world = World::start();
    let first = world.begin(CANARY).await.id;
    let lost = queue(&world, "v3", SUPERSEDE).await.queued.id;
    let won = queue(&world, "v4", SUPERSEDE).await.queued.id;
    world.until_over(&first).await;
    assert_eq!(dropped(&world.journal), [(lost.to_string(), format!("superseded by {won} before it began"))]);
    begun(&world, &won).await;
    assert_eq!(world.until_over(&won).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_queue_outlives_its_process_at_every_commit() {
    let world = World::start();
    let first = world.begin(CANARY).await.id;
    let second = queue(&world, "v3", QUEUE).await.queued.id;
    world.until_over(&first).await;
    begun(&world, &second).await;
    world.until_over(&second).await;
    let commits = world.journal.commits();
    let queued_at = commits
        .iter()
        .position(|records| records.iter().any(|record| matches!(record, crate::store::Record::Queued(_))));
    for count in queued_at.unwrap() + 1..=commits.len() {
        let journal = Memory::with_commits(&commits[..count]);
        let world = World::start_with(&config(), Arc::clone(&journal));
        assert_eq!(world.until_over(&first).await.state, State::Promoted, "after {count} commits");
        begun(&world, &second).await;
        assert_eq!(world.until_over(&second).await.state, State::Promoted, "after {count} commits");
        assert_eq!(dropped(&journal), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_again_rolls_back_whom_it_was_to_roll_back() {
    let world = World::start();
    let first = world.begin(CANARY).await.id;
    world.until_share(&first, "10%").await;
    let second = queue(&world, "v3", SUPERSEDE).await.queued.id;
    let commits = world.journal.commits();
    let queued_at = commits
        .iter()
        .position(|records| records.iter().any(|record| matches!(record, crate::store::Record::Queued(_))));
    let world = World::start_with(&config(), Memory::with_commits(&commits[..=queued_at.unwrap()]));
    assert_eq!(world.until_over(&first).await.lineage.superseded_by.as_ref(), Some(&second));
    begun(&world, &second).await;
    assert_eq!(world.until_over(&second).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_queue_has_a_bound_and_whoever_waits_can_be_taken_out() {
    let world = World::start();
    let first = world.begin(CANARY).await.id;
    for _ in 0..8 {
        queue(&world, "v3", QUEUE).await;
    }
    let refused = world.handle.submit_shift(&chat(), plan_to("v4", QUEUE), "ann").await.unwrap_err();
    assert!(matches!(refused, ControlError::QueueFull { most: 8, .. }), "{refused}");
    let because = Actor { reason: "not today".to_owned(), ..Actor::from("bob") };
    for id in waiting(&world).await {
        world.handle.cancel_queued(&id, because.clone()).await.unwrap();
        let refused = world.handle.cancel_queued(&id, "bob").await.unwrap_err();
        assert!(matches!(refused, ControlError::NotQueued(_)), "{refused}");
    }
    let told = world.journal.events().into_iter().rfind(|event| event.kind == "shift.dropped").unwrap();
    assert_eq!((told.actor.as_str(), told.cause.as_str()), ("bob", "cancelled: not today"));
    let refused = world.handle.cancel_queued(&first, "bob").await.unwrap_err();
    assert!(matches!(refused, ControlError::NotQueued(_)), "what has begun is no queue's");
}

#[tokio::test(start_paused = true)]
async fn nobodys_turn_comes_under_a_freeze() {
    let world = World::start();
    let first = world.begin(CANARY).await.id;
    let second = queue(&world, "v3", QUEUE_IN_ANY_CASE).await.queued.id;
    world.handle.freeze(Some(chat()), "ann").await.unwrap();
    world.command(&first, Command::Abort).await.unwrap();
    world.until_over(&first).await;
    world.pass(60_000).await;
    assert_eq!(waiting(&world).await, std::slice::from_ref(&second));
    world.handle.unfreeze(Some(chat()), "ann").await.unwrap();
    begun(&world, &second).await;
    assert_eq!(world.until_over(&second).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_begin_when_its_turn_comes_is_dropped_with_the_reason() {
    let world = World::start();
    let first = world.begin(CANARY).await.id;
    let same = plan(&format!("{QUEUE}\n{CANARY}"));
    let Submitted::Queued(queued) = world.handle.submit_shift(&chat(), same, "ann").await.unwrap() else {
        panic!("it has begun")
    };
    world.until_over(&first).await;
    let dropped = dropped(&world.journal);
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped[0].0, queued.queued.id.to_string());
    assert!(
        dropped[0].1.starts_with("it could not begin: ") && dropped[0].1.contains("nothing to shift to"),
        "{dropped:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_written_keeps_a_queued_shift_for_later() {
    let world = World::start();
    let first = world.begin(CANARY).await.id;
    let second = queue(&world, "v3", QUEUE_IN_ANY_CASE).await.queued.id;
    world.journal.set_failing(true);
    world.command(&first, Command::Abort).await.unwrap();
    world.pass(30_000).await;
    assert_eq!(waiting(&world).await, std::slice::from_ref(&second));
    world.journal.set_failing(false);
    begun(&world, &second).await;
    assert_eq!(world.until_over(&second).await.state, State::Promoted);
}

/// A plan that asks about `quality`, or is told of `grades`.
fn watched_plan(version: &str) -> PlanSpec {
    let externals = "[[external]]\nname = \"quality\"\npoll = { url = \"http://grader/\" }\n\
                     [[external]]\nname = \"grades\"\nlease = \"1m\"\non_expiry = \"ok\"\n";
    let PlanSpec { alarms, .. } = plan(&format!("{QUEUE_IN_ANY_CASE}\n{CANARY}{externals}"));
    PlanSpec { alarms, ..plan_to(version, QUEUE_IN_ANY_CASE) }
}

async fn queue_watched(world: &World, version: &str) -> ShiftId {
    match world.handle.submit_shift(&chat(), watched_plan(version), "ann").await.unwrap() {
        Submitted::Queued(queued) => queued.queued.id,
        Submitted::Begun(view) => panic!("{version} has begun: {view:#?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn external_alarms_are_asked_again_when_a_queued_shifts_turn_comes() {
    let world = World::start();
    world.oracle.say("quality", AlarmState::Ok);
    let first = world.begin(CANARY).await.id;
    let (raised, other) = (queue_watched(&world, "v3").await, queue_watched(&world, "v4").await);
    world.oracle.say("quality", AlarmState::Alarm);
    world.until_over(&first).await;
    world.pass(100).await;
    let why = dropped(&world.journal);
    assert_eq!(why.len(), 2, "{why:?}");
    assert_eq!((&why[0].0, &why[1].0), (&raised.to_string(), &other.to_string()));
    assert!(
        why[0].1.starts_with(
            "it could not begin: chat cannot start this shift: external quality: it is raised already (asked, it says alarm: scripted)"
        ),
        "{why:?}"
    );
    let asked = world.oracle.asked();
    assert!(asked.iter().any(|(_, subject)| subject.shift == raised.as_str()), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queued_shift_begins_with_the_findings_of_the_later_look_and_holds_nobody_up_while_it_is_made() {
    let world = World::start();
    world.oracle.fail("quality", "no connection");
    let first = world.begin(CANARY).await.id;
    let queued = queue_watched(&world, "v3").await;
    world.oracle.forget("quality");
    world.until_over(&first).await;
    world.pass(1_000).await;
    assert_eq!(
        waiting(&world).await,
        std::slice::from_ref(&queued),
        "the question hangs, and this is answered"
    );
    begun(&world, &queued).await;
    let findings = world.shift(&queued).await.findings;
    let failed: Vec<_> = findings.iter().filter(|finding| finding.code == "poll_failed").collect();
    assert_eq!(failed.len(), 1, "{findings:?}");
    assert!(failed[0].message.starts_with("it could not be asked: no answer within 5s"), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_report_that_came_while_a_shift_waited_keeps_it_from_beginning() {
    let world = World::start();
    world.oracle.say("quality", AlarmState::Ok);
    let told = format!("{CANARY}[[external]]\nname = \"grades\"\nlease = \"1m\"\n");
    let first = world.begin(&told).await.id;
    let queued = queue_watched(&world, "v3").await;
    world.until_share(&first, "10%").await;
    let (name, actor, reason) = ("grades".to_owned(), "grader".into(), "odd".to_owned());
    let report = Report { name, state: AlarmState::Alarm, actor, reason };
    world.handle.report_alarm(report, Execution::Real).await.unwrap();
    world.until_over(&first).await;
    world.pass(100).await;
    let why = dropped(&world.journal);
    assert_eq!(why.len(), 1, "{why:?}");
    assert!(why[0].0 == queued.to_string() && why[0].1.contains("(reported alarm: odd)"), "{why:?}");
}
