//! A client connection's task: HTTP/1 or HTTP/2 on its socket, until it is closed, late or told to stop.

use std::{future::poll_fn, rc::Rc, task::Poll};

use super::{
    client::{Client, Order},
    greeting::{self, Accepted, Protocol},
    http1, http2,
    preface::{self, Spoken},
    socket::ClientSocket,
    worker::Admitted,
};

/// Serves a client until its connection ends.
pub(super) async fn serve(admitted: Admitted, accepted: Accepted) {
    let client = &admitted.client;
    let peer = accepted.peer;
    let Some(protocol) = greeting::greet(client, accepted).await else { return };
    let socket = ClientSocket::new(Rc::clone(client));
    let spoken = match protocol {
        Protocol::Unsaid => listen(client).await,
        Protocol::Http1 => Some(Spoken::Http1),
        Protocol::Http2 => Some(Spoken::Http2),
    };
    match spoken {
        None => {}
        Some(Spoken::Http1) => {
            if let Err(error) = http1::serve(client, socket).await {
                tracing::debug!(%error, %peer, "a client connection ended");
            }
        }
        // On the heap, so that connections of HTTP/1 carry no room for it.
        Some(Spoken::Http2) => {
            if let Err(error) = Box::pin(http2::serve(client, socket)).await {
                tracing::debug!(%error, %peer, "a client connection ended");
            }
        }
    }
}

/// Waits for the first bytes. `None` when the client leaves or is late, or the worker drains.
async fn listen(client: &Client) -> Option<Spoken> {
    poll_fn(|context| {
        client.pulse.listen(context.waker());
        loop {
            if let Some(spoken) = client.with_input(|input| preface::tell(input)) {
                return Poll::Ready(Some(spoken));
            }
            match client.poll_more(context) {
                Poll::Ready(Ok(true)) => client.heed_head(),
                Poll::Ready(Ok(false) | Err(_)) => return Poll::Ready(None),
                Poll::Pending => {
                    let is_over = matches!(client.order(), Order::Drain | Order::Cut);
                    return if is_over || client.pulse.is_late() { Poll::Ready(None) } else { Poll::Pending };
                }
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function's future takes while it waits.
    fn size<F: Future>(_: impl FnOnce(Admitted, Accepted) -> F) -> usize {
        size_of::<F>()
    }

    /// A gateway holds thousands of idle connections. Beside this each has a socket, and none of them a buffer.
    #[test]
    fn an_idle_connection_takes_some_hundred_bytes() {
        assert!(size(serve) <= 640, "the task: {}", size(serve));
        assert!(size_of::<Client>() <= 320, "the client: {}", size_of::<Client>());
    }
}
