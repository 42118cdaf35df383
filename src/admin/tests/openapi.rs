//! The API's description against what it describes: wire types, documents and routes.

use std::{collections::BTreeSet, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    super::{operate::OPENAPI, problem::Fault, represent, wire},
    fixture,
    world::World,
};
use crate::{
    config::{EndpointSpec, PlanSpec, known_keys, known_plan_keys},
    control::{
        ControlError, EndpointView, Execution, Fate, FleetView, InstanceView, QueuedView, ShadowView,
        ShiftView, Traffic, TrafficWindow, VariantView,
    },
    fleet::{Address, Health, Side, VariantWeight, Weight},
    lint,
    name::{EndpointName, ShiftId, VariantName, Version},
    replay,
    route::Generation,
    shift::{Cause, State},
    store::{Event, Freeze, Hash, Moments, Origin, QueuedShift},
    weight::Share,
};

fn description() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// A schema without its reference.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').unwrap();
            resolved(root, root.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => schema,
    }
}

/// Whether a value fits a schema, as far as names, presence and types go. Keys that the schema does not name never fit.
fn misfit(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let schema = resolved(root, schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        let misfits: Vec<_> = choices.iter().map(|choice| misfit(root, choice, value, at)).collect();
        return if misfits.contains(&None) {
            None
        } else {
            Some(format!("{at}: no choice fits: {misfits:?}"))
        };
    }
    if !schema["const"].is_null() {
        return (schema["const"] != *value).then(|| format!("{at}: not {}", schema["const"]));
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        return Some(format!("{at}: {value} is not one of {known:?}"));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            schema["type"].as_str().into_iter().collect()
        }
    };
    if !(allowed.contains(&kind) || kind == "integer" && allowed.contains(&"number")) {
        return Some(format!("{at}: {kind}, not {allowed:?}"));
    }
    match value {
        Value::Array(items) => {
            items.iter().find_map(|item| misfit(root, &schema["items"], item, &format!("{at}[]")))
        }
        Value::Object(map) => object_misfit(root, schema, map, at),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn object_misfit(root: &Value, schema: &Value, map: &Map<String, Value>, at: &str) -> Option<String> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|key| !map.contains_key(*key)) {
        return Some(format!("{at}.{missing}: missing"));
    }
    map.iter().find_map(|(key, value)| {
        let at = format!("{at}.{key}");
        let property = &schema["properties"][key];
        let others = &schema["additionalProperties"];
        match (property.is_null(), others.is_object()) {
            (false, _) => misfit(root, property, value, &at),
            (true, true) => misfit(root, others, value, &at),
            (true, false) => Some(format!("{at}: not described")),
        }
    })
}

#[track_caller]
pub(super) fn fits(name: &str, value: &impl Serialize) {
    let root = description();
    let value = serde_json::to_value(value).unwrap();
    assert_eq!(misfit(&root, &root["components"]["schemas"][name], &value, name), None);
}

/// The same, and the value has every property that the schema has.
#[track_caller]
pub(super) fn fits_in_full(name: &str, value: &impl Serialize) {
    fits(name, value);
    let (root, value) = (description(), serde_json::to_value(value).unwrap());
    let described: BTreeSet<&String> =
        root["components"]["schemas"][name]["properties"].as_object().unwrap().keys().collect();
    assert_eq!(described, value.as_object().unwrap().keys().collect(), "{name}");
}

fn window() -> TrafficWindow {
    let some = Some(Duration::from_millis(5));
    TrafficWindow {
        span: Duration::from_secs(10),
        requests: 5,
        rate: 0.5,
        error_rate: 0.0,
        p50: some,
        p99: some,
        first_byte_p50: some,
        first_byte_p99: some,
        first_token_p50: some,
        first_token_p99: some,
    }
}

