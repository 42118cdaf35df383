//! Traffic over time, for whoever looks at it: a point a second over the last minutes of an endpoint, and for a shift as many points as
//! tell its story.
//!
//! Points are made of the samples that the control task takes anyway, so workers do nothing for them. Nothing is decided by them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::traffic::{judged, small};
use crate::{meter::Reading, time::WallTime, weight::Share};

/// So many points an endpoint keeps, five minutes: 25 kB of a busy one, 5 MB of two hundred.
const RECENT_POINTS: usize = 300;

/// So many points a shift keeps at most; past them, each two become one. As many as a chart has room for, and some 12 kB in the journal.
const TRACK_POINTS: usize = 160;

/// What a fleet did in the moments that a point stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FleetPoint {
    /// Dealt.
    pub requests: u32,
    /// Settled, without what counts for nobody.
    pub settled: u32,
    /// Of these, failures.
    pub failed: u32,
    /// In flight at the end.
    pub in_flight: u32,
    /// Median time over the last five seconds, in microseconds, dispatch to last byte.
    pub p50_us: Option<u32>,
    /// 99th percentile of the same.
    pub p99_us: Option<u32>,
    /// Median time to the first token over the last five seconds, in microseconds.
    pub first_token_p50_us: Option<u32>,
    /// 99th percentile of the same.
    pub first_token_p99_us: Option<u32>,
}

/// An endpoint in a moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    /// When it ends.
    pub at: WallTime,
    /// Green's share wanted.
    pub share: Share,
    /// How near the nearest alarm is, 0 to 1; `None` while none looks.
    pub nearness: Option<f32>,
    /// The fleet in service.
    pub blue: FleetPoint,
    /// The fleet coming in.
    pub green: Option<FleetPoint>,
}

/// The last minutes of an endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    points: VecDeque<Point>,
    /// Two samples make a point.
    is_half: bool,
}

/// A shift from its beginning.
#[derive(Clone, PartialEq, Debug)]
pub struct Track {
    /// How many seconds a point stands for.
    every: u32,
    points: Vec<Point>,
    /// The point that is being gathered, and how many seconds it stands for yet.
    open: Option<(Point, u32)>,
    /// What the fleets had counted at the last point: a point may come at any moment, and nothing is counted twice.
    blue: Totals,
    green: Totals,
}

/// What a fleet has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Totals {
    requests: u64,
    settled: u64,
    failed: u64,
}

/// A track as the journal keeps it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TrackForm {
    every: u32,
    points: Vec<PointForm>,
}

/// When, the share in basis points, the nearness, blue, green.
type PointForm = (i64, u16, Option<f32>, FleetForm, Option<FleetForm>);

/// Counts, and times in microseconds, in the order of [`FleetPoint`].
type FleetForm = ([u32; 4], [Option<u32>; 4]);

impl Series {
    /// Whether this sample makes a point.
    pub(super) fn is_due(&mut self) -> bool {
        let was_half = self.is_half;
        self.is_half = !was_half;
        was_half
    }

    pub(super) fn push(&mut self, point: Point) {
        if self.points.len() == RECENT_POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// The points after a moment, oldest first.
    pub(super) fn after(&self, moment: Option<WallTime>) -> Vec<Point> {
        let fresh = |point: &&Point| moment.is_none_or(|moment| point.at > moment);
        let mut points: Vec<Point> = self.points.iter().rev().take_while(fresh).copied().collect();
        points.reverse();
        points
    }

    /// Requests in each of the last seconds, both fleets', oldest first.
    pub(super) fn trend(&self, seconds: usize) -> Vec<u32> {
        let requests =
            |point: &Point| point.blue.requests.saturating_add(point.green.map_or(0, |green| green.requests));
        self.points.iter().skip(self.points.len().saturating_sub(seconds)).map(requests).collect()
    }
}

impl Default for Track {
    fn default() -> Self {
        Self { every: 1, points: Vec::new(), open: None, blue: Totals::default(), green: Totals::default() }
    }
}

impl Track {
    /// Goes on from what blue had counted before.
    pub(super) fn from(self, blue: Totals) -> Self {
        Self { blue, green: Totals::default(), ..self }
    }

