//! What is kept of models and configurations: the request that made each, word for word, and when. Of endpoints, what control does not know:
//! what was asked for. What is in service, and what becomes of a deployment, is control's to say, and is never written down twice.

use std::{collections::BTreeMap, num::NonZeroU32};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::Api;
use crate::{
    admin::aws::fault::{Fault, Kind},
    control::{Actor, Handle, ResourceChange},
    name::EndpointName,
    store::Resource,
};

/// The kinds of resources in the journal.
pub(super) const MODEL: &str = "sagemaker-model";
pub(super) const CONFIG: &str = "sagemaker-endpoint-config";
pub(super) const ENDPOINT: &str = "sagemaker-endpoint";

/// How many of a kind there may be. AWS's own quotas are of this size, and each is read when a list is asked for.
const MOST: usize = 5_000;

/// A resource that stays as it was made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Made {
    /// The members of the request, tags left out.
    pub(super) request: Map<String, Value>,
    /// When, in milliseconds since 1970.
    pub(super) created: i64,
    pub(super) tags: BTreeMap<String, String>,
}

/// Any of them, as far as its tags.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Tagged {
    pub(super) tags: BTreeMap<String, String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// An endpoint, beside what control knows of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct EndpointRecord {
    /// When it was made, in milliseconds since 1970, as the next.
    pub(super) created: i64,
    /// When somebody last asked for a change, or one was over.
    pub(super) modified: i64,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) phase: Phase,
    /// What the fleet in service was asked to be.
    pub(super) live: Target,
    /// What the last update asked for; it is the fleet in service once that says so.
    pub(super) next: Option<Target>,
    /// The last deployment configuration, as it was given.
    pub(super) deployment: Option<Value>,
    /// Until when a change of the number of instances may take, while one does.
    pub(super) scaling_until: Option<i64>,
}

/// Where an endpoint is in its life, apart from deployments.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Its first instances must be ready by then.
    Creating {
        until: i64,
    },
    InService,
    /// It never was in service, and can only be deleted.
    Failed {
        reason: String,
    },
    /// It goes as soon as its shift is over.
    Deleting,
}

/// What a fleet is asked to be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(from = "TargetForm")]
pub(super) struct Target {
    /// The configuration's name, which is the fleet's version.
    pub(super) config: String,
    /// At least one, in the configuration's order.
    pub(super) variants: Vec<TargetVariant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shadow: Option<TargetShadow>,
}

/// What a shadow is asked to be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct TargetShadow {
    pub(super) variant: TargetVariant,
    /// As the endpoint's declaration has it.
    pub(super) declared: Value,
}

/// What a variant of a fleet is asked to be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct TargetVariant {
    /// As the configuration has it.
    pub(super) variant: Value,
    pub(super) image: Option<String>,
    pub(super) instances: NonZeroU32,
    pub(super) weight: f64,
}

/// A [`Target`] as records have it.
#[derive(Deserialize)]
#[serde(untagged)]
enum TargetForm {
    Several {
        config: String,
        variants: Vec<TargetVariant>,
        #[serde(default)]
        shadow: Option<TargetShadow>,
    },
    /// Written when an endpoint had one variant.
    One {
        config: String,
        #[serde(flatten)]
        variant: TargetVariant,
    },
}

/// What clients call the one variant of an endpoint that has no others; `None` where it is none of theirs.
pub(in crate::admin) async fn variant_name(handle: &Handle, endpoint: &EndpointName) -> Option<String> {
    let found = handle.resource(ENDPOINT, endpoint.as_str()).await.ok()??;
    let record: EndpointRecord = serde_json::from_value(found.document).ok()?;
    let first = record.live.variants.first()?;
    Some(first.name().to_owned()).filter(|name| !name.is_empty())
}

impl EndpointRecord {
    /// Whether the last update brings another shadow, which comes with its fleet.
    pub(super) fn changes_shadow(&self) -> bool {
        self.next.as_ref().is_some_and(|next| next.shadow != self.live.shadow)
    }

