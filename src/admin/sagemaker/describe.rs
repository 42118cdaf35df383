//! `DescribeEndpoint`: everything that there is to know, at all times.
//!
//! SageMaker does not say what became of the last deployment: an endpoint that was rolled back is in service, on the old configuration, and tools
//! report success. `LastDeployment` says it, in the body and, because clients drop members that their model does not have, in a header.

use http::HeaderName;
use serde_json::{Map, Value, json};

use super::{
    Api, Request,
    picture::{Picture, instances_of},
    records::{CONFIG, Made, Phase, TargetVariant},
    seconds,
    stages::{Part, Status},
};
use crate::{
    admin::aws::{fault::Fault, front::Answer},
    control::ShiftView,
    fleet::Health,
    shift::{Cause, State},
};

/// What became of the last deployment, for clients that drop the body's member.
const LAST_DEPLOYMENT: HeaderName = HeaderName::from_static("x-snapback-last-deployment");

/// Members of a variant that are shown as the configuration has them.
const OF_VARIANT: [&str; 4] =
    ["ManagedInstanceScaling", "RoutingConfig", "CapacityReservationConfig", "AcceleratorPartitionLayouts"];
const OF_PENDING: [&str; 2] = ["InstanceType", "AcceleratorType"];
const OF_CONFIG: [&str; 3] = ["ExplainerConfig", "MetricsConfig", "CrossRegionTrafficConfig"];

/// The longest text of a status or a reason.
const MESSAGE_LIMIT: usize = 1_024;

impl Api {
    pub(super) async fn describe_endpoint(&self, request: &Request) -> Result<Answer, Fault> {
        let picture = self.picture(request.text("EndpointName")).await?;
        let mut document = json!({
            "EndpointName": picture.name.as_str(),
            "EndpointArn": self.arn("endpoint", picture.name.as_str()),
            "EndpointConfigName": picture.config(),
            "ProductionVariants": live_variants(&picture),
            "EndpointStatus": picture.status(),
            "CreationTime": seconds(picture.record.created),
            "LastModifiedTime": seconds(picture.modified()),
        });
        let mut add = |name: &str, value: Option<Value>| {
            if let (Some(document), Some(value)) = (document.as_object_mut(), value) {
                document.insert(name.to_owned(), value);
            }
        };
        add("FailureReason", picture.failure().map(|reason| json!(cut(&reason))));
        add("LastDeploymentConfig", picture.record.deployment.clone());
        add("PendingDeploymentSummary", pending(&picture));
        add("ShadowProductionVariants", live_shadow(&picture).map(|shadow| json!([shadow])));
        let config = self.find::<Made>(CONFIG, picture.config()).await?;
        for name in OF_CONFIG {
            add(name, config.as_ref().and_then(|config| config.request.get(name).cloned()));
        }
        let last = picture.shift.as_ref().map(|shift| last_deployment(&picture, shift));
        add("LastDeployment", last.clone());
        let headers = last.map(|last| {
            let part = |name: &str| last.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (outcome, config, shift) = (part("Outcome"), part("EndpointConfigName"), part("ShiftId"));
            (LAST_DEPLOYMENT, format!("{outcome}; config={config}; shift={shift}"))
        });
        Ok(Answer { document: Some(document), headers: headers.into_iter().collect() })
    }
}

/// The variants in service.
pub(super) fn live_variants(picture: &Picture) -> Vec<Value> {
    let live = |target: &TargetVariant| {
        let stage = picture.stage(target.name());
        let part = stage.map_or_else(|| settled(picture, target), |stage| stage.live);
        Value::Object(variant(picture, (target, picture.weight(target)), &part, &OF_VARIANT))
    };
    picture.serving().variants.iter().map(live).collect()
}

/// Without a deployment.
fn settled(picture: &Picture, target: &TargetVariant) -> Part {
    let instances = picture.view.iter().flat_map(|view| instances_of(&view.blue, target.name()));
    let is_up = |health: Health| match health {
        Health::Healthy => true,
        Health::Unknown | Health::Unhealthy => !matches!(picture.record.phase, Phase::Creating { .. }),
    };
    let count = instances.filter(|instance| is_up(instance.health)).count();
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let status = |word, message| Some(Status { word, message, since: picture.record.modified });
    let wanted = target.instances;
    // Of several variants one may be scaled, and the others are as they were.
    let is_scaled = picture.serving().variants.len() == 1 || count != wanted.get();
    let launching = format!("Launching {wanted} instance(s).");
    let status = match (&picture.record.phase, picture.record.scaling_until) {
        (Phase::Creating { .. }, _) => status("Creating", launching),
        (Phase::Deleting, _) => status("Deleting", format!("Terminating {count} instance(s).")),
        (Phase::InService, Some(_)) if is_scaled => {
            status("Updating", format!("Scaling out desired instance count to {wanted}."))
        }
        (Phase::InService | Phase::Failed { .. }, _) if count < wanted.get() && picture.view.is_some() => {
            status("Updating", format!("There are {count} of {wanted} instance(s), so that is the capacity."))
        }
        (Phase::InService | Phase::Failed { .. }, _) => None,
    };
    Part { instances: count, status }
}

