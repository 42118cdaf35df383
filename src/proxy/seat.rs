//! A fleet as one worker sees it, and the seats of requests on its instances.

use std::{cell::Cell, num::NonZeroU32, rc::Rc, sync::Arc};

use http::HeaderMap;
use rand::Rng;

use super::{overdue::OpenRequests, pool::Upstream, queue::Queue, tokens::WatchedStreams};
use crate::{
    fleet::{Fleet, Instance},
    meter::{FleetMeters, Verdict},
    route::{self, Balance, Choice, Ejection, Judgement, Session, Sign, Turns},
    time::Moment,
};

/// A fleet as one worker sees it, or one of its variants, which is to the data plane a fleet of its own.
#[derive(Debug)]
pub(super) struct FleetView {
    worker: usize,
    fleet: Arc<Fleet>,
    /// Where its outcomes are counted.
    meters: Arc<FleetMeters>,
    /// In the fleet's own order.
    upstreams: Box<[Rc<Upstream>]>,
    /// Whose turn it is, where they take turns.
    turns: Turns,
    /// How bad instances are ejected, where they are.
    ejection: Option<Ejection>,
    /// Where requests wait, where instances take only so many at a time.
    queue: Option<Rc<Queue>>,
    /// Its open requests, while a shift has latency alarms that look at them.
    open_requests: Option<Rc<OpenRequests>>,
    /// Green's streams, while a shift has guards on tokens.
    streams: Option<Rc<WatchedStreams>>,
    /// How many an instance takes of which nothing else is said.
    max_concurrency: Option<NonZeroU32>,
    /// Whether an ejected instance may be due for its trial. The sweep says so, which spares each request a look at the clock and at
    /// every instance.
    has_trials: Cell<bool>,
}

/// A request's place on an instance, where it counts as in flight until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    fleet: Rc<FleetView>,
    upstream: Rc<Upstream>,
    /// Whether the request tells if its ejected instance is back, and has not told yet.
    is_trial: bool,
}

/// What a request's instance is chosen by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) balance: &'a Balance,
    pub(super) aim: Aim,
    pub(super) now: Moment,
}

/// What leads a request to an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aim {
    /// Nothing.
    Anywhere,
    /// The hash of its key, where instances are chosen by one.
    Key(u64),
    /// Its session, which goes before how busy instances are.
    Session(Session),
}

/// What a fleet has for a request.
#[derive(Debug)]
pub(super) enum Offer {
    /// A seat.
    Seat(Seat),
    /// Those that can serve have no room: it has to wait.
    NoRoom,
    /// No instance can serve.
    Nobody,
}

/// What a view is made from.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) worker: usize,
    pub(super) fleet: &'a Arc<Fleet>,
    pub(super) meters: &'a Arc<FleetMeters>,
    pub(super) ejection: Option<Ejection>,
    /// Of the fleet's instances, in its order.
    pub(super) upstreams: Box<[Rc<Upstream>]>,
    pub(super) max_concurrency: Option<NonZeroU32>,
    pub(super) queue: Option<Rc<Queue>>,
    pub(super) open_requests: Option<Rc<OpenRequests>>,
    pub(super) streams: Option<Rc<WatchedStreams>>,
}

impl FleetView {
    pub(super) fn new(parts: Parts<'_>) -> Rc<Self> {
        let Parts {
            worker,
            fleet,
            meters,
            ejection,
            upstreams,
            max_concurrency,
            queue,
            open_requests,
            streams,
        } = parts;
        Rc::new(Self {
            worker,
            fleet: Arc::clone(fleet),
            meters: Arc::clone(meters),
            upstreams,
            turns: Turns::default(),
            ejection,
            queue,
            open_requests,
            streams,
            max_concurrency,
            has_trials: Cell::new(false),
        })
    }

    /// Where its outcomes are counted.
    pub(super) fn meters(&self) -> &FleetMeters {
        &self.meters
    }

    /// Its open requests, where they are watched.
    pub(super) fn open_requests(&self) -> Option<&Rc<OpenRequests>> {
        self.open_requests.as_ref()
    }

