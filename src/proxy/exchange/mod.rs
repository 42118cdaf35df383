//! One dealt request, from its draw to its outcome.

mod again;
mod judging;
mod telling;

pub(super) use again::Original;

use std::rc::Rc;

use http::{HeaderMap, Method, request};

use super::{
    account::Tried,
    deaths::Deaths,
    error::Failure,
    grpc::GrpcCall,
    hearing::{Counted, Hearing},
    lane::{Dealt, Draw, RouteView},
    overdue::{Lateness, OpenRequest},
    pool::Upstream,
    queue::Waiter,
    seat::{Aim, Offer, Seat},
    tap::Progress as Heard,
    upgrade::Ask,
    upload::RequestBody,
    worker::Worker,
};
use crate::{
    clock,
    fleet::Side,
    meter::{FailureKind, GrpcStatus, Hedge, Outcome, Record, Rescue, Shard, Stamp, Verdict, WarmUp},
    name::VariantName,
    route::{BodyScanner, Invocations, Limits, Protection, RescuePolicy, Signals},
    time::Moment,
};

/// One dealt request. Making it counts the request as dealt and as in flight; dropping it settles it. So every dealt request is
/// settled exactly once, whatever path it takes: what nobody gave a verdict on is a request whose client went away,
/// since only that ends a request from outside. A client that leaves a failing answer unread does not clear the fleet: a
/// status that blames it is the verdict from its head on.
#[derive(Debug)]
pub(super) struct Exchange {
    worker: Rc<Worker>,
    view: Rc<RouteView>,
    draw: Draw,
    aim: Aim,
    role: Role,
    stamp: Stamp,
    /// Only under latency alarms.
    open: Option<OpenRequest>,
    /// What it was counted against before it became a tunnel.
    lateness: Lateness,
    /// Where it is served, if an instance can.
    seat: Option<Seat>,
    /// Whether it has to wait for one.
    waits: bool,
    request_body: Option<Rc<RequestBody>>,
    /// What the client wants to switch to.
    ask: Option<Rc<Ask>>,
    dispatched_at: Moment,
    answered: Option<Answered>,
    /// Only of a gRPC call.
    grpc: Option<GrpcCall>,
    hearing: Hearing,
    /// Only of a response in whose body the endpoint's owner wants errors to be looked for.
    body: Option<Box<BodyScanner>>,
    /// Of a tunnel: what a request body has, it counts itself.
    bytes_in: u64,
    bytes_out: u64,
    ended_at: Option<Moment>,
    verdict: Verdict,
    pub(super) deaths: Deaths,
    is_blamed: bool,
    /// Whether the answer holds a failure that does not count.
    is_excused: bool,
    /// Whether its failure went to blue.
    is_rescued: bool,
    /// Whether it was dealt while its instance warmed up.
    is_warm_up: bool,
    /// Only where somebody is told of requests.
    tried: Option<Tried>,
}

/// What is known of a try when it begins.
struct Start {
    worker: Rc<Worker>,
    view: Rc<RouteView>,
    draw: Draw,
    aim: Aim,
    role: Role,
    seat: Option<Seat>,
    request_body: Option<Rc<RequestBody>>,
    dispatched_at: Moment,
}

/// Which try of a request this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// The one that it was dealt for.
    Dealt,
    /// The same, moved to another instance of its fleet.
    Moved,
    /// A copy of one whose instance is slow to answer. Counts for nobody; if it is answered first, the request takes its place.
    Copy,
    /// Blue's, for a request that green failed. Counts for nobody; that it failed too is said in green's meters.
    Rescue,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    status: u16,
    at: Moment,
}

impl Exchange {
    /// A try of which nothing is known but its start: what it comes to unless it is told otherwise is a client that went away.
    fn start(start: Start) -> Self {
        let Start { worker, view, draw, aim, role, seat, request_body, dispatched_at } = start;
        worker.begin_request();
        Self {
            worker,
            view,
            draw,
            aim,
            role,
            stamp: Stamp::default(),
            open: None,
            lateness: Lateness::default(),
            seat,
            waits: false,
            request_body,
            ask: None,
            dispatched_at,
            answered: None,
            grpc: None,
            hearing: Hearing::default(),
            body: None,
            bytes_in: 0,
            bytes_out: 0,
            ended_at: None,
            verdict: Verdict::ClientGone,
            deaths: Deaths::default(),
            is_blamed: false,
            is_excused: false,
            is_rescued: false,
            is_warm_up: false,
            tried: None,
        }
    }

