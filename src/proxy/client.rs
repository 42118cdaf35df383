//! One client connection: what it is doing, what it is allowed to wait for, and what was read from it.

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::{blank_line::Searched, forwarded::Downstream, pulse::Pulse, read_memory::join, worker::Worker};
use crate::{
    net::{Ahead, Stream},
    route::HalfClose,
    time::Moment,
};

/// After an answer that came before the whole request was read, how long the rest is read and thrown away. Closing at once
/// would reset the connection and could destroy the answer before the client has read it (RFC 9112 section 9.6). Two
/// seconds let a client on a slow link see the answer; a client that sends on regardless is cut.
const LINGER: Duration = Duration::from_secs(2);

/// Asks a client that waits for it to send its request's body (RFC 9110 section 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

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
    /// What was read and not understood yet: a part of a head, of a body, or a request that came before its turn.
    input: RefCell<Bytes>,
    /// How much of it was looked at for a head.
    searched: Cell<Searched>,
    /// What is to be written of [`CONTINUE`] before more of the current request's body comes.
    asking: Cell<&'static [u8]>,
    /// Whether the socket takes no more for now.
    is_blocked: Cell<bool>,
    stage: Cell<Stage>,
    order: Cell<Order>,
    at_close: Cell<AtClose>,
    /// What it has where it speaks HTTP/2.
    streams: OnceCell<Box<Streams>>,
    /// Where the worker's list has this connection.
    pub(super) place: Cell<usize>,
}

