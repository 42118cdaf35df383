//! What a changed file would need a restart for.

use super::{
    AdminConfig, ClientAuth, Config, DataConfig, DataTls, IdentitySpec, LogConfig, LogFormat, Mark,
    ServerTls, StateConfig, access_log, aws, format_token_hash, traces, units::format_size, webhooks,
};
use crate::time::format_duration;

impl Config {
    /// The keys outside `[[endpoint]]` that differ in `new`, a sentence each. They take effect when the process starts again:
    /// sockets, threads, the journal and the log are made once.
    pub fn restart_needed(&self, new: &Self) -> Vec<String> {
        let pairs = self.settings().into_iter().zip(new.settings());
        pairs
            .filter(|((_, old), (_, new))| old != new)
            .map(|((key, old), (_, new))| {
                format!("{key} = {new} takes effect at the next start; until then it is {old}")
            })
            .collect()
    }

    /// Every key outside `[[endpoint]]` with its value as a file would have it.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let Self {
            data,
            admin,
            state,
            log,
            access_log: access,
            traces: spans,
            events_file,
            webhooks: receivers,
            aws,
            endpoints: _,
        } = self;
        let StateConfig { path, takeover_timeout, keep_events, keep_shifts } = state;
        let LogConfig { level, format } = log;
        let format = match format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        let mut settings = data_settings(data);
        settings.extend(admin_settings(admin));
        settings.extend([
            ("state.path", format!("{:?}", path.display().to_string())),
            ("state.takeover_timeout", span(takeover_timeout)),
            ("state.keep_events", keep_events.to_string()),
            ("state.keep_shifts", keep_shifts.to_string()),
            ("access_log", access_log::describe(access.as_ref())),
            ("traces", traces::describe(spans.as_ref())),
            ("events.file", webhooks::describe_file(events_file.as_ref())),
            ("webhook", webhooks::describe(receivers)),
            ("log.level", format!("{level:?}")),
            ("log.format", format!("{format:?}")),
        ]);
        settings.extend(aws::describe(aws));
        settings
    }
}

fn span(span: &std::time::Duration) -> String {
    format!("{:?}", format_duration(*span))
}

fn data_settings(data: &DataConfig) -> Vec<(&'static str, String)> {
    let DataConfig {
        listen,
        workers,
        expose_fleet,
        expose_variant,
        head_timeout,
        keep_alive_timeout,
        upstream_idle_timeout,
        head_limit_bytes,
        connections_per_worker,
        requests_per_worker,
        replay_memory_bytes,
        model_window_bytes,
        least_rate,
        drain_timeout,
        tls,
        proxy_protocol,
        underscores,
        trusted_proxies,
    } = data;
    let size = |bytes: &usize| format!("{:?}", format_size(u64::try_from(*bytes).unwrap_or(u64::MAX)));
    let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
    vec![
        ("data.listen", format!("{listen:?}")),
        ("data.workers", workers.to_string()),
        ("data.expose_fleet", expose_fleet.to_string()),
        ("data.expose_variant", expose_variant.to_string()),
        ("data.head_timeout", span(head_timeout)),
        ("data.keep_alive_timeout", span(keep_alive_timeout)),
        ("data.upstream_idle_timeout", span(upstream_idle_timeout)),
        ("data.head_limit", size(head_limit_bytes)),
        ("data.connections_per_worker", connections_per_worker.to_string()),
        ("data.requests_per_worker", requests_per_worker.to_string()),
        ("data.replay_memory", size(replay_memory_bytes)),
        ("data.model_window", size(model_window_bytes)),
        ("data.least_rate", format!("{:?}", format_size(*least_rate))),
        ("data.drain_timeout", span(drain_timeout)),
        ("data.proxy_protocol", format!("{:?}", proxy_protocol.as_str())),
        ("data.underscore_headers", format!("{:?}", underscores.as_str())),
        ("data.trusted_proxies", trusted_proxies.to_string()),
        ("data.tls", data_tls(tls.as_ref())),
    ]
}

fn admin_settings(admin: &AdminConfig) -> Vec<(&'static str, String)> {
    let AdminConfig { listen, allow_remote, tls, identities, tokens_file } = admin;
    let path = tokens_file.as_ref().map_or("nothing".to_owned(), |path| format!("{path:?}"));
    vec![
        ("admin.tls", tls.as_ref().map_or("nothing".to_owned(), |tls| server_tls(&tls.0))),
        ("admin.listen", format!("{:?}", listen.to_string())),
        ("admin.allow_remote", allow_remote.to_string()),
        ("admin.tokens_file", path),
        ("admin.identities", known(identities)),
    ]
}

/// Who they are and what for, each with what it is known by.
fn known(identities: &[IdentitySpec]) -> String {
    let each = identities.iter().map(|IdentitySpec { name, role, mark }| {
        let mark = match mark {
            Mark::Dns(name) => format!("dns {name}"),
            Mark::Uri(uri) => format!("uri {uri}"),
            Mark::Sha256(hash) => format_token_hash(hash),
        };
        format!("{name}: {role} by {mark}")
    });
    if identities.is_empty() { "nobody".to_owned() } else { each.collect::<Vec<_>>().join(", ") }
}

fn data_tls(tls: Option<&DataTls>) -> String {
    let Some(DataTls { listen, server }) = tls else { return "nothing".to_owned() };
    let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
    format!("listen = {listen:?}, {}", server_tls(server))
}

fn server_tls(tls: &ServerTls) -> String {
    let ServerTls { certificates, client_ca, client_auth } = tls;
    let client_auth = match client_auth {
        ClientAuth::None => "none",
        ClientAuth::Optional => "optional",
        ClientAuth::Required => "required",
    };
    let certificates: Vec<_> = certificates.iter().map(|files| (&files.cert, &files.key)).collect();
    format!("certificates = {certificates:?}, client_ca = {client_ca:?}, client_auth = {client_auth:?}")
}
