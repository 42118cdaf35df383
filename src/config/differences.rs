//! What a changed file would need a restart for.

use super::{AdminConfig, Config, DataConfig, LogConfig, LogFormat, StateConfig, units::format_size};
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
    fn settings(&self) -> Vec<(&'static str, String)> {
        let Self { data, admin, state, log, endpoints: _ } = self;
        let DataConfig {
            listen,
            workers,
            expose_fleet,
            head_timeout,
            keep_alive_timeout,
            upstream_idle_timeout,
            head_limit_bytes,
            connections_per_worker,
            drain_timeout,
        } = data;
        let AdminConfig { listen: admin_listen, allow_remote } = admin;
        let StateConfig { path } = state;
        let LogConfig { level, format } = log;
        let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
        let head_limit = format_size(u64::try_from(*head_limit_bytes).unwrap_or(u64::MAX));
        let span = |span: &std::time::Duration| format!("{:?}", format_duration(*span));
        let format = match format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        vec![
            ("data.listen", format!("{listen:?}")),
            ("data.workers", workers.to_string()),
            ("data.expose_fleet", expose_fleet.to_string()),
            ("data.head_timeout", span(head_timeout)),
            ("data.keep_alive_timeout", span(keep_alive_timeout)),
            ("data.upstream_idle_timeout", span(upstream_idle_timeout)),
            ("data.head_limit", format!("{head_limit:?}")),
            ("data.connections_per_worker", connections_per_worker.to_string()),
            ("data.drain_timeout", span(drain_timeout)),
            ("admin.listen", format!("{:?}", admin_listen.to_string())),
            ("admin.allow_remote", allow_remote.to_string()),
            ("state.path", format!("{:?}", path.display().to_string())),
            ("log.level", format!("{level:?}")),
            ("log.format", format!("{format:?}")),
        ]
    }
}
