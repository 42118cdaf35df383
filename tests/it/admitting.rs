//! Tokens of the admin port: what their roles may do, and how they change while the proxy serves.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::bench::{ModelServer, PATIENCE, Snapback, read_answer, run, write_config};

/// Makes a token by the binary: the token, and the lines for the file.
fn new_token(name: &str, role: &str, more: &[&str]) -> (String, String) {
    let arguments = [&["token", "new", "--name", name, "--role", role], more].concat();
    let output = run(&arguments);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (token, lines) = text.split_once('\n').unwrap();
    (token.to_owned(), lines.to_owned())
}

/// The workbench's configuration with a file of these tokens.
fn write_guarded(folder: &Path, blue: SocketAddr, tokens: &str) -> (PathBuf, PathBuf) {
    let (config, file) = (write_config(folder, blue), folder.join("tokens.toml"));
    std::fs::write(&file, tokens).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("[admin]", &format!("[admin]\ntokens_file = {file:?}"));
    std::fs::write(&config, text).unwrap();
    (config, file)
}

/// The head and the body of an answer to a request with this token; an empty one is none.
fn ask(address: SocketAddr, method: &str, path: &str, token: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let shown = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {address}\r\nx-snapback-actor: ceo\r\n{shown}connection: close\r\n\r\n")
        .unwrap();
    let answer = read_answer(stream);
    (answer.status, String::from_utf8(answer.body).unwrap())
}

#[test]
fn a_role_may_do_what_it_is_for_and_the_trail_has_the_tokens_name() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let made = ["viewer", "operator", "admin"].map(|role| new_token(&format!("the-{role}"), role, &[]));
    let (old, old_lines) = new_token("old", "admin", &["--expires", "1971-01-01"]);
    let lines = made.iter().map(|(_, lines)| lines.as_str()).chain([old_lines.as_str()]);
    let (config, _) = write_guarded(folder.path(), blue.address, &lines.collect::<String>());
    let snapback = Snapback::start(&config);
    let statuses = |method: &str, path: &str| {
        let tokens = made.iter().map(|(token, _)| token.as_str()).chain(["", old.as_str()]);
        tokens.map(|token| ask(snapback.admin, method, path, token).0).collect::<Vec<_>>()
    };
    assert_eq!(statuses("GET", "/v1/endpoints"), [200, 200, 200, 401, 401]);
    assert_eq!(statuses("POST", "/v1/freeze"), [403, 200, 200, 401, 401]);
    assert_eq!(statuses("POST", "/v1/reload"), [403, 403, 200, 401, 401]);
    assert_eq!(statuses("GET", "/healthz"), [200; 5]);
    assert_eq!(statuses("GET", "/metrics"), [200; 5]);

    let (viewer, _) = &made[0];
    let (_, problem) = ask(snapback.admin, "POST", "/v1/freeze", viewer);
    assert!(problem.contains("the-viewer has the role viewer; this takes the role operator"), "{problem}");
    let (_, trail) = ask(snapback.admin, "GET", "/v1/audit", viewer);
    assert!(trail.contains("the-operator") && trail.contains("the-admin"), "{trail}");
    assert!(!trail.contains("ceo"), "{trail}");
}

#[test]
fn tokens_come_and_go_without_a_restart_and_a_bad_file_changes_nothing() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let [(first, first_lines), (second, second_lines)] =
        ["first", "second"].map(|name| new_token(name, "viewer", &[]));
    let (config, file) = write_guarded(folder.path(), blue.address, &first_lines);
    let snapback = Snapback::start(&config);
    let statuses = || [&first, &second].map(|token| ask(snapback.admin, "GET", "/v1/endpoints", token).0);
    assert_eq!(statuses(), [200, 401]);
    std::fs::write(&file, format!("{first_lines}{second_lines}")).unwrap();
    assert_eq!(statuses(), [200, 200]);
    std::fs::write(&file, "[[token]]\nname = \"broken\"\nrole = \"viewer\"\n").unwrap();
    assert_eq!(statuses(), [200, 200]);
    let line = snapback.wait_for_log("new tokens are refused");
    assert!(line.contains("token[0].hash"), "{line}");
    std::fs::write(&file, &second_lines).unwrap();
    assert_eq!(statuses(), [401, 200]);
}

