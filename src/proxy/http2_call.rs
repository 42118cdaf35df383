//! A call over HTTP/2: a stream of a connection that others share, polled by the request's own task.

use std::{
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use http::{HeaderMap, Method, Request, StatusCode, header::CONTENT_LENGTH, response};
use http_body::Frame;

use super::{
    call::{INTERIM_LIMIT, Lost},
    decode::{Malformed, StatusLine},
    http2_head,
    multiplex::Seat,
    read_memory::unshared,
    trailers,
    upgrade::{Duplex, Instance, Switched},
    upload::{RequestBody, UploadError},
};

/// Up to this, a body's first frame is sent without asking whether the instance has room for it, which most have. What it has no room for,
/// the h2 crate keeps.
const UNASKED_BYTES: usize = 16 * 1024;

/// One request on a stream. Dropped before its end, it resets the stream with CANCEL; the connection serves on.
#[derive(Debug)]
pub(super) struct Http2Call {
    answer: Answer,
    upward: Upward,
    seat: Seat,
    has_heard: bool,
    interim_left: u32,
    /// How many bytes of the response's body are to come, if that is known.
    bytes_left: Option<u64>,
}

#[derive(Debug)]
enum Answer {
    /// The connection took no further request, and why, to be told once.
    Unsent(Option<h2::Error>),
    Awaited(ResponseFuture),
    Flowing(RecvStream),
    Ended,
}

/// What is to follow a request's head.
#[derive(Debug)]
pub(super) enum Following {
    Nothing,
    Body(Rc<RequestBody>),
    /// What a tunnel brings, once the instance has agreed to one.
    Tunnel,
}

/// What follows it.
#[derive(Debug)]
enum Upward {
    Nothing,
    Body(Sending),
    /// Kept until the answer tells.
    Tunnel(SendStream<Bytes>),
}

/// A request body on its way.
#[derive(Debug)]
struct Sending {
    stream: SendStream<Bytes>,
    body: Rc<RequestBody>,
    /// Which frame of the body is next.
    place: usize,
    /// What is to be sent before that.
    frame: Bytes,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing was sent yet.
    Fresh,
    Flowing,
    Ended,
    /// The instance takes no more. It may have answered early, so what comes, an answer or an end, decides.
    Refused,
}

impl Http2Call {
    /// Sends a request's head.
    pub(super) fn new(seat: Seat, request: Request<()>, following: Following) -> Self {
        let (answer, upward) = match seat.send(request, matches!(following, Following::Nothing)) {
            Ok((response, stream)) => {
                let upward = match following {
                    Following::Nothing => Upward::Nothing,
                    Following::Body(body) => Upward::Body(Sending {
                        stream,
                        body,
                        place: 0,
                        frame: Bytes::new(),
                        state: State::Fresh,
                    }),
                    Following::Tunnel => Upward::Tunnel(stream),
                };
                (Answer::Awaited(response), upward)
            }
            Err(error) => (Answer::Unsent(Some(error)), Upward::Nothing),
        };
        Self { answer, upward, seat, has_heard: false, interim_left: INTERIM_LIMIT, bytes_left: None }
    }

    /// Whether its connection had served a request before and has brought nothing since this one was sent: the instance may have
    /// closed it at the very moment at which the request was sent.
    pub(super) fn may_have_been_closed(&self) -> bool {
        self.seat.is_reused() && !self.has_heard && !self.seat.has_heard()
    }

    /// Sends the request and waits for the head of the response, whose headers are put into `headers`.
    pub(super) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        method: &Method,
        headers: &mut HeaderMap,
    ) -> Poll<Result<StatusLine, Lost>> {
        self.send(context)?;
        let response = match &mut self.answer {
            Answer::Awaited(response) => response,
            Answer::Unsent(error) => {
                let error = error.take().map_or(io::ErrorKind::NotConnected.into(), io::Error::other);
                return Poll::Ready(Err(Lost::Refused(error)));
            }
            Answer::Flowing(_) | Answer::Ended => unreachable!("a head is not waited for twice"),
        };
        while let Some(interim) = ready!(response.poll_informational(context)) {
            if interim.is_err() {
                break;
            }
            self.has_heard = true;
            let left = self.interim_left.checked_sub(1);
            self.interim_left =
                left.ok_or(Lost::Malformed(Malformed("It has too many interim responses.")))?;
        }
        let response = match ready!(Pin::new(response).poll(context)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(self.lost(error))),
        };
        self.has_heard = true;
        let (mut head, body) = response.into_parts();
        self.bytes_left = http2_head::check_response(&mut head, method).map_err(Lost::Malformed)?;
        let is_tunnel = self.is_tunnel_after(&mut head);
        self.answer = if body.is_end_stream() && !is_tunnel { Answer::Ended } else { Answer::Flowing(body) };
        *headers = head.headers;
        Poll::Ready(Ok(StatusLine { status: head.status, reason: None }))
    }

    /// Whether this answer opens the tunnel that was asked for. Then it is said as HTTP/1 says it, so that the rest of the proxy knows one
    /// way alone: by 101. A tunnel has no length (RFC 9110 section 9.3.6).
    fn is_tunnel_after(&mut self, head: &mut response::Parts) -> bool {
        let Upward::Tunnel(stream) = &mut self.upward else { return false };
        if head.status.is_success() {
            head.status = StatusCode::SWITCHING_PROTOCOLS;
            head.headers.remove(CONTENT_LENGTH);
            return true;
        }
        // Nothing follows. An instance that has reset the stream knows already.
        let _ended = stream.send_data(Bytes::new(), true).is_ok();
        self.upward = Upward::Nothing;
        false
    }

    /// The stream as a tunnel, if it has become one.
    pub(super) fn switch(self) -> Option<Switched> {
        match (self.upward, self.answer) {
            (Upward::Tunnel(sending), Answer::Flowing(receiving)) => {
                let stream = Duplex::new(sending, receiving);
                let instance = Instance::Stream { stream, _seat: self.seat };
                Some(Switched { instance, early: Bytes::new() })
            }
            (Upward::Nothing | Upward::Body(_) | Upward::Tunnel(_), _) => None,
        }
    }

    /// The next part of the response's body, or its trailers; the request goes on being sent meanwhile.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        self.send(context)?;
        let Answer::Flowing(body) = &mut self.answer else { return Poll::Ready(None) };
        loop {
            let next = match ready!(body.poll_data(context)) {
                // An empty frame may be the last one.
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => {
                    take(body, &mut self.bytes_left, &bytes).map(|()| Some(Frame::data(bytes)))
                }
                None => match ready!(body.poll_trailers(context)) {
                    Ok(trailers) => end(self.bytes_left, trailers),
                    Err(error) => Err(self.lost(error)),
                },
                Some(Err(error)) => Err(self.lost(error)),
            };
            return Poll::Ready(match next {
                Ok(Some(frame)) => {
                    if frame.is_trailers() || self.is_ended() {
                        self.answer = Answer::Ended;
                    }
                    Some(Ok(frame))
                }
                Ok(None) => {
                    self.answer = Answer::Ended;
                    None
                }
                Err(lost) => Some(Err(lost)),
            });
        }
    }

    /// Whether the response has come to its end.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.answer, Answer::Ended)
    }

    /// How many bytes of the response's body are to come, if that is known.
    pub(super) fn bytes_left(&self) -> Option<u64> {
        if self.is_answered() { Some(0) } else { self.bytes_left }
    }

    fn is_ended(&self) -> bool {
        match &self.answer {
            Answer::Flowing(body) => body.is_end_stream() && matches!(self.bytes_left, None | Some(0)),
            Answer::Ended => true,
            Answer::Unsent(_) | Answer::Awaited(_) => false,
        }
    }

    fn send(&mut self, context: &mut Context<'_>) -> Result<(), Lost> {
        match &mut self.upward {
            Upward::Body(sending) => sending.send(context, self.seat.is_blocked()).map_err(Lost::Request),
            Upward::Nothing | Upward::Tunnel(_) => Ok(()),
        }
    }

    /// What became of the stream.
    fn lost(&mut self, error: h2::Error) -> Lost {
        let is_refused = error.is_remote()
            && (error.is_go_away() || error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM));
        if is_refused {
            // The instance says that it has not looked at the request, so it is no answer either (RFC 9113 section 8.7).
            self.seat.leave();
            return Lost::Refused(io::Error::other(error));
        }
        if error.is_io() {
            self.seat.leave();
            return Lost::Closed(error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()));
        }
        self.has_heard = true;
        if error.is_remote() {
            Lost::Closed(io::Error::new(io::ErrorKind::ConnectionReset, error))
        } else {
            Lost::Malformed(Malformed("It breaks the rules of HTTP/2."))
        }
    }
}

