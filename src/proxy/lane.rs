//! The route table as one worker holds it.
//!
//! Tables and what they point to are shared by all workers, and so are their reference counts: cloning an `Arc` for each
//! request would move its cache line from core to core. A worker therefore wraps what it serves in counts of its own
//! (`Rc`), once for each new route, next to the endpoint's deck and its connections to the instances.

use std::{cell::Cell, collections::HashMap, rc::Rc, sync::Arc};

use http::HeaderMap;
use rand::Rng;

use super::{
    allowance::Allowance,
    budget::Budget,
    grpc_messages::StreamingMethods,
    overdue::OpenRequests,
    pool::Upstream,
    queue::{Doorbells, Queue},
    seat::{Aim, FleetView, Offer, Parts, Seat, Wanted},
    shadow::ShadowView,
    tokens::WatchedStreams,
};
use crate::{
    fleet::{Fleet, Instance, Side},
    meter::{DealingOrder, FleetMeters, WarmUp},
    name::VariantName,
    route::{Deck, EndpointRoute, FleetRoute, RouteTable, Session, UnknownVariant, VariantDecks},
    time::Moment,
    tls::Keychain,
    weight::Share,
};

/// An endpoint at a moment, for one worker. A request keeps it to its end.
#[derive(Debug)]
pub(super) struct RouteView {
    pub(super) route: Arc<EndpointRoute>,
    /// The endpoint's second tries.
    pub(super) budget: Rc<Budget>,
    /// Which methods of gRPC stream, of an endpoint that reads their messages.
    pub(super) streaming: Rc<StreamingMethods>,
    /// What gets copies of its requests.
    pub(super) shadow: Option<Rc<ShadowView>>,
    blue: Variants,
    green: Option<Variants>,
}

/// A fleet's variants as a worker sees them, each as a fleet of its own.
#[derive(Debug)]
struct Variants {
    /// The only one, of most fleets.
    first: Rc<FleetView>,
    others: Box<[Rc<FleetView>]>,
}

/// Where a request was dealt to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Draw {
    pub(super) side: Side,
    /// The variant's place among its fleet's; zero where the fleet has one, without a name.
    pub(super) variant: u8,
}

/// What a request was dealt.
#[derive(Debug)]
pub(super) struct Dealt {
    pub(super) view: Rc<RouteView>,
    pub(super) draw: Draw,
    /// What its instance is chosen by.
    pub(super) aim: Aim,
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
    /// One for each fleet whose open requests a shift's latency alarms look at.
    open_requests: Vec<Rc<OpenRequests>>,
    /// One for each shift with guards on tokens.
    streams: Vec<Rc<WatchedStreams>>,
    /// One for each fleet whose instances take only so many requests at a time.
    queues: Vec<Rc<Queue>>,
    keychain: Arc<Keychain>,
    allowance: Rc<Allowance>,
}

#[derive(Debug)]
struct Lane {
    view: Rc<RouteView>,
    deck: Deck,
    /// Only of an endpoint with variants.
    variants: Option<Box<VariantDecks>>,
    kept: Kept,
}

/// What an endpoint's routes have in common.
#[derive(Debug)]
struct Kept {
    budget: Rc<Budget>,
    streaming: Rc<StreamingMethods>,
    /// How many copies for its shadow are under way.
    copies: Rc<Cell<usize>>,
}

impl Draw {
    /// The same variant of the fleet of this side. Both fleets of a shift have their variants in the same order.
    pub(super) fn on(self, side: Side) -> Self {
        Self { side, ..self }
    }
}

impl Variants {
    fn at(&self, place: u8) -> &Rc<FleetView> {
        let other = usize::from(place).checked_sub(1).and_then(|other| self.others.get(other));
        other.unwrap_or(&self.first)
    }

