//! Tunnels on streams to instances that speak HTTP/2: extended CONNECT (RFC 8441), asked for by clients of either protocol.

use bytes::Bytes;
use h2::{Reason, ext::Protocol as Asks, server};
use http::{Method, Response, StatusCode};

use super::{
    http2::{connect, read},
    kit::{Setup, eventually},
    origin2::{Asked, Origin2},
    tunnels2::{ask, hear, say},
    upgrades::HANDSHAKE,
};
use crate::{
    fleet::Protocol,
    meter::FailureKind,
    route::{RescuePolicy, Upgrades},
};

/// A proxy before this instance.
fn before(origin: &Origin2) -> Setup {
    let mut setup = Setup::new(&[origin.address]);
    setup.protocol = Protocol::H2c;
    setup
}

fn knowing() -> server::Builder {
    let mut builder = server::Builder::new();
    builder.enable_connect_protocol();
    builder
}

/// An instance that makes a tunnel of every stream and says everything again that it hears.
fn echoing() -> Origin2 {
    Origin2::with(knowing(), |mut asked: Asked| async move {
        check(&asked);
        let response = Response::builder().header("sec-websocket-protocol", "tokens").body(()).unwrap();
        let mut stream = asked.begin(response);
        let body = asked.request.body_mut();
        while let Some(bytes) = body.data().await {
            let Ok(bytes) = bytes else { return };
            body.flow_control().release_capacity(bytes.len()).unwrap();
            say(&mut stream, &bytes).await;
        }
        stream.send_data(Bytes::new(), true).unwrap();
    })
}

/// The request is the one that RFC 8441 section 5.1 shows, whatever it was.
fn check(asked: &Asked) {
    let request = &asked.request;
    assert_eq!((request.method(), request.uri().path()), (&Method::CONNECT, "/chat"));
    assert_eq!(request.extensions().get::<Asks>().unwrap().as_str(), "websocket");
    for absent in ["sec-websocket-key", "connection", "upgrade", "host"] {
        assert!(!request.headers().contains_key(absent), "{absent}");
    }
    assert_eq!(request.headers()["sec-websocket-protocol"], "tokens");
}

/// What an instance says that was asked for something else than a tunnel, or wants to make none.
fn refusing(builder: server::Builder) -> Origin2 {
    Origin2::with(builder, |mut asked: Asked| async move {
        let response = Response::builder().status(403).body(()).unwrap();
        asked.begin(response).send_data(Bytes::from_static(b"no"), true).unwrap();
        assert!(asked.read().await.0.is_empty());
    })
}

#[test]
fn an_upgrade_in_http1_becomes_a_stream_and_is_one_request_that_lasts_as_long_as_it_does() {
    let origin = echoing();
    let rig = before(&origin).start();
    let mut client = rig.client();
    client.send(HANDSHAKE);
    let answer = client.answer();
    assert_eq!(answer.status, 101);
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "tokens"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    for message in ["one", "two"] {
        client.send(message).expect(message);
    }
    assert_eq!((rig.workers[0].upgraded.get(), rig.route.blue.fleet.in_flight()), (1, 1));
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.is_closed());
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.succeeded, reading.bytes_in, reading.bytes_out), (1, 6, 6));
    eventually(|| (rig.workers[0].upgraded.get() == 0).then_some(()));
}

#[tokio::test]
async fn tunnels_share_a_connection_and_hold_nobody_up() {
    const BYTES: usize = 4 << 20;
    let origin = echoing();
    let rig = before(&origin).start();
    let mut sender = connect(rig.address).await;
    let (quiet, mut quiet_stream) = ask(&mut sender, "websocket").await;
    let (response, mut stream) = ask(&mut sender, "websocket").await;
    assert_eq!((response.status(), quiet.status()), (StatusCode::OK, StatusCode::OK));
    let sent: Vec<u8> = (0..BYTES).map(|place| u8::try_from(place % 251).unwrap()).collect();
    let text = sent.clone();
    let writing = tokio::spawn(async move {
        say(&mut stream, &text).await;
        stream.send_data(Bytes::new(), true).unwrap();
    });
    assert!(read(&mut response.into_body()).await.unwrap() == sent, "what came back is not what was sent");
    writing.await.unwrap();
    say(&mut quiet_stream, b"still here").await;
    assert_eq!(hear(&mut quiet.into_body(), 10).await, b"still here");
    assert_eq!((origin.connections(), origin.requests()), (1, 2));
}

