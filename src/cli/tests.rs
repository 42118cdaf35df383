//! Commands against an admin port that tells a story: each question about the shift gets the next chapter.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use clap::Parser as _;
use http::{HeaderMap, StatusCode, Uri, header};
use tokio::net::TcpListener;

use super::{
    Args, CliError, Command, Exit, Output,
    args::OutputFormat,
    carry_out,
    view::tests::{baking, rolled_back},
};
use crate::admin::wire;

/// What the admin port says and what it heard.
#[derive(Debug, Default)]
struct Story {
    /// The answers to questions about the shift; the last one stays.
    chapters: VecDeque<Chapter>,
    /// `POST` paths with their bodies.
    posted: Vec<(String, String)>,
    /// The streams of events, or none while the port is away, and what `Last-Event-ID` each was asked for with.
    streams: VecDeque<Option<&'static str>>,
    /// How often the queue was asked for; it is empty from the third time on.
    queue_asked: u32,
    asked_after: Vec<String>,
}

#[derive(Clone, Debug)]
enum Chapter {
    Shift(Box<wire::Shift>),
    Away,
}

type Shared = Arc<Mutex<Story>>;

async fn serve(story: Story) -> (SocketAddr, Shared) {
    let story = Arc::new(Mutex::new(story));
    let router = Router::new()
        .route("/v1/endpoints", get(list_endpoints))
        .route("/v1/endpoints/{name}", get(|| async { Json(endpoint_now()) }))
        .route("/v1/endpoints/{name}/shifts", get(list_shifts).post(start_shift))
        .route("/v1/endpoints/{name}/queue", get(list_queue))
        .route("/metrics", get(|| async { "# TYPE x gauge\nsnapback_build_info{version=\"9.9.9\"} 1\n" }))
        .route("/v1/shifts/{id}", get(show_shift))
        .route("/v1/shifts/{id}/{verb}", post(heard))
        .route("/v1/reload", post(reloaded))
        .route("/v1/events", get(stream))
        .with_state(story.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, story)
}

pub(super) fn endpoint_now() -> wire::Endpoint {
    let wire::ShiftFleet { traffic, recent } = baking().fleets.blue;
    let instance = |address: &str, health: &str| wire::Instance {
        address: address.into(),
        weight: 1,
        health: health.into(),
        ejected: false,
        in_flight: 6,
    };
    let instances = vec![instance("127.0.0.1:9001", "healthy"), instance("127.0.0.1:9002", "unhealthy")];
    wire::Endpoint {
        name: "chat".into(),
        origin: "file".into(),
        declared: serde_json::Value::Null,
        share: "0%".into(),
        generation: 4,
        blue: wire::Fleet {
            version: "v1".into(),
            desired: None,
            instances,
            variants: Vec::new(),
            waiting: 0,
            traffic,
            recent,
        },
        green: None,
        shadow: None,
        freeze: None,
        running_shift: None,
        queue: Vec::new(),
    }
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let document = wire::Problem {
        kind: "about:blank".into(),
        title: "title".into(),
        status: status.as_u16(),
        detail: detail.into(),
        ..wire::Problem::default()
    };
    (status, Json(document)).into_response()
}

async fn show_shift(State(story): State<Shared>, Path(id): Path<String>) -> Response {
    if id != "chat-7" {
        return problem(StatusCode::NOT_FOUND, &format!("there is no shift {id}"));
    }
    let mut story = story.lock().unwrap();
    let chapter =
        if story.chapters.len() > 1 { story.chapters.pop_front() } else { story.chapters.front().cloned() };
    match chapter.unwrap() {
        Chapter::Shift(shift) => Json(shift).into_response(),
        Chapter::Away => problem(StatusCode::SERVICE_UNAVAILABLE, "starting"),
    }
}

async fn list_shifts(Path(name): Path<String>) -> Response {
    let old = wire::Shift { id: Some("chat-1".into()), ..rolled_back() };
    match name.as_str() {
        "chat" => Json(wire::Shifts { shifts: vec![old, baking()] }).into_response(),
        "idle" => Json(wire::Shifts { shifts: vec![] }).into_response(),
        _ => problem(StatusCode::NOT_FOUND, &format!("there is no endpoint {name}; there are: chat, idle")),
    }
}

/// All endpoints, of which one has a shift that waits.
fn listed() -> wire::Endpoints {
    wire::Endpoints { endpoints: vec![wire::Endpoint { queue: vec![waiting()], ..endpoint_now() }] }
}

async fn list_endpoints() -> Response {
    Json(listed()).into_response()
}

async fn list_queue(State(story): State<Shared>) -> Response {
    let asked = &mut story.lock().unwrap().queue_asked;
    *asked += 1;
    Json(wire::Queue { queue: if *asked < 3 { vec![waiting()] } else { vec![] } }).into_response()
}

