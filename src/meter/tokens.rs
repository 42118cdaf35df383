//! What guards on tokens bound, and what is counted against them: once for each stream.
//!
//! The tokens of one stream depend on each other, so the unit is the stream: what is counted of its gaps is the share that was too long.

use std::time::Duration;

/// How many bounds on tokens a shift's guards may have between them.
pub const MAX_TOKEN_BOUNDS: usize = 8;

/// A whole stream in the unit that the share of its long gaps is counted in: whole numbers have one writer without a lock.
pub const WHOLE_STREAM: u64 = 1_000_000;

/// The verdict on a stream's gaps falls at its end, or at this many gaps: a stream of an hour must not be waited for, and what its pace is
/// shows in the first minute.
pub const JUDGED_GAPS: u32 = 256;

/// A time that a request or its stream has taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Timing {
    /// From dispatch to the last byte of a complete answer.
    Latency,
    /// From dispatch to the first token of a stream.
    FirstToken,
    /// From one token to the next: of each stream the mean over its first [`JUDGED_GAPS`] gaps.
    TokenGap,
}

/// A bound on green's streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenBound {
    /// The first token comes before so much time has passed.
    FirstToken {
        /// From dispatch on.
        below: Duration,
    },
    /// The next token comes before so much time has passed.
    TokenGap {
        /// From a token on.
        below: Duration,
    },
}

/// What one stamp's streams have come to so far against one bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenReading {
    /// Streams on which the verdict has fallen.
    pub judged: u64,
    /// The sum over them of what was too long, in millionths ([`WHOLE_STREAM`]): the share of a stream's gaps, or all of a stream whose
    /// first token was late.
    pub long: u64,
    /// Requests on which none will: no stream, or one that ended before anything could be said of it.
    pub excused: u64,
}

impl Timing {
    /// All of them, in the order of [`Timing::index`].
    pub const ALL: [Self; 3] = [Self::Latency, Self::FirstToken, Self::TokenGap];

    /// The place in [`Timing::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// `latency`, `first_token` or `token_gap`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::FirstToken => "first_token",
            Self::TokenGap => "token_gap",
        }
    }
}

impl TokenBound {
    /// From which silence on a stream counts as stalled, so that all of it is too long; of a bound on gaps alone. A token may now and then
    /// wait for a long prompt that is computed beside it, so the least is what no server at work takes; the endpoint's idle timeout
    /// ends a stream that says nothing at all.
    pub fn stall(self) -> Option<Duration> {
        const LEAST: Duration = Duration::from_secs(5);
        const TIMES: u32 = 10;
        match self {
            Self::FirstToken { below: _ } => None,
            Self::TokenGap { below } => Some(below.saturating_mul(TIMES).max(LEAST)),
        }
    }
}

impl TokenReading {
    /// Both together.
    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            judged: self.judged.saturating_add(other.judged),
            long: self.long.saturating_add(other.long),
            excused: self.excused.saturating_add(other.excused),
        }
    }

    /// What was counted since `earlier`, a reading of the same slot. A counter that shrank counts as no progress.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            judged: self.judged.saturating_sub(earlier.judged),
            long: self.long.saturating_sub(earlier.long),
            excused: self.excused.saturating_sub(earlier.excused),
        }
    }

    /// Adds another shard's.
    pub(super) fn add(&mut self, other: Self) {
        self.judged += other.judged;
        self.long += other.long;
        self.excused += other.excused;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_ten_times_the_bound_and_no_less_than_five_seconds() {
        let stall = |millis| TokenBound::TokenGap { below: Duration::from_millis(millis) }.stall();
        assert_eq!(stall(80), Some(Duration::from_secs(5)));
        assert_eq!(stall(800), Some(Duration::from_secs(8)));
        assert_eq!(TokenBound::FirstToken { below: Duration::from_millis(80) }.stall(), None);
    }

    #[test]
    fn every_timing_stands_at_its_index() {
        for (place, timing) in Timing::ALL.iter().enumerate() {
            assert_eq!(timing.index(), place);
        }
    }
}