#[test]
fn an_instance_that_does_not_know_tunnels_is_not_asked_and_green_is_rescued() {
    let (origin, knowing) = (refusing(server::Builder::new()), echoing());
    let rig = before(&origin).start();
    let answer = rig.client().send(HANDSHAKE).answer();
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("urn:snapback:needs-tunnels"), "{}", answer.text());
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.failures[FailureKind::NoInstance.index()], origin.requests()), (1, 0));
    // A plain request is served.
    assert_eq!(rig.client().get("/").status, 403);

    let mut setup = before(&knowing);
    (setup.green, setup.green_share) = (vec![origin.address], "100%");
    setup.rescue = RescuePolicy { budget: crate::weight::Share::parse("100%").unwrap(), ..setup.rescue };
    let rig = setup.start();
    let mut client = rig.client();
    client.send(HANDSHAKE);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.send("hi").expect("hi");
    assert_eq!(rig.green_when(|reading| reading.settled() == 1).failed(), 1);
}

#[tokio::test]
async fn another_answer_than_a_success_is_passed_on_and_ends_the_request() {
    let origin = refusing(knowing());
    let rig = before(&origin).start();
    let mut client = rig.client();
    let answer = client.send(HANDSHAKE).answer();
    assert_eq!((answer.status, answer.text()), (403, "no"));
    let mut sender = connect(rig.address).await;
    let (response, _stream) = ask(&mut sender, "websocket").await;
    assert_eq!(response.status(), 403);
    assert_eq!(read(&mut response.into_body()).await.unwrap(), b"no");
    rig.blue_when(|reading| reading.settled() == 2 && reading.failed() == 0);
}

#[test]
fn what_the_endpoint_does_not_allow_is_a_plain_request_to_the_instance() {
    let origin = refusing(knowing());
    let mut setup = before(&origin);
    setup.upgrades = Upgrades::new([]).unwrap();
    let rig = setup.start();
    assert_eq!(rig.client().send(HANDSHAKE).answer().status, 403);
}

#[test]
fn an_instance_that_resets_the_stream_has_failed_and_the_client_sees_it() {
    let origin = Origin2::with(knowing(), |mut asked: Asked| async move {
        let mut stream = asked.begin(Response::new(()));
        let heard = asked.request.body_mut().data().await.unwrap().unwrap();
        assert_eq!(&heard[..], b"hi");
        stream.send_reset(Reason::INTERNAL_ERROR);
    });
    let rig = before(&origin).start();
    let mut client = rig.client();
    client.send(HANDSHAKE);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.send("hi");
    assert!(client.is_closed());
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!(reading.failures[FailureKind::Truncated.index()], 1);
    // The connection serves on.
    let mut client = rig.client();
    client.send(HANDSHAKE);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_client_that_leaves_resets_its_stream_and_no_other() {
    let origin = echoing();
    let rig = before(&origin).start();
    let mut staying = rig.client();
    staying.send(HANDSHAKE);
    assert!(staying.head().starts_with("HTTP/1.1 101 "));
    let mut leaving = rig.client();
    leaving.send(HANDSHAKE);
    assert!(leaving.head().starts_with("HTTP/1.1 101 "));
    leaving.send("hi").expect("hi");
    socket2::SockRef::from(&leaving.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(leaving);
    rig.blue_when(|reading| reading.settled() == 1 && reading.client_gone == 1);
    eventually(|| (rig.route.blue.fleet.in_flight() == 1).then_some(()));
    staying.send("hi").expect("hi");
}
