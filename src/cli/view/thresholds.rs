//! The live view's rows of threshold alarms.

use ratatui::text::{Line, Span};

use super::{tables::Canvas, text::left};
use crate::admin::wire;

/// The live view has other things to show; `shift status` has them all.
const MAX_THRESHOLDS: usize = 4;

impl Canvas<'_> {
    /// Every threshold alarm with its newest period; none when the plan has none.
    pub(super) fn thresholds(self) -> Option<Vec<Line<'static>>> {
        let thresholds = &self.shift.thresholds;
        if thresholds.is_empty() {
            return None;
        }
        let mut lines = vec![Line::styled(" THRESHOLDS", self.palette.title())];
        lines.extend(thresholds.iter().take(MAX_THRESHOLDS).map(|threshold| self.threshold(threshold)));
        if let Some(more) = thresholds.len().checked_sub(MAX_THRESHOLDS).filter(|more| *more > 0) {
            lines.push(Line::styled(format!(" and {more} more"), self.palette.faint()));
        }
        Some(lines)
    }

    fn threshold(self, threshold: &wire::Threshold) -> Line<'static> {
        let (state, style) = match threshold.state.as_str() {
            "ok" => ("ok", self.palette.good()),
            "alarm" => ("ALARM", self.palette.bad()),
            "insufficient_data" => ("little data", self.palette.faint()),
            other => (other, self.palette.caution()),
        };
        let newest = threshold.value.as_deref().unwrap_or("-");
        let wire::Threshold { breaching, datapoints, period, .. } = threshold;
        Line::from(vec![
            Span::raw(format!(" {} ", left(&breach(threshold), 34))),
            Span::styled(left(state, 12), style),
            Span::raw(format!("{newest}, {breaching} breach, raised by {datapoints} of {period}")),
        ])
    }
}

/// `latency p90 above 300ms`
pub(in crate::cli) fn breach(threshold: &wire::Threshold) -> String {
    let wire::Threshold { metric, statistic, comparison, bound, .. } = threshold;
    format!("{metric} {statistic} {} {bound}", comparison.replace('_', " "))
}
