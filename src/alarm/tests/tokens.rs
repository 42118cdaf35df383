//! Guards on tokens: what they count, and what they promise where the gaps of a stream depend on each other.

use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::super::*;
use crate::{
    meter::{Bell, FleetMeters, Reading, Run, Stamp, TokenBound, WHOLE_STREAM, WatchPoint},
    time::Moment,
    weight::Share,
};

/// Green's meters under one guard, in a step that has begun.
struct Rig {
    meters: FleetMeters,
    watch: WatchPoint,
    book: AlarmBook,
}

impl Rig {
    fn new(bound: GuardBound, false_alarm: f64) -> Self {
        let guards = vec![Guard { name: "tokens".to_owned(), bound, burst: None }];
        let plan = AlarmPlan { guards, false_alarm, ..AlarmPlan::default() };
        let watch = WatchPoint::new(&AlarmBook::bounds(&plan), Arc::new(Bell::new()))
            .with_token_bounds(&AlarmBook::token_bounds(&plan));
        let book = AlarmBook::new(&plan, 1, 0, Dealing::Deck, &Reading::default());
        let mut rig = Self { meters: FleetMeters::new(1), watch, book };
        rig.book.begin_step(Share::ALL);
        rig.look();
        rig
    }

    fn deal(&self) -> Stamp {
        let stamp = self.watch.stamp();
        self.meters.shard(0).dealt(stamp, Moment::from_nanos(1));
        stamp
    }

    fn look(&mut self) -> Standing {
        let verdicts = self.book.look(Sight {
            green: &self.meters.read(),
            blue: &Reading::default(),
            tails: &Tails::default(),
            stamp: self.watch.stamp(),
            run: Run::default(),
        });
        if verdicts.new_bet {
            self.watch.advance();
        }
        verdicts.standing
    }

    /// Streams of which such a part was too long, up to the alarm.
    fn alarm_after(&mut self, most: u32, mut long: impl FnMut() -> f64) -> Option<u32> {
        (1..=most).find(|_| {
            let stamp = self.deal();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a stream")]
            let long = (long() * WHOLE_STREAM as f64) as u64;
            self.meters.shard(0).judge_tokens(stamp, &self.watch, 0, long);
            matches!(self.look(), Standing::Breached(_))
        })
    }
}

const GAP: GuardBound = GuardBound::TokenGap { quantile: 0.95, below: Duration::from_millis(80) };

#[test]
fn a_bound_is_counted_once_whatever_guards_have_it() {
    let guard = |name: &str, bound| Guard { name: name.to_owned(), bound, burst: None };
    let first = |quantile| GuardBound::FirstToken { quantile, below: Duration::from_secs(1) };
    let guards = vec![guard("a", first(0.5)), guard("b", GAP), guard("c", first(0.99))];
    let plan = AlarmPlan { guards, ..AlarmPlan::default() };
    assert_eq!(
        AlarmBook::token_bounds(&plan),
        [
            TokenBound::FirstToken { below: Duration::from_secs(1) },
            TokenBound::TokenGap { below: Duration::from_millis(80) }
        ]
    );
    assert_eq!((AlarmBook::bounds(&plan), plan.on_tokens()), (Vec::new(), Some(("guard", "a"))));
}

#[test]
fn parts_of_streams_add_up_and_what_is_no_stream_leaves_the_count() {
    let mut rig = Rig::new(GAP, 0.001);
    for long in [WHOLE_STREAM / 2, WHOLE_STREAM / 4, WHOLE_STREAM / 4, 0] {
        let stamp = rig.deal();
        rig.meters.shard(0).judge_tokens(stamp, &rig.watch, 0, long);
    }
    for _ in 0..5 {
        let stamp = rig.deal();
        rig.meters.shard(0).excuse_tokens(stamp, &rig.watch, 0);
    }
    let _open = rig.deal();
    rig.look();
    let evidence = rig.book.evidence().remove(0);
    assert_eq!((evidence.requests, evidence.failures), (5, 1), "four judged, one open, no whole one");
    assert_eq!(
        (evidence.state, evidence.missing),
        (AlarmState::Ok, 0),
        "four verdicts are enough for an outage to be seen"
    );
}

#[test]
fn streams_that_stall_raise_the_alarm_within_a_few() {
    let mut rig = Rig::new(GAP, 0.001);
    let found = rig.alarm_after(20, || 1.0).unwrap();
    assert!((3..=5).contains(&found), "{found}");
}

/// A twentieth of the streams is long in all of its gaps, the others in none: as dependent as the gaps of a stream can be. A test of single
/// gaps would take each such stream for hundreds of failures.
#[test]
fn gaps_that_depend_on_each_other_raise_no_more_false_alarms_than_promised() {
    const RUNS: u32 = 200;
    let mut rng = StdRng::seed_from_u64(20_261_124);
    let mut alarms = |false_alarm: f64, mean: f64| {
        let of_run = |_: &u32| {
            let mut rig = Rig::new(GAP, false_alarm);
            rig.alarm_after(1_500, || f64::from(u8::from(rng.random::<f64>() < mean))).is_some()
        };
        (0..RUNS).filter(of_run).count() as f64 / f64::from(RUNS)
    };
    let level = 0.05;
    let most = level + 3.0 * (level * (1.0 - level) / f64::from(RUNS)).sqrt();
    let (at_the_bound, beyond) = (alarms(level, 0.05), alarms(level, 0.1));
    assert!(at_the_bound <= most, "{at_the_bound}");
    assert!(beyond > 0.95, "{beyond}");
}
