//! What the live stream says once a second.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    represent,
    series::Series,
    wire::{Endpoint, Recent, Shift},
};
use crate::{
    clock,
    control::{self, Execution, Scene},
    time::WallTime,
};

/// An endpoint among all others.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Glance {
    /// Its name.
    pub name: String,
    /// The fleet in service.
    pub blue: FleetGlance,
    /// The fleet coming in.
    pub green: Option<FleetGlance>,
    /// Green's share wanted, 0 to 1.
    pub share: f64,
    /// Whether its shifts are kept from going on.
    pub frozen: bool,
    /// How many shifts wait for their turn.
    pub queued: usize,
    /// The running shift.
    pub shift: Option<ShiftGlance>,
}

/// A fleet at a glance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FleetGlance {
    /// What it serves.
    pub version: String,
    /// How many instances it has.
    pub instances: usize,
    /// Of these, how many take requests as far as checks and ejections say.
    pub usable: usize,
    /// Requests in flight on them.
    pub in_flight: u64,
    /// The last seconds.
    pub recent: Recent,
}

/// A running shift at a glance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ShiftGlance {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// The step it is in or reached, from 1; null before the first.
    pub step: Option<usize>,
    /// How many there are.
    pub steps: usize,
    /// How near the nearest alarm is, 0 to 1; null while none looks.
    pub nearness: Option<f32>,
}

/// All endpoints at a glance: the first message of a stream has all of them, each later one those that have changed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Glances {
    /// When.
    pub at: String,
    /// Those that are new or have changed, by name.
    pub endpoints: Vec<Glance>,
    /// The names of those that are gone.
    pub gone: Vec<String>,
    /// Requests in each of the last sixty seconds, oldest first, by name; empty but in the first message.
    pub trends: BTreeMap<String, Vec<u32>>,
}

/// The endpoint that a stream is about.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    pub at: String,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its running shift.
    pub shift: Option<Shift>,
    /// The points since the message before; in the first one, those of the last minutes.
    pub series: Series,
}

/// What a stream of all endpoints has said so far.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<String, Glance>);

impl Known {
    /// What is news about the endpoints.
    pub(super) fn news(&mut self, glances: Vec<control::Glance>) -> Glances {
        let is_first = self.0.is_empty();
        let (mut endpoints, mut trends, mut known) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for glance in glances {
            let (glance, trend) = Glance::of(glance);
            if is_first {
                trends.insert(glance.name.clone(), trend);
            }
            if self.0.get(&glance.name) != Some(&glance) {
                endpoints.push(glance.clone());
            }
            known.insert(glance.name.clone(), glance);
        }
        let gone = self.0.keys().filter(|name| !known.contains_key(*name)).cloned().collect();
        self.0 = known;
        Glances { at: clock::wall().to_string(), endpoints, gone, trends }
    }
}

impl Glance {
    /// The endpoint, and its last requests.
    fn of(glance: control::Glance) -> (Self, Vec<u32>) {
        let control::Glance { name, blue, green, share, is_frozen, queued, shift, trend } = glance;
        let glance = Self {
            name: name.to_string(),
            blue: blue.into(),
            green: green.map(FleetGlance::from),
            share: share.as_fraction(),
            frozen: is_frozen,
            queued,
            shift: shift.map(ShiftGlance::from),
        };
        (glance, trend)
    }
}

impl From<control::FleetGlance> for FleetGlance {
    fn from(glance: control::FleetGlance) -> Self {
        let control::FleetGlance { version, instances, usable, in_flight, recent } = glance;
        let version = version.to_string();
        Self { version, instances, usable, in_flight, recent: represent::recent(&recent) }
    }
}

impl From<control::ShiftGlance> for ShiftGlance {
    fn from(glance: control::ShiftGlance) -> Self {
        let control::ShiftGlance { id, state, step, steps, nearness } = glance;
        let (id, state) = (id.to_string(), state.to_owned());
        Self { id, state, step: step.map(|index| index + 1), steps, nearness }
    }
}

impl Seen {
    /// The scene, and the moment of its last point.
    pub(super) fn of(scene: Scene) -> (Self, Option<WallTime>) {
        let Scene { endpoint, shift, points } = scene;
        let now = clock::wall();
        let seen = Self {
            at: now.to_string(),
            endpoint: represent::endpoint(endpoint),
            shift: shift.map(|shift| represent::shift(shift, Execution::Real, now)),
            series: Series::of(&points, 1),
        };
        (seen, points.last().map(|point| point.at))
    }
}
