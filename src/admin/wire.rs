//! The native API's representations. JSON, snake_case; times are RFC 3339 strings, durations milliseconds as numbers in fields that
//! end in `_ms`, shares strings such as `"5%"`, rates fractions from 0 to 1.

use std::{collections::BTreeMap, num::NonZeroUsize};

use serde::{Deserialize, Serialize};

pub use super::{
    alarm_wire::{
        Alarm, AlarmReport, AlarmReported, Datapoint, External, FailureBudget, Polls, ReportedState,
        Threshold,
    },
    caller::Caller,
    forecast::{Detection, Finding, Forecast, ForecastTraffic, Lint, StepForecast},
    freeze::{Freeze, Freezes},
    glances::{FleetGlance, Glance, Glances, Seen, ShiftGlance},
    history::History,
    log::{Log, LogBody},
    played::{Aa, Behaviour, PlayedRecording, Replay, ReplayAlarm, ReplayEnd, ReplayStep, Replayed, Stretch},
    queue::{Queue, Queued},
    scale::ScaleBody,
    series::{FleetSeries, Series},
    shifts::Submitted,
    trail::{Audit, DeadLetter, EventsFile, Pending, Retry, Verification, Webhook, Webhooks},
    undo::UndoBody,
    weights::WeightsBody,
};

/// `GET /v1/endpoints`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Endpoints {
    /// By name.
    pub endpoints: Vec<Endpoint>,
}

/// `GET /v1/endpoints/{name}`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// `file` or `api`.
    pub origin: String,
    /// The declaration, in the shape of `PUT`.
    pub declared: serde_json::Value,
    /// Green's share.
    pub share: String,
    /// The number of the table that serves this.
    pub generation: u64,
    /// The fleet in service.
    pub blue: Fleet,
    /// The fleet coming in.
    pub green: Option<Fleet>,
    /// What gets copies of its requests, whose answers nobody gets.
    #[serde(default)]
    pub shadow: Option<Shadow>,
    /// What keeps its shifts from going on; its own freeze before that of all endpoints.
    #[serde(default)]
    pub freeze: Option<Freeze>,
    /// The running shift's id.
    pub running_shift: Option<String>,
    /// Shifts that wait for their turn, in their order.
    #[serde(default)]
    pub queue: Vec<Queued>,
}

/// A fleet now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Fleet {
    /// What it serves.
    pub version: String,
    /// How many instances are wanted, where a provider makes them.
    #[serde(default)]
    pub desired: Option<u32>,
    /// Its instances.
    pub instances: Vec<Instance>,
    /// Its variants; none where it has one, without a name.
    #[serde(default)]
    pub variants: Vec<Variant>,
    /// Requests that wait for room on an instance.
    #[serde(default)]
    pub waiting: u64,
    /// What its requests came to since it came into service.
    pub traffic: Traffic,
    /// The last seconds.
    pub recent: Recent,
}

/// An endpoint's shadow now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Shadow {
    /// What it is called in metrics.
    pub name: String,
    /// Which part of the requests it gets copies of.
    pub share: String,
    /// Its fleet, and what it made of the copies.
    pub fleet: Fleet,
    /// Requests without a copy, by why: `busy`, `too_large` or `incomplete`.
    pub missed: BTreeMap<String, u64>,
}

/// A variant of a fleet now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Its part of the endpoint's requests, against the weights of the others.
    pub weight: f64,
    /// `host:port` of its instances, which are among the fleet's.
    pub instances: Vec<String>,
    /// What its requests came to since the fleet came into service.
    pub traffic: Traffic,
}

/// An instance now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Instance {
    /// `host:port`
    pub address: String,
    /// What it weighs against the others.
    #[serde(default)]
    pub weight: u16,
    /// `unknown`, `healthy` or `unhealthy`.
    pub health: String,
    /// Whether it gets no requests because it failed too many.
    #[serde(default)]
    pub ejected: bool,
    /// Requests in flight.
    pub in_flight: u64,
}

