//! Who is told of requests, as the configuration wants it.

use crate::{
    config::Config,
    telemetry::{AccessLog, AccessLogError, AccessLogWriter, Witnesses},
};

/// Those who are told, at work. Dropped once the workers have ended, so that their last requests are told of too.
#[derive(Debug)]
pub(super) struct Witnessing {
    pub(super) witnesses: Witnesses,
    _access_log: Option<AccessLogWriter>,
}

impl Witnessing {
    pub(super) fn start(config: &Config) -> Result<Self, AccessLogError> {
        let workers = config.data.workers;
        let started = config.access_log.as_ref().map(|log| AccessLog::start(log, workers)).transpose()?;
        let (access_log, writer) = started.unzip();
        Ok(Self { witnesses: Witnesses { access_log }, _access_log: writer })
    }
}