fn waiting() -> wire::Queued {
    wire::Queued {
        id: Some("chat-8".into()),
        endpoint: "chat".into(),
        place: 1,
        waits_for: "chat-7".into(),
        not_before: None,
        green_version: "v3".into(),
        supersedes: None,
        actor: "ben".into(),
        reason: String::new(),
        queued_at: "2026-01-31T12:01:00Z".into(),
        plan: serde_json::Value::Null,
    }
}

async fn start_shift(State(story): State<Shared>, uri: Uri, body: String) -> Response {
    story.lock().unwrap().posted.push((uri.to_string(), body));
    let mut shift = baking();
    if uri.query().is_some() {
        shift.id = None;
    }
    (StatusCode::CREATED, Json(shift)).into_response()
}

async fn heard(State(story): State<Shared>, uri: Uri, body: String) -> Response {
    story.lock().unwrap().posted.push((uri.to_string(), body));
    Json(baking()).into_response()
}

async fn reloaded(State(story): State<Shared>, uri: Uri, body: String) -> Response {
    story.lock().unwrap().posted.push((uri.to_string(), body));
    let document = wire::Problem {
        detail: "the file has 2 problems".into(),
        status: 422,
        problems: vec![
            wire::KeyProblem { key: "data.workers".into(), line: Some(3), message: "not a number".into() },
            wire::KeyProblem { key: String::new(), line: None, message: "cut short".into() },
        ],
        ..wire::Problem::default()
    };
    (StatusCode::UNPROCESSABLE_ENTITY, Json(document)).into_response()
}

async fn stream(State(story): State<Shared>, headers: HeaderMap) -> Response {
    let mut story = story.lock().unwrap();
    story.asked_after.push(headers["last-event-id"].to_str().unwrap().to_owned());
    match story.streams.pop_front() {
        Some(Some(text)) => ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response(),
        Some(None) => problem(StatusCode::SERVICE_UNAVAILABLE, "starting"),
        None => problem(StatusCode::NOT_FOUND, "the story is over"),
    }
}

fn told(chapters: impl IntoIterator<Item = Chapter>) -> Story {
    Story { chapters: chapters.into_iter().collect(), ..Story::default() }
}

fn a(shift: wire::Shift) -> Chapter {
    Chapter::Shift(Box::new(shift))
}

fn promoted() -> wire::Shift {
    wire::Shift { state: "promoted".into(), over: true, cause: None, ..baking() }
}

/// What a command printed, kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How a command ended, and what it printed or why it failed.
async fn run(line: &str, address: SocketAddr) -> (Option<Exit>, String) {
    let admin = format!("http://{address}");
    let words = ["snapback"].into_iter().chain(line.split(' ')).chain(["--admin", &admin]);
    let Command::Client(command) = Args::try_parse_from(words).unwrap().command else {
        panic!("not a command to an admin port: {line}")
    };
    let paper = Paper::default();
    let mut output = Output::new(command.format(), Box::new(paper.clone()), Box::new(std::io::sink()));
    match carry_out(*command, &mut output).await {
        Ok(exit) => (Some(exit), paper.text()),
        Err(error) => (None, error.report()),
    }
}

#[tokio::test]
async fn waiting_ends_with_how_the_shift_ended() {
    for (last, exit, says) in [
        (promoted(), Exit::Done, "chat: v2 is promoted\n"),
        (rolled_back(), Exit::RolledBack, "chat: rolled back from v2 to v1 after 2m20s\n"),
    ] {
        let (address, _) = serve(told([a(baking()), a(baking()), Chapter::Away, a(last)])).await;
        let (ended, printed) = run("shift status chat-7 --wait", address).await;
        assert_eq!(ended, Some(exit));
        assert!(printed.starts_with(says), "{printed}");
    }
}

#[tokio::test]
async fn line_mode_says_what_changes_and_ends_with_how_the_shift_ended() {
    let paused = wire::Shift { state: "paused".into(), ..baking() };
    let chapters = [a(baking()), a(baking()), a(baking()), Chapter::Away, a(paused), a(rolled_back())];
    let (address, _) = serve(told(chapters)).await;
    let (exit, printed) = run("shift watch chat-7 --output json", address).await;
    assert_eq!(exit, Some(Exit::RolledBack));
    let states = printed.lines().map(|line| serde_json::from_str::<wire::Shift>(line).unwrap().state);
    let mut states: Vec<_> = states.collect();
    // On a machine that stands still for long, a state is said again.
    states.dedup();
    assert_eq!(states, ["baking", "paused", "rolled_back"]);
}

