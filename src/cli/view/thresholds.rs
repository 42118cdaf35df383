//! The live view's rows of threshold and external alarms.

use ratatui::text::{Line, Span};

use super::{
    tables::Canvas,
    text::{count, left},
};
use crate::admin::wire;

/// The live view has other things to show; `shift status` has them all.
const MAX_ROWS: usize = 4;

const NAME_COLUMNS: usize = 34;

impl Canvas<'_> {
    /// Every threshold alarm with its newest period; none when the plan has none.
    pub(super) fn thresholds(self) -> Option<Vec<Line<'static>>> {
        let thresholds = &self.shift.thresholds;
        if thresholds.is_empty() {
            return None;
        }
        let mut lines = vec![Line::styled(" THRESHOLDS", self.palette.title())];
        lines.extend(thresholds.iter().take(MAX_ROWS).map(|threshold| self.threshold(threshold)));
        lines.extend(self.more(thresholds.len()));
        Some(lines)
    }

    fn threshold(self, threshold: &wire::Threshold) -> Line<'static> {
        let (state, style) = self.said(&threshold.state);
        let newest = threshold.value.as_deref().unwrap_or("-");
        let wire::Threshold { breaching, datapoints, period, .. } = threshold;
        Line::from(vec![
            Span::raw(format!(" {} ", left(&breach(threshold), NAME_COLUMNS))),
            Span::styled(left(state, 12), style),
            self.near(threshold.nearness),
            Span::raw(format!("{newest}, {breaching} breach, raised by {datapoints} of {period}")),
        ])
    }
}

impl Canvas<'_> {
    /// Every external alarm with what it says; none when the plan has none.
    pub(super) fn externals(self) -> Option<Vec<Line<'static>>> {
        let externals = &self.shift.externals;
        if externals.is_empty() {
            return None;
        }
        let mut lines = vec![Line::styled(" EXTERNAL", self.palette.title())];
        lines.extend(externals.iter().take(MAX_ROWS).map(|external| {
            let (state, style) = self.said(&external.state);
            Line::from(vec![
                Span::raw(format!(" {} ", left(&external.name, NAME_COLUMNS))),
                Span::styled(left(state, 12), style),
                self.near(external.nearness),
                Span::raw(external.text.clone()),
            ])
        }));
        lines.extend(self.more(externals.len()));
        Some(lines)
    }

    /// How much of the budget of failures is spent; none when the plan has none.
    pub(super) fn budget(self) -> Option<Vec<Line<'static>>> {
        let wire::FailureBudget { failures, max_failures, nearness } = self.shift.failure_budget?;
        Some(vec![Line::from(vec![
            Span::styled(" FAILURES ", self.palette.title()),
            self.near(nearness),
            Span::raw(format!("{} of {} that end the shift", count(failures), count(max_failures))),
        ])])
    }

    /// A line for what does not fit.
    fn more(self, all: usize) -> Option<Line<'static>> {
        let more = all.checked_sub(MAX_ROWS).filter(|more| *more > 0)?;
        Some(Line::styled(format!(" and {more} more"), self.palette.faint()))
    }

    /// How near an alarm is, in the columns of a percentage.
    fn near(self, nearness: f64) -> Span<'static> {
        Span::styled(format!("{:>4.0}%  ", nearness * 100.0), self.palette.nearness(nearness))
    }

    fn said(self, state: &str) -> (&str, ratatui::style::Style) {
        match state {
            "ok" => ("ok", self.palette.good()),
            "alarm" => ("ALARM", self.palette.bad()),
            "insufficient_data" => ("little data", self.palette.faint()),
            other => (other, self.palette.caution()),
        }
    }
}

/// `latency p90 above 300ms`
pub(in crate::cli) fn breach(threshold: &wire::Threshold) -> String {
    let wire::Threshold { metric, statistic, comparison, bound, .. } = threshold;
    format!("{metric} {statistic} {} {bound}", comparison.replace('_', " "))
}
