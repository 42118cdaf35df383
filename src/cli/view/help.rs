//! The live views' keys, explained in place of the figures.

use ratatui::text::{Line, Span};

use super::Palette;

/// The keys of the view of a shift.
pub(super) const SHIFT: [(&str, &str); 7] = [
    ("p", "pause: hold at this step; alarms go on"),
    ("r", "resume: go on, or approve the next step"),
    ("P", "promote: skip the bakes that are left; asks first"),
    ("a", "abort: all traffic to blue at once; asks first, and why"),
    ("?", "this help; any key leaves it"),
    ("q", "quit: the shift goes on without being watched"),
    ("Ctrl-C", "the same"),
];

/// What the figures mean.
const LEGEND: [&str; 7] = [
    "share      wanted by the plan, and got of the requests dealt since",
    "trend      since the shift began; blue and green on one scale",
    "seen       failed or too slow, of what the alarm saw; allowed: its bound",
    "evidence   how near the alarm is: at 100% it is raised, and green goes",
    "odds       that what was seen is not chance",
    "next       what follows, when, and how much of the wait is over",
    "history    the last changes of state, with who or what made them",
];

/// Keys and what they do, then what is to be seen.
pub(super) fn lines(keys: &[(&'static str, &'static str)], palette: Palette) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled(" KEYS", palette.title())];
    lines.extend(keys.iter().map(|(key, what)| {
        Line::from(vec![Span::styled(format!("   {key:<9}"), palette.strong()), Span::raw(*what)])
    }));
    lines.push(Line::default());
    lines.push(Line::styled(" FIGURES", palette.title()));
    lines.extend(LEGEND.iter().map(|line| Line::raw(format!("   {line}"))));
    lines
}
