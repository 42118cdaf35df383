//! Rolling shifts: what the table names of each fleet, batch by batch, on the way forward and back.

use super::world::{Memory, World, chat, share};
use crate::{
    config::{self, Config, PlanSpec},
    control::{Actor, ControlError, Execution, ShiftView},
    fleet::Side,
    name::ShiftId,
    shift::{Cause, Command, State},
    weight::Share,
};

const BLUE: [&str; 3] = ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"];
const GREEN: [&str; 3] = ["127.0.0.1:9004", "127.0.0.1:9005", "127.0.0.1:9006"];

fn three() -> Config {
    let text = format!(
        "[data]\nlisten = [\"127.0.0.1:8080\"]\nworkers = 1\n[[endpoint]]\nname = \"chat\"\n\
         blue = {{ version = \"v1\", instances = {BLUE:?} }}\n"
    );
    config::parse(&text, "test.toml").unwrap()
}

fn plan(version: &str, instances: &[&str], more: &str) -> PlanSpec {
    let text = format!(
        "green = {{ version = \"{version}\", instances = {instances:?} }}\nready_timeout = \"20s\"\n\
         strategy = {{ type = \"rolling\", batch = \"33%\", bake = \"10s\"{more} }}\n\
         [[guard]]\nname = \"errors\"\nmetric = \"error_rate\"\nbelow = \"1%\"\n"
    );
    PlanSpec::from_toml(&text, "plan.toml").unwrap()
}

async fn start(world: &World, plan: PlanSpec) -> Result<ShiftView, ControlError> {
    world.handle.start_shift(&chat(), plan, Actor::from("ann"), Execution::Real).await
}

async fn begin(world: &World, more: &str) -> ShiftId {
    start(world, plan("v2", &GREEN, more)).await.unwrap().id
}

/// The addresses that the table names, blue's and green's.
fn named(world: &World) -> (Vec<String>, Vec<String>) {
    let route = world.route();
    let addresses = |fleet: &crate::fleet::Fleet| {
        fleet.instances.iter().map(|instance| instance.address().to_string()).collect()
    };
    (
        addresses(&route.blue.fleet),
        route.green.as_ref().map(|green| addresses(&green.fleet)).unwrap_or_default(),
    )
}

fn names(blue: &[&str], green: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    (owned(blue), owned(green))
}

async fn until_state(world: &World, id: &ShiftId, state: &str) -> ShiftView {
    world.until(id, |view| view.state.as_str() == state).await
}

#[tokio::test(start_paused = true)]
async fn batch_by_batch_the_table_names_more_of_green_and_less_of_blue() {
    let world = World::start_with(&three(), Memory::with_commits(&[]));
    let id = begin(&world, "").await;
    world.until_share(&id, "33.34%").await;
    assert_eq!(named(&world), names(&BLUE, &GREEN[..1]), "four of three");
    until_state(&world, &id, "retiring_batch").await;
    assert_eq!(named(&world), names(&BLUE[..2], &GREEN[..1]));
    world.until_share(&id, "66.67%").await;
    assert_eq!(named(&world), names(&BLUE[..2], &GREEN[..2]));
    world.until_share(&id, "100%").await;
    assert_eq!(named(&world), names(&BLUE[..1], &GREEN));
    let view = world.until_over(&id).await;
    assert_eq!(view.state, State::Promoted);
    assert_eq!(named(&world), names(&GREEN, &[]));
    let states: Vec<_> = view.transitions.iter().map(|change| change.after.as_str()).collect();
    let batch = ["baking", "retiring_batch", "preparing_batch"];
    let expected = [batch.as_slice(), &batch, &["baking", "retiring", "promoted"]].concat();
    assert_eq!(states, expected);
    let events = world.journal.events().into_iter().filter(|event| event.kind == "shift.batch");
    let told: Vec<_> = events.map(|event| event.cause).collect();
    let expected = [
        "v2: 127.0.0.1:9004 gets requests from now on",
        "v1: 127.0.0.1:9003 gets no new requests",
        "v1: 127.0.0.1:9003 is let go",
        "v2: 127.0.0.1:9005 gets requests from now on",
        "v1: 127.0.0.1:9002 gets no new requests",
        "v1: 127.0.0.1:9002 is let go",
        "v2: 127.0.0.1:9006 gets requests from now on",
        "v1: 127.0.0.1:9001 gets no new requests",
    ];
    assert_eq!(told[..8], expected);
}

