//! A request's body, read from the client as it is asked for.

use std::{
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Frame;

use crate::proxy::{client::Client, decode::BodyDecoder, incoming::Broken};

/// The body of the request that a connection is at. Nothing is read ahead of whoever takes it, so a slow instance slows its client.
#[derive(Debug)]
pub(in crate::proxy) struct Body {
    client: Rc<Client>,
    /// Until it is found to be malformed: from there on, what comes means nothing.
    decoder: Option<BodyDecoder>,
}

impl Body {
    pub(super) fn new(client: &Rc<Client>, decoder: BodyDecoder) -> Self {
        Self { client: Rc::clone(client), decoder: Some(decoder) }
    }

    /// Whether its last byte was taken, and its trailers.
    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        self.decoder.as_ref().is_some_and(|decoder| decoder.is_done() && !decoder.has_trailers())
    }

    /// The next part, or the trailers; `None` after the last. A client that waits to be asked is asked.
    pub(in crate::proxy) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(self.poll_sound(context));
        if let Err(Broken) = frame {
            self.decoder = None;
        }
        Poll::Ready(frame.transpose())
    }

    fn poll_sound(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Broken>> {
        let Some(decoder) = &mut self.decoder else { return Poll::Ready(Err(Broken)) };
        loop {
            let decoded = self.client.with_input(|input| decoder.decode(input));
            if let Some(bytes) = decoded.map_err(|_malformed| Broken)? {
                return Poll::Ready(Ok(Some(Frame::data(bytes))));
            }
            if decoder.is_done() {
                let trailers = decoder.take_trailers().map_err(|_malformed| Broken)?;
                return Poll::Ready(Ok(trailers.map(Frame::trailers)));
            }
            ready!(self.client.poll_ask(context)).map_err(|_gone| Broken)?;
            if !ready!(self.client.poll_more(context)).map_err(|_gone| Broken)? {
                return Poll::Ready(Err(Broken));
            }
        }
    }
}
