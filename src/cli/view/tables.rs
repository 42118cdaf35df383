//! The live view's rows of figures: shares, traffic, alarms.

use ratatui::text::{Line, Span};

use super::{
    Palette,
    plain::complement,
    text::{
        bar, count, exact_percent, first, has_tokens, left, millis, odds, per_second, percent, right, width,
    },
};
use crate::{admin::wire, weight::Share};

/// From here on there is room for columns that explain more.
const WIDE: usize = 100;

/// More rows than this would push everything else off a small screen.
const MAX_ALARMS: usize = 8;

/// What is drawn, for whom.
#[derive(Clone, Copy)]
pub(super) struct Canvas<'a> {
    pub(super) shift: &'a wire::Shift,
    pub(super) palette: Palette,
    pub(super) columns: usize,
}

impl Canvas<'_> {
    fn is_wide(self) -> bool {
        self.columns >= WIDE
    }

    pub(super) fn label_columns(self) -> usize {
        if self.is_wide() { 28 } else { 17 }
    }

    /// ` blue   v1       `
    fn label(self, side: &'static str) -> Span<'static> {
        let (version, style) = match side {
            "blue" => (&self.shift.blue_version, self.palette.blue()),
            _ => (&self.shift.green_version, self.palette.green()),
        };
        let version = left(version, self.label_columns().saturating_sub(9));
        Span::styled(format!(" {side:<6} {version} "), style)
    }

    /// Shares wanted and got, as figures and as bars.
    pub(super) fn shares(self) -> Vec<Line<'static>> {
        let legend = left(" SHARE", self.label_columns());
        let rest = self.columns.saturating_sub(self.label_columns() + 18);
        let head = Line::from(vec![
            Span::styled(legend, self.palette.title()),
            Span::styled(left("█ got  │ wanted", rest), self.palette.faint()),
            Span::styled(right("wanted", 9) + &right("got", 8), self.palette.faint()),
        ]);
        let got = self.shift.share_got;
        vec![
            head,
            self.share("blue", &complement(&self.shift.share), got.map(|got| 1.0 - got)),
            self.share("green", &self.shift.share, got),
        ]
    }

    fn share(self, side: &'static str, wanted: &str, got: Option<f64>) -> Line<'static> {
        let columns = self.columns.saturating_sub(self.label_columns() + 18);
        let fraction = Share::parse(wanted).map_or(0.0, Share::as_fraction);
        let (fill, filled) = bar(got.unwrap_or(0.0), columns);
        let style = if side == "blue" { self.palette.blue() } else { self.palette.green() };
        let mut cells: Vec<char> = fill.chars().collect();
        cells.resize(columns, '·');
        let (_, mark) = bar(fraction, columns);
        // Where both agree to within a column, the end of the bar is the mark.
        let apart = fraction > 0.0 && (filled == 0 || mark.abs_diff(filled) > 1);
        let mark = mark.saturating_sub(1);
        if let Some(cell) = cells.get_mut(mark).filter(|_| apart) {
            *cell = '│';
        }
        let spans = cells.chunk_by(|a, b| (*a == '·') == (*b == '·')).map(|run| {
            let style = if run[0] == '·' { self.palette.faint() } else { style };
            Span::styled(run.iter().collect::<String>(), style)
        });
        let got = got.map_or_else(|| "-".to_owned(), exact_percent);
        let figures = Span::styled(right(wanted, 9) + &right(&got, 8), self.palette.strong());
        std::iter::once(self.label(side)).chain(spans).chain([Span::raw(" "), figures]).collect()
    }

    /// Both fleets' last seconds.
    pub(super) fn traffic(self) -> Vec<Line<'static>> {
        let first = if has_tokens(self.shift) { "first token" } else { "first byte" };
        let mut titles = vec![("req/s", 8), ("errors", 8), ("p50", 8), ("p99", 8), (first, 12)];
        titles.extend([("in flight", 11), ("failed", 8)]);
        if self.is_wide() {
            titles.push(("requests", 11));
        }
        let head: String = titles.iter().map(|(title, columns)| right(title, *columns)).collect();
        vec![
            Line::from(vec![
                Span::styled(left(" TRAFFIC", self.label_columns()), self.palette.title()),
                Span::styled(head, self.palette.faint()),
            ]),
            self.fleet("blue", &self.shift.fleets.blue),
            self.fleet("green", &self.shift.fleets.green),
        ]
    }

    fn fleet(self, side: &'static str, fleet: &wire::ShiftFleet) -> Line<'static> {
        let wire::ShiftFleet { traffic, recent } = fleet;
        let alert = |on: bool| if on { self.palette.caution() } else { ratatui::style::Style::new() };
        let mut spans = vec![
            self.label(side),
            Span::raw(right(&per_second(recent.rate), 8)),
            Span::styled(right(&percent(recent.error_rate), 8), alert(recent.error_rate > 0.0)),
            Span::raw(right(&millis(recent.p50_ms), 8)),
            Span::raw(right(&millis(recent.p99_ms), 8)),
            Span::raw(right(&first(recent, has_tokens(self.shift)), 12)),
            Span::raw(right(&count(traffic.in_flight), 11)),
            Span::styled(right(&count(traffic.failed), 8), alert(traffic.failed > 0)),
        ];
        if self.is_wide() {
            spans.push(Span::raw(right(&count(traffic.requests), 11)));
        }
        Line::from(spans)
    }

    /// Every alarm: what it saw against what it permits, and how near it is.
    pub(super) fn alarms(self) -> Vec<Line<'static>> {
        if self.shift.alarms.is_empty() {
            if !(self.shift.thresholds.is_empty() && self.shift.externals.is_empty()) {
                return Vec::new();
            }
            let none = Span::styled("none: nothing but a person ends this shift early", self.palette.faint());
            return vec![Line::from(vec![Span::styled(" ALARMS  ", self.palette.title()), none])];
        }
        let mut head = left("state", 12) + &right("seen", 8) + &right("allowed", 9);
        if self.is_wide() {
            head += &right("bad", 10);
            head += &right("of", 10);
        }
        head = head + "  " + &left("evidence", self.gauge_columns() + 5) + &right("odds", 12);
        let mut lines = vec![Line::from(vec![
            Span::styled(left(" ALARMS", self.alarm_columns()), self.palette.title()),
            Span::styled(head, self.palette.faint()),
        ])];
        lines.extend(self.shift.alarms.iter().take(MAX_ALARMS).map(|alarm| self.alarm(alarm)));
        if let Some(more) = self.shift.alarms.len().checked_sub(MAX_ALARMS).filter(|more| *more > 0) {
            lines.push(Line::styled(format!(" and {more} more"), self.palette.faint()));
        }
        lines
    }

    fn gauge_columns(self) -> usize {
        if self.is_wide() { 16 } else { 10 }
    }

    /// What the other columns leave.
    fn alarm_columns(self) -> usize {
        const LEAST: usize = 14;
        let figures = 12 + 8 + 9 + 2 + self.gauge_columns() + 5 + 12;
        self.columns.saturating_sub(if self.is_wide() { figures + 20 } else { figures }).max(LEAST)
    }

    fn alarm(self, alarm: &wire::Alarm) -> Line<'static> {
        let (state, style) = match alarm.state.as_str() {
            "ok" => ("ok", self.palette.good()),
            "alarm" => ("ALARM", self.palette.bad()),
            "insufficient_data" => ("little data", self.palette.faint()),
            other => (other, self.palette.caution()),
        };
        let mut name = bound(alarm);
        if self.is_wide() {
            let longest = self.shift.alarms.iter().map(|alarm| width(&alarm.name)).max().unwrap_or(0);
            name = left(&alarm.name, longest.min(16)) + "  " + &name;
        }
        let name_columns = self.alarm_columns().saturating_sub(2);
        let (rate, failures, requests) = seen(alarm);
        let rate = rate.map_or_else(|| "-".to_owned(), percent);
        let mut figures = right(&rate, 8) + &right(&percent(alarm.permitted_rate), 9);
        if self.is_wide() {
            figures += &right(&count(failures), 10);
            figures += &right(&count(requests), 10);
        }
        let (fill, filled) = bar(alarm.nearness, self.gauge_columns());
        let empty = "·".repeat(self.gauge_columns().saturating_sub(filled));
        Line::from(vec![
            Span::raw(format!(" {} ", left(&name, name_columns))),
            Span::styled(left(state, 12), style),
            Span::raw(figures + "  "),
            Span::styled(fill, self.palette.nearness(alarm.nearness)),
            Span::styled(empty, self.palette.faint()),
            Span::raw(format!("{:>4.0}%", alarm.nearness * 100.0)),
            Span::raw(right(&odds(alarm.ln_e), 12)),
        ])
    }
}

/// What an alarm saw: rate, failures, requests. With evidence against green, since it began to speak against green, as the explanation says
/// it; totals hide a green that was healthy for long and then broke.
fn seen(alarm: &wire::Alarm) -> (Option<f64>, u64, u64) {
    if alarm.ln_e > 0.0 && alarm.recent_requests > 0 {
        (alarm.recent_rate, alarm.recent_failures, alarm.recent_requests)
    } else {
        (alarm.rate, alarm.failures, alarm.requests)
    }
}

/// `error_rate < 1%`, `latency p99 < 250ms`, `error_rate vs blue, 1.5x`
pub(in crate::cli) fn bound(alarm: &wire::Alarm) -> String {
    let quantile = alarm.quantile.as_deref().map(|quantile| format!(" {quantile}")).unwrap_or_default();
    if alarm.kind == "regression" {
        format!("{}{quantile} vs blue, {}", alarm.metric, alarm.bound)
    } else {
        format!("{}{quantile} < {}", alarm.metric, alarm.bound)
    }
}
