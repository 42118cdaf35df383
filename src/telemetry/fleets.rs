//! How many instances fleets are to have and have, as control knows it: of a rolling shift the table names a part alone.

use super::{collector::real, exposition::Exposition, names};
use crate::{fleet::Side, name::EndpointName};

/// A fleet's instances, for the metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FleetFigures {
    /// Whose.
    pub endpoint: EndpointName,
    /// Which of its fleets.
    pub side: Side,
    /// How many it is to have.
    pub desired: u64,
    /// How many of those that it has pass their checks and are not ejected.
    pub ready: u64,
}

/// Series go with the fleet, since each scrape writes those that there are.
pub(super) fn write(text: &Exposition, fleets: &[FleetFigures]) {
    let desired = text.gauges(&names::DESIRED_INSTANCES);
    let ready = text.gauges(&names::READY_INSTANCES);
    for fleet in fleets {
        let labels = [fleet.endpoint.as_str(), fleet.side.as_str()];
        desired(labels, real(fleet.desired));
        ready(labels, real(fleet.ready));
    }
}
