//! The first requests of green's instances.

use std::time::Duration;

use super::kit::{MessageReader, Origin, Rig, Setup, eventually};
use crate::meter::{Reading, WarmUp};

const BOUND: Duration = Duration::from_millis(50);

fn rig(green: &Origin, warm_up: WarmUp) -> Rig {
    let mut setup = Setup::new(&[green.address]);
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    (setup.latency_bounds, setup.warm_up) = (vec![BOUND], Some(warm_up));
    setup.rescue.on = crate::route::Replayed::Never;
    setup.start()
}

fn exceeded(rig: &Rig, reading: &Reading) -> u64 {
    reading.cohort(rig.route.watch.as_ref().unwrap().stamp()).exceeded[0]
}

#[test]
fn an_open_request_of_the_warm_up_is_never_late_and_the_next_one_is() {
    let green = Origin::raw(|stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        while reader.line().is_some() {}
    });
    let rig = rig(&green, WarmUp::Requests(2));
    let mut clients = Vec::new();
    for number in 1..=3 {
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        clients.push(client);
        eventually(|| (rig.green().dealt == number).then_some(()));
    }
    eventually(|| (exceeded(&rig, &rig.green()) > 0).then_some(()));
    drop(clients);
    let reading = rig.green_when(|reading| reading.settled() == 3);
    assert_eq!((exceeded(&rig, &reading), reading.warm_ups), (1, 2));
}

#[test]
fn what_fails_in_the_warm_up_counts_and_what_is_answered_has_no_time() {
    let green = Origin::saying("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n");
    let rig = rig(&green, WarmUp::Requests(3));
    let mut client = rig.client();
    for _ in 0..4 {
        client.get("/");
    }
    let reading = rig.green_when(|reading| reading.settled() == 4);
    assert_eq!((reading.failed(), reading.warm_ups, reading.warm_answers), (4, 3, 0));
}

#[test]
fn times_are_recorded_from_the_first_request_after_the_warm_up_on() {
    let green = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    for (warm_up, warm) in [(WarmUp::Requests(3), 3), (WarmUp::Time(Duration::from_secs(600)), 5)] {
        let rig = rig(&green, warm_up);
        let mut client = rig.client();
        for _ in 0..5 {
            client.get("/");
        }
        let reading = rig.green_when(|reading| reading.settled() == 5);
        assert_eq!((reading.warm_ups, reading.warm_answers, reading.succeeded), (warm, warm, 5));
        let meters = &rig.route.green.as_ref().unwrap().meters;
        assert_eq!((meters.latency().count(), meters.first_byte().count()), (5 - warm, 5 - warm));
    }
}
