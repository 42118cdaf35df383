//! The demo's model server: OpenAI's completions and chat, with and without streaming, and the Open Inference Protocol, over one of
//! the demo's models. A stand-in for vLLM or Triton that official clients cannot tell from one, as far as it goes.

mod error;
mod infer;
mod job;
mod openai;
mod pace;
mod route;
mod stream;

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::model::{Model, ModelVersion};

/// The name that clients ask for, whatever the version: an endpoint's name stays when its model changes.
pub const MODEL_NAME: &str = "tiny";

/// An answer's body.
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Answers in the making at one time; more are refused with 503, as a full model server does. At 30 ms an answer this is some
/// 8,000 requests a second, far above what the processor gives.
const SLOTS: usize = 256;

/// Connections at one time; more wait in the listener's queue.
const CONNECTIONS: usize = 1024;

/// How long an idle connection is kept, and how long a request's head may take. Longer than the proxy keeps its own end, so that it is
/// the proxy that closes: a demo is no place to meet the keep-alive race.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// After the stop signal, how long running answers may finish.
const DRAIN: Duration = Duration::from_secs(10);

/// After a failed accept (out of file descriptors, say), how long until the next: without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections share.
#[derive(Debug)]
struct Service {
    model: Arc<Model>,
    slots: Arc<Semaphore>,
}

/// Serves one model until `shutdown` is over, then lets running answers finish, for 10 s at most.
pub async fn model_server(version: ModelVersion, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let service =
        Arc::new(Service { model: Arc::new(Model::load(version)), slots: Arc::new(Semaphore::new(SLOTS)) });
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(serve(socket, Arc::clone(&service), stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    drop(stop);
    let drained = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut at the end of the drain");
    }
}

async fn serve(socket: TcpStream, service: Arc<Service>, mut stopped: watch::Receiver<()>) {
    // A chunk of a stream is small and must not wait for the next.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let handler = service_fn(|request: Request<Incoming>| {
        let service = Arc::clone(&service);
        async move { Ok::<Response<Body>, Infallible>(route::handle(&service, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(socket), handler);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
