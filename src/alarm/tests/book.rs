use std::{cell::Cell, collections::VecDeque, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{super::*, Trial, assert_near};
use crate::{
    meter::{
        Bell, DealingOrder, FailureKind, FleetMeters, MAX_BOUNDS, Outcome, Overdue, PassedMarks, Reading,
        Run, Stamp, Verdict, WatchPoint,
    },
    time::Moment,
    weight::Share,
};

const OK: Verdict = Verdict::Success;
const FAILED: Verdict = Verdict::Failure(FailureKind::ServerError);
const GONE: Verdict = Verdict::ClientGone;

/// Green's meters, the watch point and the book of one shift.
struct Rig {
    meters: FleetMeters,
    watch: WatchPoint,
    book: AlarmBook,
    clock: Cell<u64>,
}

impl Rig {
    /// A shift whose first step has begun and been looked at once.
    fn new(plan: &AlarmPlan, bakes: usize) -> Self {
        let watch = WatchPoint::new(&AlarmBook::bounds(plan), Arc::new(Bell::new()));
        let book = AlarmBook::new(plan, bakes, 0, Dealing::Deck, &Reading::default());
        Self::begin(watch, book)
    }

    /// The same where the order of dealing is kept.
    fn in_order(plan: &AlarmPlan) -> Self {
        assert!(AlarmBook::needs_order(plan, Dealing::Deck));
        let watch = WatchPoint::new(&AlarmBook::bounds(plan), Arc::new(Bell::new())).in_order(1);
        Self::begin(watch, AlarmBook::new(plan, 1, 0, Dealing::Deck, &Reading::default()))
    }

    fn begin(watch: WatchPoint, book: AlarmBook) -> Self {
        let mut rig = Self { meters: FleetMeters::new(2), watch, book, clock: Cell::new(0) };
        rig.book.begin_step(Share::ALL);
        rig.look();
        rig
    }

    fn deal(&self) -> Stamp {
        let stamp = self.watch.stamp();
        self.clock.set(self.clock.get() + 1);
        self.meters.shard(0).dealt(stamp, self.now());
        if let Some(order) = self.watch.order() {
            order.dealt(0, self.now());
        }
        stamp
    }

    /// When the last request was dealt.
    fn now(&self) -> Moment {
        Moment::from_nanos(self.clock.get())
    }

    fn settle(&self, stamp: Stamp, verdict: Verdict, millis: u64) {
        self.settle_as(stamp, verdict, millis, false);
    }

    /// So many requests of a warm-up that settle at once.
    fn warm_up(&self, requests: usize, verdict: Verdict, millis: u64) {
        for _ in 0..requests {
            self.settle_as(self.deal(), verdict, millis, true);
        }
    }

    fn settle_as(&self, stamp: Stamp, verdict: Verdict, millis: u64, is_warm_up: bool) {
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
            is_warm_up,
        };
        self.meters.shard(0).settled(stamp, Some(&self.watch), &outcome);
    }

    /// So many requests that settle at once.
    fn pass(&self, requests: usize, verdict: Verdict, millis: u64) {
        for _ in 0..requests {
            let stamp = self.deal();
            if let (FAILED, Some(order)) = (verdict, self.watch.order()) {
                order.failed(0, self.now());
            }
            self.settle(stamp, verdict, millis);
        }
    }

    /// So many parts of the purse, all good.
    fn pass_by_looks(&mut self, parts: usize) {
        for _ in 0..parts {
            self.pass(64, OK, 1);
            self.look();
        }
    }

    fn look(&mut self) -> Verdicts {
        let verdicts = self.book.look(Sight {
            green: &self.meters.read(),
            blue: &Reading::default(),
            tails: &Tails::default(),
            stamp: self.watch.stamp(),
            run: self.watch.order().map_or_else(Run::default, DealingOrder::longest_run),
        });
        if verdicts.new_bet {
            self.watch.advance();
        }
        verdicts
    }

    fn counts(&self) -> Vec<(u64, u64)> {
        self.book.evidence().iter().map(|evidence| (evidence.requests, evidence.failures)).collect()
    }

    fn states(&self) -> Vec<AlarmState> {
        self.book.evidence().iter().map(|evidence| evidence.state).collect()
    }
}

