//! How both fleets did since the shift began: shares, error rates and times as lines of blocks, blue's and green's on one scale.

use std::{collections::VecDeque, ops::Range};

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{
    tables::Canvas,
    text::{left, millis, percent, right, span},
};
use crate::{admin::wire, time::WallTime};

/// A sample a second for an hour: more than a terminal has columns for, and a fifth of a megabyte.
const MOST_SAMPLES: usize = 3_600;

/// Nothing is drawn as an empty column, and something never is.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// As many seconds as the server's own recent figures cover: single seconds of little traffic would jump about beside them.
const WINDOW_MS: u64 = 5_000;

/// What was seen, a sample a second.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trend {
    first: Option<i64>,
    last: Option<i64>,
    samples: VecDeque<Sample>,
}

/// One look at both fleets. Whole numbers, so that pictures can be compared: millionths, and microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sample {
    blue: Point,
    green: Point,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Point {
    share: Option<u64>,
    errors: Option<u64>,
    p99: Option<u64>,
}

/// One of a point's figures.
type Figure = fn(&Point) -> Option<u64>;

/// A row: what it is called, its figure, and how that is written.
type Row = (&'static str, Figure, fn(u64) -> String);

/// One of a sample's fleets.
type Side = fn(&Sample) -> Point;

impl Trend {
    /// Keeps a look, unless the last one is less than a second old.
    pub fn see(&mut self, shift: &wire::Shift, now: WallTime) {
        if self.last.is_some_and(|last| now.as_millis().saturating_sub(last) < 1_000) {
            return;
        }
        self.last = Some(now.as_millis());
        self.first.get_or_insert(now.as_millis());
        if self.samples.len() == MOST_SAMPLES {
            self.samples.pop_front();
        }
        let got = shift.share_got.filter(|got| (0.0..=1.0).contains(got));
        self.samples.push_back(Sample {
            blue: Point::of(&shift.fleets.blue.recent, got.map(|got| 1.0 - got)),
            green: Point::of(&shift.fleets.green.recent, got),
        });
    }

    /// Puts what was before the first look in front of it.
    pub fn begin_with(&mut self, series: &wire::Series) {
        let first = self.first.unwrap_or(i64::MAX);
        let window = usize::try_from(WINDOW_MS.div_ceil(series.every_ms.max(1))).unwrap_or(1);
        let seconds = usize::try_from(series.every_ms / 1_000).unwrap_or(MOST_SAMPLES).clamp(1, MOST_SAMPLES);
        let early = series.at_ms.iter().take_while(|at| **at < first).count();
        for end in (1..=early).rev() {
            let sample = Sample::of(series, end.saturating_sub(window)..end);
            for _ in 0..seconds.min(MOST_SAMPLES - self.samples.len()) {
                self.samples.push_front(sample);
            }
        }
    }

    /// A figure of one fleet in so many columns, each the most of its seconds; `None` where nothing was measured.
    fn columns(&self, columns: usize, of: impl Fn(&Sample) -> Option<u64>) -> Vec<Option<u64>> {
        let seconds = self.samples.len().div_ceil(columns.max(1)).max(1);
        let values: Vec<Option<u64>> = self.samples.iter().map(of).collect();
        values.chunks(seconds).map(|chunk| chunk.iter().flatten().max().copied()).collect()
    }
}

impl Sample {
    /// Over some points in a row; the times are those of the last, which cover some seconds already.
    fn of(series: &wire::Series, points: Range<usize>) -> Self {
        let [blue, green] = [&series.blue, &series.green].map(|fleet| {
            let sum = |column: &[Option<u32>]| -> u64 {
                let range = column.get(points.clone()).unwrap_or_default();
                range.iter().flatten().map(|count| u64::from(*count)).sum()
            };
            let p99 = points.end.checked_sub(1).and_then(|last| fleet.p99_ms.get(last).copied().flatten());
            (sum(&fleet.requests), sum(&fleet.settled), sum(&fleet.failed), p99)
        });
        let all = blue.0 + green.0;
        let point = |(requests, settled, failed, p99): (u64, u64, u64, Option<f64>)| Point {
            share: (requests * 1_000_000).checked_div(all),
            errors: (failed * 1_000_000).checked_div(settled),
            p99: p99.map(|p99| whole(p99 * 1e3)),
        };
        Self { blue: point(blue), green: point(green) }
    }
}

impl Point {
    fn of(recent: &wire::Recent, share: Option<f64>) -> Self {
        let is_quiet = recent.requests == 0;
        Self {
            share: share.map(|share| whole(share * 1e6)),
            errors: Some(whole(recent.error_rate * 1e6)).filter(|_| !is_quiet),
            p99: recent.p99_ms.map(|p99| whole(p99 * 1e3)),
        }
    }
}

impl Canvas<'_> {
    /// The lines; none before there are two samples to compare.
    pub(super) fn trend(self, trend: &Trend) -> Option<Vec<Line<'static>>> {
        if trend.samples.len() < 2 {
            return None;
        }
        let half = self.columns.saturating_sub(self.label_columns() + 1) / 2;
        let title = format!(" TREND {}", span(trend.samples.len() as u64));
        let legend = left("blue", half) + "green";
        let mut lines = vec![Line::from(vec![
            Span::styled(left(&title, self.label_columns()), self.palette.title()),
            Span::styled(legend, self.palette.faint()),
        ])];
        let rows: [Row; 3] = [
            (" share got", |point| point.share, |share| percent(fraction(share))),
            (" errors", |point| point.errors, |errors| percent(fraction(errors))),
            (" p99", |point| point.p99, |p99| millis(Some(fraction(p99) * 1e3))),
        ];
        for (label, figure, text) in rows {
            lines.push(self.row(trend, label, figure, text, half));
        }
        Some(lines)
    }

    fn row(
        self,
        trend: &Trend,
        label: &'static str,
        figure: Figure,
        text: fn(u64) -> String,
        half: usize,
    ) -> Line<'static> {
        const VALUE: usize = 8;
        let room = half.saturating_sub(VALUE + 2);
        let sides: [(Side, Style); 2] =
            [(|sample| sample.blue, self.palette.blue()), (|sample| sample.green, self.palette.green())];
        let columns = sides.map(|(side, style)| (trend.columns(room, |sample| figure(&side(sample))), style));
        // One scale for both: which line is higher is what is looked for.
        let most = columns.iter().flat_map(|(values, _)| values).flatten().max().copied().unwrap_or(0);
        let mut spans = vec![Span::raw(left(label, self.label_columns()))];
        for (values, style) in columns {
            let newest = values.last().copied().flatten().map_or_else(|| "-".to_owned(), text);
            let blocks: String = values.iter().map(|value| block(*value, most)).collect();
            spans.push(Span::styled(left(&blocks, room), style));
            spans.push(Span::raw(right(&newest, VALUE) + "  "));
        }
        Line::from(spans)
    }
}

