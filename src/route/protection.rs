//! What keeps an endpoint's instances, and its clients, from instances that are in trouble.

use std::{num::NonZeroU32, time::Duration};

use super::Statuses;
use crate::{
    fleet::{EjectionRule, Side},
    meter::{FailureKind, Verdict},
    weight::Share,
};

/// What an endpoint's owner says about instances in trouble.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Protection {
    /// When single bad instances get no requests for a while.
    pub ejection: Ejection,
    /// How many requests an instance takes at a time, and what becomes of more.
    pub admission: Admission,
    /// How long an instance that joins a fleet in service, or is healthy again, grows to its whole part; zero for not at all, since a
    /// server that is small for a while makes the others larger.
    pub slow_start: Duration,
}

/// How many requests an instance takes at a time, and what becomes of more: they wait in a queue of their fleet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    /// How many an instance takes of which nothing else is said; without it, any number.
    pub max_concurrency: Option<NonZeroU32>,
    /// How many requests wait, on each worker and for each fleet; more are shed.
    pub queue: usize,
    /// How long one waits before it is shed.
    pub queue_timeout: Duration,
    /// What a client is told whose request was shed.
    pub shed_status: ShedStatus,
    /// Whom it counts against.
    pub blame: Blame,
}

/// What a client is told whose request was shed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShedStatus {
    /// 503: the service has no room.
    ServiceUnavailable,
    /// 429: clients send too much.
    TooManyRequests,
}

/// Whom a request that was shed counts against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// Nobody: clients sent more than the operator lets the fleet take.
    Nobody,
    /// The fleet, as if its own instances had said that they are full. Green's go to blue then.
    Fleet,
}

/// When an instance that fails requests gets none for a while.
///
/// What an instance did is counted in its fleet's meters first, and whether or not it is ejected then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ejection {
    /// After how many failures, for how long, and of how many instances.
    pub rule: EjectionRule,
    /// The statuses that count as failures of the instance rather than of the request.
    pub statuses: Statuses,
    /// In which fleets.
    pub fleets: EjectingFleets,
}

/// The fleets whose instances are ejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EjectingFleets {
    /// The fleet in service. Green is on trial: to keep requests from its bad instance would show the alarms a better green than the one
    /// that is to be promoted.
    Blue,
    /// Both, for those who would rather ship a green with a bad instance than roll it back.
    Both,
}

/// What a request's end says of the instance that it was on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// It answers.
    Good,
    /// It does not.
    Bad,
    /// Nothing.
    Neither,
}

impl Ejection {
    /// The rule for a fleet; `None` where nothing is ejected.
    pub fn of(&self, side: Side) -> Option<Self> {
        let is_on_trial = side == Side::Green && self.fleets == EjectingFleets::Blue;
        (self.rule.after > 0 && !is_on_trial).then_some(*self)
    }

    /// What a request's end says of its instance. An answer is a good sign, whatever it says, unless its status is one of
    /// [`Ejection::statuses`].
    pub fn judge(&self, verdict: Verdict, status: Option<u16>) -> Judgement {
        let answer = match status {
            Some(status) if self.statuses.contains(status) => Judgement::Bad,
            Some(_) | None => Judgement::Good,
        };
        match verdict {
            Verdict::Excused | Verdict::ClientGone | Verdict::Shed => Judgement::Neither,
            Verdict::Success | Verdict::ClientError => answer,
            Verdict::Failure(kind) => match kind {
                FailureKind::ConnectFailed
                | FailureKind::Reset
                | FailureKind::HeadTimeout
                | FailureKind::IdleTimeout
                | FailureKind::Truncated
                | FailureKind::BadResponse => Judgement::Bad,
                FailureKind::ServerError | FailureKind::Overload | FailureKind::ClientError => answer,
                FailureKind::NoInstance
                | FailureKind::InBand
                | FailureKind::Deadline
                | FailureKind::ClientGone => Judgement::Neither,
            },
        }
    }
}

impl Default for Ejection {
    /// Five in a row are hardly chance, and at a few requests a second are met within a health check's interval. The statuses are those
    /// that a gateway or a full server gives; a 500 is more often the request's own.
    fn default() -> Self {
        Self {
            rule: EjectionRule {
                after: 5,
                base_time: Duration::from_secs(10),
                longest_time: Duration::from_secs(300),
                max_share: Share::from_basis_points(5_000).unwrap_or(Share::NONE),
            },
            statuses: Statuses::of([502, 503, 504]),
            fleets: EjectingFleets::Blue,
        }
    }
}

impl Default for Admission {
    /// No limit, since only the operator knows one. A request that cannot be served within a second is better sent elsewhere by its client
    /// than kept, and a hundred on each worker are what a model server works off in about that time.
    fn default() -> Self {
        Self {
            max_concurrency: None,
            queue: 100,
            queue_timeout: Duration::from_secs(1),
            shed_status: ShedStatus::ServiceUnavailable,
            blame: Blame::Nobody,
        }
    }
}

impl ShedStatus {
    /// 503 or 429.
    pub const fn code(self) -> u16 {
        match self {
            Self::ServiceUnavailable => 503,
            Self::TooManyRequests => 429,
        }
    }
}

impl Blame {
    /// `nobody` or `fleet`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Fleet => "fleet",
        }
    }
}

impl EjectingFleets {
    /// `blue` or `both`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Both => "both",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_judged_by_whether_it_answers_not_by_what_it_says() {
        let ejection = Ejection::default();
        let failure = |kind, status| ejection.judge(Verdict::Failure(kind), status);
        assert_eq!(failure(FailureKind::ConnectFailed, None), Judgement::Bad);
        assert_eq!(failure(FailureKind::Truncated, Some(200)), Judgement::Bad);
        assert_eq!(failure(FailureKind::Overload, Some(503)), Judgement::Bad);
        assert_eq!(failure(FailureKind::Overload, Some(429)), Judgement::Good);
        assert_eq!(failure(FailureKind::ServerError, Some(500)), Judgement::Good);
        assert_eq!(failure(FailureKind::InBand, Some(200)), Judgement::Neither);
        assert_eq!(ejection.judge(Verdict::ClientGone, Some(200)), Judgement::Neither);
        assert_eq!(ejection.judge(Verdict::ClientError, Some(404)), Judgement::Good);
    }

    #[test]
    fn green_on_trial_keeps_its_instances_unless_the_owner_says_otherwise() {
        let ejection = Ejection::default();
        assert!(ejection.of(Side::Blue).is_some() && ejection.of(Side::Green).is_none());
        let both = Ejection { fleets: EjectingFleets::Both, ..ejection };
        assert!(both.of(Side::Green).is_some());
        let never = Ejection { rule: EjectionRule { after: 0, ..ejection.rule }, ..both };
        assert!(never.of(Side::Blue).is_none());
    }
}
