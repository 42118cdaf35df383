//! What was refused belongs into the trail of who did what: commands that were not carried out, and callers who have no business here.
//!
//! Anybody who reaches the port can be refused as often as they like, so only so many refusals are recorded; the next that is recorded says how
//! many were not. Otherwise a loop would push everything else out of the journal.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{Method, StatusCode};

use super::{actor::HeaderActor, state::Port, tokens::Caller};
use crate::{
    clock,
    control::{Actor, Handle},
    time::Moment,
};

/// So many may come at once: an operator's slips, or a script's, are all there.
const BURST: u32 = 30;

/// After that one is recorded in each of these, some 9,000 a day.
const REFILL: Duration = Duration::from_secs(10);

/// Longer than a path or a sentence of this program; they stand in the event.
const TEXT_LIMIT: usize = 500;

/// Why a request was refused, in the extensions of its response.
#[derive(Clone, Debug)]
pub(super) struct Refusal(pub(super) String);

/// Records refusals, at a bounded rate.
#[derive(Clone, Debug)]
pub(super) struct Refusals {
    handle: Handle,
    allowance: Arc<Mutex<Allowance>>,
}

/// How many may be recorded now.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: u32,
    refilled: Moment,
    unrecorded: u64,
}

impl Refusals {
    pub(super) fn new(handle: Handle) -> Self {
        let allowance = Allowance { left: BURST, refilled: clock::now(), unrecorded: 0 };
        Self { handle, allowance: Arc::new(Mutex::new(allowance)) }
    }

    /// Records one, later: whoever was refused is not kept waiting for the disk.
    pub(super) fn record(&self, kind: &'static str, cause: String, actor: Actor) {
        let allowed = self.allowance.lock().unwrap_or_else(PoisonError::into_inner).take(clock::now());
        let Some(unrecorded) = allowed else { return };
        let cause = match unrecorded {
            0 => cause,
            count => format!("{cause}; {count} refusals before it were too many to be recorded"),
        };
        let handle = self.handle.clone();
        tokio::spawn(async move {
            if let Err(error) = handle.note(kind, cause, actor).await {
                tracing::warn!(%error, "a refusal is missing in the events");
            }
        });
    }
}

impl Allowance {
    /// Whether one may be recorded at this moment, and then how many before it were not.
    fn take(&mut self, now: Moment) -> Option<u64> {
        let periods = now.since(self.refilled).as_nanos() / REFILL.as_nanos();
        let gained = u32::try_from(periods).unwrap_or(u32::MAX);
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(BURST);
            self.refilled = self.refilled.after(REFILL.saturating_mul(gained));
        }
        if self.left == 0 {
            self.unrecorded += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.unrecorded))
    }
}

/// Lets a request through and records it if it was to change something and was refused, or if its caller was.
pub(super) async fn record(State(port): State<Arc<Port>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let (path, is_dry) = (shortened(request.uri().path()), is_dry(&request));
    let mut actor = HeaderActor::of_refused(request.headers(), request.extensions().get());
    let response = next.run(request).await;
    let status = response.status();
    if let Some(Caller(name)) = response.extensions().get() {
        actor.name.clone_from(name);
    }
    let is_access =
        [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    let reads = method == Method::GET || method == Method::HEAD;
    if let Some(Refusal(why)) = response.extensions().get()
        && (is_access || !reads && !is_dry)
    {
        let kind = if is_access { "access.refused" } else { "command.refused" };
        let cause = format!("{method} {path} was refused with {}: {}", status.as_u16(), shortened(why));
        port.refusals.record(kind, cause, actor);
    }
    response
}

fn is_dry(request: &Request) -> bool {
    request.uri().query().unwrap_or_default().split('&').any(|pair| pair == "dry_run=true")
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_recorded_now_and_then_and_counted() {
        let start = Moment::from_nanos(1);
        let mut allowance = Allowance { left: BURST, refilled: start, unrecorded: 0 };
        let recorded = (0..1_000).filter(|_| allowance.take(start).is_some()).count();
        assert_eq!(recorded, 30);
        assert_eq!(allowance.take(start.after(REFILL / 2)), None);
        assert_eq!(allowance.take(start.after(REFILL)), Some(971));
        assert_eq!(allowance.take(start.after(REFILL)), None);
        let day_later = start.after(Duration::from_secs(86_400));
        assert_eq!((0..1_000).filter(|_| allowance.take(day_later).is_some()).count(), 30);
    }
}
