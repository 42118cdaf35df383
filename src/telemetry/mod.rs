//! What the process says about itself to machines (metrics) and to its log.

mod log;

pub use log::{LogError, start_logging};

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{meter::WorkerMeters, route::RouteTable};

/// The collector behind `GET /metrics`.
#[derive(Debug)]
pub struct Telemetry {}

impl Telemetry {
    /// Reads the meters of whatever this table holds, and these workers' own.
    pub fn new(_table: Arc<ArcSwap<RouteTable>>, _workers: Arc<[WorkerMeters]>) -> Self {
        todo!()
    }
}
