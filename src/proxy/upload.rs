//! The request body as the client sends it.
//!
//! The frames that went by are kept, reference-counted, up to the endpoint's limit, so that a second try can begin where the
//! first one did.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header::EXPECT};
use http_body::Frame;

use super::{
    caller::Caller, incoming::Incoming, read_memory::unshared, shadow::ShadowCopy, signing::Room, trailers,
};
use crate::route::{Limits, Scan, StreamScanner};

/// What is left of a request body that nobody wants is read if it is no more than this and has come already, so that the
/// connection can be kept. More is cheaper to get rid of by closing.
const DISCARD_BYTES: usize = 64 * 1024;

/// What a kept frame beyond the first takes besides its bytes: its place in a list, and memory of its own. It counts against the limits, or a body
/// of single bytes would take a hundred times what they say.
const FRAME_BYTES: usize = 128;

/// The body of one request.
#[derive(Debug)]
pub(super) struct RequestBody {
    caller: Rc<Caller>,
    limits: Limits,
    asks_first: AsksFirst,
    /// Frames that were read before the endpoint was known, and go first.
    early: RefCell<Early>,
    incoming: RefCell<Incoming>,
    kept: RefCell<Kept>,
    /// What came after the last byte, for as long as it may have to be sent again.
    trailers: RefCell<Option<HeaderMap>>,
    passed_bytes: Cell<u64>,
    progress: Cell<Progress>,
    /// Whether the client must keep the least rate. A call of gRPC may send a message now and another one later.
    is_measured: Cell<bool>,
    /// How long the instance may be silent after the last byte.
    limit_after: Cell<Duration>,
    /// Only of a request that an endpoint's shadow is to get too.
    copy: RefCell<Option<Box<ShadowCopy>>>,
}

/// Frames of a body that were read before it was known where they go.
#[derive(Debug, Default)]
pub(super) struct Early {
    pub(super) frames: VecDeque<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    /// Whether one of the keys is known to have signed the request.
    pub(super) is_signed: bool,
    /// What the frames take of the room that a worker has for bodies, where all of a body was read.
    pub(super) room: Option<Box<Room>>,
}

impl Early {
    /// Makes the frames one.
    pub(super) fn join(&mut self) {
        if self.frames.len() > 1 {
            let mut joined = BytesMut::with_capacity(self.frames.iter().map(Bytes::len).sum());
            self.frames.drain(..).for_each(|frame| joined.extend_from_slice(&frame));
            self.frames.push_back(joined.freeze());
        }
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.trailers.is_none()
    }
}

/// Whether the client waits for `100 Continue`, which it is sent as soon as the body is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AsksFirst {
    Yes,
    No,
}

/// The frames that went by.
#[derive(Debug)]
enum Kept {
    /// Most bodies come in one frame, for which no list need be made.
    All { first: Option<Bytes>, others: Vec<Bytes>, bytes: usize },
    /// More than the limit, or no second try is possible any more.
    No,
}

/// How far a request body has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// The instance has not asked for the next frame, or has just got one.
    InstanceIsDue,
    /// The instance wants more than the client has sent.
    ClientIsDue,
    /// The last byte went by.
    Complete,
    /// It will not be complete.
    Stopped(UploadError),
}

/// Why a request body stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// It is larger than the endpoint's limit.
    #[error("the request body is larger than the endpoint's limit")]
    TooLarge,
    /// The client's framing is malformed, or the client went away.
    #[error("the request body could not be read")]
    Broken,
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.give_up();
        }
        self.forget();
        self.caller.pulse.pace.await_sending(false);
    }
}

impl RequestBody {
    /// The client's body, or `None` when the request has none.
    pub(super) fn new(
        caller: &Rc<Caller>,
        limits: Limits,
        headers: &HeaderMap,
        early: Early,
        incoming: Incoming,
    ) -> Option<Rc<Self>> {
        (!early.is_empty() || !incoming.is_end_stream()).then(|| {
            Rc::new(Self {
                caller: Rc::clone(caller),
                limits,
                asks_first: if headers.contains_key(EXPECT) { AsksFirst::Yes } else { AsksFirst::No },
                early: RefCell::new(early),
                incoming: RefCell::new(incoming),
                kept: RefCell::new(Kept::All { first: None, others: Vec::new(), bytes: 0 }),
                trailers: RefCell::default(),
                passed_bytes: Cell::new(0),
                progress: Cell::new(Progress::InstanceIsDue),
                is_measured: Cell::new(!caller.speaks_grpc()),
                limit_after: Cell::new(limits.head_timeout),
                copy: RefCell::default(),
            })
        })
    }

