//! Reads plans.

use std::collections::BTreeSet;

use super::{
    PlanSpec,
    document::{Value, quoted},
    endpoint::read_fleet,
    reader::{Table, boolean, parsed, text, whole, word},
    shape::{self, Shape},
    units::{duration, format_quantile, fraction, positive_duration, quantile, share},
};
use crate::{
    alarm::{AlarmPlan, Guard, GuardBound},
    meter::MAX_BOUNDS,
    shift::{Approval, NoData, OnRestart, PlanError, ShiftLimits, ShiftPlan, Step, Strategy, StrategyKind},
};

const NO_DATA: [(&str, NoData); 3] = [("hold", NoData::Hold), ("pass", NoData::Pass), ("fail", NoData::Fail)];
const ON_RESTART: [(&str, OnRestart); 2] =
    [("continue", OnRestart::Continue), ("roll_back", OnRestart::RollBack)];

/// Each guard takes its part of the false-alarm probability, so that many guards make each one slow.
const MAX_GUARDS: usize = 16;

/// What a guard's `metric` says.
#[derive(Clone, Copy, PartialEq)]
enum Metric {
    ErrorRate,
    Latency,
}

pub(super) fn read(root: &Table<'_>) -> Option<PlanSpec> {
    let example = "{ version = \"v2\", instances = [\"127.0.0.1:9003\"] }";
    let green = root
        .required_table("green", example, &shape::GREEN)
        .and_then(|table| read_fleet(&table, &shape::GREEN_INSTANCES, &shape::GREEN_TLS));
    let limits = read_limits(root);
    let alarms = read_alarms(root);
    let shift = read_shift(root, limits);
    if let Some(shift) = shift.as_ref().filter(|_| !alarms.guards.is_empty())
        && shift.steps().iter().all(|step| step.bake.is_zero())
    {
        root.problem(
            "strategy",
            "every bake is 0s, so no guard has time to see a request: give the strategy a bake, such as final_bake = \"5m\", or \
             leave the guards out",
        );
    }
    Some(PlanSpec { green: green?, shift: shift?, alarms })
}

fn read_shift(root: &Table<'_>, limits: ShiftLimits) -> Option<ShiftPlan> {
    let example = "{ type = \"canary\", share = \"5%\", bake = \"2m\", final_bake = \"5m\" }";
    let shape = root.optional("strategy", |value| Ok(strategy_shape(value))).unwrap_or(&shape::ANY_STRATEGY);
    let table = root.required_table("strategy", example, shape)?;
    let strategy = read_strategy(&table)?;
    let share_key = match strategy.kind() {
        StrategyKind::Canary => "share",
        StrategyKind::Linear => "step",
        StrategyKind::Steps => "steps",
        StrategyKind::AllAtOnce => "type",
    };
    ShiftPlan::new(strategy, limits)
        .map_err(|error| match error {
            PlanError::TimeoutTooShort { .. } => root.problem("execution_timeout", error.to_string()),
            PlanError::FinalBakeUnused { .. } => table.problem("final_bake", error.to_string()),
            PlanError::NoSteps
            | PlanError::StepDoesNotRise { .. }
            | PlanError::EmptyStep { .. }
            | PlanError::WholeCanary => table.problem(share_key, error.to_string()),
        })
        .ok()
}

fn read_strategy(table: &Table<'_>) -> Option<Strategy> {
    match table.required("type", "\"canary\"", strategy_kind)? {
        StrategyKind::AllAtOnce => {
            Some(Strategy::AllAtOnce { final_bake: table.required("final_bake", "\"5m\"", duration)? })
        }
        StrategyKind::Canary => {
            let share = table.required("share", "\"5%\"", share);
            let bake = table.required("bake", "\"2m\"", duration);
            let final_bake = table.required("final_bake", "\"5m\"", duration);
            Some(Strategy::Canary { share: share?, bake: bake?, final_bake: final_bake? })
        }
        StrategyKind::Linear => {
            let step = table.required("step", "\"25%\"", share);
            let bake = table.required("bake", "\"2m\"", duration);
            let final_bake = table.required("final_bake", "\"5m\"", duration);
            Some(Strategy::Linear { step: step?, bake: bake?, final_bake: final_bake? })
        }
        StrategyKind::Steps => read_steps(table),
    }
}

/// The keys that go with the strategy's type; all there are while the type is missing or wrong, which is the only problem then.
fn strategy_shape(value: &Value) -> &'static Shape {
    let entries = value.as_table().unwrap_or_default();
    let kind =
        entries.iter().find(|entry| entry.name == "type").map(|entry| strategy_kind(&entry.node.value));
    match kind {
        Some(Ok(StrategyKind::AllAtOnce)) => &shape::ALL_AT_ONCE,
        Some(Ok(StrategyKind::Canary)) => &shape::CANARY,
        Some(Ok(StrategyKind::Linear)) => &shape::LINEAR,
        Some(Ok(StrategyKind::Steps)) => &shape::STEPS,
        Some(Err(_)) | None => &shape::ANY_STRATEGY,
    }
}

