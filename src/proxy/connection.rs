//! A client connection's task: HTTP/1 or HTTP/2 on its socket, until it is closed, late or told to stop.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;

use super::{
    caller::Caller,
    client::{Client, ClientSocket, Order, Stage},
    forward,
    greeting::{self, Accepted, Protocol},
    http2,
    preface::Spoken,
    worker::Admitted,
};

/// The smallest read buffer that hyper takes, and the least that makes a big request body move in few system calls.
const LEAST_BUFFER_BYTES: usize = 64 * 1024;

/// After telling an idle client of HTTP/2 that its connection ends, how long its acknowledgement is waited for. One that sends a
/// request meanwhile learns that it was not served and may be sent elsewhere.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves a client until its connection ends.
pub(super) async fn serve(admitted: Admitted, accepted: Accepted) {
    let client = &admitted.client;
    let peer = accepted.peer;
    let Some(protocol) = greeting::greet(client, accepted).await else { return };
    let mut socket = ClientSocket::new(Rc::clone(client));
    let spoken = match protocol {
        Protocol::Unsaid => listen(client, &mut socket).await,
        Protocol::Http1 => Some(Spoken::Http1),
        Protocol::Http2 => Some(Spoken::Http2),
    };
    let ended = match spoken {
        None => return,
        Some(Spoken::Http1) => serve_http1(client, socket).await,
        Some(Spoken::Http2) => http2::serve(client, socket).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a client connection ended");
    }
}

/// Waits for the first bytes. `None` when the client leaves or is late, or the worker drains.
async fn listen(client: &Client, socket: &mut ClientSocket) -> Option<Spoken> {
    poll_fn(|context| {
        client.pulse.listen(context.waker());
        let is_over = matches!(client.order(), Order::Drain | Order::Cut) || client.pulse.is_late();
        match socket.poll_spoken(context) {
            Poll::Ready(spoken) => Poll::Ready(spoken.ok().flatten()),
            Poll::Pending if is_over => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn serve_http1(client: &Rc<Client>, socket: ClientSocket) -> hyper::Result<()> {
    let caller = Caller::connection(client);
    let service = service_fn(|request| {
        let caller = Rc::clone(&caller);
        async move { Ok::<_, Infallible>(forward::handle(&caller, request).await) }
    });
    let head_limit = client.worker.settings.head_limit_bytes;
    // hyper's own head timeout would arm a timer for each request; the pulse stands in for it. Its look-out for clients that
    // leave would take a buffer for each request; `Client::is_gone` stands in for that.
    let mut connection = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_header_size(head_limit)
        .max_buf_size(head_limit.max(LEAST_BUFFER_BYTES))
        .serve_connection(TokioIo::new(socket), service);
    let is_gone = |context: &mut Context<'_>| {
        caller.has_read_request() && !caller.has_tunnel() && client.is_gone(context)
    };
    let shut_down = http1::Connection::graceful_shutdown;
    let ended = attend(client, Pin::new(&mut connection), shut_down, is_gone).await?;
    if ended == Ended::ByItself && caller.could_switch() {
        let http1::Parts { io, read_buf, .. } = connection.into_parts();
        leave_http(client, &caller, io.into_inner(), read_buf).await;
    }
    Ok(())
}

/// Goes on with a connection that hyper has left open for whoever takes it over, which it does after every request with an `Upgrade`,
/// whatever the answer was.
async fn leave_http(client: &Client, caller: &Caller, mut socket: ClientSocket, early: Bytes) {
    match caller.take_tunnel() {
        Some(tunnel) => tunnel.relay(caller, socket, early).await,
        None => {
            let close = poll_fn(|context| {
                client.pulse.listen(context.waker());
                let is_over = client.order() == Order::Cut || client.pulse.is_late();
                let poll = Pin::new(&mut socket).poll_shutdown(context);
                if poll.is_pending() && is_over { Poll::Ready(Ok(())) } else { poll }
            });
            if let Err(error) = close.await {
                tracing::debug!(%error, "could not close a client connection in order");
            }
        }
    }
}

/// Why a connection is not polled any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// It has come to its end, and what it had to write is written.
    ByItself,
    /// It was told to, was late, or its client is gone.
    Cut,
}

/// Polls a connection until it ends, is late or is told to. `begin_shutdown` makes it end when no request is running.
pub(super) async fn attend<C: Future<Output = hyper::Result<()>>>(
    client: &Client,
    mut connection: Pin<&mut C>,
    begin_shutdown: impl Fn(Pin<&mut C>),
    is_gone: impl Fn(&mut Context<'_>) -> bool,
) -> hyper::Result<Ended> {
    let mut is_told = false;
    poll_fn(|context| {
        client.pulse.listen(context.waker());
        if client.order() == Order::Cut {
            client.give_up();
            return Poll::Ready(Ok(Ended::Cut));
        }
        // First let it read what has come already: a request that is there is served, even when draining.
        let mut poll = connection.as_mut().poll(context);
        let is_idle = client.stage() == Stage::Streams && client.pulse.is_late();
        let is_ending = match client.order() {
            Order::Finish => matches!(client.stage(), Stage::Exchange | Stage::Streams),
            Order::Drain => true,
            Order::Serve | Order::Cut => is_idle,
        };
        if poll.is_pending() && is_ending && !is_told {
            is_told = true;
            if is_idle {
                client.pulse.expect_within(GOODBYE);
            }
            begin_shutdown(connection.as_mut());
            poll = connection.as_mut().poll(context);
        }
        client.end_turn();
        if poll.is_pending() && is_gone(context) {
            return Poll::Ready(Ok(Ended::Cut));
        }
        // Whoever could do better than closing has seen by now that the connection is late, and started a new wait.
        if poll.is_pending() && client.pulse.is_late() {
            client.give_up();
            return Poll::Ready(Ok(Ended::Cut));
        }
        poll.map_ok(|()| Ended::ByItself)
    })
    .await
}