    /// Takes a point, whose counts are those since the one before.
    pub(super) fn push(&mut self, mut point: Point, blue: Totals, green: Totals) {
        point.blue.count(self.blue, blue);
        if let Some(of_green) = &mut point.green {
            of_green.count(self.green, green);
        }
        (self.blue, self.green) = (blue, green);
        let (gathered, seconds) = match self.open.take() {
            Some((open, seconds)) => (open.then(&point), seconds + 1),
            None => (point, 1),
        };
        if seconds < self.every {
            self.open = Some((gathered, seconds));
            return;
        }
        self.points.push(gathered);
        if self.points.len() > TRACK_POINTS {
            let pairs = self.points.chunks(2);
            self.points = pairs.filter_map(|pair| pair.iter().copied().reduce(|a, b| a.then(&b))).collect();
            self.every = self.every.saturating_mul(2);
        }
    }

    /// The last point.
    pub(super) fn newest(&self) -> Option<Point> {
        self.open.map(|(open, _)| open).or(self.points.last().copied())
    }

    /// How many seconds a point stands for; the last may stand for fewer.
    pub fn every_seconds(&self) -> u32 {
        self.every
    }

    /// Its points, oldest first.
    pub fn points(&self) -> Vec<Point> {
        self.points.iter().copied().chain(self.open.map(|(open, _)| open)).collect()
    }
}

impl Point {
    /// Both moments as one. Quantiles of two cannot be put together: the median is that of most requests, and the 99th percentile the higher
    /// one, so that nothing that was seen goes missing.
    fn then(&self, later: &Self) -> Self {
        let green = match (self.green, later.green) {
            (Some(first), Some(then)) => Some(first.then(&then)),
            (first, then) => then.or(first),
        };
        Self {
            at: later.at,
            share: later.share,
            nearness: match (self.nearness, later.nearness) {
                (Some(first), Some(then)) => Some(first.max(then)),
                (first, then) => then.or(first),
            },
            blue: self.blue.then(&later.blue),
            green,
        }
    }
}

impl Totals {
    pub(super) fn of(reading: &Reading) -> Self {
        Self { requests: reading.dealt, settled: judged(reading), failed: reading.failed() }
    }
}

impl FleetPoint {
    fn count(&mut self, then: Totals, now: Totals) {
        self.requests = small(now.requests.saturating_sub(then.requests));
        self.settled = small(now.settled.saturating_sub(then.settled));
        self.failed = small(now.failed.saturating_sub(then.failed));
    }

    fn then(&self, later: &Self) -> Self {
        let of_most = |first: Option<u32>, then: Option<u32>| {
            if later.requests >= self.requests { then.or(first) } else { first.or(then) }
        };
        Self {
            requests: self.requests.saturating_add(later.requests),
            settled: self.settled.saturating_add(later.settled),
            failed: self.failed.saturating_add(later.failed),
            in_flight: later.in_flight,
            p50_us: of_most(self.p50_us, later.p50_us),
            p99_us: self.p99_us.max(later.p99_us),
            first_token_p50_us: of_most(self.first_token_p50_us, later.first_token_p50_us),
            first_token_p99_us: self.first_token_p99_us.max(later.first_token_p99_us),
        }
    }

    fn form(&self) -> FleetForm {
        let Self {
            requests,
            settled,
            failed,
            in_flight,
            p50_us,
            p99_us,
            first_token_p50_us,
            first_token_p99_us,
        } = *self;
        ([requests, settled, failed, in_flight], [p50_us, p99_us, first_token_p50_us, first_token_p99_us])
    }

