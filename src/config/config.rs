//! Reads a configuration file.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use super::{
    AdminConfig, Config, DataConfig, EndpointSpec, LogConfig, LogFormat, StateConfig,
    document::quoted,
    endpoint,
    problems::Place,
    reader::{Placed, Table, boolean, parsed, text, whole, word},
    shape,
    units::{duration, positive_duration, size},
};

/// More workers than any machine has cores for.
const MAX_WORKERS: usize = 1024;
/// hyper's smallest read buffer: a smaller limit cannot be kept.
const MIN_HEAD_LIMIT: u64 = 8 << 10;
/// A worker reserves up to this much for each connection that is sending a head.
const MAX_HEAD_LIMIT: u64 = 1 << 20;
/// Above a million the kernel's own limits on open files are reached first.
const MAX_CONNECTIONS: usize = 1_000_000;

pub(super) fn read(root: &Table<'_>) -> Option<Config> {
    let data_table = root.table("data", &shape::DATA);
    let admin_table = root.table("admin", &shape::ADMIN);
    let (data, listens) = read_data(data_table.as_ref(), root.place_of("data"));
    let admin = read_admin(admin_table.as_ref());
    check_listens(root, &listens, admin_table.as_ref(), &admin);
    let endpoints = read_endpoints(root);
    Some(Config {
        data,
        admin,
        state: read_state(root.table("state", &shape::STATE).as_ref()),
        log: read_log(root.table("log", &shape::LOG).as_ref()),
        endpoints: endpoints?,
    })
}

/// The section, and where each address of `listen` stands.
fn read_data(table: Option<&Table<'_>>, place: Place) -> (DataConfig, Vec<Placed<SocketAddr>>) {
    let time = |key, default| seconds(table, key, default);
    let listen = table.and_then(|table| table.list("listen", "[\"0.0.0.0:8080\"]", listen_address));
    if let (Some(table), Some([])) = (table, listen.as_deref()) {
        table.problem("listen", "has no address; write for instance [\"0.0.0.0:8080\"]");
    }
    let listen = listen.unwrap_or_else(|| {
        vec![Placed { value: SocketAddr::from(([0, 0, 0, 0], 8080)), place: place.key("listen", place.line) }]
    });
    let workers = table.and_then(|table| table.optional("workers", whole(0..=MAX_WORKERS))).unwrap_or(0);
    let drain_timeout = table.and_then(|table| table.optional("drain_timeout", duration));
    let head_limit =
        table.and_then(|table| table.optional("head_limit", size(MIN_HEAD_LIMIT, MAX_HEAD_LIMIT)));
    let connections =
        table.and_then(|table| table.optional("connections_per_worker", whole(1..=MAX_CONNECTIONS)));
    let data = DataConfig {
        listen: listen.iter().map(|listen| listen.value).collect(),
        workers: if workers == 0 { cores() } else { workers },
        expose_fleet: table.and_then(|table| table.optional("expose_fleet", boolean)).unwrap_or(false),
        head_timeout: time("head_timeout", 10),
        keep_alive_timeout: time("keep_alive_timeout", 75),
        upstream_idle_timeout: time("upstream_idle_timeout", 4),
        head_limit_bytes: usize::try_from(head_limit.unwrap_or(64 << 10)).unwrap_or(usize::MAX),
        connections_per_worker: connections.unwrap_or(16_384),
        drain_timeout: drain_timeout.unwrap_or(Duration::from_secs(30)),
    };
    (data, listen)
}

fn seconds(table: Option<&Table<'_>>, key: &'static str, default: u64) -> Duration {
    let given = table.and_then(|table| table.optional(key, positive_duration));
    given.unwrap_or(Duration::from_secs(default))
}

/// One worker a core, as far as the system says how many there are.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn read_admin(table: Option<&Table<'_>>) -> AdminConfig {
    let listen = table.and_then(|table| table.optional("listen", listen_address));
    let allow_remote = table.and_then(|table| table.optional("allow_remote", boolean)).unwrap_or(false);
    if let (Some(table), Some(listen)) = (table, listen)
        && !listen.ip().is_loopback()
        && !allow_remote
    {
        table.problem(
            "listen",
            format!(
                "{listen} can be reached from other machines, and the admin port has no authentication: whoever reaches it \
                 commands every shift. Listen on 127.0.0.1, or write allow_remote = true if a firewall or a container's network \
                 guards the port"
            ),
        );
    }
    AdminConfig { listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9090))), allow_remote }
}

/// Two sockets on one address: the second could not be bound.
fn check_listens(
    root: &Table<'_>,
    data: &[Placed<SocketAddr>],
    admin_table: Option<&Table<'_>>,
    admin: &AdminConfig,
) {
    for (index, listen) in data.iter().enumerate() {
        if let Some(first) = data.iter().take(index).find(|first| overlap(first.value, listen.value)) {
            let message =
                format!("{} is taken by {}, which is {}", listen.value, first.place.key, first.value);
            root.report().add(&listen.place, message);
        }
        if overlap(listen.value, admin.listen) {
            let message = format!(
                "{} is taken by {}, which is {}: give the admin port an address of its own",
                admin.listen, listen.place.key, listen.value
            );
            match admin_table.filter(|table| table.has("listen")) {
                Some(table) => table.problem("listen", message),
                // The admin port has its default, so the line to change is the data port's.
                None => root.report().add(&listen.place, format!("admin.listen {message}")),
            }
        }
    }
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (left, right) = (one.ip(), other.ip());
    let any = |one: std::net::IpAddr, other: std::net::IpAddr| {
        one.is_unspecified() && one.is_ipv4() == other.is_ipv4()
    };
    one.port() != 0 && one.port() == other.port() && (left == right || any(left, right) || any(right, left))
}

fn listen_address(value: &super::document::Value) -> Result<SocketAddr, String> {
    let text = text(value)?;
    text.parse().map_err(|_| {
        format!(
            "{} is not a listen address: write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"",
            quoted(text)
        )
    })
}

fn read_state(table: Option<&Table<'_>>) -> StateConfig {
    let path = |text: &str| match text {
        "" => Err("the path is empty; write for instance \"snapback.db\""),
        path => Ok(path.into()),
    };
    let path = table.and_then(|table| table.optional("path", parsed(path)));
    StateConfig { path: path.unwrap_or_else(|| "snapback.db".into()) }
}

fn read_log(table: Option<&Table<'_>>) -> LogConfig {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let level = table.and_then(|table| table.optional("level", parsed(log_level)));
    let format = table.and_then(|table| table.optional("format", word(&formats)));
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
        }
        let earlier = endpoints.iter().take(index).flatten();
        if let Some(other) = earlier.into_iter().find(|other| other.rule.is_ambiguous_with(&spec.rule)) {
            table.problem(
                "match",
                format!(
                    "a request could belong to {} as well as to {}: make one rule more specific, by a longer path_prefix, a host or a \
                     header",
                    other.name, spec.name
                ),
            );
        }
    }
    endpoints.into_iter().collect()
}