/// The streams of a connection in HTTP/2, by their pulses.
#[derive(Debug, Default)]
struct Streams {
    open: RefCell<Vec<Rc<Pulse>>>,
    /// Those that end badly once what they handed over is written.
    last_words: RefCell<Vec<Rc<Pulse>>>,
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
pub(super) enum AtClose {
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
            input: RefCell::default(),
            searched: Cell::default(),
            asking: Cell::new(b""),
            is_blocked: Cell::new(false),
            stage: Cell::new(Stage::Fresh),
            order: Cell::new(Order::Serve),
            at_close: Cell::new(AtClose::Nothing),
            streams: OnceCell::new(),
            place: Cell::new(0),
            worker,
        };
        client.pulse.expect_within(client.worker.settings.keep_alive_timeout);
        client
    }

    /// Whoever sends copies of this client's requests: known as it is, and without a connection of its own.
    pub(super) fn echo(&self) -> Rc<Self> {
        let echo = Self::new(Rc::clone(&self.worker));
        echo.downstream.get_or_init(|| self.downstream().clone());
        Rc::new(echo)
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
        self.pulse.expect_within(self.worker.settings.keep_alive_timeout);
    }

    /// It speaks HTTP/2, and has no stream yet.
    pub(super) fn begin_streams(&self) {
        self.stage.set(Stage::Streams);
        self.pulse.expect_within(self.worker.settings.keep_alive_timeout);
    }

    /// A stream begins. While there are any, the connection itself waits for nothing.
    pub(super) fn add_stream(&self, pulse: &Rc<Pulse>) {
        self.streams.get_or_init(Box::default).open.borrow_mut().push(Rc::clone(pulse));
        self.pulse.expect_within(Duration::MAX);
    }

    /// A stream ended.
    pub(super) fn remove_stream(&self, pulse: &Rc<Pulse>) {
        let Some(streams) = self.streams.get() else { return };
        let mut streams = streams.open.borrow_mut();
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
        if let Some(streams) = self.streams.get() {
            streams.open.borrow().iter().for_each(|stream| look(stream));
        }
    }

    /// Whether something was read that is not understood yet.
    pub(super) fn has_input(&self) -> bool {
        !self.input.borrow().is_empty()
    }

    /// Works on what was read, and leaves the rest of it.
    pub(super) fn with_input<T>(&self, work: impl FnOnce(&mut Bytes) -> T) -> T {
        let mut input = self.input.borrow_mut();
        let worked = work(&mut input);
        if input.is_empty() {
            // An empty part still keeps what it was cut from.
            *input = Bytes::new();
        }
        worked
    }

    /// The same in search of a head, which may have been looked for before.
    pub(super) fn with_head<T>(&self, work: impl FnOnce(&mut Bytes, &mut Searched) -> T) -> T {
        let mut searched = self.searched.take();
        let worked = self.with_input(|input| work(input, &mut searched));
        self.searched.set(searched);
        worked
    }

    /// What was read and not understood.
    pub(super) fn take_input(&self) -> Bytes {
        self.input.take()
    }

    /// Copies what was read out of the memory that all connections share: the rest may be long in coming.
    pub(super) fn unshare_input(&self) {
        let mut input = self.input.borrow_mut();
        *input = Bytes::copy_from_slice(&input);
    }

    /// Reads on; `false` when the client has ended its side.
    pub(super) fn poll_more(&self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let memory = &self.worker.read_memory;
        let read = ready!(self.with_stream(|stream| memory.poll_read(context, stream)))?;
        if read.is_empty() {
            return Poll::Ready(Ok(false));
        }
        let mut input = self.input.borrow_mut();
        *input = join(std::mem::take(&mut *input), read);
        Poll::Ready(Ok(true))
    }

    /// A part of a head has come, if the connection waits for one.
    pub(super) fn heed_head(&self) {
        if matches!(self.stage.get(), Stage::Fresh | Stage::Idle) {
            self.stage.set(Stage::Head);
            self.pulse.expect_within(self.worker.settings.head_timeout);
        }
    }

    /// The client waits to be asked for the body of its request.
    pub(super) fn await_asking(&self) {
        self.asking.set(CONTINUE);
    }

    /// Asks for the body, if the client waits for that.
    pub(super) fn poll_ask(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let rest @ [_, ..] = self.asking.get() {
            let length = ready!(self.with_stream(|stream| Pin::new(stream).poll_write(context, rest)))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.asking.set(rest.get(length..).unwrap_or_default());
            // With TLS it is on its way once this was asked for, and what is left goes out with the next write.
            drop(self.with_stream(|stream| Pin::new(stream).poll_flush(context)));
        }
        Poll::Ready(Ok(()))
    }

    /// The answer begins. What is still to be written of a question that was begun, since it cannot be left in the middle.
    pub(super) fn stop_asking(&self) -> &'static [u8] {
        let rest = self.asking.replace(b"");
        if rest.len() < CONTINUE.len() { rest } else { b"" }
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

    /// Whether the client has closed its side while it waits for an answer to a request that was read. This asks the
    /// runtime what it knows, without a system call as long as nothing happens.
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
        self.streams.get_or_init(Box::default).last_words.borrow_mut().push(Rc::clone(stream));
        self.pulse.wake();
    }

    /// Whether what the stream had handed over when it asked is not written yet.
    pub(super) fn is_flushing(&self, stream: &Rc<Pulse>) -> bool {
        let is_it = |waiting: &Rc<Pulse>| Rc::ptr_eq(waiting, stream);
        self.streams.get().is_some_and(|streams| streams.last_words.borrow().iter().any(is_it))
    }

    /// What is to be done when the socket is closed.
    pub(super) fn at_close(&self) -> AtClose {
        self.at_close.get()
    }

    /// The connection was closed from this side, and the client may still be sending.
    pub(super) fn begin_lingering(&self) {
        if self.at_close.replace(AtClose::Lingering) == AtClose::Linger {
            self.pulse.expect_within(LINGER);
        }
    }

    /// Takes the socket, to be closed.
    pub(super) fn take_stream(&self) -> Option<Stream> {
        self.stream.take()
    }

    /// Whether the socket takes no more for now.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.set(is_blocked);
    }

    /// The same as it was told.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.get()
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
        let Some(streams) = self.streams.get().filter(|_| !self.is_blocked.get()) else { return };
        if !streams.last_words.borrow().is_empty() {
            streams.last_words.take().iter().for_each(|stream| stream.wake());
        }
    }

    /// Works on the socket, unless it is closed.
    pub(super) fn with_stream<T>(
        &self,
        work: impl FnOnce(&mut Stream) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.stream.borrow_mut() {
            Some(stream) => work(stream),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Something was written, or could not be. In HTTP/2 that may have been an answer to a ping, which keeps no connection busy.
    pub(super) fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
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
}
