//! What desync research has found in other proxies, in the forms that it gave them: a request that two parsers end at two places, and a
//! response that another client would get.

use std::{io::Write, sync::mpsc};

use super::kit::{Origin, Rig, Then, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Lines for a request whose body is `4\r\nbody\r\n0\r\n\r\n`, none of which frames it for everybody.
const CODINGS: &[&str] = &[
    "transfer-encoding: chunked, chunked",
    "transfer-encoding: chunked,",
    "transfer-encoding: chunked, identity",
    "transfer-encoding: identity, chunked",
    "transfer-encoding: identity",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding: \"chunked\"",
    "transfer-encoding: chunke",
    "transfer-encoding: chunkedx",
    "transfer-encoding:",
    "transfer-encoding: \u{b}chunked",
    "transfer-encoding: chunked\u{b}",
    "transfer-encoding: \u{a0}chunked",
    "transfer-encoding: ch\0unked",
    "transfer-encoding : chunked",
    "transfer-encoding\t: chunked",
    " transfer-encoding: chunked",
    "transfer-encoding:\r\n chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: x",
    "transfer-encoding: x\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\rx: y",
    "content-length: 14\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ncontent-length: 14",
    "content-length: 14\r\nTransfer-Encoding: CHUNKED",
    "content-length: 14\nx: y\ntransfer-encoding: chunked",
    "content-length: 0\r\ntransfer-encoding: chunked",
    "content-length: 0x4",
    "content-length: 4 4",
    "content-length: 4;",
    "content-length: 4.0",
    "content-length: 4e0",
    "content-length:",
    "content-length: 4\0",
    "content-length : 4",
    "content-length: 4\r\ncontent-length: 04x",
    "content-length: 4\r\ncontent-length:",
    "content-length: 4, 5",
    "content-length: ,4",
];

#[test]
fn a_body_that_is_framed_in_a_disguise_is_refused() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    for coding in CODINGS {
        let mut client = rig.client();
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{coding}\r\n\r\n4\r\nbody\r\n0\r\n\r\n"));
        let answer = client.answer();
        assert!(matches!(answer.status, 400 | 501), "{coding:?}: {}", answer.status);
        assert!(
            client.is_closed(),
            "{coding:?}: what follows could be a request to one and a body to another"
        );
        assert_eq!(origin.seen().len(), 0, "{coding:?}");
    }
}

/// Chunked bodies that are none.
const CHUNKS: &[&str] = &[
    "4\nbody\r\n0\r\n\r\n",
    "4\r\nbody\n0\r\n\r\n",
    "4\r\nbody\r\n0\n\r\n",
    "4\r\nbodyX\r\n0\r\n\r\n",
    "4\r\nbod\r\n0\r\n\r\n",
    "0x4\r\nbody\r\n0\r\n\r\n",
    "+4\r\nbody\r\n0\r\n\r\n",
    "-4\r\nbody\r\n0\r\n\r\n",
    "4_0\r\nbody\r\n0\r\n\r\n",
    "\r\n4\r\nbody\r\n0\r\n\r\n",
    "4;a\nb\r\nbody\r\n0\r\n\r\n",
    "4;\n\r\nbody\r\n0\r\n\r\n",
    "10000000000000004\r\nbody\r\n0\r\n\r\n",
    "ffffffffffffffff0\r\nbody\r\n0\r\n\r\n",
    ";4\r\nbody\r\n0\r\n\r\n",
    "4\rbody\r\n0\r\n\r\n",
    "4\r\nbody0\r\n\r\n",
];

#[test]
fn a_chunk_that_two_parsers_end_at_two_places_is_refused() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let flood = format!("4;{}\r\nbody\r\n0\r\n\r\n", "x".repeat(20_000));
    for body in CHUNKS.iter().copied().chain([flood.as_str()]) {
        let mut client = rig.client();
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{body:.60}");
        assert!(client.is_closed(), "{body:.60}");
        assert_eq!(origin.seen().len(), 0, "{body:.60}: no whole request arrives");
    }
    rig.blue_when(|reading| reading.settled() == reading.dealt && reading.failed() == 0);
}

