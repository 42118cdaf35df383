//! Spans as OTLP/JSON (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids in hexadecimal digits, 64-bit numbers as text.
//!
//! The attributes are those of OpenTelemetry's conventions for HTTP where there are such, and `snapback.` for what is this program's own.

use serde_json::{Value, json};

use crate::{
    meter::{Outcome, Verdict},
    store::Event,
    telemetry::{Attempt, Passage, Try, protocol},
    time::{Moment, WallTime},
};

/// Kinds of spans.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// The status of a span that failed.
const ERROR: u8 = 2;

/// A request's spans: its own, and one for each try.
pub(super) fn request(passage: &Passage, clock: &Clock) -> Vec<Value> {
    let Some(trace) = passage.trace else { return Vec::new() };
    let trace_id = format!("{:032x}", trace.trace);
    let mut attributes = Attributes::default();
    attributes.text("http.request.method", passage.method.as_str());
    attributes.text("url.path", passage.path.split('?').next().unwrap_or_default());
    attributes.text("network.protocol.version", protocol(passage.protocol));
    attributes.number("http.response.status_code", passage.status.map(u64::from));
    attributes.text("snapback.outcome", passage.outcome());
    attributes.maybe("error.type", passage.failure().or(passage.problem));
    attributes.flag("snapback.rescued", passage.is_rescued());
    attributes.number("snapback.retries", Some(u64::from(passage.retries)));
    let mut name = passage.method.as_str().to_owned();
    if let Some(dealt) = &passage.dealt {
        let route = &dealt.route;
        name = format!("{name} {}", route.name);
        attributes.text("snapback.endpoint", route.name.as_str());
        attributes.text("snapback.fleet", dealt.side.as_str());
        attributes
            .maybe("snapback.version", route.fleet(dealt.side).map(|fleet| fleet.fleet.version.as_str()));
        attributes.maybe("snapback.variant", dealt.variant());
        attributes.maybe("snapback.shift", route.leg.as_ref().map(|leg| leg.shift.as_str()));
        attributes.number("snapback.step", route.leg.as_ref().and_then(|leg| u64::try_from(leg.step).ok()));
    }
    let is_error = passage.status.is_some_and(|status| status >= 500);
    let mut spans = vec![json!({
        "traceId": trace_id,
        "spanId": format!("{:016x}", trace.span),
        "parentSpanId": trace.parent.map_or(String::new(), |parent| format!("{parent:016x}")),
        "flags": trace.flags,
        "name": name,
        "kind": SERVER,
        "startTimeUnixNano": clock.nanos(passage.received_at),
        "endTimeUnixNano": clock.nanos(passage.ended_at),
        "attributes": attributes.0,
        "status": status(is_error),
    })];
    spans.extend(passage.tries.iter().map(|one| try_span(one, passage, &trace_id, clock)));
    spans
}

fn try_span(one: &Try, passage: &Passage, trace_id: &str, clock: &Clock) -> Value {
    let Try { attempt, span, side, instance, began_at, ended_at, outcome } = one;
    let Outcome { verdict, status: code, first_byte, first_token, tokens_out, bytes_in, bytes_out, .. } =
        outcome;
    let mut attributes = Attributes::default();
    attributes.text("http.request.method", passage.method.as_str());
    attributes.text("snapback.try", attempt.as_str());
    attributes.text("snapback.fleet", side.as_str());
    attributes.text("snapback.outcome", verdict.as_str());
    attributes.number("http.response.status_code", code.map(u64::from));
    attributes.number("http.request.body.size", Some(*bytes_in));
    attributes.number("http.response.body.size", Some(*bytes_out));
    attributes.number("snapback.tokens", Some(*tokens_out).filter(|tokens| *tokens > 0));
    if let Some(address) = instance {
        attributes.text("snapback.instance", address.as_str());
        attributes.maybe("server.address", address.host());
        let port = address.as_str().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        attributes.number("server.port", port);
    }
    let is_error = matches!(verdict, Verdict::Failure(_));
    if let Verdict::Failure(kind) = verdict {
        attributes.text("error.type", kind.as_str());
    }
    let moments = [("head", first_byte), ("first token", first_token)];
    let events = moments.into_iter().filter_map(|(name, span)| {
        let at = clock.nanos(began_at.after((*span)?));
        Some(json!({ "name": name, "timeUnixNano": at }))
    });
    json!({
        "traceId": trace_id,
        "spanId": format!("{span:016x}"),
        "parentSpanId": passage.trace.map_or(String::new(), |trace| format!("{:016x}", trace.span)),
        "flags": passage.trace.map_or(0, |trace| trace.flags),
        "name": match attempt {
            Attempt::Rescue => "rescue",
            Attempt::Dealt | Attempt::Moved | Attempt::Copy => "try",
        },
        "kind": CLIENT,
        "startTimeUnixNano": clock.nanos(*began_at),
        "endTimeUnixNano": clock.nanos(*ended_at),
        "attributes": attributes.0,
        "events": events.collect::<Vec<_>>(),
        "status": status(is_error),
    })
}

