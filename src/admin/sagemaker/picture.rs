//! An endpoint as it is at this moment: what was asked for, and what control says of it.

use super::{
    Api,
    deployment::Deployment,
    records::{ENDPOINT, EndpointRecord, Phase, Target, TargetVariant},
    stages::{Scene, Stage},
};
use crate::{
    admin::aws::fault::Fault,
    control::{ControlError, EndpointView, FleetView, InstanceView, ShiftView},
    fleet::VariantWeight,
    name::EndpointName,
    shift::{Cause, State},
    trial::cause_text,
};

/// All that there is to know of an endpoint.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) name: EndpointName,
    pub(super) record: EndpointRecord,
    /// `None` where the native API has deleted it.
    pub(super) view: Option<EndpointView>,
    /// The newest of this endpoint, running or over.
    pub(super) shift: Option<ShiftView>,
    pub(super) now: i64,
}

impl Api {
    /// The endpoint of this name.
    pub(super) async fn picture(&self, name: &str) -> Result<Picture, Fault> {
        match self.find::<EndpointRecord>(ENDPOINT, name).await? {
            Some(record) => self.picture_of(name, record).await,
            None => {
                Err(Fault::validation(format!("Could not find endpoint \"{}\".", self.arn("endpoint", name))))
            }
        }
    }

