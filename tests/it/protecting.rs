//! Weights, limits on instances, and a process with few descriptors.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Instant,
};

use serde_json::{Value, json};

use crate::bench::{ModelServer, PATIENCE, Snapback, read_answer, request, write_config};

fn declare(snapback: &Snapback, endpoint: &Value) -> Value {
    let (status, answer) = snapback.admin("PUT", "/v1/endpoints/chat", &endpoint.to_string());
    assert!(status == 200 || status == 201, "{answer:#}");
    answer
}

#[test]
fn instances_get_their_weights_and_no_more_requests_than_they_take() {
    let (folder, light, heavy) =
        (tempfile::tempdir().unwrap(), ModelServer::start("a"), ModelServer::start("b"));
    let snapback = Snapback::start(&write_config(folder.path(), light.address));
    let instances = json!([light.address.to_string(), { "address": heavy.address.to_string(), "weight": 3 }]);
    let endpoint = |admission: Value| {
        json!({
            "blue": { "version": "v1", "instances": instances },
            "health": { "path": "/health" },
            "balance": "random",
            "admission": admission,
        })
    };
    let answer = declare(&snapback, &endpoint(json!({})));
    assert_eq!(answer["blue"]["instances"][1]["weight"], 3, "{answer:#}");
    for _ in 0..400 {
        assert_eq!(snapback.ask().status, 200);
    }
    // Of 400 draws at three in four, fewer than 250 or more than 350 happen once in 10^8 runs.
    assert!((250..=350).contains(&heavy.served()), "{} {}", light.served(), heavy.served());

    declare(&snapback, &endpoint(json!({ "max_concurrency": 1, "queue": 0, "shed_status": 429 })));
    let before = light.served() + heavy.served();
    light.hang();
    heavy.hang();
    let _held = [snapback.ask_and_hold(), snapback.ask_and_hold()];
    let deadline = Instant::now() + PATIENCE;
    while light.served() + heavy.served() < before + 2 {
        assert!(Instant::now() < deadline, "two requests never came to their instances");
    }
    let shed = snapback.ask();
    assert_eq!(shed.status, 429, "{}", String::from_utf8_lossy(&shed.body));
    let (_, chat) = snapback.admin("GET", "/v1/endpoints/chat", "");
    let in_flight =
        chat["blue"]["instances"].as_array().unwrap().iter().map(|instance| &instance["in_flight"]);
    assert_eq!(in_flight.collect::<Vec<_>>(), [1, 1]);
    assert_eq!(
        (&chat["blue"]["traffic"]["shed"], &chat["blue"]["traffic"]["failed"]),
        (&json!(1), &json!(0))
    );
    let metrics = String::from_utf8(request(snapback.admin, "GET", "/metrics", "").body).unwrap();
    let series = "snapback_requests_total{endpoint=\"chat\",fleet=\"blue\",outcome=\"shed\"} 1";
    assert!(metrics.contains(series), "{metrics}");
}

/// Sends a request on a connection that stays open. `None` when the connection was refused.
fn keep_one_open(snapback: &Snapback) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(snapback.data).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nv1") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        answer.extend(byte);
    }
    Some(stream)
}

#[test]
fn a_process_with_few_descriptors_refuses_connections_and_serves_those_it_has() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let config = write_config(folder.path(), blue.address);
    let mut command = Command::new("sh");
    let script = "ulimit -n 80; exec \"$0\" serve -c \"$1\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_snapback")]).arg(&config);
    let snapback = Snapback::start_by(command);
    snapback.wait_for_log("fewer connections than configured");
    let open: Vec<_> = (0..100).filter_map(|_| keep_one_open(&snapback)).collect();
    // Eighty descriptors, half of them for the rest, and two for each connection.
    assert!((1..=20).contains(&open.len()), "{} connections are open", open.len());
    for mut stream in &open {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    }
    for stream in open {
        assert_eq!(read_answer(stream).body, b"v1");
    }
    let deadline = Instant::now() + PATIENCE;
    while keep_one_open(&snapback).is_none() {
        assert!(Instant::now() < deadline, "there is never room again");
    }
    let (status, chat) = snapback.admin("GET", "/v1/endpoints/chat", "");
    assert_eq!((status, &chat["blue"]["traffic"]["failed"]), (200, &json!(0)), "{chat:#}");
}
