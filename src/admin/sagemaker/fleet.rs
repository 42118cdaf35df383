//! From a model to a fleet: who makes its instances, by the variables of its container.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    Api,
    deployment::{Count, Incoming},
    records::{Made, Target, TargetShadow, TargetVariant},
};
use crate::{
    admin::aws::fault::Fault,
    config::{AwsFleet, EndpointSpec, Problems, provider_from_json, provider_to_json},
    fleet::{CommandSpec, FleetSpec, ProcessSpec, ProviderSpec},
    name::EndpointName,
    weight::Share,
};

/// Where the instances listen, separated by commas.
const INSTANCES: &str = "SNAPBACK_INSTANCES";
/// What starts one as a process of this machine.
const COMMAND: &str = "SNAPBACK_COMMAND";
/// Which of `[[aws.fleets]]` makes them.
const PROVIDER: &str = "SNAPBACK_PROVIDER";
/// What an instance is asked to know that it is ready.
const HEALTH_PATH: &str = "SNAPBACK_HEALTH_PATH";
/// The model's whole definition, for whoever makes the instances.
const MODEL: &str = "SNAPBACK_MODEL";

/// What SageMaker's containers answer (<https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html>).
const PING: &str = "/ping";

/// How long SageMaker waits for a container's first good answer where nobody says.
const STARTUP: Duration = Duration::from_secs(240);

/// A variant that is to be made: as its configuration has it, and with so many instances of such a weight.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) variant: Value,
    pub(super) instances: NonZeroU32,
    pub(super) weight: f64,
}

/// A fleet that is to be made.
#[derive(Clone, Debug)]
pub(super) struct Blueprint {
    pub(super) spec: FleetSpec,
    /// As `config` reads it.
    document: Value,
    pub(super) size: Incoming,
    /// What its instances are asked.
    pub(super) health_path: String,
    pub(super) target: Target,
}

/// What is known of a variant and its model.
struct Part {
    variant: TargetVariant,
    /// The fleet's document, were this its only variant.
    document: Value,
    health_path: String,
    ready_timeout: Duration,
}

impl Api {
    /// The fleet of the variants of a configuration.
    pub(super) async fn blueprint(
        &self,
        config: &str,
        variants: &[Wanted],
        shadow: Option<&Wanted>,
    ) -> Result<Blueprint, Fault> {
        let refused =
            |what: String| Fault::validation(format!("Endpoint configuration \"{config}\": {what}"));
        let mut parts = Vec::new();
        for wanted in variants {
            parts.push(self.part(wanted).await?);
        }
        let document = match parts.as_slice() {
            [part] => part.document.clone(),
            parts => json!({ "variants": together(parts).map_err(refused)? }),
        };
        let document = merged(json!({ "version": config }), document);
        // A whole endpoint is read for the sake of its fleet, so that there is one reader of fleets.
        let any = EndpointName::parse("any").map_err(|error| refused(error.to_string()))?;
        let read = EndpointSpec::from_json(&any, &json!({ "blue": document }));
        let spec = read.map_err(|problems| refused(told(&problems)))?.blue;
        let named: BTreeMap<_, _> =
            spec.parts().map(|(variant, instances)| (variant.name.as_str(), instances.len())).collect();
        let count = |part: &Part| {
            let asked = part.variant.instances;
            let alone = spec.provider.is_none().then_some(spec.instances.len());
            let there = named.get(part.variant.name()).copied().or(alone);
            let there = there.and_then(|there| u32::try_from(there).ok()).and_then(NonZeroU32::new);
            Count { variant: part.variant.name().to_owned(), asked, there: there.unwrap_or(asked) }
        };
        let counts = parts.iter().map(count).collect();
        let ready_timeout = parts.iter().map(|part| part.ready_timeout).max().unwrap_or(STARTUP);
        let health_path = parts.first().map_or(PING, |part| &part.health_path).to_owned();
        let shadow = match (shadow, parts.first()) {
            (Some(shadow), Some(first)) => {
                let part = self.part(shadow).await?;
                let declared = part.shadow(config, first).map_err(refused)?;
                Some(TargetShadow { variant: part.variant, declared })
            }
            (None, _) | (_, None) => None,
        };
        let variants = parts.into_iter().map(|part| part.variant).collect();
        let target = Target { config: config.to_owned(), variants, shadow };
        Ok(Blueprint { spec, document, size: Incoming { counts, ready_timeout }, health_path, target })
    }

