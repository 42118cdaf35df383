//! `/v1/endpoints/{name}/series` and `/v1/shifts/{id}/series`: traffic over time, column by column.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{
    extract::{EndpointPath, Nothing, Parameters, ShiftPath},
    problem::Fault,
    state::Port,
};
use crate::control::{FleetPoint, Point};

/// Traffic over time: every column has one entry for each point.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Series {
    /// How long a point stands for; the last of a running shift may stand for less.
    pub every_ms: u64,
    /// When each point ends, in milliseconds since 1970.
    pub at_ms: Vec<i64>,
    /// Green's share wanted, 0 to 1.
    pub share: Vec<f64>,
    /// How near the nearest alarm is, 0 to 1; null while none looks.
    pub nearness: Vec<Option<f64>>,
    /// The fleet in service.
    pub blue: FleetSeries,
    /// The fleet coming in; null entries while there is none.
    pub green: FleetSeries,
}

/// A fleet's traffic over time.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct FleetSeries {
    /// Dealt.
    pub requests: Vec<Option<u32>>,
    /// Settled, without what counts for nobody.
    pub settled: Vec<Option<u32>>,
    /// Of these, failures.
    pub failed: Vec<Option<u32>>,
    /// In flight at the end.
    pub in_flight: Vec<Option<u32>>,
    /// Median of five seconds, dispatch to last byte.
    pub p50_ms: Vec<Option<f64>>,
    /// 99th percentile of the same.
    pub p99_ms: Vec<Option<f64>>,
    /// Median of five seconds, dispatch to the first token, of streams.
    pub first_token_p50_ms: Vec<Option<f64>>,
    /// 99th percentile of the same.
    pub first_token_p99_ms: Vec<Option<f64>>,
}

impl Series {
    /// Of points that stand for so many seconds each.
    pub(super) fn of(points: &[Point], every_seconds: u32) -> Self {
        Self {
            every_ms: u64::from(every_seconds) * 1_000,
            at_ms: points.iter().map(|point| point.at.as_millis()).collect(),
            share: points.iter().map(|point| point.share.as_fraction()).collect(),
            nearness: points.iter().map(|point| point.nearness.map(thousandths)).collect(),
            blue: FleetSeries::of(points.iter().map(|point| Some(point.blue))),
            green: FleetSeries::of(points.iter().map(|point| point.green)),
        }
    }
}

impl FleetSeries {
    fn of(points: impl Iterator<Item = Option<FleetPoint>>) -> Self {
        let mut series = Self::default();
        for point in points {
            series.requests.push(point.map(|point| point.requests));
            series.settled.push(point.map(|point| point.settled));
            series.failed.push(point.map(|point| point.failed));
            series.in_flight.push(point.map(|point| point.in_flight));
            series.p50_ms.push(point.and_then(|point| millis(point.p50_us)));
            series.p99_ms.push(point.and_then(|point| millis(point.p99_us)));
            series.first_token_p50_ms.push(point.and_then(|point| millis(point.first_token_p50_us)));
            series.first_token_p99_ms.push(point.and_then(|point| millis(point.first_token_p99_us)));
        }
        series
    }
}

fn millis(micros: Option<u32>) -> Option<f64> {
    micros.map(|micros| f64::from(micros) / 1_000.0)
}

/// No chart shows more digits.
fn thousandths(fraction: f32) -> f64 {
    (f64::from(fraction) * 1_000.0).round() / 1_000.0
}

pub(super) async fn of_endpoint(
    State(port): State<Arc<Port>>,
    EndpointPath(name): EndpointPath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Series>, Fault> {
    let scene = port.handle.scene(&name, None).await?;
    Ok(Json(Series::of(&scene.points, 1)))
}

pub(super) async fn of_shift(
    State(port): State<Arc<Port>>,
    ShiftPath(id): ShiftPath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Series>, Fault> {
    let track = port.handle.track(&id).await?;
    Ok(Json(Series::of(&track.points(), track.every_seconds())))
}
