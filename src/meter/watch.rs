//! What a running shift tells the data plane: which bet a request belongs to, which latency bounds to count against, and whether to keep the
//! order of dealing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{Bell, DealingOrder, LateMarks, MAX_TOKEN_BOUNDS, Outcome, TokenBound, Verdict};
use crate::time::Moment;

/// How many latency bounds a shift's alarms may have between them.
pub const MAX_BOUNDS: usize = 8;

/// The number of the bet that was newest when a request was dealt; a guard's new bets must not be paid by the late
/// failures of requests dealt before. Zero outside of shifts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp(pub u32);

/// Which of an instance's first requests are counted, but not judged by how long they take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WarmUp {
    /// So many.
    Requests(u32),
    /// Those within this time of the first.
    Time(Duration),
}

/// Shared by whoever looks at the shift's alarms, who writes, and the workers, which read it at each request of the endpoint under shift.
#[derive(Debug)]
pub struct WatchPoint {
    stamp: AtomicU32,
    bounds_nanos: Vec<u64>,
    warm_up: Option<WarmUp>,
    token_bounds: Vec<TokenBound>,
    order: Option<DealingOrder>,
    /// Only of a shift that compares latency.
    marks: Option<ArcSwap<LateMarks>>,
    /// Whether it was this shift that rang since it was looked at.
    has_rung: AtomicBool,
    bell: Arc<Bell>,
}

impl WatchPoint {
    /// For a shift whose latency alarms have these bounds; at most [`MAX_BOUNDS`] are kept.
    pub fn new(bounds: &[Duration], bell: Arc<Bell>) -> Self {
        let nanos = |bound: &Duration| u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Self {
            stamp: AtomicU32::new(1),
            bounds_nanos: bounds.iter().take(MAX_BOUNDS).map(nanos).collect(),
            warm_up: None,
            token_bounds: Vec::new(),
            order: None,
            marks: None,
            has_rung: AtomicBool::new(false),
            bell,
        }
    }

    /// The same, where green's instances warm up first.
    pub fn warming(self, warm_up: Option<WarmUp>) -> Self {
        Self { warm_up, ..self }
    }

    /// How green's instances warm up, if they do.
    pub fn warm_up(&self) -> Option<WarmUp> {
        self.warm_up
    }

    /// The same for a shift that also has these bounds on tokens; at most [`MAX_TOKEN_BOUNDS`] are kept.
    pub fn with_token_bounds(self, bounds: &[TokenBound]) -> Self {
        Self { token_bounds: bounds.iter().take(MAX_TOKEN_BOUNDS).copied().collect(), ..self }
    }

    /// The same for a shift that looks for runs of failures, on so many workers.
    pub fn in_order(self, workers: usize) -> Self {
        Self { order: Some(DealingOrder::new(workers)), ..self }
    }

    /// The order in which green's requests are dealt, where the shift asks for it.
    pub fn order(&self) -> Option<&DealingOrder> {
        self.order.as_ref()
    }

    /// The same for a shift that compares the latency of both fleets: their open requests are looked at, too.
    pub fn comparing_latency(self) -> Self {
        Self { marks: Some(ArcSwap::default()), ..self }
    }

    /// From which times on open requests of both fleets are slow; `None` where latency is not compared.
    pub fn marks(&self) -> Option<Arc<LateMarks>> {
        self.marks.as_ref().map(ArcSwap::load_full)
    }

    /// Tells the workers other marks. They count what is dealt once they have heard of them.
    pub fn mark(&self, marks: LateMarks) {
        if let Some(known) = &self.marks {
            known.store(Arc::new(marks));
        }
    }

    /// The stamp for a request dealt now.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.stamp.load(Ordering::Relaxed))
    }

    /// Begins a new bet. Called by one thread at a time: whoever holds the lock of the shift's alarms.
    pub fn advance(&self) -> Stamp {
        let next = self.stamp.load(Ordering::Relaxed).wrapping_add(1);
        self.stamp.store(next, Ordering::Release);
        Stamp(next)
    }

    /// The latency bounds in nanoseconds.
    pub fn bounds_nanos(&self) -> &[u64] {
        &self.bounds_nanos
    }

    /// The bounds on tokens, by the index that they are counted at.
    pub fn token_bounds(&self) -> &[TokenBound] {
        &self.token_bounds
    }

    /// Wakes the evaluator. Called right after settling an outcome that speaks against green: a failure, or an answer slower than
    /// one of the bounds ([`WatchPoint::is_against`]). `now` is taken before the outcome is counted.
    pub fn ring(&self, now: Moment) {
        if !self.has_rung.load(Ordering::Relaxed) {
            self.has_rung.store(true, Ordering::Relaxed);
        }
        self.bell.ring(now);
    }

    /// Whether it has rung since this was asked last. An answer that comes too early or too late only changes in which order the shifts are
    /// looked at.
    pub fn take_rung(&self) -> bool {
        self.has_rung.load(Ordering::Relaxed) && self.has_rung.swap(false, Ordering::Relaxed)
    }

    /// Whether an outcome can tip an alarm, so that the evaluator is to be woken. What was overdue has woken it already.
    pub fn is_against(&self, outcome: &Outcome) -> bool {
        let is_slow = |(index, bound): (usize, &u64)| {
            outcome.duration.as_nanos() >= u128::from(*bound) && !outcome.overdue.contains(index)
        };
        let slow = || !outcome.is_warm_up && self.bounds_nanos.iter().enumerate().any(is_slow);
        matches!(outcome.verdict, Verdict::Failure(_)) || slow()
    }
}

impl Stamp {
    /// The slot of the meters that this stamp's requests are counted in.
    pub const fn slot(self) -> usize {
        self.0 as usize % super::reading::SLOTS
    }

    /// The stamp of the bet before.
    pub const fn before(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }

    /// The stamp of the bet after.
    pub const fn after(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How many bets ago, seen from `current`.
    pub const fn age(self, current: Self) -> u32 {
        current.0.wrapping_sub(self.0)
    }
}
