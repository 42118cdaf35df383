//! Reads endpoints and fleets.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{
    EndpointSpec, HealthCheck, HealthSpec, balance,
    document::quoted,
    failures, instance, protection, provider,
    reader::{Table, parsed, whole, word},
    rescue, shadow, shape, tls,
    units::{duration, positive_duration, size},
    variant,
};
use crate::{
    fleet::{FleetSpec, InstanceSpec, Protocol, UpstreamTls},
    name::{EndpointName, VariantName, Version},
    route::{
        HalfClose, HostPattern, Invocations, Limits, MatchRule, RescuePolicy, Rewrite, Signals, Upgrades,
        normalise,
    },
};

/// So many checks in a row are minutes at least; more is a slip.
const MAX_CHECKS: u32 = 1000;
/// A smaller bound would refuse what every client sends; a larger one is beyond what the data port may take.
const HEAD_LIMITS: (u64, u64) = (1 << 10, 1 << 20);
const HALF_CLOSES: [(&str, HalfClose); 2] =
    [(HalfClose::Cancel.as_str(), HalfClose::Cancel), (HalfClose::Serve.as_str(), HalfClose::Serve)];
const SIGNALS: [(&str, Signals); 3] = [
    (Signals::Auto.as_str(), Signals::Auto),
    (Signals::Grpc.as_str(), Signals::Grpc),
    (Signals::Off.as_str(), Signals::Off),
];
/// Some 768 KiB once as many requests came, about what the endpoint's counters take: at ten requests a second it is half an hour.
const RECORDING: usize = 16_384;
/// Some fifty megabytes; more belongs into a metrics store.
const MAX_RECORDING: usize = 1_000_000;
/// Larger bodies are no inference requests any more.
const MAX_BODY: u64 = 1 << 40;
/// What is kept of one request for a second try stays in memory, so many requests must fit.
const MAX_REPLAY: u64 = 1 << 30;

/// How clients of SageMaker Runtime name the variant that they want.
const TARGET_VARIANT: HeaderName = HeaderName::from_static("x-amzn-sagemaker-target-variant");

/// An endpoint of a configuration file.
pub(super) fn read(table: &Table<'_>) -> Option<EndpointSpec> {
    let name = table.required("name", "\"chat\"", parsed(EndpointName::parse));
    read_rest(table, name)
}

/// An endpoint in JSON, whose name is part of its URL.
pub(super) fn read_named(table: &Table<'_>, name: EndpointName) -> Option<EndpointSpec> {
    let same = |text: &str| {
        if text == name.as_str() {
            Ok(())
        } else {
            Err(format!(
                "{} is not the name in the URL, {:?}: write the same or leave it out",
                quoted(text),
                name.as_str()
            ))
        }
    };
    table.optional("name", parsed(same));
    read_rest(table, Some(name))
}

