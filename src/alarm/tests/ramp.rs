//! Steps that end early: what is evidence that green is good, and what is not.

use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::super::*;
use crate::{
    meter::{
        Bell, FailureKind, FleetMeters, Outcome, Overdue, PassedMarks, Reading, Run, Stamp, Timing, Verdict,
        WatchPoint,
    },
    time::Moment,
    weight::Share,
};

const OK: Verdict = Verdict::Success;
const FAILED: Verdict = Verdict::Failure(FailureKind::ServerError);

/// Both fleets' meters and the book of one shift, in a step of 10 %.
struct Rig {
    green: FleetMeters,
    blue: FleetMeters,
    watch: WatchPoint,
    book: AlarmBook,
}

impl Rig {
    fn new(plan: &AlarmPlan) -> Self {
        Self::beside(plan, FleetMeters::new(1))
    }

    fn beside(plan: &AlarmPlan, blue: FleetMeters) -> Self {
        let watch = WatchPoint::new(&AlarmBook::bounds(plan), Arc::new(Bell::new()));
        let book = AlarmBook::new(plan, 2, 0, Dealing::Deck, &blue.read());
        let mut rig = Self { green: FleetMeters::new(1), blue, watch, book };
        rig.begin("10%");
        rig
    }

    fn begin(&mut self, share: &str) {
        self.book.begin_step(Share::parse(share).unwrap());
        self.look();
    }

    fn settle(&self, fleet: &FleetMeters, stamp: Stamp, verdict: Verdict, millis: u64) {
        let outcome = Outcome {
            verdict,
            status: None,
            grpc_status: None,
            first_byte: None,
            first_token: None,
            tokens_out: 0,
            duration: Duration::from_millis(millis),
            bytes_in: 0,
            bytes_out: 0,
            overdue: Overdue::default(),
            passed: PassedMarks::default(),
            is_warm_up: false,
        };
        fleet.shard(0).settled(stamp, Some(&self.watch), &outcome);
    }

    fn deal(&self, fleet: &FleetMeters) -> Stamp {
        fleet.shard(0).dealt(self.watch.stamp(), Moment::from_nanos(1));
        self.watch.stamp()
    }

    fn pass(&self, fleet: &FleetMeters, requests: usize, verdict: Verdict, millis: u64) {
        for _ in 0..requests {
            self.settle(fleet, self.deal(fleet), verdict, millis);
        }
    }

    fn look(&mut self) -> Option<Safety> {
        let blue = self.blue.read();
        if self.book.lacks_marks(Timing::Latency) && blue.succeeded >= LEAST_ANSWERS {
            self.book.mark(Timing::Latency, &self.green.latency(), &self.blue.latency());
        }
        let tails = self.book.edges().read(&self.green, &self.blue);
        let green = self.green.read();
        let sight = Sight {
            green: &green,
            blue: &blue,
            tails: &tails,
            stamp: self.watch.stamp(),
            run: Run::default(),
        };
        if self.book.look(sight).new_bet {
            self.watch.advance();
        }
        self.book.safety()
    }

    fn is_safe(&mut self) -> bool {
        self.look().is_some_and(|safety| safety.is_shown())
    }

    /// So many times ten green and ninety blue requests, all good, with a look after each.
    fn serve(&mut self, tens: usize) -> Option<Safety> {
        let mut last = None;
        for _ in 0..tens {
            self.pass(&self.green, 10, OK, 50);
            self.pass(&self.blue, 90, OK, 50);
            last = self.look();
        }
        last
    }
}

fn errors() -> Regression {
    let bound = RegressionBound::ErrorRate { tolerance: Tolerance::Ratio(1.0) };
    Regression { name: "errors".to_owned(), bound, burst: None }
}

fn plan(guards: Vec<Guard>, regressions: Vec<Regression>) -> AlarmPlan {
    let ramp = Some(RampRule { margin: 0.005, requests: 100 });
    AlarmPlan { guards, regressions, ramp, ..AlarmPlan::default() }
}

fn guard(bound: GuardBound) -> Guard {
    Guard { name: "guard".to_owned(), bound, burst: None }
}

#[test]
fn a_green_without_a_failure_is_safe_after_as_many_requests_as_the_forecast_says() {
    for guards in [vec![], vec![guard(GuardBound::ErrorRate { below: 0.01 })]] {
        let plan = plan(guards, vec![errors()]);
        let least = plan.least_safe_requests(Share::parse("10%").unwrap(), 0.0).unwrap();
        let mut rig = Rig::new(&plan);
        let mut needed = 0;
        while !rig.serve(1).unwrap().is_shown() {
            needed += 10;
            assert!(needed < 10_000);
        }
        assert!((least..least + 10).contains(&(needed + 10)), "{needed} {least}");
    }
}

#[test]
fn a_perfect_green_under_a_guard_alone_needs_378_requests_for_it() {
    let plan = AlarmPlan {
        ramp: Some(RampRule { margin: 0.5, requests: 1 }),
        ..plan(vec![guard(GuardBound::ErrorRate { below: 0.01 })], vec![])
    };
    assert_eq!(plan.least_safe_requests(Share::parse("10%").unwrap(), 0.0), Some(378));
}

