//! What green fails goes to blue before the client sees a byte; what blue cannot take goes to another instance of blue.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use super::kit::{MessageReader, Origin, Rig, Setup, Then, nobody};
use crate::{
    fleet::Health,
    meter::{FailureKind, FleetMeters, Reading},
    route::{Replayed, Statuses},
    weight::Share,
};

const BLUE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nblue";

fn setup(blue: &Origin, green: SocketAddr) -> Setup {
    let mut setup = Setup::new(&[blue.address]);
    setup.green = vec![green];
    setup.green_share = "50%";
    setup
}

fn failures(reading: &Reading, kind: FailureKind) -> u64 {
    reading.failures[kind.index()]
}

fn executions(origin: &Origin) -> u64 {
    u64::try_from(origin.seen().len()).unwrap()
}

/// The statuses of forty requests.
fn statuses(rig: &Rig) -> Vec<u16> {
    let mut client = rig.client();
    let mut statuses: Vec<u16> =
        (0..40).map(|number| client.post("/v1/chat/completions", &number.to_string()).status).collect();
    statuses.sort_unstable();
    statuses
}

/// A green that answers every request with this, and then closes if that is not a whole answer.
fn green_saying(words: &'static str) -> Origin {
    Origin::new(move |_, stream| {
        stream.write_all(words.as_bytes()).unwrap();
        if words.contains("\r\n\r\n") && words.starts_with("HTTP") { Then::Keep } else { Then::Close }
    })
}

#[test]
fn whatever_green_does_before_the_first_byte_costs_no_client_anything_and_is_counted() {
    let server_error = "HTTP/1.1 500 Broken\r\ncontent-length: 3\r\n\r\nbad";
    let overload = "HTTP/1.1 503 Full\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n";
    let bad_gateway = "HTTP/1.1 502 Bad\r\ntransfer-encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n";
    for (words, kind) in [
        ("", FailureKind::Reset),
        ("HTTP/1.1 20", FailureKind::Reset),
        ("garbage\r\n\r\n", FailureKind::BadResponse),
        (server_error, FailureKind::ServerError),
        (bad_gateway, FailureKind::ServerError),
        (overload, FailureKind::Overload),
    ] {
        let (blue, green) = (Origin::saying(BLUE), green_saying(words));
        let rig = setup(&blue, green.address).start();
        assert_eq!(statuses(&rig), [200; 40], "{words}");
        let reading = rig.green_when(|reading| reading.settled() == 20);
        assert_eq!((failures(&reading, kind), reading.failed()), (20, 20), "{words}");
        assert_eq!((reading.rescued(), reading.rescue_failed(), reading.failed_for_clients()), (20, 0, 0));
        assert_eq!((executions(&green), executions(&blue)), (20, 40), "{words}");
        let blue_reading = rig.blue_when(|reading| reading.settled() == 20);
        assert_eq!((blue_reading.dealt, blue_reading.succeeded), (20, 20), "a rescue counts for nobody");
        assert_eq!(rig.route.blue.meters.latency().count(), 20);
        let mut bodies: Vec<String> =
            blue.seen().iter().map(|seen| String::from_utf8(seen.body.clone()).unwrap()).collect();
        bodies.sort_by_key(|body| body.parse::<u32>().unwrap());
        assert_eq!(bodies, (0..40).map(|number| number.to_string()).collect::<Vec<_>>(), "every body whole");
    }
}

#[test]
fn a_green_that_cannot_be_reached_or_has_no_instance_costs_no_client_anything() {
    let blue = Origin::saying(BLUE);
    let rig = setup(&blue, nobody()).start();
    assert_eq!(statuses(&rig), [200; 40]);
    for instance in &rig.route.green.as_ref().unwrap().fleet.instances {
        instance.set_health(Health::Unhealthy);
    }
    assert_eq!(statuses(&rig), [200; 40]);
    let reading = rig.green_when(|reading| reading.settled() == 40);
    assert_eq!(
        (failures(&reading, FailureKind::ConnectFailed), failures(&reading, FailureKind::NoInstance)),
        (20, 20)
    );
    assert_eq!((reading.rescued(), reading.failed_for_clients()), (40, 0));
}

