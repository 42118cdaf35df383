//! When requests arrive.

use std::time::Duration;

use rand::{RngExt as _, rngs::StdRng};

/// Requests per second on the long run: enough evidence in a bake of two seconds, and a fraction of what two cores can do. A debug
/// build computes some twenty times as long, and gets fewer.
const MEAN_RATE: f64 = if cfg!(debug_assertions) { 40.0 } else { 120.0 };

/// How far the rate swings around its mean, and how long one swing takes. A day's traffic does so in hours; alarms that hold only at a
/// constant rate would show it here.
const SWING: f64 = 0.35;
const SWING_SECONDS: f64 = 12.0;

/// A Poisson process with a rate that swells and ebbs: arrivals at the highest rate, of which some are struck out (thinning; Lewis
/// and Shedler 1979).
#[derive(Debug)]
pub(super) struct Arrivals {
    random: StdRng,
    seconds: f64,
}

impl Arrivals {
    pub(super) fn new(random: StdRng) -> Self {
        Self { random, seconds: 0.0 }
    }

    /// When the next one is due, counted from the start.
    pub(super) fn next_after_start(&mut self) -> Duration {
        const HIGHEST: f64 = MEAN_RATE * (1.0 + SWING);
        loop {
            // 1 - u is above zero, for u is below one.
            self.seconds -= (1.0 - self.random.random::<f64>()).ln() / HIGHEST;
            if self.random.random::<f64>() * HIGHEST < rate(self.seconds) {
                return Duration::from_secs_f64(self.seconds);
            }
        }
    }
}

fn rate(seconds: f64) -> f64 {
    MEAN_RATE * (1.0 + SWING * (std::f64::consts::TAU * seconds / SWING_SECONDS).sin())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn times(seed: u64) -> Vec<Duration> {
        let mut arrivals = Arrivals::new(StdRng::seed_from_u64(seed));
        std::iter::repeat_with(|| arrivals.next_after_start()).take(12_000).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals() {
        assert_eq!(times(3), times(3));
        assert_ne!(times(3), times(4));
    }

    #[test]
    fn arrivals_rise_in_time_and_come_at_the_mean_rate_on_the_long_run() {
        let times = times(1);
        assert!(times.is_sorted());
        let seconds = times.last().unwrap().as_secs_f64();
        let expected = 12_000.0 / MEAN_RATE;
        // The deviation of 12,000 arrivals is a hundredth; half a swing more or less is another two at the highest rate.
        assert!((0.95 * expected..1.05 * expected).contains(&seconds), "{seconds}");
    }
}
