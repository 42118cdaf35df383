//! Alarms are defined, changed and deleted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Api, Request,
    alarms::{Alarm, Alarms, Body},
    definition::metric_alarm,
    doubts::WARNING,
    history::Item,
    list, now,
    record::{ALARM, AlarmRecord, Kind, State},
};
use crate::{
    admin::aws::{
        fault::{Fault, Kind as FaultKind},
        front::Answer,
    },
    cloudwatch::CompositeRule,
    control::{Actor, ResourceChange},
    store::Resource,
};

/// How many alarms there may be. Each is looked at every minute or more often.
const MOST: usize = 1_000;

/// How many tags an alarm may have.
pub(super) const MOST_TAGS: usize = 50;

impl Api {
    pub(super) async fn put_alarm(&self, request: Request) -> Result<Answer, Fault> {
        let definition = metric_alarm(&request.members)?;
        self.define(request, Kind::Metric, Body::Metric(Box::new(definition))).await
    }

    pub(super) async fn put_composite(&self, request: Request) -> Result<Answer, Fault> {
        let rule = CompositeRule::parse(request.text("AlarmRule"));
        let rule = rule.map_err(|error| Fault::validation(error.to_string()))?;
        self.check_children(request.text("AlarmName"), &rule)?;
        self.define(request, Kind::Composite, Body::Composite(rule)).await
    }

    /// All that a rule names is there, and nothing leads back to it.
    fn check_children(&self, name: &str, rule: &CompositeRule) -> Result<(), Fault> {
        let state = self.state();
        let children = rule.children();
        let gone: Vec<_> = children.iter().filter(|child| state.alarms.get(child).is_none()).collect();
        if let Some(first) = gone.first()
            && **first != name
        {
            let names: Vec<_> = gone.iter().map(|name| (**name).to_owned()).collect();
            return Err(Fault::validation(format!(
                "Could not save the composite alarm as alarms [{}] in the alarm rule do not exist",
                names.join(", ")
            )));
        }
        if leads_to(&state.alarms, children, name) {
            return Err(Fault::validation(format!(
                "AlarmRule: alarm \"{name}\" would depend on itself, and so could never be evaluated."
            )));
        }
        Ok(())
    }

    async fn define(&self, mut request: Request, kind: Kind, body: Body) -> Result<Answer, Fault> {
        let name = request.text("AlarmName").to_owned();
        if name.trim().is_empty() {
            return Err(Fault::validation("The alarm name must not be empty."));
        }
        let at = now();
        let before = self.state().alarms.get(&name).cloned();
        let tags = take_tags(&mut request.members)?;
        let history = |change| Item::of_definition((name.as_str(), kind), at, change);
        let record = match before {
            Some(alarm) if !kind.is(&alarm) => {
                return Err(Fault::validation(format!(
                    "Alarm \"{name}\" is a {}, and stays one: delete it first.",
                    alarm.record.kind.as_str()
                )));
            }
            // Its state stays, and so do its tags: those of a change are not looked at, as with AWS.
            Some(Alarm { mut record, .. }) => {
                record.history.push(history("Updated"));
                AlarmRecord {
                    are_actions_enabled: enabled(&request),
                    configured: at,
                    request: request.members,
                    ..record
                }
            }
            None => {
                self.make_room()?;
                AlarmRecord {
                    are_actions_enabled: enabled(&request),
                    request: request.members,
                    kind,
                    configured: at,
                    state: State::InsufficientData,
                    reason: "Unchecked: Initial alarm creation".to_owned(),
                    reason_data: String::new(),
                    updated: at,
                    transitioned: at,
                    tags,
                    history: vec![history("Created")],
                }
            }
        };
        self.keep(&[(name.as_str(), &record)], format!("alarm {name} was defined"), &request.actor).await?;
        let changes = self.state().alarms.define(&name, Alarm::new(record, body), at);
        self.tell(changes).await;
        let doubts = self.doubts(&name).into_iter();
        let headers = doubts.map(|(code, message)| (WARNING, format!("{code}: {message}"))).collect();
        Ok(Answer { document: None, headers })
    }

    fn make_room(&self) -> Result<(), Fault> {
        let count = self.state().alarms.len();
        if count < MOST {
            return Ok(());
        }
        Err(Fault::new(
            FaultKind::Limit,
            format!("There are {count} alarms, and no more than {MOST} there can be: delete one first."),
        ))
    }