#[test]
fn a_green_that_does_not_answer_in_time_costs_a_client_no_more_than_the_time() {
    let (blue, green) = (
        Origin::saying(BLUE),
        Origin::new(|_, stream| {
            while std::io::Read::read(stream, &mut [0; 64]).is_ok_and(|length| length > 0) {}
            Then::Close
        }),
    );
    let mut setup = setup(&blue, green.address);
    setup.limits.head_timeout = Duration::from_millis(1);
    setup.green_share = "100%";
    let rig = setup.start();
    let mut client = rig.client();
    for _ in 0..2 {
        assert_eq!(client.post("/", "x").text(), "blue");
    }
    let reading = rig.green_when(|reading| reading.settled() == 2);
    assert_eq!((failures(&reading, FailureKind::HeadTimeout), reading.rescued()), (2, 2));
    assert_eq!(rig.blue().dealt, 0);
}

#[test]
fn greens_failure_is_counted_before_blue_gets_the_request() {
    let meters: Arc<OnceLock<Arc<FleetMeters>>> = Arc::default();
    let (seen_by_blue, counts) = mpsc::channel();
    let known = Arc::clone(&meters);
    let blue = Origin::new(move |_, stream| {
        let reading = known.get().unwrap().read();
        seen_by_blue.send((reading.failed(), reading.failed_for_clients())).unwrap();
        stream.write_all(BLUE.as_bytes()).unwrap();
        Then::Keep
    });
    let mut setup = setup(&blue, nobody());
    setup.green_share = "100%";
    let rig = setup.start();
    meters.set(Arc::clone(&rig.route.green.as_ref().unwrap().meters)).unwrap();
    let mut client = rig.client();
    for number in 1..=5 {
        client.post("/", "x");
        assert_eq!(counts.recv().unwrap(), (number, 0));
    }
}

#[test]
fn what_the_owner_names_is_rescued_as_greens_failure_and_what_is_left_out_is_not() {
    let answer = |status: u16| -> &'static str {
        Box::leak(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").into_boxed_str())
    };
    for (status, on, statuses_on, rescued) in [
        (404, Replayed::BeforeFirstByte, vec![500], false),
        (429, Replayed::BeforeFirstByte, vec![500], false),
        (501, Replayed::BeforeFirstByte, vec![500], false),
        (504, Replayed::BeforeFirstByte, vec![500], false),
        (504, Replayed::BeforeFirstByte, vec![504], true),
        (424, Replayed::BeforeFirstByte, vec![424, 429], true),
        (429, Replayed::BeforeFirstByte, vec![424, 429], true),
        (404, Replayed::BeforeFirstByte, vec![404], true),
        (404, Replayed::ConnectFailures, vec![404], false),
        (500, Replayed::ConnectFailures, vec![500], false),
        (500, Replayed::Never, vec![500], false),
    ] {
        let (blue, green) = (Origin::saying(BLUE), green_saying(answer(status)));
        let mut setup = setup(&blue, green.address);
        setup.rescue.on = on;
        setup.rescue.statuses = Statuses::of(statuses_on);
        let rig = setup.start();
        let seen = statuses(&rig);
        assert_eq!(
            seen.iter().filter(|seen| **seen == status).count(),
            if rescued { 0 } else { 20 },
            "{status} {on:?}"
        );
        let reading = rig.green_when(|reading| reading.settled() == 20);
        assert_eq!((reading.rescued(), reading.not_rescued()), (if rescued { 20 } else { 0 }, 0));
        let is_failure = rescued || !matches!(status, 404 | 501);
        assert_eq!(reading.failed(), if is_failure { 20 } else { 0 }, "{status} {on:?}");
    }
    for (on, good) in [(Replayed::ConnectFailures, 40), (Replayed::Never, 20)] {
        let blue = Origin::saying(BLUE);
        let mut setup = setup(&blue, nobody());
        setup.rescue.on = on;
        assert_eq!(statuses(&setup.start()).iter().filter(|status| **status == 200).count(), good);
    }
}

