//! What is late while it is still open.

use std::{cell::RefCell, sync::Arc, time::Duration};

use super::kit::{MessageReader, Origin, Rig, Setup, eventually};
use crate::{
    alarm::{
        AlarmBook, AlarmPlan, AlarmState, Dealing, Guard, GuardBound, Regression, RegressionBound, Sight,
        Standing, Tails,
    },
    meter::{CohortReading, Reading, Run, Stamp, Timing, WHOLE_STREAM},
    route::{Generation, RouteTable},
    weight::Share,
};

const BOUND: Duration = Duration::from_millis(100);

/// An origin that accepts, reads, and never answers.
fn silent() -> Origin {
    Origin::raw(|stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        while reader.line().is_some() {}
    })
}

fn rig(green: &Origin, bounds: &[Duration]) -> Rig {
    let mut setup = Setup::new(&[green.address]);
    setup.green = vec![green.address];
    setup.green_share = "100%";
    setup.latency_bounds = bounds.to_vec();
    setup.start()
}

impl Rig {
    fn stamp(&self) -> Stamp {
        self.route.watch.as_ref().unwrap().stamp()
    }

    pub(super) fn cohort_when(&self, fits: impl Fn(&CohortReading) -> bool) -> CohortReading {
        eventually(|| Some(*self.green().cohort(self.stamp())).filter(|cohort| fits(cohort)))
    }
}

#[test]
fn a_green_that_accepts_and_never_answers_raises_its_latency_alarm() {
    let bound = GuardBound::Latency { quantile: 0.99, below: BOUND };
    let plan = AlarmPlan {
        guards: vec![Guard { name: "slow".to_owned(), bound, burst: None }],
        ..AlarmPlan::default()
    };
    let green = silent();
    let rig = rig(&green, &AlarmBook::bounds(&plan));
    let mut book = AlarmBook::new(&plan, 1, 0, Dealing::Deck, &Reading::default());
    book.begin_step(Share::ALL);
    let (blue, tails) = (Reading::default(), Tails::default());
    let first = rig.green();
    if book
        .look(Sight { green: &first, blue: &blue, tails: &tails, stamp: rig.stamp(), run: Run::default() })
        .new_bet
    {
        rig.route.watch.as_ref().unwrap().advance();
    }
    let _clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = rig.client();
            client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
            client
        })
        .collect();
    rig.cohort_when(|cohort| cohort.exceeded[0] == 4);
    let reading = rig.green();
    assert_eq!((reading.dealt, reading.settled()), (4, 0), "no response ever came");
    let Standing::Breached(evidence) = book
        .look(Sight { green: &reading, blue: &blue, tails: &tails, stamp: rig.stamp(), run: Run::default() })
        .standing
    else {
        panic!("not raised: {:?}", book.evidence());
    };
    assert_eq!((evidence.state, evidence.requests, evidence.failures), (AlarmState::Alarm, 4, 4));
}

#[test]
fn an_overdue_request_is_counted_once_for_each_bound_and_not_again_when_its_client_leaves() {
    let green = silent();
    let rig = rig(&green, &[BOUND, Duration::from_secs(600)]);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    rig.cohort_when(|cohort| cohort.exceeded[0] == 1);
    drop(client);
    let cohort = rig.cohort_when(|cohort| cohort.settled == 1);
    assert_eq!((cohort.exceeded[0], cohort.excused[0]), (1, 0));
    assert_eq!((cohort.exceeded[1], cohort.excused[1], cohort.left), (0, 1, 1));
}

#[test]
fn a_request_dealt_under_an_earlier_share_is_seen_too() {
    let green = silent();
    let rig = rig(&green, &[BOUND]);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    eventually(|| (rig.green().dealt == 1).then_some(()));
    let mut route = rig.route.clone();
    route.split.green = Share::parse("50%").unwrap();
    rig.table.store(Arc::new(RouteTable::new(Generation(2), vec![Arc::new(route)])));
    rig.cohort_when(|cohort| cohort.exceeded[0] == 1);
}

