//! What control says: causes, evidence and next steps as sentences with numbers.

use std::time::Duration;

use super::{run::By, traffic::ratio};
use crate::{
    alarm::{AlarmEvidence, Compared, GuardBound, RegressionBound, Rule, Telling, Tolerance},
    config::{format_fraction, format_quantile},
    shift::{Cause, Input, PauseReason, ShiftPlan, State},
    time::{Moment, format_duration},
};

/// Why an alarm is raised: `p99 latency below 250ms: 28 of the last 41 requests took as long or longer, 68.29% where 1% is permitted`.
pub(super) fn evidence(evidence: &AlarmEvidence) -> String {
    let (failures, requests, of_which) = match evidence.telling() {
        Telling::All { requests, failures } => (failures, requests, ""),
        Telling::Last { requests, failures } => (failures, requests, "the last "),
    };
    let of = format!("{failures} of {of_which}{requests} requests");
    let rate = format!("{:.2}%", 100.0 * ratio(failures, requests));
    let permitted = format_fraction(evidence.rule.permitted());
    match evidence.rule {
        Rule::Guard(GuardBound::ErrorRate { below }) => format!(
            "error rate below {}: {of} failed, {rate} where {permitted} is permitted",
            format_fraction(below)
        ),
        Rule::Guard(GuardBound::Latency { quantile, below }) => format!(
            "{} latency below {}: {of} took as long or longer, {rate} where {permitted} is permitted",
            format_quantile(quantile),
            format_duration(below)
        ),
        Rule::Regression { bound, compared } => {
            format!(
                "{}: {}, {rate} where blue had {}",
                against_blue(&bound),
                slow_or_failed(&of, &bound, &compared),
                blues(&compared)
            )
        }
    }
}

/// `error rate at most 1.5x blue's`
fn against_blue(bound: &RegressionBound) -> String {
    let with = |metric: &str, tolerance: Tolerance| match tolerance {
        Tolerance::Ratio(1.0) => format!("{metric} no higher than blue's"),
        Tolerance::Ratio(ratio) => format!("{metric} at most {ratio}x blue's"),
        Tolerance::Points(points) => format!("{metric} at most {} above blue's", format_fraction(points)),
    };
    match bound {
        RegressionBound::ErrorRate { tolerance } => with("error rate", *tolerance),
        RegressionBound::ClientErrorRate { tolerance } => with("client error rate", *tolerance),
        RegressionBound::Latency { quantile: _, ratio } => with("latency", Tolerance::Ratio(*ratio)),
    }
}

/// `28 of 612 requests failed`, `41 of 612 requests took 130ms, past blue's p95, or longer`
fn slow_or_failed(of: &str, bound: &RegressionBound, compared: &Compared) -> String {
    match (bound, compared.quantile, compared.times) {
        (RegressionBound::ErrorRate { .. }, ..) => format!("{of} failed"),
        (RegressionBound::ClientErrorRate { .. }, ..) => format!("{of} were answered with a client error"),
        (RegressionBound::Latency { ratio, .. }, Some(quantile), Some((green, _))) => {
            let times = if *ratio > 1.0 { format!("{ratio} times ") } else { String::new() };
            let quantile = format_quantile(quantile);
            format!("{of} took {} or longer, {times}blue's {quantile}", format_duration(measured(green)))
        }
        (RegressionBound::Latency { .. }, ..) => format!("{of} were slow"),
    }
}

/// `31 of 5508, 0.56%`
fn blues(compared: &Compared) -> String {
    let Compared { blue_requests, blue_failures, quantile: _, times: _ } = *compared;
    format!("{blue_failures} of {blue_requests}, {:.2}%", 100.0 * ratio(blue_failures, blue_requests))
}

/// A time of a histogram as people read it: below a second to the microsecond.
pub(super) fn measured(time: Duration) -> Duration {
    let unit = if time < Duration::from_millis(10) { 1_000 } else { 1_000_000 };
    Duration::from_nanos(u64::try_from(time.as_nanos().div_ceil(unit) * unit).unwrap_or(u64::MAX))
}

/// Why a shift rolls back.
pub(super) fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Alarm { name, evidence } => format!("alarm {name}: {evidence}"),
        Cause::FailureBudget { failures } => {
            format!("the plan's budget of failures is spent: {failures} requests to green failed")
        }
        Cause::Aborted => "aborted".to_owned(),
        Cause::ExecutionTimeout => "the execution timeout passed".to_owned(),
        Cause::GreenNotReady { reason } => format!("green did not become ready: {reason}"),
        Cause::GreenGone => "every instance of green fails its health checks".to_owned(),
        Cause::NoData => "a bake ended with too little data, and the plan says that this fails".to_owned(),
        Cause::Restart => "the process started again, and the plan says that this rolls back".to_owned(),
        Cause::EvaluatorStalled => "the alarms had not been looked at for a second".to_owned(),
    }
}

