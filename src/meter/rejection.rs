//! Requests that were refused before they belonged to a fleet, by reason.

use super::Gauge;

/// Why a request was refused before it belonged to a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// It is not HTTP, or could be read in more than one way.
    Malformed,
    /// It asks for what the proxy does not do.
    Unsupported,
    /// Its head is too large.
    LargeHead,
    /// Its target is too long.
    LongTarget,
    /// Its body is too large.
    LargeBody,
    /// Its client was late with the part of its body that tells where it belongs, or its own deadline had passed.
    Late,
    /// It names a variant that its endpoint does not have.
    UnknownVariant,
    /// It is not signed as it must be.
    Unsigned,
}

/// One worker's counters by reason.
#[derive(Debug, Default)]
pub struct Rejections([Gauge; Rejection::ALL.len()]);

impl Rejection {
    /// Every reason, in the order of [`Rejection::index`].
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Unsupported,
        Self::LargeHead,
        Self::LongTarget,
        Self::LargeBody,
        Self::Late,
        Self::UnknownVariant,
        Self::Unsigned,
    ];

    /// The place in [`Rejection::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::LargeHead => "large_head",
            Self::LongTarget => "long_target",
            Self::LargeBody => "large_body",
            Self::Late => "late",
            Self::UnknownVariant => "unknown_variant",
            Self::Unsigned => "unsigned",
        }
    }
}

impl Rejections {
    /// One more.
    pub fn up(&self, rejection: Rejection) {
        self.0[rejection.index()].up();
    }

    /// How many there were.
    pub fn get(&self, rejection: Rejection) -> u64 {
        self.0[rejection.index()].get()
    }

    /// How many there were, whatever the reason.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Gauge::get).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_index() {
        for (place, rejection) in Rejection::ALL.iter().enumerate() {
            assert_eq!(rejection.index(), place);
        }
    }
}