/// Beginnings of heads that are none.
const HEADS: &[&str] = &[
    "GET  / HTTP/1.1\r\nhost: a",
    "GET / HTTP/1.1 x\r\nhost: a",
    "GET / http/1.1\r\nhost: a",
    "GET / HTTP/1.1\r\n host: a",
    "GET /\r\nhost: a",
    "GE T / HTTP/1.1\r\nhost: a",
    "GET /a\0b HTTP/1.1\r\nhost: a",
    "GET / HTTP/1.1\r\nhost: a\0",
    "GET / HTTP/1.1\r\nhost : a",
    "GET / HTTP/1.1\r\nhost: a\r\nx\0y: z",
    "GET / HTTP/1.1\r\nhost: a\r\nx y: z",
    "GET / HTTP/1.1\r\nhost: a\r\n: z",
    "GET / HTTP/1.1\r\nhost: a\r\nx",
    "GET / HTTP/1.1\r\nhost: a\r\nhost: b",
    "GET / HTTP/1.1\r\nhost: a#b",
    "GET / HTTP/1.1\r\nhost: a?b",
    "GET / HTTP/1.1\r\nhost: a\\b",
    "GET http:///x HTTP/1.1\r\nhost: a",
    "GET http://a:b/ HTTP/1.1\r\nhost: a",
    "GET http://a,b/ HTTP/1.1\r\nhost: a",
    "GET file:///etc/passwd HTTP/1.1\r\nhost: a",
    "GET a HTTP/1.1\r\nhost: a",
    "GET / HTTP/3.0\r\nhost: a",
    "GET / HTTP/0.9\r\nhost: a",
];

#[test]
fn a_head_that_two_parsers_read_in_two_ways_is_refused() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    for head in HEADS {
        let mut client = rig.client();
        client.send(format!("{head}\r\n\r\n"));
        let answer = client.answer();
        assert!((400..500).contains(&answer.status), "{head:?}: {}", answer.status);
        assert!(client.is_closed(), "{head:?}");
        assert_eq!(origin.seen().len(), 0, "{head:?}");
    }
}

#[test]
fn what_only_one_hop_may_say_changes_nothing_about_the_framing() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    for lines in [
        "connection: content-length",
        "connection: host, content-length, x-forwarded-for",
        "transfer_encoding: chunked",
        "content_length: 99",
        "expect: x",
        "trailer: content-length, transfer-encoding",
        "te: chunked",
        "keep-alive: transfer-encoding",
    ] {
        let before = origin.seen().len();
        let mut client = rig.client();
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\ncontent-length: 4\r\n\r\nbody"));
        assert_eq!(client.answer().text(), "ok", "{lines}");
        let seen = &origin.seen()[before];
        assert_eq!((&seen.body[..], seen.header("content-length")), (&b"body"[..], vec!["4"]), "{lines}");
        assert_eq!((seen.header("host"), seen.header("x-forwarded-for")), (vec!["a"], vec!["127.0.0.1"]));
    }
}

#[test]
fn of_a_target_with_an_authority_the_host_is_the_authority() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    for (target, line, host) in [
        ("http://b/x", "GET /x HTTP/1.1", "b"),
        ("HTTP://b:81/x?y", "GET /x?y HTTP/1.1", "b:81"),
        ("http://b", "GET / HTTP/1.1", "b"),
        ("//b/x", "GET //b/x HTTP/1.1", "a"),
    ] {
        let mut client = rig.client();
        client.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(client.answer().text(), "ok", "{target}");
        let seen = origin.seen().pop().unwrap();
        assert_eq!((seen.line.as_str(), seen.header("host")), (line, vec![host]), "{target}");
    }
}

