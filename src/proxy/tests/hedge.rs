//! Requests that go to a second instance because the first is slow to answer.

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use super::{
    kit::{Client, MessageReader, Origin, Rig, Seen, Setup, Then, eventually},
    origin2::{Asked, Origin2},
};
use crate::{
    fleet::Protocol,
    meter::{FailureKind, Hedge, Reading},
    route::{Balance, EndpointRoute, Generation, HedgePolicy, HedgedFleets, RescuePolicy, RouteTable},
    weight::Share,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const AFTER: Duration = Duration::from_millis(50);

/// Two instances that take turns. The first request that the first one gets is done by as `first` says, all others as `second` says, in
/// whatever order a busy machine lets them arrive. Says when the connection of a request that was to wait ends.
struct Pair {
    origins: [Origin; 2],
    ended: mpsc::Receiver<()>,
}

/// What an instance does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Answer(&'static str),
    /// Nothing, until the connection ends.
    Wait,
    /// Ends the connection once the other instance has the request.
    Die,
}

impl Pair {
    fn new(first: Does, second: Does) -> Self {
        let (end, ended) = mpsc::channel();
        let arrivals = Arc::new((Mutex::new(0), Condvar::new()));
        let instance = |place: usize| {
            let (end, arrivals) = (Mutex::new(end.clone()), Arc::clone(&arrivals));
            let is_first = AtomicBool::new(place == 0);
            Origin::raw(move |stream, seen, _| {
                let mut reader = MessageReader::new(stream.try_clone().unwrap());
                while let Some(request) = reader.request() {
                    seen.lock().unwrap().push(request);
                    let (count, arrived) = &*arrivals;
                    let mut number = count.lock().unwrap();
                    *number += 1;
                    arrived.notify_all();
                    let does = if is_first.swap(false, Ordering::SeqCst) { first } else { second };
                    match does {
                        Does::Answer(words) => drop(stream.write_all(words.as_bytes())),
                        Does::Wait => {
                            drop(number);
                            while reader.line().is_some() {}
                            end.lock().unwrap().send(()).unwrap();
                            return;
                        }
                        Does::Die => {
                            drop(arrived.wait_while(number, |number| *number < 2).unwrap());
                            return;
                        }
                    }
                }
            })
        };
        Self { origins: [0, 1].map(instance), ended }
    }

    fn seen(&self) -> Vec<Seen> {
        self.origins.iter().flat_map(Origin::seen).collect()
    }

    fn setup(&self) -> Setup {
        let mut setup = Setup::new(&[self.origins[0].address, self.origins[1].address]);
        setup.balance = Balance::RoundRobin;
        setup.rescue.hedge = Some(HedgePolicy { after: AFTER, fleets: HedgedFleets::Blue });
        setup
    }

    /// The same instances as green, which takes everything.
    fn setup_green(&self, fleets: HedgedFleets) -> Setup {
        let mut setup = Setup::new(&[super::kit::nobody()]);
        setup.green = self.origins.iter().map(|origin| origin.address).collect();
        setup.green_share = "100%";
        setup.balance = Balance::RoundRobin;
        setup.rescue.hedge = Some(HedgePolicy { after: AFTER, fleets });
        setup.rescue.on = crate::route::Replayed::Never;
        setup
    }
}

fn hedges(reading: &Reading) -> [u64; 3] {
    [Hedge::Tried, Hedge::Won, Hedge::OverBudget].map(|hedge| reading.hedges[hedge.index()])
}

#[test]
fn the_first_answer_is_the_clients_and_the_other_instance_is_freed() {
    let pair = Pair::new(Does::Wait, Does::Answer(OK));
    let rig = pair.setup().start();
    let mut client = rig.client();
    assert_eq!(client.post("/v1/chat/completions", "prompt").text(), "ok");
    pair.ended.recv().unwrap();
    let seen = pair.seen();
    assert_eq!((seen.len(), &seen[0].body, &seen[1].body), (2, &b"prompt".to_vec(), &b"prompt".to_vec()));
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.dealt, reading.succeeded, hedges(&reading)), (1, 1, [1, 1, 0]));
    let waited = rig.route.blue.meters.latency().quantile(1.0).unwrap();
    assert!(waited >= AFTER, "{waited:?}: the latency is that of the whole request");
    assert_eq!(rig.route.blue.fleet.in_flight(), 0);
    assert_eq!(client.get("/").text(), "ok", "the connection serves on");
}