fn endpoint() -> wire::Endpoint {
    let fleet = |side, version| FleetView {
        desired: Some(2),
        side,
        version: Version::parse(version).unwrap(),
        instances: vec![InstanceView {
            address: Address::parse("127.0.0.1:9001").unwrap(),
            weight: Weight::ONE,
            health: Health::Healthy,
            is_ejected: false,
            in_flight: 1,
        }],
        variants: vec![VariantView {
            name: VariantName::parse("a").unwrap(),
            weight: VariantWeight::ONE,
            instances: vec![Address::parse("127.0.0.1:9001").unwrap()],
            traffic: Traffic::default(),
        }],
        waiting: 0,
        traffic: Traffic::default(),
        recent: window(),
    };
    represent::endpoint(EndpointView {
        declared: endpoint_spec(),
        origin: Origin::Api,
        blue: fleet(Side::Blue, "v1"),
        green: Some(fleet(Side::Green, "v2")),
        shadow: Some(ShadowView {
            name: VariantName::parse("dark").unwrap(),
            share: Share::ALL,
            fleet: fleet(Side::Blue, "v3"),
            missed: [1, 2, 3],
        }),
        share: Share::NONE,
        generation: Generation(3),
        freeze: Some(freeze()),
        running_shift: Some(ShiftId::parse("chat-7").unwrap()),
        queue: vec![queued()],
    })
}

fn queued() -> QueuedView {
    let queued = QueuedShift {
        id: ShiftId::parse("chat-8").unwrap(),
        endpoint: EndpointName::parse("chat").unwrap(),
        plan: fixture::plan(),
        actor: "team".to_owned(),
        peer: None,
        reason: "next".to_owned(),
        queued_at: fixture::NOW,
        supersedes: Some(ShiftId::parse("chat-7").unwrap()),
        findings: Value::Null,
    };
    QueuedView { queued, place: 1, waits_for: "the end of chat-7".to_owned(), not_before: Some(fixture::NOW) }
}

fn freeze() -> Freeze {
    Freeze {
        endpoint: Some(EndpointName::parse("chat").unwrap()),
        actor: "team".to_owned(),
        reason: "incident".to_owned(),
        since: fixture::NOW,
    }
}

fn endpoint_spec() -> EndpointSpec {
    let document = json!({
        "match": {"host": "*.example.org", "path_prefix": "/v1/", "header": {"name": "x-model", "value": "chat"}},
        "blue": {"version": "v1", "instances": ["127.0.0.1:9001", {"address": "127.0.0.1:9002", "weight": 3}]},
        "health": {"path": "/health"},
    });
    EndpointSpec::from_json(&EndpointName::parse("chat").unwrap(), &document).unwrap()
}

/// A shift of which everything is known.
fn shift() -> wire::Shift {
    let cause = Cause::Alarm { name: "error_rate".to_owned(), evidence: String::new() };
    let at = Some(fixture::NOW);
    let lint = lint::lint(&fixture::plan(), &lint::Situation::unknown(Some(1.0)));
    let view = ShiftView {
        moments: Moments {
            breach_at: at,
            decided_at: at,
            published_at: at,
            last_green_dispatch_at: at,
            drained_at: at,
            ended_at: at,
        },
        decision: Some(Duration::from_millis(3)),
        publish_to_last_green_dispatch: Some(Duration::ZERO),
        green_responses_to_decision: Some(41),
        green_in_flight_at_decision: Some(3),
        blue_short: None,
        fate: Some(Fate { open: 3, finished: 2, rescued: 1, ..Fate::default() }),
        restarts: 1,
        held: Some("chat is frozen by team".to_owned()),
        held_until: Some(fixture::NOW),
        green_recent: window(),
        thresholds: vec![fixture::threshold()],
        externals: vec![fixture::polled(), fixture::external()],
        transitions: vec![fixture::transition("rolling_back", "alarm", "guard error_rate")],
        findings: lint.findings,
        forecast: Some(lint.forecast),
        ..fixture::view(State::RolledBack { cause })
    };
    represent::shift(view, Execution::Real, fixture::NOW)
}

/// A plan over a green that fails, or blue against itself.
fn replayed(against_itself: bool) -> wire::Replayed {
    let mut text = "{\"format\":\"snapback-recording\",\"version\":1}\n".to_owned();
    for number in 0..100 {
        let (fleet, status) = if number % 10 == 0 { ("green", 500) } else { ("blue", 200) };
        text.push_str(&format!(
            "{{\"at_ms\":{number},\"fleet\":\"{fleet}\",\"status\":{status},\"duration_ms\":2}}\n"
        ));
    }
    let recording = replay::Recording::parse(text.as_bytes()).unwrap();
    let plan = fixture::plan();
    let choice = replay::Choice { against_itself, ..replay::Choice::default() };
    let stage = replay::Stage::new(&recording, choice).unwrap();
    let splits = replay::play_splits(&plan, &stage, 0..2, || true);
    wire::Replayed {
        recording: (&recording).into(),
        replay: (!against_itself).then(|| replay::play(&plan, &stage, 1).into()),
        aa: against_itself.then(|| replay::Aa::of(&plan, &stage, splits).into()),
    }
}

