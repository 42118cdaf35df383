//! HTTP/2 to instances: what passes, how connections are shared, and what becomes of requests when streams and connections end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, client::SendRequest, server};
use http::{HeaderMap, Method, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, Semaphore},
};

use super::{
    kit::{Origin, Rig, Setup, nobody},
    origin2::{Asked, Origin2},
    raw2::{ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, SETTINGS, block, frame},
};
use crate::{
    fleet::Protocol,
    meter::{FailureKind, Reading},
};

fn setup(origin: &Origin2) -> Setup {
    let mut setup = Setup::new(&[origin.address]);
    setup.protocol = Protocol::H2c;
    setup
}

fn rig(origin: &Origin2) -> Rig {
    setup(origin).start()
}

fn failures(reading: &Reading, kind: FailureKind) -> u64 {
    reading.failures[kind.index()]
}

/// A client's HTTP/2 connection.
async fn connect(rig: &Rig) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    sender.ready().await.unwrap()
}

fn post(path: &str) -> Request<()> {
    Request::builder().method(Method::POST).uri(format!("http://test{path}")).body(()).unwrap()
}

async fn send(sender: &SendRequest<Bytes>, body: &'static [u8]) -> Response<RecvStream> {
    let mut sender = sender.clone().ready().await.unwrap();
    let (response, mut stream) = sender.send_request(post("/"), false).unwrap();
    stream.send_data(Bytes::from_static(body), true).unwrap();
    response.await.unwrap()
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut text = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        body.flow_control().release_capacity(bytes.len()).unwrap();
        text.extend_from_slice(&bytes);
    }
    Ok(text)
}

/// Lets the test's own tasks run until this is so.
async fn until(is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect("what the test waits for happens");
}

/// An origin that says what it got.
fn echo() -> Origin2 {
    Origin2::new(|mut asked: Asked| async move {
        let (body, trailers) = asked.read().await;
        let mut lines = vec![format!("{} {}", asked.request.method(), asked.request.uri())];
        for (name, value) in asked.request.headers() {
            lines.push(format!("{name}: {}", value.to_str().unwrap()));
        }
        lines.push(format!(
            "{} bytes, {} trailers",
            body.len(),
            trailers.map_or(0, |trailers| trailers.len())
        ));
        asked.answer(lines.join("\n"));
    })
}

#[test]
fn a_client_of_http1_is_served_by_an_instance_of_http2() {
    let origin = echo();
    let rig = rig(&origin);
    let mut client = rig.client();
    let answer = client.post("/v1/x?y=1", "hello");
    let lines: Vec<&str> = answer.text().lines().collect();
    assert_eq!(lines[0], "POST http://test/v1/x?y=1");
    assert!(
        lines.contains(&"content-length: 5") && lines.contains(&"x-forwarded-for: 127.0.0.1"),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.starts_with("x-request-id: ")), "{lines:?}");
    assert_eq!(lines.last(), Some(&"5 bytes, 0 trailers"));
    client.send(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, x-mine\r\nx-mine: 1\r\ntransfer-encoding: chunked\r\nte: trailers\r\n\r\n\
         3\r\nabc\r\n0\r\nx-checksum: 1\r\ncontent-length: 9\r\n\r\n",
    );
    let answer = client.answer();
    let lines: Vec<&str> = answer.text().lines().collect();
    for gone in ["host", "connection", "x-mine", "transfer-encoding", "keep-alive"] {
        assert!(!lines.iter().any(|line| line.starts_with(&format!("{gone}:"))), "{gone} in {lines:?}");
    }
    assert!(lines.contains(&"te: trailers"), "{lines:?}");
    assert_eq!(lines.last(), Some(&"3 bytes, 1 trailers"));
    assert_eq!(client.get("/").text().lines().next(), Some("GET http://test/"));
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.answer_to_head().status, 200);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(origin.connections(), 1);
    rig.blue_when(|reading| reading.settled() == 5 && reading.failed() == 0);
}

#[test]
fn a_body_of_known_length_is_complete_with_its_last_byte() {
    let origin = Origin2::new(|mut asked: Asked| async move {
        let response = Response::builder().header("content-length", "2").body(()).unwrap();
        let mut stream = asked.begin(response);
        stream.send_data(Bytes::from_static(b"ok"), false).unwrap();
        // The end of the stream comes in a frame of its own, later.
        tokio::task::yield_now().await;
        drop(stream.send_data(Bytes::new(), true));
    });
    let rig = rig(&origin);
    let mut client = rig.client();
    for _ in 0..20 {
        let answer = client.get("/");
        assert_eq!((answer.text(), answer.header("content-length")), ("ok", Some("2")));
    }
    let reading = rig.blue_when(|reading| reading.settled() == 20);
    assert_eq!((reading.failed(), reading.succeeded), (0, 20));
}

