//! Meters: the counters that the data plane bumps and everything else reads.
//!
//! A meter belongs to (worker, variant, fleet). Its worker is the only writer, so every bump is a plain relaxed load and store,
//! with no read-modify-write instruction and no shared cache line. Readers add the shards up; what they see may be a few
//! nanoseconds old, and two counters of one shard may be one request apart. The tests that read them are made for that
//! (shared state has one writer; see `alarm`).

mod bell;
mod gaps;
mod grpc;
mod hedge;
mod histogram;
mod late;
mod order;
mod outcome;
mod reading;
mod record;
mod recorder;
mod rejection;
mod shard;
mod tokens;
mod watch;
mod worker;

pub use bell::Bell;
pub use gaps::{GapCounts, Gaps};
pub use grpc::GrpcStatus;
pub use hedge::Hedge;
pub use histogram::{Edge, Histogram, HistogramSnapshot};
pub use late::{LateMarks, MAX_MARKS, PassedMarks};
pub use order::{CROWDS, DealingOrder, Run};
pub use outcome::{FailureKind, Outcome, Overdue, Rescue, Verdict};
pub use reading::{CohortReading, Reading};
#[cfg(test)]
pub(crate) use record::tests::record as any_record;
pub use record::{RECORD_BYTES, Record};
pub use recorder::{Part, Recorded, Recorder, Recording};
pub use rejection::{Rejection, Rejections};
pub use shard::Shard;
pub use tokens::{JUDGED_GAPS, MAX_TOKEN_BOUNDS, Timing, TokenBound, TokenReading, WHOLE_STREAM};
pub use watch::{MAX_BOUNDS, Stamp, WarmUp, WatchPoint};
pub use worker::{Gauge, WorkerMeters};

use std::sync::{
    Arc,
    atomic::{Ordering::Acquire, fence},
};

use crate::{name::VariantName, time::Moment};

/// All workers' meters of one fleet, or of one of its variants. What is read of a fleet's is the sum over its variants.
#[derive(Debug)]
pub struct FleetMeters {
    shards: Box<[Shard]>,
    /// What a fleet with variants counts is counted here, and nothing in shards of its own.
    variants: Box<[(VariantName, Arc<FleetMeters>)]>,
}

impl FleetMeters {
    /// Zeroed meters for this many workers.
    pub fn new(workers: usize) -> Self {
        Self { shards: (0..workers.max(1)).map(|_| Shard::default()).collect(), variants: Box::default() }
    }

    /// The same with meters of its own for each variant of these names, in this order.
    pub fn with_variants<'a>(workers: usize, names: impl Iterator<Item = &'a VariantName>) -> Self {
        let variant = |name: &VariantName| (name.clone(), Arc::new(Self::new(workers)));
        Self { variants: names.map(variant).collect(), ..Self::new(workers) }
    }

    /// The meters of its variants, in their order; none where it has one, without a name.
    pub fn variants(&self) -> &[(VariantName, Arc<Self>)] {
        &self.variants
    }

    /// The meters of one of its variants.
    pub fn variant(&self, name: &VariantName) -> Option<&Arc<Self>> {
        self.variants.iter().find(|(other, _)| other == name).map(|(_, meters)| meters)
    }

    fn all_shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().chain(self.variants.iter().flat_map(|(_, meters)| &meters.shards))
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.shards.len()
    }

    /// The shard of a worker, to be written by that worker alone.
    ///
    /// # Panics
    /// When there is no such worker: the number of workers is fixed when the process starts.
    pub fn shard(&self, worker: usize) -> &Shard {
        self.shards.get(worker).expect("a worker's number is below the number of workers at start-up")
    }

    /// The sums over all workers now.
    pub fn read(&self) -> Reading {
        self.all_shards().fold(Reading::default(), |mut sum, shard| {
            shard.add_to(&mut sum);
            sum
        })
    }

    /// The worker whose first waiting request has waited longest, and since when; `None` when nobody waits. Requests wait for one variant,
    /// whose meters are asked for this.
    pub fn longest_waiting(&self) -> Option<(usize, Moment)> {
        let waiting = self.shards.iter().enumerate();
        waiting
            .filter_map(|(worker, shard)| Some((worker, shard.waiting_since()?)))
            .min_by_key(|(_, since)| *since)
    }

    /// The distribution of durations, dispatch to last byte, of all requests that got a complete answer.
    pub fn latency(&self) -> HistogramSnapshot {
        self.merged(|shard| Some(shard.latency()))
    }

    /// One value for each request that has it: what green is compared with blue by.
    pub fn times(&self, timing: Timing) -> HistogramSnapshot {
        self.merged(|shard| shard.times(timing))
    }

    /// How many of these values are at least as long as each of these times, which rise strictly.
    pub fn tails(&self, timing: Timing, edges: &[Edge]) -> Vec<u64> {
        let mut tails = vec![0; edges.len()];
        for histogram in self.all_shards().filter_map(|shard| shard.times(timing)) {
            histogram.add_tails(edges, &mut tails);
        }
        tails
    }

    /// For each of so many marks of a bank, requests that passed it while they were open and have not been answered since. To be read after
    /// [`FleetMeters::tails`], so that what is answered meanwhile is not seen twice.
    pub fn late(&self, bank: usize, marks: usize) -> Vec<u64> {
        fence(Acquire);
        let mut late = vec![0; marks];
        for shard in self.all_shards() {
            for (mark, late) in late.iter_mut().enumerate().take(MAX_MARKS) {
                *late += shard.late(bank, mark);
            }
        }
        late
    }

    /// The distribution of times from dispatch to the response's head.
    pub fn first_byte(&self) -> HistogramSnapshot {
        self.merged(|shard| Some(shard.first_byte()))
    }

    /// The distribution of times from requests' arrival to their dispatch, as far as they were told.
    pub fn overhead(&self) -> HistogramSnapshot {
        self.merged(Shard::overheads)
    }

    /// The distribution of times from dispatch to the first token of streams.
    pub fn first_token(&self) -> HistogramSnapshot {
        self.times(Timing::FirstToken)
    }

    /// The distribution of times from one token of a stream to the next, every gap of it.
    pub fn token_gap(&self) -> HistogramSnapshot {
        self.merged(Shard::token_gaps)
    }

    fn merged(&self, which: impl Fn(&Shard) -> Option<&Histogram>) -> HistogramSnapshot {
        let mut sum = HistogramSnapshot::default();
        for histogram in self.all_shards().filter_map(which) {
            histogram.add_to(&mut sum);
        }
        sum
    }
}
