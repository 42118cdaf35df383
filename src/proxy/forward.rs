//! Handling a request: one function whose lines are its life.

use std::{error::Error, future::poll_fn, pin::Pin, rc::Rc, time::Duration};

use http::{
    HeaderMap, Request, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, HOST},
    request,
    uri::Scheme,
};

use super::{
    account::Account,
    answer,
    body::{AtEnd, ResponseBody},
    call::{Call, Lost},
    caller::Caller,
    decode::StatusLine,
    error::Failure,
    exchange::{End, Exchange},
    gate,
    grpc::{self, GrpcCall},
    headers::{self, Additions, BodyFraming, NewId},
    hedge::Hedge,
    http2_call::Following,
    http2_head,
    incoming::Incoming,
    invocation,
    lane::Dealt,
    peek,
    pool::{Upstream, Way},
    pulse::{Late, unless_late},
    queue,
    rescue::{self, Replay},
    seat::Aim,
    sending::Sending,
    signing,
    upgrade::{Ask, Tunnel},
    upload::{Early, Progress, RequestBody},
    worker::Deal,
};
use crate::{
    clock,
    fleet::Protocol,
    name::VariantName,
    route::{Limits, ModelKey, RequestKey, Underscores, unmark_session},
};

/// Answers a request, in the words of the API that its client speaks.
pub(super) async fn handle(caller: &Rc<Caller>, request: Request<Incoming>) -> Response<ResponseBody> {
    caller.begin_exchange(request.body().is_end_stream());
    if invocation::may_be_meant(request.uri().path()) {
        // Boxed, so that all others carry no room for it.
        return Box::pin(invocation::handle(caller, request)).await;
    }
    answered(caller, request).await
}

/// Answers a request: with an instance's response, or with a problem.
pub(super) async fn answered(caller: &Rc<Caller>, request: Request<Incoming>) -> Response<ResponseBody> {
    let account = Account::begin(caller, &request);
    let response = match forward(caller, request, account.as_ref()).await {
        Ok(response) => response,
        Err(refused) => {
            if let Some(account) = &account {
                account.failed(&refused);
            }
            refuse(caller, &refused)
        }
    };
    if let Some(account) = account {
        account.answered(response.status().as_u16());
    }
    response
}

/// Answers a request that was dealt to no fleet, and counts it.
pub(super) fn refuse(caller: &Caller, refused: &Failure) -> Response<ResponseBody> {
    let meters = caller.worker().meters();
    if let Failure::NoMatch = refused {
        meters.unmatched.up()
    } else if let Failure::Busy = refused {
        meters.shed.up()
    } else if let Some(rejection) = refused.rejection() {
        meters.rejected.up(rejection)
    }
    answer(caller, refused)
}