    fn all(&self) -> impl Iterator<Item = &Rc<FleetView>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl RouteView {
    /// Where the outcomes of what was dealt there are counted.
    pub(super) fn meters(&self, draw: Draw) -> &FleetMeters {
        self.view(draw).meters()
    }

    /// The variant's name, where the endpoint has variants.
    pub(super) fn variant(&self, draw: Draw) -> Option<&VariantName> {
        let variant = self.route.blue.fleet.variants.get(usize::from(draw.variant))?;
        Some(&variant.name)
    }

    /// What a fleet has for a request that comes now, whose instance is chosen by this.
    pub(super) fn offer(&self, draw: Draw, aim: Aim, now: Moment, rng: &mut impl Rng) -> Offer {
        self.view(draw).offer(self.wanted(aim, now), rng)
    }

    /// What it has for one that has waited, and whose turn it is.
    pub(super) fn offer_to_first(&self, draw: Draw, aim: Aim, now: Moment, rng: &mut impl Rng) -> Offer {
        self.view(draw).offer_to_first(self.wanted(aim, now), rng)
    }

    /// Where the instance is that has made a session, unless its fleet has no part of the requests.
    fn holder(&self, session: Session) -> Option<Draw> {
        let Session::Held(_) = session else { return None };
        let green = self.green.as_ref().filter(|_| self.route.split.green != Share::NONE);
        let sides = green.map(|green| (Side::Green, green)).into_iter().chain([(Side::Blue, &self.blue)]);
        let mut variants =
            sides.flat_map(|(side, variants)| (0..).zip(variants.all()).map(move |at| (side, at)));
        let (side, (variant, _)) = variants.find(|(_, (_, fleet))| fleet.has(session))?;
        Some(Draw { side, variant })
    }

    /// Where a fleet's requests wait, where its instances take only so many at a time.
    pub(super) fn queue(&self, draw: Draw) -> Option<&Rc<Queue>> {
        self.view(draw).queue()
    }

    fn wanted(&self, aim: Aim, now: Moment) -> Wanted<'_> {
        Wanted { balance: &self.route.balance, aim, now }
    }

    /// A seat for a copy of a request, on another instance of its fleet than this one; `None` when no other can serve, or others wait for
    /// it.
    pub(super) fn seat_elsewhere(&self, draw: Draw, avoid: &Upstream, rng: &mut impl Rng) -> Option<Seat> {
        if self.queue(draw).is_some_and(|queue| queue.is_anybody_waiting()) {
            return None;
        }
        self.view(draw).seat_elsewhere(avoid, rng)
    }

    /// The open requests there, where they are watched.
    pub(super) fn open_requests(&self, draw: Draw) -> Option<&Rc<OpenRequests>> {
        self.view(draw).open_requests()
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

    /// The streams there, where they are watched.
    pub(super) fn streams(&self, draw: Draw) -> Option<&Rc<WatchedStreams>> {
        self.view(draw).streams()
    }

    /// One look at everything that time changes.
    pub(super) fn sweep(&self, now: Moment) {
        for fleet in std::iter::once(&self.blue).chain(&self.green) {
            fleet.all().for_each(|variant| variant.sweep(now));
        }
        if let Some(shadow) = &self.shadow {
            shadow.sweep(now);
        }
    }

    /// Green's share is zero while there is no green, so the draw never asks for one that is not there.
    fn view(&self, draw: Draw) -> &Rc<FleetView> {
        match (draw.side, &self.green) {
            (Side::Green, Some(green)) => green.at(draw.variant),
            (Side::Green, None) | (Side::Blue, _) => self.blue.at(draw.variant),
        }
    }
}

impl Lanes {
    /// Of the worker of this number, whose doorbell is rung when there may be room for a request that waits.
    pub(super) fn new(
        worker: usize,
        doorbells: Doorbells,
        keychain: Arc<Keychain>,
        allowance: Rc<Allowance>,
    ) -> Self {
        let known = Known {
            worker,
            doorbells,
            upstreams: HashMap::new(),
            open_requests: Vec::new(),
            streams: Vec::new(),
            queues: Vec::new(),
            keychain,
            allowance,
        };
        Self { lanes: Vec::new(), known }
    }

    /// Deals a variant of this endpoint, where it has several, and a fleet: by the session's key where the endpoint has such and the request
    /// too, else from the decks. An error is a request that names a variant which the endpoint does not have.
    pub(super) fn deal(
        &mut self,
        route: &Arc<EndpointRoute>,
        headers: &HeaderMap,
        rng: &mut impl Rng,
    ) -> Result<Dealt, UnknownVariant> {
        let lane = self.lane(route);
        let named = if lane.variants.is_some() { route.named_variant(headers)? } else { None };
        let session = route.invocations.as_ref().and_then(|_| Session::of(headers));
        let held = session.and_then(|session| lane.view.holder(session));
        let held = held.filter(|draw| named.is_none_or(|named| named == usize::from(draw.variant)));
        // What nobody holds, or no more, is found by its name.
        let session = if held.is_some() { session } else { session.and_then(|_| Session::by_name(headers)) };
        let (place, deck) = match &mut lane.variants {
            None => (0, &mut lane.deck),
            Some(decks) => {
                let held = held.map(|draw| usize::from(draw.variant));
                let place = named.or(held).unwrap_or_else(|| decks.deal(route, headers, rng));
                (place, decks.fleets.get_mut(place).unwrap_or(&mut lane.deck))
            }
        };
        lane.kept.budget.count();
        let side = match held.map(|draw| draw.side).or_else(|| route.session_side(headers)) {
            Some(side) => side,
            None => deck.deal(route.split, rng),
        };
        let aim = match (session, route.balance.session_key(headers)) {
            (Some(session @ Session::Held(_)), _) | (Some(session), None) => Aim::Session(session),
            (_, Some(key)) => Aim::Key(key),
            (None, None) => Aim::Anywhere,
        };
        let draw = Draw { side, variant: u8::try_from(place).unwrap_or_default() };
        Ok(Dealt { view: Rc::clone(&lane.view), draw, aim })
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
            Some(lane) => {
                lane.view = Rc::new(view(route, &lane.kept, known));
                lane.follow_variants(route);
            }
            None => {
                let budget = Rc::new(Budget::new(route.blue.meters.workers()));
                let kept = Kept { budget, streaming: Rc::default(), copies: Rc::default() };
                let view = Rc::new(view(route, &kept, known));
                let lane = place.insert(Lane { view, deck: Deck::default(), variants: None, kept });
                lane.follow_variants(route);
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
        self.lanes.iter().flatten().map(|lane| &*lane.kept.budget)
    }

    /// The instances that the worker knows.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Rc<Upstream>> {
        self.known.upstreams.values()
    }

