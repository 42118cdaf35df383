//! Which of the requests dealt to green last have failed, in the order in which they were dealt.
//!
//! Counters say how many of a stretch of requests failed, and not whether the good ones came before the break or in between. The order
//! does: requests that were dealt one after the other and all failed are a run, and a long run is an outage, however much was well before. Where
//! many requests are open at a time they end in another order than they were dealt in, and what is still open stands between those that have
//! failed; so it also says how close together the failures are that lie closest.
//!
//! Each worker has a ring of its own and is its only writer: a dealt request costs a plain store or two, a failure a look through the ring. A
//! reader merges the rings by the moments of dealing, and leaves out what one of them may have forgotten. A request that is open, or
//! came to anything but a failure, ends a run.
//!
//! **Why no order is made up.** The writer of place n has published n places before (release), then a release fence, then writes. A reader that
//! sees what stands in place n + [`KEPT`] in the stead of place n therefore sees, after an acquire fence, that n + [`KEPT`] places were
//! published, and throws place n away.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

use crate::time::Moment;

/// Requests that each worker remembers. A run is found as long as fewer than these are dealt between its first request and the end of
/// its last: one that takes a second to fail, up to a thousand requests a second and worker. More would be found, at 8 bytes each.
const KEPT: usize = 1_024;

/// Of how many failures it is known how close together they came.
pub const CROWDS: [u64; 16] = [3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 24, 28, 34, 40];

/// The requests dealt to a shift's green, on all workers.
#[derive(Debug)]
pub struct DealingOrder {
    rings: Box<[Ring]>,
}

/// The longest run of failures, how close together the others are, and of how many requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Run {
    /// Requests dealt one after the other that all failed.
    pub length: u64,
    /// For each number of [`CROWDS`], how many requests dealt one after the other hold so many failures, at the least; 0 where there are
    /// fewer failures.
    pub spans: [u64; CROWDS.len()],
    /// Requests dealt so far, those of the run among them.
    pub dealt: u64,
}

/// One worker's. Aligned so that two workers' rings share no cache line.
#[derive(Debug)]
#[repr(align(128))]
struct Ring {
    /// Requests dealt on this worker.
    dealt: AtomicU64,
    places: [AtomicU64; KEPT],
}

/// A place of a ring: the moment of dealing in nanoseconds, and in the lowest bit whether the request failed.
#[derive(Clone, Copy)]
struct Deal(u64);

impl DealingOrder {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self { rings: (0..workers.max(1)).map(|_| Ring::default()).collect() }
    }

    /// A request is dealt now. Called by this worker alone; one that is unknown is passed over.
    pub fn dealt(&self, worker: usize, now: Moment) {
        if let Some(ring) = self.rings.get(worker) {
            ring.push(Deal::at(now));
        }
    }

    /// The request that this worker dealt at that moment has failed. Called before the failure is counted, so that whoever sees
    /// the count finds the run.
    pub fn failed(&self, worker: usize, dealt_at: Moment) {
        if let Some(ring) = self.rings.get(worker) {
            ring.mark(Deal::at(dealt_at));
        }
    }

    /// The longest run of failures among what is remembered.
    pub fn longest_run(&self) -> Run {
        let (mut deals, mut dealt, mut known_after) = (Vec::new(), 0, None);
        for ring in &self.rings {
            let copy = ring.copy();
            dealt += copy.dealt;
            // What this worker forgot was dealt up to its oldest place; before that, nobody knows what came between two others.
            known_after = known_after.max(copy.oldest.filter(|_| copy.is_cut).map(Deal::nanos));
            deals.extend(copy.deals);
        }
        deals.retain(|deal| known_after.is_none_or(|after| deal.nanos() > after));
        // Stable: what was dealt in the same nanosecond keeps an order that does not depend on what it came to.
        deals.sort_by_key(|deal| deal.nanos());
        let places = (0_u64..).zip(&deals).filter(|(_, deal)| deal.has_failed());
        let failed: Vec<u64> = places.map(|(place, _)| place).collect();
        Run::of(&failed, dealt)
    }
}

impl Run {
    /// Of so many requests dealt, those that failed by their places in the order of dealing, rising.
    pub fn of(failed: &[u64], dealt: u64) -> Self {
        let (mut length, mut longest, mut next) = (0, 0, None);
        for place in failed {
            length = if next == Some(*place) { length + 1 } else { 1 };
            longest = longest.max(length);
            next = Some(place + 1);
        }
        Self { length: longest, spans: CROWDS.map(|number| span(failed, number)), dealt }
    }
}

/// How many requests hold so many failures at the least, by the places of the failures.
fn span(failed: &[u64], number: u64) -> u64 {
    let others = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let ends = failed.iter().skip(others);
    failed.iter().zip(ends).map(|(first, last)| last - first + 1).min().unwrap_or(0)
}

/// What a ring held.
struct Copied {
    deals: Vec<Deal>,
    oldest: Option<Deal>,
    is_cut: bool,
    dealt: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Self { dealt: AtomicU64::new(0), places: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Ring {
    fn push(&self, deal: Deal) {
        let number = self.dealt.load(Relaxed);
        fence(Release);
        self.place(number).store(deal.0, Relaxed);
        self.dealt.store(number.wrapping_add(1), Release);
    }

    /// Marks the newest request of this moment that is not marked: those of one nanosecond are as good as each other.
    fn mark(&self, deal: Deal) {
        let dealt = self.dealt.load(Relaxed);
        let numbers = dealt.saturating_sub(KEPT as u64)..dealt;
        let is_it = |place: &&AtomicU64| place.load(Relaxed) == deal.0;
        if let Some(place) = numbers.rev().map(|number| self.place(number)).find(is_it) {
            place.store(deal.with_failure().0, Relaxed);
        }
    }

    fn copy(&self) -> Copied {
        let dealt = self.dealt.load(Acquire);
        let first = dealt.saturating_sub(KEPT as u64);
        let copied: Vec<Deal> = (first..dealt).map(|number| Deal(self.place(number).load(Relaxed))).collect();
        fence(Acquire);
        // The place that follows the published ones may be half way to its next request.
        let overwritten = (self.dealt.load(Relaxed) + 1).saturating_sub(KEPT as u64);
        let unsure = usize::try_from(overwritten.saturating_sub(first)).unwrap_or(usize::MAX);
        let deals = copied.get(unsure..).unwrap_or_default().to_vec();
        Copied { oldest: deals.first().copied(), is_cut: overwritten > 0, deals, dealt }
    }

    #[expect(clippy::cast_possible_truncation, clippy::indexing_slicing, reason = "below the ring's length")]
    fn place(&self, number: u64) -> &AtomicU64 {
        &self.places[(number % KEPT as u64) as usize]
    }
}

impl Deal {
    /// The clock's 584 years are 292 with a bit less.
    fn at(moment: Moment) -> Self {
        Self(moment.as_nanos() << 1)
    }

    fn with_failure(self) -> Self {
        Self(self.0 | 1)
    }

    fn has_failed(self) -> bool {
        self.0 & 1 == 1
    }

    fn nanos(self) -> u64 {
        self.0 >> 1
    }
}

#[cfg(test)]
mod tests;
