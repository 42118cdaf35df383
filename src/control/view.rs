//! What control shows: consistent copies, made for one question.

use std::time::Duration;

use super::{Fate, Lineage};
use crate::{
    alarm::{AlarmEvidence, Budget, ExternalEvidence, Safety, ThresholdEvidence},
    config::{EndpointSpec, PlanSpec},
    fleet::{Address, Health, Side, VariantWeight, Weight},
    lint::{Finding, Forecast},
    meter::FailureKind,
    name::{EndpointName, ShiftId, VariantName, Version},
    route::{Generation, Miss},
    shift::State,
    store::{Freeze, Moments, Origin, QueuedShift},
    time::WallTime,
    weight::Share,
};

/// An endpoint now.
#[derive(Clone, PartialEq, Debug)]
pub struct EndpointView {
    /// What was declared.
    pub declared: EndpointSpec,
    /// By whom.
    pub origin: Origin,
    /// The fleet in service.
    pub blue: FleetView,
    /// The fleet coming in.
    pub green: Option<FleetView>,
    /// What gets copies of its requests; `None` also in what would be, as it has got none yet.
    pub shadow: Option<ShadowView>,
    /// Green's share.
    pub share: Share,
    /// The table that serves this.
    pub generation: Generation,
    /// What keeps its shifts from going on.
    pub freeze: Option<Freeze>,
    /// The running shift.
    pub running_shift: Option<ShiftId>,
    /// Shifts that wait for their turn, in their order.
    pub queue: Vec<QueuedView>,
}

/// A shift that waits for its turn.
#[derive(Clone, PartialEq, Debug)]
pub struct QueuedView {
    /// What waits.
    pub queued: QueuedShift,
    /// Its place, from 1.
    pub place: usize,
    /// What it waits for, in a clause.
    pub waits_for: String,
    /// The earliest moment at which it may begin, by its plan; `None` where its plan makes it wait for none.
    pub not_before: Option<WallTime>,
}

/// A fleet now.
#[derive(Clone, PartialEq, Debug)]
pub struct FleetView {
    /// Blue or green.
    pub side: Side,
    /// What it serves.
    pub version: Version,
    /// How many instances are wanted, where a provider makes them.
    pub desired: Option<u32>,
    /// Its instances.
    pub instances: Vec<InstanceView>,
    /// Its variants; none where it has one, without a name.
    pub variants: Vec<VariantView>,
    /// Requests that wait for room on an instance.
    pub waiting: u64,
    /// What its requests came to since the fleet came into service.
    pub traffic: Traffic,
    /// The same over the last seconds.
    pub recent: TrafficWindow,
}

/// An endpoint's shadow now.
#[derive(Clone, PartialEq, Debug)]
pub struct ShadowView {
    /// What it is called.
    pub name: VariantName,
    /// Which part of the requests it gets copies of.
    pub share: Share,
    /// Its fleet.
    pub fleet: FleetView,
    /// Of how many requests there was no copy, in the order of [`Miss::ALL`].
    pub missed: [u64; Miss::ALL.len()],
}

/// A variant of a fleet now.
#[derive(Clone, PartialEq, Debug)]
pub struct VariantView {
    /// Its name.
    pub name: VariantName,
    /// Its part of the endpoint's requests, against the weights of the others.
    pub weight: VariantWeight,
    /// Where its instances are, which are among the fleet's.
    pub instances: Vec<Address>,
    /// What its requests came to since the fleet came into service.
    pub traffic: Traffic,
}

/// An instance now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InstanceView {
    /// Where.
    pub address: Address,
    /// What it weighs against the others.
    pub weight: Weight,
    /// What the checks say.
    pub health: Health,
    /// Whether it gets no requests because it failed too many.
    pub is_ejected: bool,
    /// Requests in flight.
    pub in_flight: u64,
}

/// Counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Dealt.
    pub requests: u64,
    /// Complete good answers.
    pub succeeded: u64,
    /// Complete answers that blame the client.
    pub client_errors: u64,
    /// Failures.
    pub failed: u64,
    /// Failures by kind, only those that happened.
    pub failures: Vec<(FailureKind, u64)>,
    /// Failures that the endpoint's owner does not count as such.
    pub excused: u64,
    /// Requests dealt while their instance warmed up.
    pub warm_ups: u64,
    /// Clients that went away.
    pub client_gone: u64,
    /// Requests that found no room on an instance.
    pub shed: u64,
    /// Requests sent again within the fleet.
    pub retried: u64,
    /// Failures that went to blue before the client saw anything.
    pub rescued: u64,
    /// Of these, those that failed there too.
    pub rescue_failed: u64,
    /// Failures that were too large, or too many, to go to blue.
    pub not_rescued: u64,
    /// Not settled yet.
    pub in_flight: u64,
}