/// Heads of responses, to each of which `2\r\nok\r\n0\r\n\r\n` follows.
const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3",
    "HTTP/1.1 200 OK\r\ncontent-length: 2;",
    "HTTP/1.1 200 OK\r\ncontent-length: -2",
    "HTTP/1.1 200 OK\r\ncontent-length: 0x2",
    "HTTP/1.1 200 OK\r\ncontent-length:",
    "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999",
    "HTTP/1.1 200 OK\r\ncontent-length : 2",
    "HTTP/1.1 200 OK\r\n content-length: 2",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: identity",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: \u{b}chunked",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "HTTP/1.1 200 OK\r\ntransfer-encoding : chunked",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2",
    "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked",
    "HTTP/1.1 200 OK\rx: y",
    "HTTP/1.1 200 OK\r\nx: a\rset-cookie: b=c",
    "HTTP/1.1 200 OK\r\nx y: z",
    "HTTP/1.1 200 OK\r\n: z",
    "HTTP/1.1 200 OK\r\nx\0: z",
    "HTTP/1.1 200 OK\r\nx",
    "HTTP/2.0 200 OK",
    "HTTP/1.1 000 OK",
    "HTTP/1.1 1000 OK",
    "HTTP/1.1 600 OK",
    "HTTP/1.1 -20 OK",
    "HTTP/1.1 101 Switching Protocols",
    "ICY 200 OK",
];

#[test]
fn a_response_in_a_disguise_is_no_response() {
    for head in RESPONSES {
        let origin = Origin::new(move |_, stream| {
            write!(stream, "{head}\r\n\r\n2\r\nok\r\n0\r\n\r\n").unwrap();
            Then::Close
        });
        let rig = Rig::before(&origin);
        let answer = rig.client().get("/");
        assert_eq!((answer.status, answer.header("set-cookie")), (502, None), "{head:?}");
        assert_eq!(rig.blue_when(|reading| reading.settled() == 1).failed(), 1, "{head:?}");
    }
}

#[test]
fn what_follows_a_response_without_a_body_is_nobodys_response() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for (request, status, head) in [
        ("HEAD", 200, "HTTP/1.1 200 OK\r\ncontent-length: 57"),
        ("HEAD", 200, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"),
        ("GET", 204, "HTTP/1.1 204 No Content\r\ncontent-length: 57"),
        ("GET", 304, "HTTP/1.1 304 Not Modified\r\ncontent-length: 57"),
    ] {
        let origin = Origin::new(move |seen, stream| {
            let answer =
                if seen.line.contains("/first") { format!("{head}\r\n\r\n{poison}") } else { OK.into() };
            if stream.write_all(answer.as_bytes()).is_ok() { Then::Keep } else { Then::Close }
        });
        let rig = Rig::before(&origin);
        let mut client = rig.client();
        client.send(format!("{request} /first HTTP/1.1\r\nhost: a\r\n\r\n"));
        let first = if request == "HEAD" { client.answer_to_head() } else { client.answer() };
        assert_eq!((first.status, first.body.len()), (status, 0), "{head:?}");
        assert_eq!(client.get("/second").text(), "ok", "{head:?}: the same client");
        assert_eq!(rig.client().get("/third").text(), "ok", "{head:?}: another client");
        assert_eq!(origin.connections(), 2, "{head:?}: the first connection is not used again");
    }
}

#[test]
fn what_an_idle_connection_says_is_nobodys_response() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let (said, is_said) = mpsc::channel::<()>();
    let said = std::sync::Mutex::new(said);
    let origin = Origin::new(move |seen, stream| {
        stream.write_all(OK.as_bytes()).unwrap();
        if seen.line.contains("/first") {
            wait.lock().unwrap().recv().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison").unwrap();
            said.lock().unwrap().send(()).unwrap();
        }
        Then::Keep
    });
    let rig = Rig::before(&origin);
    assert_eq!(rig.client().get("/first").text(), "ok");
    eventually(|| (rig.route.blue.fleet.in_flight() == 0).then_some(()));
    go.send(()).unwrap();
    is_said.recv().unwrap();
    assert_eq!(rig.client().get("/second").text(), "ok");
    assert_eq!(origin.connections(), 2);
}