    /// Deals a request to a fleet and picks the instance.
    pub(super) fn begin(
        worker: &Rc<Worker>,
        Dealt { view, draw, aim }: Dealt,
        request_body: Option<Rc<RequestBody>>,
    ) -> Self {
        let dispatched_at = clock::now();
        let stamp = view.route.watch.as_ref().map_or(Stamp::default(), |watch| watch.stamp());
        view.meters(draw).shard(worker.number).dealt(stamp, dispatched_at);
        if let Some(order) = view.dealing_order(draw.side) {
            order.dealt(worker.number, dispatched_at);
        }
        let hearing = Hearing::of(view.streams(draw).map(|streams| streams.begin(stamp, dispatched_at)));
        let offer = view.offer(draw, aim, dispatched_at, &mut *worker.rng());
        let waits = matches!(offer, Offer::NoRoom);
        let seat = if let Offer::Seat(seat) = offer { Some(seat) } else { None };
        let role = Role::Dealt;
        let start =
            Start { worker: Rc::clone(worker), view, draw, aim, role, seat, request_body, dispatched_at };
        let mut exchange = Self::start(start);
        (exchange.stamp, exchange.hearing, exchange.waits) = (stamp, hearing, waits);
        exchange.begin_warm_up(dispatched_at);
        if !exchange.is_warm_up {
            exchange.open =
                exchange.view.open_requests(draw).map(|requests| requests.begin(stamp, dispatched_at));
        }
        exchange
    }

    /// What the request's head tells of a stream that it asks for, where somebody watches for one.
    pub(super) fn expect_stream(&self, head: &request::Parts) {
        let Some(watched) = self.hearing.watched() else { return };
        match &self.grpc {
            None => watched.ask(head.uri.path(), &head.headers, self.request_body.as_ref()),
            Some(call) => watched.ask_by_method(call.form, self.request_body.as_ref()),
        }
    }

    /// The request is a gRPC call.
    pub(super) fn carry(&mut self, mut call: GrpcCall, path: &str) {
        if self.view.route.signals == Signals::Grpc {
            call.remember(path, &self.view.streaming);
        }
        self.grpc = Some(call);
    }

    /// Moves the request to another instance of its fleet, if there is one, the budget has room, and this is its first try. The
    /// instance that it leaves has failed it.
    pub(super) fn move_elsewhere(&mut self, failure: &Failure) -> bool {
        let Some(seat) = self.seat.as_ref().filter(|_| self.role == Role::Dealt) else {
            return false;
        };
        let Some(other) = seat.elsewhere(&mut *self.worker.rng()) else { return false };
        let now = clock::now();
        if !self.view.budget.spend(self.policy().budget, now) {
            return false;
        }
        self.tell_move(failure.verdict(), now);
        if let Some(mut left) = self.seat.replace(other) {
            left.heed_end(failure.verdict(), None, now);
        }
        self.role = Role::Moved;
        self.deaths = self.deaths.elsewhere();
        self.answered = None;
        self.hearing.silence();
        self.body = None;
        self.grpc = self.grpc.as_ref().map(GrpcCall::again);
        self.verdict = Verdict::ClientGone;
        self.count_retry();
        true
    }

    /// Whether it has to wait for room on an instance.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// A place at the end of its fleet's queue; `None` when the queue is full.
    pub(super) fn join_queue(&self, now: Moment) -> Option<Waiter> {
        Waiter::join(self.view.queue(self.draw)?, &self.view, (self.draw, self.aim), now)
    }