/// Counts.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Dealt.
    pub requests: u64,
    /// Complete good answers.
    pub succeeded: u64,
    /// Complete answers that blame the client.
    pub client_errors: u64,
    /// Failures of the fleet.
    pub failed: u64,
    /// Failures by kind, only those that happened.
    pub failures: serde_json::Map<String, serde_json::Value>,
    /// Failures that the endpoint's owner does not count as such.
    #[serde(default)]
    pub excused: u64,
    /// Requests dealt while their instance warmed up: counted, but not judged by how long they took.
    #[serde(default)]
    pub warm_ups: u64,
    /// Clients that went away.
    pub client_gone: u64,
    /// Requests that found no room on an instance.
    #[serde(default)]
    pub shed: u64,
    /// Requests sent again within the fleet.
    pub retried: u64,
    /// Failures that went to blue before the client saw anything.
    #[serde(default)]
    pub rescued: u64,
    /// Of these, those that failed there too.
    #[serde(default)]
    pub rescue_failed: u64,
    /// Failures that were too large, or too many, to go to blue.
    #[serde(default)]
    pub not_rescued: u64,
    /// Not settled yet.
    pub in_flight: u64,
}

/// The last seconds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Recent {
    /// How long the window is.
    pub span_ms: f64,
    /// Dealt in it.
    pub requests: u64,
    /// Per second.
    pub rate: f64,
    /// Failures per settled request.
    pub error_rate: f64,
    /// Median, dispatch to last byte.
    pub p50_ms: Option<f64>,
    /// 99th percentile, dispatch to last byte.
    pub p99_ms: Option<f64>,
    /// Median, dispatch to the response's head.
    pub first_byte_p50_ms: Option<f64>,
    /// 99th percentile, dispatch to the response's head.
    pub first_byte_p99_ms: Option<f64>,
    /// Median, dispatch to the first token, of streams.
    pub first_token_p50_ms: Option<f64>,
    /// 99th percentile, dispatch to the first token, of streams.
    pub first_token_p99_ms: Option<f64>,
}

/// `GET /v1/endpoints/{name}/shifts`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Shifts {
    /// Newest first.
    pub shifts: Vec<Shift>,
}

