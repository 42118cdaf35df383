//! Builds control: recovers, publishes the first table, starts the evaluator and the tasks.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Handle;
use crate::{
    config::{Config, Problems},
    meter::Bell,
    route::RouteTable,
    store::{Journal, StoreError},
};

/// What control is built from. `app` makes the shared values and gives the data plane its copies.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The checked configuration.
    pub config: &'a Config,
    /// The journal, open.
    pub journal: Arc<dyn Journal>,
    /// The table that the data plane reads; control alone stores into it, the first time before [`start`] returns.
    pub table: Arc<ArcSwap<RouteTable>>,
    /// How workers wake the evaluator; every watch point of a table rings it.
    pub bell: Arc<Bell>,
    /// How many workers the data plane has.
    pub workers: usize,
}

/// Why control cannot start. Nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration and the journal do not go together.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The evaluator's thread cannot be started.
    #[error("cannot start the evaluator's thread: {0}")]
    Thread(std::io::Error),
}

/// The running control: its tasks and the evaluator's thread.
#[derive(Debug)]
pub struct Control {}

impl Control {
    /// Ends the tasks and the evaluator, after the commit under way, if any. Running shifts stay in the journal as they are, and go on
    /// at the next start. Traffic goes on by the last table.
    pub async fn stop(self) {
        todo!()
    }
}

/// Recovers from the journal, publishes the first table, and starts the evaluator and control's tasks on the current runtime.
///
/// Blocks on the journal, so it is called before anything is served.
pub fn start(_parts: Parts<'_>) -> Result<(Handle, Control), StartError> {
    todo!()
}