/// Reads everything before it gives up on anything, so that all problems are found.
fn read_rest(table: &Table<'_>, name: Option<EndpointName>) -> Option<EndpointSpec> {
    let rule = read_rule(&table.section("match", &shape::MATCH));
    let example = "{ version = \"v1\", instances = [\"127.0.0.1:9001\"] }";
    let blue = table
        .required_table("blue", example, &shape::BLUE)
        .and_then(|blue| read_fleet(&blue, &shape::BLUE_PARTS));
    let health = table.section("health", &shape::HEALTH);
    if health.has("grpc") && blue.as_ref().is_some_and(|blue| blue.protocol == Protocol::Http1) {
        health.problem(
            "grpc",
            "is asked over HTTP/2, but blue's protocol is \"http1\": write protocol = \"h2c\" or \"h2\" there",
        );
    }
    let health = read_health(&health);
    let limits = read_limits(&table.section("limits", &shape::LIMITS));
    let hedge = table.table("hedge", &shape::HEDGE).and_then(|hedge| rescue::read_hedge(&hedge));
    let (failures, second_tries) = failures::read(
        &table.section("failures", &shape::FAILURES),
        &table.section("rescue", &shape::RESCUE),
    );
    let rescue = RescuePolicy { hedge, ..second_tries };
    let sticky = table.table("sticky", &shape::STICKY).and_then(|sticky| rescue::read_sticky(&sticky));
    let balance = balance::read(table);
    let protection = protection::read(table);
    let rewrite = table.table("rewrite", &shape::REWRITE).and_then(|rewrite| read_rewrite(&rewrite, &rule));
    let upgrades = read_upgrades(table);
    let signals = table.optional("signals", word(&SIGNALS)).unwrap_or_default();
    let variant_header = table.optional("variant_header", parsed(header_name));
    let invocations = table.table("invocations", &shape::INVOCATIONS).map(|table| Invocations {
        variant: table.optional("variant", parsed(VariantName::parse)).unwrap_or_else(all_traffic),
    });
    let has_variants = blue.as_ref().is_some_and(|blue| !blue.variants.is_empty());
    let variant_header =
        variant_header.or_else(|| (invocations.is_some() && has_variants).then_some(TARGET_VARIANT));
    if table.has("variant_header") && blue.as_ref().is_some() && !has_variants {
        table.problem(
            "variant_header",
            "lets requests name a variant, and blue has none: give it variants, or leave this out",
        );
    }
    let shadow = table.table("shadow", &shape::SHADOW).map(|shadow| shadow::read(&shadow));
    let recording = table.optional("recording", whole(0..=MAX_RECORDING)).unwrap_or(RECORDING);
    Some(EndpointSpec {
        name: name?,
        rule,
        blue: blue?,
        health,
        limits,
        failures,
        rescue,
        sticky,
        balance,
        protection,
        rewrite,
        upgrades,
        signals,
        recording,
        variant_header,
        invocations,
        shadow: shadow.flatten(),
    })
}

/// What SageMaker's own console and SDK call the one variant of an endpoint.
fn all_traffic() -> VariantName {
    VariantName::parse("AllTraffic").expect("letters make a name")
}

/// An empty list refuses them all.
fn read_upgrades(table: &Table<'_>) -> Upgrades {
    let token = |text: &str| {
        Upgrades::check(text).map_err(|error| format!("{} cannot be switched to: {error}", quoted(text)))
    };
    let listed = table.list("upgrades", "[\"websocket\"]", parsed(token));
    let listed = listed.map(|listed| Upgrades::new(listed.iter().map(|token| &*token.value)));
    listed.and_then(Result::ok).unwrap_or_default()
}

/// Blue's or green's fleet.
pub(super) fn read_fleet(table: &Table<'_>, parts: &'static shape::FleetParts) -> Option<FleetSpec> {
    let version = table.required("version", "\"v1\"", parsed(Version::parse));
    let (variants, instances, provider) = if table.has("variants") {
        let (variants, instances) = variant::read(table, parts)?;
        (variants, instances, None)
    } else if table.has("provider") {
        if table.has("instances") {
            table.problem("instances", "a provider makes the instances: leave out either of the two");
        }
        (Vec::new(), Vec::new(), Some(Arc::new(provider::read(table, &parts.provider)?)))
    } else {
        (Vec::new(), instance::read(table, parts.instances)?, None)
    };
    let (protocol, tls) = read_speech(table, parts.tls, &instances);
    Some(FleetSpec { version: version?, instances, variants, provider, protocol, tls })
}

/// A fleet whose instances are named.
pub(super) fn read_named_fleet(
    table: &Table<'_>,
    (instances, tls): (&'static shape::Shape, &'static shape::Shape),
) -> Option<FleetSpec> {
    let version = table.required("version", "\"v1\"", parsed(Version::parse));
    let instances = instance::read(table, instances)?;
    let (protocol, tls) = read_speech(table, tls, &instances);
    Some(FleetSpec { version: version?, instances, variants: Vec::new(), provider: None, protocol, tls })
}

/// What a fleet's instances speak.
fn read_speech(
    table: &Table<'_>,
    shape: &'static shape::Shape,
    instances: &[InstanceSpec],
) -> (Protocol, Option<Arc<UpstreamTls>>) {
    let tls = table.table("tls", shape).map(|tls| Arc::new(tls::read_upstream(&tls, instances)));
    (read_protocol(table, tls.is_some()), tls)
}

