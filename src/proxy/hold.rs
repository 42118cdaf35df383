//! Keeps back the beginning of an event stream that says nothing yet, so that a failure before the first token can be rescued.
//!
//! Model servers send the status line, and often a first event with nothing but a role, before anything has been computed; what
//! goes wrong then comes as an error event inside a 200. Neither tells a client anything, so both can wait for the first event that
//! does, which is passed on the moment it comes. Whatever is not known for sure to say nothing ends the wait.

use std::{collections::VecDeque, pin::pin, time::Duration};

use bytes::Bytes;
use http::{
    Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::{
    caller::Caller,
    error::Failure,
    event::{Meaning, Scanner},
    forward::Reached,
};

/// No more than this is held. A head and a role event are some hundred bytes.
const HELD_BYTES: usize = 4096;

/// Nor for longer: a client must not take a slow model for a dead proxy.
const HELD_FOR: Duration = Duration::from_secs(1);

/// What was held, to go to the client before the rest. Few responses have it, and then they are streams.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    frames: VecDeque<Frame<Bytes>>,
}

/// How the wait ended.
#[derive(Debug)]
pub(super) enum Held {
    /// The client is to have it, what was held before the rest.
    Released,
    /// A failure came before any text. What was held may still go to the client, should it not be rescued.
    InBandFailure,
    /// The body broke before any text.
    Broken(Failure),
}

impl Beginning {
    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        self.frames.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes of body in it.
    pub(super) fn length(&self) -> u64 {
        let length: usize = self.frames.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        u64::try_from(length).unwrap_or(u64::MAX)
    }
}

/// Whether a response is a stream of events that can be read. What is compressed is not decompressed.
pub(super) fn is_event_stream(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().split(|byte| *byte == b';').next());
    response.status().is_success()
        && !headers.contains_key(CONTENT_ENCODING)
        && kind.flatten().is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
}

/// Waits for the first event that tells the client something. What came until then is in `reached.beginning`.
pub(super) async fn until_first_token(caller: &Caller, reached: &mut Reached) -> Held {
    // This wait has a limit of its own.
    caller.pulse.expect_within(Duration::MAX);
    let Reached { response, beginning, .. } = reached;
    let read = read(response.body_mut(), &mut beginning.get_or_insert_default().frames);
    tokio::time::timeout(HELD_FOR, read).await.unwrap_or(Held::Released)
}

async fn read(incoming: &mut Incoming, held: &mut VecDeque<Frame<Bytes>>) -> Held {
    let mut incoming = pin!(incoming);
    let (mut scanner, mut bytes) = (Scanner::default(), 0);
    loop {
        let frame = std::future::poll_fn(|context| incoming.as_mut().poll_frame(context)).await;
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Held::Broken(Failure::Truncated(error)),
            None => return Held::Released,
        };
        let meaning = frame.data_ref().map_or(Meaning::Something, |data| {
            bytes += data.len();
            scanner.read(data)
        });
        held.push_back(frame);
        match meaning {
            Meaning::Nothing if bytes <= HELD_BYTES => {}
            Meaning::Nothing | Meaning::Something => return Held::Released,
            Meaning::Failure => return Held::InBandFailure,
        }
    }
}
