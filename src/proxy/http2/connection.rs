//! A client's HTTP/2 connection: its bounds, its streams and its end.
//!
//! The crate's defaults suit a server among friends. These are those of Envoy's guide for proxies at the edge: what a connection may
//! make the proxy hold is bounded by streams times the window, and what one connection may break is bounded by resets.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::server::{Builder, Connection, Handshake};

use super::{
    life::Life,
    stream,
    turn::{Transport, Turn},
};
use crate::proxy::{
    client::{Client, Order},
    socket::ClientSocket,
};

/// Requests that a client may have under way on one connection.
const CONCURRENT_STREAMS: u32 = 100;

/// What a client may send of one request body before the instance takes it.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// The same over all streams of a connection: enough for some big bodies at once, not for all.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// The largest frame, the least that RFC 9113 allows: larger ones would let one stream hold the others up.
const FRAME_BYTES: u32 = 16 * 1024;

/// What is held of one response body until the client takes it. The crate's 400 KiB would be 40 MiB a connection.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Memory for header compression, in each direction: the protocol's own default.
const HEADER_TABLE_BYTES: u32 = 4096;

/// How many times the limit a head may be for the h2 crate. It answers larger ones itself, with a bare 431 and without a word to whoever
/// uses it, so what is a little too large is left to the gate, which says why and counts it. Heads that are let through are as small as
/// ever; the others are gone by the end of the turn.
const HEAD_ROOM: usize = 2;

/// Streams that a client may begin and reset before they are served, until the connection is closed (CVE-2023-44487).
const PENDING_RESETS: usize = 20;

/// Streams that a client may make the proxy reset, until the connection is closed (CVE-2025-8671).
const LOCAL_RESETS: usize = 256;

/// After telling an idle client that its connection ends, how long its acknowledgement is waited for. One that sends a request meanwhile
/// learns that it was not served and may be sent elsewhere.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves a client's streams until its connection ends.
pub(in crate::proxy) async fn serve(client: &Rc<Client>, socket: ClientSocket) -> Result<(), h2::Error> {
    client.begin_streams();
    let turn = Turn::new(&client.worker, socket);
    let mut streams = Streams::new(client, &turn);
    let mut is_told = false;
    poll_fn(|context| {
        client.pulse.listen(context.waker());
        if client.order() == Order::Cut {
            client.give_up();
            return Poll::Ready(Ok(()));
        }
        // First let it read what has come already: a request that is there is served, even when draining.
        let mut poll = streams.poll(context);
        let is_idle = client.pulse.is_late();
        if poll.is_pending() && !is_told && (is_idle || client.order() != Order::Serve) {
            is_told = true;
            if is_idle {
                client.pulse.expect_within(GOODBYE);
            }
            streams.say_goodbye();
            poll = streams.poll(context);
        }
        client.end_turn();
        // A client that takes nothing any more is gone.
        let is_broken = |context: &mut Context<'_>| matches!(turn.poll_flush(context), Poll::Ready(Err(_)));
        // Whoever could do better than closing has seen by now that the connection is late, and started a new wait.
        if poll.is_pending() && (is_broken(context) || client.pulse.is_late()) {
            client.give_up();
            return Poll::Ready(Ok(()));
        }
        poll
    })
    .await
}

fn builder(head_limit_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_connect_protocol()
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .header_table_size(HEADER_TABLE_BYTES)
        .max_header_list_size(u32::try_from(head_limit_bytes.saturating_mul(HEAD_ROOM)).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(LOCAL_RESETS));
    builder
}

/// The connection as the h2 crate has it.
struct Streams<'a> {
    client: &'a Rc<Client>,
    turn: &'a Rc<Turn>,
    state: State,
    is_ending: bool,
}

enum State {
    Greeting(Handshake<Transport, Bytes>),
    Serving { connection: Connection<Transport, Bytes>, life: Option<Life> },
}

impl<'a> Streams<'a> {
    fn new(client: &'a Rc<Client>, turn: &'a Rc<Turn>) -> Self {
        let greeting = builder(client.worker.settings.head_limit_bytes).handshake(Transport(Rc::clone(turn)));
        Self { client, turn, state: State::Greeting(greeting), is_ending: false }
    }

    /// Begins what streams have come. Ready when the connection has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            match &mut self.state {
                State::Greeting(greeting) => {
                    let mut connection = ready!(Pin::new(greeting).poll(context))?;
                    if self.is_ending {
                        connection.graceful_shutdown();
                    }
                    let life = connection.ping_pong().map(Life::new);
                    self.state = State::Serving { connection, life };
                }
                State::Serving { connection, life } => {
                    let accepted = connection.poll_accept(context);
                    if let Some(life) = life
                        && life.poll_gone(context, self.turn.heard()).is_ready()
                    {
                        self.client.give_up();
                        return Poll::Ready(Ok(()));
                    }
                    match ready!(accepted) {
                        Some(Ok((request, respond))) => stream::begin(self.client, request, respond),
                        Some(Err(error)) => return Poll::Ready(Err(error)),
                        None => return Poll::Ready(Ok(())),
                    }
                }
            }
        }
    }

    /// Takes no further streams, and lets those that are there end.
    fn say_goodbye(&mut self) {
        self.is_ending = true;
        match &mut self.state {
            State::Greeting(_) => {}
            State::Serving { connection, .. } => connection.graceful_shutdown(),
        }
    }
}
