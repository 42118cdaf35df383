//! Second tries that run beside the first or after it: blue's of a request that green failed, and a copy of one whose instance is slow.

use std::rc::Rc;

use super::{Exchange, Role, Start};
use crate::{
    clock,
    fleet::Side,
    meter::{Hedge, Rescue},
    proxy::{
        account::Account,
        grpc::GrpcCall,
        lane::{Draw, RouteView},
        pool::Upstream,
        seat::{Aim, Offer},
        upload::RequestBody,
        worker::Worker,
    },
};

/// What a copy of a request is made of.
#[derive(Debug)]
pub(in crate::proxy) struct Original {
    worker: Rc<Worker>,
    view: Rc<RouteView>,
    draw: Draw,
    aim: Aim,
    upstream: Rc<Upstream>,
    request_body: Option<Rc<RequestBody>>,
    grpc: Option<GrpcCall>,
    account: Option<Rc<Account>>,
}

impl Exchange {
    /// Blue's try of a request that this one, green's, has failed, if an instance can take it and the budget has room. Said in green's
    /// meters before green's failure is counted there.
    pub(in crate::proxy) fn rescue(&mut self) -> Option<Self> {
        let (now, draw) = (clock::now(), self.draw.on(Side::Blue));
        let offer = self.view.offer(draw, self.aim, now, &mut *self.worker.rng());
        // A rescue does not wait: what blue has no room for would only push blue's own requests back.
        let Offer::Seat(seat) = offer else { return None };
        if !self.view.budget.spend(self.policy().budget, now) {
            self.note(Rescue::OverBudget);
            return None;
        }
        self.note(Rescue::Tried);
        self.is_rescued = true;
        let mut rescue = Self::start(Start {
            worker: Rc::clone(&self.worker),
            view: Rc::clone(&self.view),
            draw,
            aim: self.aim,
            role: Role::Rescue,
            seat: Some(seat),
            request_body: self.request_body.clone(),
            dispatched_at: now,
        });
        rescue.ask = self.ask.clone();
        rescue.grpc = self.grpc.as_ref().map(GrpcCall::again);
        rescue.tried = self.account().map(|account| account.begin_try(now));
        rescue.deaths = self.deaths.elsewhere();
        Some(rescue)
    }

    /// What it takes to make a copy while the request itself is under way.
    /// There is none of a session's request, whose state only its own instance has.
    pub(in crate::proxy) fn original(&self) -> Option<Original> {
        if let Aim::Session(_) = self.aim {
            return None;
        }
        Some(Original {
            worker: Rc::clone(&self.worker),
            view: Rc::clone(&self.view),
            draw: self.draw,
            aim: self.aim,
            upstream: Rc::clone(self.upstream()?),
            request_body: self.request_body.clone(),
            grpc: self.grpc.as_ref().map(GrpcCall::again),
            account: self.account().cloned(),
        })
    }
}

impl Original {
    /// Another try of the request, on another instance of its fleet, if one can take it and the budget has room.
    pub(in crate::proxy) fn copy(&self) -> Option<Exchange> {
        let shard = self.view.meters(self.draw).shard(self.worker.number);
        let seat = self.view.seat_elsewhere(self.draw, &self.upstream, &mut *self.worker.rng())?;
        let now = clock::now();
        if !self.view.budget.spend(self.view.route.rescue.budget, now) {
            shard.hedge(Hedge::OverBudget);
            return None;
        }
        shard.hedge(Hedge::Tried);
        let mut copy = Exchange::start(Start {
            worker: Rc::clone(&self.worker),
            view: Rc::clone(&self.view),
            draw: self.draw,
            aim: self.aim,
            role: Role::Copy,
            seat: Some(seat),
            request_body: self.request_body.clone(),
            dispatched_at: now,
        });
        copy.tried = self.account.as_ref().map(|account| account.begin_try(now));
        copy.grpc = self.grpc.as_ref().map(GrpcCall::again);
        Some(copy)
    }

    /// The client's body, if the request has one.
    pub(in crate::proxy) fn request_body(&self) -> Option<&RequestBody> {
        self.request_body.as_deref()
    }
}
