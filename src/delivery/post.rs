//! One attempt to deliver an event.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;

use super::{reach::Reach, sign::Secrets};
use crate::{
    alarm::{PollUrl, Token},
    clock,
    time::format_duration,
};

/// How deliveries name themselves.
const USER_AGENT: &str = concat!("snapback-webhook/", env!("CARGO_PKG_VERSION"));

/// Where a webhook's events go, and how.
#[derive(Debug)]
pub(super) struct Receiver {
    reach: Reach,
    secret: Token,
    timeout: Duration,
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
        secret: Token,
        timeout: Duration,
        ca: Option<std::path::PathBuf>,
    ) -> Self {
        Self { reach: Reach::new(url, ca), secret, timeout }
    }

    /// Sends it once. The error says in a few words what was wrong; trying again is safe, as the receiver knows the letter by its id.
    pub(super) async fn post(&self, letter: &Letter) -> Result<(), String> {
        let sent = tokio::time::timeout(self.timeout, self.send(letter)).await;
        sent.unwrap_or_else(|_| Err(format!("no answer within {}", format_duration(self.timeout))))
    }

    async fn send(&self, letter: &Letter) -> Result<(), String> {
        let source = self.secret.clone();
        let secrets = tokio::task::spawn_blocking(move || Secrets::read(&source)).await;
        let secrets = secrets.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let status = self.reach.send(self.request(letter, &secrets)?).await?;
        if status.is_success() { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
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
