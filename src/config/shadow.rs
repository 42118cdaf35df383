//! `[endpoint.shadow]`: reads and writes an endpoint's shadow.

use std::num::NonZeroUsize;

use serde_json::{Value as Json, json};

use super::{
    endpoint::read_named_fleet,
    reader::{Table, parsed, whole},
    render, shape,
    units::{format_size, share, size},
};
use crate::{fleet::FleetSpec, name::VariantName, weight::Share};

/// Copies are thrown away, so a few that are under way tell as much as many; and each holds a request's body.
const MAX_IN_FLIGHT: usize = 64;
/// More than a data port has requests.
const MOST_IN_FLIGHT: usize = 100_000;
/// As much as is kept of a request for a second try.
const BODY_LIMIT: usize = 1 << 20;
/// Bodies of copies stay in memory, so many must fit.
const MOST_BODY: u64 = 1 << 30;

/// A fleet that gets copies of an endpoint's requests, and whose answers nobody gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShadowSpec {
    /// What it is called in metrics.
    pub name: VariantName,
    /// Its instances, which are named.
    pub fleet: FleetSpec,
    /// Which part of the endpoint's requests it gets copies of.
    pub share: Share,
    /// How many copies may be under way over all workers.
    pub max_in_flight: NonZeroUsize,
    /// The largest request body of which there is a copy.
    pub body_limit_bytes: usize,
}

pub(super) fn read(table: &Table<'_>) -> Option<ShadowSpec> {
    let name = table.optional("name", parsed(VariantName::parse));
    let fleet = read_named_fleet(table, (&shape::SHADOW_INSTANCES, &shape::SHADOW_TLS));
    let share = table.optional("share", share).unwrap_or(Share::ALL);
    let max_in_flight = table.optional("max_in_flight", whole(1..=MOST_IN_FLIGHT));
    let body_limit = table.optional("body_limit", size(0, MOST_BODY));
    Some(ShadowSpec {
        name: name.unwrap_or_else(|| VariantName::parse("shadow").expect("letters make a name")),
        fleet: fleet?,
        share,
        max_in_flight: max_in_flight.and_then(NonZeroUsize::new).unwrap_or(default_in_flight()),
        body_limit_bytes: body_limit.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BODY_LIMIT),
    })
}

fn default_in_flight() -> NonZeroUsize {
    NonZeroUsize::new(MAX_IN_FLIGHT).unwrap_or(NonZeroUsize::MIN)
}

pub(super) fn render(spec: &ShadowSpec) -> Json {
    let ShadowSpec { name, fleet, share, max_in_flight, body_limit_bytes } = spec;
    let mut document = render::fleet(fleet);
    let own = json!({
        "name": name.as_str(),
        "share": share.to_string(),
        "max_in_flight": max_in_flight,
        "body_limit": format_size(u64::try_from(*body_limit_bytes).unwrap_or(u64::MAX)),
    });
    if let (Some(document), Json::Object(own)) = (document.as_object_mut(), own) {
        document.extend(own);
    }
    document
}