pub(super) fn pending(picture: &Picture) -> Option<Value> {
    let shift = picture.running()?;
    let names: Vec<_> = OF_VARIANT.iter().chain(&OF_PENDING).copied().collect();
    let pending = |target: &TargetVariant| {
        let stage = picture.stage(target.name())?;
        Some(variant(picture, (target, target.weight), &stage.pending, &names))
    };
    let variants: Vec<_> = picture.incoming(shift).variants.iter().filter_map(pending).collect();
    let mut summary = Map::new();
    summary.insert("EndpointConfigName".to_owned(), json!(picture.pending_config()));
    summary.insert("ProductionVariants".to_owned(), json!(variants));
    summary.insert("StartTime".to_owned(), json!(seconds(shift.started_at.as_millis())));
    if let Some(shadow) = &picture.incoming(shift).shadow {
        // It begins when the deployment is over.
        let part = Part { instances: 0, status: None };
        let shadow = variant(picture, (&shadow.variant, shadow.variant.weight), &part, &names);
        summary.insert("ShadowProductionVariants".to_owned(), json!([shadow]));
    }
    Some(Value::Object(summary))
}

/// The shadow in service.
fn live_shadow(picture: &Picture) -> Option<Value> {
    let shadow = picture.serving().shadow.as_ref()?;
    let fleet = picture.view.as_ref().and_then(|view| view.shadow.as_ref()).map(|shadow| &shadow.fleet);
    let instances = fleet.map_or(0, |fleet| fleet.instances.len());
    let part = Part { instances: u32::try_from(instances).unwrap_or(u32::MAX), status: None };
    let weight = shadow.variant.weight;
    Some(Value::Object(variant(picture, (&shadow.variant, weight), &part, &OF_VARIANT)))
}

fn variant(
    picture: &Picture,
    (target, weight): (&TargetVariant, f64),
    part: &Part,
    shown: &[&str],
) -> Map<String, Value> {
    let mut document = Map::new();
    let mut add = |name: &str, value: Value| drop(document.insert(name.to_owned(), value));
    add("VariantName", json!(target.name()));
    if let Some(image) = &target.image {
        let resolved = seconds(picture.record.created);
        add(
            "DeployedImages",
            json!([{ "SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": resolved }]),
        );
    }
    add("CurrentWeight", json!(weight));
    add("DesiredWeight", json!(weight));
    add("CurrentInstanceCount", json!(part.instances));
    add("DesiredInstanceCount", json!(target.instances));
    if let Some(Status { word, message, since }) = &part.status {
        add(
            "VariantStatus",
            json!([{ "Status": word, "StatusMessage": cut(message), "StartTime": seconds(*since) }]),
        );
    }
    for name in shown {
        if let Some(value) = target.variant.get(*name) {
            add(name, value.clone());
        }
    }
    document
}

/// What became of a deployment, or what it is at.
fn last_deployment(picture: &Picture, shift: &ShiftView) -> Value {
    let outcome = match &shift.state {
        State::Promoted => "Succeeded",
        State::RolledBack { .. } => "RolledBack",
        State::RollbackFailed { .. } => "RollbackFailed",
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
        | State::Restoring { .. } => "InProgress",
    };
    let mut document = json!({
        "Outcome": outcome,
        "EndpointConfigName": shift.plan.green.version.as_str(),
        "ShiftId": shift.id.as_str(),
        "Stage": shift.state.as_str(),
        "StartTime": seconds(shift.started_at.as_millis()),
    });
    let Some(members) = document.as_object_mut() else { return document };
    if let Some(step) = shift.step {
        members.insert("Step".to_owned(), json!(step + 1));
    }
    if let Some(cause) = shift.state.cause() {
        members.insert("Reason".to_owned(), json!(cut(&picture.reason(cause))));
        if let Cause::Alarm { name, evidence: _ } = cause {
            members.insert("Alarm".to_owned(), json!(picture.alarm_name(name)));
        }
    }
    if let Some(ended) = shift.moments.ended_at {
        members.insert("EndTime".to_owned(), json!(seconds(ended.as_millis())));
    }
    document
}

fn cut(text: &str) -> String {
    text.chars().take(MESSAGE_LIMIT).collect()
}
