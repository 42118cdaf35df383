//! How far apart a stream's tokens come.

use std::time::Duration;

use crate::meter::JUDGED_GAPS;

/// The mean of a stream's first gaps, told once.
#[derive(Debug, Default)]
pub(in crate::proxy) struct MeanGap {
    sum: Duration,
    gaps: u32,
    is_told: bool,
}

impl MeanGap {
    pub(in crate::proxy) fn add(&mut self, gap: Duration) {
        if self.gaps < JUDGED_GAPS {
            self.gaps += 1;
            self.sum += gap;
        }
    }

    /// The mean, if the gaps are as many as count.
    pub(in crate::proxy) fn of_enough(&mut self) -> Option<Duration> {
        if self.gaps < JUDGED_GAPS { None } else { self.take() }
    }

    /// The mean of however many there were.
    pub(in crate::proxy) fn take(&mut self) -> Option<Duration> {
        if self.gaps == 0 || std::mem::replace(&mut self.is_told, true) {
            return None;
        }
        Some(self.sum / self.gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_told_once_of_the_first_gaps_alone() {
        let mut mean = MeanGap::default();
        assert_eq!(mean.take(), None);
        for _ in 0..JUDGED_GAPS - 1 {
            mean.add(Duration::from_millis(10));
        }
        assert_eq!(mean.of_enough(), None);
        mean.add(Duration::from_millis(10));
        mean.add(Duration::from_secs(9));
        assert_eq!(mean.of_enough(), Some(Duration::from_millis(10)));
        assert_eq!((mean.of_enough(), mean.take()), (None, None));
        let mut short = MeanGap::default();
        short.add(Duration::from_millis(1));
        short.add(Duration::from_millis(3));
        assert_eq!((short.of_enough(), short.take()), (None, Some(Duration::from_millis(2))));
    }
}
