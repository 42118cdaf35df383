//! What keeps things that are done again and again from falling into step.

use std::{cell::RefCell, time::Duration};

use rand::{RngExt, rngs::StdRng};

thread_local! {
    static RANDOM: RefCell<StdRng> = RefCell::new(rand::make_rng());
}

/// A tenth shorter or longer.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(RANDOM.with_borrow_mut(|random| random.random_range(0.9..=1.1)))
}

/// What this thread draws from now on follows from the seed.
#[cfg(test)]
pub(super) fn seed(seed: u64) {
    RANDOM.set(rand::SeedableRng::seed_from_u64(seed));
}