    /// Lets a copy take what passes from now on, which is all of it, and sends it at the body's end.
    pub(super) fn copy_to(&self, copy: ShadowCopy) {
        self.copy.replace(Some(Box::new(copy)));
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.get()
    }

    /// Bytes that went upstream, counted once however often they were sent.
    pub(super) fn passed_bytes(&self) -> u64 {
        self.passed_bytes.get()
    }

    /// Whether every frame that went by is still there.
    pub(super) fn can_replay(&self) -> bool {
        matches!(&*self.kept.borrow(), Kept::All { .. })
    }

    /// Whether these bytes are in what has gone by, as far as it is still there.
    pub(super) fn holds(&self, needle: &[u8]) -> bool {
        match &*self.kept.borrow() {
            Kept::All { first, others, .. } => {
                let frames: Vec<&[u8]> = first.iter().chain(others).map(|frame| &frame[..]).collect();
                frames.concat().windows(needle.len()).any(|window| window == needle)
            }
            Kept::No => false,
        }
    }

    /// Whether its document asks for a stream, as far as it has gone by and is still there.
    pub(super) fn asks_for_stream(&self) -> Option<bool> {
        let kept = self.kept.borrow();
        let Kept::All { first, others, .. } = &*kept else { return None };
        let mut scanner = StreamScanner::default();
        for frame in first.iter().chain(others) {
            match scanner.feed(frame) {
                Scan::More => {}
                Scan::Found(wish) => return Some(wish),
                Scan::Absent => return None,
            }
        }
        None
    }

    /// The response's head has come: no second try is possible any more, so the kept frames are given back.
    pub(super) fn mark_answered(&self) {
        self.forget();
        self.limit_after.set(self.limits.idle_timeout);
        // From here on it may be a conversation, in which the client waits for the answer to what it said.
        self.is_measured.set(false);
        self.caller.pulse.pace.await_sending(false);
    }

