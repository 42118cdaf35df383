//! Spans of time at three resolutions: seconds, minutes and five minutes.
//!
//! Each sample is in all three, so that a question is answered from the coarsest that fits its period, or from one that still reaches back so
//! far. What is asked for in seconds is seldom older than a quarter of an hour; CloudWatch keeps seconds for three hours, minutes for fifteen days.

use std::collections::VecDeque;

/// How long seconds are kept.
pub const FINE_SECONDS: i64 = 900;

/// How long minutes are kept: a day, which is as far as alarms of such periods look, and two periods of an hour more.
pub const MINUTES_SECONDS: i64 = 86_400 + 7_200;

/// How long five minutes are kept: a week, and what alarms look at beyond it.
pub const SLOTS_SECONDS: i64 = 8 * 86_400;

/// The coarsest resolution, which is what outlives the process.
pub const SLOT_SECONDS: i64 = 300;

/// What can be kept in a series: spans of the same time add up.
pub(super) trait Addable: Clone {
    fn add(&mut self, other: &Self);
    /// A measure of its size.
    fn units(&self) -> usize;
}

/// A series.
#[derive(Clone, Debug)]
pub(super) struct Series<T> {
    tiers: [Tier<T>; 3],
    /// What an earlier process has kept, which only periods of five minutes or more may see: in a minute it would be five times too much.
    restored: Tier<T>,
}

#[derive(Clone, Debug)]
struct Tier<T> {
    width: i64,
    kept: i64,
    /// In rising order of their beginning.
    spans: VecDeque<(i64, T)>,
}

impl<T> Default for Series<T> {
    fn default() -> Self {
        let tier = |width, kept| Tier { width, kept, spans: VecDeque::new() };
        let tiers = [tier(1, FINE_SECONDS), tier(60, MINUTES_SECONDS), tier(SLOT_SECONDS, SLOTS_SECONDS)];
        Self { tiers, restored: tier(SLOT_SECONDS, SLOTS_SECONDS) }
    }
}

impl<T: Addable> Series<T> {
    /// Adds samples of a second, as far as a resolution still reaches back to it.
    pub(super) fn put(&mut self, second: i64, now: i64, value: &T) {
        for tier in &mut self.tiers {
            if second >= now - tier.kept {
                tier.put(second, value);
            }
        }
    }

    /// Adds what an earlier process has kept.
    pub(super) fn restore(&mut self, begins: i64, value: &T) {
        let [_, _, slots] = &mut self.tiers;
        slots.put(begins, value);
        self.restored.put(begins, value);
    }

    /// The samples of the spans of `period` seconds from `from` on, `count` of them.
    pub(super) fn spans(&self, from: i64, period: i64, count: usize, now: i64) -> Vec<Option<T>> {
        let mut spans: Vec<Option<T>> = vec![None; count];
        let length = period.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX));
        let to = from.saturating_add(length);
        let tier = self.tier_for(from, period, now);
        let is_coarse = tier.width == SLOT_SECONDS || period < SLOT_SECONDS;
        let restored = (!is_coarse).then(|| self.restored.between(from, to));
        for (begins, value) in tier.between(from, to).chain(restored.into_iter().flatten()) {
            let index = usize::try_from((begins - from) / period.max(1)).ok();
            match index.and_then(|index| spans.get_mut(index)) {
                Some(Some(sum)) => sum.add(value),
                Some(empty) => *empty = Some(value.clone()),
                None => {}
            }
        }
        spans
    }

    /// What there is of a span of five minutes.
    pub(super) fn slot(&self, begins: i64) -> Option<&T> {
        let [_, _, slots] = &self.tiers;
        slots.between(begins, begins + 1).next().map(|(_, value)| value)
    }

    /// The beginning of the newest second that has a sample, or of the newest coarser span.
    pub(super) fn newest(&self) -> Option<i64> {
        self.tiers.iter().filter_map(|tier| tier.spans.back()).map(|(begins, _)| *begins).max()
    }

    /// Forgets what is older than is kept; a `part` of less than 1 keeps less.
    pub(super) fn trim(&mut self, now: i64, part: f64) {
        for tier in self.tiers.iter_mut().chain([&mut self.restored]) {
            #[expect(clippy::cast_possible_truncation, reason = "some days in seconds")]
            let kept = (tier.kept as f64 * part) as i64;
            while tier.spans.front().is_some_and(|(begins, _)| *begins < now - kept) {
                tier.spans.pop_front();
            }
        }
    }

    /// A measure of its size.
    pub(super) fn units(&self) -> usize {
        let tiers = self.tiers.iter().chain([&self.restored]);
        tiers.flat_map(|tier| &tier.spans).map(|(_, value)| value.units()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tiers.iter().all(|tier| tier.spans.is_empty())
    }

    /// The coarsest that fits the period and the beginning, if a finer one does not reach back so far.
    fn tier_for(&self, from: i64, period: i64, now: i64) -> &Tier<T> {
        let [seconds, minutes, slots] = &self.tiers;
        let fits = |tier: &Tier<T>| period % tier.width == 0 && from % tier.width == 0;
        let reaches = |tier: &Tier<T>| from >= now - tier.kept;
        if fits(slots) && !reaches(minutes) {
            slots
        } else if fits(minutes) {
            minutes
        } else {
            seconds
        }
    }
}