/// Whether HTTP/2 comes with TLS is said twice, so that neither a forgotten nor a needless `tls` goes unnoticed.
fn read_protocol(table: &Table<'_>, has_tls: bool) -> Protocol {
    let known = [Protocol::Http1, Protocol::H2c, Protocol::H2].map(|protocol| (protocol.as_str(), protocol));
    let protocol = table.optional("protocol", word(&known)).unwrap_or_default();
    match (protocol, has_tls) {
        (Protocol::H2c, true) => table.problem(
            "protocol",
            "is \"h2c\", which is HTTP/2 without TLS, but the fleet has tls: write \"h2\", or leave tls out",
        ),
        (Protocol::H2, false) => table.problem(
            "protocol",
            "is \"h2\", which is HTTP/2 over TLS, but the fleet has no tls: add tls = {}, or write \"h2c\"",
        ),
        (Protocol::Http1, _) | (Protocol::H2c, false) | (Protocol::H2, true) => {}
    }
    protocol
}

fn read_rule(table: &Table<'_>) -> MatchRule {
    let header = table.table("header", &shape::HEADER).and_then(|header| {
        let name = header.required("name", "\"x-model\"", parsed(header_name));
        let value = header.required("value", "\"chat\"", parsed(header_value));
        Some((name?, value?))
    });
    MatchRule {
        host: table.optional("host", parsed(host_pattern)),
        path_prefix: table.optional("path_prefix", parsed(|text| normal_path(text, "/v1/"))),
        header,
        models: read_models(table),
    }
}

fn read_models(table: &Table<'_>) -> Vec<String> {
    let model = table.optional("model", parsed(model_name));
    let models = table.list("models", "[\"llama-3\"]", parsed(model_name));
    if models.as_ref().is_some_and(Vec::is_empty) {
        table.problem("models", "has no model; write for instance models = [\"llama-3\"]");
    }
    let mut names: Vec<String> = model.into_iter().collect();
    for model in models.into_iter().flatten() {
        if names.contains(&model.value) {
            table.report().add(&model.place, format!("{} is in the list already", quoted(&model.value)));
        }
        names.push(model.value);
    }
    names
}

/// No request can name a longer model, or none.
fn model_name(text: &str) -> Result<String, String> {
    if (1..=256).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("a model's name has 1 to 256 bytes, not {}", text.len()))
    }
}

/// A path that requests' paths can be compared with.
fn normal_path(text: &str, example: &str) -> Result<String, String> {
    let path = absolute_path(text, example)?;
    match normalise(&path) {
        Ok(normal) if normal == path => Ok(path),
        Ok(normal) => Err(format!(
            "{} never fits, since paths are compared without '.', '..', '//' and needless escapes: write {}",
            quoted(text),
            quoted(&normal)
        )),
        Err(error) => Err(format!("{} is not a path: {error}", quoted(text))),
    }
}

/// Without a `strip_prefix`, what the match takes is taken away.
fn read_rewrite(table: &Table<'_>, rule: &MatchRule) -> Option<Rewrite> {
    let strip = table.optional("strip_prefix", parsed(|text| normal_path(text, "/chat")));
    let prefix = table.optional("prefix", parsed(|text| normal_path(text, "/v1")));
    if !table.has("strip_prefix") && rule.path_prefix.is_none() {
        table.problem(
            "strip_prefix",
            "is missing, and match has no path_prefix: write what is to be taken away, such as \"/chat\"",
        );
        return None;
    }
    let strip = strip.as_deref().or(rule.path_prefix.as_deref())?;
    Some(Rewrite::new(strip, prefix.as_deref().unwrap_or_default()))
}

pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| format!("{} is not a header name: write a name such as \"x-model\"", quoted(text)))
}

/// The space around a value is not part of it on the wire, so a value with such space would never be met.
fn header_value(text: &str) -> Result<HeaderValue, String> {
    let bare = Some(text).filter(|text| text.trim() == *text);
    bare.and_then(|text| HeaderValue::from_str(text).ok()).ok_or_else(|| {
        format!(
            "{} is not a header value: use visible ASCII characters, without spaces around them",
            quoted(text)
        )
    })
}

/// A host name or an IP address, without port.
pub(super) fn host_name(text: &str, example: &str) -> Result<String, String> {
    let fits = match host_pattern(text) {
        Ok(HostPattern::Exact(name)) => !name.starts_with('['),
        Ok(HostPattern::Suffix(_)) | Err(_) => text.parse::<std::net::IpAddr>().is_ok(),
    };
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not a host name: write it without scheme and port, such as {example:?}",
            quoted(text)
        ))
    }
}

