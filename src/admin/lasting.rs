//! What lasts ends when whoever is at its other end would not be let in any more: a token is taken out of its file or expires, a certificate
//! expires or its authority is not trusted any longer.
//!
//! Streams are bounded around the answer, where every one passes, and not where they are made: one that is added later is bounded without
//! knowing of this. A client that follows a stream comes back with the last id that it saw, and is then told why it is not let in.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use futures_util::StreamExt;
use http::{HeaderMap, header};
use tokio::time::Instant;

use super::{identities::Identity, state::Port};
use crate::config::Role;

/// How often it is looked whether a token still opens a stream. A look is one `stat`, and there are some tens of streams at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a certificate counts after the handshake that has verified it. Another handshake takes a millisecond, so every ten minutes is
/// nothing, and whoever has to lock a certificate out does not wait for long.
const PROVEN_FOR: Duration = Duration::from_secs(600);

/// Until when the certificate of a connection counts, in the extensions of its requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Proven {
    until: Instant,
}

/// What a stream was opened with.
#[derive(Debug)]
pub(super) struct Pass {
    shown: HeaderMap,
    identity: Option<Identity>,
    proven: Option<Proven>,
    /// Where callers are asked who they are.
    pub(super) needed: Option<Role>,
}

impl Proven {
    /// For a certificate that was verified at this moment.
    pub(super) fn now() -> Self {
        Self { until: Instant::now() + PROVEN_FOR }
    }
}

impl Pass {
    /// What this request shows.
    pub(super) fn of(request: &Request) -> Self {
        let given = request.headers().get(header::AUTHORIZATION).cloned();
        let shown = given.into_iter().map(|value| (header::AUTHORIZATION, value)).collect();
        let (identity, proven) = (request.extensions().get().cloned(), request.extensions().get().copied());
        Self { shown, identity, proven, needed: None }
    }

    async fn counts(&self, port: &Port) -> bool {
        match (&port.gate, self.needed) {
            (Some(gate), Some(needed)) => gate.still_opens(&self.shown, self.identity.as_ref(), needed).await,
            (None, _) | (Some(_), None) => true,
        }
    }
}

/// The answer, which ends early if it is a stream and the pass counts no longer.
pub(super) fn bounded(response: Response, port: Arc<Port>, pass: Pass) -> Response {
    let is_stream =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if !is_stream || (pass.needed.is_none() && pass.proven.is_none()) {
        return response;
    }
    response.map(|body| {
        let locked_out = Box::pin(async move {
            ended(pass.proven, refused(&port, &pass)).await;
            tracing::info!("a stream ends: what it was opened with counts no longer");
        });
        Body::from_stream(body.into_data_stream().take_until(locked_out))
    })
}

/// Returns when the certificate counts no longer, where there is one, or with `other`.
pub(super) async fn ended(proven: Option<Proven>, other: impl Future<Output = ()>) {
    match proven {
        Some(Proven { until }) => tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = other => {}
        },
        None => other.await,
    }
}

async fn refused(port: &Port, pass: &Pass) {
    while pass.counts(port).await {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_certificate_counts_for_its_time_and_no_certificate_ends_nothing() {
        let started = Instant::now();
        ended(Some(Proven::now()), std::future::pending()).await;
        assert_eq!(started.elapsed(), PROVEN_FOR);
        ended(None, tokio::time::sleep(2 * PROVEN_FOR)).await;
        assert_eq!(started.elapsed(), 3 * PROVEN_FOR);
    }
}
