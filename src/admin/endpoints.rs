//! `/v1/endpoints`

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    actor::HeaderActor,
    extract::{Change, Document, EndpointPath, Nothing, Parameters},
    problem::Fault,
    represent,
    state::Port,
    wire,
};
use crate::{
    config::EndpointSpec,
    control::{ControlError, Execution},
};

pub(super) async fn list(
    State(port): State<Arc<Port>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<wire::Endpoints>, Fault> {
    let views = port.handle.endpoints().await?;
    Ok(Json(wire::Endpoints { endpoints: views.into_iter().map(represent::endpoint).collect() }))
}

pub(super) async fn show(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<wire::Endpoint>, Fault> {
    Ok(Json(represent::endpoint(port.handle.endpoint(&name).await?)))
}

/// 201 for an endpoint that was not there, as RFC 9110 section 9.3.4 demands. Two clients that declare the same new one at once may both
/// be told 201; the second has replaced what the first declared all the same.
pub(super) async fn put(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(change): Parameters<Change>,
    actor: HeaderActor,
    Document(document): Document,
) -> Result<(StatusCode, Json<wire::Endpoint>), Fault> {
    let spec = EndpointSpec::from_json(&name, &document)?;
    let actor = actor.or(None)?;
    let is_new = match port.handle.endpoint(&name).await {
        Ok(_) => false,
        Err(ControlError::NoEndpoint { .. }) => true,
        Err(error) => return Err(error.into()),
    };
    let view = port.handle.put_endpoint(spec, &actor, change.execution()).await?;
    let status = match (is_new, change.execution()) {
        (true, Execution::Real) => StatusCode::CREATED,
        (true, Execution::Dry) | (false, _) => StatusCode::OK,
    };
    Ok((status, Json(represent::endpoint(view))))
}

pub(super) async fn delete(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(change): Parameters<Change>,
    actor: HeaderActor,
) -> Result<StatusCode, Fault> {
    port.handle.delete_endpoint(&name, &actor.or(None)?, change.execution()).await?;
    Ok(StatusCode::NO_CONTENT)
}
