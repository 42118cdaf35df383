//! Many connections, table swaps, drain.

use std::{
    io::Write,
    net::TcpStream,
    rc::Rc,
    sync::{Arc, mpsc},
    time::Duration,
};

use super::kit::{Origin, Setup, Then, eventually};
use crate::{
    proxy::worker::{Admitted, Worker},
    route::{Generation, RouteTable},
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An origin whose answer is a stream that goes on when told.
fn streaming() -> (Origin, mpsc::Sender<&'static str>) {
    let (tell, told) = mpsc::channel::<&'static str>();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::new(move |request, stream| {
        if request.line.contains("/quick") {
            stream.write_all(OK.as_bytes()).unwrap();
            return Then::Keep;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").unwrap();
        while let Ok(words) = told.lock().unwrap().recv() {
            if stream.write_all(words.as_bytes()).is_err() || words.starts_with('0') {
                break;
            }
        }
        Then::Keep
    });
    (origin, tell)
}

#[test]
fn a_drain_lets_a_running_stream_end_closes_idle_clients_and_takes_no_new_ones() {
    let (origin, tell) = streaming();
    let mut rig = Setup { workers: 2, ..Setup::new(&[origin.address]) }.start();
    let mut idle = rig.client();
    assert_eq!(idle.get("/quick").text(), "ok");
    let mut running = rig.client();
    running.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").head();
    running.expect("1\r\nx\r\n");

    rig.begin_drain();
    assert!(idle.is_closed());
    eventually(|| TcpStream::connect(rig.address).is_err().then_some(()));
    tell.send("1\r\ny\r\n").unwrap();
    running.expect("1\r\ny\r\n");
    tell.send("0\r\n\r\n").unwrap();
    running.expect("0\r\n\r\n");
    assert!(running.is_closed());
    rig.join();
    let reading = rig.blue();
    assert_eq!((reading.succeeded, reading.settled(), reading.dealt), (2, 2, 2));
}

#[test]
fn a_client_that_sends_its_next_request_into_a_drain_is_answered_with_a_close() {
    let rig = Setup::new(&[Origin::saying(OK).address]).start();
    let (mut kept, mut fresh) = (rig.client(), rig.client());
    assert_eq!(kept.get("/").header("connection"), None);
    assert_eq!(rig.workers[0].connections.get(), 2);
    rig.begin_drain();
    eventually(|| TcpStream::connect(rig.address).is_err().then_some(()));
    for client in [&mut kept, &mut fresh] {
        let answer = client.get("/");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert!(client.is_closed());
    }
}

#[test]
fn a_request_that_is_under_way_when_the_drain_begins_is_answered_with_a_close() {
    let (go, gone) = mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::new(move |_, stream| {
        gone.lock().unwrap().recv().unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
        Then::Keep
    });
    let mut rig = Setup::new(&[origin.address]).start();
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    eventually(|| (rig.blue().dealt == 1).then_some(()));
    rig.begin_drain();
    eventually(|| TcpStream::connect(rig.address).is_err().then_some(()));
    go.send(()).unwrap();
    let answer = client.answer();
    assert_eq!((answer.text(), answer.header("connection")), ("ok", Some("close")));
    rig.join();
}

#[test]
fn what_is_left_after_the_drain_timeout_is_cut_and_counts_for_nobody() {
    let (origin, _tell) = streaming();
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.drain_timeout = Duration::from_millis(50);
    let mut rig = setup.start();
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    rig.blue_when(|reading| reading.dealt == 1);
    rig.begin_drain();
    rig.join();
    assert!(!client.answer_if_any().is_some_and(|answer| answer.is_whole));
    assert_eq!((rig.blue().client_gone, rig.blue().settled()), (1, 1));
    assert_eq!((rig.workers[0].connections.get(), rig.route.blue.fleet.in_flight()), (0, 0));
}

#[test]
fn a_new_table_takes_the_next_request_and_leaves_running_ones_alone() {
    let (old, tell) = streaming();
    let new = Origin::saying(OK);
    let rig = Setup::new(&[old.address]).start();
    let mut running = rig.client();
    running.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").head();

    let mut route = rig.route.clone();
    route.blue = Setup::new(&[new.address]).start().route.blue.clone();
    rig.table.store(Arc::new(RouteTable::new(Generation(2), vec![Arc::new(route.clone())])));
    assert_eq!(rig.client().get("/").text(), "ok");
    assert_eq!((new.seen().len(), old.seen().len()), (1, 1));

    rig.table.store(Arc::new(RouteTable::new(Generation(3), Vec::new())));
    assert_eq!(rig.client().get("/").status, 404);
    running.expect("1\r\nx\r\n");
    tell.send("0\r\n\r\n").unwrap();
    running.expect("0\r\n\r\n");
    assert_eq!(rig.blue_when(|reading| reading.settled() == 1).succeeded, 1);
}

/// What the code has no way to do is done to it here.
#[test]
fn a_panic_ends_its_own_connection_and_is_counted() {
    let settings = Setup::new(&[]).settings;
    let rig = Setup::new(&[]).start();
    let (table, meters) = (Arc::clone(&rig.table), Arc::clone(&rig.workers));
    let worker = Worker::new(0, settings, table, meters, [tokio::sync::Notify::new()].into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let kept = Admitted::new(&worker);
        let ended = tokio::task::spawn_local({
            let worker = Rc::clone(&worker);
            async move {
                let _admitted = Admitted::new(&worker);
                panic!("on purpose");
            }
        });
        assert!(ended.await.unwrap_err().is_panic());
        assert_eq!((rig.workers[0].panicked.get(), rig.workers[0].connections.get()), (1, 1));
        drop(kept);
    });
    assert_eq!((rig.workers[0].panicked.get(), rig.workers[0].connections.get()), (1, 0));
}

#[test]
fn connections_do_not_pile_up_on_one_worker() {
    let origin = Origin::saying(OK);
    let rig = Setup { workers: 4, ..Setup::new(&[origin.address]) }.start();
    let mut clients: Vec<_> = (0..80)
        .map(|_| {
            let mut client = rig.client();
            assert_eq!(client.get("/").text(), "ok");
            client
        })
        .collect();
    let counts: Vec<_> = rig.workers.iter().map(|worker| worker.connections.get()).collect();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), 80);
    assert!(*most <= least + 2 + least / 8, "{counts:?}");
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "ok");
    }
}
