//! Sizes and times.

use std::{
    io::{Read, Write},
    sync::mpsc,
    time::Duration,
};

use super::kit::{MessageReader, Origin, Rig, Setup, Then, eventually};
use crate::{
    clock,
    meter::{FailureKind, Rejection},
    proxy::LeastRate,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const SHORT: Duration = Duration::from_millis(120);

/// An origin that reads the request and then does nothing until the connection ends.
fn silent_after(words: &'static str) -> Origin {
    Origin::raw(move |stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        if reader.request().is_some() {
            stream.write_all(words.as_bytes()).unwrap();
            while reader.line().is_some() {}
        }
    })
}

#[test]
fn a_body_that_says_it_is_too_large_is_refused_unread() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.body_limit_bytes = 10;
    let rig = setup.start();
    let mut client = rig.client();
    assert_eq!(client.post("/", "0123456789").status, 200);
    let answer = client.post("/", "0123456789a");
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    assert!(client.is_closed());
    assert_eq!(
        (rig.blue().dealt, origin.seen().len(), rig.workers[0].rejected.get(Rejection::LargeBody)),
        (1, 1, 1)
    );
}

#[test]
fn a_body_that_turns_out_too_large_is_cut_off_and_counts_for_nobody() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.body_limit_bytes = 10;
    let rig = setup.start();
    let mut client = rig.client();
    client.send(
        "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().contains("body-too-large")), (413, true));
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.client_gone, reading.failed(), origin.seen().len()), (1, 0, 0));
    assert_eq!(client.get("/").status, 200, "its end had come too, so the connection is kept");
}

#[test]
fn heads_and_targets_have_a_limit() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.head_limit_bytes = 32 * 1024;
    let rig = setup.start();
    let long = "x".repeat(17 * 1024);
    assert_eq!(rig.client().get(&format!("/{long}")).status, 414);
    let answer =
        rig.client().send(format!("GET / HTTP/1.1\r\nhost: test\r\na: {long}\r\nb: {long}\r\n\r\n")).answer();
    assert_eq!((answer.status, answer.header("connection")), (431, Some("close")));
    assert!(answer.text().contains("head-too-large"), "{}", answer.text());
    let counts = |reason| rig.workers[0].rejected.get(reason);
    assert_eq!((counts(Rejection::LongTarget), counts(Rejection::LargeHead)), (1, 1));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn an_instance_that_does_not_answer_in_time_fails() {
    let origin = silent_after("");
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.head_timeout = SHORT;
    let rig = setup.start();
    let mut client = rig.client();
    for body in ["", "with a body"] {
        let answer = client.post("/", body);
        assert_eq!((answer.status, answer.text().contains("head-timeout")), (504, true));
    }
    let reading = rig.blue_when(|reading| reading.settled() == 2);
    assert_eq!(reading.failures[FailureKind::HeadTimeout.index()], 2);
}

#[test]
fn an_answer_that_stops_flowing_is_cut_and_fails() {
    let origin = silent_after("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n");
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.idle_timeout = SHORT;
    let rig = setup.start();
    let answer = rig.client().get("/");
    assert_eq!((answer.text(), answer.is_whole), ("x", false));
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!(reading.failures[FailureKind::IdleTimeout.index()], 1);
}

#[test]
fn a_request_that_flows_for_longer_than_its_total_timeout_is_cut() {
    // It says something every 5 ms, so that no other limit is passed.
    let origin = Origin::raw(|stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        let Some(request) = reader.request() else { return };
        if request.line.contains("/drip") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        }
        let words: &[u8] =
            if request.line.contains("/drip") { b"1\r\nx\r\n" } else { b"HTTP/1.1 103 Early Hints\r\n\r\n" };
        // Interim answers have a bound of their own.
        let rounds = if request.line.contains("/drip") { usize::MAX } else { 5 };
        for _ in 0..rounds {
            if stream.write_all(words).is_err() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        while reader.line().is_some() {}
    });
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.total_timeout = Some(Duration::from_secs(1));
    let rig = setup.start();
    let mut client = rig.client();
    let answer = client.post("/silent", "x");
    assert_eq!((answer.status, answer.text().contains("total-timeout")), (504, true));
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!(reading.failures[FailureKind::HeadTimeout.index()], 1);
    let answer = client.get("/drip");
    assert_eq!((answer.status, answer.is_whole), (200, false));
    let reading = rig.blue_when(|reading| reading.settled() == 2);
    assert_eq!(reading.failures[FailureKind::Truncated.index()], 1);
}

