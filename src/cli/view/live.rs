//! The live view: sections from the most important down, the history taking what is left.

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::{
    Footer, Link, ViewState, help,
    plain::place,
    tables::Canvas,
    text::{bar, cut, left, moment, right, seconds_between, seconds_until, span, took, width, wrap},
};
use crate::{admin::wire, time::WallTime};

/// Actors that the cause of a change names anyhow; who else acted is a person, and said.
const MACHINERY: [&str; 7] = ["timer", "alarm", "prober", "provider", "drain", "recovery", "watchdog"];

/// Draws a shift over the whole frame. 80 columns by 24 rows show everything; less shows less, never wrongly.
pub fn draw(frame: &mut Frame<'_>, shift: &wire::Shift, state: &ViewState) {
    let area = frame.area();
    render(shift, state, area, frame.buffer_mut());
}

/// Draws a shift into a part of a buffer.
pub fn render(shift: &wire::Shift, state: &ViewState, area: Rect, buffer: &mut Buffer) {
    let view = View { shift, state, columns: usize::from(area.width) };
    let Some(rows) = usize::from(area.height).checked_sub(1) else { return };
    let mut lines = view.body(rows);
    lines.truncate(rows);
    lines.resize(rows, Line::default());
    lines.push(view.footer());
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        buffer.set_line(area.x, y, line, area.width);
    }
    if rows > 0 {
        buffer.set_style(Rect { height: 1, ..area }, Style::new().add_modifier(Modifier::REVERSED));
    }
}

struct View<'a> {
    shift: &'a wire::Shift,
    state: &'a ViewState,
    columns: usize,
}

