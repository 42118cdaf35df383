//! How many of both fleets' times were longer than those that green is compared with blue at.
//!
//! Answers are counted by the histograms. Of latency, what is still open at such a time counts as well, at that moment and once: the workers
//! count it under the number of the present marks ([`LateMarks`]).

use super::{Marks, Slow};
use crate::meter::{Edge, FleetMeters, HistogramSnapshot, LateMarks, Timing};

/// The times, by what takes them: each once and rising strictly, as the meters want them.
#[derive(Clone, Debug, Default)]
pub struct Edges {
    times: [Sides<Edge>; Timing::ALL.len()],
    /// Of the marks of latency, as the workers know them; zero for none.
    number: u32,
}

/// For each of the times, how many were as long or longer, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tails {
    times: [Sides<u64>; Timing::ALL.len()],
    /// For each of the times of latency, requests that were open then and have no answer.
    late: Sides<u64>,
    /// The marks that these passed.
    number: u32,
}

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
            let sides = &mut all.times[timing.index()];
            sides.green.push(marks.green);
            sides.blue.push(marks.blue);
        }
        for edges in all.times.iter_mut().flat_map(|sides| [&mut sides.green, &mut sides.blue]) {
            edges.sort_unstable();
            edges.dedup();
        }
        all
    }

    /// The same with the number of the marks of latency, if there are such.
    pub(super) fn numbered(self, number: u32) -> Self {
        let has_marks = !self.times[Timing::Latency.index()].green.is_empty();
        Self { number: if has_marks { number } else { 0 }, ..self }
    }

    /// What the workers are to count open requests by.
    pub fn late_marks(&self) -> LateMarks {
        let Sides { green, blue } = self.times[Timing::Latency.index()].clone();
        LateMarks { number: self.number, green, blue }
    }

    /// Reads the meters.
    pub fn read(&self, green: &FleetMeters, blue: &FleetMeters) -> Tails {
        let times = Timing::ALL.map(|timing| {
            let edges = &self.times[timing.index()];
            Sides { green: green.tails(timing, &edges.green), blue: blue.tails(timing, &edges.blue) }
        });
        if self.number == 0 {
            return Tails { times, ..Tails::default() };
        }
        let marks = self.late_marks();
        let late = Sides {
            green: green.late(marks.bank(), marks.green.len()),
            blue: blue.late(marks.bank(), marks.blue.len()),
        };
        Tails { times, late, number: self.number }
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
        let edges = &self.times[timing.index()];
        tails.times[timing.index()] =
            Sides { green: count(&edges.green, green), blue: count(&edges.blue, blue) };
    }

    /// What was longer than these marks between two readings; nothing at marks that were not asked for.
    pub(super) fn slow(&self, timing: Timing, last: &Tails, now: &Tails, marks: Marks) -> Counted {
        let of_open = timing == Timing::Latency && last.number == now.number;
        let late = |tails: &Tails| if of_open { tails.late.clone() } else { Sides::default() };
        let (last_late, now_late) = (late(last), late(now));
        let (edges, last, now) =
            (&self.times[timing.index()], &last.times[timing.index()], &now.times[timing.index()]);
        let count = |counts: &[u64], place: usize| counts.get(place).copied().unwrap_or(0);
        let between = |edges: &[Edge], mark: Edge, last: [&[u64]; 2], now: [&[u64]; 2]| {
            let Ok(place) = edges.binary_search(&mark) else { return (0, 0) };
            let [answers, late] = last.map(|counts| count(counts, place));
            let [answers_now, late_now] = now.map(|counts| count(counts, place));
            ((answers_now + late_now).saturating_sub(answers + late), answers_now.saturating_sub(answers))
        };
        let green = between(
            &edges.green,
            marks.green,
            [&last.green, &last_late.green],
            [&now.green, &now_late.green],
        );
        let blue =
            between(&edges.blue, marks.blue, [&last.blue, &last_late.blue], [&now.blue, &now_late.blue]);
        Counted {
            slow: Slow { green: green.0, blue: blue.0 },
            answered: Slow { green: green.1, blue: blue.1 },
        }
    }
}

/// What became known to be slow between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// All of it.
    pub(super) slow: Slow,
    /// Slow answers, whether or not they were counted before, while they were open.
    pub(super) answered: Slow,
}

