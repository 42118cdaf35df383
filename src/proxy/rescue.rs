//! Second tries: a request that green failed goes to blue before the client sees a byte, and one that blue could not take goes
//! to another instance of blue.
//!
//! A rescue is made after green's failure has been counted, and the evaluator told; what blue makes of it counts for nobody
//! but the client. A retry inside blue is a part of the same request, which comes to one outcome. Green has no retries: it is on
//! trial, and a second try would hide what the trial is for.
//!
//! Either may execute a request twice. So a stateful request is never replayed, one that changes things only if nothing was sent,
//! and one under which the connections of two instances died is given up: it may be what kills them.

use std::rc::Rc;

use http::request;

use super::{
    call::{Call, Lost},
    caller::Caller,
    error::{Failure, Sent},
    exchange::{End, Exchange},
    forward::{Reached, attempt},
    hold::{self, Held},
    stateful, tap,
};
use crate::{
    clock,
    fleet::Side,
    meter::Rescue,
    route::{Limits, Replayed, RescueUntil},
};

/// What a request needs to be sent again: kept only where it may be.
#[derive(Debug)]
pub(super) struct Replay {
    head: request::Parts,
}

/// What was wrong with a try.
enum Fault {
    Failure(Sent),
    Answer,
}

impl Replay {
    /// Keeps what may be needed, if the endpoint wants this fleet's requests to be sent again.
    pub(super) fn prepare(exchange: &Exchange, head: &request::Parts) -> Option<Self> {
        let policy = exchange.policy();
        let is_wanted = match exchange.side() {
            Side::Green => policy.on != Replayed::Never,
            // Where only connecting is retried, the head has not been used up (`connect_elsewhere`).
            Side::Blue => policy.retry == Replayed::BeforeFirstByte,
        };
        is_wanted.then(|| Self { head: head.clone() })
    }

    /// Whether there is anything to look at, before room is made for that: most tries bring an answer that nobody objects to.
    pub(super) fn has_cause(exchange: &Exchange, reached: &Result<Reached, Failure>) -> bool {
        let policy = exchange.policy();
        reached.is_err()
            || exchange.is_blamed()
            || exchange.has_named_status()
            || (exchange.side() == Side::Green && policy.until == RescueUntil::FirstToken)
    }

    /// Looks at what a try came to, and makes another one where that is right.
    pub(super) async fn finish(
        self,
        caller: &Rc<Caller>,
        mut exchange: Exchange,
        reached: Result<Reached, Failure>,
        limits: &Limits,
    ) -> (Exchange, Result<Reached, Failure>) {
        let reached = match exchange.side() {
            Side::Green => self.held(caller, &mut exchange, reached).await,
            Side::Blue => reached,
        };
        if exchange.side() == Side::Green
            && exchange.policy().on == Replayed::BeforeFirstByte
            && exchange.has_named_status()
        {
            exchange.blame();
        }
        if !self.is_allowed(&exchange, &reached) {
            return (exchange, reached);
        }
        match exchange.side() {
            Side::Green => self.rescue(caller, exchange, reached, limits).await,
            Side::Blue => {
                // Of blue, only a lost connection is allowed a second try.
                let moved = reached.as_ref().err().is_some_and(|failure| exchange.move_elsewhere(failure));
                if !moved {
                    return (exchange, reached);
                }
                drop(reached);
                self.again(caller, exchange, limits).await
            }
        }
    }

    /// Sends the request to the exchange's instance.
    async fn again(
        mut self,
        caller: &Rc<Caller>,
        mut exchange: Exchange,
        limits: &Limits,
    ) -> (Exchange, Result<Reached, Failure>) {
        if let Some(call) = exchange.grpc() {
            call.tell(&mut self.head.headers, clock::now());
        }
        let reached = attempt(caller, &mut exchange, self.head, limits).await;
        (exchange, reached)
    }

    /// Waits for the first token of an event stream, or the first message of a gRPC call, where the endpoint asks for it.
    async fn held(
        &self,
        caller: &Rc<Caller>,
        exchange: &mut Exchange,
        reached: Result<Reached, Failure>,
    ) -> Result<Reached, Failure> {
        let wants = exchange.policy().until == RescueUntil::FirstToken
            && exchange.policy().on == Replayed::BeforeFirstByte;
        match reached {
            Ok(mut reached) if wants && exchange.grpc().is_some() => {
                hold::until_first_message(caller, exchange, &mut reached.call).await.map(|()| reached)
            }
            Ok(mut reached)
                if wants && tap::is_event_stream(reached.line.status.as_u16(), &reached.headers) =>
            {
                let held = hold::until_first_token(caller, &mut reached.call).await;
                heed(held, exchange, reached)
            }
            Ok(mut reached) if wants && let Some(scanner) = exchange.fresh_body() => {
                let held = hold::until_body_tells(caller, scanner, &mut reached.call).await;
                heed(held, exchange, reached)
            }
            Ok(_) | Err(_) => reached,
        }
    }

