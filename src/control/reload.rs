//! Reading the configuration file again.

use std::path::PathBuf;

use super::{Actor, ControlError, Execution, Handle, ledger::thread_failed};
use crate::config;

impl Handle {
    /// Reads a configuration file and applies it ([`Handle::apply`]). A file that is refused changes nothing, and the stream of events says
    /// that it was (`config.refused`), unless this only checks.
    pub async fn reload(
        &self,
        file: PathBuf,
        actor: impl Into<Actor>,
        execution: Execution,
    ) -> Result<Vec<String>, ControlError> {
        let actor = actor.into();
        let loaded = tokio::task::spawn_blocking(move || config::load(&file)).await;
        let applied = match loaded.map_err(|error| thread_failed(&error))? {
            Ok(config) => self.apply(&config, &actor, execution).await,
            Err(problems) => Err(problems.into()),
        };
        if let (Err(ControlError::Problems(problems)), Execution::Real) = (&applied, execution)
            && let Err(error) = self.note_refused_config(problems, &actor).await
        {
            tracing::warn!(%error, "the refusal of the configuration file is not in the journal");
        }
        applied
    }
}
