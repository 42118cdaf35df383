//! Reads and writes the pace of a plan: what green may warm up with, and when its steps may end early.

use serde_json::{Value as Json, json};

use super::{
    reader::{Table, whole},
    units::{format_fraction, fraction, positive_duration},
};
use crate::{
    alarm::{AlarmPlan, GuardBound, RampRule, RegressionBound, SAFE_RATIO},
    meter::WarmUp,
    shift::ShiftPlan,
    time::format_duration,
    weight::Share,
};

/// Half a percentage point takes some thousand requests of green to show at usual rates; a finer one ten times as many.
const DEFAULT_MARGIN: f64 = 0.005;

/// Fewer than any bound takes anyway.
const DEFAULT_REQUESTS: u64 = 100;

/// A model server that is not warm by then never is.
const MAX_WARM_UP: u32 = 100_000;

/// So many requests or so much time, not both: which of the two ends it would depend on the traffic.
pub(super) fn read_warm_up(table: &Table<'_>) -> Option<WarmUp> {
    let requests = table.optional("requests", whole(1..=MAX_WARM_UP)).map(WarmUp::Requests);
    let time = table.optional("time", positive_duration).map(WarmUp::Time);
    match (table.has("requests"), table.has("time")) {
        (true, true) => table.problem(
            "time",
            "a warm-up is over after so many requests or after a time: leave one of the two out",
        ),
        (false, false) => {
            table.problem("requests", "is missing, and so is time; write requests = 50 or time = \"30s\"")
        }
        (true, false) | (false, true) => {}
    }
    requests.or(time)
}

pub(super) fn render_warm_up(warm_up: WarmUp) -> Json {
    match warm_up {
        WarmUp::Requests(requests) => json!({ "requests": requests }),
        WarmUp::Time(span) => json!({ "time": format_duration(span) }),
    }
}

pub(super) fn read_ramp(table: &Table<'_>) -> RampRule {
    let margin = table.optional("margin", fraction);
    let requests = table.optional("requests", whole(1..=1_000_000_000));
    RampRule { margin: margin.unwrap_or(DEFAULT_MARGIN), requests: requests.unwrap_or(DEFAULT_REQUESTS) }
}

/// What evidence that green is good needs of a plan.
pub(super) fn check_ramp(root: &Table<'_>, alarms: &AlarmPlan, shift: &ShiftPlan) {
    if alarms.ramp.is_none() {
        return;
    }
    if !shift.steps().iter().any(|step| step.share < Share::ALL && !step.bake.is_zero()) {
        root.problem(
            "strategy",
            "ramp_when_safe has no step to end early: give the strategy a step below 100% with a bake, or leave it out",
        );
    }
    let guards = alarms.guards.iter().any(|guard| matches!(guard.bound, GuardBound::ErrorRate { .. }));
    let is_of_errors = |bound: RegressionBound| matches!(bound, RegressionBound::ErrorRate { .. });
    if !guards && !alarms.regressions.iter().any(|regression| is_of_errors(regression.bound)) {
        root.problem(
            "strategy",
            "ramp_when_safe takes an alarm on failures, or a green that fails everything at once would be the safest of all: add a \
             [[regression]] or a [[guard]] with metric = \"error_rate\", or leave it out",
        );
    }
    for regression in &alarms.regressions {
        match regression.bound {
            RegressionBound::Latency { ratio, .. }
            | RegressionBound::FirstToken { ratio, .. }
            | RegressionBound::TokenGap { ratio, .. }
                if ratio < SAFE_RATIO => root.problem(
                "strategy",
                format!(
                    "ramp_when_safe cannot end a step before {} is shown to be kept, and with a tolerance of {ratio}x it never is of a green as \
                     fast as blue: give it tolerance = \"{SAFE_RATIO}x\" or more, or leave one of the two out",
                    regression.name
                ),
            ),
            RegressionBound::Latency { .. }
            | RegressionBound::FirstToken { .. }
            | RegressionBound::TokenGap { .. }
            | RegressionBound::ErrorRate { .. }
            | RegressionBound::ClientErrorRate { .. } => {}
        }
    }
}

pub(super) fn render_ramp(ramp: RampRule) -> Json {
    let RampRule { margin, requests } = ramp;
    json!({ "margin": format_fraction(margin), "requests": requests })
}
