//! One client connection: what it is allowed to wait for, and the socket that keeps track of it.

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    forwarded::Downstream,
    gather,
    preface::{Peeked, Spoken},
    pulse::Pulse,
    refusal,
    worker::Worker,
};
use crate::{
    net::{Ahead, Stream},
    route::HalfClose,
    time::Moment,
};

/// After an answer that came before the whole request was read, how long the rest is read and thrown away. Closing at once
/// would reset the connection and could destroy the answer before the client has read it (RFC 9112 section 9.6). Two
/// seconds let a client on a slow link see the answer; a client that sends on regardless is cut.
const LINGER: Duration = Duration::from_secs(2);

/// A head larger than this gives its memory back after the request.
const KEPT_HEAD_BYTES: usize = 4096;

/// One client connection. Shared by its task, its socket and its requests, all on the worker's thread.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) worker: Rc<Worker>,
    /// Who it is, once its greeting has said so.
    downstream: OnceCell<Downstream>,
    pub(super) pulse: Rc<Pulse>,
    /// From the end of the greeting until the socket is dropped.
    stream: RefCell<Option<Stream>>,
    /// Whether there is nothing to learn from what the client sends next: it has sent more than the current request, or may close
    /// its side.
    has_sent_more: Cell<bool>,
    on_half_close: Cell<HalfClose>,
    /// Whether hyper may hold bytes of an answer to a request.
    is_answering: Cell<bool>,
    /// Whether the socket takes no more for now.
    is_blocked: Cell<bool>,
    /// Streams that end badly once what they handed over is written.
    last_words: RefCell<Vec<Rc<Pulse>>>,
    stage: Cell<Stage>,
    order: Cell<Order>,
    at_close: Cell<AtClose>,
    /// The current request's head as it came, with what was read along with it. hyper drops a Content-Length that stands
    /// beside a Transfer-Encoding, and such requests must be refused, so the head itself is kept until it was looked at.
    raw_head: RefCell<Vec<u8>>,
    /// The pulses of its HTTP/2 streams.
    streams: RefCell<Vec<Rc<Pulse>>>,
    /// Where the worker's list has this connection.
    pub(super) place: Cell<usize>,
}

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// No byte has come yet.
    Fresh,
    /// Between two requests.
    Idle,
    /// A part of a head has come.
    Head,
    /// A request has come and its response has not been sent yet.
    Exchange,
    /// It speaks HTTP/2: each of its streams keeps its own time.
    Streams,
}

/// What the worker wants of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// To go on.
    Serve,
    /// To close after its next response, or the running one.
    Finish,
    /// To close when no request is running.
    Drain,
    /// To close now.
    Cut,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AtClose {
    Nothing,
    /// The client may still be sending a request that has been answered.
    Linger,
    /// Lingering, since [`LINGER`] began.
    Lingering,
    /// The response was cut where only a reset tells the client so.
    Reset,
}

impl Client {
    pub(super) fn new(worker: Rc<Worker>) -> Self {
        let client = Self {
            downstream: OnceCell::new(),
            pulse: Rc::default(),
            stream: RefCell::default(),
            has_sent_more: Cell::new(false),
            on_half_close: Cell::new(HalfClose::Cancel),
            is_answering: Cell::new(false),
            is_blocked: Cell::new(false),
            last_words: RefCell::default(),
            stage: Cell::new(Stage::Fresh),
            order: Cell::new(Order::Serve),
            at_close: Cell::new(AtClose::Nothing),
            streams: RefCell::default(),
            raw_head: RefCell::default(),
            place: Cell::new(0),
            worker,
        };
        client.pulse.expect_within(client.worker.settings.keep_alive_timeout);
        client
    }

    /// Its greeting is over.
    pub(super) fn introduce(&self, downstream: Downstream, stream: Stream) {
        self.downstream.get_or_init(|| downstream);
        self.stream.replace(Some(stream));
    }