/// What a shift in this state does next, and when, if it is a matter of time.
pub(super) fn next(state: &State, plan: &ShiftPlan) -> (String, Option<Moment>) {
    let steps = plan.steps();
    let after = |step: usize| match steps.get(step + 1) {
        Some(next) => format!("step {} of {}: {} to green", step + 2, steps.len(), next.share),
        None => last(plan.limits().termination_wait),
    };
    match state {
        State::Preparing { ready_by } => {
            let share = steps.first().map(|step| step.share).unwrap_or_default();
            let what = format!(
                "step 1 of {}: {share} to green, once every instance of green is healthy; rollback at the deadline",
                steps.len()
            );
            (what, Some(*ready_by))
        }
        State::Baking { step, ends } => (after(*step), Some(*ends)),
        State::Holding { step } => {
            (format!("as soon as the alarms have enough data, {}", after(*step)), None)
        }
        State::Paused { step, reason: PauseReason::Approval, .. } => {
            (format!("waits for approval (resume) before {}", after(*step)), None)
        }
        State::Paused { step, remaining, reason: PauseReason::Operator } => {
            let rest = format_duration(rounded(*remaining));
            (format!("waits for resume; then {rest} of the bake is left before {}", after(*step)), None)
        }
        State::TerminationWait { ends } => ("blue goes".to_owned(), Some(*ends)),
        State::Retiring { drain_by } => (
            "blue goes when it has nothing in flight, at the latest at its drain deadline".to_owned(),
            Some(*drain_by),
        ),
        State::RollingBack { drain_by, .. } => (
            "green goes when it has nothing in flight, at the latest at its drain deadline".to_owned(),
            Some(*drain_by),
        ),
        State::Promoted | State::RolledBack { .. } => ("nothing: the shift is over".to_owned(), None),
    }
}

fn last(termination_wait: Duration) -> String {
    if termination_wait.is_zero() {
        "green is the fleet in service and blue goes".to_owned()
    } else {
        format!("blue is kept warm for {}", format_duration(termination_wait))
    }
}

/// Who or what changed a shift's state, and why in a sentence.
pub(super) fn change(input: &Input, by: &By, before: &State, after: &State) -> (String, String) {
    let actor = match by {
        By::Operator { actor, .. } => actor.clone(),
        By::Itself => actor_of(input, after).to_owned(),
    };
    let why = match (after, input) {
        (State::RollingBack { cause: why, .. }, _) => cause(why),
        (_, Input::Start) => "accepted: green is provisioned and must become ready".to_owned(),
        (_, Input::GreenReady) => "every instance of green is healthy".to_owned(),
        (_, Input::GreenFailed { reason }) => reason.clone(),
        (_, Input::GreenGone) => "every instance of green fails its health checks".to_owned(),
        (_, Input::Drained(side)) => format!("{side} has nothing in flight any more"),
        (_, Input::Restarted { downtime }) => {
            format!("the process started again after {}", format_duration(rounded(*downtime)))
        }
        (_, Input::Command(command, _)) => command.as_str().to_owned(),
        (_, Input::Wake(_)) => after_wake(before, after),
    };
    match by {
        By::Operator { reason, .. } if !reason.is_empty() => (actor, format!("{why}: {reason}")),
        By::Operator { .. } | By::Itself => (actor, why),
    }
}

/// Why the passing of time, or a changed standing, led from one state to the next.
fn after_wake(before: &State, after: &State) -> String {
    match (before, after) {
        (State::Holding { .. }, _) => "the alarms have enough data and are clear".to_owned(),
        (State::Baking { step, .. }, State::Holding { .. }) => {
            format!("the bake of step {} is over, but the alarms have too little data", step + 1)
        }
        (State::Baking { step, .. }, State::Paused { .. }) => {
            format!("the bake of step {} is over, and the step asks for approval", step + 1)
        }
        (State::Baking { step, .. }, _) => format!("the bake of step {} is over and healthy", step + 1),
        (State::TerminationWait { .. }, _) => "the termination wait is over".to_owned(),
        (State::Retiring { .. } | State::RollingBack { .. }, _) => "the drain deadline passed".to_owned(),
        (State::Preparing { .. } | State::Paused { .. } | State::Promoted | State::RolledBack { .. }, _) => {
            "a deadline passed".to_owned()
        }
    }
}