    /// Whether a shift has alarms on latency or guards on tokens, so that [`Lanes::look_for_overdue`] has something to see.
    pub(super) fn has_open_requests(&self) -> bool {
        !self.known.open_requests.is_empty() || !self.known.streams.is_empty()
    }

    /// Counts open requests that have passed the bound of a guard on latency or tokens, or a mark of a comparison.
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

impl Lane {
    fn follow_variants(&mut self, route: &EndpointRoute) {
        let variants = &route.blue.fleet.variants;
        match &mut self.variants {
            _ if variants.is_empty() => self.variants = None,
            Some(decks) => decks.follow(variants),
            None => self.variants = Some(Box::new(VariantDecks::new(variants))),
        }
    }
}

fn view(route: &Arc<EndpointRoute>, kept: &Kept, known: &mut Known) -> RouteView {
    let Kept { budget, streaming, copies } = kept;
    let shadow = route.shadow.as_ref();
    let shadow =
        shadow.map(|shadow| Rc::new(ShadowView::new(shadow, view(&shadow.route, kept, known), copies)));
    RouteView {
        shadow,
        blue: variants(route, Side::Blue, &route.blue, known),
        green: route.green.as_ref().map(|green| variants(route, Side::Green, green, known)),
        route: Arc::clone(route),
        budget: Rc::clone(budget),
        streaming: Rc::clone(streaming),
    }
}

fn variants(route: &EndpointRoute, side: Side, fleet: &FleetRoute, known: &mut Known) -> Variants {
    let FleetRoute { fleet, meters } = fleet;
    let named = fleet.variants.iter().zip(meters.variants());
    let mut views: Vec<_> = named
        .map(|(variant, (_, meters))| {
            fleet_view(route, side, (&Arc::new(fleet.of_variant(variant)), meters), known)
        })
        .collect();
    if views.is_empty() {
        return Variants { first: fleet_view(route, side, (fleet, meters), known), others: Box::default() };
    }
    let first = views.remove(0);
    Variants { first, others: views.into() }
}

fn fleet_view(
    route: &EndpointRoute,
    side: Side,
    (fleet, meters): (&Arc<Fleet>, &Arc<FleetMeters>),
    known: &mut Known,
) -> Rc<FleetView> {
    let Known { worker, doorbells, upstreams, open_requests, streams, queues, keychain, allowance } = known;
    let upstream = |instance: &Arc<Instance>| {
        let known = upstreams.entry(Arc::as_ptr(instance));
        Rc::clone(known.or_insert_with(|| Upstream::new(Arc::clone(instance), keychain, allowance)))
    };
    let upstreams = fleet.instances.iter().map(upstream).collect();
    let max_concurrency = route.protection.admission.max_concurrency;
    let is_limited = max_concurrency.is_some()
        || fleet.instances.iter().any(|instance| instance.max_concurrency().is_some());
    let watch = route.watch.as_ref().filter(|_| side == Side::Green);
    FleetView::new(Parts {
        worker: *worker,
        fleet,
        meters,
        ejection: route.protection.ejection.of(side),
        upstreams,
        max_concurrency,
        queue: is_limited.then(|| Queue::of(queues, *worker, meters, doorbells)),
        open_requests: route
            .watch
            .as_ref()
            .and_then(|watch| OpenRequests::of(watch, side, meters, open_requests)),
        streams: watch.and_then(|watch| WatchedStreams::of(watch, meters, *worker, streams)),
    })
}
