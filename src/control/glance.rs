//! What is seen of endpoints at a glance, and of one that is looked at.

use super::{
    EndpointView, ShiftView, TrafficWindow,
    ask::{Reply, respond},
    endpoint::{Endpoint, Links, LiveFleet},
    run::Run,
    series::{Point, Totals, Track},
    task::Task,
};
use crate::{
    fleet::{Health, Side},
    name::{EndpointName, ShiftId, Version},
    time::{Moment, WallTime},
    weight::Share,
};

/// How many seconds of an endpoint's requests are seen at a glance.
const TREND_SECONDS: usize = 60;

/// An endpoint among all others: made once a second for as many as there are, so it looks at no meter again.
#[derive(Clone, PartialEq, Debug)]
pub struct Glance {
    /// Its name.
    pub name: EndpointName,
    /// The fleet in service.
    pub blue: FleetGlance,
    /// The fleet coming in.
    pub green: Option<FleetGlance>,
    /// Green's share wanted.
    pub share: Share,
    /// Whether its shifts are kept from going on.
    pub is_frozen: bool,
    /// How many shifts wait for their turn.
    pub queued: usize,
    /// The running shift.
    pub shift: Option<ShiftGlance>,
    /// Requests in each of the last seconds, oldest first.
    pub trend: Vec<u32>,
}

/// A fleet at a glance.
#[derive(Clone, PartialEq, Debug)]
pub struct FleetGlance {
    /// What it serves.
    pub version: Version,
    /// How many instances it has.
    pub instances: usize,
    /// Of these, how many pass their checks, or have not been checked, and are not ejected.
    pub usable: usize,
    /// Requests in flight on them.
    pub in_flight: u64,
    /// The last seconds.
    pub recent: TrafficWindow,
}

/// A running shift at a glance.
#[derive(Clone, PartialEq, Debug)]
pub struct ShiftGlance {
    /// Its id.
    pub id: ShiftId,
    /// Its state by name.
    pub state: &'static str,
    /// The step it is in or reached, from 0; `None` before the first.
    pub step: Option<usize>,
    /// How many there are.
    pub steps: usize,
    /// How near the nearest alarm is, 0 to 1; `None` while none looks.
    pub nearness: Option<f32>,
}

/// An endpoint that somebody looks at.
#[derive(Clone, PartialEq, Debug)]
pub struct Scene {
    /// The endpoint.
    pub endpoint: EndpointView,
    /// Its running shift.
    pub shift: Option<ShiftView>,
    /// Points of its last minutes after the moment that was asked for.
    pub points: Vec<Point>,
}

/// Questions of who looks.
#[derive(Debug)]
pub(super) enum Look {
    /// All endpoints at a glance.
    Glances { reply: Reply<Vec<Glance>> },
    /// An endpoint with its running shift, and its points after a moment.
    Scene { name: EndpointName, after: Option<WallTime>, reply: Reply<Box<Scene>> },
    /// A running shift's traffic; `None` when it does not run.
    Track { id: ShiftId, reply: Reply<Option<Track>> },
}

impl Task {
    pub(super) fn look(&self, look: Look) {
        match look {
            Look::Glances { reply } => {
                let now = self.links.timer.now();
                respond(reply, Ok(self.endpoints.values().map(|endpoint| endpoint.glance(now)).collect()));
            }
            Look::Scene { name, after, reply } => {
                let scene = |endpoint: &Endpoint| Box::new(endpoint.scene(after, &self.links));
                respond(reply, self.endpoint(&name).map(scene));
            }
            Look::Track { id, reply } => {
                let mut runs = self.endpoints.values().filter_map(|endpoint| endpoint.run.as_ref());
                respond(reply, Ok(runs.find(|run| run.id == id).map(|run| run.track.clone())));
            }
        }
    }
}

