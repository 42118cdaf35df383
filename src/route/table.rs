//! The table and what it holds.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName};

use super::{
    Balance, FailureClasses, Invocations, MatchRule, Protection, RequestKey, RescuePolicy, Rewrite, Session,
    Shadow, Signals, Sticky, Upgrades, matching::Fit, sticky_side,
};
use crate::{
    fleet::{Fleet, Side},
    meter::{FleetMeters, Part, Recorder, Recording, WatchPoint},
    name::{EndpointName, ShiftId},
    weight::Share,
};

/// The number of a published table. Strictly rising (invariant S8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(pub u64);

/// A small number that an endpoint keeps for as long as it exists, so that a worker can hold its deck in an array.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct EndpointSlot(pub u32);

/// All endpoints at a moment.
#[derive(Debug, Default)]
pub struct RouteTable {
    generation: Generation,
    /// In order of precedence: the first whose rule fits takes the request.
    endpoints: Vec<Arc<EndpointRoute>>,
    paths: Paths,
}

/// Whether any rule of a table looks at paths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Paths {
    #[default]
    Ignored,
    Compared,
}

/// What a table says about a request.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    /// It belongs to this endpoint.
    Found(&'a Arc<EndpointRoute>),
    /// It depends on the model that its body names.
    NeedsModel,
    /// No endpoint takes it.
    Nobody,
}

/// One endpoint at a moment.
#[derive(Clone, Debug)]
pub struct EndpointRoute {
    /// Where a worker keeps this endpoint's deck.
    pub slot: EndpointSlot,
    /// The endpoint's name.
    pub name: EndpointName,
    /// Which requests are its own.
    pub rule: MatchRule,
    /// Bounds on its requests.
    pub limits: Limits,
    /// What counts as a failure of its fleets.
    pub failures: FailureClasses,
    /// When its requests may be sent a second time.
    pub rescue: RescuePolicy,
    /// Where its requests carry the key of their session, if sessions are to stay on a fleet.
    pub sticky: Option<Sticky>,
    /// The header by which a request names its variant, whatever the variants weigh.
    pub variant_header: Option<HeaderName>,
    /// Its clients speak Amazon SageMaker Runtime's API.
    pub invocations: Option<Invocations>,
    /// How its instances share its requests.
    pub balance: Balance,
    /// What keeps its instances, and its clients, from instances in trouble.
    pub protection: Protection,
    /// What its model servers get instead of the path that clients send.
    pub rewrite: Option<Rewrite>,
    /// What its clients may switch their connection to.
    pub upgrades: Upgrades,
    /// What is read of its streams.
    pub signals: Signals,
    /// Green's share.
    pub split: Split,
    /// The fleet in service.
    pub blue: FleetRoute,
    /// The fleet coming in, while a shift runs.
    pub green: Option<FleetRoute>,
    /// Where the running shift is, while green has a place in the table. For whoever tells of requests; nothing is decided by it.
    pub leg: Option<Arc<Leg>>,
    /// The running shift's, while one runs.
    pub watch: Option<Arc<WatchPoint>>,
    /// Where its outcomes are recorded, if they are.
    pub recording: Recording,
    /// What gets copies of its requests.
    pub shadow: Option<Arc<Shadow>>,
}

/// How far a shift has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leg {
    /// Which shift.
    pub shift: ShiftId,
    /// The step that it is in, from 1.
    pub step: usize,
}

/// Green's share, and when it was set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Split {
    /// Green's share of the requests; the rest is blue's.
    pub green: Share,
    /// Changes whenever the share does: a deck dealt under another epoch is thrown away.
    pub epoch: u64,
}

/// A fleet as the data plane sees it.
#[derive(Clone, Debug)]
pub struct FleetRoute {
    /// Its instances.
    pub fleet: Arc<Fleet>,
    /// Where its outcomes are counted.
    pub meters: Arc<FleetMeters>,
}

/// Bounds on an endpoint's requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// To make an upstream connection.
    pub connect_timeout: Duration,
    /// From the request's last byte to the response's head.
    pub head_timeout: Duration,
    /// Between two parts of a body, in either direction.
    pub idle_timeout: Duration,
    /// From the request's head to the response's last byte; `None` for as long as it flows.
    pub total_timeout: Option<Duration>,
    /// From the moment that an instance has switched protocols to the tunnel's end; `None` for as long as it is used.
    pub upgrade_lifetime: Option<Duration>,
    /// The largest request head; larger ones get 431. `None` where the data port's own bound is enough.
    pub head_limit_bytes: Option<usize>,
    /// What becomes of a request whose client closes its sending side.
    pub on_half_close: HalfClose,
    /// The largest request body; larger ones get 413.
    pub body_limit_bytes: u64,
    /// The largest request body that is kept for a second try.
    pub replay_limit_bytes: usize,
}

