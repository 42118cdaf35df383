//! Reads a configuration file.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    AdminConfig, Config, DataConfig, DataTls, EndpointSpec, LogConfig, LogFormat, StateConfig, access_log,
    aws,
    document::{Value, quoted},
    endpoint, identities,
    reader::{Placed, Table, boolean, parsed, text, whole, word},
    shape, tls, traces,
    units::{duration, positive_duration, size},
    webhooks,
};
use crate::{
    net::{ListenAddress, ProxyProtocol, TrustedProxies, TrustedProxy},
    route::Underscores,
};

const PROXY_PROTOCOL: [(&str, ProxyProtocol); 2] =
    [("off", ProxyProtocol::Off), ("required", ProxyProtocol::Required)];

const UNDERSCORES: [(&str, Underscores); 3] =
    [("drop", Underscores::Drop), ("pass", Underscores::Pass), ("refuse", Underscores::Refuse)];

/// Each new connection looks through them.
const MAX_TRUSTED: usize = 100;
/// More workers than any machine has cores for.
const MAX_WORKERS: usize = 1024;
/// A smaller limit would refuse what ordinary clients with a cookie and a token send.
const MIN_HEAD_LIMIT: u64 = 8 << 10;
/// A client may make a worker hold up to this much of a head that has not come to its end.
const MAX_HEAD_LIMIT: u64 = 1 << 20;
/// A worker holds up to this much for each request whose model it looks for.
const MAX_MODEL_WINDOW: u64 = 16 << 20;
/// A terabyte for each worker is more than machines have.
const MAX_REPLAY_MEMORY: u64 = 1 << 40;
/// Above a million the kernel's own limits on open files are reached first.
const MAX_CONNECTIONS: usize = 1_000_000;

/// Fewer are gone before a client of the stream that was away for a minute has come back.
const LEAST_EVENTS: u64 = 1_000;
/// Some four gigabytes.
const MOST_EVENTS: u64 = 10_000_000;
/// A shift with its plan and report is some kilobytes.
const MOST_SHIFTS: u32 = 1_000_000;

/// A faster client is a good one on every network.
const MAX_LEAST_RATE: u64 = 1 << 20;

pub(super) fn read(root: &Table<'_>) -> Option<Config> {
    let (data_table, admin_table) =
        (root.section("data", &shape::DATA), root.section("admin", &shape::ADMIN));
    let data_tls = data_table.table("tls", &shape::DATA_TLS);
    let tls_listens = data_tls.as_ref().map(tls::read_listens).unwrap_or_default();
    let mut listens = read_listens(&data_table, &tls_listens);
    let plain = listens.len();
    listens.extend(tls_listens);
    let admin = read_admin(&admin_table);
    check_listens(root, &listens, &admin_table, &admin);
    let mut listens: Vec<_> = listens.into_iter().map(|listen| listen.value).collect();
    let secure = listens.split_off(plain);
    let data_tls = data_tls.map(|table| DataTls { listen: secure, server: tls::read_data(&table) });
    let data = DataConfig { tls: data_tls, ..read_data(&data_table, listens) };
    let state = read_state(&root.section("state", &shape::STATE));
    let log = read_log(&root.section("log", &shape::LOG));
    let access_log = access_log::read(&root.section("access_log", &shape::ACCESS_LOG));
    let traces = traces::read(&root.section("traces", &shape::TRACES));
    let events_file = webhooks::read_file(&root.section("events", &shape::EVENTS));
    let aws = aws::read(&root.section("aws", &shape::AWS), &admin);
    let (webhooks, endpoints) = (webhooks::read(root), read_endpoints(root));
    Some(Config {
        data,
        admin,
        state,
        log,
        access_log,
        traces,
        events_file,
        webhooks: webhooks?,
        aws: aws?,
        endpoints: endpoints?,
    })
}

/// The addresses of `data.listen`; an empty list is for a proxy that speaks TLS alone.
fn read_listens(table: &Table<'_>, tls_listens: &[Placed<ListenAddress>]) -> Vec<Placed<ListenAddress>> {
    let listens =
        table.list("listen", "[\"0.0.0.0:8080\"]", parsed(ListenAddress::parse)).unwrap_or_else(|| {
            let value = ListenAddress::Internet(SocketAddr::from(([0, 0, 0, 0], 8080)));
            vec![Placed { value, place: table.place_of("listen") }]
        });
    if listens.is_empty() && tls_listens.is_empty() {
        table.problem("listen", "has no address; write for instance listen = [\"0.0.0.0:8080\"]");
    }
    listens
}