impl Tails {
    /// Goes on from what was just read. An answer may be seen to be no longer open before it is seen among the answers; then what was known
    /// stands, and it is not counted a second time when it is.
    pub(super) fn follow(&mut self, now: &Self) {
        if self.number != now.number {
            self.clone_from(now);
            return;
        }
        let latency = Timing::Latency.index();
        let Self { times, late, number: _ } = self;
        for (index, (times, now)) in times.iter_mut().zip(&now.times).enumerate() {
            if index != latency {
                times.clone_from(now);
            }
        }
        let (answers, answers_now) = (&mut times[latency], &now.times[latency]);
        keep_most((&mut answers.green, &mut late.green), (&answers_now.green, &now.late.green));
        keep_most((&mut answers.blue, &mut late.blue), (&answers_now.blue, &now.late.blue));
    }
}

/// Takes over answers and open requests of each mark where they are not fewer together.
fn keep_most(known: (&mut Vec<u64>, &mut Vec<u64>), now: (&Vec<u64>, &Vec<u64>)) {
    if known.0.len() != now.0.len() || known.1.len() != now.1.len() || now.1.is_empty() {
        known.0.clone_from(now.0);
        known.1.clone_from(now.1);
        return;
    }
    let known = known.0.iter_mut().zip(known.1.iter_mut());
    for ((answers, late), (answers_now, late_now)) in known.zip(now.0.iter().zip(now.1)) {
        if *answers_now + *late_now >= *answers + *late {
            (*answers, *late) = (*answers_now, *late_now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn edge(millis: u64) -> Edge {
        Edge::at_or_above(Duration::from_millis(millis)).unwrap()
    }

    fn tails(number: u32, answers: [u64; 2], late: [u64; 2]) -> Tails {
        let sides = |[green, blue]: [u64; 2]| Sides { green: vec![green], blue: vec![blue] };
        let mut tails = Tails { late: sides(late), number, ..Tails::default() };
        tails.times[Timing::Latency.index()] = sides(answers);
        tails
    }

    /// What was counted of green and of blue over these readings, one after the other.
    fn counted(readings: &[Tails]) -> (Counted, Tails) {
        let marks = Marks { green: edge(120), blue: edge(100) };
        let edges = Edges::of([(Timing::Latency, marks)].into_iter()).numbered(1);
        let (mut sum, mut last) = (Counted::default(), readings[0].clone());
        for now in &readings[1..] {
            let Counted { slow, answered } = edges.slow(Timing::Latency, &last, now, marks);
            sum = Counted { slow: sum.slow.plus(slow), answered: sum.answered.plus(answered) };
            last.follow(now);
        }
        (sum, last)
    }

    #[test]
    fn a_late_request_counts_when_it_is_late_and_not_again_when_it_is_answered() {
        let begin = tails(1, [10, 20], [0, 0]);
        let (sum, _) = counted(&[begin.clone(), tails(1, [10, 20], [3, 1]), tails(1, [12, 21], [1, 0])]);
        assert_eq!((sum.slow, sum.answered), (Slow { green: 3, blue: 1 }, Slow { green: 2, blue: 1 }));
        // Seen to be open no longer before it is seen among the answers.
        let halfway = tails(1, [10, 20], [2, 0]);
        let (sum, last) = counted(&[begin, tails(1, [10, 20], [3, 1]), halfway, tails(1, [11, 21], [2, 0])]);
        assert_eq!(sum.slow, Slow { green: 3, blue: 1 });
        assert_eq!(last, tails(1, [11, 21], [2, 0]));
    }

    #[test]
    fn what_was_late_for_other_marks_is_no_progress() {
        let (sum, last) = counted(&[tails(0, [10, 20], [0, 0]), tails(1, [10, 21], [7, 9])]);
        assert_eq!(sum.slow, Slow { green: 0, blue: 1 }, "the counters of before stand where these begin");
        assert_eq!(last.number, 1);
        let (sum, _) = counted(&[tails(1, [10, 21], [7, 9]), tails(1, [10, 21], [8, 9])]);
        assert_eq!(sum.slow, Slow { green: 1, blue: 0 });
    }
}
