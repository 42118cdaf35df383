//! Open requests that are slow where a plan compares latency, in a replay.
//!
//! As live: what is dealt while the marks are in force and is still open at its mark is slow then, of both fleets alike, and is not counted again
//! when it is answered.

use std::time::Duration;

use crate::{
    fleet::Side,
    meter::{PassedMarks, Shard, WatchPoint},
};

/// The marks in force when a request was dealt; zero for none.
pub(super) fn in_force(watch: &WatchPoint) -> u32 {
    watch.marks().map_or(0, |marks| marks.number)
}

/// After how long a request that takes so long passes each mark that is in force now.
pub(super) fn passes(watch: &WatchPoint, side: Side, takes: Duration) -> Vec<(Duration, usize)> {
    let marks = watch.marks();
    let edges = marks.iter().flat_map(|marks| marks.of(side)).enumerate();
    edges.map(|(mark, edge)| (edge.time(), mark)).filter(|(time, _)| takes > *time).collect()
}

/// Counts that a request dealt under these marks passes one, if they are still in force.
pub(super) fn pass(watch: &WatchPoint, shard: &Shard, number: u32, mark: usize) {
    if let Some(marks) = watch.marks().filter(|marks| marks.number == number) {
        shard.passes(marks.bank(), mark);
    }
}

/// What a request that took so long, dealt under these marks, was counted against while it was open.
pub(super) fn passed(watch: &WatchPoint, side: Side, number: u32, took: Duration) -> PassedMarks {
    let Some(marks) = watch.marks().filter(|marks| marks.number == number && number > 0) else {
        return PassedMarks::default();
    };
    let mut passed = PassedMarks::of_bank(marks.bank());
    for (_, mark) in passes(watch, side, took) {
        passed.insert(mark);
    }
    passed
}
