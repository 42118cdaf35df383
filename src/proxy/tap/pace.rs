//! How far apart a stream's tokens come.

use crate::meter::{GapCounts, Gaps, JUDGED_GAPS};

/// A stream's first gaps, told once. Counted in a place of their own, which a stream without gaps does not need.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Pace {
    counts: Option<Box<GapCounts>>,
    told: Option<Gaps>,
}

impl Pace {
    pub(in crate::proxy) fn add(&mut self, gap: std::time::Duration) {
        self.counts.get_or_insert_default().add(gap);
    }

    /// How they are, if they are as many as count and it was not told before.
    pub(in crate::proxy) fn of_enough(&mut self) -> Option<Gaps> {
        let has_enough = self.counts.as_ref().is_some_and(|counts| counts.count() == JUDGED_GAPS);
        if has_enough { self.take() } else { None }
    }

    /// How however many were, if it was not told before.
    pub(in crate::proxy) fn take(&mut self) -> Option<Gaps> {
        if self.told.is_some() {
            return None;
        }
        self.told = self.counts.as_ref().and_then(|counts| counts.gaps());
        self.told
    }

    /// What was told.
    pub(in crate::proxy) fn told(&self) -> Option<Gaps> {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_pace_is_told_once() {
        let mut pace = Pace::default();
        assert_eq!(pace.take(), None);
        for _ in 0..JUDGED_GAPS - 1 {
            pace.add(Duration::from_millis(10));
        }
        assert_eq!(pace.of_enough(), None);
        pace.add(Duration::from_millis(10));
        let told = pace.of_enough();
        assert_eq!(told.map(|gaps| gaps.mean), Some(Duration::from_millis(10)));
        assert_eq!((pace.of_enough(), pace.take(), pace.told()), (None, None, told));
        let mut short = Pace::default();
        short.add(Duration::from_millis(1));
        short.add(Duration::from_millis(3));
        assert_eq!(short.of_enough(), None);
        assert_eq!(short.take().map(|gaps| gaps.mean), Some(Duration::from_millis(2)));
    }
}
