//! What passes, and how it is changed on its way.

use std::{io::Write, sync::mpsc};

use super::kit::{Client, MessageReader, Origin, Rig, Setup, Then, eventually, nobody};
use crate::route::MatchRule;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_request_and_its_response_pass_with_their_bodies() {
    let origin = Origin::saying("HTTP/1.1 201 Made\r\ncontent-length: 5\r\nx-model: m1\r\n\r\nhello");
    let rig = Rig::before(&origin);
    let answer = rig.client().post("/v1/chat?x=%20a", "some input");
    assert_eq!((answer.status, answer.text(), answer.header("x-model")), (201, "hello", Some("m1")));
    assert_eq!(answer.header("x-snapback-fleet"), None);
    let seen = &origin.seen()[0];
    assert_eq!(
        (seen.line.as_str(), seen.body.as_slice()),
        ("POST /v1/chat?x=%20a HTTP/1.1", &b"some input"[..])
    );
    assert_eq!(seen.header("host"), ["test"]);
    assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.header("x-request-id")[0].len(), 32);
    let reading = rig.blue_when(|reading| reading.succeeded == 1);
    assert_eq!((reading.dealt, reading.bytes_in, reading.bytes_out), (1, 10, 5));
    assert_eq!(reading.statuses, [0, 1, 0, 0, 0]);
    assert_eq!(rig.route.blue.fleet.in_flight(), 0);
}

#[test]
fn connections_are_kept_on_both_sides() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    for _ in 0..5 {
        assert_eq!(client.post("/", "x").text(), "ok");
    }
    assert_eq!((origin.connections(), rig.workers[0].accepted.get()), (1, 1));
    assert_eq!(rig.blue().retried, 0);
}

#[test]
fn an_event_passes_before_the_next_one_is_sent() {
    let (allow, allowed) = mpsc::channel::<()>();
    let allowed = std::sync::Mutex::new(allowed);
    let origin = Origin::new(move |_, stream| {
        let head =
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        for _ in 0..3 {
            stream.write_all(b"9\r\ndata: x\n\n\r\n").unwrap();
            allowed.lock().unwrap().recv().unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
        Then::Keep
    });
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert!(client.head().contains("transfer-encoding: chunked"));
    for _ in 0..3 {
        client.expect("9\r\ndata: x\n\n\r\n");
        assert_eq!(rig.blue().settled(), 0, "an open stream is not settled");
        allow.send(()).unwrap();
    }
    client.expect("0\r\n\r\n");
    assert_eq!(rig.blue_when(|reading| reading.settled() == 1).bytes_out, 27);
}

#[test]
fn a_request_streams_too() {
    let (saw, sees) = mpsc::channel();
    let origin = Origin::raw(move |stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        reader.head().unwrap();
        for _ in 0..2 {
            let size = reader.line().unwrap();
            let chunk = reader.line().unwrap();
            saw.send((size, chunk)).unwrap();
        }
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n");
    assert_eq!(sees.recv().unwrap(), ("4".into(), "four".into()));
    client.send("3\r\nsix\r\n");
    assert_eq!(sees.recv().unwrap(), ("3".into(), "six".into()));
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().text(), "ok");
}

#[test]
fn the_client_is_asked_for_the_body_only_once_the_instance_is_there() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    client.expect("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(rig.workers[0].upstream_connects.get(), 1);
    assert_eq!(client.send("body").answer().text(), "ok");
    let seen = &origin.seen()[0];
    assert_eq!((seen.header("expect").len(), seen.body.as_slice()), (0, &b"body"[..]));

    let rig = Setup::new(&[nobody()]).start();
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    assert_eq!(client.answer().status, 502, "and not 100 first");
    assert!(client.is_closed());
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    for (response, status) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n", 304),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200),
    ] {
        let origin = Origin::saying(response);
        let rig = Rig::before(&origin);
        let mut client = rig.client();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!((answer.status, answer.body.len()), (status, 0));
        }
        assert_eq!((origin.connections(), rig.blue_when(|reading| reading.settled() == 2).succeeded), (1, 2));
    }
}

#[test]
fn head_gets_the_length_and_no_body() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n");
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    for _ in 0..2 {
        let answer = client.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n").answer_to_head();
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("1234")));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_http_1_0_client_is_served_in_its_own_terms() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    let answer = client.send("GET / HTTP/1.0\r\n\r\n").answer();
    assert_eq!((answer.status, answer.text(), answer.header("transfer-encoding")), (200, "ok", None));
    let seen = &origin.seen()[0];
    assert_eq!(seen.line, "GET / HTTP/1.1");
    assert_eq!(seen.header("host"), [origin.address.to_string()]);

    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    for _ in 0..2 {
        let answer = client.send("GET / HTTP/1.0\r\nhost: test\r\nconnection: keep-alive\r\n\r\n").answer();
        assert_eq!((answer.text(), answer.header("connection")), ("ok", Some("keep-alive")));
    }
}

