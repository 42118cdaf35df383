//! Health checks against servers in this process.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use crate::{
    config::{HealthCheck, HealthSpec},
    control::{
        probe::Network,
        prober::{HealthChange, Prober, Probes},
        task::Note,
    },
    fleet::{Address, Fleet, Health, Instance, Protocol},
    name::{EndpointName, Version},
};

/// Answers each connection's first request with the next status of a list, and the last one from then on.
async fn server(statuses: &'static [u16]) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, requests) = mpsc::channel(100);
    tokio::spawn(async move {
        for index in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let status = statuses.get(index).or(statuses.last()).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap() == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            drop(asked.try_send(String::from_utf8(head).unwrap()));
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (format!("localhost:{port}"), requests)
}

fn spec(path: Option<&str>) -> HealthSpec {
    HealthSpec {
        check: path.map_or(HealthCheck::Connection, |path| HealthCheck::Get(path.to_owned())),
        interval: Duration::from_millis(2),
        timeout: Duration::from_secs(5),
        unhealthy_after: 3,
        healthy_after: 2,
    }
}

fn watch(address: &str, spec: &HealthSpec) -> (Arc<Instance>, mpsc::Receiver<Note>, Probes) {
    watch_over(Protocol::Http1, address, spec)
}

fn watch_over(
    protocol: Protocol,
    address: &str,
    spec: &HealthSpec,
) -> (Arc<Instance>, mpsc::Receiver<Note>, Probes) {
    let instance = Arc::new(Instance::new(Address::parse(address).unwrap(), 1).speaking(protocol));
    let fleet = Fleet::of(Version::parse("v1").unwrap(), vec![Arc::clone(&instance)]);
    let (notes, received) = mpsc::channel(10);
    let prober = Prober { check: Arc::new(Network), notes, keychain: Arc::default() };
    let probes = prober.watch(&EndpointName::parse("chat").unwrap(), &fleet, spec);
    (instance, received, probes)
}

async fn change(notes: &mut mpsc::Receiver<Note>) -> HealthChange {
    match notes.recv().await.unwrap() {
        Note::Health(change) => change,
        note @ (Note::Provisioned { .. }
        | Note::Fleet(_)
        | Note::Ready { .. }
        | Note::Drained { .. }
        | Note::Polled(_)
        | Note::Looked { .. }) => {
            panic!("{note:?}")
        }
    }
}

#[tokio::test]
async fn an_instance_is_healthy_and_unhealthy_after_so_many_checks_in_a_row() {
    let (address, mut requests) = server(&[200, 503, 204, 200, 503, 200, 500, 500, 500, 500]).await;
    let (instance, mut notes, _probes) = watch(&address, &spec(Some("/health")));
    assert!(instance.socket_address().is_none(), "the name has not been resolved");
    let up = change(&mut notes).await;
    assert_eq!((up.health, up.cause.as_str()), (Health::Healthy, "2 checks in a row passed"));
    assert_eq!(instance.socket_address().unwrap().ip().to_string(), "127.0.0.1");
    let down = change(&mut notes).await;
    assert_eq!(down.health, Health::Unhealthy);
    assert_eq!(down.cause, "3 checks in a row failed, the last one: GET /health answered 500");
    assert_eq!(instance.health(), Health::Unhealthy);
    let request = requests.recv().await.unwrap();
    assert!(
        request.starts_with("GET /health HTTP/1.1\r\n") && request.contains("connection: close"),
        "{request}"
    );
}

#[tokio::test]
async fn without_a_path_a_connection_is_enough_and_a_refused_one_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (_instance, mut notes, _probes) = watch(&address, &spec(None));
    assert_eq!(change(&mut notes).await.health, Health::Healthy);
    drop(listener);
    let down = change(&mut notes).await;
    assert_eq!(down.health, Health::Unhealthy);
    assert!(down.cause.contains("no connection"), "{}", down.cause);
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_fails_its_check() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let spec = HealthSpec { timeout: Duration::from_millis(20), ..spec(Some("/")) };
    let (_instance, mut notes, _probes) = watch(&address, &spec);
    let down = change(&mut notes).await;
    assert!(down.cause.ends_with("no answer within 20ms"), "{}", down.cause);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_fails_its_check() {
    let (_instance, mut notes, _probes) = watch("no-such-host.invalid:80", &spec(None));
    let down = change(&mut notes).await;
    assert!(down.cause.contains("does not resolve"), "{}", down.cause);
}

#[tokio::test]
async fn checks_end_with_their_fleet() {
    let (address, mut requests) = server(&[200]).await;
    let (_instance, mut notes, probes) = watch(&address, &spec(Some("/")));
    change(&mut notes).await;
    drop(probes);
    assert!(notes.recv().await.is_none(), "the task and its sender are gone");
    while requests.try_recv().is_ok() {}
}

/// A server of HTTP/2 that answers `/health` with 204, knows the services "up" and "down", and says what was asked.
async fn http2_server() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (asked, requests) = mpsc::channel(100);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut requests = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((mut request, respond))) = requests.accept().await {
                    drop(asked.try_send(format!("{} {}", request.method(), request.uri())));
                    tokio::spawn(async move {
                        let question =
                            request.body_mut().data().await.and_then(Result::ok).unwrap_or_default();
                        answer(request.uri().path(), &question, respond);
                    });
                }
            });
        }
    });
    (address, requests)
}

