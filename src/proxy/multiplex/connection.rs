//! One HTTP/2 connection to an instance, and a request's seat on it.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, PingPong, SendStream,
    client::{self, ResponseFuture, SendRequest},
};
use http::Request;

use super::link::{Link, Transport, Wish};
use crate::{net::Stream, proxy::allowance::Place, time::Moment};

/// Requests on one connection. As many as common servers take, and few enough that one connection's losses are bounded.
pub(super) const STREAMS: usize = 100;

/// What an instance may send of one response before its client has taken it.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// The same over all streams: enough that clients that take nothing cannot stall the others.
const CONNECTION_WINDOW_BYTES: u32 = 100 * STREAM_WINDOW_BYTES;

/// The largest frame, the least that RFC 9113 allows: larger ones would let one stream hold the others up.
const FRAME_BYTES: u32 = 16 * 1024;

/// A response head, and trailers, larger than this are refused, as in HTTP/1.
const HEAD_LIMIT_BYTES: u32 = 64 * 1024;

/// What is held of one request body until the instance takes it.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Memory for header compression: the protocol's own default.
const HEADER_TABLE_BYTES: u32 = 4096;

/// What the h2 crate may spend on small DATA frames that wait for their clients: token streams are made of them. Its default would close a
/// connection on which a dozen clients are slow.
const SMALL_FRAMES_BYTES: usize = 4 * 100 * 64 * 1024;

/// Streams that were reset and whose late frames are still expected. They are forgotten after a second.
const RESET_STREAMS: usize = 1024;

/// An instance that has been silent for this long, while it has requests, is asked whether it is still there, and how long the answer may
/// take. Servers of gRPC close connections that ask more often than each five minutes, so the next question waits for longer.
const SILENCE: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);
const PINGS_APART: Duration = Duration::from_secs(330);

/// How long the end of a connection may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// One connection. Dropped when it takes no more requests and the last one has ended, it says goodbye and closes.
#[derive(Debug)]
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
    link: Rc<Link>,
    active: Cell<usize>,
    has_served: Cell<bool>,
    is_closing: Cell<bool>,
    idle_since: Cell<Option<Moment>>,
    heard: Cell<u64>,
    heard_at: Cell<Option<Moment>>,
    pinged_at: Cell<Option<Moment>>,
}

/// A request's place on a connection, until dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Seat {
    connection: Rc<Connection>,
    is_reused: bool,
    heard_before: u64,
}

