//! Shifts that begin later, and hours at which nothing goes on.

use std::sync::Arc;

use super::world::{BEGINNING, CANARY, GREEN, Memory, World, chat, clocks, config, plan, share, wall};
use crate::{
    control::{Actor, ControlError, QueuedView, Submitted},
    fleet::Side,
    name::ShiftId,
    shift::{Cause, Command, Refusal, State},
    time::WallTime,
    weight::Share,
};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn at(millis: i64) -> WallTime {
    WallTime::from_millis(BEGINNING.as_millis() + millis)
}

fn start_at(millis: i64) -> String {
    format!("start_at = \"{}\"", at(millis))
}

/// Hours of every day, from and to so many minutes after its beginning.
fn hours(from: i64, to: i64) -> String {
    let clock = |minutes: i64| at(minutes * MINUTE).to_string()[11..16].to_owned();
    format!("allowed_hours = [{{ from = \"{}\", to = \"{}\", zone = \"UTC\" }}]", clock(from), clock(to))
}

async fn submit(world: &World, lines: &str) -> Result<Submitted, ControlError> {
    world.handle.submit_shift(&chat(), plan(&format!("{lines}\n{CANARY}")), Actor::from("ann")).await
}

async fn queued(world: &World, lines: &str) -> QueuedView {
    match submit(world, lines).await.unwrap() {
        Submitted::Queued(view) => *view,
        Submitted::Begun(view) => panic!("it has begun: {view:#?}"),
    }
}

async fn begun(world: &World, lines: &str) -> ShiftId {
    match submit(world, lines).await.unwrap() {
        Submitted::Begun(view) => view.id,
        Submitted::Queued(view) => panic!("it waits: {view:#?}"),
    }
}

async fn has_begun(world: &World, id: &ShiftId) -> bool {
    world.handle.shift(id).await.is_ok()
}

