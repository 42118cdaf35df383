//! How the rest of the process talks to control.

use tokio::sync::broadcast;

use super::{EndpointView, ShiftView};
use crate::{
    config::{Config, EndpointSpec, PlanSpec, Problems},
    name::{EndpointName, ShiftId},
    shift::{Command, Refusal},
    store::{Event, StoreError},
};

/// A cheap copy for each that asks. Every call is answered by control's one task, in order.
#[derive(Clone, Debug)]
pub struct Handle {}

/// A command to a shift, with who and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShiftCommand {
    /// What.
    pub command: Command,
    /// Who.
    pub actor: String,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
}

/// Why control did not do what was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No such endpoint.
    #[error("there is no endpoint {name}; there are: {known}")]
    NoEndpoint {
        /// As asked.
        name: EndpointName,
        /// The known names, separated by commas.
        known: String,
    },
    /// No such shift.
    #[error("there is no shift {0}")]
    NoShift(ShiftId),
    /// The endpoint has a running shift.
    #[error("endpoint {endpoint} has a running shift, {running}: wait for its end, or abort it")]
    ShiftRunning {
        /// Whose.
        endpoint: EndpointName,
        /// The running one.
        running: ShiftId,
    },
    /// The engine refused a command.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The document cannot be carried out as it stands (an alarm that cannot fire, an ambiguous match).
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The journal failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process is ending.
    #[error("snapback is shutting down")]
    ShuttingDown,
}

/// Whether a change is carried out or only checked (`?dry_run=true`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Execution {
    /// Carried out.
    Real,
    /// Checked, and answered as if it had been; nothing changes.
    Dry,
}

impl Handle {
    /// All endpoints, by name.
    pub async fn endpoints(&self) -> Result<Vec<EndpointView>, ControlError> {
        todo!()
    }

    /// One endpoint.
    pub async fn endpoint(&self, _name: &EndpointName) -> Result<EndpointView, ControlError> {
        todo!()
    }

    /// Declares or changes an endpoint. A changed blue replaces the fleet in service; refused while a shift runs.
    pub async fn put_endpoint(
        &self,
        _spec: EndpointSpec,
        _actor: &str,
        _execution: Execution,
    ) -> Result<EndpointView, ControlError> {
        todo!()
    }

    /// Removes an endpoint; refused while a shift runs.
    pub async fn delete_endpoint(
        &self,
        _name: &EndpointName,
        _actor: &str,
        _execution: Execution,
    ) -> Result<(), ControlError> {
        todo!()
    }

    /// Starts a shift.
    pub async fn start_shift(
        &self,
        _endpoint: &EndpointName,
        _plan: PlanSpec,
        _actor: &str,
        _execution: Execution,
    ) -> Result<ShiftView, ControlError> {
        todo!()
    }

    /// Commands a shift.
    pub async fn command_shift(
        &self,
        _id: &ShiftId,
        _command: ShiftCommand,
        _execution: Execution,
    ) -> Result<ShiftView, ControlError> {
        todo!()
    }

    /// One shift, running or over.
    pub async fn shift(&self, _id: &ShiftId) -> Result<ShiftView, ControlError> {
        todo!()
    }

    /// An endpoint's shifts, newest first, at most 100.
    pub async fn shifts(&self, _endpoint: &EndpointName) -> Result<Vec<ShiftView>, ControlError> {
        todo!()
    }

    /// Applies a checked configuration file: its endpoints, as far as no running shift stands against it. Other sections cannot change while
    /// the process runs; says which keys of theirs differ.
    pub async fn apply(
        &self,
        _config: &Config,
        _actor: &str,
        _execution: Execution,
    ) -> Result<Vec<String>, ControlError> {
        todo!()
    }

    /// Journalled events with an id above `after`, at most 1,000.
    pub async fn events_after(&self, _after: u64) -> Result<Vec<Event>, ControlError> {
        todo!()
    }

    /// Events from now on. A receiver that lags behind 1,024 events is told so and reads the journal again.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        todo!()
    }

    /// Whether new shifts can be accepted, that is, the journal can be written, and recovery is over; with the reason if not.
    pub fn ready(&self) -> Result<(), String> {
        todo!()
    }
}
