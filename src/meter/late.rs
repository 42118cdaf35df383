//! From which times on open requests of both fleets are counted as slow, where a shift compares their latency.
//!
//! Answers are counted as slow from the histograms, at their end. A request that is still open at such a time is slow already, in both
//! fleets alike, so the workers count it at that moment; and when it is answered after all, they say so before its time goes into the
//! histogram, so that whoever adds both up counts it once.
//!
//! The times are taken anew at each step. Counters of one set must not be mistaken for those of the next, so each set has a number, and two
//! banks of counters take turns: a set's bank was last used by the set before the last, of which no request is counted any more.

use super::Edge;
use crate::fleet::Side;

/// How many times of each fleet are told apart: two comparisons at four quantiles. What is beyond them is seen at its end.
pub const MAX_MARKS: usize = 8;

/// The times, by fleet, each once and rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateMarks {
    /// Counts the sets from 1; zero for none.
    pub number: u32,
    /// For green's requests.
    pub green: Vec<Edge>,
    /// For blue's requests.
    pub blue: Vec<Edge>,
}

/// The marks of one set that a request passed while it was open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassedMarks {
    bank: u8,
    marks: u8,
}

const _: () = assert!(MAX_MARKS <= 8, "each mark has a bit");

impl LateMarks {
    /// Those of a fleet, as many as are told apart.
    pub fn of(&self, side: Side) -> impl Iterator<Item = Edge> + '_ {
        let marks = match side {
            Side::Green => &self.green,
            Side::Blue => &self.blue,
        };
        marks.iter().take(MAX_MARKS).copied()
    }

    /// Where this set is counted.
    pub const fn bank(&self) -> usize {
        self.number as usize % 2
    }
}

impl PassedMarks {
    /// None yet, of a set that is counted in this bank.
    pub const fn of_bank(bank: usize) -> Self {
        Self { bank: if bank.is_multiple_of(2) { 0 } else { 1 }, marks: 0 }
    }

    /// Adds a mark, below [`MAX_MARKS`].
    pub const fn insert(&mut self, mark: usize) {
        self.marks |= 1 << mark;
    }

    /// Whether it passed none.
    pub const fn is_none(self) -> bool {
        self.marks == 0
    }

    /// The bank that they are counted in.
    pub fn bank(self) -> usize {
        self.bank.into()
    }

    /// The marks.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_MARKS).filter(move |mark| self.marks & (1 << mark) != 0)
    }
}