    /// Who it is.
    pub(super) fn downstream(&self) -> &Downstream {
        self.downstream.get().expect("a greeting ends before the first request is read")
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub(super) fn order(&self) -> Order {
        self.order.get()
    }

    /// Tells the connection's task what to do next.
    pub(super) fn command(&self, order: Order) {
        if self.order.get() != order {
            self.order.set(order);
            self.pulse.wake();
        }
    }

    /// A request begins.
    pub(super) fn begin_exchange(&self) {
        self.stage.set(Stage::Exchange);
        self.has_sent_more.set(false);
        self.on_half_close.set(HalfClose::Cancel);
    }

    /// The response's last byte was handed over.
    pub(super) fn end_exchange(&self) {
        self.stage.set(Stage::Idle);
        self.is_answering.set(true);
        let mut head = self.raw_head.borrow_mut();
        head.clear();
        head.shrink_to(KEPT_HEAD_BYTES);
        drop(head);
        self.pulse.expect_within(self.worker.settings.keep_alive_timeout);
    }

    /// It speaks HTTP/2, and has no stream yet.
    pub(super) fn begin_streams(&self) {
        self.stage.set(Stage::Streams);
        self.pulse.expect_within(self.worker.settings.keep_alive_timeout);
    }

    /// A stream begins. While there are any, the connection itself waits for nothing.
    pub(super) fn add_stream(&self, pulse: &Rc<Pulse>) {
        self.streams.borrow_mut().push(Rc::clone(pulse));
        self.pulse.expect_within(Duration::MAX);
    }

    /// A stream ended.
    pub(super) fn remove_stream(&self, pulse: &Rc<Pulse>) {
        let mut streams = self.streams.borrow_mut();
        if let Some(place) = streams.iter().position(|other| Rc::ptr_eq(other, pulse)) {
            streams.swap_remove(place);
        }
        if streams.is_empty() {
            self.pulse.expect_within(self.worker.settings.keep_alive_timeout);
        }
    }

    /// Takes note of what happened since the last look.
    pub(super) fn check(&self, now: Moment) {
        let least = self.worker.settings.least_rate;
        let look = |pulse: &Pulse| {
            pulse.check(now);
            if pulse.check_pace(now, least) {
                self.worker.meters().too_slow.up();
            }
        };
        look(&self.pulse);
        self.streams.borrow().iter().for_each(|stream| look(stream));
    }

    /// Looks at the current request's head as it came. Of a pipelined request, that is one whose head came while another was
    /// served, nothing is there.
    pub(super) fn with_raw_head<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&self.raw_head.borrow())
    }

    /// The request was answered before it was read to its end.
    pub(super) fn linger_at_close(&self) {
        if self.at_close.get() == AtClose::Nothing {
            self.at_close.set(AtClose::Linger);
        }
    }

    /// The response cannot be completed and its framing would not show it.
    pub(super) fn reset_at_close(&self) {
        self.at_close.set(AtClose::Reset);
    }

    /// Whether the client has closed its side while it waits for an answer to a request that was read. hyper would look for
    /// that too, but into a fresh buffer of 8 KiB for each request; this asks the runtime what it knows, without a system
    /// call as long as nothing happens.
    pub(super) fn is_gone(&self, context: &mut Context<'_>) -> bool {
        if self.stage.get() != Stage::Exchange || self.has_sent_more.get() {
            return false;
        }
        let mut stream = self.stream.borrow_mut();
        let Some(stream) = &mut *stream else { return true };
        match stream.poll_ahead(context) {
            Poll::Pending => false,
            Poll::Ready(Ahead::Bytes) => {
                self.has_sent_more.set(true);
                false
            }
            Poll::Ready(Ahead::End) if self.on_half_close.get() == HalfClose::Serve => {
                self.has_sent_more.set(true);
                false
            }
            Poll::Ready(Ahead::End | Ahead::Broken) => true,
        }
    }

    /// What it means when the client closes its side before it is answered.
    pub(super) fn set_on_half_close(&self, on_half_close: HalfClose) {
        self.on_half_close.set(on_half_close);
    }

    /// Lets everything be written that streams have handed over, and then wakes this one.
    pub(super) fn await_flush(&self, stream: &Rc<Pulse>) {
        self.last_words.borrow_mut().push(Rc::clone(stream));
        self.pulse.wake();
    }

    /// Whether what the stream had handed over when it asked is not written yet.
    pub(super) fn is_flushing(&self, stream: &Rc<Pulse>) -> bool {
        self.last_words.borrow().iter().any(|waiting| Rc::ptr_eq(waiting, stream))
    }

    /// Nothing is waited for any more. What was not written yet is lost, and only a reset tells the client so wherever the
    /// response's end is that of the connection.
    pub(super) fn give_up(&self) {
        if self.is_blocked.get() {
            self.reset_at_close();
        }
    }

    /// The connection has had a turn. Unless its socket is full, it has written all that may be written.
    pub(super) fn end_turn(&self) {
        if !self.is_blocked.get() && !self.last_words.borrow().is_empty() {
            self.last_words.take().iter().for_each(|stream| stream.wake());
        }
    }

    fn with_stream<T>(&self, work: impl FnOnce(&mut Stream) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.stream.borrow_mut() {
            Some(stream) => work(stream),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn begin_head(&self) {
        self.stage.set(Stage::Head);
        self.pulse.expect_within(self.worker.settings.head_timeout);
    }

    /// Something was written, or could not be. In HTTP/2 that may have been an answer to a ping, which keeps no connection busy.
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.is_blocked.set(written.is_pending());
        if self.stage.get() != Stage::Streams {
            self.pulse.pace.await_taking(written.is_pending());
            if let Poll::Ready(written) = &written {
                self.pulse.beat_unless_idle();
                self.pulse.pace.pass(written.as_ref().copied().unwrap_or_default());
            }
        }
        written
    }

    /// Whether what hyper writes answers no request: it could not read the head, and says so by itself.
    fn is_unasked(&self) -> bool {
        !self.is_answering.get() && matches!(self.stage.get(), Stage::Fresh | Stage::Idle | Stage::Head)
    }

    fn heard(&self, bytes: &[u8]) {
        match self.stage.get() {
            Stage::Exchange | Stage::Streams => {}
            Stage::Head => self.raw_head.borrow_mut().extend_from_slice(bytes),
            Stage::Fresh | Stage::Idle if bytes.is_empty() => {}
            Stage::Fresh | Stage::Idle => {
                self.begin_head();
                self.raw_head.borrow_mut().extend_from_slice(bytes);
            }
        }
    }
}