fn errors(below: f64) -> Guard {
    Guard { name: "errors".to_owned(), bound: GuardBound::ErrorRate { below }, burst: None }
}

fn latency(name: &str, quantile: f64, millis: u64) -> Guard {
    let below = Duration::from_millis(millis);
    Guard { name: name.to_owned(), bound: GuardBound::Latency { quantile, below }, burst: None }
}

fn plan(guards: Vec<Guard>) -> AlarmPlan {
    AlarmPlan { guards, ..AlarmPlan::default() }
}

#[test]
fn without_alarms_everything_is_clear_and_nothing_is_bet() {
    let mut rig = Rig::new(&plan(Vec::new()), 1);
    rig.pass(200, FAILED, 1);
    assert_eq!(rig.look(), Verdicts { standing: Standing::Clear, new_bet: false });
}

#[test]
fn a_warm_up_is_no_evidence_on_latency_whatever_it_takes_and_its_failures_are_on_errors() {
    let mut rig = Rig::new(&plan(vec![errors(0.01), latency("slow", 0.9, 100)]), 1);
    rig.warm_up(500, OK, 60_000);
    rig.look();
    assert_eq!(rig.counts(), [(500, 0), (0, 0)]);
    assert_eq!(rig.states(), [AlarmState::Ok, AlarmState::InsufficientData], "and it is no data either");
    rig.warm_up(50, FAILED, 60_000);
    assert!(matches!(rig.look().standing, Standing::Breached(evidence) if evidence.name == "errors"));
}

#[test]
fn an_outage_raises_the_alarm_at_its_third_failure_and_it_stays_raised() {
    let mut rig = Rig::new(&plan(vec![errors(0.01)]), 1);
    rig.pass(2, FAILED, 1);
    assert!(matches!(rig.look().standing, Standing::InsufficientData { .. }));
    rig.pass(1, FAILED, 1);
    let Standing::Breached(evidence) = rig.look().standing else { panic!("not raised") };
    assert_eq!((evidence.name.as_str(), evidence.requests, evidence.failures), ("errors", 3, 3));
    assert!(evidence.ln_e >= evidence.threshold && evidence.nearness() == 1.0 && evidence.missing == 0);
    assert_near(evidence.threshold, 1000_f64.ln(), "threshold");
    for _ in 0..20 {
        rig.pass(10_000, OK, 1);
        assert_eq!(rig.look().standing, Standing::Breached(evidence.clone()));
    }
    assert_eq!(rig.book.evidence(), [evidence]);
}

#[test]
fn five_failures_in_a_row_are_an_outage_after_thousands_of_good_requests() {
    for (looks, most) in [(0, 3), (2, 4), (15, 4), (160, 5), (900, 5)] {
        let mut rig = Rig::in_order(&plan(vec![errors(0.01)]));
        rig.pass_by_looks(looks);
        let needed = (1..100).find(|_| {
            rig.pass(1, FAILED, 1);
            matches!(rig.look().standing, Standing::Breached(_))
        });
        assert!(needed <= Some(most), "{needed:?} after {looks} parts");
    }
}

#[test]
fn failures_with_good_requests_between_them_are_no_outage() {
    let mut rig = Rig::in_order(&plan(vec![errors(0.01)]));
    rig.pass_by_looks(160);
    rig.pass(2, FAILED, 1);
    rig.pass(30, OK, 1);
    rig.pass(2, FAILED, 1);
    assert_eq!(rig.look().standing, Standing::Clear);
    let open = rig.deal();
    rig.pass(4, FAILED, 1);
    rig.settle(open, OK, 1);
    rig.pass(1, FAILED, 1);
    let Standing::Breached(evidence) = rig.look().standing else { panic!("not raised") };
    assert!(evidence.ln_e >= evidence.threshold && evidence.failures == 9);
}

