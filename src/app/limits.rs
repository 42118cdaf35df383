//! The limit on open files.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::DataConfig;

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
    // A client's connection, and one to an instance while a request runs.
    let wanted = u64::try_from(data.connections_per_worker.saturating_mul(data.workers)).unwrap_or(u64::MAX);
    let wanted = wanted.saturating_mul(2);
    if let Some(open_files) = getrlimit(Resource::Nofile).current.filter(|open_files| *open_files < wanted) {
        tracing::warn!(
            open_files,
            wanted,
            "the limit on open files is lower than connections_per_worker needs; raise it (LimitNOFILE=, ulimit -n)"
        );
    }
}
