//! Shadows: fleets that get copies of an endpoint's requests, and whose answers nobody gets.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::EndpointRoute;
use crate::{name::VariantName, weight::Share};

/// An endpoint's shadow at a moment.
#[derive(Debug)]
pub struct Shadow {
    /// What it is called.
    pub name: VariantName,
    /// Which part of the endpoint's requests it gets copies of.
    pub share: Share,
    /// How many copies may be under way over all workers.
    pub max_in_flight: usize,
    /// The largest request body of which there is a copy.
    pub body_limit_bytes: usize,
    /// Its fleet, as the one in service of an endpoint without green, without second tries and without a shadow of its own.
    pub route: Arc<EndpointRoute>,
    /// Of which requests there was no copy.
    pub missed: Arc<Missed>,
}

/// Why there is no copy of a request that was to have one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    /// As many copies were under way as there may be.
    Busy,
    /// The request's body was larger than bodies of copies may be.
    TooLarge,
    /// The request's body did not come to its end.
    Incomplete,
}

/// How many requests had no copy, by why. Counted together by all workers: it happens to copies alone, and to few of those.
#[derive(Debug, Default)]
pub struct Missed {
    counts: [AtomicU64; Miss::ALL.len()],
}

impl Miss {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Busy, Self::TooLarge, Self::Incomplete];

    /// `busy`, `too_large` or `incomplete`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
            Self::Incomplete => "incomplete",
        }
    }
}

impl Missed {
    /// One more.
    pub fn count(&self, miss: Miss) {
        if let Some(count) = self.counts.get(miss as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many, in the order of [`Miss::ALL`].
    pub fn read(&self) -> [u64; Miss::ALL.len()] {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}
