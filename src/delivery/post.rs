//! One attempt to deliver an event.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;

use super::{
    bridge,
    reach::Reach,
    sign::{self, Secrets},
};
use crate::{
    alarm::{PollUrl, Token},
    clock,
    config::Bridge,
    time::format_duration,
};

/// How deliveries name themselves.
const USER_AGENT: &str = concat!("snapback-webhook/", env!("CARGO_PKG_VERSION"));

/// Where a webhook's events go, and how.
#[derive(Debug)]
pub(super) struct Receiver {
    reach: Reach,
    secret: Token,
    pub(super) bridge: Option<Bridge>,
    timeout: Duration,
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
        Self { reach: Reach::new(url, ca), secret, bridge, timeout }
    }

    /// Sends it once. The error says in a few words what was wrong; trying again is safe, as the receiver knows the letter by its id.
    pub(super) async fn post(&self, letter: &Letter) -> Result<(), String> {
        let sent = tokio::time::timeout(self.timeout, self.send(letter)).await;
        sent.unwrap_or_else(|_| Err(format!("no answer within {}", format_duration(self.timeout))))
    }

    async fn send(&self, letter: &Letter) -> Result<(), String> {
        let (status, body) = self.reach.send(self.signed(letter).await?).await?;
        if !status.is_success() {
            return Err(format!("status {}", status.as_u16()));
        }
        match &self.bridge {
            None => Ok(()),
            Some(_) => bridge::check(&body.ok_or("the answer broke off")?),
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
        let path = self.reach.url().path_and_query();
        let headers = bridge::headers(bridge, (self.reach.url().authority(), path), secret, &letter.body)?;
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
        Request::post(self.reach.url().path_and_query())
            .header(header::HOST, self.reach.url().authority())
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", secrets.sign(id, timestamp, body))
            .body(Full::new(body.clone()))
            .map_err(|error| format!("it cannot be sent: {error}"))
    }
}
