//! Weights, limits on instances, and a process with few descriptors.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Instant,
};

use serde_json::{Value, json};

use crate::bench::{ModelServer, PATIENCE, Snapback, read_answer, request, send, write_config};

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

/// A process that may have eighty descriptors, half of them for the rest.
fn start_with_few_descriptors(config: &Path) -> Snapback {
    let mut command = Command::new("sh");
    let script = "ulimit -n 80; exec \"$0\" serve -c \"$1\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_snapback")]).arg(config);
    let snapback = Snapback::start_by(command);
    snapback.wait_for_log("fewer connections than configured");
    snapback
}

/// Operators come while the data plane has taken all that it may take: eight at once, none of whom leaves before the others came.
fn the_admin_port_answers(snapback: &Snapback) {
    let ask = |_| send(snapback.admin, "GET", "/v1/endpoints/chat", "");
    for stream in (0..8).map(ask).collect::<Vec<_>>() {
        let answer = read_answer(stream);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }
    let (_, chat) = snapback.admin("GET", "/v1/endpoints/chat", "");
    assert_eq!(chat["blue"]["traffic"]["failed"], 0, "{chat:#}");
}

#[test]
fn clients_who_take_all_descriptors_leave_the_admin_ports() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = start_with_few_descriptors(&write_config(folder.path(), blue.address));
    blue.hang();
    // Each takes a second descriptor, to its instance, and no answer comes.
    let held: Vec<_> = (0..100).map(|_| TcpStream::connect(snapback.data).unwrap()).collect();
    for mut stream in &held {
        // Some have been refused by now.
        drop(stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"));
    }
    let deadline = Instant::now() + PATIENCE;
    while blue.served() < 20 {
        assert!(Instant::now() < deadline, "{} requests came to the instance", blue.served());
    }
    the_admin_port_answers(&snapback);
}

#[test]
fn clients_whose_requests_share_a_connection_leave_the_admin_ports_descriptors_too() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = start_with_few_descriptors(&write_config(folder.path(), blue.address));
    blue.hang();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let stream = tokio::net::TcpStream::connect(snapback.data).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let ask = |_| {
            let request = http::Request::get("http://test/").body(()).unwrap();
            let (answer, _) = requests.clone().send_request(request, true).unwrap();
            tokio::task::spawn_local(async move { answer.await.unwrap().status().as_u16() })
        };
        let mut answers: Vec<_> = (0..100).map(ask).collect();
        let deadline = Instant::now() + PATIENCE;
        let count = |answers: &[tokio::task::JoinHandle<u16>]| {
            u64::try_from(answers.iter().filter(|answer| answer.is_finished()).count()).unwrap()
        };
        // Those that found no descriptor are told so; the others are at the instance, which says nothing.
        while count(&answers) + blue.served() < 100 {
            assert!(Instant::now() < deadline, "{} and {} of 100", count(&answers), blue.served());
            tokio::task::yield_now().await;
        }
        the_admin_port_answers(&snapback);
        let mut refused = 0;
        for answer in answers.extract_if(.., |answer| answer.is_finished()) {
            assert_eq!(answer.await.unwrap(), 503);
            refused += 1;
        }
        refused
    }));
    assert!(refused >= 60, "{refused} of 100 requests were refused");
    snapback.wait_for_log("no more connections to instances");
}

#[test]
fn a_process_with_few_descriptors_refuses_connections_and_serves_those_it_has() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = start_with_few_descriptors(&write_config(folder.path(), blue.address));
    let open: Vec<_> = (0..100).filter_map(|_| keep_one_open(&snapback)).collect();
    // Forty descriptors, and two for each connection.
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
