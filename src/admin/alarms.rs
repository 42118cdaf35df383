//! `/v1/alarms`: reports on external alarms.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{
    actor::HeaderActor,
    extract::{AlarmPath, Change, Parameters, StateReport},
    problem::Fault,
    represent,
    state::Port,
    wire,
};
use crate::control::Report;

/// Longer than any sentence; it stands in the shift's representation and in its journal. What is longer is cut.
const REASON_LIMIT: usize = 1_000;

pub(super) async fn report(
    State(port): State<Arc<Port>>,
    AlarmPath(name): AlarmPath,
    Parameters(change): Parameters<Change>,
    actor: HeaderActor,
    StateReport(body): StateReport,
) -> Result<Json<wire::AlarmReported>, Fault> {
    let wire::AlarmReport { state, reason, actor: named } = body;
    let reason = reason.chars().take(REASON_LIMIT).collect();
    let state_said = represent::reported(state);
    let report = Report { name: name.clone(), state: state_said, actor: actor.or(named)?, reason };
    let shifts = port.handle.report_alarm(report, change.execution()).await?;
    Ok(Json(wire::AlarmReported { name, state, shifts: shifts.iter().map(ToString::to_string).collect() }))
}
