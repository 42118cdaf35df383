//! A shift in plain sentences: for line mode, for `status`, and for what stays on the terminal when the live view has gone.

use super::text::{exact_percent, millis, moment, paragraph, per_second, percent, seconds_until, span, took};
use crate::{admin::wire, time::WallTime, weight::Share};

/// A running shift on one line: where it is, what green gets and how it does beside blue, the nearest alarm, and what is next.
pub fn line(shift: &wire::Shift) -> String {
    let mut parts = vec![format!("{} {}", shift.endpoint, standing(shift)), place(shift)];
    let got = shift.share_got.map(|got| format!(" (got {})", exact_percent(got))).unwrap_or_default();
    parts.push(format!("green {}{got}", shift.share));
    if !shift.over {
        let (blue, green) = (&shift.fleets.blue.recent, &shift.fleets.green.recent);
        parts.push(format!("{} req/s", per_second(blue.rate + green.rate)));
        parts.push(format!("errors {} (blue {})", percent(green.error_rate), percent(blue.error_rate)));
        parts.push(format!("p99 {} (blue {})", millis(green.p99_ms), millis(blue.p99_ms)));
        parts.extend(nearest(shift));
        parts.push(format!("next: {}", shift.next.what));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

/// How a shift ended and why, a headline and a paragraph; for a running one, where it is.
pub fn outcome(shift: &wire::Shift) -> String {
    let took = moment(&shift.started_at)
        .zip(shift.ended_at.as_deref().and_then(moment))
        .map(|(started, ended)| format!(" after {}", took(started, ended)))
        .unwrap_or_default();
    let wire::Shift { endpoint, blue_version: blue, green_version: green, .. } = shift;
    let headline = match shift.state.as_str() {
        "promoted" => format!("{endpoint}: {green} is promoted{took}"),
        "rolled_back" => format!("{endpoint}: rolled back from {green} to {blue}{took}"),
        "rollback_failed" => format!("{endpoint}: the rollback from {green} to {blue} failed{took}"),
        _ => format!("{endpoint}: {}", standing(shift)),
    };
    format!("{headline}\n\n{}", paragraph(&shift.explanation))
}

/// The state with the versions: `v1 -> v2 baking`.
pub(in crate::cli) fn standing(shift: &wire::Shift) -> String {
    let wire::Shift { blue_version: blue, green_version: green, state, .. } = shift;
    format!("{blue} -> {green} {}", state.replace('_', " "))
}

/// `step 2 of 4`; empty before the first step.
pub(in crate::cli) fn place(shift: &wire::Shift) -> String {
    let step = shift.step.map(|step| format!("step {step} of {}", shift.steps.len()));
    let instances = shift.instances.map(|wire::InService { blue, blue_whole, green, green_whole }| {
        format!("instances in service: blue {blue} of {blue_whole}, green {green} of {green_whole}")
    });
    step.into_iter().chain(instances).collect::<Vec<_>>().join(", ")
}

/// What comes next and when: `step 3 of 4: 50% to green, in 47s`.
pub(in crate::cli) fn next(next: &wire::Next, now: WallTime) -> String {
    match next.at.as_deref().and_then(moment) {
        Some(at) => format!("{}, in {}", next.what, span(seconds_until(now, at))),
        None => next.what.clone(),
    }
}

/// What a text such as `25%` leaves to blue; the text itself where it is not a share.
pub(in crate::cli) fn complement(share: &str) -> String {
    Share::parse(share).map_or_else(|_| share.to_owned(), |share| share.complement().to_string())
}

/// The alarm that is nearest, and how near, 0 to 1.
pub(super) fn nearest_alarm(shift: &wire::Shift) -> Option<(&str, f64)> {
    let tests = shift.alarms.iter().map(|alarm| (alarm.name.as_str(), alarm.nearness));
    let thresholds = shift.thresholds.iter().map(|threshold| (threshold.name.as_str(), threshold.nearness));
    let externals = shift.externals.iter().map(|external| (external.name.as_str(), external.nearness));
    tests.chain(thresholds).chain(externals).max_by(|(_, left), (_, right)| left.total_cmp(right))
}

/// What is to be said of it, if anything is.
pub(in crate::cli) fn nearest(shift: &wire::Shift) -> Option<String> {
    let tests = shift.alarms.iter().map(|alarm| (&alarm.name, &alarm.state));
    let thresholds = shift.thresholds.iter().map(|threshold| (&threshold.name, &threshold.state));
    let externals = shift.externals.iter().map(|external| (&external.name, &external.state));
    if let Some((name, _)) = tests.chain(thresholds).chain(externals).find(|(_, state)| *state == "alarm") {
        return Some(format!("alarm {name} raised"));
    }
    let (name, nearness) = nearest_alarm(shift)?;
    // Less than this would be said as nothing.
    (nearness >= 0.005).then(|| format!("nearest alarm {name} at {:.0}%", nearness * 100.0))
}