    /// Reads what has come of a body that goes nowhere, without waiting for more. If that is all of it, the client's connection
    /// can be kept.
    pub(super) async fn discard(&self) {
        let mut total = 0;
        while self.asks_first == AsksFirst::No && total <= DISCARD_BYTES {
            match poll_fn(|context| Poll::Ready(self.poll_discard(context))).await {
                Poll::Ready(Some(length)) => total += length,
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
    }

    /// Reads a frame of a body that goes nowhere; its length, or `None` at the end.
    fn poll_discard(&self, context: &mut Context<'_>) -> Poll<Option<usize>> {
        let mut incoming = self.incoming.borrow_mut();
        if !incoming.is_end_stream() {
            match ready!(incoming.poll_frame(context)) {
                Some(Ok(frame)) => return Poll::Ready(Some(frame.data_ref().map_or(0, Bytes::len))),
                Some(Err(_)) => return Poll::Ready(None),
                None => {}
            }
        }
        self.caller.mark_request_read();
        Poll::Ready(None)
    }

    /// The frame at this place, from 0: a kept one, or the next to come. Trailers are the last one. `None` after the last.
    pub(super) fn poll_frame(
        &self,
        place: usize,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let (kept, count) = match &*self.kept.borrow() {
            Kept::All { first, others, .. } => match place.checked_sub(1) {
                None => (first.clone(), usize::from(first.is_some())),
                Some(place) => (others.get(place).cloned(), others.len() + 1),
            },
            Kept::No => (None, usize::MAX),
        };
        match kept {
            Some(frame) => Poll::Ready(Some(Ok(Frame::data(frame)))),
            // All data has gone by, so that the trailers, if they have come, have been sent before.
            None if place == count && self.progress.get() == Progress::Complete => {
                Poll::Ready(self.trailers.borrow().clone().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            None => self.poll_next(context),
        }
    }

    /// Whether no frame comes at this place or after it.
    pub(super) fn ends_at(&self, place: usize) -> bool {
        self.progress.get() == Progress::Complete
            && self.trailers.borrow().is_none()
            && match &*self.kept.borrow() {
                Kept::All { first, others, .. } => place == others.len() + usize::from(first.is_some()),
                Kept::No => true,
            }
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.progress.get() {
            Progress::Complete => return Poll::Ready(None),
            Progress::Stopped(error) => return Poll::Ready(Some(Err(error))),
            Progress::InstanceIsDue | Progress::ClientIsDue => {}
        }
        let mut incoming = self.incoming.borrow_mut();
        let mut early = self.early.borrow_mut();
        if let Some(bytes) = early.frames.pop_front() {
            let is_last = early.is_empty() && incoming.is_end_stream();
            return Poll::Ready(Some(self.pass(bytes, is_last).map(Frame::data)));
        }
        if let Some(trailers) = early.trailers.take() {
            return Poll::Ready(Some(Ok(self.pass_trailers(trailers))));
        }
        let Poll::Ready(frame) = incoming.poll_frame(context) else {
            self.progress.set(Progress::ClientIsDue);
            self.caller.pulse.pace.await_sending(self.is_measured.get());
            return Poll::Pending;
        };
        Poll::Ready(match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(bytes))) => Some(self.pass(bytes, incoming.is_end_stream()).map(Frame::data)),
            Some(Ok(Err(frame))) => Some(Ok(self.pass_trailers(frame.into_trailers().unwrap_or_default()))),
            Some(Err(_)) => Some(Err(self.fail(UploadError::Broken))),
            None => {
                self.complete();
                None
            }
        })
    }

    fn pass_trailers(&self, mut trailers: HeaderMap) -> Frame<Bytes> {
        trailers::clean(&mut trailers);
        if let Some(copy) = &mut *self.copy.borrow_mut() {
            copy.take_trailers(&trailers);
        }
        self.complete();
        if self.can_replay() {
            self.trailers.replace(Some(trailers.clone()));
        }
        Frame::trailers(trailers)
    }

    fn pass(&self, bytes: Bytes, is_last: bool) -> Result<Bytes, UploadError> {
        let length = bytes.len();
        let total = self.passed_bytes.get().saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        if total > self.limits.body_limit_bytes {
            return Err(self.fail(UploadError::TooLarge));
        }
        self.passed_bytes.set(total);
        self.keep(&bytes);
        if self.copy.borrow().is_some() {
            let copy = self.copy.take();
            self.copy.replace(copy.and_then(|copy| copy.take(&bytes)).map(Box::new));
        }
        if is_last {
            self.complete();
        } else {
            self.progress.set(Progress::InstanceIsDue);
            self.caller.pulse.pace.await_sending(false);
            self.caller.pulse.pace.pass(length);
            self.caller.pulse.beat();
        }
        Ok(bytes)
    }

    fn keep(&self, frame: &Bytes) {
        let mut kept = self.kept.borrow_mut();
        if let Kept::All { first, others, bytes } = &mut *kept {
            // The first frame keeps its piece of memory, as the request itself does while it is read: most bodies have no other.
            let (cost, frame) = match first {
                None => (frame.len(), frame.clone()),
                Some(_) => (frame.len().saturating_add(FRAME_BYTES), unshared(frame.clone())),
            };
            let total = bytes.saturating_add(cost);
            if total > self.limits.replay_limit_bytes || !self.caller.worker().take_replay_room(cost) {
                drop(kept);
                self.forget();
                return;
            }
            *bytes = total;
            if first.is_none() {
                *first = Some(frame);
            } else {
                others.push(frame);
            }
        }
    }

    /// Gives back what was kept: no second try is possible any more.
    fn forget(&self) {
        if let Kept::All { bytes, .. } = self.kept.replace(Kept::No) {
            drop(self.trailers.take());
            self.caller.worker().give_replay_room(bytes);
        }
    }

    fn complete(&self) {
        self.progress.set(Progress::Complete);
        if let Some(copy) = self.copy.take() {
            copy.send();
        }
        self.caller.pulse.pace.await_sending(false);
        self.caller.mark_request_read();
        self.caller.pulse.expect_within(self.limit_after.get());
    }

    fn fail(&self, error: UploadError) -> UploadError {
        self.progress.set(Progress::Stopped(error));
        error
    }
}