    /// What the fleet in service is asked to be, by the version that it has.
    pub(super) fn serving(&self, version: &str) -> &Target {
        self.next.as_ref().filter(|next| next.config == version).unwrap_or(&self.live)
    }
}

impl Target {
    /// The variant of this name.
    pub(super) fn named(&self, name: &str) -> Option<&TargetVariant> {
        self.variants.iter().find(|variant| variant.name() == name)
    }

    /// The names of its variants, for people: `a, b`.
    pub(super) fn names(&self) -> String {
        self.variants.iter().map(TargetVariant::name).collect::<Vec<_>>().join(", ")
    }
}

impl TargetVariant {
    pub(super) fn name(&self) -> &str {
        self.variant.get("VariantName").and_then(Value::as_str).unwrap_or_default()
    }
}

impl From<TargetForm> for Target {
    fn from(form: TargetForm) -> Self {
        match form {
            TargetForm::Several { config, variants, shadow } => Self { config, variants, shadow },
            TargetForm::One { config, variant } => Self { config, variants: vec![variant], shadow: None },
        }
    }
}

impl Api {
    /// One record of a kind.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        name: &str,
    ) -> Result<Option<T>, Fault> {
        let found = self.handle.resource(kind, name).await?;
        found.map(read).transpose().map(|found| found.map(|(_, record)| record))
    }

    /// All records of a kind, by name.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        kind: &'static str,
    ) -> Result<Vec<(String, T)>, Fault> {
        self.handle.resources(kind).await?.into_iter().map(read).collect()
    }

    /// Refuses one more than there may be.
    pub(super) async fn make_room(&self, kind: &'static str, what: &str) -> Result<(), Fault> {
        let count = self.handle.resources(kind).await?.len();
        if count < MOST {
            return Ok(());
        }
        Err(Fault::new(
            Kind::ResourceLimit,
            format!(
                "The account-level service limit '{what}' is {MOST}, with current utilization of {count} and a request delta of 1."
            ),
        ))
    }

    /// Makes a new or changed record durable.
    pub(super) async fn keep<T: Serialize>(
        &self,
        (kind, name): (&'static str, &str),
        record: &T,
        (actor, cause): (&Actor, String),
    ) -> Result<(), Fault> {
        let document = serde_json::to_value(record)
            .map_err(|error| Fault::new(Kind::Internal, format!("a record cannot be written: {error}")))?;
        let put = vec![Resource { kind, name: name.to_owned(), document }];
        Ok(self.handle.keep(ResourceChange { put, cause, ..ResourceChange::default() }, actor).await?)
    }

    /// Lets a record go.
    pub(super) async fn forget(
        &self,
        (kind, name): (&'static str, &str),
        (actor, cause): (&Actor, String),
    ) -> Result<(), Fault> {
        let gone = vec![(kind, name.to_owned())];
        Ok(self.handle.keep(ResourceChange { gone, cause, ..ResourceChange::default() }, actor).await?)
    }
}

fn read<T: DeserializeOwned>(resource: Resource) -> Result<(String, T), Fault> {
    let Resource { kind, name, document } = resource;
    match serde_json::from_value(document) {
        Ok(record) => Ok((name, record)),
        Err(error) => {
            tracing::error!(kind, name, %error, "a record in the journal cannot be read");
            Err(Fault::new(Kind::Internal, format!("the record of {name} cannot be read")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_written_of_the_one_variant_of_an_endpoint_is_read() {
        let variant =
            json!({ "variant": { "VariantName": "all" }, "image": null, "instances": 3, "weight": 0.5 });
        let mut before = variant.clone();
        before["config"] = json!("c1");
        let read: Target = serde_json::from_value(before).unwrap();
        assert_eq!((read.names().as_str(), read.variants[0].instances.get()), ("all", 3));
        let now = json!({ "config": "c1", "variants": [variant] });
        assert_eq!(serde_json::to_value(&read).unwrap(), now);
        assert_eq!(serde_json::from_value::<Target>(now).unwrap(), read);
    }
}