#[tokio::test]
async fn a_unary_call_passes_with_its_trailers_both_ways() {
    let origin = Origin2::new(|mut asked: Asked| async move {
        assert_eq!(asked.request.headers()["te"], "trailers");
        assert_eq!(asked.request.headers()["grpc-timeout"], "1S");
        let (body, _) = asked.read().await;
        let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut stream = asked.begin(response);
        stream.send_data(body.into(), false).unwrap();
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        stream.send_trailers(trailers).unwrap();
    });
    let rig = rig(&origin);
    let mut sender = connect(&rig).await;
    let request = Request::post("http://test/a.B/C")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "1S")
        .body(())
        .unwrap();
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), true).unwrap();
    let mut response = response.await.unwrap();
    assert_eq!(read(response.body_mut()).await.unwrap(), b"\0\0\0\0\x02hi");
    assert_eq!(response.body_mut().trailers().await.unwrap().unwrap()["grpc-status"], "0");
    rig.blue_when(|reading| reading.succeeded == 1);
}

#[tokio::test]
async fn requests_share_a_connection_until_it_has_as_many_as_the_instance_takes() {
    let gate = Arc::new(Semaphore::new(0));
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(3);
    let waits = Arc::clone(&gate);
    let origin = Origin2::with(builder, move |mut asked: Asked| {
        let gate = Arc::clone(&waits);
        async move {
            let _passed = gate.acquire().await.unwrap();
            asked.answer("ok");
        }
    });
    let rig = rig(&origin);
    let sender = connect(&rig).await;
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move { read(send(&sender, b"x").await.body_mut()).await.unwrap() })
        })
        .collect();
    until(|| origin.requests() == 8).await;
    assert_eq!(origin.connections(), 3, "three streams on each of the first two, two on the third");
    gate.add_permits(8);
    for task in waiting {
        assert_eq!(task.await.unwrap(), b"ok");
    }
    for _ in 0..10 {
        send(&sender, b"x").await;
    }
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn three_thousand_cancelled_requests_leave_the_connection_usable_and_nothing_behind() {
    let resets = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&resets);
    let origin = Origin2::new(move |mut asked: Asked| {
        let resets = Arc::clone(&count);
        async move {
            if asked.request.uri().path() == "/last" {
                return asked.answer("ok");
            }
            let mut stream = asked.begin(Response::new(()));
            // Frames that come late are still under way when the stream is reset.
            stream.send_data(Bytes::from_static(&[b'x'; 1000]), false).unwrap();
            let reason = std::future::poll_fn(|context| stream.poll_reset(context)).await;
            assert_eq!(reason.unwrap(), Reason::CANCEL);
            resets.fetch_add(1, Ordering::SeqCst);
        }
    });
    let rig = rig(&origin);
    for _ in 0..30 {
        // The limits on what a client may reset on its own connection are tested elsewhere.
        let sender = connect(&rig).await;
        for _ in 0..100 {
            let mut sender = sender.clone().ready().await.unwrap();
            let (response, stream) = sender.send_request(post("/"), false).unwrap();
            drop((response.await.unwrap(), stream));
        }
    }
    until(|| resets.load(Ordering::SeqCst) == 3_000).await;
    let mut sender = connect(&rig).await;
    let (response, _) = sender.send_request(post("/last"), true).unwrap();
    assert_eq!(read(response.await.unwrap().body_mut()).await.unwrap(), b"ok");
    assert_eq!(origin.connections(), 1);
    let reading = rig.blue_when(|reading| reading.settled() == 3_001);
    assert_eq!((reading.failed(), reading.client_gone), (0, 3_000));
    assert_eq!(rig.route.blue.fleet.in_flight(), 0);
}

#[tokio::test]
async fn what_an_instance_refuses_unprocessed_is_sent_once_more_whatever_its_method() {
    let origin = Origin2::new(|mut asked: Asked| async move {
        if asked.number == 1 || asked.request.uri().path() == "/never" {
            return asked.respond.send_reset(Reason::REFUSED_STREAM);
        }
        let (body, _) = asked.read().await;
        asked.answer(body);
    });
    let rig = rig(&origin);
    let sender = connect(&rig).await;
    assert_eq!(read(send(&sender, b"hello").await.body_mut()).await.unwrap(), b"hello");
    assert_eq!((origin.requests(), origin.connections()), (2, 2));
    let (response, _) = sender.clone().send_request(post("/never"), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 503);
    assert_eq!(origin.requests(), 4);
    let reading = rig.blue_when(|reading| reading.settled() == 2);
    assert_eq!((reading.succeeded, failures(&reading, FailureKind::ConnectFailed)), (1, 1));
}

