//! HTTP/2 from clients: told from HTTP/1, bounded, and carried to instances.

use std::{io::Write, net::SocketAddr, sync::mpsc, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, client::SendRequest};
use http::{Method, Request, Response};

use super::{
    kit::{Client, MessageReader, Origin, Rig, Setup, Then, nobody},
    origin2::Origin2,
    raw2::{
        DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, Raw, SETTINGS, block, frame,
    },
};
use crate::{fleet::Protocol, meter::Rejection};

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
pub(super) const SHORT: Duration = Duration::from_millis(150);

/// A client's connection, driven by a task of its own.
pub(super) async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    // Or each window's last part waits 40 ms for the acknowledgement of the one before.
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    sender.ready().await.unwrap()
}

pub(super) fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://test{path}")).body(()).unwrap()
}

pub(super) async fn send(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
    body: &[u8],
) -> Response<RecvStream> {
    let (response, mut stream) = sender.send_request(request, body.is_empty()).unwrap();
    if !body.is_empty() {
        stream.send_data(Bytes::copy_from_slice(body), true).unwrap();
    }
    response.await.unwrap()
}

/// The rest of a body, or why it did not come to its end.
pub(super) async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut text = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        body.flow_control().release_capacity(bytes.len()).unwrap();
        text.extend_from_slice(&bytes);
    }
    Ok(text)
}