#[test]
fn an_alarm_is_ok_once_an_outage_could_have_raised_it_in_this_step() {
    let mut rig = Rig::new(&plan(vec![errors(0.01)]), 2);
    let names = || Standing::InsufficientData { alarms: vec!["errors".to_owned()] };
    rig.pass(2, OK, 1);
    assert_eq!(rig.look().standing, names());
    assert_eq!(rig.book.evidence()[0].missing, 1);
    rig.pass(1, OK, 1);
    assert_eq!(rig.look().standing, Standing::Clear);
    rig.book.begin_step(Share::ALL);
    assert_eq!(rig.look().standing, names());
    rig.pass(2, GONE, 1);
    rig.pass(2, OK, 1);
    assert_eq!(rig.look().standing, names(), "clients that left told nothing");
    rig.pass(1, OK, 1);
    assert_eq!(rig.look().standing, Standing::Clear);
}

#[test]
fn the_failure_budget_ends_the_shift_whatever_the_alarms_say() {
    let plan = AlarmPlan { max_failures: Some(3), ..plan(vec![errors(0.5)]) };
    let mut rig = Rig::new(&plan, 1);
    rig.pass(100, OK, 1);
    rig.pass(2, FAILED, 1);
    assert_eq!(rig.look().standing, Standing::Clear);
    rig.pass(1, FAILED, 1);
    assert_eq!(rig.look().standing, Standing::BudgetSpent { failures: 3, max_failures: 3 });
}

#[test]
fn each_alarm_has_its_part_of_the_probability_and_each_life_half_of_the_one_before() {
    let plan = plan(vec![errors(0.01), latency("slow", 0.9, 100)]);
    for (life, parts) in [(0, 2000.0_f64), (1, 4000.0), (2, 8000.0)] {
        let book = AlarmBook::new(&plan, 1, life, Dealing::Deck, &Reading::default());
        for evidence in book.evidence() {
            assert_near(evidence.threshold, parts.ln(), life);
        }
    }
    assert_eq!(plan.least_requests(&plan.guards[0], 1, Dealing::Deck), 3);
    assert_eq!(plan.least_requests(&plan.guards[1], 10, Dealing::Deck), 6);
}

#[test]
fn a_new_bet_needs_64_requests_and_none_older_open() {
    let mut rig = Rig::new(&plan(vec![errors(0.5)]), 1);
    assert_eq!(rig.watch.stamp(), Stamp(2), "the first look after a step's begin is a bet");
    let open = rig.deal();
    rig.pass(62, OK, 1);
    assert!(!rig.look().new_bet, "63 requests");
    rig.pass(1, OK, 1);
    assert!(rig.look().new_bet, "the open one has the current stamp");
    rig.pass(100, OK, 1);
    assert!(!rig.look().new_bet, "the open one has the stamp before");
    rig.settle(open, OK, 1);
    assert!(rig.look().new_bet);
    rig.book.begin_step(Share::ALL);
    assert!(rig.look().new_bet, "a step's begin does not wait");
}

#[test]
fn evidence_is_the_tests_for_requests_that_settle_between_two_looks() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut rig = Rig::new(&plan(vec![latency("slow", 0.95, 100)]), 2);
    let mut trial = Trial::new(0.05, 2);
    for look in 0..300 {
        if look == 150 {
            rig.book.begin_step(Share::ALL);
            rig.look();
            trial.begin_step();
        }
        let (passed, failed) = (rng.random_range(0..40_u32), u32::from(rng.random_range(0..3) == 0));
        rig.pass(passed as usize, OK, 1);
        rig.pass(failed as usize, OK, 100);
        rig.look();
        assert_near(rig.book.evidence()[0].ln_e, trial.batch(passed + failed, f64::from(failed)), look);
    }
}

