//! Requests and responses that could be read in two ways: the list of a proxy's classic mistakes.

use std::io::Write;

use super::kit::{Origin, Rig, Then};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What must happen to a request.
enum Must {
    /// Refused with this status, the connection closed, nothing sent upstream.
    Refuse(u16),
    /// Passed on with this body.
    Pass(&'static str),
}
use Must::{Pass, Refuse};

#[rustfmt::skip]
const REQUESTS: &[(&str, &str, Must)] = &[
    ("length and chunks", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("chunks and length", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("two different lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nbody", Refuse(400)),
    ("two equal lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nbody", Pass("body")),
    ("a list of lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4, 4\r\n\r\nbody", Refuse(400)),
    ("a signed length", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +4\r\n\r\nbody", Refuse(400)),
    ("a negative length", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -4\r\n\r\nbody", Refuse(400)),
    ("an overflowing length", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551617\r\n\r\nbody", Refuse(400)),
    ("two codings", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("two coding lines", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("chunked twice", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("a comma before chunked", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: ,chunked\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("chunked in the middle", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("an unknown coding", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n", Refuse(501)),
    ("chunks in capitals", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: ChUnKeD\r\n\r\n4\r\nbody\r\n0\r\n\r\n", Pass("body")),
    ("chunks in HTTP/1.0", "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("chunk extensions", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4;a=\"b\"\r\nbody\r\n0\r\n\r\n", Pass("body")),
    ("trailers", "POST / HTTP/1.1\r\nhost: a\r\ntrailer: content-length\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\ncontent-length: 9\r\n\r\n", Pass("body")),
    ("a body on GET", "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody", Pass("body")),
    ("chunks on GET", "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", Pass("body")),
    ("a length in the body", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n13\r\n\r\nContent-Length: 5\r\n0\r\n\r\n", Pass("\r\nContent-Length: 5")),
    ("no host", "GET / HTTP/1.1\r\n\r\n", Refuse(400)),
    ("two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", Refuse(400)),
    ("two equal hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", Refuse(400)),
    ("an empty host", "GET / HTTP/1.1\r\nhost:\r\n\r\n", Refuse(400)),
    ("a host with a path", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", Refuse(400)),
    ("a host with a user", "GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", Refuse(400)),
    ("a list of hosts", "GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", Refuse(400)),
    ("a port that is none", "GET / HTTP/1.1\r\nhost: a:http\r\n\r\n", Refuse(400)),
    ("a tunnel", "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n", Refuse(405)),
    ("an authority as target", "GET a:80 HTTP/1.1\r\nhost: a\r\n\r\n", Refuse(400)),
    ("a star as target", "GET * HTTP/1.1\r\nhost: a\r\n\r\n", Refuse(400)),
    ("another scheme", "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n", Refuse(400)),
    ("a user in the target", "GET http://b@a/ HTTP/1.1\r\nhost: a\r\n\r\n", Refuse(400)),
    ("a folded line", "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n", Refuse(400)),
    ("a bare line feed", "GET / HTTP/1.1\r\nhost: a\nx: 1\r\n\r\n", Refuse(400)),
    ("a space before the colon", "GET / HTTP/1.1\r\nhost: a\r\nx : 1\r\n\r\n", Refuse(400)),
    ("a bare carriage return", "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r2\r\n\r\n", Refuse(400)),
    ("a NUL", "GET / HTTP/1.1\r\nhost: a\r\nx: 1\x002\r\n\r\n", Refuse(400)),
    ("an unknown version", "GET / HTTP/2.7\r\nhost: a\r\n\r\n", Refuse(400)),
];

#[test]
fn a_request_that_could_be_read_in_two_ways_goes_no_further() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    for (name, request, must) in REQUESTS {
        let before = origin.seen().len();
        let mut client = rig.client();
        let answer = client.send(request).answer();
        match must {
            Refuse(status) => {
                assert_eq!(answer.status, *status, "{name}");
                assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
                assert!(answer.text().contains(&format!("\"status\":{status}")), "{name}: {}", answer.text());
                let unclear = matches!(status, 400 | 501);
                assert!(!unclear || client.is_closed(), "{name}: the connection stays open");
                assert_eq!(origin.seen().len(), before, "{name}: something was sent upstream");
            }
            Pass(body) => {
                assert_eq!(answer.text(), "ok", "{name}");
                let seen = origin.seen();
                assert_eq!(String::from_utf8_lossy(&seen[before].body), *body, "{name}");
                assert_eq!(seen.len(), before + 1, "{name}: more than one request was sent upstream");
            }
        }
    }
    assert_eq!(rig.blue_when(|reading| reading.settled() == reading.dealt).failed(), 0);
    let refused = REQUESTS.iter().filter(|(.., must)| matches!(must, Refuse(_))).count();
    assert_eq!(rig.workers[0].rejected.total(), u64::try_from(refused).unwrap());
}

/// Requests that may come first on a connection, all of them answered.
const FIRST: [&str; 3] = [
    "GET /first HTTP/1.1\r\nhost: a\r\n\r\n",
    "POST /first HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
    "POST /first HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
];

/// What may come second must pass the same gate, wherever the packets' bounds are.
#[test]
fn a_request_behind_another_is_refused_for_what_the_first_would_be_refused_for() {
    let seconds = [
        "POST /second HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /second HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
        // Were its beginning not known, the rest would look like a head of its own.
        "POST /second HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nx: POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /second HTTP/1.1\r\nhost: a\r\nx: 1\x002\r\n\r\n",
    ];
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    for first in FIRST {
        for second in seconds {
            let bounds =
                [0, 5, second.find(": 4").unwrap_or(9), second.find("POST / ").unwrap_or(40), second.len()];
            for bound in bounds {
                let before = origin.seen().len();
                let mut client = rig.client();
                let (early, late) = second.split_at(bound);
                assert_eq!(client.send(format!("{first}{early}")).answer().status, 200, "{first}");
                // Where the refusal has come already, nothing more is taken.
                drop(std::io::Write::write_all(&mut client.stream, late.as_bytes()));
                let answer = client.answer();
                assert_eq!(
                    (answer.status, answer.header("connection")),
                    (400, Some("close")),
                    "{first}{early}|{late}"
                );
                assert!(client.is_closed());
                assert_eq!(origin.seen().len(), before + 1, "{first}{early}|{late}");
            }
        }
    }
}

#[test]
fn chunked_requests_may_follow_one_another_on_a_connection() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    for first in FIRST {
        let mut client = rig.client();
        for request in [first, FIRST[2], FIRST[2], first] {
            assert_eq!(client.send(request).answer().status, 200, "{request}");
        }
    }
}

#[test]
fn a_request_hidden_in_a_body_stays_in_it() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let hidden = "GET /admin HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut client = rig.client();
    assert_eq!(client.post("/", hidden).text(), "ok");
    assert_eq!(client.get("/next").text(), "ok");
    let lines: Vec<_> = origin.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["POST / HTTP/1.1", "GET /next HTTP/1.1"]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::new(|request, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", &request.line[5..7]).unwrap();
        Then::Keep
    });
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send("GET /a1 HTTP/1.1\r\nhost: a\r\n\r\nGET /b2 HTTP/1.1\r\nhost: a\r\n\r\nGET /c3 HTTP/1.1\r\nhost: a\r\n\r\n");
    let answers: Vec<_> = (0..3).map(|_| client.answer().text().to_owned()).collect();
    assert_eq!(answers, ["a1", "b2", "c3"]);
}

#[rustfmt::skip]
const RESPONSES: &[(&str, &str)] = &[
    ("length and chunks", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok"),
    ("a list of lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok"),
    ("a signed length", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok"),
    ("an unknown coding", "HTTP/1.1 200 OK\r\ntransfer-encoding: x\r\n\r\nok"),
    ("two codings", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("an unasked switch", "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
    ("a status beyond 599", "HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nok"),
    ("a status of two digits", "HTTP/1.1 99 Odd\r\ncontent-length: 2\r\n\r\nok"),
    ("no HTTP", "hello\r\n\r\n"),
    ("HTTP/0.9", "<html>old</html>"),
    ("a NUL", "HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 2\r\n\r\nok"),
    ("a folded line", "HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nok"),
];

#[test]
fn an_answer_that_could_be_read_in_two_ways_is_a_failure_of_the_fleet() {
    for (name, response) in RESPONSES {
        let origin = Origin::new(move |_, stream| {
            stream.write_all(response.as_bytes()).unwrap();
            Then::Close
        });
        let rig = Rig::before(&origin);
        let mut client = rig.client();
        let answer = client.get("/");
        assert_eq!(answer.status, 502, "{name}");
        assert!(answer.text().contains("\"side\":\"upstream\""), "{name}: {}", answer.text());
        assert_eq!(rig.blue_when(|reading| reading.settled() == 1).failed(), 1, "{name}");
        assert_eq!(client.get("/").status, 502, "{name}: the client's connection is still good");
        assert_eq!(origin.connections(), 2, "{name}: the instance's connection is not used again");
    }
}

#[test]
fn bytes_after_an_answer_are_nobodys_answer() {
    let origin = Origin::new(|_, stream| {
        stream
            .write_all(format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison").as_bytes())
            .unwrap();
        Then::Keep
    });
    let rig = Rig::before(&origin);
    for _ in 0..5 {
        assert_eq!(rig.client().get("/").text(), "ok");
    }
}

#[test]
fn interim_answers_are_not_passed_on() {
    let origin = Origin::saying(
        "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "ok");
    }
}
