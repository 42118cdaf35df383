//! Reads and writes a fleet's variants.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{
    document::Value,
    instance,
    reader::{Table, parsed},
    shape::FleetParts,
};
use crate::{
    fleet::{FleetSpec, InstanceSpec, MAX_VARIANTS, VariantSpec, VariantWeight},
    name::VariantName,
};

/// `variants` of a fleet, and the instances of all of them.
pub(super) fn read(
    fleet: &Table<'_>,
    parts: &'static FleetParts,
) -> Option<(Vec<VariantSpec>, Vec<InstanceSpec>)> {
    if fleet.has("instances") {
        fleet.problem("instances", "each of the variants names its own: leave out either of the two");
    }
    if fleet.has("provider") {
        fleet.problem(
            "provider",
            "makes the instances of a whole fleet, which has no variants then: name the instances of each variant, or leave variants out",
        );
    }
    let tables = fleet.tables("variants", parts.variants);
    if !(1..=MAX_VARIANTS).contains(&tables.len()) {
        fleet.problem("variants", format!("a fleet has 1 to {MAX_VARIANTS} variants, not {}", tables.len()));
    }
    let (mut variants, mut instances, mut seen) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut is_whole = true;
    for table in &tables {
        let Some((variant, own)) = read_variant(table, parts) else {
            is_whole = false;
            continue;
        };
        if variants.iter().any(|other: &VariantSpec| other.name == variant.name) {
            table.problem("name", format!("there are two variants called {:?}", variant.name.as_str()));
        }
        for instance in &own {
            if let Some(first) = seen.insert(instance.address.clone(), variant.name.clone()) {
                table.problem("instances", format!("{} is in the variant {first} already", instance.address));
            }
        }
        variants.push(variant);
        instances.extend(own);
    }
    let weighs = |variant: &VariantSpec| variant.weight != Some(VariantWeight::NONE);
    if !variants.is_empty() && !variants.iter().any(weighs) {
        fleet.problem("variants", "every weight is 0, so that no variant would get a request: give one more");
    }
    instance::check_count(fleet, "variants", instances.len());
    (is_whole && !variants.is_empty()).then_some((variants, instances))
}

fn read_variant(table: &Table<'_>, parts: &'static FleetParts) -> Option<(VariantSpec, Vec<InstanceSpec>)> {
    let name = table.required("name", "\"a\"", parsed(VariantName::parse));
    let weight = table.optional("weight", weight);
    let instances = instance::read(table, parts.variant_instances)?;
    Some((VariantSpec { name: name?, weight, instances: instances.len() }, instances))
}

/// A variant's weight.
fn weight(value: &Value) -> Result<VariantWeight, String> {
    let number = match value {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a number that a double does not hold is out of range"
        )]
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::Date(_) | Value::List(_) | Value::Table(_) => {
            None
        }
    };
    number.and_then(VariantWeight::from_number).ok_or_else(|| {
        format!(
            "expected a weight, which is a number from 0 to 1000000 with up to six decimals, such as 3 or 0.25, not {}",
            value.describe()
        )
    })
}

pub(super) fn render(spec: &FleetSpec) -> Json {
    let variant = |(variant, instances): (&VariantSpec, &[InstanceSpec])| {
        let VariantSpec { name, weight, instances: _ } = variant;
        let mut document = Map::new();
        document.insert("name".to_owned(), name.as_str().into());
        if let Some(weight) = weight {
            document.insert("weight".to_owned(), render_weight(*weight));
        }
        document.insert("instances".to_owned(), instance::render(instances));
        Json::Object(document)
    };
    spec.parts().map(variant).collect()
}

pub(super) fn render_weight(weight: VariantWeight) -> Json {
    match weight.as_millionths() {
        millionths if millionths % 1_000_000 == 0 => (millionths / 1_000_000).into(),
        _ => weight.as_number().into(),
    }
}
