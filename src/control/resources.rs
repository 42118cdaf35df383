//! Documents that other faces of the proxy keep in the journal, beside what control knows: the models of the SageMaker API, say.
//!
//! Control does not read them. It writes them because the journal has one writer, and each change is an event like any other.

use super::{Actor, ControlError, Handle, ask::Ask, ledger::Draft, task::Task};
use crate::{
    name::EndpointName,
    store::{Record, Resource, StoreError},
};

/// Documents to be written or let go, all or none.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ResourceChange {
    /// New and changed ones.
    pub put: Vec<Resource>,
    /// Kinds and names of those that go.
    pub gone: Vec<(&'static str, String)>,
    /// Whose event this is.
    pub endpoint: Option<EndpointName>,
    /// What happened, in a sentence; empty for bookkeeping that is no event.
    pub cause: String,
    /// What kind of event it is, where it is more than a changed document.
    pub event: Option<ResourceEvent>,
}

/// An event that another face tells of.
#[derive(Clone, PartialEq, Debug)]
pub struct ResourceEvent {
    /// Its kind.
    pub kind: &'static str,
    /// What it tells.
    pub evidence: serde_json::Value,
}

impl Handle {
    /// Makes a change durable.
    pub async fn keep(&self, change: ResourceChange, actor: impl Into<Actor>) -> Result<(), ControlError> {
        let actor = actor.into();
        self.ask(|reply| Ask::Keep { change, actor, reply }).await
    }

    /// All documents of a kind, by name.
    pub async fn resources(&self, kind: &'static str) -> Result<Vec<Resource>, StoreError> {
        self.read(move |journal| journal.resources(kind)).await
    }

    /// One document.
    pub async fn resource(&self, kind: &'static str, name: &str) -> Result<Option<Resource>, StoreError> {
        let name = name.to_owned();
        self.read(move |journal| journal.resource(kind, &name)).await
    }
}

impl Task {
    pub(super) async fn keep(&mut self, change: ResourceChange, actor: &Actor) -> Result<(), ControlError> {
        let ResourceChange { put, gone, endpoint, cause, event } = change;
        let changed = if put.is_empty() { "resource.deleted" } else { "resource.put" };
        let (kind, evidence) = event.map_or((changed, None), |event| (event.kind, Some(event.evidence)));
        let draft = Draft { evidence, ..self.draft(kind, endpoint.as_ref(), actor, cause) };
        let drafts = if draft.cause.is_empty() { Vec::new() } else { vec![draft] };
        let put = put.into_iter().map(|resource| Record::Resource(Box::new(resource)));
        let gone = gone.into_iter().map(|(kind, name)| Record::ResourceGone(kind, name));
        Ok(self.commit(put.chain(gone).collect(), &drafts).await?)
    }
}