impl View<'_> {
    /// Everything but the footer: blank lines between sections as long as all sections fit with them.
    fn body(&self, rows: usize) -> Vec<Line<'static>> {
        if self.state.footer == Footer::Help {
            let help = help::lines(&help::SHIFT, self.state.palette);
            return [self.header(), self.position(), Line::default()].into_iter().chain(help).collect();
        }
        let canvas = Canvas { shift: self.shift, palette: self.state.palette, columns: self.columns };
        let mut sections = vec![vec![self.header(), self.position()], canvas.shares(), canvas.traffic()];
        sections.extend(canvas.trend(&self.state.trend));
        sections.push(canvas.alarms());
        sections.extend(canvas.thresholds());
        sections.extend(canvas.externals());
        sections.extend(canvas.budget());
        let in_words = self.in_words();
        if self.shift.over {
            // What happened matters more than figures that no longer move.
            sections.insert(1, in_words);
        } else {
            sections.push(in_words);
        }
        let used: usize = sections.iter().map(Vec::len).sum();
        let gaps = sections.len();
        let is_roomy = used + gaps + 2 <= rows;
        let left_over = rows.saturating_sub(if is_roomy { used + gaps } else { used });
        sections.push(self.history(left_over));
        let mut lines = Vec::with_capacity(rows);
        for section in sections.into_iter().filter(|section| !section.is_empty()) {
            if is_roomy && !lines.is_empty() {
                lines.push(Line::default());
            }
            lines.extend(section);
        }
        lines
    }

    /// ` chat  v1 → v2                    chat-7 by admin  2m13s `
    fn header(&self) -> Line<'static> {
        let wire::Shift { endpoint, blue_version, green_version, actor, .. } = self.shift;
        let end = self.shift.ended_at.as_deref().and_then(moment).unwrap_or(self.state.now);
        let elapsed = moment(&self.shift.started_at).map(|start| span(seconds_between(start, end)));
        let id = self.shift.id.as_deref().unwrap_or("dry run");
        let what = format!(" {endpoint}  {blue_version} → {green_version}");
        let who = format!("{id} by {actor}  {} ", elapsed.unwrap_or_default());
        self.ends(vec![Span::styled(what, self.state.palette.strong())], vec![Span::raw(who)])
    }

    /// The state, the step, and the whole track of steps.
    fn position(&self) -> Line<'static> {
        let wire::Shift { state, share, .. } = self.shift;
        let badge = format!(" {} ", state.to_uppercase().replace('_', " "));
        let step = place(self.shift);
        let comma = if step.is_empty() { "" } else { ", " };
        let text = format!("  {step}{comma}{share} to green");
        let start = vec![
            Span::raw(" "),
            Span::styled(badge, self.state.palette.badge(state)),
            Span::styled(text, self.state.palette.strong()),
        ];
        let used: usize = start.iter().map(Span::width).sum();
        let room = self.columns.saturating_sub(used + 4);
        self.ends(start, self.track(room))
    }

    /// `5% ━━ [25%] ── 50% ── 100% `, or dots where that has no room, or nothing.
    fn track(&self, room: usize) -> Vec<Span<'static>> {
        let palette = self.state.palette;
        let reached = self.shift.step.unwrap_or(0);
        let full = |index: usize| match (index + 1).cmp(&reached) {
            std::cmp::Ordering::Less => (self.shift.steps[index].share.clone(), palette.good()),
            std::cmp::Ordering::Equal => (format!("[{}]", self.shift.steps[index].share), palette.strong()),
            std::cmp::Ordering::Greater => (self.shift.steps[index].share.clone(), palette.faint()),
        };
        let dots = |index: usize| match (index + 1).cmp(&reached) {
            std::cmp::Ordering::Less => ("●".to_owned(), palette.good()),
            std::cmp::Ordering::Equal => ("◉".to_owned(), palette.strong()),
            std::cmp::Ordering::Greater => ("○".to_owned(), palette.faint()),
        };
        let steps = self.shift.steps.len();
        let with_shares = track_of((0..steps).map(full), " ━ ", " ─ ", reached);
        let fits = |spans: &Vec<Span<'static>>| spans.iter().map(Span::width).sum::<usize>() <= room;
        let only_dots = || track_of((0..steps).map(dots), "━", "─", reached);
        Some(with_shares).filter(fits).or_else(|| Some(only_dots()).filter(fits)).unwrap_or_default()
    }

    /// What is next and when, with how much of the wait is over; once the shift is over, why it ended.
    fn in_words(&self) -> Vec<Line<'static>> {
        let palette = self.state.palette;
        let wrapped = |title: &'static str, text: &str| {
            let lines = wrap(text, self.columns.saturating_sub(11).max(10));
            lines.into_iter().enumerate().map(move |(index, line)| {
                let title = if index == 0 { title } else { "" };
                Line::from(vec![Span::styled(left(title, 10), palette.title()), Span::raw(line)])
            })
        };
        if self.shift.over {
            return wrapped(" WHY", &self.shift.explanation).collect();
        }
        let mut lines = Vec::new();
        if let Some(cause) = &self.shift.cause {
            lines.extend(wrapped(" CAUSE", &cause.text));
        }
        match self.shift.next.at.as_deref().and_then(moment) {
            Some(at) => lines.push(self.next(at)),
            None => lines.extend(wrapped(" NEXT", &self.shift.next.what)),
        }
        lines
    }

    /// What is next, with a countdown and how much of the wait is over.
    fn next(&self, at: WallTime) -> Line<'static> {
        const GAUGE: usize = 16;
        let palette = self.state.palette;
        let title = Span::styled(left(" NEXT", 10), palette.title());
        let what = &self.shift.next.what;
        let countdown = format!("in {} ", span(seconds_until(self.state.now, at)));
        let what = left(what, self.columns.saturating_sub(10 + GAUGE + 10));
        let (fill, filled) = bar(self.waited(at).unwrap_or(0.0), GAUGE);
        Line::from(vec![
            title,
            Span::raw(what),
            Span::raw(fill),
            Span::styled("·".repeat(GAUGE - filled), palette.faint()),
            Span::styled(right(&countdown, 10), palette.strong()),
        ])
    }

    /// How much of the wait for what is next is over: it began with the last change of state.
    fn waited(&self, at: WallTime) -> Option<f64> {
        let began = moment(&self.shift.transitions.last()?.at)?.as_millis();
        let whole = at.as_millis().checked_sub(began).filter(|whole| *whole > 0)?;
        let passed = self.state.now.as_millis().saturating_sub(began).clamp(0, whole);
        Some(passed as f64 / whole as f64)
    }

    /// The last changes of state, newest at the bottom, in at most so many rows.
    fn history(&self, rows: usize) -> Vec<Line<'static>> {
        let (Some(entries), false) = (rows.checked_sub(1), self.shift.transitions.is_empty()) else {
            return Vec::new();
        };
        if entries == 0 {
            return Vec::new();
        }
        let started = moment(&self.shift.started_at);
        let skipped = self.shift.transitions.len().saturating_sub(entries);
        let mut lines = vec![Line::styled(" HISTORY", self.state.palette.title())];
        for transition in &self.shift.transitions[skipped..] {
            let wire::Transition { at, before: _, after, share, actor, cause } = transition;
            let offset = started
                .zip(moment(at))
                .map(|(start, at)| format!("+{}", took(start, at)))
                .unwrap_or_default();
            let share = right(share, 7);
            let who = if MACHINERY.contains(&actor.as_str()) { String::new() } else { format!("{actor}: ") };
            let cause = cut(&format!("{who}{cause}"), self.columns.saturating_sub(39));
            lines.push(Line::from(vec![
                Span::styled(right(&offset, 9), self.state.palette.faint()),
                Span::raw(format!("  {}{share}  {cause}", left(&after.replace('_', " "), 17))),
            ]));
        }
        lines
    }

    fn footer(&self) -> Line<'static> {
        let palette = self.state.palette;
        if let Link::Lost { since } = self.state.link {
            let ago = span(seconds_between(since, self.state.now));
            let text = format!(" The admin port has not answered for {ago}; trying again. q quits.");
            return Line::styled(cut(&text, self.columns), palette.bad());
        }
        let question = |text: String| Line::styled(cut(&text, self.columns), palette.caution());
        match &self.state.footer {
            Footer::Text(text) => Line::styled(cut(&format!(" {text}"), self.columns), palette.faint()),
            Footer::Keys => self.keys(),
            Footer::Help => Line::styled(" any key leaves the help", palette.faint()),
            Footer::Notice(text) => question(format!(" {text}")),
            Footer::ConfirmPromote => question(format!(
                " Promote: skip the remaining bakes and give {} everything? y/n",
                self.shift.green_version
            )),
            Footer::ConfirmAbort => {
                question(format!(" Abort: give everything back to {}? y/n", self.shift.blue_version))
            }
            Footer::AbortReason(typed) => {
                let prompt = " Why? (Enter aborts the shift, Esc does not) ";
                let room = self.columns.saturating_sub(width(prompt) + 2);
                let skipped = typed.chars().count().saturating_sub(room);
                question(format!("{prompt}{}▏", typed.chars().skip(skipped).collect::<String>()))
            }
        }
    }

    fn keys(&self) -> Line<'static> {
        let keys =
            [("p", "pause"), ("r", "resume"), ("P", "promote"), ("a", "abort"), ("q", "quit"), ("?", "help")];
        let palette = self.state.palette;
        let spans = keys.into_iter().flat_map(|(key, what)| {
            [
                Span::styled(format!(" {key} "), palette.strong()),
                Span::styled(format!("{what}  "), palette.faint()),
            ]
        });
        Line::from_iter(spans)
    }

    /// One text at the left end of a row, one at the right; the left one gives way.
    fn ends(&self, start: Vec<Span<'static>>, end: Vec<Span<'static>>) -> Line<'static> {
        let widths = |spans: &[Span<'static>]| spans.iter().map(Span::width).sum::<usize>();
        let room = self.columns.saturating_sub(widths(&end));
        let mut used = 0;
        let mut spans: Vec<Span<'static>> = Vec::new();
        for span in start {
            let text = cut(&span.content, room.saturating_sub(used));
            used += width(&text);
            spans.push(Span::styled(text, span.style));
        }
        spans.push(Span::raw(" ".repeat(room.saturating_sub(used))));
        spans.extend(end);
        Line::from(spans)
    }
}

fn track_of(
    labels: impl Iterator<Item = (String, Style)>,
    done: &'static str,
    ahead: &'static str,
    reached: usize,
) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    for (index, (label, style)) in labels.enumerate() {
        if index > 0 {
            spans.push(Span::styled(if index < reached { done } else { ahead }, style));
        }
        spans.push(Span::styled(label, style));
    }
    spans.push(Span::raw(" "));
    spans
}
