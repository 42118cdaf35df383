//! Threshold alarms in sentences, and as the journal keeps them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::words::measured;
use crate::{
    alarm::{AlarmPlan, AlarmState, Datapoint, Threshold, ThresholdEvidence, Unit},
    config::{format_bound, format_measure},
    time::format_duration,
};

/// What a threshold alarm saw: `latency p90 above 300ms in 2 of 3 periods of 10s: 2 of the last 3 breach, the newest with 412ms over 20
/// samples`.
pub fn threshold_text(evidence: &ThresholdEvidence) -> String {
    let ThresholdEvidence { threshold, state, range, breaching, lacking } = evidence;
    let rule = rule_text(threshold);
    let looked_at = range.len().min(threshold.periods);
    let saw = match evidence.newest() {
        Some(newest) => format!(
            "{breaching} of the last {looked_at} breach, the newest with {} over {}",
            value_text(newest.value, threshold.measure.unit()),
            counted(newest.samples, "sample"),
        ),
        None if range.is_empty() => "no period is over yet".to_owned(),
        None => format!("no sample in the last {}", counted(range.len() as u64, "period")),
    };
    let lack = match (state, lacking) {
        (AlarmState::InsufficientData, more @ 1..) => {
            format!("; {} of this step must pass before it can tell", counted(*more as u64, "more period"))
        }
        (AlarmState::Ok | AlarmState::Alarm | AlarmState::InsufficientData, _) => String::new(),
    };
    format!("{rule}: {saw}{lack}")
}

/// A value in its unit, as people read it: `412ms`, `1.5%`, `12`.
pub fn value_text(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Time => Duration::try_from_secs_f64(value)
            .map_or_else(|_| "?".to_owned(), |time| format_duration(measured(time))),
        Unit::Fraction => format!("{:.2}%", 100.0 * value),
        Unit::Count => format!("{value:.0}"),
    }
}

/// `latency p90 above 300ms in 2 of 3 periods of 10s`
fn rule_text(threshold: &Threshold) -> String {
    let Threshold {
        name: _,
        measure,
        comparison,
        bound,
        period,
        periods,
        datapoints,
        missing: _,
        low_samples: _,
    } = threshold;
    let (metric, statistic) = format_measure(*measure);
    let side = comparison.as_str().replace('_', " ");
    let bound = format_bound(*bound);
    let period = format_duration(*period);
    format!(
        "{} {statistic} {side} {bound} in {datapoints} of {} of {period}",
        metric.replace('_', " "),
        counted(*periods as u64, "period")
    )
}

fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A threshold alarm in a shift's report. Its rule is in the shift's plan, under the name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct ThresholdForm {
    name: String,
    state: String,
    range: Vec<Option<DatapointForm>>,
    breaching: usize,
    lacking: usize,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct DatapointForm {
    value: f64,
    samples: u64,
}

impl ThresholdForm {
    pub(super) fn of(evidence: &ThresholdEvidence) -> Self {
        let ThresholdEvidence { threshold, state, range, breaching, lacking } = evidence;
        let form = |point: &Option<Datapoint>| {
            point.map(|Datapoint { value, samples }| DatapointForm { value, samples })
        };
        Self {
            name: threshold.name.clone(),
            state: state.as_str().to_owned(),
            range: range.iter().map(form).collect(),
            breaching: *breaching,
            lacking: *lacking,
        }
    }

    /// `None` for one that the plan does not have.
    pub(super) fn view(self, plan: &AlarmPlan) -> Option<ThresholdEvidence> {
        let Self { name, state, range, breaching, lacking } = self;
        let threshold = plan.thresholds.iter().find(|threshold| threshold.name == name)?.clone();
        let state = AlarmState::parse(&state)?;
        let point = |form: Option<DatapointForm>| {
            form.map(|DatapointForm { value, samples }| Datapoint { value, samples })
        };
        let range = range.into_iter().map(point).collect();
        Some(ThresholdEvidence { threshold, state, range, breaching, lacking })
    }
}
