//! Reads plans.

use std::num::NonZeroU32;

use super::{
    PlanSpec, alarms,
    document::Value,
    endpoint::read_fleet,
    pace,
    reader::{Table, boolean, word},
    shape::{self, Shape},
    thresholds,
    units::{batch, duration, positive_duration, share},
};
use crate::{
    alarm::RampRule,
    fleet::FleetSpec,
    shift::{
        Approval, NoData, OnRestart, PlanError, ShiftLimits, ShiftPlan, Sizes, Step, Strategy, StrategyKind,
    },
};

const NO_DATA: [(&str, NoData); 3] = [("hold", NoData::Hold), ("pass", NoData::Pass), ("fail", NoData::Fail)];
const ON_RESTART: [(&str, OnRestart); 2] =
    [("continue", OnRestart::Continue), ("roll_back", OnRestart::RollBack)];

pub(super) fn read(root: &Table<'_>) -> Option<PlanSpec> {
    let example = "{ version = \"v2\", instances = [\"127.0.0.1:9003\"] }";
    let green = root
        .required_table("green", example, &shape::GREEN)
        .and_then(|table| read_fleet(&table, &shape::GREEN_PARTS));
    let limits = read_limits(root);
    let turn = super::turn::read(root);
    let schedule = super::schedule::read(root);
    let mut alarms = alarms::read(root);
    let shift = read_shift(root, limits, green.as_ref());
    if let Some((shift, ramp)) = &shift {
        alarms.ramp = *ramp;
        alarms::check(root, &alarms, shift);
        pace::check_ramp(root, &alarms, shift);
    }
    if let Some(green) = &green {
        thresholds::check_variants(root, &alarms, green);
    }
    let (shift, _) = shift?;
    Some(PlanSpec { green: green?, shift, alarms, turn, schedule })
}

fn read_shift(
    root: &Table<'_>,
    limits: ShiftLimits,
    green: Option<&FleetSpec>,
) -> Option<(ShiftPlan, Option<RampRule>)> {
    let example = "{ type = \"canary\", share = \"5%\", bake = \"2m\", final_bake = \"5m\" }";
    let shape = root.optional("strategy", |value| Ok(strategy_shape(value))).unwrap_or(&shape::ANY_STRATEGY);
    let table = root.required_table("strategy", example, shape)?;
    let strategy = read_strategy(&table)?;
    let ramp = match strategy.kind() {
        // A batch of blue that has gone takes its time to come back, so what evidence of minutes cannot show matters more there.
        StrategyKind::AllAtOnce | StrategyKind::Rolling => None,
        StrategyKind::Canary | StrategyKind::Linear | StrategyKind::Steps => {
            table.table("ramp_when_safe", &shape::RAMP).map(|ramp| pace::read_ramp(&ramp))
        }
    };
    let share_key = match strategy.kind() {
        StrategyKind::Canary => "share",
        StrategyKind::Linear => "step",
        StrategyKind::Rolling => "batch",
        StrategyKind::Steps => "steps",
        StrategyKind::AllAtOnce => "type",
    };
    let size = green.and_then(|green| NonZeroU32::new(u32::try_from(green.instances.len()).ok()?));
    ShiftPlan::new(strategy, limits)
        // How large blue is turns out when the shift begins; green's size alone makes the steps.
        .and_then(|plan| size.map_or(Ok(plan.clone()), |size| plan.sized(Sizes { blue: size, green: size })))
        .map_err(|error| match error {
            PlanError::TimeoutTooShort { .. } => root.problem("execution_timeout", error.to_string()),
            PlanError::FinalBakeUnused { .. } => table.problem("final_bake", error.to_string()),
            PlanError::TerminationWaitUnused => root.problem("termination_wait", error.to_string()),
            PlanError::EmptyBatch { key } => table.problem(key, error.to_string()),
            PlanError::NoSteps
            | PlanError::StepDoesNotRise { .. }
            | PlanError::EmptyStep { .. }
            | PlanError::BatchTooLarge { .. }
            | PlanError::WholeCanary => table.problem(share_key, error.to_string()),
        })
        .ok()
        .map(|shift| (shift, ramp))
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
        StrategyKind::Rolling => {
            let batch = table.required("batch", "\"25%\"", batch);
            let bake = table.required("bake", "\"2m\"", duration);
            let rollback_batch = table.optional("rollback_batch", self::batch);
            Some(Strategy::Rolling { batch: batch?, bake: bake?, rollback_batch })
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
        Some(Ok(StrategyKind::Rolling)) => &shape::ROLLING,
        Some(Ok(StrategyKind::Steps)) => &shape::STEPS,
        Some(Err(_)) | None => &shape::ANY_STRATEGY,
    }
}

fn strategy_kind(value: &Value) -> Result<StrategyKind, String> {
    let known = [
        StrategyKind::AllAtOnce,
        StrategyKind::Canary,
        StrategyKind::Linear,
        StrategyKind::Rolling,
        StrategyKind::Steps,
    ];
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
