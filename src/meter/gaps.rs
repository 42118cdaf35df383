//! How the tokens of one stream were paced, in twelve bytes.
//!
//! Kept are the mean gap and four rungs of a ladder: the times that all, a half, an eighth and a thirty-second of the gaps reached. With
//! the longest gap, which a record has anyway, they tell for any bound which share of the gaps reached it, so that a plan with another
//! bound than the live one can be replayed. A rung is rounded down to a sixteenth of its octave, from 65 us to 4 s. A share between
//! two rungs counts as the smaller, so that a replayed guard is more careful than the live one, and exact where all gaps or none reach its
//! bound.

use std::time::Duration;

use super::{JUDGED_GAPS, WHOLE_STREAM};

/// One gap in so many reaches a rung.
const RUNGS: [u32; 4] = [1, 2, 8, 32];

/// A rung's octave has so many steps, as a power of two.
const STEP_BITS: u32 = 4;

/// The shortest time that is told from none: 2^16 ns.
const LEAST_BITS: u32 = 16;

/// Codes of 8 bits.
const CODES: usize = 256;

/// How the first [`JUDGED_GAPS`] gaps of a stream were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gaps {
    /// Their mean.
    pub mean: Duration,
    pub(super) rungs: [u8; RUNGS.len()],
}

/// Takes a stream's gaps one by one.
#[derive(Clone, Debug)]
pub struct GapCounts {
    sum: Duration,
    gaps: u32,
    /// How many have each code. Of 256 equal gaps one is not counted, which moves no rung: there is no other.
    by_code: [u8; CODES],
}

impl Gaps {
    /// Those of these rungs, the times that all gaps, one in 2, one in 8 and one in 32 reached.
    pub fn of(mean: Duration, rungs: [Duration; RUNGS.len()]) -> Self {
        Self { mean, rungs: rungs.map(code) }
    }

    /// The times that all gaps, one in 2, one in 8 and one in 32 reached.
    pub fn rungs(&self) -> [Duration; RUNGS.len()] {
        self.rungs.map(time)
    }

    /// The share of the gaps that reached `below`, in millionths: that of the highest rung that did, where `worst` is the longest of `gaps`
    /// gaps.
    pub fn long(&self, below: Duration, worst: Duration, gaps: u64) -> u64 {
        let of_worst = gaps.clamp(RUNGS[3].into(), JUDGED_GAPS.into());
        let rungs = self.rungs().into_iter().zip(RUNGS.map(u64::from)).chain([(worst, of_worst)]);
        let one_in = rungs.into_iter().find(|(rung, _)| *rung >= below).map(|(_, one_in)| one_in);
        one_in.map_or(0, |one_in| WHOLE_STREAM / one_in)
    }
}

impl Default for GapCounts {
    fn default() -> Self {
        Self { sum: Duration::ZERO, gaps: 0, by_code: [0; CODES] }
    }
}

impl GapCounts {
    /// One more gap; what comes after as many as are judged does not count.
    pub fn add(&mut self, gap: Duration) {
        if self.gaps < JUDGED_GAPS {
            self.gaps += 1;
            self.sum += gap;
            let count = &mut self.by_code[usize::from(code(gap))];
            *count = count.saturating_add(1);
        }
    }

    /// How many there were, up to as many as are judged.
    pub fn count(&self) -> u32 {
        self.gaps
    }

    /// How they were, if there were any.
    pub fn gaps(&self) -> Option<Gaps> {
        let mean = self.sum.checked_div(self.gaps)?;
        let rungs = RUNGS.map(|one_in| self.reached_by(self.gaps.div_ceil(one_in)));
        Some(Gaps { mean, rungs })
    }

    /// The code that so many gaps reach.
    fn reached_by(&self, gaps: u32) -> u8 {
        let (mut reached, mut lowest) = (0, 0);
        for (code, count) in (0..=u8::MAX).zip(&self.by_code).rev().filter(|(_, count)| **count > 0) {
            reached += u32::from(*count);
            lowest = code;
            if reached >= gaps {
                break;
            }
        }
        lowest
    }
}

/// The octave above the least, and the step in it.
fn code(time: Duration) -> u8 {
    let least = 1 << LEAST_BITS;
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).clamp(least, (least << 16) - 1);
    let bits = nanos.ilog2();
    let step = (nanos >> (bits - STEP_BITS)) & ((1 << STEP_BITS) - 1);
    u8::try_from(u64::from(bits - LEAST_BITS) << STEP_BITS | step).unwrap_or(u8::MAX)
}

/// The shortest time of a code.
fn time(code: u8) -> Duration {
    let (octave, step) = (code >> STEP_BITS, u64::from(code) & ((1 << STEP_BITS) - 1));
    Duration::from_nanos(((1 << STEP_BITS) | step) << (LEAST_BITS - STEP_BITS + u32::from(octave)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The share in percent of these gaps that a bound is told.
    fn long(gaps: &[u64], below: u64) -> f64 {
        let mut counts = GapCounts::default();
        gaps.iter().for_each(|gap| counts.add(millis(*gap)));
        let worst = millis(*gaps.iter().max().unwrap());
        let share = counts.gaps().unwrap().long(millis(below), worst, gaps.len() as u64);
        f64::from(u32::try_from(share).unwrap()) / 10_000.0
    }

    #[test]
    fn every_code_is_the_one_of_its_shortest_time() {
        for number in 0..=u8::MAX {
            assert_eq!(code(time(number)), number);
        }
        assert_eq!((code(Duration::ZERO), code(Duration::MAX)), (0, u8::MAX));
    }

    #[test]
    fn a_stream_that_is_long_or_short_in_all_of_it_is_told_so() {
        for count in [1, 3, 100, 256, 900] {
            assert!((long(&vec![120; count], 80) - 100.0).abs() < f64::EPSILON, "{count}");
            assert!(long(&vec![20; count], 80).abs() < f64::EPSILON, "{count}");
        }
    }

    #[test]
    fn a_share_between_two_rungs_is_the_smaller() {
        for (long_gaps, expected) in [(99, 50.0), (50, 50.0), (20, 12.5), (4, 3.125), (3, 1.0), (1, 1.0)] {
            let gaps: Vec<u64> = (0..100).map(|number| if number < long_gaps { 120 } else { 20 }).collect();
            let share = long(&gaps, 80);
            assert!((share - expected).abs() < f64::EPSILON, "{long_gaps} of 100: {share}");
        }
    }

    #[test]
    fn the_mean_is_that_of_the_first_gaps_alone() {
        let mut counts = GapCounts::default();
        assert_eq!(counts.gaps(), None);
        for _ in 0..JUDGED_GAPS {
            counts.add(millis(10));
        }
        counts.add(millis(9_000));
        assert_eq!((counts.count(), counts.gaps().unwrap().mean), (JUDGED_GAPS, millis(10)));
    }

    proptest! {
        #[test]
        fn a_higher_bound_is_reached_by_no_more(gaps in prop::collection::vec(1_u64..6_000, 1..300), bounds in prop::collection::vec(1_u64..7_000, 2)) {
            let (low, high) = (bounds[0].min(bounds[1]), bounds[0].max(bounds[1]));
            prop_assert!(long(&gaps, low) >= long(&gaps, high));
            prop_assert!(long(&gaps, low) <= 100.0);
        }
    }
}