#[test]
fn the_settings_frame_states_every_bound() {
    let rig = Rig::before(&Origin::saying(OK));
    let frame = Raw::connect(rig.address).next(SETTINGS).unwrap();
    let entries = frame.payload.chunks_exact(6).map(|entry| {
        let [a, b, value @ ..] = entry else { panic!("a setting has six bytes") };
        (u16::from_be_bytes([*a, *b]), u32::from_be_bytes(value.try_into().unwrap()))
    });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable();
    // RFC 9113 section 6.5.2: table size, streams, window, frame size, header list size; RFC 8441: extended CONNECT.
    assert_eq!(entries, [(1, 4096), (3, 100), (4, 65_536), (5, 16_384), (6, 32_768), (8, 1)]);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_told_so_and_counted() {
    let rig = Rig::before(&Origin::saying(OK));
    let mut sender = connect(rig.address).await;
    let mut large = request(Method::GET, "/");
    large.headers_mut().insert("x", "x".repeat(17 * 1024).parse().unwrap());
    let response = send(&mut sender, large, b"").await;
    assert_eq!(response.status(), 431);
    let problem = read(&mut response.into_body()).await.unwrap();
    assert!(String::from_utf8(problem).unwrap().contains("urn:snapback:head-too-large"));
    assert_eq!(rig.workers[0].rejected.get(Rejection::LargeHead), 1);
    assert_eq!(send(&mut sender, request(Method::GET, "/"), b"").await.status(), 200);
}

/// A body of unknown length needs chunks in HTTP/1, which a library may leave out where methods have no use for a body.
#[tokio::test]
async fn a_body_passes_whole_whatever_the_method_and_the_instances_protocol() {
    let (tell, told) = mpsc::channel();
    let plain = Origin::new(|_, stream| stream.write_all(OK.as_bytes()).map_or(Then::Close, |()| Then::Keep));
    let tell = std::sync::Mutex::new(tell);
    let tell = std::sync::Arc::new(tell);
    let modern = Origin2::new(move |mut asked| {
        let tell = std::sync::Arc::clone(&tell);
        async move {
            let (body, _) = asked.read().await;
            tell.lock().unwrap().send((asked.request.method().clone(), body)).unwrap();
            asked.begin(Response::new(())).send_data(Bytes::new(), true).unwrap();
        }
    });
    let mut to_modern = Setup::new(&[modern.address]);
    to_modern.protocol = Protocol::H2c;
    let (to_plain, to_modern) = (Rig::before(&plain), to_modern.start());
    for method in [Method::GET, Method::DELETE, Method::OPTIONS, Method::POST] {
        for rig in [&to_plain, &to_modern] {
            let mut sender = connect(rig.address).await;
            assert_eq!(send(&mut sender, request(method.clone(), "/"), b"a body").await.status(), 200);
        }
        let seen = plain.seen().pop().unwrap();
        assert_eq!((seen.header("transfer-encoding"), &seen.body[..]), (vec!["chunked"], &b"a body"[..]));
        assert_eq!(told.recv().unwrap(), (method, b"a body".to_vec()));
    }
}

#[tokio::test]
async fn both_protocols_are_served_on_one_port() {
    let origin = Origin::new(|seen, stream| {
        let body = seen.body.len();
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-got: {body}\r\n\r\nok").as_bytes())
            .unwrap();
        Then::Keep
    });
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let mut response = send(&mut sender, request(Method::POST, "/v1/x?y=1"), b"hello").await;
    assert_eq!((response.status().as_u16(), &response.headers()["x-got"]), (200, &"5".parse().unwrap()));
    assert_eq!(read(response.body_mut()).await.unwrap(), b"ok");
    assert_eq!(rig.client().get("/http1").text(), "ok");
    let [first, second] = &origin.seen()[..] else { panic!("two requests") };
    assert_eq!(
        (first.line.as_str(), second.line.as_str()),
        ("POST /v1/x?y=1 HTTP/1.1", "GET /http1 HTTP/1.1")
    );
    assert_eq!((first.header("host"), first.header("x-forwarded-for")), (vec!["test"], vec!["127.0.0.1"]));
    assert_eq!(first.header("transfer-encoding"), ["chunked"], "no length was said");
    assert_eq!(first.connection, second.connection, "the protocol of a client is not that of an instance");
    let reading = rig.blue_when(|reading| reading.settled() == 2);
    assert_eq!((reading.dealt, reading.failed()), (2, 0));
}

#[test]
fn the_preface_may_come_in_pieces_and_a_request_line_waits_for_nothing() {
    let rig = Rig::before(&Origin::saying(OK));
    let mut client = Client::connect(rig.address);
    for byte in &PREFACE[..20] {
        client.send([*byte]);
    }
    let mut other = Client::connect(rig.address);
    other.send("P");
    assert_eq!(other.send("OST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n").answer().status, 200);
    client.send(&PREFACE[20..]).send(frame(SETTINGS, 0, 0, &[]));
    client.expect("\0\0");
    let mut almost = Client::connect(rig.address);
    assert_eq!(
        almost.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").answer_if_any().map(|answer| answer.status),
        Some(400)
    );
}

#[tokio::test]
async fn streams_of_one_connection_do_not_wait_for_one_another() {
    let (release, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::new(move |seen, stream| {
        if seen.line.starts_with("GET /slow") {
            wait.lock().unwrap().recv().unwrap();
        }
        stream.write_all(OK.as_bytes()).unwrap();
        Then::Keep
    });
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let (slow, _) = sender.send_request(request(Method::GET, "/slow"), true).unwrap();
    for _ in 0..3 {
        assert_eq!(send(&mut sender, request(Method::GET, "/"), b"").await.status(), 200);
    }
    release.send(()).unwrap();
    assert_eq!(slow.await.unwrap().status(), 200);
}

#[tokio::test]
async fn events_pass_one_by_one_and_head_and_empty_answers_have_no_body() {
    let (next, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::new(move |seen, stream| {
        if seen.line.starts_with("HEAD") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n").unwrap();
        } else if seen.line.starts_with("DELETE") {
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
            for _ in 0..3 {
                stream.write_all(b"7\r\ndata: x\r\n").unwrap();
                wait.lock().unwrap().recv().unwrap();
            }
            stream.write_all(b"0\r\n\r\n").unwrap();
        }
        Then::Keep
    });
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let mut events = send(&mut sender, request(Method::GET, "/"), b"").await;
    for _ in 0..3 {
        assert_eq!(events.body_mut().data().await.unwrap().unwrap(), "data: x");
        next.send(()).unwrap();
    }
    assert_eq!(read(events.body_mut()).await.unwrap(), b"");
    let head = send(&mut sender, request(Method::HEAD, "/"), b"").await;
    assert_eq!((head.headers()["content-length"].as_bytes(), head.body().is_end_stream()), (&b"7"[..], true));
    let none = send(&mut sender, request(Method::DELETE, "/"), b"").await;
    assert_eq!((none.status().as_u16(), none.body().is_end_stream()), (204, true));
    rig.blue_when(|reading| reading.settled() == 3 && reading.failed() == 0);
}

#[tokio::test]
async fn a_request_body_waits_at_the_client_until_the_instance_takes_it() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::raw(move |stream, _, _| {
        wait.lock().unwrap().recv().unwrap();
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        let request = reader.request().unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-got: {}\r\n\r\n", request.body.len());
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let total: usize = 24 << 20;
    let mut large = request(Method::POST, "/");
    large.headers_mut().insert("content-length", total.into());
    let (response, mut stream) = sender.send_request(large, false).unwrap();
    let (mut sent, mut is_told) = (0, false);
    while sent < total {
        stream.reserve_capacity(1 << 20);
        let capacity = std::future::poll_fn(|context| stream.poll_capacity(context));
        match tokio::time::timeout(SHORT, capacity).await {
            Ok(capacity) => {
                let length = capacity.unwrap().unwrap().min(total - sent);
                sent += length;
                stream.send_data(Bytes::from(vec![0; length]), sent == total).unwrap();
            }
            // A busy machine pauses later, too.
            Err(_) if is_told => {}
            Err(_) => {
                assert!(sent < 16 << 20, "the proxy took {sent} bytes that nobody wanted");
                go.send(()).unwrap();
                is_told = true;
            }
        }
    }
    assert!(is_told, "the proxy took everything before the instance did");
    assert_eq!(response.await.unwrap().headers()["x-got"], total.to_string());
}

/// The next header block.
pub(super) fn status(raw: &mut Raw) -> Vec<u8> {
    raw.next(HEADERS).unwrap().payload
}

pub(super) fn expecting(length: &str) -> Vec<u8> {
    block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "test"),
        ("expect", "100-continue"),
        ("content-length", length),
    ])
}

