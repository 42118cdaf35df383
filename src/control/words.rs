//! What control says: why a shift's state changed and what comes next, as sentences.

use std::time::Duration;

use super::{Actor, run::By};
use crate::{
    shift::{Cause, Input, PauseReason, ShiftPlan, Standing, State},
    time::{Moment, format_duration},
    trial::cause_text,
};

/// What a shift in this state does next, and when, if it is a matter of time.
pub(super) fn next(state: &State, plan: &ShiftPlan) -> (String, Option<Moment>) {
    let steps = plan.steps();
    let after = |step: usize| match steps.get(step + 1) {
        Some(next) => format!("step {} of {}: {} to green", step + 2, steps.len(), next.share),
        None => last(plan.limits().termination_wait),
    };
    match state {
        State::Preparing { ready_by } => {
            let share = steps.first().map(|step| step.share).unwrap_or_default();
            let what = format!(
                "step 1 of {}: {share} to green, once every instance of green is healthy; rollback at the deadline",
                steps.len()
            );
            (what, Some(*ready_by))
        }
        State::Baking { step, ends } => (after(*step), Some(*ends)),
        State::Holding { step } => {
            (format!("as soon as the alarms have enough data, {}", after(*step)), None)
        }
        State::Paused { step, reason: PauseReason::Approval, .. } => {
            (format!("waits for approval (resume) before {}", after(*step)), None)
        }
        State::Paused { step, remaining, reason: PauseReason::Operator } => {
            let rest = format_duration(rounded(*remaining));
            (format!("waits for resume; then {rest} of the bake is left before {}", after(*step)), None)
        }
        State::RetiringBatch { step, drain_by } => {
            let what = format!("blue's batch goes when it has nothing in flight; then {}", after(*step));
            (what, Some(*drain_by))
        }
        State::PreparingBatch { step, ready_by } => {
            let what = format!("{}, once its batch is healthy; rollback at the deadline", after(*step - 1));
            (what, Some(*ready_by))
        }
        State::HoldingBatch { step } => {
            (format!("as soon as the alarms have enough data, {}", after(*step - 1)), None)
        }
        State::TerminationWait { ends } => ("blue goes".to_owned(), Some(*ends)),
        State::Retiring { drain_by } => (
            "blue goes when it has nothing in flight, at the latest at its drain deadline".to_owned(),
            Some(*drain_by),
        ),
        State::RollingBack { drain_by, .. } => (
            "green goes when it has nothing in flight, at the latest at its drain deadline".to_owned(),
            Some(*drain_by),
        ),
        State::ReleasingBatch { drain_by, .. } => (
            "blue's missing instances are made when what green does not need any more has nothing in flight"
                .to_owned(),
            Some(*drain_by),
        ),
        State::Restoring { ready_by, .. } => (
            "blue gets more, once its missing instances are healthy; the rollback fails at the deadline"
                .to_owned(),
            Some(*ready_by),
        ),
        State::RollbackFailed { .. } => {
            ("nothing: the shift is over, and the next one replaces what serves".to_owned(), None)
        }
        State::Promoted | State::RolledBack { .. } => ("nothing: the shift is over".to_owned(), None),
    }
}

fn last(termination_wait: Duration) -> String {
    if termination_wait.is_zero() {
        "green is the fleet in service and blue goes".to_owned()
    } else {
        format!("blue is kept warm for {}", format_duration(termination_wait))
    }
}

/// Who or what changed a shift's state, and why in a sentence.
pub(super) fn change(input: &Input, by: &By, before: &State, after: &State) -> (String, String) {
    let actor = match by {
        By::Operator(actor) => actor.name.clone(),
        By::Itself => actor_of(input, before, after).to_owned(),
    };
    let goes_back = before.has_way_back() && !after.has_way_back();
    let why = match (after.cause().filter(|_| goes_back), input) {
        (Some(why), _) => cause_text(why),
        (_, Input::Start) => "accepted: green is provisioned and must become ready".to_owned(),
        (_, Input::GreenReady(Standing::Held { why })) => {
            format!("every instance of green is healthy, but {why}")
        }
        (_, Input::GreenReady(_)) => "every instance of green is healthy".to_owned(),
        (_, Input::BlueReady) => "blue's missing instances are healthy".to_owned(),
        (_, Input::GreenFailed { reason } | Input::BlueFailed { reason }) => reason.clone(),
        (_, Input::GreenGone) => "every instance of green fails its health checks".to_owned(),
        (_, Input::Drained(side)) => format!("{side} has nothing in flight any more"),
        (_, Input::Restarted { downtime }) => {
            format!("the process started again after {}", format_duration(rounded(*downtime)))
        }
        (_, Input::Command(command, _)) => command.as_str().to_owned(),
        (_, Input::Wake(Standing::Held { why })) => format!("{}, but {why}", over(before)),
        (_, Input::Wake(standing)) => after_wake(before, after, standing),
    };
    match by {
        By::Operator(Actor { reason, .. }) if !reason.is_empty() => (actor, format!("{why}: {reason}")),
        By::Operator(_) | By::Itself => (actor, why),
    }
}

