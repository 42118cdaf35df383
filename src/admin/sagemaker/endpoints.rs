//! Endpoints: made, listed and deleted.

use std::{num::NonZeroU32, time::Duration};

use serde_json::{Value, json};

use super::{
    Api, Request,
    configs::weight_of,
    deployment::Deployment,
    fleet::Wanted,
    listing::{Entry, Listing},
    picture::Picture,
    records::{ENDPOINT, EndpointRecord, Made, Phase},
    seconds, tags,
};
use crate::{
    admin::aws::{fault::Fault, front::Answer},
    control::{Actor, ControlError, Execution, ShiftCommand},
    name::EndpointName,
    shift::Command,
};

/// The tag that lets an endpoint be deleted whatever it is doing: any client can set it, and nobody does so by mistake.
const FORCE_TAG: &str = "snapback:force-delete";

impl Api {
    pub(super) async fn create_endpoint(&self, mut request: Request) -> Result<Answer, Fault> {
        let name = request.text("EndpointName").to_owned();
        let arn = self.arn("endpoint", &name);
        self.refuse_existing(&name, &arn).await?;
        let config_name = request.text("EndpointConfigName").to_owned();
        let config = self.config(&config_name).await?;
        let Servable { variants, shadow } = servable(&config)?;
        let wanted: Vec<_> = variants.iter().map(initial).collect();
        let shadow = shadow.map(initial);
        let blueprint = self.blueprint(&config_name, &wanted, shadow.as_ref()).await?;
        let deployment = request.members.get("DeploymentConfig").cloned();
        Deployment::read(deployment.as_ref())?.plan(&blueprint.size)?;
        self.make_room(ENDPOINT, "Total number of endpoints").await?;
        let parsed = EndpointName::parse(&name).map_err(|error| Fault::validation(error.to_string()))?;
        let spec = blueprint.endpoint(&parsed)?;
        self.handle.put_endpoint(spec.clone(), &request.actor, Execution::Dry).await?;
        let tags = tags::take(&mut request.members)?;
        let now = Self::now();
        let record = EndpointRecord {
            created: now,
            modified: now,
            tags,
            phase: Phase::Creating { until: now + millis(blueprint.size.ready_timeout) },
            live: blueprint.target,
            next: None,
            deployment,
            scaling_until: None,
        };
        // Before the endpoint itself, so that a crash between the two leaves one that its owner can see and delete.
        let cause = format!("endpoint {name} was created");
        self.keep((ENDPOINT, &name), &record, (&request.actor, cause)).await?;
        if let Err(error) = self.handle.put_endpoint(spec, &request.actor, Execution::Real).await {
            let cause = format!("endpoint {name} could not be created");
            self.forget((ENDPOINT, &name), (&request.actor, cause)).await?;
            return Err(error.into());
        }
        self.look_again();
        Ok(json!({ "EndpointArn": arn }).into())
    }

    /// Names of endpoints differ by more than the case of their letters; the native API's count too.
    async fn refuse_existing(&self, name: &str, arn: &str) -> Result<(), Fault> {
        let ours = self.handle.resources(ENDPOINT).await?;
        let natives = self.handle.endpoints().await?;
        let is_same = |other: &str| other.eq_ignore_ascii_case(name);
        if ours.iter().any(|endpoint| is_same(&endpoint.name))
            || natives.iter().any(|endpoint| is_same(endpoint.declared.name.as_str()))
        {
            return Err(Fault::validation(format!("Cannot create already existing endpoint \"{arn}\".")));
        }
        Ok(())
    }

    pub(super) async fn list_endpoints(&self, request: &Request) -> Result<Answer, Fault> {
        let mut entries = Vec::new();
        for (name, record) in self.all::<EndpointRecord>(ENDPOINT).await? {
            let picture = self.picture_of(&name, record).await?;
            let (status, modified) = (picture.status(), picture.modified());
            let document = json!({
                "EndpointName": name,
                "EndpointArn": self.arn("endpoint", &name),
                "CreationTime": seconds(picture.record.created),
                "LastModifiedTime": seconds(modified),
                "EndpointStatus": status,
            });
            entries.push(Entry { name, created: picture.record.created, modified, status, document });
        }
        Listing::of(request)?.page(entries, "Endpoints")
    }

