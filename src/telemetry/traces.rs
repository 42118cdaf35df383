//! The workers' side of tracing: which requests are kept as spans, and the queues that they wait in for whoever sends them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
    mpsc::{Receiver, SyncSender, sync_channel},
};

use rand::{Rng, RngExt as _};

use super::{passage::Passage, trace_context::TraceContext};
use crate::config::TracesConfig;

/// Chooses requests and hands them on.
#[derive(Debug)]
pub struct Traces {
    /// One for each worker.
    queues: Box<[SyncSender<Box<Passage>>]>,
    sample: f64,
    follow_parent: bool,
    counts: Arc<TraceCounts>,
}

/// The other end of the queues.
#[derive(Debug)]
pub struct Traced {
    /// One for each worker.
    pub queues: Vec<Receiver<Box<Passage>>>,
    /// What became of spans.
    pub counts: Arc<TraceCounts>,
}

/// What became of spans. Of what found no room in a queue, its requests count.
#[derive(Debug, Default)]
pub struct TraceCounts {
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Traces {
    /// The two ends.
    pub fn new(config: &TracesConfig, workers: usize) -> (Arc<Self>, Traced) {
        let counts = Arc::new(TraceCounts::default());
        let (senders, queues): (Vec<_>, Vec<_>) = (0..workers).map(|_| sync_channel(config.queue)).unzip();
        let (sample, follow_parent) = (config.sample, config.follow_parent);
        let traces = Self { queues: senders.into(), sample, follow_parent, counts: Arc::clone(&counts) };
        (Arc::new(traces), Traced { queues, counts })
    }

    /// The place in a trace of a request that is kept; `None` of one that is not. Where the caller has decided, and its decision counts, it is
    /// the same for the whole trace; else chance decides.
    pub fn choose(&self, given: Option<TraceContext>, rng: &mut impl Rng) -> Option<TraceContext> {
        let by_chance = |rng: &mut _| is_chosen(self.sample, rng);
        let is_kept = match given {
            Some(context) if self.follow_parent => context.is_sampled(),
            Some(_) | None => by_chance(rng),
        };
        if !is_kept {
            return None;
        }
        let context = given.unwrap_or_else(|| {
            let trace = rng.random_range(1..=u128::MAX);
            TraceContext { trace, parent: None, span: 0, flags: 0 }
        });
        Some(context.keep(new_span(rng)))
    }

    /// Takes a request that is kept, from this worker.
    pub fn take(&self, worker: usize, passage: Box<Passage>) {
        let Some(queue) = self.queues.get(worker) else { return };
        if queue.try_send(passage).is_err() {
            self.counts.note_dropped();
        }
    }

    /// Spans that were sent, requests that were lost for want of room, and spans that could not be sent.
    pub(super) fn counts(&self) -> [u64; 3] {
        let TraceCounts { sent, dropped, failed } = &*self.counts;
        [sent.load(Relaxed), dropped.load(Relaxed), failed.load(Relaxed)]
    }
}

impl TraceCounts {
    /// So many spans were sent.
    pub fn note_sent(&self, spans: u64) {
        self.sent.fetch_add(spans, Relaxed);
    }

    /// So many could not be sent.
    pub fn note_failed(&self, spans: u64) {
        self.failed.fetch_add(spans, Relaxed);
    }

    fn note_dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }
}

/// An id for a span.
pub fn new_span(rng: &mut impl Rng) -> u64 {
    rng.random_range(1..=u64::MAX)
}

/// Whether chance chooses one at these odds.
pub fn is_chosen(odds: f64, rng: &mut impl Rng) -> bool {
    odds >= 1.0 || odds > 0.0 && rng.random::<f64>() < odds
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn traces(sample: f64, follow_parent: bool) -> Traces {
        let counts = Arc::default();
        Traces { queues: Box::default(), sample, follow_parent, counts }
    }

    #[test]
    fn a_callers_decision_counts_where_it_is_to_and_chance_decides_otherwise() {
        let rng = &mut StdRng::seed_from_u64(1);
        let context = |flags| Some(TraceContext { trace: 7, parent: Some(8), span: 0, flags });
        let kept = traces(0.0, true).choose(context(1), rng).unwrap();
        assert_eq!((kept.trace, kept.parent, kept.flags), (7, Some(8), 1));
        assert!(kept.span != 0);
        assert_eq!(traces(1.0, true).choose(context(0), rng), None);
        assert_eq!(traces(0.0, false).choose(context(1), rng), None);
        let kept = traces(1.0, false).choose(context(0), rng).unwrap();
        assert_eq!((kept.trace, kept.flags), (7, 1));
        let fresh = traces(1.0, true).choose(None, rng).unwrap();
        assert_eq!((fresh.parent, fresh.flags), (None, 1));
        let tenth = traces(0.1, true);
        let kept = (0..10_000).filter(|_| tenth.choose(None, rng).is_some()).count();
        assert!((900..1_100).contains(&kept), "{kept}");
    }
}