/// Takes note of a part of a body, and tells the instance that there is room for as much again: whoever asked for it takes it.
fn take(body: &mut RecvStream, bytes_left: &mut Option<u64>, bytes: &Bytes) -> Result<(), Lost> {
    if let Some(left) = bytes_left {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        *left = left
            .checked_sub(length)
            .ok_or(Lost::Malformed(Malformed("Its body is longer than its Content-Length.")))?;
    }
    // An error would mean that more was released than came.
    let _released = body.flow_control().release_capacity(bytes.len()).is_ok();
    Ok(())
}

/// The end of a body, with trailers or without.
fn end(bytes_left: Option<u64>, trailers: Option<HeaderMap>) -> Result<Option<Frame<Bytes>>, Lost> {
    if !matches!(bytes_left, None | Some(0)) {
        return Err(Lost::Malformed(Malformed("Its body is shorter than its Content-Length.")));
    }
    Ok(trailers.map(|mut trailers| {
        trailers::clean(&mut trailers);
        Frame::trailers(trailers)
    }))
}

impl Sending {
    /// Sends what there is. An error is one of the client's. What an instance that is blocked has no room for may wait for long, and is copied
    /// out of the memory that it was read to together with what others have sent.
    fn send(&mut self, context: &mut Context<'_>, is_blocked: bool) -> Result<(), UploadError> {
        while matches!(self.state, State::Fresh | State::Flowing) {
            if !self.frame.is_empty() {
                if self.send_part(context).is_pending() {
                    self.frame = unshared(std::mem::take(&mut self.frame));
                    break;
                }
                continue;
            }
            match self.body.poll_frame(self.place, context) {
                Poll::Pending => break,
                Poll::Ready(Some(frame)) => {
                    self.place += 1;
                    match frame?.into_data() {
                        Ok(data) if data.is_empty() && self.body.ends_at(self.place) => self.end(None),
                        Ok(data) => self.frame = if is_blocked { unshared(data) } else { data },
                        Err(frame) => self.end(frame.into_trailers().ok()),
                    }
                }
                Poll::Ready(None) => self.end(None),
            }
        }
        Ok(())
    }

    /// Sends as much of the frame as the instance has room for.
    fn send_part(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let length = self.frame.len();
        let room = if self.state == State::Fresh && length <= UNASKED_BYTES {
            length
        } else {
            self.stream.reserve_capacity(length);
            match self.stream.capacity() {
                0 => match ready!(self.stream.poll_capacity(context)) {
                    Some(Ok(room)) => room,
                    Some(Err(_)) | None => {
                        self.state = State::Refused;
                        return Poll::Ready(());
                    }
                },
                room => room,
            }
        };
        let part = self.frame.split_to(room.min(length));
        let is_last = self.frame.is_empty() && self.body.ends_at(self.place);
        self.state = match (self.stream.send_data(part, is_last), is_last) {
            (Ok(()), true) => State::Ended,
            (Ok(()), false) => State::Flowing,
            (Err(_), _) => State::Refused,
        };
        Poll::Ready(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        let ended = match trailers {
            Some(trailers) => self.stream.send_trailers(trailers),
            None => self.stream.send_data(Bytes::new(), true),
        };
        self.state = if ended.is_ok() { State::Ended } else { State::Refused };
    }
}
