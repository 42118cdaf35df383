//! `snapback serve`: a running proxy, and the signals that end it or make it read its file again.

use std::{
    error::Error,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Running, limits, start_inheriting};
use crate::{
    config,
    control::{Execution, Handle},
    fault,
    net::Inherited,
    telemetry,
};

/// Serves by a configuration file until SIGTERM or SIGINT; a second one of these ends the process at once.
///
/// Prints where it listens, a line for each address, on standard output; everything else goes to the log on standard error.
pub fn serve(path: &Path) -> ExitCode {
    match try_serve(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log may not have been started, and this is what the user waits to read.
            eprintln!("snapback: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_serve(path: &Path) -> Result<(), Box<dyn Error>> {
    // First of all, while there is one thread: it takes its variables out of the environment.
    let inherited =
        Inherited::take().map_err(|error| format!("cannot take over inherited sockets: {error}"))?;
    let config = config::load(path)?;
    telemetry::start_logging(&config.log)?;
    if fault::is_on() {
        tracing::warn!("fault points are on: this process may kill itself, as only a test wants it to");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new()?
    };
    limits::raise_open_files(&config.data);
    let running = start_inheriting(config, Some(path.to_owned()), inherited)?;
    announce(&running)?;
    runtime.block_on(signals.until_told_to_end(running.handle(), path.to_owned()));
    tracing::info!("draining: no new connections, running requests may finish");
    runtime.spawn(async move {
        signals.end().await;
        tracing::warn!("told to end a second time: running requests are cut");
        std::process::exit(1);
    });
    // The runtime must go on while the drain blocks, to hear of the second signal.
    let drain = runtime.spawn_blocking(|| running.stop());
    let stopped = runtime.block_on(drain);
    stopped.map_err(|error| format!("the drain did not end well: {error}"))?;
    tracing::info!("drained");
    Ok(())
}

/// The lines that scripts and people read.
fn announce(running: &Running) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let scheme = |is_secure| if is_secure { "https" } else { "http" };
    for listen in running.listens() {
        writeln!(out, "data: {}://{}", scheme(listen.tls.is_some()), listen.address)?;
    }
    writeln!(out, "admin: {}://{}", scheme(running.is_admin_secure()), running.admin_address())?;
    out.flush()
}

/// The signals a server listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads on each SIGHUP; returns on SIGTERM or SIGINT.
    async fn until_told_to_end(&mut self, handle: &Handle, source: PathBuf) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => reload(handle, &source).await,
            }
        }
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A bad file changes nothing.
async fn reload(handle: &Handle, source: &Path) {
    match handle.reload(source.to_owned(), "SIGHUP", Execution::Real).await {
        Ok(changes) => tracing::info!(?changes, "the configuration file is applied"),
        Err(error) => tracing::error!(%error, "the configuration file is refused; serving goes on as before"),
    }
}
