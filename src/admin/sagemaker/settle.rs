//! What becomes of endpoints after the answer: one that was made comes into service or fails, one that was scaled has its count, one that was
//! deleted during a deployment goes when that is over.
//!
//! A look repeats itself safely, and there are looks only while something is unsettled.

use std::{sync::Arc, time::Duration};

use super::{
    Api,
    fleet::shadowed,
    picture::{Picture, instances_of},
    records::{ENDPOINT, EndpointRecord, Phase, Target, TargetVariant},
};
use crate::{
    admin::aws::fault::Fault,
    control::{Actor, Execution, FleetView},
    fleet::Health,
};

/// From one look to the next: a client that waits asks every few seconds at most.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// After a look that failed, since the journal, or control, needs time.
const REST: Duration = Duration::from_secs(1);

/// Looks until it is dropped.
pub(in crate::admin) async fn settle(api: Option<Arc<Api>>) {
    let Some(api) = api else { return std::future::pending().await };
    loop {
        match api.settle_all().await {
            Ok(0) => api.unsettled.notified().await,
            Ok(_) => tokio::time::sleep(LOOK_EVERY).await,
            Err(fault) => {
                tracing::warn!(fault.message, "what becomes of SageMaker's endpoints cannot be seen");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

impl Api {
    /// There is something unsettled.
    pub(super) fn look_again(&self) {
        self.unsettled.notify_one();
    }

    /// Looks at every unsettled endpoint, and says how many still are.
    async fn settle_all(&self) -> Result<usize, Fault> {
        let _turn = self.turn.lock().await;
        let all = self.all::<EndpointRecord>(ENDPOINT).await?;
        let mut left = 0;
        for (name, record) in all.into_iter().filter(|(_, record)| is_unsettled(record)) {
            let picture = self.picture_of(&name, record).await?;
            if !self.settle_one(picture).await? {
                left += 1;
            }
        }
        Ok(left)
    }

    /// Whether it is settled now.
    async fn settle_one(&self, picture: Picture) -> Result<bool, Fault> {
        let actor = Actor::from("sagemaker");
        match &picture.record.phase {
            Phase::Creating { until } if is_up(&picture) || picture.now >= *until => {
                let phase = if is_up(&picture) { Phase::InService } else { failed(&picture) };
                self.put(picture, phase, &actor).await?;
                Ok(true)
            }
            Phase::Creating { .. } => Ok(false),
            Phase::Deleting if picture.running().is_none() => {
                self.remove(&picture.name, &actor).await?;
                Ok(true)
            }
            Phase::Deleting => Ok(false),
            Phase::InService if picture.record.changes_shadow() => self.settle_shadow(picture, &actor).await,
            Phase::InService | Phase::Failed { .. } => {
                let is_over = picture.record.scaling_until.is_none_or(|until| picture.now >= until);
                if is_up(&picture) || is_over {
                    let phase = picture.record.phase.clone();
                    self.put(picture, phase, &actor).await?;
                    return Ok(true);
                }
                Ok(false)
            }
        }
    }

    /// A shadow comes with the fleet whose configuration names it: once that is in service, or not at all.
    async fn settle_shadow(&self, picture: Picture, actor: &Actor) -> Result<bool, Fault> {
        let Some(view) = picture.view.as_ref().filter(|_| picture.running().is_none()) else {
            return Ok(picture.view.is_none());
        };
        let serving = picture.serving().clone();
        let spec = shadowed(&picture.name, view.declared.to_json(), serving.shadow.as_ref())?;
        if spec.shadow != view.declared.shadow {
            self.handle.put_endpoint(spec, actor.clone(), Execution::Real).await?;
        }
        let cause = format!("endpoint {} has the shadow of its configuration", picture.name);
        let record = EndpointRecord { live: serving, next: None, ..picture.record };
        self.keep((ENDPOINT, picture.name.as_str()), &record, (actor, cause)).await?;
        Ok(record.scaling_until.is_none())
    }

    async fn put(&self, picture: Picture, phase: Phase, actor: &Actor) -> Result<(), Fault> {
        let name = picture.name;
        let cause = match &phase {
            Phase::InService => format!("endpoint {name} is in service"),
            Phase::Failed { reason } => format!("endpoint {name} failed: {reason}"),
            Phase::Creating { .. } | Phase::Deleting => String::new(),
        };
        let record = EndpointRecord { phase, modified: picture.now, scaling_until: None, ..picture.record };
        self.keep((ENDPOINT, name.as_str()), &record, (actor, cause)).await
    }
}

fn is_unsettled(record: &EndpointRecord) -> bool {
    match record.phase {
        Phase::Creating { .. } | Phase::Deleting => true,
        Phase::InService => record.scaling_until.is_some() || record.changes_shadow(),
        Phase::Failed { .. } => false,
    }
}

/// Whether all instances that there can be are there and pass their checks.
fn is_up(picture: &Picture) -> bool {
    let Some(view) = &picture.view else { return false };
    let wanted = view
        .blue
        .desired
        .map_or(view.blue.instances.len(), |count| usize::try_from(count).unwrap_or(usize::MAX));
    let healthy = view.blue.instances.iter().filter(|instance| instance.health == Health::Healthy).count();
    wanted > 0 && healthy >= wanted
}

fn failed(picture: &Picture) -> Phase {
    let reason = match &picture.view {
        Some(view) => format!(
            "The primary container for production variant {} did not pass the ping health check. Look for its instances' health in \
             Snapback's events.",
            failing(picture.serving(), &view.blue)
        ),
        None => "Snapback ended while the endpoint was being created.".to_owned(),
    };
    Phase::Failed { reason }
}

/// The names of the variants that are not whole; of all, where none has lost one.
fn failing(target: &Target, fleet: &FleetView) -> String {
    let is_failing = |variant: &&TargetVariant| {
        instances_of(fleet, variant.name()).any(|instance| instance.health != Health::Healthy)
    };
    let failing: Vec<_> = target.variants.iter().filter(is_failing).map(TargetVariant::name).collect();
    if failing.is_empty() { target.names() } else { failing.join(", ") }
}
