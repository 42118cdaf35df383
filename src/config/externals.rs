//! The external alarms of a plan: read and written.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use super::{
    alarms::{alarm_name, check_name},
    document::Value,
    polls,
    reader::{Table, boolean, parsed, word},
    shape,
    units::duration,
};
use crate::{
    alarm::{AlarmState, External},
    time::format_duration,
};

/// As many as there are of the other kinds.
const MAX_EXTERNALS: usize = 16;

/// Whoever reports does so by a request; more than one a second says nothing more.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// A minute lets a reporter that speaks every 20 seconds miss two turns. One that looks only every few minutes argues for more.
const DEFAULT_LEASE: Duration = Duration::from_secs(60);

pub(super) const STATES: [(&str, AlarmState); 3] = [
    ("ok", AlarmState::Ok),
    ("alarm", AlarmState::Alarm),
    ("insufficient_data", AlarmState::InsufficientData),
];

pub(super) fn read(root: &Table<'_>, names: &mut BTreeSet<String>) -> Vec<External> {
    let tables = root.tables("external", &shape::EXTERNAL);
    if tables.len() > MAX_EXTERNALS {
        root.problem(
            "external",
            format!("{} external alarms are more than the {MAX_EXTERNALS} a plan can have", tables.len()),
        );
    }
    let read = |table: &Table<'_>| {
        let name = table.required("name", "\"quality\"", parsed(alarm_name));
        let on_expiry = table.optional("on_expiry", word(&STATES)).unwrap_or(AlarmState::InsufficientData);
        let poll = polls::read(table, on_expiry);
        let by_default =
            poll.as_ref().map_or(DEFAULT_LEASE, |poll| polls::default_lease(poll, DEFAULT_LEASE));
        let lease = table.optional("lease", lease).unwrap_or(by_default);
        if let Some(poll) = &poll {
            polls::check_lease(table, poll, lease);
        }
        let name = name?;
        check_name(table, &name, names);
        let ignore_raised = table.optional("ignore_raised", boolean).unwrap_or(false);
        Some(External { name, lease, on_expiry, poll, ignore_raised })
    };
    tables.iter().filter_map(read).collect()
}

fn lease(value: &Value) -> Result<Duration, String> {
    match duration(value)? {
        span if span < SHORTEST_LEASE => Err(format!("must be 1s or longer, not {}", format_duration(span))),
        span => Ok(span),
    }
}

pub(super) fn render(external: &External) -> serde_json::Value {
    let External { name, lease, on_expiry, poll, ignore_raised } = external;
    let mut document =
        json!({ "name": name, "lease": format_duration(*lease), "on_expiry": on_expiry.as_str() });
    if let Some((key, poll)) = poll.as_ref().map(polls::render) {
        document[key] = poll;
    }
    if *ignore_raised {
        document["ignore_raised"] = json!(true);
    }
    document
}
