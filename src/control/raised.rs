//! External alarms before a shift: a shift that begins with a raised alarm would only roll back, so it is refused.
//!
//! Amazon does not say what becomes of a SageMaker deployment whose alarm is raised already. A refusal costs nothing but words, and a roll
//! back would have provisioned green for nothing.
//!
//! A shift that waited was looked at when it was asked for, which may be hours ago. So when its turn comes its alarms are looked at once more
//! ([`Task::look_again`]): polled ones are asked beside the control task, which goes on meanwhile.

use std::time::Duration;

use futures_util::future::join_all;

use super::{
    ControlError, Handle,
    ask::Ask,
    asking::{Inquire, Inquiry},
    external::Report,
    poller::Poller,
    task::{Note, Task},
};
use crate::{
    alarm::{AlarmState, Answer, External, Subject},
    config::PlanSpec,
    lint::{Finding, Severity},
    name::{EndpointName, ShiftId},
    store::QueuedShift,
    time::Moment,
    tls::Keychain,
};

/// Whoever starts a shift waits so long at most for polled alarms to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How old answers for a queued shift may be when it begins: a freeze may have come in between.
const FRESH: Duration = PATIENCE;

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

/// The look at the polled alarms of a queued shift whose turn has come.
#[derive(Clone, Debug)]
pub(super) struct SecondLook {
    shift: ShiftId,
    /// When the answers were there, and what they led to; `None` while they are awaited.
    found: Option<(Moment, Vec<Finding>)>,
}

impl SecondLook {
    /// Whether a shift's alarms are being asked.
    pub(super) fn awaits(&self, shift: &ShiftId) -> bool {
        self.shift == *shift && self.found.is_none()
    }
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
        let mut findings = reported(externals, raised);
        findings.extend(ask_all(&*self.inquirer, &self.keychain, externals, &subject).await);
        Ok(findings)
    }
}

/// The findings of alarms that were reported raised.
fn reported(externals: &[External], raised: Vec<(String, String)>) -> Vec<Finding> {
    let found = raised.into_iter().map(|(name, reason)| raised_finding(&name, &reported_text(&reason)));
    found.map(|finding| heeding(externals, finding)).collect()
}

/// Asks once for the state of every polled alarm, all at the same time.
async fn ask_all(
    inquirer: &dyn Inquire,
    keychain: &Keychain,
    externals: &[External],
    subject: &Subject,
) -> Vec<Finding> {
    let polled = externals.iter().filter_map(|external| Some((&external.name, external.poll.as_ref()?)));
    let asked = polled.map(|(name, poll)| {
        let inquiry = Inquiry::new(name, poll, subject.clone(), keychain);
        ask_once(inquirer, inquiry)
    });
    let found = join_all(asked).await.into_iter().flatten();
    found.map(|finding| heeding(externals, finding)).collect()
}

async fn ask_once(inquirer: &dyn Inquire, mut inquiry: Inquiry) -> Option<Finding> {
    let asked = tokio::time::timeout(PATIENCE, inquiry.ask(inquirer)).await;
    let (name, poll) = (&inquiry.alarm, &inquiry.poll);
    match asked.unwrap_or_else(|_| Err("no answer within 5s".to_owned())) {
        Ok(Answer { state: AlarmState::Alarm, reason, value: _ }) if poll.datapoints == 1 => {
            Some(raised_finding(name, &answered_text(&reason)))
        }
        Ok(Answer { state: AlarmState::Alarm, reason, value: _ }) => {
            let message = format!("{}; {} such answers raise it", answered_text(&reason), poll.datapoints);
            Some(finding(Severity::Warning, NEAR, name, message))
        }
        Ok(Answer { state: AlarmState::Ok | AlarmState::InsufficientData, .. }) => None,
        Err(reason) => {
            let message = format!(
                "it could not be asked: {reason}; after {} failures in a row it says {}",
                poll.errors,
                poll.on_error.as_str().replace('_', " ")
            );
            Some(finding(Severity::Warning, UNASKED, name, message))
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
        code: IGNORED.to_owned(),
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

/// What a look at external alarms may find, by code.
const RAISED: &str = "alarm_raised";
const IGNORED: &str = "alarm_ignored";
const NEAR: &str = "alarm_near";
const UNASKED: &str = "poll_failed";

/// Puts what a later look at external alarms has found in the place of what an earlier one had.
pub(super) fn with_later_look(findings: Vec<Finding>, later: Vec<Finding>) -> Vec<Finding> {
    let is_of_look = |finding: &Finding| [RAISED, IGNORED, NEAR, UNASKED].contains(&finding.code.as_str());
    findings.into_iter().filter(|finding| !is_of_look(finding)).chain(later).collect()
}

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
    /// What the external alarms of a queued shift say now that its turn has come; `None` while those that are polled are asked. The answers
    /// come as a note.
    pub(super) fn look_again(&mut self, queued: &QueuedShift) -> Option<Result<Vec<Finding>, ControlError>> {
        let QueuedShift { id, endpoint: name, plan, .. } = queued;
        let externals = plan.alarms.externals.clone();
        let names: Vec<_> = externals.iter().map(|external| external.name.clone()).collect();
        let Before { blue, raised } = match self.before(name, &names) {
            Ok(before) => before,
            Err(error) => return Some(Err(error)),
        };
        let now = self.links.timer.now();
        let endpoint = self.endpoints.get_mut(name)?;
        let of_polls = match endpoint.second_look.take() {
            _ if externals.iter().all(|external| external.poll.is_none()) => Vec::new(),
            Some(SecondLook { shift, found: Some((at, findings)) })
                if shift == *id && now.since(at) <= FRESH =>
            {
                findings
            }
            Some(_) | None => {
                endpoint.second_look = Some(SecondLook { shift: id.clone(), found: None });
                let subject = Subject {
                    endpoint: name.to_string(),
                    shift: id.to_string(),
                    blue,
                    green: plan.green.version.to_string(),
                };
                let Poller { inquirer, keychain, notes } = self.links.poller.clone();
                let (endpoint, shift) = (name.clone(), id.clone());
                tokio::spawn(async move {
                    let findings = ask_all(&*inquirer, &keychain, &externals, &subject).await;
                    // Without anyone to hear it, nothing begins any more.
                    drop(notes.send(Note::Looked { endpoint, shift, findings }).await);
                });
                return None;
            }
        };
        let mut findings = reported(&externals, raised);
        findings.extend(of_polls);
        Some(refuse_raised(name, &findings).map(|()| findings))
    }

    /// The answers for a queued shift are there; whose turn it is, is looked at next.
    pub(super) fn looked(&mut self, name: &EndpointName, shift: &ShiftId, findings: Vec<Finding>) {
        let now = self.links.timer.now();
        let look = self.endpoints.get_mut(name).and_then(|endpoint| endpoint.second_look.as_mut());
        if let Some(look) = look.filter(|look| look.awaits(shift)) {
            look.found = Some((now, findings));
        }
    }

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
