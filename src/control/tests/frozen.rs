//! What is frozen does not go on.

use super::world::{CANARY, Memory, World, chat, config, plan};
use crate::{
    control::{Actor, ControlError, Execution},
    fleet::Side,
    shift::{Cause, Command, Refusal, State},
    weight::Share,
};

fn because(reason: &str) -> Actor {
    Actor { reason: reason.to_owned(), ..Actor::from("ann") }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_shift_holds_at_the_end_of_its_bake_says_why_and_goes_on_when_it_is_let() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.handle.freeze(Some(chat()), because("incident 1207")).await.unwrap();
    let view = world.until(&id, |view| view.state.as_str() == "holding").await;
    assert!(view.held.unwrap().contains("chat is frozen by ann since"));
    assert!(view.next.what.starts_with("once it is unfrozen: "), "{}", view.next.what);
    let cause = &view.transitions.last().unwrap().cause;
    assert!(cause.contains("the bake of step 1 is over, but chat is frozen by ann"), "{cause}");
    for command in [Command::Promote, Command::SkipBake { step: 0 }] {
        let refused = world.command(&id, command).await.unwrap_err();
        assert!(matches!(refused, ControlError::Refused(Refusal::Held { .. })), "{refused}");
    }
    for _ in 0..600 {
        world.good_traffic();
        world.pass(100).await;
    }
    assert_eq!(world.green_share(), super::world::share("10%"));
    assert_eq!(world.handle.unfreeze(Some(chat()), because("closed")).await.unwrap(), []);
    assert_eq!(world.green_share(), Share::ALL);
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
    let told = world.journal.events().into_iter().filter(|event| event.kind.starts_with("endpoint."));
    let told: Vec<_> = told.map(|event| (event.kind, event.cause)).collect();
    assert_eq!(told[1], ("endpoint.frozen".to_owned(), "chat is frozen: incident 1207".to_owned()));
    assert_eq!(told[2], ("endpoint.unfrozen".to_owned(), "chat is not frozen any more: closed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn alarms_and_aborts_count_under_a_freeze() {
    for is_aborted in [true, false] {
        let world = World::start();
        let id = world.begin(CANARY).await.id;
        world.until_share(&id, "10%").await;
        world.handle.freeze(None, "ann").await.unwrap();
        if is_aborted {
            world.command(&id, Command::Abort).await.unwrap();
        } else {
            world.fail(Side::Green, 12);
        }
        let State::RolledBack { cause } = world.until_over(&id).await.state else { panic!("it went on") };
        assert_eq!(cause == Cause::Aborted, is_aborted);
    }
}

#[tokio::test(start_paused = true)]
async fn the_execution_timeout_of_a_frozen_shift_counts_on() {
    let world = World::start();
    let id = world.begin(&format!("execution_timeout = \"2m\"\n{CANARY}")).await.id;
    world.until_share(&id, "10%").await;
    world.handle.freeze(Some(chat()), "ann").await.unwrap();
    assert_eq!(world.until_over(&id).await.state, State::RolledBack { cause: Cause::ExecutionTimeout });
}

#[tokio::test(start_paused = true)]
async fn a_green_that_becomes_ready_under_a_freeze_gets_its_share_after_it() {
    let world = World::start();
    world.checks.set_sick(&super::world::GREEN);
    let id = world.begin(CANARY).await.id;
    world.handle.freeze(None, "ann").await.unwrap();
    world.checks.set_sick(&[]);
    world.pass(400_000).await;
    let view = world.shift(&id).await;
    assert_eq!((view.state.as_str(), view.share), ("preparing", Share::NONE));
    world.handle.unfreeze(None, "ann").await.unwrap();
    assert_eq!(world.green_share(), super::world::share("10%"));
}

#[tokio::test(start_paused = true)]
async fn blue_is_not_let_go_under_a_freeze() {
    let world = World::start();
    let id = world.begin(&format!("termination_wait = \"5s\"\n{CANARY}")).await.id;
    world.until(&id, |view| view.state.as_str() == "termination_wait").await;
    world.handle.freeze(Some(chat()), "ann").await.unwrap();
    world.pass(60_000).await;
    assert_eq!(world.shift(&id).await.state.as_str(), "termination_wait");
    world.handle.unfreeze(Some(chat()), "ann").await.unwrap();
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_under_a_freeze_and_a_freeze_outlives_its_process() {
    let world = World::start();
    world.handle.freeze(None, because("end of the year")).await.unwrap();
    let world = World::start_with(&config(), world.crash().await);
    let chat = chat();
    let start = world.handle.start_shift(&chat, plan(CANARY), "ann", Execution::Real);
    let refused = start.await.unwrap_err();
    let ControlError::Frozen { why } = refused else { panic!("{refused}") };
    assert!(
        why.starts_with("all endpoints are frozen by ann") && why.ends_with(": end of the year"),
        "{why}"
    );
    assert!(world.handle.endpoint(&chat).await.unwrap().freeze.is_some());
    world.handle.unfreeze(None, "ann").await.unwrap();
    world.begin(CANARY).await;
}

#[tokio::test(start_paused = true)]
async fn freezing_twice_keeps_the_first_freeze_and_lifting_none_does_nothing() {
    let world = World::start();
    world.handle.unfreeze(Some(chat()), "ann").await.unwrap();
    world.handle.freeze(Some(chat()), because("one")).await.unwrap();
    let events = world.journal.events().len();
    let freezes = world.handle.freeze(Some(chat()), because("two")).await.unwrap();
    assert_eq!((freezes.len(), freezes[0].reason.as_str()), (1, "one"));
    assert_eq!(world.journal.events().len(), events);
    let freezes = world.handle.unfreeze(None, "ann").await.unwrap();
    assert_eq!(freezes.len(), 1, "an endpoint's own freeze is not lifted with that of all");
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_cannot_be_written_does_not_hold() {
    let world = World::start_with(&config(), Memory::with_commits(&[]));
    world.journal.set_failing(true);
    assert!(world.handle.freeze(Some(chat()), "ann").await.is_err());
    assert_eq!(world.handle.freezes().await.unwrap(), []);
}