/// What was over when a shift was not let go on.
fn over(before: &State) -> String {
    if let State::Baking { step, .. } = before {
        return format!("the bake of step {} is over", step + 1);
    }
    deadline(before).to_owned()
}

/// Which deadline a state waits for at the longest.
fn deadline(state: &State) -> &'static str {
    let drains = matches!(
        state,
        State::RetiringBatch { .. }
            | State::Retiring { .. }
            | State::RollingBack { .. }
            | State::ReleasingBatch { .. }
    );
    if drains { "the drain deadline passed" } else { "a deadline passed" }
}

/// Why the passing of time, or a changed standing, led from one state to the next.
fn after_wake(before: &State, after: &State, standing: &Standing) -> String {
    if let (State::Baking { step, .. }, Standing::Safe { evidence }) = (before, standing) {
        return format!("step {} ended early: {evidence}", step + 1);
    }
    match (before, after) {
        (State::Holding { .. } | State::HoldingBatch { .. }, _) => {
            "the alarms have enough data and are clear".to_owned()
        }
        (_, State::RollbackFailed { reason, .. }) => reason.clone(),
        (State::Baking { step, .. }, State::Holding { .. }) => {
            format!("the bake of step {} is over, but the alarms have too little data", step + 1)
        }
        (State::Baking { step, .. }, State::Paused { .. }) => {
            format!("the bake of step {} is over, and the step asks for approval", step + 1)
        }
        (State::Baking { step, .. }, _) => format!("the bake of step {} is over and healthy", step + 1),
        (State::TerminationWait { .. }, _) => "the termination wait is over".to_owned(),
        (
            State::RetiringBatch { .. }
            | State::Retiring { .. }
            | State::RollingBack { .. }
            | State::ReleasingBatch { .. }
            | State::Preparing { .. }
            | State::PreparingBatch { .. }
            | State::Paused { .. }
            | State::Restoring { .. }
            | State::Promoted
            | State::RolledBack { .. }
            | State::RollbackFailed { .. },
            _,
        ) => deadline(before).to_owned(),
    }
}

fn actor_of(input: &Input, before: &State, after: &State) -> &'static str {
    if let Some(cause) = after.cause().filter(|_| before.has_way_back()) {
        return match cause {
            Cause::Alarm { .. } | Cause::FailureBudget { .. } => "alarm",
            Cause::Aborted => "operator",
            Cause::ExecutionTimeout | Cause::NoData => "timer",
            Cause::GreenNotReady { .. } | Cause::GreenGone => "prober",
            Cause::Restart => "recovery",
            Cause::EvaluatorStalled => "watchdog",
        };
    }
    match input {
        Input::Start | Input::Command(..) => "operator",
        Input::GreenReady(_) | Input::BlueReady | Input::GreenGone => "prober",
        Input::GreenFailed { .. } | Input::BlueFailed { .. } => "provider",
        Input::Wake(_) => "timer",
        Input::Drained(_) => "drain",
        Input::Restarted { .. } => "recovery",
    }
}

/// A measured time as people read it: to the second, or to the millisecond below one.
fn rounded(span: Duration) -> Duration {
    let unit = if span < Duration::from_secs(1) { Duration::from_millis(1) } else { Duration::from_secs(1) };
    let units = (span + unit / 2).as_nanos() / unit.as_nanos();
    unit.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_times_are_told_to_the_second_and_short_ones_to_the_millisecond() {
        for (nanos, text) in [
            (15_014_516_217, "15s"),
            (59_600_000_000, "1m"),
            (1_499_999_999, "1s"),
            (412_600_000, "413ms"),
            (400_000, "0s"),
        ] {
            assert_eq!(format_duration(rounded(Duration::from_nanos(nanos))), text);
        }
    }
}
