//! Rolling shifts over fleets that a provider makes: what exists of each, batch by batch, on the way forward and back.

use std::sync::Arc;

use super::{
    orchestra::Fault,
    world::{Memory, World, chat, share},
};
use crate::{
    config::{self, Config, PlanSpec},
    control::{Actor, ControlError, Execution, ShiftView},
    fleet::Side,
    name::ShiftId,
    shift::{Cause, Command, State},
    weight::Share,
};

const MAKER: &str = "type = \"command\", provision = [\"make\"], list = [\"list\"], retire = [\"end\"]";

fn three() -> Config {
    let text = format!(
        "[data]\nlisten = [\"127.0.0.1:8080\"]\nworkers = 1\n[[endpoint]]\nname = \"chat\"\n\
         blue = {{ version = \"v1\", provider = {{ {MAKER}, count = 3 }} }}\n"
    );
    config::parse(&text, "test.toml").unwrap()
}

fn plan(version: &str, more: &str) -> PlanSpec {
    let text = format!(
        "green = {{ version = \"{version}\", provider = {{ {MAKER} }} }}\nready_timeout = \"60s\"\n\
         strategy = {{ type = \"rolling\", batch = 1, bake = \"10s\"{more} }}\n\
         [[guard]]\nname = \"errors\"\nmetric = \"error_rate\"\nbelow = \"1%\"\n"
    );
    PlanSpec::from_toml(&text, "plan.toml").unwrap()
}

async fn start(world: &World, plan: PlanSpec) -> Result<ShiftView, ControlError> {
    world.handle.start_shift(&chat(), plan, Actor::from("ann"), Execution::Real).await
}

/// A world whose three instances of blue serve.
async fn world() -> World {
    let world = World::start_with(&three(), Memory::with_commits(&[]));
    world.pass(3_000).await;
    assert_eq!(named(&world), (3, 0));
    world
}

async fn begin(more: &str) -> (World, ShiftId) {
    let world = world().await;
    let id = start(&world, plan("v2", more)).await.unwrap().id;
    (world, id)
}

/// How many instances the table names of blue and of green.
fn named(world: &World) -> (usize, usize) {
    let route = world.route();
    let green = route.green.as_ref().map_or(0, |green| green.fleet.instances.len());
    (route.blue.fleet.instances.len(), green)
}

/// How many instances exist of green, and of all others.
fn existing(world: &World, green: &ShiftId) -> (usize, usize) {
    let fleets = world.orchestra.fleets();
    let theirs = fleets.get(green.as_str()).copied().unwrap_or_default();
    (theirs, fleets.values().sum::<usize>() - theirs)
}

