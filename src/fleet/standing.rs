//! What a choice must know of an instance, in one word: whether it can take requests, and how large its part of them is.
//!
//! Health and weight have different writers, and each writes rarely, so they change the word by compare-and-swap. A choice
//! loads it once for each instance, from a cache line that stays shared.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Health, Weight};

/// Where the part begins in the word; below it are the states.
const PART: u32 = 32;

const HEALTHY: u64 = 1;
const UNHEALTHY: u64 = 1 << 1;

/// What keeps requests away.
const UNABLE: u64 = UNHEALTHY;

/// The part of an instance of weight 1. Parts are thousandths of a weight, so that an instance can be given less than its
/// weight.
const UNIT: u64 = 1_000;

/// An instance's standing.
#[derive(Debug)]
pub(super) struct Standing(AtomicU64);

impl Standing {
    /// Of unknown health, with its whole part.
    pub(super) fn new(weight: Weight) -> Self {
        Self(AtomicU64::new(whole(weight) << PART))
    }

    /// Its part of the fleet's requests; zero when it can take none.
    pub(super) fn part(&self) -> u64 {
        let word = self.0.load(Relaxed);
        if word & UNABLE == 0 { word >> PART } else { 0 }
    }

    pub(super) fn health(&self) -> Health {
        let word = self.0.load(Relaxed);
        if word & UNHEALTHY != 0 {
            Health::Unhealthy
        } else if word & HEALTHY != 0 {
            Health::Healthy
        } else {
            Health::Unknown
        }
    }

    pub(super) fn set_health(&self, health: Health) {
        let bits = match health {
            Health::Unknown => 0,
            Health::Healthy => HEALTHY,
            Health::Unhealthy => UNHEALTHY,
        };
        self.change(|word| word & !(HEALTHY | UNHEALTHY) | bits);
    }

    pub(super) fn set_weight(&self, weight: Weight) {
        self.change(|word| word & (u64::MAX >> PART) | whole(weight) << PART);
    }

    pub(super) fn weight(&self) -> Weight {
        Weight::clamped((self.0.load(Relaxed) >> PART) / UNIT)
    }

    fn change(&self, change: impl Fn(u64) -> u64) {
        self.0.update(Relaxed, Relaxed, change);
    }
}

fn whole(weight: Weight) -> u64 {
    u64::from(weight.get()) * UNIT
}
