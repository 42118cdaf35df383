//! Streams of HTTP/2 that become tunnels: extended CONNECT (RFC 8441).

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::SendRequest, ext::Protocol};
use http::{Method, Request, Response};

use super::{
    http2::{connect, read, request},
    kit::{Origin, Rig, Setup, Then, eventually},
    upgrades::resetting,
};
use crate::{
    meter::FailureKind,
    proxy::upgrade::{accept, key},
};

/// An origin that takes the handshake and then does as it is told.
fn switching(and_then: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Origin {
    Origin::new(move |seen, stream| {
        assert_eq!((seen.line.as_str(), seen.header("upgrade")), ("GET /chat?x HTTP/1.1", vec!["websocket"]));
        stream.write_all(switched(seen.header("sec-websocket-key")[0]).as_bytes()).unwrap();
        and_then(stream);
        Then::Close
    })
}

/// The answer to a handshake with this key.
fn switched(asked: &str) -> String {
    let proof = accept(&key(asked.as_bytes()).unwrap());
    let proof = std::str::from_utf8(&proof).unwrap();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {proof}\r\nsec-websocket-protocol: tokens\r\n\r\n"
    )
}

/// Says everything again that it hears, until it has heard the end.
fn echo(stream: &mut TcpStream) {
    let mut heard = [0; 16 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut heard) {
        if stream.write_all(&heard[..length]).is_err() {
            return;
        }
    }
}

/// Asks for a tunnel.
pub(super) async fn ask(
    sender: &mut SendRequest<Bytes>,
    protocol: &'static str,
) -> (Response<RecvStream>, SendStream<Bytes>) {
    while !sender.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let mut request: Request<()> = request(Method::CONNECT, "/chat?x");
    request.extensions_mut().insert(Protocol::from_static(protocol));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "tokens".parse().unwrap());
    let (response, stream) = sender.send_request(request, false).unwrap();
    (response.await.unwrap(), stream)
}

pub(super) async fn say(stream: &mut SendStream<Bytes>, text: &[u8]) {
    let mut rest = Bytes::copy_from_slice(text);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await.unwrap().unwrap();
        stream.send_data(rest.split_to(room.min(rest.len())), false).unwrap();
    }
}

/// Waits without holding up the client's own connection, which lives on this thread.
async fn meanwhile(rig: Rig, wait: impl FnOnce(&Rig) + Send + 'static) {
    tokio::task::spawn_blocking(move || wait(&rig)).await.unwrap();
}

pub(super) async fn hear(body: &mut RecvStream, length: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < length {
        let bytes = body.data().await.unwrap().unwrap();
        body.flow_control().release_capacity(bytes.len()).unwrap();
        heard.extend_from_slice(&bytes);
    }
    heard
}

#[tokio::test]
async fn a_websocket_over_a_stream_becomes_an_upgrade_at_the_instance() {
    let origin = switching(echo);
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let (response, mut stream) = ask(&mut sender, "websocket").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["sec-websocket-protocol"]),
        (200, &"tokens".parse().unwrap())
    );
    for absent in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(!response.headers().contains_key(absent), "{absent}");
    }
    let seen = &origin.seen()[0];
    assert_eq!((seen.header("connection"), seen.header("host")), (vec!["upgrade"], vec!["test"]));
    assert_eq!(seen.header("sec-websocket-version"), ["13"]);
    let mut body = response.into_body();
    for message in ["one", "two"] {
        say(&mut stream, message.as_bytes()).await;
        assert_eq!(hear(&mut body, 3).await, message.as_bytes());
    }
    assert_eq!((rig.workers[0].upgraded.get(), rig.route.blue.fleet.in_flight()), (1, 1));
    // Another stream of the same connection is served meanwhile.
    let refused = sender.send_request(request(Method::CONNECT, "/"), true).unwrap().0.await.unwrap();
    assert_eq!(refused.status(), 405);
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(read(&mut body).await.unwrap(), b"");
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.succeeded, reading.bytes_in, reading.bytes_out), (1, 6, 6));
    eventually(|| (rig.workers[0].upgraded.get() == 0).then_some(()));
}

