//! Starts from a journal.

use std::sync::Arc;

use super::world::{CANARY, GREEN, Memory, World, chat, clocks, config, config_of, endpoint_of, share};
use crate::{
    control::Execution,
    fleet::Side,
    shift::{Cause, Command, Shift, State},
    store::{Record, ShiftRecord},
    time::Moment,
    weight::Share,
};

fn last_shift(commits: &[Vec<Record>]) -> Option<ShiftRecord> {
    commits.iter().flatten().rev().find_map(|record| match record {
        Record::Shift(shift) => Some((**shift).clone()),
        Record::Endpoint(_)
        | Record::EndpointDeleted(_)
        | Record::Fleet(_)
        | Record::FleetGone(_)
        | Record::Freeze(_)
        | Record::Unfreeze(_)
        | Record::Resource(_)
        | Record::ResourceGone(..)
        | Record::Queued(_)
        | Record::Dequeued(_)
        | Record::Event(_) => None,
    })
}

/// Green's share as a record of the journal has it.
fn journalled_share(shift: &ShiftRecord) -> Share {
    // What was green and has been adopted is blue's business.
    if matches!(shift.snapshot.state, State::Retiring { .. } | State::Promoted) {
        return Share::NONE;
    }
    Shift::restore(shift.plan.shift.clone(), &shift.snapshot, Moment::default()).share()
}

/// Crashes after every single commit of a run, starts again, and sees the shift to its end.
async fn survive_every_crash(commits: Vec<Vec<Record>>) {
    for count in 0..=commits.len() {
        let journal = Memory::with_commits(&commits[..count]);
        let before = last_shift(&commits[..count]);
        let world = World::start_with(&config(), Arc::clone(&journal));
        let Some(before) = before else { continue };
        let share = journalled_share(&before);
        assert_eq!(world.green_share(), share, "after {count} commits: {:?}", before.snapshot.state);
        let serving = journal.endpoint(&chat()).unwrap().serving;
        assert_eq!(world.route().blue.fleet.version, serving.version, "after {count} commits");
        if before.snapshot.state.is_terminal() {
            assert!(journal.running().is_none());
            continue;
        }
        let view = world.until_over(&before.id).await;
        let over = if before.snapshot.state.cause().is_some() { "rolled_back" } else { "promoted" };
        assert_eq!(view.state.as_str(), over, "after {count} commits");
        assert!(view.transitions.len() >= 2 || over == "rolled_back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_promotion_survives_a_crash_after_any_commit() {
    let world = World::start();
    let id = world.begin(&format!("termination_wait = \"30s\"\n{CANARY}")).await.id;
    world.until_over(&id).await;
    survive_every_crash(world.crash().await.commits()).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_survives_a_crash_after_any_commit() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.fail(Side::Green, 12);
    world.until_over(&id).await;
    survive_every_crash(world.crash().await.commits()).await;
}

#[tokio::test(start_paused = true)]
async fn a_bake_begins_afresh_after_a_restart_with_the_figures_of_before() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.serve_well(Side::Green, 100);
    world.command(&id, Command::Pause).await.unwrap();
    world.command(&id, Command::Resume).await.unwrap();
    let before = world.shift(&id).await;
    let world = World::start_with(&config(), world.crash().await);
    assert_eq!(world.green_share(), share("10%"), "the first table has the share");
    let after = world.shift(&id).await;
    assert_eq!((after.state.as_str(), after.step), ("baking", Some(0)));
    assert_eq!(after.green.requests, before.green.requests);
    assert_eq!(after.transitions[..before.transitions.len()], before.transitions[..]);
    assert_eq!(after.started_at, before.started_at);
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumped_an_hour_while_the_process_was_away_changes_nothing() {
    let ahead = clocks();
    for hours in [-1, 1] {
        let world = World::start();
        let id = world.begin(CANARY).await.id;
        world.until_share(&id, "10%").await;
        let journal = world.crash().await;
        ahead.set(ahead.get() + hours * 3_600_000);
        let world = World::start_with(&config(), journal);
        world.pass(5_000).await;
        assert_eq!(world.green_share(), share("10%"), "{hours} h: the bake begins afresh");
        assert_eq!(world.until_over(&id).await.state, State::Promoted, "{hours} h");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bake_that_a_restart_cut_off_is_not_over_however_late_the_journal_can_be_written_again() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    world.handle.freeze(None, "ann").await.unwrap();
    let journal = world.crash().await;
    journal.set_failing(true);
    let world = World::start_with(&config(), journal);
    world.pass(15_000).await;
    assert_eq!(world.green_share(), Share::NONE, "green got nothing for longer than its bake");
    world.journal.set_failing(false);
    world.handle.unfreeze(None, "ann").await.unwrap();
    assert_eq!(world.green_share(), share("10%"), "so it bakes now");
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_says_so_rolls_back_at_a_restart() {
    let world = World::start();
    let id = world.begin(&format!("on_restart = \"roll_back\"\n{CANARY}")).await.id;
    world.until_share(&id, "10%").await;
    let world = World::start_with(&config(), world.crash().await);
    assert_eq!(world.green_share(), Share::NONE);
    let view = world.until_over(&id).await;
    assert_eq!(view.state, State::RolledBack { cause: Cause::Restart });
    assert!(view.moments.decided_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_journal_cannot_be_written_serves_and_gives_green_nothing_until_it_can() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    let journal = world.crash().await;
    journal.set_failing(true);
    let world = World::start_with(&config(), journal);
    assert_eq!((world.green_share(), world.route().blue.fleet.version.as_str()), (Share::NONE, "v1"));
    world.pass(30_000).await;
    assert!(world.handle.ready().is_err());
    assert_eq!(world.green_share(), Share::NONE);
    world.journal.set_failing(false);
    world.pass(11_000).await;
    assert_eq!(world.green_share(), share("10%"));
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn what_a_shift_promoted_serves_after_a_restart_until_the_file_names_another_blue() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_over(&id).await;
    let world = World::start_with(&config(), world.crash().await);
    assert_eq!(world.route().blue.fleet.version.as_str(), "v2");
    let changed = config_of(&[("chat", "v3", "127.0.0.1:9005", "/")]);
    let world = World::start_with(&changed, world.crash().await);
    assert_eq!(world.route().blue.fleet.version.as_str(), "v3");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_names_another_blue_does_not_disturb_a_running_shift() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    let changed = config_of(&[("chat", "v3", "127.0.0.1:9005", "/")]);
    let world = World::start_with(&changed, world.crash().await);
    assert_eq!(world.route().blue.fleet.version.as_str(), "v1");
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
    assert_eq!(world.route().blue.fleet.version.as_str(), "v2");
}

#[tokio::test(start_paused = true)]
async fn the_apis_last_word_on_an_endpoint_outlives_a_restart() {
    let world = World::start();
    let spec = endpoint_of("chat", "v7", "127.0.0.1:9007", "/");
    world.handle.put_endpoint(spec, "ann", Execution::Real).await.unwrap();
    let more = endpoint_of("more", "v1", "127.0.0.1:9008", "/more");
    world.handle.put_endpoint(more, "ann", Execution::Real).await.unwrap();
    let world = World::start_with(&config(), world.crash().await);
    assert_eq!(world.route().blue.fleet.version.as_str(), "v7");
    assert_eq!(world.table.load().endpoints().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn green_is_checked_again_after_a_restart() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    let world = World::start_with(&config(), world.crash().await);
    world.checks.set_sick(&GREEN);
    assert_eq!(world.until_over(&id).await.state, State::RolledBack { cause: Cause::GreenGone });
}
