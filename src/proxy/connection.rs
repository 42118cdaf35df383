//! A client connection's task: HTTP/1 or HTTP/2 on its socket, until it is closed, late or told to stop.

use std::{error::Error, future::poll_fn, rc::Rc, task::Poll};

use super::{
    client::{Client, Order},
    greeting::{self, Accepted, Protocol},
    http1, http2,
    preface::{self, Spoken},
    socket::ClientSocket,
    worker::Admitted,
};

/// Begins a connection's task.
pub(super) fn begin(admitted: Admitted, accepted: Accepted) {
    match greeting::skip(&admitted.client, accepted) {
        None => drop(tokio::task::spawn_local(serve(admitted, Protocol::Unsaid))),
        Some(accepted) => {
            // On the heap, so that it is given back when it is over.
            let greeting = Box::pin(greeting::greet(Rc::clone(&admitted.client), accepted));
            drop(tokio::task::spawn_local(async move {
                if let Some(protocol) = greeting.await {
                    serve(admitted, protocol).await;
                }
            }));
        }
    }
}

/// Serves a client until its connection ends.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments twice, for as long as a connection is idle"
)]
fn serve(admitted: Admitted, protocol: Protocol) -> impl Future<Output = ()> {
    async move {
        let socket = ClientSocket::new(Rc::clone(&admitted.client));
        let spoken = match protocol {
            Protocol::Unsaid => listen(&admitted.client).await,
            Protocol::Http1 => Some(Spoken::Http1),
            Protocol::Http2 => Some(Spoken::Http2),
        };
        let ended: Result<(), Box<dyn Error>> = match spoken {
            None => Ok(()),
            Some(Spoken::Http1) => http1::serve(&admitted.client, socket).await.map_err(Into::into),
            // On the heap, so that connections of HTTP/1 carry no room for it.
            Some(Spoken::Http2) => Box::pin(http2::serve(&admitted.client, socket)).await.map_err(Into::into),
        };
        if let Err(error) = ended {
            let peer = admitted.client.downstream().address();
            tracing::debug!(error = &*error, peer, "a client connection ended");
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
    fn size<F: Future>(_: impl FnOnce(Admitted, Protocol) -> F) -> usize {
        size_of::<F>()
    }

    /// A gateway holds thousands of idle connections. Beside this each has a socket, and none of them a buffer.
    #[test]
    fn an_idle_connection_takes_some_hundred_bytes() {
        // With the runtime's own 120 it is 256, a size that memory comes in.
        assert!(size(serve) <= 136, "the task: {}", size(serve));
        assert!(size_of::<Client>() <= 240, "the client: {}", size_of::<Client>());
    }
}
