//! What an endpoint's owner says about sending a request a second time.

use std::{fmt, time::Duration};

use crate::{fleet::Side, meter::GrpcStatus, weight::Share};

/// When requests of an endpoint may be sent a second time, and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RescuePolicy {
    /// Which failures of green send a request to blue.
    pub on: Replayed,
    /// The statuses of green that are rescued, when `on` is [`Replayed::BeforeFirstByte`].
    pub statuses: Statuses,
    /// The same of gRPC calls.
    pub grpc_statuses: GrpcStatuses,
    /// How long a request of green can still be rescued.
    pub until: RescueUntil,
    /// Which failures of blue send a request to another instance of blue. Green is on trial: what it fails is counted and rescued,
    /// never hidden behind a second try.
    pub retry: Replayed,
    /// When a request that has not failed yet is sent to a second instance of its fleet as well; `None` for never.
    pub hedge: Option<HedgePolicy>,
    /// How many of the requests of ten seconds may be sent a second time, rescues, retries and hedges together.
    pub budget: Share,
}

/// When a request is sent to a second instance of its fleet because the first is slow to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HedgePolicy {
    /// How long after its dispatch the response's head is still waited for on one instance alone.
    pub after: Duration,
    /// In which fleets.
    pub fleets: HedgedFleets,
}

/// The fleets whose requests are hedged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HedgedFleets {
    /// The fleet in service. Green is on trial, and the better of two of its instances is not what the trial is about.
    Blue,
    /// Both, so that latencies of green and blue compare like with like.
    Both,
}

/// Which failures lead to a second try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replayed {
    /// None.
    Never,
    /// No connection could be made, so that nothing was executed.
    ConnectFailures,
    /// Whatever failed before the client saw a byte. The request may be executed twice.
    BeforeFirstByte,
}

/// How long a request of green can still be rescued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RescueUntil {
    /// Until the response's head.
    Head,
    /// Of event streams, until the first event that tells the client something; of gRPC calls, until the first message.
    FirstToken,
}

/// A set of statuses from 400 to 599.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Statuses([u128; 2]);

/// A set of gRPC statuses, without the one that is no failure.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct GrpcStatuses(u32);

impl Statuses {
    /// The statuses that a set can hold: all errors. Most of those below 500 blame the client and would fail on blue too, but some model
    /// servers say 424 or 429 where they have failed, and only an endpoint's owner knows what a 404 means there.
    pub const RANGE: std::ops::RangeInclusive<u16> = 400..=599;

    /// The set of these; others than those of [`Statuses::RANGE`] are left out.
    pub fn of(statuses: impl IntoIterator<Item = u16>) -> Self {
        let mut set = Self::default();
        for status in statuses {
            if let Some((half, bit)) = place(status) {
                set.0[half] |= bit;
            }
        }
        set
    }

    /// Whether a status is in the set.
    pub fn contains(self, status: u16) -> bool {
        place(status).is_some_and(|(half, bit)| self.0[half] & bit != 0)
    }

    /// The statuses in the set, rising.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        Self::RANGE.filter(move |status| self.contains(*status))
    }
}

/// In which hundred a status is, and where.
fn place(status: u16) -> Option<(usize, u128)> {
    Statuses::RANGE.contains(&status).then(|| (usize::from(status / 100 - 4), 1 << (status % 100)))
}

impl GrpcStatuses {
    /// The set of these; [`GrpcStatus::Ok`] is left out.
    pub fn of(statuses: impl IntoIterator<Item = GrpcStatus>) -> Self {
        let failures = statuses.into_iter().filter(|status| *status != GrpcStatus::Ok);
        Self(failures.fold(0, |set, status| set | 1 << status.code()))
    }

    /// Whether a status is in the set.
    pub fn contains(self, status: GrpcStatus) -> bool {
        self.0 & 1 << status.code() != 0
    }

    /// The statuses in the set, by their codes.
    pub fn iter(self) -> impl Iterator<Item = GrpcStatus> {
        GrpcStatus::ALL.into_iter().filter(move |status| self.contains(*status))
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Debug for GrpcStatuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Default for RescuePolicy {
    /// A failing green costs a client nothing, which is why there is a proxy. Blue's own failures are retried only where nothing was
    /// executed: a retry inside a fleet that is overloaded makes it worse. A fifth more requests is what blue can be expected to bear. Of gRPC's
    /// failures, "deadline exceeded" has no time left for a second try, and "cancelled" and "aborted" were decided rather than failed.
    fn default() -> Self {
        Self {
            on: Replayed::BeforeFirstByte,
            statuses: Statuses::of([424, 500, 502, 503, 504]),
            grpc_statuses: GrpcStatuses::of([
                GrpcStatus::Unknown,
                GrpcStatus::ResourceExhausted,
                GrpcStatus::Internal,
                GrpcStatus::Unavailable,
                GrpcStatus::DataLoss,
            ]),
            until: RescueUntil::Head,
            retry: Replayed::ConnectFailures,
            hedge: None,
            budget: Share::from_basis_points(2_000).unwrap_or(Share::NONE),
        }
    }
}

impl HedgePolicy {
    /// Whether a fleet's requests are hedged.
    pub fn covers(&self, side: Side) -> bool {
        side == Side::Blue || self.fleets == HedgedFleets::Both
    }
}

impl HedgedFleets {
    /// `blue` or `both`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Both => "both",
        }
    }
}

impl Replayed {
    /// `never`, `connect_failures` or `before_first_byte`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::ConnectFailures => "connect_failures",
            Self::BeforeFirstByte => "before_first_byte",
        }
    }
}

impl RescueUntil {
    /// `head` or `first_token`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::FirstToken => "first_token",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_but_errors() {
        let set = Statuses::of([599, 503, 500, 424, 400, 399, 200, 600]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [400, 424, 500, 503, 599]);
        assert!(!set.contains(404) && !set.contains(524) && !Statuses::default().contains(500));
        for status in Statuses::RANGE {
            assert_eq!(Statuses::of([status]).iter().collect::<Vec<_>>(), [status]);
        }
    }

    #[test]
    fn a_set_of_grpc_statuses_holds_failures_only() {
        for status in GrpcStatus::ALL {
            let set: Vec<_> = GrpcStatuses::of([status]).iter().collect();
            assert_eq!(set, if status == GrpcStatus::Ok { vec![] } else { vec![status] });
        }
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_sent_twice_unless_the_owner_says_otherwise() {
        assert_eq!(RescuePolicy::default().budget.to_string(), "20%");
    }
}
