//! The route table as one worker holds it.
//!
//! Tables and what they point to are shared by all workers, and so are their reference counts: cloning an `Arc` for each
//! request would move its cache line from core to core. A worker therefore wraps what it serves in counts of its own
//! (`Rc`), once for each new route, next to the endpoint's deck and its connections to the instances.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use http::HeaderMap;
use rand::Rng;

use super::{
    budget::Budget,
    overdue::OpenRequests,
    pool::Upstream,
    queue::{Doorbells, Queue},
    seat::{FleetView, Offer, Parts, Seat, Wanted},
    tokens::WatchedStreams,
};
use crate::{
    fleet::{Instance, Side},
    meter::{DealingOrder, WarmUp},
    route::{Deck, EndpointRoute, FleetRoute, RouteTable},
    time::Moment,
    tls::Keychain,
};

/// An endpoint at a moment, for one worker. A request keeps it to its end.
#[derive(Debug)]
pub(super) struct RouteView {
    pub(super) route: Arc<EndpointRoute>,
    /// The endpoint's second tries.
    pub(super) budget: Rc<Budget>,
    blue: Rc<FleetView>,
    green: Option<Rc<FleetView>>,
    /// Green's open requests, while a shift has latency alarms.
    open_requests: Option<Rc<OpenRequests>>,
    /// Green's streams, while a shift has guards on tokens.
    streams: Option<Rc<WatchedStreams>>,
}

/// What a request was dealt.
#[derive(Debug)]
pub(super) struct Dealt {
    pub(super) view: Rc<RouteView>,
    pub(super) side: Side,
    /// The hash of the request's key, where the endpoint's instances are chosen by one.
    pub(super) key: Option<u64>,
}

/// Everything a worker keeps for endpoints from one request to the next.
#[derive(Debug)]
pub(super) struct Lanes {
    /// By [`EndpointSlot`](crate::route::EndpointSlot).
    lanes: Vec<Option<Lane>>,
    known: Known,
}

/// What outlives a route.
#[derive(Debug)]
struct Known {
    /// The worker's number.
    worker: usize,
    doorbells: Doorbells,
    /// By the instance's address in memory, which stays its own for as long as the upstream holds it.
    upstreams: HashMap<*const Instance, Rc<Upstream>>,
    /// One for each shift with latency alarms.
    open_requests: Vec<Rc<OpenRequests>>,
    /// One for each shift with guards on tokens.
    streams: Vec<Rc<WatchedStreams>>,
    /// One for each fleet whose instances take only so many requests at a time.
    queues: Vec<Rc<Queue>>,
    keychain: Arc<Keychain>,
}

#[derive(Debug)]
struct Lane {
    view: Rc<RouteView>,
    deck: Deck,
    budget: Rc<Budget>,
}

impl RouteView {
    /// The fleet of a side. Green's share is zero while there is no green, so the draw never asks for one that is not there.
    pub(super) fn fleet(&self, side: Side) -> &FleetRoute {
        match (side, &self.route.green) {
            (Side::Green, Some(green)) => green,
            (Side::Green, None) | (Side::Blue, _) => &self.route.blue,
        }
    }

    /// What a fleet has for a request that comes now and whose key has this hash.
    pub(super) fn offer(&self, side: Side, key: Option<u64>, now: Moment, rng: &mut impl Rng) -> Offer {
        self.view(side).offer(self.wanted(key, now), rng)
    }

    /// What it has for one that has waited, and whose turn it is.
    pub(super) fn offer_to_first(
        &self,
        side: Side,
        key: Option<u64>,
        now: Moment,
        rng: &mut impl Rng,
    ) -> Offer {
        self.view(side).offer_to_first(self.wanted(key, now), rng)
    }

    /// Where a fleet's requests wait, where its instances take only so many at a time.
    pub(super) fn queue(&self, side: Side) -> Option<&Rc<Queue>> {
        self.view(side).queue()
    }

