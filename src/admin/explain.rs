//! Why a shift is where it is, in sentences with numbers.
//!
//! Pure: a view and the time go in, text comes out. The sentences name the same numbers that the representation carries, so whoever
//! doubts one can look it up there.

use std::time::Duration;

use super::{
    counted::counted,
    explain_rolling,
    pace::{early_end, warm_up},
    standing::{alarms, called, lacking, lacking_clause, odds_text, silent},
    words::{capitalised, count, grouped, list, odds, percent, percent_of, span},
};
use crate::{
    control::{Fate, Lineage, Next, ShiftView, Traffic},
    shift::{Cause, PauseReason, State},
    time::WallTime,
};

/// The explanation of a shift, as seen at `now`.
pub(super) fn explain(view: &ShiftView, now: WallTime) -> String {
    let sentences = match &view.state {
        State::Preparing { ready_by: _ } => vec![preparing(view, now)],
        State::Baking { step, ends: _ } => {
            vec![
                baking(view, *step),
                restarted(view),
                warm_up(view),
                alarms(view),
                early_end(view),
                next(&view.next, now),
            ]
        }
        State::Holding { step } if view.held.is_some() => {
            vec![held_up(view, *step), restarted(view), alarms(view)]
        }
        State::Holding { step } => vec![holding(view, *step), restarted(view), warm_up(view), pace(view)],
        State::Paused { step, remaining, reason } => {
            vec![
                paused(view, *step, *remaining, *reason),
                restarted(view),
                alarms(view),
                ways_out(view, *step, *reason),
            ]
        }
        State::RetiringBatch { step, drain_by: _ } => {
            vec![explain_rolling::retiring_batch(view, *step, now), alarms(view)]
        }
        State::PreparingBatch { step, ready_by: _ } => {
            vec![explain_rolling::preparing_batch(view, *step, now), alarms(view)]
        }
        State::HoldingBatch { step } => vec![explain_rolling::holding_batch(view, *step), pace(view)],
        State::TerminationWait { ends: _ } => vec![termination_wait(view, now), alarms(view)],
        State::Retiring { drain_by: _ } => vec![retiring(view, now)],
        State::RollingBack { cause, drain_by: _ } => {
            vec![
                format!("Rolling back {}.", cause_clause(view, cause)),
                timing(view),
                short(view),
                fate(view),
                draining(view, now),
            ]
        }
        State::ReleasingBatch { cause, back, drain_by: _ }
        | State::Restoring { cause, back, ready_by: _ } => {
            vec![explain_rolling::back(view, cause, *back), timing(view)]
        }
        State::RollbackFailed { cause, reason, back: _ } => {
            vec![explain_rolling::failed(view, cause, reason), timing(view), spared(view)]
        }
        State::Promoted => vec![promoted(view), failures(view)],
        State::RolledBack { cause } => {
            vec![
                format!("Rolled back {}.", cause_clause(view, cause)),
                timing(view),
                short(view),
                fate(view),
                spared(view),
                kept(view),
            ]
        }
    };
    let said: Vec<String> = [lineage(view)]
        .into_iter()
        .chain(sentences)
        .chain([held(view)])
        .filter(|sentence| !sentence.is_empty())
        .collect();
    said.join(" ")
}

