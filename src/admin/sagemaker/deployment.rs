//! Deployment configurations, and the shift plans that they stand for.
//!
//! What AWS counts in instances, a share of the traffic for so many of them, is here a share of the requests: a canary of one instance of
//! three gets a third of them. Percentages are rounded up to whole instances, as AWS's own sample does (33 % of 3 is 1); where that would
//! go beyond the half that AWS allows, because the fleet is so small, they are taken literally: a proxy can give 10 % to a fleet of one.
//! (<https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html>)

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use ring::digest;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    admin::aws::fault::{Fault, Kind},
    alarm::{AlarmPlan, AlarmState, External},
    config::alarm_name,
    shift::{Batch, NoData, OnRestart, PlanError, ShiftLimits, ShiftPlan, Step, Strategy},
    weight::Share,
};

/// How long a fleet that goes may finish its requests: as long as SageMaker lets a request take.
const DRAIN: Duration = Duration::from_secs(60);

/// What a deployment without a timeout of its own may take beyond its waits: far more than provisioning does, and short enough that one
/// that hangs ends the same day.
const SPARE: Duration = Duration::from_secs(7_200);

/// How long a report on an alarm holds. CloudWatch's holds until the next, so this is longer than any deployment.
const REPORT_HOLDS: Duration = Duration::from_secs(86_400);

/// The characters of an alarm's name that its key begins with, where the name is none that alarms have here.
const KEY_PREFIX: usize = 40;

