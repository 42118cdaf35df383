//! A client connection's task: HTTP/1 on its socket, until it is closed, late or told to stop.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
};

use super::{
    client::{ClientSocket, Order, Stage},
    forward,
    greeting::{self, Accepted, Protocol},
    worker::Admitted,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

/// The smallest read buffer that hyper takes, and the least that makes a big request body move in few system calls.
const LEAST_BUFFER_BYTES: usize = 64 * 1024;

/// Serves a client until its connection ends.
pub(super) async fn serve(admitted: Admitted, accepted: Accepted) {
    let client = &admitted.client;
    let peer = accepted.peer;
    let Some(protocol) = greeting::greet(client, accepted).await else { return };
    match protocol {
        Protocol::Unsaid | Protocol::Http1 => {}
        // It is agreed on only if it was offered, which `PROTOCOLS` does not.
        Protocol::Http2 => return,
    }
    let socket = TokioIo::new(ClientSocket::new(Rc::clone(client)));
    let service = service_fn(|request| {
        let client = Rc::clone(client);
        async move { Ok::<_, Infallible>(forward::handle(&client, request).await) }
    });
    let head_limit = client.worker.settings.head_limit_bytes;
    // hyper's own head timeout would arm a timer for each request; the pulse stands in for it. Its look-out for clients that
    // leave would take a buffer for each request; `Client::is_gone` stands in for that.
    let connection = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_header_size(head_limit)
        .max_buf_size(head_limit.max(LEAST_BUFFER_BYTES))
        .serve_connection(socket, service);
    let mut connection = pin!(connection);
    let mut is_told = false;
    let ended = poll_fn(|context| {
        client.pulse.listen(context.waker());
        if client.order() == Order::Cut {
            return Poll::Ready(Ok(()));
        }
        // First let it read what has come already: a request that is there is served, even when draining.
        let mut poll = connection.as_mut().poll(context);
        let is_ending = match client.order() {
            Order::Finish => client.stage() == Stage::Exchange,
            Order::Drain => true,
            Order::Serve | Order::Cut => false,
        };
        if poll.is_pending() && is_ending && !is_told {
            is_told = true;
            connection.as_mut().graceful_shutdown();
            poll = connection.as_mut().poll(context);
        }
        if poll.is_pending() && client.is_gone(context) {
            return Poll::Ready(Ok(()));
        }
        // Whoever could do better than closing has seen by now that the connection is late, and started a new wait.
        if poll.is_pending() && client.pulse.is_late() {
            return Poll::Ready(Ok(()));
        }
        poll
    })
    .await;
    if let Err(error) = ended {
        if error.is_parse() {
            client.worker.meters().rejected.up();
        }
        tracing::debug!(%error, %peer, "a client connection ended");
    }
}
