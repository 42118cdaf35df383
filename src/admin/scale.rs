//! `/v1/endpoints/{name}/scale`: how many instances the fleet in service has.

use std::{num::NonZeroU32, sync::Arc};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{
    actor::HeaderActor,
    extract::{Change, EndpointPath, Parameters, Scale},
    problem::Fault,
    represent,
    state::Port,
    wire,
};

/// The body of `POST /v1/endpoints/{name}/scale`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleBody {
    /// How many instances the fleet in service is to have.
    pub count: NonZeroU32,
    /// Who; `operator` when absent.
    #[serde(default)]
    pub actor: Option<String>,
}

pub(super) async fn scale(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(change): Parameters<Change>,
    actor: HeaderActor,
    Scale(body): Scale,
) -> Result<Json<wire::Endpoint>, Fault> {
    let ScaleBody { count, actor: named } = body;
    let view = port.handle.scale_endpoint(&name, count, &actor.or(named)?, change.execution()).await?;
    Ok(Json(represent::endpoint(view)))
}
