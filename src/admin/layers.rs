//! What every request passes through before its handler, from the outside in.

use std::{sync::Arc, time::Duration};

use axum::{
    BoxError, Router,
    error_handling::HandleErrorLayer,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, header};
use tower::{
    ServiceBuilder, limit::GlobalConcurrencyLimitLayer, load_shed::LoadShedLayer, timeout::TimeoutLayer,
    timeout::error::Elapsed,
};
use tower_http::{catch_panic::CatchPanicLayer, trace::TraceLayer};

use super::{
    lasting::{self, Pass},
    problem::Fault,
    refusals,
    state::Port,
    tokens::Caller,
};

/// The largest request body. A plan with hundreds of instances is some tens of kilobytes.
pub(super) const BODY_LIMIT_BYTES: usize = 1 << 20;

/// How long an answer may take. The slowest thing here is a commit to a disk that is busy; what takes longer is stuck.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// How many requests are worked on at a time. Operators and scrapers are a handful, and control answers one after the other anyway;
/// a thousand would only be a queue that nobody sees.
const CONCURRENCY: usize = 64;

/// Puts the layers of the API around its routes. Health checks do not pass through these: they must be answered when this port is
/// overloaded.
pub(super) fn bounded(routes: Router<Arc<Port>>) -> Router<Arc<Port>> {
    routes.layer(
        ServiceBuilder::new()
            // Turns the errors of the three layers below into problems; axum's handlers know none.
            .layer(HandleErrorLayer::new(refused))
            // Refuses what the limit below would let wait: an operator is better told than kept waiting.
            .layer(LoadShedLayer::new())
            // One limit for all routes; the plain layer would make one for each. It counts until the response's head, so event streams,
            // which have a limit of their own, do not use it up.
            .layer(GlobalConcurrencyLimitLayer::new(CONCURRENCY))
            // Inside the limit, so that what is stuck frees its place. It ends with the response's head too and cuts no stream.
            .layer(TimeoutLayer::new(TIMEOUT))
            // Innermost: the extractors that read bodies ask it.
            .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES)),
    )
}

/// Puts around everything what concerns everything.
pub(super) fn guarded(routes: Router<Arc<Port>>, port: &Arc<Port>) -> Router<Arc<Port>> {
    routes.layer(
        ServiceBuilder::new()
            // Outermost, so that refusals and panics are logged with the request that they belong to.
            .layer(TraceLayer::new_for_http())
            // Around all that answers.
            .layer(middleware::from_fn(hardened))
            // A panic is one request's end, not the port's.
            .layer(CatchPanicLayer::custom(|_panic| Fault::Panicked.into_response()))
            // Around the one below, whose refusals belong into the trail too.
            .layer(middleware::from_fn_with_state(port.clone(), refusals::record))
            // Before any work is done for a caller who has no business here.
            .layer(middleware::from_fn_with_state(port.clone(), admit)),
    )
}

/// What a browser is told of every answer: it is what it says it is, nobody may frame it or read it from another page, and it is not kept.
async fn hardened(request: Request, next: Next) -> Response {
    const FOR_ALL: [(HeaderName, HeaderValue); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ];
    // The dashboard has its own.
    const FOR_OTHERS: [(HeaderName, HeaderValue); 2] = [
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.extend(FOR_ALL);
    for (name, value) in FOR_OTHERS {
        headers.entry(name).or_insert(value);
    }
    response
}

async fn admit(State(port): State<Arc<Port>>, mut request: Request, next: Next) -> Response {
    if let Err(fault) = port.access.check(&request) {
        return fault.into_response();
    }
    let mut pass = Pass::of(&request);
    let Some(gate) = &port.gate else { return lasting::bounded(next.run(request).await, port, pass) };
    match gate.check(request.method(), request.headers(), request.extensions()).await {
        Ok(None) => next.run(request).await,
        Ok(Some((caller, needed))) => {
            pass.needed = Some(needed);
            request.extensions_mut().insert(caller.clone());
            let mut response = next.run(request).await;
            response.extensions_mut().insert(caller);
            lasting::bounded(response, port, pass)
        }
        Err(fault) => {
            // What a header claims of somebody who is not let in is not worth a place in the trail.
            let name = if let Fault::Role { name, .. } = &fault { name.as_str() } else { "unknown" };
            let caller = Caller(name.to_owned());
            let mut response = fault.into_response();
            response.extensions_mut().insert(caller);
            response
        }
    }
}

async fn refused(error: BoxError) -> Fault {
    if error.is::<Elapsed>() { Fault::TooSlow } else { Fault::Overloaded }
}
