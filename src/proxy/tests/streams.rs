//! Event streams of green that are held until they say something.

use std::{
    io::{Read, Write},
    sync::{Mutex, mpsc},
    time::Duration,
};

use super::kit::{Origin, Rig, Setup, Then};
use crate::{
    meter::FailureKind,
    route::{RescueUntil, Signals},
};

const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const END: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"engine died\",\"code\":500}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn head(kind: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n")
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// An origin whose streams are these chunks.
fn streaming(kind: &'static str, chunks: Vec<String>) -> Origin {
    Origin::new(move |_, stream| {
        stream.write_all(head(kind).as_bytes()).unwrap();
        for text in &chunks {
            stream.write_all(chunk(text).as_bytes()).unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
        Then::Keep
    })
}

fn rig(blue: &Origin, green: &Origin) -> Rig {
    let mut setup = Setup::new(&[blue.address]);
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    setup.rescue.until = RescueUntil::FirstToken;
    setup.start()
}

#[test]
fn a_failure_before_the_first_token_is_rescued_and_counted_as_greens() {
    let blue = streaming("text/event-stream", [ROLE, TEXT, END, DONE].map(str::to_owned).into());
    for bad in [vec![ROLE, ERROR, DONE], vec![ERROR, DONE], vec![DONE], vec![ROLE, ROLE, DONE]] {
        let green = streaming(
            "text/event-stream; charset=utf-8",
            bad.iter().map(|text| (*text).to_owned()).collect(),
        );
        let rig = rig(&blue, &green);
        let mut client = rig.client();
        for _ in 0..2 {
            let answer = client.post("/v1/chat/completions", "{}");
            assert_eq!((answer.text(), answer.is_whole), ([ROLE, TEXT, END, DONE].concat().as_str(), true));
        }
        let reading = rig.green_when(|reading| reading.settled() == 2);
        assert_eq!((reading.failures[FailureKind::InBand.index()], reading.rescued()), (2, 2), "{bad:?}");
    }
}

#[test]
fn a_stream_that_breaks_before_the_first_token_is_rescued() {
    let blue = streaming("text/event-stream", vec![TEXT.to_owned(), DONE.to_owned()]);
    let green = Origin::new(|_, stream| {
        stream.write_all((head("text/event-stream") + &chunk(ROLE)).as_bytes()).unwrap();
        Then::Close
    });
    let rig = rig(&blue, &green);
    assert_eq!(rig.client().post("/", "{}").text(), [TEXT, DONE].concat());
    let reading = rig.green_when(|reading| reading.settled() == 1);
    assert_eq!((reading.failures[FailureKind::Truncated.index()], reading.rescued()), (1, 1));
}

#[test]
fn a_held_stream_arrives_byte_for_byte() {
    let blue = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nblue");
    let long = "data: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n".repeat(200);
    let cut: Vec<String> = [ROLE, TEXT, END, DONE]
        .concat()
        .as_bytes()
        .chunks(7)
        .map(|part| String::from_utf8(part.to_vec()).unwrap())
        .collect();
    let whole = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let (in_band, truncated) = (Some(FailureKind::InBand), Some(FailureKind::Truncated));
    for (kind, chunks, failure) in [
        ("text/event-stream", whole(&[ROLE, TEXT, ERROR, DONE]), in_band),
        ("text/event-stream", cut, None),
        ("text/event-stream", whole(&[&long, END, DONE]), None),
        ("text/event-stream", whole(&["bare text that is no event"]), None),
        ("text/event-stream", whole(&[": keep-alive\n\n", ERROR]), in_band),
        ("text/event-stream", whole(&[ROLE, "data: {\"choices\":[]}\n\n", DONE]), in_band),
        ("text/event-stream", whole(&[ROLE]), truncated),
        ("text/event-stream", vec![], in_band),
        ("application/json", whole(&[ERROR]), None),
    ] {
        let green = streaming(kind, chunks.clone());
        let rig = rig(&blue, &green);
        let mut client = rig.client();
        for _ in 0..2 {
            let answer = client.post("/", "{}");
            assert_eq!(
                (answer.text(), answer.is_whole),
                (chunks.concat().as_str(), true),
                "{kind} {chunks:?}"
            );
        }
        let reading = rig.green_when(|reading| reading.settled() == 2);
        let failed = failure.map_or(0, |failure| reading.failures[failure.index()]);
        let succeeded = if failure.is_some() { 0 } else { 2 };
        assert_eq!((reading.succeeded, failed), (succeeded, 2 - succeeded), "{kind} {chunks:?}");
        assert_eq!(reading.rescued(), 0, "{kind} {chunks:?}");
    }
}

#[test]
fn an_endpoint_that_reads_no_signals_judges_a_stream_by_its_end_alone() {
    for (signals, expected, tokens) in [(Signals::Off, 0, 0), (Signals::Auto, 1, 1)] {
        let blue = streaming("text/event-stream", [ROLE, TEXT, ERROR, DONE].map(str::to_owned).into());
        let rig = Setup { signals, ..Setup::new(&[blue.address]) }.start();
        assert_eq!(rig.client().post("/", "{}").text(), [ROLE, TEXT, ERROR, DONE].concat());
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        let count = rig.route.blue.meters.first_token().count();
        assert_eq!((reading.failed(), reading.tokens_out, count), (expected, tokens, tokens), "{signals:?}");
    }
}

#[test]
fn a_head_without_a_body_is_no_empty_stream() {
    let blue = Origin::saying("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
    let rig = Rig::before(&blue);
    let mut client = rig.client();
    assert_eq!(client.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n").answer_to_head().status, 200);
    assert_eq!(rig.blue_when(|reading| reading.settled() == 1).succeeded, 1);
}

#[test]
fn keep_alive_comments_do_not_keep_a_stream_open_whose_model_has_stopped() {
    let blue = Origin::new(|_, stream| {
        stream.write_all((head("text/event-stream") + &chunk(TEXT)).as_bytes()).unwrap();
        for _ in 0..500 {
            if stream.write_all(chunk(": keep-alive\n\n").as_bytes()).is_err() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Then::Close
    });
    let mut setup = Setup::new(&[blue.address]);
    setup.limits.idle_timeout = Duration::from_millis(200);
    let rig = setup.start();
    assert!(!rig.client().post("/", "{}").is_whole);
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!(reading.failures[FailureKind::IdleTimeout.index()], 1);
}

#[test]
fn a_held_stream_of_known_length_arrives_whole() {
    let blue = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nblue");
    let green = Origin::new(|_, stream| {
        let length = ROLE.len() + TEXT.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all((head + ROLE + TEXT).as_bytes()).unwrap();
        Then::Keep
    });
    let rig = rig(&blue, &green);
    let mut client = rig.client();
    for _ in 0..2 {
        assert_eq!(client.post("/", "{}").text(), [ROLE, TEXT].concat());
    }
}

#[test]
fn the_first_text_is_passed_on_at_once_and_silence_is_held_for_no_longer_than_a_second() {
    let blue = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nblue");
    for (first, then) in [(ROLE, TEXT), (TEXT, END)] {
        let (go_on, told) = mpsc::channel();
        let told = Mutex::new(told);
        let green = Origin::new(move |_, stream| {
            stream.write_all((head("text/event-stream") + &chunk(first)).as_bytes()).unwrap();
            // Only when the client has seen the first event does the second one come.
            told.lock().unwrap().recv().unwrap();
            stream.write_all((chunk(then) + "0\r\n\r\n").as_bytes()).unwrap();
            Then::Keep
        });
        let rig = rig(&blue, &green);
        let mut client = rig.client();
        client.stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{}");
        client.head();
        client.expect(&chunk(first));
        go_on.send(()).unwrap();
        client.expect(&(chunk(then) + "0\r\n\r\n"));
    }
}

#[test]
fn an_in_band_failure_that_the_budget_has_no_room_for_is_delivered_and_counted() {
    let blue = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nblue");
    let green = streaming("text/event-stream", vec![ROLE.to_owned(), ERROR.to_owned(), DONE.to_owned()]);
    let mut setup = Setup::new(&[blue.address]);
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    (setup.rescue.until, setup.rescue.budget) = (RescueUntil::FirstToken, crate::weight::Share::NONE);
    let rig = setup.start();
    assert_eq!(rig.client().post("/", "{}").text(), [ROLE, ERROR, DONE].concat());
    let reading = rig.green_when(|reading| reading.settled() == 1);
    assert_eq!((reading.failures[FailureKind::InBand.index()], reading.not_rescued()), (1, 1));
}

#[test]
fn a_client_that_leaves_a_stream_which_said_that_the_model_failed_does_not_clear_the_fleet() {
    let blue = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nblue");
    let green = Origin::new(|_, stream| {
        stream.write_all((head("text/event-stream") + &chunk(ERROR)).as_bytes()).unwrap();
        while stream.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
        Then::Close
    });
    let mut setup = Setup::new(&[blue.address]);
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    (setup.rescue.until, setup.rescue.budget) = (RescueUntil::FirstToken, crate::weight::Share::NONE);
    let rig = setup.start();
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{}").head();
    client.expect(&chunk(ERROR));
    drop(client);
    let reading = rig.green_when(|reading| reading.settled() == 1);
    assert_eq!((reading.failures[FailureKind::InBand.index()], reading.client_gone), (1, 0));
}