#[tokio::test]
async fn a_connection_that_says_goodbye_finishes_what_it_has_and_takes_no_more() {
    let go = Arc::new(Notify::new());
    let waits = Arc::clone(&go);
    let origin = Origin2::raw(move |stream, connection| {
        let go = Arc::clone(&waits);
        async move {
            if connection == 1 {
                return say_goodbye(stream, &go).await;
            }
            let mut requests = server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = requests.accept().await {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from_static(b"second"), true).unwrap();
            }
        }
    });
    let rig = rig(&origin);
    let sender = connect(&rig).await;
    let first = tokio::spawn({
        let sender = sender.clone();
        async move { read(send(&sender, b"x").await.body_mut()).await.unwrap() }
    });
    until(|| origin.connections() == 1).await;
    for _ in 0..3 {
        assert_eq!(read(send(&sender, b"x").await.body_mut()).await.unwrap(), b"second");
    }
    go.notify_one();
    assert_eq!(first.await.unwrap(), b"first");
    assert_eq!(origin.connections(), 2);
    rig.blue_when(|reading| reading.succeeded == 4);
}

/// Says at the first request that there will be no other, and answers it when told to.
async fn say_goodbye(mut stream: tokio::net::TcpStream, go: &Notify) {
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    let (mut buffer, mut seen) = ([0; 4096], Vec::new());
    let is_head = |nine: &[u8]| nine[3] == HEADERS && nine[5..] == [0, 0, 0, 1];
    while !seen.windows(9).any(is_head) {
        let length = stream.read(&mut buffer).await.unwrap();
        seen.extend_from_slice(&buffer[..length]);
    }
    stream.write_all(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).await.unwrap();
    go.notified().await;
    let answer = [frame(HEADERS, END_HEADERS, 1, &[0x88]), frame(DATA, END_STREAM, 1, b"first")];
    stream.write_all(&answer.concat()).await.unwrap();
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

#[test]
fn a_connection_that_dies_while_idle_costs_nobody_anything_and_one_that_dies_under_a_first_request_does() {
    let origin = Origin2::raw(|stream, connection| async move {
        let mut requests = server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = requests.accept().await {
            if request.uri().path() == "/die" {
                return;
            }
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from(connection.to_string()), true).unwrap();
        }
    });
    let rig = rig(&origin);
    let mut client = rig.client();
    assert_eq!(client.get("/").text(), "1");
    // Once more, since this might have been the race; and no third time.
    assert_eq!(client.get("/die").status, 502);
    assert_eq!(client.get("/").text(), "3");
    let reading = rig.blue_when(|reading| reading.settled() == 3);
    assert_eq!((reading.succeeded, failures(&reading, FailureKind::Reset)), (2, 1));
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn a_response_that_ends_early_never_looks_complete() {
    let origin = Origin2::new(|mut asked: Asked| async move {
        let path = asked.request.uri().path().to_owned();
        let mut response = Response::new(());
        if path != "/chunks" {
            response.headers_mut().insert("content-length", "10".parse().unwrap());
        }
        let mut stream = asked.begin(response);
        stream.send_data(Bytes::from_static(b"half"), path == "/short").unwrap();
        if path != "/short" {
            stream.reserve_capacity(1);
            tokio::task::yield_now().await;
            let reason = if path == "/no-error" { Reason::NO_ERROR } else { Reason::INTERNAL_ERROR };
            stream.send_reset(reason);
        }
    });
    let rig = rig(&origin);
    let sender = connect(&rig).await;
    let paths = ["/chunks", "/length", "/short", "/no-error"];
    for path in paths {
        let (response, _) = sender.clone().send_request(post(path), true).unwrap();
        if let Ok(mut response) = response.await {
            let is_whole = response.status() == 200 && read(response.body_mut()).await.is_ok();
            assert!(!is_whole, "{path}");
        }
    }
    for path in paths {
        let mut client = rig.client();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let answer = client.answer_if_any();
        assert!(answer.is_none_or(|answer| answer.status != 200 || !answer.is_whole), "{path}");
    }
    rig.blue_when(|reading| reading.failed() == 8);
}

#[tokio::test]
async fn a_body_that_is_longer_than_its_length_is_a_failure() {
    let origin = Origin2::raw(|mut stream, _| async move {
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await.unwrap();
        let mut buffer = [0; 4096];
        let mut number = 1;
        while let Ok(1..) = stream.read(&mut buffer).await {
            let head = [&[0x88][..], &block(&[("content-length", "2")])].concat();
            let answer =
                [frame(HEADERS, END_HEADERS, number, &head), frame(DATA, END_STREAM, number, b"long")];
            drop(stream.write_all(&answer.concat()).await);
            number += 2;
        }
    });
    let rig = rig(&origin);
    let sender = connect(&rig).await;
    let (response, _) = sender.clone().send_request(post("/"), true).unwrap();
    if let Ok(mut response) = response.await {
        assert!(response.status() == 502 || read(response.body_mut()).await.is_err());
    }
    rig.blue_when(|reading| reading.failed() == 1);
}

#[test]
fn an_answer_that_comes_before_the_request_was_read_is_delivered() {
    let origin = Origin2::new(|mut asked: Asked| async move {
        let response = Response::builder().status(413).body(()).unwrap();
        let mut stream = asked.begin(response);
        // What is left of the request is then refused with NO_ERROR.
        stream.send_data(Bytes::from_static(b"too large"), true).unwrap();
    });
    let rig = rig(&origin);
    for _ in 0..10 {
        let mut client = rig.client();
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n");
        client.send(vec![b'x'; 100_000]);
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.text(), answer.header("connection")),
            (413, "too large", Some("close"))
        );
    }
    rig.blue_when(|reading| reading.settled() == 10 && reading.failed() == 0);
}

