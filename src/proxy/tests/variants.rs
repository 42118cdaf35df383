//! Endpoints whose requests go to one of several models.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, mpsc},
};

use http::HeaderName;

use super::kit::{Answer, Origin, Rig, Setup, Then, eventually};
use crate::{
    fleet::{Fleet, Health, Side, VariantWeight},
    meter::Reading,
    name::VariantName,
    route::{Admission, EndpointRoute, Generation, RouteTable, Sticky},
};

const A: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na";
const B: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

fn setup(blue: [&'static str; 2], green: [&'static str; 2]) -> Setup {
    let [a, b, green_a, green_b] =
        [blue[0], blue[1], green[0], green[1]].map(|answer| Origin::saying(answer).address);
    let mut setup = Setup::new(&[a, b]);
    setup.green = vec![green_a, green_b];
    setup.variants = vec![("a", 3.0), ("b", 1.0)];
    setup.variant_header = Some(HeaderName::from_static("x-variant"));
    setup.settings.expose_variant = true;
    setup
}

fn reading(rig: &Rig, side: Side, variant: &str) -> Reading {
    let meters = &rig.route.fleet(side).unwrap().meters;
    meters.variant(&VariantName::parse(variant).unwrap()).unwrap().read()
}

fn dealt(rig: &Rig) -> [u64; 4] {
    [(Side::Blue, "a"), (Side::Blue, "b"), (Side::Green, "a"), (Side::Green, "b")]
        .map(|(side, variant)| reading(rig, side, variant).dealt)
}

fn ask(rig: &Rig, headers: &[&str]) -> Vec<Answer> {
    let mut client = rig.client();
    let request = |header: &&str| {
        client.send(format!("GET / HTTP/1.1\r\nhost: test\r\n{header}\r\n\r\n"));
        client.answer()
    };
    headers.iter().map(request).collect()
}

#[test]
fn requests_are_dealt_by_weight_and_answers_say_which_variant_gave_them() {
    let rig = setup([A, B], [A, B]).start();
    let answers = ask(&rig, &["x-other: 1"; 40]);
    for answer in &answers {
        assert_eq!(answer.header("x-snapback-variant"), Some(answer.text()), "the variant that answered");
    }
    assert_eq!(dealt(&rig), [30, 10, 0, 0]);
    let sum = rig.blue_when(|reading| reading.settled() == 40);
    assert_eq!((sum.dealt, sum.succeeded), (40, 40), "the fleet's meters are the sum");
}

#[test]
fn greens_share_holds_inside_each_variant() {
    let mut setup = setup([A, B], [A, B]);
    setup.green_share = "10%";
    let rig = setup.start();
    ask(&rig, &["x-other: 1"; 80]);
    assert_eq!(dealt(&rig), [54, 18, 6, 2]);
    // Whoever names the variant is dealt by its share as well.
    ask(&rig, &["x-variant: b"; 20]);
    assert_eq!(dealt(&rig), [54, 36, 6, 4]);
}

#[test]
fn a_header_names_the_variant_whatever_it_weighs() {
    let mut setup = setup([A, B], [A, B]);
    setup.variants = vec![("a", 1.0), ("b", 0.0)];
    let rig = setup.start();
    assert!(ask(&rig, &["x-other: 1"; 40]).iter().all(|answer| answer.text() == "a"));
    assert!(ask(&rig, &["x-variant: b"; 4]).iter().all(|answer| answer.text() == "b"));
    assert_eq!(dealt(&rig), [40, 4, 0, 0]);
}

#[test]
fn an_unknown_variant_is_refused_and_told_which_there_are() {
    let rig = setup([A, B], [A, B]).start();
    for name in ["c", "A", "\u{fc}", ""] {
        let answers = ask(&rig, &[&format!("x-variant: {name}"), "x-variant: b"]);
        assert_eq!((answers[0].status, answers[1].status), (400, 200), "{name}");
        assert!(answers[0].text().contains("unknown-variant"), "{}", answers[0].text());
        assert!(answers[0].text().contains("x-variant names none of this endpoint's variants: a and b."));
    }
    assert_eq!(dealt(&rig), [0, 4, 0, 0]);
    let rejected: u64 = rig.workers.iter().map(|worker| worker.rejected.total()).sum();
    assert_eq!(rejected, 4);
}

