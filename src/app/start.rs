//! Builds a running proxy from a checked configuration.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, OnceLock, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    deliver, limits,
    sockets::{Sockets, internet_addresses},
    witnessing::Witnessing,
};
use crate::{
    admin,
    aws::Keyring,
    clock,
    config::{AwsConfig, Config, DataConfig, StateConfig},
    control::{self, Handle},
    delivery,
    meter::{Bell, WorkerMeters},
    net::{Inherited, ListenAddress},
    provider::Heir,
    proxy::{Amazon, BindError, DataPlane, Doorway, LeastRate, Listen, Settings, Signers},
    route::RouteTable,
    store::{Kept, SqliteJournal, StoreError},
    telemetry::{AccessLogError, Telemetry, Witnesses},
    tls::{Keychain, Server, TlsError},
};

/// From one try to open the journal to the next, while the process before is still letting it go.
const TAKEOVER_LOOK: Duration = Duration::from_millis(10);

/// A proxy that serves. Dropping it without [`Running::stop`] leaves its threads running until the process ends.
#[derive(Debug)]
pub struct Running {
    data_addresses: Vec<SocketAddr>,
    listens: Vec<Listen>,
    admin_address: SocketAddr,
    admin_tls: Option<Arc<Server>>,
    succession: Succession,
    data_plane: DataPlane,
    witnessing: Witnessing,
    drain: watch::Sender<bool>,
    control: ControlThread,
    handle: Handle,
    table: Arc<ArcSwap<RouteTable>>,
}

