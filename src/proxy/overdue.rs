//! Requests of green that are late while they are still open.
//!
//! A green that accepts and never answers sends no outcome to judge it by. So a request that passes a latency alarm's bound counts
//! against green at that moment, once; what it comes to later is not counted against the same bound again. (For the error rate the bound
//! is the endpoint's head timeout, which ends the request and is an outcome.)
//!
//! Requests are dealt in the order of time, so a queue and one place in it for each bound say it all: whoever stands before the place
//! has passed the bound. A request costs two steps on the queue, and only under a shift with latency alarms; any other
//! request costs nothing. The queue holds what was dealt within the longest bound, open or not: some bytes each, however
//! long a stream stays open, because what has passed every bound leaves it.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use crate::{
    meter::{FleetMeters, MAX_BOUNDS, Overdue, Stamp, WatchPoint},
    time::Moment,
};

/// One worker's open requests of one shift's green, or of one of its variants.
#[derive(Debug)]
pub(super) struct OpenRequests {
    watch: Arc<WatchPoint>,
    green: Arc<FleetMeters>,
    queue: RefCell<Queue>,
}

/// One request among them. Whoever holds it says when it ends.
#[derive(Debug)]
pub(super) struct OpenRequest {
    all: Rc<OpenRequests>,
    place: u64,
}

/// Requests in the order in which they were dealt. A place is the number of requests dealt before.
#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<Dealt>,
    /// The place of the queue's front.
    front: u64,
    /// For each bound, the place of the first request that has not passed it.
    within: [u64; MAX_BOUNDS],
}

#[derive(Debug)]
struct Dealt {
    at: Moment,
    stamp: Stamp,
    is_open: bool,
}

impl OpenRequests {
    /// Those of the green with these meters, among the worker's or as new ones; `None` when no latency alarm watches it.
    pub(super) fn of(
        watch: &Arc<WatchPoint>,
        green: &Arc<FleetMeters>,
        known: &mut Vec<Rc<Self>>,
    ) -> Option<Rc<Self>> {
        if watch.bounds_nanos().is_empty() {
            return None;
        }
        let is_it = |open: &&Rc<Self>| Arc::ptr_eq(&open.watch, watch) && Arc::ptr_eq(&open.green, green);
        if let Some(found) = known.iter().find(is_it) {
            return Some(Rc::clone(found));
        }
        let (watch, green) = (Arc::clone(watch), Arc::clone(green));
        let new = Rc::new(Self { watch, green, queue: RefCell::default() });
        known.push(Rc::clone(&new));
        Some(new)
    }

    /// A request is dealt now.
    pub(super) fn begin(self: &Rc<Self>, stamp: Stamp, now: Moment) -> OpenRequest {
        OpenRequest { all: Rc::clone(self), place: self.queue.borrow_mut().push(stamp, now) }
    }

    /// Counts what has passed a bound since the last look, and wakes the evaluator if anything has.
    pub(super) fn look(&self, worker: usize, now: Moment) {
        let (shard, bounds) = (self.green.shard(worker), self.watch.bounds_nanos());
        let mut queue = self.queue.borrow_mut();
        let mut is_any_late = false;
        for (bound, nanos) in bounds.iter().enumerate() {
            queue.pass(bound, Duration::from_nanos(*nanos), now, |stamp| {
                shard.overdue(stamp, &self.watch, bound);
                is_any_late = true;
            });
        }
        queue.forget_what_has_passed(bounds.len());
        if is_any_late {
            self.watch.ring(now);
        }
    }
}

impl OpenRequest {
    /// It ends; says which bounds it was counted against while it was open.
    pub(super) fn end(self) -> Overdue {
        self.all.queue.borrow_mut().end(self.place, self.all.watch.bounds_nanos().len())
    }
}

impl Queue {
    fn push(&mut self, stamp: Stamp, now: Moment) -> u64 {
        self.requests.push_back(Dealt { at: now, stamp, is_open: true });
        self.front + (self.requests.len() as u64 - 1)
    }

