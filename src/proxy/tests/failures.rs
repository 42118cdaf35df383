//! What counts as a failure, where the endpoint's owner says so.

use std::{
    io::{Read, Write},
    time::Duration,
};

use super::kit::{Origin, Rig, Setup, Then};
use crate::{
    meter::FailureKind,
    route::{FailureClasses, RescueUntil, Statuses},
};

const MISSING: &str = "HTTP/1.1 404 Missing\r\ncontent-length: 0\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n";
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 44\r\n\r\n\
                      data: {\"error\":{\"code\":500}}\n\ndata: [DONE]\n\n";

fn rig(origin: &Origin, failures: FailureClasses) -> Rig {
    Setup { failures, ..Setup::new(&[origin.address]) }.start()
}

#[test]
fn a_status_counts_as_its_endpoint_says() {
    let classes = FailureClasses { statuses: Statuses::of([404]), ..FailureClasses::default() };
    for (answer, failed) in [(MISSING, 1), (BROKEN, 0)] {
        let rig = rig(&Origin::saying(answer), classes.clone());
        rig.client().get("/");
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        assert_eq!((reading.failed(), reading.client_errors), (failed, 1 - failed), "{answer}");
    }
}

#[test]
fn client_errors_count_where_they_are_asked_for() {
    let rig = rig(&Origin::saying(MISSING), FailureClasses { client_errors: true, ..Default::default() });
    assert_eq!(rig.client().get("/").status, 404);
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.failures[FailureKind::ClientError.index()], reading.client_errors), (1, 0));
}

#[test]
fn an_error_inside_a_stream_that_does_not_count_is_excused_and_not_rescued() {
    let (blue, green) = (Origin::saying(BROKEN), Origin::saying(STREAM));
    let mut setup = Setup::new(&[blue.address]);
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    setup.rescue.until = RescueUntil::FirstToken;
    setup.failures.in_band = false;
    let rig = setup.start();
    assert!(rig.client().post("/", "{}").text().contains("error"));
    let reading = rig.green_when(|reading| reading.settled() == 1);
    assert_eq!((reading.excused, reading.failed(), reading.succeeded), (1, 0, 0));
    assert_eq!((reading.rescued(), rig.route.green.as_ref().unwrap().meters.latency().count()), (0, 0));
}

#[test]
fn a_timeout_that_does_not_count_is_excused_and_not_rescued() {
    let silent = Origin::new(|_, stream| {
        while stream.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
        Then::Close
    });
    let blue = Origin::saying(BROKEN);
    let mut setup = Setup::new(&[blue.address]);
    (setup.green, setup.green_share) = (vec![silent.address], "100%");
    setup.limits.head_timeout = Duration::from_millis(1);
    setup.failures.timeouts = false;
    let rig = setup.start();
    assert_eq!(rig.client().post("/", "{}").status, 504);
    let reading = rig.green_when(|reading| reading.settled() == 1);
    assert_eq!((reading.excused, reading.failed(), reading.rescued()), (1, 0, 0));
    assert_eq!(blue.seen().len(), 0);
}

#[test]
fn a_client_that_leaves_counts_where_that_is_asked_for_and_one_whose_request_is_refused_does_not() {
    let slow = Origin::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1").unwrap();
        while stream.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
        Then::Close
    });
    let mut setup = Setup::new(&[slow.address]);
    setup.failures.gone_clients = true;
    setup.limits.body_limit_bytes = 4;
    let rig = setup.start();
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").head();
    client.expect("1");
    drop(client);
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.failures[FailureKind::ClientGone.index()], reading.client_gone), (1, 0));
    let mut client = rig.client();
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n6\r\n123456\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 413);
    let reading = rig.blue_when(|reading| reading.settled() == 2);
    assert_eq!((reading.failed(), reading.client_gone), (1, 1));
}