#[test]
fn a_body_beyond_the_replay_limit_is_not_rescued_and_the_meters_say_why() {
    let (blue, green) = (Origin::saying(BLUE), green_saying(""));
    let mut setup = setup(&blue, green.address);
    setup.limits.replay_limit_bytes = 50;
    setup.green_share = "100%";
    let rig = setup.start();
    let mut client = rig.client();
    assert_eq!(client.post("/", &"x".repeat(100)).status, 502);
    assert_eq!(client.post("/", &"x".repeat(50)).text(), "blue");
    let reading = rig.green_when(|reading| reading.settled() == 2);
    assert_eq!((reading.rescued(), reading.not_rescued(), reading.failed_for_clients()), (1, 1, 1));
    assert_eq!(executions(&blue), 1);
}

#[test]
fn a_body_of_single_bytes_is_soon_too_large_to_keep() {
    let chunks = "1\r\nx\r\n".repeat(40);
    for (replay_limit_bytes, status) in [(10_000, 200), (2_000, 502)] {
        let (blue, green) = (Origin::saying(BLUE), green_saying(""));
        let mut setup = setup(&blue, green.address);
        (setup.limits.replay_limit_bytes, setup.green_share) = (replay_limit_bytes, "100%");
        let rig = setup.start();
        let head = "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = rig.client().send(format!("{head}{chunks}0\r\n\r\n")).answer();
        assert_eq!(answer.status, status, "{replay_limit_bytes}");
        for request in blue.seen() {
            assert_eq!(request.body, "x".repeat(40).into_bytes());
        }
    }
}

