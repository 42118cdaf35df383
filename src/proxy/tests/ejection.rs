//! Single bad instances get no requests for a while, and nothing of what they failed is hidden.

use std::{
    io::Write,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use super::kit::{Origin, Rig, Setup, Then, eventually, nobody};
use crate::{
    fleet::EjectionRule,
    meter::FailureKind,
    route::{Balance, EjectingFleets, Ejection, Replayed},
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BAD: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nbad";

/// Takes turns, and ejects for this long.
fn ejecting(mut setup: Setup, base_time: Duration) -> Setup {
    setup.balance = Balance::RoundRobin;
    setup.rescue.on = Replayed::Never;
    let default = Ejection::default();
    let longest_time = Duration::from_secs(3_600);
    setup.protection.ejection =
        Ejection { rule: EjectionRule { base_time, longest_time, ..default.rule }, ..default };
    setup
}

const FOR_LONG: Duration = Duration::from_secs(3_600);

/// How many of so many requests were answered with 200.
fn served(rig: &Rig, requests: usize) -> usize {
    let mut client = rig.client();
    (0..requests).filter(|_| client.get("/").status == 200).count()
}

#[test]
fn five_failures_in_a_row_eject_an_instance() {
    let (good, bad) = (Origin::saying(OK), Origin::saying(BAD));
    let rig = ejecting(Setup::new(&[good.address, bad.address]), FOR_LONG).start();
    assert_eq!((served(&rig, 40), bad.seen().len()), (35, 5));
    assert!(rig.route.blue.fleet.instances[1].is_ejected());
    let reading = rig.blue_when(|reading| reading.settled() == 40);
    assert_eq!((reading.failed(), reading.failures[FailureKind::ServerError.index()]), (5, 5));
}

#[test]
fn an_instance_that_cannot_be_reached_is_ejected_though_its_requests_were_served_elsewhere() {
    let good = Origin::saying(OK);
    let rig = ejecting(Setup::new(&[good.address, nobody()]), FOR_LONG).start();
    assert_eq!(served(&rig, 40), 40);
    assert_eq!(rig.blue_when(|reading| reading.settled() == 40).retried, 5);
    assert!(rig.route.blue.fleet.instances[1].is_ejected());
}

#[test]
fn an_instance_that_answers_now_and_then_stays() {
    let turn = AtomicUsize::new(0);
    let moody = Origin::new(move |_, stream| {
        let text = if turn.fetch_add(1, SeqCst) % 5 == 4 { OK } else { BAD };
        if stream.write_all(text.as_bytes()).is_ok() { Then::Keep } else { Then::Close }
    });
    let good = Origin::saying(OK);
    let rig = ejecting(Setup::new(&[good.address, moody.address]), FOR_LONG).start();
    assert_eq!((served(&rig, 40), moody.seen().len()), (24, 20));
    assert!(!rig.route.blue.fleet.instances[1].is_ejected());
}

#[test]
fn an_ejected_instance_is_back_with_the_first_good_answer_to_a_single_request() {
    let is_well = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_well);
    let moody = Origin::new(move |_, stream| {
        let text = if told.load(SeqCst) { OK } else { BAD };
        if stream.write_all(text.as_bytes()).is_ok() { Then::Keep } else { Then::Close }
    });
    let good = Origin::saying(OK);
    let rig = ejecting(Setup::new(&[good.address, moody.address]), Duration::from_millis(1)).start();
    let instance = Arc::clone(&rig.route.blue.fleet.instances[1]);
    served(&rig, 10);
    assert!(instance.is_ejected());
    eventually(|| (served(&rig, 1) == 0).then_some(()));
    assert!(instance.is_ejected(), "a trial that fails");
    is_well.store(true, SeqCst);
    eventually(|| {
        assert_eq!(served(&rig, 1), 1);
        (!instance.is_ejected()).then_some(())
    });
    let before = moody.seen().len();
    served(&rig, 10);
    assert_eq!(moody.seen().len(), before + 5, "it has its turns again");
}

#[test]
fn a_green_on_trial_keeps_its_bad_instance_and_the_alarm_sees_every_failure() {
    let (blue, good, bad) = (Origin::saying(OK), Origin::saying(OK), Origin::saying(BAD));
    for (fleets, failures) in [(EjectingFleets::Blue, 20), (EjectingFleets::Both, 5)] {
        let mut setup = ejecting(Setup::new(&[blue.address]), FOR_LONG);
        setup.green = vec![good.address, bad.address];
        setup.green_share = "100%";
        setup.protection.ejection.fleets = fleets;
        let rig = setup.start();
        let before = bad.seen().len();
        assert_eq!(served(&rig, 40), 40 - failures, "{fleets:?}");
        assert_eq!(bad.seen().len() - before, failures, "{fleets:?}");
        let reading = rig.green_when(|reading| reading.settled() == 40);
        let cohort = *reading.cohort(rig.route.watch.as_ref().unwrap().stamp());
        let failures = u64::try_from(failures).unwrap();
        assert_eq!((reading.failed(), cohort.failed, cohort.settled), (failures, failures, 40), "{fleets:?}");
    }
}
