//! A look into a request body, where only the model it names tells the endpoint, or only its prompt the instance; or at all of it, where it is
//! signed.
//!
//! What is read is kept, frame by frame and large ones without a copy, and goes upstream first. The look ends at what is looked for, at the end
//! of the body, or at the window's; what has not shown by then is not there.

use std::{future::poll_fn, rc::Rc};

use http::{header::CONTENT_TYPE, request, uri::PathAndQuery};

use super::{
    caller::Caller,
    error::Failure,
    incoming::Incoming,
    pulse::{Late, unless_late},
    read_memory::unshared,
    upload::Early,
};
use crate::route::{Limits, ModelScanner, PromptScanner, Rewrite, Scan};

/// The model, after as much of the body as it takes to know it, or to know that there is none.
pub(super) async fn model(
    caller: &Rc<Caller>,
    head: &request::Parts,
    incoming: &mut Incoming,
    early: &mut Early,
) -> Result<Option<String>, Failure> {
    let content_type = head.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let mut scanner = ModelScanner::new(content_type);
    read(caller, incoming, early, |bytes| scanner.feed(bytes)).await
}

/// The hash of the prompt's first bytes.
pub(super) async fn prompt(
    caller: &Rc<Caller>,
    bytes: usize,
    incoming: &mut Incoming,
    early: &mut Early,
) -> Result<Option<u64>, Failure> {
    let mut scanner = PromptScanner::new(bytes);
    read(caller, incoming, early, |bytes| scanner.feed(bytes)).await
}

/// Reads the whole body, in time and within a limit. `has_room` says of each part whether there is room for it.
pub(super) async fn whole(
    caller: &Rc<Caller>,
    limit_bytes: u64,
    incoming: &mut Incoming,
    early: &mut Early,
    mut has_room: impl FnMut(usize) -> bool,
) -> Result<(), Failure> {
    let limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let (mut place, mut total) = (0, 0_usize);
    loop {
        while let Some(bytes) = early.frames.get(place) {
            (place, total) = (place + 1, total.saturating_add(bytes.len()));
            caller.pulse.pace.pass(bytes.len());
            if total > limit_bytes {
                return Err(Failure::LargeBody);
            }
            if !has_room(bytes.len()) {
                return Err(Failure::Busy);
            }
        }
        caller.pulse.expect_within(Limits::default().idle_timeout);
        caller.pulse.pace.await_sending(true);
        let has_come = next(caller, incoming, early).await;
        caller.pulse.pace.await_sending(false);
        if !has_come? {
            return Ok(());
        }
    }
}

/// Feeds a scanner with what has been read already, and then with what comes.
async fn read<T>(
    caller: &Rc<Caller>,
    incoming: &mut Incoming,
    early: &mut Early,
    mut feed: impl FnMut(&[u8]) -> Scan<T>,
) -> Result<Option<T>, Failure> {
    let mut window_bytes = caller.worker().settings.model_window_bytes;
    // Until it is known where the request goes, the client has as long for these bytes as for a head.
    caller.pulse.expect_within(caller.worker().settings.head_timeout);
    let mut place = 0;
    while window_bytes > 0 {
        if place == early.frames.len() && !next(caller, incoming, early).await? {
            break;
        }
        let Some(bytes) = early.frames.get(place) else { break };
        let seen = bytes.get(..window_bytes).unwrap_or(bytes);
        window_bytes -= seen.len();
        place += 1;
        match feed(seen) {
            Scan::More => {}
            Scan::Found(found) => return Ok(Some(found)),
            Scan::Absent => break,
        }
    }
    Ok(None)
}

/// Reads a frame; `false` at the end of the body.
async fn next(caller: &Rc<Caller>, incoming: &mut Incoming, early: &mut Early) -> Result<bool, Failure> {
    if incoming.is_end_stream() {
        return Ok(false);
    }
    let frame = poll_fn(|context| incoming.poll_frame(context));
    match unless_late(&caller.pulse, frame).await {
        Ok(Some(Ok(frame))) => match frame.into_data() {
            Ok(bytes) => {
                early.frames.push_back(unshared(bytes));
                Ok(true)
            }
            Err(frame) => {
                early.trailers = frame.into_trailers().ok();
                Ok(false)
            }
        },
        Ok(Some(Err(_))) => Err(Failure::BrokenBody),
        Ok(None) => Ok(false),
        Err(Late::Slow) => Err(Failure::SlowBody),
        Err(_) => Err(Failure::StalledBody),
    }
}

/// Gives the request the target that its model servers know.
pub(super) fn rewrite(head: &mut request::Parts, rewrite: &Rewrite) -> Result<(), Failure> {
    let Some(target) = rewrite.apply(head.uri.path(), head.uri.query()) else { return Ok(()) };
    let target = PathAndQuery::try_from(target).map_err(|_| Failure::LongTarget)?;
    head.uri = target.into();
    Ok(())
}
