//! CloudWatch's API on the admin port: metrics of endpoints and of users, and alarms on them, which deployments watch by name.
//!
//! `limits` has the requests' constraints; `metrics` and `queries` are the operations on metrics, `putting`, `showing`, `stating` and `tags` those
//! on alarms. `definition` makes an alarm of a request and `doubts` says what it cannot do, `record` is what is kept of one, `alarms` all of them, and `history` what became of them.
//! Once a second `watch` takes `samples` of the meters, looks at the alarms that are due, and tells control what they say. Metrics and the
//! judgement of alarms are [`crate::cloudwatch`]'s.

mod alarms;
mod definition;
mod doubts;
mod history;
mod limits;
mod metrics;
mod putting;
mod queries;
mod record;
mod samples;
mod showing;
mod stating;
mod tags;
mod watch;

pub(super) use doubts::WARNING;
pub(super) use watch::{keep, watch};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde_json::{Map, Value};

use self::alarms::Alarms;
use super::aws::{
    fault::{Fault, Kind},
    front::Answer,
    shape::{self, Member, millis},
};
use crate::{
    clock,
    cloudwatch::{MetricId, Store},
    config::AwsConfig,
    control::{Actor, Handle},
    route::RouteTable,
};

/// The API.
#[derive(Debug)]
pub(super) struct Api {
    handle: Handle,
    table: Arc<ArcSwap<RouteTable>>,
    region: String,
    account: String,
    state: Mutex<State>,
    /// Held by what changes alarms, so that what is in the journal is what is in memory.
    turn: tokio::sync::Mutex<()>,
    /// What an earlier process has kept was read.
    loaded: tokio::sync::OnceCell<()>,
}

/// What there is. Never held while anything is waited for.
#[derive(Debug, Default)]
struct State {
    metrics: Store,
    alarms: Alarms,
}

/// What can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    PutMetricAlarm,
    PutCompositeAlarm,
    DescribeAlarms,
    DescribeAlarmsForMetric,
    DescribeAlarmHistory,
    SetAlarmState,
    DeleteAlarms,
    EnableAlarmActions,
    DisableAlarmActions,
    GetMetricStatistics,
    GetMetricData,
    ListMetrics,
    PutMetricData,
    TagResource,
    UntagResource,
    ListTagsForResource,
}

/// A request that fits its constraints.
#[derive(Debug)]
struct Request {
    members: Map<String, Value>,
    actor: Actor,
}

impl Api {
    pub(super) fn new(handle: Handle, table: Arc<ArcSwap<RouteTable>>, config: &AwsConfig) -> Self {
        Self {
            handle,
            table,
            region: config.region.clone(),
            account: config.account.clone(),
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            loaded: tokio::sync::OnceCell::new(),
        }
    }

    /// Holds a request against its constraints and carries it out.
    pub(super) async fn run(
        &self,
        operation: Operation,
        document: Value,
        actor: Actor,
    ) -> Result<Answer, Fault> {
        let members = shape::check(document, operation.members())?;
        let request = Request { members, actor };
        self.load().await?;
        let changes_alarms = operation.changes() && operation != Operation::PutMetricData;
        let _turn = if changes_alarms { Some(self.turn.lock().await) } else { None };
        match operation {
            Operation::PutMetricAlarm => self.put_alarm(request).await,
            Operation::PutCompositeAlarm => self.put_composite(request).await,
            Operation::DescribeAlarms => self.describe_alarms(&request),
            Operation::DescribeAlarmsForMetric => self.describe_for_metric(&request),
            Operation::DescribeAlarmHistory => self.describe_history(&request),
            Operation::SetAlarmState => self.set_state(&request).await,
            Operation::DeleteAlarms => self.delete_alarms(&request).await,
            Operation::EnableAlarmActions => self.switch_actions(&request, true).await,
            Operation::DisableAlarmActions => self.switch_actions(&request, false).await,
            Operation::GetMetricStatistics => self.get_statistics(&request),
            Operation::GetMetricData => self.get_data(&request),
            Operation::ListMetrics => self.list_metrics(&request),
            Operation::PutMetricData => self.put_data(&request),
            Operation::TagResource => self.tag(&request).await,
            Operation::UntagResource => self.untag(&request).await,
            Operation::ListTagsForResource => self.list_tags(&request),
        }
    }

    /// What a panic left half way is still metrics and alarms.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arn(&self, alarm: &str) -> String {
        format!("arn:aws:cloudwatch:{}:{}:alarm:{alarm}", self.region, self.account)
    }
}

/// Now, in milliseconds since 1970.
fn now() -> i64 {
    clock::wall().as_millis()
}

impl Operation {
    const ALL: [Self; 16] = [
        Self::PutMetricAlarm,
        Self::PutCompositeAlarm,
        Self::DescribeAlarms,
        Self::DescribeAlarmsForMetric,
        Self::DescribeAlarmHistory,
        Self::SetAlarmState,
        Self::DeleteAlarms,
        Self::EnableAlarmActions,
        Self::DisableAlarmActions,
        Self::GetMetricStatistics,
        Self::GetMetricData,
        Self::ListMetrics,
        Self::PutMetricData,
        Self::TagResource,
        Self::UntagResource,
        Self::ListTagsForResource,
    ];

