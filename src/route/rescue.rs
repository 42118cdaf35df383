//! What an endpoint's owner says about sending a request a second time.

use std::fmt;

use crate::weight::Share;

/// When requests of an endpoint may be sent a second time, and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RescuePolicy {
    /// Which failures of green send a request to blue.
    pub on: Replayed,
    /// The statuses of green that are rescued, when `on` is [`Replayed::BeforeFirstByte`].
    pub statuses: Statuses,
    /// How long a request of green can still be rescued.
    pub until: RescueUntil,
    /// Which failures of blue send a request to another instance of blue. Green is on trial: what it fails is counted and rescued,
    /// never hidden behind a second try.
    pub retry: Replayed,
    /// How many of the requests of ten seconds may be sent a second time, rescues and retries together.
    pub budget: Share,
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
    /// Of event streams, until the first event that tells the client something.
    FirstToken,
}

/// A set of statuses from 500 to 599.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Statuses(u128);

impl Statuses {
    /// The statuses that a set can hold: those that blame the server. What blames the client would fail on blue too.
    pub const RANGE: std::ops::RangeInclusive<u16> = 500..=599;

    /// The set of these; others than those of [`Statuses::RANGE`] are left out.
    pub fn of(statuses: impl IntoIterator<Item = u16>) -> Self {
        Self(statuses.into_iter().filter_map(bit).fold(0, |set, bit| set | bit))
    }

    /// Whether a status is in the set.
    pub fn contains(self, status: u16) -> bool {
        bit(status).is_some_and(|bit| self.0 & bit != 0)
    }

    /// The statuses in the set, rising.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        Self::RANGE.filter(move |status| self.contains(*status))
    }
}

fn bit(status: u16) -> Option<u128> {
    Statuses::RANGE.contains(&status).then(|| 1 << (status - Statuses::RANGE.start()))
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Default for RescuePolicy {
    /// A failing green costs a client nothing, which is why there is a proxy. Blue's own failures are retried only where nothing was
    /// executed: a retry inside a fleet that is overloaded makes it worse. A fifth more requests is what blue can be expected to bear.
    fn default() -> Self {
        Self {
            on: Replayed::BeforeFirstByte,
            statuses: Statuses::of([500, 502, 503, 504]),
            until: RescueUntil::Head,
            retry: Replayed::ConnectFailures,
            budget: Share::from_basis_points(2_000).unwrap_or(Share::NONE),
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
    fn a_set_holds_what_was_put_in_and_nothing_that_blames_the_client() {
        let set = Statuses::of([599, 503, 500, 404, 200, 600]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [500, 503, 599]);
        assert!(!set.contains(404) && !set.contains(501) && !Statuses::default().contains(500));
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_sent_twice_unless_the_owner_says_otherwise() {
        assert_eq!(RescuePolicy::default().budget.to_string(), "20%");
    }
}
