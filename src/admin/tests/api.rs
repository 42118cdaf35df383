//! What clients of the native API get, from the request to the answer.

use axum::body::Body;
use http::Method;
use serde_json::json;

use super::{
    openapi::fits,
    world::{World, request},
};

#[tokio::test]
async fn endpoints_are_declared_shown_and_removed() {
    let world = World::new();
    let declared =
        json!({"match": {"path_prefix": "/b/"}, "blue": {"version": "b1", "instances": [world.blue]}});
    let dry = world.json(Method::PUT, "/v1/endpoints/b?dry_run=true", &declared).await;
    assert_eq!(dry.status, 200, "{}", dry.text());
    world.get("/v1/endpoints/b").await.problem(404);

    let new = world.json(Method::PUT, "/v1/endpoints/b", &declared).await;
    assert_eq!((new.status.as_u16(), new.json()["blue"]["version"].as_str()), (201, Some("b1")));
    fits("Endpoint", &new.json());
    assert_eq!(world.json(Method::PUT, "/v1/endpoints/b", &declared).await.status, 200);
    let all = world.get("/v1/endpoints").await;
    fits("Endpoints", &all.json());
    assert_eq!(all.json()["endpoints"].as_array().unwrap().len(), 2);

    assert_eq!(world.bare(Method::DELETE, "/v1/endpoints/b?dry_run=true").await.status, 204);
    assert_eq!(world.get("/v1/endpoints/b").await.status, 200);
    assert_eq!(world.bare(Method::DELETE, "/v1/endpoints/b").await.status, 204);
    let gone = world.get("/v1/endpoints/b").await.problem(404);
    assert_eq!(gone["type"], "urn:snapback:no-endpoint");
    world.end().await;
}

