//! The alarms of a plan: read, checked and written.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Map, json};

use super::{
    document::{Value, quoted},
    externals, pace,
    reader::{Table, parsed, whole, word},
    shape, thresholds,
    units::{
        format_fraction, format_quantile, format_tolerance, fraction, quantile, resolvable_time, tolerance,
    },
};
use crate::{
    alarm::{AlarmPlan, Budget, Guard, GuardBound, Regression, RegressionBound, Tolerance},
    meter::{MAX_BOUNDS, MAX_TOKEN_BOUNDS, Timing},
    shift::ShiftPlan,
    time::format_duration,
    weight::Share,
};

/// Each alarm takes its part of the false-alarm probability, so that many of them make each one slow.
const MAX_GUARDS: usize = 16;
const MAX_REGRESSIONS: usize = 16;

/// The finest tolerance of latency: the histograms' buckets are a 64th wide, and green's time is rounded up to a bucket's edge.
const FINEST_RATIO: f64 = 65.0 / 64.0;

const NO_TOLERANCE: Tolerance = Tolerance::Ratio(1.0);

/// What an alarm's `metric` says.
#[derive(Clone, Copy, PartialEq)]
enum Metric {
    ErrorRate,
    ClientErrorRate,
    Times(Timing),
}

const OF_GUARDS: [(&str, Metric); 4] = [
    ("error_rate", Metric::ErrorRate),
    ("latency", Metric::Times(Timing::Latency)),
    ("first_token", Metric::Times(Timing::FirstToken)),
    ("token_gap", Metric::Times(Timing::TokenGap)),
];
const OF_REGRESSIONS: [(&str, Metric); 5] = [
    ("error_rate", Metric::ErrorRate),
    ("client_error_rate", Metric::ClientErrorRate),
    ("latency", Metric::Times(Timing::Latency)),
    ("first_token", Metric::Times(Timing::FirstToken)),
    ("token_gap", Metric::Times(Timing::TokenGap)),
];

pub(super) fn read(root: &Table<'_>) -> AlarmPlan {
    let default = AlarmPlan::default();
    let false_alarm = root.optional("false_alarm", |value| match fraction(value)? {
        probability if probability < 0.5 => Ok(probability),
        _ => Err("must be below 50%, such as \"0.1%\": a test that is wrong every second time says nothing"
            .to_owned()),
    });
    let max_failures = root.optional("max_failures", whole(1..=1_000_000_000));
    let mut names = BTreeSet::new();
    AlarmPlan {
        guards: read_guards(root, &mut names),
        regressions: read_regressions(root, &mut names),
        thresholds: thresholds::read(root, &mut names),
        externals: externals::read(root, &mut names),
        false_alarm: false_alarm.unwrap_or(default.false_alarm),
        max_failures: max_failures.or(default.max_failures),
        warm_up: root.table("warm_up", &shape::WARM_UP).and_then(|table| pace::read_warm_up(&table)),
        // The strategy says it.
        ramp: default.ramp,
    }
}

/// What alarms and steps must have of each other.
pub(super) fn check(root: &Table<'_>, alarms: &AlarmPlan, shift: &ShiftPlan) {
    thresholds::check(root, alarms, shift);
    if !alarms.guards.is_empty() && shift.steps().iter().all(|step| step.bake.is_zero()) {
        root.problem(
            "strategy",
            "every bake is 0s, so no guard has time to see a request: give the strategy a bake, such as final_bake = \"5m\", or \
             leave the guards out",
        );
    }
    let compares = |share: Share, bake: Duration| share < Share::ALL && !bake.is_zero();
    if !alarms.regressions.is_empty() && !shift.steps().iter().any(|step| compares(step.share, step.bake)) {
        root.problem(
            "regression",
            format!(
                "a regression compares green with a blue that takes traffic at the same moments, and {} has no step below 100% with a \
                 bake: use strategy = {{ type = \"canary\", share = \"5%\", bake = \"2m\", final_bake = \"5m\" }}, or a [[guard]], \
                 which needs no blue",
                shift.kind().as_str()
            ),
        );
    }
}

