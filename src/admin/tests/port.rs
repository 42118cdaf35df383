//! The bound port: connections, event streams and the end.

use axum::body::Body;
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower::ServiceExt;

use super::{
    super::serve,
    world::{World, request},
};

type Messages = Lines<BufReader<TcpStream>>;

async fn ask(address: std::net::SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}host: {address}\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

/// The ids of the next messages.
async fn ids(messages: &mut Messages, count: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let line = messages.next_line().await.unwrap().expect("the stream goes on");
        ids.extend(line.strip_prefix("id: ").map(|id| id.parse::<u64>().unwrap()));
    }
    ids
}

#[tokio::test]
async fn streams_resume_where_they_were_and_end_with_the_port() {
    let (admin, world) = World::admin();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve(listener, admin, stopped));

    let mut first = BufReader::new(ask(address, "GET /v1/events?after=0 HTTP/1.1\r\n").await).lines();
    let declare =
        json!({"match": {"path_prefix": "/b"}, "blue": {"version": "b1", "instances": [world.blue]}});
    let body = declare.to_string();
    let head = format!(
        "PUT /v1/endpoints/b HTTP/1.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    let mut put = ask(address, &head).await;
    put.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    put.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");

    let newest = world.handle.events_after(0).await.unwrap().last().unwrap().id;
    let seen = ids(&mut first, usize::try_from(newest).unwrap()).await;
    assert_eq!(seen, (1..=newest).collect::<Vec<_>>());
    let head = format!("GET /v1/events HTTP/1.1\r\nlast-event-id: {}\r\n", newest - 1);
    let mut second = BufReader::new(ask(address, &head).await).lines();
    assert_eq!(ids(&mut second, 1).await, [newest]);

    stop.send_replace(true);
    serving.await.unwrap();
    while first.next_line().await.unwrap().is_some() {}
    while second.next_line().await.unwrap().is_some() {}
    assert!(TcpStream::connect(address).await.is_err());
    world.end().await;
}

#[tokio::test]
async fn a_stream_of_one_endpoint_has_no_events_of_others() {
    let world = World::new();
    for name in ["a", "b"] {
        let document = json!({"match": {"path_prefix": format!("/{name}")}, "blue": {"version": "1", "instances": [world.blue]}});
        let declared = world.json(Method::PUT, &format!("/v1/endpoints/{name}"), &document).await;
        assert_eq!(declared.status, 201, "{}", declared.text());
    }
    let stream = request(Method::GET, "/v1/events?after=0&endpoint=b", Body::empty());
    let answer = world.router.clone().oneshot(stream).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let first = std::str::from_utf8(&first).unwrap();
    assert!(first.contains("\"endpoint\":\"b\""), "{first}");
    world.stop.send_replace(true);
    while body.frame().await.is_some() {}
    world.end().await;
}
