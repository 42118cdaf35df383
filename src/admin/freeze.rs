//! `/v1/freezes`, and freezing and unfreezing one endpoint or all.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    routing::{MethodRouter, post},
};
use serde::{Deserialize, Serialize};

use super::{
    actor::HeaderActor,
    extract::{EndpointPath, Nothing, OptionalCommand, Parameters},
    problem::Fault,
    state::Port,
    wire,
};
use crate::name::EndpointName;

/// Which freezes there are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Freezes {
    /// The one of all endpoints first.
    pub freezes: Vec<Freeze>,
}

/// A freeze: nothing goes on until somebody lifts it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Freeze {
    /// Whose; null for all endpoints.
    pub endpoint: Option<String>,
    /// Who asked for it.
    pub actor: String,
    /// Why, in their words.
    pub reason: String,
    /// Since when.
    pub since: String,
}

/// What is to become of a freeze.
#[derive(Clone, Copy)]
pub(super) enum Frost {
    Begin,
    End,
}

type Answer = Result<Json<Freezes>, Fault>;

impl From<crate::store::Freeze> for Freeze {
    fn from(freeze: crate::store::Freeze) -> Self {
        let crate::store::Freeze { endpoint, actor, reason, since } = freeze;
        Self { endpoint: endpoint.map(|name| name.to_string()), actor, reason, since: since.to_string() }
    }
}

pub(super) async fn list(
    State(port): State<Arc<Port>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Answer {
    Ok(answer(port.handle.freezes().await?))
}

/// `POST /v1/freeze` or `/v1/unfreeze`
pub(super) fn of_all(frost: Frost) -> MethodRouter<Arc<Port>> {
    post(async move |State(port): State<Arc<Port>>, query: Parameters<Nothing>, actor, body| {
        let Parameters(Nothing {}) = query;
        carry_out(frost, &port, None, actor, body).await
    })
}

/// `POST /v1/endpoints/{name}/freeze` or `/unfreeze`
pub(super) fn of_one(frost: Frost) -> MethodRouter<Arc<Port>> {
    post(
        async move |State(port): State<Arc<Port>>,
                    EndpointPath(name),
                    query: Parameters<Nothing>,
                    actor,
                    body| {
            let Parameters(Nothing {}) = query;
            carry_out(frost, &port, Some(name), actor, body).await
        },
    )
}

async fn carry_out(
    frost: Frost,
    port: &Port,
    endpoint: Option<EndpointName>,
    actor: HeaderActor,
    OptionalCommand(body): OptionalCommand,
) -> Answer {
    let wire::CommandBody { reason, actor: named } = body;
    let actor = actor.because(named, reason)?;
    let freezes = match frost {
        Frost::Begin => port.handle.freeze(endpoint, actor).await?,
        Frost::End => port.handle.unfreeze(endpoint, actor).await?,
    };
    Ok(answer(freezes))
}

fn answer(freezes: Vec<crate::store::Freeze>) -> Json<Freezes> {
    Json(Freezes { freezes: freezes.into_iter().map(Freeze::from).collect() })
}
