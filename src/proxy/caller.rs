//! Who asked: a client's connection in HTTP/1, which has one request at a time, and one of its streams in HTTP/2.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use super::{
    client::Client, headers::Connection, pulse::Pulse, upgrade::Tunnel, upload::Early, worker::Worker,
};
use crate::time::Moment;

/// Whom a request came from. In HTTP/1 it lives as long as its connection, so that a request allocates none.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) client: Rc<Client>,
    /// What the current request may wait for. In HTTP/1 the connection's own.
    pub(super) pulse: Rc<Pulse>,
    kind: Kind,
    has_read_request: Cell<bool>,
    speaks_grpc: Cell<bool>,
    asking: Cell<Asking>,
    /// Waits for the client's side, which is free once its answer was written.
    tunnel: RefCell<Option<Box<Tunnel>>>,
    /// When the current request's head was complete, where that is asked for.
    received_at: Cell<Option<Moment>>,
    /// What was read of the current request's body to know who signed it; there once that is known.
    signed: RefCell<Option<Box<Early>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// An HTTP/1 connection: what goes wrong between its requests ends it.
    Connection,
    /// An HTTP/2 stream: it ends with its request.
    Stream,
}

/// Whether a stream's client is to be asked for its request's body. Of a connection in HTTP/1 the [`Client`] knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asking {
    /// It does not wait for it, or was asked.
    Never,
    /// It waits, and nothing of the body is needed yet.
    Later,
    Now,
}

impl Caller {
    /// An HTTP/1 connection.
    pub(super) fn connection(client: &Rc<Client>) -> Rc<Self> {
        Self::new(client, Rc::clone(&client.pulse), Kind::Connection)
    }

    /// An HTTP/2 stream.
    pub(super) fn stream(client: &Rc<Client>) -> Rc<Self> {
        Self::new(client, Rc::default(), Kind::Stream)
    }

    fn new(client: &Rc<Client>, pulse: Rc<Pulse>, kind: Kind) -> Rc<Self> {
        Rc::new(Self {
            client: Rc::clone(client),
            pulse,
            kind,
            has_read_request: Cell::new(true),
            speaks_grpc: Cell::new(false),
            asking: Cell::new(Asking::Never),
            tunnel: RefCell::default(),
            received_at: Cell::new(None),
            signed: RefCell::default(),
        })
    }

    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.client.worker
    }

    /// A head is complete: a request begins. What it may wait for is said when it waits.
    pub(super) fn begin_exchange(&self, is_read: bool) {
        self.has_read_request.set(is_read);
        match self.kind {
            Kind::Connection => self.client.begin_exchange(),
            Kind::Stream => {}
        }
        self.pulse.expect_within(Duration::MAX);
        drop(self.signed.take());
        self.received_at.set(None);
    }

    /// The current request's time here is of interest.
    pub(super) fn mark_received(&self, now: Moment) {
        self.received_at.set(Some(now));
    }

    /// When the current request's head was complete, where that is asked for. Asked once.
    pub(super) fn take_received(&self) -> Option<Moment> {
        self.received_at.take()
    }

    /// One of the keys has signed the current request.
    pub(super) fn mark_signed(&self, mut early: Early) {
        early.is_signed = true;
        self.signed.replace(Some(Box::new(early)));
    }

    /// What was read of the current request's body, as far as it was, to know who signed it.
    pub(super) fn take_early(&self) -> Early {
        self.signed.take().map_or_else(Early::default, |early| *early)
    }

    /// The current request's last byte was read.
    pub(super) fn mark_request_read(&self) {
        self.has_read_request.set(true);
    }

    /// The stream's client waits to be asked for the body.
    pub(super) fn await_asking(&self) {
        self.asking.set(Asking::Later);
    }

    /// The body is needed and has not begun to come.
    pub(super) fn ask_for_body(&self) {
        if self.asking.get() == Asking::Later {
            self.asking.set(Asking::Now);
        }
    }

    /// The body has begun to come.
    pub(super) fn forget_asking(&self) {
        self.asking.set(Asking::Never);
    }

    /// Whether the client is to be asked now, once.
    pub(super) fn takes_asking(&self) -> bool {
        let is_now = self.asking.get() == Asking::Now;
        if is_now {
            self.asking.set(Asking::Never);
        }
        is_now
    }

    /// The current request is a gRPC call. A stream has no other.
    pub(super) fn mark_grpc(&self) {
        self.speaks_grpc.set(true);
    }

    /// Whether the current request is a gRPC call.
    pub(super) fn speaks_grpc(&self) -> bool {
        self.speaks_grpc.get()
    }

    /// Whether the current request was read to its end.
    pub(super) fn has_read_request(&self) -> bool {
        self.has_read_request.get()
    }

    /// So many bytes of the response were handed over. Nobody asks for more until there is room for it. In HTTP/1 the socket itself
    /// tells whether there is.
    pub(super) fn hand_over(&self, bytes: usize) {
        if self.kind == Kind::Stream {
            self.pulse.pace.pass(bytes);
            self.pulse.pace.await_taking(true);
        }
    }

    /// More of the response is asked for: there is room.
    pub(super) fn has_room(&self) {
        if self.kind == Kind::Stream {
            self.pulse.pace.await_taking(false);
        }
    }

    /// Lets what was handed over of the current response be written, and then wakes its task; `false` where that is no
    /// matter, since in HTTP/1 what came is written whatever comes next.
    pub(super) fn await_flush(&self) -> bool {
        match self.kind {
            Kind::Connection => false,
            Kind::Stream => {
                self.client.await_flush(&self.pulse);
                true
            }
        }
    }

    /// Whether that is still to be written, as far as the client has room for it.
    pub(super) fn is_flushing(&self) -> bool {
        match self.kind {
            Kind::Connection => false,
            Kind::Stream => self.client.is_flushing(&self.pulse),
        }
    }

    /// The instance has switched protocols.
    pub(super) fn set_tunnel(&self, tunnel: Tunnel) {
        self.tunnel.replace(Some(Box::new(tunnel)));
    }

    /// Whether the current request is to become a tunnel.
    pub(super) fn has_tunnel(&self) -> bool {
        self.tunnel.borrow().is_some()
    }

    /// The tunnel that the current request is to become.
    pub(super) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    /// The response's last byte was handed over.
    pub(super) fn end_exchange(&self) {
        self.pulse.end_by(None);
        match self.kind {
            Kind::Connection => self.client.end_exchange(),
            Kind::Stream => {}
        }
    }

    /// What becomes of the connection after this response. In HTTP/1 a request that was answered before it was read to its end
    /// leaves bytes on the connection that are no request.
    pub(super) fn after_response(&self) -> Connection {
        if self.has_read_request() { Connection::Kept } else { self.close_after_response() }
    }

    /// Ends the connection after this response, where nobody knows where the next request begins. A stream's end is its own.
    pub(super) fn close_after_response(&self) -> Connection {
        match self.kind {
            Kind::Connection => {
                self.client.linger_at_close();
                Connection::Closed
            }
            Kind::Stream => Connection::Kept,
        }
    }
}