#[test]
fn stateful_requests_and_methods_that_change_things_are_not_replayed() {
    let blue = Origin::saying(BLUE);
    let green = green_saying("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n");
    let mut setup = setup(&blue, green.address);
    setup.green_share = "100%";
    let rig = setup.start();
    let mut client = rig.client();
    let mut status = |head: &str, body: &str| {
        let length = body.len();
        client.send(format!("{head}\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}")).answer().status
    };
    for (head, body) in [
        ("POST /v1/files HTTP/1.1", "x"),
        ("DELETE /v1/chat/completions HTTP/1.1", ""),
        ("POST /invocations HTTP/1.1\r\nX-Amzn-SageMaker-Session-Id: 1", "x"),
        ("POST /v2/models/m/infer HTTP/1.1", r#"{"parameters":{"sequence_id":4}}"#),
    ] {
        assert_eq!(status(head, body), 500, "{head}");
    }
    assert_eq!(executions(&blue), 0);
    assert_eq!(status("POST /v2/models/m/infer HTTP/1.1", r#"{"inputs":[]}"#), 200);
}

#[test]
fn when_blue_fails_too_the_client_sees_it_and_the_request_was_executed_once_on_each() {
    for (blue_says, status) in [("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n", 500), ("", 502)] {
        let (blue, green) = (green_saying(blue_says), green_saying(""));
        let mut setup = setup(&blue, green.address);
        setup.green_share = "100%";
        let rig = setup.start();
        assert_eq!(rig.client().post("/", "x").status, status);
        let reading = rig.green_when(|reading| reading.rescue_failed() == 1);
        assert_eq!((reading.failed(), reading.rescued(), reading.failed_for_clients()), (1, 1, 1));
        assert_eq!((executions(&green), executions(&blue), rig.blue().settled()), (1, 1, 0));
    }
}

#[test]
fn the_budget_bounds_what_blue_gets() {
    let (blue, green) = (Origin::saying(BLUE), green_saying("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"));
    let mut setup = setup(&blue, green.address);
    setup.green_share = "100%";
    let rig = setup.start();
    let mut client = rig.client();
    let good = (0..300).filter(|_| client.post("/", "x").status == 200).count();
    let reading = rig.green_when(|reading| reading.settled() == 300);
    assert_eq!((good, executions(&blue), reading.rescued(), reading.not_rescued()), (100, 100, 100, 200));

    let mut none = Setup::new(&[blue.address]);
    (none.green, none.green_share, none.rescue.budget) = (vec![green.address], "100%", Share::NONE);
    assert_eq!(none.start().client().post("/", "x").status, 500);
}

#[test]
fn a_rescued_answer_says_so_where_fleets_are_exposed() {
    let blue = Origin::saying(BLUE);
    let mut setup = setup(&blue, nobody());
    setup.settings.expose_fleet = true;
    let rig = setup.start();
    let mut client = rig.client();
    let answers: Vec<_> = (0..40).map(|_| client.post("/", "x")).collect();
    let says =
        |fleet| answers.iter().filter(|answer| answer.header("x-snapback-fleet") == Some(fleet)).count();
    assert_eq!((says("blue"), says("rescued"), says("green")), (20, 20, 0));
}

#[test]
fn blue_with_one_instance_down_fails_nobody_and_the_request_is_one_outcome() {
    let blue = Origin::saying(BLUE);
    let rig = Setup::new(&[blue.address, nobody()]).start();
    assert_eq!(statuses(&rig), [200; 40]);
    let reading = rig.blue_when(|reading| reading.settled() == 40);
    assert_eq!((reading.succeeded, reading.failed(), executions(&blue)), (40, 0, 40));
    assert!(reading.retried > 0, "forty draws of two instances");
    assert_eq!(rig.route.blue.fleet.in_flight(), 0);

    let mut without = Setup::new(&[blue.address, nobody()]);
    without.rescue.retry = Replayed::Never;
    assert!(statuses(&without.start()).contains(&502));
}

#[test]
fn a_connection_of_blue_that_dies_is_retried_elsewhere_only_where_the_owner_says_so() {
    for (retry, is_good) in [(Replayed::ConnectFailures, false), (Replayed::BeforeFirstByte, true)] {
        let (good, dying) = (Origin::saying(BLUE), green_saying(""));
        let mut setup = Setup::new(&[good.address, dying.address]);
        setup.rescue.retry = retry;
        let rig = setup.start();
        assert_eq!(statuses(&rig) == [200; 40], is_good, "{retry:?}");
        let reading = rig.blue_when(|reading| reading.settled() == 40);
        assert!(executions(&dying) > 0);
        assert_eq!(executions(&good) + executions(&dying), 40 + reading.retried);
        assert_eq!(reading.failed() == 0, is_good);
    }
}

#[test]
fn a_green_that_is_killed_is_rescued_though_it_takes_one_more_connection() {
    let blue = Origin::saying(BLUE);
    // Its connections serve a request each, and the second closes them unanswered, as does the first on one that is made then.
    let green = Origin::raw(|stream, seen, connection| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        for number in 0..2 {
            let Some(request) = reader.request() else { return };
            seen.lock().unwrap().push(request);
            if connection > 1 || number > 0 {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\ngreen").unwrap();
        }
    });
    let mut setup = setup(&blue, green.address);
    setup.green_share = "100%";
    let rig = setup.start();
    let mut client = rig.client();
    assert_eq!([client.post("/", "1").text(), client.post("/", "2").text()], ["green", "blue"]);
    let reading = rig.green_when(|reading| reading.settled() == 2);
    assert_eq!((reading.retried, reading.rescued(), failures(&reading, FailureKind::Reset)), (1, 1, 1));
    assert_eq!((executions(&green), executions(&blue)), (3, 1));
}

#[test]
fn a_request_that_kills_every_instance_is_given_up_after_two() {
    let killers = [green_saying(""), green_saying(""), green_saying("")];
    let mut setup = Setup::new(&[killers[0].address, killers[1].address, killers[2].address]);
    setup.rescue.retry = Replayed::BeforeFirstByte;
    let rig = setup.start();
    assert_eq!(rig.client().post("/", "poison").status, 502);
    assert_eq!(killers.iter().map(executions).sum::<u64>(), 2);
}
