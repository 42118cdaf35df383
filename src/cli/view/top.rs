//! All endpoints on one screen, as a pure function of what is known of them.

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::{
    Palette, nearest_alarm,
    text::{cut, left, millis, per_second, percent, right, span, width},
};
use crate::admin::wire;

/// An endpoint with its running shift, where it has one.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::cli) struct Row {
    pub(in crate::cli) endpoint: wire::Endpoint,
    pub(in crate::cli) shift: Option<wire::Shift>,
}

/// What the rows are sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::cli) enum Order {
    /// What wants somebody first: raised and near alarms, failing instances, running shifts.
    #[default]
    Urgency,
    Name,
    Rate,
    Errors,
    P99,
}

/// What the view shows beside the rows.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::cli) struct TopState {
    pub(in crate::cli) palette: Palette,
    pub(in crate::cli) order: Order,
    /// The first row that is shown.
    pub(in crate::cli) offset: usize,
    /// Whole seconds for which nothing was heard; `None` while the picture is of now.
    pub(in crate::cli) lost_for: Option<u64>,
}

/// An endpoint's figures over both fleets.
struct Figures {
    rate: f64,
    errors: f64,
    p99: Option<f64>,
    healthy: usize,
    instances: usize,
}

impl Order {
    const ALL: [Self; 5] = [Self::Urgency, Self::Name, Self::Rate, Self::Errors, Self::P99];

    /// The key that asks for it.
    fn key(self) -> char {
        match self {
            Self::Urgency => 'u',
            Self::Name => 'n',
            Self::Rate => 'r',
            Self::Errors => 'e',
            Self::P99 => 'p',
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Urgency => "urgency",
            Self::Name => "name",
            Self::Rate => "rate",
            Self::Errors => "errors",
            Self::P99 => "p99",
        }
    }

    /// What a key asks for.
    pub(in crate::cli) fn of_key(key: char) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.key() == key)
    }
}

impl Row {
    fn figures(&self) -> Figures {
        let fleets = || std::iter::once(&self.endpoint.blue).chain(&self.endpoint.green);
        let rate: f64 = fleets().map(|fleet| fleet.recent.rate).sum();
        let failing: f64 = fleets().map(|fleet| fleet.recent.error_rate * fleet.recent.rate).sum();
        let instances = || fleets().flat_map(|fleet| &fleet.instances);
        Figures {
            rate,
            errors: if rate > 0.0 { failing / rate } else { 0.0 },
            p99: fleets().filter_map(|fleet| fleet.recent.p99_ms).max_by(f64::total_cmp),
            healthy: instances().filter(|instance| instance.health == "healthy" && !instance.ejected).count(),
            instances: instances().count(),
        }
    }

    /// The larger, the sooner somebody should look.
    fn urgency(&self) -> f64 {
        let Figures { errors, healthy, instances, .. } = self.figures();
        let nearness = self.shift.as_ref().and_then(nearest_alarm).map_or(0.0, |(_, nearness)| nearness);
        let is_running = if self.endpoint.running_shift.is_some() { 1.0 } else { 0.0 };
        let is_failing = if healthy < instances { 2.0 } else { 0.0 };
        4.0 * nearness + is_failing + is_running + errors
    }
}

/// Sorts rows; equal ones by name.
pub(in crate::cli) fn sort(rows: &mut [Row], order: Order) {
    let key = |row: &Row| match order {
        Order::Name => 0.0,
        Order::Urgency => row.urgency(),
        Order::Rate => row.figures().rate,
        Order::Errors => row.figures().errors,
        Order::P99 => row.figures().p99.unwrap_or(-1.0),
    };
    rows.sort_by(|a, b| key(b).total_cmp(&key(a)).then_with(|| a.endpoint.name.cmp(&b.endpoint.name)));
}

/// Draws rows, sorted already, over the whole frame.
pub(in crate::cli) fn draw(frame: &mut Frame<'_>, rows: &[Row], state: &TopState) {
    let area = frame.area();
    render(rows, state, area, frame.buffer_mut());
}

