//! A small HTTP/1.1 client for the admin port.
//!
//! Every request has a connection of its own: a few requests a second to an admin port do not pay for a pool, and a connection
//! that is never reused cannot be a stale one.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, time::timeout};

use super::{
    admin_url::{AdminScheme, AdminUrl},
    args::{BearerToken, Connection},
};
use crate::{
    admin::wire,
    fleet::{CertificateFiles, UpstreamTls},
    net::{Plain, Stream},
    tls::{Connector, HANDSHAKE_TIMEOUT},
};

/// Long enough for a connection across the world, short enough to be told soon that nobody is there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A start is answered once it is in the journal; a disk that takes longer than this is a failure in itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A hundred shifts with long histories fit into a few MiB.
const BODY_LIMIT_BYTES: usize = 16 << 20;

/// Tells the admin port who asks.
const ACTOR_HEADER: &str = "x-snapback-actor";

/// Tells the admin port why.
const REASON_HEADER: &str = "x-snapback-reason";

/// Where the token is, if no file is named.
const TOKEN_VARIABLE: &str = "SNAPBACK_TOKEN";

/// Asks one admin port.
#[derive(Clone, Debug)]
pub(super) struct Client {
    url: AdminUrl,
    /// There for https.
    tls: Option<Arc<Connector>>,
    token: Option<BearerToken>,
    actor: Option<HeaderValue>,
    reason: Option<HeaderValue>,
}

/// A good answer's document.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    path: String,
    body: Bytes,
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// No connection. Safe to try again.
    #[error("cannot reach the admin port at {url}")]
    Unreachable {
        url: AdminUrl,
        #[source]
        source: io::Error,
    },
    /// There is a connection, but not to whom it should be.
    #[error("cannot make a secure connection to {url}")]
    Untrusted {
        url: AdminUrl,
        #[source]
        source: io::Error,
    },
    /// The connection broke, or what came over it is not HTTP.
    #[error("lost the connection to {url}")]
    Lost {
        url: AdminUrl,
        #[source]
        source: hyper::Error,
    },
    /// The other side is silent.
    #[error("{url} did not answer {path} within {}s", ANSWER_TIMEOUT.as_secs())]
    Silent { url: AdminUrl, path: String },
    /// The admin port says no, and why.
    #[error("{}", describe(.0))]
    Refused(Box<wire::Problem>),
    /// Something else listens there.
    #[error("{url}{path} answered {status} without saying why: is this Snapback's admin port?")]
    Stranger { url: AdminUrl, path: String, status: StatusCode },
    /// An answer past the limit.
    #[error("the answer to {path} is longer than {BODY_LIMIT_BYTES} bytes")]
    TooLong { path: String },
    /// Not the document that this version of the command knows.
    #[error("cannot read the answer to {path}: is the server of the same version as this command?")]
    Unreadable {
        path: String,
        #[source]
        source: serde_json::Error,
    },
}

impl Client {
    /// Connects to nothing yet. Speaks in the name of whoever is logged in: the journal keeps who did what.
    pub(super) fn new(connection: &Connection) -> Self {
        let tls = match connection.admin.scheme() {
            AdminScheme::Plain => None,
            AdminScheme::Tls => Some(Arc::new(Connector::new(Arc::new(trust(connection))))),
        };
        let from_environment = || {
            let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
            token.and_then(|token| BearerToken::new(&token).ok())
        };
        let token = connection.token_file.clone().or_else(from_environment);
        Self { token, ..Self::with(connection.admin.clone(), tls) }
    }

    /// Speaks TLS if it is given a connector.
    pub(super) fn with(url: AdminUrl, tls: Option<Arc<Connector>>) -> Self {
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
        let actor = user.and_then(|user| HeaderValue::from_bytes(user.as_bytes()).ok());
        Self { url, tls, token: None, actor, reason: None }
    }

    /// Gives this as the reason with every request; an empty one is none.
    pub(super) fn because(self, reason: &str) -> Self {
        // Control characters, line breaks among them, have no place in a header.
        let reason = reason.replace(char::is_control, " ");
        let value = HeaderValue::from_bytes(reason.as_bytes()).ok();
        Self { reason: value.filter(|value| !value.is_empty()), ..self }
    }