    fn wanted(&self, key: Option<u64>, now: Moment) -> Wanted<'_> {
        Wanted { balance: &self.route.balance, key, now }
    }

    /// A seat for a copy of a request, on another instance of its fleet than this one; `None` when no other can serve, or others wait for
    /// it.
    pub(super) fn seat_elsewhere(&self, side: Side, avoid: &Upstream, rng: &mut impl Rng) -> Option<Seat> {
        if self.queue(side).is_some_and(|queue| queue.is_anybody_waiting()) {
            return None;
        }
        self.view(side).seat_elsewhere(avoid, rng)
    }

    /// A side's open requests, where they are watched.
    pub(super) fn open_requests(&self, side: Side) -> Option<&Rc<OpenRequests>> {
        match side {
            Side::Green => self.open_requests.as_ref(),
            Side::Blue => None,
        }
    }

    /// The order in which a side's requests are dealt: green's, where the shift looks for runs of failures.
    pub(super) fn dealing_order(&self, side: Side) -> Option<&DealingOrder> {
        match side {
            Side::Green => self.route.watch.as_ref()?.order(),
            Side::Blue => None,
        }
    }

    /// How a side's instances warm up: green's, where the shift's plan says so.
    pub(super) fn warm_up(&self, side: Side) -> Option<WarmUp> {
        match side {
            Side::Green => self.route.watch.as_ref()?.warm_up(),
            Side::Blue => None,
        }
    }

    /// A side's streams, where they are watched.
    pub(super) fn streams(&self, side: Side) -> Option<&Rc<WatchedStreams>> {
        match side {
            Side::Green => self.streams.as_ref(),
            Side::Blue => None,
        }
    }

    /// One look at everything that time changes.
    fn sweep(&self, now: Moment) {
        for fleet in std::iter::once(&self.blue).chain(&self.green) {
            fleet.sweep(now);
        }
    }

    fn view(&self, side: Side) -> &Rc<FleetView> {
        match (side, &self.green) {
            (Side::Green, Some(green)) => green,
            (Side::Green, None) | (Side::Blue, _) => &self.blue,
        }
    }
}

impl Lanes {
    /// Of the worker of this number, whose doorbell is rung when there may be room for a request that waits.
    pub(super) fn new(worker: usize, doorbells: Doorbells, keychain: Arc<Keychain>) -> Self {
        let known = Known {
            worker,
            doorbells,
            upstreams: HashMap::new(),
            open_requests: Vec::new(),
            streams: Vec::new(),
            queues: Vec::new(),
            keychain,
        };
        Self { lanes: Vec::new(), known }
    }

    /// Deals a fleet of this endpoint: by the session's key where the endpoint has such and the request too, else from the deck.
    pub(super) fn deal(
        &mut self,
        route: &Arc<EndpointRoute>,
        headers: &HeaderMap,
        rng: &mut impl Rng,
    ) -> Dealt {
        let lane = self.lane(route);
        lane.budget.count();
        let side = match route.session_side(headers) {
            Some(side) => side,
            None => lane.deck.deal(route.split, rng),
        };
        Dealt { view: Rc::clone(&lane.view), side, key: route.balance.session_key(headers) }
    }

    fn lane(&mut self, route: &Arc<EndpointRoute>) -> &mut Lane {
        let slot = usize::try_from(route.slot.0).expect("a u32 fits in usize on every target with sockets");
        if self.lanes.len() <= slot {
            self.lanes.resize_with(slot + 1, || None);
        }
        let Self { lanes, known } = self;
        let place = lanes.get_mut(slot).expect("the lanes were just made long enough");
        match place {
            Some(lane) if Arc::ptr_eq(&lane.view.route, route) => {}
            Some(lane) => lane.view = Rc::new(view(route, &lane.budget, known)),
            None => {
                let budget = Rc::new(Budget::new(route.blue.meters.workers()));
                let view = Rc::new(view(route, &budget, known));
                *place = Some(Lane { view, deck: Deck::default(), budget });
            }
        }
        place.as_mut().expect("the lane was just filled")
    }

