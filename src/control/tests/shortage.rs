//! Rollbacks to a blue that is not what it was.

use super::world::{CANARY, World, clocks, config};
use crate::shift::Command;

#[tokio::test(start_paused = true)]
async fn a_rollback_to_a_blue_that_has_lost_instances_says_so() {
    for is_sick in [true, false] {
        let world = World::start();
        let id = world.begin(CANARY).await.id;
        world.until_share(&id, "10%").await;
        if is_sick {
            world.checks.set_sick(&["127.0.0.1:9001"]);
        }
        world.pass(30_000).await;
        world.command(&id, Command::Abort).await.unwrap();
        let view = world.until_over(&id).await;
        let told = "its only instance is not usable as it takes everything back";
        let change = view.transitions.iter().find(|change| change.after == "rolling_back").unwrap();
        assert_eq!(change.cause.ends_with(told), is_sick, "{}", change.cause);
        let events = world.journal.events();
        let warning = events.iter().find(|event| event.cause == format!("blue: {told}"));
        assert_eq!(warning.map(|event| event.kind.as_str()), is_sick.then_some("shift.warning"));
        assert_eq!(view.blue_short.as_deref(), is_sick.then_some(told));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_to_a_blue_that_had_no_request_for_long_says_so_also_after_a_restart() {
    let _ahead = clocks();
    let world = World::start();
    let plan = CANARY.replace("final_bake = \"20s\"", "final_bake = \"20m\"");
    let id = world.begin(&plan).await.id;
    world.until_share(&id, "100%").await;
    world.pass(600_000).await;
    world.command(&id, Command::Abort).await.unwrap();
    world.until_over(&id).await;
    let world = World::start_with(&config(), world.crash().await);
    let short = world.shift(&id).await.blue_short.unwrap();
    assert!(short.starts_with("it takes everything back, after 10m"), "{short}");
}