#[test]
fn a_total_timeout_ends_with_its_request() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    let total = Duration::from_secs(1);
    setup.limits.total_timeout = Some(total);
    let rig = setup.start();
    let (mut client, began) = (rig.client(), clock::now());
    while clock::now().since(began) < total + SHORT {
        assert_eq!(client.get("/").text(), "ok", "the connection outlives its requests' time");
    }
    assert_eq!(rig.blue().failed(), 0);
}

#[test]
fn an_endpoint_may_take_smaller_heads_than_the_port() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    let head = "GET /path HTTP/1.1\r\nhost: test\r\nx: 1\r\n\r\n";
    setup.limits.head_limit_bytes = Some(head.len() - "\r\n".len());
    let rig = setup.start();
    let mut client = rig.client();
    assert_eq!(client.send(head).answer().status, 200, "as large as it may be");
    let answer = client.send(head.replace("x: 1", "x: 12")).answer();
    assert_eq!((answer.status, answer.text().contains("head-too-large")), (431, true));
    assert_eq!(client.send(head).answer().status, 200, "its head was understood, so the connection is kept");
    assert_eq!(
        (origin.seen().len(), rig.workers[0].rejected.get(Rejection::LargeHead), rig.blue().dealt),
        (2, 1, 2)
    );
}

#[test]
fn a_request_that_stops_flowing_is_the_fault_of_who_is_due() {
    let origin = Origin::raw(|stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        let head = reader.head().unwrap();
        // A POST to /deaf is never read on; the other one is, and its client says no more.
        while !head.contains("/deaf") && reader.line().is_some() {}
        std::thread::park_timeout(Duration::from_secs(2));
    });
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.idle_timeout = SHORT;
    let rig = setup.start();
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nabc");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().contains("\"downstream\"")), (408, true));
    assert_eq!(rig.blue_when(|reading| reading.settled() == 1).client_gone, 1);

    let mut client = rig.client();
    client.send("POST /deaf HTTP/1.1\r\nhost: test\r\ncontent-length: 50000000\r\n\r\n");
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || sender.write_all(&vec![0; 50_000_000]).is_ok());
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().contains("idle-timeout")), (504, true));
    let reading = rig.blue_when(|reading| reading.settled() == 2);
    assert_eq!(reading.failures[FailureKind::IdleTimeout.index()], 1);
    drop(client);
    drop(sending.join());
}

#[test]
fn a_client_that_does_not_take_its_answer_is_cut_and_counts_for_nobody() {
    let origin = Origin::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n").unwrap();
        drop(stream.write_all(&vec![0; 50_000_000]));
        Then::Close
    });
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.idle_timeout = SHORT;
    let rig = setup.start();
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.client_gone, reading.failed()), (1, 0));
}

/// A least rate that is judged soon.
fn at_least(bytes_per_second: u64) -> LeastRate {
    LeastRate { bytes_per_second, window: SHORT }
}

#[test]
fn a_client_that_sends_its_body_a_byte_at_a_time_is_cut_and_counts_for_nobody() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.least_rate = at_least(1 << 20);
    let rig = setup.start();
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n");
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        while sender.write_all(b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(2));
        }
    });
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().contains("request-too-slow")), (408, true));
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.client_gone, reading.failed(), rig.workers[0].too_slow.get()), (1, 0, 1));
    drop(client);
    sending.join().unwrap();
}

#[test]
fn a_client_that_takes_its_answer_a_byte_at_a_time_is_cut_and_counts_for_nobody() {
    let origin = Origin::new(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
        while stream.write_all(&[0; 65_536]).is_ok() {}
        Then::Close
    });
    for version in ["1.1", "1.0"] {
        let mut setup = Setup::new(&[origin.address]);
        setup.settings.least_rate = at_least(1 << 20);
        let rig = setup.start();
        let mut client = rig.client();
        client.send(format!("GET / HTTP/{version}\r\nhost: test\r\n\r\n"));
        let mut byte = [0];
        while rig.workers[0].too_slow.get() == 0 {
            client.stream.read_exact(&mut byte).unwrap();
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        assert_eq!((reading.client_gone, reading.failed(), rig.workers[0].too_slow.get()), (1, 0, 1));
        let ended = std::io::copy(&mut client.stream, &mut std::io::sink());
        assert!(ended.is_err(), "HTTP/{version}: a response that is not all there does not end cleanly");
    }
}

