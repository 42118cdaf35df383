//! What became of alarms: their definitions and their changes of state.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Api, Request, list, put,
    record::{Kind, State},
    seconds,
};
use crate::admin::aws::{
    fault::{Fault, Kind as FaultKind},
    front::Answer,
};

/// How many entries there are of all alarms together, those of alarms that are gone among them.
const MOST: usize = 10_000;

/// The longest data of an entry; the model has 4,095.
const DATA_LIMIT: usize = 4_000;

/// The longest summary.
const SUMMARY_LIMIT: usize = 255;

/// How many entries a page has where nobody says.
const DEFAULT_PAGE: usize = 100;

/// An entry.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) alarm: String,
    pub(super) kind: Kind,
    /// In milliseconds since 1970.
    pub(super) at: i64,
    /// `StateUpdate` or `ConfigurationUpdate`
    pub(super) what: String,
    pub(super) summary: String,
    /// JSON.
    pub(super) data: String,
}

/// The entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    items: VecDeque<Item>,
    /// How many were let go, so that a page's token stays right.
    gone: usize,
}

impl Item {
    /// A change of state.
    pub(super) fn of_state(
        (alarm, kind): (&str, Kind),
        at: i64,
        (before, after): (State, State),
        (reason, reason_data): (&str, &str),
    ) -> Self {
        let data = |reason_data: Value| {
            let mut new = json!({ "stateValue": after.as_str(), "stateReason": reason });
            if !reason_data.is_null() {
                put(&mut new, "stateReasonData", reason_data);
            }
            json!({ "version": "1.0", "oldState": { "stateValue": before.as_str() }, "newState": new })
        };
        let whole = data(serde_json::from_str(reason_data).unwrap_or_default()).to_string();
        let data = if whole.len() > DATA_LIMIT { data(Value::Null).to_string() } else { whole };
        let summary = format!("Alarm updated from {} to {}", before.as_str(), after.as_str());
        Self { alarm: alarm.to_owned(), kind, at, what: "StateUpdate".to_owned(), summary, data }
    }

    /// A definition that is new, changed or gone: `Created`, `Updated` or `Deleted`.
    pub(super) fn of_definition((alarm, kind): (&str, Kind), at: i64, change: &str) -> Self {
        let summary: String =
            format!("Alarm \"{alarm}\" {}", change.to_lowercase()).chars().take(SUMMARY_LIMIT).collect();
        let change = if change == "Created" { "Create" } else { change.trim_end_matches('d') };
        let data = json!({ "version": "1.0", "type": change }).to_string();
        Self { alarm: alarm.to_owned(), kind, at, what: "ConfigurationUpdate".to_owned(), summary, data }
    }

    fn document(&self) -> Value {
        json!({
            "AlarmName": self.alarm,
            "AlarmType": self.kind.as_str(),
            "Timestamp": seconds(self.at),
            "HistoryItemType": self.what,
            "HistorySummary": self.summary,
            "HistoryData": self.data,
        })
    }
}

impl History {
    pub(super) fn push(&mut self, item: Item) {
        self.items.push_back(item);
        if self.items.len() > MOST {
            self.items.pop_front();
            self.gone += 1;
        }
    }

    /// Takes in what an earlier process has kept.
    pub(super) fn restore(&mut self, items: Vec<Item>) {
        let mut all: Vec<_> = self.items.drain(..).chain(items).collect();
        all.sort_by_key(|item| item.at);
        let beyond = all.len().saturating_sub(MOST);
        self.items = all.into_iter().skip(beyond).collect();
    }
}

impl Api {
    pub(super) fn describe_history(&self, request: &Request) -> Result<Answer, Fault> {
        let kinds: Vec<_> = list(&request.members, "AlarmTypes").iter().filter_map(Value::as_str).collect();
        let (name, what) = (request.text("AlarmName"), request.text("HistoryItemType"));
        let (from, to) = (request.time("StartDate"), request.time("EndDate"));
        let wanted = |item: &Item| {
            (name.is_empty() || item.alarm == name)
                && (what.is_empty() || item.what == what)
                && (kinds.is_empty() && item.kind == Kind::Metric || kinds.contains(&item.kind.as_str()))
                && from.is_none_or(|from| item.at >= from)
                && to.is_none_or(|to| item.at <= to)
        };
        let page = request.whole("MaxRecords").and_then(|page| usize::try_from(page).ok());
        let page = page.unwrap_or(DEFAULT_PAGE);
        let token = request.text("NextToken");
        let after: Option<usize> = match token {
            "" => None,
            token => Some(token.parse().map_err(|_| {
                Fault::new(FaultKind::InvalidToken, "The next token is not one that a page ended with.")
            })?),
        };
        let state = self.state();
        let history = state.alarms.history();
        let all = history.items.iter().enumerate().map(|(place, item)| (place + history.gone, item));
        let all = all.filter(|(_, item)| wanted(item));
        let ascending = request.text("ScanBy") == "TimestampAscending";
        let mut found: Vec<_> = if ascending { all.collect() } else { all.rev().collect() };
        if let Some(after) = after {
            found.retain(|(place, _)| if ascending { *place > after } else { *place < after });
        }
        let is_last = found.len() <= page;
        found.truncate(page);
        let items: Vec<_> = found.iter().map(|(_, item)| item.document()).collect();
        let mut document = json!({ "AlarmHistoryItems": items });
        if let Some((place, _)) = found.last().filter(|_| !is_last) {
            put(&mut document, "NextToken", json!(place.to_string()));
        }
        Ok(document.into())
    }
}
