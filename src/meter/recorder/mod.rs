//! The last outcomes of an endpoint, one by one, for whoever asks what another plan would have made of them.
//!
//! Each worker has a ring of its own and is its only writer, so that a record costs some plain stores: no lock, no read-modify-write
//! instruction, no shared cache line. A reader takes a copy without the writer's leave and throws away what may have been overwritten
//! meanwhile.
//!
//! **Why no torn record is accepted.** The writer of record n stores `begun = n + 1`, then a release fence, then the record's words, all
//! relaxed, then `done = n + 1` with release. A reader loads `done` with acquire, so it sees every word of every record below it, or
//! what was written over it later. It copies the words, then an acquire fence, then loads `begun`. Had it seen a word of record n + capacity
//! in the place of record n, the two fences would order that record's `begun` before this load (C++20, section 31.11, by the word
//! in between), so `begun` is at least n + capacity + 1, and exactly the records below `begun` - capacity are thrown away.
//!
//! **Memory** is taken as a ring fills for the first time, a chunk at a time: an endpoint without requests has none.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
};

use super::{
    Record,
    record::{RECORD_BYTES, Words},
};
use crate::{
    name::{ShiftId, Version},
    time::Moment,
    weight::Share,
};

/// Records taken from the allocator at a time: 10 KiB, which a worker writes to in some microseconds.
const CHUNK: usize = 256;

/// Parts that are remembered. A shift has as many as steps; records of older ones are lost, which takes a plan of thousands.
const PARTS: usize = 4_096;

/// What of an endpoint's route its outcomes depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What blue serves.
    pub blue: Version,
    /// What green serves, if there is a green.
    pub green: Option<Version>,
    /// The shift that gives green its share.
    pub shift: Option<ShiftId>,
    /// Green's share.
    pub share: Share,
}

/// The recording of one endpoint.
#[derive(Debug)]
pub struct Recorder {
    capacity: usize,
    rings: Box<[Ring]>,
    parts: Mutex<Parts>,
}

/// Where a route's outcomes are recorded, if they are.
#[derive(Clone, Debug, Default)]
pub struct Recording(Option<(Arc<Recorder>, u32)>);

/// A copy of a recording.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// In the order in which they were dealt, each with what was in force.
    pub records: Vec<(Record, Arc<Part>)>,
    /// Since when every request that has ended is among them; `None` when all are that ever did.
    pub complete_from: Option<Moment>,
}

#[derive(Debug, Default)]
struct Parts {
    /// The number of the first one that is remembered.
    first: u32,
    known: std::collections::VecDeque<Arc<Part>>,
}

type Slot = [AtomicU64; RECORD_BYTES / size_of::<u64>()];

/// One worker's. Aligned so that two workers' counts share no cache line.
#[derive(Debug)]
#[repr(align(128))]
struct Ring {
    /// Records of which the first word may have been written.
    begun: AtomicU64,
    /// Records of which the last word has been.
    done: AtomicU64,
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
    /// The capacity less one; the capacity is a power of two.
    mask: u64,
}

impl Recorder {
    /// For so many outcomes, on each worker rounded up to a power of two.
    pub fn new(workers: usize, outcomes: usize) -> Self {
        let capacity = outcomes.div_ceil(workers.max(1)).next_power_of_two();
        let rings = (0..workers.max(1)).map(|_| Ring::new(capacity)).collect();
        Self { capacity: outcomes, rings, parts: Mutex::default() }
    }

    /// How many outcomes it was made for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Copies what there is. Requests that have not ended are not in it.
    pub fn read(&self) -> Recorded {
        let mut records = Vec::new();
        let mut complete_from = None;
        let (first, known) = {
            let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            (parts.first, Vec::from(parts.known.clone()))
        };
        for ring in &self.rings {
            let (copied, is_whole) = ring.copy();
            let copied: Vec<Record> = copied.into_iter().filter_map(Record::unpack).collect();
            if !is_whole {
                // What ended before the oldest that is left was dealt before it ended, at the latest.
                let oldest = copied.first().map(|record| record.dealt_at.after(record.duration));
                complete_from = complete_from.max(oldest);
            }
            let resolved = copied.into_iter().filter_map(|record| {
                let place = usize::try_from(record.part.wrapping_sub(first)).ok()?;
                Some((record, Arc::clone(known.get(place)?)))
            });
            records.extend(resolved);
        }
        // One worker's ring may go back farther than another's; where only some are known, rates would look lower than they were.
        records.retain(|(record, _): &(Record, _)| complete_from.is_none_or(|from| record.dealt_at >= from));
        records.sort_by_key(|(record, _)| record.dealt_at);
        Recorded { records, complete_from }
    }