    /// What a variant and its model say.
    async fn part(&self, Wanted { variant, instances, weight }: &Wanted) -> Result<Part, Fault> {
        let name = variant["ModelName"].as_str().unwrap_or_default();
        let model = self.model(name).await?;
        let container = Container::of(&model);
        let refused = |what: String| Fault::validation(format!("Model \"{name}\": {what}"));
        let document = self.fleet(name, &model, &container, *instances).map_err(refused)?;
        let seconds = variant["ContainerStartupHealthCheckTimeoutInSeconds"].as_u64();
        let image = container.document["Image"].as_str().map(str::to_owned);
        let (variant, instances, weight) = (variant.clone(), *instances, *weight);
        Ok(Part {
            variant: TargetVariant { variant, image, instances, weight },
            document,
            health_path: container.variable(HEALTH_PATH).unwrap_or(PING).to_owned(),
            ready_timeout: seconds.map_or(STARTUP, Duration::from_secs),
        })
    }

    /// The fleet's document but for its version.
    fn fleet(
        &self,
        name: &str,
        model: &Made,
        container: &Container<'_>,
        asked: NonZeroU32,
    ) -> Result<Value, String> {
        let instances = container.variable(INSTANCES);
        let (command, provider) = (container.variable(COMMAND), container.variable(PROVIDER));
        match (instances, command, provider) {
            (Some(list), None, None) => {
                let most = usize::try_from(asked.get()).unwrap_or(usize::MAX);
                let listed = list.split(',').map(str::trim).filter(|address| !address.is_empty());
                Ok(json!({ "instances": listed.take(most).collect::<Vec<_>>() }))
            }
            (None, Some(command), None) => {
                let words = words(command)?;
                let document = json!({ "type": "process", "command": words, "env": container.others(), "count": asked });
                let spec = provider_from_json(&document).map_err(|problems| told(&problems))?;
                Ok(json!({ "provider": provider_to_json(&spec) }))
            }
            (None, None, Some(named)) => {
                let fleets = &self.config.fleets;
                let found = fleets.iter().find(|fleet| fleet.name == named).ok_or_else(|| {
                    let known: Vec<_> = fleets.iter().map(|fleet| fleet.name.as_str()).collect();
                    format!("{PROVIDER} names \"{named}\", but [[aws.fleets]] has: {}", known.join(", "))
                })?;
                let spec = named_provider(found, model, container, asked);
                Ok(json!({ "provider": provider_to_json(&spec) }))
            }
            (None, None, None) => Err(format!(
                "nothing says where its instances are: give the environment of its container {INSTANCES} (addresses, separated by \
                 commas), {COMMAND} or {PROVIDER}"
            )),
            _ => Err(format!("its container has more than one of {INSTANCES}, {COMMAND} and {PROVIDER}: keep one")),
        }
        .map_err(|what| if what.is_empty() { name.to_owned() } else { what })
    }
}

/// The container that answers: the first.
struct Container<'a> {
    document: &'a Value,
}

impl<'a> Container<'a> {
    fn of(model: &'a Made) -> Self {
        static NONE: Value = Value::Null;
        let first = model.request.get("Containers").and_then(|all| all.get(0));
        let document = model.request.get("PrimaryContainer").or(first).unwrap_or(&NONE);
        Self { document }
    }

    fn environment(&self) -> Option<&'a Map<String, Value>> {
        self.document["Environment"].as_object()
    }

    fn variable(&self, name: &str) -> Option<&'a str> {
        self.environment()?.get(name)?.as_str()
    }

    /// What its model server is to see of its environment.
    fn others(&self) -> BTreeMap<String, String> {
        let all = self.environment().into_iter().flatten();
        let others =
            all.filter(|(name, _)| ![INSTANCES, COMMAND, PROVIDER, HEALTH_PATH].contains(&name.as_str()));
        others.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    }
}

/// A configured provider with the model's variables and its definition.
fn named_provider(
    AwsFleet { name: _, provider }: &AwsFleet,
    model: &Made,
    container: &Container<'_>,
    asked: NonZeroU32,
) -> ProviderSpec {
    let mut added = container.others();
    added.insert(MODEL.to_owned(), Value::Object(model.request.clone()).to_string());
    let with = |env: &BTreeMap<String, String>| env.clone().into_iter().chain(added).collect();
    let spec = match &**provider {
        ProviderSpec::Process(spec) => {
            ProviderSpec::Process(ProcessSpec { env: with(&spec.env), ..spec.clone() })
        }
        ProviderSpec::Command(spec) => {
            ProviderSpec::Command(CommandSpec { env: with(&spec.env), ..spec.clone() })
        }
        // Refused by `config`: nothing can be handed to whoever runs what a name leads to.
        ProviderSpec::Dns(spec) => ProviderSpec::Dns(spec.clone()),
    };
    spec.counting(Some(asked))
}

/// A command's words, parted by spaces; what stands in quotes, single or double, is one word.
fn words(command: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for sign in command.chars() {
        match (sign, quote) {
            (sign, Some(open)) if sign == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(sign);
                word.get_or_insert_default();
            }
            (sign, None) if sign.is_whitespace() => words.extend(word.take()),
            (sign, _) => word.get_or_insert_default().push(sign),
        }
    }
    if quote.is_some() {
        return Err(format!("{COMMAND} has a quotation mark without its other half"));
    }
    words.extend(word);
    Ok(words)
}