fn block(value: Option<u64>, most: u64) -> char {
    let Some(value) = value else { return ' ' };
    let top = BLOCKS.len() as u64 - 1;
    let height = if most == 0 { 0 } else { (value.saturating_mul(top)).div_ceil(most).min(top) };
    BLOCKS[usize::try_from(height).unwrap_or(0)]
}

#[expect(clippy::cast_precision_loss, reason = "a figure on a screen has few digits")]
fn fraction(millionths: u64) -> f64 {
    millionths as f64 / 1e6
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and a figure on a screen wants nothing else"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_never_drawn_as_nothing_and_what_was_not_measured_is_a_gap() {
        let drawn: String = [Some(0), Some(1), Some(500), Some(1_000), None]
            .map(|value| block(value, 1_000))
            .iter()
            .collect();
        assert_eq!(drawn, "▁▂▅█ ");
        assert_eq!(block(Some(0), 0), '▁');
    }

    /// A shift's first seconds: green fails one of ten requests, and each has half of them.
    fn series(seconds: u32, every_ms: u64) -> wire::Series {
        let fleet = |failed| wire::FleetSeries {
            requests: vec![Some(10); seconds as usize],
            settled: vec![Some(10); seconds as usize],
            failed: vec![Some(failed); seconds as usize],
            p99_ms: vec![Some(1.5); seconds as usize],
            ..wire::FleetSeries::default()
        };
        wire::Series {
            every_ms,
            at_ms: (1..=i64::from(seconds)).map(|second| second * every_ms.cast_signed()).collect(),
            share: vec![0.5; seconds as usize],
            nearness: vec![None; seconds as usize],
            blue: fleet(0),
            green: fleet(1),
        }
    }

    #[test]
    fn what_was_before_watching_began_comes_first_and_only_once() {
        let shift = super::super::tests::baking();
        let mut trend = Trend::default();
        trend.see(&shift, WallTime::from_millis(7_500));
        trend.begin_with(&series(20, 1_000));
        assert_eq!(trend.samples.len(), 8, "seven seconds, and the look");
        let green = |trend: &Trend| trend.samples[6].green;
        assert_eq!(green(&trend), Point { share: Some(500_000), errors: Some(100_000), p99: Some(1_500) });
        assert_eq!(trend.samples[7].green.share, Some(249_600));

        let mut coarse = Trend::default();
        coarse.begin_with(&series(3, 10_000));
        assert_eq!((coarse.samples.len(), green(&coarse).share), (30, Some(500_000)));
        coarse.begin_with(&series(4_000, 10_000));
        assert_eq!(coarse.samples.len(), MOST_SAMPLES);
    }

    #[test]
    fn columns_that_are_missing_are_gaps() {
        let mut trend = Trend::default();
        let none = wire::FleetSeries::default();
        trend.begin_with(&wire::Series { blue: none.clone(), green: none, ..series(2, 1_000) });
        assert_eq!(trend.samples[1].blue, Point { share: None, errors: None, p99: None });
    }

    #[test]
    fn a_look_within_the_same_second_is_not_kept_and_old_ones_go() {
        let shift = super::super::tests::baking();
        let mut trend = Trend::default();
        for second in 0..4_000 {
            trend.see(&shift, WallTime::from_millis(second * 1_000));
            trend.see(&shift, WallTime::from_millis(second * 1_000 + 200));
        }
        assert_eq!(trend.samples.len(), MOST_SAMPLES);
        assert_eq!(trend.columns(10, |sample| sample.green.share), [Some(249_600); 10]);
    }
}
