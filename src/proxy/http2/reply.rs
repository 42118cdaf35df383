//! A response's body on its way to the client.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;

use crate::proxy::body::ResponseBody;

/// A body, and the stream that takes it. One part is held until the client has room for some of it; then the h2 crate holds the rest, and
/// no further part is asked for. Room is asked for only when there is a part: what one stream had reserved in vain, others of the
/// connection would lack.
#[derive(Debug)]
pub(super) struct Reply {
    body: ResponseBody,
    stream: SendStream<Bytes>,
    part: Option<Part>,
}

#[derive(Debug)]
struct Part {
    data: Bytes,
    is_last: bool,
}

/// The client has given the stream up, or the body has no end.
struct Over;

impl Reply {
    pub(super) fn new(body: ResponseBody, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, part: None }
    }

    /// Sends all of it, or as much as the client takes.
    pub(super) async fn send(mut self) {
        poll_fn(|context| {
            loop {
                match ready!(self.poll_part(context)) {
                    Ok(()) => {}
                    Err(Over) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    /// Sends what is held, or takes what comes next.
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Over>> {
        if !matches!(self.stream.poll_reset(context), Poll::Pending) {
            return Poll::Ready(Err(Over));
        }
        if self.part.is_some() {
            ready!(self.poll_room(context))?;
        }
        if let Some(Part { data, is_last }) = self.part.take() {
            return Poll::Ready(self.push(data, is_last));
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(self.push(Bytes::new(), true));
        };
        let Ok(frame) = frame else {
            self.stream.send_reset(Reason::INTERNAL_ERROR);
            return Poll::Ready(Err(Over));
        };
        Poll::Ready(match frame.into_data() {
            Ok(data) if data.is_empty() => self.push(data, self.body.is_end_stream()),
            Ok(data) => {
                self.stream.reserve_capacity(1);
                self.part = Some(Part { data, is_last: self.body.is_end_stream() });
                Ok(())
            }
            Err(frame) => {
                // What was reserved for data is not for trailers.
                self.stream.reserve_capacity(0);
                drop(self.stream.send_trailers(frame.into_trailers().unwrap_or_default()));
                Err(Over)
            }
        })
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Over>> {
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Over)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn push(&mut self, data: Bytes, is_last: bool) -> Result<(), Over> {
        let pushed = self.stream.send_data(data, is_last).map_err(|_given_up| Over);
        if is_last { Err(Over) } else { pushed }
    }
}
