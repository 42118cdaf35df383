//! The access log: a line for each request, at a bounded cost, and none unless it is asked for.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::{Value, json};

use crate::bench::{ModelServer, PATIENCE, Snapback, plan, request, write_config};

/// The workbench's configuration with an access log of these lines.
fn write_logged(folder: &Path, blue: SocketAddr, lines: &str) -> (PathBuf, PathBuf) {
    let (config, log) = (write_config(folder, blue), folder.join("access.jsonl"));
    let text = std::fs::read_to_string(&config).unwrap();
    let section = format!("[access_log]\nto = {log:?}\n{lines}\n\n[[endpoint]]");
    std::fs::write(&config, text.replacen("[[endpoint]]", &section, 1)).unwrap();
    (config, log)
}

fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// Waits until there are so many.
fn wait_for(log: &Path, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = lines(log);
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:#?}");
    }
}

fn metric(snapback: &Snapback, line: &str) -> Option<u64> {
    let text = String::from_utf8(request(snapback.admin, "GET", "/metrics", "").body).unwrap();
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    found.map(|value| value.trim().parse().unwrap())
}

#[test]
fn each_request_is_a_line_with_what_it_came_to() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (config, log) = write_logged(folder.path(), blue.address, "");
    let snapback = Snapback::start(&config);
    assert_eq!(request(snapback.data, "POST", "/v1/completions?key=secret", "{}").status, 200);
    let [line] = &wait_for(&log, 1)[..] else { panic!("more than one line") };
    let mut known = line.clone();
    for key in ["time", "duration_ms", "first_byte_ms"] {
        assert!(!known[key].is_null(), "{key}");
        known.as_object_mut().unwrap().remove(key);
    }
    let address = blue.address.to_string();
    assert_eq!(
        known,
        json!({
            "endpoint": "chat", "variant": null, "fleet": "blue", "version": "v1", "shift": null, "step": null,
            "protocol": "1.1", "method": "POST", "path": "/v1/completions", "status": 200, "grpc_status": null,
            "outcome": "success", "failure": null, "problem": null, "rescued": false, "retries": 0, "tries": 1,
            "first_token_ms": null, "tokens": 0, "bytes_in": 2, "bytes_out": 2, "instance": address,
            "trace_id": null, "rate": 1.0,
        })
    );
    let keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let page = include_str!("../../src/docs/access-log.md");
    for key in &keys {
        assert!(page.contains(&format!("| `{key}` |")), "{key} is not on its page");
    }
    assert_eq!(page.matches("\n| `").count(), keys.len(), "the page has keys that no line has");
}

#[test]
fn what_green_failed_and_blue_answered_says_both_and_a_shift_says_its_step() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let (config, log) = write_logged(folder.path(), blue.address, "sample = \"0%\"");
    let snapback = Snapback::start(&config);
    green.fail();
    let mut plan = plan(green.address, "10m");
    plan["guard"] = json!([]);
    plan["max_failures"] = json!(100_000);
    let shift = snapback.start_shift(&plan);
    let rescued = |line: &Value| line["rescued"] == true;
    snapback.drive_until(&shift, |_| lines(&log).iter().any(rescued));
    let found = lines(&log);
    assert!(found.iter().all(rescued), "what came to nothing bad was not asked for: {found:#?}");
    let line = &found[0];
    assert_eq!(
        (&line["fleet"], &line["version"], &line["status"]),
        (&json!("green"), &json!("v2"), &json!(200))
    );
    assert_eq!((&line["outcome"], &line["failure"]), (&json!("failure"), &json!("server_error")));
    assert_eq!((&line["shift"], &line["step"], &line["tries"]), (&json!(shift), &json!(1), &json!(2)));
    assert_eq!(line["instance"], blue.address.to_string(), "the one that answered");
    assert_eq!(line["trace_id"], Value::Null);
}

#[test]
fn what_reached_no_model_server_has_a_line_too() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (config, log) = write_logged(folder.path(), blue.address, "query = true");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "match = { path_prefix = \"/v1/\" }\n").unwrap();
    let snapback = Snapback::start(&config);
    assert_eq!(request(snapback.data, "GET", "/other?a=%22b", "").status, 404);
    let line = &wait_for(&log, 1)[0];
    assert_eq!((&line["endpoint"], &line["fleet"], &line["tries"]), (&Value::Null, &Value::Null, &json!(0)));
    assert_eq!((&line["outcome"], &line["problem"]), (&json!("refused"), &json!("no-match")));
    assert_eq!((&line["path"], &line["status"]), (&json!("/other?a=%22b"), &json!(404)));

    blue.hang();
    drop(snapback.ask_and_hold());
    let line = &wait_for(&log, 2)[1];
    assert_eq!((&line["outcome"], &line["status"]), (&json!("client_gone"), &Value::Null));
    let parent = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut client = TcpStream::connect(snapback.data).unwrap();
    write!(client, "GET /other HTTP/1.0\r\ntraceparent: 00-{parent}-00f067aa0ba902b7-00\r\n\r\n").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    let line = &wait_for(&log, 3)[2];
    assert_eq!((&line["trace_id"], &line["protocol"]), (&json!(parent), &json!("1.0")));
}