fn dropped(journal: &Memory) -> Vec<(String, String)> {
    let events = journal.events().into_iter().filter(|event| event.kind == "shift.dropped");
    events.map(|event| (event.shift.unwrap().to_string(), event.cause)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_shift_begins_at_its_moment_and_not_before_and_also_in_another_process() {
    let _ahead = clocks();
    let world = World::start();
    let view = queued(&world, &start_at(MINUTE)).await;
    assert_eq!(view.not_before, Some(at(MINUTE)));
    assert_eq!(view.waits_for, format!("its start at {}; dropped if another shift runs then", at(MINUTE)));
    world.pass(30_000).await;
    let world = World::start_with(&config(), world.crash().await);
    world.pass(30_000 - 200).await;
    assert!(!has_begun(&world, &view.queued.id).await);
    world.pass(200).await;
    assert!(has_begun(&world, &view.queued.id).await, "within two milliseconds of its moment");
    assert_eq!(world.until_over(&view.queued.id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_shift_whose_moment_passed_while_nothing_ran_begins_at_the_start() {
    let _ahead = clocks();
    let world = World::start();
    let view = queued(&world, &start_at(MINUTE)).await;
    let journal = world.crash().await;
    tokio::time::sleep(std::time::Duration::from_secs(120)).await;
    let world = World::start_with(&config(), journal);
    world.pass(10).await;
    assert!(has_begun(&world, &view.queued.id).await);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_moves_a_scheduled_start_with_it() {
    let ahead = clocks();
    let world = World::start();
    let view = queued(&world, &start_at(2 * MINUTE)).await;
    ahead.set(-60 * MINUTE);
    world.pass(122_000).await;
    assert!(!has_begun(&world, &view.queued.id).await, "the clock was put back by an hour");
    ahead.set(0);
    world.pass(2_000).await;
    assert!(has_begun(&world, &view.queued.id).await, "a sample looks at the clock");
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_shift_can_be_cancelled_and_lets_others_pass() {
    let _ahead = clocks();
    let world = World::start();
    let later = queued(&world, &start_at(MINUTE)).await.queued.id;
    let now = begun(&world, "if_running = \"queue\"").await;
    world.until_over(&now).await;
    world.handle.cancel_queued(&later, "bob").await.unwrap();
    world.pass(120_000).await;
    assert!(!has_begun(&world, &later).await);
    assert_eq!(dropped(&world.journal), [(later.to_string(), "cancelled".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn what_runs_when_the_moment_comes_drops_delays_or_makes_way_as_the_plan_says() {
    for turn in ["refuse", "queue", "supersede"] {
        let _ahead = clocks();
        let world = World::start();
        let lines = format!("{}\nif_running = \"{turn}\"\nstart_after = \"ended\"", start_at(MINUTE));
        let later = queued(&world, &lines).await.queued.id;
        world.pass(50_000).await;
        let long = CANARY.replace("bake = \"10s\"", "bake = \"30s\"");
        let running = world.begin(&long).await.id;
        world.until_share(&running, "10%").await;
        world.pass(20_000).await;
        let state = world.until_over(&running).await.state;
        if turn == "refuse" {
            let told = dropped(&world.journal);
            assert_eq!(told[0].0, later.to_string());
            assert!(told[0].1.contains(&format!("{running} was running when its time came")), "{told:?}");
            assert_eq!(state, State::Promoted);
        } else {
            world.pass(1_000).await;
            assert_eq!(
                state == State::RolledBack { cause: Cause::Aborted },
                turn == "supersede",
                "{state:?}"
            );
            let told = dropped(&world.journal);
            if turn == "supersede" {
                let view = world.shift(&later).await;
                assert_eq!(view.lineage.supersedes.as_ref(), Some(&running));
            } else {
                // Green is the fleet in service by then, so there is nothing to shift to: it had its turn.
                assert!(told[0].1.starts_with("it could not begin"), "{told:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_went_back_before_a_scheduled_shifts_moment_was_not_in_its_way() {
    let _ahead = clocks();
    let world = World::start();
    let later = queued(&world, &format!("{}\nif_running = \"queue\"", start_at(MINUTE))).await.queued.id;
    let first = begun(&world, "").await;
    world.command(&first, Command::Abort).await.unwrap();
    world.until_over(&first).await;
    world.pass(60_000).await;
    assert!(has_begun(&world, &later).await);
}

#[tokio::test(start_paused = true)]
async fn a_start_in_the_past_or_beyond_a_year_is_refused() {
    let _ahead = clocks();
    let world = World::start();
    world.pass(10).await;
    for (millis, told) in [(0, "leave start_at out to begin now"), (366 * DAY, "more than 365d ahead")] {
        let refused = submit(&world, &start_at(millis)).await.unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shift_holds_outside_of_its_hours_says_until_when_and_goes_on_with_their_first_moment() {
    let ahead = clocks();
    let world = World::start();
    // The first bake is not over when the hours are.
    let long = CANARY.replace("bake = \"10s\"", "bake = \"2m\"");
    let lines = format!("execution_timeout = \"2d\"\n{}\n{long}", hours(0, 1));
    let Submitted::Begun(view) =
        world.handle.submit_shift(&chat(), plan(&lines), Actor::from("ann")).await.unwrap()
    else {
        panic!("it waits")
    };
    let id = view.id;
    let view = world.until(&id, |view| view.state.as_str() == "holding").await;
    assert_eq!(view.held_until, Some(at(DAY)));
    let why = format!("begin at {}", at(DAY));
    assert!(view.held.as_ref().unwrap().contains(&why), "{:?}", view.held);
    assert!(view.next.what.starts_with("once its allowed hours begin: "), "{}", view.next.what);
    let refused = world.command(&id, Command::Promote).await.unwrap_err();
    assert!(matches!(refused, ControlError::Refused(Refusal::Held { .. })), "{refused}");
    // Nearly a day passes, as far as the wall clock says.
    ahead.set(at(DAY).as_millis() - MINUTE - wall().as_millis());
    world.pass(60_000 - 1).await;
    assert_eq!(world.green_share(), share("10%"));
    world.pass(3).await;
    assert_eq!(world.green_share(), Share::ALL, "it goes on with the first moment, no traffic needed");
}

#[tokio::test(start_paused = true)]
async fn alarms_and_aborts_count_outside_of_the_hours() {
    for is_aborted in [true, false] {
        let _ahead = clocks();
        let world = World::start();
        world.pass(50_000).await;
        let id = begun(&world, &hours(0, 1)).await;
        world.until_share(&id, "10%").await;
        world.pass(20_000).await;
        assert!(world.shift(&id).await.held.is_some());
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
async fn a_shift_asked_for_outside_of_its_hours_begins_with_them_and_its_timeout_counts_from_there() {
    let _ahead = clocks();
    let world = World::start();
    let view = queued(&world, &format!("execution_timeout = \"5m\"\n{}", hours(2, 9))).await;
    assert_eq!(view.not_before, Some(at(2 * MINUTE)));
    world.pass(120_000 - 100).await;
    assert!(!has_begun(&world, &view.queued.id).await);
    world.pass(200).await;
    assert_eq!(world.until_over(&view.queued.id).await.state, State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_green_that_becomes_ready_after_hours_gets_its_share_with_the_next_ones_and_a_restart_changes_nothing()
 {
    let ahead = clocks();
    let world = World::start();
    world.checks.set_sick(&GREEN);
    world.pass(50_000).await;
    let id = begun(&world, &format!("execution_timeout = \"2d\"\n{}", hours(0, 1))).await;
    world.pass(20_000).await;
    world.checks.set_sick(&[]);
    world.pass(60_000).await;
    assert_eq!(world.shift(&id).await.state.as_str(), "preparing");
    let journal = world.crash().await;
    let world = World::start_with(&config(), Arc::clone(&journal));
    ahead.set(at(DAY).as_millis() - MINUTE - wall().as_millis());
    world.pass(60_000 - 1).await;
    assert_eq!(world.green_share(), Share::NONE);
    world.pass(3).await;
    assert_eq!(world.green_share(), share("10%"));
}
