//! Copies for shadows: they take nothing from requests.

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
};

use super::kit::{Origin, Rig, Setup, Then, eventually};
use crate::{
    fleet::{Address, Fleet, Instance},
    meter::FleetMeters,
    name::{VariantName, Version},
    route::{EndpointRoute, FleetRoute, Generation, Missed, RouteTable, Shadow},
    weight::Share,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Gives the endpoint a shadow of one instance, which gets copies of everything.
fn shadow(rig: &Rig, instance: SocketAddr, max_in_flight: usize) -> Arc<Shadow> {
    let instance = Instance::new(Address::parse(&instance.to_string()).unwrap(), 1);
    let fleet = Arc::new(Fleet::of(Version::parse("dark").unwrap(), vec![Arc::new(instance)]));
    let blue = FleetRoute { fleet, meters: Arc::new(FleetMeters::new(1)) };
    let shadow = Arc::new(Shadow {
        name: VariantName::parse("dark").unwrap(),
        share: Share::ALL,
        max_in_flight,
        body_limit_bytes: 1_000,
        route: Arc::new(EndpointRoute { blue, ..rig.route.clone() }),
        missed: Arc::new(Missed::default()),
    });
    let route = EndpointRoute { shadow: Some(Arc::clone(&shadow)), ..rig.route.clone() };
    rig.table.store(Arc::new(RouteTable::new(Generation(2), vec![Arc::new(route)])));
    shadow
}

/// An origin that answers nobody until it is let go.
fn silent() -> (Origin, mpsc::Sender<()>) {
    let (let_go, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let origin = Origin::new(move |_, _| {
        drop(held.lock().map(|held| held.recv()));
        Then::Close
    });
    (origin, let_go)
}

#[test]
fn copies_take_no_requests_place_and_a_drain_does_not_wait_for_them() {
    let (origin, (dark, let_go)) = (Origin::saying(OK), silent());
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.requests_per_worker = 1;
    let mut rig = setup.start();
    let shadow = shadow(&rig, dark.address, 10);
    for _ in 0..3 {
        assert_eq!(rig.client().post("/", "hello").text(), "ok");
    }
    let meters = &shadow.route.blue.meters;
    eventually(|| (meters.read().dealt == 3).then_some(()));
    rig.begin_drain();
    rig.join();
    assert_eq!((meters.read().settled(), meters.read().client_gone), (3, 3), "cut, and nobody's fault");
    assert_eq!((rig.blue().succeeded, shadow.missed.read()), (3, [0, 0, 0]));
    drop(let_go);
}

#[test]
fn a_request_that_does_not_come_to_its_end_has_no_copy() {
    let (origin, dark) = (Origin::saying(OK), Origin::saying(OK));
    let rig = Rig::before(&origin);
    let shadow = shadow(&rig, dark.address, 1);
    let mut leaving = rig.client();
    leaving.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhello");
    eventually(|| (rig.blue().dealt == 1).then_some(()));
    drop(leaving);
    eventually(|| (shadow.missed.read() == [0, 0, 1]).then_some(()));
    assert_eq!(shadow.route.blue.meters.read().dealt, 0);
    assert_eq!(rig.client().post("/", "hello").text(), "ok");
    eventually(|| (shadow.route.blue.meters.read().succeeded == 1).then_some(()));
    assert_eq!(dark.seen().len(), 1, "its place is free again");
}
