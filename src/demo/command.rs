//! `snapback model-server`: one model server as a process of its own, for docker-compose and for tests.

use std::{io::Write as _, net::SocketAddr};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{model::ModelVersion, server::model_server};

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; name another address, port 0 takes a free one")]
pub struct ListenError {
    /// The address as asked.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// Serves one model until SIGTERM or Ctrl-C. Prints `listening on ADDRESS` to standard output when clients can connect. Blocks.
pub fn run_model_server(version: ModelVersion, listen: SocketAddr) -> Result<(), ListenError> {
    let error = |source| ListenError { address: listen, source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(error)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.map_err(error)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(error)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(error)?;
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "listening on {}", listener.local_addr().map_err(error)?).map_err(error)?;
        stdout.flush().map_err(error)?;
        drop(stdout);
        model_server(version, listener, async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await;
        Ok(())
    })
}
