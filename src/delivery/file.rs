//! The events as a file of JSON lines, for collectors, and as a memory that outlasts the journal's.
//!
//! The file says itself how far it has come: its last line. So it is never synced, and whatever it loses in a crash is written again from
//! the journal. Whoever keeps its last line elsewhere can prove that the journal's end was not cut off ([`crate::store::chain`]).

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{broadcast, watch};

use super::{
    Render, roll,
    status::{FileStatus, lock},
};
use crate::{
    config::PagedFile,
    pages::{self, Page},
    store::{Event, Head, Journal, StoreError},
};

/// How many events are read and written at a time.
const BATCH: usize = 256;

/// How long after a failure it is tried again: a disk that has room again is used within seconds.
const REST: Duration = Duration::from_secs(5);

/// The file at work.
#[derive(Debug)]
pub(super) struct Sink {
    spec: PagedFile,
    journal: Arc<dyn Journal>,
    render: Render,
    status: Arc<Mutex<FileStatus>>,
    page: Option<Page>,
    /// The last event that is in it.
    last: u64,
}

/// Why it does not go on.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the events' file {path} cannot be written: {source}")]
    File { path: String, source: io::Error },
    #[error(transparent)]
    Journal(#[from] StoreError),
}

/// The last event in the file or its full pages; `None` when there is none. Blocks.
///
/// # Errors
/// When there is a file and it cannot be read.
pub fn last_written(path: &Path) -> io::Result<Option<Head>> {
    roll::last_event(path)
}

impl Sink {
    /// Goes on after the last event that is in the file, as far as the journal knows it.
    pub(super) fn new(
        spec: PagedFile,
        journal: Arc<dyn Journal>,
        render: Render,
        status: Arc<Mutex<FileStatus>>,
    ) -> Self {
        Self { spec, journal, render, status, page: None, last: 0 }
    }

    /// Runs until it is told to stop, and then writes what there is.
    pub(super) async fn run(
        mut self,
        mut events: broadcast::Receiver<Event>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut begun = self.begin();
        loop {
            let written = match begun {
                Ok(()) => self.write_on(),
                Err(_) => begun,
            };
            begun = Ok(());
            let is_well = written.is_ok();
            self.tell(written);
            let ended = if is_well {
                tokio::select! {
                    _ = stop.changed() => true,
                    heard = events.recv() => matches!(heard, Err(broadcast::error::RecvError::Closed)),
                }
            } else {
                tokio::select! {
                    _ = stop.changed() => true,
                    () = tokio::time::sleep(REST) => false,
                }
            };
            if ended {
                let last = self.write_on();
                return self.tell(last);
            }
            if !is_well && self.last == 0 {
                begun = self.begin();
            }
        }
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        let written = roll::last_event(&self.spec.path).map_err(|source| self.trouble(source))?;
        let head = self.journal.chain()?.head;
        self.last = written.map_or(0, |written| written.id.min(head.id));
        Ok(())
    }

    /// Writes what the journal has and the file lacks.
    fn write_on(&mut self) -> Result<(), Trouble> {
        loop {
            let batch = self.journal.events_after(self.last, BATCH)?;
            if batch.is_empty() {
                return Ok(());
            }
            for event in batch {
                let id = event.id;
                let line = (self.render)(event) + "\n";
                self.append(&line).map_err(|source| self.trouble(source))?;
                self.last = id;
            }
        }
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let PagedFile { path, page_bytes, pages: kept } = &self.spec;
        let mut page = match self.page.take().filter(|page| !page.is_moved()) {
            Some(page) => page,
            None => roll::open(path)?,
        };
        if page.is_full(line.len(), *page_bytes) {
            pages::turn(path, *kept)?;
            page = roll::open(path)?;
        }
        let written = page.append(line.as_bytes());
        self.page = Some(page);
        written
    }

    fn tell(&self, written: Result<(), Trouble>) {
        let mut status = lock(&self.status);
        status.written = self.last;
        match written {
            Ok(()) => {
                if status.problem.take().is_some() {
                    tracing::info!("the events' file can be written again");
                }
            }
            Err(error) => {
                let problem = error.to_string();
                if status.problem.as_ref() != Some(&problem) {
                    tracing::error!(problem, "events wait in the journal for their file");
                }
                status.problem = Some(problem);
            }
        }
    }

    fn trouble(&self, source: io::Error) -> Trouble {
        Trouble::File { path: self.spec.path.display().to_string(), source }
    }
}
