//! What a recorded stream's tokens tell the meters, and when.
//!
//! As live: a first token is counted when it comes, and found to be late the moment its bound passes; of its gaps a stream has the share
//! that was too long, at its end or when enough of them have come. What live watching knows and a recording does not is whether a request
//! without a first token was to be a stream, so it is taken for none.

use std::time::Duration;

use crate::meter::{
    FailureKind, Gaps, JUDGED_GAPS, Record, Shard, Stamp, TokenBound, Verdict, WHOLE_STREAM, WatchPoint,
};

/// What becomes known of a stream while it is open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum News {
    /// Its first token is late, for the bound of this index.
    Late(usize),
    /// Its first token has come.
    First,
    /// So many of its gaps are known as are judged.
    Paced,
}

/// Of whom the meters are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streamed<'r> {
    pub(super) record: &'r Record,
    pub(super) shard: &'r Shard,
    pub(super) stamp: Stamp,
    /// Only of green.
    pub(super) watch: Option<&'r WatchPoint>,
    /// Nothing of a warm-up is judged by how long it takes.
    pub(super) is_warm_up: bool,
}

impl News {
    /// What becomes known of a record's stream before its end, and how long after its dispatch.
    pub(super) fn of(record: &Record, bounds: &[TokenBound]) -> Vec<(Duration, Self)> {
        let Some(first) = record.first_token else { return Vec::new() };
        let late = (0..).zip(bounds).filter_map(|(bound, of_bound)| match of_bound {
            TokenBound::FirstToken { below } if first >= *below => Some((*below, Self::Late(bound))),
            TokenBound::FirstToken { .. } | TokenBound::TokenGap { .. } => None,
        });
        let paced = record.gaps.filter(|_| record.tokens_out > u64::from(JUDGED_GAPS));
        let paced = paced.map(|gaps| (first + gaps.mean * JUDGED_GAPS, Self::Paced));
        let news = late.chain([(first, Self::First)]).chain(paced);
        news.map(|(at, news)| (at.min(record.duration), news)).collect()
    }
}

impl Streamed<'_> {
    /// Tells the meters. Whether it speaks against green at once.
    pub(super) fn tell(&self, news: News) -> bool {
        if self.is_warm_up {
            return false;
        }
        match news {
            News::Late(bound) => self.judge(bound, WHOLE_STREAM),
            News::First => {
                let Some(first) = self.record.first_token else { return false };
                self.shard.first_token(first);
                for (bound, of_bound) in self.bounds() {
                    if matches!(of_bound, TokenBound::FirstToken { below } if first < below) {
                        self.judge(bound, 0);
                    }
                }
            }
            News::Paced => {
                if let Some(gaps) = self.record.gaps {
                    self.pace(gaps);
                }
            }
        }
        matches!(news, News::Late(_))
    }

    /// Tells the meters what is left to be told at the request's end, before it is settled.
    pub(super) fn end(&self) {
        let Record { first_token, gaps, tokens_out, verdict, .. } = *self.record;
        if !self.is_warm_up
            && let Some(gaps) = gaps.filter(|_| tokens_out <= u64::from(JUDGED_GAPS))
        {
            self.pace(gaps);
        }
        let has_stalled = first_token.is_some() && verdict == Verdict::Failure(FailureKind::IdleTimeout);
        for (bound, of_bound) in self.bounds() {
            match of_bound {
                TokenBound::FirstToken { .. } if first_token.is_some() && !self.is_warm_up => {}
                TokenBound::TokenGap { .. } if gaps.is_some() && !self.is_warm_up => {}
                TokenBound::TokenGap { .. } if has_stalled && !self.is_warm_up => {
                    self.judge(bound, WHOLE_STREAM);
                }
                TokenBound::FirstToken { .. } | TokenBound::TokenGap { .. } => self.excuse(bound),
            }
        }
    }

    fn pace(&self, gaps: Gaps) {
        self.shard.paced(gaps.mean);
        let worst = self.record.worst_gap.unwrap_or(gaps.mean);
        let count = self.record.tokens_out.saturating_sub(1).clamp(1, JUDGED_GAPS.into());
        for (bound, of_bound) in self.bounds() {
            if let TokenBound::TokenGap { below } = of_bound {
                self.judge(bound, gaps.long(below, worst, count));
            }
        }
    }

    fn bounds(&self) -> impl Iterator<Item = (usize, TokenBound)> {
        self.watch.map(WatchPoint::token_bounds).unwrap_or_default().iter().copied().enumerate()
    }

    fn judge(&self, bound: usize, long: u64) {
        if let Some(watch) = self.watch {
            self.shard.judge_tokens(self.stamp, watch, bound, long);
        }
    }

    fn excuse(&self, bound: usize) {
        if let Some(watch) = self.watch {
            self.shard.excuse_tokens(self.stamp, watch, bound);
        }
    }
}