#[tokio::test(start_paused = true)]
async fn a_batch_gets_its_share_when_its_own_instances_are_healthy_and_no_others_need_be() {
    let world = World::start_with(&three(), Memory::with_commits(&[]));
    world.checks.set_sick(&GREEN[1..]);
    let id = begin(&world, "").await;
    until_state(&world, &id, "preparing_batch").await;
    world.pass(5_000).await;
    assert_eq!(named(&world), names(&BLUE[..2], &GREEN[..1]));
    world.checks.set_sick(&[]);
    world.until_share(&id, "66.67%").await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_never_ready_ends_the_shift_with_blue_whole() {
    let world = World::start_with(&three(), Memory::with_commits(&[]));
    world.checks.set_sick(&GREEN[1..]);
    let id = begin(&world, "").await;
    let view = world.until_over(&id).await;
    assert!(
        matches!(view.state, State::RolledBack { cause: Cause::GreenNotReady { .. } }),
        "{:?}",
        view.state
    );
    assert_eq!(named(&world), names(&BLUE, &[]));
}

#[tokio::test(start_paused = true)]
async fn a_breach_in_the_second_batch_gives_blue_everything_at_once_and_its_instances_back_when_healthy() {
    let world = World::start_with(&three(), Memory::with_commits(&[]));
    let id = begin(&world, "").await;
    world.until_share(&id, "66.67%").await;
    world.pass(50).await;
    world.checks.set_sick(&BLUE[2..]);
    world.pass(30_000).await;
    world.fail(Side::Green, 12);
    world.pass(11).await;
    assert_eq!(world.green_share(), Share::NONE, "before anybody waits for anything");
    let view = until_state(&world, &id, "restoring").await;
    assert_eq!(view.share, Share::NONE);
    assert_eq!(named(&world).0, BLUE[..2]);
    world.checks.set_sick(&[]);
    let view = world.until_over(&id).await;
    assert!(matches!(view.state, State::RolledBack { cause: Cause::Alarm { .. } }), "{:?}", view.state);
    assert_eq!(named(&world), names(&BLUE, &[]));
}

#[tokio::test(start_paused = true)]
async fn with_a_rollback_batch_green_keeps_what_blue_cannot_take_until_it_is_back() {
    let world = World::start_with(&three(), Memory::with_commits(&[]));
    let id = begin(&world, ", rollback_batch = 1").await;
    world.until_share(&id, "100%").await;
    world.pass(50).await;
    world.checks.set_sick(&BLUE[1..]);
    world.pass(30_000).await;
    world.fail(Side::Green, 12);
    world.pass(11).await;
    assert_eq!(world.green_share(), share("66.67%"), "blue has one of three");
    until_state(&world, &id, "restoring").await;
    assert_eq!(named(&world), names(&BLUE[..1], &GREEN[..2]));
    world.checks.set_sick(&BLUE[2..]);
    world.until_share(&id, "33.34%").await;
    assert_eq!(named(&world).0, BLUE[..2]);
    world.checks.set_sick(&[]);
    world.until_share(&id, "0%").await;
    let view = world.until_over(&id).await;
    assert!(matches!(view.state, State::RolledBack { cause: Cause::Alarm { .. } }), "{:?}", view.state);
    assert_eq!(named(&world), names(&BLUE, &[]));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_serves_what_is_left_and_the_next_shift_replaces_it() {
    let world = World::start_with(&three(), Memory::with_commits(&[]));
    let id = begin(&world, ", rollback_batch = 1").await;
    world.until_share(&id, "66.67%").await;
    world.pass(50).await;
    world.checks.set_sick(&BLUE[2..]);
    world.pass(30_000).await;
    world.fail(Side::Green, 12);
    let view = world.until_over(&id).await;
    let State::RollbackFailed { cause: Cause::Alarm { .. }, reason, .. } = &view.state else {
        panic!("{:?}", view.state)
    };
    assert!(reason.contains("not ready within 20s"), "{reason}");
    let mix = [BLUE[0], BLUE[1], GREEN[0]];
    assert_eq!(named(&world), names(&mix, &[]));
    let serving = world.journal.endpoint(&chat()).unwrap().serving;
    let kept: Vec<_> = serving.instances.iter().map(|instance| instance.address.to_string()).collect();
    assert_eq!(kept, mix);
    let world = World::start_with(&three(), world.crash().await);
    assert_eq!(named(&world), names(&mix, &[]), "a restart knows of it");
    let next = ["127.0.0.1:9007", "127.0.0.1:9008", "127.0.0.1:9009"];
    let id = start(&world, plan("v3", &next, "")).await.unwrap().id;
    assert_eq!(world.until_over(&id).await.state, State::Promoted);
    assert_eq!(named(&world), names(&next, &[]));
}

#[tokio::test(start_paused = true)]
async fn an_abort_between_two_batches_puts_the_batch_that_was_about_to_go_back_into_service() {
    let world = World::start_with(&three(), Memory::with_commits(&[]));
    let id = begin(&world, "").await;
    let last = std::sync::Arc::clone(&world.route().blue.fleet.instances[2]);
    last.begin(0);
    until_state(&world, &id, "retiring_batch").await;
    assert_eq!(named(&world).0, BLUE[..2]);
    world.command(&id, Command::Abort).await.unwrap();
    assert_eq!(named(&world).0, BLUE);
    last.end(0);
    assert_eq!(world.until_over(&id).await.state, State::RolledBack { cause: Cause::Aborted });
}

#[tokio::test(start_paused = true)]
async fn wherever_the_process_dies_the_table_names_what_it_named_and_the_shift_goes_on() {
    let world = World::start_with(&three(), Memory::with_commits(&[]));
    let id = begin(&world, "").await;
    world.until_over(&id).await;
    let commits = world.journal.commits();
    for length in 1..=commits.len() {
        let journal = Memory::with_commits(&commits[..length]);
        let Some(before) = journal.running() else { continue };
        let world = World::start_with(&three(), journal);
        let serving = before.plan.shift.rolling().unwrap().in_service(&before.snapshot.state);
        let (blue, green) = named(&world);
        // What was green and has been adopted is blue by now.
        let (blue_count, green_count) =
            if serving.blue == 0 { (3, 0) } else { (serving.blue, serving.green) };
        let told = format!("{:?} after {length} commits", before.snapshot.state);
        assert_eq!((blue.len(), green.len()), (blue_count as usize, green_count as usize), "{told}");
        assert_eq!(world.until_over(&before.id).await.state, State::Promoted, "{told}");
        assert_eq!(named(&world), names(&GREEN, &[]), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_green_and_fleets_of_two_kinds_in_a_rollback_by_batches_are_refused() {
    let world = World::start_with(&three(), Memory::with_commits(&[]));
    let mut plan = plan("v2", &GREEN, ", rollback_batch = 1");
    plan.green.protocol = crate::fleet::Protocol::H2c;
    let refused = start(&world, plan).await.unwrap_err().to_string();
    assert!(refused.contains("strategy.rollback_batch"), "{refused}");
}
