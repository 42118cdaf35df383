//! Which worker a connection comes to, and which fleet a session.

use std::{
    collections::BTreeSet,
    io::{BufReader, Read, Write},
    net::TcpStream,
    time::Instant,
};

use serde_json::json;

use crate::bench::{ModelServer, PATIENCE, Snapback, request, write_config};

/// How many connections each worker holds, as the metrics say.
fn held(snapback: &Snapback) -> Vec<u64> {
    let metrics = String::from_utf8(request(snapback.admin, "GET", "/metrics", "").body).unwrap();
    let of_worker = |line: &str| {
        let (_, count) = line.strip_prefix("snapback_connections{worker=")?.split_once("} ")?;
        count.parse().ok()
    };
    metrics.lines().filter_map(of_worker).collect()
}

#[test]
fn of_eight_connections_that_come_at_once_neither_of_two_workers_holds_more_than_five() {
    let (folder, blue) = (tempfile::tempdir().unwrap(), ModelServer::start("v1"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    for round in 0..20 {
        let open: Vec<_> = (0..8).map(|_| TcpStream::connect(snapback.data).unwrap()).collect();
        let deadline = Instant::now() + PATIENCE;
        let held = loop {
            let held = held(&snapback);
            if held.iter().sum::<u64>() == 8 {
                break held;
            }
            assert!(Instant::now() < deadline, "{held:?} of 8 connections");
        };
        assert!(held.len() == 2 && held.iter().all(|count| *count <= 5), "round {round}: {held:?}");
        drop(open);
        while self::held(&snapback).iter().sum::<u64>() > 0 {
            assert!(Instant::now() < deadline, "connections that were closed are still held");
        }
    }
}

const SESSIONS: usize = 200;

/// The sessions that green serves, over one connection.
fn on_green(snapback: &Snapback) -> BTreeSet<usize> {
    let mut stream = TcpStream::connect(snapback.data).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut asks_green = |session: &usize| {
        // In one write: the kernel would hold the second one back until the first is acknowledged.
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\ncookie: theme=dark; sid=s{session}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nv1") && !answer.ends_with(b"\r\n\r\nv2") {
            let mut byte = [0];
            answers.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        answer.ends_with(b"v2")
    };
    (0..SESSIONS).filter(|session| asks_green(session)).collect()
}

#[test]
fn a_session_moves_to_green_once_while_the_share_grows_and_goes_back_with_the_rollback_alone() {
    let (folder, blue, green) =
        (tempfile::tempdir().unwrap(), ModelServer::start("v1"), ModelServer::start("v2"));
    let snapback = Snapback::start(&write_config(folder.path(), blue.address));
    let endpoint = json!({
        "blue": { "version": "v1", "instances": [blue.address.to_string()] },
        "health": { "path": "/health" },
        "sticky": { "cookie": "sid" },
    });
    let (status, answer) = snapback.admin("PUT", "/v1/endpoints/chat", &endpoint.to_string());
    assert_eq!(status, 200, "{answer:#}");
    let steps: Vec<_> =
        ["10%", "50%", "75%"].iter().map(|share| json!({ "share": share, "bake": "1h" })).collect();
    let plan = json!({
        "green": { "version": "v2", "instances": [green.address.to_string()] },
        "strategy": { "type": "steps", "steps": steps, "final_bake": "1h" },
        "execution_timeout": "5h",
    });
    let id = snapback.start_shift(&plan);
    let mut before = BTreeSet::new();
    for (share, least) in [("10%", 5), ("50%", 70), ("75%", 110), ("100%", SESSIONS)] {
        snapback.wait_until(&id, |shift| shift["state"] == "baking" && shift["share"] == share);
        // Each time over another connection, and so by whichever worker comes.
        let now = on_green(&snapback);
        assert_eq!(now, on_green(&snapback), "the same twice at {share}");
        assert!(now.is_superset(&before), "at {share} a session went back");
        assert!(now.len() >= least, "{} of {SESSIONS} sessions at {share}", now.len());
        before = now;
        if share != "100%" {
            let (status, answer) = snapback.admin(
                "POST",
                &format!("/v1/shifts/{id}/promote"),
                r#"{"skip":"bake","reason":"next"}"#,
            );
            assert!(status < 300, "{answer:#}");
        }
    }
    snapback.admin("POST", &format!("/v1/shifts/{id}/abort"), r#"{"reason":"to see"}"#);
    snapback.wait_until(&id, |shift| shift["state"] == "rolled_back");
    assert!(on_green(&snapback).is_empty(), "a session stayed after the rollback");
}