/// Lets the guard ring once green has this share and blue's loss has really ended.
async fn breach_at(world: &World, id: &ShiftId, text: &str) {
    world.until_share(id, text).await;
    world.pass(50).await;
    world.fail(Side::Green, 12);
    world.pass(11).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_made_when_its_step_comes_and_never_before_the_one_that_went_has_ended() {
    let (world, id) = begin("").await;
    world.orchestra.most();
    for (text, exist) in [("33.34%", (1, 3)), ("66.67%", (2, 2)), ("100%", (3, 1))] {
        world.until_share(&id, text).await;
        assert_eq!((named(&world), existing(&world, &id)), ((exist.1, exist.0), exist));
    }
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
    world.pass(10_000).await;
    assert_eq!(existing(&world, &id), (3, 0));
    assert_eq!(world.orchestra.most(), 4, "N + b");
    assert_eq!(named(&world), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_in_batches_makes_blues_batches_again_and_ends_greens_before_each() {
    let (world, id) = begin(", rollback_batch = 1").await;
    breach_at(&world, &id, "100%").await;
    assert_eq!(world.green_share(), share("66.67%"), "blue has one of three");
    let mut seen = Vec::new();
    let view = world
        .until(&id, |view| {
            let exist = existing(&world, &id);
            if seen.last() != Some(&exist) {
                seen.push(exist);
            }
            view.state.is_terminal()
        })
        .await;
    assert!(matches!(view.state, State::RolledBack { cause: Cause::Alarm { .. } }), "{:?}", view.state);
    assert_eq!(seen, [(3, 1), (2, 2), (1, 3)], "one for one");
    world.pass(10_000).await;
    assert_eq!((existing(&world, &id), world.orchestra.most()), ((0, 3), 4));
    assert_eq!(named(&world), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_at_once_makes_all_that_blue_has_lost_while_green_drains() {
    let (world, id) = begin("").await;
    breach_at(&world, &id, "100%").await;
    assert_eq!(world.green_share(), Share::NONE, "before anybody waits for anything");
    world.pass(3_000).await;
    assert_eq!(existing(&world, &id).1, 3);
    let view = world.until_over(&id).await;
    assert!(matches!(view.state, State::RolledBack { .. }), "{:?}", view.state);
    world.pass(10_000).await;
    assert_eq!((existing(&world, &id), named(&world)), ((0, 3), (3, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_green_that_cannot_be_made_rolls_the_shift_back_with_the_providers_reason() {
    let (world, id) = begin("").await;
    world.until_share(&id, "33.34%").await;
    world.orchestra.fault(Fault::Quota(3));
    let view = world.until(&id, |view| view.state.cause().is_some()).await;
    let Some(Cause::GreenNotReady { reason }) = view.state.cause() else { panic!("{:?}", view.state) };
    assert!(reason.contains("no quota left"), "{reason}");
    world.orchestra.fault(Fault::None);
    let view = world.until_over(&id).await;
    assert!(matches!(view.state, State::RolledBack { .. }), "{:?}", view.state);
    world.pass(10_000).await;
    assert_eq!((existing(&world, &id), named(&world)), ((0, 3), (3, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_cannot_get_blues_batch_fails_and_the_mix_serves_until_the_next_shift() {
    let (world, id) = begin(", rollback_batch = 1").await;
    world.until_share(&id, "66.67%").await;
    world.orchestra.fault(Fault::Quota(3));
    breach_at(&world, &id, "66.67%").await;
    let view = world.until_over(&id).await;
    let State::RollbackFailed { cause: Cause::Alarm { .. }, reason, .. } = &view.state else {
        panic!("{:?}", view.state)
    };
    assert!(reason.contains("no quota left"), "{reason}");
    world.pass(10_000).await;
    assert_eq!((existing(&world, &id), named(&world)), ((1, 2), (3, 0)), "what is left serves as one fleet");
    let addresses = |world: &World| -> Vec<_> {
        let route = world.route();
        route.blue.fleet.instances.iter().map(|instance| instance.address().clone()).collect()
    };
    let mix = addresses(&world);
    let world = World::start_with(&three(), world.crash().await);
    assert_eq!(addresses(&world), mix, "a restart knows of it");
    world.pass(10_000).await;
    assert_eq!((existing(&world, &id), named(&world)), ((1, 2), (3, 0)));

    world.orchestra.fault(Fault::None);
    let refused = start(&world, plan("v3", "")).await.unwrap_err().to_string();
    assert!(refused.contains("left of two"), "{refused}");
    let mut repair = plan("v3", "");
    let whole = "strategy = { type = \"all_at_once\", final_bake = \"1s\" }";
    let text = format!("green = {{ version = \"v3\", provider = {{ {MAKER} }} }}\n{whole}\n");
    repair.shift = PlanSpec::from_toml(&text, "plan.toml").unwrap().shift;
    let next = start(&world, repair).await.unwrap().id;
    assert_eq!(world.until_over(&next).await.state, State::Promoted);
    world.pass(40_000).await;
    assert_eq!((existing(&world, &next), named(&world)), ((3, 0), (3, 0)), "as many as there were");
    assert_eq!(existing(&world, &id).0, 0, "what was left of the failed shift is gone");
}

#[tokio::test(start_paused = true)]
async fn blue_that_has_all_requests_gets_what_it_lacks_when_it_can_be_had_after_all() {
    let (world, id) = begin("").await;
    world.until_share(&id, "66.67%").await;
    world.orchestra.fault(Fault::Quota(2));
    breach_at(&world, &id, "66.67%").await;
    let view = world.until_over(&id).await;
    assert!(matches!(view.state, State::RollbackFailed { .. }), "{:?}", view.state);
    world.pass(10_000).await;
    assert_eq!((existing(&world, &id), named(&world)), ((0, 2), (2, 0)));
    world.orchestra.fault(Fault::None);
    world.pass(120_000).await;
    assert_eq!((existing(&world, &id), named(&world)), ((0, 3), (3, 0)), "it was wanted all the time");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_in_a_batch_is_given_up_and_an_abort_takes_what_is_there_back() {
    let (world, id) = begin("").await;
    world.until_share(&id, "33.34%").await;
    world.orchestra.fault(Fault::Hangs);
    let view = world.until(&id, |view| view.state.as_str() == "preparing_batch").await;
    assert!(view.state.has_way_back());
    world.command(&id, Command::Abort).await.unwrap();
    world.orchestra.fault(Fault::None);
    let view = world.until_over(&id).await;
    assert_eq!(view.state, State::RolledBack { cause: Cause::Aborted });
    world.pass(30_000).await;
    assert_eq!((existing(&world, &id), named(&world)), ((0, 3), (3, 0)));
}

#[tokio::test(start_paused = true)]
async fn what_a_call_that_was_cut_short_has_made_too_many_is_let_go() {
    let world = world().await;
    let blue = world.orchestra.fleets().into_keys().next().unwrap();
    let world = World::start_with(&three(), {
        world.orchestra.leak(&blue);
        world.crash().await
    });
    world.pass(10_000).await;
    assert_eq!(world.orchestra.fleets()[&blue], 3);
    assert_eq!(named(&world), (3, 0));
}

/// The process dies after each of the shift's commits in turn; with the machine it comes back to goes what its providers had made.
#[tokio::test(start_paused = true)]
async fn wherever_the_process_dies_the_shift_goes_on_and_nothing_leaks() {
    for more in ["", ", rollback_batch = 1"] {
        let mut is_over = false;
        for length in 1..40 {
            let (world, id) = begin(more).await;
            let fails = !more.is_empty() && length % 2 == 0;
            let before = world.journal.commits().len();
            world
                .until(&id, |view| {
                    world.journal.commits().len() >= before + length || view.state.is_terminal()
                })
                .await;
            if fails && world.green_share() > Share::NONE {
                world.fail(Side::Green, 40);
                world.pass(11).await;
            }
            let state = world.shift(&id).await.state;
            is_over = state.is_terminal();
            let world = World::start_with(&three(), world.crash().await);
            let view = world.until_over(&id).await;
            world.pass(60_000).await;
            let expected = if view.state == State::Promoted { (3, 0) } else { (0, 3) };
            assert_eq!(
                (existing(&world, &id), named(&world)),
                (expected, (3, 0)),
                "{more} {length}: {state:?}"
            );
            let most = world.orchestra.most();
            assert!(most <= 4, "{most} after {length}: {state:?}");
            if is_over {
                break;
            }
        }
        assert!(is_over, "every commit was the last one once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_named_fleet_is_rolled_over_to_one_that_a_provider_makes() {
    let text = "[data]\nlisten = [\"127.0.0.1:8080\"]\nworkers = 1\n[[endpoint]]\nname = \"chat\"\n\
                blue = { version = \"v1\", instances = [\"127.0.0.1:9001\", \"127.0.0.1:9002\"] }\n";
    let config = config::parse(text, "test.toml").unwrap();
    let world = World::start_with(&config, Arc::default());
    let id = start(&world, plan("v2", ", rollback_batch = 1")).await.unwrap().id;
    world.until_share(&id, "50%").await;
    assert_eq!((named(&world), existing(&world, &id)), ((2, 1), (1, 0)));
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
    assert_eq!((named(&world), existing(&world, &id)), ((2, 0), (2, 0)));
}
