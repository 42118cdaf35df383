//! Reads and writes the name whose addresses are a fleet's instances.

use std::net::SocketAddr;

use serde_json::{Map, Value as Json, json};

use super::{
    document::{Value, quoted},
    reader::{Table, text, whole},
    units::positive_duration,
};
use crate::{
    fleet::{Address, DnsSpec},
    time::format_duration,
};

/// A provider of type `dns`.
pub(super) fn read(table: &Table<'_>) -> Option<DnsSpec> {
    let name = table.required("name", "\"models.internal\"", host);
    let port = table.required("port", "8000", whole(1..=u16::MAX));
    let resolvers = if table.has("resolvers") {
        let resolvers = table.list("resolvers", "[\"10.0.0.2:53\"]", resolver);
        if resolvers.as_ref().is_some_and(Vec::is_empty) {
            table.problem("resolvers", "names nobody to ask; leave it out to ask whom the system asks");
        }
        resolvers.map(|resolvers| resolvers.into_iter().map(|resolver| resolver.value).collect())
    } else {
        Some(Vec::new())
    };
    let timeout = table.optional("timeout", positive_duration).unwrap_or(DnsSpec::TIMEOUT);
    let ttl_floor = table.optional("ttl_floor", positive_duration).unwrap_or(DnsSpec::TTL_FLOOR);
    let ttl_ceiling =
        table.optional("ttl_ceiling", positive_duration).unwrap_or(DnsSpec::TTL_CEILING.max(ttl_floor));
    if ttl_ceiling < ttl_floor {
        let (ceiling, floor) = (format_duration(ttl_ceiling), format_duration(ttl_floor));
        table.problem(
            "ttl_ceiling",
            format!("{ceiling} is less than ttl_floor, {floor}: an answer holds for at least that"),
        );
    }
    Some(DnsSpec { name: name?, port: port?, resolvers: resolvers?, timeout, ttl_floor, ttl_ceiling })
}

/// The same as the reader takes it.
pub(super) fn render(spec: &DnsSpec) -> Json {
    let DnsSpec { name, port, resolvers, timeout, ttl_floor, ttl_ceiling } = spec;
    let mut document = Map::new();
    document.insert("type".to_owned(), "dns".into());
    document.insert("name".to_owned(), name.as_str().into());
    document.insert("port".to_owned(), (*port).into());
    if !resolvers.is_empty() {
        let resolvers: Vec<_> = resolvers.iter().map(SocketAddr::to_string).collect();
        document.insert("resolvers".to_owned(), json!(resolvers));
    }
    for (key, span) in [("timeout", timeout), ("ttl_floor", ttl_floor), ("ttl_ceiling", ttl_ceiling)] {
        document.insert(key.to_owned(), format_duration(*span).into());
    }
    Json::Object(document)
}

fn host(value: &Value) -> Result<String, String> {
    let name = text(value)?;
    let at = Address::parse(&format!("{name}:1")).map_err(|_| {
        format!("{} is not the name of a host; write for instance \"models.internal\"", quoted(name))
    })?;
    if at.literal().is_some() {
        return Err(format!("{} is an address and has no others: write it into instances", quoted(name)));
    }
    Ok(name.to_owned())
}

fn resolver(value: &Value) -> Result<SocketAddr, String> {
    let at = text(value)?;
    at.parse().ok().filter(|at: &SocketAddr| at.port() > 0).ok_or_else(|| {
        format!("{} is not the address of a resolver; write for instance \"10.0.0.2:53\"", quoted(at))
    })
}