    /// The operation of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// What clients call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::PutMetricAlarm => "PutMetricAlarm",
            Self::PutCompositeAlarm => "PutCompositeAlarm",
            Self::DescribeAlarms => "DescribeAlarms",
            Self::DescribeAlarmsForMetric => "DescribeAlarmsForMetric",
            Self::DescribeAlarmHistory => "DescribeAlarmHistory",
            Self::SetAlarmState => "SetAlarmState",
            Self::DeleteAlarms => "DeleteAlarms",
            Self::EnableAlarmActions => "EnableAlarmActions",
            Self::DisableAlarmActions => "DisableAlarmActions",
            Self::GetMetricStatistics => "GetMetricStatistics",
            Self::GetMetricData => "GetMetricData",
            Self::ListMetrics => "ListMetrics",
            Self::PutMetricData => "PutMetricData",
            Self::TagResource => "TagResource",
            Self::UntagResource => "UntagResource",
            Self::ListTagsForResource => "ListTagsForResource",
        }
    }

    /// Whether it changes something.
    pub(super) const fn changes(self) -> bool {
        match self {
            Self::PutMetricAlarm
            | Self::PutCompositeAlarm
            | Self::SetAlarmState
            | Self::DeleteAlarms
            | Self::EnableAlarmActions
            | Self::DisableAlarmActions
            | Self::PutMetricData
            | Self::TagResource
            | Self::UntagResource => true,
            Self::DescribeAlarms
            | Self::DescribeAlarmsForMetric
            | Self::DescribeAlarmHistory
            | Self::GetMetricStatistics
            | Self::GetMetricData
            | Self::ListMetrics
            | Self::ListTagsForResource => false,
        }
    }

    /// Its constraints.
    pub(super) fn members(self) -> &'static [Member] {
        match self {
            Self::PutMetricAlarm => limits::PUT_ALARM,
            Self::PutCompositeAlarm => limits::PUT_COMPOSITE,
            Self::DescribeAlarms => limits::DESCRIBE_ALARMS,
            Self::DescribeAlarmsForMetric => limits::DESCRIBE_FOR_METRIC,
            Self::DescribeAlarmHistory => limits::DESCRIBE_HISTORY,
            Self::SetAlarmState => limits::SET_STATE,
            Self::DeleteAlarms | Self::EnableAlarmActions | Self::DisableAlarmActions => limits::NAMED,
            Self::GetMetricStatistics => limits::GET_STATISTICS,
            Self::GetMetricData => limits::GET_DATA,
            Self::ListMetrics => limits::LIST_METRICS,
            Self::PutMetricData => limits::PUT_DATA,
            Self::TagResource => limits::TAG_RESOURCE,
            Self::UntagResource => limits::UNTAG_RESOURCE,
            Self::ListTagsForResource => limits::LIST_TAGS,
        }
    }
}

impl Request {
    /// A text; empty where there is none.
    fn text(&self, member: &str) -> &str {
        text(&self.members, member)
    }

    fn list(&self, member: &str) -> &[Value] {
        list(&self.members, member)
    }

    /// A moment in milliseconds since 1970.
    fn time(&self, member: &str) -> Option<i64> {
        self.members.get(member).and_then(millis)
    }

    fn whole(&self, member: &str) -> Option<i64> {
        whole(&self.members, member)
    }
}

fn text<'a>(members: &'a Map<String, Value>, member: &str) -> &'a str {
    members.get(member).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(members: &'a Map<String, Value>, member: &str) -> &'a [Value] {
    members.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Also one that is written as `60.0`.
fn whole(members: &Map<String, Value>, member: &str) -> Option<i64> {
    let value = members.get(member)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has no fraction and is bounded by its constraint"
    )]
    value.as_i64().or_else(|| value.as_f64().map(|number| number as i64))
}

/// The metric that some members name.
fn metric(members: &Map<String, Value>) -> Result<MetricId, Fault> {
    let part = |dimension: &Value, name: &str| dimension[name].as_str().unwrap_or_default().to_owned();
    let dimensions = list(members, "Dimensions").iter();
    let dimensions: Vec<_> =
        dimensions.map(|dimension| (part(dimension, "Name"), part(dimension, "Value"))).collect();
    let borrowed = dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let id = MetricId::new(text(members, "Namespace"), text(members, "MetricName"), borrowed);
    let is_twice = id.dimensions.windows(2).any(|pair| matches!(pair, [one, two] if one.0 == two.0));
    if is_twice {
        let message = "The parameter Dimensions contains the same dimension name more than once.";
        return Err(Fault::new(Kind::InvalidParameter, message));
    }
    Ok(id)
}

/// The dimensions of a metric as answers have them.
fn dimensions(id: &MetricId) -> Vec<Value> {
    let dimension = |(name, value): &(String, String)| serde_json::json!({ "Name": name, "Value": value });
    id.dimensions.iter().map(dimension).collect()
}

/// Adds a member to a document.
fn put(document: &mut Value, name: &str, value: Value) {
    if let Some(members) = document.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// A moment as the JSON protocols write it: seconds since 1970, with milliseconds.
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}