fn answer(path: &str, question: &[u8], mut respond: h2::server::SendResponse<bytes::Bytes>) {
    let (status, message, code) = match (path, question) {
        ("/health", _) => (204, None, None),
        ("/grpc.health.v1.Health/Check", b"\0\0\0\0\x04\x0a\x02up") => {
            (200, Some(&b"\0\0\0\0\x02\x08\x01"[..]), Some("0"))
        }
        ("/grpc.health.v1.Health/Check", b"\0\0\0\0\x06\x0a\x04down") => {
            (200, Some(&b"\0\0\0\0\x02\x08\x02"[..]), Some("0"))
        }
        ("/grpc.health.v1.Health/Check", _) => (200, None, Some("5")),
        _ => (404, None, None),
    };
    let mut response = http::Response::builder().status(status);
    if let (Some(code), None) = (code, message) {
        response = response.header("grpc-status", code);
    }
    let mut stream = respond.send_response(response.body(()).unwrap(), message.is_none()).unwrap();
    if let (Some(message), Some(code)) = (message, code) {
        stream.send_data(bytes::Bytes::from_static(message), false).unwrap();
        let trailers = http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]);
        stream.send_trailers(trailers).unwrap();
    }
}

#[tokio::test]
async fn instances_of_http2_are_checked_over_http2() {
    let (address, mut requests) = http2_server().await;
    for (check, expected) in [
        (HealthCheck::Get("/health".to_owned()), None),
        (HealthCheck::Get("/nothing".to_owned()), Some("GET /nothing answered 404")),
        (HealthCheck::Grpc("up".to_owned()), None),
        (HealthCheck::Grpc("down".to_owned()), Some("the gRPC health service answered NOT_SERVING")),
        (HealthCheck::Grpc(String::new()), Some("the gRPC health service does not know the service")),
    ] {
        let spec = HealthSpec { check: check.clone(), ..spec(None) };
        let (_instance, mut notes, _probes) = watch_over(Protocol::H2c, &address, &spec);
        let change = change(&mut notes).await;
        match expected {
            None => assert_eq!(change.health, Health::Healthy, "{check:?}: {}", change.cause),
            Some(cause) => assert!(change.cause.ends_with(cause), "{check:?}: {}", change.cause),
        }
    }
    assert_eq!(requests.recv().await.unwrap(), format!("GET http://{address}/health"));
}

#[tokio::test]
async fn an_instance_that_speaks_another_protocol_fails_its_check() {
    let (address, _requests) = server(&[200]).await;
    let (_instance, mut notes, _probes) = watch_over(Protocol::H2c, &address, &spec(Some("/")));
    let down = change(&mut notes).await;
    assert!(down.cause.contains("GET / got no answer over HTTP/2"), "{}", down.cause);
    let (address, _requests) = http2_server().await;
    let (_instance, mut notes, _probes) = watch(&address, &spec(Some("/")));
    assert_eq!(change(&mut notes).await.health, Health::Unhealthy);
    let spec = HealthSpec { check: HealthCheck::Grpc(String::new()), ..spec(None) };
    let (_instance, mut notes, _probes) = watch(&address, &spec);
    let down = change(&mut notes).await;
    assert!(down.cause.ends_with("and the fleet's protocol is http1"), "{}", down.cause);
}