#[test]
fn open_requests_are_no_evidence_and_hide_none_that_there_is() {
    let mut rig = Rig::new(&plan(vec![], vec![errors()]));
    let stuck: Vec<_> = (0..2_000)
        .map(|_| {
            rig.pass(&rig.blue, 9, OK, 50);
            rig.deal(&rig.green)
        })
        .collect();
    assert!(!rig.is_safe() && rig.look().unwrap().ln_e < 0.0, "a green that hangs");
    for stamp in stuck {
        rig.settle(&rig.green, stamp, OK, 50);
    }
    assert!(rig.is_safe());
    // A bet later, some hundred are open again, as they are wherever answers take seconds.
    rig.serve(1);
    for _ in 0..300 {
        rig.deal(&rig.green);
    }
    assert!(rig.is_safe());
}

#[test]
fn evidence_is_of_one_step_and_the_last_one_has_none() {
    let mut rig = Rig::new(&plan(vec![], vec![errors()]));
    assert!(rig.serve(400).unwrap().is_shown());
    rig.begin("20%");
    assert!(!rig.is_safe());
    assert_eq!(rig.look().unwrap().requests, 0);
    rig.begin("100%");
    assert_eq!(rig.look(), None);
}

#[test]
fn what_was_dealt_to_blue_before_the_step_is_no_evidence() {
    let client_errors = Regression {
        name: "client_errors".to_owned(),
        bound: RegressionBound::ClientErrorRate { tolerance: Tolerance::Ratio(1.0) },
        burst: None,
    };
    let mut rig = Rig::new(&plan(vec![], vec![errors(), client_errors]));
    let (old, old_too): (Vec<_>, Vec<_>) =
        (0..500).map(|_| (rig.deal(&rig.blue), rig.deal(&rig.blue))).unzip();
    rig.begin("20%");
    rig.pass(&rig.green, 120, OK, 50);
    let before = rig.look().unwrap().ln_e;
    for (one, two) in old.into_iter().zip(old_too) {
        rig.settle(&rig.blue, one, FAILED, 50);
        rig.settle(&rig.blue, two, Verdict::ClientError, 50);
    }
    assert!(rig.look().unwrap().ln_e <= before + 1e-9, "{} {before}", rig.look().unwrap().ln_e);
}

#[test]
fn a_slow_green_is_not_safe_and_one_as_fast_as_blue_is() {
    let slower = Regression {
        name: "slower".to_owned(),
        bound: RegressionBound::Latency { quantile: None, ratio: 1.2 },
        burst: None,
    };
    for (millis, safe) in [(55, true), (80, false)] {
        let mut rig = Rig::new(&plan(vec![], vec![errors(), slower.clone()]));
        let mut is_safe = false;
        for round in 0..600_u64 {
            // Blue's answers are spread over a wide range, and green's over as wide a one.
            for request in 0..90 {
                rig.pass(&rig.blue, 1, OK, 50 + (request + round) % 50);
            }
            for request in 0..10 {
                rig.pass(&rig.green, 1, OK, millis + (5 * request + round) % 50);
            }
            is_safe |= rig.is_safe();
        }
        assert_eq!(is_safe, safe, "{millis} ms");
    }
}

#[test]
fn an_alarm_with_evidence_against_green_keeps_the_step_from_ending() {
    let plan = plan(vec![guard(GuardBound::ErrorRate { below: 0.05 })], vec![errors()]);
    let mut rig = Rig::new(&plan);
    assert!(rig.serve(400).unwrap().is_shown());
    rig.pass(&rig.green, 6, FAILED, 50);
    assert!(!rig.is_safe(), "{:?}", rig.book.evidence());
}

#[test]
fn where_clients_are_dealt_nothing_is_called_safe() {
    let plan = plan(vec![], vec![errors()]);
    let mut book = AlarmBook::new(&plan, 2, 0, Dealing::Sticky, &Reading::default());
    book.begin_step(Share::parse("10%").unwrap());
    let (green, blue, tails) = (Reading::default(), Reading::default(), Tails::default());
    book.look(Sight { green: &green, blue: &blue, tails: &tails, stamp: Stamp(1), run: Run::default() });
    assert_eq!(book.safety(), None);
}

#[test]
fn a_green_at_the_edge_of_the_margin_is_called_safe_in_one_step_of_twenty_at_most() {
    const RUNS: u64 = 200;
    let mut rng = StdRng::seed_from_u64(20_261_125);
    let plan = plan(vec![], vec![errors()]);
    let mut wrong = 0_u64;
    for _ in 0..RUNS {
        let mut rig = Rig::new(&plan);
        for _ in 0..60 {
            for (fleet, requests, rate) in [(&rig.green, 50, 0.03), (&rig.blue, 450, 0.025)] {
                let failed = (0..requests).filter(|_| rng.random::<f64>() < rate).count();
                rig.pass(fleet, failed, FAILED, 5);
                rig.pass(fleet, requests - failed, OK, 50);
            }
            if rig.is_safe() {
                wrong += 1;
                break;
            }
        }
    }
    let most = 0.05 + 3.0 * (0.05 * 0.95 / RUNS as f64).sqrt();
    assert!(wrong as f64 / RUNS as f64 <= most, "{wrong}");
}
