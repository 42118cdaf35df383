//! Which instance takes a request, and which worker a connection.

use super::kit::{Client, Origin, Rig, Setup, eventually};
use crate::route::{Balance, HashKey, Sticky};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Three origins behind one endpoint that is balanced like this.
fn three(balance: Balance) -> ([Origin; 3], Rig) {
    let origins = [Origin::saying(OK), Origin::saying(OK), Origin::saying(OK)];
    let mut setup = Setup::new(&[origins[0].address, origins[1].address, origins[2].address]);
    setup.balance = balance;
    (origins, setup.start())
}

fn counts(origins: &[Origin]) -> Vec<usize> {
    origins.iter().map(|origin| origin.seen().len()).collect()
}

fn hashed(key: HashKey) -> Balance {
    Balance::Hash { key, bound_percent: 125 }
}

#[test]
fn instances_take_turns_where_the_endpoint_says_so() {
    let (origins, rig) = three(Balance::RoundRobin);
    let mut client = rig.client();
    for _ in 0..9 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(counts(&origins), [3, 3, 3]);
}

#[test]
fn a_session_stays_on_its_instance() {
    let (origins, rig) = three(hashed(HashKey::Session(Sticky::Cookie("sid".to_owned()))));
    let mut client = rig.client();
    for session in 0..8 {
        let before = counts(&origins);
        for _ in 0..4 {
            client.send(format!("GET / HTTP/1.1\r\nhost: test\r\ncookie: a=b; sid={session}\r\n\r\n"));
            assert_eq!(client.answer().status, 200);
        }
        let after = counts(&origins);
        let mut taken: Vec<_> = before.iter().zip(&after).map(|(before, after)| after - before).collect();
        taken.sort_unstable();
        assert_eq!(taken, [0, 0, 4], "{session}");
    }
}

#[test]
fn prompts_with_the_same_beginning_meet_on_one_instance_and_arrive_whole() {
    let (origins, rig) = three(hashed(HashKey::PromptPrefix { bytes: 40 }));
    let mut client = rig.client();
    let body = |number: usize| {
        format!(r#"{{"model":"m","messages":[{{"role":"system","content":"You are kind.{number}"}}]}}"#)
    };
    for number in 0..6 {
        assert_eq!(client.post("/v1/chat/completions", &body(number)).status, 200);
    }
    let mut taken = counts(&origins);
    taken.sort_unstable();
    assert_eq!(taken, [0, 0, 6]);
    let seen: Vec<_> = origins.iter().flat_map(Origin::seen).map(|seen| seen.body).collect();
    assert_eq!(seen, (0..6).map(|number| body(number).into_bytes()).collect::<Vec<_>>());
    assert_eq!(client.get("/v1/models").status, 200);
}

/// Eight connections that last, to a plane with two workers, neither of which may hold more than five.
fn eight(connect: impl Fn(&Rig) -> Vec<Client>) {
    for _ in 0..20 {
        let origin = Origin::saying(OK);
        let mut setup = Setup::new(&[origin.address]);
        setup.workers = 2;
        let rig = setup.start();
        let clients = connect(&rig);
        assert_eq!(clients.len(), 8);
        let held = eventually(|| {
            let held: Vec<u64> = rig.workers.iter().map(|meters| meters.connections.get()).collect();
            (held.iter().sum::<u64>() == 8).then_some(held)
        });
        assert!(held.iter().all(|count| *count <= 5), "{held:?}");
    }
}

#[test]
fn eight_long_lived_connections_even_out_over_two_workers() {
    // One after the other, each with a request, so that every worker knows what the other holds.
    eight(|rig| {
        let ask = |_| {
            let mut client = rig.client();
            assert_eq!(client.get("/").status, 200);
            client
        };
        (0..8).map(ask).collect()
    });
}

#[test]
fn eight_connections_at_once_even_out_too() {
    // None waits until another one was taken: what was given away counts before it has come.
    eight(|rig| (0..8).map(|_| rig.client()).collect());
}
