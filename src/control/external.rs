//! External alarms: reports that come in, and what shifts hear of them.

use std::time::Duration;

use super::{Actor, ControlError, Execution, ask::Reply, ledger::Draft, task::Task};
use crate::{
    alarm::AlarmState,
    name::{EndpointName, ShiftId},
    store::Record,
};

/// A report on an external alarm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The alarm.
    pub name: String,
    /// What it says from now on.
    pub state: AlarmState,
    /// Who reports.
    pub actor: Actor,
    /// Why, in the reporter's words; may be empty.
    pub reason: String,
}

impl Task {
    /// Takes a report for every running shift that has a way back and watches this alarm. A raised alarm acts before it is journalled, as all
    /// do; every other report is journalled before it counts. One that only renews the state is no event. Says which shifts heard it.
    pub(super) async fn report(
        &mut self,
        report: Report,
        execution: Execution,
    ) -> Result<Vec<ShiftId>, ControlError> {
        let hearing = self.hearing(&report.name);
        if hearing.is_empty() {
            if let Some(left) = self.still_raised(&report.name) {
                // What was heard by a shift that is over stands in the way of the next, so it can be taken back.
                if execution == Execution::Real {
                    self.hold(&report, left);
                }
                return Ok(Vec::new());
            }
            return Err(ControlError::NoAlarm {
                name: shortened(&report.name),
                known: self.known_externals(),
            });
        }
        let shifts = hearing.iter().map(|(_, shift)| shift.clone()).collect();
        if execution == Execution::Dry {
            return Ok(shifts);
        }
        let drafts = self.report_drafts(&report, &hearing);
        if report.state == AlarmState::Alarm {
            self.take_in(&report, &hearing).await;
            // Where it could not act yet, green has no share, and it must not be forgotten until then.
            let records = self.waiting_records(&hearing);
            if let Err(error) = self.commit(records, &drafts).await {
                tracing::error!(alarm = report.name, %error, "a report has acted but is not in the journal");
            }
        } else {
            self.commit(self.report_records(&report, &hearing), &drafts).await?;
            self.take_in(&report, &hearing).await;
        }
        Ok(shifts)
    }

    async fn take_in(&mut self, report: &Report, hearing: &[(EndpointName, ShiftId)]) {
        if let Some(lease) = self.longest_lease(&report.name) {
            self.hold(report, lease);
        }
        for (endpoint, _) in hearing {
            let green =
                self.endpoints.get(endpoint).and_then(|endpoint| endpoint.run.as_ref()?.green.as_ref());
            if let Some(green) = green {
                green.watched.report(&report.name, report.state, &report.reason);
            }
            self.wake(endpoint).await;
        }
    }

    /// The shifts with the report, so that it holds after a restart too.
    fn report_records(&self, report: &Report, hearing: &[(EndpointName, ShiftId)]) -> Vec<Record> {
        let record = |(endpoint, _): &(EndpointName, ShiftId)| {
            self.endpoints.get(endpoint)?.shift_record_with(report, &self.links)
        };
        hearing.iter().filter_map(record).map(|record| Record::Shift(Box::new(record))).collect()
    }

    /// The shifts as they are, those that still have a way back.
    fn waiting_records(&self, hearing: &[(EndpointName, ShiftId)]) -> Vec<Record> {
        let record = |(endpoint, _): &(EndpointName, ShiftId)| {
            let endpoint = self.endpoints.get(endpoint)?;
            let waits = endpoint.run.as_ref()?.engine.state().has_way_back();
            waits.then(|| endpoint.shift_record(&self.links)).flatten()
        };
        hearing.iter().filter_map(record).map(|record| Record::Shift(Box::new(record))).collect()
    }

    /// An event for each shift in which the alarm's state changes.
    fn report_drafts(&self, report: &Report, hearing: &[(EndpointName, ShiftId)]) -> Vec<Draft> {
        let now = self.links.timer.wall_of(self.links.timer.now());
        let draft = |(endpoint, shift): &(EndpointName, ShiftId)| {
            let run = self.endpoints.get(endpoint)?.run.as_ref()?;
            let green = run.green.as_ref()?;
            let all = green.watched.externals();
            let all = all.iter().map(|view| &view.evidence);
            let before = all.into_iter().find(|evidence| evidence.external.name == report.name)?.state;
            let Report { name, state, actor, reason } = report;
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            (before != *state).then(|| Draft {
                endpoint: Some(endpoint.clone()),
                shift: Some(shift.clone()),
                before: Some(before.as_str().to_owned()),
                after: Some(state.as_str().to_owned()),
                share: Some(run.share()),
                peer: actor.peer.clone(),
                reason: Some(reason.clone()).filter(|reason| !reason.is_empty()),
                evidence: Some(serde_json::json!({ "alarm": name })),
                ..Draft::new(now, "alarm.state", &actor.name, format!("external alarm {name}{why}"))
            })
        };
        hearing.iter().filter_map(draft).collect()
    }

    /// The running shifts that have a way back and watch an external alarm of this name.
    fn hearing(&self, name: &str) -> Vec<(EndpointName, ShiftId)> {
        let running =
            self.endpoints.iter().filter_map(|(endpoint, state)| Some((endpoint, state.run.as_ref()?)));
        let hears = running.filter(|(_, run)| {
            run.green.is_some()
                && run.engine.state().has_way_back()
                && run.plan.alarms.externals.iter().any(|external| external.name == name)
        });
        hears.map(|(endpoint, run)| (endpoint.clone(), run.id.clone())).collect()
    }

    fn longest_lease(&self, name: &str) -> Option<Duration> {
        let runs = self.endpoints.values().filter_map(|endpoint| endpoint.run.as_ref());
        let externals = runs.flat_map(|run| run.plan.alarms.externals.iter());
        externals.filter(|external| external.name == name).map(|external| external.lease).max()
    }

    fn known_externals(&self) -> String {
        let runs = self.endpoints.values().filter_map(|endpoint| endpoint.run.as_ref());
        let names = runs.flat_map(|run| run.plan.alarms.externals.iter());
        let names: std::collections::BTreeSet<&str> = names.map(|external| external.name.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.into_iter().collect::<Vec<_>>().join(", ") }
    }

    /// Answers whoever reports.
    pub(super) async fn answer_report(
        &mut self,
        report: Report,
        execution: Execution,
        reply: Reply<Vec<ShiftId>>,
    ) {
        let answer = self.report(report, execution).await;
        drop(reply.send(answer));
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(63).collect()
}
