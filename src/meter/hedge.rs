//! What came of hedging.

/// What came of a request whose instance was slow to answer, where the endpoint hedges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hedge {
    /// A copy was sent to another instance of the fleet.
    Tried,
    /// The copy's answer went to the client.
    Won,
    /// As many second tries as the endpoint allows had been made.
    OverBudget,
}

impl Hedge {
    /// Every kind, in the order of [`Hedge::index`].
    pub const ALL: [Self; 3] = [Self::Tried, Self::Won, Self::OverBudget];

    /// The place in [`Hedge::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tried => "tried",
            Self::Won => "won",
            Self::OverBudget => "over_budget",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_index() {
        for (place, kind) in Hedge::ALL.iter().enumerate() {
            assert_eq!(kind.index(), place);
        }
    }
}
