//! The life of a client's HTTP/1 connection: a head, its answer, and again, until someone ends it.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use tokio::io::AsyncWrite;

use super::{
    body::Body,
    head::{self, Head, Terms},
    reply::Reply,
};
use crate::proxy::{
    answer,
    body::ResponseBody,
    caller::Caller,
    client::{Client, Order, Stage},
    error::Failure,
    forward,
    gate::Bounds,
    headers::Connection,
    incoming::Incoming,
    socket::ClientSocket,
    upgrade::Tunnel,
};

/// Serves a client's requests, one after the other, until its connection ends. An error is an end out of order: it was late, cut or left
/// by its client, or its response has no end.
///
/// No `async fn`, and no `while let`: those keep their arguments and what they match twice, for as long as a connection is idle.
pub(in crate::proxy) fn serve(
    client: &Rc<Client>,
    mut socket: ClientSocket,
) -> impl Future<Output = io::Result<()>> + use<> {
    let caller = Caller::connection(client);
    async move {
        loop {
            let next = attend(&caller, |context| poll_next(context, &caller)).await??;
            let Some(mut answering) = next else { break };
            let is_last = attend(&caller, |context| answering.poll(context, &caller, &mut socket)).await??;
            // A tunnel may go on for hours, too.
            drop(answering);
            if let Some(tunnel) = caller.take_tunnel() {
                relay(&caller, tunnel, socket).await;
                return Ok(());
            }
            if end_exchange(&caller, is_last) {
                break;
            }
        }
        close(&caller.client, &mut socket).await
    }
}

/// A response was written. Whether the connection ends with it.
fn end_exchange(caller: &Caller, is_last: bool) -> bool {
    let client = &caller.client;
    if client.stage() == Stage::Exchange {
        caller.end_exchange();
    }
    let is_over = is_last || !caller.has_read_request();
    // To close over what the client has sent could take the answer away from it (RFC 9112 section 9.6).
    if is_over && (client.has_input() || !caller.has_read_request()) {
        client.linger_at_close();
    }
    is_over
}

/// The next request, on its way to an answer. `None` when no more comes, or the worker drains.
fn poll_next<'a>(
    context: &mut Context<'_>,
    caller: &'a Rc<Caller>,
) -> Poll<io::Result<Option<Answering<'a>>>> {
    poll_head(context, &caller.client).map_ok(|head| head.map(|head| handle(caller, head)))
}

/// A request on its way to its answer, and then the answer. All of it is on the heap: most connections of a gateway are idle, and have room for
/// neither.
enum Answering<'a> {
    Handling(Terms, Handling<'a>),
    /// The request's own state is given back by then: a token stream may go on for hours, and needs nothing of what led to it.
    Replying(Box<Reply>),
}

impl Answering<'_> {
    /// Ready when the answer was written, and with whether the connection ends with it. An answer that can be written at once never needs
    /// a place of its own.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        caller: &Caller,
        socket: &mut ClientSocket,
    ) -> Poll<io::Result<bool>> {
        let (client, worker) = (&caller.client, caller.worker());
        match self {
            Self::Handling(terms, handling) => {
                let mut reply = Reply::new(ready!(handling.as_mut().poll(context)), *terms, client);
                let written = reply.poll(context, worker, socket);
                if written.is_pending() {
                    *self = Self::Replying(Box::new(reply));
                    return Poll::Pending;
                }
                written.map_ok(|()| reply.end(worker))
            }
            Self::Replying(reply) => reply.poll(context, worker, socket).map_ok(|()| reply.end(worker)),
        }
    }
}

/// Passes on what goes through a connection that has become a tunnel. On the heap, so that others carry no room for it.
fn relay<'a>(
    caller: &'a Caller,
    tunnel: Box<Tunnel>,
    socket: ClientSocket,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(tunnel.relay(caller, socket, caller.client.take_input()))
}

/// The next head, or why there is none in what has come. `None` when no more comes, or the worker drains.
fn poll_head(context: &mut Context<'_>, client: &Client) -> Poll<io::Result<Option<Result<Head, Failure>>>> {
    let worker = &client.worker;
    loop {
        if client.has_input() {
            client.heed_head();
            let settings = &worker.settings;
            let bounds = Bounds { limit_bytes: settings.head_limit_bytes, underscores: settings.underscores };
            let read = client
                .with_head(|input, searched| head::read(input, searched, bounds, || worker.take_headers()));
            match read {
                Ok(Some(head)) => return Poll::Ready(Ok(Some(Ok(head)))),
                Ok(None) => client.unshare_input(),
                Err(failure) => return Poll::Ready(Ok(Some(Err(failure)))),
            }
        }
        match client.poll_more(context)? {
            Poll::Ready(true) => {}
            Poll::Ready(false) => return Poll::Ready(Ok(None)),
            // A request that has begun to come is served, even when draining.
            Poll::Pending if client.order() == Order::Drain && client.stage() != Stage::Head => {
                return Poll::Ready(Ok(None));
            }
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// What answers a request, on the heap for as long as it runs and no longer.
type Handling<'a> = Pin<Box<dyn Future<Output = Response<ResponseBody>> + 'a>>;

/// Has a request answered, or says why it is none.
fn handle(caller: &Rc<Caller>, head: Result<Head, Failure>) -> Answering<'_> {
    let Head { parts, body, terms } = match head {
        Ok(head) => head,
        Err(failure) => {
            let refusal = std::future::ready(refuse(&caller.client, &failure));
            return Answering::Handling(Terms::UNKNOWN, Box::pin(refusal));
        }
    };
    if terms.waits_to_be_asked {
        caller.client.await_asking();
    }
    let body = Incoming::Http1(Body::new(&caller.client, body));
    Answering::Handling(terms, Box::pin(forward::handle(caller, Request::from_parts(parts, body))))
}

/// Answers what is no request. Where the next one would begin, nobody knows.
fn refuse(client: &Client, failure: &Failure) -> Response<ResponseBody> {
    client.linger_at_close();
    if let Some(rejection) = failure.rejection() {
        client.worker.meters().rejected.up(rejection);
    }
    answer::problem(failure, Connection::Closed)
}

/// Waits for what a connection does next, for as long as the client is there, nothing is late, and the worker does not cut it.
fn attend<T>(
    caller: &Caller,
    mut next: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> impl Future<Output = io::Result<T>> {
    poll_fn(move |context| {
        let client = &caller.client;
        client.pulse.listen(context.waker());
        if client.order() == Order::Cut {
            client.give_up();
            return Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
        }
        if let Poll::Ready(value) = next(context) {
            return Poll::Ready(Ok(value));
        }
        if caller.has_read_request() && !caller.has_tunnel() && client.is_gone(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        // Whoever could do better than closing has seen by now that the connection is late, and started a new wait.
        if client.pulse.is_late() {
            client.give_up();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    })
}

/// Ends the connection in order, within the time that its client has for that.
async fn close(client: &Client, socket: &mut ClientSocket) -> io::Result<()> {
    poll_fn(|context| {
        client.pulse.listen(context.waker());
        let closed = Pin::new(&mut *socket).poll_shutdown(context);
        let is_over = client.order() == Order::Cut || client.pulse.is_late();
        if closed.is_pending() && is_over { Poll::Ready(Ok(())) } else { closed }
    })
    .await
}