#[test]
fn a_client_that_leaves_takes_its_request_out_however_late() {
    let mut rig = Rig::new(&plan(vec![errors(0.01), latency("slow", 0.9, 100)]), 1);
    let stamps: Vec<Stamp> = (0..70).map(|_| rig.deal()).collect();
    assert!(rig.look().new_bet);
    assert!(rig.book.evidence().iter().all(|evidence| evidence.requests == 70 && evidence.ln_e < -0.1));
    for stamp in stamps {
        rig.settle(stamp, GONE, 50);
    }
    rig.look();
    for evidence in rig.book.evidence() {
        assert_eq!((evidence.requests, evidence.failures), (0, 0));
        assert!(evidence.ln_e.abs() < 0.06, "the bets on each one alone are lost: {}", evidence.ln_e);
    }
}

#[test]
fn slots_used_again_count_each_request_once() {
    let mut rig = Rig::new(&plan(vec![errors(0.5), latency("slow", 0.5, 100)]), 1);
    let mut last = rig.deal();
    for _ in 0..21 {
        rig.pass(61, OK, 1);
        rig.pass(1, FAILED, 1);
        rig.pass(1, GONE, 1);
        rig.pass(1, OK, 100);
        rig.settle(last, OK, 200);
        last = rig.deal();
        assert!(rig.look().new_bet);
    }
    // One dealt request is open at the end, and 21 of 22 slow ones have settled.
    assert_eq!(rig.counts(), [(21 * 64 + 1, 21), (21 * 63 + 1, 42)]);
    assert_eq!(rig.states(), [AlarmState::Ok, AlarmState::Ok]);
}

#[test]
fn failures_of_requests_two_bets_old_are_left_out() {
    let mut rig = Rig::new(&plan(vec![errors(0.01)]), 3);
    let old: Vec<Stamp> = (0..5).map(|_| rig.deal()).collect();
    for _ in 0..2 {
        rig.look();
        rig.book.begin_step(Share::ALL);
        rig.look();
    }
    for stamp in old {
        rig.settle(stamp, FAILED, 1);
    }
    assert_eq!(rig.look().standing, Standing::Clear);
    assert_eq!(rig.counts(), [(5, 0)]);
}

#[test]
fn latency_is_judged_by_exceedances_of_answers_that_have_one() {
    let guards =
        vec![latency("p50", 0.5, 100), errors(0.5), latency("p99", 0.99, 100), latency("p90", 0.9, 250)];
    let plan = plan(guards);
    assert_eq!(AlarmBook::bounds(&plan), [Duration::from_millis(100), Duration::from_millis(250)]);
    let mut rig = Rig::new(&plan, 1);
    rig.pass(10, OK, 99);
    rig.pass(1, OK, 100);
    rig.pass(1, Verdict::ClientError, 300);
    rig.pass(4, FAILED, 1);
    rig.look();
    assert_eq!(rig.counts(), [(12, 2), (16, 4), (12, 2), (12, 1)]);
    rig.pass(4, OK, 249);
    let Standing::Breached(evidence) = rig.look().standing else { panic!("not raised") };
    assert_eq!((evidence.name.as_str(), evidence.requests, evidence.failures), ("p99", 16, 6));
}

#[test]
fn an_alarm_that_the_meters_cannot_count_for_never_has_enough_data() {
    let guards =
        (0..=MAX_BOUNDS).map(|place| latency(&format!("g{place}"), 0.5, 10 + place as u64)).collect();
    let mut rig = Rig::new(&plan(guards), 1);
    rig.pass(1_000, OK, 1);
    let alarms = vec![format!("g{MAX_BOUNDS}")];
    assert_eq!(rig.look().standing, Standing::InsufficientData { alarms });
}

