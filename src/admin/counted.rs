//! What an alarm has counted against green, in words.

use std::time::Duration;

use super::words::{count, grouped, percent, percent_of, span};
use crate::{
    alarm::{AlarmEvidence, Compared, GuardBound, RegressionBound, Rule, Telling, Tolerance},
    config::format_quantile,
};

/// `28 of green's last 41 requests failed (68.3%), permitted below 1%`
pub(super) fn counted(evidence: &AlarmEvidence) -> String {
    let permitted = percent(evidence.rule.permitted());
    let (failed, permitted) = match evidence.rule {
        Rule::Guard(GuardBound::ErrorRate { below: _ }) => {
            ("failed".to_owned(), format!("permitted below {permitted}"))
        }
        Rule::Guard(GuardBound::Latency { quantile: _, below }) => {
            (format!("took {} or longer", span(below)), format!("permitted at most {permitted}"))
        }
        Rule::Guard(GuardBound::FirstToken { quantile: _, below }) => (
            format!("waited {} or longer for the first token", span(below)),
            format!("permitted at most {permitted}"),
        ),
        Rule::Guard(GuardBound::TokenGap { quantile: _, below }) => return gaps(evidence, below, &permitted),
        Rule::Regression { bound, compared } => (compared_by(&bound, &compared), blues(&bound, &compared)),
    };
    let (failures, all, last, only) = match evidence.telling() {
        Telling::All { requests, failures } => (failures, requests, "", "only"),
        Telling::Last { requests, failures } => (failures, requests, "last ", "last"),
    };
    let unit = unit(&evidence.rule);
    let requests = format!("green's {last}{}", count(all, unit));
    let happened = match (failures, all) {
        (_, 0) => return format!("green has had no {unit} yet, {permitted}"),
        (0, _) => format!("none of {requests} {failed}"),
        (1, 1) => format!("green's {only} {unit} {failed}"),
        (failures, all) if failures >= all => format!("all of {requests} {failed}"),
        (failures, all) => {
            format!("{} of {requests} {failed} ({})", grouped(failures), percent_of(failures, all))
        }
    };
    format!("{happened}, {permitted}")
}

/// What an alarm counts.
fn unit(rule: &Rule) -> &'static str {
    if rule.is_of_tokens() { "stream" } else { "request" }
}

/// `5.9% of the gaps between tokens in green's 612 streams were 80 ms or longer, permitted at most 5%`
fn gaps(evidence: &AlarmEvidence, below: Duration, permitted: &str) -> String {
    let (Telling::All { requests, failures: long } | Telling::Last { requests, failures: long }) =
        evidence.telling();
    if requests == 0 {
        return format!("green has had no stream yet, permitted at most {permitted}");
    }
    let streams = count(requests, "stream");
    let part = percent_of(long, requests);
    format!(
        "{part} of the gaps between tokens in green's {streams} were {} or longer, permitted at most {permitted}",
        span(below)
    )
}

/// What green's bad requests did: `failed`, `took 148 ms or longer, 1.2 times blue's p95`.
fn compared_by(bound: &RegressionBound, compared: &Compared) -> String {
    let (what, ratio) = match bound {
        RegressionBound::ErrorRate { .. } => return "failed".to_owned(),
        RegressionBound::ClientErrorRate { .. } => return "were answered with a client error".to_owned(),
        RegressionBound::Latency { ratio, .. } => ("took", ratio),
        RegressionBound::FirstToken { ratio, .. } => ("had their first token after", ratio),
        RegressionBound::TokenGap { ratio, .. } => ("had their tokens apart by", ratio),
    };
    let (Some(quantile), Some((green, _))) = (compared.quantile, compared.times) else {
        return "were slow".to_owned();
    };
    let times = if *ratio > 1.0 { format!("{ratio} times ") } else { String::new() };
    format!("{what} {} or longer, {times}blue's {}", span(green), format_quantile(quantile))
}

/// Blue's side: `so did 31 of blue's 5,508 requests (0.6%), 1.5 times blue's rate permitted`.
fn blues(bound: &RegressionBound, compared: &Compared) -> String {
    let Compared { blue_requests, blue_failures, quantile: _, times } = *compared;
    let unit = unit(&Rule::Regression { bound: *bound, compared: *compared });
    let requests = format!("blue's {}", count(blue_requests, unit));
    let (tolerance, verb) = match bound {
        RegressionBound::ErrorRate { tolerance } | RegressionBound::ClientErrorRate { tolerance } => {
            (*tolerance, None)
        }
        RegressionBound::Latency { .. } => (Tolerance::Ratio(1.0), Some("took")),
        RegressionBound::FirstToken { .. } => (Tolerance::Ratio(1.0), Some("had theirs after")),
        RegressionBound::TokenGap { .. } => (Tolerance::Ratio(1.0), Some("had theirs apart by")),
    };
    let bad = grouped(blue_failures);
    let part = percent_of(blue_failures, blue_requests);
    let seen = match (blue_requests, blue_failures, verb) {
        (0, ..) => return "and blue has had none to compare with".to_owned(),
        (_, 0, _) => format!("none of {requests} did"),
        (.., None) => format!("so did {bad} of {requests} ({part})"),
        (.., Some(verb)) => {
            let time = times.map(|(_, blue)| format!(" {verb} {} or longer", span(blue))).unwrap_or_default();
            format!("{bad} of {requests}{time} ({part})")
        }
    };
    match tolerance {
        Tolerance::Ratio(1.0) => seen,
        Tolerance::Ratio(ratio) => format!("{seen}, {ratio} times blue's rate permitted"),
        Tolerance::Points(points) => format!("{seen}, {} more permitted", percent(points)),
    }
}
