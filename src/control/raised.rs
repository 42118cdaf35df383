//! External alarms before a shift: a shift that begins with a raised alarm would only roll back, so it is refused.
//!
//! Amazon does not say what becomes of a SageMaker deployment whose alarm is raised already. A refusal costs nothing but words, and a roll
//! back would have provisioned green for nothing.

use std::time::Duration;

use futures_util::future::join_all;

use super::{ControlError, Handle, ask::Ask, asking::Inquiry, external::Report, task::Task};
use crate::{
    alarm::{AlarmState, Answer, External, Poll, Subject},
    config::PlanSpec,
    lint::{Finding, Severity},
    name::EndpointName,
    time::Moment,
};

/// Whoever starts a shift waits so long at most for polled alarms to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `$shift` stands for before there is one.
const NO_SHIFT: &str = "dry-run";

/// What control knows of external alarms before a shift.
#[derive(Clone, Debug)]
pub(super) struct Before {
    /// The version in service.
    blue: String,
    /// Alarms that were reported raised, by reports that still hold: name and reason.
    raised: Vec<(String, String)>,
}

/// A report that holds, whether or not a shift watches it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    state: AlarmState,
    reason: String,
    until: Moment,
}

impl Handle {
    /// Looks at a plan's external alarms once, those that are polled by asking.
    pub(super) async fn look_at_externals(
        &self,
        endpoint: &EndpointName,
        plan: &PlanSpec,
    ) -> Result<Vec<Finding>, ControlError> {
        let externals = &plan.alarms.externals;
        if externals.is_empty() {
            return Ok(Vec::new());
        }
        let names = externals.iter().map(|external| external.name.clone()).collect();
        let Before { blue, raised } =
            self.ask(|reply| Ask::Before { endpoint: endpoint.clone(), names, reply }).await?;
        let subject = Subject {
            endpoint: endpoint.to_string(),
            shift: NO_SHIFT.to_owned(),
            blue,
            green: plan.green.version.to_string(),
        };
        let polled = externals.iter().filter_map(|external| Some((&external.name, external.poll.as_ref()?)));
        let asked = polled.map(|(name, poll)| self.ask_once(name, poll, &subject));
        let found = join_all(asked).await.into_iter().flatten();
        let reported =
            raised.into_iter().map(|(name, reason)| raised_finding(&name, &reported_text(&reason)));
        Ok(reported.chain(found).map(|finding| heeding(externals, finding)).collect())
    }

    async fn ask_once(&self, name: &str, poll: &Poll, subject: &Subject) -> Option<Finding> {
        let mut inquiry = Inquiry::new(name, poll, subject.clone(), &self.keychain);
        let asked = tokio::time::timeout(PATIENCE, inquiry.ask(&*self.inquirer)).await;
        match asked.unwrap_or_else(|_| Err("no answer within 5s".to_owned())) {
            Ok(Answer { state: AlarmState::Alarm, reason, value: _ }) if poll.datapoints == 1 => {
                Some(raised_finding(name, &answered_text(&reason)))
            }
            Ok(Answer { state: AlarmState::Alarm, reason, value: _ }) => {
                let message =
                    format!("{}; {} such answers raise it", answered_text(&reason), poll.datapoints);
                Some(finding(Severity::Warning, "alarm_near", name, message))
            }
            Ok(Answer { state: AlarmState::Ok | AlarmState::InsufficientData, .. }) => None,
            Err(reason) => {
                let message = format!(
                    "it could not be asked: {reason}; after {} failures in a row it says {}",
                    poll.errors,
                    poll.on_error.as_str().replace('_', " ")
                );
                Some(finding(Severity::Warning, "poll_failed", name, message))
            }
        }
    }
}

/// What is raised and is to be ignored keeps no shift from starting, and is said all the same.
fn heeding(externals: &[External], raised: Finding) -> Finding {
    let is_it = |external: &&External| place(&external.name) == raised.place;
    let is_ignored = externals.iter().find(is_it).is_some_and(|external| external.ignore_raised);
    if raised.code != RAISED || !is_ignored {
        return raised;
    }
    Finding {
        severity: Severity::Warning,
        code: "alarm_ignored".to_owned(),
        message: "it is raised already, and as the plan says it is not judged until it has been ok once"
            .to_owned(),
        ..raised
    }
}

/// Refuses a start with these findings where an alarm is raised.
pub(super) fn refuse_raised(endpoint: &EndpointName, findings: &[Finding]) -> Result<(), ControlError> {
    let raised = findings.iter().find(|finding| finding.code == RAISED);
    raised.map_or(Ok(()), |finding| {
        Err(ControlError::AlarmRaised {
            endpoint: endpoint.clone(),
            alarm: finding.place.clone(),
            message: finding.message.clone(),
        })
    })
}

const RAISED: &str = "alarm_raised";

fn raised_finding(name: &str, text: &str) -> Finding {
    let message = format!(
        "it is raised already ({text}), so a shift is refused: wait until it is ok, or leave it out, or say ignore_raised = true"
    );
    finding(Severity::Error, RAISED, name, message)
}

fn answered_text(reason: &str) -> String {
    if reason.is_empty() {
        "asked, it says alarm".to_owned()
    } else {
        format!("asked, it says alarm: {reason}")
    }
}

fn reported_text(reason: &str) -> String {
    if reason.is_empty() { "reported alarm".to_owned() } else { format!("reported alarm: {reason}") }
}

fn place(name: &str) -> String {
    format!("external {name}")
}

fn finding(severity: Severity, code: &str, name: &str, message: String) -> Finding {
    Finding {
        severity,
        code: code.to_owned(),
        place: place(name),
        message,
        numbers: std::collections::BTreeMap::new(),
    }
}

impl Task {
    /// What is known of these alarms before a shift of an endpoint.
    pub(super) fn before(&self, name: &EndpointName, names: &[String]) -> Result<Before, ControlError> {
        let now = self.links.timer.now();
        let raised = |name: &String| {
            let held =
                self.held.get(name).filter(|held| held.until > now && held.state == AlarmState::Alarm)?;
            Some((name.clone(), held.reason.clone()))
        };
        let blue = self.endpoint(name)?.record.serving.version.to_string();
        Ok(Before { blue, raised: names.iter().filter_map(raised).collect() })
    }

    /// Remembers a report for as long as it holds for one of the shifts that heard it: the next shift may watch the same alarm.
    pub(super) fn hold(&mut self, report: &Report, lease: Duration) {
        let now = self.links.timer.now();
        self.held.retain(|_, held| held.until > now);
        let Report { name, state, actor: _, reason } = report;
        let held = Held { state: *state, reason: reason.clone(), until: now.after(lease) };
        self.held.insert(name.clone(), held);
    }

    /// For how long an alarm that no running shift watches would still keep one from starting.
    pub(super) fn still_raised(&self, name: &str) -> Option<Duration> {
        let now = self.links.timer.now();
        let held = self.held.get(name).filter(|held| held.state == AlarmState::Alarm)?;
        Some(held.until.since(now)).filter(|left| !left.is_zero())
    }
}