#[test]
fn pages_turn_and_a_file_that_cannot_be_written_costs_no_request() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (config, log) = write_logged(folder.path(), blue.address, "page = \"64KiB\"\npages = 1");
    let snapback = Snapback::start(&config);
    let path = format!("/v1/{}", "a".repeat(4_000));
    let ask = || assert_eq!(request(snapback.data, "POST", &path, "{}").status, 200);
    let deadline = Instant::now() + PATIENCE;
    let full = folder.path().join("access.jsonl.1");
    while !full.exists() {
        ask();
        assert!(Instant::now() < deadline);
    }
    assert!(lines(&full).iter().all(|line| line["path"].as_str().unwrap().len() == 2_048));
    assert!(std::fs::metadata(&full).unwrap().len() <= 64 << 10);

    std::fs::remove_file(&log).ok();
    std::fs::create_dir(&log).unwrap();
    let failed = "snapback_access_log_lines_total{result=\"failed\"}";
    while metric(&snapback, failed).unwrap() == 0 {
        ask();
        assert!(Instant::now() < deadline);
    }
    snapback.wait_for_log("the access log cannot be written");
}

#[test]
fn the_end_of_the_process_writes_the_last_lines_and_without_a_log_nothing_is_counted() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (config, log) = write_logged(folder.path(), blue.address, "");
    let snapback = Snapback::start(&config);
    (0..20).for_each(|_| assert_eq!(snapback.ask().status, 200));
    snapback.signal("-TERM");
    assert_eq!(snapback.end().0, Some(0));
    assert_eq!(lines(&log).len(), 20);

    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(&format!("to = {log:?}\n"), "")).unwrap();
    let snapback = Snapback::start(&config);
    assert_eq!(snapback.ask().status, 200);
    assert_eq!(metric(&snapback, "snapback_access_log_lines_total{result=\"written\"}"), None);
    assert_eq!(lines(&log).len(), 20);
}

#[test]
fn a_log_that_cannot_be_begun_is_an_error_at_the_start() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let (config, log) = write_logged(folder.path(), blue.address, "");
    std::fs::create_dir(&log).unwrap();
    let output = crate::bench::run(&["serve", "-c", config.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("the access log") && said.contains("access.jsonl"),
        "{said}"
    );
}

#[test]
fn the_log_says_more_for_a_while_and_the_trail_says_who_wanted_that() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let admin = format!("http://{}", snapback.admin);
    let log_level = |arguments: &[&str]| {
        let output = crate::bench::run(&[&["log-level", "--admin", &admin], arguments].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap().trim().to_owned())
    };
    assert_eq!(log_level(&[]), (true, "info".to_owned()));
    let (done, said) = log_level(&["debug", "--for", "1d", "--reason", "odd resets"]);
    assert!(done && said.starts_with("debug until ") && said.ends_with("then info"), "{said}");
    snapback.admin("GET", "/v1/endpoints", "");
    snapback.wait_for_log("started processing request");

    let (done, said) = log_level(&["inof"]);
    assert!(!done && said.contains("\"inof\" is not a filter") && said.contains("write a level"), "{said}");
    let (status, problem) = snapback.admin("POST", "/v1/log", "{\"level\":\"warn\",\"for\":\"40d\"}");
    assert_eq!(status, 422, "{problem}");
    let (status, dry) = snapback.admin("POST", "/v1/log?dry_run=true", "{\"level\":\"warn\"}");
    assert_eq!(
        (status, dry["level"].as_str(), log_level(&[]).1.starts_with("debug")),
        (200, Some("warn"), true)
    );

    assert!(log_level(&["trace", "--for", "1ms"]).0);
    let deadline = Instant::now() + PATIENCE;
    while log_level(&[]).1 != "info" {
        assert!(Instant::now() < deadline);
    }
    let (_, trail) = snapback.admin("GET", "/v1/audit", "");
    let causes = || trail["events"].as_array().unwrap().iter().filter(|event| event["kind"] == "log.level");
    let whole = format!("{trail:#}");
    assert!(causes().any(|event| event["reason"] == "odd resets" && event["actor"] == "operator"), "{whole}");
    assert!(causes().any(|event| event["actor"] == "snapback"), "{whole}");
    let (done, said) = log_level(&["warn"]);
    assert!(done && said.contains("its configuration has info"), "{said}");
    assert_eq!(log_level(&["--reset"]), (true, "info".to_owned()));
}
