//! How the journal writes what it keeps as JSON: forms of its own, so that a renamed domain field does not change the files on disk.
//!
//! Conversions destructure in full. Durations are written as seconds and nanoseconds, exactly (S6).

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Moments, Origin};
use crate::{
    config::{provider_from_json, provider_to_json},
    fleet::{
        Address, CertificateFiles, FleetSpec, InstanceSpec, Member, Protocol, UpstreamTls, VariantSpec,
        VariantWeight, Weight,
    },
    name::{VariantName, Version},
    shift::{Back, Bakes, Cause, Onward, Pace, PauseReason, ShiftPlan, Sizes, Snapshot, State},
    time::{Moment, WallTime},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FleetForm {
    version: String,
    instances: Vec<InstanceForm>,
    /// None where the fleet has one, as before there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    variants: Vec<VariantForm>,
    /// As a configuration file has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<TlsForm>,
    #[serde(default)]
    protocol: ProtocolForm,
}

/// HTTP/1 where nothing is said, as before there was a choice.
#[derive(Clone, Copy, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum ProtocolForm {
    #[default]
    Http1,
    H2c,
    H2,
}

/// An address alone where nothing else is said, as before instances had weights.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum InstanceForm {
    Address(String),
    Instance(WholeInstanceForm),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeInstanceForm {
    address: String,
    weight: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_concurrency: Option<NonZeroU32>,
}

/// So many of the fleet's instances, after those of the variant before.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantForm {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    instances: usize,
}

/// An instance that a provider made.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberForm {
    id: String,
    address: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsForm {
    ca: Option<PathBuf>,
    server_name: Option<String>,
    identity: Option<CertificateForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateForm {
    cert: PathBuf,
    key: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SnapshotForm {
    state: StateForm,
    elapsed: Duration,
    step: Option<usize>,
    restarts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sizes: Option<SizesForm>,
    #[serde(default)]
    bakes: BakesForm,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    paused: bool,
}

/// The fleets of a rolling shift, as they were when it began.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SizesForm {
    blue: NonZeroU32,
    green: NonZeroU32,
}

#[derive(Clone, Copy, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum BakesForm {
    #[default]
    Kept,
    Skipped,
}

