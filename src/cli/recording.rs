//! `snapback recording export`: an endpoint's last outcomes as a file.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    CliError,
    args::{Asked, OneEndpoint, RecordingCommand},
    client::{Client, ClientError},
    output::Output,
};
use crate::{name::EndpointName, replay::MOST_BYTES};

/// The server makes the file while it is sent, so silence this long means that nobody is there.
const SILENCE: Duration = Duration::from_secs(10);

/// A recording as it comes.
pub(super) struct Download {
    client: Client,
    path: String,
    body: Incoming,
}

/// Does what was asked with recordings.
pub(super) async fn recording(args: Asked<RecordingCommand>, output: &mut Output) -> Result<(), CliError> {
    let RecordingCommand::Export(OneEndpoint { endpoint }) = args.command;
    let mut download = Download::begin(Client::new(&args.connection), &endpoint).await?;
    while let Some(part) = download.part().await? {
        output.raw(&part)?;
    }
    Ok(())
}

impl Download {
    pub(super) async fn begin(client: Client, endpoint: &EndpointName) -> Result<Self, ClientError> {
        let path = format!("/v1/endpoints/{endpoint}/recording");
        let body = client.download(&path).await?;
        Ok(Self { client, path, body })
    }

    /// The next part; `None` at the end.
    pub(super) async fn part(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = timeout(SILENCE, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| self.client.silent(&self.path))? else { return Ok(None) };
            let frame = frame.map_err(|error| self.client.lost(error))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// All of it.
    pub(super) async fn whole(mut self) -> Result<Vec<u8>, ClientError> {
        let mut file = Vec::new();
        while let Some(part) = self.part().await? {
            if file.len() + part.len() > MOST_BYTES {
                return Err(ClientError::TooLong { path: self.path });
            }
            file.extend_from_slice(&part);
        }
        Ok(file)
    }
}
