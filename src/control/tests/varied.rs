//! Endpoints with variants: their weights by hand, and shifts over them.

use std::sync::Arc;

use super::world::{CANARY, Memory, World, chat, share};
use crate::{
    config::{self, Config, PlanSpec},
    control::{Actor, ControlError, Execution, ShiftView, Weights},
    fleet::{Side, VariantWeight},
    meter::{FailureKind, Verdict},
    name::VariantName,
    weight::Share,
};

const BLUE: &str = "variants = [{ name = \"a\", weight = 3, instances = [\"127.0.0.1:9001\"] }, \
                                { name = \"b\", instances = [\"127.0.0.1:9002\"] }]";
const GREEN: &str = "variants = [{ name = \"b\", instances = [\"127.0.0.1:9004\"] }, \
                                 { name = \"a\", weight = 5, instances = [\"127.0.0.1:9003\"] }]";

fn config() -> Config {
    let text = format!("[[endpoint]]\nname = \"chat\"\nblue = {{ version = \"v1\", {BLUE} }}\n");
    config::parse(&format!("[data]\nworkers = 1\n{text}"), "test.toml").unwrap()
}

fn world() -> World {
    World::start_with(&config(), Arc::default())
}

fn weights(weights: &[(&str, f64)]) -> Weights {
    let weight = |(name, number): &(&str, f64)| {
        (VariantName::parse(name).unwrap(), VariantWeight::from_number(*number).unwrap())
    };
    weights.iter().map(weight).collect()
}

async fn weigh(world: &World, given: &[(&str, f64)]) -> Result<Vec<(String, String)>, ControlError> {
    let actor = Actor::from("ann");
    let view = world.handle.weigh_variants(&chat(), weights(given), &actor, Execution::Real).await?;
    let told = |variant: crate::control::VariantView| (variant.name.to_string(), variant.weight.to_string());
    Ok(view.blue.variants.into_iter().map(told).collect())
}

fn live(world: &World) -> Vec<(String, String)> {
    let route = world.route();
    let told = |variant: &crate::fleet::Variant| (variant.name.to_string(), variant.weight.to_string());
    route.blue.fleet.variants.iter().map(told).collect()
}

fn told(weights: &[(&str, &str)]) -> Vec<(String, String)> {
    weights.iter().map(|(name, weight)| ((*name).to_owned(), (*weight).to_owned())).collect()
}

async fn begin(world: &World, green: &str, rest: &str) -> Result<ShiftView, ControlError> {
    let plan =
        PlanSpec::from_toml(&format!("green = {{ version = \"v2\", {green} }}\n{rest}"), "p.toml").unwrap();
    world.handle.start_shift(&chat(), plan, "ann", Execution::Real).await
}

fn good_traffic(world: &World) {
    for variant in ["a", "b"] {
        world.serve_by((Side::Blue, variant), 5, Verdict::Success);
        if world.green_share() != Share::NONE {
            world.serve_by((Side::Green, variant), 5, Verdict::Success);
        }
    }
}

async fn until_over(world: &World, view: &ShiftView) -> ShiftView {
    for _ in 0..1_000 {
        let view = world.shift(&view.id).await;
        if view.state.is_terminal() {
            return view;
        }
        good_traffic(world);
        world.pass(100).await;
    }
    panic!("the shift does not end: {:?}", world.shift(&view.id).await.state)
}

#[tokio::test(start_paused = true)]
async fn other_weights_hold_at_once_keep_instances_and_counts_and_survive_a_restart() {
    let world = world();
    world.serve_by((Side::Blue, "a"), 3, Verdict::Success);
    let before = world.route();
    assert_eq!(weigh(&world, &[("b", 0.25)]).await.unwrap(), told(&[("a", "3"), ("b", "0.25")]));
    let after = world.route();
    assert_eq!(live(&world), told(&[("a", "3"), ("b", "0.25")]));
    assert!(Arc::ptr_eq(&before.blue.fleet.instances[1], &after.blue.fleet.instances[1]));
    assert!(Arc::ptr_eq(&before.blue.meters, &after.blue.meters));
    let event = world.journal.events().into_iter().find(|event| event.kind == "endpoint.weighted").unwrap();
    assert_eq!((event.actor.as_str(), event.cause.as_str()), ("ann", "b weighs 0.25 instead of 1"));
    let journal: Arc<Memory> = world.crash().await;
    let world = World::start_with(&config(), journal);
    assert_eq!(live(&world), told(&[("a", "3"), ("b", "0.25")]), "the file has not changed, so they stay");
}

