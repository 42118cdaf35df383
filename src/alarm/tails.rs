//! How many of both fleets' times were longer than those that green is compared with blue at.

use super::{Marks, Slow};
use crate::meter::{Edge, FleetMeters, HistogramSnapshot, Timing};

/// The times, by what takes them: each once and rising strictly, as the meters want them.
#[derive(Clone, Debug, Default)]
pub struct Edges([Sides<Edge>; Timing::ALL.len()]);

/// For each of the times, how many were as long or longer, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tails([Sides<u64>; Timing::ALL.len()]);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sides<T> {
    green: Vec<T>,
    blue: Vec<T>,
}

impl<T> Default for Sides<T> {
    fn default() -> Self {
        Self { green: Vec::new(), blue: Vec::new() }
    }
}

impl Edges {
    /// All times that these marks ask for.
    pub(super) fn of(marks: impl Iterator<Item = (Timing, Marks)>) -> Self {
        let mut all = Self::default();
        for (timing, marks) in marks {
            let sides = &mut all.0[timing.index()];
            sides.green.push(marks.green);
            sides.blue.push(marks.blue);
        }
        for edges in all.0.iter_mut().flat_map(|sides| [&mut sides.green, &mut sides.blue]) {
            edges.sort_unstable();
            edges.dedup();
        }
        all
    }

    /// Reads the meters.
    pub fn read(&self, green: &FleetMeters, blue: &FleetMeters) -> Tails {
        Tails(Timing::ALL.map(|timing| {
            let edges = &self.0[timing.index()];
            Sides { green: green.tails(timing, &edges.green), blue: blue.tails(timing, &edges.blue) }
        }))
    }

    /// The same of one kind of time from distributions that were read before.
    pub(super) fn count(
        &self,
        timing: Timing,
        tails: &mut Tails,
        green: &HistogramSnapshot,
        blue: &HistogramSnapshot,
    ) {
        let count = |edges: &[Edge], counts: &HistogramSnapshot| {
            edges.iter().map(|edge| counts.tail(*edge)).collect()
        };
        let edges = &self.0[timing.index()];
        tails.0[timing.index()] = Sides { green: count(&edges.green, green), blue: count(&edges.blue, blue) };
    }

    /// What was longer than these marks between two readings; nothing at marks that were not asked for.
    pub(super) fn slow(&self, timing: Timing, last: &Tails, now: &Tails, marks: Marks) -> Slow {
        let between = |edges: &[Edge], last: &[u64], now: &[u64], mark: Edge| {
            let place = edges.binary_search(&mark).ok();
            let count = |counts: &[u64]| place.and_then(|place| counts.get(place).copied()).unwrap_or(0);
            count(now).saturating_sub(count(last))
        };
        let (edges, last, now) = (&self.0[timing.index()], &last.0[timing.index()], &now.0[timing.index()]);
        Slow {
            green: between(&edges.green, &last.green, &now.green, marks.green),
            blue: between(&edges.blue, &last.blue, &now.blue, marks.blue),
        }
    }
}
