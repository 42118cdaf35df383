//! Updates: another configuration by a shift, or other weights and counts at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use serde_json::{Value, json};

use super::{
    Api, Request,
    deployment::Deployment,
    endpoints::{Servable, initial, millis, servable},
    fleet::{Blueprint, Wanted, shadowed},
    picture::Picture,
    records::{ENDPOINT, EndpointRecord, Target, TargetVariant},
};
use crate::{
    admin::{
        aws::{fault::Fault, front::Answer},
        cloudwatch::WARNING,
    },
    config::{EndpointSpec, HealthCheck, PlanSpec},
    control::{Actor, EndpointView, Execution},
    fleet::{Address, InstanceSpec},
    shift::{Schedule, Turn},
};

impl Api {
    pub(super) async fn update_endpoint(&self, request: Request) -> Result<Answer, Fault> {
        let picture = self.picture(request.text("EndpointName")).await?;
        let arn = self.arn("endpoint", picture.name.as_str());
        self.refuse_in_progress(&picture)?;
        let Some(view) = &picture.view else { return Ok(json!({ "EndpointArn": arn }).into()) };
        let config_name = request.text("EndpointConfigName").to_owned();
        let config = self.config(&config_name).await?;
        let Servable { variants, shadow } = servable(&config)?;
        refuse_other_variants(picture.serving(), variants)?;
        let wanted = wanted(&request, &picture, variants);
        let shadow = shadow.map(initial);
        let blueprint = self.blueprint(&config_name, &wanted, shadow.as_ref()).await?;
        refuse_other_health(view, &blueprint)?;
        let deployment = deployment_of(&request, &picture.record)?;
        let read = Deployment::read(deployment.as_ref())?;
        let shift = read.plan(&blueprint.size)?;
        let alarms = read.alarm_names();
        self.cloudwatch.refuse_raised(alarms.values().map(String::as_str)).await?;
        let (turn, schedule) = (Turn::default(), Schedule::default());
        let plan = PlanSpec { green: blueprint.spec.clone(), shift, alarms: read.alarms(), turn, schedule };
        let record = EndpointRecord {
            modified: Self::now(),
            live: picture.serving().clone(),
            next: Some(blueprint.target),
            deployment,
            ..picture.record.clone()
        };
        let warnings = self.warnings(&plan, alarms.values().map(String::as_str));
        self.begin(&picture, view, (plan, record), &request.actor).await?;
        self.cloudwatch.tell_new_deployment(alarms.values().map(String::as_str)).await;
        self.look_again();
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
            let shadow = record.next.as_ref().and_then(|next| next.shadow.as_ref());
            let spec = shadowed(name, view.declared.to_json(), shadow)?;
            let spec = EndpointSpec { blue: plan.green, ..spec };
            self.handle.serve_fleet(spec, actor).await.map(drop)
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
        let before = picture.serving();
        let mut target = before.clone();
        for variant in &mut target.variants {
            variant.weight = picture.weight(variant);
        }
        for desired in request.list("DesiredWeightsAndCapacities") {
            change(&mut target, desired)?;
        }
        refuse_weightless(&target)?;
        let mut record = EndpointRecord { modified: Self::now(), ..picture.record.clone() };
        let wanted: Vec<_> = target.variants.iter().map(TargetVariant::wanted).collect();
        let blueprint = self.blueprint(&target.config, &wanted, None).await?;
        if counts(&target) != counts(before) {
            self.rescale(&picture, view, &blueprint, &request.actor).await?;
            record.scaling_until = Some(record.modified + millis(blueprint.size.ready_timeout));
        } else if !blueprint.spec.variants.is_empty() {
            let weights = blueprint.spec.variants.iter();
            let weights =
                weights.filter_map(|variant| Some((variant.name.clone(), variant.weight?))).collect();
            let (name, actor) = (&picture.name, &request.actor);
            self.handle.weigh_variants(name, weights, actor, Execution::Real).await?;
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
            let count = blueprint.size.there();
            self.handle.scale_endpoint(&picture.name, count, actor, Execution::Real).await?;
        } else {
            let spec = EndpointSpec { blue: blueprint.spec.clone(), ..view.declared.clone() };
            self.handle.serve_fleet(spec, actor).await?;
        }
        Ok(())
    }
}