    /// Its wait is over.
    pub(super) fn sit(&mut self, seat: Seat) {
        self.seat = Some(seat);
        self.waits = false;
        if self.view.warm_up(self.draw.side).is_some() {
            self.begin_warm_up(clock::now());
        }
    }

    /// Green's instance is known: is the request one of its warm-up? Then nothing is late.
    fn begin_warm_up(&mut self, now: Moment) {
        let (Some(warm_up), Some(seat)) = (self.view.warm_up(self.draw.side), &self.seat) else { return };
        let warmth = seat.upstream().instance.warmth();
        self.is_warm_up = match warm_up {
            WarmUp::Requests(requests) => warmth.is_among_first(requests),
            WarmUp::Time(span) => warmth.is_within(span, now),
        };
        if self.is_warm_up {
            self.shard().warm_up();
            self.lateness = self.open.take().map_or(self.lateness, OpenRequest::end);
            self.hearing.forget();
        }
    }

    /// What the endpoint says about instances in trouble.
    pub(super) fn protection(&self) -> &Protection {
        &self.view.route.protection
    }

    /// The copy was answered first: its answer is the request's. An instance that had `failed` before is told so; one that was only slow
    /// has failed nothing.
    pub(super) fn adopt(&mut self, mut copy: Self, failed: Option<&Failure>) {
        self.shard().hedge(Hedge::Won);
        self.tell_lost(clock::now());
        self.tried = copy.tried.take();
        let left = std::mem::replace(&mut self.seat, copy.seat.take());
        if let (Some(mut left), Some(failure)) = (left, failed) {
            left.heed_end(failure.verdict(), None, clock::now());
        }
        (self.answered, self.grpc) = (copy.answered, copy.grpc.take());
        self.hearing.adopt(&mut copy.hearing, clock::now());
        self.body = copy.body.take();
        self.heed_failure();
    }