/// `DeploymentConfig`
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Deployment {
    blue_green_update_policy: Option<BlueGreen>,
    rolling_update_policy: Option<RollingPolicy>,
    auto_rollback_configuration: Option<AutoRollback>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BlueGreen {
    traffic_routing_configuration: Traffic,
    termination_wait_in_seconds: Option<u64>,
    maximum_execution_timeout_in_seconds: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Traffic {
    #[serde(rename = "Type")]
    kind: TrafficKind,
    wait_interval_in_seconds: u64,
    canary_size: Option<Size>,
    linear_step_size: Option<Size>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum TrafficKind {
    AllAtOnce,
    Canary,
    Linear,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RollingPolicy {
    maximum_batch_size: Size,
    wait_interval_in_seconds: u64,
    maximum_execution_timeout_in_seconds: Option<u64>,
    rollback_maximum_batch_size: Option<Size>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    #[serde(rename = "Type")]
    unit: Unit,
    value: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Unit {
    InstanceCount,
    CapacityPercent,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct AutoRollback {
    alarms: Vec<AlarmReference>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AlarmReference {
    alarm_name: String,
}

/// The fleet that comes in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Incoming {
    /// Of each variant, of which there is at least one.
    pub(super) counts: Vec<Count>,
    /// How long its instances may take to become ready.
    pub(super) ready_timeout: Duration,
}

/// The instances of a variant that comes in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Count {
    pub(super) variant: String,
    /// How many the configuration asks for.
    pub(super) asked: NonZeroU32,
    /// How many there will be.
    pub(super) there: NonZeroU32,
}

impl Incoming {
    /// The one variant of a fleet.
    fn only(&self) -> Option<&Count> {
        match self.counts.as_slice() {
            [count] => Some(count),
            [] | [..] => None,
        }
    }

    /// How many instances there will be.
    pub(super) fn there(&self) -> NonZeroU32 {
        let all = self.counts.iter().fold(0_u32, |all, count| all.saturating_add(count.there.get()));
        NonZeroU32::new(all).unwrap_or(NonZeroU32::MIN)
    }
}

/// Mends what AWS's own documents get wrong, and what clients without a model therefore send: another word for a percentage, and no wait
/// where there is no step to wait for.
pub(super) fn mend(document: &mut Map<String, Value>) {
    let Some(deployment) = document.get_mut("DeploymentConfig") else { return };
    let traffic = deployment.pointer_mut("/BlueGreenUpdatePolicy/TrafficRoutingConfiguration");
    if let Some(Value::Object(traffic)) = traffic
        && traffic.get("Type").and_then(Value::as_str) == Some("ALL_AT_ONCE")
    {
        traffic.entry("WaitIntervalInSeconds").or_insert_with(|| 0.into());
    }
    let sizes = [
        "/BlueGreenUpdatePolicy/TrafficRoutingConfiguration/CanarySize",
        "/BlueGreenUpdatePolicy/TrafficRoutingConfiguration/LinearStepSize",
        "/RollingUpdatePolicy/MaximumBatchSize",
        "/RollingUpdatePolicy/RollbackMaximumBatchSize",
    ];
    for size in sizes {
        let kind = deployment.pointer_mut(size).and_then(|size| size.get_mut("Type"));
        if let Some(kind) = kind
            && kind == "CAPACITY_PERCENTAGE"
        {
            *kind = "CAPACITY_PERCENT".into();
        }
    }
}

impl Deployment {
    /// Reads a configuration that fits its constraints. Of two policies neither can be meant.
    pub(super) fn read(document: Option<&Value>) -> Result<Self, Fault> {
        let Some(document) = document else { return Ok(Self::default()) };
        let read: Self = Self::deserialize(document)
            .map_err(|error| Fault::new(Kind::Serialization, format!("DeploymentConfig: {error}")))?;
        if read.blue_green_update_policy.is_some() && read.rolling_update_policy.is_some() {
            return Err(Fault::validation(
                "You can specify only one of BlueGreenUpdatePolicy and RollingUpdatePolicy in DeploymentConfig.",
            ));
        }
        Ok(read)
    }

    /// The plan that it stands for.
    pub(super) fn plan(&self, fleet: &Incoming) -> Result<ShiftPlan, Fault> {
        let (strategy, timeout) = match (&self.blue_green_update_policy, &self.rolling_update_policy) {
            (_, Some(rolling)) => (rolling.strategy(fleet)?, rolling.maximum_execution_timeout_in_seconds),
            (Some(policy), None) => (policy.strategy(fleet)?, policy.maximum_execution_timeout_in_seconds),
            (None, None) => (Strategy::AllAtOnce { final_bake: Duration::ZERO }, None),
        };
        let limits = |execution_timeout| ShiftLimits {
            execution_timeout,
            // SageMaker's TerminationWaitInSeconds is the last bake, under alarms.
            termination_wait: Duration::ZERO,
            drain_timeout: DRAIN,
            ready_timeout: fleet.ready_timeout,
            // An alarm of CloudWatch's that has too little data does not stop a deployment.
            no_data: NoData::Pass,
            on_restart: OnRestart::Continue,
        };
        let plan = |limits| {
            let plan = ShiftPlan::new(strategy.clone(), limits)?;
            plan.sized(crate::shift::Sizes { blue: fleet.there(), green: fleet.there() })
        };
        let planned = match timeout {
            Some(seconds) => plan(limits(Duration::from_secs(seconds))),
            None => plan(limits(Duration::MAX)).and_then(|long| {
                let whole = long.waits().saturating_add(fleet.ready_timeout).saturating_add(SPARE);
                plan(limits(whole))
            }),
        };
        planned.map_err(refused)
    }

    /// Its alarms, as alarms that others report.
    pub(super) fn alarms(&self) -> AlarmPlan {
        let externals = self.alarm_names().into_keys().map(|key| External {
            name: key,
            lease: REPORT_HOLDS,
            on_expiry: AlarmState::Ok,
            poll: None,
            ignore_raised: false,
        });
        AlarmPlan { externals: externals.collect(), ..AlarmPlan::default() }
    }

    /// The names of its alarms by what they are called here.
    pub(super) fn alarm_names(&self) -> BTreeMap<String, String> {
        let alarms = self.auto_rollback_configuration.iter().flat_map(|rollback| &rollback.alarms);
        alarms.map(|alarm| (alarm_key(&alarm.alarm_name), alarm.alarm_name.clone())).collect()
    }
}

impl BlueGreen {
    fn strategy(&self, fleet: &Incoming) -> Result<Strategy, Fault> {
        let traffic = &self.traffic_routing_configuration;
        let bake = Duration::from_secs(traffic.wait_interval_in_seconds);
        let final_bake = Duration::from_secs(self.termination_wait_in_seconds.unwrap_or_default());
        let needed = |size: Option<Size>, member: &str, kind: &str| {
            size.ok_or_else(|| {
                Fault::validation(format!(
                    "{member} must be specified when the traffic routing type is {kind}."
                ))
            })
        };
        match traffic.kind {
            TrafficKind::AllAtOnce => Ok(Strategy::AllAtOnce { final_bake }),
            TrafficKind::Canary => {
                let size = needed(traffic.canary_size, "CanarySize", "CANARY")?;
                size.check("CanarySize", (0, 50), fleet)?;
                Ok(Strategy::Canary { share: size.shares("CanarySize", fleet)?.step(1), bake, final_bake })
            }
            TrafficKind::Linear => {
                let size = needed(traffic.linear_step_size, "LinearStepSize", "LINEAR")?;
                size.check("LinearStepSize", (10, 50), fleet)?;
                let shares = size.shares("LinearStepSize", fleet)?;
                let shares = (1..).map(|step| shares.step(step));
                let before_last = shares.take_while(|share| *share < Share::ALL);
                let mut steps: Vec<_> = before_last.map(|share| Step::new(share, bake)).collect();
                steps.push(Step::new(Share::ALL, final_bake));
                Ok(Strategy::Steps { steps, final_bake: None })
            }
        }
    }
}

impl RollingPolicy {
    fn strategy(&self, fleet: &Incoming) -> Result<Strategy, Fault> {
        let Some(fleet) = fleet.only() else {
            return Err(Fault::validation(
                "RollingUpdatePolicy is not supported for endpoints with several production variants: use BlueGreenUpdatePolicy.",
            ));
        };
        self.maximum_batch_size.check_of("MaximumBatchSize", (5, 50), fleet.asked)?;
        let rollback = self.rollback_maximum_batch_size;
        if let Some(size) = rollback {
            size.check_of("RollbackMaximumBatchSize", (5, 100), fleet.asked)?;
        }
        let is_whole = |size: &Size| size.instances(fleet.asked) >= fleet.asked.get();
        let batch = |size: Size| size.batch(fleet);
        Ok(Strategy::Rolling {
            batch: batch(self.maximum_batch_size),
            bake: Duration::from_secs(self.wait_interval_in_seconds),
            // All of it is the same as none given: everything comes back at once.
            rollback_batch: rollback.filter(|size| !is_whole(size)).map(batch),
        })
    }
}

/// The shares of equal steps.
#[derive(Clone, Copy, Debug)]
enum Shares {
    /// So many instances at each step, of so many.
    Instances(u32, NonZeroU32),
    /// So much at each step.
    Percent(u32),
}

impl Shares {
    /// Green's share at a step, counted from 1.
    fn step(self, step: u32) -> Share {
        let points = match self {
            Self::Instances(each, all) => {
                let count = u64::from(each) * u64::from(step);
                let whole = u64::from(Share::WHOLE);
                // To the nearest basis point.
                (count * whole + u64::from(all.get()) / 2) / u64::from(all.get())
            }
            Self::Percent(each) => u64::from(each) * 100 * u64::from(step),
        };
        let points = u16::try_from(points.max(1)).unwrap_or(Share::WHOLE).min(Share::WHOLE);
        Share::from_basis_points(points).unwrap_or(Share::ALL)
    }
}

impl Size {
    /// How many instances of so many: at least one.
    fn instances(self, all: NonZeroU32) -> u32 {
        match self.unit {
            Unit::InstanceCount => self.value,
            Unit::CapacityPercent => {
                let count = (u64::from(all.get()) * u64::from(self.value)).div_ceil(100).max(1);
                u32::try_from(count).unwrap_or(u32::MAX)
            }
        }
    }

    /// The shares of equal steps of this size. One share moves all variants of a fleet: where this size would be another part of each,
    /// percentages are taken literally, and a count of instances cannot be meant.
    fn shares(self, member: &str, fleet: &Incoming) -> Result<Shares, Fault> {
        let each: Vec<_> = fleet.counts.iter().map(|count| (count, self.shares_of(count.asked))).collect();
        let mut shares = each.iter().map(|(_, shares)| *shares);
        let first = shares.next().unwrap_or(Shares::Percent(self.value));
        if shares.all(|shares| shares.step(1) == first.step(1)) {
            return Ok(first);
        }
        match self.unit {
            Unit::CapacityPercent => Ok(Shares::Percent(self.value)),
            Unit::InstanceCount => {
                let told = each.iter().map(|(count, _)| {
                    format!("{} of {} instance(s) of {}", self.value, count.asked, count.variant)
                });
                Err(Fault::validation(format!(
                    "{member} must be the same part of every production variant, but is {}: give it as CAPACITY_PERCENT.",
                    told.collect::<Vec<_>>().join(", ")
                )))
            }
        }
    }

    fn shares_of(self, all: NonZeroU32) -> Shares {
        let count = self.instances(all);
        match self.unit {
            Unit::CapacityPercent if u64::from(count) * 2 > u64::from(all.get()) => {
                Shares::Percent(self.value)
            }
            Unit::CapacityPercent | Unit::InstanceCount => Shares::Instances(count, all),
        }
    }

    /// So many instances where there are as many as were asked for, and as large a part of them otherwise.
    fn batch(self, fleet: &Count) -> Batch {
        let count = NonZeroU32::new(self.instances(fleet.asked)).unwrap_or(NonZeroU32::MIN);
        if fleet.asked == fleet.there {
            Batch::Instances(count.min(fleet.there))
        } else {
            Batch::Part(Shares::Instances(count.get(), fleet.asked).step(1))
        }
    }

    /// The bounds in percent of each variant's instances.
    fn check(self, member: &str, bounds: (u32, u32), fleet: &Incoming) -> Result<(), Fault> {
        fleet.counts.iter().try_for_each(|count| self.check_of(member, bounds, count.asked))
    }

    fn check_of(self, member: &str, (least, most): (u32, u32), all: NonZeroU32) -> Result<(), Fault> {
        let percent = match self.unit {
            Unit::CapacityPercent => f64::from(self.value),
            Unit::InstanceCount => f64::from(self.value) * 100.0 / f64::from(all.get()),
        };
        if percent >= f64::from(least) && percent <= f64::from(most) {
            return Ok(());
        }
        let bounds =
            if least == 0 { format!("at most {most}%") } else { format!("between {least}% and {most}%") };
        let given = match self.unit {
            Unit::CapacityPercent => format!("{}%", self.value),
            Unit::InstanceCount => format!("{} of {all} instance(s)", self.value),
        };
        Err(Fault::validation(format!(
            "{member} must be {bounds} of the variant's total instance count, but is {given}."
        )))
    }
}

/// What an alarm is called here. Names of CloudWatch's may be anything; what is no name of an alarm here is told by its hash.
pub(in crate::admin) fn alarm_key(name: &str) -> String {
    if alarm_name(name).is_ok() {
        return name.to_owned();
    }
    let is_kept = |sign: &char| sign.is_ascii_alphanumeric() || "_-.".contains(*sign);
    let kept: String = name.chars().filter(is_kept).take(KEY_PREFIX).collect();
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    let hash: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{kept}-{hash}")
}

fn refused(error: PlanError) -> Fault {
    match error {
        PlanError::TimeoutTooShort { timeout, waits } => Fault::validation(format!(
            "MaximumExecutionTimeoutInSeconds ({}) must be longer than the sum of all wait times ({} seconds).",
            timeout.as_secs(),
            waits.as_secs()
        )),
        PlanError::NoSteps
        | PlanError::StepDoesNotRise { .. }
        | PlanError::EmptyStep { .. }
        | PlanError::WholeCanary
        | PlanError::FinalBakeUnused { .. }
        | PlanError::EmptyBatch { .. }
        | PlanError::BatchTooLarge { .. }
        | PlanError::TerminationWaitUnused => Fault::validation(format!("DeploymentConfig: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The shares of a policy's steps over variants of these counts.
    fn shares(policy: &Value, counts: &[u32]) -> Result<Vec<String>, String> {
        let count = |(place, count): (usize, &u32)| {
            let count = NonZeroU32::new(*count).unwrap();
            Count { variant: format!("v{place}"), asked: count, there: count }
        };
        let counts = counts.iter().enumerate().map(count).collect();
        let fleet = Incoming { counts, ready_timeout: Duration::from_secs(240) };
        let plan = Deployment::read(Some(policy)).unwrap().plan(&fleet).map_err(|fault| fault.message)?;
        Ok(plan.steps().iter().map(|step| step.share.to_string()).collect())
    }

    fn canary(unit: &str, value: u32) -> Value {
        let size = json!({ "Type": unit, "Value": value });
        let traffic = json!({ "Type": "CANARY", "CanarySize": size, "WaitIntervalInSeconds": 1 });
        json!({ "BlueGreenUpdatePolicy": { "TrafficRoutingConfiguration": traffic } })
    }

    #[test]
    fn one_share_moves_all_variants_and_a_size_that_would_be_another_part_of_each_is_no_share() {
        let told = |shares: &[&str]| Ok(shares.iter().map(|share| (*share).to_owned()).collect::<Vec<_>>());
        assert_eq!(shares(&canary("INSTANCE_COUNT", 1), &[4, 4]), told(&["25%", "100%"]));
        assert_eq!(shares(&canary("CAPACITY_PERCENT", 33), &[3, 3]), told(&["33.33%", "100%"]));
        assert_eq!(shares(&canary("CAPACITY_PERCENT", 33), &[3, 2]), told(&["33%", "100%"]));
        let refused = shares(&canary("INSTANCE_COUNT", 1), &[4, 2]).unwrap_err();
        assert_eq!(
            refused,
            "CanarySize must be the same part of every production variant, but is 1 of 4 instance(s) of v0, 1 of 2 instance(s) of v1: \
             give it as CAPACITY_PERCENT."
        );
        let refused = shares(&canary("INSTANCE_COUNT", 2), &[4, 3]).unwrap_err();
        assert!(refused.starts_with("CanarySize must be at most 50%"), "{refused}");
    }

    #[test]
    fn several_variants_are_not_replaced_batch_by_batch() {
        let size = json!({ "Type": "CAPACITY_PERCENT", "Value": 50 });
        let policy =
            json!({ "RollingUpdatePolicy": { "MaximumBatchSize": size, "WaitIntervalInSeconds": 1 } });
        assert_eq!(shares(&policy, &[2]).unwrap(), ["50%", "100%"]);
        assert!(shares(&policy, &[2, 2]).unwrap_err().contains("several production variants"));
    }
}
