//! What is kept of each outcome, one by one.

use std::{io::Write, time::Duration};

use super::kit::{Origin, Rig, Setup, Then, eventually};
use crate::{
    fleet::Side,
    meter::{FailureKind, Record, Rescue, Verdict},
};

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 187\r\n\r\n";

fn recorded(rig: &Rig, count: usize) -> Vec<Record> {
    let recorder = rig.route.recording.recorder().unwrap();
    eventually(|| {
        let records = recorder.read().records;
        (records.len() == count).then(|| records.into_iter().map(|(record, _)| record).collect())
    })
}

#[test]
fn a_failure_that_was_rescued_and_the_rescue_that_failed_too_are_two_records() {
    let (green, blue) = (
        Origin::saying("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n"),
        Origin::saying("HTTP/1.1 503 Full\r\ncontent-length: 0\r\n\r\n"),
    );
    let mut setup = Setup::new(&[blue.address]);
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    let rig = setup.start();
    assert_eq!(rig.client().post("/", "x").status, 503);
    let told = |record: &Record| (record.side, record.verdict, record.status, record.rescue);
    let records = recorded(&rig, 2);
    let (server_error, overload) =
        (Verdict::Failure(FailureKind::ServerError), Verdict::Failure(FailureKind::Overload));
    assert_eq!(told(&records[0]), (Side::Green, server_error, Some(500), Some(Rescue::Tried)));
    assert_eq!(told(&records[1]), (Side::Blue, overload, Some(503), Some(Rescue::Failed)));
    assert!(records[0].first_byte.is_some_and(|time| time <= records[0].duration));
}

#[test]
fn a_stream_is_recorded_with_its_tokens_and_its_longest_gap() {
    let event = |text: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    let end = "data: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let parts = [event("a"), event("b"), end.to_owned()];
    let head = STREAM.replace("187", &parts.concat().len().to_string());
    let origin = Origin::new(move |_, stream| {
        stream.write_all(head.as_bytes()).unwrap();
        for part in &parts {
            stream.write_all(part.as_bytes()).unwrap();
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Then::Keep
    });
    let rig = Rig::before(&origin);
    assert_eq!(rig.client().post("/", "{}").status, 200);
    let Record { side, verdict, first_token, worst_gap, gaps, tokens_out, duration, rescue, .. } =
        recorded(&rig, 1).remove(0);
    assert_eq!((side, verdict, tokens_out, rescue), (Side::Blue, Verdict::Success, 2, None));
    let (first, gap) = (first_token.unwrap(), worst_gap.unwrap());
    assert_eq!(gaps.map(|gaps| gaps.mean), Some(gap), "it has one");
    assert!(gap >= Duration::from_millis(10) && first + gap <= duration, "{first:?} {gap:?} {duration:?}");
}