/// The life of a request. An error is a request that was dealt to no fleet; what fails later is answered here.
async fn forward(
    caller: &Rc<Caller>,
    request: Request<Incoming>,
    account: Option<&Rc<Account>>,
) -> Result<Response<ResponseBody>, Failure> {
    let (mut head, mut incoming) = request.into_parts();
    let call = GrpcCall::of(caller, &head)?;
    gate::admit(&mut head, bounds(caller))?;
    let mut early = caller.take_early();
    let dealt = match deal(caller, &head, &mut incoming, &mut early).await {
        Ok(dealt) => dealt,
        Err(failure) => {
            discard(caller, &head.headers, early, incoming).await;
            return Err(failure);
        }
    };
    if dealt.view.route.invocations.is_some() {
        signing::demand(caller, &head, &dealt.view.route.limits, &mut incoming, &mut early).await?;
        unmark_session(&mut head.headers);
    }
    if let Some(rewrite) = &dealt.view.route.rewrite {
        peek::rewrite(&mut head, rewrite)?;
    }
    let limits = dealt.view.route.limits;
    caller.client.set_on_half_close(limits.on_half_close);
    check_size(&head, &limits)?;
    if caller.pulse.is_expired() {
        caller.pulse.expect_end_within(limits.idle_timeout);
        return Err(Failure::Deadline);
    }
    let body = RequestBody::new(caller, limits, &head.headers, early, incoming);
    let ask = Ask::of(&mut head, body.as_ref(), &dealt.view.route.upgrades, &mut *caller.worker().rng())?;
    if let (Some(shadow), None) = (&dealt.view.shadow, &ask) {
        shadow.copy(caller, &head, body.as_ref());
    }
    let version = head.version;
    let mut exchange = Exchange::begin(caller.worker(), dealt, body);
    if let Some(received) = caller.take_received() {
        exchange.count_overhead(received);
    }
    if let Some(account) = account {
        exchange.tell(account);
    }
    caller.pulse.end_by(limits.total_timeout.map(|total| exchange.dispatched_at().after(total)));
    if let Some(call) = call {
        call.tell(&mut head.headers, exchange.dispatched_at());
        exchange.carry(call, head.uri.path());
    }
    exchange.ask_for(ask);
    exchange.expect_stream(&head);
    let replay = Replay::prepare(&exchange, &head);
    let mut reached = match Hedge::prepare(&exchange, &head) {
        None => attempt(caller, &mut exchange, head, &limits).await,
        Some(hedge) => Box::pin(hedge.attempt(caller, &mut exchange, head, &limits)).await,
    };
    if let Some(replay) = replay.filter(|_| Replay::has_cause(&exchange, &reached)) {
        (exchange, reached) = Box::pin(replay.finish(caller, exchange, reached, &limits)).await;
    }
    let fleet = exchange.fleet_label();
    let variant = exchange.variant().filter(|_| caller.worker().settings.expose_variant).cloned();
    let invoked = exchange.invoked_variant().cloned();
    let mut response = match reached {
        Ok(reached) => {
            caller.pulse.expect_within(limits.idle_timeout);
            deliver(caller, exchange, reached, version)
        }
        Err(failure) => fail(caller, exchange, failure, limits.idle_timeout).await,
    };
    expose(caller, response.headers_mut(), fleet, [variant.as_ref(), invoked.as_ref()]);
    Ok(response)
}

/// Reads what is left of the body of a request that belongs to no endpoint.
pub(super) async fn discard(caller: &Rc<Caller>, headers: &HeaderMap, early: Early, incoming: Incoming) {
    let limits = Limits::default();
    // The answer must get out, even if the client was late with what the endpoint depends on.
    caller.pulse.expect_end_within(limits.idle_timeout);
    if let Some(body) = RequestBody::new(caller, limits, headers, early, incoming) {
        body.discard().await;
    }
}

/// Says where the request went, as far as the configuration wants that to be said, and to clients of SageMaker's API.
fn expose(
    caller: &Caller,
    headers: &mut HeaderMap,
    fleet: &'static str,
    [variant, invoked]: [Option<&VariantName>; 2],
) {
    if caller.worker().settings.expose_fleet {
        headers::expose_fleet(headers, fleet);
    }
    if let Some(variant) = variant {
        headers::expose_variant(headers, variant);
    }
    if let Some(invoked) = invoked {
        headers::say_invoked(headers, invoked);
    }
}

/// Answers a request that its fleet has failed.
async fn fail(
    caller: &Rc<Caller>,
    exchange: Exchange,
    failure: Failure,
    idle_timeout: Duration,
) -> Response<ResponseBody> {
    tracing::debug!(error = &failure as &dyn Error, fleet = exchange.fleet_label(), "a request failed");
    caller.pulse.expect_end_within(idle_timeout);
    if let Some(body) = exchange.request_body() {
        body.discard().await;
    }
    if let Some(account) = exchange.account() {
        account.failed(&failure);
    }
    exchange.settle_failed(&failure);
    answer(caller, &failure)
}

/// Finds the endpoint and deals a fleet. Where only the model tells the endpoint, or the prompt the instance, the body is read as
/// far as that.
async fn deal(
    caller: &Rc<Caller>,
    head: &request::Parts,
    incoming: &mut Incoming,
    early: &mut Early,
) -> Result<Dealt, Failure> {
    if caller.worker().is_busy() {
        return Err(Failure::Busy);
    }
    let key = key(head);
    // What looks into the body is boxed, so that requests that need no such look carry no room for it.
    let mut dealt = match caller.worker().deal(&key)? {
        Deal::To(dealt) => dealt,
        Deal::NeedsModel => {
            let model = Box::pin(peek::model(caller, head, incoming, early)).await?;
            let model = model.as_deref().map_or(ModelKey::Absent, ModelKey::Named);
            match caller.worker().deal(&RequestKey { model, ..key })? {
                Deal::To(dealt) => dealt,
                // A model that is known to be absent is asked for no more.
                Deal::NeedsModel => return Err(Failure::NoMatch),
            }
        }
    };
    if let Some(bytes) = dealt.view.route.balance.prompt_bytes() {
        let key = Box::pin(peek::prompt(caller, bytes, incoming, early)).await?;
        if let (Aim::Anywhere, Some(key)) = (dealt.aim, key) {
            dealt.aim = Aim::Key(key);
        }
    }
    Ok(dealt)
}

