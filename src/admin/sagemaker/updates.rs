//! Updates: another configuration by a shift, or other weights and counts at once.

use std::num::NonZeroU32;

use serde_json::{Value, json};

use super::{
    Api, Request,
    deployment::Deployment,
    endpoints::{initial_count, millis, only_variant, target},
    fleet::Blueprint,
    picture::Picture,
    records::{ENDPOINT, EndpointRecord, Target},
};
use crate::{
    admin::{
        aws::{fault::Fault, front::Answer},
        cloudwatch::WARNING,
    },
    config::{EndpointSpec, HealthCheck, PlanSpec},
    control::{Actor, EndpointView, Execution},
    shift::{Schedule, Turn},
};

impl Api {
    pub(super) async fn update_endpoint(&self, request: Request) -> Result<Answer, Fault> {
        let picture = self.picture(request.text("EndpointName")).await?;
        let arn = self.arn("endpoint", picture.name.as_str());
        self.refuse_in_progress(&picture)?;
        let Some(view) = &picture.view else { return Ok(json!({ "EndpointArn": arn }).into()) };
        let config_name = request.text("EndpointConfigName").to_owned();
        let variant = only_variant(&self.config(&config_name).await?)?;
        refuse_other_variant(picture.serving(), &variant)?;
        let (asked, weight) = wanted(&request, picture.serving(), &variant);
        let blueprint = self.blueprint(&config_name, &variant, asked).await?;
        refuse_other_health(view, &blueprint)?;
        let deployment = deployment_of(&request, &picture.record)?;
        let read = Deployment::read(deployment.as_ref())?;
        let shift = read.plan(blueprint.size)?;
        let alarms = read.alarm_names();
        self.cloudwatch.refuse_raised(alarms.values().map(String::as_str)).await?;
        let (turn, schedule) = (Turn::default(), Schedule::default());
        let plan = PlanSpec { green: blueprint.spec.clone(), shift, alarms: read.alarms(), turn, schedule };
        let target = Target { weight, ..target(config_name, variant, &blueprint) };
        let record = EndpointRecord {
            modified: Self::now(),
            live: picture.serving().clone(),
            next: Some(target),
            deployment,
            ..picture.record.clone()
        };
        let warnings = self.warnings(&plan, alarms.values().map(String::as_str));
        self.begin(&picture, view, (plan, record), &request.actor).await?;
        self.cloudwatch.tell_new_deployment(alarms.values().map(String::as_str)).await;
        let headers = warnings.into_iter().map(|warning| (WARNING, warning)).collect();
        Ok(Answer { document: Some(json!({ "EndpointArn": arn })), headers })
    }

    /// What the alarms of a deployment cannot do in it, a sentence each.
    fn warnings<'a>(&self, plan: &PlanSpec, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let unknown = self.cloudwatch.unknown(names).into_iter().map(|name| {
            format!("alarm_not_defined: alarm {name}: it is not defined here, so it waits for reports by the native API")
        });
        let found = self.cloudwatch.findings(plan).into_iter();
        let found = found.map(|finding| format!("{}: {}: {}", finding.code, finding.place, finding.message));
        unknown.chain(found).collect()
    }

    /// Starts the shift. The record is written first, so that whoever sees the shift knows what it is for.
    async fn begin(
        &self,
        picture: &Picture,
        view: &EndpointView,
        (plan, record): (PlanSpec, EndpointRecord),
        actor: &Actor,
    ) -> Result<(), Fault> {
        let name = &picture.name;
        let is_same = plan.green.provider.is_none() && same_instances(view, &plan);
        if !is_same {
            self.handle.start_shift(name, plan.clone(), actor, Execution::Dry).await?;
        }
        let config = plan.green.version.clone();
        let key = (ENDPOINT, name.as_str());
        let cause = format!("endpoint {name} is updated to configuration {config}");
        self.keep(key, &record, (actor, cause)).await?;
        let begun = if is_same {
            // The same model servers under another configuration: there is nothing to shift, and nothing that could be rolled back.
            let spec = EndpointSpec { blue: plan.green, ..view.declared.clone() };
            self.handle.put_endpoint(spec, actor, Execution::Real).await.map(drop)
        } else {
            self.handle.start_shift(name, plan, actor, Execution::Real).await.map(drop)
        };
        if let Err(error) = begun {
            let cause = format!("endpoint {name} could not be updated to configuration {config}");
            self.keep(key, &picture.record, (actor, cause)).await?;
            return Err(error.into());
        }
        Ok(())
    }

    pub(super) async fn update_weights(&self, request: Request) -> Result<Answer, Fault> {
        let picture = self.picture(request.text("EndpointName")).await?;
        let arn = self.arn("endpoint", picture.name.as_str());
        self.refuse_in_progress(&picture)?;
        let Some(view) = &picture.view else { return Ok(json!({ "EndpointArn": arn }).into()) };
        let mut target = picture.serving().clone();
        for desired in request.list("DesiredWeightsAndCapacities") {
            change(&mut target, desired)?;
        }
        let mut record = EndpointRecord { modified: Self::now(), ..picture.record.clone() };
        if target.instances != picture.serving().instances {
            let blueprint = self.blueprint(&target.config, &target.variant, target.instances).await?;
            self.rescale(&picture, view, &blueprint, &request.actor).await?;
            record.scaling_until = Some(record.modified + millis(blueprint.size.ready_timeout));
        }
        record.live = target;
        record.next = None;
        let cause = format!("weights and capacities of endpoint {} were changed", picture.name);
        self.keep((ENDPOINT, picture.name.as_str()), &record, (&request.actor, cause)).await?;
        self.look_again();
        Ok(json!({ "EndpointArn": arn }).into())
    }

    /// A provider makes more or fewer; of instances that are named, so many of the first serve.
    async fn rescale(
        &self,
        picture: &Picture,
        view: &EndpointView,
        blueprint: &Blueprint,
        actor: &Actor,
    ) -> Result<(), Fault> {
        if blueprint.provider().is_some() {
            self.handle.scale_endpoint(&picture.name, blueprint.size.asked, actor, Execution::Real).await?;
        } else {
            let spec = EndpointSpec { blue: blueprint.spec.clone(), ..view.declared.clone() };
            self.handle.put_endpoint(spec, actor, Execution::Real).await?;
        }
        Ok(())
    }
}

