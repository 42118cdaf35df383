//! Requests that are late while they are still open: green's under guards on latency, and both fleets' where a shift compares their latency.
//!
//! A green that accepts and never answers sends no outcome to judge it by. So a request that passes a latency alarm's bound counts
//! against green at that moment, once; what it comes to later is not counted against the same bound again. (For the error rate the bound
//! is the endpoint's head timeout, which ends the request and is an outcome.)
//!
//! Requests are dealt in the order of time, so a queue and one place in it for each bound say it all: whoever stands before the place
//! has passed the bound. A request costs two steps on the queue, and only under a shift with latency alarms; any other
//! request costs nothing. The queue holds what was dealt within the longest bound, open or not: some bytes each, however
//! long a stream stays open, because what has passed every bound leaves it.
//!
//! The marks of a comparison are blue's own quantiles, taken anew at each step. They apply to what is dealt once the worker has heard of them,
//! which is at a look and so at the same moment for both fleets.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use crate::{
    fleet::Side,
    meter::{FleetMeters, LateMarks, MAX_BOUNDS, MAX_MARKS, Overdue, PassedMarks, Stamp, WatchPoint},
    time::Moment,
};

/// One worker's open requests of one fleet under a shift, or of one of its variants.
#[derive(Debug)]
pub(super) struct OpenRequests {
    watch: Arc<WatchPoint>,
    side: Side,
    meters: Arc<FleetMeters>,
    queue: RefCell<Queue>,
}

/// What a request was counted against while it was open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lateness {
    pub(super) overdue: Overdue,
    pub(super) passed: PassedMarks,
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
    marks: Arc<LateMarks>,
    /// The place of the first request that the marks apply to, and for each the place of the first that has not passed it.
    marked_from: u64,
    unmarked: [u64; MAX_MARKS],
}

#[derive(Debug)]
struct Dealt {
    at: Moment,
    stamp: Stamp,
    is_open: bool,
}

impl OpenRequests {
    /// Those of the fleet with these meters, among the worker's or as new ones; `None` when no latency alarm watches it.
    pub(super) fn of(
        watch: &Arc<WatchPoint>,
        side: Side,
        meters: &Arc<FleetMeters>,
        known: &mut Vec<Rc<Self>>,
    ) -> Option<Rc<Self>> {
        if bounds_of(watch, side).is_empty() && watch.marks().is_none() {
            return None;
        }
        let is_it = |open: &&Rc<Self>| Arc::ptr_eq(&open.watch, watch) && Arc::ptr_eq(&open.meters, meters);
        if let Some(found) = known.iter().find(is_it) {
            return Some(Rc::clone(found));
        }
        let (watch, meters) = (Arc::clone(watch), Arc::clone(meters));
        let new = Rc::new(Self { watch, side, meters, queue: RefCell::default() });
        known.push(Rc::clone(&new));
        Some(new)
    }

    /// A request is dealt now.
    pub(super) fn begin(self: &Rc<Self>, stamp: Stamp, now: Moment) -> OpenRequest {
        OpenRequest { all: Rc::clone(self), place: self.queue.borrow_mut().push(stamp, now) }
    }

    /// Counts what has passed a bound or a mark since the last look, and wakes the evaluator if anything of green has.
    pub(super) fn look(&self, worker: usize, now: Moment) {
        let (shard, bounds) = (self.meters.shard(worker), self.bounds());
        let mut queue = self.queue.borrow_mut();
        let mut is_any_late = false;
        for (bound, nanos) in bounds.iter().enumerate() {
            queue.pass(bound, Duration::from_nanos(*nanos), now, |stamp| {
                shard.overdue(stamp, &self.watch, bound);
                is_any_late = true;
            });
        }
        if let Some(marks) = self.watch.marks() {
            queue.heed(&marks);
            for (mark, edge) in marks.of(self.side).enumerate() {
                queue.pass_mark(mark, edge.time(), now, || {
                    shard.passes(marks.bank(), mark);
                    is_any_late = true;
                });
            }
        }
        queue.forget_what_has_passed(bounds.len(), self.side);
        if is_any_late && self.side == Side::Green {
            self.watch.ring(now);
        }
    }