    /// Its streams, where they are watched.
    pub(super) fn streams(&self) -> Option<&Rc<WatchedStreams>> {
        self.streams.as_ref()
    }

    /// Whether one of its instances has made the session and can serve.
    pub(super) fn has(&self, session: Session) -> bool {
        session.instance(&self.fleet).is_some()
    }

    /// The sign that ids of an instance's sessions have.
    fn sign(&self, upstream: &Upstream) -> Sign {
        Sign::of(&self.fleet, &upstream.instance)
    }

    /// Where its requests wait, where instances take only so many at a time.
    pub(super) fn queue(&self) -> Option<&Rc<Queue>> {
        self.queue.as_ref()
    }

    /// What there is for a request that comes now: where others wait, it is behind them.
    pub(super) fn offer(self: &Rc<Self>, wanted: Wanted<'_>, rng: &mut impl Rng) -> Offer {
        match &self.queue {
            None => self.seat(wanted, rng).map_or(Offer::Nobody, Offer::Seat),
            Some(queue) if queue.is_anybody_waiting() => Offer::NoRoom,
            Some(_) => self.offer_to_first(wanted, rng),
        }
    }

    /// What there is for the request whose turn it is.
    pub(super) fn offer_to_first(self: &Rc<Self>, wanted: Wanted<'_>, rng: &mut impl Rng) -> Offer {
        match self.seat(wanted, rng) {
            Some(seat) => Offer::Seat(seat),
            None if self.fleet.instances.iter().any(|instance| instance.part_in_need() > 0) => Offer::NoRoom,
            None => Offer::Nobody,
        }
    }

    /// A seat on the instance that takes the request; `None` when none can serve or has room.
    fn seat(self: &Rc<Self>, wanted: Wanted<'_>, rng: &mut impl Rng) -> Option<Seat> {
        if let Aim::Session(session) = wanted.aim
            && let Some(instance) = session.instance(&self.fleet)
        {
            // Where it has no room, the session waits for it: another one does not have its state.
            return self.take(self.fleet.instances.element_offset(instance)?);
        }
        if self.has_trials.get()
            && let Some(upstream) = self.begin_trial(wanted.now)
        {
            upstream.instance.begin(self.worker);
            return Some(Seat::new(self, upstream, true));
        }
        let Wanted { balance, aim, now: _ } = wanted;
        let key = if let Aim::Key(key) = aim { Some(key) } else { None };
        let choice = Choice { balance, key, turns: &self.turns };
        let picked = if self.queue.is_none() {
            choice.of(&self.fleet, rng)
        } else {
            let part = self.part_with_room();
            choice.among(&self.fleet, |instance| self.if_room(instance, part(instance)), rng)
        }?;
        self.take(self.fleet.instances.element_offset(picked)?)
    }

    /// A seat on an instance that is not this one; `None` when no other can serve.
    pub(super) fn seat_elsewhere(self: &Rc<Self>, avoid: &Upstream, rng: &mut impl Rng) -> Option<Seat> {
        let picked = if self.queue.is_none() {
            route::pick(&self.fleet, Some(&avoid.instance), rng)
        } else {
            let part = |instance: &Instance| self.if_room(instance, instance.part());
            route::pick_by(&self.fleet, Some(&avoid.instance), part, rng)
        }?;
        let is_other = !Arc::ptr_eq(picked, &avoid.instance);
        self.take(self.fleet.instances.element_offset(picked).filter(|_| is_other)?)
    }

    /// A seat on the instance at this place, unless another worker took the last one meanwhile.
    fn take(self: &Rc<Self>, place: usize) -> Option<Seat> {
        let upstream = self.upstreams.get(place)?;
        match &self.queue {
            None => upstream.instance.begin(self.worker),
            Some(_) if upstream.instance.begin_within(self.worker, self.max_concurrency) => {}
            Some(queue) => {
                // Whoever waits may have seen no room for this one.
                queue.ring();
                return None;
            }
        }
        Some(Seat::new(self, upstream, false))
    }

