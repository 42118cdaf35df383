//! The workers' threads.

use std::{io, sync::Arc, thread::JoinHandle};

use arc_swap::ArcSwap;
use tokio::{
    runtime,
    sync::{Notify, mpsc, watch},
    task::LocalSet,
};

use super::{
    Listeners, Settings,
    accept::{HANDOVER_QUEUE, Handed},
    doorway::Doorway,
    queue::Doorbells,
    worker::{self, Worker},
};
use crate::{meter::WorkerMeters, route::RouteTable};

/// The running workers.
#[derive(Debug)]
pub struct DataPlane {
    threads: Vec<JoinHandle<()>>,
    doorway: Doorway,
}

impl DataPlane {
    /// Starts the workers. They stop when `shutdown` turns true, or when its sender is gone: no new connections, running
    /// requests finish within the drain timeout.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue, or when there are not as many meters as workers.
    pub fn start(
        listeners: Listeners,
        settings: Settings,
        table: Arc<ArcSwap<RouteTable>>,
        meters: Arc<[WorkerMeters]>,
        shutdown: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let by_worker = listeners.into_workers();
        if by_worker.len() != meters.len() {
            return Err(io::Error::other("there must be one set of worker meters for each worker"));
        }
        let (senders, receivers): (Vec<_>, Vec<_>) =
            by_worker.iter().map(|_| mpsc::channel::<Handed>(HANDOVER_QUEUE)).unzip();
        let senders: Arc<[_]> = senders.into();
        let doorbells: Doorbells = meters.iter().map(|_| Notify::new()).collect();
        let mut threads = Vec::with_capacity(by_worker.len());
        for (number, (sockets, handed)) in by_worker.into_iter().zip(receivers).enumerate() {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let (settings, table, meters) = (settings.clone(), Arc::clone(&table), Arc::clone(&meters));
            let (senders, shutdown) = (Arc::clone(&senders), shutdown.clone());
            let doorbells = Arc::clone(&doorbells);
            let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let worker = Worker::new(number, settings, table, meters, doorbells);
                let run = worker::run(worker, sockets, senders, handed, shutdown);
                if let Err(error) = LocalSet::new().block_on(&runtime, run) {
                    tracing::error!(%error, worker = number, "a worker could not serve its sockets");
                }
            })?;
            threads.push(thread);
        }
        Ok(Self { threads, doorway: Doorway::new(senders, meters) })
    }

    /// By which other parts of the process come in.
    pub fn doorway(&self) -> Doorway {
        self.doorway.clone()
    }

    /// Waits until every worker has drained. Blocks.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked outside of a request");
            }
        }
    }
}
