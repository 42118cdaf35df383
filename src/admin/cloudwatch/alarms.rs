//! All alarms, and how one's state leads to another's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    history::{History, Item},
    put,
    record::{AlarmRecord, Kind, State},
};
use crate::{
    alarm::AlarmState,
    cloudwatch::{CompositeRule, Evaluated, Input, MetricAlarm, Store},
};

/// How many entries of its history an alarm brings into the next process.
const HISTORY_KEPT: usize = 20;

/// The longest reason; the model's own bound.
const REASON_LIMIT: usize = 1_023;

/// Every alarm by its name.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    all: BTreeMap<String, Alarm>,
    history: History,
    /// Alarms whose state the journal does not have yet.
    unsaved: BTreeSet<String>,
}

/// An alarm at work.
#[derive(Clone, Debug)]
pub(super) struct Alarm {
    pub(super) record: AlarmRecord,
    pub(super) body: Body,
    /// Whether a deployment has heard that it is raised.
    is_heard: bool,
    /// The end of the periods that were looked at last.
    looked: Option<i64>,
}

/// What an alarm's state comes from.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Body {
    Metric(Box<MetricAlarm>),
    Composite(CompositeRule),
}

/// A change of an alarm's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) before: State,
    pub(super) after: State,
    pub(super) reason: String,
}

/// A state that an alarm is to have, and why.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) state: State,
    pub(super) reason: String,
    /// JSON, or nothing.
    pub(super) data: String,
}

impl Alarm {
    pub(super) fn new(record: AlarmRecord, body: Body) -> Self {
        Self { record, body, is_heard: false, looked: None }
    }

    /// Whether one of its expressions, or it itself, looks at this.
    pub(super) fn metric(&self) -> Option<&MetricAlarm> {
        match &self.body {
            Body::Metric(alarm) => Some(alarm),
            Body::Composite(_) => None,
        }
    }

    /// The alarms that it looks at.
    pub(super) fn children(&self) -> BTreeSet<&str> {
        match &self.body {
            Body::Metric(_) => BTreeSet::new(),
            Body::Composite(rule) => rule.children(),
        }
    }
}

