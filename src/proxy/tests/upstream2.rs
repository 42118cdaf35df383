//! HTTP/2 to instances: what passes, and how connections are shared.

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
use tokio::{io::AsyncReadExt, sync::Semaphore};

use super::{
    kit::{Rig, Setup},
    origin2::{Asked, Origin2},
    raw2::SETTINGS,
};
use crate::{
    fleet::Protocol,
    meter::{FailureKind, Reading},
};

pub(super) fn setup(origin: &Origin2) -> Setup {
    let mut setup = Setup::new(&[origin.address]);
    setup.protocol = Protocol::H2c;
    setup
}

pub(super) fn rig(origin: &Origin2) -> Rig {
    setup(origin).start()
}

pub(super) fn failures(reading: &Reading, kind: FailureKind) -> u64 {
    reading.failures[kind.index()]
}

/// A client's HTTP/2 connection.
pub(super) async fn connect(rig: &Rig) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    sender.ready().await.unwrap()
}

pub(super) fn post(path: &str) -> Request<()> {
    Request::builder().method(Method::POST).uri(format!("http://test{path}")).body(()).unwrap()
}

pub(super) async fn send(sender: &SendRequest<Bytes>, body: &'static [u8]) -> Response<RecvStream> {
    let mut sender = sender.clone().ready().await.unwrap();
    let (response, mut stream) = sender.send_request(post("/"), false).unwrap();
    stream.send_data(Bytes::from_static(body), true).unwrap();
    response.await.unwrap()
}

pub(super) async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut text = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        body.flow_control().release_capacity(bytes.len()).unwrap();
        text.extend_from_slice(&bytes);
    }
    Ok(text)
}

/// Lets the test's own tasks run until this is so.
pub(super) async fn until(is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect("what the test waits for happens");
}

/// An origin that says what it got.
pub(super) fn echo() -> Origin2 {
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
