//! The variants of an endpoint: what a shift needs of both fleets', and other weights by hand.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Actor, ControlError, EndpointView, Execution, Traffic, VariantView, endpoint::Endpoint, task::Task,
    traffic::traffic_since,
};
use crate::{
    config::{Problem, Problems},
    fleet::{Fleet, FleetSpec, InstanceSpec, Side, Variant, VariantSpec, VariantWeight, in_words},
    meter::{FleetMeters, Reading},
    name::{EndpointName, VariantName},
    route::FleetRoute,
    store::{EndpointRecord, Record},
};

/// What variants are to weigh, by their names; those that are left out keep what they have.
pub type Weights = BTreeMap<VariantName, VariantWeight>;

impl Task {
    /// The variants of the fleet in service are to weigh this. They do from the next request on, and no request is dropped. While a shift runs
    /// they stay, so that its comparison is one of the same mix.
    pub(super) async fn weigh(
        &mut self,
        name: &EndpointName,
        weights: &Weights,
        actor: &Actor,
        execution: Execution,
    ) -> Result<EndpointView, ControlError> {
        let endpoint = self.endpoint(name)?;
        if let Some(run) = &endpoint.run {
            return Err(ControlError::ShiftRunning { endpoint: name.clone(), running: run.id.clone() });
        }
        let before = &endpoint.record;
        let serving = weighed(&before.serving, weights)?;
        if execution == Execution::Real && serving != before.serving {
            let cause = told(&before.serving, &serving);
            let record = EndpointRecord { serving, ..before.clone() };
            let draft = self.draft("endpoint.weighted", Some(name), actor, cause);
            self.commit(vec![Record::Endpoint(Box::new(record.clone()))], &[draft]).await?;
            if let Some(endpoint) = self.endpoints.get_mut(name) {
                let fleet = endpoint.take_weights(record);
                self.links.publisher.refleet(name, Side::Blue, &fleet);
            }
        }
        Ok(self.endpoint(name)?.view(&self.links))
    }
}

impl Endpoint {
    /// The same instances, whose variants weigh what the record says.
    fn take_weights(&mut self, record: EndpointRecord) -> Arc<Fleet> {
        let old = &self.blue.route.fleet;
        let (version, instances) = (old.version.clone(), old.instances.clone());
        let fleet = Fleet { version, instances, variants: Variant::of(&record.serving.variants) };
        self.record = record;
        self.blue.route.fleet = Arc::new(fleet);
        Arc::clone(&self.blue.route.fleet)
    }
}

/// The variants of a fleet now.
pub(super) fn views(route: &FleetRoute) -> Vec<VariantView> {
    let FleetRoute { fleet, meters } = route;
    let view = |(variant, (_, meters)): (&Variant, &(_, Arc<FleetMeters>))| VariantView {
        name: variant.name.clone(),
        weight: variant.weight,
        instances: fleet.instances_of(variant).iter().map(|instance| instance.address().clone()).collect(),
        traffic: traffic_since(&meters.read(), &Reading::default()),
    };
    fleet.variants.iter().zip(meters.variants()).map(view).collect()
}

/// The variants of a fleet that nobody has sent anything to.
pub(super) fn unstarted(spec: &FleetSpec) -> Vec<VariantView> {
    let view = |(variant, instances): (&VariantSpec, &[InstanceSpec])| VariantView {
        name: variant.name.clone(),
        weight: variant.weight.unwrap_or(VariantWeight::ONE),
        instances: instances.iter().map(|instance| instance.address.clone()).collect(),
        traffic: Traffic::default(),
    };
    spec.parts().map(view).collect()
}

/// The specification with other weights. An error says which names are no variant's, or that nothing would get a request.
fn weighed(serving: &FleetSpec, weights: &Weights) -> Result<FleetSpec, ControlError> {
    let problem = |key: String, message: String| Problem { key, line: None, message };
    let is_known = |name: &VariantName| serving.variant_names().any(|other| other == name);
    let mut problems: Vec<_> = weights
        .keys()
        .filter(|name| !is_known(name))
        .map(|name| {
            let message = match serving.variants.as_slice() {
                [] => "the fleet in service has no variants: declare the endpoint with some".to_owned(),
                [..] => format!("no such variant; there are {}", in_words(serving.variant_names())),
            };
            problem(format!("weights.{name}"), message)
        })
        .collect();
    let variant = |spec: &VariantSpec| VariantSpec {
        weight: weights.get(&spec.name).copied().or(spec.weight),
        ..spec.clone()
    };
    let variants: Vec<_> = serving.variants.iter().map(variant).collect();
    if !variants.is_empty() && variants.iter().all(|variant| variant.weight == Some(VariantWeight::NONE)) {
        let message = "every weight would be 0, so that no variant would get a request: give one more";
        problems.push(problem("weights".to_owned(), message.to_owned()));
    }
    if !problems.is_empty() {
        return Err(Problems { source: "request body".to_owned(), problems }.into());
    }
    Ok(FleetSpec { variants, ..serving.clone() })
}

