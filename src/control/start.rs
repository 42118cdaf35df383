//! Builds control: recovers, publishes the first table, starts the evaluator and the tasks.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, broadcast, mpsc, watch},
    task::JoinHandle,
};

use super::{
    Handle,
    asking::{Inquire, Web},
    certificates,
    endpoint::Links,
    evaluator::{Evaluator, EvaluatorThread, Heartbeat},
    handle::WAITING,
    ledger::{EVENTS_KEPT, Ledger},
    poller::Poller,
    probe::{Check, Network},
    prober::Prober,
    publisher::Publisher,
    run::Aborting,
    task::{Inbox, Task},
    timer::Timer,
    watchdog::{Collapse, Watchdog},
    watched::Roster,
};
use crate::{
    config::{Config, Problems},
    meter::Bell,
    provider::{CommandProvider, Heir, Provider, Providers},
    route::RouteTable,
    store::{Journal, StoreError},
    tls::Keychain,
};

/// How many notes of checks, drains and the provider may wait for the control task; their senders wait for a place.
const NOTES_WAITING: usize = 256;

/// Behind the journal's path: the folder in which processes are remembered and write their logs. They belong to the journal's endpoints,
/// so two journals never have one folder.
const INSTANCES: &str = ".instances";

/// What control is built from. `app` makes the shared values and gives the data plane its copies.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The checked configuration.
    pub config: &'a Config,
    /// The journal, open.
    pub journal: Arc<dyn Journal>,
    /// The table that the data plane reads; control alone stores into it, the first time before [`start`] returns.
    pub table: Arc<ArcSwap<RouteTable>>,
    /// How workers wake the evaluator; every watch point of a table rings it.
    pub bell: Arc<Bell>,
    /// How many workers the data plane has.
    pub workers: usize,
    /// Makes connections to instances with TLS, and reads certificates again.
    pub keychain: Arc<Keychain>,
    /// Who goes on with the processes that providers started when this one is told to end.
    pub heir: Heir,
}

/// Why control cannot start. Nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration and the journal do not go together.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The evaluator's thread cannot be started.
    #[error("cannot start the evaluator's thread: {0}")]
    Thread(std::io::Error),
}

/// The running control: its tasks and the evaluator's thread.
#[derive(Debug)]
pub struct Control {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    watchdog: Aborting,
    certificates: Aborting,
    evaluator: EvaluatorThread,
    providers: Providers,
    heir: Heir,
}

impl Control {
    /// Ends the tasks and the evaluator, after the commit under way, if any. Running shifts stay in the journal as they are, and go on
    /// at the next start. Traffic goes on by the last table, so this is called once the data plane has drained.
    pub async fn stop(self) {
        let Self { stop, task, watchdog, certificates, evaluator, providers, heir } = self;
        stop.send_replace(true);
        if task.await.is_err() {
            tracing::error!("the control task had panicked");
        }
        providers.close(heir).await;
        drop(watchdog);
        drop(certificates);
        if tokio::task::spawn_blocking(|| evaluator.stop()).await.is_err() {
            tracing::error!("the evaluator's thread could not be waited for");
        }
    }
}

/// Recovers from the journal, publishes the first table, and starts the evaluator and control's tasks on the current runtime.
///
/// Blocks on the journal, so it is called before anything is served.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn start(parts: Parts<'_>) -> Result<(Handle, Control), StartError> {
    let heir = parts.heir;
    let (check, inquirer, commands) = (Arc::new(Network), Arc::new(Web), Arc::new(CommandProvider));
    let pieces = assemble(parts, Senses { check, inquirer, commands })?;
    let providers = pieces.task.links.provider.clone();
    let evaluator = pieces.evaluator.spawn().map_err(StartError::Thread)?;
    let control = Control {
        stop: pieces.stop,
        task: tokio::spawn(pieces.task.run(pieces.inbox)),
        watchdog: Aborting(tokio::spawn(pieces.watchdog.run())),
        certificates: Aborting(tokio::spawn(certificates::watch(pieces.handle.clone()))),
        evaluator,
        providers,
        heir,
    };
    Ok((pieces.handle, control))
}

/// Everything that runs, before it does.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) handle: Handle,
    pub(super) task: Task,
    pub(super) inbox: Inbox,
    pub(super) evaluator: Evaluator,
    pub(super) watchdog: Watchdog,
    pub(super) stop: watch::Sender<bool>,
}

/// How control sees, and moves, what is outside of the process.
#[derive(Debug)]
pub(super) struct Senses {
    pub(super) check: Arc<dyn Check>,
    pub(super) inquirer: Arc<dyn Inquire>,
    pub(super) commands: Arc<dyn Provider>,
}

/// Recovers, and publishes the first table.
pub(super) fn assemble(parts: Parts<'_>, senses: Senses) -> Result<Pieces, StartError> {
    let Senses { check, inquirer, commands } = senses;
    let once = Arc::clone(&check);
    let Parts { config, journal, table, bell, workers, keychain, heir: _ } = parts;
    let timer = Timer::new();
    let (ask_sender, asks) = mpsc::channel(WAITING);
    let (note_sender, notes) = mpsc::channel(NOTES_WAITING);
    let (news_sender, news) = mpsc::channel(NOTES_WAITING);
    let mut folder = config.state.path.clone().into_os_string();
    folder.push(INSTANCES);
    let (events, _) = broadcast::channel(EVENTS_KEPT);
    let (ready_sender, ready) = watch::channel(Err("recovery is under way".to_owned()));
    let (stop, stopped) = watch::channel(false);
    let (roster, notice) = (Arc::new(Roster::default()), Arc::new(Notify::new()));
    let heartbeat = Arc::new(Heartbeat::default());
    heartbeat.beat(timer.now());
    let collapse = Arc::new(Collapse::default());

    let loaded = journal.load()?;
    let mut task = Task {
        links: Links {
            publisher: Arc::new(Publisher::new(table, timer)),
            roster: Arc::clone(&roster),
            bell: Arc::clone(&bell),
            prober: Prober { check, notes: note_sender.clone(), keychain: Arc::clone(&keychain) },
            poller: Poller {
                inquirer: Arc::clone(&inquirer),
                keychain: Arc::clone(&keychain),
                notes: note_sender.clone(),
            },
            provider: Providers::new(workers, folder.into(), news_sender, commands),
            timer,
            notes: note_sender,
        },
        ledger: Ledger::new(Arc::clone(&journal), loaded.head, events.clone(), ready_sender),
        endpoints: BTreeMap::new(),
        config: config.clone(),
        retry_at: None,
        freezes: BTreeMap::new(),
        held: BTreeMap::new(),
        collapse: Arc::clone(&collapse),
    };
    task.recover(loaded, config)?;
    Ok(Pieces {
        handle: Handle { asks: ask_sender, journal, events, ready, keychain, inquirer, check: once },
        task,
        inbox: Inbox { asks, notes, news, notice: Arc::clone(&notice), stop: stopped },
        evaluator: Evaluator {
            roster: Arc::clone(&roster),
            bell,
            timer,
            notice: Arc::clone(&notice),
            heartbeat: Arc::clone(&heartbeat),
        },
        watchdog: Watchdog { roster, heartbeat, collapse, timer, notice },
        stop,
    })
}