fn read_guards(root: &Table<'_>, names: &mut BTreeSet<String>) -> Vec<Guard> {
    let tables = root.tables("guard", &shape::GUARD);
    if tables.len() > MAX_GUARDS {
        root.problem(
            "guard",
            format!("{} guards are more than the {MAX_GUARDS} a plan can have", tables.len()),
        );
    }
    let guards: Vec<_> = tables.iter().map(|table| (table, read_guard(table))).collect();
    let (mut bounds, mut token_bounds) = (0, 0);
    for (table, guard) in guards.iter().filter_map(|(table, guard)| Some((table, guard.as_ref()?))) {
        check_name(table, &guard.name, names);
        match guard.bound {
            GuardBound::ErrorRate { .. } => {}
            GuardBound::Latency { .. } => bounds += 1,
            GuardBound::FirstToken { .. } | GuardBound::TokenGap { .. } => token_bounds += 1,
        }
        if bounds > MAX_BOUNDS {
            table.problem("metric", format!("a plan has at most {MAX_BOUNDS} guards on latency"));
            break;
        }
        if token_bounds > MAX_TOKEN_BOUNDS {
            let most =
                format!("a plan has at most {MAX_TOKEN_BOUNDS} guards on first_token and token_gap together");
            table.problem("metric", most);
            break;
        }
    }
    guards.into_iter().filter_map(|(_, guard)| guard).collect()
}

fn read_guard(table: &Table<'_>) -> Option<Guard> {
    let name = table.optional("name", parsed(alarm_name));
    let burst = table.optional("burst", whole(1..=1_000));
    let bound = match table.required("metric", "\"error_rate\"", word(&OF_GUARDS))? {
        Metric::ErrorRate | Metric::ClientErrorRate => {
            if table.has("quantile") {
                table.problem("quantile", "a guard on error_rate has no quantile: leave it out");
            }
            GuardBound::ErrorRate { below: table.required("below", "\"1%\"", fraction)? }
        }
        Metric::Times(timing) => {
            let quantile = table.required("quantile", "\"p99\"", quantile);
            let below = table.required("below", "\"250ms\"", resolvable_time);
            let (quantile, below) = (quantile?, below?);
            match timing {
                Timing::Latency => GuardBound::Latency { quantile, below },
                Timing::FirstToken => GuardBound::FirstToken { quantile, below },
                Timing::TokenGap => GuardBound::TokenGap { quantile, below },
            }
        }
    };
    let name = name.unwrap_or_else(|| match bound {
        GuardBound::ErrorRate { .. } => "error_rate".to_owned(),
        GuardBound::Latency { quantile, .. } => format!("latency_{}", format_quantile(quantile)),
        GuardBound::FirstToken { quantile, .. } => format!("first_token_{}", format_quantile(quantile)),
        GuardBound::TokenGap { quantile, .. } => format!("token_gap_{}", format_quantile(quantile)),
    });
    Some(Guard { name, bound, burst })
}

fn read_regressions(root: &Table<'_>, names: &mut BTreeSet<String>) -> Vec<Regression> {
    let tables = root.tables("regression", &shape::REGRESSION);
    if tables.len() > MAX_REGRESSIONS {
        root.problem(
            "regression",
            format!("{} regressions are more than the {MAX_REGRESSIONS} a plan can have", tables.len()),
        );
    }
    let read = |table: &Table<'_>| {
        let regression = read_regression(table)?;
        check_name(table, &regression.name, names);
        Some(regression)
    };
    tables.iter().filter_map(read).collect()
}

fn read_regression(table: &Table<'_>) -> Option<Regression> {
    let name = table.optional("name", parsed(alarm_name));
    let burst = table.optional("burst", whole(1..=1_000));
    let metric = table.required("metric", "\"error_rate\"", word(&OF_REGRESSIONS))?;
    if !matches!(metric, Metric::Times(_)) && table.has("quantile") {
        table.problem(
            "quantile",
            "only a regression on latency, first_token or token_gap has a quantile: leave it out",
        );
    }
    let bound = match metric {
        Metric::ErrorRate => RegressionBound::ErrorRate { tolerance: read_tolerance(table)? },
        Metric::ClientErrorRate => RegressionBound::ClientErrorRate { tolerance: read_tolerance(table)? },
        Metric::Times(timing) => {
            let quantile = table.has("quantile").then(|| table.optional("quantile", quantile));
            let ratio = if table.has("tolerance") { table.optional("tolerance", ratio)? } else { 1.0 };
            let quantile = match quantile {
                Some(given) => Some(given?),
                None => None,
            };
            match timing {
                Timing::Latency => RegressionBound::Latency { quantile, ratio },
                Timing::FirstToken => RegressionBound::FirstToken { quantile, ratio },
                Timing::TokenGap => RegressionBound::TokenGap { quantile, ratio },
            }
        }
    };
    let of_times = |metric: &str, quantile: Option<f64>| match quantile {
        Some(quantile) => format!("{metric}_{}_regression", format_quantile(quantile)),
        None => format!("{metric}_regression"),
    };
    let name = name.unwrap_or_else(|| match bound {
        RegressionBound::ErrorRate { .. } => "error_rate_regression".to_owned(),
        RegressionBound::ClientErrorRate { .. } => "client_error_rate_regression".to_owned(),
        RegressionBound::Latency { quantile, .. } => of_times("latency", quantile),
        RegressionBound::FirstToken { quantile, .. } => of_times("first_token", quantile),
        RegressionBound::TokenGap { quantile, .. } => of_times("token_gap", quantile),
    });
    Some(Regression { name, bound, burst })
}