#[tokio::test]
async fn a_shift_is_started_once_and_ended_by_hand_with_a_reason() {
    let world = World::new();
    let dry = world.json(Method::POST, "/v1/endpoints/chat/shifts?dry_run=true", &world.plan()).await;
    assert_eq!((dry.status.as_u16(), &dry.json()["id"]), (200, &json!(null)), "{}", dry.text());

    let started = world.json(Method::POST, "/v1/endpoints/chat/shifts", &world.plan()).await;
    assert_eq!(started.status, 201, "{}", started.text());
    fits("Shift", &started.json());
    let id = started.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(started.headers["location"], format!("/v1/shifts/{id}"));

    let second = world.json(Method::POST, "/v1/endpoints/chat/shifts", &world.plan()).await.problem(409);
    assert_eq!(
        (&second["type"], &second["running_shift"]),
        (&json!("urn:snapback:shift-running"), &json!(id))
    );

    let reason = json!({"reason": "answers look odd", "actor": "carla"});
    let aborted = world.json(Method::POST, &format!("/v1/shifts/{id}/abort"), &reason).await;
    assert_eq!(aborted.status, 200, "{}", aborted.text());
    let aborted = aborted.json();
    assert_eq!(aborted["cause"]["kind"], "aborted");
    let explanation = aborted["explanation"].as_str().unwrap();
    assert!(explanation.contains("carla aborted the shift, saying \"answers look odd\""), "{explanation}");

    world.bare(Method::POST, &format!("/v1/shifts/{id}/resume")).await.problem(409);
    let all = world.get("/v1/endpoints/chat/shifts").await.json();
    fits("Shifts", &all);
    assert_eq!(all["shifts"][0]["id"], json!(id));
    assert_eq!(world.get(&format!("/v1/shifts/{id}")).await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn a_dry_run_says_what_the_plan_can_find_and_a_start_remembers_what_was_to_be_known() {
    let world = World::new();
    let mut plan = world.plan();
    plan["guard"] = json!([{"metric": "latency", "quantile": "p99", "below": "1s"}]);
    let path = "/v1/endpoints/chat/shifts";
    let dry = world.json(Method::POST, &format!("{path}?dry_run=true&traffic=20/s"), &plan).await;
    assert_eq!(dry.status, 200, "{}", dry.text());
    fits("Shift", &dry.json());
    let step = &dry.json()["forecast"]["steps"][0];
    assert_eq!((&step["requests"], &step["alarms"][0]["sight"]), (&json!(3_600), &json!("rate")));
    assert_eq!(dry.json()["forecast"]["traffic"]["origin"], "stated");
    let warned = |document: &serde_json::Value| {
        let all = document["findings"].as_array().unwrap().clone();
        all.into_iter()
            .any(|finding| finding["code"] == "latency_without_errors" && finding["severity"] == "warning")
    };
    assert!(warned(&dry.json()), "{}", dry.text());
    let silent = world.json(Method::POST, &format!("{path}?dry_run=true"), &plan).await.json();
    assert_eq!(silent["forecast"]["steps"][0]["requests"], json!(null), "there was no traffic");

    for query in ["traffic=20/s", "dry_run=true&traffic=20", "dry_run=true&rate=20/s"] {
        world.json(Method::POST, &format!("{path}?{query}"), &plan).await.problem(400);
    }

    let started = world.json(Method::POST, path, &plan).await;
    assert_eq!(started.status, 201, "{}", started.text());
    assert!(warned(&started.json()) && started.json()["forecast"].is_null(), "{}", started.text());
    let id = started.json()["id"].as_str().unwrap().to_owned();
    world.bare(Method::POST, &format!("/v1/shifts/{id}/abort")).await;
    assert!(warned(&world.get(&format!("/v1/shifts/{id}")).await.json()), "it is in the journal");
    let events = world.handle.events_after(0).await.unwrap();
    let warnings: Vec<_> = events.iter().filter(|event| event.kind == "shift.warning").collect();
    assert!(warnings.iter().any(|event| event.cause.starts_with("guard latency_p99: ")), "{warnings:?}");
    assert!(warnings.iter().all(|event| event.shift.as_ref().is_some_and(|shift| shift.as_str() == id)));
    world.end().await;
}

#[tokio::test]
async fn an_endpoint_without_requests_has_an_empty_recording_and_nothing_to_replay() {
    let world = World::new();
    let export = world.get("/v1/endpoints/chat/recording").await;
    assert_eq!(
        (export.status.as_u16(), &export.headers["content-type"]),
        (200, &"application/x-ndjson".parse().unwrap())
    );
    assert_eq!(
        export.text(),
        "{\"format\":\"snapback-recording\",\"version\":2,\"endpoint\":\"chat\",\"dealing\":\"deck\",\"outcomes\":0}\n"
    );
    let refused = world.json(Method::POST, "/v1/endpoints/chat/replay", &world.plan()).await.problem(409);
    assert_eq!(refused["type"], "urn:snapback:no-replay");
    let path = "/v1/endpoints/chat/replay?splits=5";
    let refused = world.json(Method::POST, path, &world.plan()).await.problem(400);
    assert!(refused["detail"].as_str().unwrap().contains("add aa=true"), "{refused}");
    let silent = json!({"match": {"path_prefix": "/b/"}, "recording": 0, "blue": {"version": "b1", "instances": [world.blue]}});
    world.json(Method::PUT, "/v1/endpoints/b", &silent).await;
    for refused in [
        world.get("/v1/endpoints/b/recording").await.problem(409),
        world.json(Method::POST, "/v1/endpoints/b/replay", &world.plan()).await.problem(409),
    ] {
        assert_eq!(refused["type"], "urn:snapback:not-recorded");
    }
    world.end().await;
}

#[tokio::test]
async fn bad_documents_are_refused_with_all_their_problems() {
    let world = World::new();
    let path = "/v1/endpoints/chat/shifts";
    let plan = json!({"green": {"version": "v 2", "instances": []}, "strategy": {"type": "canary"}});
    let refused = world.json(Method::POST, path, &plan).await.problem(422);
    let keys: Vec<&str> = refused["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["key"].as_str().unwrap())
        .collect();
    assert!(keys.contains(&"green.version") && keys.contains(&"green.instances"), "{keys:?}");
    fits("Problem", &refused);

    let mut broken = request(Method::POST, path, "{\n\"green\": }");
    broken.headers_mut().insert("content-type", "application/json".parse().unwrap());
    assert_eq!(world.send(broken).await.problem(400)["problems"][0]["line"], 2);

    let mut text = request(Method::POST, path, "green");
    text.headers_mut().insert("content-length", 5.into());
    world.send(text).await.problem(415);

    let mut large = request(Method::POST, path, vec![b' '; (1 << 20) + 1]);
    large.headers_mut().insert("content-type", "application/json".parse().unwrap());
    world.send(large).await.problem(413);
    world.end().await;
}

#[tokio::test]
async fn unknown_paths_names_methods_and_parameters_are_problems() {
    let world = World::new();
    world.get("/v2/endpoints").await.problem(404);
    world.get("/v1/endpoints/no%20name").await.problem(404);
    world.get("/v1/shifts/none-such").await.problem(404);
    world.get("/v1/endpoints/none/shifts").await.problem(404);
    world.get("/v1/endpoints?dry_run=true").await.problem(400);
    world.bare(Method::POST, "/v1/reload?dryrun=true").await.problem(400);
    world.get("/v1/events?since=1").await.problem(400);
    let wrong = world.bare(Method::PATCH, "/v1/endpoints/chat").await;
    wrong.problem(405);
    assert_eq!(wrong.headers["allow"], "GET,HEAD,PUT,DELETE");
    world.end().await;
}

#[tokio::test]
async fn a_foreign_host_or_page_is_refused_on_every_path() {
    let world = World::new();
    for path in ["/", "/healthz", "/v1/endpoints", "/metrics", "/nowhere"] {
        let mut rebound = request(Method::GET, path, Body::empty());
        rebound.headers_mut().insert("host", "evil.example".parse().unwrap());
        world.send(rebound).await.problem(403);
    }
    let mut forged = request(Method::POST, "/v1/reload", Body::empty());
    forged.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    world.send(forged).await.problem(403);
    world.end().await;
}

#[tokio::test]
async fn a_reload_applies_a_good_file_and_refuses_a_bad_one() {
    let world = World::new();
    let text = std::fs::read_to_string(&world.config_file).unwrap();
    let more = format!(
        "{text}[[endpoint]]\nname = \"more\"\nmatch = {{ path_prefix = \"/more\" }}\nblue = {{ version = \"m1\", instances = [\"{}\"] }}\n",
        world.blue
    );
    std::fs::write(&world.config_file, &more).unwrap();
    assert_eq!(world.bare(Method::POST, "/v1/reload?dry_run=true").await.status, 200);
    world.get("/v1/endpoints/more").await.problem(404);
    let reloaded = world.bare(Method::POST, "/v1/reload").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    fits("Reload", &reloaded.json());
    assert_eq!(world.get("/v1/endpoints/more").await.status, 200);

    std::fs::write(&world.config_file, format!("{more}blu = 1\n")).unwrap();
    let refused = world.bare(Method::POST, "/v1/reload").await.problem(422);
    assert!(refused["problems"][0]["line"].is_u64(), "{refused}");
    world.bare(Method::POST, "/v1/reload?dry_run=true").await.problem(422);
    let events = world.handle.events_after(0).await.unwrap();
    let noted: Vec<_> = events.iter().filter(|event| event.kind == "config.refused").collect();
    assert_eq!(noted.len(), 1, "a dry run is not an event: {events:?}");
    assert!(noted[0].actor == "ben" && noted[0].cause.contains("blu"), "{noted:?}");
    assert_eq!(world.get("/v1/endpoints/more").await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn health_readiness_and_metrics_are_there() {
    let world = World::new();
    assert_eq!(world.get("/healthz").await.status, 200);
    assert_eq!(world.get("/readyz").await.status, 200);
    world.drain.send_replace(true);
    assert!(world.get("/readyz").await.problem(503)["detail"].as_str().unwrap().contains("drains"));
    assert_eq!(world.get("/healthz").await.status, 200);

    world.json(Method::POST, "/v1/endpoints/chat/shifts", &world.plan()).await;
    let metrics = world.get("/metrics").await;
    assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(
        metrics.text().contains("snapback_shift_state{endpoint=\"chat\",state=\"none\"} 0\n"),
        "{}",
        metrics.text()
    );

    world.end().await;
}