impl Connection {
    /// Begins to speak HTTP/2, and waits for the instance's settings: until then it is not known that it speaks it too, nor how many
    /// requests it takes.
    pub(super) async fn open(stream: Stream, place: Place) -> io::Result<Rc<Self>> {
        let link = Link::new(stream, place);
        let shaken = builder().handshake(Transport(Rc::clone(&link))).await;
        let (requests, mut connection) = shaken.map_err(io::Error::other)?;
        poll_fn(|context| match poll(&mut connection, &link, context) {
            Poll::Ready(ended) => Poll::Ready(Err(ended.err().map_or_else(
                || io::ErrorKind::UnexpectedEof.into(),
                |error| error.into_io().unwrap_or_else(|| io::Error::other("it does not speak HTTP/2")),
            ))),
            Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        drop(tokio::task::spawn_local(drive(connection, Rc::clone(&link))));
        Ok(Rc::new(Self {
            requests,
            link,
            active: Cell::new(0),
            has_served: Cell::new(false),
            is_closing: Cell::new(false),
            idle_since: Cell::new(None),
            heard: Cell::new(0),
            heard_at: Cell::new(None),
            pinged_at: Cell::new(None),
        }))
    }

    /// A seat on it, if there is one.
    pub(super) fn seat(self: &Rc<Self>) -> Option<Seat> {
        let limit = STREAMS.min(self.requests.current_max_send_streams());
        if self.is_closing.get() || self.link.is_over() || self.active.get() >= limit {
            return None;
        }
        self.active.set(self.active.get() + 1);
        self.idle_since.set(None);
        Some(Seat {
            connection: Rc::clone(self),
            is_reused: self.has_served.replace(true),
            heard_before: self.link.heard(),
        })
    }

    /// One look at what time wears out. Whether it is to be kept.
    pub(super) fn look(&self, now: Moment, idle_timeout: Duration) -> bool {
        if self.link.is_over() {
            return false;
        }
        if self.active.get() > 0 {
            self.look_for_life(now);
            return true;
        }
        // The next silence begins with the next request.
        self.heard_at.set(None);
        let since = self.idle_since.get().unwrap_or(now);
        self.idle_since.set(Some(since));
        !self.is_closing.get() && now.since(since) < idle_timeout
    }

    fn look_for_life(&self, now: Moment) {
        let heard = self.link.heard();
        let (Some(heard_at), true) = (self.heard_at.get(), self.heard.get() == heard) else {
            self.heard.set(heard);
            self.heard_at.set(Some(now));
            return;
        };
        let pinged_at = self.pinged_at.get();
        match pinged_at {
            // Nothing was heard since.
            Some(pinged_at) if pinged_at >= heard_at => {
                if now.since(pinged_at) >= PONG_WITHIN {
                    self.link.wish(Wish::Cut);
                }
            }
            Some(_) | None => {
                let may_ping = pinged_at.is_none_or(|pinged_at| now.since(pinged_at) >= PINGS_APART);
                if may_ping && now.since(heard_at) >= SILENCE {
                    self.pinged_at.set(Some(now));
                    self.link.wish(Wish::Ping);
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.wish(Wish::Close);
    }
}

impl Seat {
    /// Sends a request's head. An error has sent nothing, and the connection takes no further request.
    pub(in crate::proxy) fn send(
        &self,
        request: Request<()>,
        is_whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        // A handle of its own, since a handle remembers a request that had to wait and refuses the next one.
        let sent = self.connection.requests.clone().send_request(request, is_whole);
        if sent.is_err() {
            self.leave();
        }
        sent
    }

    /// Whether the instance makes tunnels of streams: whether its settings allow extended CONNECT (RFC 8441 section 3).
    pub(in crate::proxy) fn makes_tunnels(&self) -> bool {
        self.connection.requests.is_extended_connect_protocol_enabled()
    }

    /// Whether the connection has served a request before.
    pub(in crate::proxy) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Whether anything at all came on the connection since this request was sent.
    pub(in crate::proxy) fn has_heard(&self) -> bool {
        self.connection.link.heard() != self.heard_before
    }

    /// Whether the instance takes no more for now, of any request.
    pub(in crate::proxy) fn is_blocked(&self) -> bool {
        self.connection.link.is_blocked()
    }

    /// Lets the connection take no further request: the instance refuses them, or is gone.
    pub(in crate::proxy) fn leave(&self) {
        self.connection.is_closing.set(true);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connection.active.set(self.connection.active.get().saturating_sub(1));
    }
}

fn builder() -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        // None until the instance's settings have come; see `Connection::open`.
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(HEAD_LIMIT_BYTES)
        .header_table_size(HEADER_TABLE_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .data_frame_budget(SMALL_FRAMES_BYTES)
        .max_concurrent_reset_streams(RESET_STREAMS)
        // A count over the connection's whole life, which late frames of requests that clients have given up would use up. What an
        // instance does wrong fails its own requests.
        .max_local_error_reset_streams(None)
        .enable_push(false);
    builder
}

/// A connection's task.
async fn drive(mut connection: client::Connection<Transport, Bytes>, link: Rc<Link>) {
    let mut pings = None;
    let last = poll_fn(|context| {
        match link.take_wish(context.waker()) {
            last @ (Wish::Close | Wish::Cut) => return Poll::Ready(last),
            Wish::Ping => ping(&mut connection, &mut pings),
            Wish::None => {}
        }
        poll(&mut connection, &link, context).map(|_| Wish::Cut)
    })
    .await;
    link.mark_over();
    if last == Wish::Close {
        let rest = poll_fn(|context| poll(&mut connection, &link, context).map(drop));
        let _in_time = tokio::time::timeout(GOODBYE, rest).await.is_ok();
    }
}

/// Asks the instance whether it is still there. That anything comes is the answer.
fn ping(connection: &mut client::Connection<Transport, Bytes>, pings: &mut Option<PingPong>) {
    if pings.is_none() {
        *pings = connection.ping_pong();
    }
    if let Some(pings) = pings {
        // Takes note of the answer to the last question, without which there is none further.
        let _answered = pings.poll_pong(&mut Context::from_waker(Waker::noop())).is_ready();
        let _sent = pings.send_ping(Ping::opaque()).is_ok();
    }
}

/// One turn: what has come, then all that is to be said in one write.
fn poll(
    connection: &mut client::Connection<Transport, Bytes>,
    link: &Link,
    context: &mut Context<'_>,
) -> Poll<Result<(), h2::Error>> {
    let polled = Pin::new(connection).poll(context);
    // An instance that reads no more may have answered; what is read decides.
    let _written = link.poll_flush(context).is_ready();
    polled
}