fn render(rows: &[Row], state: &TopState, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width);
    let Some(body) = usize::from(area.height).checked_sub(3) else { return };
    let mut lines = vec![header(rows, columns), head(state, columns)];
    let shown = rows.iter().skip(state.offset).take(body);
    lines.extend(shown.map(|row| line(row, state.palette, columns)));
    lines.resize(body + 2, Line::default());
    lines.push(footer(rows.len(), body, state, columns));
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        buffer.set_line(area.x, y, line, area.width);
    }
    buffer.set_style(Rect { height: 1, ..area }, Style::new().add_modifier(Modifier::REVERSED));
}

fn header(rows: &[Row], columns: usize) -> Line<'static> {
    let rate: f64 = rows.iter().map(|row| row.figures().rate).sum();
    let shifts = rows.iter().filter(|row| row.endpoint.running_shift.is_some()).count();
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let (endpoints, shifts) = (plural(rows.len(), "endpoint"), plural(shifts, "running shift"));
    let text = format!(" {endpoints}, {} req/s, {shifts}", per_second(rate));
    Line::raw(left(&text, columns))
}

const RATE: usize = 7;
const ERRORS: usize = 8;
const P99: usize = 7;
const HEALTHY: usize = 6;

/// What the figures leave, for the name, the versions and the shift.
fn text_columns(columns: usize) -> [usize; 3] {
    let rest = columns.saturating_sub(RATE + ERRORS + P99 + HEALTHY + 4);
    let (name, split) = (rest * 3 / 10, rest * 3 / 10);
    [name, split, rest.saturating_sub(name + split)]
}

fn head(state: &TopState, columns: usize) -> Line<'static> {
    let [name, split, shift] = text_columns(columns);
    let text = format!(
        " {}{}{}{}{} {}  {}",
        left("endpoint", name),
        right("req/s", RATE),
        right("errors", ERRORS),
        right("p99", P99),
        right("ok", HEALTHY),
        left(" green", split),
        left("shift", shift),
    );
    Line::styled(cut(&text, columns), state.palette.faint())
}

fn line(row: &Row, palette: Palette, columns: usize) -> Line<'static> {
    let Figures { rate, errors, p99, healthy, instances } = row.figures();
    let [name, split, shift] = text_columns(columns);
    let endpoint = &row.endpoint;
    let versions = match &endpoint.green {
        Some(green) => format!(" {} {} of {}", green.version, endpoint.share, endpoint.blue.version),
        None => format!(" - {}", endpoint.blue.version),
    };
    let alert = |on: bool| if on { palette.caution() } else { Style::new() };
    let (doing, style) = doing(row, palette);
    Line::from(vec![
        Span::styled(format!(" {}", left(&endpoint.name, name)), palette.strong()),
        Span::raw(right(&per_second(rate), RATE)),
        Span::styled(right(&percent(errors), ERRORS), alert(errors > 0.0)),
        Span::raw(right(&millis(p99), P99)),
        Span::styled(right(&format!("{healthy}/{instances}"), HEALTHY), alert(healthy < instances)),
        Span::raw(format!(" {}  ", left(&versions, split))),
        Span::styled(left(&doing, shift), style),
    ])
}

/// What its shift does, and which alarm is nearest.
fn doing(row: &Row, palette: Palette) -> (String, Style) {
    let Some(shift) = &row.shift else {
        let frozen = row.endpoint.freeze.as_ref().map(|_| ("frozen".to_owned(), palette.caution()));
        return frozen.unwrap_or_else(|| ("-".to_owned(), palette.faint()));
    };
    let step = shift.step.map(|step| format!(" {step}/{}", shift.steps.len())).unwrap_or_default();
    let state = format!("{}{step}", shift.state.replace('_', " "));
    match nearest_alarm(shift) {
        Some((name, nearness)) if nearness >= 1.0 => (format!("{state}, {name} RAISED"), palette.bad()),
        Some((name, nearness)) if nearness >= 0.005 => {
            (format!("{state}, {name} {:.0}%", nearness * 100.0), palette.nearness(nearness))
        }
        Some(_) | None => (state, Style::new()),
    }
}

