//! Threshold and external alarms as sentences.

use std::time::Duration;

use crate::{
    alarm::{AlarmState, Bound, ExternalEvidence, Polls, Source, Threshold, ThresholdEvidence, Unit},
    config::{format_bound, format_measure},
    time::tell_duration,
};

/// What a threshold alarm saw: `latency p90 above 300 ms in 2 of 3 periods of 10 s: 2 of the last 3 breach, the newest with 412 ms over 20
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

/// A value in its unit, as people read it: `412 ms`, `1.5%`, `12`.
pub fn value_text(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Time => Duration::try_from_secs_f64(value).map_or_else(|_| "?".to_owned(), tell_duration),
        Unit::Fraction => format!("{:.2}%", 100.0 * value),
        Unit::Count => format!("{value:.0}"),
    }
}

/// `latency p90 above 300 ms in 2 of 3 periods of 10 s`
fn rule_text(threshold: &Threshold) -> String {
    let Threshold {
        name: _,
        variant,
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
    let bound = match *bound {
        Bound::Time(time) => tell_duration(time),
        Bound::Fraction(_) | Bound::Count(_) => format_bound(*bound),
    };
    let period = tell_duration(*period);
    let whose = variant.as_ref().map(|name| format!(" of variant {name}")).unwrap_or_default();
    format!(
        "{} {statistic}{whose} {side} {bound} in {datapoints} of {} of {period}",
        metric.replace('_', " "),
        counted(*periods as u64, "period")
    )
}

fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// What an external alarm says and why: `external alarm reported: 4 of 20 answers failed their grading`.
pub fn external_text(evidence: &ExternalEvidence) -> String {
    let ExternalEvidence { external, state, source, polls } = evidence;
    let state = state.as_str().replace('_', " ");
    let lease = tell_duration(external.lease);
    let (awaited, reported, missed) = match &external.poll {
        None => ("nobody has reported yet", "reported", "no report"),
        Some(_) => ("no answer yet", "answered", "no answer"),
    };
    let text = match source {
        Source::Awaited => format!("{awaited}, with {lease} to do so"),
        Source::Report(reason) if reason.is_empty() => format!("{reported} {state}"),
        Source::Report(reason) => format!("{reported} {state}: {reason}"),
        Source::Expired => format!("{missed} for {lease}, which counts as {state}"),
        Source::Ignored => return "ignored until it has been ok once, as the plan says".to_owned(),
        Source::Failing => {
            let Polls { failed_in_a_row, last_failure, .. } = polls;
            return format!(
                "the last {failed_in_a_row} questions failed, which counts as {state}: {last_failure}"
            );
        }
    };
    let votes = match &external.poll {
        Some(poll) if poll.datapoints > 1 && polls.alarming > 0 => {
            format!(
                "; {} of the last {} answers say alarm, {} raise it",
                polls.alarming, poll.answers, poll.datapoints
            )
        }
        Some(_) | None => String::new(),
    };
    let failures = match polls.failed_in_a_row {
        0 => String::new(),
        1 => format!("; the last question failed: {}", polls.last_failure),
        failed => format!("; the last {failed} questions failed: {}", polls.last_failure),
    };
    format!("{text}{votes}{failures}")
}