#[test]
fn what_a_reload_changed_is_described() {
    fits_in_full("Reload", &wire::Reload { changes: vec!["endpoint chat: changed".to_owned()] });
}

#[test]
fn what_a_rolling_shift_has_in_service_is_described() {
    fits_in_full("InService", &wire::InService { blue: 2, blue_whole: 3, green: 1, green_whole: 3 });
}

#[test]
fn what_operators_hold_and_skip_is_described_property_by_property() {
    let freezes = wire::Freezes { freezes: vec![freeze().into()] };
    fits_in_full("Freeze", &freezes.freezes[0]);
    fits_in_full("Freezes", &freezes);
    let until = Some("2026-01-31T12:00:00.250Z".to_owned());
    fits_in_full("Log", &wire::Log { level: "debug".into(), configured: "info".into(), until });
    let (level, span) = (Some("debug".into()), Some("10m".into()));
    fits_in_full("LogBody", &wire::LogBody { level, span, reason: "odd".into(), actor: Some("ann".into()) });
    fits_in_full(
        "PromoteBody",
        &wire::PromoteBody {
            reason: "quiet".to_owned(),
            actor: Some("team".to_owned()),
            skip: wire::Skip::Bake,
            step: std::num::NonZeroUsize::new(2),
        },
    );
}

#[test]
fn what_waits_and_what_undoes_is_described_property_by_property() {
    let queue = wire::Queue { queue: endpoint().queue };
    fits_in_full("Queued", &queue.queue[0]);
    fits_in_full("Queue", &queue);
    fits_in_full(
        "UndoBody",
        &wire::UndoBody {
            reason: "slow".to_owned(),
            actor: Some("team".to_owned()),
            plan: Some(json!({"execution_timeout": "1h"})),
        },
    );
}

#[test]
fn every_representation_is_described_property_by_property() {
    let (endpoint, shift) = (endpoint(), shift());
    fits_in_full("Endpoint", &endpoint);
    fits_in_full("Fleet", &endpoint.blue);
    fits_in_full("Instance", &endpoint.blue.instances[0]);
    fits_in_full("Traffic", &endpoint.blue.traffic);
    fits_in_full("Recent", &endpoint.blue.recent);
    fits_in_full("Endpoints", &wire::Endpoints { endpoints: vec![endpoint] });
    fits_in_full("Shift", &shift);
    fits_in_full("Step", &shift.steps[0]);
    fits_in_full("Cause", shift.cause.as_ref().unwrap());
    fits_in_full("Alarm", &shift.alarms[1]);
    fits_in_full("Threshold", &shift.thresholds[0]);
    fits_in_full("External", &shift.externals[0]);
    fits_in_full("OpenRequests", shift.open_requests.as_ref().unwrap());
    fits_in_full("FailureBudget", shift.failure_budget.as_ref().unwrap());
    fits_in_full("Polls", shift.externals[0].polls.as_ref().unwrap());
    let (state, reason) = (wire::ReportedState::Alarm, "odd answers".to_owned());
    fits_in_full("AlarmReport", &wire::AlarmReport { state, reason, actor: Some("grader".to_owned()) });
    let reported =
        wire::AlarmReported { name: "quality".to_owned(), state, shifts: vec!["chat-7".to_owned()] };
    fits_in_full("AlarmReported", &reported);
    fits_in_full("Datapoint", &shift.thresholds[0].range[0]);
    fits_in_full("Fleets", &shift.fleets);
    fits_in_full("ShiftFleet", &shift.fleets.green);
    fits_in_full("Next", &shift.next);
    fits_in_full("Transition", &shift.transitions[0]);
    let forecast = shift.forecast.as_ref().unwrap();
    fits_in_full("Forecast", forecast);
    fits_in_full("ForecastTraffic", &forecast.traffic);
    fits_in_full("StepForecast", &forecast.steps[0]);
    fits_in_full("Detection", &forecast.steps[0].alarms[0]);
    fits_in_full("Finding", &shift.findings[0]);
    fits_in_full("Shifts", &wire::Shifts { shifts: vec![shift] });
    fits_in_full(
        "CommandBody",
        &wire::CommandBody { reason: "slow".to_owned(), actor: Some("team".to_owned()) },
    );
    let event = Event {
        id: 7,
        at: fixture::NOW,
        kind: "shift.state".to_owned(),
        endpoint: Some(EndpointName::parse("chat").unwrap()),
        shift: Some(ShiftId::parse("chat-7").unwrap()),
        before: Some("baking".to_owned()),
        after: Some("promoted".to_owned()),
        share: Some(Share::ALL),
        actor: "timer".to_owned(),
        cause: String::new(),
        peer: Some("127.0.0.1".to_owned()),
        reason: Some("because".to_owned()),
        evidence: Some(json!({ "alarm": "errors" })),
        hash: Hash::NONE,
    };
    fits_in_full("Event", &represent::event(event.clone()));
    let audit = wire::Audit { events: vec![represent::event(event)], next: None };
    fits_in_full("Audit", &audit);
    let key = wire::KeyProblem { key: "green".to_owned(), line: Some(1), message: "is missing".to_owned() };
    fits_in_full("KeyProblem", &key);
    let problem =
        wire::Problem { running_shift: Some("chat-7".to_owned()), problems: vec![key], ..Default::default() };
    fits_in_full("Problem", &problem);
}

