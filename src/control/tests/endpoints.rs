//! Declarations of endpoints, by the API and by a file.

use std::{sync::Arc, time::Duration};

use super::world::{CANARY, World, chat, config, config_of, endpoint_of};
use crate::{
    control::{ControlError, Execution},
    fleet::{Health, Side, Weight},
    name::EndpointName,
    store::Origin,
};

fn name(text: &str) -> EndpointName {
    EndpointName::parse(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_blue_keeps_its_instances_and_meters() {
    let world = World::start();
    world.serve_well(Side::Blue, 3);
    let before = world.route();
    before.blue.fleet.instances[0].begin(0);
    let spec = endpoint_of("chat", "v1", "127.0.0.1:9001", "/chat");
    let view = world.handle.put_endpoint(spec, "ann", Execution::Real).await.unwrap();
    let after = world.route();
    assert!(Arc::ptr_eq(&before.blue.fleet, &after.blue.fleet));
    assert_eq!((after.slot, after.split), (before.slot, before.split));
    assert_eq!(after.rule.path_prefix.as_deref(), Some("/chat"));
    assert_eq!((view.blue.traffic.requests, view.blue.instances[0].in_flight), (3, 1));
    assert_eq!(view.origin, Origin::Api);
}

#[tokio::test(start_paused = true)]
async fn a_changed_blue_serves_at_once_and_instances_that_stay_keep_their_requests() {
    let world = World::start();
    let before = world.route();
    let mut spec = endpoint_of("chat", "v1", "127.0.0.1:9001", "/");
    spec.blue.instances.extend(endpoint_of("x", "x", "127.0.0.1:9002", "/").blue.instances);
    spec.blue.instances[0].weight = Weight::new(3).unwrap();
    world.handle.put_endpoint(spec.clone(), "ann", Execution::Real).await.unwrap();
    let more = world.route();
    let weights: Vec<_> = more.blue.fleet.instances.iter().map(|instance| instance.weight().get()).collect();
    assert_eq!(weights, [3, 1]);
    assert!(Arc::ptr_eq(&before.blue.fleet.instances[0], &more.blue.fleet.instances[0]));
    assert!(Arc::ptr_eq(&before.blue.meters, &more.blue.meters), "the version is the same");
    spec.blue.version = crate::name::Version::parse("v5").unwrap();
    world.handle.put_endpoint(spec, "ann", Execution::Real).await.unwrap();
    let other = world.route();
    assert!(Arc::ptr_eq(&more.blue.fleet.instances[1], &other.blue.fleet.instances[1]));
    assert!(!Arc::ptr_eq(&more.blue.meters, &other.blue.meters), "another version counts anew");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_joins_or_comes_back_grows_from_a_tenth_of_its_part() {
    let world = World::start();
    let mut spec = endpoint_of("chat", "v1", "127.0.0.1:9001", "/");
    spec.protection.slow_start = Duration::from_secs(30);
    world.handle.put_endpoint(spec.clone(), "ann", Execution::Real).await.unwrap();
    let whole = world.route().blue.fleet.instances[0].part();
    spec.blue.instances.extend(endpoint_of("x", "x", "127.0.0.1:9002", "/").blue.instances);
    world.handle.put_endpoint(spec, "ann", Execution::Real).await.unwrap();
    let route = world.route();
    let [old, new] = &route.blue.fleet.instances[..] else { panic!("two instances") };
    assert_eq!((old.part(), new.part() * 10), (whole, whole));
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!((50..60).contains(&(new.part() * 100 / whole)), "{}", new.part());
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!((old.part(), new.part()), (whole, whole));
    world.checks.set_sick(&["127.0.0.1:9001"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((old.health(), old.part()), (Health::Unhealthy, 0));
    world.checks.set_sick(&[]);
    while old.health() == Health::Unhealthy {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(old.part() * 5 < whole, "{}", old.part());
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!((old.part(), new.part()), (whole, whole));
}

#[tokio::test(start_paused = true)]
async fn while_a_shift_runs_blue_cannot_be_changed_but_limits_can() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    let other = endpoint_of("chat", "v9", "127.0.0.1:9009", "/");
    let error = world.handle.put_endpoint(other, "ann", Execution::Real).await.unwrap_err();
    assert!(matches!(error, ControlError::ShiftRunning { ref running, .. } if *running == id), "{error}");
    let error = world.handle.delete_endpoint(&chat(), "ann", Execution::Real).await.unwrap_err();
    assert!(matches!(error, ControlError::ShiftRunning { .. }), "{error}");
    let before = world.route();
    let mut same = endpoint_of("chat", "v1", "127.0.0.1:9001", "/");
    same.limits.body_limit_bytes = 5;
    world.handle.put_endpoint(same, "ann", Execution::Real).await.unwrap();
    let after = world.route();
    assert_eq!((after.limits.body_limit_bytes, after.split), (5, before.split));
    assert!(after.green.is_some() && after.watch.is_some());
}

#[tokio::test(start_paused = true)]
async fn after_a_promotion_a_repeated_declaration_does_not_roll_the_model_back() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_over(&id).await;
    let mut same = endpoint_of("chat", "v1", "127.0.0.1:9001", "/");
    same.limits.body_limit_bytes = 5;
    world.handle.put_endpoint(same, "ann", Execution::Real).await.unwrap();
    assert_eq!(world.route().blue.fleet.version.as_str(), "v2");
    let back = endpoint_of("chat", "v0", "127.0.0.1:9001", "/");
    world.handle.put_endpoint(back, "ann", Execution::Real).await.unwrap();
    assert_eq!(world.route().blue.fleet.version.as_str(), "v0");
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_meets_anothers_is_refused() {
    let world = World::start();
    let twin = endpoint_of("twin", "v1", "127.0.0.1:9008", "/");
    for execution in [Execution::Dry, Execution::Real] {
        let error = world.handle.put_endpoint(twin.clone(), "ann", execution).await.unwrap_err();
        let ControlError::Problems(problems) = error else { panic!("{error}") };
        assert_eq!(problems.problems[0].key, "match");
        assert!(problems.problems[0].message.contains("twin"), "{problems}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_put_answers_as_if_and_changes_nothing() {
    let world = World::start();
    let before = world.table.load().generation();
    let spec = endpoint_of("more", "v1", "127.0.0.1:9008", "/more");
    let view = world.handle.put_endpoint(spec, "ann", Execution::Dry).await.unwrap();
    assert_eq!(view.blue.version.as_str(), "v1");
    assert_eq!(world.table.load().generation(), before);
    assert!(world.handle.endpoint(&name("more")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_used_again_only_after_its_endpoint_is_gone_and_with_a_deck_of_its_own() {
    let world = World::start_with(
        &config_of(&[("a", "v1", "127.0.0.1:1", "/a"), ("b", "v1", "127.0.0.1:2", "/b")]),
        Arc::default(),
    );
    let old = Arc::clone(world.table.load().named(&name("a")).unwrap());
    world.handle.delete_endpoint(&name("a"), "ann", Execution::Real).await.unwrap();
    assert!(world.table.load().named(&name("a")).is_none());
    let spec = endpoint_of("c", "v1", "127.0.0.1:3", "/c");
    world.handle.put_endpoint(spec, "ann", Execution::Real).await.unwrap();
    let new = Arc::clone(world.table.load().named(&name("c")).unwrap());
    assert_eq!(new.slot, old.slot);
    assert_ne!(new.split.epoch, old.split.epoch);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_endpoint_is_named_with_the_known_ones() {
    let world = World::start();
    let error = world.handle.endpoint(&name("nope")).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no endpoint nope; there are: chat");
    let error = world.handle.endpoint(&name("caht")).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no endpoint caht; there are: chat; did you mean chat?");
    assert!(world.handle.shifts(&name("nope")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reload_adds_changes_and_removes_what_files_declared_and_leaves_the_apis_alone() {
    let world = World::start_with(
        &config_of(&[("chat", "v1", "127.0.0.1:9001", "/"), ("old", "v1", "127.0.0.1:1", "/old")]),
        Arc::default(),
    );
    let api = endpoint_of("api", "v1", "127.0.0.1:2", "/api");
    world.handle.put_endpoint(api, "ann", Execution::Real).await.unwrap();
    let mut next = config_of(&[("chat", "v2", "127.0.0.1:9002", "/"), ("new", "v1", "127.0.0.1:3", "/new")]);
    next.data.workers = 7;
    let dry = world.handle.apply(&next, "SIGHUP", Execution::Dry).await.unwrap();
    assert!(world.handle.endpoint(&name("new")).await.is_err());
    let lines = world.handle.apply(&next, "SIGHUP", Execution::Real).await.unwrap();
    assert_eq!(lines, dry);
    let expected = ["endpoint chat: v2 serves", "endpoint new: added, v1 serves", "endpoint old: removed"];
    assert_eq!(lines[..3], expected);
    assert!(lines[3].contains("data.workers"), "{lines:?}");
    let names: Vec<_> = world
        .handle
        .endpoints()
        .await
        .unwrap()
        .into_iter()
        .map(|view| view.declared.name.to_string())
        .collect();
    assert_eq!(names, ["api", "chat", "new"]);
    let reloads = world.journal.events().into_iter().filter(|event| event.kind == "config.reloaded");
    assert_eq!(reloads.count(), 1);
    let nothing = world.handle.apply(&next, "SIGHUP", Execution::Real).await.unwrap();
    assert_eq!(nothing.len(), 1, "only what needs a restart: {nothing:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_leaves_what_a_running_shift_stands_against_and_says_so() {
    let world = World::start();
    let id = world.begin(CANARY).await.id;
    world.until_share(&id, "10%").await;
    let other = config_of(&[("chat", "v3", "127.0.0.1:9005", "/chat")]);
    let lines = world.handle.apply(&other, "SIGHUP", Execution::Real).await.unwrap();
    assert!(lines[0].contains("blue stays v1") && lines[0].contains(id.as_str()), "{lines:?}");
    assert_eq!(world.route().rule.path_prefix.as_deref(), Some("/chat"), "the rest is taken");
    let mut none = config();
    none.endpoints.clear();
    let lines = world.handle.apply(&none, "SIGHUP", Execution::Real).await.unwrap();
    assert!(lines[0].starts_with("endpoint chat: stays"), "{lines:?}");
    world.until_over(&id).await;
    let lines = world.handle.apply(&other, "SIGHUP", Execution::Real).await.unwrap();
    assert_eq!(lines, ["endpoint chat: v3 serves"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_file_is_remembered() {
    let world = World::start();
    let problems = crate::config::parse("nonsense = 1", "snapback.toml").unwrap_err();
    world.handle.note_refused_config(&problems, "SIGHUP").await.unwrap();
    let event = world.journal.events().pop().unwrap();
    assert_eq!(event.kind, "config.refused");
    assert!(event.cause.contains("nonsense"), "{}", event.cause);
}