/// Blue and green would be the same model servers.
fn same_instances(view: &EndpointView, plan: &PlanSpec) -> bool {
    let mut ours: Vec<_> = view.blue.instances.iter().map(|instance| &instance.address).collect();
    let mut theirs: Vec<_> = plan.green.instances.iter().map(|instance| &instance.address).collect();
    ours.sort_by_key(|address| address.as_str());
    theirs.sort_by_key(|address| address.as_str());
    view.blue.desired.is_none() && ours == theirs
}

/// A deployment shifts a variant to its new version, so both configurations have the same.
fn refuse_other_variant(serving: &Target, variant: &Value) -> Result<(), Fault> {
    let (old, new) = (serving.variant_name(), variant["VariantName"].as_str().unwrap_or_default());
    if old == new {
        return Ok(());
    }
    Err(Fault::validation(format!(
        "The new endpoint configuration must have the same production variant names as the one in force: \"{old}\", not \"{new}\"."
    )))
}

/// Both fleets of an endpoint are asked the same.
fn refuse_other_health(view: &EndpointView, blueprint: &Blueprint) -> Result<(), Fault> {
    match &view.declared.health.check {
        HealthCheck::Get(path) if *path != blueprint.health_path => Err(Fault::validation(format!(
            "The instances of this endpoint are asked for \"{path}\", and those of the new model want to be asked for \"{}\": give both \
             models the same SNAPBACK_HEALTH_PATH.",
            blueprint.health_path
        ))),
        HealthCheck::Get(_) | HealthCheck::Connection | HealthCheck::Grpc(_) => Ok(()),
    }
}

/// How many instances, and which weight, the new fleet is to have: the configuration's, or those of the fleet in service as far as they are to be
/// retained.
fn wanted(request: &Request, serving: &Target, variant: &Value) -> (NonZeroU32, f64) {
    let excluded: Vec<_> = request
        .list("ExcludeRetainedVariantProperties")
        .iter()
        .filter_map(|property| property["VariantPropertyType"].as_str())
        .collect();
    let retains = |property| request.flag("RetainAllVariantProperties") && !excluded.contains(&property);
    let count = if retains("DesiredInstanceCount") { serving.instances } else { initial_count(variant) };
    let weight = if retains("DesiredWeight") { serving.weight } else { super::configs::weight_of(variant) };
    (count, weight)
}

/// The configuration that a deployment goes by, as it was given now or the last time.
fn deployment_of(request: &Request, record: &EndpointRecord) -> Result<Option<Value>, Fault> {
    match (request.members.get("DeploymentConfig"), request.flag("RetainDeploymentConfig")) {
        (Some(_), true) => {
            Err(Fault::validation("You cannot specify DeploymentConfig when RetainDeploymentConfig is true."))
        }
        (Some(given), false) => Ok(Some(given.clone())),
        (None, true) => Ok(record.deployment.clone()),
        (None, false) => Ok(None),
    }
}

fn change(target: &mut Target, desired: &Value) -> Result<(), Fault> {
    let name = desired["VariantName"].as_str().unwrap_or_default();
    if name != target.variant_name() {
        return Err(Fault::validation(format!("Could not find production variant \"{name}\".")));
    }
    if desired.get("ServerlessUpdateConfig").is_some() {
        return Err(Fault::validation(format!("Production variant \"{name}\" is not serverless.")));
    }
    if let Some(weight) = desired["DesiredWeight"].as_f64() {
        if weight == 0.0 {
            return Err(Fault::validation("At least one production variant must have a weight above 0."));
        }
        target.weight = weight;
    }
    if let Some(count) = desired["DesiredInstanceCount"].as_u64() {
        let count = u32::try_from(count).ok().and_then(NonZeroU32::new);
        target.instances = count.ok_or_else(|| {
            Fault::validation(format!(
                "DesiredInstanceCount of production variant \"{name}\" must be 1 or more here."
            ))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_update_to_a_variant_of_another_name_is_refused() {
        let variant = |name: &str| json!({ "VariantName": name });
        let serving = Target {
            config: "one".to_owned(),
            variant: variant("all"),
            image: None,
            instances: NonZeroU32::MIN,
            weight: 1.0,
        };
        assert!(refuse_other_variant(&serving, &variant("all")).is_ok());
        let refused = format!("{:?}", refuse_other_variant(&serving, &variant("other")).unwrap_err());
        assert!(
            refused.contains("must have the same production variant names as the one in force"),
            "{refused}"
        );
    }
}