#[test]
fn a_request_that_is_answered_in_time_goes_to_one_instance() {
    let pair = Pair::new(Does::Answer(OK), Does::Answer(OK));
    let mut setup = pair.setup();
    setup.rescue.hedge = Some(HedgePolicy { after: Duration::from_secs(20), fleets: HedgedFleets::Blue });
    let rig = setup.start();
    let mut client = rig.client();
    for _ in 0..20 {
        assert_eq!(client.post("/", "x").text(), "ok");
    }
    assert_eq!((pair.seen().len(), hedges(&rig.blue())), (20, [0, 0, 0]));
}

#[test]
fn what_a_copy_fails_counts_for_nobody_and_the_first_instance_is_waited_for() {
    for copy in
        [Does::Answer("HTTP/1.1 503 Full\r\ncontent-length: 0\r\n\r\n"), Does::Answer("garbage\r\n\r\n")]
    {
        let (release, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let Does::Answer(words) = copy else { unreachable!() };
        let answer = Arc::new(move |place: usize, stream: &mut TcpStream| {
            if place == 0 {
                wait.lock().unwrap().recv().unwrap();
                stream.write_all(OK.as_bytes()).unwrap();
            } else {
                stream.write_all(words.as_bytes()).unwrap();
            }
        });
        let origins = [0, 1].map(|place| {
            let answer = Arc::clone(&answer);
            Origin::new(move |_, stream| {
                answer(place, stream);
                Then::Keep
            })
        });
        let mut setup = Setup::new(&[origins[0].address, origins[1].address]);
        setup.balance = Balance::RoundRobin;
        setup.rescue.hedge = Some(HedgePolicy { after: AFTER, fleets: HedgedFleets::Blue });
        let rig = setup.start();
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        // The copy is over when its instance is free again.
        eventually(|| (hedges(&rig.blue())[0] == 1 && rig.route.blue.fleet.in_flight() == 1).then_some(()));
        release.send(()).unwrap();
        assert_eq!(client.answer().text(), "ok");
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        assert_eq!((reading.succeeded, reading.failed(), hedges(&reading)), (1, 0, [1, 0, 0]));
    }
}

#[test]
fn a_first_try_that_fails_while_its_copy_is_under_way_is_forgiven_to_blue_and_not_to_green() {
    let pair = Pair::new(Does::Die, Does::Answer(OK));
    let rig = pair.setup().start();
    assert_eq!(rig.client().post("/", "x").text(), "ok");
    assert_eq!(rig.blue_when(|reading| reading.settled() == 1).failed(), 0);

    let pair = Pair::new(Does::Die, Does::Wait);
    let rig = pair.setup_green(HedgedFleets::Both).start();
    assert_eq!(rig.client().post("/", "x").status, 502);
    let reading = rig.green_when(|reading| reading.settled() == 1);
    assert_eq!((reading.failures[FailureKind::Reset.index()], hedges(&reading)), (1, [1, 0, 0]));
    pair.ended.recv().unwrap();
    eventually(|| (rig.route.green.as_ref().unwrap().fleet.in_flight() == 0).then_some(()));
}

#[test]
fn green_hedges_only_where_both_fleets_do() {
    for (fleets, hedged) in [(HedgedFleets::Blue, [0, 0, 0]), (HedgedFleets::Both, [1, 1, 0])] {
        let pair = Pair::new(Does::Wait, Does::Answer(OK));
        let mut setup = pair.setup_green(fleets);
        if hedged == [0, 0, 0] {
            setup.limits.head_timeout = Duration::from_secs(1);
        }
        let rig = setup.start();
        let status = rig.client().post("/", "x").status;
        let reading = rig.green_when(|reading| reading.settled() == 1);
        assert_eq!((status == 200, hedges(&reading)), (hedged[1] == 1, hedged));
    }
}

#[test]
fn what_is_never_replayed_is_never_hedged_and_nothing_is_beyond_the_budget() {
    let cases: [(&str, &str, &str, [u64; 3]); 4] = [
        ("POST", "/v1/responses", "20%", [0, 0, 0]),
        ("DELETE", "/", "20%", [0, 0, 0]),
        ("POST", "/v2/models/m/infer", "20%", [0, 0, 0]),
        ("POST", "/", "0%", [0, 0, 1]),
    ];
    for (method, path, budget, hedged) in cases {
        let pair = Pair::new(Does::Wait, Does::Answer(OK));
        let mut setup = pair.setup();
        setup.rescue.budget = Share::parse(budget).unwrap();
        setup.limits.head_timeout = Duration::from_secs(1);
        let rig = setup.start();
        let body = "{\"sequence_id\": 7}";
        let length = body.len();
        let mut client = rig.client();
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}"));
        assert_eq!(client.answer().status, 504, "{method} {path}");
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        assert_eq!((pair.seen().len(), hedges(&reading)), (1, hedged), "{method} {path}");
    }
}