    /// The endpoint of this record.
    pub(super) async fn picture_of(&self, name: &str, record: EndpointRecord) -> Result<Picture, Fault> {
        let name = EndpointName::parse(name).map_err(|error| Fault::validation(error.to_string()))?;
        let view = match self.handle.endpoint(&name).await {
            Ok(view) => Some(view),
            Err(ControlError::NoEndpoint { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let shift = match &view {
            Some(_) => self.handle.newest_shift(&name).await?,
            None => None,
        };
        // One of before is of an endpoint that had this name once.
        let shift = shift.filter(|shift| shift.started_at.as_millis() >= record.created);
        Ok(Picture { name, record, view, shift, now: Self::now() })
    }

    /// Refuses a change while another is under way.
    pub(super) fn refuse_in_progress(&self, picture: &Picture) -> Result<(), Fault> {
        let arn = self.arn("endpoint", picture.name.as_str());
        match picture.status() {
            "InService" | "UpdateRollbackFailed" => Ok(()),
            "Failed" => Err(Fault::validation(format!(
                "Cannot update endpoint \"{arn}\" because its status is Failed: it can only be deleted."
            ))),
            _ => Err(Fault::validation(format!("Cannot update in-progress endpoint \"{arn}\"."))),
        }
    }
}

impl Picture {
    /// The deployment under way.
    pub(super) fn running(&self) -> Option<&ShiftView> {
        self.shift.as_ref().filter(|shift| !shift.state.is_terminal())
    }

    /// The configuration in force: the old one until a deployment is over.
    pub(super) fn config(&self) -> &str {
        match (self.running(), &self.view) {
            (Some(shift), _) => shift.blue_version.as_str(),
            (None, Some(view)) => view.blue.version.as_str(),
            (None, None) => &self.record.live.config,
        }
    }

    /// What the fleet in service was asked to be.
    pub(super) fn serving(&self) -> &Target {
        self.record.serving(self.config())
    }

    /// What the fleet coming in was asked to be. A deployment that the native API has started asks for another version than any update.
    pub(super) fn incoming(&self, shift: &ShiftView) -> &Target {
        let version = shift.plan.green.version.as_str();
        self.record.next.as_ref().filter(|next| next.config == version).unwrap_or(self.serving())
    }

    /// What is said of a variant in the deployment under way.
    pub(super) fn stage(&self, variant: &str) -> Option<Stage> {
        let shift = self.running()?;
        let view = self.view.as_ref()?;
        let (incoming, serving) = (self.incoming(shift).named(variant)?, self.serving().named(variant)?);
        let count = |instances: usize| u32::try_from(instances).unwrap_or(u32::MAX);
        let green = &shift.plan.green;
        let named = green.parts().find(|(spec, _)| spec.name.as_str() == variant);
        let there = match (&green.provider, named) {
            (Some(_), _) => incoming.instances.get(),
            (None, Some((_, instances))) => count(instances.len()),
            (None, None) => count(green.instances.len()),
        };
        // Once green is adopted, it is what the endpoint shows as blue; what it took the place of was asked for so.
        let is_adopted = view.blue.version == green.version && matches!(shift.state, State::Retiring { .. });
        let rolling = shift.plan.shift.rolling();
        let blue = match (rolling, is_adopted) {
            (Some(rolling), _) => rolling.sizes.blue.get(),
            (None, true) => serving.instances.get(),
            (None, false) => count(instances_of(&view.blue, variant).count()),
        };
        let since = shift.transitions.last().map_or(shift.started_at, |transition| transition.at);
        let scene = Scene {
            state: &shift.state,
            plan: &shift.plan.shift,
            since: since.as_millis(),
            now: self.now,
            blue,
            green: rolling.map_or(incoming.instances.get(), |rolling| rolling.sizes.green.get()),
            there,
            held: shift.held.as_deref(),
        };
        Some(scene.stage())
    }

    /// What a variant in service weighs: what was asked for, unless the native API has given it another weight since.
    pub(super) fn weight(&self, variant: &TargetVariant) -> f64 {
        let served = self.view.iter().flat_map(|view| &view.blue.variants);
        let served =
            served.filter(|served| served.name.as_str() == variant.name()).map(|served| served.weight);
        let asked = VariantWeight::from_number(variant.weight);
        served
            .filter(|served| asked != Some(*served))
            .map(VariantWeight::as_number)
            .next()
            .unwrap_or(variant.weight)
    }

    /// `EndpointStatus`
    pub(super) fn status(&self) -> &'static str {
        match &self.record.phase {
            Phase::Creating { .. } => return "Creating",
            Phase::Failed { .. } => return "Failed",
            Phase::Deleting => return "Deleting",
            Phase::InService => {}
        }
        if self.view.is_none() {
            return "Failed";
        }
        if let Some(stage) = self.serving().variants.first().and_then(|first| self.stage(first.name())) {
            return stage.status;
        }
        let failed =
            matches!(self.shift.as_ref().map(|shift| &shift.state), Some(State::RollbackFailed { .. }));
        match (failed, self.record.scaling_until) {
            (true, _) => "UpdateRollbackFailed",
            (false, Some(_)) => "Updating",
            (false, None) => "InService",
        }
    }

    /// Why it is not what was last asked for.
    pub(super) fn failure(&self) -> Option<String> {
        match (&self.record.phase, &self.view) {
            (Phase::Failed { reason }, _) => return Some(reason.clone()),
            (Phase::InService, None) => {
                return Some("The endpoint was deleted by Snapback's native API.".to_owned());
            }
            (Phase::Creating { .. } | Phase::Deleting | Phase::InService, _) => {}
        }
        match &self.shift.as_ref()?.state {
            State::RolledBack { cause } => {
                Some(format!("{} The deployment was rolled back.", self.reason(cause)))
            }
            State::RollbackFailed { cause, reason, back: _ } => Some(format!(
                "{} The deployment was rolled back, which failed: {reason}.",
                self.reason(cause)
            )),
            State::Preparing { .. }
            | State::Baking { .. }
            | State::Holding { .. }
            | State::Paused { .. }
            | State::RetiringBatch { .. }
            | State::PreparingBatch { .. }
            | State::HoldingBatch { .. }
            | State::TerminationWait { .. }
            | State::Retiring { .. }
            | State::RollingBack { .. }
            | State::ReleasingBatch { .. }
            | State::Restoring { .. }
            | State::Promoted => None,
        }
    }

    /// Why a deployment went back, in SageMaker's words where it has some.
    pub(super) fn reason(&self, cause: &Cause) -> String {
        match cause {
            Cause::Alarm { name, evidence } => {
                format!("Alarm \"{}\" is in ALARM state: {evidence}.", self.alarm_name(name))
            }
            Cause::GreenNotReady { reason } => format!(
                "The primary container for production variant {} did not pass the ping health check: {reason}.",
                self.serving().names()
            ),
            Cause::ExecutionTimeout => {
                "The deployment did not complete within its maximum execution timeout.".to_owned()
            }
            Cause::FailureBudget { .. }
            | Cause::Aborted
            | Cause::GreenGone
            | Cause::NoData
            | Cause::Restart
            | Cause::EvaluatorStalled => format!("Cause: {}.", cause_text(cause)),
        }
    }

    /// What the client called an alarm.
    pub(super) fn alarm_name(&self, key: &str) -> String {
        let key = key.strip_prefix("external ").unwrap_or(key);
        let names =
            Deployment::read(self.record.deployment.as_ref()).map(|deployment| deployment.alarm_names());
        names.ok().and_then(|mut names| names.remove(key)).unwrap_or_else(|| key.to_owned())
    }

    /// When it last changed, in milliseconds since 1970.
    pub(super) fn modified(&self) -> i64 {
        let ended = self.shift.as_ref().and_then(|shift| shift.moments.ended_at);
        ended.map_or(self.record.modified, |ended| self.record.modified.max(ended.as_millis()))
    }

    /// Which configuration the variants that are coming in are of.
    pub(super) fn pending_config(&self) -> Option<&str> {
        self.running().map(|shift| shift.plan.green.version.as_str())
    }
}

/// The instances of a variant of a fleet: all of them where it has only one, without a name.
pub(super) fn instances_of<'a>(fleet: &'a FleetView, name: &str) -> impl Iterator<Item = &'a InstanceView> {
    let variant = fleet.variants.iter().find(|variant| variant.name.as_str() == name);
    let is_its = move |instance: &&InstanceView| {
        fleet.variants.is_empty()
            || variant.is_some_and(|variant| variant.instances.contains(&instance.address))
    };
    fleet.instances.iter().filter(is_its)
}