impl<T: Addable> Tier<T> {
    fn put(&mut self, second: i64, value: &T) {
        let begins = second.div_euclid(self.width) * self.width;
        let place = self.spans.partition_point(|(other, _)| *other < begins);
        match self.spans.get_mut(place) {
            Some((other, sum)) if *other == begins => sum.add(value),
            Some(_) | None => self.spans.insert(place, (begins, value.clone())),
        }
    }

    fn between(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, &T)> {
        let (first, last) = (
            self.spans.partition_point(|(begins, _)| *begins < from),
            self.spans.partition_point(|(begins, _)| *begins < to),
        );
        self.spans.range(first..last.max(first)).map(|(begins, value)| (*begins, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Addable for u64 {
        fn add(&mut self, other: &Self) {
            *self += other;
        }
        fn units(&self) -> usize {
            1
        }
    }

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn samples_of_a_span_add_up_at_every_resolution() {
        let mut series = Series::default();
        for second in [NOW - 61, NOW - 60, NOW - 59, NOW - 1, NOW - 60] {
            series.put(second, NOW, &1_u64);
        }
        assert_eq!(series.spans(NOW - 61, 1, 3, NOW), [Some(1), Some(2), Some(1)]);
        assert_eq!(series.spans(NOW - 120, 60, 2, NOW), [Some(1), Some(4)]);
        assert_eq!(series.spans(NOW - 70, 10, 3, NOW), [Some(1), Some(3), None]);
        assert_eq!(series.spans(NOW - 300, 300, 1, NOW), [Some(5)]);
    }

    #[test]
    fn what_an_earlier_process_kept_is_seen_by_coarse_periods_alone() {
        let mut series = Series::default();
        let begins = NOW - 3_600;
        series.restore(begins, &9_u64);
        series.put(begins + 301, NOW, &1);
        assert_eq!(series.spans(begins, 300, 2, NOW), [Some(9), Some(1)]);
        assert_eq!(series.spans(begins - 60, 600, 1, NOW), [Some(10)], "whatever it begins with");
        assert_eq!(series.spans(begins, 60, 5, NOW), [None; 5], "no minute has five minutes' samples");
    }

    #[test]
    fn what_is_older_than_a_resolution_keeps_is_answered_by_a_coarser_one() {
        let mut series = Series::default();
        let old = NOW - 3 * 86_400;
        series.put(old, NOW, &7_u64);
        series.put(NOW - 1, NOW, &1);
        assert_eq!(series.spans(old, 1, 1, NOW), [None]);
        assert_eq!(series.spans(old, 300, 1, NOW), [Some(7)]);
        series.trim(NOW + FINE_SECONDS, 1.0);
        assert_eq!(series.spans(NOW - 1, 1, 1, NOW + FINE_SECONDS), [None]);
        assert_eq!(series.spans(NOW - 60, 60, 1, NOW + FINE_SECONDS), [Some(1)]);
        series.trim(NOW + 9 * 86_400, 1.0);
        assert!(series.is_empty());
    }
}