#[test]
fn a_reading_that_shrank_is_no_progress() {
    let mut rig = Rig::new(&plan(vec![errors(0.01)]), 1);
    rig.pass(50, OK, 1);
    rig.pass(1, FAILED, 1);
    rig.look();
    let before = rig.book.evidence();
    rig.meters = FleetMeters::new(1);
    rig.look();
    assert_eq!(rig.book.evidence(), before);
    rig.pass(1, FAILED, 1);
    rig.look();
    assert_eq!(rig.counts(), [(52, 2)]);
}

/// At its bound, with failures known after two seconds, while the load swings between 400 and 4 requests a second. Were late failures to
/// pay the bets placed after their requests, every shift would be called bad.
#[test]
fn failures_that_come_late_raise_no_false_alarm() {
    const LOOKS_PER_SECOND: usize = 20;
    let plan = AlarmPlan { false_alarm: 0.05, ..plan(vec![errors(0.01)]) };
    let mut rng = StdRng::seed_from_u64(1);
    let mut alarms = 0;
    for _ in 0..40 {
        let mut rig = Rig::new(&plan, 1);
        let mut open = VecDeque::new();
        for look in 0..120 * LOOKS_PER_SECOND {
            let is_busy = (look / LOOKS_PER_SECOND / 5).is_multiple_of(2);
            let requests = if is_busy { 20 } else { usize::from(look % 5 == 0) };
            open.extend((0..requests).map(|_| (look + 2 * LOOKS_PER_SECOND, rig.deal())));
            while let Some((_, stamp)) = open.pop_front_if(|(due, _)| *due <= look) {
                let verdict = if rng.random_bool(0.01) { FAILED } else { OK };
                rig.settle(stamp, verdict, 2_000);
            }
            rig.look();
        }
        alarms += u32::from(rig.states() == [AlarmState::Alarm]);
    }
    assert!(alarms <= 2, "{alarms} of 40");
}

#[test]
fn evidence_tells_what_tipped_the_alarm_apart_from_the_whole_shift() {
    let mut rig = Rig::new(&plan(vec![errors(0.01)]), 1);
    for _ in 0..66 {
        rig.pass(101, OK, 1);
        rig.look();
    }
    let broken = loop {
        rig.pass(2, FAILED, 1);
        rig.pass(1, OK, 1);
        if let Standing::Breached(evidence) = rig.look().standing {
            break evidence;
        }
    };
    assert_eq!(
        (broken.requests, broken.failures, broken.recent_requests, broken.recent_failures),
        (6_675, 6, 9, 6)
    );
    assert_eq!(broken.telling(), Telling::Last { requests: 9, failures: 6 });
    rig.pass(50, OK, 1);
    rig.look();
    assert_eq!(rig.book.evidence(), [broken], "a raised alarm keeps the numbers that raised it");
}

#[test]
fn failures_that_come_together_count_as_one_where_the_plan_or_a_sticky_key_says_so() {
    let raised_after = |burst: Option<u32>, dealing: Dealing| {
        let guard = Guard { burst, ..errors(0.01) };
        let plan = plan(vec![guard]);
        let mut rig = Rig::new(&plan, 1);
        rig.book = AlarmBook::new(&plan, 1, 0, dealing, &Reading::default());
        rig.book.begin_step(Share::ALL);
        rig.look();
        let needed = (1..100).find(|_| {
            rig.pass(1, FAILED, 1);
            matches!(rig.look().standing, Standing::Breached(_))
        });
        assert_eq!(needed, Some(plan.least_requests(&plan.guards[0], 1, dealing)));
        needed
    };
    assert_eq!(raised_after(None, Dealing::Deck), Some(3));
    assert_eq!(raised_after(Some(3), Dealing::Deck), Some(7));
    assert_eq!(raised_after(Some(4), Dealing::Deck), raised_after(None, Dealing::Sticky));
    assert_eq!(raised_after(Some(1), Dealing::Sticky), Some(3));
}
