//! Alarms and causes as sentences with numbers.

use crate::{
    alarm::{AlarmEvidence, Compared, GuardBound, RegressionBound, Rule, Safety, Telling, Tolerance},
    config::{format_fraction, format_quantile},
    shift::Cause,
    time::tell_duration,
};

/// Why an alarm is raised: `p99 latency below 250 ms: 28 of the last 41 requests took as long or longer, 68.29% where 1% is permitted`.
pub fn evidence_text(evidence: &AlarmEvidence) -> String {
    let (failures, requests, of_which) = match evidence.telling() {
        Telling::All { requests, failures } => (failures, requests, ""),
        Telling::Last { requests, failures } => (failures, requests, "the last "),
    };
    let of_what = if evidence.rule.is_of_tokens() { "streams" } else { "requests" };
    let of = format!("{failures} of {of_which}{requests} {of_what}");
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
            tell_duration(below)
        ),
        Rule::Guard(GuardBound::FirstToken { quantile, below }) => format!(
            "{} first token below {}: {of} waited as long or longer for it, {rate} where {permitted} is permitted",
            format_quantile(quantile),
            tell_duration(below)
        ),
        Rule::Guard(GuardBound::TokenGap { quantile, below }) => format!(
            "{} token gap below {}: gaps as long or longer come to {of}, {rate} where {permitted} is permitted",
            format_quantile(quantile),
            tell_duration(below)
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

/// Why a step may end early: `odds of 24 : 1 that green is within every bound, after 1204 of its requests in this step, 1 of which failed`.
pub fn safety_text(safety: &Safety) -> String {
    let Safety { requests, failures, ln_e, is_enough: _ } = *safety;
    format!(
        "odds of {:.0} : 1 that green is within every bound, after {requests} of its requests in this step, {failures} of which failed",
        ln_e.exp()
    )
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
        RegressionBound::FirstToken { quantile: _, ratio } => with("first token", Tolerance::Ratio(*ratio)),
        RegressionBound::TokenGap { quantile: _, ratio } => with("token gap", Tolerance::Ratio(*ratio)),
    }
}

/// `28 of 612 requests failed`, `41 of 612 requests took 130 ms, past blue's p95, or longer`
fn slow_or_failed(of: &str, bound: &RegressionBound, compared: &Compared) -> String {
    let (what, ratio) = match bound {
        RegressionBound::ErrorRate { .. } => return format!("{of} failed"),
        RegressionBound::ClientErrorRate { .. } => return format!("{of} were answered with a client error"),
        RegressionBound::Latency { ratio, .. } => ("took", ratio),
        RegressionBound::FirstToken { ratio, .. } => ("had their first token after", ratio),
        RegressionBound::TokenGap { ratio, .. } => ("had their tokens apart by", ratio),
    };
    let (Some(quantile), Some((green, _))) = (compared.quantile, compared.times) else {
        return format!("{of} were slow");
    };
    let times = if *ratio > 1.0 { format!("{ratio} times ") } else { String::new() };
    let quantile = format_quantile(quantile);
    format!("{of} {what} {} or longer, {times}blue's {quantile}", tell_duration(green))
}

/// `31 of 5508, 0.56%`
fn blues(compared: &Compared) -> String {
    let Compared { blue_requests, blue_failures, quantile: _, times: _ } = *compared;
    format!("{blue_failures} of {blue_requests}, {:.2}%", 100.0 * ratio(blue_failures, blue_requests))
}

/// Why a shift rolls back.
pub fn cause_text(cause: &Cause) -> String {
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

#[expect(clippy::cast_precision_loss, reason = "counts of 2^53 or more would be off by one")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            evidence_text(&broken_late),
            "error rate below 1%: 28 of the last 41 requests failed, 68.29% where 1% is permitted"
        );
        broken_late.rule =
            Rule::Guard(GuardBound::Latency { quantile: 0.99, below: Duration::from_millis(250) });
        assert_eq!(
            evidence_text(&broken_late),
            "p99 latency below 250 ms: 28 of the last 41 requests took as long or longer, 68.29% where 1% is permitted"
        );
        for (bound, told) in [
            (
                GuardBound::FirstToken { quantile: 0.99, below: Duration::from_secs(1) },
                "p99 first token below 1 s: 28 of the last 41 streams waited as long or longer for it, 68.29% where 1% is permitted",
            ),
            (
                GuardBound::TokenGap { quantile: 0.99, below: Duration::from_millis(80) },
                "p99 token gap below 80 ms: gaps as long or longer come to 28 of the last 41 streams, 68.29% where 1% is permitted",
            ),
        ] {
            assert_eq!(
                evidence_text(&AlarmEvidence { rule: Rule::Guard(bound), ..broken_late.clone() }),
                told
            );
        }
        let never_good = AlarmEvidence { requests: 41, ..broken_late };
        assert_eq!(
            evidence_text(&never_good),
            "p99 latency below 250 ms: 28 of 41 requests took as long or longer, 68.29% where 1% is permitted"
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
            evidence_text(&against),
            "error rate at most 1.5x blue's: 28 of 612 requests failed, 4.58% where blue had 31 of 5508, 0.56%"
        );
        against.rule = Rule::Regression {
            bound: RegressionBound::ClientErrorRate { tolerance: Tolerance::Points(0.005) },
            compared,
        };
        assert!(evidence_text(&against).starts_with(
            "client error rate at most 0.5% above blue's: 28 of 612 requests were answered with a client error, 4.58%"
        ));
        let times = Some((Duration::from_nanos(147_849_216), Duration::from_nanos(123_731_968)));
        against.rule = Rule::Regression {
            bound: RegressionBound::Latency { quantile: None, ratio: 1.2 },
            compared: Compared { quantile: Some(0.95), times, ..compared },
        };
        assert_eq!(
            evidence_text(&against),
            "latency at most 1.2x blue's: 28 of 612 requests took 148 ms or longer, 1.2 times blue's p95, 4.58% where blue had 31 of \
             5508, 0.56%"
        );
    }
}
