//! Reads and writes a fleet's instances: each an address, or a table where more is said of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{
    protection::max_concurrency,
    reader::{Table, parsed, whole},
    shape::Shape,
};
use crate::fleet::{Address, InstanceSpec, Weight};

/// How many instances a fleet has at most. Each costs a cache line for each worker, and each is checked on its own.
pub(super) const MAX_INSTANCES: usize = 1024;

/// `instances` of a fleet.
pub(super) fn read(fleet: &Table<'_>, shape: &'static Shape) -> Option<Vec<InstanceSpec>> {
    let example = "[\"127.0.0.1:9001\"]";
    fleet.demand("instances", example);
    let address = |value: &_| parsed(Address::parse)(value).map(InstanceSpec::from);
    let instances = fleet.values_or_tables("instances", example, shape, address, read_table)?;
    if instances.is_empty() {
        fleet
            .problem("instances", format!("a fleet has at least one instance; write for instance {example}"));
    }
    check_count(fleet, "instances", instances.len());
    let mut first_places = BTreeMap::new();
    for instance in &instances {
        let address = &instance.value.address;
        if let Some(first) = first_places.get(address) {
            fleet.report().add(&instance.place, format!("{address} is in the fleet already, as {first}"));
        } else {
            first_places.insert(address, &instance.place.key);
        }
    }
    Some(instances.into_iter().map(|instance| instance.value).collect())
}

/// Whether a fleet can have so many.
pub(super) fn check_count(fleet: &Table<'_>, key: &'static str, count: usize) {
    if count > MAX_INSTANCES {
        fleet.problem(key, format!("{count} instances are more than the {MAX_INSTANCES} a fleet can have"));
    }
}

fn read_table(table: &Table<'_>) -> Option<InstanceSpec> {
    let address = table.required("address", "\"127.0.0.1:9001\"", parsed(Address::parse));
    let weight = table.optional("weight", whole(1..=Weight::MOST)).and_then(Weight::new);
    let max_concurrency = table.optional("max_concurrency", max_concurrency);
    Some(InstanceSpec { address: address?, weight: weight.unwrap_or_default(), max_concurrency })
}

pub(super) fn render(instances: &[InstanceSpec]) -> Json {
    let instance = |spec: &InstanceSpec| {
        let InstanceSpec { address, weight, max_concurrency } = spec;
        if *spec == InstanceSpec::from(address.clone()) {
            return Json::from(address.as_str());
        }
        let mut document = Map::new();
        document.insert("address".to_owned(), address.as_str().into());
        document.insert("weight".to_owned(), weight.get().into());
        if let Some(most) = max_concurrency {
            document.insert("max_concurrency".to_owned(), most.get().into());
        }
        Json::Object(document)
    };
    instances.iter().map(instance).collect()
}
