//! `/v1/endpoints/{name}/queue`, and taking a shift out of it.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{
    actor::HeaderActor,
    extract::{EndpointPath, Nothing, Parameters, ShiftPath},
    problem::Fault,
    state::Port,
};
use crate::{
    control::{Execution, QueuedView},
    store::QueuedShift,
};

/// `GET /v1/endpoints/{name}/queue`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Queue {
    /// In the order in which they are to begin.
    pub queue: Vec<Queued>,
}

/// A shift that waits for its turn.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Queued {
    /// The id that it will have as a shift; null in the answer to a dry run.
    pub id: Option<String>,
    /// Whose.
    pub endpoint: String,
    /// Its place, from 1.
    pub place: usize,
    /// What it waits for, in a clause.
    pub waits_for: String,
    /// The earliest moment at which it may begin, by its plan; null where its plan makes it wait for none.
    #[serde(default)]
    pub not_before: Option<String>,
    /// The version that it is to bring in.
    pub green_version: String,
    /// The shift that it supersedes; null where it only waits.
    pub supersedes: Option<String>,
    /// Who asked for it.
    pub actor: String,
    /// Why, in their words.
    pub reason: String,
    /// Since when it waits.
    pub queued_at: String,
    /// Its plan, in the shape of `POST`.
    pub plan: serde_json::Value,
}

pub(super) async fn list(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Queue>, Fault> {
    let queue = port.handle.endpoint(&name).await?.queue;
    Ok(Json(Queue { queue: queue.into_iter().map(|view| queued(view, Execution::Real)).collect() }))
}

/// `DELETE /v1/shifts/{id}`, of one that has not begun.
pub(super) async fn cancel(
    State(port): State<Arc<Port>>,
    ShiftPath(id): ShiftPath,
    Parameters(Nothing {}): Parameters<Nothing>,
    actor: HeaderActor,
) -> Result<Json<Queued>, Fault> {
    let view = port.handle.cancel_queued(&id, actor.or(None)?).await?;
    Ok(Json(queued(view, Execution::Real)))
}

pub(super) fn queued(view: QueuedView, execution: Execution) -> Queued {
    let QueuedView { queued, place, waits_for, not_before } = view;
    let QueuedShift { id, endpoint, plan, actor, peer: _, reason, queued_at, supersedes, findings: _ } =
        queued;
    Queued {
        id: (execution == Execution::Real).then(|| id.to_string()),
        endpoint: endpoint.to_string(),
        place,
        waits_for,
        not_before: not_before.map(|at| at.to_string()),
        green_version: plan.green.version.to_string(),
        supersedes: supersedes.map(|id| id.to_string()),
        actor,
        reason,
        queued_at: queued_at.to_string(),
        plan: plan.to_json(),
    }
}