/// What becomes of a request of HTTP/1 when its client closes its sending side before the answer. One that has gone away and one
/// that will send no more and waits look the same until something is written to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HalfClose {
    /// It is taken for gone, and the model server is told to stop.
    Cancel,
    /// It is answered. Had it gone, that shows at the second thing that is written: at a token, or not before the answer.
    Serve,
}

impl HalfClose {
    /// `cancel` or `serve`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Serve => "serve",
        }
    }
}

impl RouteTable {
    /// A table of these endpoints, put in order of precedence.
    pub fn new(generation: Generation, mut endpoints: Vec<Arc<EndpointRoute>>) -> Self {
        endpoints.sort_by(|left, right| {
            left.rule.precedence(&right.rule).then_with(|| left.name.cmp(&right.name))
        });
        let looks_at_path = |route: &Arc<EndpointRoute>| {
            route.rule.path_prefix.is_some() || !route.rule.models.is_empty() || route.rewrite.is_some()
        };
        let paths = if endpoints.iter().any(looks_at_path) { Paths::Compared } else { Paths::Ignored };
        Self { generation, endpoints, paths }
    }

    /// The table's number.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The endpoints in order of precedence.
    pub fn endpoints(&self) -> &[Arc<EndpointRoute>] {
        &self.endpoints
    }

    /// The endpoint that a request belongs to.
    ///
    /// The model is asked for only where a rule that is next in precedence fits in everything else.
    pub fn find(&self, key: &RequestKey<'_>) -> Lookup<'_> {
        for endpoint in &self.endpoints {
            match endpoint.rule.fits(key) {
                Fit::Yes => return Lookup::Found(endpoint),
                Fit::DependsOnModel => return Lookup::NeedsModel,
                Fit::No => {}
            }
        }
        Lookup::Nobody
    }

    /// Whether any rule looks at paths, so that they have to be brought to their normalised form.
    pub fn compares_paths(&self) -> bool {
        self.paths == Paths::Compared
    }

    /// The endpoint of this name.
    pub fn named(&self, name: &EndpointName) -> Option<&Arc<EndpointRoute>> {
        self.endpoints.iter().find(|endpoint| endpoint.name == *name)
    }
}

impl EndpointRoute {
    /// The fleet that the session of a request belongs to; `None` when the request is to be dealt. Outside of a shift there is one
    /// fleet, and no key is looked for.
    pub fn session_side(&self, headers: &HeaderMap) -> Option<Side> {
        let green = self.green.as_ref()?;
        let key = self
            .session_key(headers)
            .or_else(|| self.invocations.as_ref().and_then(|_| Session::key(headers)))?;
        Some(sticky_side(key, green.fleet.version.as_str(), self.split.green))
    }

    /// The key of a request's session, where sessions stay on a fleet.
    pub(super) fn session_key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        self.sticky.as_ref()?.key(headers)
    }

    /// Records what follows, if anything is recorded, under the fleets and the share of this moment, which are this shift's.
    pub fn record_under(&mut self, shift: Option<&ShiftId>) {
        if let Some(recorder) = self.recording.recorder().cloned() {
            self.record_to(Some(recorder), shift);
        }
    }

    /// Records what follows there, or nowhere.
    pub fn record_to(&mut self, recorder: Option<Arc<Recorder>>, shift: Option<&ShiftId>) {
        let has_share = self.split.green != Share::NONE;
        self.recording = recorder.map_or_else(Recording::default, |recorder| {
            let part = Part {
                blue: self.blue.fleet.version.clone(),
                green: self.green.as_ref().map(|green| green.fleet.version.clone()),
                shift: shift.filter(|_| has_share).cloned(),
                share: self.split.green,
            };
            Recording::to(recorder, part)
        });
    }

    /// A fleet of this endpoint.
    pub fn fleet(&self, side: Side) -> Option<&FleetRoute> {
        match side {
            Side::Blue => Some(&self.blue),
            Side::Green => self.green.as_ref(),
        }
    }
}

impl Default for Limits {
    /// Inference is slow to answer and large in both directions: a non-streaming answer may take minutes. A tunnel that lives longer than a
    /// day is kept open by pings alone: model servers end their realtime sessions within an hour or so.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            head_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(60),
            total_timeout: None,
            upgrade_lifetime: Some(Duration::from_secs(24 * 60 * 60)),
            head_limit_bytes: None,
            on_half_close: HalfClose::Cancel,
            body_limit_bytes: 1 << 30,
            replay_limit_bytes: 1 << 20,
        }
    }
}