fn read_data(table: &Table<'_>, listen: Vec<ListenAddress>) -> DataConfig {
    let seconds =
        |key, default| table.optional(key, positive_duration).unwrap_or(Duration::from_secs(default));
    let workers = table.optional("workers", whole(0..=MAX_WORKERS)).filter(|workers| *workers > 0);
    let head_limit = table.optional("head_limit", size(MIN_HEAD_LIMIT, MAX_HEAD_LIMIT));
    let model_window = table.optional("model_window", size(1, MAX_MODEL_WINDOW));
    let least_rate = table.optional("least_rate", size(0, MAX_LEAST_RATE));
    let requests = table.optional("requests_per_worker", whole(1..=MAX_CONNECTIONS));
    let replay = table.optional("replay_memory", size(0, MAX_REPLAY_MEMORY));
    let connections = table.optional("connections_per_worker", whole(1..=MAX_CONNECTIONS));
    DataConfig {
        listen,
        tls: None,
        proxy_protocol: table.optional("proxy_protocol", word(&PROXY_PROTOCOL)).unwrap_or(ProxyProtocol::Off),
        underscores: table.optional("underscore_headers", word(&UNDERSCORES)).unwrap_or_default(),
        trusted_proxies: read_trusted(table),
        workers: workers.unwrap_or_else(cores),
        expose_fleet: table.optional("expose_fleet", boolean).unwrap_or(false),
        expose_variant: table.optional("expose_variant", boolean).unwrap_or(false),
        head_timeout: seconds("head_timeout", 10),
        keep_alive_timeout: seconds("keep_alive_timeout", 75),
        upstream_idle_timeout: seconds("upstream_idle_timeout", 4),
        head_limit_bytes: head_limit.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(64 << 10),
        connections_per_worker: connections.unwrap_or(16_384),
        requests_per_worker: requests.unwrap_or(16_384),
        replay_memory_bytes: replay.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(256 << 20),
        least_rate: least_rate.unwrap_or(256),
        model_window_bytes: model_window.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(64 << 10),
        drain_timeout: table.optional("drain_timeout", duration).unwrap_or(Duration::from_secs(30)),
    }
}

/// One worker a core, as far as the system says how many there are.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn read_admin(table: &Table<'_>) -> AdminConfig {
    let listen = table.optional("listen", listen_address);
    let allow_remote = table.optional("allow_remote", boolean).unwrap_or(false);
    let tls = table.table("tls", &shape::ADMIN_TLS).map(|tls| tls::read_admin(&tls));
    let asks_who = tls.as_ref().is_some_and(|tls| tls.0.client_ca.is_some());
    let tokens_file = table.optional("tokens_file", parsed(tokens_path));
    let identities = identities::read(table);
    if table.has("identities") && !asks_who {
        table.problem(
            "identities",
            "needs admin.tls with client_ca: a certificate proves who calls by the authority that has signed it",
        );
    }
    let is_guarded = allow_remote || asks_who || table.has("tokens_file");
    if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback() && !is_guarded) {
        table.problem(
            "listen",
            format!(
                "{listen} can be reached from other machines, and the admin port asks nobody who they are: whoever reaches it \
                 commands every shift. Listen on 127.0.0.1, ask for tokens (admin.tokens_file, see `snapback token new`) or client \
                 certificates (admin.tls with client_ca), or write allow_remote = true where a firewall or a container's network guards the port"
            ),
        );
    }
    AdminConfig {
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9090))),
        allow_remote,
        tls,
        identities,
        tokens_file,
    }
}

fn tokens_path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("the path is empty; write for instance \"tokens.toml\"".to_owned()),
        path => Ok(path.into()),
    }
}

