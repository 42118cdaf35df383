//! When a plan may begin and at which hours it may go on: `start_at` and `allowed_hours`.
//!
//! Zones are looked up among the system's first, which its packages keep up to date, and then among those that the program carries, so that a
//! plan means the same in a container without any.

use jiff::{
    Timestamp,
    civil::{Time, Weekday},
    tz::TimeZone,
};
use serde_json::{Map, Value as Json, json};

use super::{
    document::{Value, quoted},
    reader::{Table, parsed, text, word},
    shape,
};
use crate::{
    shift::{DAYS, Schedule, Window},
    time::WallTime,
};

/// A week has seven days, and nobody who reads it knows what more than some windows on each come to.
const MOST_WINDOWS: usize = 32;

/// The end of a day, which is no time of its own.
const END_OF_DAY: &str = "24:00";

pub(super) fn read(root: &Table<'_>) -> Schedule {
    let start_at = root.optional("start_at", moment);
    let tables = root.tables("allowed_hours", &shape::ALLOWED_HOURS);
    if tables.len() > MOST_WINDOWS {
        root.problem("allowed_hours", format!("has {} windows: write at most {MOST_WINDOWS}", tables.len()));
    }
    Schedule { start_at, allowed_hours: tables.iter().filter_map(read_window).collect() }
}

pub(super) fn render(schedule: &Schedule, document: &mut Map<String, Json>) {
    let Schedule { start_at, allowed_hours } = schedule;
    if let Some(start_at) = start_at {
        document.insert("start_at".to_owned(), start_at.to_string().into());
    }
    if !allowed_hours.is_empty() {
        document.insert("allowed_hours".to_owned(), allowed_hours.iter().map(render_window).collect());
    }
}

fn render_window(window: &Window) -> Json {
    let is_named = |(_, day): &&(&str, Weekday)| window.days().contains(day);
    let clock = |time: Time| time.strftime("%H:%M").to_string();
    json!({
        "days": DAYS.iter().filter(is_named).map(|(word, _)| *word).collect::<Vec<_>>(),
        "from": clock(window.from()),
        "to": window.to().map_or_else(|| END_OF_DAY.to_owned(), clock),
        "zone": window.zone(),
    })
}

fn read_window(table: &Table<'_>) -> Option<Window> {
    let days = table.list("days", "[\"mon\", \"fri\"]", word(&DAYS));
    let from = table.optional("from", parsed(time_of_day));
    let to = table.optional("to", parsed(end_of_window));
    let zone = table.required("zone", "\"Europe/Berlin\"", parsed(zone))?;
    if table.has("from") && from.is_none() || table.has("to") && to.is_none() {
        return None;
    }
    let days: Vec<Weekday> = match days {
        Some(days) => days.into_iter().map(|day| day.value).collect(),
        None if table.has("days") => return None,
        None => DAYS.map(|(_, day)| day).to_vec(),
    };
    if days.is_empty() {
        table.problem("days", "names no day: leave it out for all days");
        return None;
    }
    let window = Window::new(&days, from.unwrap_or(Time::midnight()), to.flatten(), zone);
    if window.is_none() {
        table.problem(
            "to",
            "is the time in from, so that no hour lies between them: write another, or leave both out for the whole day",
        );
    }
    window
}

/// A moment with its offset from UTC; TOML's own form of one will do.
fn moment(value: &Value) -> Result<WallTime, String> {
    let given = match value {
        Value::Date(given) => given,
        Value::Text(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Table(_) => text(value)?,
    };
    parse_moment(given)
}

/// Reads a moment with its offset from UTC, such as `2027-01-31T09:00:00+01:00`.
pub fn parse_moment(given: &str) -> Result<WallTime, String> {
    let stamp: Timestamp = given.parse().map_err(|_| {
        format!(
            "{} is not a moment with its offset from UTC: write one such as \"2027-01-31T09:00:00+01:00\"",
            quoted(given)
        )
    })?;
    Ok(WallTime::from_millis(stamp.as_millisecond()))
}

fn time_of_day(text: &str) -> Result<Time, String> {
    let time = Time::strptime("%H:%M", text).ok().filter(|_| text.len() == 5);
    time.ok_or_else(|| format!("{} is not a time of the day: write one such as \"09:00\"", quoted(text)))
}

/// `None` for the end of the day.
fn end_of_window(text: &str) -> Result<Option<Time>, String> {
    if text == END_OF_DAY { Ok(None) } else { time_of_day(text).map(Some) }
}

fn zone(text: &str) -> Result<TimeZone, String> {
    let zone = TimeZone::get(text).ok().filter(|zone| zone.iana_name().is_some() && !zone.is_unknown());
    zone.ok_or_else(|| {
        format!("no time zone is called {}: write a name such as \"Europe/Berlin\" or \"UTC\"", quoted(text))
    })
}