fn strategy_kind(value: &Value) -> Result<StrategyKind, String> {
    let known = [StrategyKind::AllAtOnce, StrategyKind::Canary, StrategyKind::Linear, StrategyKind::Steps];
    if text(value) == Ok("rolling") {
        return Err("\"rolling\" is not available in this version: use \"linear\", which moves traffic in equal steps between two \
                    fleets that both run"
            .to_owned());
    }
    word(&known.map(|kind| (kind.as_str(), kind)))(value)
}

fn read_steps(table: &Table<'_>) -> Option<Strategy> {
    let final_bake = table.optional("final_bake", duration);
    table.demand("steps", "[{ share = \"5%\", bake = \"2m\" }]");
    let tables = table.tables("steps", &shape::STEP);
    let steps: Vec<_> = tables.iter().map(read_step).collect();
    Some(Strategy::Steps { steps: steps.into_iter().collect::<Option<_>>()?, final_bake })
}

fn read_step(table: &Table<'_>) -> Option<Step> {
    let share = table.required("share", "\"5%\"", share);
    let bake = table.required("bake", "\"2m\"", duration);
    let approval = match table.optional("approval", boolean) {
        Some(true) => Approval::Required,
        Some(false) | None => Approval::NotNeeded,
    };
    Some(Step { share: share?, bake: bake?, approval })
}

fn read_limits(root: &Table<'_>) -> ShiftLimits {
    let default = ShiftLimits::default();
    let execution = root.optional("execution_timeout", positive_duration);
    let termination = root.optional("termination_wait", duration);
    let drain = root.optional("drain_timeout", duration);
    let ready = root.optional("ready_timeout", positive_duration);
    ShiftLimits {
        execution_timeout: execution.unwrap_or(default.execution_timeout),
        termination_wait: termination.unwrap_or(default.termination_wait),
        drain_timeout: drain.unwrap_or(default.drain_timeout),
        ready_timeout: ready.unwrap_or(default.ready_timeout),
        no_data: root.optional("no_data", word(&NO_DATA)).unwrap_or(default.no_data),
        on_restart: root.optional("on_restart", word(&ON_RESTART)).unwrap_or(default.on_restart),
    }
}

fn read_alarms(root: &Table<'_>) -> AlarmPlan {
    let default = AlarmPlan::default();
    let false_alarm = root.optional("false_alarm", |value| match fraction(value)? {
        probability if probability < 0.5 => Ok(probability),
        _ => Err("must be below 50%, such as \"0.1%\": a test that is wrong every second time says nothing"
            .to_owned()),
    });
    let max_failures = root.optional("max_failures", whole(1..=1_000_000_000));
    AlarmPlan {
        guards: read_guards(root),
        false_alarm: false_alarm.unwrap_or(default.false_alarm),
        max_failures: max_failures.or(default.max_failures),
    }
}

fn read_guards(root: &Table<'_>) -> Vec<Guard> {
    let tables = root.tables("guard", &shape::GUARD);
    if tables.len() > MAX_GUARDS {
        root.problem(
            "guard",
            format!("{} guards are more than the {MAX_GUARDS} a plan can have", tables.len()),
        );
    }
    let guards: Vec<_> = tables.iter().map(|table| (table, read_guard(table))).collect();
    let mut names = BTreeSet::new();
    let mut bounds = 0;
    for (table, guard) in guards.iter().filter_map(|(table, guard)| Some((table, guard.as_ref()?))) {
        if !names.insert(&guard.name) {
            let message = format!("there are two guards called {:?}: give one a name of its own", guard.name);
            table.problem("name", message);
        }
        match guard.bound {
            GuardBound::ErrorRate { .. } => {}
            GuardBound::Latency { .. } => bounds += 1,
        }
        if bounds > MAX_BOUNDS {
            table.problem("metric", format!("a plan has at most {MAX_BOUNDS} guards on latency"));
            break;
        }
    }
    guards.into_iter().filter_map(|(_, guard)| guard).collect()
}

fn read_guard(table: &Table<'_>) -> Option<Guard> {
    let name = table.optional("name", parsed(guard_name));
    let bound = match table.required("metric", "\"error_rate\"", metric)? {
        Metric::ErrorRate => {
            if table.has("quantile") {
                table.problem("quantile", "a guard on error_rate has no quantile: leave it out");
            }
            GuardBound::ErrorRate { below: table.required("below", "\"1%\"", fraction)? }
        }
        Metric::Latency => {
            let quantile = table.required("quantile", "\"p99\"", quantile);
            let below = table.required("below", "\"250ms\"", positive_duration);
            GuardBound::Latency { quantile: quantile?, below: below? }
        }
    };
    let name = name.unwrap_or_else(|| match bound {
        GuardBound::ErrorRate { .. } => "error_rate".to_owned(),
        GuardBound::Latency { quantile, .. } => format!("latency_{}", format_quantile(quantile)),
    });
    Some(Guard { name, bound })
}

fn metric(value: &Value) -> Result<Metric, String> {
    match text(value) {
        Ok(later @ ("first_token" | "token_gap")) => Err(format!(
            "{later:?} is not available in this version, which judges green by guards on error_rate and latency"
        )),
        Ok(_) | Err(_) => word(&[("error_rate", Metric::ErrorRate), ("latency", Metric::Latency)])(value),
    }
}

/// Guards' names are labels of metrics and parts of sentences.
fn guard_name(text: &str) -> Result<String, String> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not a guard's name: use 1 to 63 letters, digits or any of _ - .", quoted(text)))
    }
}
