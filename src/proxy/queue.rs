//! Requests that wait for room on the instances of their fleet, where an instance takes only so many at a time.
//!
//! Each worker has a queue of its own for each fleet, first in, first out. Room is counted over all workers, so a request that ends on
//! one worker may make room for one that waits on another: every worker says since when its first request has waited, and whoever
//! makes room rings the worker that has waited longest. Nobody overtakes: a request that comes while others wait goes to the end.
//!
//! Two workers that look at the same moment may both see the last room, and at most one of them gets it ([`Instance::begin_within`]); the
//! other one waits, or is told at once where nobody may. A ring that is missed, because both sides looked before they wrote, is made up for
//! by the sweep, which also ends waits: a request starts no timer, and is told at most two sweeps late.
//!
//! [`Instance::begin_within`]: crate::fleet::Instance::begin_within

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rand::Rng;
use tokio::sync::Notify;

use super::{
    caller::Caller,
    error::{Failure, Shed},
    exchange::Exchange,
    lane::{Draw, RouteView},
    pulse::unless_late,
    seat::{Aim, Offer, Seat},
};
use crate::{clock, meter::FleetMeters, time::Moment};

/// What wakes each worker when there may be room for one of its waiting requests.
pub(super) type Doorbells = Arc<[Notify]>;

/// One worker's waiting requests for one fleet, or for one of its variants.
#[derive(Debug)]
pub(super) struct Queue {
    worker: usize,
    doorbells: Doorbells,
    meters: Arc<FleetMeters>,
    waiting: RefCell<VecDeque<Rc<Ticket>>>,
}

/// A request's place in the queue. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct Waiter {
    queue: Rc<Queue>,
    ticket: Rc<Ticket>,
}

#[derive(Debug)]
struct Ticket {
    route: Rc<RouteView>,
    draw: Draw,
    aim: Aim,
    since: Moment,
    until: Moment,
    state: RefCell<State>,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Seated(Seat),
    Over,
}

impl Queue {
    /// The queue of a fleet with these meters, among the worker's or as a new one.
    pub(super) fn of(
        known: &mut Vec<Rc<Self>>,
        worker: usize,
        meters: &Arc<FleetMeters>,
        doorbells: &Doorbells,
    ) -> Rc<Self> {
        if let Some(found) = known.iter().find(|queue| Arc::ptr_eq(&queue.meters, meters)) {
            return Rc::clone(found);
        }
        let (doorbells, meters) = (Arc::clone(doorbells), Arc::clone(meters));
        let new = Rc::new(Self { worker, doorbells, meters, waiting: RefCell::default() });
        known.push(Rc::clone(&new));
        new
    }

    /// Whether a request waits for the fleet, on any worker.
    pub(super) fn is_anybody_waiting(&self) -> bool {
        self.meters.longest_waiting().is_some()
    }

    /// There may be room: wakes the worker whose first request has waited longest.
    pub(super) fn ring(&self) {
        if let Some(doorbell) =
            self.meters.longest_waiting().and_then(|(worker, _)| self.doorbells.get(worker))
        {
            doorbell.notify_one();
        }
    }

    /// Gives room to those that have waited longest, as far as there is any.
    pub(super) fn admit(&self, now: Moment, rng: &mut impl Rng) {
        loop {
            let Some(first) = self.waiting.borrow().front().map(Rc::clone) else { return };
            let is_anothers = |(worker, since)| worker != self.worker && since < first.since;
            if self.meters.longest_waiting().is_some_and(is_anothers) {
                self.ring();
                return;
            }
            let Offer::Seat(seat) = first.route.offer_to_first(first.draw, first.aim, now, rng) else {
                return;
            };
            self.waiting.borrow_mut().pop_front();
            self.publish();
            first.end(State::Seated(seat));
        }
    }

    /// Ends the waits that have lasted long enough.
    pub(super) fn expire(&self, now: Moment) {
        let mut over = Vec::new();
        self.waiting.borrow_mut().retain(|ticket| {
            let stays = now < ticket.until;
            if !stays {
                over.push(Rc::clone(ticket));
            }
            stays
        });
        if !over.is_empty() {
            self.publish();
            over.into_iter().for_each(|ticket| ticket.end(State::Over));
        }
    }

    fn leave(&self, ticket: &Rc<Ticket>) {
        let mut waiting = self.waiting.borrow_mut();
        let Some(place) = waiting.iter().position(|other| Rc::ptr_eq(other, ticket)) else { return };
        waiting.remove(place);
        drop(waiting);
        self.publish();
        // It may have been the one that everybody else stood behind.
        self.ring();
    }

    /// Tells the other workers and the metrics.
    fn publish(&self) {
        let waiting = self.waiting.borrow();
        let since = waiting.front().map_or(Moment::default(), |first| first.since);
        self.meters.shard(self.worker).waiting(waiting.len(), since);
    }
}

impl Ticket {
    fn end(&self, state: State) {
        if let State::Waiting(Some(waker)) = self.state.replace(state) {
            waker.wake();
        }
    }

    /// The seat, or `None` when it waited too long.
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Seat>> {
        let mut state = self.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Over) {
            State::Seated(seat) => Poll::Ready(Some(seat)),
            State::Over => Poll::Ready(None),
            State::Waiting(_) => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.queue.leave(&self.ticket);
    }
}

impl Waiter {
    /// Joins the queue at its end; `None` when it is full.
    pub(super) fn join(
        queue: &Rc<Queue>,
        route: &Rc<RouteView>,
        (draw, aim): (Draw, Aim),
        now: Moment,
    ) -> Option<Self> {
        let admission = &route.route.protection.admission;
        if queue.waiting.borrow().len() >= admission.queue {
            return None;
        }
        let ticket = Rc::new(Ticket {
            route: Rc::clone(route),
            draw,
            aim,
            since: now,
            until: now.after(admission.queue_timeout),
            state: RefCell::new(State::Waiting(None)),
        });
        queue.waiting.borrow_mut().push_back(Rc::clone(&ticket));
        queue.meters.shard(queue.worker).queued();
        queue.publish();
        // Room may have been made between the look for it and this.
        queue.ring();
        Some(Self { queue: Rc::clone(queue), ticket })
    }
}

/// Waits until the exchange has an instance. An error is a request that was shed, or whose time was over first.
pub(super) async fn wait(caller: &Caller, exchange: &mut Exchange) -> Result<(), Failure> {
    let admission = exchange.protection().admission;
    let Some(waiter) = exchange.join_queue(clock::now()) else {
        return Err(Failure::QueueFull(Shed::new(&admission)));
    };
    // The wait has a limit of its own.
    caller.pulse.expect_within(Duration::MAX);
    let seated = unless_late(&caller.pulse, poll_fn(|context| waiter.ticket.poll(context)));
    match seated.await.map_err(Failure::overdue)? {
        Some(seat) => {
            exchange.sit(seat);
            Ok(())
        }
        None => Err(Failure::QueueTimeout(Shed::new(&admission))),
    }
}
