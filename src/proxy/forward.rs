//! Handling a request: one function whose lines are its life.

use std::{
    error::Error,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderMap, Request, Response, Version,
    header::{CONTENT_LENGTH, EXPECT, HOST},
    request,
};
use hyper::{body::Incoming, client::conn::TrySendError};

use super::{
    answer,
    body::ResponseBody,
    caller::Caller,
    error::Failure,
    exchange::Exchange,
    gate,
    headers::{self, HasBody},
    hold::Beginning,
    pool::{Lease, Upstream},
    pulse::{Late, unless_late},
    rescue::{self, Replay},
    upload::{self, Progress, RequestBody, Upload, UploadError},
};
use crate::route::{Limits, RequestKey};

/// Answers a request: with an instance's response, or with a problem.
pub(super) async fn handle(caller: &Rc<Caller>, request: Request<Incoming>) -> Response<ResponseBody> {
    caller.begin_exchange(hyper::body::Body::is_end_stream(request.body()));
    match forward(caller, request).await {
        Ok(response) => response,
        Err(refused) => {
            let meters = caller.worker().meters();
            if let Failure::NoMatch = refused {
                meters.unmatched.up()
            } else {
                meters.rejected.up()
            }
            answer(caller, &refused)
        }
    }
}

/// The life of a request. An error is a request that was dealt to no fleet; what fails later is answered here.
async fn forward(caller: &Rc<Caller>, request: Request<Incoming>) -> Result<Response<ResponseBody>, Failure> {
    let (mut head, mut incoming) = request.into_parts();
    gate::admit(&mut head, &caller.client)?;
    let Some(dealt) = caller.worker().deal(&key(&head)) else {
        if !head.headers.contains_key(EXPECT) {
            now(|context| upload::discard(caller, &mut incoming, context)).await;
        }
        return Err(Failure::NoMatch);
    };
    let limits = dealt.0.route.limits;
    check_length(&head.headers, &limits)?;
    let body = RequestBody::new(caller, limits, &head.headers, incoming);
    let version = head.version;
    let mut exchange = Exchange::begin(caller.worker(), dealt, body);
    let replay = Replay::prepare(&exchange, &head);
    let mut reached = attempt(caller, &mut exchange, head, &limits).await;
    if let Some(replay) = replay {
        (exchange, reached) = Box::pin(replay.finish(caller, exchange, reached, &limits)).await;
    }
    let fleet = exchange.fleet_label();
    let mut response = match reached {
        Ok(reached) => {
            caller.pulse.expect_within(limits.idle_timeout);
            deliver(caller, exchange, reached, version)
        }
        Err(failure) => {
            tracing::debug!(error = &failure as &dyn Error, fleet, "a request failed");
            if let Some(body) = exchange.request_body() {
                now(|context| body.discard(context)).await;
            }
            exchange.settle_failed(&failure);
            answer(caller, &failure)
        }
    };
    if caller.worker().settings.expose_fleet {
        headers::expose_fleet(response.headers_mut(), fleet);
    }
    Ok(response)
}

/// Does something that needs a task's context and does not wait.
async fn now(mut work: impl FnMut(&mut Context<'_>)) {
    poll_fn(|context| {
        work(context);
        Poll::Ready(())
    })
    .await;
}

/// What the request is matched by. The gate has made sure that there is at most one host, and that it is one.
fn key(head: &request::Parts) -> RequestKey<'_> {
    let authority = head.headers.get(HOST).and_then(|host| str::from_utf8(host.as_bytes()).ok());
    let host = authority.map(|authority| {
        // A bracketed address has colons of its own.
        let port = authority.rfind(':').filter(|colon| authority.rfind(']').is_none_or(|end| end < *colon));
        port.and_then(|port| authority.get(..port)).unwrap_or(authority)
    });
    RequestKey { host, path: head.uri.path(), headers: &head.headers }
}

/// A body that says it is too large is refused before any of it is read.
fn check_length(headers: &HeaderMap, limits: &Limits) -> Result<(), Failure> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits.body_limit_bytes) {
        return Err(Failure::LargeBody);
    }
    Ok(())
}

/// A response, and where it comes from.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    /// The beginning of its body, if that was held back.
    pub(super) beginning: Option<Box<Beginning>>,
}

/// One try of a request.
pub(super) async fn attempt(
    caller: &Caller,
    exchange: &mut Exchange,
    head: request::Parts,
    limits: &Limits,
) -> Result<Reached, Failure> {
    let (response, lease) = reach(caller, exchange, head, limits).await?;
    exchange.answered(response.status().as_u16());
    gate::check_response(&response)?;
    Ok(Reached { response, lease, beginning: None })
}