#[tokio::test]
async fn a_client_that_takes_nothing_bounds_what_is_read_for_it_and_stalls_nobody() {
    let (sent, seen) = mpsc::channel();
    let origin = Origin2::new(move |mut asked: Asked| {
        let sent = sent.clone();
        async move {
            if asked.request.uri().path() != "/much" {
                return asked.answer("ok");
            }
            let mut stream = asked.begin(Response::new(()));
            loop {
                stream.reserve_capacity(16_384);
                let Some(Ok(room)) = std::future::poll_fn(|context| stream.poll_capacity(context)).await
                else {
                    return;
                };
                stream.send_data(Bytes::from(vec![b'x'; room]), false).unwrap();
                sent.send(room).unwrap();
            }
        }
    });
    let rig = rig(&origin);
    let sender = connect(&rig).await;
    let mut stalled = Vec::new();
    for _ in 0..30 {
        let (response, _) = sender.clone().ready().await.unwrap().send_request(post("/much"), true).unwrap();
        stalled.push(response.await.unwrap());
    }
    // Others on the same connection to the instance are served all the same.
    let other = connect(&rig).await;
    for _ in 0..50 {
        assert_eq!(read(send(&other, b"x").await.body_mut()).await.unwrap(), b"ok");
    }
    assert_eq!(origin.connections(), 1);
    let total: usize = seen.try_iter().sum();
    // The instance's window, the frame in hand, what is kept for the client and the client's own window.
    let bound = 64 * 1024 + 16 * 1024 + 64 * 1024 + 65_535;
    assert!((30 * 64 * 1024..=30 * bound).contains(&total), "{total}");
}

#[tokio::test]
async fn a_large_body_is_sent_as_fast_as_the_instance_takes_it_and_again_to_blue_when_green_fails() {
    let blue = echo();
    let green = Origin2::new(|mut asked: Asked| async move {
        let (body, _) = asked.read().await;
        assert_eq!(body.len(), 500_000);
        asked.respond.send_reset(Reason::INTERNAL_ERROR);
    });
    let mut setup = setup(&blue);
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    let rig = setup.start();
    let sender = connect(&rig).await;
    let (response, mut stream) = sender.clone().send_request(post("/v1/completions"), false).unwrap();
    let mut rest = Bytes::from(vec![b'x'; 500_000]);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await.unwrap().unwrap();
        let part = rest.split_to(room.min(rest.len()));
        stream.send_data(part, rest.is_empty()).unwrap();
    }
    let text = read(response.await.unwrap().body_mut()).await.unwrap();
    assert!(String::from_utf8(text).unwrap().ends_with("\n500000 bytes, 0 trailers"));
    assert_eq!((green.requests(), blue.requests()), (1, 1));
    let reading = rig.green_when(|reading| reading.settled() == 1);
    assert_eq!(failures(&reading, FailureKind::Reset), 1);
}

