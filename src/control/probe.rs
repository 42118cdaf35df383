//! One health check of one instance.
//!
//! A check makes a connection of its own: it asks whether a new request could be served, and a kept connection would hide a full
//! accept queue or a changed name. Of an instance with TLS the handshake is a part of it.

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, header, request};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

use super::{lookup::LookUp, probe_http2};
use crate::{
    config::{HealthCheck, HealthSpec},
    fleet::{Address, Instance, Protocol},
    net::{Plain, Stream},
    tls::Connector,
};

/// How a check names itself.
const USER_AGENT: &str = concat!("snapback-probe/", env!("CARGO_PKG_VERSION"));

/// The method of gRPC's health service (grpc.health.v1).
const HEALTH_SERVICE: &str = "/grpc.health.v1.Health/Check";

/// How instances are checked: [`Network`], or what a test puts in its place.
pub(super) trait Check: Send + Sync + fmt::Debug {
    /// Checks once; the caller bounds the time. The error says in a few words what was wrong.
    fn check<'a>(&'a self, target: &'a mut Target) -> BoxFuture<'a, Result<(), String>>;
}

/// Checks over the network, in the fleet's protocol: an HTTP request, a gRPC call, or a TCP connection alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network;

/// An instance under checks.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) instance: Arc<Instance>,
    pub(super) spec: HealthSpec,
    tls: Option<Arc<Connector>>,
    lookup: LookUp,
}

impl Target {
    pub(super) fn new(instance: Arc<Instance>, spec: HealthSpec, tls: Option<Arc<Connector>>) -> Self {
        Self { instance, spec, tls, lookup: LookUp::default() }
    }

    /// A connection as a request would have it.
    async fn open(&mut self) -> Result<Stream, String> {
        let plain = match self.instance.address().unix_path() {
            Some(path) => Plain::connect_unix(path).await.map_err(no_connection)?,
            None => {
                let addresses = self.resolve().await?;
                connect(&self.instance, &addresses).await?
            }
        };
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(plain)) };
        let protocol = self.instance.protocol();
        let shaken = tls.connect(plain, self.instance.address().host(), &[protocol.alpn()]).await;
        let stream = shaken.map_err(|error| format!("no TLS: {error}"))?;
        if protocol != Protocol::Http1 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err("it did not agree to HTTP/2 in the TLS handshake".to_owned());
        }
        Ok(Stream::Tls(stream))
    }

    /// A request over HTTP/2 to a path of the instance.
    fn request(&self, method: Method, path: &str) -> request::Builder {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let authority = self.instance.address().authority();
        Request::builder()
            .method(method)
            .uri(format!("{scheme}://{authority}{path}"))
            .header(header::USER_AGENT, USER_AGENT)
    }

    /// Where the instance's address leads now.
    async fn resolve(&mut self) -> Result<Vec<SocketAddr>, String> {
        match self.instance.address().literal() {
            Some(literal) => Ok(vec![literal]),
            None => self.lookup.resolve(self.instance.address().as_str()).await,
        }
    }
}

impl Check for Network {
    fn check<'a>(&'a self, target: &'a mut Target) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let stream = target.open().await?;
            match (&target.spec.check, target.instance.protocol()) {
                (HealthCheck::Connection, _) => Ok(()),
                (HealthCheck::Get(path), Protocol::Http1) => {
                    get(stream, path, target.instance.address()).await
                }
                (HealthCheck::Get(path), Protocol::H2c | Protocol::H2) => {
                    probe_http2::get(stream, target.request(Method::GET, path), path).await
                }
                (HealthCheck::Grpc(service), Protocol::H2c | Protocol::H2) => {
                    probe_http2::grpc(stream, target.request(Method::POST, HEALTH_SERVICE), service).await
                }
                (HealthCheck::Grpc(_), Protocol::Http1) => {
                    Err("gRPC's health service is asked over HTTP/2, and the fleet's protocol is http1"
                        .to_owned())
                }
            }
        })
    }
}

/// Connects to the first address that takes the connection, and sends the data plane there too.
async fn connect(instance: &Instance, addresses: &[SocketAddr]) -> Result<Plain, String> {
    let mut reason = String::new();
    for address in addresses {
        match Plain::connect(*address).await {
            Ok(stream) => {
                instance.set_socket_address(*address);
                return Ok(stream);
            }
            Err(error) => reason = no_connection(error),
        }
    }
    Err(reason)
}

fn no_connection(error: std::io::Error) -> String {
    format!("no connection: {error}")
}

async fn get(stream: Stream, path: &str, address: &Address) -> Result<(), String> {
    let request = Request::get(path)
        .header(header::HOST, address.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the path {path:?} cannot be asked for: {error}"))?;
    let failed = |error: hyper::Error| format!("GET {path} got no answer: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    // The connection must be driven for the answer to come; it may end before the answer is taken.
    let response = tokio::select! {
        response = &mut answer => response,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    let status = response.map_err(failed)?.status();
    if status.is_success() { Ok(()) } else { Err(format!("GET {path} answered {}", status.as_u16())) }
}