/// What a head may be that came over HTTP/2.
fn bounds(caller: &Caller) -> gate::Bounds {
    let settings = &caller.worker().settings;
    // Metadata of gRPC may have underscores, and its servers do not write names as CGI does.
    let underscores = if caller.speaks_grpc() { Underscores::Pass } else { settings.underscores };
    gate::Bounds { limit_bytes: settings.head_limit_bytes, underscores }
}

/// What the request is matched by. The gate has made sure that there is at most one host, and that it is one.
fn key(head: &request::Parts) -> RequestKey<'_> {
    let host = head.headers.get(HOST).and_then(|authority| {
        let authority = authority.as_bytes();
        let digits = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let host = authority.get(..authority.len() - digits).and_then(|host| host.strip_suffix(b":"));
        str::from_utf8(host.unwrap_or(authority)).ok()
    });
    RequestKey { host, path: head.uri.path(), headers: &head.headers, model: ModelKey::Unread }
}

/// Keeps a request within its endpoint's bounds, as far as its head tells.
fn check_size(head: &request::Parts, limits: &Limits) -> Result<(), Failure> {
    check_head(head, limits)?;
    check_length(&head.headers, limits)
}

/// What the head takes on an HTTP/1 connection, whatever it came on, as far as the endpoint bounds it. The worker's own bound was
/// kept before there was an endpoint.
fn check_head(head: &request::Parts, limits: &Limits) -> Result<(), Failure> {
    let Some(limit) = limits.head_limit_bytes else { return Ok(()) };
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let line = head.method.as_str().len() + target + "  HTTP/1.1\r\n".len();
    let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    if line + fields.sum::<usize>() > limit { Err(Failure::LargeHead) } else { Ok(()) }
}

/// A body that says it is too large is refused before any of it is read.
fn check_length(headers: &HeaderMap, limits: &Limits) -> Result<(), Failure> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits.body_limit_bytes) {
        return Err(Failure::LargeBody);
    }
    Ok(())
}

/// A response whose head has come.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) line: StatusLine,
    pub(super) headers: HeaderMap,
    pub(super) call: Call,
}

/// One try of a request: sends it to its instance and waits for the response's head.
///
/// A reused connection may have been closed by the instance at the same moment, which shows only once the request is under
/// way. Then the request is sent once more, on a fresh connection, if no byte of a response came and the body can be
/// replayed. It may be executed twice, whatever its method: an inference request changes nothing, and a client that must
/// repeat it by hand is no better off.
pub(super) async fn attempt(
    caller: &Caller,
    exchange: &mut Exchange,
    mut head: request::Parts,
    limits: &Limits,
) -> Result<Reached, Failure> {
    if exchange.waits() {
        // Boxed, so that requests that need not wait carry no room for it.
        Box::pin(queue::wait(caller, exchange)).await?;
        if let Some(call) = exchange.grpc() {
            call.tell(&mut head.headers, clock::now());
        }
    }
    let idle_timeout = caller.worker().settings.upstream_idle_timeout;
    let upstream = exchange.upstream().ok_or(Failure::NoInstance)?;
    if exchange.grpc().is_some() && upstream.instance.protocol() == Protocol::Http1 {
        return Err(Failure::NeedsHttp2);
    }
    let way = match upstream.checkout(exchange.dispatched_at(), idle_timeout) {
        Some(way) => way,
        None => connect(caller, exchange, limits).await?,
    };
    let mut sent = Sent { head, id: caller.worker().new_id() };
    let mut call = begin(caller, exchange, way, &mut sent)?;
    let mut answered = call_once(caller, exchange, &mut call, &mut sent.head, limits).await?;
    if let Err(lost) = &answered
        && rescue::may_be_sent_again(exchange, &call, lost)
    {
        exchange.count_retry();
        let way = connect(caller, exchange, limits).await?;
        call = begin(caller, exchange, way, &mut sent)?;
        answered = call_once(caller, exchange, &mut call, &mut sent.head, limits).await?;
    }
    let line = answered?;
    exchange.answered(line.status.as_u16(), &sent.head.method, &sent.head.headers);
    // The request's map has taken the response's headers: in HTTP/1 one allocation serves both.
    let mut headers = sent.head.headers;
    exchange.mark_sessions(&mut headers);
    Ok(Reached { line, headers, call })
}

