//! Keeps back the beginning of an event stream that says nothing yet, so that a failure before the first token can be rescued.
//!
//! Model servers send the status line, and often a first event with nothing but a role, before anything has been computed; what
//! goes wrong then comes as an error event inside a 200. Neither tells a client anything, so both can wait for the first event that
//! does, which is passed on the moment it comes. Whatever is not known for sure to say nothing ends the wait.

use std::{future::poll_fn, time::Duration};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::{
    call::{Call, Lost},
    caller::Caller,
    error::Failure,
    event::{Meaning, Scanner},
    forward::Reached,
    pulse::unless_late,
};

/// No more than this is held. A head and a role event are some hundred bytes.
const HELD_BYTES: usize = 4096;

/// Nor for longer: a client must not take a slow model for a dead proxy.
const HELD_FOR: Duration = Duration::from_secs(1);

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

/// Whether a response is a stream of events that can be read. What is compressed is not decompressed.
pub(super) fn is_event_stream(Reached { line, headers, .. }: &Reached) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().split(|byte| *byte == b';').next());
    line.status.is_success()
        && !headers.contains_key(CONTENT_ENCODING)
        && kind.flatten().is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
}

/// Waits for the first event that tells the client something. What came until then is kept back in the call.
pub(super) async fn until_first_token(caller: &Caller, call: &mut Call) -> Held {
    // This wait has a limit of its own.
    caller.pulse.expect_within(Duration::MAX);
    match unless_late(&caller.pulse, tokio::time::timeout(HELD_FOR, read(caller, call))).await {
        Ok(held) => held.unwrap_or(Held::Released),
        Err(late) => Held::Broken(Failure::overdue(late)),
    }
}

async fn read(caller: &Caller, call: &mut Call) -> Held {
    let (mut scanner, mut bytes) = (Scanner::default(), 0);
    loop {
        let frame = poll_fn(|context| call.poll_next(context, &caller.worker().read_memory)).await;
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(Lost::Request(error))) => return Held::Broken(error.into()),
            Some(Err(lost)) => return Held::Broken(Failure::Truncated(lost)),
            None => return Held::Released,
        };
        let data = frame.data_ref().map(|data| &data[..]).unwrap_or_default();
        bytes += data.len();
        let meaning = scanner.read(data);
        call.hold(frame);
        match meaning {
            Meaning::Nothing if bytes <= HELD_BYTES => {}
            Meaning::Nothing | Meaning::Something => return Held::Released,
            Meaning::Failure => return Held::InBandFailure,
        }
    }
}
