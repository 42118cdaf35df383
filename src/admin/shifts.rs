//! `/v1/endpoints/{name}/shifts` and `/v1/shifts`

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::AppendHeaders,
    routing::{MethodRouter, post},
};
use http::{HeaderName, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{
    actor::HeaderActor,
    extract::{Change, Document, EndpointPath, Nothing, OptionalCommand, Parameters, ShiftPath, Start},
    problem::Fault,
    queue, represent,
    state::Port,
    wire,
};
use crate::{
    clock,
    config::PlanSpec,
    control::{self, Execution, ShiftCommand},
    lint::Finding,
    shift::Command,
};

/// The answer to `POST /v1/endpoints/{name}/shifts`: only what waits has a place in a queue.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Submitted {
    /// It waits for its turn.
    Queued(Box<wire::Queued>),
    /// It has begun.
    Begun(Box<wire::Shift>),
}

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
) -> Result<(StatusCode, Location, Json<Submitted>), Fault> {
    let mut plan = PlanSpec::from_json(&document)?;
    if let Some(if_running) = start.if_running()? {
        // What the plan says of the order among those that wait holds on for one that waits.
        plan.turn.if_running = if_running;
    }
    let (execution, rate) = start.execution()?;
    let actor = actor.or(None)?;
    let more = alarms_findings(&port, &plan, execution);
    let submitted = match execution {
        Execution::Real => port.handle.submit_shift(&name, plan, &actor).await?,
        Execution::Dry => port.handle.check_shift(&name, plan, &actor, rate).await?,
    };
    let (status, place, document) = match submitted {
        control::Submitted::Begun(mut view) => {
            view.findings.extend(more);
            view.findings.sort_by_key(|finding| finding.severity);
            let place = format!("/v1/shifts/{}", view.id);
            let shift = represent::shift(*view, execution, clock::wall());
            (StatusCode::CREATED, place, Submitted::Begun(Box::new(shift)))
        }
        control::Submitted::Queued(view) => {
            let document = Submitted::Queued(Box::new(queue::queued(*view, execution)));
            (StatusCode::ACCEPTED, format!("/v1/endpoints/{name}/queue"), document)
        }
    };
    let (status, location) = match execution {
        Execution::Real => (status, Some((header::LOCATION, place))),
        Execution::Dry => (StatusCode::OK, None),
    };
    Ok((status, AppendHeaders(location), Json(document)))
}

/// What alarms that clients of Amazon's have defined cannot do in a plan that names them.
fn alarms_findings(port: &Port, plan: &PlanSpec, execution: Execution) -> Vec<Finding> {
    match (&port.sagemaker, execution) {
        (Some(api), Execution::Dry) => api.cloudwatch().findings(plan),
        (Some(_) | None, _) => Vec::new(),
    }
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
