//! Accepts connections to the admin port and serves them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tower::ServiceExt;

use super::{
    actor::Peer,
    aws::secrets,
    cloudwatch,
    identities::Identities,
    lasting::{self, Proven},
    observe::observe,
    refusals::Refusals,
    routes, sagemaker,
    state::{Admin, Port, stopped},
};
use crate::{
    control::Actor,
    net::{Plain, Stream},
    tls,
};

/// How many connections are open at a time; more wait in the kernel's queue. Twice the requests and streams that are served at a time,
/// so that idle connections of scrapers do not keep operators out.
const CONNECTIONS: usize = 256;

/// How long a client may take to send a request's head, and a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long open requests may go on after the stop signal. They are bounded by their own timeout and end sooner; this is for clients that do not
/// read their answers.
const DRAIN: Duration = Duration::from_secs(5);

/// How long accepting rests after an error: no descriptors are left, and trying at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` turns true or its sender is gone; returns when open requests have ended, event streams among them, or after a
/// bounded wait.
///
/// # Panics
/// When the listener has no address, which a bound one has.
pub async fn serve(listener: TcpListener, admin: Admin, shutdown: watch::Receiver<bool>) {
    let bound = listener.local_addr().expect("a bound listener has an address");
    let port = Arc::new(Port::new(admin, bound, shutdown.clone()));
    let service = Service {
        router: routes::router(port.clone()),
        tls: port.tls.clone(),
        refusals: port.refusals.clone(),
        identities: port.identities.clone(),
    };
    let mut connections = JoinSet::new();
    let events = port.handle.subscribe();
    tokio::select! {
        () = stopped(shutdown.clone()) => {}
        () = async {
            tokio::join!(
                accept(&listener, &service, &shutdown, &mut connections),
                observe(&port, events),
                sagemaker::settle(port.sagemaker.clone()),
                sagemaker::tell(port.sagemaker.clone(), port.handle.subscribe()),
                secrets::keep(port.keyring.clone(), port.keys()),
                cloudwatch::watch(port.sagemaker.as_ref().map(|api| Arc::clone(api.cloudwatch()))),
            );
        } => {}
    }
    drop(listener);
    cloudwatch::keep(port.sagemaker.as_ref().map(|api| Arc::clone(api.cloudwatch()))).await;
    let drained = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!(connections = connections.len(), "the admin port ends with connections open");
    }
}

/// What a connection is served with.
#[derive(Clone)]
struct Service {
    router: Router,
    tls: Option<Arc<tls::Server>>,
    refusals: Refusals,
    identities: Arc<Identities>,
}

/// Never returns; dropped when the port is to end.
async fn accept(
    listener: &TcpListener,
    service: &Service,
    shutdown: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, address)) => {
                let (service, shutdown) = (service.clone(), shutdown.clone());
                connections.spawn(connection((stream, address), service, shutdown, place));
            }
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(
    (stream, address): (TcpStream, SocketAddr),
    service: Service,
    shutdown: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    let Service { router, tls, refusals, identities } = service;
    let stream = match secure(Plain::Tcp(stream), tls).await {
        Ok(stream) => stream,
        Err(cause) => {
            tracing::debug!(cause, "a TLS handshake with the admin port failed");
            let peer = Some(address.ip().to_canonical().to_string());
            let unknown = Actor { peer, ..Actor::from("unknown") };
            return refusals.record("access.refused", format!("a TLS handshake failed: {cause}"), unknown);
        }
    };
    let (peer, identity) = (Peer::of(address, &stream), identities.find(&stream));
    let proven = stream.peer_certificate().is_some().then(Proven::now);
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(address);
        if let Some(proven) = proven {
            request.extensions_mut().insert(proven);
        }
        if let Some(identity) = &identity {
            request.extensions_mut().insert(identity.clone());
        }
        router.clone().oneshot(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = lasting::ended(proven, stopped(shutdown)) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the admin port broke");
    }
}

/// Shakes hands, if the port has TLS. A failure is the caller's matter alone, and a line for the record.
async fn secure(stream: Plain, tls: Option<Arc<tls::Server>>) -> Result<Stream, String> {
    let Some(server) = tls else { return Ok(Stream::Plain(stream)) };
    match tokio::time::timeout(tls::HANDSHAKE_TIMEOUT, server.accept(stream)).await {
        Ok(shaken) => shaken.map(Stream::Tls).map_err(|error| error.to_string()),
        Err(_) => Err("it took too long".to_owned()),
    }
}
