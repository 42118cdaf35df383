//! One POST to an address that the configuration names, over a connection of its own.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::{
    alarm::PollUrl,
    fleet::UpstreamTls,
    net::{Plain, Stream},
    tls::Connector,
};

/// The largest head of an answer.
const HEAD_LIMIT: usize = 64 << 10;

/// What is read of an answer's body, also for the sake of receivers that take a closed connection for a failure.
const BODY_LIMIT: usize = 64 << 10;

/// An address, and how it is reached.
#[derive(Debug)]
pub(super) struct Reach {
    url: PollUrl,
    /// There for https.
    tls: Option<Arc<Connector>>,
}

impl Reach {
    /// Reads certificate files.
    pub(super) fn new(url: PollUrl, ca: Option<PathBuf>) -> Self {
        let spec = || UpstreamTls { ca, server_name: None, identity: None };
        let tls = url.is_secure().then(|| Arc::new(Connector::new(Arc::new(spec()))));
        Self { url, tls }
    }

    pub(super) fn url(&self) -> &PollUrl {
        &self.url
    }

    /// Sends it once, and says what came back, the body only if it came whole; redirects are not followed. The caller bounds the time.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Option<Bytes>), String> {
        let stream = self.open().await?;
        let failed = |error: hyper::Error| format!("no answer: {error}");
        let mut client = http1::Builder::new();
        client.max_buf_size(HEAD_LIMIT);
        let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await;
            Ok((status, body.ok().map(|body| body.to_bytes())))
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