#[test]
fn a_stream_ends_when_its_token_opens_nothing_any_more_and_others_go_on() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let made = ["stays", "goes", "sinks"].map(|name| new_token(name, "operator", &[]));
    let lines: String = made.iter().map(|(_, lines)| lines.as_str()).collect();
    let (config, file) = write_guarded(folder.path(), blue.address, &lines);
    let snapback = Snapback::start(&config);
    let [stays, goes, sinks] = [&made[0].0, &made[1].0, &made[2].0];
    let follow = |path: &str, token: &str| {
        let mut stream = TcpStream::connect(snapback.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = snapback.admin;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n")
            .unwrap();
        let (mut reader, mut status) = (BufReader::new(stream), String::new());
        reader.read_line(&mut status).unwrap();
        assert!(status.starts_with("HTTP/1.1 200 "), "{status}");
        reader
    };
    let going = ["/v1/events", "/v1/live", "/v1/live?endpoint=chat"].map(|path| follow(path, goes));
    // A smaller role that still suffices ends nothing.
    let going_on = [stays, sinks].map(|token| follow("/v1/events", token));

    let [kept, sunk] = [&made[0].1, &made[2].1.replace("operator", "viewer")];
    std::fs::write(&file, format!("{kept}{sunk}")).unwrap();
    for mut stream in going {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "it ends as a whole");
    }
    assert_eq!(ask(snapback.admin, "GET", "/v1/events", goes).0, 401);
    assert_eq!(ask(snapback.admin, "POST", "/v1/freeze", stays).0, 200);
    for stream in going_on {
        let mut lines = stream.lines();
        assert!(lines.any(|line| line.unwrap() == "event: endpoint.frozen"), "the stream goes on");
    }
}

#[test]
fn who_fails_too_often_is_told_so_and_a_valid_token_is_served_all_the_same() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (token, lines) = new_token("ci", "viewer", &[]);
    let (config, _) = write_guarded(folder.path(), blue.address, &lines);
    let snapback = Snapback::start(&config);
    let wrong = || ask(snapback.admin, "GET", "/v1/endpoints", "wrong").0;
    assert_eq!((0..12).map(|_| wrong()).collect::<Vec<_>>(), [[401; 10].as_slice(), &[429; 2]].concat());
    assert_eq!(ask(snapback.admin, "GET", "/v1/endpoints", &token).0, 200);
}

#[test]
fn commands_show_the_token_of_a_file() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (token, lines) = new_token("ci", "viewer", &[]);
    let (config, _) = write_guarded(folder.path(), blue.address, &lines);
    let snapback = Snapback::start(&config);
    let (admin, file) = (format!("http://{}", snapback.admin), folder.path().join("token"));
    std::fs::write(&file, token).unwrap();
    let refused = run(&["endpoint", "list", "--admin", &admin]);
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--token-file"));
    let listed = run(&["endpoint", "list", "--admin", &admin, "--token-file", file.to_str().unwrap()]);
    assert!(listed.status.success(), "{listed:?}");
}

#[test]
fn a_file_of_tokens_that_others_can_write_is_refused_at_the_start() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (config, file) = write_guarded(folder.path(), blue.address, &new_token("ci", "viewer", &[]).1);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let output = run(&["serve", "-c", config.to_str().unwrap()]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("can be written by others") && said.contains("chmod"), "{said}");
}

#[test]
fn with_tokens_the_port_may_be_reached_by_others_who_then_need_one_for_metrics_and_for_sagemakers_api() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let [(viewer, viewer_lines), (admin, admin_lines)] =
        ["viewer", "admin"].map(|role| new_token(role, role, &[]));
    let (config, _) = write_guarded(folder.path(), blue.address, &format!("{viewer_lines}{admin_lines}"));
    let text = std::fs::read_to_string(&config).unwrap();
    let (head, tail) = text.split_once("[admin]").unwrap();
    let tail = tail.replacen("127.0.0.1:0", "0.0.0.0:0", 1);
    std::fs::write(&config, format!("{head}[aws]\nsagemaker = false\n[admin]{tail}")).unwrap();
    let snapback = Snapback::start(&config);
    let statuses = |method: &str, path: &str| {
        ["", &viewer, &admin].map(|token| ask(snapback.admin, method, path, token).0)
    };
    assert_eq!(statuses("GET", "/metrics"), [401, 200, 200]);
    assert_eq!(statuses("GET", "/readyz"), [200; 3]);
    // An admin gets as far as the handler, which does not speak the API here.
    assert_eq!(statuses("POST", "/"), [401, 403, 405]);
    assert_eq!(statuses("GET", "/nothing"), [401, 404, 404]);
    // The dashboard's page asks for a token itself, and says whose it is.
    assert_eq!(statuses("GET", "/"), [200; 3]);
    assert_eq!(ask(snapback.admin, "GET", "/v1/caller", "wrong").0, 401);
    let callers = ["", &viewer, &admin].map(|token| ask(snapback.admin, "GET", "/v1/caller", token).1);
    assert!(callers[0].contains("\"tokens\":true,\"name\":null,\"role\":null"), "{callers:?}");
    assert!(
        callers[1].contains("\"role\":\"viewer\"") && callers[2].contains("\"name\":\"admin\""),
        "{callers:?}"
    );

    let unguarded = text.replace("tokens_file", "# tokens_file");
    let unguarded = unguarded.replace("listen = \"127.0.0.1:0\"\n[state]", "listen = \"0.0.0.0:0\"\n[state]");
    std::fs::write(&config, unguarded).unwrap();
    let output = run(&["serve", "-c", config.to_str().unwrap()]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("admin.tokens_file") && said.contains("snapback token new"), "{said}");
}