fn actor_of(input: &Input, after: &State) -> &'static str {
    if let State::RollingBack { cause, .. } = after {
        return match cause {
            Cause::Alarm { .. } | Cause::FailureBudget { .. } => "alarm",
            Cause::Aborted => "operator",
            Cause::ExecutionTimeout | Cause::NoData => "timer",
            Cause::GreenNotReady { .. } | Cause::GreenGone => "prober",
            Cause::Restart => "recovery",
            Cause::EvaluatorStalled => "watchdog",
        };
    }
    match input {
        Input::Start | Input::Command(..) => "operator",
        Input::GreenReady | Input::GreenGone => "prober",
        Input::GreenFailed { .. } => "provider",
        Input::Wake(_) => "timer",
        Input::Drained(_) => "drain",
        Input::Restarted { .. } => "recovery",
    }
}

/// A measured time as people read it: to the second, or to the millisecond below one.
fn rounded(span: Duration) -> Duration {
    let unit = if span < Duration::from_secs(1) { Duration::from_millis(1) } else { Duration::from_secs(1) };
    let units = (span + unit / 2).as_nanos() / unit.as_nanos();
    unit.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::AlarmState;

    #[test]
    fn evidence_tells_what_tipped_the_alarm_and_all_of_a_green_that_was_never_good() {
        let mut broken_late = AlarmEvidence {
            name: "errors".to_owned(),
            rule: Rule::Guard(GuardBound::ErrorRate { below: 0.01 }),
            state: AlarmState::Alarm,
            requests: 6_706,
            failures: 28,
            recent_requests: 41,
            recent_failures: 28,
            ln_e: 7.0,
            threshold: 6.9,
            missing: 0,
        };
        assert_eq!(
            evidence(&broken_late),
            "error rate below 1%: 28 of the last 41 requests failed, 68.29% where 1% is permitted"
        );
        broken_late.rule =
            Rule::Guard(GuardBound::Latency { quantile: 0.99, below: Duration::from_millis(250) });
        assert_eq!(
            evidence(&broken_late),
            "p99 latency below 250ms: 28 of the last 41 requests took as long or longer, 68.29% where 1% is permitted"
        );
        let never_good = AlarmEvidence { requests: 41, ..broken_late };
        assert_eq!(
            evidence(&never_good),
            "p99 latency below 250ms: 28 of 41 requests took as long or longer, 68.29% where 1% is permitted"
        );
    }

    #[test]
    fn evidence_of_a_regression_tells_blues_side_too() {
        let compared = Compared { blue_requests: 5_508, blue_failures: 31, quantile: None, times: None };
        let mut against = AlarmEvidence {
            name: "against_blue".to_owned(),
            rule: Rule::Regression {
                bound: RegressionBound::ErrorRate { tolerance: Tolerance::Ratio(1.5) },
                compared,
            },
            state: AlarmState::Alarm,
            requests: 612,
            failures: 28,
            recent_requests: 0,
            recent_failures: 0,
            ln_e: 7.0,
            threshold: 6.9,
            missing: 0,
        };
        assert_eq!(
            evidence(&against),
            "error rate at most 1.5x blue's: 28 of 612 requests failed, 4.58% where blue had 31 of 5508, 0.56%"
        );
        against.rule = Rule::Regression {
            bound: RegressionBound::ClientErrorRate { tolerance: Tolerance::Points(0.005) },
            compared,
        };
        assert!(evidence(&against).starts_with(
            "client error rate at most 0.5% above blue's: 28 of 612 requests were answered with a client error, 4.58%"
        ));
        let times = Some((Duration::from_nanos(147_849_216), Duration::from_nanos(123_731_968)));
        against.rule = Rule::Regression {
            bound: RegressionBound::Latency { quantile: None, ratio: 1.2 },
            compared: Compared { quantile: Some(0.95), times, ..compared },
        };
        assert_eq!(
            evidence(&against),
            "latency at most 1.2x blue's: 28 of 612 requests took 148ms or longer, 1.2 times blue's p95, 4.58% where blue had 31 of \
             5508, 0.56%"
        );
    }

    #[test]
    fn measured_times_are_told_to_the_second_and_short_ones_to_the_millisecond() {
        for (nanos, text) in [
            (15_014_516_217, "15s"),
            (59_600_000_000, "1m"),
            (1_499_999_999, "1s"),
            (412_600_000, "413ms"),
            (400_000, "0s"),
        ] {
            assert_eq!(format_duration(rounded(Duration::from_nanos(nanos))), text);
        }
    }
}
