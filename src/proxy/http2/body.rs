//! A request's body, read from its stream as it is asked for.

use std::{
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::Frame;

use crate::proxy::{caller::Caller, incoming::Broken};

/// The body of a stream's request. Its client may send a window more than was taken.
#[derive(Debug)]
pub(in crate::proxy) struct Body {
    caller: Rc<Caller>,
    stream: RecvStream,
    /// Whether all data has come, and only trailers may follow.
    has_data: bool,
}

impl Body {
    pub(super) fn new(caller: &Rc<Caller>, stream: RecvStream) -> Self {
        Self { caller: Rc::clone(caller), stream, has_data: false }
    }

    /// Whether nothing more comes.
    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// The next part, or the trailers; `None` after the last. A client that waits to be asked is asked.
    pub(in crate::proxy) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        while !self.has_data {
            let Poll::Ready(data) = self.stream.poll_data(context) else {
                self.caller.ask_for_body();
                return Poll::Pending;
            };
            match data {
                Some(Ok(bytes)) => {
                    self.caller.forget_asking();
                    // Only of a stream that is there no more is there nothing to release.
                    let _released = self.stream.flow_control().release_capacity(bytes.len()).is_ok();
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                // Whatever the reason is: what its client has given up is not complete.
                Some(Err(_)) => return Poll::Ready(Some(Err(Broken))),
                None => self.has_data = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(context)).map_err(|_| Broken);
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)).transpose())
    }
}
