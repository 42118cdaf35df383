//! Instances that take only so many requests at a time, and what becomes of more.

use std::{
    io::Write,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use super::kit::{Client, Origin, Rig, Setup, Then, eventually};
use crate::{
    meter::FailureKind,
    route::{Blame, ShedStatus},
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

/// Longer than the test.
const FOR_LONG: Duration = Duration::from_secs(3_600);

/// An origin that answers each request when it is told to, and remembers the most that it had at a time.
struct Held {
    origin: Origin,
    go: mpsc::Sender<()>,
    most: Arc<AtomicUsize>,
}

impl Held {
    fn new() -> Self {
        let (go, told) = mpsc::channel();
        let told = std::sync::Mutex::new(told);
        let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        let origin = Origin::new(move |_, stream| {
            seen.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            let is_told = told.lock().unwrap().recv().is_ok();
            now.fetch_sub(1, SeqCst);
            if is_told && stream.write_all(OK.as_bytes()).is_ok() { Then::Keep } else { Then::Close }
        });
        Self { origin, go, most }
    }

    fn release(&self, requests: usize) {
        (0..requests).for_each(|_| self.go.send(()).unwrap());
    }
}

/// Before one instance that takes this many requests at a time.
fn limited(held: &Held, max_concurrency: u32) -> Setup {
    let mut setup = Setup::new(&[held.origin.address]);
    setup.protection.admission.max_concurrency = NonZeroU32::new(max_concurrency);
    setup.protection.admission.queue_timeout = FOR_LONG;
    setup
}

/// Clients that have each sent a request.
fn senders(rig: &Rig, count: usize) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut client = rig.client();
            client.send(GET);
            client
        })
        .collect()
}

fn waiting(rig: &Rig, count: u64) {
    eventually(|| (rig.blue().waiting == count).then_some(()));
}

#[test]
fn requests_beyond_the_limit_wait_their_turn_and_are_served() {
    let held = Held::new();
    let rig = limited(&held, 2).start();
    let mut clients = senders(&rig, 6);
    waiting(&rig, 4);
    eventually(|| (held.most.load(SeqCst) == 2).then_some(()));
    held.release(6);
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    let reading = rig.blue_when(|reading| reading.succeeded == 6);
    assert_eq!((reading.waiting, reading.queued, reading.shed, held.most.load(SeqCst)), (0, 4, 0, 2));
}

#[test]
fn room_that_one_worker_makes_goes_to_whoever_has_waited_longest_on_any() {
    let held = Held::new();
    let mut setup = limited(&held, 1);
    setup.workers = 3;
    let rig = setup.start();
    let mut clients = Vec::new();
    for number in 0..9 {
        clients.extend(senders(&rig, 1));
        // One after the other, so that it is known who has waited longest.
        eventually(|| (rig.blue().dealt == number + 1).then_some(()));
        waiting(&rig, number);
    }
    for client in &mut clients {
        held.release(1);
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(held.most.load(SeqCst), 1);
}

#[test]
fn a_full_queue_sheds_at_once_and_that_is_nobodys_failure() {
    for (status, code) in [(ShedStatus::ServiceUnavailable, 503), (ShedStatus::TooManyRequests, 429)] {
        let held = Held::new();
        let mut setup = limited(&held, 1);
        setup.protection.admission.queue = 1;
        setup.protection.admission.shed_status = status;
        let rig = setup.start();
        let mut clients = senders(&rig, 2);
        waiting(&rig, 1);
        let answer = rig.client().get("/");
        assert_eq!((answer.status, answer.header("retry-after")), (code, Some("1")));
        assert!(answer.text().contains("urn:snapback:queue-full") && answer.text().contains("internal"));
        held.release(2);
        for client in &mut clients {
            assert_eq!(client.answer().status, 200);
        }
        let reading = rig.blue_when(|reading| reading.succeeded == 2);
        assert_eq!((reading.shed, reading.failed(), reading.settled()), (1, 0, 3));
    }
}

#[test]
fn a_request_waits_no_longer_than_it_may() {
    let held = Held::new();
    let mut setup = limited(&held, 1);
    setup.protection.admission.queue_timeout = Duration::from_millis(10);
    let rig = setup.start();
    let mut first = senders(&rig, 1);
    eventually(|| (held.origin.seen().len() == 1).then_some(()));
    let answer = rig.client().get("/");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("urn:snapback:queue-timeout"), "{}", answer.text());
    held.release(1);
    assert_eq!(first[0].answer().status, 200);
    assert_eq!(rig.blue_when(|reading| reading.succeeded == 1).shed, 1);
}

