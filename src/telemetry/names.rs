//! Every metric, and the closed sets that labels come from.
//!
//! Units are base units and end the name; counters end in `_total` (<https://prometheus.io/docs/practices/naming/>). `fleet` is `blue`
//! or `green`; `endpoint`, `instance` and `alarm` are names that operators gave.

/// The value of `state` for an endpoint without a running shift.
pub(super) const NO_SHIFT: &str = "none";

/// The values of `state` in [`SHIFT_STATE`]: no shift, and the states of one that is not over.
pub(super) const SHIFT_STATES: [&str; 13] = [
    NO_SHIFT,
    "preparing",
    "baking",
    "holding",
    "paused",
    "retiring_batch",
    "preparing_batch",
    "holding_batch",
    "termination_wait",
    "retiring",
    "rolling_back",
    "releasing_batch",
    "restoring",
];

/// The values of `status_class`, at the index that the meters use.
pub(super) const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The values of `result` in [`SHIFTS`].
pub(super) const PROMOTED: &str = "promoted";
pub(super) const ROLLED_BACK: &str = "rolled_back";
pub(super) const ROLLBACK_FAILED: &str = "rollback_failed";

/// The values of `result` in [`WEBHOOK_DELIVERIES`].
pub(super) const DELIVERED: &str = "delivered";
pub(super) const FAILED: &str = "failed";
pub(super) const GIVEN_UP: &str = "given_up";

/// The values of `result` in [`RELOADS`].
pub(super) const APPLIED: &str = "applied";
pub(super) const REFUSED: &str = "refused";

/// The values of `cause` in [`SHIFTS`] of shifts that rolled back.
pub(super) const ROLLBACK_CAUSES: [&str; 9] = [
    "alarm",
    "failure_budget",
    "aborted",
    "execution_timeout",
    "green_not_ready",
    "green_gone",
    "no_data",
    "restart",
    "evaluator_stalled",
];

/// The values of `result` in [`ROLLBACK_OPEN_REQUESTS`].
pub(super) const OPEN_RESULTS: [&str; 6] = ["finished", "rescued", "failed", "client_gone", "running", "cut"];

/// The values of `result` in [`ALARM_POLLS`].
pub(super) const ANSWERED: &str = "answered";
pub(super) const ATTEMPT_FAILED: &str = "failed";

/// The value of `cause` in [`SHIFTS`] of those that did not.
pub(super) const NO_CAUSE: &str = "none";

/// The values of `result` in [`ACCESS_LOG_LINES`].
pub(super) const LINE_RESULTS: [&str; 3] = ["written", "dropped", "failed"];

/// The values of `result` in [`SPANS`].
pub(super) const SPAN_RESULTS: [&str; 3] = ["sent", "dropped", "failed"];

const FLEET: [&str; 2] = ["endpoint", "fleet"];

/// One metric: its name, what it means, and which labels its series have.
#[derive(Debug)]
pub(super) struct Family<const LABELS: usize> {
    /// With its unit, and `_total` for a counter.
    pub(super) name: &'static str,
    /// Each from a closed set: nothing that a client sends becomes a label.
    pub(super) labels: [&'static str; LABELS],
    /// What its numbers are.
    pub(super) kind: Kind,
    /// A sentence without a full stop.
    pub(super) help: &'static str,
}

/// What a metric's numbers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// They only rise while the process lives.
    Counter,
    /// They rise and fall.
    Gauge,
    /// Counts of what lies at or below each of a row of bounds, with a sum.
    Histogram,
}

