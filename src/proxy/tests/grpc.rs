//! gRPC calls: deadlines, statuses, and who is counted for them, with a client that waits for the proxy to end its calls.

use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::SendRequest};
use http::{HeaderMap, HeaderValue, Request, Response};

use super::{
    kit::{Origin, Rig, Setup},
    origin2::{Asked, Origin2},
};
use crate::{
    clock,
    fleet::Protocol,
    meter::{FailureKind, GrpcStatus, Reading},
    route::RescueUntil,
};

/// A message of two bytes.
pub(super) const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

pub(super) fn setup(origin: &Origin2) -> Setup {
    let mut setup = Setup::new(&[origin.address]);
    setup.protocol = Protocol::H2c;
    setup
}

/// Half of the requests go to green.
fn halved(blue: &Origin2, green: &Origin2) -> Setup {
    let mut setup = setup(blue);
    setup.green = vec![green.address];
    setup.green_share = "50%";
    setup
}

fn failures(reading: &Reading, kind: FailureKind) -> u64 {
    reading.failures[kind.index()]
}

async fn connect(rig: &Rig) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    sender.ready().await.unwrap()
}

/// A call's answer, as far as it has come, and the way to send more.
pub(super) struct Called {
    pub(super) head: HeaderMap,
    pub(super) body: RecvStream,
    pub(super) upload: SendStream<Bytes>,
}

/// Whether a call's first message is its only one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sends {
    One,
    More,
}

pub(super) async fn call(rig: &Rig, path: &str, timeout: Option<&'static str>, sends: Sends) -> Called {
    let mut sender = connect(rig).await;
    let mut request = Request::post(format!("http://test{path}")).body(()).unwrap();
    let headers = request.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    if let Some(timeout) = timeout {
        headers.insert("grpc-timeout", HeaderValue::from_static(timeout));
    }
    let (response, mut upload) = sender.send_request(request, false).unwrap();
    upload.send_data(Bytes::from_static(MESSAGE), sends == Sends::One).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    let (head, body) = response.into_parts();
    Called { head: head.headers, body, upload }
}

/// The rest of the messages, and the status with which the call ended: of its trailers, or of its head if that is all there is.
pub(super) async fn end(called: &mut Called) -> (usize, String, String) {
    let mut bytes = 0;
    while let Some(data) = called.body.data().await {
        let data = data.unwrap();
        called.body.flow_control().release_capacity(data.len()).unwrap();
        bytes += data.len();
    }
    let trailers = called.body.trailers().await.unwrap();
    let headers = trailers.as_ref().unwrap_or(&called.head);
    let text = |name| headers.get(name).map_or_else(String::new, |value| value.to_str().unwrap().to_owned());
    (bytes, text("grpc-status"), text("grpc-message"))
}

pub(super) fn head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

pub(super) fn trailers(status: GrpcStatus) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from(status.code()))])
}

/// An origin whose calls end with a status, after these messages.
pub(super) fn ending(status: GrpcStatus, messages: &'static [&'static [u8]]) -> Origin2 {
    Origin2::new(move |mut asked: Asked| async move {
        asked.read().await;
        let mut stream = asked.begin(head());
        for message in messages {
            stream.send_data(Bytes::from_static(message), false).unwrap();
        }
        stream.send_trailers(trailers(status)).unwrap();
    })
}

/// An origin whose calls fail in their heads.
fn refusing(status: GrpcStatus) -> Origin2 {
    Origin2::new(move |mut asked: Asked| async move {
        asked.read().await;
        let mut head = head();
        head.headers_mut().extend(trailers(status));
        asked.respond.send_response(head, true).unwrap();
    })
}

/// An origin that says this much and then waits until the call is reset, which it tells.
pub(super) fn hanging(messages: Option<&'static [u8]>) -> (Origin2, std::sync::mpsc::Receiver<Reason>) {
    let (tell, told) = std::sync::mpsc::channel();
    let origin = Origin2::new(move |mut asked: Asked| {
        let tell = tell.clone();
        async move {
            let reason = match messages {
                None => std::future::poll_fn(|context| asked.respond.poll_reset(context)).await,
                Some(messages) => {
                    let mut stream = asked.begin(head());
                    stream.send_data(Bytes::from_static(messages), false).unwrap();
                    std::future::poll_fn(|context| stream.poll_reset(context)).await
                }
            };
            tell.send(reason.unwrap()).unwrap();
        }
    });
    (origin, told)
}

