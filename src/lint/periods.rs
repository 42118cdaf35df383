//! Threshold alarms that blue itself would raise: a green as good as blue is rolled back by them.

use std::time::Duration;

use super::{
    Finding, Severity, Situation,
    findings::finding,
    words::{percent, span},
};
use crate::{
    alarm::{AlarmPlan, Measure, Threshold},
    config::{format_bound, format_measure},
};

/// Fewer of blue's requests say too little about it.
const ENOUGH_OF_BLUE: u64 = 100;

/// What the plan's thresholds say of blue's last minutes, taken as one period. Those on numbers of requests say nothing of it: green's number
/// is the share's.
pub(super) fn blue_breaches(alarms: &AlarmPlan, situation: &Situation) -> Vec<Finding> {
    alarms.thresholds.iter().filter_map(|threshold| blue_breach(threshold, situation)).collect()
}

fn blue_breach(threshold: &Threshold, situation: &Situation) -> Option<Finding> {
    // What is known of blue is the sum over its variants.
    if threshold.variant.is_some() {
        return None;
    }
    let value = of_blue(threshold.measure, situation)?;
    let Threshold { name, measure, comparison, bound, .. } = threshold;
    if situation.traffic.settled < ENOUGH_OF_BLUE || !comparison.breaches(value, bound.value()) {
        return None;
    }
    let (metric, statistic) = format_measure(*measure);
    let told = match measure {
        Measure::Latency(_) | Measure::FirstByte(_) | Measure::FirstToken(_) | Measure::TokenGap(_) => {
            Duration::try_from_secs_f64(value).map_or_else(|_| value.to_string(), span)
        }
        Measure::ErrorRate | Measure::ClientErrorRate | Measure::Requests | Measure::Failures => {
            percent(value)
        }
    };
    let message = format!(
        "blue itself breaches it: {} {statistic} of its last minutes is {told}, {} {}, so a green as good as blue is rolled back; move \
         the bound, or compare with blue by a [[regression]]",
        metric.replace('_', " "),
        comparison.as_str().replace('_', " "),
        format_bound(*bound)
    );
    let numbers = [("blue_value", value), ("bound", bound.value())];
    Some(finding((Severity::Warning, "blue_beyond_bound"), format!("threshold {name}"), message, numbers))
}

fn of_blue(measure: Measure, situation: &Situation) -> Option<f64> {
    let traffic = &situation.traffic;
    let rate = |part: u64| part as f64 / traffic.settled.max(1) as f64;
    match measure {
        Measure::Latency(statistic) => statistic.of(&traffic.latency),
        Measure::FirstToken(statistic) => statistic.of(&traffic.first_token),
        Measure::ErrorRate => Some(rate(traffic.failed)),
        Measure::ClientErrorRate => Some(rate(traffic.client_errors)),
        // Of gaps one for each stream is known, and this one counts every gap.
        Measure::FirstByte(_) | Measure::TokenGap(_) | Measure::Requests | Measure::Failures => None,
    }
}