#[test]
fn an_old_instance_is_understood() {
    let origin = Origin::new(|_, stream| {
        stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end").unwrap();
        Then::Close
    });
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!((answer.text(), answer.is_whole), ("until the end", true));
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    }
}

#[test]
fn an_absolute_target_names_the_host_and_goes_on_as_a_path() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send("GET http://model.example:81/a?b HTTP/1.1\r\nhost: other\r\n\r\n").answer();
    client.send("GET http://model.example HTTP/1.1\r\nhost: other\r\n\r\n").answer();
    let seen = origin.seen();
    assert_eq!(
        (seen[0].line.as_str(), seen[0].header("host")),
        ("GET /a?b HTTP/1.1", vec!["model.example:81"])
    );
    assert_eq!((seen[1].line.as_str(), seen[1].header("host")), ("GET / HTTP/1.1", vec!["model.example"]));
}

#[test]
fn what_concerns_one_hop_stays_on_its_side() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive, x-internal\r\nx-internal: 1\r\n\
         keep-alive: timeout=5\r\nupgrade: h2c\r\nx-snapback-fleet: forged\r\nx-kept: 1\r\n\r\nok",
    );
    let rig = Rig::before(&origin);
    let answer = rig
        .client()
        .send(
            "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade, x-mine\r\nupgrade: h2c\r\nx-mine: 1\r\n\
               x-snapback-fleet: green\r\n\r\n",
        )
        .answer();
    let mut names: Vec<_> = answer.headers.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "x-kept"]);
    let seen = &origin.seen()[0];
    for gone in ["connection", "upgrade", "x-mine", "x-snapback-fleet"] {
        assert_eq!(seen.header(gone).len(), 0, "{gone}");
    }
}

#[test]
fn a_response_names_its_fleet_where_the_config_asks_for_it() {
    let (blue, green) = (Origin::saying(OK), Origin::saying(OK));
    let mut setup = Setup::new(&[blue.address]);
    setup.green = vec![green.address];
    setup.green_share = "50%";
    setup.settings.expose_fleet = true;
    let rig = setup.start();
    let mut client = rig.client();
    for _ in 0..20 {
        let before = green.seen().len();
        let answer = client.get("/");
        let expected = if green.seen().len() > before { "green" } else { "blue" };
        assert_eq!(answer.header("x-snapback-fleet"), Some(expected));
    }
}

#[test]
fn what_no_endpoint_takes_is_not_found() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.rule = MatchRule { path_prefix: Some("/v1".into()), ..MatchRule::default() };
    let rig = setup.start();
    let mut client = rig.client();
    let answer = client.get("/v2");
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (404, Some("application/problem+json")));
    assert_eq!((&problem["type"], &problem["side"]), (&"urn:snapback:no-match".into(), &"downstream".into()));
    assert_eq!(client.get("/v1/x").status, 200);
    assert_eq!((rig.workers[0].unmatched.get(), rig.blue().dealt), (1, 1));
}

#[test]
fn big_bodies_pass_both_ways_in_pieces() {
    let origin = Origin::new(|request, stream| {
        let length = request.body.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").unwrap();
        stream.write_all(&request.body).unwrap();
        Then::Keep
    });
    let rig = Rig::before(&origin);
    let body: Vec<u8> = (0..24_000_000_u32).map(|place| (place % 251) as u8).collect();
    let mut client = rig.client();
    let mut sender = client.stream.try_clone().unwrap();
    let sent = body.clone();
    let sending = std::thread::spawn(move || {
        write!(sender, "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", sent.len()).unwrap();
        sender.write_all(&sent).unwrap();
    });
    let answer = client.answer();
    sending.join().unwrap();
    assert!(answer.is_whole && answer.body == body);
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.bytes_in, reading.bytes_out), (24_000_000, 24_000_000));
}

#[test]
fn the_split_is_exact_as_the_origins_see_it() {
    let (blue, green) = (Origin::saying(OK), Origin::saying(OK));
    let mut setup = Setup::new(&[blue.address]);
    setup.green = vec![green.address];
    setup.green_share = "10%";
    let rig = setup.start();
    let mut clients: Vec<Client> = (0..4).map(|_| rig.client()).collect();
    for number in 0..1_000 {
        assert_eq!(clients[number % 4].post("/", "x").status, 200);
    }
    assert_eq!((blue.seen().len(), green.seen().len()), (900, 100));
    eventually(|| (rig.blue().succeeded == 900 && rig.green().succeeded == 100).then_some(()));
}
