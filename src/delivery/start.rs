//! Makes the thread that delivers.

use std::{
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::{broadcast, mpsc, watch};

use super::{
    file::Sink,
    status::{FileStatus, RETRIES_WAITING, Shown, WebhookStatus, Webhooks},
    webhook::{Inbox, Webhook},
};
use crate::{
    config::{PagedFile, WebhookSpec},
    store::{Event, Journal, Outbox, StoreError},
};

/// Look-ups of names and reading of secrets block, a thread each; a name server that hangs may hold so many.
const BLOCKING_THREADS: usize = 8;

/// How long the end waits for look-ups that hang.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why nothing is delivered.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no thread.
    #[error("cannot start the delivery thread: {0}")]
    Thread(std::io::Error),
}

/// Writes an event as the API does.
pub type Render = fn(Event) -> String;

/// What delivery is built from.
#[derive(Debug)]
pub struct Parts {
    /// Every `[[webhook]]`.
    pub webhooks: Vec<WebhookSpec>,
    /// `[events] file`.
    pub file: Option<PagedFile>,
    /// The journal, from which events are read.
    pub journal: Arc<dyn Journal>,
    /// The same, as far as webhooks write it.
    pub outbox: Arc<dyn Outbox>,
    /// Says that there are new ones.
    pub events: broadcast::Receiver<Event>,
    /// How an event is written.
    pub render: Render,
}

/// The thread that delivers. Without webhooks and file there is none.
#[derive(Debug)]
pub struct Delivery {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Goes on delivering where the process before was, and forgets webhooks that are no longer configured. Blocks on the journal.
///
/// # Errors
/// When the journal cannot be read or written, or the system gives no thread.
pub fn start(parts: Parts) -> Result<(Delivery, Webhooks), StartError> {
    let Parts { webhooks, file, journal, outbox, events, render } = parts;
    let (stop, stopped) = watch::channel(false);
    let names: Vec<_> = webhooks.iter().map(|spec| spec.name.clone()).collect();
    outbox.keep_only(&names)?;
    if webhooks.is_empty() && file.is_none() {
        return Ok((Delivery { stop, thread: None }, Webhooks::default()));
    }
    let (mut shown, mut works) = (Vec::new(), Vec::new());
    for spec in webhooks {
        let status = Arc::new(Mutex::new(blank(&spec)));
        let (retry, retries) = mpsc::channel(RETRIES_WAITING);
        // Subscribed first: what the journal does not have yet when it is read is heard of.
        let inbox = Inbox { events: events.resubscribe(), retry: retries, stop: stopped.clone() };
        let webhook = Webhook::new(spec, Arc::clone(&outbox), render, Arc::clone(&status))?;
        works.push((webhook, inbox));
        shown.push(Shown { status, retry });
    }
    let file_status = file.as_ref().map(|_| Arc::new(Mutex::new(FileStatus::default())));
    let sink = file.zip(file_status.clone());
    let sink = sink.map(|(spec, status)| Sink::new(spec, journal, render, status));
    let thread = std::thread::Builder::new()
        .name("delivery".to_owned())
        .spawn(move || deliver(works, sink, events, stopped))
        .map_err(StartError::Thread)?;
    let webhooks = Webhooks { all: shown.into(), file: file_status, outbox: Some(outbox) };
    Ok((Delivery { stop, thread: Some(thread) }, webhooks))
}

fn blank(spec: &WebhookSpec) -> WebhookStatus {
    WebhookStatus {
        name: spec.name.clone(),
        url: spec.url.to_string(),
        delivered: 0,
        failed: 0,
        given_up: 0,
        delivered_at: None,
        pending: Vec::new(),
        dead_letters: Vec::new(),
    }
}

fn deliver(
    works: Vec<(Webhook, Inbox)>,
    sink: Option<Sink>,
    events: broadcast::Receiver<Event>,
    stopped: watch::Receiver<bool>,
) {
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "no event is delivered: the system gives no runtime"),
    };
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (webhook, inbox) in works {
            tasks.spawn(webhook.run(inbox));
        }
        if let Some(sink) = sink {
            tasks.spawn(sink.run(events, stopped));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the delivery of events had panicked");
            }
        }
    });
    runtime.shutdown_timeout(PATIENCE);
}

impl Delivery {
    /// Ends it; what is under way is sent again by the next process. Blocks for a second or so at most.
    pub fn stop(self) {
        let Self { stop, thread } = self;
        stop.send_replace(true);
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the delivery thread had panicked");
        }
    }
}
