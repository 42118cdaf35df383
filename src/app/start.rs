//! Builds a running proxy from a checked configuration.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::{
    admin,
    config::{AdminConfig, Config, DataConfig},
    control::{self, Handle},
    meter::{Bell, WorkerMeters},
    proxy::{BindError, DataPlane, Listeners, Settings},
    route::RouteTable,
    store::{Journal, SqliteJournal, StoreError},
    telemetry::Telemetry,
};

/// A proxy that serves. Dropping it without [`Running::stop`] leaves its threads running until the process ends.
#[derive(Debug)]
pub struct Running {
    data_addresses: Vec<SocketAddr>,
    admin_address: SocketAddr,
    data_plane: DataPlane,
    drain: watch::Sender<bool>,
    control: ControlThread,
    handle: Handle,
    table: Arc<ArcSwap<RouteTable>>,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A data address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin address cannot be listened on.
    #[error("cannot listen on the admin address {address}: {reason}")]
    AdminBind {
        /// As configured.
        address: SocketAddr,
        /// What the system said, and what would help.
        reason: String,
    },
    /// The journal cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Control did not recover.
    #[error(transparent)]
    Control(#[from] control::StartError),
    /// The system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The thread on which control, the probes and the admin port live, apart from the workers.
#[derive(Debug)]
struct ControlThread {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// What the control thread is built from.
struct ControlParts {
    config: Config,
    source: Option<PathBuf>,
    journal: Arc<dyn Journal>,
    table: Arc<ArcSwap<RouteTable>>,
    meters: Arc<[WorkerMeters]>,
    listener: TcpListener,
    draining: watch::Receiver<bool>,
}

/// Starts everything. `source` is the file that a reload reads again; without one, reloads are refused.
///
/// When this returns, the journal has been recovered and both ports answer. On an error nothing is left running.
pub fn start(config: Config, source: Option<PathBuf>) -> Result<Running, StartError> {
    let listeners = Listeners::bind(&config.data.listen, config.data.workers)?;
    let admin_listener = bind_admin(&config.admin)?;
    let admin_address = admin_listener.local_addr()?;
    let data_addresses = listeners.addresses().to_vec();
    let journal = Arc::new(SqliteJournal::open(&config.state.path)?);

    let table = Arc::new(ArcSwap::from_pointee(RouteTable::default()));
    let meters: Arc<[WorkerMeters]> = (0..config.data.workers).map(|_| WorkerMeters::default()).collect();
    let settings = settings(&config.data);
    let (drain, draining) = watch::channel(false);

    let (control, handle) = ControlThread::start(ControlParts {
        config,
        source,
        journal,
        table: table.clone(),
        meters: meters.clone(),
        listener: admin_listener,
        draining: draining.clone(),
    })?;
    let data_plane = DataPlane::start(listeners, settings, Arc::clone(&table), meters, draining)?;
    Ok(Running { data_addresses, admin_address, data_plane, drain, control, handle, table })
}

impl Running {
    /// Where clients connect, with real ports.
    pub fn data_addresses(&self) -> &[SocketAddr] {
        &self.data_addresses
    }

    /// Where operators connect, with its real port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Control.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The table that the workers read. Control alone stores into it, except in a bench that measures what a swap costs.
    pub fn table(&self) -> &Arc<ArcSwap<RouteTable>> {
        &self.table
    }

    /// Drains and ends: no new connections, running requests finish within the drain timeout, then the admin port goes, then control. Blocks.
    pub fn stop(self) {
        self.drain.send_replace(true);
        self.data_plane.join();
        self.control.stop();
    }
}

impl ControlThread {
    /// Starts the thread and waits until control has recovered and the first table is published.
    fn start(parts: ControlParts) -> Result<(Self, Handle), StartError> {
        let (stop, stopped) = watch::channel(false);
        let (started, outcome) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || control_thread(parts, stopped, &started))?;
        match outcome.recv() {
            Ok(Ok(handle)) => Ok((Self { stop, thread }, handle)),
            Ok(Err(error)) => Err(error),
            Err(mpsc::RecvError) => {
                Err(std::io::Error::other("the control thread ended while it started").into())
            }
        }
    }

    fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the control thread had panicked");
        }
    }
}

fn control_thread(
    parts: ControlParts,
    stopped: watch::Receiver<bool>,
    started: &mpsc::SyncSender<Result<Handle, StartError>>,
) {
    let tell = |outcome| {
        if started.send(outcome).is_err() {
            tracing::error!("nobody waits for the control thread's start any more");
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(Err(error.into())),
    };
    runtime.block_on(async {
        let ControlParts { config, source, journal, table, meters, listener, draining } = parts;
        let bell = Arc::new(Bell::new());
        let workers = config.data.workers;
        let begun =
            control::start(control::Parts { config: &config, journal, table: table.clone(), bell, workers });
        let (handle, control) = match begun {
            Ok(begun) => begun,
            Err(error) => return tell(Err(error.into())),
        };
        let telemetry = Telemetry::new(table, meters);
        let state = admin::Admin {
            handle: handle.clone(),
            telemetry,
            source,
            allow_remote: config.admin.allow_remote,
            draining,
        };
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tell(Err(error.into())),
        };
        tell(Ok(handle.clone()));
        admin::serve(listener, state, stopped).await;
        control.stop().await;
    });
}

fn bind_admin(config: &AdminConfig) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(config.listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| StartError::AdminBind {
        address: config.listen,
        reason: if error.kind() == std::io::ErrorKind::AddrInUse {
            "the address is in use: end the process that has it, or set another one in [admin] listen"
                .to_owned()
        } else {
            error.to_string()
        },
    })
}

fn settings(data: &DataConfig) -> Settings {
    let DataConfig {
        listen: _,
        workers: _,
        expose_fleet,
        head_timeout,
        keep_alive_timeout,
        upstream_idle_timeout,
        head_limit_bytes,
        connections_per_worker,
        drain_timeout,
    } = *data;
    Settings {
        expose_fleet,
        head_timeout,
        keep_alive_timeout,
        upstream_idle_timeout,
        head_limit_bytes,
        connections_per_worker,
        drain_timeout,
    }
}
