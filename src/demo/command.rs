//! `snapback model-server`: one model server as a process of its own, for docker-compose and for tests.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{
    model::{ModelVersion, UnknownVersion},
    server::model_server,
};

/// Why a model server could not be started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    #[error("cannot listen on {address}: {source}; name another address, port 0 takes a free one")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

/// Serves one of the demo's models until SIGTERM or Ctrl-C. Prints `listening on ADDRESS` to standard output when clients can connect.
/// Blocks.
pub fn serve_model(version: &str, listen: SocketAddr) -> ExitCode {
    match try_serve_model(version, listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snapback: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_serve_model(version: &str, address: SocketAddr) -> Result<(), StartError> {
    let version: ModelVersion = version.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener =
            TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        announce(listener.local_addr()?)?;
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

/// The line that scripts wait for.
fn announce(address: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {address}")?;
    stdout.flush()
}