/// What is the same each time that a request is sent.
struct Sent<'a> {
    head: request::Parts,
    id: NewId<'a>,
}

/// Begins a call with the request as it goes to its instance.
fn begin(caller: &Caller, exchange: &Exchange, way: Way, sent: &mut Sent<'_>) -> Result<Call, Failure> {
    exchange.mark(&mut sent.head.headers);
    match way {
        Way::Alone(lease) => Ok(Call::alone(lease, write(caller, exchange, sent))),
        Way::Shared(seat) => {
            let upstream = exchange.upstream().ok_or(Failure::NoInstance)?;
            let ask = exchange.ask();
            if ask.is_some() && !seat.makes_tunnels() {
                return Err(Failure::NeedsTunnels);
            }
            let request = http2_head::request(
                &sent.head,
                http2_head::Additions {
                    downstream: caller.client.downstream(),
                    instance: upstream.instance.address().authority(),
                    scheme: if upstream.has_tls() { Scheme::HTTPS } else { Scheme::HTTP },
                    upgrade: ask.map(|ask| ask.protocol()),
                    id: &mut sent.id,
                },
            );
            let following = match (ask, exchange.request_body()) {
                (Some(_), _) => Following::Tunnel,
                (None, Some(body)) => Following::Body(Rc::clone(body)),
                (None, None) => Following::Nothing,
            };
            let request = request.ok_or(Failure::BadRequest("Its target cannot be said in HTTP/2."))?;
            Ok(Call::shared(seat, request, following))
        }
    }
}

/// The request as text, for HTTP/1.
fn write(caller: &Caller, exchange: &Exchange, sent: &mut Sent<'_>) -> Sending {
    let body = exchange.request_body();
    let framing = match body {
        None => BodyFraming::Empty,
        Some(_) if sent.head.headers.contains_key(CONTENT_LENGTH) => BodyFraming::Length,
        Some(_) => BodyFraming::Chunked,
    };
    let mut out = caller.worker().take_buffer();
    headers::write_request(
        &mut out,
        &sent.head,
        Additions {
            downstream: caller.client.downstream(),
            instance: exchange.upstream().map_or("", |upstream| upstream.instance.address().authority()),
            framing,
            upgrade: exchange.ask().map(|ask| ask.protocol()),
            id: &mut sent.id,
        },
    );
    Sending::new(out, framing, body.cloned())
}

/// Makes a connection to the request's instance, or to another one if that cannot be reached and may be avoided. Boxed: most requests find a
/// connection, and carry no room for the making of one, which would be half of all that they carry.
fn connect<'a>(
    caller: &'a Caller,
    exchange: &'a mut Exchange,
    limits: &'a Limits,
) -> Pin<Box<dyn Future<Output = Result<Way, Failure>> + 'a>> {
    Box::pin(async move {
        let upstream = exchange.upstream().ok_or(Failure::NoInstance)?;
        match connect_to(caller, upstream, limits).await {
            Err(failure) if rescue::connect_elsewhere(exchange, &failure) => {
                let upstream = exchange.upstream().ok_or(Failure::NoInstance)?;
                connect_to(caller, upstream, limits).await
            }
            ended => ended,
        }
    })
}

async fn connect_to(caller: &Caller, upstream: &Rc<Upstream>, limits: &Limits) -> Result<Way, Failure> {
    // Connecting has a timeout of its own, and what was late before is over.
    caller.pulse.expect_within(Duration::MAX);
    if !upstream.is_connecting() {
        caller.worker().make_room_upstream();
        caller.worker().meters().upstream_connects.up();
    }
    let connecting = unless_late(&caller.pulse, upstream.connect(limits.connect_timeout));
    connecting.await.unwrap_or_else(|late| Err(Failure::overdue(late)))
}

