//! Shifts that are paused where there is no bake to stop: they go on when they are resumed, also in another process.

use super::world::{CANARY, GREEN, World, config, share};
use crate::{
    control::ShiftView,
    name::ShiftId,
    shift::{Cause, Command, Onward, State},
    weight::Share,
};

const WHY: &str = "it is paused until somebody resumes it";

async fn paused(world: &World, id: &ShiftId) -> ShiftView {
    let view = world.command(id, Command::Pause).await.unwrap();
    assert_eq!(view.held.as_deref(), Some(WHY));
    assert!(view.next.what.starts_with("once it is resumed: "), "{}", view.next.what);
    view
}

#[tokio::test(start_paused = true)]
async fn a_green_that_becomes_ready_while_the_shift_is_paused_gets_its_share_when_it_is_resumed() {
    for is_restarted in [false, true] {
        let mut world = World::start();
        world.checks.set_sick(&GREEN);
        let id = world.begin(CANARY).await.id;
        paused(&world, &id).await;
        if is_restarted {
            world = World::start_with(&config(), world.crash().await);
        }
        world.checks.set_sick(&[]);
        world.pass(200_000).await;
        let view = world.shift(&id).await;
        assert_eq!((view.state.as_str(), view.share), ("preparing", Share::NONE));
        let cause = &view.transitions.last().unwrap().cause;
        assert_eq!(*cause, format!("every instance of green is healthy, but {WHY}"));
        world.command(&id, Command::Resume).await.unwrap();
        world.pass(100).await;
        assert_eq!(world.green_share(), share("10%"));
        assert_eq!(world.shift(&id).await.held, None);
    }
}

#[tokio::test(start_paused = true)]
async fn blue_is_kept_warm_while_the_shift_is_paused_and_goes_when_it_is_resumed_or_promoted() {
    for command in [Command::Resume, Command::Promote] {
        let world = World::start();
        let id = world.begin(&format!("termination_wait = \"5s\"\n{CANARY}")).await.id;
        world.until(&id, |view| view.state.as_str() == "termination_wait").await;
        paused(&world, &id).await;
        world.pass(60_000).await;
        let kept =
            world.journal.look_at(&id, |record| (record.snapshot.state.as_str(), record.snapshot.onward));
        assert_eq!(kept, ("termination_wait", Onward::Paused));
        world.command(&id, command).await.unwrap();
        assert_eq!(world.until_over(&id).await.state, State::Promoted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_told_of_with_its_reason_and_keeps_nobody_from_going_back() {
    let world = World::start();
    let id = world.begin(&format!("termination_wait = \"5s\"\n{CANARY}")).await.id;
    world.until(&id, |view| view.state.as_str() == "termination_wait").await;
    paused(&world, &id).await;
    paused(&world, &id).await;
    let events = world.journal.events();
    let told: Vec<_> = events.iter().filter(|event| event.kind == "shift.command").collect();
    assert_eq!(told.len(), 1, "a repetition changes nothing");
    assert_eq!((told[0].cause.as_str(), told[0].actor.as_str()), ("pause: because", "ann"));
    world.command(&id, Command::Abort).await.unwrap();
    assert_eq!(world.until_over(&id).await.state, State::RolledBack { cause: Cause::Aborted });
}