    pub(super) async fn delete_endpoint(&self, request: Request) -> Result<Answer, Fault> {
        let picture = self.picture(request.text("EndpointName")).await?;
        if picture.status() != "Failed"
            && picture.record.tags.get(FORCE_TAG).is_none_or(|force| force != "true")
        {
            self.refuse_in_progress(&picture)?;
        }
        if picture.running().is_some() {
            self.delete_after_shift(picture, &request.actor).await?;
        } else {
            self.remove(&picture.name, &request.actor).await?;
        }
        Ok(Answer::default())
    }

    /// The deployment is aborted, where there is a way back, and the endpoint goes when it is over.
    async fn delete_after_shift(&self, picture: Picture, actor: &Actor) -> Result<(), Fault> {
        if let Some(shift) = picture.running() {
            let command = ShiftCommand { command: Command::Abort, actor: actor.clone() };
            match self.handle.command_shift(&shift.id, command, Execution::Real).await {
                // One that cannot go back is as good as over.
                Ok(_) | Err(ControlError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let name = picture.name.as_str().to_owned();
        let record = EndpointRecord { phase: Phase::Deleting, modified: Self::now(), ..picture.record };
        let cause = format!("endpoint {name} is deleted although a deployment was under way");
        self.keep((ENDPOINT, &name), &record, (actor, cause)).await?;
        self.look_again();
        Ok(())
    }

    /// The endpoint goes, and its fleets with it.
    pub(super) async fn remove(&self, name: &EndpointName, actor: &Actor) -> Result<(), Fault> {
        match self.handle.delete_endpoint(name, actor, Execution::Real).await {
            Ok(()) | Err(ControlError::NoEndpoint { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let cause = format!("endpoint {name} was deleted");
        self.forget((ENDPOINT, name.as_str()), (actor, cause)).await
    }
}

/// What a configuration has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Servable<'a> {
    pub(super) variants: &'a [Value],
    pub(super) shadow: Option<&'a Value>,
}

/// What a configuration has, if all of it can be served.
pub(super) fn servable(config: &Made) -> Result<Servable<'_>, Fault> {
    let list =
        |member: &str| config.request.get(member).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if config.request.contains_key("AsyncInferenceConfig") {
        return Err(Fault::validation("Asynchronous endpoints are not supported here."));
    }
    let (variants, shadow) = (list("ProductionVariants"), list("ShadowProductionVariants").first());
    if variants.iter().chain(shadow).any(|variant| variant.get("ServerlessConfig").is_some()) {
        return Err(Fault::validation("Serverless variants are not supported here."));
    }
    Ok(Servable { variants, shadow })
}

/// What a configuration asks of a variant.
pub(super) fn initial(variant: &Value) -> Wanted {
    let count = variant["InitialInstanceCount"].as_u64().and_then(|count| u32::try_from(count).ok());
    let instances = count.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    Wanted { variant: variant.clone(), instances, weight: weight_of(variant) }
}

pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_served_is_refused_with_what_it_is() {
        let told = |request: Value| {
            let Value::Object(request) = request else { panic!("not an object") };
            servable(&Made { request, created: 0, tags: std::collections::BTreeMap::new() })
                .map(|Servable { variants, shadow }| (variants.len(), shadow.is_some()))
                .map_err(|fault| format!("{fault:?}"))
        };
        let variant = json!({ "VariantName": "all" });
        assert_eq!(told(json!({ "ProductionVariants": [variant, variant] })).unwrap(), (2, false));
        let shadowed = json!({ "ProductionVariants": [variant], "ShadowProductionVariants": [variant] });
        assert_eq!(told(shadowed).unwrap(), (1, true));
        for (request, reason) in [
            (
                json!({ "ProductionVariants": [variant], "ShadowProductionVariants": [{ "ServerlessConfig": {} }] }),
                "Serverless variants are not supported here.",
            ),
            (
                json!({ "ProductionVariants": [variant], "AsyncInferenceConfig": {} }),
                "Asynchronous endpoints are not supported here.",
            ),
            (
                json!({ "ProductionVariants": [variant, { "ServerlessConfig": {} }] }),
                "Serverless variants are not supported here.",
            ),
        ] {
            let refused = told(request).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
