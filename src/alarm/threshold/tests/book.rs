//! Periods of green's meters, and what a shift hears of them.

use std::time::Duration;

use super::super::*;
use crate::{
    alarm::{AlarmState, Statistic},
    meter::{FailureKind, FleetMeters, Outcome, Overdue, PassedMarks, Stamp, Verdict},
    time::Moment,
};

/// Green, and a book that looks at it.
struct World {
    meters: FleetMeters,
    book: ThresholdBook,
}

impl World {
    fn new(thresholds: &[Threshold]) -> Self {
        let mut book = ThresholdBook::new(thresholds);
        book.begin_step(at(100));
        Self { meters: FleetMeters::new(1), book }
    }

    fn serve(&self, count: usize, verdict: Verdict, millis: u64) {
        for _ in 0..count {
            self.meters.shard(0).dealt(Stamp::default(), Moment::from_nanos(1));
            self.meters.shard(0).settled(
                Stamp::default(),
                None,
                &Outcome {
                    verdict,
                    status: None,
                    grpc_status: None,
                    first_byte: Some(Duration::from_millis(millis / 2)),
                    first_token: None,
                    tokens_out: 0,
                    duration: Duration::from_millis(millis),
                    bytes_in: 0,
                    bytes_out: 0,
                    overdue: Overdue::default(),
                    passed: PassedMarks::default(),
                    is_warm_up: false,
                },
            );
        }
    }

    fn look(&mut self, millis: u64) -> ThresholdEvidence {
        if self.book.is_due(at(millis)) {
            let totals = Totals {
                reading: &self.meters.read(),
                latency: &self.meters.latency(),
                first_byte: &self.meters.first_byte(),
                first_token: &self.meters.first_token(),
                token_gap: &self.meters.token_gap(),
            };
            self.book.look(at(millis), None, totals);
        }
        self.book.evidence().remove(0)
    }
}

fn at(millis: u64) -> Moment {
    Moment::from_nanos(millis * 1_000_000)
}

/// Raised by 2 of 3 periods of a second.
fn threshold(measure: Measure, bound: Bound) -> Threshold {
    Threshold {
        name: "slow".to_owned(),
        variant: None,
        measure,
        comparison: Comparison::Above,
        bound,
        period: Duration::from_secs(1),
        periods: 3,
        datapoints: 2,
        missing: MissingData::Missing,
        low_samples: LowSamples::Evaluate,
    }
}

fn p90() -> Threshold {
    threshold(Measure::Latency(Statistic::Percentile(0.9)), Bound::Time(Duration::from_millis(300)))
}

#[test]
fn a_period_is_judged_by_what_came_in_it_alone() {
    let mut world = World::new(&[p90()]);
    world.serve(20, Verdict::Success, 400);
    assert!(world.look(1_099).range.is_empty());
    let first = world.look(1_100);
    assert_eq!((first.range.len(), first.breaching, first.newest().unwrap().samples), (1, 1, 20));
    world.serve(5, Verdict::Success, 10);
    let second = world.look(2_105);
    assert_eq!((second.range.len(), second.breaching, second.newest().unwrap().samples), (2, 1, 5));
    // The look was late, the period is not.
    world.serve(5, Verdict::Success, 500);
    assert_eq!(world.look(3_099).range.len(), 2);
    let third = world.look(3_100);
    assert_eq!((third.state, third.breaching), (AlarmState::Alarm, 2));
    assert_eq!(world.book.raised().unwrap(), third);
}

#[test]
fn a_raised_alarm_keeps_the_datapoints_that_raised_it() {
    let mut world = World::new(&[p90()]);
    world.serve(1, Verdict::Success, 400);
    world.look(1_100);
    world.serve(1, Verdict::Success, 400);
    let raised = world.look(2_100);
    assert_eq!(raised.state, AlarmState::Alarm);
    assert!(!world.book.is_due(at(9_000)));
    world.book.begin_step(at(9_000));
    assert_eq!(world.look(12_000), raised);
}

#[test]
fn an_alarm_can_tell_once_as_many_periods_of_the_step_are_over_as_could_raise_it() {
    let mut world = World::new(&[p90()]);
    for (until, lacking, state) in [
        (1_100, 1, AlarmState::InsufficientData),
        (2_100, 0, AlarmState::Ok),
        // The step begins within a period, which is not one of its own.
        (3_100, 2, AlarmState::InsufficientData),
        (4_100, 1, AlarmState::InsufficientData),
        (5_100, 0, AlarmState::Ok),
    ] {
        if until == 3_100 {
            world.book.begin_step(at(2_600));
        }
        world.serve(1, Verdict::Success, 10);
        let evidence = world.look(until);
        assert_eq!((evidence.lacking, evidence.state), (lacking, state), "{until}");
        assert_eq!(world.book.lacks_data(), state != AlarmState::Ok);
    }
}

#[test]
fn breaches_of_two_steps_add_up() {
    let mut world = World::new(&[p90()]);
    world.serve(1, Verdict::Success, 400);
    world.look(1_100);
    world.book.begin_step(at(1_100));
    world.serve(1, Verdict::Success, 400);
    assert_eq!(world.look(2_100).state, AlarmState::Alarm);
}

#[test]
fn silence_is_too_little_data_and_a_late_look_is_no_silence() {
    let mut world = World::new(&[p90()]);
    for second in 1..=3 {
        assert_eq!(world.look(100 + 1_000 * second).state, AlarmState::InsufficientData);
    }
    world.serve(3, Verdict::Success, 10);
    let late = world.look(60_000);
    assert_eq!((late.range.len(), late.state, late.newest().unwrap().samples), (4, AlarmState::Ok, 3));
    assert!(!world.book.is_due(at(60_099)) && world.book.is_due(at(60_100)));
}

#[test]
fn each_measure_is_taken_from_its_own_meters() {
    let half = Bound::Time(Duration::from_millis(1));
    for (measure, bound, value, samples) in [
        (Measure::FirstByte(Statistic::Average), half, 0.05, 4),
        (Measure::Latency(Statistic::SampleCount), Bound::Count(0), 4.0, 4),
        (Measure::ErrorRate, Bound::Fraction(0.1), 0.25, 8),
        (Measure::ClientErrorRate, Bound::Fraction(0.1), 0.25, 8),
        (Measure::Failures, Bound::Count(1), 2.0, 8),
        (Measure::Requests, Bound::Count(1), 9.0, 9),
    ] {
        let mut world = World::new(&[threshold(measure, bound)]);
        world.serve(4, Verdict::Success, 100);
        world.serve(2, Verdict::ClientError, 100);
        world.serve(2, Verdict::Failure(FailureKind::Reset), 100);
        world.serve(1, Verdict::ClientGone, 100);
        let newest = world.look(1_100).newest().unwrap();
        let told = matches!(measure, Measure::FirstByte(_) | Measure::Latency(_));
        assert!(told || newest.samples == samples, "{measure:?}: {newest:?}");
        assert!(
            matches!(measure, Measure::Latency(_)) || (newest.value - value).abs() < 1e-9,
            "{measure:?}: {newest:?}"
        );
    }
}