/// Sends the request to its instance and waits for the response's head.
///
/// A reused connection may have been closed by the instance at the same moment, which shows only once the request is under
/// way. Then the request is sent once more, on a fresh connection: always when none of it was written, else when no byte
/// of a response came and the body can be replayed.
async fn reach(
    caller: &Caller,
    exchange: &mut Exchange,
    mut head: request::Parts,
    limits: &Limits,
) -> Result<(Response<Incoming>, Lease), Failure> {
    let idle_timeout = caller.worker().settings.upstream_idle_timeout;
    let upstream = exchange.upstream().ok_or(Failure::NoInstance)?;
    let mut lease = match upstream.checkout(exchange.dispatched_at(), idle_timeout) {
        Some(lease) => lease,
        None => connect(caller, exchange, limits).await?,
    };
    let body = exchange.request_body().cloned();
    let body = body.as_ref();
    let upstream = exchange.upstream().ok_or(Failure::NoInstance)?;
    let has_body = if body.is_some() { HasBody::Yes } else { HasBody::No };
    let instance = upstream.instance.address().authority();
    headers::to_upstream(
        &mut head,
        caller.client.downstream(),
        has_body,
        instance,
        &mut caller.worker().request_ids(),
    );

    let spare = lease.is_reused().then(|| head.clone());
    let is_due = body.is_some_and(|body| body.progress() != Progress::Complete);
    caller.pulse.expect_within(if is_due { limits.idle_timeout } else { limits.head_timeout });
    let request = Request::from_parts(head, Upload::new(body.cloned()));
    let mut lost = match send(caller, &mut lease, request, body).await? {
        Ok(response) => return Ok((response, lease)),
        Err(lost) => lost,
    };

    let unsent = lost.take_message();
    if unsent.is_none() {
        exchange.note_death();
    }
    let again = match (unsent, spare) {
        (Some(unsent), _) => unsent,
        (None, Some(head)) if rescue::may_be_the_race(exchange, &lease) => {
            Request::from_parts(head, Upload::new(body.cloned()))
        }
        (None, _) => return Err(explain(lost.into_error(), body)),
    };
    if body.is_some_and(|body| matches!(body.progress(), Progress::Stopped(_))) {
        return Err(explain(lost.into_error(), body));
    }
    exchange.count_retry();
    lease = connect(caller, exchange, limits).await?;
    match send(caller, &mut lease, again, body).await? {
        Ok(response) => Ok((response, lease)),
        Err(lost) => {
            exchange.note_death();
            Err(explain(lost.into_error(), body))
        }
    }
}

/// Makes a connection to the request's instance, or to another one if that cannot be reached and may be avoided.
async fn connect(caller: &Caller, exchange: &mut Exchange, limits: &Limits) -> Result<Lease, Failure> {
    let upstream = exchange.upstream().ok_or(Failure::NoInstance)?;
    match connect_to(caller, upstream, limits).await {
        Err(failure) if rescue::connect_elsewhere(exchange, &failure) => {
            let upstream = exchange.upstream().ok_or(Failure::NoInstance)?;
            connect_to(caller, upstream, limits).await
        }
        ended => ended,
    }
}

async fn connect_to(caller: &Caller, upstream: &Rc<Upstream>, limits: &Limits) -> Result<Lease, Failure> {
    // Connecting has a timeout of its own, and what was late before is over.
    caller.pulse.expect_within(Duration::MAX);
    caller.worker().meters().upstream_connects.up();
    upstream.connect(limits.connect_timeout).await
}

type Lost = TrySendError<Request<Upload>>;

/// One try. The outer error is final, the inner one is a lost connection.
async fn send(
    caller: &Caller,
    lease: &mut Lease,
    request: Request<Upload>,
    body: Option<&Rc<RequestBody>>,
) -> Result<Result<Response<Incoming>, Lost>, Failure> {
    let sent = lease.sender().try_send_request(request);
    match unless_late(&caller.pulse, sent).await {
        Ok(ended) => Ok(ended),
        Err(Late) => Err(match body.map(|body| body.progress()) {
            None | Some(Progress::Complete) => Failure::HeadTimeout,
            Some(Progress::ClientIsDue) => Failure::StalledBody,
            Some(Progress::InstanceIsDue | Progress::Stopped(_)) => Failure::IdleTimeout,
        }),
    }
}

/// Why a try ended without a response: it may be the client's body that broke the connection to the instance.
fn explain(error: hyper::Error, body: Option<&Rc<RequestBody>>) -> Failure {
    match body.map(|body| body.progress()) {
        Some(Progress::Stopped(UploadError::TooLarge)) => Failure::LargeBody,
        Some(Progress::Stopped(UploadError::Broken)) => Failure::BrokenBody,
        _ if error.is_parse() => Failure::BadResponse("it is not HTTP"),
        _ => Failure::Reset(error),
    }
}

/// Passes a response on. Its body ends the exchange.
fn deliver(
    caller: &Rc<Caller>,
    exchange: Exchange,
    reached: Reached,
    version: Version,
) -> Response<ResponseBody> {
    if let Some(body) = exchange.request_body() {
        body.mark_answered();
    }
    let Reached { response, lease, beginning } = reached;
    let (mut head, incoming) = response.into_parts();
    headers::to_downstream(&mut head, caller.after_response());
    // What HTTP/1.0 gets without a length ends where the connection ends.
    let is_close_delimited = version == Version::HTTP_10 && !head.headers.contains_key(CONTENT_LENGTH);
    let body = ResponseBody::stream(caller, beginning, incoming, exchange, lease, is_close_delimited);
    Response::from_parts(head, body)
}

fn answer(caller: &Caller, failure: &Failure) -> Response<ResponseBody> {
    // Where the head was not understood, nobody knows where the next one begins.
    let connection = if matches!(failure, Failure::BadRequest(_) | Failure::UnknownCoding) {
        caller.close_after_response()
    } else {
        caller.after_response()
    };
    let response = answer::problem(failure, connection);
    caller.end_exchange();
    response
}