/// The last seconds, for live views.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct TrafficWindow {
    /// How long the window really is.
    pub span: Duration,
    /// Dealt in the window.
    pub requests: u64,
    /// Per second.
    pub rate: f64,
    /// Failures per settled request, 0 to 1.
    pub error_rate: f64,
    /// Of complete answers in the window, dispatch to last byte.
    pub p50: Option<Duration>,
    /// Of complete answers in the window, dispatch to last byte.
    pub p99: Option<Duration>,
    /// Median time to the head.
    pub first_byte_p50: Option<Duration>,
    /// 99th percentile of the time to the head.
    pub first_byte_p99: Option<Duration>,
    /// Median time to the first token, of streams.
    pub first_token_p50: Option<Duration>,
    /// 99th percentile of the time to the first token, of streams.
    pub first_token_p99: Option<Duration>,
}

/// A shift, running or over.
#[derive(Clone, PartialEq, Debug)]
pub struct ShiftView {
    /// Its id.
    pub id: ShiftId,
    /// Whose.
    pub endpoint: EndpointName,
    /// Who started it.
    pub actor: String,
    /// The version in service when it began.
    pub blue_version: Version,
    /// Its plan.
    pub plan: PlanSpec,
    /// What it has to do with the shifts before it.
    pub lineage: Lineage,
    /// Where it is.
    pub state: State,
    /// The step it is in or reached, from 0; `None` before the first.
    pub step: Option<usize>,
    /// Green's share by the last published table.
    pub share: Share,
    /// Green's share of the requests dealt since that share was published; `None` before the first.
    pub share_got: Option<f64>,
    /// When it was accepted.
    pub started_at: WallTime,
    /// The moments of its decision.
    pub moments: Moments,
    /// From the response that tipped the alarm to the decision.
    pub decision: Option<Duration>,
    /// From the blue-only table's publishing to the last request dealt to green; zero when none was dealt after it.
    pub publish_to_last_green_dispatch: Option<Duration>,
    /// Settled green responses when the decision fell.
    pub green_responses_to_decision: Option<u64>,
    /// Green requests in flight when the decision fell.
    pub green_in_flight_at_decision: Option<u64>,
    /// What blue lacked when it took everything back, in a clause.
    pub blue_short: Option<String>,
    /// What became of these.
    pub fate: Option<Fate>,
    /// How often the process has started again during the shift.
    pub restarts: u32,
    /// Every alarm with its numbers.
    pub alarms: Vec<AlarmView>,
    /// Every threshold alarm with its datapoints.
    pub thresholds: Vec<ThresholdEvidence>,
    /// Every external alarm with who says so.
    pub externals: Vec<ExternalView>,
    /// How near its step is to an early end, where the plan lets it end early.
    pub safety: Option<Safety>,
    /// Blue's requests since the shift began.
    pub blue: Traffic,
    /// Green's requests since the shift began.
    pub green: Traffic,
    /// Blue's last seconds; zeroes when over.
    pub blue_recent: TrafficWindow,
    /// Green's last seconds; zeroes when over.
    pub green_recent: TrafficWindow,
    /// Who or what keeps it from going on, in a clause.
    pub held: Option<String>,
    /// When that ends by itself.
    pub held_until: Option<WallTime>,
    /// What happens next, and when.
    pub next: Next,
    /// Every change of state so far, oldest first.
    pub transitions: Vec<Transition>,
    /// What was to be known of the plan when it was started.
    pub findings: Vec<Finding>,
    /// What its steps can find; of a dry run alone.
    pub forecast: Option<Forecast>,
}

impl ShiftView {
    /// The plan's budget of failures, if it has one.
    pub fn budget(&self) -> Option<Budget> {
        let max_failures = self.plan.alarms.max_failures?;
        Some(Budget { failures: self.green.failed_for_clients(), max_failures })
    }
}

impl Traffic {
    /// Failures that reached clients: all but the rescued ones, which count only when blue failed too.
    pub fn failed_for_clients(&self) -> u64 {
        (self.failed + self.rescue_failed).saturating_sub(self.rescued)
    }
}

/// An alarm and its numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct AlarmView {
    /// The numbers.
    pub evidence: AlarmEvidence,
    /// How near it is, 0 to 1.
    pub nearness: f64,
}

/// An external alarm and its lease.
#[derive(Clone, PartialEq, Debug)]
pub struct ExternalView {
    /// What it says, and who says so.
    pub evidence: ExternalEvidence,
    /// When the report stops holding, or the wait for one ends; `None` before green's first share where nobody has reported.
    pub lease_ends_at: Option<WallTime>,
}

/// What a shift does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next {
    /// In a few words: `step 3 of 4: 75% to green`, `nothing: the shift is over`.
    pub what: String,
    /// When, if it is a matter of time.
    pub at: Option<WallTime>,
}

/// A change of a shift's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// When.
    pub at: WallTime,
    /// The state before, by name.
    pub before: String,
    /// The state after, by name.
    pub after: String,
    /// Green's share after.
    pub share: Share,
    /// Who or what.
    pub actor: String,
    /// Why, in a sentence.
    pub cause: String,
}
