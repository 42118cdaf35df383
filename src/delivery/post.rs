//! One attempt to deliver an event.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::{
    bridge,
    sign::{self, Secrets},
};
use crate::{
    alarm::{PollUrl, Token},
    clock,
    config::Bridge,
    fleet::UpstreamTls,
    net::{Plain, Stream},
    time::format_duration,
    tls::Connector,
};

/// How deliveries name themselves.
const USER_AGENT: &str = concat!("snapback-webhook/", env!("CARGO_PKG_VERSION"));

/// The largest head of an answer.
const HEAD_LIMIT: usize = 64 << 10;

/// What is read of an answer's body, for the sake of receivers that take a closed connection for a failure. Nothing in it matters.
const BODY_LIMIT: usize = 64 << 10;

/// Where a webhook's events go, and how.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) url: PollUrl,
    pub(super) secret: Token,
    pub(super) bridge: Option<Bridge>,
    pub(super) timeout: Duration,
    /// There for https.
    pub(super) tls: Option<Arc<Connector>>,
}

/// What signs.
enum Secret {
    Hook(Secrets),
    Plain(String),
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// The same over all attempts, and of no other event.
    pub(super) id: String,
    /// The event as the API writes it.
    pub(super) body: Bytes,
}

impl Receiver {
    /// Reads certificate files.
    pub(super) fn new(
        url: PollUrl,
        (secret, bridge): (Token, Option<Bridge>),
        timeout: Duration,
        ca: Option<std::path::PathBuf>,
    ) -> Self {
        let spec = || UpstreamTls { ca, server_name: None, identity: None };
        let tls = url.is_secure().then(|| Arc::new(Connector::new(Arc::new(spec()))));
        Self { url, secret, bridge, timeout, tls }
    }

    /// Sends it once. The error says in a few words what was wrong; trying again is safe, as the receiver knows the letter by its id.
    pub(super) async fn post(&self, letter: &Letter) -> Result<(), String> {
        let sent = tokio::time::timeout(self.timeout, self.send(letter)).await;
        sent.unwrap_or_else(|_| Err(format!("no answer within {}", format_duration(self.timeout))))
    }

    async fn send(&self, letter: &Letter) -> Result<(), String> {
        let request = self.signed(letter).await?;
        let stream = self.open().await?;
        let failed = |error: hyper::Error| format!("no answer: {error}");
        let mut client = http1::Builder::new();
        client.max_buf_size(HEAD_LIMIT);
        let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await;
            if !status.is_success() {
                return Err(format!("status {}", status.as_u16()));
            }
            match (&self.bridge, body) {
                (None, _) => Ok(()),
                (Some(_), Ok(body)) => bridge::check(&body.to_bytes()),
                (Some(_), Err(error)) => Err(format!("the answer broke off: {error}")),
            }
        };
        tokio::pin!(exchange, connection);
        // The connection must be driven for the answer to come; it may end before the answer is taken.
        tokio::select! {
            answer = &mut exchange => answer,
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(failed(error)),
            },
        }
    }

    /// Signed as its receiver wants it.
    async fn signed(&self, letter: &Letter) -> Result<Request<Full<Bytes>>, String> {
        let (source, is_bridge) = (self.secret.clone(), self.bridge.is_some());
        let read = move || {
            if is_bridge {
                sign::read(&source).map(Secret::Plain)
            } else {
                Secrets::read(&source).map(Secret::Hook)
            }
        };
        let secret = tokio::task::spawn_blocking(read).await;
        let secret = secret.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        match (&self.bridge, secret) {
            (Some(bridge), Secret::Plain(secret)) => self.put(bridge, letter, secret.trim()),
            (_, Secret::Hook(secrets)) => self.request(letter, &secrets),
            (None, Secret::Plain(_)) => Err("it has no key to sign with".to_owned()),
        }
    }

    fn put(&self, bridge: &Bridge, letter: &Letter, secret: &str) -> Result<Request<Full<Bytes>>, String> {
        let path = self.url.path_and_query();
        let headers = bridge::headers(bridge, (self.url.authority(), path), secret, &letter.body)?;
        let mut request = Request::post(path)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONNECTION, "close")
            .body(Full::new(letter.body.clone()))
            .map_err(|error| format!("it cannot be sent: {error}"))?;
        request.headers_mut().extend(headers);
        Ok(request)
    }

    /// Redirects are not followed: events go where the configuration says.
    fn request(&self, letter: &Letter, secrets: &Secrets) -> Result<Request<Full<Bytes>>, String> {
        let Letter { id, body } = letter;
        let timestamp = clock::wall().as_millis() / 1_000;
        Request::post(self.url.path_and_query())
            .header(header::HOST, self.url.authority())
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", secrets.sign(id, timestamp, body))
            .body(Full::new(body.clone()))
            .map_err(|error| format!("it cannot be sent: {error}"))
    }

    async fn open(&self) -> Result<Stream, String> {
        let found = tokio::net::lookup_host(self.url.address()).await;
        let mut reason = "its name has no address".to_owned();
        for address in found.map_err(|error| format!("its name does not resolve: {error}"))? {
            let plain = match Plain::connect(address).await {
                Ok(plain) => plain,
                Err(error) => {
                    reason = format!("no connection: {error}");
                    continue;
                }
            };
            let Some(tls) = &self.tls else { return Ok(Stream::Plain(plain)) };
            let shaken = tls.connect(plain, Some(self.url.host()), &["http/1.1"]).await;
            return shaken.map(Stream::Tls).map_err(|error| format!("no TLS: {error}"));
        }
        Err(reason)
    }
}
