mod book;

use super::*;
use crate::alarm::AlarmState::{Alarm, InsufficientData, Ok};

const MODES: [MissingData; 4] =
    [MissingData::Missing, MissingData::Ignore, MissingData::Breaching, MissingData::NotBreaching];

fn rule(datapoints: usize, periods: usize, missing: MissingData) -> ThresholdRule {
    ThresholdRule {
        statistic: Statistic::Average,
        comparison: Comparison::Above,
        bound: 0.5,
        periods,
        datapoints,
        missing,
        low_samples: LowSamples::Evaluate,
    }
}

/// `0` within the bound, `X` breaching, `-` missing, the newest last.
fn points(text: &str) -> impl Iterator<Item = Option<Datapoint>> + '_ {
    text.split(' ').map(|mark| {
        let point = |value| Some(Datapoint { value, samples: 10 });
        match mark {
            "0" => point(0.0),
            "X" => point(1.0),
            _ => None,
        }
    })
}

/// The state after a range, for an alarm that was in a given state before its last period.
fn after(datapoints: usize, missing: MissingData, text: &str, before: AlarmState) -> AlarmState {
    let mut alarm = ThresholdAlarm::new(rule(datapoints, 3, missing));
    points(text).for_each(|point| {
        alarm.state = before;
        alarm.period(point);
    });
    alarm.state()
}

#[test]
fn the_guides_ten_rows_hold_in_all_four_modes() {
    let keep = None;
    let rows = [
        (3, "0 - X - X", [Some(Ok); 4]),
        (3, "0 - - - -", [Some(Ok); 4]),
        (3, "- - - - -", [Some(InsufficientData), keep, Some(Alarm), Some(Ok)]),
        (3, "0 X X - X", [Some(Alarm); 4]),
        (3, "- - X - -", [Some(Alarm), keep, Some(Alarm), Some(Ok)]),
        (2, "0 - X - X", [Some(Alarm); 4]),
        (2, "0 0 X 0 X", [Some(Alarm); 4]),
        (2, "0 - X - -", [Some(Ok), Some(Ok), Some(Alarm), Some(Ok)]),
        (2, "- - - - 0", [Some(Ok), Some(Ok), Some(Alarm), Some(Ok)]),
        (2, "- - - X -", [Some(Alarm), keep, Some(Alarm), Some(Ok)]),
    ];
    for (datapoints, range, expected) in rows {
        for (missing, expected) in MODES.into_iter().zip(expected) {
            for before in [Ok, Alarm, InsufficientData] {
                let found = after(datapoints, missing, range, before);
                assert_eq!(found, expected.unwrap_or(before), "{datapoints} of 3, {range}, {missing:?}");
            }
        }
    }
}

#[test]
fn a_lone_breach_raises_the_alarm_only_once_it_is_old_and_nothing_contradicts_it() {
    for (range, expected) in
        [("- - - - X", Ok), ("- - - X -", Ok), ("- - X - -", Alarm), ("0 - X - -", Ok), ("- - X X -", Alarm)]
    {
        assert_eq!(after(3, MissingData::Missing, range, Ok), expected, "{range}");
    }
}

#[test]
fn datapoints_older_than_the_evaluation_range_are_forgotten() {
    let mut alarm = ThresholdAlarm::new(rule(3, 3, MissingData::Missing));
    let states: Vec<_> = points("X X X 0 - - - - -").map(|point| alarm.period(point)).collect();
    assert_eq!(states[2..], [Alarm, Ok, Ok, Ok, Ok, Ok, InsufficientData]);
    assert_eq!(alarm.range.len(), 5);
}

#[test]
fn periods_before_the_alarm_began_are_no_gaps() {
    let mut alarm = ThresholdAlarm::new(rule(2, 3, MissingData::Breaching));
    assert_eq!(alarm.state(), InsufficientData);
    let states: Vec<_> = points("0 - -").map(|point| alarm.period(point)).collect();
    assert_eq!(states, [Ok, Ok, Alarm]);
}

#[test]
fn each_comparison_has_its_side_and_what_is_not_a_number_breaches() {
    let breaches = |value: f64| {
        [Comparison::Above, Comparison::AtLeast, Comparison::Below, Comparison::AtMost]
            .map(|comparison| comparison.breaches(value, 1.0))
    };
    assert_eq!(breaches(0.5), [false, false, true, true]);
    assert_eq!(breaches(1.0), [false, true, false, true]);
    assert_eq!(breaches(1.5), [true, true, false, false]);
    assert_eq!(breaches(f64::NAN), [true; 4]);
}

#[test]
fn a_percentile_of_few_samples_changes_nothing_where_the_rule_says_so() {
    for (quantile, few, enough) in [(0.99, 999, 1_000), (0.5, 19, 20), (0.1, 99, 100)] {
        for (low_samples, after_few) in
            [(LowSamples::Ignore, InsufficientData), (LowSamples::Evaluate, Alarm)]
        {
            let statistic = Statistic::Percentile(quantile);
            let mut alarm = ThresholdAlarm::new(ThresholdRule {
                statistic,
                low_samples,
                ..rule(1, 1, MissingData::Missing)
            });
            assert_eq!(alarm.period(Some(Datapoint { value: 1.0, samples: few })), after_few, "{quantile}");
            assert_eq!(alarm.period(Some(Datapoint { value: 1.0, samples: enough })), Alarm, "{quantile}");
        }
    }
}

#[test]
fn a_whole_range_is_judged_as_its_periods_are_one_by_one() {
    for missing in MODES {
        for range in ["0 - X - X", "- - - - -", "- - X - -", "0 X X - X", "- - - X -"] {
            for before in [Ok, Alarm, InsufficientData] {
                let mut alarm = ThresholdAlarm::new(rule(2, 3, missing));
                alarm.resume(before);
                assert_eq!(
                    alarm.look(points(range)),
                    after(2, missing, range, before),
                    "{range} {missing:?}"
                );
            }
        }
    }
    let mut alarm = ThresholdAlarm::new(rule(1, 1, MissingData::Missing));
    assert_eq!(alarm.look(points("X X X X X 0")), Ok, "what is older than the range does not count");
    assert_eq!(alarm.range().count(), alarm.range_length());
}