#[test]
fn interim_responses_are_dropped_and_their_number_is_bounded() {
    let origin = Origin2::new(|mut asked: Asked| async move {
        let count = asked.request.uri().path().trim_start_matches('/').parse().unwrap();
        for _ in 0..count {
            let hint = Response::builder().status(103).body(()).unwrap();
            if asked.respond.send_informational(hint).is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        asked.answer("ok");
    });
    let rig = rig(&origin);
    let mut client = rig.client();
    assert_eq!(client.get("/5").text(), "ok");
    assert_eq!(client.get("/500").status, 502);
    assert_eq!(client.get("/0").text(), "ok");
    assert_eq!(failures(&rig.blue(), FailureKind::BadResponse), 1);
}

#[test]
fn an_instance_that_does_not_speak_http2_is_not_sent_any_request() {
    let origin = Origin::saying("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let mut setup = Setup::new(&[origin.address, nobody()]);
    setup.protocol = Protocol::H2c;
    let rig = setup.start();
    let mut client = rig.client();
    for _ in 0..4 {
        assert_eq!(client.post("/", "hello").status, 502);
    }
    assert_eq!(failures(&rig.blue(), FailureKind::ConnectFailed), 4);
}

#[test]
fn responses_that_are_no_answers_are_refused() {
    for head in [
        block(&[(":status", "101")]),
        block(&[(":status", "099")]),
        block(&[(":status", "abc")]),
        block(&[(":status", "600")]),
        block(&[("x", "y")]),
        block(&[(":status", "200"), ("content-length", "1"), ("content-length", "1")]),
        block(&[(":status", "200"), ("content-length", "x")]),
        block(&[(":status", "200"), ("connection", "close")]),
        block(&[(":status", "200"), ("X", "y")]),
    ] {
        let text = String::from_utf8_lossy(&head).into_owned();
        let origin = Origin2::raw(move |mut stream, _| {
            let head = head.clone();
            async move {
                stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
                let mut buffer = [0; 4096];
                let mut is_asked = false;
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    is_asked |= buffer[..length].windows(9).any(|window| window[3] == 1 && window[8] == 1);
                    if is_asked {
                        let bytes = frame(HEADERS, END_HEADERS | END_STREAM, 1, &head);
                        drop(stream.write_all(&bytes).await);
                    }
                }
            }
        });
        let mut setup = setup(&origin);
        setup.limits.head_timeout = Duration::from_secs(2);
        let rig = setup.start();
        let status = rig.client().get("/").status;
        assert!(matches!(status, 502 | 504), "{status} to {text:?}");
    }
}

/// What an instance may make the proxy hold, read from the frame that tells it so.
#[test]
fn the_settings_frame_states_every_bound_to_an_instance() {
    let (tell, told) = mpsc::channel();
    let origin = Origin2::raw(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            // The preface, and the head of the frame after it.
            let mut start = [0; 24 + 9];
            stream.read_exact(&mut start).await.unwrap();
            let mut payload = vec![0; usize::from(start[26])];
            stream.read_exact(&mut payload).await.unwrap();
            tell.send((start[27], payload)).unwrap();
        }
    });
    let rig = rig(&origin);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let (kind, payload) = told.recv().unwrap();
    let entries = payload.chunks_exact(6).map(|entry| {
        let [a, b, value @ ..] = entry else { panic!("a setting has six bytes") };
        (u16::from_be_bytes([*a, *b]), u32::from_be_bytes(value.try_into().unwrap()))
    });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable();
    // RFC 9113 section 6.5.2: table size, push, window, frame size, header list size.
    assert_eq!((kind, entries), (SETTINGS, vec![(1, 4096), (2, 0), (4, 65_536), (5, 16_384), (6, 65_536)]));
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let (closed, seen) = mpsc::channel();
    let origin = Origin2::raw(move |stream, _| {
        let closed = closed.clone();
        async move {
            let mut requests = server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = requests.accept().await {
                respond.send_response(Response::new(()), true).unwrap();
            }
            closed.send(()).unwrap();
        }
    });
    let mut setup = setup(&origin);
    setup.settings.upstream_idle_timeout = Duration::from_millis(150);
    let rig = setup.start();
    assert_eq!(rig.client().get("/").status, 200);
    seen.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(rig.client().get("/").status, 200);
    assert_eq!(origin.connections(), 2);
}
