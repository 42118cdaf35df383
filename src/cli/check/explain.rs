//! What a configuration comes to: who listens where, which requests go to whom, what was set and what is a default.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    cli::{
        output::{Column::Left, Table},
        view::text::{cut, wrap},
    },
    config::{Config, EndpointSpec, HealthCheck},
    time::format_duration,
};

/// Wide enough to read, narrow enough for any terminal.
const COLUMNS: usize = 80;

/// Keys with their values, as a file would have them.
type Keys = BTreeMap<String, Value>;

/// For people.
pub(super) fn config(config: &Config) -> String {
    let mut listens = Table::new([Left("LISTENS"), Left("FOR")]);
    for (address, whom) in listeners(config) {
        listens.row([address, whom]);
    }
    let settings = told(&split(settings(config), &defaults()), as_it_is);
    let endpoints: String = config.endpoints.iter().map(|spec| format!("\n{}", endpoint(spec))).collect();
    let none = "\nno endpoints yet: every request gets 404 until one is declared, here or by PUT /v1/endpoints/NAME\n";
    let endpoints = if config.endpoints.is_empty() { none.to_owned() } else { endpoints };
    format!("{listens}{settings}{endpoints}")
}

/// For programs.
pub(super) fn document(config: &Config) -> Value {
    let listens: Vec<Value> = listeners(config)
        .into_iter()
        .map(|(address, whom)| json!({ "address": address, "for": whom }))
        .collect();
    let (set, default) = split(settings(config), &defaults());
    let endpoints: Vec<Value> = config
        .endpoints
        .iter()
        .map(|spec| {
            let (set, default) = split(keys_of(spec), &bare(spec));
            json!({ "name": spec.name.as_str(), "set": set, "defaults": default })
        })
        .collect();
    json!({ "listens": listens, "set": set, "defaults": default, "endpoints": endpoints })
}

/// Every address, and what it is for.
fn listeners(config: &Config) -> Vec<(String, String)> {
    let data = &config.data;
    let secure = data.tls.as_ref().map(|tls| tls.listen.as_slice());
    let plain = match secure {
        Some([]) => "clients, HTTP/1.1 and HTTP/2 over TLS",
        Some(_) | None => "clients, HTTP/1.1 and HTTP/2",
    };
    let mut all: Vec<_> = data.listen.iter().map(|address| (address.to_string(), plain.to_owned())).collect();
    for address in secure.unwrap_or_default() {
        all.push((address.to_string(), "clients, HTTP/1.1 and HTTP/2 over TLS".to_owned()));
    }
    let admin = &config.admin;
    let who = match (&admin.tokens_file, &admin.tls) {
        (Some(_), _) => "operators who show a token",
        (None, Some(_)) => "operators, by TLS",
        (None, None) if admin.listen.ip().is_loopback() => "operators on this machine, whoever they are",
        (None, None) => "whoever reaches it",
    };
    all.push((admin.listen.to_string(), format!("{who}: API, dashboard, /metrics")));
    all
}

/// ` endpoint chat takes path /v1/ ` and what follows.
fn endpoint(spec: &EndpointSpec) -> String {
    let instances = spec.blue.instances.iter().map(|instance| instance.address.to_string());
    let instances = match &spec.blue.provider {
        Some(_) => "a provider makes or finds its instances".to_owned(),
        None => instances.collect::<Vec<_>>().join(", "),
    };
    let interval = format_duration(spec.health.interval);
    let health = match &spec.health.check {
        HealthCheck::Connection => format!("a connection every {interval}"),
        HealthCheck::Get(path) => format!("GET {path} every {interval}"),
        HealthCheck::Grpc(_) => format!("gRPC's health service every {interval}"),
    };
    let rows = [
        ("ENDPOINT", spec.name.to_string()),
        ("takes", takes(spec)),
        ("blue", format!("{}: {instances}", spec.blue.version)),
        ("checks", health),
    ];
    let rows: String = rows.into_iter().map(|(name, text)| entry(name, &text)).collect();
    format!("{rows}{}", told(&split(keys_of(spec), &bare(spec)), shown))
}

/// Which requests are its.
fn takes(spec: &EndpointSpec) -> String {
    let rule = spec.to_json()["match"].clone();
    let Value::Object(rule) = rule else { return "every request".to_owned() };
    let clauses = rule.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{} {value}", key.trim_end_matches("_prefix"))
    });
    let clauses: Vec<_> = clauses.collect();
    if clauses.is_empty() { "every request".to_owned() } else { clauses.join(", ") }
}

/// What was set, then what was not.
fn told((set, default): &(Keys, Keys), shown: fn(&Value) -> String) -> String {
    let line = |keys: &Keys| {
        let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key} = {}", shown(value))).collect();
        keys.join(", ")
    };
    let set = if set.is_empty() { String::new() } else { entry("set", &line(set)) };
    let default = if default.is_empty() { String::new() } else { entry("defaults", &line(default)) };
    format!("{set}{default}")
}

/// A value as TOML has it.
fn shown(value: &Value) -> String {
    cut(&value.to_string(), COLUMNS)
}

/// A setting, whose text is TOML already.
fn as_it_is(value: &Value) -> String {
    cut(value.as_str().unwrap_or_default(), COLUMNS)
}

fn entry(name: &str, text: &str) -> String {
    let lines = wrap(text, COLUMNS - 10);
    let lines = lines.iter().enumerate().map(|(number, line)| {
        let name = if number == 0 { name } else { "" };
        format!("{name:<10}{line}\n")
    });
    lines.collect()
}

/// Keys that differ from the defaults, and keys that do not.
fn split(keys: Keys, defaults: &Keys) -> (Keys, Keys) {
    keys.into_iter().partition(|(key, value)| defaults.get(key) != Some(value))
}

fn settings(config: &Config) -> Keys {
    config.settings().into_iter().map(|(key, value)| (key.to_owned(), Value::String(value))).collect()
}

fn defaults() -> Keys {
    crate::config::parse("", "defaults").map(|config| settings(&config)).unwrap_or_default()
}

/// Every key of an endpoint but those that are told anyway.
fn keys_of(spec: &EndpointSpec) -> Keys {
    let mut keys = Keys::new();
    if let Value::Object(document) = spec.to_json() {
        for (key, value) in document {
            if !["name", "match", "blue", "health"].contains(&key.as_str()) {
                flatten(&key, value, &mut keys);
            }
        }
    }
    keys
}

/// The same of an endpoint that says nothing of them.
fn bare(spec: &EndpointSpec) -> Keys {
    let bare = Map::from_iter([("blue".to_owned(), spec.to_json()["blue"].clone())]);
    EndpointSpec::from_json(&spec.name, &Value::Object(bare)).map(|bare| keys_of(&bare)).unwrap_or_default()
}

fn flatten(key: &str, value: Value, keys: &mut Keys) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                flatten(&format!("{key}.{member}"), value, keys);
            }
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            keys.insert(key.to_owned(), value);
        }
    }
}