    /// Brings every lane to this table, and forgets endpoints and instances that it does not name, with their connections.
    pub(super) fn follow(&mut self, table: &RouteTable) {
        let routes: HashMap<_, _> = table.endpoints().iter().map(|route| (route.slot.0, route)).collect();
        for (slot, place) in (0..).zip(&mut self.lanes) {
            if !routes.contains_key(&slot) {
                *place = None;
            }
        }
        for route in routes.values() {
            self.lane(route);
        }
        // One count is the map's own.
        self.known.upstreams.retain(|_, upstream| Rc::strong_count(upstream) > 1);
    }

    /// One look at everything that time changes of fleets.
    pub(super) fn sweep(&mut self, now: Moment, rng: &mut impl Rng) {
        for lane in self.lanes.iter().flatten() {
            lane.view.sweep(now);
        }
        // One count is the list's own.
        self.known.queues.retain(|queue| Rc::strong_count(queue) > 1);
        for queue in &self.known.queues {
            queue.expire(now);
        }
        self.admit_waiting(now, rng);
    }

    /// Gives room to requests that wait, as far as there is any.
    pub(super) fn admit_waiting(&self, now: Moment, rng: &mut impl Rng) {
        for queue in &self.known.queues {
            queue.admit(now, rng);
        }
    }

    /// Every endpoint's second tries.
    pub(super) fn budgets(&self) -> impl Iterator<Item = &Budget> {
        self.lanes.iter().flatten().map(|lane| &*lane.budget)
    }

    /// The instances that the worker knows.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Rc<Upstream>> {
        self.known.upstreams.values()
    }

    /// Whether a shift has guards on latency or tokens, so that [`Lanes::look_for_overdue`] has something to see.
    pub(super) fn has_open_requests(&self) -> bool {
        !self.known.open_requests.is_empty() || !self.known.streams.is_empty()
    }

    /// Counts green's open requests that have passed the bound of a guard on latency or tokens.
    pub(super) fn look_for_overdue(&mut self, worker: usize, now: Moment) {
        // One count is the list's own; the others are those of views, which requests keep to their end.
        self.known.open_requests.retain(|requests| Rc::strong_count(requests) > 1);
        for requests in &self.known.open_requests {
            requests.look(worker, now);
        }
        self.known.streams.retain(|streams| Rc::strong_count(streams) > 1);
        for streams in &self.known.streams {
            streams.look(now);
        }
    }
}

fn view(route: &Arc<EndpointRoute>, budget: &Rc<Budget>, known: &mut Known) -> RouteView {
    let Known { worker, doorbells, upstreams, open_requests, streams, queues, keychain } = known;
    let mut fleet_view = |side: Side, fleet: &FleetRoute| {
        let upstream = |instance: &Arc<Instance>| {
            let known = upstreams.entry(Arc::as_ptr(instance));
            Rc::clone(known.or_insert_with(|| Upstream::new(Arc::clone(instance), keychain)))
        };
        let upstreams = fleet.fleet.instances.iter().map(upstream).collect();
        let max_concurrency = route.protection.admission.max_concurrency;
        let is_limited = max_concurrency.is_some()
            || fleet.fleet.instances.iter().any(|instance| instance.max_concurrency().is_some());
        FleetView::new(Parts {
            worker: *worker,
            fleet: &fleet.fleet,
            ejection: route.protection.ejection.of(side),
            upstreams,
            max_concurrency,
            queue: is_limited.then(|| Queue::of(queues, *worker, &fleet.meters, doorbells)),
        })
    };
    RouteView {
        blue: fleet_view(Side::Blue, &route.blue),
        green: route.green.as_ref().map(|green| fleet_view(Side::Green, green)),
        open_requests: OpenRequests::of(route, open_requests),
        streams: WatchedStreams::of(route, *worker, streams),
        route: Arc::clone(route),
        budget: Rc::clone(budget),
    }
}