#[test]
fn a_client_that_leaves_frees_both_instances() {
    let pair = Pair::new(Does::Wait, Does::Wait);
    let rig = pair.setup().start();
    let mut client: Client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    eventually(|| (pair.seen().len() == 2).then_some(()));
    assert_eq!(rig.route.blue.fleet.in_flight(), 2);
    drop(client);
    pair.ended.recv().unwrap();
    pair.ended.recv().unwrap();
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.client_gone, hedges(&reading)), (1, [1, 0, 0]));
    eventually(|| (rig.route.blue.fleet.in_flight() == 0).then_some(()));
}

#[test]
fn when_nobody_answers_the_request_fails_once() {
    let pair = Pair::new(Does::Wait, Does::Wait);
    let mut setup = pair.setup();
    setup.limits.head_timeout = Duration::from_secs(1);
    let rig: Rig = setup.start();
    assert_eq!(rig.client().get("/").status, 504);
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.dealt, reading.failures[FailureKind::HeadTimeout.index()]), (1, 1));
    eventually(|| (rig.route.blue.fleet.in_flight() == 0).then_some(()));
}

#[test]
fn the_stream_of_an_instance_that_lost_is_reset_and_its_connection_kept() {
    let (end, ended) = mpsc::channel();
    let instance = |place: usize| {
        let end = end.clone();
        Origin2::new(move |mut asked: Asked| {
            let end = end.clone();
            async move {
                let (body, _) = asked.read().await;
                if (place, asked.number) == (0, 1) {
                    let reset = std::future::poll_fn(|context| asked.respond.poll_reset(context)).await;
                    end.send(reset.unwrap()).unwrap();
                } else {
                    asked.answer(body);
                }
            }
        })
    };
    let origins = [0, 1].map(instance);
    let mut setup = Setup::new(&[origins[0].address, origins[1].address]);
    setup.protocol = Protocol::H2c;
    setup.balance = Balance::RoundRobin;
    setup.rescue.hedge = Some(HedgePolicy { after: AFTER, fleets: HedgedFleets::Blue });
    let rig = setup.start();
    let mut client = rig.client();
    assert_eq!(client.post("/", "prompt").text(), "prompt");
    assert_eq!(ended.recv().unwrap(), h2::Reason::CANCEL);
    // From here on nothing is hedged, however slow the machine is.
    let rescue = RescuePolicy { hedge: None, ..rig.route.rescue };
    let route = Arc::new(EndpointRoute { rescue, ..rig.route.clone() });
    let generation = Generation(rig.table.load().generation().0 + 1);
    rig.table.store(Arc::new(RouteTable::new(generation, vec![route])));
    for _ in 0..20 {
        assert_eq!(client.post("/", "again").text(), "again");
    }
    let reading = rig.blue_when(|reading| reading.succeeded == 21);
    assert_eq!((reading.failed(), hedges(&reading)[1]), (0, 1));
    assert_eq!(origins.iter().map(Origin2::connections).max(), Some(1));
}