fn merged(mut document: Value, other: Value) -> Value {
    if let (Some(document), Value::Object(other)) = (document.as_object_mut(), other) {
        document.extend(other);
    }
    document
}

fn told(problems: &Problems) -> String {
    let all: Vec<_> =
        problems.problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect();
    all.join("; ")
}

impl Part {
    /// The document of a shadow of this production variant: it gets as large a part of the requests as its weight is of that variant's.
    fn shadow(&self, config: &str, production: &Self) -> Result<Value, String> {
        let name = self.variant.name();
        let Some(instances) = self.document.get("instances") else {
            return Err(format!("shadow variant \"{name}\": name its instances by {INSTANCES}"));
        };
        if self.health_path != production.health_path {
            return Err(format!("all variants of an endpoint have the same {HEALTH_PATH}"));
        }
        let part = (self.variant.weight / production.variant.weight).clamp(0.0, 1.0);
        let points = (part * f64::from(Share::WHOLE)).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 10,000")]
        let share = Share::from_basis_points(points as u16).unwrap_or(Share::ALL);
        Ok(json!({
            "version": config,
            "name": name,
            "instances": instances,
            "share": share.to_string(),
            // The service's own bound, of half as many copies as there are otherwise.
            "body_limit": "6MiB",
            "max_in_flight": 32,
        }))
    }
}

/// An endpoint of this document with that shadow.
pub(super) fn shadowed(
    name: &EndpointName,
    mut document: Value,
    shadow: Option<&TargetShadow>,
) -> Result<EndpointSpec, Fault> {
    if let Some(members) = document.as_object_mut() {
        members.remove("shadow");
        members.extend(shadow.map(|shadow| ("shadow".to_owned(), shadow.declared.clone())));
    }
    EndpointSpec::from_json(name, &document)
        .map_err(|problems| Fault::validation(format!("Endpoint \"{name}\": {}", told(&problems))))
}

/// The documents of several variants. What holds for a whole endpoint here has to be the same in all of them.
fn together(parts: &[Part]) -> Result<Vec<Value>, String> {
    let Some(first) = parts.first() else { return Ok(Vec::new()) };
    let mut variants = Vec::new();
    for part in parts {
        let name = part.variant.name();
        if part.document.get("provider").is_some() {
            return Err(format!(
                "one of {COMMAND} and {PROVIDER} makes the instances of a whole endpoint, and production variant \"{name}\" is one of \
                 several: name their instances by {INSTANCES}"
            ));
        }
        if part.health_path != first.health_path {
            return Err(format!("all variants of an endpoint have the same {HEALTH_PATH}"));
        }
        if balance(&part.variant.variant) != balance(&first.variant.variant) {
            return Err("all variants of an endpoint have the same RoutingConfig here".to_owned());
        }
        let own = json!({ "name": name, "weight": part.variant.weight });
        variants.push(merged(own, part.document.clone()));
    }
    Ok(variants)
}

impl Blueprint {
    /// The whole endpoint with this fleet in service: clients call it under SageMaker's path, and its model servers see a container's.
    pub(super) fn endpoint(&self, name: &EndpointName) -> Result<EndpointSpec, Fault> {
        let first = self.target.variants.first().map(|first| &first.variant).unwrap_or(&Value::Null);
        let document = json!({
            "match": { "path_prefix": format!("/endpoints/{name}/") },
            "rewrite": {},
            "invocations": { "variant": first["VariantName"] },
            // A container has a minute to answer, and requests are no larger (the service's own bounds).
            "limits": { "head_timeout": "60s", "body_limit": "6MiB" },
            "blue": self.document,
            "health": { "path": self.health_path, "timeout": "2s" },
            "balance": balance(first),
        });
        shadowed(name, document, self.target.shadow.as_ref())
    }

    /// The same fleet by its provider, if one makes it.
    pub(super) fn provider(&self) -> Option<&Arc<ProviderSpec>> {
        self.spec.provider.as_ref()
    }
}

/// How instances share requests. Where nobody says, the less busy of two gets the next, which is never worse than SageMaker's chance.
fn balance(variant: &Value) -> Value {
    let routing = |path: &str| variant.pointer(&format!("/RoutingConfig/{path}"));
    match routing("RoutingStrategy").and_then(Value::as_str) {
        Some("RANDOM") => json!("random"),
        Some("PREFIX_AWARE" | "KV_AWARE") => {
            let bytes =
                routing("PrefixAwareRoutingConfig/PrefixLength").and_then(Value::as_u64).unwrap_or(1_024);
            json!({ "prompt_prefix": format!("{bytes}B") })
        }
        Some(_) | None => json!("least_of_two"),
    }
}