#[test]
fn a_client_that_waits_to_be_asked_is_asked_once_the_instance_is_there_and_no_other_is() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let mut raw = Raw::connect(rig.address);
    raw.send(&frame(HEADERS, END_HEADERS, 1, &expecting("4")));
    // `:status: 100`, with the name from the static table and the value in Huffman's code (RFC 7541).
    assert_eq!(status(&mut raw), [0x48, 0x82, 0x08, 0x01]);
    assert_eq!((rig.workers[0].upstream_connects.get(), origin.seen().len()), (1, 0));
    raw.send(&frame(DATA, END_STREAM, 1, b"body"));
    assert_eq!(status(&mut raw).first(), Some(&0x88), "200");
    let seen = &origin.seen()[0];
    assert_eq!((seen.header("expect").len(), &seen.body[..]), (0, &b"body"[..]));

    // Whose body is there already, and who is refused, is not asked.
    raw.send(
        &[frame(HEADERS, END_HEADERS, 3, &expecting("4")), frame(DATA, END_STREAM, 3, b"body")].concat(),
    );
    assert_eq!(status(&mut raw).first(), Some(&0x88));
    let rig = Setup::new(&[nobody()]).start();
    let mut raw = Raw::connect(rig.address);
    raw.send(&frame(HEADERS, END_HEADERS, 1, &expecting("4")));
    let refused = raw.next(HEADERS).unwrap();
    assert!(
        refused.payload.len() > 16 && refused.flags & END_STREAM == 0,
        "a problem, and no question before it"
    );
}

#[tokio::test]
async fn an_answer_before_the_request_was_read_arrives_and_the_connection_serves_on() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.body_limit_bytes = 10;
    let rig = setup.start();
    let mut sender = connect(rig.address).await;
    let mut large = request(Method::POST, "/");
    large.headers_mut().insert("content-length", "11".parse().unwrap());
    let (response, mut stream) = sender.send_request(large, false).unwrap();
    assert_eq!(response.await.unwrap().status(), 413);
    let reason = std::future::poll_fn(|context| stream.poll_reset(context)).await.unwrap();
    assert_eq!(reason, Reason::NO_ERROR, "RFC 9113 section 8.1");
    let response = send(&mut sender, request(Method::GET, "/"), b"").await;
    assert_eq!((response.status().as_u16(), response.headers().contains_key("connection")), (200, false));
}