#[test]
fn replays_are_described_property_by_property() {
    let (replayed, against_itself) = (replayed(false), replayed(true));
    let (replay, aa) = (replayed.replay.as_ref().unwrap(), against_itself.aa.as_ref().unwrap());
    fits_in_full("Replayed", &replayed);
    fits_in_full("Replayed", &against_itself);
    fits_in_full("PlayedRecording", &replayed.recording);
    fits_in_full("Replay", replay);
    fits_in_full("ReplayStep", &replay.steps[0]);
    fits_in_full("ReplayAlarm", &replay.steps[0].alarms[0]);
    fits_in_full("ReplayEnd", &replay.end);
    fits_in_full("Aa", aa);
    fits_in_full("Behaviour", &aa.behaviour);
    fits_in_full("Stretch", &aa.behaviour.whole);
}

#[test]
fn deliveries_and_the_trail_are_described_property_by_property() {
    let lane = wire::Pending {
        endpoint: None,
        done: 1,
        newest: 3,
        attempts: 2,
        problem: Some("status 500".to_owned()),
    };
    fits_in_full("Pending", &lane);
    let at = fixture::NOW.to_string();
    let letter = wire::DeadLetter { event: 1, at: at.clone(), attempts: 30, reason: "status 500".to_owned() };
    fits_in_full("DeadLetter", &letter);
    let webhook = wire::Webhook {
        name: "ops".to_owned(),
        url: "https://hooks/".to_owned(),
        state: "failing".to_owned(),
        delivered: 1,
        failed: 2,
        given_up: 0,
        delivered_at: Some(at),
        pending: vec![lane],
        dead_letters: vec![letter],
    };
    fits_in_full("Webhook", &webhook);
    let file = wire::EventsFile { written: 7, problem: None };
    fits_in_full("EventsFile", &file);
    fits_in_full("Webhooks", &wire::Webhooks { webhooks: vec![webhook], file: Some(file) });
    fits("Webhooks", &wire::Webhooks { webhooks: Vec::new(), file: None });
    fits_in_full("Retry", &wire::Retry { dead_letters: 3 });
    let found = wire::Verification {
        whole: false,
        first: 1,
        last: 9,
        hash: None,
        broken_at: Some(4),
        how: Some("it was taken out".to_owned()),
        file: Some(9),
    };
    fits_in_full("Verification", &found);
}

#[test]
fn what_is_not_known_yet_is_null_and_described_as_such() {
    let preparing = fixture::view(State::Preparing { ready_by: crate::time::Moment::from_nanos(1) });
    let view = ShiftView { step: None, share_got: None, ..preparing };
    let started = represent::shift(view.clone(), Execution::Real, fixture::NOW);
    assert_eq!(started.id.as_deref(), Some("chat-7"));
    fits("Shift", &started);
    let dry = represent::shift(view, Execution::Dry, fixture::NOW);
    assert_eq!(dry.id, None);
    fits("Shift", &dry);
    fits("Problem", &Fault::from(ControlError::ShuttingDown).document());
}

