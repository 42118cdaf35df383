//! What comes before a connection's first request: a PROXY protocol header, a TLS handshake.
//!
//! A plain connection has neither and passes without a wait. The others count as connections already, so that they are limited
//! and drained like all; a greeting that fails or takes too long ends its connection and is counted, and that is all it does.

use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll};

use super::{
    client::{Client, Order},
    forwarded::{Door, Downstream, Scheme},
};
use crate::{
    net::{Peer, Plain, ProxyProtocol, Stream, read_proxy_header},
    tls,
};

/// The protocols that are offered in TLS handshakes, the best first.
pub const PROTOCOLS: &[&str] = &["h2", "http/1.1"];

/// A connection before its greeting.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: Plain,
    pub(super) peer: Peer,
    /// Of the address that it came to.
    pub(super) tls: Option<Arc<tls::Server>>,
    pub(super) door: Door,
}

/// What a connection speaks, as far as the greeting says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    /// Nothing was agreed on: the first bytes show it.
    Unsaid,
    /// HTTP/1.1, agreed on by ALPN.
    Http1,
    /// HTTP/2, agreed on by ALPN.
    Http2,
}

/// Why a greeting failed.
#[derive(Debug, thiserror::Error)]
enum GreetingError {
    #[error("TLS handshake: {0}")]
    Handshake(std::io::Error),
    #[error(transparent)]
    ProxyHeader(#[from] crate::net::ProxyHeaderError),
}

/// Gives a connection that has no greeting to the client at once; one that has comes back.
pub(super) fn skip(client: &Client, accepted: Accepted) -> Option<Accepted> {
    let settings = &client.worker.settings;
    let is_greeted = accepted.tls.is_some() || settings.proxy_protocol == ProxyProtocol::Required;
    // What comes from within the process has been greeted at the admin port.
    if is_greeted && accepted.door == Door::Data {
        return Some(accepted);
    }
    let Accepted { stream, peer, tls: _, door } = accepted;
    let downstream = Downstream::new(peer, Scheme::Http, &settings.trusted_proxies).through(door);
    client.introduce(downstream, Stream::Plain(stream));
    None
}

/// Brings a connection to its first request and gives it to the client; `None` when it is to be closed.
pub(super) async fn greet(client: Rc<Client>, accepted: Accepted) -> Option<Protocol> {
    let (peer, has_tls) = (accepted.peer, accepted.tls.is_some());
    match within_time(&client, shake_hands(&client, accepted)).await {
        Some(Ok(protocol)) => Some(protocol),
        Some(Err(error)) => {
            match error {
                GreetingError::Handshake(_) => client.worker.meters().handshakes_failed.up(),
                GreetingError::ProxyHeader(_) => client.worker.meters().proxy_headers_refused.up(),
            }
            tracing::debug!(%error, %peer, "a client connection did not begin");
            None
        }
        None => {
            let meters = client.worker.meters();
            if has_tls {
                meters.handshakes_failed.up()
            } else {
                meters.proxy_headers_refused.up()
            }
            tracing::debug!(%peer, "a client connection did not begin in time");
            None
        }
    }
}

async fn shake_hands(client: &Client, accepted: Accepted) -> Result<Protocol, GreetingError> {
    let Accepted { mut stream, mut peer, tls, door: _ } = accepted;
    let settings = &client.worker.settings;
    if settings.proxy_protocol == ProxyProtocol::Required
        && let Some(address) = read_proxy_header(&mut stream).await?
    {
        peer = Peer::Internet(address);
    }
    let Some(server) = tls else {
        let downstream = Downstream::new(peer, Scheme::Http, &settings.trusted_proxies);
        client.introduce(downstream, Stream::Plain(stream));
        return Ok(Protocol::Unsaid);
    };
    let stream = server.accept(stream).await.map_err(GreetingError::Handshake)?;
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        Some(_) => Protocol::Http1,
        None => Protocol::Unsaid,
    };
    let downstream = Downstream::new(peer, Scheme::Https, &settings.trusted_proxies);
    client.introduce(downstream, Stream::Tls(stream));
    Ok(protocol)
}

/// The future's end, unless the connection is late or cut before.
async fn within_time<T>(client: &Client, greeting: impl Future<Output = T>) -> Option<T> {
    client.pulse.expect_within(tls::HANDSHAKE_TIMEOUT);
    let mut greeting = std::pin::pin!(greeting);
    let ended = poll_fn(|context| {
        client.pulse.listen(context.waker());
        match greeting.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if client.pulse.is_late() || client.order() == Order::Cut => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    client.pulse.expect_within(client.worker.settings.keep_alive_timeout);
    ended
}