fn host_pattern(text: &str) -> Result<HostPattern, String> {
    let lower = text.to_ascii_lowercase();
    let is_name = |name: &str| {
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        name.len() <= 253 && name.split('.').all(is_label)
    };
    let is_ipv6 = |name: &str| {
        let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
    };
    match lower.strip_prefix("*.") {
        Some(domain) if is_name(domain) => Ok(HostPattern::Suffix(format!(".{domain}"))),
        None if is_name(&lower) || is_ipv6(&lower) => Ok(HostPattern::Exact(lower)),
        Some(_) | None => Err(format!(
            "{} is not a host: write a name without scheme and port, such as \"chat.example.org\", or \"*.example.org\" for every \
             host below it",
            quoted(text)
        )),
    }
}

/// A path as it stands in a request line, without a query.
fn absolute_path(text: &str, example: &str) -> Result<String, String> {
    let fits = text.starts_with('/')
        && text.len() <= 1024
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#');
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not a path: begin with '/', use visible ASCII characters and leave out '?' and '#', such as {example:?}",
            quoted(text)
        ))
    }
}

/// A service's name as it stands in a path, or nothing for the whole server.
fn service_name(text: &str) -> Result<String, String> {
    let fits =
        text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not a gRPC service: write its full name, such as \"inference.GRPCInferenceService\", or \"\" for the whole server",
            quoted(text)
        ))
    }
}

fn read_health(table: &Table<'_>) -> HealthSpec {
    let default = HealthSpec::default();
    let path = table.optional("path", parsed(|text| absolute_path(text, "/health")));
    let grpc = table.optional("grpc", parsed(service_name));
    if table.has("path") && table.has("grpc") {
        table.problem("grpc", "a check asks for a path or for a gRPC service: leave one of them out");
    }
    let interval = table.optional("interval", positive_duration);
    let timeout = table.optional("timeout", positive_duration);
    let unhealthy_after = table.optional("unhealthy_after", whole(1..=MAX_CHECKS));
    let healthy_after = table.optional("healthy_after", whole(1..=MAX_CHECKS));
    HealthSpec {
        check: match (path, grpc) {
            (Some(path), _) => HealthCheck::Get(path),
            (None, Some(service)) => HealthCheck::Grpc(service),
            (None, None) => default.check,
        },
        interval: interval.unwrap_or(default.interval),
        timeout: timeout.unwrap_or(default.timeout),
        unhealthy_after: unhealthy_after.unwrap_or(default.unhealthy_after),
        healthy_after: healthy_after.unwrap_or(default.healthy_after),
    }
}

fn read_limits(table: &Table<'_>) -> Limits {
    let default = Limits::default();
    let time = |key, default| table.optional(key, positive_duration).unwrap_or(default);
    let open = |key, default| {
        let given = table.optional(key, duration);
        given.map_or(default, |span| Some(span).filter(|span| !span.is_zero()))
    };
    let half_close = table.optional("on_half_close", word(&HALF_CLOSES));
    let head = table.optional("head_limit", size(HEAD_LIMITS.0, HEAD_LIMITS.1));
    let body = table.optional("body_limit", size(1, MAX_BODY));
    let replay = table.optional("replay_limit", size(0, MAX_REPLAY));
    Limits {
        connect_timeout: time("connect_timeout", default.connect_timeout),
        head_timeout: time("head_timeout", default.head_timeout),
        idle_timeout: time("idle_timeout", default.idle_timeout),
        total_timeout: open("total_timeout", default.total_timeout),
        upgrade_lifetime: open("upgrade_lifetime", default.upgrade_lifetime),
        on_half_close: half_close.unwrap_or(default.on_half_close),
        head_limit_bytes: head.and_then(|bytes| usize::try_from(bytes).ok()),
        body_limit_bytes: body.unwrap_or(default.body_limit_bytes),
        replay_limit_bytes: replay
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(default.replay_limit_bytes),
    }
}

impl Default for HealthSpec {
    /// A TCP connection each 5 s. Three failures, so that one lost packet or one long pause of a model server's event loop does not
    /// take an instance out; one success, so that a restarted instance is not kept waiting.
    fn default() -> Self {
        Self {
            check: HealthCheck::Connection,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(3),
            unhealthy_after: 3,
            healthy_after: 1,
        }
    }
}