#[test]
fn whoever_waits_for_a_model_is_not_slow() {
    let origin = Origin::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        for _ in 0..100 {
            stream.write_all(b"1\r\nx\r\n").unwrap();
            std::thread::park_timeout(Duration::from_millis(5));
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
        Then::Keep
    });
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.least_rate = at_least(1 << 20);
    let rig = setup.start();
    let answer = rig.client().post("/", "body");
    assert_eq!((answer.text().len(), answer.is_whole, rig.workers[0].too_slow.get()), (100, true, 0));
}

#[test]
fn a_client_that_is_silent_within_a_head_or_between_requests_is_closed() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.keep_alive_timeout = SHORT;
    assert!(setup.start().client().is_closed(), "idle from the start");

    let mut setup = Setup::new(&[origin.address]);
    setup.settings.keep_alive_timeout = SHORT;
    let rig = setup.start();
    let mut client = rig.client();
    assert_eq!(client.get("/").text(), "ok");
    assert!(client.is_closed(), "idle after a request");

    let mut setup = Setup::new(&[origin.address]);
    setup.settings.head_timeout = SHORT;
    let rig = setup.start();
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost");
    assert!(client.is_closed(), "half a head");
    eventually(|| (rig.workers[0].connections.get() == 0).then_some(()));
}

/// The two times are two: whoever is between requests is not waited for like somebody who is within one.
#[test]
fn an_idle_connection_outlives_the_time_for_a_head() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.head_timeout = SHORT;
    let rig = setup.start();
    let (mut idle, mut fresh, mut late, mut busy) = (rig.client(), rig.client(), rig.client(), rig.client());
    assert_eq!(idle.get("/").text(), "ok");
    late.send("GET / HT");
    assert!(late.is_closed(), "one sweep has looked for what takes longer than a head may");
    let began = clock::now();
    while clock::now().since(began) < 3 * SHORT {
        assert_eq!(busy.get("/").text(), "ok");
    }
    assert_eq!((idle.get("/").text(), fresh.get("/").text()), ("ok", "ok"));
}

#[test]
fn an_idle_upstream_connection_is_closed_after_its_time() {
    let (end, ended) = mpsc::channel();
    let origin = Origin::raw(move |stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        while reader.request().is_some() {
            stream.write_all(OK.as_bytes()).unwrap();
        }
        end.send(()).unwrap();
    });
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.upstream_idle_timeout = SHORT;
    let rig = setup.start();
    let mut client = rig.client();
    assert_eq!(client.get("/").text(), "ok");
    ended.recv().unwrap();
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(rig.workers[0].upstream_connects.get(), 2);
}

#[test]
fn a_full_worker_refuses_connections_and_takes_new_ones_when_others_end() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.connections_per_worker = 2;
    let rig = setup.start();
    let (mut first, mut second) = (rig.client(), rig.client());
    assert_eq!((first.get("/").status, second.get("/").status), (200, 200));
    assert!(rig.client().is_closed());
    assert_eq!(rig.workers[0].refused.get(), 1);
    drop(first);
    eventually(|| (rig.workers[0].connections.get() == 1).then_some(()));
    assert_eq!(rig.client().get("/").status, 200);
}

#[test]
fn a_rig_with_default_limits_serves() {
    let origin = Origin::saying(OK);
    assert_eq!(Rig::before(&origin).client().get("/").status, 200);
}

#[test]
fn a_worker_sheds_requests_beyond_its_bound_and_counts_them_for_no_fleet() {
    let origin = Origin::new(|request, stream| {
        if request.line.contains("/open") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").unwrap();
        } else {
            stream.write_all(OK.as_bytes()).unwrap();
        }
        Then::Keep
    });
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.requests_per_worker = 1;
    let rig = setup.start();
    let mut open = rig.client();
    open.send("GET /open HTTP/1.1\r\nhost: test\r\n\r\n").head();
    let mut other = rig.client();
    let answer = other.get("/");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!((rig.workers[0].shed.get(), rig.blue().dealt), (1, 1));
    drop(open);
    eventually(|| (rig.blue().settled() == 1).then_some(()));
    assert_eq!(other.get("/").status, 200);
}

#[test]
fn a_body_for_which_there_is_no_replay_memory_passes_without_a_second_try() {
    for (memory, status) in [(0, 502), (4, 200)] {
        let (blue, green) = (Origin::saying(OK), Origin::new(|_, _| Then::Close));
        let mut setup = Setup::new(&[blue.address]);
        setup.green = vec![green.address];
        setup.green_share = "100%";
        setup.settings.replay_memory_bytes = memory;
        let rig = setup.start();
        // What one request gives back, the next one has.
        for _ in 0..3 {
            assert_eq!(rig.client().post("/", "four").status, status, "{memory}");
        }
    }
}
