//! What is kept of an alarm: the request that made it, word for word, its state, and the newest of its history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{history::Item, seconds};
use crate::alarm::AlarmState;

/// The kind of resource in the journal.
pub(super) const ALARM: &str = "cloudwatch-alarm";

/// An alarm as it is kept.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct AlarmRecord {
    /// The members of the request, tags left out.
    pub(super) request: Map<String, Value>,
    pub(super) kind: Kind,
    pub(super) are_actions_enabled: bool,
    /// When it was defined last, in milliseconds since 1970, as the others.
    pub(super) configured: i64,
    pub(super) state: State,
    pub(super) reason: String,
    /// JSON; empty where there is none.
    pub(super) reason_data: String,
    /// When state or reason changed last.
    pub(super) updated: i64,
    /// When the state became another one last.
    pub(super) transitioned: i64,
    pub(super) tags: BTreeMap<String, String>,
    /// The newest of its history, oldest first.
    pub(super) history: Vec<Item>,
}

/// What an alarm looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Kind {
    #[serde(rename = "MetricAlarm")]
    Metric,
    #[serde(rename = "CompositeAlarm")]
    Composite,
}

/// An alarm's state, in CloudWatch's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum State {
    Ok,
    Alarm,
    InsufficientData,
}

/// Members of the request that are shown as they came.
const SHOWN: [&str; 24] = [
    "AlarmDescription",
    "OKActions",
    "AlarmActions",
    "InsufficientDataActions",
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Dimensions",
    "Period",
    "Unit",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "EvaluateLowSampleCountPercentile",
    "Metrics",
    "EvaluationWindow",
    "ActionConfiguration",
    "AlarmRule",
    "ActionsSuppressor",
    "ActionsSuppressorWaitPeriod",
    "ActionsSuppressorExtensionPeriod",
];

/// Lists that are there even where they are empty.
const LISTS: [&str; 3] = ["OKActions", "AlarmActions", "InsufficientDataActions"];

impl AlarmRecord {
    /// As answers have it.
    pub(super) fn document(&self, arn: &str) -> Value {
        let mut document = Map::new();
        let mut add = |name: &str, value: Value| drop(document.insert(name.to_owned(), value));
        add("AlarmName", self.request.get("AlarmName").cloned().unwrap_or_default());
        add("AlarmArn", json!(arn));
        for name in SHOWN {
            if let Some(value) = self.request.get(name) {
                add(name, value.clone());
            } else if LISTS.contains(&name) || name == "Dimensions" && self.request.contains_key("MetricName")
            {
                add(name, json!([]));
            }
        }
        add("ActionsEnabled", json!(self.are_actions_enabled));
        add("AlarmConfigurationUpdatedTimestamp", json!(seconds(self.configured)));
        add("StateValue", json!(self.state.as_str()));
        add("StateReason", json!(self.reason));
        if !self.reason_data.is_empty() {
            add("StateReasonData", json!(self.reason_data));
        }
        add("StateUpdatedTimestamp", json!(seconds(self.updated)));
        add("StateTransitionedTimestamp", json!(seconds(self.transitioned)));
        Value::Object(document)
    }
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Metric => "MetricAlarm",
            Self::Composite => "CompositeAlarm",
        }
    }
}

impl State {
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "OK" => Self::Ok,
            "ALARM" => Self::Alarm,
            _ => Self::InsufficientData,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}

impl From<AlarmState> for State {
    fn from(state: AlarmState) -> Self {
        match state {
            AlarmState::Ok => Self::Ok,
            AlarmState::Alarm => Self::Alarm,
            AlarmState::InsufficientData => Self::InsufficientData,
        }
    }
}

impl From<State> for AlarmState {
    fn from(state: State) -> Self {
        match state {
            State::Ok => Self::Ok,
            State::Alarm => Self::Alarm,
            State::InsufficientData => Self::InsufficientData,
        }
    }
}