const fn counter<const LABELS: usize>(
    name: &'static str,
    labels: [&'static str; LABELS],
    help: &'static str,
) -> Family<LABELS> {
    Family { name, labels, kind: Kind::Counter, help }
}

const fn gauge<const LABELS: usize>(
    name: &'static str,
    labels: [&'static str; LABELS],
    help: &'static str,
) -> Family<LABELS> {
    Family { name, labels, kind: Kind::Gauge, help }
}

const fn histogram<const LABELS: usize>(
    name: &'static str,
    labels: [&'static str; LABELS],
    help: &'static str,
) -> Family<LABELS> {
    Family { name, labels, kind: Kind::Histogram, help }
}

pub(super) const REQUESTS: Family<3> = counter(
    "snapback_requests_total",
    ["endpoint", "fleet", "outcome"],
    "Requests that ended, by what they came to; a client that went away and a request that found no room on an instance count for nobody",
);
pub(super) const VARIANT_REQUESTS: Family<4> = counter(
    "snapback_variant_requests_total",
    ["endpoint", "variant", "fleet", "outcome"],
    "The same as `snapback_requests_total` by variant, of endpoints that have variants",
);
pub(super) const VARIANT_DURATION: Family<3> = histogram(
    "snapback_variant_request_duration_seconds",
    ["endpoint", "variant", "fleet"],
    "The same as `snapback_request_duration_seconds` by variant, of endpoints that have variants",
);
pub(super) const SHADOW_REQUESTS: Family<3> = counter(
    "snapback_shadow_requests_total",
    ["endpoint", "shadow", "outcome"],
    "Copies of requests that ended, by what the endpoint's shadow made of them",
);
pub(super) const SHADOW_MISSED: Family<3> = counter(
    "snapback_shadow_missed_total",
    ["endpoint", "shadow", "reason"],
    "Requests without a copy that were to have one: as many copies were under way as there may be, the body was too large or did not come to its end",
);
pub(super) const SHADOW_DURATION: Family<2> = histogram(
    "snapback_shadow_request_duration_seconds",
    ["endpoint", "shadow"],
    "Time from dispatch to the last byte of the shadow's complete answers",
);
pub(super) const FAILURES: Family<3> = counter(
    "snapback_failures_total",
    ["endpoint", "fleet", "kind"],
    "Requests that the fleet failed, by how it failed",
);
pub(super) const RESPONSES: Family<3> = counter(
    "snapback_responses_total",
    ["endpoint", "fleet", "status_class"],
    "Responses of model servers, by the hundreds of their status",
);
pub(super) const GRPC_RESPONSES: Family<3> = counter(
    "snapback_grpc_responses_total",
    ["endpoint", "fleet", "grpc_status"],
    "gRPC calls that model servers ended, by their status; only of fleets that had any",
);
pub(super) const REQUEST_DURATION: Family<2> = histogram(
    "snapback_request_duration_seconds",
    FLEET,
    "Time from dispatch to the last byte of the response, of requests that got a complete answer",
);
pub(super) const FIRST_BYTE: Family<2> =
    histogram("snapback_first_byte_seconds", FLEET, "Time from dispatch to the head of the response");
pub(super) const FIRST_TOKEN: Family<2> = histogram(
    "snapback_first_token_seconds",
    FLEET,
    "Time from dispatch to the first token, of streams that the proxy can read",
);
pub(super) const TOKEN_GAP: Family<2> = histogram(
    "snapback_token_gap_seconds",
    FLEET,
    "Time from one arrival of tokens to the next, of streams that the proxy can read; none while the client does not read",
);
pub(super) const TOKENS: Family<2> = counter(
    "snapback_tokens_total",
    FLEET,
    "Tokens of streams, as model servers count them; where they do not, events with text",
);
pub(super) const REQUEST_BODY_BYTES: Family<2> =
    counter("snapback_request_body_bytes_total", FLEET, "Bytes of request bodies passed to model servers");
pub(super) const RESPONSE_BODY_BYTES: Family<2> =
    counter("snapback_response_body_bytes_total", FLEET, "Bytes of response bodies passed to clients");
pub(super) const WARM_UPS: Family<2> = counter(
    "snapback_warm_up_requests_total",
    FLEET,
    "Requests dealt while their instance warmed up; they are counted as all others, but their times are in no histogram",
);
pub(super) const RETRIES: Family<2> = counter(
    "snapback_retries_total",
    FLEET,
    "Requests sent again within the fleet, on a fresh connection or to another instance",
);
pub(super) const RESCUES: Family<3> = counter(
    "snapback_rescues_total",
    ["endpoint", "fleet", "result"],
    "Failures that were to go to the other fleet before the client saw them: tried, of those failed there too, or not tried and why",
);
pub(super) const QUEUED: Family<2> =
    counter("snapback_queued_requests_total", FLEET, "Requests that had to wait for room on an instance");
pub(super) const WAITING: Family<2> =
    gauge("snapback_waiting_requests", FLEET, "Requests that wait for room on an instance");
pub(super) const HEDGES: Family<3> = counter(
    "snapback_hedges_total",
    ["endpoint", "fleet", "result"],
    "Copies of requests whose instances were slow to answer: tried, of those answered first, or not tried for want of budget",
);
pub(super) const IN_FLIGHT: Family<2> =
    gauge("snapback_in_flight", FLEET, "Requests that were dealt to the fleet and have not ended");
pub(super) const SHARE_TARGET: Family<2> =
    gauge("snapback_share_target", FLEET, "Share of the requests that the fleet is to get, 0 to 1");
pub(super) const INSTANCE_HEALTHY: Family<3> = gauge(
    "snapback_instance_healthy",
    ["endpoint", "fleet", "instance"],
    "Whether the instance passes its health checks; 0 also before the first check has ended",
);
pub(super) const INSTANCE_EJECTED: Family<3> = gauge(
    "snapback_instance_ejected",
    ["endpoint", "fleet", "instance"],
    "Whether the instance gets no requests because it failed too many in a row",
);
pub(super) const DESIRED_INSTANCES: Family<2> =
    gauge("snapback_desired_instances", FLEET, "Instances that the fleet is to have");
pub(super) const READY_INSTANCES: Family<2> = gauge(
    "snapback_ready_instances",
    FLEET,
    "Instances of the fleet that pass their checks and are not ejected",
);
pub(super) const SHIFT_STATE: Family<2> =
    gauge("snapback_shift_state", ["endpoint", "state"], "1 for the state that the endpoint's shift is in");
pub(super) const ALARM_EVIDENCE: Family<2> = gauge(
    "snapback_alarm_evidence",
    ["endpoint", "alarm"],
    "Evidence against green in nats: e to this power are the odds against chance",
);
pub(super) const ALARM_THRESHOLD: Family<2> =
    gauge("snapback_alarm_threshold", ["endpoint", "alarm"], "Evidence in nats at which the alarm is raised");
pub(super) const ALARM_VALUE: Family<2> = gauge(
    "snapback_alarm_value",
    ["endpoint", "alarm"],
    "What the alarm saw last: of guards and regressions the share of requests that failed or were too slow, of thresholds the newest \
     period's statistic in seconds, as a fraction or as a number, of queries their value, of max_failures the failures so far",
);
pub(super) const ALARM_BOUND: Family<2> = gauge(
    "snapback_alarm_bound",
    ["endpoint", "alarm"],
    "What that is compared with, in the same unit; of a regression what blue's own rate so far permits",
);
pub(super) const ALARM_NEARNESS: Family<2> = gauge(
    "snapback_alarm_nearness",
    ["endpoint", "alarm"],
    "How near the running shift's alarm is, 0 to 1 when raised",
);
pub(super) const ALARM_POLLS: Family<3> = counter(
    "snapback_alarm_polls_total",
    ["endpoint", "alarm", "result"],
    "Questions about the running shift's polled alarms, answered or failed",
);
pub(super) const ALARM_STATE: Family<3> = gauge(
    "snapback_alarm_state",
    ["endpoint", "alarm", "state"],
    "1 for the state that the running shift's alarm is in",
);
pub(super) const SHIFTS: Family<3> = counter(
    "snapback_shifts_total",
    ["endpoint", "result", "cause"],
    "Shifts that ended since the process started, by their result and what made them roll back",
);
pub(super) const ROLLBACK_DECISION: Family<1> = gauge(
    "snapback_rollback_decision_seconds",
    ["endpoint"],
    "Of the last rollback by an alarm: time from the response that tipped it to the decision",
);
pub(super) const ROLLBACK_LAST_GREEN_DISPATCH: Family<1> = gauge(
    "snapback_rollback_last_green_dispatch_seconds",
    ["endpoint"],
    "Of the last rollback: time from publishing the blue-only table to the last request dealt to green",
);
pub(super) const ROLLBACK_DRAIN: Family<1> = gauge(
    "snapback_rollback_drain_seconds",
    ["endpoint"],
    "Of the last rollback: time from publishing the blue-only table until nothing was in flight on green",
);
pub(super) const ROLLBACK_GREEN_RESPONSES: Family<1> = gauge(
    "snapback_rollback_green_responses",
    ["endpoint"],
    "Of the last rollback: requests that green had settled when the decision fell",
);
pub(super) const ROLLBACK_BLUE_SHORT: Family<1> = gauge(
    "snapback_rollback_blue_short",
    ["endpoint"],
    "Of the last rollback: 1 where blue lacked instances or room, or had been idle for long, when it took everything back",
);
pub(super) const ROLLBACK_OPEN_REQUESTS: Family<2> = gauge(
    "snapback_rollback_open_requests",
    ["endpoint", "result"],
    "Of the last rollback: requests that green still had when the decision fell, by what became of them",
);
pub(super) const TABLE_GENERATION: Family<0> =
    gauge("snapback_table_generation", [], "Number of the route table that the data plane serves by");
pub(super) const CONNECTIONS: Family<1> =
    gauge("snapback_connections", ["worker"], "Client connections that the worker holds");
pub(super) const UPGRADED: Family<0> = gauge(
    "snapback_upgraded_connections",
    [],
    "Client connections and streams that were upgraded, such as WebSockets, and are open",
);
pub(super) const CONNECTIONS_ACCEPTED: Family<0> =
    counter("snapback_connections_accepted_total", [], "Client connections accepted");
pub(super) const CONNECTIONS_HANDED_OVER: Family<0> = counter(
    "snapback_connections_handed_over_total",
    [],
    "Client connections that a worker handed to a less loaded one",
);
pub(super) const CONNECTIONS_REFUSED: Family<0> = counter(
    "snapback_connections_refused_total",
    [],
    "Client connections refused because the worker held as many as it may",
);
pub(super) const HANDSHAKES_FAILED: Family<0> = counter(
    "snapback_tls_handshakes_failed_total",
    [],
    "Client connections that ended in their TLS handshake",
);
pub(super) const PROXY_HEADERS_REFUSED: Family<0> = counter(
    "snapback_proxy_headers_refused_total",
    [],
    "Client connections that did not begin with a PROXY protocol header",
);
pub(super) const UNMATCHED_REQUESTS: Family<0> =
    counter("snapback_unmatched_requests_total", [], "Requests that no endpoint matches");
pub(super) const REJECTED_REQUESTS: Family<1> = counter(
    "snapback_rejected_requests_total",
    ["reason"],
    "Requests that were refused before they belonged to a fleet, as malformed, too large or late",
);
pub(super) const SLOW_CLIENTS: Family<0> = counter(
    "snapback_slow_clients_total",
    [],
    "Clients cut because they sent a request body, or took a response, more slowly than the least rate",
);
pub(super) const PANICS: Family<0> = counter(
    "snapback_panics_total",
    [],
    "Requests that ended because the proxy's own code failed; each ends alone, and each is a defect to report",
);
pub(super) const SHED_REQUESTS: Family<0> = counter(
    "snapback_shed_requests_total",
    [],
    "Requests answered with 503 because the worker had as many in flight as it may",
);
pub(super) const UPSTREAM_CONNECTIONS: Family<0> =
    counter("snapback_upstream_connections_total", [], "Connections made to model servers");
pub(super) const WEBHOOK_DELIVERIES: Family<2> = counter(
    "snapback_webhook_deliveries_total",
    ["webhook", "result"],
    "Attempts to deliver events since the process started: taken, failed, and events given up after their last attempt",
);
pub(super) const WEBHOOK_WAITING: Family<1> = gauge(
    "snapback_webhook_waiting_endpoints",
    ["webhook"],
    "Endpoints whose events wait for their delivery",
);
pub(super) const EVENTS_FILE_FAILING: Family<0> =
    gauge("snapback_events_file_failing", [], "1 while the file of events cannot be written");
pub(super) const RELOADS: Family<2> = counter(
    "snapback_reloads_total",
    ["what", "result"],
    "Times that the configuration file or certificates were read again, and applied or refused",
);
pub(super) const RELOAD_REFUSED: Family<1> = gauge(
    "snapback_reload_refused",
    ["what"],
    "1 while the last reload of the configuration file or of certificates was refused, and what was there before goes on",
);
pub(super) const ACCESS_LOG_LINES: Family<1> = counter(
    "snapback_access_log_lines_total",
    ["result"],
    "Lines of the access log: written, dropped because the writer's queue was full, or failed to be written",
);
pub(super) const SPANS: Family<1> = counter(
    "snapback_trace_spans_total",
    ["result"],
    "Spans sent to the collector, or failed to be sent; and requests that were dropped because their queue was full",
);
pub(super) const BUILD_INFO: Family<2> = gauge(
    "snapback_build_info",
    ["version", "commit"],
    "Always 1; the labels say which version runs, and the commit that it was built from where that is known",
);
/// The name that every Prometheus client library uses.
pub(super) const PROCESS_START_TIME: Family<0> =
    gauge("process_start_time_seconds", [], "When the process started, in seconds since the Unix epoch");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        shift::{Back, Cause, Pace, PauseReason, State},
        time::Moment,
    };

    const BACK: Back = Back { blue: 1, pace: Pace::Batches };

    #[test]
    fn every_state_of_a_running_shift_is_a_label() {
        let moment = Moment::from_nanos(1);
        let states = [
            State::Preparing { ready_by: moment },
            State::Baking { step: 0, ends: moment },
            State::Holding { step: 0 },
            State::Paused { step: 0, remaining: Duration::ZERO, reason: PauseReason::Operator },
            State::RetiringBatch { step: 0, drain_by: moment },
            State::PreparingBatch { step: 1, ready_by: moment },
            State::HoldingBatch { step: 1 },
            State::TerminationWait { ends: moment },
            State::Retiring { drain_by: moment },
            State::RollingBack { cause: Cause::Aborted, drain_by: moment },
            State::ReleasingBatch { cause: Cause::Aborted, back: BACK, drain_by: moment },
            State::Restoring { cause: Cause::Aborted, back: BACK, ready_by: moment },
        ];
        let names: Vec<&str> = states.iter().map(State::as_str).collect();
        assert_eq!(names, SHIFT_STATES[1..]);
    }

    #[test]
    fn every_cause_of_a_rollback_is_a_label() {
        let causes = [
            Cause::Alarm { name: String::new(), evidence: String::new() },
            Cause::FailureBudget { failures: 1 },
            Cause::Aborted,
            Cause::ExecutionTimeout,
            Cause::GreenNotReady { reason: String::new() },
            Cause::GreenGone,
            Cause::NoData,
            Cause::Restart,
            Cause::EvaluatorStalled,
        ];
        assert_eq!(causes.each_ref().map(Cause::as_str), ROLLBACK_CAUSES);
        assert_eq!(State::Promoted.as_str(), PROMOTED);
        let (cause, reason) = (Cause::Aborted, String::new());
        assert_eq!(State::RolledBack { cause: cause.clone() }.as_str(), ROLLED_BACK);
        assert_eq!(State::RollbackFailed { cause, reason, back: BACK }.as_str(), ROLLBACK_FAILED);
    }
}