impl Alarms {
    pub(super) fn get(&self, name: &str) -> Option<&Alarm> {
        self.all.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Alarm)> {
        self.all.iter().map(|(name, alarm)| (name.as_str(), alarm))
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Takes in what an earlier process has kept.
    pub(super) fn restore(&mut self, alarms: Vec<(String, Alarm)>) {
        let history = alarms.iter().flat_map(|(_, alarm)| alarm.record.history.clone()).collect();
        self.history.restore(history);
        self.all.extend(alarms);
    }

    /// Defines an alarm, and says what follows from that. Its record is in the journal already.
    pub(super) fn define(&mut self, name: &str, alarm: Alarm, now: i64) -> Vec<Change> {
        if let Some(item) = alarm.record.history.last() {
            self.history.push(item.clone());
        }
        self.all.insert(name.to_owned(), alarm);
        let mut changes = Vec::new();
        self.look_at_composite(name, now, &mut changes);
        self.follow(name, now, &mut changes);
        changes
    }

    /// Replaces what is kept of an alarm.
    pub(super) fn change(&mut self, name: &str, record: AlarmRecord) {
        if let Some(alarm) = self.all.get_mut(name) {
            alarm.record = record;
        }
    }

    /// Lets an alarm go, and says what follows from that.
    pub(super) fn remove(&mut self, name: &str, now: i64) -> Vec<Change> {
        let Some(alarm) = self.all.remove(name) else { return Vec::new() };
        self.unsaved.remove(name);
        self.history.push(Item::of_definition((name, alarm.record.kind), now, "Deleted"));
        let mut changes = Vec::new();
        self.follow(name, now, &mut changes);
        changes
    }

    /// Puts an alarm into a state, and says what follows from that.
    pub(super) fn set(&mut self, name: &str, said: Said, now: i64) -> Vec<Change> {
        let mut changes = Vec::new();
        self.say(name, said, now, &mut changes);
        self.follow(name, now, &mut changes);
        changes
    }

    /// Looks at every metric alarm that is due at this second, and says what changed.
    pub(super) fn look(&mut self, store: &Store, second: i64) -> Vec<Change> {
        let mut evaluated = Vec::new();
        for (name, alarm) in &mut self.all {
            let Body::Metric(definition) = &alarm.body else { continue };
            let cadence = definition.cadence();
            let ends = second.div_euclid(cadence) * cadence;
            // Another moment, not a later one: a clock that is set back must not silence an alarm.
            if alarm.looked == Some(ends) {
                continue;
            }
            alarm.looked = Some(ends);
            let found = definition.evaluate(store, alarm.record.state.into(), ends, second);
            if State::from(found.state) != alarm.record.state || alarm.record.reason.is_empty() {
                evaluated.push((name.clone(), said(definition, found, second)));
            }
        }
        let mut changes = Vec::new();
        for (name, said) in evaluated {
            self.say(&name, said, second * 1_000, &mut changes);
            self.follow(&name, second * 1_000, &mut changes);
        }
        changes
    }

    /// Raised alarms that no deployment has heard of.
    pub(super) fn unheard(&self) -> Vec<(String, String)> {
        let raised =
            self.all.iter().filter(|(_, alarm)| alarm.record.state == State::Alarm && !alarm.is_heard);
        raised.map(|(name, alarm)| (name.clone(), alarm.record.reason.clone())).collect()
    }

    /// A deployment has heard of it.
    pub(super) fn heard(&mut self, name: &str) {
        if let Some(alarm) = self.all.get_mut(name) {
            alarm.is_heard = true;
        }
    }

    /// A new deployment is to hear of these.
    pub(super) fn tell_again<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if let Some(alarm) = self.all.get_mut(name) {
                alarm.is_heard = false;
            }
        }
    }

    /// What the journal does not have yet; it is taken for written.
    pub(super) fn take_unsaved(&mut self) -> Vec<(String, AlarmRecord)> {
        let names = std::mem::take(&mut self.unsaved);
        let record = |name: String| Some((name.clone(), self.all.get(&name)?.record.clone()));
        names.into_iter().filter_map(record).collect()
    }

    /// It could not be written after all.
    pub(super) fn unsave(&mut self, names: impl Iterator<Item = String>) {
        self.unsaved.extend(names);
    }

    fn say(&mut self, name: &str, said: Said, now: i64, changes: &mut Vec<Change>) {
        let Some(alarm) = self.all.get_mut(name) else { return };
        let Said { state, reason, data } = said;
        let reason: String = reason.chars().take(REASON_LIMIT).collect();
        let record = &mut alarm.record;
        let before = record.state;
        let item = Item::of_state((name, record.kind), now, (before, state), (&reason, &data));
        record.state = state;
        record.reason.clone_from(&reason);
        record.reason_data = data;
        record.updated = now;
        self.unsaved.insert(name.to_owned());
        if before == state {
            return;
        }
        record.transitioned = now;
        record.history.push(item.clone());
        let beyond = record.history.len().saturating_sub(HISTORY_KEPT);
        record.history.drain(..beyond);
        alarm.is_heard = false;
        self.history.push(item);
        changes.push(Change { name: name.to_owned(), before, after: state, reason });
    }

    /// Looks at the composite alarms that look at this one, and at those that look at them. Rules name each other without circles, so
    /// this ends.
    fn follow(&mut self, name: &str, now: i64, changes: &mut Vec<Change>) {
        let parents: Vec<_> = self.parents(name).map(str::to_owned).collect();
        for parent in parents {
            let before = changes.len();
            self.look_at_composite(&parent, now, changes);
            if changes.len() > before {
                self.follow(&parent, now, changes);
            }
        }
    }

    /// The composite alarms that look at this one.
    pub(super) fn parents(&self, name: &str) -> impl Iterator<Item = &str> {
        let parents = self.all.iter().filter(move |(_, alarm)| alarm.children().contains(name));
        parents.map(|(name, _)| name.as_str())
    }

    fn look_at_composite(&mut self, name: &str, now: i64, changes: &mut Vec<Change>) {
        let Some(Alarm { body: Body::Composite(rule), record, .. }) = self.all.get(name) else { return };
        let state = |child: &str| self.all.get(child).map(|alarm| AlarmState::from(alarm.record.state));
        let holds = rule.holds(&state);
        let after = if holds { State::Alarm } else { State::Ok };
        if after == record.state {
            return;
        }
        let raised = rule.children().into_iter().filter(|child| state(child) == Some(AlarmState::Alarm));
        let raised: Vec<_> = raised.take(5).collect();
        let which = if raised.is_empty() { "none".to_owned() } else { raised.join(", ") };
        let word = after.as_str();
        let reason = format!("The rule of {name} is {holds}, so it is in {word}. In ALARM are: {which}.");
        self.say(name, Said { state: after, reason, data: String::new() }, now, changes);
    }
}

fn said(definition: &MetricAlarm, found: Evaluated, second: i64) -> Said {
    let Evaluated { state, reason, range } = found;
    let moment = |second: i64| {
        let moment = jiff::Timestamp::from_second(second).unwrap_or_default();
        moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string()
    };
    let real: Vec<_> = range.iter().filter_map(|(at, point)| Some((*at, (*point)?))).collect();
    let newest = real.len().saturating_sub(definition.rule.periods.min(10));
    let real = real.get(newest..).unwrap_or_default();
    let recent: Vec<_> = real.iter().map(|(_, point)| point.value).collect();
    let mut data = json!({
        "version": "1.0",
        "queryDate": moment(second),
        "period": definition.period,
        "recentDatapoints": recent,
        "threshold": definition.rule.bound,
        "evaluatedDatapoints": real.iter().rev().map(|(at, point)| {
            json!({ "timestamp": moment(*at), "sampleCount": point.samples as f64, "value": point.value })
        }).collect::<Vec<_>>(),
    });
    if let Some((begins, _)) = real.first() {
        put(&mut data, "startDate", json!(moment(*begins)));
    }
    if let Input::Metric { unit: Some(unit), .. } = &definition.input {
        put(&mut data, "unit", json!(unit));
    }
    Said { state: state.into(), reason, data: data.to_string() }
}

impl Kind {
    /// Whether an alarm is of this kind.
    pub(super) fn is(self, alarm: &Alarm) -> bool {
        alarm.record.kind == self
    }
}
