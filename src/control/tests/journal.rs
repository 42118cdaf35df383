//! A journal that cannot be written.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use super::world::{CANARY, Memory, World, chat, endpoint_of, plan, share};
use crate::{
    control::{
        ControlError, Execution,
        ledger::{Draft, Ledger},
    },
    fleet::Side,
    shift::{Cause, Command, State},
    store::Head,
    time::WallTime,
    weight::Share,
};

#[tokio::test(start_paused = true)]
async fn a_shift_whose_start_cannot_be_written_does_not_begin() {
    let world = World::start();
    world.pass(100).await;
    world.handle.ready().unwrap();
    world.journal.set_failing(true);
    let error = world.handle.start_shift(&chat(), plan(CANARY), "ann", Execution::Real).await.unwrap_err();
    assert!(matches!(error, ControlError::Store(_)), "{error}");
    assert!(world.handle.ready().unwrap_err().contains("the disk is full"));
    world.pass(60_000).await;
    assert_eq!(world.handle.endpoint(&chat()).await.unwrap().running_shift, None);
    assert!(world.route().green.is_none());
    world.journal.set_failing(false);
    world.pass(11_000).await;
    world.handle.ready().unwrap();
    let id = world.begin(CANARY).await.id;
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_cannot_be_written_does_not_happen_until_it_can() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.serve_well(Side::Green, 1000);
    world.journal.set_failing(true);
    world.pass(60_000).await;
    assert_eq!((world.shift(&id).await.state.as_str(), world.green_share()), ("baking", share("10%")));
    assert!(world.handle.ready().is_err());
    world.journal.set_failing(false);
    world.pass(11_000).await;
    assert_eq!(world.green_share(), Share::ALL);
    world.handle.ready().unwrap();
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_breach_acts_though_it_cannot_be_written_and_is_written_later() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.journal.set_failing(true);
    world.fail(Side::Green, 12);
    world.pass(11).await;
    assert_eq!(world.green_share(), Share::NONE);
    world.pass(60_000).await;
    assert_eq!(world.shift(&id).await.state.as_str(), "rolling_back");
    assert_eq!(world.journal.running().unwrap().snapshot.state.as_str(), "baking");
    assert!(world.handle.ready().is_err());
    let again = world.handle.start_shift(&chat(), plan(CANARY), "ann", Execution::Real).await.unwrap_err();
    assert!(matches!(again, ControlError::ShiftRunning { .. }), "{again}");
    world.journal.set_failing(false);
    let view = world.until_over(&id).await;
    assert!(matches!(view.state, State::RolledBack { .. }));
    let changes: Vec<_> =
        world.journal.events().into_iter().filter(|event| event.kind == "shift.state").collect();
    let states: Vec<_> = changes.iter().map(|event| event.after.as_deref().unwrap()).collect();
    assert_eq!(states, ["baking", "rolling_back", "rolled_back"]);
    world.handle.ready().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_execution_timeout_acts_on_time_though_nothing_can_be_written() {
    let world = World::start();
    let id = world.begin(&format!("execution_timeout = \"33s\"\n{CANARY}")).await.id;
    world.until_share(&id, "10%").await;
    world.serve_well(Side::Green, 1000);
    world.journal.set_failing(true);
    world.pass(32_900).await;
    assert_eq!(world.green_share(), share("10%"), "the next step cannot be written");
    world.pass(200).await;
    assert_eq!(world.green_share(), Share::NONE);
    world.journal.set_failing(false);
    assert_eq!(world.until_over(&id).await.state, State::RolledBack { cause: Cause::ExecutionTimeout });
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_cannot_be_written_leaves_the_way_back_open() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "100%").await;
    world.serve_well(Side::Green, 1000);
    world.journal.set_failing(true);
    world.pass(30_000).await;
    assert_eq!((world.shift(&id).await.state.as_str(), world.green_share()), ("baking", Share::ALL));
    assert_eq!(world.handle.endpoint(&chat()).await.unwrap().blue.version.as_str(), "v1");
    world.fail(Side::Green, 200);
    world.pass(11).await;
    assert_eq!(world.green_share(), Share::NONE);
    world.journal.set_failing(false);
    assert!(matches!(world.until_over(&id).await.state, State::RolledBack { .. }));
    assert_eq!(world.journal.endpoint(&chat()).unwrap().serving.version.as_str(), "v1");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_written_is_refused_and_abort_acts_all_the_same() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.journal.set_failing(true);
    let error = world.command(&id, Command::Pause).await.unwrap_err();
    assert!(matches!(error, ControlError::Store(_)), "{error}");
    assert_eq!(world.shift(&id).await.state.as_str(), "baking");
    world.command(&id, Command::Abort).await.unwrap();
    assert_eq!(world.green_share(), Share::NONE);
}

#[tokio::test(start_paused = true)]
async fn a_declaration_that_cannot_be_written_changes_nothing() {
    let world = World::start();
    world.pass(100).await;
    world.journal.set_failing(true);
    let before = world.table.load().generation();
    let spec = endpoint_of("chat", "v9", "127.0.0.1:9009", "/");
    let error = world.handle.put_endpoint(spec, "ann", Execution::Real).await.unwrap_err();
    assert!(matches!(error, ControlError::Store(_)), "{error}");
    assert!(world.handle.delete_endpoint(&chat(), "ann", Execution::Real).await.is_err());
    assert_eq!(world.table.load().generation(), before);
    assert_eq!(world.handle.endpoint(&chat()).await.unwrap().blue.version.as_str(), "v1");
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_was_not_left_because_the_journal_failed_is_left_when_it_can_be_written() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.pass(60_000).await;
    assert_eq!(world.shift(&id).await.state.as_str(), "holding");
    world.journal.set_failing(true);
    for _ in 0..600 {
        world.good_traffic();
        world.pass(100).await;
    }
    assert_eq!(world.green_share(), share("10%"));
    world.journal.set_failing(false);
    // Nothing comes any more, so no standing changes: what the alarms say has been said.
    world.pass(120_000).await;
    assert_eq!(world.green_share(), Share::ALL);
}

#[tokio::test]
async fn what_nothing_waits_for_is_one_commit_and_precedes_what_follows() {
    let journal = Arc::new(Memory::default());
    let ready = watch::channel(Ok(())).0;
    let mut ledger = Ledger::new(journal.clone(), Head::default(), broadcast::channel(16).0, ready);
    let draft =
        |cause: &str| Draft::new(WallTime::from_millis(0), "instance.health", "prober", cause.to_owned());
    ledger.settle().await.unwrap();
    ledger.defer(draft("a"));
    ledger.defer(draft("b"));
    assert_eq!(journal.commits().len(), 0, "nothing is written yet");
    ledger.commit(Vec::new(), &[draft("c")]).await.unwrap();
    let causes: Vec<_> = journal.events().into_iter().map(|event| event.cause).collect();
    assert_eq!((journal.commits().len(), causes), (1, ["a", "b", "c"].map(str::to_owned).to_vec()));
    while !ledger.is_full() {
        ledger.defer(draft("d"));
    }
    ledger.settle().await.unwrap();
    assert_eq!((journal.commits().len(), journal.events().len()), (2, 67));
}