/// Sends the request once. The outer error is final, the inner one is a lost connection.
async fn call_once(
    caller: &Caller,
    exchange: &mut Exchange,
    call: &mut Call,
    head: &mut request::Parts,
    limits: &Limits,
) -> Result<Result<StatusLine, Lost>, Failure> {
    let is_due = exchange.request_body().is_some_and(|body| body.progress() != Progress::Complete);
    caller.pulse.expect_within(if is_due { limits.idle_timeout } else { limits.head_timeout });
    let memory = &caller.worker().read_memory;
    let ask = exchange.ask().map(Rc::clone);
    let answer = poll_fn(|context| call.poll_head(context, memory, head, ask.as_deref()));
    match unless_late(&caller.pulse, answer).await {
        Ok(Err(lost)) => {
            if let Lost::Closed(_) = lost {
                exchange.deaths.note();
            }
            Ok(Err(lost))
        }
        Ok(Ok(line)) => Ok(Ok(line)),
        Err(late) => Err(match (exchange.request_body().map(|body| body.progress()), late) {
            (_, Late::Expired) => Failure::Deadline,
            (_, Late::Slow) => Failure::SlowBody,
            (Some(Progress::ClientIsDue), _) => Failure::StalledBody,
            (_, Late::Overdue) => Failure::TotalTimeout,
            (None | Some(Progress::Complete), Late::Silent) => Failure::HeadTimeout,
            (Some(Progress::InstanceIsDue | Progress::Stopped(_)), Late::Silent) => Failure::IdleTimeout,
        }),
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
    if let Some(ask) = exchange.ask().map(Rc::clone) {
        if reached.line.status == StatusCode::SWITCHING_PROTOCOLS {
            return switch(caller, &ask, exchange, reached);
        }
        if ask.would_mistake(reached.line.status) {
            exchange.settle_complete(End::WithHead);
            return answer(caller, &Failure::BadResponse("It has not switched protocols."));
        }
    }
    let Reached { line, mut headers, call } = reached;
    headers::announce(&mut headers, caller.after_response());
    // What HTTP/1.0 gets without a length ends where the connection ends.
    let at_end = if version == Version::HTTP_10 && !headers.contains_key(CONTENT_LENGTH) {
        AtEnd::Close
    } else {
        AtEnd::Framing
    };
    let mut response = Response::new(ResponseBody::stream(caller, exchange, call, at_end));
    *response.status_mut() = line.status;
    *response.headers_mut() = headers;
    if let Some(reason) = line.reason {
        response.extensions_mut().insert(reason);
    }
    response
}

/// Passes on that the instance has switched protocols. The client's side of the tunnel is free once that was written.
fn switch(caller: &Caller, ask: &Ask, exchange: Exchange, reached: Reached) -> Response<ResponseBody> {
    let Reached { line: _, mut headers, call } = reached;
    let Some((switched, buffer)) = call.switch() else {
        let failure = Failure::BadResponse("It switches protocols where it cannot.");
        exchange.settle_failed(&failure);
        return answer(caller, &failure);
    };
    if let Some(buffer) = buffer {
        caller.worker().give_buffer(buffer);
    }
    // The request's last moment was for its answer; a tunnel has one of its own.
    let lifetime = exchange.limits().upgrade_lifetime;
    caller.pulse.end_by(lifetime.map(|lifetime| clock::now().after(lifetime)));
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = ask.answer(&mut headers);
    *response.headers_mut() = headers;
    caller.set_tunnel(Tunnel::new(caller, exchange, switched));
    response
}

fn answer(caller: &Caller, failure: &Failure) -> Response<ResponseBody> {
    // Where the head was not understood, nobody knows where the next one begins.
    let connection = if matches!(failure, Failure::BadRequest(_) | Failure::UnknownCoding) {
        caller.close_after_response()
    } else {
        caller.after_response()
    };
    let response =
        if caller.speaks_grpc() { grpc::status(failure) } else { answer::problem(failure, connection) };
    caller.end_exchange();
    response
}