    fn bounds(&self) -> &[u64] {
        bounds_of(&self.watch, self.side)
    }
}

/// The bounds are green's.
fn bounds_of(watch: &WatchPoint, side: Side) -> &[u64] {
    match side {
        Side::Green => watch.bounds_nanos(),
        Side::Blue => &[],
    }
}

impl OpenRequest {
    /// It ends; says what it was counted against while it was open.
    pub(super) fn end(self) -> Lateness {
        let Self { all, place } = self;
        all.queue.borrow_mut().end(place, all.bounds().len(), all.side)
    }
}

impl Queue {
    fn push(&mut self, stamp: Stamp, now: Moment) -> u64 {
        self.requests.push_back(Dealt { at: now, stamp, is_open: true });
        self.end_place() - 1
    }

    /// Moves a bound's place to the first request that is within it, and tells of each open one that it passes.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is a place for each bound of the most that a watch has"
    )]
    fn pass(&mut self, bound: usize, limit: Duration, now: Moment, late: impl FnMut(Stamp)) {
        self.within[bound] = self.first_within(self.within[bound], limit, now, late);
    }

    /// The same for a mark of the set that is heeded.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is a place for each mark of the most that are told apart"
    )]
    fn pass_mark(&mut self, mark: usize, limit: Duration, now: Moment, mut late: impl FnMut()) {
        self.unmarked[mark] = self.first_within(self.unmarked[mark], limit, now, |_| late());
    }

    /// The place of the first request from this one on that is within a limit. Tells of each open one before it.
    fn first_within(&mut self, from: u64, limit: Duration, now: Moment, mut late: impl FnMut(Stamp)) -> u64 {
        let mut place = from.max(self.front);
        while let Some(request) = self.at(place)
            && now.since(request.at) >= limit
        {
            if request.is_open {
                late(request.stamp);
            }
            place += 1;
        }
        place
    }

    /// Other marks apply to what is dealt from now on, and to nothing that was dealt before.
    fn heed(&mut self, marks: &Arc<LateMarks>) {
        if self.marks.number != marks.number {
            self.marks = Arc::clone(marks);
            self.marked_from = self.end_place();
            self.unmarked = [self.marked_from; MAX_MARKS];
        }
    }

    fn end(&mut self, place: u64, bounds: usize, side: Side) -> Lateness {
        let mut late =
            Lateness { overdue: Overdue::default(), passed: PassedMarks::of_bank(self.marks.bank()) };
        for (bound, within) in self.within.iter().enumerate().take(bounds) {
            if place < *within {
                late.overdue.insert(bound);
            }
        }
        if place >= self.marked_from {
            for (mark, (_, unmarked)) in self.marks.of(side).zip(self.unmarked).enumerate() {
                if place < unmarked {
                    late.passed.insert(mark);
                }
            }
        }
        if let Some(request) = self.at(place) {
            request.is_open = false;
        }
        while self.requests.front().is_some_and(|first| !first.is_open) {
            self.drop_first();
        }
        late
    }

    /// What has passed every bound and every mark, or is subject to none, need not be remembered.
    fn forget_what_has_passed(&mut self, bounds: usize, side: Side) {
        let bounds = self.within.iter().take(bounds).copied();
        let marks = self.marks.of(side).zip(self.unmarked).map(|(_, place)| place);
        let passed = bounds.chain(marks).min().unwrap_or_else(|| self.end_place());
        while self.front < passed && !self.requests.is_empty() {
            self.drop_first();
        }
    }

    /// The place of the request that is dealt next.
    fn end_place(&self) -> u64 {
        self.front + self.requests.len() as u64
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
    use crate::meter::{Bell, Edge};

    const NONE: &[usize] = &[];

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    fn open_requests(bounds_millis: &[u64]) -> (Rc<OpenRequests>, Arc<Bell>) {
        let bounds: Vec<_> = bounds_millis.iter().map(|millis| Duration::from_millis(*millis)).collect();
        let bell = Arc::new(Bell::new());
        let watch = Arc::new(WatchPoint::new(&bounds, Arc::clone(&bell)));
        let meters = Arc::new(FleetMeters::new(1));
        (Rc::new(OpenRequests { watch, side: Side::Green, meters, queue: RefCell::default() }), bell)
    }

    impl OpenRequests {
        fn deal(self: &Rc<Self>, millis: u64) -> OpenRequest {
            self.begin(self.watch.stamp(), at(millis))
        }

        fn counted(&self) -> [u64; 2] {
            let cohort = *self.meters.read().cohort(self.watch.stamp());
            [cohort.exceeded[0], cohort.exceeded[1]]
        }

        fn length(&self) -> usize {
            self.queue.borrow().requests.len()
        }
    }

    #[track_caller]
    fn ends_with(request: OpenRequest, bounds: &[usize]) {
        let Lateness { overdue, passed: _ } = request.end();
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

    fn compared(side: Side) -> Rc<OpenRequests> {
        let watch = Arc::new(WatchPoint::new(&[], Arc::new(Bell::new())).comparing_latency());
        let meters = Arc::new(FleetMeters::new(1));
        Rc::new(OpenRequests { watch, side, meters, queue: RefCell::default() })
    }

    impl OpenRequests {
        fn mark(&self, number: u32, [green, blue]: [u64; 2]) {
            let edge = |millis| vec![Edge::at_or_above(Duration::from_millis(millis)).unwrap()];
            self.watch.mark(LateMarks { number, green: edge(green), blue: edge(blue) });
        }

        fn late(&self, number: usize) -> u64 {
            self.meters.late(number % 2, 1)[0]
        }
    }

    #[test]
    fn marks_apply_to_what_is_dealt_after_they_were_heard_of_and_each_fleet_has_its_own() {
        for (side, first_late) in [(Side::Green, 130), (Side::Blue, 110)] {
            let open = compared(side);
            let before = open.deal(0);
            open.mark(1, [120, 100]);
            open.look(0, at(1));
            let after = open.deal(2);
            open.look(0, at(first_late - 10));
            assert_eq!(open.late(1), 0, "{side:?}");
            open.look(0, at(first_late));
            open.look(0, at(first_late + 500));
            assert_eq!(open.late(1), 1, "{side:?}: once, and not what was dealt before");
            assert_eq!(open.length(), 0, "what has passed every mark is forgotten");
            assert!(before.end().passed.is_none());
            let passed = after.end().passed;
            assert_eq!((passed.bank(), passed.iter().collect::<Vec<_>>()), (1, vec![0]));
        }
    }

    #[test]
    fn a_request_that_was_late_for_marks_of_before_is_not_for_those_of_now() {
        let open = compared(Side::Blue);
        open.mark(1, [100, 100]);
        open.look(0, at(0));
        let request = open.deal(1);
        open.look(0, at(150));
        open.mark(2, [200, 200]);
        open.look(0, at(160));
        open.look(0, at(500));
        assert_eq!((open.late(1), open.late(2)), (1, 0));
        assert!(request.end().passed.is_none());
    }

    #[test]
    fn without_a_mark_yet_nothing_is_remembered_beyond_a_look() {
        let open = compared(Side::Blue);
        let stream = open.deal(0);
        for millis in 1..1_000 {
            assert!(open.deal(millis).end().passed.is_none());
            open.look(0, at(millis));
            assert_eq!(open.length(), 0);
        }
        assert_eq!(stream.end(), Lateness::default());
    }
}