    fn is_allowed(&self, exchange: &Exchange, reached: &Result<Reached, Failure>) -> bool {
        let policy = exchange.policy();
        let fault = match reached {
            // There is no time left for another try.
            Err(Failure::TotalTimeout) => None,
            Err(failure) if !exchange.counts(failure) => None,
            Err(failure) => failure.sent().map(Fault::Failure),
            Ok(_) => (exchange.is_blamed() && exchange.side() == Side::Green).then_some(Fault::Answer),
        };
        let wanted = match exchange.side() {
            Side::Green => policy.on,
            Side::Blue => policy.retry,
        };
        let nothing_was_sent = matches!(fault, Some(Fault::Failure(Sent::Nothing)));
        let fits = match (fault, wanted) {
            (None, _) | (_, Replayed::Never) => false,
            (Some(Fault::Failure(Sent::Nothing)), _) => true,
            (Some(_), Replayed::ConnectFailures) => false,
            // Only a connection that died says little about the next instance of the same fleet. One that was silent for the whole time
            // for a head may still be at work on the request: to ask the next would double what a fleet has that is too slow. Whoever
            // wants that sets a hedge, which asks while the client still has time.
            (Some(_), Replayed::BeforeFirstByte) => {
                exchange.side() == Side::Green || matches!(reached, Err(Failure::Reset(_)))
            }
        };
        fits && !exchange.deaths.are_too_many()
            && (nothing_was_sent || stateful::may_repeat(&self.head.method))
            && !stateful::is_stateful(&self.head, exchange.request_body().map(|body| &**body))
            && can_replay(exchange)
    }

    /// Counts green's failure, then sends the request to blue.
    async fn rescue(
        self,
        caller: &Rc<Caller>,
        mut exchange: Exchange,
        reached: Result<Reached, Failure>,
        limits: &Limits,
    ) -> (Exchange, Result<Reached, Failure>) {
        let Some(rescue) = exchange.rescue() else { return (exchange, reached) };
        match reached {
            Ok(reached) => {
                drop(reached);
                exchange.settle_complete(End::Now);
            }
            Err(failure) => {
                tracing::debug!(
                    error = &failure as &dyn std::error::Error,
                    "a failure of green goes to blue"
                );
                exchange.settle_failed(&failure);
            }
        }
        self.again(caller, rescue, limits).await
    }
}

/// What a wait for the beginning of an answer came to.
fn heed(held: Held, exchange: &mut Exchange, reached: Reached) -> Result<Reached, Failure> {
    match held {
        Held::Released => Ok(reached),
        Held::InBandFailure => {
            exchange.find_in_band_failure();
            Ok(reached)
        }
        Held::Broken(failure) => Err(failure),
    }
}

/// Whether the body can be sent again; if it is too large for that, green's meters say so.
fn can_replay(exchange: &Exchange) -> bool {
    match exchange.request_body() {
        Some(body) if !body.can_replay() => {
            if exchange.side() == Side::Green {
                tracing::debug!(
                    "a failure of green is not rescued: the request body was too large to be kept"
                );
                exchange.note(Rescue::BodyTooLarge);
            }
            false
        }
        Some(_) | None => true,
    }
}

/// After a failure to connect, which has executed nothing: moves a request that blue was dealt to another instance.
pub(super) fn connect_elsewhere(exchange: &mut Exchange, failure: &Failure) -> bool {
    exchange.side() == Side::Blue
        && exchange.policy().retry != Replayed::Never
        && failure.sent() == Some(Sent::Nothing)
        && exchange.request_body().is_none_or(|body| body.can_replay())
        && exchange.move_elsewhere(failure)
}

/// After a try that brought no head: whether the request is sent once more to the same instance, on another connection, if its body can be
/// replayed. That is so where the instance says that it did not look at it, whatever its method, and where a reused connection died
/// under it, which most likely had been closed while idle; unless another connection had died under it before, or something was heard.
pub(super) fn may_be_sent_again(exchange: &Exchange, call: &Call, lost: &Lost) -> bool {
    let is_fit = match lost {
        Lost::Refused(_) => true,
        Lost::Closed(_) => call.may_have_been_closed() && !exchange.deaths.are_too_many(),
        Lost::Malformed(_) | Lost::Request(_) => false,
    };
    is_fit && exchange.request_body().is_none_or(|body| body.can_replay())
}
