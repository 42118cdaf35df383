//! Sums over the shards of a fleet's meters, as plain numbers.

use super::{
    FailureKind, GrpcStatus, Hedge, MAX_BOUNDS, MAX_TOKEN_BOUNDS, Rescue, Stamp, Timing, TokenReading,
};

/// How many stamps are told apart at a time. A guard needs the current one and the one before; two more keep a worker that
/// still sees the old stamp from counting into the new one's slot.
pub(super) const SLOTS: usize = 4;

/// What one stamp's requests have come to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CohortReading {
    /// Requests dealt.
    pub dealt: u64,
    /// Of those, ended in whatever way, those of clients that went away among them.
    pub settled: u64,
    /// Of those, failed; never counted for stamps older than the one before the current.
    pub failed: u64,
    /// Of those, left undecided by their client.
    pub left: u64,
    /// For each latency bound, requests that took as long or longer, those that are still open among them.
    pub exceeded: [u64; MAX_BOUNDS],
    /// For each latency bound, requests that have no latency: failed, or left by the client, before the bound.
    pub excused: [u64; MAX_BOUNDS],
    /// For each bound on tokens.
    pub tokens: [TokenReading; MAX_TOKEN_BOUNDS],
}

/// The sums over a fleet's shards. All counters rise only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub(super) cohorts: [CohortReading; SLOTS],
    /// Requests dealt.
    pub dealt: u64,
    /// Complete answers that speak well of the fleet.
    pub succeeded: u64,
    /// Complete answers that blame the client.
    pub client_errors: u64,
    /// Failures that the endpoint's owner does not count as such.
    pub excused: u64,
    /// Requests dealt while their instance warmed up: they are among the others, but no time of theirs is in a histogram.
    pub warm_ups: u64,
    /// Of those, complete answers.
    pub warm_answers: u64,
    /// Requests whose client went away.
    pub client_gone: u64,
    /// Requests that found no room on an instance.
    pub shed: u64,
    /// Requests that wait for room now; the one figure that also falls.
    pub waiting: u64,
    /// Requests that ever waited.
    pub queued: u64,
    /// Failures by [`FailureKind::index`].
    pub failures: [u64; FailureKind::ALL.len()],
    /// Answers by the hundreds of their status, 1xx at index 0.
    pub statuses: [u64; 5],
    /// Ends of gRPC calls by [`GrpcStatus::code`].
    pub grpc_statuses: [u64; GrpcStatus::ALL.len()],
    /// Request body bytes passed upstream.
    pub bytes_in: u64,
    /// Response body bytes passed downstream.
    pub bytes_out: u64,
    /// Tokens of streams.
    pub tokens_out: u64,
    /// Streams whose first token has come.
    pub first_tokens: u64,
    /// Streams of whose gaps the mean is known.
    pub paced: u64,
    /// Requests sent again within the fleet, on a fresh connection or to another instance, not counted as outcomes.
    pub retried: u64,
    /// What came of failures that were to be rescued, by [`Rescue::index`].
    pub rescues: [u64; Rescue::ALL.len()],
    /// What came of requests whose instances were slow to answer, by [`Hedge::index`].
    pub hedges: [u64; Hedge::ALL.len()],
    /// The latest moment, in nanoseconds, at which a request was dealt; zero for never.
    pub last_dispatch_nanos: u64,
}

impl CohortReading {
    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        let all = |one: &[u64; MAX_BOUNDS], two: &[u64; MAX_BOUNDS]| {
            std::array::from_fn(|index| one[index].saturating_add(two[index]))
        };
        Self {
            dealt: self.dealt.saturating_add(other.dealt),
            settled: self.settled.saturating_add(other.settled),
            failed: self.failed.saturating_add(other.failed),
            left: self.left.saturating_add(other.left),
            exceeded: all(&self.exceeded, &other.exceeded),
            excused: all(&self.excused, &other.excused),
            tokens: std::array::from_fn(|bound| self.tokens[bound].plus(&other.tokens[bound])),
        }
    }

    /// What was counted since `earlier`, a reading of the same slot. A counter that shrank counts as no progress.
    pub fn since(&self, earlier: &Self) -> Self {
        let all = |now: &[u64; MAX_BOUNDS], then: &[u64; MAX_BOUNDS]| {
            std::array::from_fn(|index| now[index].saturating_sub(then[index]))
        };
        Self {
            dealt: self.dealt.saturating_sub(earlier.dealt),
            settled: self.settled.saturating_sub(earlier.settled),
            failed: self.failed.saturating_sub(earlier.failed),
            left: self.left.saturating_sub(earlier.left),
            exceeded: all(&self.exceeded, &earlier.exceeded),
            excused: all(&self.excused, &earlier.excused),
            tokens: std::array::from_fn(|bound| self.tokens[bound].since(&earlier.tokens[bound])),
        }
    }
}

impl Reading {
    /// What the requests with this stamp have come to.
    pub fn cohort(&self, stamp: Stamp) -> &CohortReading {
        &self.cohorts[stamp.slot()]
    }

    /// Requests not yet settled whose stamp is not `current`.
    pub fn open_before(&self, current: Stamp) -> u64 {
        let open = |cohort: &CohortReading| cohort.dealt.saturating_sub(cohort.settled);
        let others = self.cohorts.iter().enumerate().filter(|(slot, _)| *slot != current.slot());
        others.map(|(_, cohort)| open(cohort)).sum()
    }

    /// Failures of all kinds.
    pub fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// Failures that went to blue before the client saw anything.
    pub fn rescued(&self) -> u64 {
        self.rescues[Rescue::Tried.index()]
    }

    /// Of these, those that failed there too.
    pub fn rescue_failed(&self) -> u64 {
        self.rescues[Rescue::Failed.index()]
    }

    /// Failures that would have gone to blue, had their bodies been smaller or the budget larger.
    pub fn not_rescued(&self) -> u64 {
        self.rescues[Rescue::BodyTooLarge.index()] + self.rescues[Rescue::OverBudget.index()]
    }

    /// Failures that reached clients: all of them but the rescued ones, which count only when blue failed too.
    pub fn failed_for_clients(&self) -> u64 {
        (self.failed() + self.rescue_failed()).saturating_sub(self.rescued())
    }

    /// How many requests have this time.
    pub fn timed(&self, timing: Timing) -> u64 {
        match timing {
            Timing::Latency => self.succeeded + self.client_errors,
            Timing::FirstToken => self.first_tokens,
            Timing::TokenGap => self.paced,
        }
    }

    /// Requests that ended, in whatever way.
    pub fn settled(&self) -> u64 {
        self.succeeded + self.client_errors + self.excused + self.client_gone + self.shed + self.failed()
    }
}