fn footer(rows: usize, body: usize, state: &TopState, columns: usize) -> Line<'static> {
    if let Some(seconds) = state.lost_for {
        let text = format!(" The admin port has not answered for {}; trying again. q quits.", span(seconds));
        return Line::styled(cut(&text, columns), state.palette.bad());
    }
    let orders = Order::ALL.map(|order| {
        let mark = if order == state.order { "*" } else { "" };
        format!("{} {}{mark}", order.key(), order.as_str())
    });
    let keys = format!(" sort by {}   q quit", orders.join("  "));
    let place = if rows > body {
        format!("{}-{} of {rows}, j/k ", state.offset + 1, (state.offset + body).min(rows))
    } else {
        String::new()
    };
    let room = columns.saturating_sub(width(&place));
    Line::styled(left(&keys, room) + &place, state.palette.faint())
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::cli::{
        tests::endpoint_now,
        view::tests::{baking, rolled_back},
    };

    fn rows() -> Vec<Row> {
        let quiet = wire::Endpoint { name: "embeddings".into(), ..endpoint_now() };
        let mut quiet = Row { endpoint: quiet, shift: None };
        quiet.endpoint.blue.recent = wire::Recent::default();
        quiet.endpoint.blue.instances[1].health = "healthy".into();
        let mut shifting = Row { endpoint: endpoint_now(), shift: Some(baking()) };
        shifting.endpoint.running_shift = Some("chat-7".into());
        shifting.endpoint.share = "25%".into();
        shifting.endpoint.green = Some(wire::Fleet { version: "v2".into(), ..endpoint_now().blue });
        let failing = wire::Endpoint { name: "a-rather-long-name-of-an-endpoint".into(), ..endpoint_now() };
        let failing = Row {
            endpoint: failing,
            shift: Some(wire::Shift { state: "rolling_back".into(), ..rolled_back() }),
        };
        vec![quiet, shifting, failing]
    }

    fn picture(rows: &[Row], state: &TopState, columns: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(columns, height)).unwrap();
        terminal.draw(|frame| draw(frame, rows, state)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..columns).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
    }

    fn state(order: Order) -> TopState {
        TopState { palette: Palette::Plain, order, offset: 0, lost_for: None }
    }

    #[test]
    fn all_endpoints_fit_on_80_columns_and_what_wants_somebody_comes_first() {
        let mut rows = rows();
        sort(&mut rows, Order::Urgency);
        let drawn = picture(&rows, &state(Order::Urgency), 80, 10);
        if std::env::var_os("SNAPBACK_KEEP_PICTURES").is_some() {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/view/pictures/top-80x10.txt");
            std::fs::write(file, &drawn).unwrap();
        } else {
            assert!(
                drawn == include_str!("pictures/top-80x10.txt"),
                "top-80x10.txt differs; drawn is:\n{drawn}"
            );
        }
    }

    #[test]
    fn rows_are_sorted_by_what_is_asked_for_and_equal_ones_by_name() {
        let mut rows = rows();
        let mut names = |order| {
            sort(&mut rows, order);
            rows.iter().map(|row| row.endpoint.name.chars().next().unwrap()).collect::<String>()
        };
        assert_eq!(names(Order::Name), "ace");
        assert_eq!(names(Order::Rate), "cae");
        assert_eq!(names(Order::P99), "ace");
        assert_eq!(Order::of_key('e'), Some(Order::Errors));
        assert_eq!(Order::of_key('x'), None);
    }

    #[test]
    fn no_size_breaks_the_picture_and_a_lost_admin_port_is_said() {
        let lost = TopState { lost_for: Some(70), offset: 2, ..state(Order::Rate) };
        for columns in [1, 20, 39, 80, 200] {
            for height in [1, 2, 3, 4, 30] {
                picture(&rows(), &lost, columns, height);
            }
        }
        assert!(picture(&rows(), &lost, 80, 10).contains("has not answered for 1m10s"));
    }
}