#[tokio::test]
async fn at_its_deadline_a_call_is_answered_by_the_proxy_and_reset_at_its_instance() {
    for messages in [None, Some(MESSAGE)] {
        let (origin, told) = hanging(messages);
        let rig = setup(&origin).start();
        let began = clock::now();
        let mut called = call(&rig, "/test.Calls/x", Some("200m"), Sends::One).await;
        let expected = messages.map_or(0, <[u8]>::len);
        let ended = end(&mut called).await;
        assert_eq!(ended, (expected, "4".to_owned(), "The call's deadline passed".to_owned()));
        assert!(clock::now().since(began) >= Duration::from_millis(200), "never early");
        assert_eq!(told.recv().unwrap(), Reason::CANCEL);
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        assert_eq!(failures(&reading, FailureKind::Deadline), 1, "{messages:?}");
    }
}

#[tokio::test]
async fn a_conversation_whose_client_is_due_ends_at_its_deadline_and_blames_nobody() {
    let (origin, told) = hanging(Some(MESSAGE));
    let rig = setup(&origin).start();
    let mut called = call(&rig, "/test.Calls/x", Some("100m"), Sends::More).await;
    assert_eq!(end(&mut called).await.1, "4");
    told.recv().unwrap();
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.client_gone, reading.failed()), (1, 0));
}

#[tokio::test]
async fn a_conversation_that_its_instance_never_joins_is_the_fleets_failure() {
    let (origin, told) = hanging(None);
    let rig = setup(&origin).start();
    let mut called = call(&rig, "/test.Calls/x", Some("100m"), Sends::More).await;
    assert_eq!(end(&mut called).await.1, "4");
    told.recv().unwrap();
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!(failures(&reading, FailureKind::Deadline), 1);
}

#[tokio::test]
async fn a_client_that_gives_up_at_its_deadline_blames_the_fleet_and_one_that_leaves_before_does_not() {
    for (timeout, waits, failed) in [("1S", Duration::from_secs(1), 1), ("20S", Duration::ZERO, 0)] {
        let (origin, told) = hanging(Some(MESSAGE));
        let rig = setup(&origin).start();
        let mut called = call(&rig, "/test.Calls/x", Some(timeout), Sends::One).await;
        assert_eq!(called.body.data().await.unwrap().unwrap(), MESSAGE);
        let began = clock::now();
        while clock::now().since(began) < waits {
            tokio::task::yield_now().await;
        }
        called.upload.send_reset(Reason::CANCEL);
        drop(called);
        tokio::task::spawn_blocking(move || told.recv()).await.unwrap().unwrap();
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        assert_eq!((failures(&reading, FailureKind::Deadline), reading.client_gone), (failed, 1 - failed));
    }
}

#[tokio::test]
async fn a_timeout_that_cannot_be_read_or_is_over_reaches_no_instance() {
    let origin = ending(GrpcStatus::Ok, &[MESSAGE]);
    let rig = setup(&origin).start();
    for (timeout, status) in [("1s", "13"), ("123456789S", "13"), ("", "13"), ("0S", "4"), ("1n", "4")] {
        let mut called = call(&rig, "/test.Calls/x", Some(timeout), Sends::One).await;
        assert_eq!(end(&mut called).await.1, status, "{timeout:?}");
    }
    assert_eq!((origin.requests(), rig.blue().dealt), (0, 0));
}

#[tokio::test]
async fn an_answer_is_judged_by_its_status_and_one_without_was_cut_short() {
    for (status, is_failure) in [
        (GrpcStatus::Ok, false),
        (GrpcStatus::NotFound, false),
        (GrpcStatus::Internal, true),
        (GrpcStatus::Unavailable, true),
    ] {
        let origin = ending(status, &[MESSAGE]);
        let rig = setup(&origin).start();
        let mut called = call(&rig, "/test.Calls/x", None, Sends::One).await;
        assert_eq!(end(&mut called).await.1, status.code().to_string());
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        assert_eq!((reading.failed(), reading.grpc_statuses[status.code()]), (u64::from(is_failure), 1));
    }
    let cut = Origin2::new(|mut asked: Asked| async move {
        asked.read().await;
        asked.begin(head()).send_data(Bytes::from_static(MESSAGE), true).unwrap();
    });
    let rig = setup(&cut).start();
    let mut called = call(&rig, "/test.Calls/x", None, Sends::One).await;
    end(&mut called).await;
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!(failures(&reading, FailureKind::Truncated), 1);
}

#[tokio::test]
async fn a_call_whose_instance_resets_it_ends_with_a_status() {
    let origin = Origin2::new(|mut asked: Asked| async move {
        asked.read().await;
        let mut stream = asked.begin(head());
        stream.send_data(Bytes::from_static(MESSAGE), false).unwrap();
        stream.reserve_capacity(1);
        tokio::task::yield_now().await;
        stream.send_reset(Reason::INTERNAL_ERROR);
    });
    let rig = setup(&origin).start();
    let mut called = call(&rig, "/test.Calls/x", None, Sends::One).await;
    assert_eq!(end(&mut called).await.1, "14");
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!(failures(&reading, FailureKind::Truncated), 1);
}

