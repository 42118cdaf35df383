//! A connection that was upgraded: bytes both ways, until both sides have ended.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{
    end::End,
    instance::Switched,
    pipe::{Broken, Pipe},
};
use crate::proxy::{
    call::Lost,
    caller::Caller,
    client::Order,
    error::Failure,
    exchange::{self, Exchange},
    pulse::Late,
    worker::Worker,
};

/// An instance that has switched protocols, waiting for the client's side. Dropped, it counts for nobody: the client went away.
#[derive(Debug)]
pub(in crate::proxy) struct Tunnel {
    exchange: Exchange,
    switched: Switched,
    open: Open,
}

/// One tunnel among those of its worker.
#[derive(Debug)]
struct Open(Rc<Worker>);

impl Open {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.meters().upgraded.up();
        Self(Rc::clone(worker))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.meters().upgraded.down();
    }
}

/// How a tunnel ended.
#[derive(Debug)]
enum Ending {
    /// Both sides have ended what they had to say.
    InOrder,
    /// The instance ended before it had said anything, and the client had not.
    Silent,
    /// The instance broke the connection.
    Reset(io::Error),
    /// The client did.
    ClientGone,
    /// Nothing passed for as long as the endpoint waits.
    Idle,
    /// It has lasted for as long as the endpoint lets one last.
    Aged,
    /// The worker's drain timeout is over.
    Cut,
}

impl Tunnel {
    pub(in crate::proxy) fn new(caller: &Caller, mut exchange: Exchange, switched: Switched) -> Self {
        exchange.switch();
        Self { exchange, switched, open: Open::new(caller.worker()) }
    }

    /// Passes bytes on until the end. `client` is the client's side, and `early` what was read of it already. That is dropped before its end
    /// where the instance breaks the connection.
    pub(in crate::proxy) async fn relay(self, caller: &Caller, client: impl End, early: Bytes) {
        let Self { mut exchange, switched: Switched { mut instance, early: answered }, open: _open } = self;
        let mut sides = Sides { client, up: Pipe::new(early), down: Pipe::new(answered) };
        let ending = poll_fn(|context| sides.poll(context, caller, &mut instance)).await;
        tracing::debug!(?ending, "an upgraded connection ended");
        exchange.tunnelled(sides.up.bytes(), sides.down.bytes());
        match ending {
            Ending::InOrder => drop(exchange.settle_complete(exchange::End::WithHead)),
            Ending::Idle if sides.down.bytes() == 0 && sides.up.bytes() > 0 => {
                exchange.settle_failed(&Failure::IdleTimeout);
            }
            Ending::Silent => exchange.settle_failed(&truncated(io::ErrorKind::UnexpectedEof.into())),
            Ending::Reset(error) => exchange.settle_failed(&truncated(error)),
            // Neither of the two sides is to blame.
            Ending::ClientGone | Ending::Idle | Ending::Aged | Ending::Cut => drop(exchange),
        }
    }
}

fn truncated(error: io::Error) -> Failure {
    Failure::Truncated(Lost::Closed(error))
}

/// The two directions of a tunnel.
struct Sides<C> {
    client: C,
    up: Pipe,
    down: Pipe,
}

impl<C: End> Sides<C> {
    fn poll(&mut self, context: &mut Context<'_>, caller: &Caller, instance: &mut impl End) -> Poll<Ending> {
        let Self { client, up, down } = self;
        let (pulse, memory) = (&caller.pulse, &caller.worker().read_memory);
        pulse.listen(context.waker());
        if caller.client.order() == Order::Cut {
            return Poll::Ready(Ending::Cut);
        }
        let going_up = up.poll(context, memory, pulse, client, instance);
        if let Poll::Ready(Err(Broken::Source(_))) = going_up {
            return Poll::Ready(Ending::ClientGone);
        }
        // An instance that takes no more may still have something to say; what is read of it decides.
        let has_up_ended = up.is_over();
        let was_down_over = down.is_over();
        let going_down = down.poll(context, memory, pulse, instance, client);
        if !was_down_over && down.is_over() && down.bytes() == 0 && !has_up_ended {
            return Poll::Ready(Ending::Silent);
        }
        match going_down {
            Poll::Ready(Err(Broken::Source(error))) => Poll::Ready(Ending::Reset(error)),
            // One that has said its last word need not listen any more.
            Poll::Ready(Err(Broken::Sink)) if has_up_ended => Poll::Ready(Ending::InOrder),
            Poll::Ready(Err(Broken::Sink)) => Poll::Ready(Ending::ClientGone),
            Poll::Ready(Ok(())) if going_up.is_ready() => Poll::Ready(Ending::InOrder),
            Poll::Ready(Ok(())) | Poll::Pending => match pulse.late() {
                None => Poll::Pending,
                Some(Late::Overdue) => Poll::Ready(Ending::Aged),
                Some(Late::Silent | Late::Expired | Late::Slow) => Poll::Ready(Ending::Idle),
            },
        }
    }
}
