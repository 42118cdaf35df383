//! HTTP/2 to instances: what becomes of requests when streams and connections end, or an instance says what is no answer.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, server};
use http::Response;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};

use super::{
    kit::{Origin, Setup, nobody},
    origin2::{Asked, Origin2},
    raw2::{ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, SETTINGS, block, frame},
    upstream2::{connect, failures, post, read, rig, send, setup, until},
};
use crate::{fleet::Protocol, meter::FailureKind};

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
