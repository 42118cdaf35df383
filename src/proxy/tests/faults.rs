//! Instances that fail, clients that leave, and who is counted for it.

use std::{
    io::{Read, Write},
    net::Shutdown,
    sync::mpsc,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::kit::{Client, MessageReader, Origin, Rig, Seen, Setup, Then, eventually, nobody};
use crate::{
    meter::{FailureKind, Reading},
    route::{HalfClose, Replayed},
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn failures(reading: &Reading, kind: FailureKind) -> u64 {
    reading.failures[kind.index()]
}

/// An origin whose connections serve one request and treat the second like this.
fn origin_that_dies_on_reuse(last_words: &'static str) -> Origin {
    Origin::raw(move |stream, seen, connection| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        for number in 0..2 {
            let Some(mut request) = reader.request() else { return };
            request.connection = connection;
            seen.lock().unwrap().push(request);
            let words = if number == 0 { OK } else { last_words };
            stream.write_all(words.as_bytes()).unwrap();
        }
    })
}

#[test]
fn a_reused_connection_that_dies_unheard_is_tried_once_more_on_a_fresh_one() {
    let origin = origin_that_dies_on_reuse("");
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    for number in 0..3 {
        let answer = client.post("/", &format!("body {number}"));
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{number}");
    }
    let seen = origin.seen();
    let bodies: Vec<_> = seen.iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    assert_eq!(bodies, ["body 0", "body 1", "body 1", "body 2", "body 2"], "executed twice, as stated");
    assert_eq!(seen[1].headers, seen[2].headers);
    let reading = rig.blue_when(|reading| reading.succeeded == 3);
    assert_eq!((reading.dealt, reading.retried, reading.failed()), (3, 2, 0));
}

#[test]
fn nothing_is_sent_twice_once_a_byte_of_the_answer_came_or_the_body_is_too_large_to_keep() {
    for (last_words, body) in [("HTTP/1.1 2", "small".to_owned()), ("", "x".repeat(100))] {
        let origin = origin_that_dies_on_reuse(last_words);
        let mut setup = Setup::new(&[origin.address]);
        setup.limits.replay_limit_bytes = 50;
        let rig = setup.start();
        let mut client = rig.client();
        assert_eq!(client.post("/", &body).status, 200);
        let answer = client.post("/", &body);
        assert_eq!((answer.status, answer.text().contains("upstream-reset")), (502, true));
        assert_eq!(origin.seen().len(), 2, "executed once each");
        let reading = rig.blue_when(|reading| reading.settled() == 2);
        assert_eq!((failures(&reading, FailureKind::Reset), reading.retried), (1, 0));
    }
}

#[test]
fn a_fresh_connection_that_dies_is_a_failure_and_is_not_tried_again() {
    let origin = Origin::new(|_, _| Then::Close);
    let rig = Rig::before(&origin);
    assert_eq!(rig.client().post("/", "x").status, 502);
    assert_eq!(origin.seen().len(), 1);
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((failures(&reading, FailureKind::Reset), reading.retried), (1, 0));
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_used() {
    let origin = Origin::new(|_, stream| {
        stream.write_all(OK.as_bytes()).unwrap();
        Then::Close
    });
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    for number in 1..=5 {
        assert_eq!(client.post("/", "x").status, 200);
        eventually(|| (origin.connections() >= number).then_some(()));
    }
    assert_eq!(origin.seen().len(), 5, "each executed once");
}

#[test]
fn a_truncated_answer_is_visible_to_the_client_and_counts_against_the_fleet() {
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n",
    ] {
        let origin = Origin::new(move |_, stream| {
            stream.write_all(response.as_bytes()).unwrap();
            Then::Close
        });
        let rig = Rig::before(&origin);
        let answer = rig.client().get("/");
        assert_eq!((answer.text(), answer.is_whole), ("only this", false));
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        assert_eq!((failures(&reading, FailureKind::Truncated), reading.statuses[1]), (1, 1));
        // HTTP/1.0 has nothing but the connection's end to show it: it must be a reset.
        let mut old = rig.client();
        old.send("GET / HTTP/1.0\r\n\r\n");
        let ended = eventually(|| {
            let mut buffer = [0; 1024];
            match std::io::Read::read(&mut &old.stream, &mut buffer) {
                Ok(0) => Some(response.contains("content-length")),
                Ok(_) => None,
                Err(_) => Some(true),
            }
        });
        assert!(ended, "a clean end");
    }
}

#[test]
fn a_client_that_leaves_counts_for_nobody_and_frees_the_instance() {
    let (arrive, arrived) = mpsc::channel();
    let origin = Origin::raw(move |stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        let request = reader.request().unwrap();
        if request.line.contains("/stream") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").unwrap();
        }
        arrive.send(()).unwrap();
        assert!(reader.line().is_none(), "the connection is closed");
        arrive.send(()).unwrap();
    });
    let rig = Rig::before(&origin);
    for path in ["/wait", "/stream"] {
        let mut client = rig.client();
        client.send(format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\nx"));
        arrived.recv().unwrap();
        if path == "/stream" {
            client.head();
            client.expect("1\r\nx\r\n");
        }
        drop(client);
        arrived.recv().unwrap();
    }
    let reading = rig.blue_when(|reading| reading.settled() == 2);
    assert_eq!((reading.client_gone, reading.failed(), reading.dealt), (2, 0, 2));
    assert_eq!(rig.route.blue.fleet.in_flight(), 0);
}