/// What has been seen of a shift that is not over.
#[derive(Debug)]
pub(super) struct ShiftSpan {
    trace: u128,
    span: u64,
    began_at: WallTime,
    endpoint: String,
    shift: String,
    events: Vec<Value>,
}

impl ShiftSpan {
    /// From its first event that is seen on.
    pub(super) fn begin(event: &Event, (trace, span): (u128, u64)) -> Self {
        let endpoint = event.endpoint.as_ref().map(ToString::to_string).unwrap_or_default();
        let shift = event.shift.as_ref().map(ToString::to_string).unwrap_or_default();
        Self { trace, span, began_at: event.at, endpoint, shift, events: Vec::new() }
    }

    /// How many events it has.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Another event of it.
    pub(super) fn note(&mut self, event: &Event) {
        let mut attributes = Attributes::default();
        attributes.maybe("snapback.before", event.before.as_deref());
        attributes.maybe("snapback.after", event.after.as_deref());
        attributes.maybe("snapback.share", event.share.map(|share| share.to_string()).as_deref());
        attributes.text("snapback.actor", &event.actor);
        attributes.text("snapback.cause", &event.cause);
        self.events.push(json!({
            "name": event.kind, "timeUnixNano": wall_nanos(event.at), "attributes": attributes.0,
        }));
    }

    /// The span of a shift that has ended so.
    pub(super) fn end(self, event: &Event) -> Value {
        let result = event.after.as_deref().unwrap_or_default();
        let mut attributes = Attributes::default();
        attributes.text("snapback.endpoint", &self.endpoint);
        attributes.text("snapback.shift", &self.shift);
        attributes.text("snapback.result", result);
        json!({
            "traceId": format!("{:032x}", self.trace),
            "spanId": format!("{:016x}", self.span),
            "name": format!("shift {}", self.endpoint),
            "kind": INTERNAL,
            "startTimeUnixNano": wall_nanos(self.began_at),
            "endTimeUnixNano": wall_nanos(event.at),
            "attributes": attributes.0,
            "events": self.events,
            "status": status(result != "promoted"),
        })
    }
}

/// A request's body with these spans.
pub(super) fn body(service: &str, spans: Vec<Value>) -> Vec<u8> {
    let mut resource = Attributes::default();
    resource.text("service.name", service);
    resource.text("service.version", env!("CARGO_PKG_VERSION"));
    let scope = json!({ "name": "snapback", "version": env!("CARGO_PKG_VERSION") });
    let document = json!({ "resourceSpans": [{
        "resource": { "attributes": resource.0 },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] });
    document.to_string().into_bytes()
}

/// Where the monotonic clock's beginning lies on the wall clock, for one batch: all its moments are of one reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    beginning: u64,
}

impl Clock {
    pub(super) fn read() -> Self {
        Self { beginning: crate::clock::unix_nanos_of_beginning() }
    }

    fn nanos(self, moment: Moment) -> String {
        self.beginning.saturating_add(moment.as_nanos()).to_string()
    }
}

fn wall_nanos(at: WallTime) -> String {
    format!("{}000000", at.as_millis())
}

fn status(is_error: bool) -> Value {
    if is_error { json!({ "code": ERROR }) } else { json!({}) }
}

#[derive(Default)]
struct Attributes(Vec<Value>);

impl Attributes {
    fn text(&mut self, key: &str, text: &str) {
        self.0.push(json!({ "key": key, "value": { "stringValue": text } }));
    }

    fn maybe(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn number(&mut self, key: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.0.push(json!({ "key": key, "value": { "intValue": number.to_string() } }));
        }
    }

    fn flag(&mut self, key: &str, flag: bool) {
        self.0.push(json!({ "key": key, "value": { "boolValue": flag } }));
    }
}
