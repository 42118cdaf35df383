//! `/v1/reload`, `/metrics` and the API's own description.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, response::IntoResponse};
use http::header;

use super::{
    actor::HeaderActor,
    extract::{Change, Nothing, Parameters},
    problem::Fault,
    state::Port,
    wire,
};
use crate::{
    control::{ControlError, EndpointView, FleetView, Handle, InstanceView},
    delivery::WebhookStatus,
    fleet::Health,
    telemetry::{CONTENT_TYPE, DeliveryFigures, FleetFigures, ShiftFigures, WebhookFigures},
};

/// How long a scrape waits for control: less than the ten seconds that Prometheus gives a scrape, and enough for a commit to a busy disk.
const CONTROL_PATIENCE: Duration = Duration::from_secs(2);

/// The API's description, kept by hand; tests hold it against the routes and the wire types.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// Reads the configuration file again and applies it. A file with problems changes nothing.
pub(super) async fn reload(
    State(port): State<Arc<Port>>,
    Parameters(change): Parameters<Change>,
    actor: HeaderActor,
) -> Result<Json<wire::Reload>, Fault> {
    let actor = actor.or(None)?;
    let path = port.source.clone().ok_or(Fault::NoSource)?;
    let changes = port.handle.reload(path, &actor, change.execution()).await?;
    Ok(Json(wire::Reload { changes }))
}

pub(super) async fn openapi(Parameters(Nothing {}): Parameters<Nothing>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

pub(super) async fn metrics(State(port): State<Arc<Port>>) -> impl IntoResponse {
    let figures = tokio::time::timeout(CONTROL_PATIENCE, figures(&port.handle)).await;
    let figures = match figures {
        Ok(Ok(figures)) => Some(figures),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a scrape goes without the figures of shifts and fleets");
            None
        }
        Err(_) => {
            tracing::warn!(
                "a scrape goes without the figures of shifts and fleets: control did not answer in time"
            );
            None
        }
    };
    port.telemetry.note_deliveries(delivery_figures(&port));
    let (shifts, fleets) = figures.unzip();
    port.telemetry.note_fleets(fleets);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], port.telemetry.render(shifts.as_deref()))
}

fn delivery_figures(port: &Port) -> DeliveryFigures {
    let figures = |status: WebhookStatus| WebhookFigures {
        name: status.name,
        delivered: status.delivered,
        failed: status.failed,
        given_up: status.given_up,
        waiting: status.pending.len(),
    };
    DeliveryFigures {
        webhooks: port.webhooks.counts().into_iter().map(figures).collect(),
        is_file_failing: port.webhooks.file().map(|file| file.problem.is_some()),
    }
}

async fn figures(handle: &Handle) -> Result<(Vec<ShiftFigures>, Vec<FleetFigures>), ControlError> {
    let endpoints = handle.endpoints().await?;
    let fleets = endpoints.iter().flat_map(fleet_figures).collect();
    Ok((shift_figures(handle, endpoints).await?, fleets))
}

fn fleet_figures(endpoint: &EndpointView) -> impl Iterator<Item = FleetFigures> {
    let figures = |fleet: &FleetView| {
        let is_ready = |instance: &&InstanceView| instance.health == Health::Healthy && !instance.is_ejected;
        FleetFigures {
            endpoint: endpoint.declared.name.clone(),
            side: fleet.side,
            desired: fleet.desired.map_or(fleet.instances.len() as u64, u64::from),
            ready: fleet.instances.iter().filter(is_ready).count() as u64,
        }
    };
    std::iter::once(&endpoint.blue).chain(&endpoint.green).map(figures)
}

async fn shift_figures(
    handle: &Handle,
    endpoints: Vec<EndpointView>,
) -> Result<Vec<ShiftFigures>, ControlError> {
    let mut figures = Vec::new();
    for endpoint in endpoints {
        let Some(id) = endpoint.running_shift else { continue };
        let shift = match handle.shift(&id).await {
            Ok(shift) => shift,
            // It ended between the two questions, and its record went.
            Err(ControlError::NoShift(_)) => continue,
            Err(error) => return Err(error),
        };
        if !shift.state.is_terminal() {
            figures.push(ShiftFigures {
                budget: shift.budget(),
                endpoint: shift.endpoint,
                state: shift.state.as_str(),
                alarms: shift.alarms.into_iter().map(|alarm| alarm.evidence).collect(),
                thresholds: shift.thresholds,
                externals: shift.externals.into_iter().map(|external| external.evidence).collect(),
            });
        }
    }
    Ok(figures)
}
