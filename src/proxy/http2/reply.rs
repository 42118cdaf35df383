//! A response's body on its way to the client.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;

use crate::proxy::{
    body::ResponseBody,
    client::Client,
    read_memory::{UNSHARED_BYTES, unshared},
};

/// A body, and the stream that takes it. One part is held until the client has room for some of it; then the h2 crate holds the rest, and
/// no further part is asked for. Room is asked for only when there is a part: what one stream had reserved in vain, others of the
/// connection would lack.
///
/// A small part that has to wait is copied out of the memory that it was read to: the h2 crate may hold a thousand of them for a client
/// that reads no more, each of which would keep sixty-four kilobytes of what other connections have read from being used again.
#[derive(Debug)]
pub(super) struct Reply {
    client: Rc<Client>,
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
    pub(super) fn new(client: &Rc<Client>, body: ResponseBody, stream: SendStream<Bytes>) -> Self {
        Self { client: Rc::clone(client), body, stream, part: None }
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
                let data = self.make_room(data);
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

    /// Asks for room for a part, and gives it back as it is to be held.
    fn make_room(&mut self, data: Bytes) -> Bytes {
        let wanted = if data.len() < UNSHARED_BYTES { data.len() } else { 1 };
        self.stream.reserve_capacity(wanted);
        let waits = self.stream.capacity() < wanted || self.client.is_blocked();
        if waits { unshared(data) } else { data }
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

#[cfg(test)]
mod tests {
    use h2::{client, server};
    use http::{Request, Response};
    use tokio::io::DuplexStream;

    use super::*;
    use crate::proxy::tests::client_alone;

    const PIECE_BYTES: usize = 64 * 1024;

    /// Both ends of a connection on which the client has asked, and the stream of the answer. The client lets `window` bytes come.
    async fn asked(window: u32) -> (Served, impl Sized, SendStream<Bytes>) {
        let (ours, theirs) = tokio::io::duplex(PIECE_BYTES);
        let mut builder = client::Builder::new();
        builder.initial_window_size(window);
        let (served, asking) = tokio::join!(server::handshake(ours), builder.handshake::<_, Bytes>(theirs));
        let (mut served, (mut requests, connection)): (Served, _) = (served.unwrap(), asking.unwrap());
        let connection = tokio::spawn(connection);
        let (answer, _) = requests.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
        let (_, mut respond) = served.accept().await.unwrap().unwrap();
        let stream = respond.send_response(Response::new(()), false).unwrap();
        (served, (connection, requests, answer), stream)
    }

    type Served = server::Connection<DuplexStream, Bytes>;

    /// Whether an answer of ten bytes, of a piece that nobody else needs any more, keeps that piece once it was asked to be sent.
    async fn keeps_its_piece(window: u32, is_blocked: bool) -> bool {
        let (_served, _client, stream) = asked(window).await;
        let client = client_alone();
        client.set_blocked(is_blocked);
        let piece = Bytes::from(vec![7; PIECE_BYTES]);
        let mut reply = Reply::new(&client, ResponseBody::Own(piece.slice(..10)), stream);
        poll_fn(|context| {
            while matches!(reply.poll_part(context), Poll::Ready(Ok(()))) {}
            Poll::Ready(())
        })
        .await;
        !piece.is_unique()
    }

    #[tokio::test]
    async fn a_small_part_that_waits_for_its_client_lets_the_memory_go_that_it_was_read_to() {
        assert!(!keeps_its_piece(0, false).await, "there is no window");
        assert!(!keeps_its_piece(9, false).await, "there is window for a part of it");
        assert!(!keeps_its_piece(10, true).await, "the socket takes nothing");
        assert!(keeps_its_piece(10, false).await, "it goes out at once, and need not be copied");
    }
}
