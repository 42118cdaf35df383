//! How many answers of both fleets were slower than the times that latency is compared at.

use super::{Marks, Slow};
use crate::meter::{Edge, FleetMeters, HistogramSnapshot};

/// The times, each once and rising strictly, as the meters want them.
#[derive(Clone, Debug, Default)]
pub struct Edges {
    green: Vec<Edge>,
    blue: Vec<Edge>,
}

/// For each of the times, how many answers took as long or longer, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tails {
    green: Vec<u64>,
    blue: Vec<u64>,
}

impl Edges {
    /// All times that these marks ask for.
    pub(super) fn of(marks: impl Iterator<Item = Marks>) -> Self {
        let (mut green, mut blue): (Vec<Edge>, Vec<Edge>) =
            marks.map(|marks| (marks.green, marks.blue)).unzip();
        for edges in [&mut green, &mut blue] {
            edges.sort_unstable();
            edges.dedup();
        }
        Self { green, blue }
    }

    /// Reads the meters.
    pub fn read(&self, green: &FleetMeters, blue: &FleetMeters) -> Tails {
        Tails { green: green.latency_tails(&self.green), blue: blue.latency_tails(&self.blue) }
    }

    /// The same from distributions that were read before.
    pub(super) fn count(&self, green: &HistogramSnapshot, blue: &HistogramSnapshot) -> Tails {
        let tails = |edges: &[Edge], counts: &HistogramSnapshot| {
            edges.iter().map(|edge| counts.tail(*edge)).collect()
        };
        Tails { green: tails(&self.green, green), blue: tails(&self.blue, blue) }
    }

    /// The slow answers between two readings at these marks; none at marks that were not asked for.
    pub(super) fn slow(&self, last: &Tails, now: &Tails, marks: Marks) -> Slow {
        let between = |edges: &[Edge], last: &[u64], now: &[u64], mark: Edge| {
            let place = edges.binary_search(&mark).ok();
            let count = |counts: &[u64]| place.and_then(|place| counts.get(place).copied()).unwrap_or(0);
            count(now).saturating_sub(count(last))
        };
        Slow {
            green: between(&self.green, &last.green, &now.green, marks.green),
            blue: between(&self.blue, &last.blue, &now.blue, marks.blue),
        }
    }
}