#[test]
fn a_client_that_leaves_gives_its_place_in_the_queue_up() {
    let held = Held::new();
    let rig = limited(&held, 1).start();
    let mut first = senders(&rig, 1);
    eventually(|| (held.origin.seen().len() == 1).then_some(()));
    let gone = senders(&rig, 1);
    waiting(&rig, 1);
    let mut last = senders(&rig, 1);
    waiting(&rig, 2);
    drop(gone);
    waiting(&rig, 1);
    held.release(2);
    assert_eq!((first[0].answer().status, last[0].answer().status), (200, 200));
    assert_eq!(rig.blue_when(|reading| reading.settled() == 3).client_gone, 1);
    assert_eq!(held.origin.seen().len(), 2);
}

#[test]
fn a_stream_keeps_its_place_until_its_last_byte() {
    let (go, told) = mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::new(move |_, stream| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab";
        let is_told = stream.write_all(head).is_ok() && told.lock().unwrap().recv().is_ok();
        if is_told && stream.write_all(b"cd").is_ok() { Then::Keep } else { Then::Close }
    });
    let mut setup = Setup::new(&[origin.address]);
    setup.protection.admission.max_concurrency = NonZeroU32::new(1);
    setup.protection.admission.queue_timeout = FOR_LONG;
    let rig = setup.start();
    let mut first = senders(&rig, 1);
    assert!(first[0].head().contains("200"));
    let mut second = senders(&rig, 1);
    waiting(&rig, 1);
    assert_eq!(origin.seen().len(), 1);
    go.send(()).unwrap();
    first[0].expect("abcd");
    go.send(()).unwrap();
    assert_eq!(second[0].answer().text(), "abcd");
}

#[test]
fn what_green_sheds_is_its_failure_only_where_the_owner_says_so() {
    for (blame, failed, status) in [(Blame::Nobody, 0, 503), (Blame::Fleet, 1, 200)] {
        let (held, blue) = (Held::new(), Origin::saying(OK));
        let mut setup = limited(&held, 1);
        setup.blue = vec![blue.address];
        setup.green = vec![held.origin.address];
        setup.green_share = "100%";
        setup.protection.admission.queue = 0;
        setup.protection.admission.blame = blame;
        let rig = setup.start();
        let mut first = senders(&rig, 1);
        eventually(|| (held.origin.seen().len() == 1).then_some(()));
        assert_eq!(rig.client().get("/").status, status, "{blame:?}");
        held.release(1);
        assert_eq!(first[0].answer().status, 200);
        let reading = rig.green_when(|reading| reading.settled() == 2);
        assert_eq!(reading.failures[FailureKind::Overload.index()], failed, "{blame:?}");
        assert_eq!((reading.rescued(), reading.shed), (failed, 1 - failed), "{blame:?}");
    }
}

#[test]
fn an_instances_own_limit_stands_against_the_endpoints() {
    let held = [Held::new(), Held::new()];
    let mut setup = limited(&held[0], 3);
    setup.blue = held.iter().map(|held| held.origin.address).collect();
    setup.max_concurrency = vec![None, NonZeroU32::new(1)];
    let rig = setup.start();
    let mut clients = senders(&rig, 6);
    waiting(&rig, 2);
    eventually(|| {
        (held.iter().map(|held| held.origin.seen().len()).collect::<Vec<_>>() == [3, 1]).then_some(())
    });
    for held in &held {
        held.release(6);
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
}
