//! SageMaker Runtime's API, for clients that are given one address for all services: an invocation goes on to the data plane, by a
//! connection within the process, and the answer comes back as it is.
//!
//! All that makes an invocation what it is, signatures and limits among it, is the data plane's own, so that both ports answer the same.

use std::{fmt, io, net::SocketAddr, os::unix::net::UnixStream, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    admin::{problem, refusals::Refusal, state::Port},
    net::Peer,
};

/// How many invocations go through this port at a time; half of its connections, so that operators get in. More are told to try again, which
/// SDKs do by themselves. Who needs more has the data port.
pub(in crate::admin) const INVOCATIONS: usize = 128;

/// What belongs to a connection and not to what passes on it.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    // Whoever waits to be asked is asked by this port.
    header::EXPECT,
];

/// Makes connections to the data plane, for requests of a peer.
#[derive(Clone)]
pub struct Inlet(Arc<dyn Fn(Peer) -> io::Result<UnixStream> + Send + Sync>);

impl Inlet {
    /// Connections are made by this; their sockets must not block.
    pub fn new(open: impl Fn(Peer) -> io::Result<UnixStream> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inlet").finish_non_exhaustive()
    }
}

/// `POST /endpoints/{name}/invocations` and its like.
pub(in crate::admin) async fn serve(State(port): State<Arc<Port>>, request: Request) -> Response {
    if port.sagemaker.is_none() {
        return problem::Fault::NoRoute { path: request.uri().path().to_owned() }.into_response();
    }
    let Ok(place) = Arc::clone(&port.invocations).try_acquire_owned() else {
        return unavailable("This port has as many invocations as it takes; the data port takes more.");
    };
    match invoke(&port.inlet, place, request).await {
        Ok(mut response) => {
            if response.status() == StatusCode::FORBIDDEN {
                response.extensions_mut().insert(Refusal("an AWS signature of an invocation".to_owned()));
            }
            response
        }
        Err(Uninvoked::NotSent(error)) => {
            tracing::debug!(%error, "an invocation could not be passed to the data plane");
            unavailable("No worker takes the invocation now.")
        }
        Err(Uninvoked::Lost(error)) => {
            tracing::debug!(%error, "an invocation's answer was lost");
            error_answer(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", "The answer was lost.")
        }
    }
}

/// Why there is no answer.
enum Uninvoked {
    /// Nothing was sent.
    NotSent(io::Error),
    /// It may have been executed.
    Lost(hyper::Error),
}

async fn invoke(inlet: &Inlet, place: OwnedSemaphorePermit, request: Request) -> Result<Response, Uninvoked> {
    let (mut parts, body) = request.into_parts();
    let peer = parts.extensions.get::<SocketAddr>().map_or(Peer::Local, |peer| Peer::Internet(*peer));
    parts.extensions.clear();
    for name in HOP_BY_HOP {
        parts.headers.remove(name);
    }
    // The host is in its header, whatever form the target came in.
    if let Some(target) = parts.uri.path_and_query() {
        parts.uri = Uri::from(target.clone());
    }
    let stream = inlet.0(peer).and_then(tokio::net::UnixStream::from_std).map_err(Uninvoked::NotSent)?;
    let (mut sender, connection) =
        http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(Uninvoked::Lost)?;
    // It ends with the answer's last byte, or when the client is gone and nobody waits for more.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the data plane broke");
        }
        drop(place);
    });
    let answer = sender.send_request(Request::from_parts(parts, body)).await.map_err(Uninvoked::Lost)?;
    let (mut parts, body) = answer.into_parts();
    for name in HOP_BY_HOP {
        parts.headers.remove(name);
    }
    Ok(Response::from_parts(parts, Body::new(body)))
}

fn unavailable(message: &str) -> Response {
    error_answer(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
}

/// An error as the data plane says it.
fn error_answer(status: StatusCode, name: &'static str, message: &str) -> Response {
    let mut response = (status, serde_json::json!({ "Message": message }).to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(name));
    response
}
