//! What a dashboard asks for: the page and its assets, the live stream, series, history, and who the caller is.

use std::collections::BTreeMap;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{
    super::wire,
    openapi::{fits, fits_in_full},
    world::{World, request},
};

/// The messages of a stream, by kind and document.
struct Messages {
    body: BodyDataStream,
    rest: String,
}

impl Messages {
    async fn of(world: &World, path: &str) -> Self {
        let answer = world.router.clone().oneshot(request(Method::GET, path, Body::empty())).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { body: answer.into_body().into_data_stream(), rest: String::new() }
    }

    /// The next message; `None` at the stream's end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.rest = rest;
                let field = |name: &str| {
                    let mut lines = block.lines().filter_map(|line| line.strip_prefix(name));
                    lines.next().map(str::to_owned)
                };
                if let (Some(kind), Some(data)) = (field("event: "), field("data: ")) {
                    return Some((kind, serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let bytes = self.body.next().await?.unwrap();
            self.rest.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The next message of a kind.
    async fn next_of(&mut self, wanted: &str) -> Value {
        loop {
            let (kind, data) = self.next().await.expect("the stream goes on");
            if kind == wanted {
                return data;
            }
        }
    }
}

fn policy(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = headers["content-security-policy"].to_str().unwrap();
    let directive = |part: &str| {
        let (name, sources) = part.trim().split_once(' ').unwrap();
        (name.to_owned(), sources.trim().to_owned())
    };
    text.split(';').map(directive).collect()
}

#[tokio::test]
async fn the_page_runs_and_loads_nothing_but_its_own() {
    let world = World::new();
    let page = world.get("/").await;
    assert_eq!(
        (page.status.as_u16(), &page.headers["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    let policy = policy(&page.headers);
    assert_eq!(policy["default-src"], "'none'");
    for directive in ["script-src", "style-src", "connect-src", "img-src"] {
        assert_eq!(policy[directive], "'self'", "{directive}");
    }
    for directive in ["frame-ancestors", "base-uri", "form-action"] {
        assert_eq!(policy[directive], "'none'", "{directive}");
    }
    assert!(!page.text().contains("<style") && !page.text().contains("onclick"), "{}", page.text());
    world.end().await;
}

#[tokio::test]
async fn every_answer_tells_browsers_not_to_guess_frame_or_leak() {
    let world = World::new();
    for path in ["/", "/healthz", "/v1/endpoints", "/metrics", "/nowhere", "/assets/none.js"] {
        let answer = world.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        let policy = policy(&answer.headers);
        assert_eq!(
            (policy["default-src"].as_str(), policy["frame-ancestors"].as_str()),
            ("'none'", "'none'"),
            "{path}"
        );
    }
    assert_eq!(world.get("/v1/endpoints").await.headers["cache-control"], "no-store");
    world.end().await;
}

#[tokio::test]
async fn assets_are_named_by_their_content_and_kept_for_ever_and_the_page_is_asked_for_again() {
    let world = World::new();
    let page = world.get("/").await;
    let names: Vec<&str> = page.text().split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in names {
        let plain = world.get(name).await;
        assert_eq!(plain.status, 200, "{name}");
        assert!(plain.headers["cache-control"].to_str().unwrap().contains("immutable"));
        assert!(!plain.headers.contains_key("content-encoding"));
        let mut packed = request(Method::GET, name, Body::empty());
        packed.headers_mut().insert("accept-encoding", "br, gzip;q=0.8".parse().unwrap());
        let packed = world.send(packed).await;
        assert_eq!(packed.headers["content-encoding"], "gzip");
        assert_eq!(packed.headers["vary"], "accept-encoding");
        assert!(packed.body.starts_with(&[0x1f, 0x8b]) && packed.body.len() < plain.body.len(), "{name}");
    }
    for unknown in ["/assets/app.js", "/assets/app-0000000000000000.js", "/assets/..%2fmod.rs"] {
        world.get(unknown).await.problem(404);
    }
    let mut again = request(Method::GET, "/", Body::empty());
    again.headers_mut().insert("if-none-match", page.headers["etag"].clone());
    assert_eq!(world.send(again).await.status, 304);
    world.end().await;
}

#[tokio::test]
async fn a_stream_of_all_says_first_what_is_and_then_what_has_changed() {
    let world = World::new();
    let mut messages = Messages::of(&world, "/v1/live").await;
    let first = messages.next_of("glances").await;
    fits("Glances", &first);
    assert_eq!(first["endpoints"][0]["name"], "chat");
    assert!(first["trends"]["chat"].is_array(), "{first}");

    let started = world.json(Method::POST, "/v1/endpoints/chat/shifts", &world.plan()).await;
    let id = started.json()["id"].clone();
    let event = messages.next_of("journal").await;
    fits("Event", &event);
    let news = loop {
        let news = messages.next_of("glances").await;
        assert!(news["trends"].as_object().unwrap().is_empty(), "only the first has trends: {news}");
        if news["endpoints"][0]["shift"]["state"] == "baking" {
            break news;
        }
    };
    let glance: wire::Glance = serde_json::from_value(news["endpoints"][0].clone()).unwrap();
    let shift = glance.shift.unwrap();
    assert_eq!((json!(shift.id), shift.step, shift.steps), (id, Some(1), 2));
    assert!((glance.share - 0.05).abs() < 1e-9);

    world.json(Method::POST, &format!("/v1/shifts/{}/abort", shift.id), &json!({})).await;
    while messages.next_of("glances").await["endpoints"][0]["shift"] != Value::Null {}
    assert_eq!(world.bare(Method::DELETE, "/v1/endpoints/chat").await.status, 204);
    while messages.next_of("glances").await["gone"] != json!(["chat"]) {}
    world.stop.send_replace(true);
    while messages.next().await.is_some() {}
    world.end().await;
}

#[tokio::test]
async fn a_stream_of_one_endpoint_has_its_shift_and_new_points_and_ends_with_it() {
    let world = World::new();
    world.get("/v1/live?endpoint=none").await.problem(404);
    world.get("/v1/live?after=1").await.problem(400);
    let mut messages = Messages::of(&world, "/v1/live?endpoint=chat").await;
    let first = messages.next_of("endpoint").await;
    fits("Seen", &first);
    let id = world.json(Method::POST, "/v1/endpoints/chat/shifts", &world.plan()).await.json()["id"].clone();
    let mut times: Vec<i64> = Vec::new();
    while times.len() < 2 {
        let seen: wire::Seen = serde_json::from_value(messages.next_of("endpoint").await).unwrap();
        times.extend(&seen.series.at_ms);
    }
    assert!(times.is_sorted_by(|a, b| a < b), "no point comes twice: {times:?}");

    let path = format!("/v1/shifts/{}/series", id.as_str().unwrap());
    let running = world.get(&path).await.json();
    fits("Series", &running);
    assert!(running["green"]["requests"].as_array().is_some_and(|column| !column.is_empty()), "{running}");
    world.json(Method::POST, &format!("/v1/shifts/{}/abort", id.as_str().unwrap()), &json!({})).await;
    while messages.next_of("endpoint").await["shift"] != Value::Null {}
    // From the journal now, with all that there was.
    let over = world.get(&path).await.json();
    let count = |series: &Value| series["at_ms"].as_array().unwrap().len();
    assert!(count(&over) >= count(&running), "{over}");
    fits("Series", &world.get("/v1/endpoints/chat/series").await.json());
    world.get("/v1/shifts/none/series").await.problem(404);

    assert_eq!(world.bare(Method::DELETE, "/v1/endpoints/chat").await.status, 204);
    while messages.next().await.is_some() {}
    world.end().await;
}

#[tokio::test]
async fn history_goes_backwards_page_by_page_and_misses_nothing() {
    let world = World::new();
    for number in 0..120 {
        let frost = if number % 2 == 0 { "freeze" } else { "unfreeze" };
        let path = format!("/v1/endpoints/chat/{frost}");
        assert_eq!(world.bare(Method::POST, &path).await.status, 200);
    }
    let all = world.handle.events_after(0).await.unwrap();
    let wanted: Vec<u64> =
        all.iter().rev().filter(|event| event.endpoint.is_some()).map(|event| event.id).collect();
    let (mut seen, mut next, mut pages) = (Vec::new(), None, 0);
    loop {
        let before = next.map(|id: u64| format!("&before={id}")).unwrap_or_default();
        let answer = world.get(&format!("/v1/history?endpoint=chat{before}")).await.json();
        fits("History", &answer);
        let page: wire::History = serde_json::from_value(answer).unwrap();
        assert!(page.events.len() <= 100);
        seen.extend(page.events.iter().map(|event| event.id));
        (next, pages) = (page.next, pages + 1);
        if next.is_none() {
            break;
        }
    }
    assert_eq!(seen, wanted);
    assert!(pages > 1);
    assert_eq!(world.get("/v1/history?endpoint=other").await.json()["events"], json!([]));
    world.end().await;
}

#[tokio::test]
async fn who_needs_no_token_may_do_everything_and_is_told_so() {
    let world = World::new();
    let caller = world.get("/v1/caller").await.json();
    fits_in_full("Caller", &caller);
    assert_eq!((&caller["tokens"], &caller["role"]), (&json!(false), &json!("admin")));
    world.end().await;
}
