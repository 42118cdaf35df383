//! HTTP/2 with clients: the settings, and a connection whose streams are callers of their own.
//!
//! hyper's defaults suit a server among friends. These are those of Envoy's guide for proxies at the edge: what a connection may
//! make the proxy hold is bounded by streams times the window, and what one connection may break is bounded by resets.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use hyper::{body, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{
    caller::Caller,
    client::{Client, Order},
    forward,
    incoming::Incoming,
    socket::ClientSocket,
    turn::{Transport, Turn},
};

/// Requests that a client may have under way on one connection.
const CONCURRENT_STREAMS: u32 = 100;

/// What a client may send of one request body before the instance takes it.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// The same over all streams of a connection: enough for some big bodies at once, not for all.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// The largest frame, the least that RFC 9113 allows: larger ones would let one stream hold the others up.
const FRAME_BYTES: u32 = 16 * 1024;

/// What is held of one response body until the client takes it. hyper's 400 KiB would be 40 MiB a connection.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Memory for header compression, in each direction: the protocol's own default.
const HEADER_TABLE_BYTES: u32 = 4096;

/// Streams that a client may begin and reset before they are served, until the connection is closed (CVE-2023-44487).
const PENDING_RESETS: usize = 20;

/// Streams that a client may make the proxy reset, until the connection is closed (CVE-2025-8671).
const LOCAL_RESETS: usize = 256;

/// How often a silent connection is asked whether it is still there, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// After telling an idle client that its connection ends, how long its acknowledgement is waited for. One that sends a request meanwhile
/// learns that it was not served and may be sent elsewhere.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves a client's streams until its connection ends.
pub(super) async fn serve(client: &Rc<Client>, socket: ClientSocket) -> hyper::Result<()> {
    client.begin_streams();
    let streams = Streams { next: Rc::default() };
    let service = service_fn(|request: Request<body::Incoming>| {
        let caller = Caller::stream(client);
        streams.next.replace(Some(Next::Request(Rc::clone(&caller))));
        let streams = streams.clone();
        // On the heap: what is made of the call is moved eight times on its way through a task, and the call has several KiB.
        Box::pin(async move {
            let response = forward::handle(&caller, request.map(Incoming::Http2)).await;
            if caller.has_tunnel() {
                streams.next.replace(Some(Next::Tunnel(Rc::downgrade(&caller))));
            }
            Ok::<_, Infallible>(response)
        })
    });
    let head_limit = client.worker.settings.head_limit_bytes;
    let turn = Turn::new(&client.worker, socket);
    let transport = TokioIo::new(Transport(Rc::clone(&turn)));
    let connection = builder(streams.clone(), head_limit).serve_connection(transport, service);
    // A client that takes nothing any more is gone; of one that says nothing any more, the library itself takes note.
    let is_gone = |context: &mut Context<'_>| matches!(turn.poll_flush(context), Poll::Ready(Err(_)));
    let mut connection = pin!(connection);
    let mut is_told = false;
    poll_fn(|context| {
        client.pulse.listen(context.waker());
        if client.order() == Order::Cut {
            client.give_up();
            return Poll::Ready(Ok(()));
        }
        // First let it read what has come already: a request that is there is served, even when draining.
        let mut poll = connection.as_mut().poll(context);
        let is_idle = client.pulse.is_late();
        if poll.is_pending() && !is_told && (is_idle || client.order() != Order::Serve) {
            is_told = true;
            if is_idle {
                client.pulse.expect_within(GOODBYE);
            }
            connection.as_mut().graceful_shutdown();
            poll = connection.as_mut().poll(context);
        }
        client.end_turn();
        // Whoever could do better than closing has seen by now that the connection is late, and started a new wait.
        if poll.is_pending() && (is_gone(context) || client.pulse.is_late()) {
            client.give_up();
            return Poll::Ready(Ok(()));
        }
        poll
    })
    .await
}

fn builder(streams: Streams, head_limit_bytes: usize) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .adaptive_window(false)
        .max_frame_size(FRAME_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .header_table_size(HEADER_TABLE_BYTES)
        .max_header_list_size(u32::try_from(head_limit_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Runs streams on the worker's own thread.
///
/// hyper calls the service and at once gives what it made of the call to its executor. That is how a stream's task comes to know its
/// caller, which it must: when a client takes no more of a response, hyper polls nothing of ours, and only the task can end. Once
/// the service has answered that a stream becomes a tunnel, hyper at once gives the task that sends on it to its executor too.
#[derive(Clone, Debug)]
struct Streams {
    next: Rc<RefCell<Option<Next>>>,
}

/// What the task that comes next is for.
#[derive(Debug)]
enum Next {
    Request(Rc<Caller>),
    /// Held by the stream's task, with which it ends if the answer cannot be sent.
    Tunnel(Weak<Caller>),
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        match self.next.take() {
            Some(Next::Request(caller)) => {
                drop(tokio::task::spawn_local(attend(Registered::new(caller), stream)));
            }
            Some(Next::Tunnel(caller)) => {
                if let Some(caller) = caller.upgrade() {
                    drop(tokio::task::spawn_local(relay(Registered::new(caller), stream)));
                }
            }
            None => drop(tokio::task::spawn_local(stream)),
        }
    }
}

/// Polls a stream until it ends or is late. Dropped before its end it is reset.
async fn attend(registered: Registered, stream: impl Future<Output = ()>) {
    let pulse = &registered.caller.pulse;
    let mut stream = pin!(stream);
    poll_fn(|context| {
        pulse.listen(context.waker());
        let poll = stream.as_mut().poll(context);
        // Whoever could do better than resetting has seen by now that the stream is late.
        if poll.is_pending() && pulse.is_late() { Poll::Ready(()) } else { poll }
    })
    .await;
}

/// Passes on what goes through a stream that has become a tunnel, which `sending` sends on.
async fn relay(registered: Registered, sending: impl Future<Output = ()>) {
    if let Some(tunnel) = registered.caller.take_tunnel() {
        tunnel.relay_stream(&registered.caller, sending).await;
    }
}

/// A stream among those of its connection, until dropped.
struct Registered {
    caller: Rc<Caller>,
}

impl Registered {
    fn new(caller: Rc<Caller>) -> Self {
        caller.client.add_stream(&caller.pulse);
        Self { caller }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.caller.client.remove_stream(&self.caller.pulse);
        self.caller.worker().note_panic();
    }
}
