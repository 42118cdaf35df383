//! Endpoint configurations: which models, how many instances of each, with which weight.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Api, Request,
    listing::{Entry, Listing},
    records::{CONFIG, ENDPOINT, EndpointRecord, Made},
    seconds, tags,
};
use crate::admin::aws::{fault::Fault, front::Answer};

/// How often metrics may be published, in seconds.
const FREQUENCIES: [i64; 7] = [10, 30, 60, 120, 180, 240, 300];

impl Api {
    pub(super) async fn create_config(&self, mut request: Request) -> Result<Answer, Fault> {
        let name = request.text("EndpointConfigName").to_owned();
        let arn = self.arn("endpoint-config", &name);
        if self.find::<Made>(CONFIG, &name).await?.is_some() {
            return Err(Fault::validation(format!(
                "Cannot create already existing endpoint configuration \"{arn}\"."
            )));
        }
        check_variants(&request)?;
        check_metrics(&request)?;
        let variants =
            request.list("ProductionVariants").iter().chain(request.list("ShadowProductionVariants"));
        for model in variants.filter_map(|variant| variant["ModelName"].as_str()) {
            self.model(model).await?;
        }
        self.make_room(CONFIG, "Total number of endpoint configurations").await?;
        let tags = tags::take(&mut request.members)?;
        let made = Made { request: request.members, created: Self::now(), tags };
        let cause = format!("endpoint configuration {name} was created");
        self.keep((CONFIG, &name), &made, (&request.actor, cause)).await?;
        Ok(json!({ "EndpointConfigArn": arn }).into())
    }

    pub(super) async fn describe_config(&self, request: &Request) -> Result<Answer, Fault> {
        let name = request.text("EndpointConfigName");
        let Made { request: mut document, created, tags: _ } = self.config(name).await?;
        document.insert("EndpointConfigArn".to_owned(), json!(self.arn("endpoint-config", name)));
        document.insert("CreationTime".to_owned(), json!(seconds(created)));
        Ok(Value::Object(document).into())
    }

    pub(super) async fn list_configs(&self, request: &Request) -> Result<Answer, Fault> {
        let all = self.all::<Made>(CONFIG).await?.into_iter();
        let entries = all.map(|(name, made)| {
            let document = json!({
                "EndpointConfigName": name,
                "EndpointConfigArn": self.arn("endpoint-config", &name),
                "CreationTime": seconds(made.created),
            });
            Entry { name, created: made.created, modified: made.created, status: "", document }
        });
        Listing::of(request)?.page(entries.collect(), "EndpointConfigs")
    }

    pub(super) async fn delete_config(&self, request: Request) -> Result<Answer, Fault> {
        let name = request.text("EndpointConfigName");
        self.config(name).await?;
        self.refuse_in_use(name).await?;
        let cause = format!("endpoint configuration {name} was deleted");
        self.forget((CONFIG, name), (&request.actor, cause)).await?;
        Ok(Answer::default())
    }

    /// SageMaker lets a configuration go that an endpoint is on, which then cannot be updated any more; here it stays.
    async fn refuse_in_use(&self, config: &str) -> Result<(), Fault> {
        for (name, record) in self.all::<EndpointRecord>(ENDPOINT).await? {
            let picture = self.picture_of(&name, record).await?;
            if picture.config() == config || picture.pending_config() == Some(config) {
                return Err(Fault::validation(format!(
                    "Cannot delete endpoint configuration \"{}\" because it is in use by endpoint \"{}\".",
                    self.arn("endpoint-config", config),
                    self.arn("endpoint", &name)
                )));
            }
        }
        Ok(())
    }

    /// The configuration of this name.
    pub(super) async fn config(&self, name: &str) -> Result<Made, Fault> {
        let found = self.find(CONFIG, name).await?;
        found.ok_or_else(|| {
            let arn = self.arn("endpoint-config", name);
            Fault::validation(format!("Could not find endpoint configuration \"{arn}\"."))
        })
    }
}

fn check_variants(request: &Request) -> Result<(), Fault> {
    let (production, shadow) = (request.list("ProductionVariants"), request.list("ShadowProductionVariants"));
    if !shadow.is_empty() && (production.len(), shadow.len()) != (1, 1) {
        return Err(Fault::validation(
            "When you specify ShadowProductionVariants, you can specify only one ProductionVariant and one ShadowProductionVariant.",
        ));
    }
    let mut names = BTreeSet::new();
    for variant in production.iter().chain(shadow) {
        let name = variant["VariantName"].as_str().unwrap_or_default();
        if !names.insert(name) {
            return Err(Fault::validation(format!(
                "Production variant names must be unique: \"{name}\" is used twice."
            )));
        }
        if variant.get("ModelName").is_none() {
            return Err(Fault::validation(format!(
                "Production variant \"{name}\" names no model: inference components are not supported here."
            )));
        }
        if variant.get("ServerlessConfig").is_none() && variant.get("InitialInstanceCount").is_none() {
            return Err(Fault::validation(format!(
                "Production variant \"{name}\" must have InitialInstanceCount or ServerlessConfig."
            )));
        }
    }
    let weight: f64 = production.iter().map(weight_of).sum();
    if weight > 0.0 {
        Ok(())
    } else {
        Err(Fault::validation("At least one production variant must have a weight above 0."))
    }
}

/// The share that a variant asks for, against the others'.
pub(super) fn weight_of(variant: &Value) -> f64 {
    variant["InitialVariantWeight"].as_f64().unwrap_or(1.0)
}

/// Bounds that the model leaves to the service.
fn check_metrics(request: &Request) -> Result<(), Fault> {
    let metrics = request.members.get("MetricsConfig");
    let frequency = metrics.and_then(|metrics| metrics["MetricPublishFrequencyInSeconds"].as_i64());
    if frequency.is_none_or(|frequency| FREQUENCIES.contains(&frequency)) {
        return Ok(());
    }
    Err(Fault::validation(format!(
        "MetricPublishFrequencyInSeconds must be one of {}.",
        FREQUENCIES.map(|frequency| frequency.to_string()).join(", ")
    )))
}