    fn read((counts, times): FleetForm) -> Self {
        let [requests, settled, failed, in_flight] = counts;
        let [p50_us, p99_us, first_token_p50_us, first_token_p99_us] = times;
        Self { requests, settled, failed, in_flight, p50_us, p99_us, first_token_p50_us, first_token_p99_us }
    }
}

impl TrackForm {
    pub(super) fn of(track: &Track) -> Self {
        let form = |point: Point| {
            let Point { at, share, nearness, blue, green } = point;
            let green = green.map(|green| green.form());
            (at.as_millis(), share.basis_points(), nearness, blue.form(), green)
        };
        Self { every: track.every, points: track.points().into_iter().map(form).collect() }
    }

    pub(super) fn track(self) -> Track {
        let point = |(at, share, nearness, blue, green): PointForm| Point {
            at: WallTime::from_millis(at),
            share: Share::from_basis_points(share).unwrap_or_default(),
            nearness,
            blue: FleetPoint::read(blue),
            green: green.map(FleetPoint::read),
        };
        let points = self.points.into_iter().map(point).collect();
        Track { every: self.every.max(1), points, ..Track::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: i64, requests: u32) -> Point {
        Point {
            at: WallTime::from_millis(second * 1_000),
            share: Share::NONE,
            nearness: Some(0.25),
            blue: FleetPoint { requests, p99_us: Some(requests), ..FleetPoint::default() },
            green: None,
        }
    }

    /// With one more request of each fleet.
    fn push(track: &mut Track, point: Point, second: i64) {
        let totals = Totals { requests: second.unsigned_abs() + 1, settled: 0, failed: 0 };
        track.push(point, totals, totals);
    }

    #[test]
    fn every_second_sample_makes_a_point_and_old_points_go() {
        let mut series = Series::default();
        for second in 0..1_000 {
            assert!(!series.is_due());
            assert!(series.is_due());
            series.push(point(second, 1));
        }
        let all = series.after(None);
        assert_eq!((all.len(), all[0].at.as_millis()), (RECENT_POINTS, 700_000));
        let fresh = series.after(Some(WallTime::from_millis(997_000)));
        assert_eq!(fresh.iter().map(|point| point.at.as_millis()).collect::<Vec<_>>(), [998_000, 999_000]);
        assert_eq!(series.trend(3), [1, 1, 1]);
    }

    #[test]
    fn a_track_of_any_length_has_a_bound_and_loses_no_request() {
        let mut track = Track::default();
        for second in 0..10_000 {
            push(&mut track, point(second, 1), second);
        }
        let points = track.points();
        assert!(points.len() <= TRACK_POINTS + 1, "{}", points.len());
        assert!(points.len() > TRACK_POINTS / 2 - 1, "{}", points.len());
        assert_eq!(points.iter().map(|point| point.blue.requests).sum::<u32>(), 10_000);
        assert_eq!(points.last().unwrap().at.as_millis(), 9_999_000);
        assert!(points.is_sorted_by_key(|point| point.at));
    }

    #[test]
    fn two_points_in_one_keep_the_higher_quantile_and_the_newer_share() {
        let green = FleetPoint { requests: 3, settled: 3, failed: 1, ..FleetPoint::default() };
        let first = Point { green: Some(green), ..point(1, 10) };
        let then = Point { share: Share::ALL, nearness: None, ..point(2, 2) };
        let both = first.then(&then);
        assert_eq!((both.blue.requests, both.blue.p99_us), (12, Some(10)));
        assert_eq!((both.share, both.nearness, both.green), (Share::ALL, Some(0.25), Some(green)));
    }

    #[test]
    fn a_track_comes_back_from_the_journal_as_it_was() {
        let mut track = Track::default();
        for second in 0..500 {
            let green = FleetPoint { first_token_p50_us: Some(7), ..FleetPoint::default() };
            push(&mut track, Point { green: Some(green), ..point(second, 2) }, second);
        }
        let text = serde_json::to_string(&TrackForm::of(&track)).unwrap();
        let form: TrackForm = serde_json::from_str(&text).unwrap();
        let read = form.track();
        assert_eq!((read.points(), read.every_seconds()), (track.points(), track.every_seconds()));
        let none: TrackForm = serde_json::from_str("{}").unwrap();
        assert_eq!(none.track(), Track::default());
    }
}
