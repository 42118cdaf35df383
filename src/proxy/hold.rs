//! Keeps back the beginning of a stream that says nothing yet, so that a failure before the first token can be rescued.
//!
//! Model servers send the status line, and often a first event with nothing but a role, before anything has been computed; what
//! goes wrong then comes as an error event inside a 200. Neither tells a client anything, so both can wait for the first event that
//! does, which is passed on the moment it comes. Whatever is not known for sure to say nothing ends the wait. So it is with the head of a
//! gRPC call, whose first message is what tells something, and whose failure is in the trailers.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use http_body::Frame;

use super::{
    call::{Call, Lost},
    caller::Caller,
    error::Failure,
    exchange::Exchange,
    grpc::GrpcCall,
    pulse::unless_late,
    read_memory::unshared,
    tap::{Meaning, Scanner},
};
use crate::route::{BodyScanner, Scan};

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

/// Waits for the first event that tells the client something. What came until then is kept back in the call.
pub(super) async fn until_first_token(caller: &Caller, call: &mut Call) -> Held {
    let mut scanner = Scanner::default();
    let told = until(caller, call, |data| match scanner.read(data) {
        Meaning::Nothing => None,
        Meaning::Something => Some(Held::Released),
        Meaning::Failure => Some(Held::InBandFailure),
    });
    released_in_time(caller, told).await
}

/// Waits for the first message of a gRPC call, or for the trailers, which the exchange reads. Both are kept back in the call. An error
/// is a body that broke before.
pub(super) async fn until_first_message(
    caller: &Caller,
    exchange: &mut Exchange,
    call: &mut Call,
) -> Result<(), Failure> {
    let first = async {
        let frame = next(caller, call).await?;
        if let Some(trailers) = frame.as_ref().and_then(Frame::trailers_ref) {
            exchange.read_trailers(trailers);
        }
        let mut replies = exchange.grpc().and_then(GrpcCall::fresh_replies);
        if let (Some(replies), Some(data)) = (&mut replies, frame.as_ref().and_then(Frame::data_ref))
            && replies.read(data)
        {
            exchange.find_in_band_failure();
        }
        if let Some(frame) = frame {
            call.hold(frame);
        }
        Ok(())
    };
    in_time(caller, first).await?.unwrap_or(Ok(()))
}

/// Waits until as much of a body has come as tells whether it holds an error. What came until then is kept back in the call.
pub(super) async fn until_body_tells(caller: &Caller, mut scanner: BodyScanner, call: &mut Call) -> Held {
    let told = until(caller, call, |data| match scanner.read(data) {
        Scan::More => None,
        Scan::Absent => Some(Held::Released),
        Scan::Found(()) => Some(Held::InBandFailure),
    });
    released_in_time(caller, told).await
}

async fn released_in_time(caller: &Caller, told: impl Future<Output = Held>) -> Held {
    match in_time(caller, told).await {
        Ok(held) => held.unwrap_or(Held::Released),
        Err(failure) => Held::Broken(failure),
    }
}

/// Holds for as long as is allowed, if the call has that much time; `None` when it took longer.
async fn in_time<T>(caller: &Caller, held: impl Future<Output = T>) -> Result<Option<T>, Failure> {
    // This wait has a limit of its own.
    caller.pulse.expect_within(Duration::MAX);
    let held = unless_late(&caller.pulse, tokio::time::timeout(HELD_FOR, held)).await;
    held.map(Result::ok).map_err(Failure::overdue)
}

/// The next part of the body, or its trailers.
async fn next(caller: &Caller, call: &mut Call) -> Result<Option<Frame<Bytes>>, Failure> {
    match poll_fn(|context| call.poll_next(context, &caller.worker().read_memory)).await {
        Some(Ok(frame)) => Ok(Some(frame)),
        Some(Err(Lost::Request(error))) => Err(error.into()),
        Some(Err(lost)) => Err(Failure::Truncated(lost)),
        None => Ok(None),
    }
}

/// Holds what comes until a look at it says how the wait ends, or it is more than may be held.
async fn until(caller: &Caller, call: &mut Call, mut look: impl FnMut(&[u8]) -> Option<Held>) -> Held {
    let mut bytes = 0;
    loop {
        let frame = match next(caller, call).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Held::Released,
            Err(failure) => return Held::Broken(failure),
        };
        let data = frame.data_ref().map(|data| &data[..]).unwrap_or_default();
        bytes += data.len();
        let told = look(data);
        call.hold(frame.map_data(unshared));
        match told {
            Some(held) => return held,
            None if bytes > HELD_BYTES => return Held::Released,
            None => {}
        }
    }
}