/// What the shift has to do with others; nothing where it stands alone.
fn lineage(view: &ShiftView) -> String {
    let Lineage { undoes, supersedes, superseded_by } = &view.lineage;
    let said = [
        undoes.as_ref().map(|undone| format!("The undo of {undone}.")),
        supersedes.as_ref().map(|other| format!("It superseded {other}, which was rolled back for it.")),
        superseded_by.as_ref().map(|other| format!("It makes way for {other}.")),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What a restart did to a running shift; nothing without one.
fn restarted(view: &ShiftView) -> String {
    let evidence = "guards, regressions and thresholds count from there, and reports hold for their leases";
    match view.restarts {
        0 => String::new(),
        1 => format!("Snapback has started again during the shift: the step bakes anew, {evidence}."),
        times => format!(
            "Snapback has started again {times} times during the shift: the step bakes anew each time, {evidence}."
        ),
    }
}

/// Who or what keeps a shift from going on.
fn held(view: &ShiftView) -> String {
    let Some(why) = &view.held else { return String::new() };
    format!(
        "It may not go on: {why}. Alarms, aborts and its execution timeout of {} count as ever.",
        span(view.plan.shift.limits().execution_timeout)
    )
}

/// Why a shift went back, in a sentence.
pub(super) fn cause_text(view: &ShiftView, cause: &Cause) -> String {
    format!("Rolled back {}.", cause_clause(view, cause))
}

pub(super) fn green(view: &ShiftView) -> String {
    format!("green ({})", view.plan.green.version)
}

pub(super) fn blue(view: &ShiftView) -> String {
    format!("blue ({})", view.blue_version)
}

pub(super) fn of_steps(view: &ShiftView, step: usize) -> String {
    format!("step {} of {}", step + 1, view.plan.shift.steps().len())
}

fn preparing(view: &ShiftView, now: WallTime) -> String {
    let first = view.plan.shift.steps().first().map_or(view.share, |step| step.share);
    let deadline = view.next.at.map_or_else(String::new, |at| {
        format!(" If that takes more than another {}, the shift rolls back.", until(at, now))
    });
    format!(
        "Preparing: {} must be ready before it gets its first {first}, and gets nothing yet.{deadline}",
        green(view)
    )
}

fn baking(view: &ShiftView, step: usize) -> String {
    let got = match view.share_got {
        Some(got) => format!("has had {} of the requests since", percent(got)),
        None => "has had no request since".to_owned(),
    };
    format!("Baking {}: {} is to get {} and {got}.", of_steps(view, step), green(view), view.share)
}

/// Holding though the alarms would let it go on.
fn held_up(view: &ShiftView, step: usize) -> String {
    format!(
        "Holding at {}: the bake is over. {} keeps {}.",
        of_steps(view, step),
        capitalised(&green(view)),
        view.share
    )
}

fn holding(view: &ShiftView, step: usize) -> String {
    let lacking = lacking(view);
    let silent: Vec<String> =
        silent(view).into_iter().map(|(called, text)| format!("{called} ({text})")).collect();
    let why = match (lacking.as_slice(), silent.as_slice()) {
        ([], []) => "the alarms had too little data when last looked at".to_owned(),
        ([], silent) => format!("there is too little data for {}", silent.join("; for ")),
        (lacking, _) => format!("{} before the shift can go on", lacking_clause(lacking)),
    };
    format!(
        "Holding at {}: the bake is over, but {why}. {} keeps {}.",
        of_steps(view, step),
        capitalised(&green(view)),
        view.share
    )
}

/// How long the missing data will take at the rate of the last seconds.
fn pace(view: &ShiftView) -> String {
    let missing = lacking(view).iter().map(|evidence| evidence.missing).max().unwrap_or(0);
    let rate = view.green_recent.rate;
    if missing == 0 {
        String::new()
    } else if rate > 0.0 {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let wait = Duration::try_from_secs_f64(missing as f64 / rate).unwrap_or(Duration::MAX);
        format!("At green's {rate:.1} requests a second that takes about {}.", span(wait))
    } else {
        "Green gets no requests at present.".to_owned()
    }
}

fn paused(view: &ShiftView, step: usize, remaining: Duration, reason: PauseReason) -> String {
    match reason {
        PauseReason::Operator => format!(
            "Paused at {} by {}, with {} of its bake left: {} keeps {}, and the alarms go on.",
            of_steps(view, step),
            actor_of(view, "paused"),
            span(remaining),
            green(view),
            view.share
        ),
        PauseReason::Approval => format!(
            "Waiting for approval at {}: the bake is over, {} keeps {}, and the alarms go on.",
            of_steps(view, step),
            green(view),
            view.share
        ),
    }
}

fn ways_out(view: &ShiftView, step: usize, reason: PauseReason) -> String {
    let resume = match (reason, view.plan.shift.steps().get(step + 1)) {
        (PauseReason::Operator, _) => "Resume goes on with the bake".to_owned(),
        (PauseReason::Approval, Some(after)) => {
            format!("Resume goes on to {}, {} to green", of_steps(view, step + 1), after.share)
        }
        (PauseReason::Approval, None) => "Resume lets blue go".to_owned(),
    };
    format!("{resume}; promote skips the remaining bakes; abort rolls back.")
}

fn termination_wait(view: &ShiftView, now: WallTime) -> String {
    let left = view.next.at.map_or_else(String::new, |at| format!(" for another {}", until(at, now)));
    format!(
        "{} has all requests and has passed its last bake; {} is kept warm{left}.",
        capitalised(&green(view)),
        blue(view)
    )
}

fn retiring(view: &ShiftView, now: WallTime) -> String {
    let what = match view.blue.in_flight {
        0 => "has nothing in flight and goes".to_owned(),
        running => {
            format!("finishes {} and goes{}", count(running, "running request"), at_the_latest(view, now))
        }
    };
    format!("{} has all requests; {} {what}.", capitalised(&green(view)), blue(view))
}

fn draining(view: &ShiftView, now: WallTime) -> String {
    let what = match view.green.in_flight {
        0 => "has nothing in flight".to_owned(),
        running => format!("finishes {}{}", count(running, "running request"), at_the_latest(view, now)),
    };
    format!("{} has all requests; {} {what}.", capitalised(&blue(view)), green(view))
}

pub(super) fn at_the_latest(view: &ShiftView, now: WallTime) -> String {
    view.next.at.map_or_else(String::new, |at| format!(", at the latest in {}", until(at, now)))
}

fn promoted(view: &ShiftView) -> String {
    let steps = count(view.plan.shift.steps().len() as u64, "step");
    let took = view
        .moments
        .ended_at
        .map_or_else(String::new, |ended| format!(", {} after the start", until(ended, view.started_at)));
    format!("Promoted: {} went through {steps} and is the fleet in service{took}.", green(view))
}

fn failures(view: &ShiftView) -> String {
    let counted = settled(&view.green);
    match (counted, view.green.failed) {
        (0, _) => "It had no request during the shift.".to_owned(),
        (_, 0) => format!("None of its {} failed.", count(counted, "request")),
        (_, failed) => format!(
            "Of its {}, {} failed ({}){}.",
            count(counted, "request"),
            grouped(failed),
            percent_of(failed, counted),
            rescues(&view.green)
        ),
    }
}

/// The same as a sentence of its own, where none has told the failures.
fn spared(view: &ShiftView) -> String {
    match (view.green.rescued, rescues(&view.green)) {
        (0, _) => String::new(),
        (_, told) => format!("Green failed {}{told}.", count(view.green.failed, "request")),
    }
}

/// What of green's failures clients were spared.
fn rescues(green: &Traffic) -> String {
    let spared = green.rescued.saturating_sub(green.rescue_failed);
    match (spared, green.failed.saturating_sub(spared)) {
        (0, _) => String::new(),
        (_, 0) => "; all of them were rescued, so that no client saw one".to_owned(),
        (spared, _) => format!("; rescue kept {} of them from clients", grouped(spared)),
    }
}

fn kept(view: &ShiftView) -> String {
    format!("{} is the fleet in service.", capitalised(&blue(view)))
}

pub(super) fn cause_clause(view: &ShiftView, cause: &Cause) -> String {
    match cause {
        Cause::Alarm { name, evidence } => alarm_clause(view, name, evidence),
        Cause::FailureBudget { failures } => {
            let reached = count(*failures, "failure");
            match view.plan.alarms.max_failures {
                Some(max) => format!(
                    "because {reached} of green reached clients and the plan ends the shift at {}",
                    grouped(max)
                ),
                None => format!("because {reached} of green reached clients"),
            }
        }
        Cause::Aborted => aborted(view),
        Cause::ExecutionTimeout => format!(
            "because the shift was not over within its execution timeout of {}",
            span(view.plan.shift.limits().execution_timeout)
        ),
        Cause::GreenNotReady { reason } => format!("because green did not become ready: {}", unended(reason)),
        Cause::GreenGone => "because every instance of green failed its health checks".to_owned(),
        Cause::NoData => {
            let tests = lacking(view).into_iter().map(called);
            let others = silent(view).into_iter().map(|(called, _)| called);
            let names: Vec<String> = tests.chain(others).collect();
            let whose = if names.is_empty() { "the alarms".to_owned() } else { list(&names) };
            format!("because a bake ended with too little data for {whose}, which fails by the plan")
        }
        Cause::Restart => "because snapback started again, which ends a shift by the plan".to_owned(),
        Cause::EvaluatorStalled => {
            "because the alarms had not been looked at for a second, and unwatched green gets nothing"
                .to_owned()
        }
    }
}

fn aborted(view: &ShiftView) -> String {
    let how = view.transitions.iter().rev().find(|transition| transition.after == "rolling_back");
    let reason = how.and_then(|transition| transition.cause.split_once(": "));
    let actor = actor_of(view, "rolling_back");
    match reason {
        Some((_, reason)) => format!("by hand: {actor} aborted the shift, saying \"{}\"", unended(reason)),
        None => format!("by hand: {actor} aborted the shift"),
    }
}

fn alarm_clause(view: &ShiftView, name: &str, evidence: &str) -> String {
    let raised = view.alarms.iter().map(|alarm| &alarm.evidence).find(|found| found.name == name);
    match raised {
        Some(raised) => format!(
            "by {}: {}; {}, needed {}",
            called(raised),
            counted(raised),
            odds_text(raised),
            odds(raised.threshold)
        ),
        None => {
            let is_regression = view.plan.alarms.regressions.iter().any(|regression| regression.name == name);
            let is_external = view.plan.alarms.externals.iter().any(|external| external.name == name);
            let kind = match (is_threshold(view, name), is_external, is_regression) {
                (true, ..) => "threshold",
                (false, true, _) => "external alarm",
                (false, false, true) => "regression",
                (false, false, false) => "guard",
            };
            format!("by {kind} {name}: {}", unended(evidence))
        }
    }
}

/// When the decision fell, measured from what led to it, and how fast traffic followed.
fn timing(view: &ShiftView) -> String {
    let mut parts = Vec::new();
    if let Some(decision) = view.decision {
        let what =
            if was_threshold(view) { "period that tipped it was over" } else { "response that tipped it" };
        parts.push(format!("decided {} after the {what}", span(decision)));
    }
    match view.publish_to_last_green_dispatch {
        Some(Duration::ZERO) => {
            parts.push("no request was dealt to green after the table was published".to_owned());
        }
        Some(late) => parts.push(format!(
            "the last request was dealt to green {} after the table was published",
            span(late)
        )),
        None => {}
    }
    match (view.green_responses_to_decision, view.green_in_flight_at_decision) {
        (Some(responses), Some(in_flight)) => {
            let in_flight = if in_flight == 0 { "nothing".to_owned() } else { grouped(in_flight) };
            let settled = count(responses, "request");
            parts.push(format!("by then green had settled {settled} and had {in_flight} in flight"));
        }
        (Some(responses), None) => {
            parts.push(format!("by then green had settled {}", count(responses, "request")));
        }
        (None, _) => {}
    }
    if parts.is_empty() { String::new() } else { format!("{}.", capitalised(&parts.join("; "))) }
}

/// What blue lacked when it took everything back; nothing where it was whole.
fn short(view: &ShiftView) -> String {
    view.blue_short
        .as_ref()
        .map(|short| format!("{}: {short}.", capitalised(&blue(view))))
        .unwrap_or_default()
}

/// What became of green's requests that were open then.
fn fate(view: &ShiftView) -> String {
    let Some(Fate { open, late, finished, rescued, failed, client_gone, running, cut }) = view.fate else {
        return String::new();
    };
    let still = if view.state.is_terminal() { "had not ended at the drain deadline" } else { "still run" };
    let ends = [
        (finished, "finished"),
        (rescued, "went to blue before their clients saw anything"),
        (failed, "failed"),
        (client_gone, "were given up by their clients"),
        (running, still),
        (cut, "were cut by a restart of snapback"),
    ];
    let ends: Vec<String> = ends
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {}", grouped(count), agreed(count, what)))
        .collect();
    match (open + late, ends.as_slice()) {
        (0, _) | (_, []) => String::new(),
        (1, [_, ..]) => format!("Of the one request that green still had, {}.", list(&ends)),
        (all, [_, ..]) => format!("Of the {} that green still had, {}.", count(all, "request"), list(&ends)),
    }
}

/// What several requests did, said of one.
fn agreed(count: u64, what: &str) -> String {
    if count != 1 {
        return what.to_owned();
    }
    let said = what.replace("still run", "still runs").replace("their clients", "its client");
    said.strip_prefix("were ").map_or(said.clone(), |rest| format!("was {rest}"))
}

/// Whether a threshold alarm decided.
fn was_threshold(view: &ShiftView) -> bool {
    matches!(view.state.cause(), Some(Cause::Alarm { name, .. }) if is_threshold(view, name))
}

fn is_threshold(view: &ShiftView, name: &str) -> bool {
    view.plan.alarms.thresholds.iter().any(|threshold| threshold.name == name)
}

fn next(next: &Next, now: WallTime) -> String {
    let Next { what, at } = next;
    match at {
        Some(at) if *at > now => format!("Next, in {}: {}.", until(*at, now), unended(what)),
        Some(_) => format!("Next, due now: {}.", unended(what)),
        None => format!("Next: {}.", unended(what)),
    }
}

/// Who brought the shift into a state.
fn actor_of<'a>(view: &'a ShiftView, state: &str) -> &'a str {
    let last = view.transitions.iter().rev().find(|transition| transition.after == state);
    last.map_or("operator", |transition| &transition.actor)
}

/// Requests that count for or against the fleet.
fn settled(traffic: &Traffic) -> u64 {
    traffic.succeeded + traffic.client_errors + traffic.failed
}

/// In whole seconds: a countdown that showed milliseconds would be out of date when it is read.
fn until(later: WallTime, earlier: WallTime) -> String {
    let millis = u64::try_from(later.as_millis().saturating_sub(earlier.as_millis())).unwrap_or(0);
    match millis / 1_000 {
        0 => "less than 1 s".to_owned(),
        seconds => span(Duration::from_secs(seconds)),
    }
}

/// A reason from elsewhere, without the full stop that it may end in.
pub(super) fn unended(text: &str) -> &str {
    text.trim_end_matches('.')
}