#[tokio::test]
async fn a_deadline_ends_the_waiting_and_not_the_shift() {
    let (address, story) = serve(told([a(baking())])).await;
    let (exit, _) = run("shift status chat --wait --timeout 50ms", address).await;
    assert_eq!(exit, Some(Exit::StillRunning));
    assert!(story.lock().unwrap().posted.is_empty());
}

#[tokio::test]
async fn an_endpoints_name_stands_for_its_running_shift() {
    let (address, story) = serve(told([a(baking())])).await;
    assert!(run("shift abort chat --reason odd", address).await.0.is_some());
    let story = story.lock().unwrap();
    let (path, body) = &story.posted[0];
    assert_eq!(path, "/v1/shifts/chat-7/abort");
    assert_eq!(serde_json::from_str::<wire::CommandBody>(body).unwrap().reason, "odd");
}

#[tokio::test]
async fn the_status_of_a_shift_that_waits_says_what_for_and_can_be_waited_for() {
    let (address, _) = serve(told([a(baking())])).await;
    let (exit, printed) = run("shift status chat-8", address).await;
    assert_eq!(exit, Some(Exit::Done));
    assert_eq!(printed, "chat-8: number 1 in the queue, to v3 by ben; waits for chat-7\n");
    let (_, printed) = run("shift status chat-8 --output json", address).await;
    assert_eq!(serde_json::from_str::<wire::Queued>(&printed).unwrap().waits_for, "chat-7");
    let (exit, _) = run("shift status chat-8 --wait --timeout 10ms", address).await;
    assert_eq!(exit, Some(Exit::StillRunning));
}

#[tokio::test]
async fn a_name_that_stands_for_nothing_is_an_error_that_names_what_there_is() {
    let (address, _) = serve(told([a(baking())])).await;
    let (_, error) = run("shift status caht", address).await;
    assert!(error.contains("caht") && error.contains("there are: chat, idle"), "{error}");
    let (_, error) = run("shift status idle", address).await;
    assert!(error.contains("snapback shift start idle PLAN"), "{error}");
}

#[tokio::test]
async fn a_start_sends_the_plan_as_json_and_a_dry_run_says_so_in_the_query() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.toml");
    let text = "green = { version = \"v2\", instances = [\"127.0.0.1:9003\"] }\n\
        strategy = { type = \"canary\", share = \"5%\", bake = \"2m\", final_bake = \"5m\" }\n\
        [[guard]]\nmetric = \"error_rate\"\nbelow = \"1%\"\n";
    std::fs::write(&plan, text).unwrap();
    let (address, story) = serve(told([a(promoted())])).await;
    let dry = format!("shift start chat {} --dry-run --start-at 2030-01-31T22:00:00+01:00", plan.display());
    assert!(run(&dry, address).await.0.is_some());
    let (exit, _) = run(&format!("shift start chat {} --wait", plan.display()), address).await;
    assert_eq!(exit, Some(Exit::Done));
    let story = story.lock().unwrap();
    let paths: Vec<&str> = story.posted.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/v1/endpoints/chat/shifts?dry_run=true", "/v1/endpoints/chat/shifts"]);
    let sent: serde_json::Value = serde_json::from_str(&story.posted[0].1).unwrap();
    assert_eq!(sent["green"]["version"], "v2");
    assert_eq!(sent["start_at"], "2030-01-31T21:00:00.000Z");
}

#[tokio::test]
async fn a_plan_with_problems_is_told_with_its_lines_and_sent_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.toml");
    std::fs::write(&plan, "gren = 1\n").unwrap();
    let (address, story) = serve(Story::default()).await;
    let (_, error) = run(&format!("shift start chat {}", plan.display()), address).await;
    assert!(error.contains("plan.toml:1: gren"), "{error}");
    assert!(story.lock().unwrap().posted.is_empty());
}

#[tokio::test]
async fn shifts_are_listed_running_ones_first_then_queued_ones_then_those_that_are_over() {
    let (address, _) = serve(Story::default()).await;
    let (exit, printed) = run("shift list chat", address).await;
    assert_eq!(exit, Some(Exit::Done));
    let ids: Vec<_> = printed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(ids, ["chat-7", "chat-8", "chat-1"], "{printed}");
    assert!(printed.contains("queued") && printed.contains("waits for chat-7"), "{printed}");
    assert!(
        printed.lines().any(|line| line.starts_with("chat-1") && line.ends_with("2m20s  errors")),
        "{printed}"
    );
    let (_, printed) = run("shift list --output json --only over", address).await;
    let listed: wire::Shifts = serde_json::from_str(&printed).unwrap();
    assert_eq!(listed.shifts.len(), 1, "the one endpoint there is");
    let (_, printed) = run("shift list idle --only running", address).await;
    assert_eq!(printed, "no shift runs\n");
}