    /// `GET path`.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.ask(self.request(Method::GET, path, None)).await
    }

    /// Which version answers, as its metrics say; `None` where they are not to be had.
    pub(super) async fn version(&self) -> Option<String> {
        let mut request = self.request(Method::GET, "/metrics", None);
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let metrics = self.ask(request).await.ok()?;
        let text = std::str::from_utf8(metrics.text()).ok()?;
        let info = text.lines().find_map(|line| line.strip_prefix("snapback_build_info{"))?;
        let (_, rest) = info.split_once("version=\"")?;
        rest.split_once('"').map(|(version, _)| version.to_owned())
    }

    /// `PUT path`.
    pub(super) async fn put(&self, path: &str, document: &serde_json::Value) -> Result<Answer, ClientError> {
        self.ask(self.request(Method::PUT, path, Some(document.to_string().into()))).await
    }

    /// `DELETE path`.
    pub(super) async fn delete(&self, path: &str) -> Result<Answer, ClientError> {
        self.ask(self.request(Method::DELETE, path, None)).await
    }

    /// `POST path`, with a JSON document if there is something to say.
    pub(super) async fn post(
        &self,
        path: &str,
        document: Option<serde_json::Value>,
    ) -> Result<Answer, ClientError> {
        let body = document.map(|document| document.to_string().into());
        self.ask(self.request(Method::POST, path, body)).await
    }

    /// `GET path` for its stream of events after the one with this id. Only the head has a time limit here.
    pub(super) async fn open_stream(&self, path: &str, after: u64) -> Result<Incoming, ClientError> {
        let mut request = self.request(Method::GET, path, None);
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        request.headers_mut().insert("last-event-id", HeaderValue::from(after));
        self.open(path, request).await
    }

    /// `GET path` for a file of any length. Only the head has a time limit here.
    pub(super) async fn download(&self, path: &str) -> Result<Incoming, ClientError> {
        let mut request = self.request(Method::GET, path, None);
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        self.open(path, request).await
    }

    async fn open(&self, path: &str, request: http::Request<Full<Bytes>>) -> Result<Incoming, ClientError> {
        let head = async {
            let response = self.send(request).await?;
            if response.status().is_success() {
                Ok(response)
            } else {
                Err(self.refusal(path, response).await)
            }
        };
        match timeout(ANSWER_TIMEOUT, head).await {
            Ok(response) => response.map(http::Response::into_body),
            Err(_) => Err(self.silent(path)),
        }
    }

    /// Nothing came for too long.
    pub(super) fn silent(&self, path: &str) -> ClientError {
        ClientError::Silent { url: self.url.clone(), path: path.to_owned() }
    }

    /// A failure of the stream's body.
    pub(super) fn lost(&self, source: hyper::Error) -> ClientError {
        ClientError::Lost { url: self.url.clone(), source }
    }

    async fn ask(&self, request: http::Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let path = request.uri().path().to_owned();
        let whole = async {
            let response = self.send(request).await?;
            if !response.status().is_success() {
                return Err(self.refusal(&path, response).await);
            }
            let body = self.collect(&path, response).await?;
            Ok(Answer { path: path.clone(), body })
        };
        match timeout(ANSWER_TIMEOUT, whole).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Silent { url: self.url.clone(), path }),
        }
    }

    fn request(&self, method: Method, path: &str, body: Option<Bytes>) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::new(Bytes::new()));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("paths are made of checked names and numbers");
        let host =
            HeaderValue::from_str(&self.url.authority()).expect("a parsed authority is a header value");
        let headers = request.headers_mut();
        headers.insert(header::HOST, host);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, token.header().clone());
        }
        if let Some(actor) = &self.actor {
            headers.insert(ACTOR_HEADER, actor.clone());
        }
        if let Some(reason) = &self.reason {
            headers.insert(REASON_HEADER, reason.clone());
        }
        if let Some(body) = body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Full::new(body);
        }
        request
    }

    async fn send(
        &self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { url: self.url.clone(), source };
        let connecting = TcpStream::connect(self.url.host_and_port());
        let socket = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(socket) => socket.map_err(unreachable)?,
            Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into())),
        };
        let socket = self.secure(Plain::Tcp(socket)).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(|e| self.lost(e))?;
        // Ends by itself once the response's body is read or dropped; its error reaches the caller through the response.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|e| self.lost(e))
    }

    async fn secure(&self, socket: Plain) -> Result<Stream, ClientError> {
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let (host, _) = self.url.host_and_port();
        let shaken = timeout(HANDSHAKE_TIMEOUT, tls.connect(socket, Some(host), &["http/1.1"])).await;
        let shaken = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        shaken.map(Stream::Tls).map_err(|source| ClientError::Untrusted { url: self.url.clone(), source })
    }

    async fn collect(&self, path: &str, response: http::Response<Incoming>) -> Result<Bytes, ClientError> {
        match Limited::new(response.into_body(), BODY_LIMIT_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(ClientError::TooLong { path: path.to_owned() })
            }
            Err(error) => {
                let source = error.downcast::<hyper::Error>().expect("a body fails by its limit or by hyper");
                Err(self.lost(*source))
            }
        }
    }

    async fn refusal(&self, path: &str, response: http::Response<Incoming>) -> ClientError {
        let status = response.status();
        let stranger = || ClientError::Stranger { url: self.url.clone(), path: path.to_owned(), status };
        match self.collect(path, response).await {
            Ok(body) => match serde_json::from_slice(&body) {
                Ok(problem) => ClientError::Refused(Box::new(problem)),
                Err(_) => stranger(),
            },
            Err(error) => error,
        }
    }
}

