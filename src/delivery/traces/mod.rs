//! Sends spans to a collector of OpenTelemetry, as OTLP/JSON over HTTP.
//!
//! **Why not the crates of OpenTelemetry.** They bring a second HTTP client, a gRPC stack and code generated from protocol buffers, some sixty
//! crates, for what is a POST of a JSON document, which every collector takes at the same address. What is sent is held against the protocol's
//! own definition by the tests.
//!
//! It has a thread and a runtime of its own, so that a collector that is slow or gone costs nothing but spans: queues are bounded, a batch is
//! tried a few times and then given up, and both are counted.

mod encode;

use std::{collections::BTreeMap, sync::Arc, thread::JoinHandle, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use rand::RngExt as _;
use serde_json::Value;
use tokio::sync::{broadcast, watch};

use self::encode::{Clock, ShiftSpan};
use super::reach::Reach;
use crate::{
    config::TracesConfig,
    name::ShiftId,
    store::Event,
    telemetry::{TraceCounts, Traced, new_span},
    time::format_duration,
};

/// How exports name themselves.
const USER_AGENT: &str = concat!("snapback-traces/", env!("CARGO_PKG_VERSION"));

/// From one batch to the next: what is looked at is never much older.
const PERIOD: Duration = Duration::from_secs(1);

/// Spans in a request, as OpenTelemetry's own exporters have it.
const BATCH: usize = 512;

/// How often a batch is tried, with a wait before each further time, while the queues fill.
const ATTEMPTS: u32 = 3;
const REST: Duration = Duration::from_secs(1);

/// Shifts whose ends are waited for. An endpoint has one at a time.
const MOST_SHIFTS: usize = 1_000;

/// Events that a shift's span has at most.
const MOST_EVENTS: usize = 1_000;

/// The exporter at work. Dropped, it sends what there is, once.
#[derive(Debug)]
pub struct Exporter {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Sender {
    reach: Reach,
    service: String,
    timeout: Duration,
    counts: Arc<TraceCounts>,
    /// Whether the last batch could not be sent, so that a collector that is gone is told of once.
    is_failing: bool,
}

impl Exporter {
    /// Starts it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        config: TracesConfig,
        traced: Traced,
        events: broadcast::Receiver<Event>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || runtime.block_on(run(config, traced, events, stopped)))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the exporter of traces had panicked");
        }
    }
}

async fn run(
    config: TracesConfig,
    traced: Traced,
    mut events: broadcast::Receiver<Event>,
    mut stop: watch::Receiver<bool>,
) {
    let Traced { queues, counts } = traced;
    let TracesConfig { url, service, timeout, ca, .. } = config;
    let mut sender = Sender { reach: Reach::new(url, ca), service, timeout, counts, is_failing: false };
    let mut shifts = BTreeMap::new();
    let mut spans = Vec::new();
    loop {
        let stopped = tokio::time::timeout(PERIOD, stop.wait_for(|stop| *stop)).await.is_ok();
        while let Some(event) = next(&mut events) {
            spans.extend(heed(&mut shifts, &event));
        }
        let clock = Clock::read();
        for queue in &queues {
            while let Ok(passage) = queue.try_recv() {
                spans.extend(encode::request(&passage, &clock));
                if spans.len() >= BATCH {
                    sender.send(std::mem::take(&mut spans), &stop).await;
                }
            }
        }
        if !spans.is_empty() {
            sender.send(std::mem::take(&mut spans), &stop).await;
        }
        if stopped {
            return;
        }
    }
}

/// An event that has come. Some that were missed leave a span with fewer events.
fn next(events: &mut broadcast::Receiver<Event>) -> Option<Event> {
    use broadcast::error::TryRecvError;
    loop {
        match events.try_recv() {
            Ok(event) => return Some(event),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
        }
    }
}

/// The span of a shift that ended with this event, if one did.
fn heed(shifts: &mut BTreeMap<ShiftId, ShiftSpan>, event: &Event) -> Option<Value> {
    let shift = event.shift.clone()?;
    if !shifts.contains_key(&shift) {
        if shifts.len() >= MOST_SHIFTS || !event.kind.starts_with("shift.") {
            return None;
        }
        let rng = &mut rand::rng();
        let ids = (rng.random_range(1..=u128::MAX), new_span(rng));
        shifts.insert(shift.clone(), ShiftSpan::begin(event, ids));
    }
    let open = shifts.get_mut(&shift)?;
    if open.len() < MOST_EVENTS {
        open.note(event);
    }
    let is_over = event.kind == "shift.dropped"
        || event.kind == "shift.state"
            && matches!(event.after.as_deref(), Some("promoted" | "rolled_back" | "rollback_failed"));
    if is_over { Some(shifts.remove(&shift)?.end(event)) } else { None }
}

impl Sender {
    async fn send(&mut self, spans: Vec<Value>, stop: &watch::Receiver<bool>) {
        let count = spans.len() as u64;
        let body = Bytes::from(encode::body(&self.service, spans));
        let mut attempt = 1;
        let failed = loop {
            match self.post(body.clone()).await {
                Ok(()) => break None,
                Err(Refused { why, may_retry }) => {
                    if !may_retry || attempt == ATTEMPTS || *stop.borrow() {
                        break Some(why);
                    }
                }
            }
            tokio::time::sleep(REST * attempt).await;
            attempt += 1;
        };
        match failed {
            None => {
                self.counts.note_sent(count);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("traces can be sent again");
                }
            }
            Some(why) => {
                self.counts.note_failed(count);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(why, "traces cannot be sent; they are lost and counted");
                }
            }
        }
    }

    async fn post(&self, body: Bytes) -> Result<(), Refused> {
        let again = |why| Refused { why, may_retry: true };
        let request = Request::post(self.reach.url().path_and_query())
            .header(header::HOST, self.reach.url().authority())
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(body))
            .map_err(|error| Refused { why: format!("it cannot be sent: {error}"), may_retry: false })?;
        let sent = tokio::time::timeout(self.timeout, self.reach.send(request)).await;
        let late = || again(format!("no answer within {}", format_duration(self.timeout)));
        let (status, _) = sent.map_err(|_| late())?.map_err(again)?;
        if status.is_success() {
            return Ok(());
        }
        // What the protocol says may be tried again.
        let may_retry = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        Err(Refused { why: format!("status {}", status.as_u16()), may_retry })
    }
}

/// Why a batch was not taken.
struct Refused {
    why: String,
    may_retry: bool,
}