impl Endpoint {
    /// Makes a point of the samples, if there are enough for one.
    pub(super) fn chart(&mut self, at: WallTime) {
        if !self.series.is_due() {
            return;
        }
        let point = self.point(at);
        self.series.push(point);
        if let Some(run) = &mut self.run {
            run.track(point);
        }
    }

    pub(super) fn glance(&self, now: Moment) -> Glance {
        let green = self.run.as_ref().and_then(|run| run.green.as_ref()?.fleet.as_ref());
        Glance {
            name: self.record.declared.name.clone(),
            blue: self.blue.glance(),
            green: green.map(LiveFleet::glance),
            share: self.share(),
            is_frozen: self.freeze.is_some(),
            queued: self.queue.len(),
            shift: self.run.as_ref().map(|run| run.glance(now)),
            trend: self.series.trend(TREND_SECONDS),
        }
    }

    pub(super) fn scene(&self, after: Option<WallTime>, links: &Links) -> Scene {
        Scene { endpoint: self.view(links), shift: self.shift_view(links), points: self.series.after(after) }
    }

    fn share(&self) -> Share {
        self.run.as_ref().map(Run::share).unwrap_or_default()
    }

    fn point(&self, at: WallTime) -> Point {
        let run = self.run.as_ref();
        let of = |side| Some(self.ring_of(run?, side)?.ring.point());
        Point {
            at,
            share: self.share(),
            nearness: run.and_then(Run::nearness),
            blue: of(Side::Blue).unwrap_or_else(|| self.blue.ring.point()),
            green: of(Side::Green),
        }
    }
}

impl LiveFleet {
    fn glance(&self) -> FleetGlance {
        let fleet = &self.route.fleet;
        let is_usable = |health, is_ejected: bool| match health {
            Health::Healthy | Health::Unknown => !is_ejected,
            Health::Unhealthy => false,
        };
        let usable = fleet.instances.iter();
        let usable = usable.filter(|instance| is_usable(instance.health(), instance.is_ejected()));
        FleetGlance {
            version: fleet.version.clone(),
            instances: fleet.instances.len(),
            usable: usable.count(),
            in_flight: fleet.in_flight(),
            recent: self.ring.latest(),
        }
    }
}

impl Run {
    /// Takes a point into its track.
    fn track(&mut self, point: Point) {
        let (blue, green) = (self.blue.meters.read(), self.green_reading());
        self.track.push(point, Totals::of(&blue), Totals::of(&green));
    }

    /// A point at a change of its state: what tipped it may have come since the last one.
    pub(super) fn track_change(&mut self, at: WallTime, share: Share) {
        let newest = self.track.newest();
        let green = newest.and_then(|newest| newest.green).unwrap_or_default();
        let point = Point {
            at,
            share,
            nearness: self.nearness(),
            blue: newest.map(|newest| newest.blue).unwrap_or_default(),
            green: self.green.as_ref().map(|_| green),
        };
        self.track(point);
    }

    fn glance(&self, now: Moment) -> ShiftGlance {
        let state = self.engine.state();
        ShiftGlance {
            id: self.id.clone(),
            state: state.as_str(),
            step: self.engine.snapshot(now).step,
            steps: self.engine.plan().steps().len(),
            nearness: self.nearness(),
        }
    }

    /// How near the nearest of its alarms is, while they look at green.
    #[expect(clippy::cast_possible_truncation, reason = "a chart shows no more digits")]
    fn nearness(&self) -> Option<f32> {
        let watched = &self.green.as_ref()?.watched;
        if !watched.is_live() {
            // Whoever aborts has no alarm to be near to.
            return watched.snapped().filter(|snap| snap.breach.is_some()).map(|_| 1.0);
        }
        let tests = watched.evidence().into_iter().map(|evidence| evidence.nearness());
        let thresholds = watched.thresholds().into_iter().map(|evidence| evidence.nearness());
        let externals = watched.externals().into_iter().map(|external| external.evidence.nearness());
        tests.chain(thresholds).chain(externals).reduce(f64::max).map(|nearness| nearness as f32)
    }
}
