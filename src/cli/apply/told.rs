//! What is said about an application: the difference before it, and how it went.

use serde_json::{Value, json};

use super::{
    decide::{Change, Step},
    files::Desired,
};
use crate::cli::{
    CliError,
    client::{Answer, ClientError},
    paint::{Tone, toned},
};

/// An endpoint with what is to be done about it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: String,
    /// `None` for one that is in no file.
    pub(super) desired: Option<Desired>,
    pub(super) steps: Vec<Step>,
    pub(super) outcome: Outcome,
    /// The shift that was started or is under way.
    pub(super) shift: Option<String>,
    /// Why it failed, or how its shift ended.
    pub(super) note: Option<String>,
}

/// How far it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Nothing is decided, or nothing had to be done.
    Open,
    Changed,
    StillRunning,
    Failed,
}

impl Plan {
    pub(super) fn of(desired: Desired, steps: Vec<Step>) -> Self {
        let name = desired.spec.name.to_string();
        let (mut outcome, mut shift, mut note) = (Outcome::Open, None, None);
        for step in &steps {
            match step {
                Step::Underway { shift: id } => shift = Some(id.clone()),
                Step::WentBack { shift } => {
                    outcome = Outcome::Failed;
                    note = Some(format!(
                        "{shift} to this version by this plan went back: `snapback shift explain {shift}` says why; \
                         change the version or the plan, or add --retry"
                    ));
                }
                Step::NeedsPlan { serving } => {
                    outcome = Outcome::Failed;
                    note = Some(format!(
                        "{serving} was promoted over the declared version: put a plan beside the file to go back by a shift"
                    ));
                }
                Step::Create | Step::Update { .. } | Step::Replace { .. } | Step::Shift { .. } => {}
            }
        }
        Self { name, desired: Some(desired), steps, outcome, shift, note }
    }

    /// One that is to go.
    pub(super) fn superfluous(name: String) -> Self {
        Self { name, desired: None, steps: Vec::new(), outcome: Outcome::Open, shift: None, note: None }
    }

    pub(super) fn is_superfluous(&self) -> bool {
        self.desired.is_none()
    }

    /// Whether it asks for a change of anything.
    pub(super) fn changes(&self) -> bool {
        if self.outcome == Outcome::Failed {
            return false;
        }
        self.is_superfluous()
            || self.steps.iter().any(|step| match step {
                Step::Create | Step::Update { .. } | Step::Replace { .. } | Step::Shift { .. } => true,
                Step::Underway { .. } | Step::WentBack { .. } | Step::NeedsPlan { .. } => false,
            })
    }

