//! Going back to the version before, once it is no shift's blue any more.

use super::world::{CANARY, World, chat, config, endpoint_of};
use crate::{
    control::{Actor, ControlError, Execution, ShiftView},
    shift::{Cause, Command, State, StrategyKind},
    weight::Share,
};

fn because(reason: &str) -> Actor {
    Actor { reason: reason.to_owned(), ..Actor::from("ann") }
}

async fn undo(world: &World, document: Option<serde_json::Value>) -> Result<ShiftView, ControlError> {
    world.handle.undo(&chat(), document, because("odd answers"), Execution::Real).await
}

async fn promoted(world: &World, rest: &str) -> ShiftView {
    let id = world.begin(rest).await.id;
    let view = world.until_over(&id).await;
    assert_eq!(view.state, State::Promoted);
    view
}

fn why(refused: Result<ShiftView, ControlError>) -> String {
    match refused {
        Err(ControlError::NothingToUndo { endpoint: _, why }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_goes_back_all_at_once_under_the_last_plans_alarms_and_is_named_as_one() {
    let world = World::start();
    let first = promoted(&world, CANARY).await;
    let undone = undo(&world, None).await.unwrap();
    assert_eq!((undone.blue_version.as_str(), undone.plan.green.version.as_str()), ("v2", "v1"));
    assert_eq!(undone.plan.shift.kind(), StrategyKind::AllAtOnce);
    assert_eq!(undone.plan.shift.steps()[0].bake.as_secs(), 20, "the last bake of the plan before");
    assert_eq!(undone.plan.alarms.guards, first.plan.alarms.guards);
    assert_eq!(undone.lineage.undoes.as_ref(), Some(&first.id));
    let started = world.journal.events().into_iter().rfind(|event| event.kind == "shift.started").unwrap();
    assert!(started.cause.starts_with(&format!("undo of {}, accepted", first.id)), "{}", started.cause);
    assert_eq!((started.actor.as_str(), started.reason.as_deref()), ("ann", Some("odd answers")));
    let over = world.until_over(&undone.id).await;
    assert_eq!((over.state, over.lineage.undoes), (State::Promoted, Some(first.id)));
    assert_eq!(world.route().blue.fleet.version.as_str(), "v1");
}

#[tokio::test(start_paused = true)]
async fn undoing_twice_goes_forward_again_and_an_undo_can_be_rolled_back() {
    let world = World::start();
    promoted(&world, CANARY).await;
    let back = undo(&world, None).await.unwrap();
    world.until_over(&back.id).await;
    let forward = undo(&world, None).await.unwrap();
    assert_eq!((forward.plan.green.version.as_str(), forward.lineage.undoes), ("v2", Some(back.id)));
    world.command(&forward.id, Command::Abort).await.unwrap();
    let over = world.until_over(&forward.id).await;
    assert_eq!(over.state, State::RolledBack { cause: Cause::Aborted });
    assert_eq!(undo(&world, None).await.unwrap().plan.green.version.as_str(), "v2");
}

#[tokio::test(start_paused = true)]
async fn an_undo_and_its_name_outlive_their_process() {
    let world = World::start();
    let first = promoted(&world, CANARY).await;
    let id = undo(&world, None).await.unwrap().id;
    let world = World::start_with(&config(), world.crash().await);
    assert_eq!(world.shift(&id).await.lineage.undoes, Some(first.id));
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn an_undo_by_a_plan_of_its_own_takes_its_steps_and_names_no_fleet() {
    let world = World::start();
    promoted(&world, CANARY).await;
    let document = serde_json::json!({
        "strategy": {"type": "linear", "step": "50%", "bake": "1s", "final_bake": "1s"},
    });
    let mut with_green = document.clone();
    with_green["green"] = serde_json::json!({"version": "v0", "instances": ["127.0.0.1:9009"]});
    let refused = undo(&world, Some(with_green)).await.unwrap_err().to_string();
    assert!(
        refused.contains("green: an undo goes back to v1, the version before: leave green out"),
        "{refused}"
    );
    let view = undo(&world, Some(document)).await.unwrap();
    assert_eq!((view.plan.shift.steps().len(), view.plan.green.version.as_str()), (2, "v1"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_undone_is_refused_with_the_reason() {
    let world = World::start();
    let said = why(undo(&world, None).await);
    assert_eq!(said, "no shift has brought v1 in, so there is no version before it");
    promoted(&world, CANARY).await;

    world.checks.set_sick(&["127.0.0.1:9001"]);
    let said = why(undo(&world, None).await);
    assert!(
        said.starts_with("of v1's 1 instances 1 did not pass their check (127.0.0.1:9001: scripted)"),
        "{said}"
    );
    world.checks.set_sick(&[]);

    let running = undo(&world, None).await.unwrap();
    let refused = undo(&world, None).await.unwrap_err();
    assert!(matches!(refused, ControlError::ShiftRunning { .. }), "{refused}");
    world.command(&running.id, Command::Abort).await.unwrap();
    world.until_over(&running.id).await;
    assert_eq!(world.green_share(), Share::NONE);

    let declared = endpoint_of("chat", "v3", "127.0.0.1:9007", "/");
    world.handle.put_endpoint(declared, "ann", Execution::Real).await.unwrap();
    let said = why(undo(&world, None).await);
    assert!(said.starts_with("v3 does not serve by the last shift that was promoted"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_undo_changes_nothing() {
    let world = World::start();
    promoted(&world, CANARY).await;
    let events = world.journal.events().len();
    let view = world.handle.undo(&chat(), None, "ann", Execution::Dry).await.unwrap();
    assert_eq!(view.plan.green.version.as_str(), "v1");
    assert_eq!(world.journal.events().len(), events);
}