    /// One look at everything that time changes.
    pub(super) fn sweep(&self, now: Moment) {
        let mut ejected = self.fleet.instances.iter().filter(|instance| instance.is_ejected());
        if self.ejection.is_some() {
            self.has_trials.set(ejected.any(|instance| instance.is_due_for_trial(now)));
        } else {
            // The endpoint's owner has said meanwhile that none are.
            ejected.for_each(|instance| instance.readmit());
        }
    }

    /// How parts are told: ejected instances have one only when no other can serve. That the others are full is no reason.
    fn part_with_room(&self) -> fn(&Instance) -> u64 {
        let can_any = self.fleet.instances.iter().any(|instance| instance.part() > 0);
        if can_any { Instance::part } else { Instance::part_in_need }
    }

    fn if_room(&self, instance: &Instance, part: u64) -> u64 {
        if part > 0 && instance.has_room(self.max_concurrency) { part } else { 0 }
    }

    fn begin_trial(&self, now: Moment) -> Option<&Rc<Upstream>> {
        let begun = self.upstreams.iter().find(|upstream| upstream.instance.begin_trial(now));
        self.has_trials.set(begun.is_some());
        begun
    }
}

impl Seat {
    /// Of a request that its instance counts as in flight.
    fn new(fleet: &Rc<FleetView>, upstream: &Rc<Upstream>, is_trial: bool) -> Self {
        Self { fleet: Rc::clone(fleet), upstream: Rc::clone(upstream), is_trial }
    }

    /// The instance.
    pub(super) fn upstream(&self) -> &Rc<Upstream> {
        &self.upstream
    }

    /// Makes the ids of sessions in its instance's answer those that clients know.
    pub(super) fn mark_sessions(&self, headers: &mut HeaderMap) {
        self.fleet.sign(&self.upstream).mark(headers);
    }

    /// A seat on another instance of the fleet, if one can serve.
    pub(super) fn elsewhere(&self, rng: &mut impl Rng) -> Option<Self> {
        self.fleet.seat_elsewhere(&self.upstream, rng)
    }

    /// The response's head came. It is enough for an ejected instance to be back: a stream may last for minutes.
    pub(super) fn heed_head(&mut self, status: u16) {
        if !self.is_trial {
            return;
        }
        let verdict = Verdict::of_status(status);
        if self.judge(verdict, Some(status)) == Judgement::Good {
            self.pass_trial();
        }
    }

    /// The request ended like this. Told after the outcome was counted.
    pub(super) fn heed_end(&mut self, verdict: Verdict, status: Option<u16>, now: Moment) {
        let Some(Ejection { rule, .. }) = &self.fleet.ejection else { return };
        let instance = &self.upstream.instance;
        match (self.judge(verdict, status), self.is_trial) {
            (Judgement::Neither, _) => {}
            (Judgement::Good, false) => instance.succeeded(),
            (Judgement::Good, true) => self.pass_trial(),
            (Judgement::Bad, true) => {
                let span = instance.fail_trial(rule, now);
                tracing::info!(instance = %instance.address(), ?span, "an instance failed its trial and stays ejected");
                self.is_trial = false;
            }
            (Judgement::Bad, false) => {
                if let Some(span) = self.fleet.fleet.failed(instance, rule, now) {
                    tracing::warn!(instance = %instance.address(), ?span, "an instance failed too many requests in a row and is ejected");
                }
            }
        }
    }

    fn judge(&self, verdict: Verdict, status: Option<u16>) -> Judgement {
        let ejection = self.fleet.ejection.as_ref();
        ejection.map_or(Judgement::Neither, |ejection| ejection.judge(verdict, status))
    }

    fn pass_trial(&mut self) {
        self.upstream.instance.readmit();
        self.is_trial = false;
        tracing::info!(instance = %self.upstream.instance.address(), "an ejected instance is back");
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.is_trial {
            self.upstream.instance.give_trial_back();
        }
        self.upstream.instance.end(self.fleet.worker);
        if let Some(queue) = &self.fleet.queue {
            queue.ring();
        }
    }
}