#[tokio::test]
async fn green_is_rescued_by_status_in_the_head_and_before_the_first_message() {
    let blue = ending(GrpcStatus::Ok, &[MESSAGE]);
    for (green, until, rescued) in [
        (refusing(GrpcStatus::Unavailable), RescueUntil::Head, true),
        (refusing(GrpcStatus::NotFound), RescueUntil::Head, false),
        (ending(GrpcStatus::Unavailable, &[]), RescueUntil::Head, false),
        (ending(GrpcStatus::Unavailable, &[]), RescueUntil::FirstToken, true),
        (ending(GrpcStatus::Unavailable, &[MESSAGE]), RescueUntil::FirstToken, false),
    ] {
        let mut setup = halved(&blue, &green);
        setup.rescue.until = until;
        let rig = setup.start();
        let mut good = 0;
        for _ in 0..40 {
            let mut called = call(&rig, "/test.Calls/x", None, Sends::One).await;
            good += usize::from(end(&mut called).await.1 == "0");
        }
        assert_eq!(good, if rescued { 40 } else { 20 }, "{until:?}");
        let reading = rig.green_when(|reading| reading.settled() == 20);
        assert_eq!(reading.rescued(), if rescued { 20 } else { 0 }, "{until:?}");
    }
}

#[tokio::test]
async fn a_second_try_is_told_how_much_time_is_left() {
    let (tell, told) = std::sync::mpsc::channel();
    let blue = Origin2::new(move |mut asked: Asked| {
        let tell = tell.clone();
        async move {
            tell.send(asked.request.headers()["grpc-timeout"].clone()).unwrap();
            asked.begin(head()).send_trailers(trailers(GrpcStatus::Ok)).unwrap();
        }
    });
    let green = Origin2::new(|mut asked: Asked| async move {
        assert_eq!(asked.request.headers()["grpc-timeout"], "20S", "the caller's own words");
        let began = clock::now();
        // More than a hundredth of the time.
        while clock::now().since(began) < Duration::from_millis(300) {
            tokio::task::yield_now().await;
        }
        let mut head = head();
        head.headers_mut().extend(trailers(GrpcStatus::Unavailable));
        asked.respond.send_response(head, true).unwrap();
    });
    let mut setup = halved(&blue, &green);
    setup.green_share = "100%";
    let rig = setup.start();
    let mut called = call(&rig, "/test.Calls/x", Some("20S"), Sends::One).await;
    assert_eq!(end(&mut called).await.1, "0");
    let left: HeaderValue = told.recv().unwrap();
    let micros: u64 = left.to_str().unwrap().strip_suffix('u').unwrap().parse().unwrap();
    assert!((1..=19_700_000).contains(&micros), "{micros}");
}

#[tokio::test]
async fn an_error_inside_a_stream_of_replies_is_a_failure_and_before_any_result_it_is_rescued() {
    const METHOD: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
    const ERROR: &[u8] = b"\0\0\0\0\x05\x0a\x03bad";
    const RESULT: &[u8] = b"\0\0\0\0\x05\x12\x03\x0a\x01m";
    let blue = ending(GrpcStatus::Ok, &[RESULT]);
    for (messages, path, failed, rescued) in [
        (&[RESULT, ERROR, RESULT][..], METHOD, 20, 0),
        (&[ERROR, RESULT], METHOD, 20, 20),
        (&[RESULT, RESULT], METHOD, 0, 0),
        (&[ERROR, RESULT], "/test.Calls/x", 0, 0),
    ] {
        let green = ending(GrpcStatus::Ok, messages);
        let mut setup = halved(&blue, &green);
        setup.rescue.until = RescueUntil::FirstToken;
        let rig = setup.start();
        for _ in 0..40 {
            let mut called = call(&rig, path, None, Sends::One).await;
            assert_eq!(end(&mut called).await.1, "0");
        }
        let reading = rig.green_when(|reading| reading.settled() == 20);
        assert_eq!((failures(&reading, FailureKind::InBand), reading.rescued()), (failed, rescued), "{path}");
    }
}

#[tokio::test]
async fn a_fleet_that_speaks_http1_is_named_and_gets_no_call() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let rig = Rig::before(&origin);
    let mut called = call(&rig, "/test.Calls/x", None, Sends::One).await;
    let (_, status, message) = end(&mut called).await;
    assert_eq!((status.as_str(), message.contains("HTTP/2")), ("12", true), "{message}");
    assert!(origin.seen().is_empty());
}

#[test]
fn over_http1_nothing_is_taken_for_a_call() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\ngrpc-status: 14\r\ncontent-length: 2\r\n\r\nok");
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send(
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-type: application/grpc\r\ngrpc-timeout: nonsense\r\ncontent-length: 2\r\n\r\nhi",
    );
    assert_eq!(client.answer().status, 200);
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.succeeded, reading.grpc_statuses), (1, [0; 17]));
}
