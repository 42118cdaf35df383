//! `/v1/endpoints/{name}/undo`

use std::sync::Arc;

use axum::{Json, extract::State, response::AppendHeaders};
use http::{HeaderName, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{
    actor::HeaderActor,
    extract::{Change, EndpointPath, OptionalCommand, Parameters},
    problem::Fault,
    represent,
    state::Port,
    wire,
};
use crate::{clock, control::Execution};

/// The body of `POST /v1/endpoints/{name}/undo`; may be absent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoBody {
    /// Why, in the operator's words.
    #[serde(default)]
    pub reason: String,
    /// Who; `operator` when absent.
    #[serde(default)]
    pub actor: Option<String>,
    /// A plan without `green`; all at once with the last plan's alarms and last bake when absent.
    #[serde(default)]
    pub plan: Option<serde_json::Value>,
}

pub(super) async fn undo(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(change): Parameters<Change>,
    actor: HeaderActor,
    OptionalCommand(body): OptionalCommand<UndoBody>,
) -> Result<(StatusCode, AppendHeaders<Option<(HeaderName, String)>>, Json<wire::Shift>), Fault> {
    let UndoBody { reason, actor: named, plan } = body;
    let (actor, execution) = (actor.because(named, reason)?, change.execution());
    let view = port.handle.undo(&name, plan, actor, execution).await?;
    let (status, location) = match execution {
        Execution::Real => (StatusCode::CREATED, Some((header::LOCATION, format!("/v1/shifts/{}", view.id)))),
        Execution::Dry => (StatusCode::OK, None),
    };
    Ok((status, AppendHeaders(location), Json(represent::shift(view, execution, clock::wall()))))
}
