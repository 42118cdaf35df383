//! The thread that writes the access log.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, Receiver},
    },
    thread::Thread,
    time::Duration,
};

use super::{Counts, line};
use crate::{
    config::{AccessTarget, PagedFile},
    pages::{self, Page},
    telemetry::passage::Passage,
};

/// From one look at the queues to the next. A queue of 8,192 takes 160,000 requests a second on each worker then; a shorter time would
/// wake a processor that has nothing else to do more often.
const LOOK: Duration = Duration::from_millis(50);

/// So many bytes are written at a time.
const BATCH_BYTES: usize = 64 << 10;

/// How long the end of the process waits for a terminal or a pipe that takes no more.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Why there is no access log.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// The file cannot be opened.
    #[error("the access log {}: {source}", path.display())]
    Open {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("cannot start the access log's thread: {0}")]
    Thread(#[source] io::Error),
}

/// The running writer.
#[derive(Debug)]
pub struct AccessLogWriter {
    stop: Arc<AtomicBool>,
    thread: Thread,
    ended: Receiver<()>,
}

/// Where lines go.
#[derive(Debug)]
enum Sink {
    Stdout,
    File { spec: PagedFile, page: Option<Page> },
}

#[derive(Debug)]
struct Writer {
    queues: Vec<Receiver<Box<Passage>>>,
    sink: Sink,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    /// What the last failure was, so that a disk that stays full is told of once.
    problem: Option<String>,
}

impl AccessLogWriter {
    pub(super) fn start(
        to: &AccessTarget,
        queues: Vec<Receiver<Box<Passage>>>,
        counts: Arc<Counts>,
    ) -> Result<Self, AccessLogError> {
        let sink = match to {
            AccessTarget::Stdout => Sink::Stdout,
            AccessTarget::File(spec) => {
                let page = Page::open(&spec.path)
                    .map_err(|source| AccessLogError::Open { path: spec.path.clone(), source })?;
                Sink::File { spec: spec.clone(), page: Some(page) }
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (end, ended) = mpsc::sync_channel(1);
        let writer = Writer { queues, sink, counts, stop: Arc::clone(&stop), problem: None };
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            writer.run();
            drop(end);
        });
        let thread = thread.map_err(AccessLogError::Thread)?.thread().clone();
        Ok(Self { stop, thread, ended })
    }
}

/// Writes what has come and ends; what comes after this is lost.
impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.thread.unpark();
        if let Err(mpsc::RecvTimeoutError::Timeout) = self.ended.recv_timeout(LAST_LINES) {
            tracing::warn!("the last lines of the access log cannot be written");
        }
    }
}

impl Writer {
    fn run(mut self) {
        let mut lines = Vec::with_capacity(2 * BATCH_BYTES);
        loop {
            let is_last = self.stop.load(Relaxed);
            self.empty(&mut lines);
            if is_last {
                return;
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Writes what is in the queues.
    fn empty(&mut self, lines: &mut Vec<u8>) {
        let mut count = 0;
        for place in 0..self.queues.len() {
            while let Some(passage) = self.queues.get(place).and_then(|queue| queue.try_recv().ok()) {
                line::write(lines, &passage);
                count += 1;
                if lines.len() >= BATCH_BYTES {
                    self.flush(lines, count);
                    count = 0;
                }
            }
        }
        self.flush(lines, count);
    }

    fn flush(&mut self, lines: &mut Vec<u8>, count: u64) {
        if count == 0 {
            return;
        }
        let written = self.sink.append(lines);
        lines.clear();
        match written {
            Ok(()) => {
                self.counts.written.fetch_add(count, Relaxed);
                if self.problem.take().is_some() {
                    tracing::info!("the access log can be written again");
                }
            }
            Err(error) => {
                self.counts.failed.fetch_add(count, Relaxed);
                let problem = error.to_string();
                if self.problem.as_ref() != Some(&problem) {
                    tracing::error!(
                        problem,
                        "the access log cannot be written; its lines are lost and counted"
                    );
                }
                self.problem = Some(problem);
            }
        }
    }
}

impl Sink {
    /// What came together may be more than a page holds.
    fn append(&mut self, mut lines: &[u8]) -> io::Result<()> {
        while !lines.is_empty() {
            let limit = match self {
                Self::Stdout => u64::MAX,
                Self::File { spec, .. } => spec.page_bytes,
            };
            let (part, rest) = whole_lines(lines, usize::try_from(limit).unwrap_or(usize::MAX));
            self.append_part(part)?;
            lines = rest;
        }
        Ok(())
    }

    fn append_part(&mut self, lines: &[u8]) -> io::Result<()> {
        let (spec, page) = match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                return out.write_all(lines).and_then(|()| out.flush());
            }
            Self::File { spec, page } => (spec, page),
        };
        let mut open = match page.take().filter(|page| !page.is_moved()) {
            Some(open) => open,
            None => Page::open(&spec.path)?,
        };
        if open.is_full(lines.len(), spec.page_bytes) {
            pages::turn(&spec.path, spec.pages)?;
            open = Page::open(&spec.path)?;
        }
        let written = open.append(lines);
        *page = Some(open);
        written
    }
}

/// As many whole lines as there is room for, and the rest. One line at least: a page that holds none would never be full.
fn whole_lines(lines: &[u8], limit: usize) -> (&[u8], &[u8]) {
    if lines.len() <= limit {
        return (lines, &[]);
    }
    let within = lines.get(..limit).unwrap_or_default();
    let end = memchr::memrchr(b'\n', within).or_else(|| memchr::memchr(b'\n', lines));
    lines.split_at(end.map_or(lines.len(), |at| at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_come_together_are_parted_where_a_page_ends_and_never_inside_of_one() {
        for (limit, part) in [(3, "a\n"), (4, "a\nb\n"), (9, "a\nb\nlong\n"), (1, "a\n")] {
            let (first, rest) = whole_lines(b"a\nb\nlong\n", limit);
            assert_eq!((first, first.len() + rest.len()), (part.as_bytes(), 9), "{limit}");
        }
    }
}