/// Of two sockets on one address the second could not be bound.
fn check_listens(
    root: &Table<'_>,
    listens: &[Placed<ListenAddress>],
    admin_table: &Table<'_>,
    admin: &AdminConfig,
) {
    let admin_listen = ListenAddress::Internet(admin.listen);
    for (index, listen) in listens.iter().enumerate() {
        if let Some(first) = listens.iter().take(index).find(|first| first.value.overlaps(&listen.value)) {
            let message =
                format!("{} is taken by {}, which is {}", listen.value, first.place.key, first.value);
            root.report().add(&listen.place, message);
        }
        if listen.value.overlaps(&admin_listen) {
            let taken =
                format!("{} is taken by {}, which is {}", admin.listen, listen.place.key, listen.value);
            if admin_table.has("listen") {
                admin_table.problem("listen", taken);
            } else {
                let message =
                    format!("{} is what admin.listen is by default: change one of them", admin.listen);
                root.report().add(&listen.place, message);
            }
        }
    }
}

fn read_trusted(table: &Table<'_>) -> TrustedProxies {
    let listed = table.list("trusted_proxies", "[\"10.0.0.0/8\"]", parsed(TrustedProxy::parse));
    let listed: Vec<_> = listed.unwrap_or_default().into_iter().map(|proxy| proxy.value).collect();
    if listed.len() > MAX_TRUSTED {
        let count = listed.len();
        table.problem("trusted_proxies", format!("{count} are more than the {MAX_TRUSTED} there can be"));
    }
    TrustedProxies::new(listed)
}

fn listen_address(value: &Value) -> Result<SocketAddr, String> {
    let text = text(value)?;
    text.parse().map_err(|_| {
        format!(
            "{} is not a listen address: write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"",
            quoted(text)
        )
    })
}

fn read_state(table: &Table<'_>) -> StateConfig {
    let path = |text: &str| match text {
        "" => Err("the path is empty; write for instance \"snapback.db\""),
        path => Ok(path.into()),
    };
    let path = table.optional("path", parsed(path));
    let takeover_timeout = table.optional("takeover_timeout", positive_duration);
    let keep_events = table.optional("keep_events", whole(LEAST_EVENTS..=MOST_EVENTS));
    let keep_shifts = table.optional("keep_shifts", whole(1..=MOST_SHIFTS));
    StateConfig {
        keep_events: keep_events.unwrap_or(100_000),
        keep_shifts: keep_shifts.unwrap_or(1_000),
        path: path.unwrap_or_else(|| "snapback.db".into()),
        takeover_timeout: takeover_timeout.unwrap_or(Duration::from_secs(30)),
    }
}

fn read_log(table: &Table<'_>) -> LogConfig {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let level = table.optional("level", parsed(log_level));
    let format = table.optional("format", word(&formats));
    LogConfig { level: level.unwrap_or_else(|| "info".to_owned()), format: format.unwrap_or(LogFormat::Text) }
}

/// A filter's parts are levels, or targets with levels. A bare word that is no level would be taken for a target by the filter,
/// so that `inof` would silence everything; it is refused.
fn log_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let fits = |part: &str| {
        let part = part.trim();
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        let named_span = part.ends_with(']');
        let has_target = !part.starts_with('=');
        named_span || has_target && LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known))
    };
    match text.split(',').find(|part| !fits(part)) {
        None => Ok(text.to_owned()),
        Some(part) => Err(format!(
            "{} is not a log level: write one of {}, or target=level, separated by commas, such as \
             \"info,snapback::proxy=debug\"",
            quoted(part.trim()),
            LEVELS.join(", ")
        )),
    }
}

fn read_endpoints(root: &Table<'_>) -> Option<Vec<EndpointSpec>> {
    let tables = root.tables("endpoint", &shape::ENDPOINT);
    let endpoints: Vec<_> = tables.iter().map(endpoint::read).collect();
    let mut names = BTreeSet::new();
    for (index, (table, spec)) in tables.iter().zip(&endpoints).enumerate() {
        let Some(spec) = spec else { continue };
        if !names.insert(&spec.name) {
            table.problem("name", format!("there are two endpoints called {:?}", spec.name.as_str()));
            continue;
        }
        let earlier = endpoints.iter().take(index).flatten();
        if let Some(other) = earlier.into_iter().find(|other| other.rule.is_ambiguous_with(&spec.rule)) {
            table.problem(
                "match",
                format!(
                    "a request could belong to {} as well as to {}: make one rule more specific, by a longer path_prefix, a host, a \
                     header or models",
                    other.name, spec.name
                ),
            );
        }
    }
    endpoints.into_iter().collect()
}