fn read_tolerance(table: &Table<'_>) -> Option<Tolerance> {
    if table.has("tolerance") { table.optional("tolerance", tolerance) } else { Some(NO_TOLERANCE) }
}

/// How many times as long green may take as blue.
fn ratio(value: &Value) -> Result<f64, String> {
    match tolerance(value)? {
        Tolerance::Points(_) => Err("times are compared by a ratio: write for instance \"1.2x\"".to_owned()),
        Tolerance::Ratio(ratio) if ratio > 1.0 && ratio < FINEST_RATIO => Err(format!(
            "\"{ratio}x\" is finer than the buckets that times are counted in, which are a 64th wide: write \"1x\", or \"1.02x\" and \
             more"
        )),
        Tolerance::Ratio(ratio) => Ok(ratio),
    }
}

pub(super) fn check_name(table: &Table<'_>, name: &str, names: &mut BTreeSet<String>) {
    if name == Budget::NAME {
        table.problem(
            "name",
            format!("{name:?} is the name of the plan's budget of failures: give the alarm another"),
        );
    }
    if !names.insert(name.to_owned()) {
        table.problem("name", format!("there are two alarms called {name:?}: give one a name of its own"));
    }
}

/// Checks an alarm's name. They are labels of metrics, parts of sentences and of the API's paths.
pub fn alarm_name(text: &str) -> Result<String, String> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not an alarm's name: use 1 to 63 letters, digits or any of _ - .", quoted(text)))
    }
}

pub(super) fn render_guard(guard: &Guard) -> serde_json::Value {
    let Guard { name, bound, burst } = guard;
    let of_times = |metric: &str, quantile: f64, below: Duration| {
        json!({
            "name": name,
            "metric": metric,
            "quantile": format_quantile(quantile),
            "below": format_duration(below),
        })
    };
    let mut document = match *bound {
        GuardBound::ErrorRate { below } => {
            json!({ "name": name, "metric": "error_rate", "below": format_fraction(below) })
        }
        GuardBound::Latency { quantile, below } => of_times("latency", quantile, below),
        GuardBound::FirstToken { quantile, below } => of_times("first_token", quantile, below),
        GuardBound::TokenGap { quantile, below } => of_times("token_gap", quantile, below),
    };
    if let Some(burst) = burst {
        document["burst"] = (*burst).into();
    }
    document
}

pub(super) fn render_regression(regression: &Regression) -> serde_json::Value {
    let Regression { name, bound, burst } = regression;
    let (metric, quantile, tolerance) = match *bound {
        RegressionBound::ErrorRate { tolerance } => ("error_rate", None, tolerance),
        RegressionBound::ClientErrorRate { tolerance } => ("client_error_rate", None, tolerance),
        RegressionBound::Latency { quantile, ratio } => ("latency", quantile, Tolerance::Ratio(ratio)),
        RegressionBound::FirstToken { quantile, ratio } => ("first_token", quantile, Tolerance::Ratio(ratio)),
        RegressionBound::TokenGap { quantile, ratio } => ("token_gap", quantile, Tolerance::Ratio(ratio)),
    };
    let mut document = Map::new();
    document.insert("name".to_owned(), name.as_str().into());
    document.insert("metric".to_owned(), metric.into());
    if let Some(quantile) = quantile {
        document.insert("quantile".to_owned(), format_quantile(quantile).into());
    }
    document.insert("tolerance".to_owned(), format_tolerance(tolerance).into());
    if let Some(burst) = burst {
        document.insert("burst".to_owned(), (*burst).into());
    }
    document.into()
}
