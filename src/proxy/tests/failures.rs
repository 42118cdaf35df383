//! What counts as a failure, where the endpoint's owner says so.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use super::kit::{Origin, Rig, Setup, Then};
use crate::{
    meter::FailureKind,
    route::{BodySign, FailureBody, FailureClasses, RescueUntil, Statuses},
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

const ERROR_BODY: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 23\r\n\r\n\
                          {\"error\":\"out of room\"}";

fn field(within_bytes: usize) -> FailureClasses {
    let sign = BodySign::Field("error".to_owned());
    FailureClasses { body: Some(Arc::new(FailureBody { sign, within_bytes })), ..Default::default() }
}

#[test]
fn an_error_body_under_a_good_status_is_an_in_band_failure_where_the_endpoint_declares_it() {
    let packed =
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 23\r\n\r\n{\"error\":\"out of room\"}";
    let missing = "HTTP/1.1 404 No\r\ncontent-length: 23\r\n\r\n{\"error\":\"out of room\"}";
    for (answer, classes, expected) in [
        (ERROR_BODY, field(4096), (1, 0)),
        (ERROR_BODY, field(9), (0, 1)),
        (ERROR_BODY, FailureClasses::default(), (0, 1)),
        (ERROR_BODY, FailureClasses { in_band: false, ..field(4096) }, (0, 0)),
        (packed, field(4096), (0, 1)),
        (missing, field(4096), (0, 0)),
    ] {
        let rig = rig(&Origin::saying(answer), classes);
        assert_eq!(rig.client().get("/").text(), "{\"error\":\"out of room\"}");
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        let in_band = reading.failures[FailureKind::InBand.index()];
        assert_eq!((in_band, reading.succeeded), expected, "{answer}");
    }
}

#[test]
fn an_error_body_is_rescued_where_the_beginning_of_an_answer_is_held_and_only_there() {
    for (until, expected) in
        [(RescueUntil::FirstToken, "blue"), (RescueUntil::Head, "{\"error\":\"out of room\"}")]
    {
        let blue = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nblue");
        let green = Origin::saying(ERROR_BODY);
        let mut setup = Setup { failures: field(4096), ..Setup::new(&[blue.address]) };
        (setup.green, setup.green_share, setup.rescue.until) = (vec![green.address], "100%", until);
        let rig = setup.start();
        let mut client = rig.client();
        for _ in 0..2 {
            assert_eq!(client.post("/", "{}").text(), expected);
        }
        let reading = rig.green_when(|reading| reading.settled() == 2);
        let rescued = if until == RescueUntil::FirstToken { 2 } else { 0 };
        assert_eq!((reading.failed(), reading.rescued()), (2, rescued));
    }
}

#[test]
fn a_good_body_that_is_held_arrives_whole_and_counts_as_one() {
    let good = "HTTP/1.1 200 OK\r\ncontent-length: 26\r\n\r\n{\"error\":null,\"answer\":1}\n";
    let blue = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nblue");
    let green = Origin::saying(good);
    let mut setup = Setup { failures: field(4096), ..Setup::new(&[blue.address]) };
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    setup.rescue.until = RescueUntil::FirstToken;
    let rig = setup.start();
    let mut client = rig.client();
    for _ in 0..2 {
        assert_eq!(client.post("/", "{}").text(), "{\"error\":null,\"answer\":1}\n");
    }
    let reading = rig.green_when(|reading| reading.settled() == 2);
    assert_eq!((reading.succeeded, reading.rescued()), (2, 0));
}