    pub(super) async fn delete_alarms(&self, request: &Request) -> Result<Answer, Fault> {
        let names: BTreeSet<&str> =
            list(&request.members, "AlarmNames").iter().filter_map(Value::as_str).collect();
        let known: Vec<_> = {
            let state = self.state();
            let known = names.iter().filter(|name| state.alarms.get(name).is_some());
            for name in known.clone() {
                let mut parents = state.alarms.parents(name).filter(|parent| !names.contains(parent));
                if let Some(parent) = parents.next() {
                    return Err(Fault::validation(format!(
                        "Alarm \"{name}\" is part of the rule of the composite alarm \"{parent}\": delete that first."
                    )));
                }
            }
            known.map(|name| (*name).to_owned()).collect()
        };
        if known.is_empty() {
            return Ok(Answer::default());
        }
        let gone = known.iter().map(|name| (ALARM, name.clone())).collect();
        let cause = format!("alarm {} was deleted", known.join(", "));
        let change = ResourceChange { gone, cause, ..ResourceChange::default() };
        self.handle.keep(change, &request.actor).await?;
        for name in known {
            let changes = self.state().alarms.remove(&name, now());
            self.tell(changes).await;
            self.tell_gone(&name).await;
        }
        Ok(Answer::default())
    }

    pub(super) async fn switch_actions(&self, request: &Request, are_enabled: bool) -> Result<Answer, Fault> {
        let names = list(&request.members, "AlarmNames").iter().filter_map(Value::as_str);
        let records: Vec<_> = {
            let state = self.state();
            let record = |name: &str| Some((name.to_owned(), state.alarms.get(name)?.record.clone()));
            names.filter_map(record).collect()
        };
        let word = if are_enabled { "enabled" } else { "disabled" };
        for (name, record) in records {
            let record = AlarmRecord { are_actions_enabled: are_enabled, ..record };
            let cause = format!("actions of alarm {name} were {word}");
            self.keep(&[(name.as_str(), &record)], cause, &request.actor).await?;
            self.state().alarms.change(&name, record);
        }
        Ok(Answer::default())
    }

    /// Makes records durable.
    pub(super) async fn keep(
        &self,
        records: &[(&str, &AlarmRecord)],
        cause: String,
        actor: &Actor,
    ) -> Result<(), Fault> {
        let mut put = Vec::with_capacity(records.len());
        for (name, record) in records {
            let document = serde_json::to_value(record).map_err(|error| {
                Fault::new(FaultKind::Internal, format!("a record cannot be written: {error}"))
            })?;
            put.push(Resource { kind: ALARM, name: (*name).to_owned(), document });
        }
        Ok(self.handle.keep(ResourceChange { put, cause, ..ResourceChange::default() }, actor).await?)
    }
}

/// Takes the tags out of a request.
pub(super) fn take_tags(
    members: &mut serde_json::Map<String, Value>,
) -> Result<BTreeMap<String, String>, Fault> {
    let listed = members.shift_remove("Tags").unwrap_or_default();
    let listed = listed.as_array().map(Vec::as_slice).unwrap_or_default();
    let part = |tag: &Value, name: &str| tag[name].as_str().unwrap_or_default().to_owned();
    let tags: BTreeMap<_, _> = listed.iter().map(|tag| (part(tag, "Key"), part(tag, "Value"))).collect();
    if tags.len() > MOST_TAGS {
        let message = format!("The number of tags exceeds the limit of {MOST_TAGS}.");
        return Err(Fault::new(FaultKind::InvalidParameter, message));
    }
    Ok(tags)
}

fn enabled(request: &Request) -> bool {
    request.members.get("ActionsEnabled").and_then(Value::as_bool).unwrap_or(true)
}

/// Whether any of these, or what they look at, is this alarm.
fn leads_to<'a>(alarms: &'a Alarms, from: BTreeSet<&'a str>, name: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = from.into_iter().collect();
    while let Some(next) = open.pop() {
        if next == name {
            return true;
        }
        if seen.insert(next)
            && let Some(alarm) = alarms.get(next)
        {
            open.extend(alarm.children());
        }
    }
    false
}