#[test]
fn a_client_that_closes_its_sending_side_has_gone_unless_the_endpoint_says_otherwise() {
    for on_half_close in [HalfClose::Cancel, HalfClose::Serve] {
        let (release, wait) = mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let origin = Origin::new(move |_, stream| {
            let is_released = wait.lock().unwrap().recv().is_ok();
            if is_released {
                stream.write_all(OK.as_bytes()).map_or(Then::Close, |()| Then::Keep)
            } else {
                Then::Close
            }
        });
        let mut setup = Setup::new(&[origin.address]);
        setup.limits.on_half_close = on_half_close;
        let rig = setup.start();
        for request in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "POST / HTTP/1.0\r\ncontent-length: 1\r\n\r\nx"]
        {
            let mut client = rig.client();
            client.send(request).stream.shutdown(Shutdown::Write).unwrap();
            if on_half_close == HalfClose::Serve {
                eventually(|| (rig.route.blue.fleet.in_flight() == 1).then_some(()));
                release.send(()).unwrap();
                assert_eq!(client.answer().text(), "ok");
            }
            assert!(client.is_closed());
        }
        let reading = rig.blue_when(|reading| reading.settled() == 2);
        let expected = if on_half_close == HalfClose::Serve { (0, 2) } else { (2, 0) };
        assert_eq!((reading.client_gone, reading.succeeded), expected);
    }
}

#[test]
fn a_client_that_closes_both_sides_of_a_stream_has_gone_wherever_half_a_close_is_none() {
    let origin = Origin::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        while stream.write_all(b"1\r\nx\r\n").is_ok() {
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
        Then::Close
    });
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.on_half_close = HalfClose::Serve;
    let rig = setup.start();
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").stream.shutdown(Shutdown::Write).unwrap();
    client.head();
    client.expect("1\r\nx\r\n");
    drop(client);
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.client_gone, reading.failed()), (1, 0));
}

#[test]
fn a_client_that_leaves_within_its_body_counts_for_nobody() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    for framing in ["content-length: 10\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut client = rig.client();
        client.send(format!("POST / HTTP/1.1\r\nhost: test\r\n{framing}"));
        eventually(|| (rig.route.blue.fleet.in_flight() == 1).then_some(()));
        client.stream.shutdown(Shutdown::Both).unwrap();
        eventually(|| (rig.route.blue.fleet.in_flight() == 0).then_some(()));
    }
    let reading = rig.blue_when(|reading| reading.settled() == 2);
    assert_eq!((reading.client_gone, origin.seen().len()), (2, 0));
}

#[test]
fn a_malformed_body_is_the_clients_fault() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n");
    assert_eq!(client.answer().status, 400);
    assert!(client.is_closed());
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.client_gone, reading.failed(), origin.seen().len()), (1, 0, 0));
}

/// Sends a body that fits in no buffer, from a thread of its own.
fn send_in_vain(client: &Client) -> std::thread::JoinHandle<bool> {
    let mut sender = client.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        let head = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 50000000\r\n\r\n";
        sender.write_all(head).and_then(|()| sender.write_all(&vec![0; 50_000_000])).is_ok()
    })
}

#[test]
fn an_answer_that_comes_before_the_request_ended_is_delivered_and_ends_the_connection() {
    let origin = Origin::raw(|stream, _, connection| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        reader.head().unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\n\r\nlarge").unwrap();
        // Every other time the instance closes at once, which resets the connection under the request.
        if connection % 2 == 0 {
            while reader.line().is_some() {}
        }
    });
    let rig = Rig::before(&origin);
    for number in 1..=10 {
        let mut client = rig.client();
        let sending = send_in_vain(&client);
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (413, "large"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed());
        drop(client);
        drop(sending.join());
        assert_eq!(origin.connections(), number, "the instance's connection is not used again");
    }
    let reading = rig.blue_when(|reading| reading.settled() == 10);
    assert_eq!((reading.client_errors, reading.failed()), (10, 0));
}