    /// Whether its answer, as far as it has come, blames the fleet.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failure(_))
    }

    /// The endpoint's bounds.
    pub(super) fn limits(&self) -> &Limits {
        &self.view.route.limits
    }

    /// What the endpoint says about second tries.
    pub(super) fn policy(&self) -> &RescuePolicy {
        &self.view.route.rescue
    }

    /// Says in the meters what came of a rescue.
    pub(super) fn note(&self, rescue: Rescue) {
        self.view.meters(self.draw.on(Side::Green)).shard(self.worker.number).rescue(rescue);
    }

    /// The fleet that answers, as clients are told.
    pub(super) fn fleet_label(&self) -> &'static str {
        match self.role {
            Role::Dealt | Role::Moved | Role::Copy => self.draw.side.as_str(),
            Role::Rescue => "rescued",
        }
    }

    /// The variant that the request was dealt to, where its endpoint has variants.
    pub(super) fn variant(&self) -> Option<&VariantName> {
        self.view.variant(self.draw)
    }

    /// The same, as SageMaker's clients are told it: their endpoints have a variant at least.
    pub(super) fn invoked_variant(&self) -> Option<&VariantName> {
        let Invocations { variant } = self.view.route.invocations.as_ref()?;
        Some(self.variant().unwrap_or(variant))
    }

    /// The fleet that the request was dealt to.
    pub(super) fn side(&self) -> Side {
        self.draw.side
    }

    /// The instance that takes the request, if one can.
    pub(super) fn upstream(&self) -> Option<&Rc<Upstream>> {
        self.seat.as_ref().map(Seat::upstream)
    }

    /// The client's body, if the request has one.
    pub(super) fn request_body(&self) -> Option<&Rc<RequestBody>> {
        self.request_body.as_ref()
    }

    /// The client wants to switch protocols.
    pub(super) fn ask_for(&mut self, ask: Option<Rc<Ask>>) {
        self.ask = ask;
    }

    /// What the client wants to switch to.
    pub(super) fn ask(&self) -> Option<&Rc<Ask>> {
        self.ask.as_ref()
    }

    /// The instance has switched protocols. How long the tunnel lasts is the client's choice, so from here on nothing is late.
    pub(super) fn switch(&mut self) {
        self.lateness = self.open.take().map_or(self.lateness, OpenRequest::end);
        self.hearing.forget();
    }

    /// The request's head was complete at this moment.
    pub(super) fn count_overhead(&self, received: Moment) {
        self.shard().overhead(self.dispatched_at.since(received));
    }

    pub(super) fn dispatched_at(&self) -> Moment {
        self.dispatched_at
    }

    /// The request is sent a second time.
    pub(super) fn count_retry(&self) {
        self.shard().retried();
        if let Some(account) = self.account() {
            account.retried();
        }
    }

    /// The response's head came, to a request with this method.
    pub(super) fn answered(&mut self, status: u16, method: &Method, headers: &HeaderMap) {
        let now = clock::now();
        self.answered = Some(Answered { status, at: now });
        if let Some(call) = &mut self.grpc {
            call.read(headers);
        }
        self.hearing.answered(self.reader(status, method, headers), now);
        self.body = self.wanted_body(status, method, headers);
        if let Some(seat) = &mut self.seat {
            let of_call = self.grpc.as_ref().and_then(|call| call.status);
            seat.heed_head(of_call.map_or(status, GrpcStatus::http_status));
        }
        self.heed_failure();
    }

    /// Makes the ids of sessions in the response's head those that clients know, where there are such.
    pub(super) fn mark_sessions(&self, headers: &mut HeaderMap) {
        if let (Some(_), Some(seat)) = (&self.view.route.invocations, &self.seat) {
            seat.mark_sessions(headers);
        }
    }

    /// The response's trailers came.
    pub(super) fn read_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(call) = &mut self.grpc {
            call.read(trailers);
            self.heed_failure();
        }
    }

    /// The call, if the request is one of gRPC.
    pub(super) fn grpc(&self) -> Option<&GrpcCall> {
        self.grpc.as_ref()
    }

    fn grpc_status(&self) -> Option<GrpcStatus> {
        self.grpc.as_ref()?.status
    }

    /// The client takes more of the response than has come.
    pub(super) fn await_more(&mut self) {
        self.hearing.await_more(self.whose_turn());
    }

    /// The bytes of a tunnel, from the client and to it.
    pub(super) fn tunnelled(&mut self, bytes_in: u64, bytes_out: u64) {
        (self.bytes_in, self.bytes_out) = (bytes_in, bytes_out);
    }

    /// A part of the response body went downstream. Whether it was more than a sign of life.
    pub(super) fn passed(&mut self, bytes: &[u8]) -> Heard {
        let was_awaited = self.hearing.come();
        self.bytes_out = self.bytes_out.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if let Some(call) = &mut self.grpc
            && call.finds_error(bytes)
        {
            self.find_in_band_failure();
        }
        self.look_into_body(bytes);
        if !self.hearing.is_on() {
            return Heard::Made;
        }
        let heard = self.hear(|hearing, counted| hearing.pass(bytes, was_awaited, counted));
        if let Some(call) = &mut self.grpc
            && self.hearing.hears_stream()
        {
            call.tell_streaming(&self.view.streaming);
        }
        if self.hearing.has_failed() && !self.is_blamed {
            self.find_in_band_failure();
        }
        heard
    }

    /// Lets the hearing count. What blue makes of a rescue counts for nobody, and how long a warm-up takes for nothing.
    fn hear<T>(&mut self, with: impl FnOnce(&mut Hearing, Counted<'_>) -> T) -> T {
        let Self { hearing, view, worker, draw, role, is_warm_up, dispatched_at, request_body, .. } = self;
        let sent_bytes = request_body.as_ref().map_or(0, |body| body.passed_bytes());
        let shard = view.meters(*draw).shard(worker.number);
        let has_times = *role != Role::Rescue && !*is_warm_up;
        with(hearing, Counted { shard: has_times.then_some(shard), since: *dispatched_at, sent_bytes })
    }

    /// Ends the exchange with a failure.
    pub(super) fn settle_failed(mut self, failure: &Failure) {
        self.verdict = self.classes().of(failure.verdict());
        self.ended_at = Some(clock::now());
    }

    /// Ends the exchange with the verdict that its status deserves, and says when it ended.
    pub(super) fn settle_complete(mut self, end: End) -> Moment {
        let now = match (end, self.answered) {
            (End::WithHead, Some(Answered { at, .. })) => at,
            (End::Now, _) | (End::WithHead, None) => clock::now(),
        };
        self.ended_at = Some(now);
        if self.hearing.is_on() {
            self.hear(Hearing::finish);
        }
        if let Some(verdict) = self.verdict_of_answer() {
            let verdict = self.hearing.judge(verdict);
            self.verdict = self.classes().of(verdict);
        }
        now
    }

    fn shard(&self) -> &Shard {
        self.view.meters(self.draw).shard(self.worker.number)
    }

    /// After the outcome was counted, so that no alarm waits for it.
    fn record(&self, outcome: &Outcome, rescue: Option<Rescue>) {
        let recording = &self.view.route.recording;
        if recording.is_on() {
            let record = Record::of(outcome, self.dispatched_at, self.draw.side);
            let (worst_gap, gaps) = (self.hearing.worst_gap(), self.hearing.gaps());
            let record = Record { worst_gap, gaps, rescue, ..record };
            recording.write(self.worker.number, &record);
        }
    }

    fn outcome(&self, ended_at: Moment, lateness: Lateness) -> Outcome {
        let Lateness { overdue, passed } = lateness;
        Outcome {
            verdict: self.verdict,
            status: self.answered.map(|answered| answered.status),
            grpc_status: self.grpc_status(),
            first_byte: self.answered.map(|answered| answered.at.since(self.dispatched_at)),
            duration: ended_at.since(self.dispatched_at),
            bytes_in: self.request_body.as_ref().map_or(self.bytes_in, |body| body.passed_bytes()),
            bytes_out: self.bytes_out,
            first_token: self.hearing.first_token().map(|at| at.since(self.dispatched_at)),
            tokens_out: self.hearing.tokens(),
            overdue,
            passed,
            is_warm_up: self.is_warm_up,
        }
    }
}