/// Whether another process goes on with the same sockets when this one stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Succession {
    /// Nobody does: what is accepted here is the last, and the admin port tells balancers and scrapers of the drain to its end.
    Last,
    /// Whoever passed the sockets on keeps them, and the next process waits for the journal. So control stops first, and traffic goes
    /// on by the last table until the workers have stopped.
    Expected,
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
    /// A socket was passed to this process that it has no use for.
    #[error(
        "the inherited socket {name:?} on {address} is none that the configuration knows: name it data, data-tls (with data.tls) or \
         admin (FileDescriptorName= in systemd), or configure its address"
    )]
    Inherited {
        /// What it is called.
        name: String,
        /// Where it listens.
        address: ListenAddress,
    },
    /// A certificate or a key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The tokens of the admin port cannot be used.
    #[error(transparent)]
    Tokens(#[from] admin::TokensError),
    /// The access log cannot be written.
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    /// The journal cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Control did not recover.
    #[error(transparent)]
    Control(#[from] control::StartError),
    /// Events cannot be delivered.
    #[error(transparent)]
    Delivery(#[from] delivery::StartError),
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
    journal: Arc<SqliteJournal>,
    table: Arc<ArcSwap<RouteTable>>,
    meters: Arc<[WorkerMeters]>,
    listener: TcpListener,
    admin_tls: Option<Arc<Server>>,
    tokens: Option<Arc<admin::Tokens>>,
    keychain: Arc<Keychain>,
    witnesses: Witnesses,
    draining: watch::Receiver<bool>,
    keyring: Option<Arc<Keyring>>,
    /// There once the data plane has started.
    doorway: Arc<OnceLock<Doorway>>,
    heir: Heir,
}

/// Starts everything. `source` is the file that a reload reads again; without one, reloads are refused.
///
/// When this returns, the journal has been recovered and both ports answer. On an error nothing is left running.
pub fn start(config: Config, source: Option<PathBuf>) -> Result<Running, StartError> {
    start_inheriting(config, source, Vec::new())
}

/// The same with sockets that another process may still be serving. That process holds the journal until it is told to stop, so
/// this one waits for it, as long as the configuration says; what connects meanwhile is served there or waits in the sockets.
pub fn start_inheriting(
    config: Config,
    source: Option<PathBuf>,
    inherited: Vec<Inherited>,
) -> Result<Running, StartError> {
    let succession = if inherited.is_empty() { Succession::Last } else { Succession::Expected };
    let keychain = Arc::new(Keychain::default());
    let Sockets { listeners, admin, admin_tls } = Sockets::open(&config, &keychain, inherited)?;
    let admin_address = admin.local_addr()?;
    let (data_addresses, listens) = (internet_addresses(&listeners), listeners.bound().to_vec());
    let tokens = config.admin.tokens_file.as_deref().map(admin::Tokens::load).transpose()?.map(Arc::new);
    let mut witnessing = Witnessing::start(&config)?;
    let journal = Arc::new(open_journal(&config.state, succession)?);

    let table = Arc::new(ArcSwap::from_pointee(RouteTable::default()));
    let meters: Arc<[WorkerMeters]> = (0..config.data.workers).map(|_| WorkerMeters::default()).collect();
    let amazon = amazon(&config.aws);
    let keyring = amazon.as_ref().and_then(|amazon| amazon.keyring.clone());
    let settings = settings(&config.data, amazon, &keychain, witnessing.witnesses.clone());
    let doorway = Arc::new(OnceLock::new());
    let (drain, draining) = watch::channel(false);

    let (control, handle) = ControlThread::start(ControlParts {
        config,
        source,
        journal,
        table: table.clone(),
        meters: meters.clone(),
        listener: admin,
        admin_tls: admin_tls.clone(),
        tokens,
        keychain,
        witnesses: witnessing.witnesses.clone(),
        draining: draining.clone(),
        keyring,
        doorway: Arc::clone(&doorway),
        heir: match succession {
            Succession::Last => Heir::Nobody,
            Succession::Expected => Heir::Successor,
        },
    })?;
    witnessing.export(handle.subscribe())?;
    let data_plane = DataPlane::start(listeners, settings, Arc::clone(&table), meters, draining)?;
    doorway.get_or_init(|| data_plane.doorway());
    Ok(Running {
        data_addresses,
        listens,
        admin_address,
        admin_tls,
        succession,
        data_plane,
        witnessing,
        drain,
        control,
        handle,
        table,
    })
}

fn open_journal(state: &StateConfig, succession: Succession) -> Result<SqliteJournal, StoreError> {
    let kept = Kept { events: state.keep_events, shifts: state.keep_shifts };
    let deadline = clock::now().after(state.takeover_timeout);
    let mut is_told = false;
    loop {
        match SqliteJournal::open_keeping(&state.path, kept) {
            Err(StoreError::InUse { .. })
                if succession == Succession::Expected && clock::now() < deadline =>
            {
                if !is_told {
                    tracing::info!("waiting for the process before to let the journal go");
                }
                is_told = true;
                std::thread::sleep(TAKEOVER_LOOK);
            }
            opened => return opened,
        }
    }
}

impl Running {
    /// Where clients connect over the network, with real ports.
    pub fn data_addresses(&self) -> &[SocketAddr] {
        &self.data_addresses
    }

    /// Where clients connect, Unix-domain sockets too, and how.
    pub fn listens(&self) -> &[Listen] {
        &self.listens
    }

    /// Whether operators connect with TLS.
    pub fn is_admin_secure(&self) -> bool {
        self.admin_tls.is_some()
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
    ///
    /// With inherited sockets control and the journal go first, so that the next process can serve before this one stops to.
    pub fn stop(self) {
        let Self { succession, data_plane, witnessing, drain, control, handle, .. } = self;
        drop(handle);
        let drain = || {
            drain.send_replace(true);
            data_plane.join();
            drop(witnessing);
        };
        match succession {
            Succession::Last => {
                drain();
                control.stop();
            }
            Succession::Expected => {
                control.stop();
                drain();
            }
        }
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
    runtime.block_on(run_control(parts, stopped, tell));
}

/// What the control thread does: `tell` says once whether it has started.
async fn run_control(
    parts: ControlParts,
    stopped: watch::Receiver<bool>,
    tell: impl Fn(Result<Handle, StartError>),
) {
    let ControlParts {
        config,
        source,
        journal,
        table,
        meters,
        listener,
        admin_tls,
        tokens,
        keychain,
        witnesses,
        draining,
        keyring,
        doorway,
        heir,
    } = parts;
    let bell = Arc::new(Bell::new());
    let workers = config.data.workers;
    let difference = match deliver::difference(&config, &journal) {
        Ok(difference) => difference,
        Err(error) => return tell(Err(error.into())),
    };
    let outbox = journal.clone();
    let begun = control::start(control::Parts {
        config: &config,
        journal,
        table: table.clone(),
        bell,
        workers,
        keychain,
        heir,
    });
    let (handle, control) = match begun {
        Ok(begun) => begun,
        Err(error) => return tell(Err(error.into())),
    };
    let telemetry = Telemetry::new(table, meters, witnesses);
    let (delivery, webhooks) = match deliver::start(&config, &handle, outbox, difference).await {
        Ok(begun) => begun,
        Err(error) => return tell(Err(error)),
    };
    let state = admin::Admin {
        webhooks,
        events_file: config.events_file.clone().map(|file| file.path),
        handle: handle.clone(),
        telemetry,
        source,
        allow_remote: config.admin.allow_remote,
        aws: config.aws.clone(),
        keyring,
        inlet: inlet(doorway),
        draining,
        tls: admin_tls,
        tokens,
        identities: config.admin.identities.clone(),
    };
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tell(Err(error.into())),
    };
    tell(Ok(handle.clone()));
    admin::serve(listener, state, stopped).await;
    control.stop().await;
    // Last, so that what control did at its end is still delivered.
    delivery.stop();
}

/// What the data plane has to know of Amazon's APIs, where they are spoken.
fn amazon(aws: &AwsConfig) -> Option<Amazon> {
    aws.sagemaker.then(|| Amazon {
        region: aws.region.as_str().into(),
        account: aws.account.as_str().into(),
        keyring: (!aws.keys.is_empty()).then(|| {
            let keyring = Keyring::default();
            keyring.set(admin::read_secrets(&aws.keys));
            Arc::new(keyring)
        }),
        signers: if aws.sign_invocations { Signers::All } else { Signers::Admin },
    })
}

/// The way from the admin port to the data plane.
fn inlet(doorway: Arc<OnceLock<Doorway>>) -> admin::Inlet {
    admin::Inlet::new(move |peer| match doorway.get() {
        Some(doorway) => doorway.open(peer).map_err(std::io::Error::other),
        None => Err(std::io::Error::other("the data plane has not started yet")),
    })
}

fn settings(
    data: &DataConfig,
    amazon: Option<Amazon>,
    keychain: &Arc<Keychain>,
    witnesses: Witnesses,
) -> Settings {
    let DataConfig {
        listen: _,
        workers: _,
        expose_fleet,
        expose_variant,
        head_timeout,
        keep_alive_timeout,
        upstream_idle_timeout,
        head_limit_bytes,
        least_rate,
        connections_per_worker: _,
        requests_per_worker,
        replay_memory_bytes,
        model_window_bytes,
        drain_timeout,
        tls: _,
        proxy_protocol,
        underscores,
        ref trusted_proxies,
    } = *data;
    Settings {
        expose_fleet,
        expose_variant,
        head_timeout,
        keep_alive_timeout,
        upstream_idle_timeout,
        head_limit_bytes,
        least_rate: LeastRate { bytes_per_second: least_rate, window: LeastRate::WINDOW },
        connections_per_worker: limits::affordable_connections(data),
        upstreams_per_worker: limits::affordable_upstreams(data),
        requests_per_worker,
        replay_memory_bytes,
        model_window_bytes,
        drain_timeout,
        proxy_protocol,
        underscores,
        trusted_proxies: trusted_proxies.clone(),
        amazon,
        keychain: Arc::clone(keychain),
        witnesses,
    }
}
