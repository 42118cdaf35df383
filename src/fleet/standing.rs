//! What a choice must know of an instance, in one word: whether it can take requests, and how large its part of them is.
//!
//! Health, weight and ejection have different writers, and each writes rarely, so they change the word by compare-and-swap. A choice
//! loads it once for each instance, from a cache line that stays shared.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Health, Weight};

/// Where the part begins in the word; below it are the weight, the growth and the states that it is made from.
const PART: u32 = 32;
const WEIGHT: u32 = 16;
const GROWTH: u32 = 4;
const GROWTH_BITS: u64 = 0x3ff;

const HEALTHY: u64 = 1;
const UNHEALTHY: u64 = 1 << 1;

const EJECTED: u64 = 1 << 2;
const ON_TRIAL: u64 = 1 << 3;

/// What keeps requests away.
const UNABLE: u64 = UNHEALTHY | EJECTED;

/// The growth of an instance that has all of its weight. Parts are thousandths of a weight, so that one can be given less.
const GROWN: u16 = 1_000;

/// An instance's standing.
#[derive(Debug)]
pub(super) struct Standing(AtomicU64);

impl Standing {
    /// Of unknown health, with its whole part.
    pub(super) fn new(weight: Weight) -> Self {
        Self(AtomicU64::new(sized(0, weight, GROWN)))
    }

    /// Its part of the fleet's requests; zero when it can take none.
    pub(super) fn part(&self) -> u64 {
        let word = self.0.load(Relaxed);
        if word & UNABLE == 0 { word >> PART } else { 0 }
    }

    /// The same of one that may have been ejected, when there is no other.
    pub(super) fn part_in_need(&self) -> u64 {
        let word = self.0.load(Relaxed);
        if word & UNHEALTHY == 0 { word >> PART } else { 0 }
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.0.load(Relaxed) & EJECTED != 0
    }

    pub(super) fn eject(&self) {
        self.change(|word| word & !ON_TRIAL | EJECTED);
    }

    pub(super) fn readmit(&self) {
        self.change(|word| word & !(ON_TRIAL | EJECTED));
    }

    /// Whether it was ejected and not on trial, and now is on trial.
    pub(super) fn begin_trial(&self) -> bool {
        let begun = |word| (word & (EJECTED | ON_TRIAL) == EJECTED).then_some(word | ON_TRIAL);
        self.0.try_update(Relaxed, Relaxed, begun).is_ok()
    }

    pub(super) fn end_trial(&self) {
        self.change(|word| word & !ON_TRIAL);
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
        self.change(|word| sized(word, weight, growth(word)));
    }

    pub(super) fn weight(&self) -> Weight {
        weight(self.0.load(Relaxed))
    }

    /// How much of its weight it gets, in thousandths, 1 to 1,000.
    pub(super) fn set_growth(&self, growth: u16) {
        self.change(|word| sized(word, weight(word), growth.clamp(1, GROWN)));
    }

    fn change(&self, change: impl Fn(u64) -> u64) {
        self.0.update(Relaxed, Relaxed, change);
    }
}

/// The word with another weight and growth, and the part that they make.
fn sized(word: u64, weight: Weight, growth: u16) -> u64 {
    let states = word & (HEALTHY | UNHEALTHY | EJECTED | ON_TRIAL);
    let (weight, growth) = (u64::from(weight.get()), u64::from(growth));
    states | growth << GROWTH | weight << WEIGHT | (weight * growth) << PART
}

fn weight(word: u64) -> Weight {
    Weight::clamped(word >> WEIGHT & 0xffff)
}

fn growth(word: u64) -> u16 {
    u16::try_from(word >> GROWTH & GROWTH_BITS).unwrap_or(GROWN)
}