/// When a complete response ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// With its head: nothing was waited for in between, so the clock need not be read again.
    WithHead,
    /// Now.
    Now,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.worker.end_request();
        if self.role == Role::Copy {
            return self.tell_lost(self.ended_at.unwrap_or_else(clock::now));
        }
        let ended_at = self.ended_at.unwrap_or_else(clock::now);
        if self.verdict == Verdict::ClientGone && self.is_overdue(ended_at) {
            self.verdict = self.classes().of_failure(FailureKind::Deadline);
        } else if self.verdict == Verdict::ClientGone && self.was_left() {
            self.verdict = self.classes().of_gone_client();
        }
        if self.hearing.is_on() {
            let verdict = self.verdict;
            self.hear(|hearing, counted| {
                hearing.finish(counted);
                hearing.end(verdict, ended_at, counted);
            });
        }
        let lateness = self.open.take().map_or(self.lateness, OpenRequest::end);
        let outcome = self.outcome(ended_at, lateness);
        let watch = self.view.route.watch.as_deref();
        if self.role != Role::Rescue {
            if let (Verdict::Failure(_), Some(order)) =
                (outcome.verdict, self.view.dealing_order(self.draw.side))
            {
                order.failed(self.worker.number, self.dispatched_at);
            }
            self.shard().settled(self.stamp, watch, &outcome);
            self.record(&outcome, self.is_rescued.then_some(Rescue::Tried));
        } else if let Verdict::Failure(_) = outcome.verdict {
            self.note(Rescue::Failed);
            self.record(&outcome, Some(Rescue::Failed));
        }
        // Only now: whether an instance is ejected changes nothing in what was counted.
        if let Some(seat) = &mut self.seat {
            let status = outcome.grpc_status.map(GrpcStatus::http_status).or(outcome.status);
            seat.heed_end(outcome.verdict, status, ended_at);
        }
        if let (Side::Green, Some(watch)) = (self.draw.side, watch)
            && watch.is_against(&outcome)
        {
            watch.ring(ended_at);
        }
        self.tell_end(&outcome, ended_at);
    }
}