#[test]
fn a_client_that_leaves_a_failing_answer_unread_does_not_clear_the_fleet() {
    for (status, failed) in
        [("500 Broken", 1), ("424 Failed Dependency", 1), ("429 Too Many Requests", 1), ("404 No", 0)]
    {
        let origin = Origin::raw(move |stream, _, _| {
            let mut reader = MessageReader::new(stream.try_clone().unwrap());
            if reader.request().is_some() {
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: 100\r\n\r\nbegun");
                stream.write_all(head.as_bytes()).unwrap();
                while reader.line().is_some() {}
            }
        });
        let rig = Rig::before(&origin);
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").head();
        client.expect("begun");
        drop(client);
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        assert_eq!((reading.failed(), reading.client_gone), (failed, 1 - failed), "{status}");
    }
}

#[test]
fn a_fleet_that_cannot_be_reached_fails_and_the_draw_is_final() {
    let blue = Origin::saying(OK);
    let mut setup = Setup::new(&[blue.address]);
    setup.rescue.on = Replayed::Never;
    setup.green = vec![nobody()];
    setup.green_share = "50%";
    let rig = setup.start();
    let mut client = rig.client();
    let mut statuses: Vec<_> = (0..40).map(|_| client.post("/", "x").status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[19], statuses[20]), (200, 502));
    assert_eq!((blue.seen().len(), failures(&rig.green(), FailureKind::ConnectFailed)), (20, 20));

    for instance in &rig.route.green.as_ref().unwrap().fleet.instances {
        instance.set_health(crate::fleet::Health::Unhealthy);
    }
    let mut statuses: Vec<_> = (0..40).map(|_| client.post("/", "x").status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[19], statuses[20]), (200, 503));
    assert_eq!(failures(&rig.green(), FailureKind::NoInstance), 20);
}

/// Many requests go wrong, each in a way that a seed chooses, on the instance's side or on the client's.
#[test]
fn every_dealt_request_is_settled_once_and_the_origins_count_what_the_meters_count() {
    let seed = 20_261;
    let origin = Origin::new(|request, stream| {
        let fault: u32 = request.header("x-fault")[0].parse().unwrap();
        let words: &[u8] = match fault {
            0 => b"",
            1 => b"HTTP/1.1 500 Broken\r\ncontent-length: 3\r\n\r\nbad",
            2 => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
            3 => b"garbage\r\n\r\n",
            4 => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            LEAVE => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun",
            _ => OK.as_bytes(),
        };
        stream.write_all(words).unwrap();
        if fault == LEAVE {
            while stream.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
        }
        if matches!(fault, 0 | 2 | 3 | LEAVE) { Then::Close } else { Then::Keep }
    });
    let rig = Setup { workers: 2, ..Setup::new(&[origin.address]) }.start();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let rig = &rig;
            scope.spawn(move || run_faulty_client(rig, StdRng::seed_from_u64(seed + number)));
        }
    });
    let reading = rig.blue_when(|reading| reading.settled() >= 800);
    assert_eq!((reading.dealt, reading.settled()), (800, 800), "seed {seed}");
    assert_eq!(u64::try_from(origin.seen().len()).unwrap(), reading.dealt + reading.retried, "seed {seed}");
    assert_eq!(reading.client_gone, sent_with(&origin, &[LEAVE]), "seed {seed}");
    assert_eq!(reading.client_errors, sent_with(&origin, &[4]), "seed {seed}");
    assert_eq!(reading.failed() + reading.retried, sent_with(&origin, &[0, 1, 2, 3]), "seed {seed}");
    assert_eq!(rig.route.blue.fleet.in_flight(), 0);
}

/// The client goes away in the middle of the answer.
const LEAVE: u32 = 5;

/// How many requests asked for one of these faults.
fn sent_with(origin: &Origin, faults: &[u32]) -> u64 {
    let asks = |seen: &Seen| faults.iter().any(|fault| seen.header("x-fault") == [fault.to_string()]);
    u64::try_from(origin.seen().iter().filter(|seen| asks(seen)).count()).unwrap()
}

/// Sends 100 requests.
fn run_faulty_client(rig: &Rig, mut rng: StdRng) {
    let mut client = rig.client();
    for _ in 0..100 {
        let fault: u32 = rng.random_range(0..20);
        let head = format!("POST / HTTP/1.1\r\nhost: test\r\nx-fault: {fault}\r\ncontent-length: 5\r\n\r\n");
        client.send(head).send("hello");
        if fault == LEAVE {
            client.head();
            client.expect("begun");
            client = rig.client();
        } else if !client.answer().is_whole {
            client = rig.client();
        }
    }
}
