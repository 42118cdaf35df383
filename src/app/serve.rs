//! `snapback serve`: a running proxy, and the signals that end it or make it read its file again.

use std::{
    io::Write,
    path::Path,
    process::ExitCode,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::start;
use crate::{config, telemetry};

/// Serves by a configuration file until SIGTERM or SIGINT. A second one of these ends at once.
///
/// Prints where it listens, a line for each address, on standard output; everything else goes to the log.
pub fn serve(path: &Path) -> ExitCode {
    match try_serve(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn try_serve(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let config = config::load(path)?;
    telemetry::start_logging(&config.log)?;
    let running = start(config, Some(path.to_owned()))?;
    announce(&running)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        signals.wait_for_end().await;
        Ok::<_, std::io::Error>(())
    })?;
    Ok(())
}