    /// The number of what is in force from now on.
    fn part(&self, part: Part) -> u32 {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.known.back().is_none_or(|newest| **newest != part) {
            if parts.known.len() == PARTS {
                parts.known.pop_front();
                parts.first = parts.first.wrapping_add(1);
            }
            parts.known.push_back(Arc::new(part));
        }
        let newest = u32::try_from(parts.known.len() - 1).unwrap_or(u32::MAX);
        parts.first.wrapping_add(newest)
    }
}

impl Recording {
    /// To this recorder, under what is in force now.
    pub fn to(recorder: Arc<Recorder>, part: Part) -> Self {
        let number = recorder.part(part);
        Self(Some((recorder, number)))
    }

    /// To the same recorder, under what is in force from now on.
    pub fn under(&self, part: Part) -> Self {
        self.recorder().map_or_else(Self::default, |recorder| Self::to(Arc::clone(recorder), part))
    }

    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The recorder, if there is one.
    pub fn recorder(&self) -> Option<&Arc<Recorder>> {
        self.0.as_ref().map(|(recorder, _)| recorder)
    }

    /// Records an outcome. Called by this worker alone.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn write(&self, worker: usize, record: &Record) {
        let Some((recorder, part)) = &self.0 else { return };
        let ring = recorder.rings.get(worker);
        let ring = ring.expect("a worker's number is below the number of workers at start-up");
        ring.write(record.pack_under(*part));
    }
}

impl Ring {
    fn new(capacity: usize) -> Self {
        let chunks = (0..capacity.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        let mask = capacity as u64 - 1;
        Self { begun: AtomicU64::new(0), done: AtomicU64::new(0), chunks, mask }
    }

    fn write(&self, words: Words) {
        let number = self.done.load(Relaxed);
        let (chunk, place) = self.place(number);
        let slots = chunk.get_or_init(|| {
            let length = CHUNK.min(self.capacity());
            (0..length).map(|_| Slot::default()).collect()
        });
        self.begun.store(number + 1, Relaxed);
        fence(Release);
        for (cell, word) in slots[place].iter().zip(words) {
            cell.store(word, Relaxed);
        }
        self.done.store(number + 1, Release);
    }

    /// The records that are certain, the oldest first, and whether none was ever overwritten.
    fn copy(&self) -> (Vec<Words>, bool) {
        let capacity = self.capacity() as u64;
        let done = self.done.load(Acquire);
        let first = done.saturating_sub(capacity);
        let copied: Vec<Words> = (first..done)
            .map(|number| {
                let (chunk, place) = self.place(number);
                let slots = chunk.get().expect("a record that is done has its chunk");
                std::array::from_fn(|word| slots[place][word].load(Relaxed))
            })
            .collect();
        fence(Acquire);
        let overwritten = self.begun.load(Relaxed).saturating_sub(capacity);
        let unsure = usize::try_from(overwritten.saturating_sub(first)).unwrap_or(usize::MAX);
        let certain = copied.get(unsure..).unwrap_or_default().to_vec();
        (certain, overwritten == 0)
    }

    #[expect(clippy::cast_possible_truncation, reason = "below the capacity, which is a usize")]
    fn place(&self, number: u64) -> (&OnceLock<Box<[Slot]>>, usize) {
        let place = (number & self.mask) as usize;
        (&self.chunks[place / CHUNK], place % CHUNK)
    }

    fn capacity(&self) -> usize {
        usize::try_from(self.mask).map_or(usize::MAX, |mask| mask + 1)
    }
}

#[cfg(test)]
mod tests;