#[test]
fn documents_are_described_for_every_strategy() {
    fits("EndpointDocument", &endpoint_spec().to_json());
    for strategy in [
        json!({"type": "all_at_once", "final_bake": "5m"}),
        json!({"type": "canary", "share": "5%", "bake": "2m", "final_bake": "5m"}),
        json!({"type": "linear", "step": "25%", "bake": "2m", "final_bake": "5m"}),
        json!({"type": "rolling", "batch": "33%", "bake": "2m", "rollback_batch": 1}),
        json!({"type": "rolling", "batch": 1, "bake": "2m"}),
        json!({"type": "steps", "steps": [{"share": "5%", "bake": "2m", "approval": true}], "final_bake": "5m"}),
    ] {
        let mut document = fixture::plan().to_json();
        document["strategy"] = strategy;
        fits("Plan", &document);
        fits("Plan", &PlanSpec::from_json(&document).unwrap().to_json());
    }
}

/// Paths of all keys of a schema, list indices left out.
fn keys(root: &Value, schema: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    let schema = resolved(root, schema);
    for choice in schema["oneOf"].as_array().into_iter().flatten() {
        keys(root, choice, prefix, found);
    }
    if schema["items"].is_object() {
        keys(root, &schema["items"], prefix, found);
    }
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        keys(root, property, &path, found);
        found.insert(path);
    }
}

#[test]
fn the_schemas_of_documents_have_the_keys_that_are_read() {
    let root = description();
    let described = |name: &str| {
        let mut found = BTreeSet::new();
        keys(&root, &root["components"]["schemas"][name], "", &mut found);
        found
    };
    assert_eq!(described("Plan"), known_plan_keys().into_iter().collect());
    let endpoint_keys = known_keys().into_iter();
    let endpoint_keys =
        endpoint_keys.filter_map(|key| key.strip_prefix("endpoint.").map(str::to_owned)).collect();
    assert_eq!(described("EndpointDocument"), endpoint_keys);
}

#[test]
fn every_component_is_referred_to_and_every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                    found.insert(reference.to_owned());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let root = description();
    let (mut referred, mut defined) = (BTreeSet::new(), BTreeSet::new());
    references(&root, &mut referred);
    // Security schemes are referred to by their names.
    let groups = root["components"].as_object().unwrap().iter();
    for (group, components) in groups.filter(|(group, _)| *group != "securitySchemes") {
        defined.extend(
            components.as_object().unwrap().keys().map(|name| format!("#/components/{group}/{name}")),
        );
    }
    assert_eq!(referred, defined);
}

#[tokio::test]
async fn every_route_is_described_and_every_description_is_a_route() {
    let routed: BTreeSet<&str> = include_str!("../routes.rs")
        .split(".route(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    let root = description();
    let described: BTreeSet<&str> = root["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, routed);

    let world = World::new();
    for (path, item) in root["paths"].as_object().unwrap() {
        let path = path.replace("{name}", "chat").replace("{id}", "none").replace("{file}", "app.js");
        let refused = world.bare(http::Method::TRACE, &path).await;
        assert_eq!(refused.status, 405, "{path}");
        let allowed = refused.headers["allow"].to_str().unwrap();
        let allowed: BTreeSet<String> =
            allowed.split(',').filter(|method| *method != "HEAD").map(str::to_lowercase).collect();
        let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters").cloned().collect();
        assert_eq!(allowed, methods, "{path}");
    }
    world.end().await;
}

#[test]
fn every_operation_but_health_and_the_dashboards_page_says_that_it_may_ask_for_a_token() {
    let root = description();
    assert_eq!(root["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    for (path, item) in root["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            let open = ["get /healthz", "get /readyz", "get /", "get /assets/{file}"];
            let is_open = open.contains(&format!("{method} {path}").as_str());
            for status in ["401", "429"] {
                assert_eq!(operation["responses"][status].is_null(), is_open, "{method} {path}: {status}");
            }
            assert!(!operation["responses"]["403"].is_null(), "{method} {path}");
            assert_eq!(operation["security"] == json!([]), is_open, "{method} {path}");
        }
    }
}
