//! Who is told of requests, as the configuration wants it.

use tokio::sync::broadcast;

use super::StartError;
use crate::{
    config::{Config, TracesConfig},
    delivery::Exporter,
    store::Event,
    telemetry::{AccessLog, AccessLogWriter, Traced, Traces, Witnesses},
};

/// Those who are told, at work. Dropped once the workers have ended, so that their last requests are told of too.
#[derive(Debug)]
pub(super) struct Witnessing {
    pub(super) witnesses: Witnesses,
    _access_log: Option<AccessLogWriter>,
    /// Until control is there, whose events it sends too.
    waiting: Option<(TracesConfig, Traced)>,
    exporter: Option<Exporter>,
}

impl Witnessing {
    pub(super) fn start(config: &Config) -> Result<Self, StartError> {
        let workers = config.data.workers;
        let started = config.access_log.as_ref().map(|log| AccessLog::start(log, workers)).transpose()?;
        let (access_log, writer) = started.unzip();
        let made = config.traces.clone().map(|config| {
            let (traces, traced) = Traces::new(&config, workers);
            (traces, (config, traced))
        });
        let (traces, waiting) = made.unzip();
        let witnesses = Witnesses { access_log, traces };
        Ok(Self { witnesses, _access_log: writer, waiting, exporter: None })
    }

    /// Begins to send traces, these events' among them.
    pub(super) fn export(&mut self, events: broadcast::Receiver<Event>) -> Result<(), StartError> {
        if let Some((config, traced)) = self.waiting.take() {
            self.exporter = Some(Exporter::start(config, traced, events)?);
        }
        Ok(())
    }
}