#[test]
fn a_green_that_hangs_before_its_first_token_raises_its_guard_without_one_completion() {
    const ASKS: &str = r#"{"messages":[{"content":"hi"}],"stream":true}"#;
    const ASKS_NOT: &str = r#"{"messages":[{"content":"hi"}],"stream":false}"#;
    let bound = GuardBound::FirstToken { quantile: 0.99, below: BOUND };
    let plan = AlarmPlan {
        guards: vec![Guard { name: "first".to_owned(), bound, burst: None }],
        ..AlarmPlan::default()
    };
    let green = silent();
    let mut setup = Setup::new(&[green.address]);
    setup.green = vec![green.address];
    setup.green_share = "100%";
    setup.token_bounds = AlarmBook::token_bounds(&plan);
    let rig = setup.start();
    let mut book = AlarmBook::new(&plan, 1, 0, Dealing::Deck, &Reading::default());
    book.begin_step(Share::ALL);
    let (blue, tails) = (Reading::default(), Tails::default());
    let first = rig.green();
    if book
        .look(Sight { green: &first, blue: &blue, tails: &tails, stamp: rig.stamp(), run: Run::default() })
        .new_bet
    {
        rig.route.watch.as_ref().unwrap().advance();
    }
    let _clients: Vec<_> = [ASKS_NOT, ASKS, ASKS, ASKS_NOT, ASKS, ASKS]
        .into_iter()
        .map(|body| {
            let mut client = rig.client();
            let length = body.len();
            client.send(format!("POST /v1 HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}"));
            client
        })
        .collect();
    let cohort = rig.cohort_when(|cohort| cohort.tokens[0].judged == 4);
    assert_eq!((cohort.tokens[0].long, cohort.tokens[0].excused), (4 * WHOLE_STREAM, 0));
    let reading = rig.green();
    assert_eq!((reading.dealt, reading.settled()), (6, 0), "no response ever came");
    let sight =
        Sight { green: &reading, blue: &blue, tails: &tails, stamp: rig.stamp(), run: Run::default() };
    let Standing::Breached(evidence) = book.look(sight).standing else {
        panic!("not raised: {:?}", book.evidence());
    };
    assert_eq!((evidence.name.as_str(), evidence.failures), ("first", 4));
}

/// A book that compares latency, at the beginning of a step in which green has half of all, marked by what blue has answered.
fn marked(rig: &Rig) -> AlarmBook {
    let bound = RegressionBound::Latency { quantile: None, ratio: 1.0 };
    let plan = AlarmPlan {
        regressions: vec![Regression { name: "slower".to_owned(), bound, burst: None }],
        ..AlarmPlan::default()
    };
    let mut book = AlarmBook::new(&plan, 1, 0, Dealing::Deck, &rig.blue());
    book.begin_step(Share::parse("50%").unwrap());
    let (green, blue) = (rig.route.green.as_ref().unwrap(), &rig.route.blue);
    book.mark(Timing::Latency, &green.meters.times(Timing::Latency), &blue.meters.times(Timing::Latency));
    rig.route.watch.as_ref().unwrap().mark(book.edges().late_marks());
    book
}

fn look(rig: &Rig, book: &mut AlarmBook) -> Standing {
    let (green, blue) = (rig.route.green.as_ref().unwrap(), &rig.route.blue);
    let tails = book.edges().read(&green.meters, &blue.meters);
    let (green, blue) = (rig.green(), rig.blue());
    book.look(Sight { green: &green, blue: &blue, tails: &tails, stamp: rig.stamp(), run: Run::default() })
        .standing
}

#[test]
fn a_green_that_hangs_is_slower_than_blue_without_one_completion() {
    let blue = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let green = silent();
    let mut setup = Setup::new(&[blue.address]);
    setup.green = vec![green.address];
    setup.green_share = "0%";
    setup.compares_latency = true;
    let rig = setup.start();
    let mut client = rig.client();
    (0..150).for_each(|_| assert_eq!(client.get("/").status, 200));
    rig.blue_when(|blue| blue.succeeded == 150);
    let mut book = marked(&rig);
    assert!(matches!(look(&rig, &mut book), Standing::InsufficientData { .. }));
    rig.give("50%");
    let (book, clients) = (RefCell::new(book), RefCell::new(Vec::new()));
    let evidence = eventually(|| {
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        clients.borrow_mut().push(client);
        match look(&rig, &mut book.borrow_mut()) {
            Standing::Breached(evidence) => Some(evidence),
            Standing::Clear | Standing::InsufficientData { .. } | Standing::BudgetSpent { .. } => None,
        }
    });
    assert_eq!((evidence.name.as_str(), rig.green().settled()), ("slower", 0));
    assert!(evidence.failures > 0 && evidence.failures == evidence.requests, "{evidence:?}");
}
