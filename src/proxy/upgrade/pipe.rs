//! One direction of a tunnel.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::end::End;
use crate::proxy::{
    pulse::Pulse,
    read_memory::{ReadMemory, unshared},
};

/// Reads in a row, until the other direction has its turn. A busy direction would else hold the other up for as long as its sender
/// keeps up.
const TURN: u32 = 16;

/// One direction: at most one read's bytes are held, in the worker's own memory, so that a tunnel in which nothing moves holds
/// nothing, and a side that does not take what it is given is not read for.
#[derive(Debug)]
pub(super) struct Pipe {
    /// What was read and not written yet.
    held: Bytes,
    state: State,
    /// Whether the writing side may hold back what was written: TLS does.
    is_held_back: bool,
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Flowing,
    /// The reading side ended, and the writing side is to be told.
    Ending,
    Ended,
    /// The writing side takes no more.
    Refused,
}

/// What broke a pipe.
#[derive(Debug)]
pub(super) enum Broken {
    /// Its reading side.
    Source(io::Error),
    /// Its writing side, which takes no more.
    Sink,
}

impl Pipe {
    /// A pipe with what was read already.
    pub(super) fn new(early: Bytes) -> Self {
        let bytes = length(&early);
        Self { held: early, state: State::Flowing, is_held_back: false, bytes }
    }

    /// Bytes that were read for it.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the reading side has ended in order.
    pub(super) fn is_over(&self) -> bool {
        match self.state {
            State::Ending | State::Ended => true,
            State::Flowing | State::Refused => false,
        }
    }

    /// Moves what there is. Ready when the reading side has ended and the writing side knows, or when either is broken; a pipe whose
    /// writing side is broken is over.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        memory: &ReadMemory,
        pulse: &Pulse,
        source: &mut impl End,
        sink: &mut impl End,
    ) -> Poll<Result<(), Broken>> {
        for _ in 0..TURN {
            if ready!(self.poll_empty(context, pulse, sink)).is_err() {
                (self.state, self.held) = (State::Refused, Bytes::new());
                return Poll::Ready(Err(Broken::Sink));
            }
            if matches!(self.state, State::Ended | State::Refused) {
                return Poll::Ready(Ok(()));
            }
            match source.poll_take(context, memory) {
                Poll::Ready(Ok(bytes)) if bytes.is_empty() => self.state = State::Ending,
                Poll::Ready(Ok(bytes)) => {
                    pulse.beat();
                    self.bytes = self.bytes.saturating_add(length(&bytes));
                    self.held = bytes;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Source(error))),
                Poll::Pending => {
                    if self.is_held_back && matches!(sink.poll_flush(context), Poll::Ready(Ok(()))) {
                        self.is_held_back = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what is held, and the end if it has come.
    fn poll_empty(
        &mut self,
        context: &mut Context<'_>,
        pulse: &Pulse,
        sink: &mut impl End,
    ) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let put = sink.poll_put(context, &mut self.held);
            if put.is_pending() {
                self.held = unshared(std::mem::take(&mut self.held));
            }
            ready!(put)?;
            self.is_held_back = true;
            pulse.beat();
        }
        if self.state == State::Ending {
            ready!(sink.poll_end(context))?;
            self.state = State::Ended;
        }
        Poll::Ready(Ok(()))
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