#[tokio::test]
async fn a_grpc_call_that_the_proxy_answers_itself_gets_a_status_of_its_own_kind() {
    async fn call(setup: Setup) -> Vec<String> {
        let rig = setup.start();
        let mut sender = connect(rig.address).await;
        let mut call = request(Method::POST, "/inference.GRPCInferenceService/ModelInfer");
        call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let response = send(&mut sender, call, b"\0\0\0\0\0").await;
        assert!(response.body().is_end_stream(), "trailers only");
        assert_eq!(response.status().as_u16(), 200);
        let text = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        vec![text("content-type"), text("grpc-status"), text("grpc-message")]
    }
    let mut unreachable = Setup::new(&[nobody()]);
    unreachable.protocol = Protocol::H2c;
    let unavailable = call(unreachable).await;
    assert_eq!(unavailable, ["application/grpc", "14", "The model server could not be reached"]);
    let mut elsewhere = Setup::new(&[nobody()]);
    elsewhere.rule.path_prefix = Some("/v1/".to_owned());
    assert_eq!(call(elsewhere).await[1], "12");
    let silent = Origin2::new(|asked| async move {
        let _kept = asked;
        std::future::pending::<()>().await;
    });
    let mut small = Setup::new(&[silent.address]);
    small.protocol = Protocol::H2c;
    small.limits.body_limit_bytes = 4;
    assert_eq!(call(small).await[1], "8");
}

#[test]
fn what_a_downgrade_could_smuggle_never_reaches_an_instance() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let base = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "test")];
    let with = |extra: (&'static str, &'static str)| {
        let mut headers = base.to_vec();
        match headers.iter_mut().find(|(name, _)| *name == extra.0) {
            Some(place) => *place = extra,
            None => headers.push(extra),
        }
        block(&headers)
    };
    let mut refused = 0;
    for extra in [
        (":path", "/ HTTP/1.1\r\nx: y"),
        (":path", "no-slash"),
        (":authority", "a@b"),
        (":authority", "a b"),
        (":method", "GET / HTTP/1.1"),
        (":method", "CONNECT"),
        ("host", "other"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("x", "a\r\nb: c"),
        ("x", "a\0"),
        ("x y", "a"),
        ("x:y", "a"),
        ("X", "a"),
        ("content-length", "5"),
        (":unknown", "a"),
    ] {
        let mut raw = Raw::connect(rig.address);
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &with(extra)));
        let end = std::iter::from_fn(|| raw.frame())
            .find(|frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY))
            .unwrap_or_else(|| panic!("an answer to {extra:?}"));
        // Static table index 8 is `:status: 200`.
        assert!(end.kind != HEADERS || end.payload.first() != Some(&0x88), "{extra:?} was answered with 200");
        refused += 1;
    }
    assert_eq!((refused, origin.seen().len(), rig.blue().dealt), (18, 0, 0));
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_was_sent_arrives_whole() {
    let origin = Origin::raw(|stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        while let Some(head) = reader.head() {
            if !head.contains("/early") {
                stream.write_all(OK.as_bytes()).unwrap();
                continue;
            }
            stream.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 8\r\n\r\ntoo much").unwrap();
            while reader.line().is_some() {}
        }
    });
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let (response, mut stream) = sender.send_request(request(Method::POST, "/early"), false).unwrap();
    stream.send_data(Bytes::from_static(&[b'x'; 10_000]), false).unwrap();
    let mut response = response.await.unwrap();
    assert_eq!(response.status().as_u16(), 413);
    assert_eq!(read(response.body_mut()).await.unwrap(), b"too much");
    let mut next = send(&mut sender, request(Method::GET, "/"), b"").await;
    assert_eq!(read(next.body_mut()).await.unwrap(), b"ok");
    let reading = rig.blue_when(|reading| reading.settled() == 2);
    assert_eq!((reading.client_errors, reading.succeeded), (1, 1));
}

#[tokio::test]
async fn head_has_the_answers_headers_and_no_body() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n");
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    for _ in 0..2 {
        let mut response = send(&mut sender, request(Method::HEAD, "/"), b"").await;
        assert_eq!(response.headers()["content-length"], "16");
        assert_eq!(read(response.body_mut()).await.unwrap(), b"");
    }
    assert_eq!((origin.connections(), origin.seen()[1].line.as_str()), (1, "HEAD / HTTP/1.1"));
}
