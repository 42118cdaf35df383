//! Alarms are listed.

use serde_json::{Value, json};

use super::{
    Api, Request,
    alarms::Alarm,
    definition::{extended_stat, parse_stat},
    list, metric, put,
    record::Kind,
};
use crate::{
    admin::aws::{
        fault::{Fault, Kind as FaultKind},
        front::Answer,
    },
    cloudwatch::Input,
};

/// How many alarms a page has where nobody says.
const DEFAULT_PAGE: usize = 50;

impl Api {
    pub(super) fn describe_alarms(&self, request: &Request) -> Result<Answer, Fault> {
        let names: Vec<_> = texts(request, "AlarmNames");
        let kinds = texts(request, "AlarmTypes");
        let (prefix, wanted_state) = (request.text("AlarmNamePrefix"), request.text("StateValue"));
        if !prefix.is_empty() && !names.is_empty() {
            let message = "The parameters AlarmNames and AlarmNamePrefix cannot be used together.";
            return Err(Fault::new(FaultKind::Combination, message));
        }
        let (children, parents) = (request.text("ChildrenOfAlarmName"), request.text("ParentsOfAlarmName"));
        let action = request.text("ActionPrefix");
        let page = request.whole("MaxRecords").and_then(|page| usize::try_from(page).ok());
        let page = page.unwrap_or(DEFAULT_PAGE);
        let after = read_token(request.text("NextToken"))?;
        let state = self.state();
        let is_child =
            |name: &str| state.alarms.get(children).is_some_and(|alarm| alarm.children().contains(name));
        let is_parent = |alarm: &Alarm| alarm.children().contains(parents);
        // Without a kind, only metric alarms are meant; of relatives, all.
        let fits_kind = |alarm: &Alarm| match kinds.as_slice() {
            [] => Kind::Metric.is(alarm) || !(children.is_empty() && parents.is_empty()),
            kinds => kinds.contains(&alarm.record.kind.as_str()),
        };
        let wants = |name: &str, alarm: &Alarm| {
            fits_kind(alarm)
                && (names.is_empty() || names.contains(&name))
                && name.starts_with(prefix)
                && (wanted_state.is_empty() || alarm.record.state.as_str() == wanted_state)
                && (action.is_empty() || has_action(alarm, action))
                && (children.is_empty() || is_child(name))
                && (parents.is_empty() || is_parent(alarm))
        };
        let found = state.alarms.iter().filter(|(name, alarm)| wants(name, alarm));
        let found = found.filter(|(name, _)| after.as_deref().is_none_or(|after| *name > after));
        let mut found: Vec<_> = found.take(page + 1).collect();
        let is_last = found.len() <= page;
        found.truncate(page);
        let of = |kind: Kind| {
            let its = found.iter().filter(|(_, alarm)| kind.is(alarm));
            its.map(|(name, alarm)| alarm.record.document(&self.arn(name))).collect::<Vec<_>>()
        };
        let mut document =
            json!({ "MetricAlarms": of(Kind::Metric), "CompositeAlarms": of(Kind::Composite) });
        if let Some((name, _)) = found.last().filter(|_| !is_last) {
            put(&mut document, "NextToken", json!(write_token(name)));
        }
        Ok(document.into())
    }

    pub(super) fn describe_for_metric(&self, request: &Request) -> Result<Answer, Fault> {
        let wanted = metric(&request.members)?;
        let wanted_stat = match (request.text("Statistic"), request.text("ExtendedStatistic")) {
            ("", "") => None,
            ("", extended) => Some(extended_stat(extended)?),
            (plain, _) => Some(parse_stat("Statistic", plain)?),
        };
        let (period, unit) = (request.whole("Period"), request.text("Unit"));
        let state = self.state();
        let fits = |alarm: &Alarm| {
            alarm.metric().is_some_and(|definition| match &definition.input {
                Input::Metric { id, stat, unit: its } => {
                    *id == wanted
                        && wanted_stat.is_none_or(|wanted| wanted == *stat)
                        && period.is_none_or(|period| period == definition.period)
                        && (unit.is_empty() || its.as_deref() == Some(unit))
                }
                Input::Math(_) => false,
            })
        };
        let found = state.alarms.iter().filter(|(_, alarm)| fits(alarm));
        let found: Vec<_> = found.map(|(name, alarm)| alarm.record.document(&self.arn(name))).collect();
        Ok(json!({ "MetricAlarms": found }).into())
    }
}

fn texts<'a>(request: &'a Request, member: &str) -> Vec<&'a str> {
    list(&request.members, member).iter().filter_map(Value::as_str).collect()
}

fn has_action(alarm: &Alarm, prefix: &str) -> bool {
    let lists = ["OKActions", "AlarmActions", "InsufficientDataActions"].into_iter();
    let mut actions = lists.flat_map(|member| list(&alarm.record.request, member)).filter_map(Value::as_str);
    actions.any(|action| action.starts_with(prefix))
}

/// A token names the last entry that was shown, so that what comes and goes between two pages neither repeats nor hides one.
pub(super) fn write_token(last: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    BASE64_URL_SAFE_NO_PAD.encode(last)
}

/// `None` for the first page.
pub(super) fn read_token(token: &str) -> Result<Option<String>, Fault> {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    if token.is_empty() {
        return Ok(None);
    }
    let read = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    read.map(Some).ok_or_else(|| {
        Fault::new(FaultKind::InvalidToken, "The next token is not one that a page ended with.")
    })
}