#[tokio::test]
async fn much_data_passes_both_ways_within_the_windows() {
    const BYTES: usize = 8 << 20;
    let origin = switching(echo);
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let (response, mut stream) = ask(&mut sender, "websocket").await;
    let sent: Vec<u8> = (0..BYTES).map(|place| u8::try_from(place % 251).unwrap()).collect();
    let text = sent.clone();
    let writing = tokio::spawn(async move {
        say(&mut stream, &text).await;
        stream.send_data(Bytes::new(), true).unwrap();
    });
    let heard = read(&mut response.into_body()).await.unwrap();
    assert!(heard == sent, "what came back is not what was sent");
    writing.await.unwrap();
    assert_eq!(rig.blue_when(|reading| reading.succeeded == 1).bytes_out, BYTES as u64);
}

#[tokio::test]
async fn an_instance_that_ends_first_is_heard_out_and_hears_the_client_out() {
    let origin = switching(|stream| {
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"last words");
    });
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let (response, mut stream) = ask(&mut sender, "websocket").await;
    assert_eq!(read(&mut response.into_body()).await.unwrap(), b"bye");
    say(&mut stream, b"last words").await;
    stream.send_data(Bytes::new(), true).unwrap();
    meanwhile(rig, |rig| assert_eq!(rig.blue_when(|reading| reading.settled() == 1).succeeded, 1)).await;
}

#[tokio::test]
async fn an_instance_that_breaks_the_connection_resets_the_stream_and_has_failed() {
    let answer = |head: &str| {
        let asked = head.split("sec-websocket-key: ").nth(1).unwrap();
        switched(asked.split("\r\n").next().unwrap())
    };
    let rig = Setup::new(&[resetting(answer, "ho")]).start();
    let mut sender = connect(rig.address).await;
    let (response, mut stream) = ask(&mut sender, "websocket").await;
    let mut body = response.into_body();
    say(&mut stream, b"hi").await;
    assert_eq!(hear(&mut body, 2).await, b"ho");
    say(&mut stream, b"hi").await;
    let error = read(&mut body).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!(reading.failures[FailureKind::Truncated.index()], 1);
    eventually(|| (rig.workers[0].upgraded.get() == 0).then_some(()));
}

#[tokio::test]
async fn a_client_that_resets_its_stream_frees_the_instance() {
    let origin = switching(echo);
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let (response, mut stream) = ask(&mut sender, "websocket").await;
    let mut body = response.into_body();
    say(&mut stream, b"hi").await;
    hear(&mut body, 2).await;
    stream.send_reset(Reason::CANCEL);
    meanwhile(rig, |rig| {
        rig.blue_when(|reading| reading.settled() == 1 && reading.failed() == 0);
        eventually(|| (rig.route.blue.fleet.in_flight() + rig.workers[0].upgraded.get() == 0).then_some(()));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_tunnel_is_answered_as_such() {
    let origin = Origin::new(|seen, stream| {
        let refuses = seen.header("sec-websocket-protocol").is_empty();
        let status = if refuses { "403 No" } else { "200 OK" };
        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok").as_bytes()).unwrap();
        Then::Keep
    });
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let (unknown, _stream) = ask(&mut sender, "connect-udp").await;
    assert_eq!((unknown.status().as_u16(), rig.blue().dealt), (501, 0));
    // A success would be a tunnel to the client; the instance has only answered a GET.
    let (mistaken, _stream) = ask(&mut sender, "websocket").await;
    assert_eq!(mistaken.status().as_u16(), 502);
    assert!(read(&mut mistaken.into_body()).await.unwrap().starts_with(b"{"));
    assert_eq!(rig.blue_when(|reading| reading.settled() == 1).succeeded, 1);
    let mut request: Request<()> = request(Method::CONNECT, "/chat");
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let (response, _stream) = sender.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status().as_u16(), 403);
    assert_eq!(read(&mut response.into_body()).await.unwrap(), b"ok");
}

#[tokio::test]
async fn the_drain_timeout_cuts_a_stream_that_is_a_tunnel() {
    let origin = switching(echo);
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.drain_timeout = Duration::from_millis(300);
    let mut rig = setup.start();
    let mut sender = connect(rig.address).await;
    let (response, mut stream) = ask(&mut sender, "websocket").await;
    let mut body = response.into_body();
    rig.begin_drain();
    say(&mut stream, b"hi").await;
    assert_eq!(hear(&mut body, 2).await, b"hi");
    let rig = tokio::task::spawn_blocking(move || {
        rig.join();
        rig
    });
    assert!(body.data().await.is_none_or(|data| data.is_err()));
    let reading = rig.await.unwrap().blue();
    assert_eq!((reading.client_gone, reading.failed()), (1, 0));
}
