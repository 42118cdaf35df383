//! Copies of requests for an endpoint's shadow, whose answers nobody gets.
//!
//! A copy begins where its request has come to its end: until then the parts of the body are held by it, by reference, as they pass to the
//! instance that answers. Then it goes its own way, as the request of a client of its own, in a task of its own. So nothing of a copy is
//! waited for by the request, and a shadow that is slow, or does not answer, holds no more than bodies of its bounded number of copies; a request
//! that finds no place among them has no copy, which is counted.
//!
//! What the shadow makes of a copy is counted in its fleet's meters, as anybody's requests are. No alarm looks at it.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_LENGTH, request};
use http_body::Body as _;

use super::{
    body::{AtEnd, ResponseBody},
    caller::Caller,
    exchange::Exchange,
    forward::attempt,
    grpc::GrpcCall,
    incoming::Incoming,
    lane::{Dealt, Draw, RouteView},
    pulse::Pulse,
    read_memory::unshared,
    seat::Aim,
    upload::{Early, RequestBody},
    worker::Worker,
};
use crate::{
    fleet::Side,
    route::{Deck, Miss, Shadow, Split},
    time::Moment,
};

/// How long a copy may take where the endpoint bounds no request: as long as the longest answers of models, which is much longer than a
/// comparison is worth waiting for.
const LONGEST: Duration = Duration::from_secs(600);

/// An endpoint's shadow as a worker sees it.
#[derive(Debug)]
pub(super) struct ShadowView {
    shadow: Arc<Shadow>,
    view: Rc<RouteView>,
    deck: RefCell<Deck>,
    /// The worker's copies, also those of views before this one.
    under_way: Rc<Cell<usize>>,
    /// How many of them there may be.
    most: usize,
}

/// A copy whose request has not come to its end.
#[derive(Debug)]
pub(super) struct ShadowCopy {
    place: Place,
    caller: Rc<Caller>,
    head: request::Parts,
    early: Early,
    bytes: usize,
}

/// A place among the copies that are under way, until dropped.
#[derive(Debug)]
struct Place {
    shadow: Rc<ShadowView>,
}

/// A copy's time limits, watched by its worker until dropped.
struct Watched {
    worker: Rc<Worker>,
    pulse: Rc<Pulse>,
}

impl ShadowView {
    pub(super) fn new(shadow: &Arc<Shadow>, view: RouteView, under_way: &Rc<Cell<usize>>) -> Self {
        let workers = shadow.route.blue.meters.workers().max(1);
        Self {
            most: shadow.max_in_flight.div_ceil(workers),
            shadow: Arc::clone(shadow),
            view: Rc::new(view),
            deck: RefCell::default(),
            under_way: Rc::clone(under_way),
        }
    }

    /// One look at everything that time changes.
    pub(super) fn sweep(&self, now: Moment) {
        self.view.sweep(now);
    }

    /// Copies a request, if it is its turn and there is room.
    pub(super) fn copy(
        self: &Rc<Self>,
        caller: &Rc<Caller>,
        head: &request::Parts,
        body: Option<&Rc<RequestBody>>,
    ) {
        let split = Split { green: self.shadow.share, epoch: 1 };
        if self.deck.borrow_mut().deal(split, &mut *caller.worker().rng()) == Side::Blue {
            return;
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: usize| length > self.shadow.body_limit_bytes) {
            return self.shadow.missed.count(Miss::TooLarge);
        }
        if self.under_way.get() >= self.most {
            return self.shadow.missed.count(Miss::Busy);
        }
        self.under_way.set(self.under_way.get() + 1);
        let copy = ShadowCopy {
            place: Place { shadow: Rc::clone(self) },
            caller: Caller::connection(&caller.client.echo()),
            head: head.clone(),
            early: Early::default(),
            bytes: 0,
        };
        match body {
            Some(body) => body.copy_to(copy),
            None => copy.send(),
        }
    }
}

impl ShadowCopy {
    /// A part of the request's body has come; `None` where there is no copy of so much.
    pub(super) fn take(mut self, frame: &Bytes) -> Option<Self> {
        let shadow = &self.place.shadow.shadow;
        self.bytes = self.bytes.saturating_add(frame.len());
        if self.bytes > shadow.body_limit_bytes {
            shadow.missed.count(Miss::TooLarge);
            return None;
        }
        self.early.frames.push_back(unshared(frame.clone()));
        Some(self)
    }

    /// What comes after the body.
    pub(super) fn take_trailers(&mut self, trailers: &HeaderMap) {
        self.early.trailers = Some(trailers.clone());
    }

    /// The request will not come to its end.
    pub(super) fn give_up(self) {
        self.place.shadow.shadow.missed.count(Miss::Incomplete);
    }

    /// The request has come to its end: its copy goes out.
    pub(super) fn send(self) {
        let Self { place, caller, head, early, bytes: _ } = self;
        tokio::task::spawn_local(async move {
            let watched = Watched::new(&caller);
            let mut run = pin!(run(&caller, Rc::clone(&place.shadow.view), head, early));
            poll_fn(|context| {
                watched.pulse.listen(context.waker());
                run.as_mut().poll(context)
            })
            .await;
            drop(place);
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let under_way = &self.shadow.under_way;
        under_way.set(under_way.get().saturating_sub(1));
    }
}

impl Watched {
    fn new(caller: &Rc<Caller>) -> Self {
        let watched = Self { worker: Rc::clone(caller.worker()), pulse: Rc::clone(&caller.pulse) };
        watched.worker.begin_copy(&watched.pulse);
        watched
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.worker.end_copy(&self.pulse);
        self.worker.note_panic();
    }
}

/// The life of a copy: as that of a request, but that nobody gets the answer.
async fn run(caller: &Rc<Caller>, view: Rc<RouteView>, mut head: request::Parts, early: Early) {
    let limits = view.route.limits;
    caller.begin_exchange(true);
    // What is no call of gRPC's was none of its request's either, so that this copy was never made.
    let Ok(call) = GrpcCall::of(caller, &head) else { return };
    let body = RequestBody::new(caller, limits, &head.headers, early, Incoming::None);
    let draw = Draw { side: Side::Blue, variant: 0 };
    let mut exchange = Exchange::begin(caller.worker(), Dealt { view, draw, aim: Aim::Anywhere }, body);
    let longest = limits.total_timeout.unwrap_or(LONGEST);
    caller.pulse.end_by(Some(exchange.dispatched_at().after(longest)));
    if let Some(call) = call {
        call.tell(&mut head.headers, exchange.dispatched_at());
        exchange.carry(call, head.uri.path());
    }
    exchange.expect_stream(&head);
    match attempt(caller, &mut exchange, head, &limits).await {
        Ok(reached) => {
            if let Some(body) = exchange.request_body() {
                body.mark_answered();
            }
            caller.pulse.expect_within(limits.idle_timeout);
            let mut answer = ResponseBody::stream(caller, exchange, reached.call, AtEnd::Framing);
            while let Some(Ok(_)) = poll_fn(|context| Pin::new(&mut answer).poll_frame(context)).await {}
        }
        Err(failure) => exchange.settle_failed(&failure),
    }
}