#[tokio::test(start_paused = true)]
async fn weights_of_nobody_of_nothing_and_during_a_shift_are_refused_and_change_nothing() {
    let world = world();
    let refused = weigh(&world, &[("c", 1.0), ("a", 1.0)]).await.unwrap_err().to_string();
    assert!(refused.contains("weights.c: no such variant; there are a and b"), "{refused}");
    let refused = weigh(&world, &[("a", 0.0), ("b", 0.0)]).await.unwrap_err().to_string();
    assert!(refused.contains("every weight would be 0"), "{refused}");
    begin(&world, GREEN, CANARY).await.unwrap();
    assert!(matches!(weigh(&world, &[("a", 1.0)]).await, Err(ControlError::ShiftRunning { .. })));
    assert_eq!(live(&world), told(&[("a", "3"), ("b", "1")]));
    let plain = World::start();
    let refused = weigh(&plain, &[("a", 1.0)]).await.unwrap_err().to_string();
    assert!(refused.contains("weights.a: the fleet in service has no variants"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_promoted_shift_brings_all_variants_and_greens_weights_with_the_adoption() {
    let world = world();
    let view = begin(&world, GREEN, CANARY).await.unwrap();
    world.pass(1_000).await;
    assert_eq!((world.green_share(), live(&world)), (share("10%"), told(&[("a", "3"), ("b", "1")])));
    let green = world.route().green.clone().unwrap();
    let addresses: Vec<_> =
        green.fleet.instances.iter().map(|instance| instance.address().to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:9003", "127.0.0.1:9004"], "in the order of blue's variants");
    let view = until_over(&world, &view).await;
    assert_eq!(view.state.as_str(), "promoted");
    assert_eq!(live(&world), told(&[("a", "5"), ("b", "1")]));
    assert!(view.green.requests > 0 && view.green.failed == 0, "the counts of both variants together");
    let journal = world.crash().await;
    assert_eq!(live(&World::start_with(&config(), journal)), told(&[("a", "5"), ("b", "1")]));
}

#[tokio::test(start_paused = true)]
async fn an_alarm_over_the_sum_snaps_all_variants_back_when_one_fails() {
    let world = world();
    let view = begin(&world, GREEN, CANARY).await.unwrap();
    world.pass(1_000).await;
    world.serve_by((Side::Green, "a"), 40, Verdict::Success);
    world.serve_by((Side::Green, "b"), 40, Verdict::Failure(FailureKind::ServerError));
    world.pass(20).await;
    assert_eq!(world.green_share(), Share::NONE);
    assert_eq!(until_over(&world, &view).await.state.as_str(), "rolled_back");
    assert_eq!(live(&world), told(&[("a", "3"), ("b", "1")]));
}

#[tokio::test(start_paused = true)]
async fn a_threshold_on_a_variant_sees_that_variant_alone_and_snaps_all_of_them_back() {
    let of = |variant: &str| {
        format!(
            "strategy = {{ type = \"canary\", share = \"10%\", bake = \"10s\", final_bake = \"20s\" }}\n[[threshold]]\nname = \"errors\"\n\
             variant = \"{variant}\"\nmetric = \"error_rate\"\nabove = \"50%\"\nperiod = \"1s\"\n"
        )
    };
    for (watched, is_raised) in [("a", false), ("b", true)] {
        let world = world();
        let view = begin(&world, GREEN, &of(watched)).await.unwrap();
        world.pass(1_000).await;
        assert_eq!(world.green_share(), share("10%"));
        // Of all of green's requests less than half fail.
        world.serve_by((Side::Green, "a"), 40, Verdict::Success);
        world.serve_by((Side::Green, "b"), 10, Verdict::Failure(FailureKind::ServerError));
        world.pass(2_100).await;
        assert_eq!(world.green_share() == Share::NONE, is_raised, "{watched}");
        let raised = world.shift(&view.id).await.state.cause().cloned();
        if let Some(crate::shift::Cause::Alarm { name, evidence }) = &raised {
            assert_eq!(name, "errors");
            assert!(evidence.contains("error rate average of variant b above 50%"), "{evidence}");
        }
        assert_eq!(raised.is_some(), is_raised);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shift_in_progress_goes_on_with_its_variants_after_a_crash() {
    let world = world();
    let view = begin(&world, GREEN, CANARY).await.unwrap();
    world.pass(1_000).await;
    let world = World::start_with(&config(), world.crash().await);
    world.pass(1_000).await;
    let route = world.route();
    assert_eq!(route.split.green, share("10%"));
    assert_eq!(route.green.as_ref().unwrap().meters.variants().len(), 2);
    assert_eq!(until_over(&world, &view).await.state.as_str(), "promoted");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_shifted_is_refused_with_the_reason() {
    let world = world();
    let plain = "instances = [\"127.0.0.1:9003\"]";
    let refused = begin(&world, plain, CANARY).await.unwrap_err().to_string();
    assert!(
        refused
            .contains("green.variants: green has no variants, and the fleet in service the variants a and b"),
        "{refused}"
    );
    let rolling = "strategy = { type = \"rolling\", batch = 1, bake = \"10s\" }\n";
    let refused = begin(&world, GREEN, rolling).await.unwrap_err().to_string();
    assert!(refused.contains("strategy.type: \"rolling\" brings green in batches of one list"), "{refused}");
}
