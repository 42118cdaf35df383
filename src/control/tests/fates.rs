//! What becomes of green's open requests when a shift goes back, and of its counts when the process starts again.

use std::time::Duration;

use super::world::{CANARY, World, config};
use crate::{
    control::Fate,
    fleet::Side,
    meter::{FailureKind, Outcome, Verdict},
    shift::{Cause, Command, State},
};

/// Deals requests to green that do not end.
fn deal(world: &World, count: usize) {
    let route = world.route();
    let (green, watch) = (route.fleet(Side::Green).unwrap(), route.watch.as_deref());
    for _ in 0..count {
        green.meters.shard(0).dealt(watch.map(|watch| watch.stamp()).unwrap_or_default(), world.timer.now());
    }
}

/// Ends one of them.
fn end(world: &World, verdict: Verdict) {
    let route = world.route();
    let (green, watch) = (route.fleet(Side::Green).unwrap(), route.watch.as_deref());
    let outcome = Outcome::of(verdict, Duration::from_secs(1));
    green.meters.shard(0).settled(watch.map(|watch| watch.stamp()).unwrap_or_default(), watch, &outcome);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_tells_what_became_of_the_requests_that_green_still_had() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    deal(&world, 4);
    let view = world.command(&id, Command::Abort).await.unwrap();
    assert_eq!(view.fate, Some(Fate { open: 4, running: 4, ..Fate::default() }));
    end(&world, Verdict::Success);
    end(&world, Verdict::Failure(FailureKind::Truncated));
    end(&world, Verdict::ClientGone);
    let view = world.until_over(&id).await;
    let wanted = Fate { open: 4, finished: 1, failed: 1, client_gone: 1, running: 1, ..Fate::default() };
    assert_eq!(view.fate, Some(wanted));
    assert_eq!(world.shift(&id).await.fate, Some(wanted), "as the journal keeps it");
}

#[tokio::test(start_paused = true)]
async fn requests_that_a_restart_cut_are_told_as_such() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    deal(&world, 2);
    world.command(&id, Command::Abort).await.unwrap();
    let world = World::start_with(&config(), world.crash().await);
    let view = world.until_over(&id).await;
    assert_eq!(view.fate, Some(Fate { open: 2, cut: 2, ..Fate::default() }));
    assert_eq!(view.restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn the_budget_of_failures_is_the_whole_shifts() {
    let plan = "strategy = { type = \"canary\", share = \"10%\", bake = \"20m\", final_bake = \"20m\" }\nmax_failures = 5\n";
    let world = World::start();
    let id = world.begin(plan).await.id;
    world.until_share(&id, "10%").await;
    world.fail(Side::Green, 3);
    world.pass(20).await;
    world.command(&id, Command::Pause).await.unwrap();
    let world = World::start_with(&config(), world.crash().await);
    world.command(&id, Command::Resume).await.unwrap();
    world.until_share(&id, "10%").await;
    let view = world.shift(&id).await;
    assert_eq!(view.budget().map(|budget| budget.failures), Some(3));
    world.fail(Side::Green, 2);
    let view = world.until_over(&id).await;
    assert_eq!(view.state, State::RolledBack { cause: Cause::FailureBudget { failures: 5 } });
}
