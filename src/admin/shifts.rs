//! `/v1/endpoints/{name}/shifts` and `/v1/shifts`

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::AppendHeaders,
    routing::{MethodRouter, post},
};
use http::{HeaderName, StatusCode, header};

use super::{
    actor::HeaderActor,
    extract::{Change, Document, EndpointPath, Nothing, OptionalCommand, Parameters, ShiftPath, Start},
    problem::Fault,
    represent,
    state::Port,
    wire,
};
use crate::{
    clock,
    config::PlanSpec,
    control::{Execution, ShiftCommand},
    shift::Command,
};

/// Where the new shift is to be found.
type Location = AppendHeaders<Option<(HeaderName, String)>>;

pub(super) async fn list(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<wire::Shifts>, Fault> {
    let now = clock::wall();
    let views = port.handle.shifts(&name).await?;
    let shifts = views.into_iter().map(|view| represent::shift(view, Execution::Real, now)).collect();
    Ok(Json(wire::Shifts { shifts }))
}

pub(super) async fn start(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(start): Parameters<Start>,
    actor: HeaderActor,
    Document(document): Document,
) -> Result<(StatusCode, Location, Json<wire::Shift>), Fault> {
    let plan = PlanSpec::from_json(&document)?;
    let (execution, rate) = start.execution()?;
    let actor = actor.or(None)?;
    let view = match execution {
        Execution::Real => port.handle.start_shift(&name, plan, &actor, execution).await?,
        Execution::Dry => port.handle.check_shift(&name, plan, &actor, rate).await?,
    };
    let (status, location) = match execution {
        Execution::Real => (StatusCode::CREATED, Some((header::LOCATION, format!("/v1/shifts/{}", view.id)))),
        Execution::Dry => (StatusCode::OK, None),
    };
    Ok((status, AppendHeaders(location), Json(represent::shift(view, execution, clock::wall()))))
}

pub(super) async fn show(
    State(port): State<Arc<Port>>,
    ShiftPath(id): ShiftPath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<wire::Shift>, Fault> {
    let view = port.handle.shift(&id).await?;
    Ok(Json(represent::shift(view, Execution::Real, clock::wall())))
}

/// `POST /v1/shifts/{id}/...` for one command.
pub(super) fn commanding(command: Command) -> MethodRouter<Arc<Port>> {
    post(move |state, path, change, actor, body| carry_out(command, state, path, change, actor, body))
}

/// `POST /v1/shifts/{id}/promote`: all bakes that are left, or one.
pub(super) async fn promote(
    State(port): State<Arc<Port>>,
    ShiftPath(id): ShiftPath,
    Parameters(change): Parameters<Change>,
    actor: HeaderActor,
    OptionalCommand(body): OptionalCommand<wire::PromoteBody>,
) -> Result<Json<wire::Shift>, Fault> {
    let wire::PromoteBody { reason, actor: named, skip, step } = body;
    let command = match (skip, step) {
        (wire::Skip::All, None) => Command::Promote,
        (wire::Skip::All, Some(_)) => {
            let message = "step says whose bake is to be skipped: add \"skip\": \"bake\", or leave it out";
            return Err(Fault::Shape(serde::de::Error::custom(message)));
        }
        (wire::Skip::Bake, Some(step)) => Command::SkipBake { step: step.get() - 1 },
        // Named here, so that it is this bake that is skipped even if the shift goes on in the meantime.
        (wire::Skip::Bake, None) => {
            Command::SkipBake { step: port.handle.shift(&id).await?.step.unwrap_or_default() }
        }
    };
    let command = ShiftCommand { command, actor: actor.because(named, reason)? };
    let view = port.handle.command_shift(&id, command, change.execution()).await?;
    Ok(Json(represent::shift(view, Execution::Real, clock::wall())))
}

async fn carry_out(
    command: Command,
    State(port): State<Arc<Port>>,
    ShiftPath(id): ShiftPath,
    Parameters(change): Parameters<Change>,
    actor: HeaderActor,
    OptionalCommand(body): OptionalCommand,
) -> Result<Json<wire::Shift>, Fault> {
    let wire::CommandBody { reason, actor: named } = body;
    let command = ShiftCommand { command, actor: actor.because(named, reason)? };
    let view = port.handle.command_shift(&id, command, change.execution()).await?;
    Ok(Json(represent::shift(view, Execution::Real, clock::wall())))
}