    /// What the server refuses of one endpoint keeps no other from being applied; a server that is away does.
    pub(super) fn keep(
        &mut self,
        sent: Result<Option<Answer>, ClientError>,
    ) -> Result<Option<Answer>, CliError> {
        match sent {
            Ok(answer) => Ok(answer),
            Err(error) if error.is_refusal() => {
                self.outcome = Outcome::Failed;
                self.note = Some(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn word(&self) -> &'static str {
        if self.is_superfluous() {
            return "delete";
        }
        let mut words = self.steps.iter().map(|step| match step {
            Step::Create => "create",
            Step::Update { .. } => "update",
            Step::Replace { .. } => "replace",
            Step::Shift { .. } => "shift",
            Step::Underway { .. } => "underway",
            Step::WentBack { .. } | Step::NeedsPlan { .. } => "refused",
        });
        words.next_back().unwrap_or("unchanged")
    }
}

/// What would be done, an endpoint after the other.
pub(super) fn difference(plans: &[Plan]) -> String {
    let mut lines: Vec<String> = plans.iter().flat_map(lines).collect();
    let count = plans.iter().filter(|plan| plan.changes()).count();
    lines.push(match count {
        0 => "nothing to change".to_owned(),
        1 => "1 endpoint to change".to_owned(),
        _ => format!("{count} endpoints to change"),
    });
    lines.join("\n")
}

fn lines(plan: &Plan) -> Vec<String> {
    let Plan { name, .. } = plan;
    let to = plan.desired.as_ref().map(|desired| desired.spec.blue.version.to_string()).unwrap_or_default();
    let mut lines = Vec::new();
    if plan.is_superfluous() {
        lines.push(toned(Some(Tone::Bad), &format!("- endpoint {name}: deleted; it is in no file")));
    }
    for step in &plan.steps {
        match step {
            Step::Create => {
                lines.push(toned(Some(Tone::Good), &format!("+ endpoint {name}: created, {to} serves")))
            }
            Step::Update { changes, .. } => {
                lines.push(toned(Some(Tone::Caution), &format!("~ endpoint {name}: changed in place")));
                lines.extend(changes.iter().map(changed));
            }
            Step::Replace { changes, from, .. } => {
                let text = format!(
                    "~ endpoint {name}: {from} is replaced by {to} at once, since no plan belongs to it"
                );
                lines.push(toned(Some(Tone::Bad), &text));
                lines.extend(changes.iter().map(changed));
            }
            Step::Shift { from } => {
                let text = format!("~ endpoint {name}: a shift brings {to} in for {from}");
                lines.push(toned(Some(Tone::Caution), &text));
            }
            Step::Underway { shift } => {
                lines.push(format!("  endpoint {name}: {shift} to {to} is under way"))
            }
            Step::WentBack { .. } | Step::NeedsPlan { .. } => {}
        }
    }
    if lines.is_empty() && plan.note.is_none() {
        lines.push(format!("  endpoint {name}: unchanged"));
    }
    lines
        .extend(plan.note.as_ref().map(|note| toned(Some(Tone::Bad), &format!("! endpoint {name}: {note}"))));
    lines
}

fn changed(change: &Change) -> String {
    let Change { key, before, after } = change;
    match (before, after) {
        (None, Some(after)) => format!("    + {key} = {after}"),
        (Some(before), None) => format!("    - {key} = {before}"),
        (before, after) => {
            let text = |value: &Option<Value>| value.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("    ~ {key} = {} -> {}", text(before), text(after))
        }
    }
}

/// How it went.
pub(super) fn summary(plans: &[Plan]) -> String {
    let of = |outcome: Outcome| plans.iter().filter(|plan| plan.outcome == outcome).count();
    let failed = plans.iter().filter(|plan| plan.outcome == Outcome::Failed);
    let notes: Vec<String> =
        failed.map(|plan| format!("{}: {}", plan.name, plan.note.as_deref().unwrap_or("failed"))).collect();
    let (changed, failed, running) = (of(Outcome::Changed), of(Outcome::Failed), of(Outcome::StillRunning));
    let rest = plans.len().saturating_sub(changed + failed + running);
    let running = if running == 0 { String::new() } else { format!(", {running} still running") };
    format!("{}\n{changed} changed, {rest} unchanged, {failed} failed{running}", notes.join("\n"))
        .trim_start()
        .to_owned()
}

/// The same for programs.
pub(super) fn document(plans: &[Plan], is_dry: bool) -> Value {
    let endpoints: Vec<Value> = plans
        .iter()
        .map(|plan| {
            let changes = plan.steps.iter().flat_map(|step| match step {
                Step::Update { changes, .. } | Step::Replace { changes, .. } => changes.as_slice(),
                Step::Create
                | Step::Shift { .. }
                | Step::Underway { .. }
                | Step::WentBack { .. }
                | Step::NeedsPlan { .. } => &[],
            });
            let changes: Vec<Value> = changes
                .map(|change| json!({ "key": change.key, "before": change.before, "after": change.after }))
                .collect();
            json!({
                "name": plan.name,
                "action": plan.word(),
                "changes": changes,
                "shift": plan.shift,
                "failed": plan.outcome == Outcome::Failed,
                "note": plan.note,
            })
        })
        .collect();
    json!({ "changed": plans.iter().any(Plan::changes), "dry_run": is_dry, "endpoints": endpoints })
}