/// The connection's socket. Dropping it closes the connection, whoever still holds the [`Client`].
#[derive(Debug)]
pub(super) struct ClientSocket {
    client: Rc<Client>,
    /// What was read to tell the protocol, until it is read as such.
    peeked: Peeked,
    /// What is written instead of an answer of hyper's own.
    refusal: Option<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    bytes: Vec<u8>,
    written: usize,
}

impl ClientSocket {
    pub(super) fn new(client: Rc<Client>) -> Self {
        Self { client, peeked: Peeked::default(), refusal: None }
    }

    /// Reads as much as tells which protocol the client speaks, and keeps it to be read again. `None` when it leaves first.
    pub(super) fn poll_spoken(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Spoken>>> {
        let Self { client, peeked, .. } = self;
        let spoken = client.with_stream(|stream| peeked.poll_fill(stream, context));
        if !peeked.is_empty() && client.stage() == Stage::Fresh {
            client.begin_head();
        }
        spoken
    }

    /// Reads what the client still sends and throws it away, until it has closed its side too.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.client.at_close.replace(AtClose::Lingering) == AtClose::Linger {
            self.client.pulse.expect_within(LINGER);
        }
        let mut waste = [0; 8192];
        loop {
            let mut buffer = ReadBuf::new(&mut waste);
            ready!(self.client.with_stream(|stream| Pin::new(stream).poll_read(context, &mut buffer)))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Words hyper's own answer anew. `None` when these bytes are none, and are to be written as they are.
    fn poll_refuse(&mut self, context: &mut Context<'_>, bare: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.refusal.is_none() {
            let (bytes, failure) = refusal::reword(bare)?;
            self.client.linger_at_close();
            if let Some(rejection) = failure.rejection() {
                self.client.worker.meters().rejected.up(rejection);
            }
            self.refusal = Some(Refusal { bytes, written: 0 });
        }
        let Refusal { bytes, written } = self.refusal.as_mut()?;
        while let Some(rest) = bytes.get(*written..).filter(|rest| !rest.is_empty()) {
            match self.client.with_stream(|stream| Pin::new(stream).poll_write(context, rest)) {
                Poll::Ready(Ok(length)) if length > 0 => *written += length,
                Poll::Ready(Ok(_)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        Some(Poll::Ready(Ok(bare.len())))
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.with_stream(|stream| Pin::new(stream).poll_shutdown(context))
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let Self { client, peeked, .. } = &mut *self;
        if peeked.is_empty() {
            ready!(client.with_stream(|stream| Pin::new(stream).poll_read(context, buffer)))?;
        } else {
            peeked.read(buffer);
        }
        self.client.heard(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.client.is_unasked()
            && let Some(refused) = self.poll_refuse(context, bytes)
        {
            return refused;
        }
        self.client.wrote(self.client.with_stream(|stream| Pin::new(stream).poll_write(context, bytes)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.client.is_unasked() {
            let bare = slices.iter().flat_map(|slice| &**slice).copied().collect::<Vec<u8>>();
            if let Some(refused) = self.poll_refuse(context, &bare) {
                return refused;
            }
        }
        self.client.wrote(self.client.with_stream(|stream| gather::poll_write(stream, context, slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper asks for this once it has written everything.
        self.client.is_answering.set(false);
        let flushed = self.client.with_stream(|stream| Pin::new(stream).poll_flush(context));
        self.client.is_blocked.set(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.client.at_close.get() {
            AtClose::Nothing | AtClose::Reset => self.poll_close(context),
            AtClose::Linger => {
                ready!(self.poll_close(context))?;
                self.poll_linger(context)
            }
            AtClose::Lingering => self.poll_linger(context),
        }
    }
}

impl Drop for ClientSocket {
    fn drop(&mut self) {
        let stream = self.client.stream.take();
        if self.client.at_close.get() == AtClose::Reset
            && let Some(Err(error)) = stream.map(|stream| stream.set_zero_linger())
        {
            tracing::debug!(%error, "could not reset a client connection");
        }
    }
}
