//! Commands against an admin port that tells a story: each question about the shift gets the next chapter.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use clap::Parser as _;
use http::{HeaderMap, StatusCode, Uri, header};
use tokio::net::TcpListener;

use super::{
    Args, CliError, ClientCommand, Command, Exit, endpoint, events, reload, shift,
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
    /// The streams of events, and what `Last-Event-ID` each was asked for with.
    streams: VecDeque<&'static str>,
    streams_break: bool,
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
        .route("/v1/endpoints", get(|| async { Json(wire::Endpoints { endpoints: vec![endpoint_now()] }) }))
        .route("/v1/endpoints/{name}", get(|| async { Json(endpoint_now()) }))
        .route("/v1/endpoints/{name}/shifts", get(list_shifts).post(start_shift))
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

fn endpoint_now() -> wire::Endpoint {
    let wire::ShiftFleet { traffic, recent } = baking().fleets.blue;
    let instance = |address: &str, health: &str| wire::Instance {
        address: address.into(),
        health: health.into(),
        in_flight: 6,
    };
    let instances = vec![instance("127.0.0.1:9001", "healthy"), instance("127.0.0.1:9002", "unhealthy")];
    wire::Endpoint {
        name: "chat".into(),
        origin: "file".into(),
        declared: serde_json::Value::Null,
        share: "0%".into(),
        generation: 4,
        blue: wire::Fleet { version: "v1".into(), instances, traffic, recent },
        green: None,
        running_shift: None,
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
        Some(text) => {
            let then = if story.streams_break { Some(Err(std::io::Error::other("gone"))) } else { None };
            let body = Body::from_stream(futures_util::stream::iter(std::iter::once(Ok(text)).chain(then)));
            ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
        }
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

async fn run(line: &str, address: SocketAddr) -> Result<Exit, CliError> {
    let admin = format!("http://{address}");
    let words = ["snapback"].into_iter().chain(line.split(' ')).chain(["--admin", &admin]);
    match Args::try_parse_from(words).unwrap().command {
        Command::Client(ClientCommand::Shift(args)) => shift::shift(args).await,
        Command::Client(ClientCommand::Endpoint(args)) => endpoint::endpoint(args).await.map(|()| Exit::Done),
        Command::Client(ClientCommand::Events(args)) => events::events(args).await.map(|()| Exit::Done),
        Command::Client(ClientCommand::Reload(args)) => reload::reload(args).await.map(|()| Exit::Done),
        Command::Client(ClientCommand::Check(_))
        | Command::Serve(_)
        | Command::Demo(_)
        | Command::ModelServer(_) => panic!("not a command to an admin port: {line}"),
    }
}

#[tokio::test]
async fn waiting_ends_with_how_the_shift_ended() {
    for (last, exit) in [(promoted(), Exit::Done), (rolled_back(), Exit::RolledBack)] {
        let (address, _) = serve(told([a(baking()), a(baking()), Chapter::Away, a(last)])).await;
        assert_eq!(run("shift status chat-7 --wait", address).await.unwrap(), exit);
    }
}

#[tokio::test]
async fn line_mode_ends_with_how_the_shift_ended() {
    let (address, _) = serve(told([a(baking()), a(baking()), Chapter::Away, a(rolled_back())])).await;
    assert_eq!(run("shift watch chat-7 --output json", address).await.unwrap(), Exit::RolledBack);
}

#[tokio::test]
async fn a_deadline_ends_the_waiting_and_not_the_shift() {
    let (address, story) = serve(told([a(baking())])).await;
    let exit = run("shift status chat --wait --timeout 50ms", address).await.unwrap();
    assert_eq!(exit, Exit::StillRunning);
    assert!(story.lock().unwrap().posted.is_empty());
}

#[tokio::test]
async fn an_endpoints_name_stands_for_its_running_shift() {
    let (address, story) = serve(told([a(baking())])).await;
    run("shift abort chat --reason odd", address).await.unwrap();
    let story = story.lock().unwrap();
    let (path, body) = &story.posted[0];
    assert_eq!(path, "/v1/shifts/chat-7/abort");
    assert_eq!(serde_json::from_str::<wire::CommandBody>(body).unwrap().reason, "odd");
}

#[tokio::test]
async fn a_name_that_stands_for_nothing_is_an_error_that_names_what_there_is() {
    let (address, _) = serve(told([a(baking())])).await;
    let error = run("shift status caht", address).await.unwrap_err().report();
    assert!(error.contains("caht") && error.contains("there are: chat, idle"), "{error}");
    let error = run("shift status idle", address).await.unwrap_err().report();
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
    run(&format!("shift start chat {} --dry-run", plan.display()), address).await.unwrap();
    let exit = run(&format!("shift start chat {} --wait", plan.display()), address).await.unwrap();
    assert_eq!(exit, Exit::Done);
    let story = story.lock().unwrap();
    let paths: Vec<&str> = story.posted.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/v1/endpoints/chat/shifts?dry_run=true", "/v1/endpoints/chat/shifts"]);
    let sent: serde_json::Value = serde_json::from_str(&story.posted[0].1).unwrap();
    assert_eq!(sent["green"]["version"], "v2");
}

#[tokio::test]
async fn a_plan_with_problems_is_told_with_its_lines_and_sent_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.toml");
    std::fs::write(&plan, "gren = 1\n").unwrap();
    let (address, story) = serve(Story::default()).await;
    let error = run(&format!("shift start chat {}", plan.display()), address).await.unwrap_err().report();
    assert!(error.contains("plan.toml:1: gren"), "{error}");
    assert!(story.lock().unwrap().posted.is_empty());
}

#[tokio::test]
async fn endpoints_are_listed_and_shown() {
    let (address, _) = serve(Story::default()).await;
    for line in ["endpoint list", "endpoint show chat", "endpoint list --output json"] {
        assert_eq!(run(line, address).await.unwrap(), Exit::Done);
    }
}

#[tokio::test]
async fn every_problem_of_a_refused_document_has_a_line() {
    let (address, story) = serve(Story::default()).await;
    let error = run("reload --dry-run", address).await.unwrap_err().report();
    assert_eq!(error, "error: the file has 2 problems\n  line 3: data.workers: not a number\n  cut short");
    assert_eq!(story.lock().unwrap().posted, [("/v1/reload?dry_run=true".to_owned(), String::new())]);
}

#[tokio::test]
async fn nobody_listening_is_an_error_that_names_the_address_and_the_next_step() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = run("endpoint list", address).await.unwrap_err().report();
    for part in [&format!("http://{address}"), "refused", "snapback serve", "SNAPBACK_ADMIN"] {
        assert!(error.contains(part), "{error}");
    }
}

const FIRST: &str = "id: 1\nevent: state\ndata: {\"id\":1,\"at\":\"t\",\"kind\":\"state\",\"endpoint\":\"chat\",\"shift\":\"chat-7\",\
    \"before\":null,\"after\":\"preparing\",\"share\":\"0%\",\"actor\":\"alice\",\"cause\":\"\"}\n\n";

#[tokio::test]
async fn followed_events_go_on_after_the_last_one_that_was_printed() {
    let story = Story { streams: [FIRST, FIRST].into(), streams_break: true, ..Story::default() };
    let (address, story) = serve(story).await;
    let error = run("events --follow --after 0", address).await.unwrap_err().report();
    assert!(error.contains("the story is over"), "{error}");
    assert_eq!(story.lock().unwrap().asked_after, ["0", "1", "1"]);
}

#[tokio::test]
async fn events_end_when_the_journal_is_through() {
    let story = Story { streams: [FIRST].into(), ..Story::default() };
    let (address, _) = serve(story).await;
    assert_eq!(run("events", address).await.unwrap(), Exit::Done);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_given_up_after_a_bounded_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = super::client::Client::new(
        super::AdminUrl::parse(&listener.local_addr().unwrap().to_string()).unwrap(),
    );
    drop(listener);
    let id = crate::name::ShiftId::parse("chat-7").unwrap();
    let waited = tokio::time::Instant::now();
    let error = super::follow::wait(client, &id, None, super::args::OutputFormat::Table).await.unwrap_err();
    assert!(matches!(error, CliError::GaveUp { .. }), "{error}");
    let patience = super::follow::PATIENCE;
    assert!((patience..patience + Duration::from_secs(10)).contains(&waited.elapsed()));
}