/// Blue and green would be the same model servers, variant by variant.
fn same_instances(view: &EndpointView, plan: &PlanSpec) -> bool {
    let sorted = |addresses: Vec<&Address>| {
        let mut addresses: Vec<_> = addresses.into_iter().map(Address::as_str).collect();
        addresses.sort_unstable();
        addresses.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let (blue, green) = (&view.blue, &plan.green);
    let all =
        |instances: &[InstanceSpec]| sorted(instances.iter().map(|instance| &instance.address).collect());
    let ours: BTreeMap<_, _> = blue
        .variants
        .iter()
        .map(|variant| (&variant.name, sorted(variant.instances.iter().collect())))
        .collect();
    let theirs: BTreeMap<_, _> =
        green.parts().map(|(variant, instances)| (&variant.name, all(instances))).collect();
    let whole = sorted(blue.instances.iter().map(|instance| &instance.address).collect());
    blue.desired.is_none() && ours == theirs && whole == all(&green.instances)
}

/// A deployment shifts each variant to its new version, so both configurations have the same.
fn refuse_other_variants(serving: &Target, variants: &[Value]) -> Result<(), Fault> {
    let names = variants.iter().map(|variant| variant["VariantName"].as_str().unwrap_or_default());
    let new: BTreeSet<_> = names.collect();
    let old: BTreeSet<_> = serving.variants.iter().map(TargetVariant::name).collect();
    if old == new {
        return Ok(());
    }
    let told = |names: BTreeSet<&str>| {
        names.into_iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    };
    Err(Fault::validation(format!(
        "The new endpoint configuration must have the same production variant names as the one in force: {}, not {}.",
        told(old),
        told(new)
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

/// How many instances, and which weight, each new variant is to have: the configuration's, or those of the one in service as far as they are
/// to be retained.
fn wanted(request: &Request, picture: &Picture, variants: &[Value]) -> Vec<Wanted> {
    let excluded: Vec<_> = request
        .list("ExcludeRetainedVariantProperties")
        .iter()
        .filter_map(|property| property["VariantPropertyType"].as_str())
        .collect();
    let retains = |property| request.flag("RetainAllVariantProperties") && !excluded.contains(&property);
    let wanted = |variant: &Value| {
        let mut wanted = initial(variant);
        if let Some(live) = picture.serving().named(variant["VariantName"].as_str().unwrap_or_default()) {
            if retains("DesiredInstanceCount") {
                wanted.instances = live.instances;
            }
            if retains("DesiredWeight") {
                wanted.weight = picture.weight(live);
            }
        }
        wanted
    };
    variants.iter().map(wanted).collect()
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
    let Some(variant) = target.variants.iter_mut().find(|variant| variant.name() == name) else {
        return Err(Fault::validation(format!("Could not find production variant \"{name}\".")));
    };
    if desired.get("ServerlessUpdateConfig").is_some() {
        return Err(Fault::validation(format!("Production variant \"{name}\" is not serverless.")));
    }
    if let Some(weight) = desired["DesiredWeight"].as_f64() {
        variant.weight = weight;
    }
    if let Some(count) = desired["DesiredInstanceCount"].as_u64() {
        let count = u32::try_from(count).ok().and_then(NonZeroU32::new);
        variant.instances = count.ok_or_else(|| {
            Fault::validation(format!(
                "DesiredInstanceCount of production variant \"{name}\" must be 1 or more here."
            ))
        })?;
    }
    Ok(())
}

/// Somebody has to get the requests.
fn refuse_weightless(target: &Target) -> Result<(), Fault> {
    if target.variants.iter().any(|variant| variant.weight > 0.0) {
        return Ok(());
    }
    Err(Fault::validation("At least one production variant must have a weight above 0."))
}

fn counts(target: &Target) -> Vec<NonZeroU32> {
    target.variants.iter().map(|variant| variant.instances).collect()
}

impl TargetVariant {
    fn wanted(&self) -> Wanted {
        let Self { variant, image: _, instances, weight } = self.clone();
        Wanted { variant, instances, weight }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_update_to_a_variant_of_another_name_is_refused() {
        let named = |names: &[&str]| -> Vec<Value> {
            names.iter().map(|name| json!({ "VariantName": name })).collect()
        };
        let variant =
            |variant| TargetVariant { variant, image: None, instances: NonZeroU32::MIN, weight: 1.0 };
        let variants = named(&["a", "b"]).into_iter().map(variant).collect();
        let serving = Target { config: "one".to_owned(), variants, shadow: None };
        assert!(refuse_other_variants(&serving, &named(&["b", "a"])).is_ok());
        for (names, told) in [(&["a"][..], "not \"a\"."), (&["a", "c"], "not \"a\", \"c\".")] {
            let refused = refuse_other_variants(&serving, &named(names)).unwrap_err().message;
            let same = "must have the same production variant names as the one in force: \"a\", \"b\", ";
            assert!(refused.contains(same) && refused.ends_with(told), "{refused}");
        }
    }

    #[test]
    fn a_change_names_its_variant_and_leaves_the_others() {
        let variant = |name: &str| TargetVariant {
            variant: json!({ "VariantName": name }),
            image: None,
            instances: NonZeroU32::MIN,
            weight: 1.0,
        };
        let variants = vec![variant("a"), variant("b")];
        let mut target = Target { config: "one".to_owned(), variants, shadow: None };
        let desired = json!({ "VariantName": "b", "DesiredWeight": 0.0, "DesiredInstanceCount": 3 });
        change(&mut target, &desired).unwrap();
        assert_eq!((target.variants[0].weight, target.variants[1].weight), (1.0, 0.0));
        assert_eq!(counts(&target), [NonZeroU32::MIN, NonZeroU32::new(3).unwrap()]);
        assert!(refuse_weightless(&target).is_ok());
        change(&mut target, &json!({ "VariantName": "a", "DesiredWeight": 0.0 })).unwrap();
        assert!(refuse_weightless(&target).is_err());
        assert!(change(&mut target, &json!({ "VariantName": "c" })).is_err());
    }
}