#[tokio::test]
async fn a_queued_shift_is_waited_for_until_its_turn_comes() {
    let (address, _) = serve(told([a(baking())])).await;
    let url = super::AdminUrl::parse(&address.to_string()).unwrap();
    let client = super::client::Client::with(url, None);
    let wire::Queue { queue } = client.get("/v1/endpoints/chat/queue").await.unwrap().read().unwrap();
    let mut output = Output::new(OutputFormat::Table, Box::new(std::io::sink()), Box::new(std::io::sink()));
    let begun = wire::Queued { id: Some("chat-7".into()), ..queue[0].clone() };
    let turn = super::queued::until_begun(&client, &begun, None, &mut output).await.unwrap();
    assert!(matches!(turn, super::queued::Turn::Begun(shift) if shift.endpoint == "chat"));
    let turn = super::queued::until_begun(&client, &queue[0], None, &mut output).await.unwrap();
    assert!(matches!(turn, super::queued::Turn::Gone), "chat-8 is no shift, and in no queue any more");
}

#[tokio::test]
async fn an_answer_of_another_version_is_told_apart() {
    let (address, _) = serve(Story::default()).await;
    let url = super::AdminUrl::parse(&address.to_string()).unwrap();
    let client = super::client::Client::with(url, None);
    assert_eq!(client.version().await.as_deref(), Some("9.9.9"));
}

#[tokio::test]
async fn endpoints_are_listed_and_shown() {
    let (address, _) = serve(Story::default()).await;
    let (_, printed) = run("endpoint list", address).await;
    assert_eq!(
        printed,
        "ENDPOINT  BLUE  GREEN  SHARE  REQ/S  ERRORS   P99  HEALTHY  SHIFT\n\
         chat      v1    -          -  180.2   0.00%  48ms      1/2  -\n"
    );
    let (_, printed) = run("endpoint show chat", address).await;
    assert!(printed.ends_with("blue   127.0.0.1:9002       1  unhealthy          6\n"), "{printed}");
    let (_, printed) = run("endpoint list --output json", address).await;
    assert_eq!(printed.trim_end(), serde_json::to_string(&listed()).unwrap());
}

#[tokio::test]
async fn every_problem_of_a_refused_document_has_a_line() {
    let (address, story) = serve(Story::default()).await;
    let (_, error) = run("reload --dry-run", address).await;
    assert_eq!(error, "error: the file has 2 problems\n  line 3: data.workers: not a number\n  cut short");
    assert_eq!(story.lock().unwrap().posted, [("/v1/reload?dry_run=true".to_owned(), String::new())]);
}

#[tokio::test]
async fn nobody_listening_is_an_error_that_names_the_address_and_the_next_step() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (_, error) = run("endpoint list", address).await;
    for part in [&format!("http://{address}"), "refused", "snapback serve", "SNAPBACK_ADMIN"] {
        assert!(error.contains(part), "{error}");
    }
}

const FIRST: &str = "id: 1\nevent: state\ndata: {\"id\":1,\"at\":\"t\",\"kind\":\"state\",\"endpoint\":\"chat\",\"shift\":\"chat-7\",\
    \"before\":null,\"after\":\"preparing\",\"share\":\"0%\",\"actor\":\"admin\",\"cause\":\"\"}\n\n";

#[tokio::test]
async fn followed_events_go_on_after_the_last_one_that_was_printed() {
    let story = Story { streams: [Some(FIRST), None, Some(FIRST)].into(), ..Story::default() };
    let (address, story) = serve(story).await;
    let (_, error) = run("events --follow --after 0", address).await;
    assert!(error.contains("the story is over"), "{error}");
    assert_eq!(story.lock().unwrap().asked_after, ["0", "1", "1", "1"]);
}

#[tokio::test]
async fn events_end_when_the_journal_is_through() {
    let (address, _) = serve(Story { streams: [Some(FIRST)].into(), ..Story::default() }).await;
    let (exit, printed) = run("events", address).await;
    assert_eq!(exit, Some(Exit::Done));
    assert_eq!(printed, "    1  t  chat  chat-7  state: preparing  0%  admin\n");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_given_up_after_a_bounded_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = super::AdminUrl::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let client = super::client::Client::with(url, None);
    drop(listener);
    let id = crate::name::ShiftId::parse("chat-7").unwrap();
    let mut output = Output::new(OutputFormat::Table, Box::new(std::io::sink()), Box::new(std::io::sink()));
    let waited = tokio::time::Instant::now();
    let error = super::follow::wait(client, &id, None, &mut output).await.unwrap_err();
    assert!(matches!(error, CliError::GaveUp { .. }), "{error}");
    let patience = super::follow::PATIENCE;
    assert!((patience..patience + Duration::from_secs(10)).contains(&waited.elapsed()));
}
