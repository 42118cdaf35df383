//! Hedges: a request that its instance is slow to answer goes to a second instance of the same fleet as well, and the first answer is
//! the client's.
//!
//! That helps where single instances are slow at times, and costs work that is thrown away. So it is off unless the endpoint asks for
//! it, comes out of the endpoint's budget of second tries, and is for requests that may be executed twice and were read to their end.
//! The request stays one request: it comes to one outcome, whose latency counts from the first dispatch. What a copy fails counts for
//! nobody, and a copy that is answered with a failure has lost. If the first try fails while its copy is under way, the copy's
//! answer is waited for, as if the request had moved.
//!
//! Green hedges only where the endpoint says so: it is on trial, and the better of two instances is not what the trial is about. Where it
//! does, green's failure is final even while a copy is under way. Blue alone hedging makes blue's slowest answers faster and so
//! green's look slower beside them: whoever compares latencies lets both hedge or neither.
//!
//! Where instances take only so many requests at a time, a request that had to wait is not hedged, and no copy goes before one that waits.
//!
//! No request has a timer. One that may be hedged is among the worker's deadlines until it is answered, so that the copy goes out up to
//! [`LOOK`](super::pulse::LOOK) later than asked, never earlier.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
};

use http::request;

use super::{
    caller::Caller,
    deadline::Alarm,
    error::Failure,
    exchange::{Exchange, Original},
    forward::{Reached, attempt},
    stateful,
    upload::Progress,
};
use crate::{
    fleet::Side,
    route::{HedgePolicy, Limits},
};

/// A request that may be hedged.
#[derive(Debug)]
pub(super) struct Hedge {
    policy: HedgePolicy,
    head: request::Parts,
    original: Original,
}

/// Whose answer the client gets.
enum Winner {
    First(Result<Reached, Failure>),
    /// The copy's, and what the first try had failed with by then, if it had.
    Copy {
        copy: Box<Exchange>,
        reached: Reached,
        failed: Option<Failure>,
    },
}

impl Hedge {
    /// Keeps what a copy takes, if the endpoint wants this request to be hedged.
    pub(super) fn prepare(exchange: &Exchange, head: &request::Parts) -> Option<Self> {
        let policy = exchange.policy().hedge?;
        // A second tunnel would be opened only to be cut.
        let is_wanted =
            policy.covers(exchange.side()) && stateful::may_repeat(&head.method) && exchange.ask().is_none();
        Some(Self { policy, original: exchange.original().filter(|_| is_wanted)?, head: head.clone() })
    }

    /// One try of the request, with a copy if it takes too long.
    pub(super) async fn attempt(
        self,
        caller: &Rc<Caller>,
        exchange: &mut Exchange,
        head: request::Parts,
        limits: &Limits,
    ) -> Result<Reached, Failure> {
        match self.race(caller, exchange, head, limits).await {
            Winner::First(reached) => reached,
            Winner::Copy { copy, reached, failed } => {
                exchange.adopt(*copy, failed.as_ref());
                Ok(reached)
            }
        }
    }

    async fn race(
        self,
        caller: &Rc<Caller>,
        exchange: &mut Exchange,
        head: request::Parts,
        limits: &Limits,
    ) -> Winner {
        let is_final = exchange.side() == Side::Green;
        let due = exchange.dispatched_at().after(self.policy.after);
        let mut first = pin!(attempt(caller, exchange, head, limits));
        let alarm = Alarm::set(caller, due);
        let answered = poll_fn(|context| match first.as_mut().poll(context) {
            Poll::Ready(reached) => Poll::Ready(Some(reached)),
            Poll::Pending if alarm.has_rung() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(reached) = answered.await {
            return Winner::First(reached);
        }
        drop(alarm);
        let Some(mut copy) = self.copy() else { return Winner::First(first.await) };
        let mut second = pin!(async move {
            let reached = attempt(caller, &mut copy, self.head, limits).await;
            (copy, reached)
        });
        let (mut failed, mut has_copy) = (None, true);
        poll_fn(|context| {
            if failed.is_none()
                && let Poll::Ready(reached) = first.as_mut().poll(context)
            {
                match reached {
                    Err(failure) if has_copy && !is_final && failure.sent().is_some() => {
                        failed = Some(failure)
                    }
                    reached => return Poll::Ready(Winner::First(reached)),
                }
            }
            if has_copy && let Poll::Ready((copy, reached)) = second.as_mut().poll(context) {
                match reached {
                    Ok(reached) if !copy.has_failed() => {
                        return Poll::Ready(Winner::Copy {
                            copy: Box::new(copy),
                            reached,
                            failed: failed.take(),
                        });
                    }
                    Ok(_) | Err(_) => {
                        has_copy = false;
                        // The first try's wait goes on: the copy's has taken its place.
                        caller.pulse.expect_within(limits.head_timeout);
                    }
                }
            }
            match failed.take() {
                Some(failure) if !has_copy => Poll::Ready(Winner::First(Err(failure))),
                waiting => {
                    failed = waiting;
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Another try, if the request is one that may have it, another instance can take it and the budget has room.
    fn copy(&self) -> Option<Exchange> {
        let body = self.original.request_body();
        let is_whole = body.is_none_or(|body| body.progress() == Progress::Complete && body.can_replay());
        if !is_whole || stateful::is_stateful(&self.head, body) {
            return None;
        }
        self.original.copy()
    }
}