/// `GET /v1/shifts/{id}`; also the answer of everything that changes a shift.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Shift {
    /// Its id; absent in the answer to a dry run of a start.
    pub id: Option<String>,
    /// Whose.
    pub endpoint: String,
    /// Who started it.
    pub actor: String,
    /// `preparing`, `baking`, `holding`, `paused`, `termination_wait`, `retiring`, `rolling_back`, `promoted` or `rolled_back`; of a rolling
    /// shift also `retiring_batch`, `preparing_batch`, `holding_batch`, `releasing_batch`, `restoring` or `rollback_failed`.
    pub state: String,
    /// How many instances of each fleet take requests; of a rolling shift alone.
    #[serde(default)]
    pub instances: Option<InService>,
    /// Whether it is over.
    pub over: bool,
    /// The version in service when it began.
    pub blue_version: String,
    /// The version coming in.
    pub green_version: String,
    /// The shift whose promotion it takes back; null where it is no undo.
    #[serde(default)]
    pub undoes: Option<String>,
    /// The shift that was rolled back to make way for it; null where none was.
    #[serde(default)]
    pub supersedes: Option<String>,
    /// The shift for which it was rolled back; null where it was not.
    #[serde(default)]
    pub superseded_by: Option<String>,
    /// The plan, in the shape of `POST`.
    pub plan: serde_json::Value,
    /// The plan's compiled steps.
    pub steps: Vec<Step>,
    /// The step it is in or reached, from 1; null before the first.
    pub step: Option<usize>,
    /// Green's share wanted.
    pub share: String,
    /// Green's share of the requests dealt since that share was published, 0 to 1.
    pub share_got: Option<f64>,
    /// Why it rolled back or is rolling back.
    pub cause: Option<Cause>,
    /// When it was accepted.
    pub started_at: String,
    /// The response that tipped the alarm was counted.
    pub breach_at: Option<String>,
    /// The decision to go back fell.
    pub decided_at: Option<String>,
    /// The blue-only table was published.
    pub published_at: Option<String>,
    /// The last request was dealt to green.
    pub last_green_dispatch_at: Option<String>,
    /// The fleet that had to go had nothing in flight.
    pub drained_at: Option<String>,
    /// The shift was over.
    pub ended_at: Option<String>,
    /// From the response that tipped the alarm to the decision.
    pub decision_ms: Option<f64>,
    /// From publishing to the last request dealt to green; zero when none was.
    pub publish_to_last_green_dispatch_ms: Option<f64>,
    /// Settled green responses when the decision fell.
    pub green_responses_to_decision: Option<u64>,
    /// Green requests in flight when the decision fell.
    pub green_in_flight_at_decision: Option<u64>,
    /// What became of these.
    #[serde(default)]
    pub open_requests: Option<OpenRequests>,
    /// How often snapback has started again during the shift; each time the step bakes anew, and the alarms that count begin anew.
    #[serde(default)]
    pub restarts: u32,
    /// The plan's budget of failures; null when it has none.
    #[serde(default)]
    pub failure_budget: Option<FailureBudget>,
    /// Every alarm with its numbers.
    pub alarms: Vec<Alarm>,
    /// Every threshold alarm with its datapoints.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
    /// Every external alarm with who says so.
    #[serde(default)]
    pub externals: Vec<External>,
    /// How near its step is to an early end; `null` where steps do not end early, and when over.
    #[serde(default)]
    pub safety: Option<Safety>,
    /// Blue's and green's requests since the shift began.
    pub fleets: Fleets,
    /// Who or what keeps it from going on, in a clause; null when nothing does.
    #[serde(default)]
    pub held: Option<String>,
    /// When that ends by itself; null where nothing holds it, or a freeze does.
    #[serde(default)]
    pub held_until: Option<String>,
    /// What happens next.
    pub next: Next,
    /// Every change of state, oldest first.
    pub transitions: Vec<Transition>,
    /// What was to be known of the plan when it was started; of a dry run, what is to be known of it now.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What the plan's steps can find; of a dry run alone.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// Why the shift is where it is, in sentences with numbers.
    pub explanation: String,
}

/// What became of green's requests that were open when the decision to go back fell, and of those dealt to it in the moment after.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenRequests {
    /// Open when the decision fell.
    pub open: u64,
    /// Dealt to green after it.
    pub late: u64,
    /// Answered in full by green.
    pub finished: u64,
    /// Failed by green and answered by blue before the client saw anything.
    pub rescued: u64,
    /// Failed, and the client saw it.
    pub failed: u64,
    /// Given up by their clients.
    pub client_gone: u64,
    /// Not at their end yet; of a shift that is over, those that had not ended at its drain deadline.
    pub running: u64,
    /// Cut by the end of the process.
    pub cut: u64,
}

/// The evidence that green is within every bound, over the requests of the step under way.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Safety {
    /// Green requests dealt in the step.
    pub requests: u64,
    /// Of those, known to have failed.
    pub failures: u64,
    /// The least evidence over all alarms, in nats.
    pub ln_e: f64,
    /// The evidence at which the step ends early.
    pub needed_ln_e: f64,
    /// Whether it is enough, and the requests too.
    pub shown: bool,
}

/// How many instances of each fleet of a rolling shift take requests, and how many there are when it is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InService {
    /// Of blue; none once green is the fleet in service.
    pub blue: u32,
    /// Blue before the shift.
    pub blue_whole: u32,
    /// Of green.
    pub green: u32,
    /// Green after the shift.
    pub green_whole: u32,
}

/// A compiled step.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Green's share.
    pub share: String,
    /// The bake as a duration such as `2m`.
    pub bake: String,
    /// Whether somebody must agree before the next step.
    pub approval: bool,
}

