//! What comes after a body, in both directions.

use std::io::Write;

use bytes::Bytes;
use http::{HeaderMap, Request};

use super::kit::{Origin, Rig, Seen, Setup, Then};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

const WITH_TRAILERS: &str = "HTTP/1.1 200 OK\r\ntrailer: x-checksum, x-tokens, content-length\r\ntransfer-encoding: chunked\r\n\r\n\
    2\r\nok\r\n0\r\nx-checksum: abc\r\ncontent-length: 9\r\nX-Tokens: 7\r\n\r\n";

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// Sends a request in HTTP/2 with trailers, and returns the response's body and trailers.
async fn exchange(rig: &Rig, trailers: HeaderMap) -> (Vec<u8>, Option<HeaderMap>) {
    let stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut sender = sender.ready().await.unwrap();
    let request = Request::post("http://test/").header("te", "trailers").body(()).unwrap();
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(b"hello"), false).unwrap();
    stream.send_trailers(trailers).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut text = Vec::new();
    while let Some(bytes) = body.data().await {
        text.extend_from_slice(&bytes.unwrap());
    }
    (text, body.trailers().await.unwrap())
}

#[test]
fn a_requests_trailers_reach_the_instance_but_for_those_that_belong_into_a_head() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-checksum\r\nte: trailers\r\n\r\n\
         2\r\nhi\r\n0\r\nx-checksum: 5\r\nauthorization: x\r\nhost: evil\r\nx-forwarded-for: evil\r\n\r\n",
    );
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.get("/").status, 200, "the connection goes on");
    let Seen { body, trailers, .. } = &origin.seen()[0];
    assert_eq!((&body[..], &trailers[..]), (&b"hi"[..], &[pair("x-checksum", "5")][..]));
    assert_eq!(origin.seen()[0].header("te"), ["trailers"]);
    assert_eq!(origin.seen()[0].header("connection"), ["te"]);
    assert_eq!(origin.seen()[0].header("trailer"), ["x-checksum"]);
    assert_eq!(origin.connections(), 1, "and so does the instance's");
}

#[test]
fn a_client_of_http1_that_takes_trailers_gets_them() {
    let origin = Origin::saying(WITH_TRAILERS);
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.text(), answer.is_whole), ("ok", true));
        assert_eq!(answer.trailers, [pair("x-checksum", "abc"), pair("x-tokens", "7")]);
        let answer = client.get("/");
        assert_eq!((answer.text(), answer.is_whole, answer.trailers.len()), ("ok", true, 0), "unasked: none");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn trailers_pass_between_http2_clients_and_http1_instances() {
    let origin = Origin::saying(WITH_TRAILERS);
    let rig = Rig::before(&origin);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().unwrap());
    trailers.insert("x-snapback-fleet", "green".parse().unwrap());
    let (body, trailers) = exchange(&rig, trailers).await;
    let trailers = trailers.unwrap();
    assert_eq!((&body[..], trailers["x-checksum"].as_bytes(), trailers.len()), (&b"ok"[..], &b"abc"[..], 2));
    assert_eq!(origin.seen()[0].trailers, [pair("x-checksum", "1")]);
}

#[tokio::test]
async fn a_rescued_request_has_its_trailers_too() {
    let blue = Origin::saying(OK);
    let green = Origin::new(|_, _| Then::Close);
    let mut setup = Setup::new(&[blue.address]);
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    let rig = setup.start();
    let trailers = HeaderMap::from_iter([("x-checksum".parse().unwrap(), "1".parse().unwrap())]);
    assert_eq!(exchange(&rig, trailers).await.0, b"ok");
    assert_eq!(green.seen()[0].trailers, [pair("x-checksum", "1")]);
    assert_eq!(blue.seen()[0].trailers, [pair("x-checksum", "1")]);
}

#[test]
fn malformed_or_endless_trailers_break_the_response() {
    for trailers in ["x\r\n\r\n", "x: 1\r\n y\r\n\r\n", &"x: y\r\n".repeat(5_000)] {
        let response =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{trailers}");
        let origin = Origin::new(move |_, stream| {
            drop(stream.write_all(response.as_bytes()));
            Then::Keep
        });
        let rig = Rig::before(&origin);
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert!(client.answer_if_any().is_none_or(|answer| answer.status == 502 || !answer.is_whole));
        rig.blue_when(|reading| reading.failed() == 1);
    }
}
