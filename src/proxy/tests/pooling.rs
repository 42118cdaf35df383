//! Which of a worker's connections to an instance is taken, and how many are kept.

use std::{
    io::Write,
    sync::{Arc, Barrier},
};

use super::kit::{Client, Origin, Rig, Then, eventually};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An origin that answers a request for `/together` only once so many are there, and the plane in front of it.
fn together(requests: usize) -> (Origin, Rig) {
    let barrier = Arc::new(Barrier::new(requests));
    let origin = Origin::new(move |request, stream| {
        if request.line.contains("/together") {
            barrier.wait();
        }
        if stream.write_all(OK).is_ok() { Then::Keep } else { Then::Close }
    });
    let rig = Rig::before(&origin);
    (origin, rig)
}

/// Makes so many requests at a time, each of which has a connection to the origin to itself.
fn ask_together(rig: &Rig, clients: &mut [Client]) {
    for client in &mut *clients {
        client.send("GET /together HTTP/1.1\r\nhost: test\r\n\r\n");
    }
    for client in clients {
        assert_eq!(client.answer().text(), "ok");
    }
    eventually(|| (rig.route.blue.fleet.in_flight() == 0).then_some(()));
}

#[test]
fn of_idle_connections_the_one_used_last_is_taken_so_that_the_others_grow_old() {
    let (origin, rig) = together(3);
    let mut clients: Vec<Client> = (0..3).map(|_| rig.client()).collect();
    ask_together(&rig, &mut clients);
    assert_eq!(origin.connections(), 3);
    for _ in 0..6 {
        assert_eq!(clients[0].get("/").text(), "ok");
        eventually(|| (rig.route.blue.fleet.in_flight() == 0).then_some(()));
    }
    let alone: Vec<usize> = origin.seen().iter().skip(3).map(|seen| seen.connection).collect();
    assert!(alone.iter().all(|connection| *connection == alone[0]), "{alone:?}");
    assert_eq!(origin.connections(), 3);
}

#[test]
fn no_more_than_256_idle_connections_to_an_instance_are_kept() {
    let (origin, rig) = together(258);
    let mut clients: Vec<Client> = (0..258).map(|_| rig.client()).collect();
    ask_together(&rig, &mut clients);
    assert_eq!(origin.connections(), 258);
    ask_together(&rig, &mut clients);
    assert_eq!(origin.connections(), 260, "two were not kept, and made again");
}
