//! A look into a request body for the model it names, where only the model tells the endpoint.
//!
//! What is read is kept, frame by frame without a copy, and goes upstream first. The look ends at the name, at the end of the
//! body, or at the window's; a body that shows no name by then names none.

use std::{future::poll_fn, pin::Pin, rc::Rc};

use http::{header::CONTENT_TYPE, request, uri::PathAndQuery};
use http_body::Body;
use hyper::body::Incoming;

use super::{
    caller::Caller,
    error::Failure,
    pulse::{Late, unless_late},
    upload::Early,
};
use crate::route::{ModelScanner, Rewrite, Scan};

/// Reads as much of the body as it takes to know the model, or to know that there is none.
pub(super) async fn model(
    caller: &Rc<Caller>,
    head: &request::Parts,
    incoming: &mut Incoming,
    early: &mut Early,
) -> Result<Option<String>, Failure> {
    let content_type = head.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let mut scanner = ModelScanner::new(content_type);
    let mut window_bytes = caller.worker().settings.model_window_bytes;
    // Until the endpoint is known the client has as long for these bytes as for a head.
    caller.pulse.expect_within(caller.worker().settings.head_timeout);
    while window_bytes > 0 && !incoming.is_end_stream() {
        let next = poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context));
        let frame = match unless_late(&caller.pulse, next).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Failure::BrokenBody),
            Ok(None) => break,
            Err(Late) => return Err(Failure::StalledBody),
        };
        let Ok(bytes) = frame.into_data() else { continue };
        let seen = bytes.get(..window_bytes).unwrap_or(&bytes);
        let scan = scanner.feed(seen);
        window_bytes -= seen.len();
        early.push_back(bytes);
        match scan {
            Scan::More => {}
            Scan::Found(name) => return Ok(Some(name)),
            Scan::Absent => break,
        }
    }
    Ok(None)
}

/// Gives the request the target that its model servers know.
pub(super) fn rewrite(head: &mut request::Parts, rewrite: &Rewrite) -> Result<(), Failure> {
    let Some(target) = rewrite.apply(head.uri.path(), head.uri.query()) else { return Ok(()) };
    let target = PathAndQuery::try_from(target).map_err(|_| Failure::LongTarget)?;
    head.uri = target.into();
    Ok(())
}