#[test]
fn a_variant_that_cannot_serve_fails_its_requests_alone() {
    let rig = setup([A, B], [A, B]).start();
    rig.route.blue.fleet.instances[1].set_health(Health::Unhealthy);
    let answers = ask(&rig, &["x-other: 1"; 20]);
    assert_eq!(answers.iter().filter(|answer| answer.status == 503).count(), 5);
    assert!(answers.iter().all(|answer| answer.status == 503 || answer.text() == "a"));
}

#[test]
fn what_green_fails_goes_to_the_same_variant_of_blue() {
    let mut setup = setup([A, B], [BROKEN, B]);
    setup.green_share = "50%";
    let rig = setup.start();
    let answers = ask(&rig, &["x-variant: a"; 40]);
    assert!(answers.iter().all(|answer| (answer.status, answer.text()) == (200, "a")));
    rig.green_when(|reading| reading.settled() == 20);
    assert_eq!(reading(&rig, Side::Green, "a").failed(), 20);
    assert_eq!(dealt(&rig), [20, 0, 20, 0], "rescues are dealt to nobody");
}

#[test]
fn a_session_stays_with_its_variant_also_when_it_moves_to_green() {
    let mut setup = setup([A, B], [A, B]);
    setup.sticky = Some(Sticky::Header(HeaderName::from_static("x-session")));
    let rig = setup.start();
    let sessions: Vec<_> = (0..100).map(|session| format!("x-session: s{session}")).collect();
    let sessions: Vec<&str> = sessions.iter().map(String::as_str).collect();
    let variants =
        |answers: &[Answer]| answers.iter().map(|answer| answer.text().to_owned()).collect::<Vec<_>>();
    let before = variants(&ask(&rig, &sessions));
    rig.give("50%");
    assert_eq!(variants(&ask(&rig, &sessions)), before);
    let [a, b, green_a, green_b] = dealt(&rig);
    assert!(green_a > 10 && green_b > 2 && a > green_a && b > green_b, "{:?}", dealt(&rig));
}

#[test]
fn other_weights_hold_from_the_next_request_on_and_keep_what_is_counted() {
    let rig = setup([A, B], [A, B]).start();
    ask(&rig, &["x-other: 1"; 20]);
    let mut route = rig.route.clone();
    let mut fleet = Fleet::of(route.blue.fleet.version.clone(), route.blue.fleet.instances.clone());
    fleet.variants = route.blue.fleet.variants.clone();
    fleet.variants[0].weight = VariantWeight::NONE;
    route.blue.fleet = fleet.into();
    publish(&rig, route);
    assert!(ask(&rig, &["x-other: 1"; 20]).iter().all(|answer| answer.text() == "b"));
    assert_eq!(dealt(&rig), [15, 25, 0, 0]);
}

#[test]
fn a_full_variant_sheds_its_own_requests_and_leaves_the_other_alone() {
    let (wait, end) = mpsc::channel::<()>();
    let end = Mutex::new(end);
    let hanging = Origin::new(move |_, _| {
        assert!(end.lock().unwrap().recv().is_err(), "nothing is ever sent");
        Then::Close
    });
    let b = Origin::saying(B);
    let mut setup = Setup::new(&[hanging.address, b.address]);
    setup.variants = vec![("a", 1.0), ("b", 1.0)];
    setup.variant_header = Some(HeaderName::from_static("x-variant"));
    setup.protection.admission =
        Admission { max_concurrency: NonZeroU32::new(1), queue: 0, ..Admission::default() };
    let rig = setup.start();
    let mut hangs = rig.client();
    hangs.send("GET / HTTP/1.1\r\nhost: test\r\nx-variant: a\r\n\r\n");
    eventually(|| (rig.route.blue.fleet.in_flight() == 1).then_some(()));
    let answers = ask(&rig, &["x-variant: a", "x-variant: b"]);
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [503, 200]);
    drop(wait);
}

fn publish(rig: &Rig, route: EndpointRoute) {
    let generation = Generation(rig.table.load().generation().0 + 1);
    rig.table.store(Arc::new(RouteTable::new(generation, vec![Arc::new(route)])));
}