/// Why a shift rolled back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cause {
    /// `alarm`, `failure_budget`, `aborted`, `execution_timeout`, `green_not_ready`, `green_gone`, `no_data`, `restart`, `evaluator_stalled`.
    pub kind: String,
    /// The alarm's name, for `alarm`.
    pub alarm: Option<String>,
    /// In a sentence.
    pub text: String,
}

/// Both fleets' figures in a shift.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Fleets {
    /// The fleet in service.
    pub blue: ShiftFleet,
    /// The fleet coming in.
    pub green: ShiftFleet,
}

/// A fleet's figures in a shift.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ShiftFleet {
    /// Since the shift began.
    pub traffic: Traffic,
    /// The last seconds.
    pub recent: Recent,
}

/// What a shift does next.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Next {
    /// In a few words.
    pub what: String,
    /// When, if it is a matter of time.
    pub at: Option<String>,
}

/// A change of a shift's state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Transition {
    /// When.
    pub at: String,
    /// The state before.
    pub before: String,
    /// The state after.
    pub after: String,
    /// Green's share after.
    pub share: String,
    /// Who or what.
    pub actor: String,
    /// Why.
    pub cause: String,
}

/// The body of `POST /v1/shifts/{id}/pause|resume|abort`; may be absent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandBody {
    /// Why, in the operator's words.
    #[serde(default)]
    pub reason: String,
    /// Who; `operator` when absent.
    #[serde(default)]
    pub actor: Option<String>,
}

/// The body of `POST /v1/shifts/{id}/promote`; may be absent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromoteBody {
    /// Why, in the operator's words.
    #[serde(default)]
    pub reason: String,
    /// Who; `operator` when absent.
    #[serde(default)]
    pub actor: Option<String>,
    /// All bakes that are left, or this one.
    #[serde(default)]
    pub skip: Skip,
    /// The step whose bake is to be skipped, from 1, so that a repeated request never skips the next one; the present one when absent.
    #[serde(default)]
    pub step: Option<NonZeroUsize>,
}

/// What a promotion skips.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// The bakes that are left, approvals and the termination wait.
    #[default]
    All,
    /// What is left of one step's bake.
    Bake,
}

/// One message of `GET /v1/events`: its SSE `id` is `id`, its SSE `event` is `kind`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Rises without gaps.
    pub id: u64,
    /// When.
    pub at: String,
    /// What kind.
    pub kind: String,
    /// Whose.
    pub endpoint: Option<String>,
    /// Which shift's.
    pub shift: Option<String>,
    /// The state before; of an endpoint, the version that served.
    pub before: Option<String>,
    /// The state after; of an endpoint, the version that serves.
    pub after: Option<String>,
    /// Green's share after.
    pub share: Option<String>,
    /// Who or what.
    pub actor: String,
    /// From where a client asked for it.
    #[serde(default)]
    pub peer: Option<String>,
    /// Why.
    pub cause: String,
    /// Why, in the words of whoever asked for it.
    #[serde(default)]
    pub reason: Option<String>,
    /// The figures behind it.
    #[serde(default)]
    pub evidence: Option<serde_json::Value>,
    /// SHA-256 over this event and the hash of the one before, in hexadecimal; null for events from before there was a chain.
    #[serde(default)]
    pub hash: Option<String>,
}

/// `POST /v1/reload`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reload {
    /// What changed, a line each; also which keys need a restart.
    pub changes: Vec<String>,
}

/// Any error: RFC 9457, media type `application/problem+json`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank`, or `urn:snapback:` and a name that programs can match on.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status's or the type's meaning.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong with this request, and what would be right.
    pub detail: String,
    /// For a refused second shift, the running one's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_shift: Option<String>,
    /// For documents: every problem with its key path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<KeyProblem>,
}

/// One thing wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyProblem {
    /// The key path.
    pub key: String,
    /// The line, in documents that have lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub message: String,
}