/// What each operation that changes something is asked, in an order in which most of them do; the others are refused, which the trail has too.
const WALK: &[(&str, &str, &str, &str)] = &[
    (
        "put",
        "/v1/endpoints/{name}",
        "extra",
        r#"{"match":{"host":"extra"},"blue":{"version":"v1","instances":["BLUE"]}}"#,
    ),
    ("post", "/v1/endpoints/{name}/freeze", "extra", "{}"),
    ("post", "/v1/endpoints/{name}/unfreeze", "extra", "{}"),
    ("post", "/v1/freeze", "", "{}"),
    ("post", "/v1/unfreeze", "", "{}"),
    ("post", "/v1/endpoints/{name}/scale", "extra", r#"{"count":2}"#),
    ("post", "/v1/endpoints/{name}/weights", "extra", r#"{"weights":{"a":1}}"#),
    ("post", "/v1/endpoints/{name}/undo", "extra", "{}"),
    (
        "post",
        "/v1/endpoints/{name}/shifts",
        "extra",
        r#"{"green":{"version":"v2","instances":["BLUE"]},"strategy":{"type":"all_at_once","final_bake":"1h"}}"#,
    ),
    ("post", "/v1/alarms/{name}/state", "quality", r#"{"state":"ok"}"#),
    ("post", "/v1/shifts/{id}/pause", "SHIFT", "{}"),
    ("post", "/v1/shifts/{id}/resume", "SHIFT", "{}"),
    ("post", "/v1/shifts/{id}/promote", "SHIFT", "{}"),
    ("post", "/v1/shifts/{id}/abort", "SHIFT", "{}"),
    ("delete", "/v1/shifts/{id}", "SHIFT", ""),
    ("post", "/v1/reload", "", ""),
    ("post", "/v1/log", "", r#"{"level":"info"}"#),
    ("post", "/v1/webhooks/{name}/retry", "ops", "{}"),
    ("delete", "/v1/endpoints/{name}", "extra", ""),
];

/// What changes nothing, as invocations of models do, or has a trail of its own that the page on SageMaker describes.
const NO_CHANGE: [(&str, &str); 6] = [
    ("post", "/v1/endpoints/{name}/replay"),
    ("post", "/endpoints/{name}/invocations"),
    ("post", "/endpoints/{name}/invocations-response-stream"),
    ("post", "/endpoints/{name}/async-invocations"),
    ("post", "/"),
    ("post", "/service/{service}/operation/{operation}"),
];

#[test]
fn every_call_that_changes_something_or_was_to_is_in_the_trail() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let (_, document) = snapback.admin("GET", "/v1/openapi.json", "");
    let described = document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys().map(String::as_str);
        methods
            .filter(|method| !["get", "parameters"].contains(method))
            .map(move |method| (method, path.as_str()))
    });
    let mut described: Vec<_> = described.collect();
    let mut walked: Vec<_> =
        WALK.iter().map(|(method, path, ..)| (*method, *path)).chain(NO_CHANGE).collect();
    described.sort_unstable();
    walked.sort_unstable();
    assert_eq!(walked, described, "an operation is missing in this test");

    let acts = || {
        let (_, trail) = snapback.admin("GET", "/v1/audit", "");
        let events = trail["events"].as_array().unwrap().clone();
        events.iter().filter(|event| event["actor"] == "walker").count()
    };
    let (mut shift, mut before) = (String::new(), acts());
    for (method, path, name, body) in WALK {
        let name = name.replace("SHIFT", &shift);
        let path = path.replace("{name}", &name).replace("{id}", &name);
        let body = body.replace("BLUE", &blue.address.to_string());
        let (status, answer) = command(snapback.admin, &method.to_uppercase(), &path, &body);
        if status == 201 && path.ends_with("/shifts") {
            let made: serde_json::Value = serde_json::from_str(&answer).unwrap();
            shift = made["id"].as_str().unwrap().to_owned();
        }
        // What is refused is recorded behind the answer.
        let deadline = std::time::Instant::now() + PATIENCE;
        while acts() <= before {
            assert!(
                std::time::Instant::now() < deadline,
                "{method} {path} is in no event: {status} {answer}"
            );
        }
        before = acts();
    }
}

/// A call that says who asks.
fn command(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nx-snapback-actor: walker\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let answer = read_answer(stream);
    (answer.status, String::from_utf8(answer.body).unwrap())
}

#[test]
fn a_page_from_elsewhere_reaches_nothing_on_loopback() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let status = |method: &str, lines: &str| {
        let mut stream = TcpStream::connect(snapback.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} /v1/freeze HTTP/1.1\r\n{lines}connection: close\r\ncontent-length: 0\r\n\r\n"
        )
        .unwrap();
        let answer = read_answer(stream);
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    let own = format!("host: {}\r\n", snapback.admin);
    for (lines, kind) in [
        ("host: evil.example\r\n".to_owned(), "foreign-host"),
        (format!("{own}origin: http://evil.example\r\n"), "foreign-origin"),
        (format!("{own}sec-fetch-site: cross-site\r\n"), "foreign-origin"),
    ] {
        let (code, problem) = status("POST", &lines);
        assert!(code == 403 && problem.contains(kind), "{lines}: {code} {problem}");
    }
    assert_eq!(status("POST", &own).0, 200);
}
