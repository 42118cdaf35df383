//! A connection that was upgraded: bytes both ways, until both sides have ended.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    ask::Ask,
    pipe::{Broken, Pipe},
};
use crate::proxy::{
    call::{Lost, Switched},
    caller::Caller,
    client::Order,
    error::Failure,
    exchange::{End, Exchange},
    worker::Worker,
};

/// An instance that has switched protocols, waiting for the client's side. Dropped, it counts for nobody: the client went away.
#[derive(Debug)]
pub(in crate::proxy) struct Tunnel {
    ask: Rc<Ask>,
    exchange: Exchange,
    instance: Switched,
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
    /// The worker's drain timeout is over.
    Cut,
}

impl Tunnel {
    pub(in crate::proxy) fn new(
        caller: &Caller,
        ask: Rc<Ask>,
        mut exchange: Exchange,
        instance: Switched,
    ) -> Self {
        exchange.switch();
        Self { ask, exchange, instance, open: Open::new(caller.worker()) }
    }

    /// Passes bytes on until the end. `socket` is the client's side, and `early` what was read of it already.
    pub(in crate::proxy) async fn relay(
        self,
        caller: &Caller,
        socket: impl AsyncRead + AsyncWrite + Unpin,
        early: Bytes,
    ) {
        let Self { ask: _, mut exchange, instance: Switched { mut lease, early: answered }, open: _open } =
            self;
        let mut sides = Sides { socket, up: Pipe::new(early), down: Pipe::new(answered) };
        let ending = poll_fn(|context| sides.poll(context, caller, lease.stream())).await;
        tracing::debug!(?ending, "an upgraded connection ended");
        exchange.tunnelled(sides.up.bytes(), sides.down.bytes());
        match ending {
            Ending::InOrder => drop(exchange.settle_complete(End::WithHead)),
            Ending::Idle if sides.down.bytes() == 0 && sides.up.bytes() > 0 => {
                exchange.settle_failed(&Failure::IdleTimeout);
            }
            Ending::Silent => exchange.settle_failed(&truncated(io::ErrorKind::UnexpectedEof.into())),
            Ending::Reset(error) => exchange.settle_failed(&truncated(error)),
            // Neither of the two sides is to blame.
            Ending::ClientGone | Ending::Idle | Ending::Cut => drop(exchange),
        }
    }

    /// The same over a stream of HTTP/2. `sending` is what the library does to send on it: dropped before its end, as when the instance
    /// breaks the connection, it resets the stream (RFC 8441 section 5).
    pub(in crate::proxy) async fn relay_stream(self, caller: &Caller, sending: impl Future<Output = ()>) {
        let Some(stream) = self.ask.stream() else { return };
        let Ok(stream) = stream.await else { return };
        let mut relay = pin!(self.relay(caller, TokioIo::new(stream), Bytes::new()));
        // Freed at its end, which is what the stream waits for to be closed.
        let mut sending = Some(Box::pin(sending));
        poll_fn(|context| {
            // Polled once more after that, it would end the stream in order.
            if relay.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            if sending.as_mut().is_some_and(|sending| sending.as_mut().poll(context).is_ready()) {
                sending = None;
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }
}

fn truncated(error: io::Error) -> Failure {
    Failure::Truncated(Lost::Closed(error))
}

/// The two directions of a tunnel.
struct Sides<S> {
    socket: S,
    up: Pipe,
    down: Pipe,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sides<S> {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        caller: &Caller,
        instance: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Poll<Ending> {
        let Self { socket, up, down } = self;
        let (pulse, memory) = (&caller.pulse, &caller.worker().read_memory);
        pulse.listen(context.waker());
        if caller.client.order() == Order::Cut {
            return Poll::Ready(Ending::Cut);
        }
        let going_up = up.poll(context, memory, pulse, socket, instance);
        if let Poll::Ready(Err(Broken::Source(_))) = going_up {
            return Poll::Ready(Ending::ClientGone);
        }
        // An instance that takes no more may still have something to say; what is read of it decides.
        let has_up_ended = up.is_over();
        let was_down_over = down.is_over();
        let going_down = down.poll(context, memory, pulse, instance, socket);
        if !was_down_over && down.is_over() && down.bytes() == 0 && !has_up_ended {
            return Poll::Ready(Ending::Silent);
        }
        match going_down {
            Poll::Ready(Err(Broken::Source(error))) => Poll::Ready(Ending::Reset(error)),
            // One that has said its last word need not listen any more.
            Poll::Ready(Err(Broken::Sink)) if has_up_ended => Poll::Ready(Ending::InOrder),
            Poll::Ready(Err(Broken::Sink)) => Poll::Ready(Ending::ClientGone),
            Poll::Ready(Ok(())) if going_up.is_ready() => Poll::Ready(Ending::InOrder),
            Poll::Ready(Ok(())) | Poll::Pending if pulse.is_late() => Poll::Ready(Ending::Idle),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}
