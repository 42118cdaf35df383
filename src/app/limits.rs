//! The limit on open files.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::DataConfig;

/// Descriptors for everything else: sockets that are listened on, the journal, event queues, the admin port, health checks.
const RESERVED: usize = 128;

/// Raises the limit on open files as far as the system lets this process: the usual 1,024 are there for programs that use `select`,
/// and a proxy reaches them with 500 clients. Says so when what it gets is not enough for what the configuration promises.
///
/// By rustix, which the terminal library brings anyway: a safe function for one system call.
pub(super) fn raise_open_files(data: &DataConfig) {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit on open files cannot be raised");
        }
    }
    let affordable = affordable_connections(data);
    if affordable < data.connections_per_worker {
        tracing::warn!(
            open_files = getrlimit(Resource::Nofile).current,
            connections_per_worker = affordable,
            configured = data.connections_per_worker,
            "the limit on open files lets a worker hold fewer connections than configured; raise it (LimitNOFILE=, ulimit -n)"
        );
    }
}

/// How many client connections a worker may hold: as many as configured, unless the limit on open files leaves room for fewer. Each
/// takes a second descriptor while its request is at an instance. Past this a connection is refused; a worker that took it would
/// fail the requests of those that it has, for want of a connection to their instances.
pub(super) fn affordable_connections(data: &DataConfig) -> usize {
    data.connections_per_worker.min((for_worker(data) / 2).max(1))
}

/// How many connections to instances a worker may have: all that clients leave. Requests that find none are shed; a worker that went
/// on would take the descriptors that are kept for the rest.
pub(super) fn affordable_upstreams(data: &DataConfig) -> usize {
    for_worker(data).saturating_sub(affordable_connections(data)).max(1)
}

/// How many descriptors a worker may take for connections.
fn for_worker(data: &DataConfig) -> usize {
    let Some(open_files) = getrlimit(Resource::Nofile).current else { return usize::MAX };
    let open_files = usize::try_from(open_files).unwrap_or(usize::MAX);
    (open_files - RESERVED.min(open_files / 2)) / data.workers.max(1)
}