/// Moments are written as the time left until them, which is what a snapshot's moments count.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StateForm {
    Preparing { left: Duration },
    Baking { step: usize, left: Duration },
    Holding { step: usize },
    Paused { step: usize, left: Duration, reason: PauseForm },
    RetiringBatch { step: usize, left: Duration },
    PreparingBatch { step: NonZeroUsize, left: Duration },
    HoldingBatch { step: NonZeroUsize },
    TerminationWait { left: Duration },
    Retiring { left: Duration },
    RollingBack { cause: CauseForm, left: Duration },
    ReleasingBatch { cause: CauseForm, back: BackForm, left: Duration },
    Restoring { cause: CauseForm, back: BackForm, left: Duration },
    Promoted,
    RolledBack { cause: CauseForm },
    RollbackFailed { cause: CauseForm, reason: String, back: BackForm },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackForm {
    blue: u32,
    pace: PaceForm,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PaceForm {
    AtOnce,
    Batches,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PauseForm {
    Operator,
    Approval,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum CauseForm {
    Alarm { name: String, evidence: String },
    FailureBudget { failures: u64 },
    Aborted,
    ExecutionTimeout,
    GreenNotReady { reason: String },
    GreenGone,
    NoData,
    Restart,
    EvaluatorStalled,
}

/// Milliseconds since the Unix epoch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MomentsForm {
    breach_at: Option<i64>,
    decided_at: Option<i64>,
    published_at: Option<i64>,
    last_green_dispatch_at: Option<i64>,
    drained_at: Option<i64>,
    ended_at: Option<i64>,
}

impl From<&FleetSpec> for FleetForm {
    fn from(spec: &FleetSpec) -> Self {
        let FleetSpec { version, instances, variants, provider, protocol, tls } = spec;
        Self {
            provider: provider.as_deref().map(provider_to_json),
            protocol: match protocol {
                Protocol::Http1 => ProtocolForm::Http1,
                Protocol::H2c => ProtocolForm::H2c,
                Protocol::H2 => ProtocolForm::H2,
            },
            tls: tls.as_deref().map(Into::into),
            version: version.as_str().to_owned(),
            instances: instances.iter().map(Into::into).collect(),
            variants: variants.iter().map(Into::into).collect(),
        }
    }
}

impl From<&VariantSpec> for VariantForm {
    fn from(spec: &VariantSpec) -> Self {
        let VariantSpec { name, weight, instances } = spec;
        let weight = weight.map(VariantWeight::as_number);
        Self { name: name.as_str().to_owned(), weight, instances: *instances }
    }
}

impl VariantForm {
    fn into_spec(self) -> Result<VariantSpec, String> {
        let Self { name, weight, instances } = self;
        let checked =
            |number| VariantWeight::from_number(number).ok_or_else(|| format!("{number} is no weight"));
        let name = VariantName::parse(&name).map_err(|error| error.to_string())?;
        Ok(VariantSpec { name, weight: weight.map(checked).transpose()?, instances })
    }
}

impl From<&InstanceSpec> for InstanceForm {
    fn from(spec: &InstanceSpec) -> Self {
        let InstanceSpec { address, weight, max_concurrency } = spec;
        if *spec == InstanceSpec::from(address.clone()) {
            return Self::Address(address.as_str().to_owned());
        }
        Self::Instance(WholeInstanceForm {
            address: address.as_str().to_owned(),
            weight: weight.get(),
            max_concurrency: *max_concurrency,
        })
    }
}

impl InstanceForm {
    fn into_spec(self) -> Result<InstanceSpec, String> {
        let address = |text: &str| Address::parse(text).map_err(|error| error.to_string());
        match self {
            Self::Address(text) => Ok(address(&text)?.into()),
            Self::Instance(WholeInstanceForm { address: text, weight, max_concurrency }) => {
                Ok(InstanceSpec {
                    address: address(&text)?,
                    weight: Weight::new(weight).ok_or_else(|| format!("{weight} is no weight"))?,
                    max_concurrency,
                })
            }
        }
    }
}

impl From<&Member> for MemberForm {
    fn from(member: &Member) -> Self {
        let Member { id, address } = member;
        Self { id: id.clone(), address: address.as_str().to_owned() }
    }
}

impl MemberForm {
    pub(super) fn into_member(self) -> Result<Member, String> {
        let Self { id, address } = self;
        Ok(Member { id, address: Address::parse(&address).map_err(|error| error.to_string())? })
    }
}

impl From<&UpstreamTls> for TlsForm {
    fn from(tls: &UpstreamTls) -> Self {
        let UpstreamTls { ca, server_name, identity } = tls.clone();
        let identity = identity.map(|CertificateFiles { cert, key }| CertificateForm { cert, key });
        Self { ca, server_name, identity }
    }
}

impl From<TlsForm> for UpstreamTls {
    fn from(form: TlsForm) -> Self {
        let TlsForm { ca, server_name, identity } = form;
        let identity = identity.map(|CertificateForm { cert, key }| CertificateFiles { cert, key });
        Self { ca, server_name, identity }
    }
}

impl FleetForm {
    /// Checks the names and addresses again: a file may have been edited.
    pub(super) fn into_spec(self) -> Result<FleetSpec, String> {
        let Self { version, instances, variants, provider, tls, protocol } = self;
        let provider = provider.as_ref().map(provider_from_json).transpose();
        let instances: Result<Vec<_>, _> = instances.into_iter().map(InstanceForm::into_spec).collect();
        let variants: Result<Vec<_>, _> = variants.into_iter().map(VariantForm::into_spec).collect();
        let (instances, variants) = (instances?, variants?);
        let counted: usize = variants.iter().map(|variant| variant.instances).sum();
        if !variants.is_empty() && counted != instances.len() {
            return Err(format!("the variants have {counted} instances, and the fleet {}", instances.len()));
        }
        Ok(FleetSpec {
            version: Version::parse(&version).map_err(|error| error.to_string())?,
            instances,
            variants,
            provider: provider.map_err(|problems| problems.to_string())?.map(Arc::new),
            protocol: match protocol {
                ProtocolForm::Http1 => Protocol::Http1,
                ProtocolForm::H2c => Protocol::H2c,
                ProtocolForm::H2 => Protocol::H2,
            },
            tls: tls.map(|tls| Arc::new(tls.into())),
        })
    }
}

impl SnapshotForm {
    /// A snapshot of a run of this plan.
    pub(super) fn new(snapshot: &Snapshot, plan: &ShiftPlan) -> Self {
        let Snapshot { state, elapsed, step, restarts, bakes, onward } = snapshot;
        let sizes = plan.rolling().map(|rolling| rolling.sizes);
        Self {
            state: state.into(),
            elapsed: *elapsed,
            step: *step,
            restarts: *restarts,
            sizes: sizes.map(|Sizes { blue, green }| SizesForm { blue, green }),
            bakes: match bakes {
                Bakes::Kept => BakesForm::Kept,
                Bakes::Skipped => BakesForm::Skipped,
            },
            paused: *onward == Onward::Paused,
        }
    }

    /// The plan for the fleets that it ran with, which its document does not tell.
    pub(super) fn sized(&self, plan: ShiftPlan) -> Result<ShiftPlan, String> {
        match self.sizes {
            Some(SizesForm { blue, green }) => {
                plan.sized(Sizes { blue, green }).map_err(|error| error.to_string())
            }
            None if plan.rolling().is_some() => {
                Err("a rolling shift without the sizes of its fleets".to_owned())
            }
            None => Ok(plan),
        }
    }

    /// Checks that it can be of a run of this plan, sized.
    pub(super) fn into_snapshot(self, plan: &ShiftPlan) -> Result<Snapshot, String> {
        let Self { state, elapsed, step, restarts, sizes: _, bakes, paused } = self;
        let (in_state, is_rolling, back) = match state {
            StateForm::Baking { step, .. } | StateForm::Holding { step } | StateForm::Paused { step, .. } => {
                (Some(step), false, None)
            }
            StateForm::RetiringBatch { step, .. } => (Some(step), true, None),
            StateForm::PreparingBatch { step, .. } | StateForm::HoldingBatch { step } => {
                (Some(step.get()), true, None)
            }
            StateForm::ReleasingBatch { back, .. }
            | StateForm::Restoring { back, .. }
            | StateForm::RollbackFailed { back, .. } => (None, true, Some(back.blue)),
            StateForm::Preparing { .. }
            | StateForm::TerminationWait { .. }
            | StateForm::Retiring { .. }
            | StateForm::RollingBack { .. }
            | StateForm::Promoted
            | StateForm::RolledBack { .. } => (None, false, None),
        };
        let steps = plan.steps().len();
        if let Some(step) = in_state.max(step).filter(|step| *step >= steps) {
            return Err(format!("step {step}, but the plan has {steps} from 0"));
        }
        let whole = plan.rolling().map(|rolling| rolling.sizes.blue.get());
        if is_rolling && whole.is_none_or(|whole| back.is_some_and(|blue| blue > whole)) {
            return Err("a state of a rolling shift that the plan cannot come to".to_owned());
        }
        let bakes = match bakes {
            BakesForm::Kept => Bakes::Kept,
            BakesForm::Skipped => Bakes::Skipped,
        };
        let onward = if paused { Onward::Paused } else { Onward::Free };
        Ok(Snapshot { state: state.into(), elapsed, step, restarts, bakes, onward })
    }
}

impl From<&State> for StateForm {
    fn from(state: &State) -> Self {
        let left = |moment: &Moment| moment.since(Moment::default());
        match state {
            State::Preparing { ready_by } => Self::Preparing { left: left(ready_by) },
            State::Baking { step, ends } => Self::Baking { step: *step, left: left(ends) },
            State::Holding { step } => Self::Holding { step: *step },
            State::Paused { step, remaining, reason } => {
                Self::Paused { step: *step, left: *remaining, reason: (*reason).into() }
            }
            State::RetiringBatch { step, drain_by } => {
                Self::RetiringBatch { step: *step, left: left(drain_by) }
            }
            State::PreparingBatch { step, ready_by } => {
                Self::PreparingBatch { step: later(*step), left: left(ready_by) }
            }
            State::HoldingBatch { step } => Self::HoldingBatch { step: later(*step) },
            State::TerminationWait { ends } => Self::TerminationWait { left: left(ends) },
            State::Retiring { drain_by } => Self::Retiring { left: left(drain_by) },
            State::RollingBack { cause, drain_by } => {
                Self::RollingBack { cause: cause.into(), left: left(drain_by) }
            }
            State::ReleasingBatch { cause, back, drain_by } => {
                Self::ReleasingBatch { cause: cause.into(), back: (*back).into(), left: left(drain_by) }
            }
            State::Restoring { cause, back, ready_by } => {
                Self::Restoring { cause: cause.into(), back: (*back).into(), left: left(ready_by) }
            }
            State::Promoted => Self::Promoted,
            State::RolledBack { cause } => Self::RolledBack { cause: cause.into() },
            State::RollbackFailed { cause, reason, back } => {
                Self::RollbackFailed { cause: cause.into(), reason: reason.clone(), back: (*back).into() }
            }
        }
    }
}

impl From<StateForm> for State {
    fn from(form: StateForm) -> Self {
        let moment = |left| Moment::default().after(left);
        match form {
            StateForm::Preparing { left } => Self::Preparing { ready_by: moment(left) },
            StateForm::Baking { step, left } => Self::Baking { step, ends: moment(left) },
            StateForm::Holding { step } => Self::Holding { step },
            StateForm::Paused { step, left, reason } => {
                Self::Paused { step, remaining: left, reason: reason.into() }
            }
            StateForm::RetiringBatch { step, left } => Self::RetiringBatch { step, drain_by: moment(left) },
            StateForm::PreparingBatch { step, left } => {
                Self::PreparingBatch { step: step.get(), ready_by: moment(left) }
            }
            StateForm::HoldingBatch { step } => Self::HoldingBatch { step: step.get() },
            StateForm::TerminationWait { left } => Self::TerminationWait { ends: moment(left) },
            StateForm::Retiring { left } => Self::Retiring { drain_by: moment(left) },
            StateForm::RollingBack { cause, left } => {
                Self::RollingBack { cause: cause.into(), drain_by: moment(left) }
            }
            StateForm::ReleasingBatch { cause, back, left } => {
                Self::ReleasingBatch { cause: cause.into(), back: back.into(), drain_by: moment(left) }
            }
            StateForm::Restoring { cause, back, left } => {
                Self::Restoring { cause: cause.into(), back: back.into(), ready_by: moment(left) }
            }
            StateForm::Promoted => Self::Promoted,
            StateForm::RolledBack { cause } => Self::RolledBack { cause: cause.into() },
            StateForm::RollbackFailed { cause, reason, back } => {
                Self::RollbackFailed { cause: cause.into(), reason, back: back.into() }
            }
        }
    }
}

/// The step of a batch to come, which is never the first.
fn later(step: usize) -> NonZeroUsize {
    NonZeroUsize::new(step).expect("the first batch is prepared in a state of its own")
}

impl From<Back> for BackForm {
    fn from(back: Back) -> Self {
        let Back { blue, pace } = back;
        let pace = match pace {
            Pace::AtOnce => PaceForm::AtOnce,
            Pace::Batches => PaceForm::Batches,
        };
        Self { blue, pace }
    }
}

impl From<BackForm> for Back {
    fn from(form: BackForm) -> Self {
        let BackForm { blue, pace } = form;
        let pace = match pace {
            PaceForm::AtOnce => Pace::AtOnce,
            PaceForm::Batches => Pace::Batches,
        };
        Self { blue, pace }
    }
}

impl From<PauseReason> for PauseForm {
    fn from(reason: PauseReason) -> Self {
        match reason {
            PauseReason::Operator => Self::Operator,
            PauseReason::Approval => Self::Approval,
        }
    }
}

impl From<PauseForm> for PauseReason {
    fn from(form: PauseForm) -> Self {
        match form {
            PauseForm::Operator => Self::Operator,
            PauseForm::Approval => Self::Approval,
        }
    }
}

impl From<&Cause> for CauseForm {
    fn from(cause: &Cause) -> Self {
        match cause.clone() {
            Cause::Alarm { name, evidence } => Self::Alarm { name, evidence },
            Cause::FailureBudget { failures } => Self::FailureBudget { failures },
            Cause::Aborted => Self::Aborted,
            Cause::ExecutionTimeout => Self::ExecutionTimeout,
            Cause::GreenNotReady { reason } => Self::GreenNotReady { reason },
            Cause::GreenGone => Self::GreenGone,
            Cause::NoData => Self::NoData,
            Cause::Restart => Self::Restart,
            Cause::EvaluatorStalled => Self::EvaluatorStalled,
        }
    }
}

impl From<CauseForm> for Cause {
    fn from(form: CauseForm) -> Self {
        match form {
            CauseForm::Alarm { name, evidence } => Self::Alarm { name, evidence },
            CauseForm::FailureBudget { failures } => Self::FailureBudget { failures },
            CauseForm::Aborted => Self::Aborted,
            CauseForm::ExecutionTimeout => Self::ExecutionTimeout,
            CauseForm::GreenNotReady { reason } => Self::GreenNotReady { reason },
            CauseForm::GreenGone => Self::GreenGone,
            CauseForm::NoData => Self::NoData,
            CauseForm::Restart => Self::Restart,
            CauseForm::EvaluatorStalled => Self::EvaluatorStalled,
        }
    }
}

impl From<&Moments> for MomentsForm {
    fn from(moments: &Moments) -> Self {
        let millis = |at: &Option<WallTime>| at.map(WallTime::as_millis);
        let Moments { breach_at, decided_at, published_at, last_green_dispatch_at, drained_at, ended_at } =
            moments;
        Self {
            breach_at: millis(breach_at),
            decided_at: millis(decided_at),
            published_at: millis(published_at),
            last_green_dispatch_at: millis(last_green_dispatch_at),
            drained_at: millis(drained_at),
            ended_at: millis(ended_at),
        }
    }
}

impl From<MomentsForm> for Moments {
    fn from(form: MomentsForm) -> Self {
        let at = |millis: Option<i64>| millis.map(WallTime::from_millis);
        let MomentsForm { breach_at, decided_at, published_at, last_green_dispatch_at, drained_at, ended_at } =
            form;
        Self {
            breach_at: at(breach_at),
            decided_at: at(decided_at),
            published_at: at(published_at),
            last_green_dispatch_at: at(last_green_dispatch_at),
            drained_at: at(drained_at),
            ended_at: at(ended_at),
        }
    }
}

/// An origin as its column holds it.
pub(super) const fn write_origin(origin: Origin) -> &'static str {
    match origin {
        Origin::File => "file",
        Origin::Api => "api",
    }
}

/// Reads what [`write_origin`] wrote.
pub(super) fn read_origin(text: &str) -> Result<Origin, String> {
    match text {
        "file" => Ok(Origin::File),
        "api" => Ok(Origin::Api),
        _ => Err(format!("{text:?} is no origin")),
    }
}