/// What has changed, for people: `a weighs 1 instead of 3, b 0 instead of 1`.
fn told(before: &FleetSpec, after: &FleetSpec) -> String {
    let weight = |spec: &VariantSpec| spec.weight.unwrap_or(VariantWeight::ONE);
    let pairs = before.variants.iter().zip(&after.variants);
    let changed = pairs.filter(|(before, after)| before.weight != after.weight);
    let line = |(before, after): (&VariantSpec, &VariantSpec)| {
        format!("{} weighs {} instead of {}", after.name, weight(after), weight(before))
    };
    changed.map(line).collect::<Vec<_>>().join(", ")
}

/// Green with its variants in the order of blue's, so that a variant has the same place in both, and with the weights that blue's have
/// now where it says none. An error says why this green cannot take blue's place.
pub(super) fn fitted(blue: &FleetSpec, green: FleetSpec) -> Result<FleetSpec, String> {
    let has = |spec: &FleetSpec, name| spec.variant_names().any(|other| other == name);
    let is_same = blue.variants.len() == green.variants.len()
        && green.variant_names().all(|name| has(blue, name))
        && blue.variant_names().all(|name| has(&green, name));
    if !is_same {
        let said = |spec: &FleetSpec| match spec.variants.as_slice() {
            [] => "no variants".to_owned(),
            [_] => format!("the variant {}", in_words(spec.variant_names())),
            [..] => format!("the variants {}", in_words(spec.variant_names())),
        };
        return Err(format!(
            "green has {}, and the fleet in service {}: a shift moves all variants by one rule, so both fleets have the same; change \
             which there are by declaring the endpoint anew",
            said(&green),
            said(blue)
        ));
    }
    let (mut variants, mut instances) = (Vec::new(), Vec::new());
    for theirs in &blue.variants {
        for (variant, own) in green.parts().filter(|(variant, _)| variant.name == theirs.name) {
            variants.push(VariantSpec { weight: variant.weight.or(theirs.weight), ..variant.clone() });
            instances.extend_from_slice(own);
        }
    }
    if variants.is_empty() {
        return Ok(green);
    }
    Ok(FleetSpec { variants, instances, ..green })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::PlanSpec;

    fn fleet(document: Value) -> FleetSpec {
        let strategy = json!({ "type": "all_at_once", "final_bake": "1m" });
        PlanSpec::from_json(&json!({ "green": document, "strategy": strategy })).unwrap().green
    }

    fn variants(variants: &[(&str, Option<f64>, &[&str])]) -> FleetSpec {
        let variant = |(name, weight, instances): &(&str, Option<f64>, &[&str])| match weight {
            Some(weight) => json!({ "name": name, "weight": weight, "instances": instances }),
            None => json!({ "name": name, "instances": instances }),
        };
        fleet(json!({ "version": "v1", "variants": variants.iter().map(variant).collect::<Vec<_>>() }))
    }

    #[test]
    fn green_gets_blues_order_and_blues_weights_where_it_says_none() {
        let blue = variants(&[("a", Some(3.0), &["h:1"]), ("b", Some(0.5), &["h:2"])]);
        let green = variants(&[("b", None, &["h:3", "h:4"]), ("a", Some(2.0), &["h:5"])]);
        let expected = variants(&[("a", Some(2.0), &["h:5"]), ("b", Some(0.5), &["h:3", "h:4"])]);
        assert_eq!(fitted(&blue, green), Ok(expected));
    }

    #[test]
    fn fleets_with_other_variants_are_refused_and_say_which_they_have() {
        let blue = variants(&[("a", None, &["h:1"]), ("b", None, &["h:2"])]);
        let other = variants(&[("a", None, &["h:3"]), ("c", None, &["h:4"])]);
        let plain = fleet(json!({ "version": "v2", "instances": ["h:3"] }));
        let refused = fitted(&blue, other).unwrap_err();
        assert!(
            refused.contains("green has the variants a and c, and the fleet in service the variants a and b"),
            "{refused}"
        );
        assert!(fitted(&blue, plain.clone()).unwrap_err().contains("green has no variants"));
        assert!(fitted(&plain, blue).unwrap_err().contains("the fleet in service no variants"));
        assert_eq!(fitted(&plain, plain.clone()), Ok(plain));
    }
}