impl Answer {
    /// The document as a value.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body)
            .map_err(|source| ClientError::Unreadable { path: self.path.clone(), source })
    }

    /// The document as it came.
    pub(super) fn text(&self) -> &[u8] {
        &self.body
    }
}

impl ClientError {
    /// Whether the same request may well succeed later: the server is away, or says that it is not ready.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } | Self::Silent { .. } => true,
            Self::Refused(problem) => problem.status == StatusCode::SERVICE_UNAVAILABLE,
            Self::Untrusted { .. }
            | Self::Stranger { .. }
            | Self::TooLong { .. }
            | Self::Unreadable { .. } => false,
        }
    }

    /// Whether an answer is not as this version of the command knows it, or it asked for what that server does not have.
    pub(super) fn is_of_another_version(&self) -> bool {
        match self {
            Self::Unreadable { .. } => true,
            Self::Refused(problem) => {
                problem.status == StatusCode::NOT_FOUND && problem.kind == "about:blank"
            }
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Lost { .. }
            | Self::Silent { .. }
            | Self::Stranger { .. }
            | Self::TooLong { .. } => false,
        }
    }

    /// Whether the admin port understood the request, knows who asks, and says no.
    pub(super) fn is_refusal(&self) -> bool {
        let others = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::SERVICE_UNAVAILABLE];
        matches!(self, Self::Refused(problem) if others.iter().all(|status| problem.status != *status))
    }

    /// Whether there is no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == StatusCode::NOT_FOUND)
    }

    /// What to try next.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => Some(
                "start a proxy with `snapback serve -c FILE`, or name its admin port with --admin URL or SNAPBACK_ADMIN",
            ),
            Self::Untrusted { .. } => Some(
                "name the authority that signed its certificate with --ca FILE; if it asks for yours, add --cert FILE and --key FILE",
            ),
            Self::Lost { source, .. } if is_alert(source) => Some(
                "it asks for a certificate that it trusts: show yours with --cert FILE and --key FILE (its admin.tls.client_ca says whose it trusts)",
            ),
            Self::Refused(problem) if problem.running_shift.is_some() => {
                Some("see it with `snapback shift status ID`, end it with `snapback shift abort ID`")
            }
            Self::Refused(problem) if problem.kind == "urn:snapback:unknown-certificate" => Some(
                "show another with --cert FILE and --key FILE; `snapback serve` reads admin.identities when it starts",
            ),
            Self::Refused(problem) if problem.status == StatusCode::UNAUTHORIZED => Some(
                "show a token with --token-file FILE or in SNAPBACK_TOKEN; `snapback token new` makes one",
            ),
            Self::Refused(problem) if problem.kind == "urn:snapback:role" => Some(
                "show a token of that role with --token-file FILE or in SNAPBACK_TOKEN, or a certificate with it, or ask somebody who holds one",
            ),
            Self::Refused(problem) if problem.kind == "urn:snapback:no-endpoint" => {
                Some("`snapback endpoint list` has them all")
            }
            Self::Refused(problem) if problem.kind == "urn:snapback:no-shift" => {
                Some("`snapback shift list` has them all")
            }
            Self::Refused(problem) if problem.kind == "urn:snapback:frozen" => {
                Some("`snapback unfreeze` lifts a freeze")
            }
            Self::Lost { .. }
            | Self::Silent { .. }
            | Self::Refused(_)
            | Self::Stranger { .. }
            | Self::TooLong { .. }
            | Self::Unreadable { .. } => None,
        }
    }
}

/// Whether the other side broke off the handshake of TLS, by then because of what it was shown or not.
fn is_alert(error: &hyper::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if inner.is_some_and(|inner| matches!(inner.downcast_ref(), Some(rustls::Error::AlertReceived(_)))) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whom to trust, and what to show. The name is always the one in the URL.
fn trust(connection: &Connection) -> UpstreamTls {
    let files = connection.cert.clone().zip(connection.key.clone());
    UpstreamTls {
        ca: connection.ca.clone(),
        server_name: None,
        identity: files.map(|(cert, key)| CertificateFiles { cert, key }),
    }
}

/// A problem document for people: its detail, and each key problem on a line.
fn describe(problem: &wire::Problem) -> String {
    let mut text = if problem.detail.is_empty() { problem.title.clone() } else { problem.detail.clone() };
    for wire::KeyProblem { key, line, message } in &problem.problems {
        let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
        text.push_str(&format!("\n  {line}{key}{message}"));
    }
    text
}

#[cfg(test)]
mod tests;
