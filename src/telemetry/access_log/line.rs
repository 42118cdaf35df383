//! A request as a line of JSON.

use serde::Serialize;

use crate::{
    clock,
    telemetry::passage::{Passage, protocol},
    time::Moment,
};

/// The keys of a line, in this order; `src/docs/access-log.md` says what they mean. Programs rely on the names: one may be added, none renamed.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    endpoint: Option<&'a str>,
    variant: Option<&'a str>,
    fleet: Option<&'static str>,
    version: Option<&'a str>,
    shift: Option<&'a str>,
    step: Option<usize>,
    protocol: &'static str,
    method: &'a str,
    path: &'a str,
    status: Option<u16>,
    grpc_status: Option<&'static str>,
    outcome: &'static str,
    failure: Option<&'static str>,
    problem: Option<&'static str>,
    rescued: bool,
    retries: u32,
    tries: usize,
    duration_ms: f64,
    first_byte_ms: Option<f64>,
    first_token_ms: Option<f64>,
    tokens: u64,
    bytes_in: u64,
    bytes_out: u64,
    instance: Option<&'a str>,
    trace_id: Option<String>,
    rate: f64,
}

/// Appends the line of a request.
pub(super) fn write(out: &mut Vec<u8>, passage: &Passage) {
    let line = Line::of(passage);
    // Neither a map with keys that are no text nor a writer that can fail is here.
    serde_json::to_writer(&mut *out, &line).expect("a line is plain values");
    out.push(b'\n');
}

impl<'a> Line<'a> {
    fn of(passage: &'a Passage) -> Self {
        let (judged, answering) = (passage.judged(), passage.answering());
        let outcome = answering.map(|one| &one.outcome);
        // Times of an answer count from its own try, and a client waits from its head on.
        let since = |span: Option<std::time::Duration>| {
            let at = answering?.began_at.after(span?);
            Some(millis(passage.received_at, at))
        };
        let dealt = passage.dealt.as_ref();
        let fleet = dealt.and_then(|dealt| dealt.route.fleet(dealt.side));
        let leg = dealt.and_then(|dealt| dealt.route.leg.as_deref());
        Self {
            time: clock::wall_of(passage.ended_at).to_string(),
            endpoint: dealt.map(|dealt| dealt.route.name.as_str()),
            variant: dealt.and_then(|dealt| dealt.variant()),
            fleet: dealt.map(|dealt| dealt.side.as_str()),
            version: fleet.map(|fleet| fleet.fleet.version.as_str()),
            shift: leg.map(|leg| leg.shift.as_str()),
            step: leg.map(|leg| leg.step),
            protocol: protocol(passage.protocol),
            method: passage.method.as_str(),
            path: &passage.path,
            status: passage.status,
            grpc_status: outcome.and_then(|outcome| outcome.grpc_status).map(|status| status.as_str()),
            outcome: passage.outcome(),
            failure: passage.failure(),
            problem: passage.problem,
            rescued: passage.is_rescued(),
            retries: passage.retries,
            tries: passage.tries.len(),
            duration_ms: millis(passage.received_at, passage.ended_at),
            first_byte_ms: since(outcome.and_then(|outcome| outcome.first_byte)),
            first_token_ms: since(outcome.and_then(|outcome| outcome.first_token)),
            tokens: outcome.map_or(0, |outcome| outcome.tokens_out),
            bytes_in: outcome.map_or(0, |outcome| outcome.bytes_in),
            bytes_out: outcome.map_or(0, |outcome| outcome.bytes_out),
            instance: answering
                .or(judged)
                .and_then(|one| one.instance.as_ref())
                .map(|address| address.as_str()),
            trace_id: passage.trace.map(|trace| format!("{:032x}", trace.trace)),
            rate: passage.rate,
        }
    }
}

/// To the microsecond: what is finer is the clock's own reading.
fn millis(from: Moment, to: Moment) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds are exact in a double for 285 years")]
    let micros = to.since(from).as_micros() as f64;
    micros / 1_000.0
}