    /// Moves a bound's place to the first request that is within it, and tells of each open one that it passes.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is a place for each bound of the most that a watch has"
    )]
    fn pass(&mut self, bound: usize, limit: Duration, now: Moment, mut late: impl FnMut(Stamp)) {
        let mut place = self.within[bound].max(self.front);
        while let Some(request) = self.at(place)
            && now.since(request.at) >= limit
        {
            if request.is_open {
                late(request.stamp);
            }
            place += 1;
        }
        self.within[bound] = place;
    }

    fn end(&mut self, place: u64, bounds: usize) -> Overdue {
        let mut overdue = Overdue::default();
        for (bound, within) in self.within.iter().enumerate().take(bounds) {
            if place < *within {
                overdue.insert(bound);
            }
        }
        if let Some(request) = self.at(place) {
            request.is_open = false;
        }
        while self.requests.front().is_some_and(|first| !first.is_open) {
            self.drop_first();
        }
        overdue
    }

    fn forget_what_has_passed(&mut self, bounds: usize) {
        let passed = self.within.iter().take(bounds).min().copied().unwrap_or_default();
        while self.front < passed {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        self.requests.pop_front();
        self.front += 1;
    }

    /// The request at a place, unless it has left the queue.
    fn at(&mut self, place: u64) -> Option<&mut Dealt> {
        let index = place.checked_sub(self.front)?;
        self.requests.get_mut(usize::try_from(index).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Bell;

    const NONE: &[usize] = &[];

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    fn open_requests(bounds_millis: &[u64]) -> (Rc<OpenRequests>, Arc<Bell>) {
        let bounds: Vec<_> = bounds_millis.iter().map(|millis| Duration::from_millis(*millis)).collect();
        let bell = Arc::new(Bell::new());
        let watch = Arc::new(WatchPoint::new(&bounds, Arc::clone(&bell)));
        let green = Arc::new(FleetMeters::new(1));
        (Rc::new(OpenRequests { watch, green, queue: RefCell::default() }), bell)
    }

    impl OpenRequests {
        fn deal(self: &Rc<Self>, millis: u64) -> OpenRequest {
            self.begin(self.watch.stamp(), at(millis))
        }

        fn counted(&self) -> [u64; 2] {
            let cohort = *self.green.read().cohort(self.watch.stamp());
            [cohort.exceeded[0], cohort.exceeded[1]]
        }

        fn length(&self) -> usize {
            self.queue.borrow().requests.len()
        }
    }

    #[track_caller]
    fn ends_with(request: OpenRequest, bounds: &[usize]) {
        let overdue = request.end();
        let found: Vec<_> = (0..MAX_BOUNDS).filter(|bound| overdue.contains(*bound)).collect();
        assert_eq!(found, bounds);
    }

    #[test]
    fn a_request_counts_once_against_each_bound_that_it_passes_while_open() {
        let (open, bell) = open_requests(&[100, 300]);
        let (first, second, third) = (open.deal(1_000), open.deal(1_001), open.deal(1_050));
        open.look(0, at(1_099));
        assert_eq!((open.counted(), bell.answer()), ([0, 0], None));
        open.look(0, at(1_101));
        assert_eq!((open.counted(), bell.answer()), ([2, 0], Some(at(1_101))));
        open.look(0, at(1_111));
        assert_eq!((open.counted(), bell.answer()), ([2, 0], None));
        ends_with(second, &[0]);
        ends_with(third, NONE);
        open.look(0, at(1_400));
        assert_eq!(open.counted(), [2, 1]);
        ends_with(first, &[0, 1]);
    }

    #[test]
    fn what_ends_in_any_order_leaves_nothing_behind() {
        let (open, _) = open_requests(&[100, 300]);
        let mut requests: Vec<_> = (0..5).map(|millis| Some(open.deal(millis))).collect();
        for (index, left) in [(3, 5), (1, 5), (0, 3), (2, 1), (4, 0)] {
            ends_with(requests[index].take().unwrap(), NONE);
            assert_eq!(open.length(), left, "{index}");
        }
        ends_with(open.deal(6), NONE);
        open.look(0, at(1_000));
        assert_eq!((open.counted(), open.length()), ([0, 0], 0));
    }

    #[test]
    fn a_stream_that_stays_open_holds_nothing_up() {
        let (open, _) = open_requests(&[300, 100]);
        let stream = open.deal(0);
        for millis in 1..2_000 {
            ends_with(open.deal(millis), NONE);
            open.look(0, at(millis));
            assert!(open.length() <= 300, "{millis}");
        }
        assert_eq!((open.counted(), open.length()), ([1, 1], 0));
        ends_with(stream, &[0, 1]);
    }
}
