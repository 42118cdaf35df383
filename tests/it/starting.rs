//! What a start refuses, and what it says.

use std::{net::TcpListener, path::Path};

use crate::bench::{ModelServer, Snapback, run, write_config};

fn refusal(config: &Path) -> String {
    let output = run(&["serve", "-c", config.to_str().unwrap()]);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn edit(config: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(config).unwrap();
    assert!(text.contains(from));
    std::fs::write(config, text.replace(from, to)).unwrap();
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_key() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    edit(&config, "workers = 2", "worker = 2");
    let text = refusal(&config);
    assert!(
        text.contains("snapback.toml:4") && text.contains("data.worker") && text.contains("\"workers\""),
        "{text}"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    edit(&config, "[admin]\nlisten = \"127.0.0.1:0\"", &format!("[admin]\nlisten = \"{taken}\""));
    let text = refusal(&config);
    assert!(text.contains(&taken.to_string()) && text.contains("in use"), "{text}");
    edit(&config, "listen = [\"127.0.0.1:0\"]", &format!("listen = [\"{taken}\"]"));
    edit(&config, &format!("[admin]\nlisten = \"{taken}\""), "[admin]\nlisten = \"127.0.0.1:0\"");
    let text = refusal(&config);
    assert!(text.contains(&taken.to_string()) && text.contains("in use"), "{text}");
}

#[test]
fn a_journal_of_a_newer_version_is_refused_and_left_as_it_was() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let path = folder.path().join("snapback.db");
    let first = Snapback::start(&config);
    first.signal("-TERM");
    assert_eq!(first.end().0, Some(0));
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 9_999).unwrap();
    drop(database);
    let before = std::fs::read(&path).unwrap();
    let text = refusal(&config);
    assert!(text.contains("format 9999") && text.contains("newer snapback"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_journal_that_cannot_be_made_is_named() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    edit(&config, "snapback.db", "no-such-folder/snapback.db");
    let text = refusal(&config);
    assert!(text.contains("cannot open the journal") && text.contains("no-such-folder"), "{text}");
}

#[test]
fn a_second_process_on_the_same_journal_is_refused() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let first = Snapback::start(&config);
    let text = refusal(&config);
    assert!(text.contains("in use by another process"), "{text}");
    assert_eq!(first.ask().body, b"v1");
}

#[test]
fn the_limit_on_open_files_is_raised() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let script = format!("ulimit -S -n 64; exec {:?} \"$@\"", env!("CARGO_BIN_EXE_snapback"));
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script, "sh", "serve", "-c"]).arg(&config);
    let snapback = Snapback::start_by(command);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", snapback.id())).unwrap();
    let limits: Vec<&str> = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(limits[0], limits[1]);
    assert_ne!(limits[0], "64");
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_with_the_reason() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let cert = folder.path().join("cert.pem");
    edit(
        &config,
        "[data]",
        &format!("[data]\ntls = {{ certificates = [{{ cert = {cert:?}, key = {cert:?} }}] }}"),
    );
    let text = refusal(&config);
    assert!(text.contains("cert.pem: cannot read the file"), "{text}");
    std::fs::write(&cert, "nonsense").unwrap();
    let text = refusal(&config);
    assert!(text.contains("cert.pem: it holds no certificate"), "{text}");
}

#[test]
fn check_tells_every_problem_of_a_file_at_once() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    assert!(run(&["check", "-c", config.to_str().unwrap()]).status.success());
    edit(&config, "workers = 2", "workers = \"two\"");
    edit(&config, "interval = \"100ms\"", "interval = 100");
    let output = run(&["check", "-c", config.to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(text.contains("data.workers") && text.contains("health.interval"), "{text}");
}

/// The figure is printed (`cargo test --test it the_first_request -- --nocapture`) and judges nothing: machines differ.
#[test]
fn after_kill_nine_with_a_hundred_endpoints_the_first_request_is_served_and_the_time_is_told() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let mut text = std::fs::read_to_string(&config).unwrap();
    for number in 1..100 {
        text.push_str(&format!(
            "[[endpoint]]\nname = \"model-{number}\"\nmatch = {{ path_prefix = \"/model-{number}\" }}\n\
             blue = {{ version = \"v1\", instances = [\"{}\"] }}\n",
            blue.address
        ));
    }
    std::fs::write(&config, text).unwrap();
    Snapback::start(&config).kill_nine();
    let begun = std::time::Instant::now();
    let snapback = Snapback::start(&config);
    assert_eq!(snapback.ask().body, b"v1");
    eprintln!("start-up to the first served request with 100 endpoints: {:?}", begun.elapsed());
}
