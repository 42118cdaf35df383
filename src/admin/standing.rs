//! How a shift's alarms stand, in sentences with numbers.

use super::{
    counted::counted,
    words::{capitalised, count, grouped, list, odds},
};
use crate::{
    alarm::{AlarmEvidence, AlarmState, Budget, ExternalEvidence, Rule, ThresholdEvidence},
    control::ShiftView,
    trial::{external_text, threshold_text},
};

/// The evidence in words: `odds of 1,000 : 1 against chance`.
pub(super) fn odds_text(evidence: &AlarmEvidence) -> String {
    if evidence.ln_e > 0.0 {
        format!("odds of {} against chance", odds(evidence.ln_e))
    } else {
        "no evidence against green".to_owned()
    }
}

/// How the alarms stand while a shift runs.
pub(super) fn alarms(view: &ShiftView) -> String {
    let tests = if view.alarms.is_empty() { None } else { Some(tests(view)) };
    let said = tests.into_iter().chain(thresholds(view)).chain(externals(view)).chain(budget(view));
    let said: Vec<String> = said.collect();
    if said.is_empty() { "The plan has no alarms.".to_owned() } else { said.join(" ") }
}

/// How much of the budget of failures is spent; `None` without one.
fn budget(view: &ShiftView) -> Option<String> {
    let Budget { failures, max_failures } = view.budget()?;
    let reached = count(failures, "failure");
    Some(format!("{reached} of green reached clients; the shift ends at {}.", grouped(max_failures)))
}

/// How the external alarms stand; `None` without any.
fn externals(view: &ShiftView) -> Option<String> {
    let said =
        |evidence: &ExternalEvidence| format!("{} {}", evidence.external.name, external_text(evidence));
    let said: Vec<String> = view.externals.iter().map(|external| said(&external.evidence)).collect();
    (!said.is_empty()).then(|| format!("External alarms: {}.", said.join("; ")))
}

/// How the threshold alarms stand; `None` without any.
fn thresholds(view: &ShiftView) -> Option<String> {
    let said = |state: AlarmState| {
        let those = view.thresholds.iter().filter(move |evidence| evidence.state == state);
        let said: Vec<String> = those.map(named_text).collect();
        said.join("; ")
    };
    let states = [
        (AlarmState::Alarm, "raised"),
        (AlarmState::InsufficientData, "too little data"),
        (AlarmState::Ok, "ok"),
    ];
    let parts =
        states.into_iter().map(|(state, word)| (word, said(state))).filter(|(_, said)| !said.is_empty());
    let parts: Vec<String> = parts.map(|(word, said)| format!("{word}: {said}")).collect();
    (!parts.is_empty()).then(|| format!("Thresholds {}.", parts.join("; ")))
}

/// `slow (latency p90 above 300 ms in 2 of 3 periods of 10 s: 1 of the last 3 breach, the newest with 120 ms over 20 samples)`
fn named_text(evidence: &ThresholdEvidence) -> String {
    format!("{} ({})", evidence.threshold.name, threshold_text(evidence))
}

/// Threshold and external alarms with too little data: what they are called, and what they say.
pub(super) fn silent(view: &ShiftView) -> Vec<(String, String)> {
    let lacks = AlarmState::InsufficientData;
    let thresholds = view.thresholds.iter().filter(|evidence| evidence.state == lacks);
    let externals = view.externals.iter().map(|external| &external.evidence);
    let externals = externals.filter(|evidence| evidence.state == lacks);
    thresholds
        .map(|evidence| (format!("threshold {}", evidence.threshold.name), threshold_text(evidence)))
        .chain(
            externals.map(|evidence| {
                (format!("external alarm {}", evidence.external.name), external_text(evidence))
            }),
        )
        .collect()
}

/// How guards and regressions stand, of which there is at least one.
fn tests(view: &ShiftView) -> String {
    let all = || view.alarms.iter().map(|alarm| &alarm.evidence);
    let raised: Vec<String> =
        all().filter(|evidence| evidence.state == AlarmState::Alarm).map(called).collect();
    let lacking = lacking(view);
    let nearest = view.alarms.iter().max_by(|left, right| left.nearness.total_cmp(&right.nearness));
    match (nearest, raised.as_slice(), lacking.as_slice()) {
        (None, _, _) => String::new(),
        (Some(_), [_, ..], _) => format!("Raised: {}.", list(&raised)),
        (Some(_), [], [_, ..]) => {
            let who = if lacking.len() == 1 { "it" } else { "they" };
            format!("No alarm is raised, but {} before {who} can tell.", lacking_clause(&lacking))
        }
        (Some(nearest), [], []) => {
            let evidence = &nearest.evidence;
            let which = match view.alarms.len() {
                1 => format!("{} is not raised", capitalised(&called(evidence))),
                _ => format!("No alarm is raised; nearest is {}", called(evidence)),
            };
            format!(
                "{which}: {}; {}, needed {}.",
                counted(evidence),
                odds_text(evidence),
                odds(evidence.threshold)
            )
        }
    }
}

pub(super) fn lacking(view: &ShiftView) -> Vec<&AlarmEvidence> {
    let all = view.alarms.iter().map(|alarm| &alarm.evidence);
    all.filter(|evidence| evidence.state == AlarmState::InsufficientData).collect()
}

/// `guard a needs 12 more of green's requests and guard b needs 1 more`
pub(super) fn lacking_clause(lacking: &[&AlarmEvidence]) -> String {
    let mut needs = Vec::new();
    for evidence in lacking {
        let of_what = if needs.is_empty() { " of green's requests" } else { "" };
        needs.push(format!("{} needs {} more{of_what}", called(evidence), grouped(evidence.missing)));
    }
    list(&needs)
}

pub(super) fn called(evidence: &AlarmEvidence) -> String {
    match evidence.rule {
        Rule::Guard(_) => format!("guard {}", evidence.name),
        Rule::Regression { .. } => format!("regression {}", evidence.name),
    }
}
