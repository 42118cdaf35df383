//! Why a shift is where it is, in sentences with numbers.
//!
//! Pure: a view and the time go in, text comes out. The sentences name the same numbers that the representation carries, so whoever
//! doubts one can look it up there.

use std::time::Duration;

use super::words::{capitalised, count, grouped, list, odds, percent, percent_of, span};
use crate::{
    alarm::{
        AlarmEvidence, AlarmState, Compared, ExternalEvidence, GuardBound, RegressionBound, Rule, Telling,
        ThresholdEvidence, Tolerance,
    },
    config::format_quantile,
    control::{Next, ShiftView, Traffic},
    meter::WarmUp,
    shift::{Cause, PauseReason, State},
    time::WallTime,
    trial::{external_text, threshold_text},
};

/// The explanation of a shift, as seen at `now`.
pub(super) fn explain(view: &ShiftView, now: WallTime) -> String {
    let sentences = match &view.state {
        State::Preparing { ready_by: _ } => vec![preparing(view, now)],
        State::Baking { step, ends: _ } => {
            vec![baking(view, *step), warm_up(view), alarms(view), next(&view.next, now)]
        }
        State::Holding { step } => vec![holding(view, *step), warm_up(view), pace(view)],
        State::Paused { step, remaining, reason } => {
            vec![paused(view, *step, *remaining, *reason), alarms(view), ways_out(view, *step, *reason)]
        }
        State::TerminationWait { ends: _ } => vec![termination_wait(view, now), alarms(view)],
        State::Retiring { drain_by: _ } => vec![retiring(view, now)],
        State::RollingBack { cause, drain_by: _ } => {
            vec![format!("Rolling back {}.", cause_clause(view, cause)), timing(view), draining(view, now)]
        }
        State::Promoted => vec![promoted(view), failures(view)],
        State::RolledBack { cause } => {
            vec![
                format!("Rolled back {}.", cause_clause(view, cause)),
                timing(view),
                spared(view),
                kept(view),
            ]
        }
    };
    let said: Vec<String> = sentences.into_iter().filter(|sentence| !sentence.is_empty()).collect();
    said.join(" ")
}

/// Why a shift went back, in a sentence.
pub(super) fn cause_text(view: &ShiftView, cause: &Cause) -> String {
    format!("Rolled back {}.", cause_clause(view, cause))
}

/// The evidence in words: `odds of 1,000 : 1 against chance`.
pub(super) fn odds_text(evidence: &AlarmEvidence) -> String {
    if evidence.ln_e > 0.0 {
        format!("odds of {} against chance", odds(evidence.ln_e))
    } else {
        "no evidence against green".to_owned()
    }
}

fn green(view: &ShiftView) -> String {
    format!("green ({})", view.plan.green.version)
}

fn blue(view: &ShiftView) -> String {
    format!("blue ({})", view.blue_version)
}

fn of_steps(view: &ShiftView, step: usize) -> String {
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

/// How far green has got with its warm-up, where the plan has one.
fn warm_up(view: &ShiftView) -> String {
    let (Some(warm_up), done) = (view.plan.alarms.warm_up, view.green.warm_ups) else { return String::new() };
    let judged = "counted but not judged by how long they take";
    match warm_up {
        WarmUp::Requests(each) => {
            let all = u64::from(each) * view.plan.green.instances.len() as u64;
            if done < all {
                format!(
                    "Green warms up: {} of {} warm-up requests so far, {judged}.",
                    grouped(done),
                    grouped(all)
                )
            } else {
                format!("Green is warm: its first {} were {judged}.", count(done, "request"))
            }
        }
        WarmUp::Time(each) => format!(
            "Requests of each instance's first {} are {judged}: {} so far.",
            span(each),
            grouped(done)
        ),
    }
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

fn at_the_latest(view: &ShiftView, now: WallTime) -> String {
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

fn cause_clause(view: &ShiftView, cause: &Cause) -> String {
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

/// Whether a threshold alarm decided.
fn was_threshold(view: &ShiftView) -> bool {
    match &view.state {
        State::RollingBack { cause: Cause::Alarm { name, .. }, .. }
        | State::RolledBack { cause: Cause::Alarm { name, .. } } => is_threshold(view, name),
        State::RollingBack { .. }
        | State::RolledBack { .. }
        | State::Preparing { .. }
        | State::Baking { .. }
        | State::Holding { .. }
        | State::Paused { .. }
        | State::TerminationWait { .. }
        | State::Retiring { .. }
        | State::Promoted => false,
    }
}

fn is_threshold(view: &ShiftView, name: &str) -> bool {
    view.plan.alarms.thresholds.iter().any(|threshold| threshold.name == name)
}

/// How the alarms stand while a shift runs.
fn alarms(view: &ShiftView) -> String {
    let tests = if view.alarms.is_empty() { None } else { Some(tests(view)) };
    let said: Vec<String> = tests.into_iter().chain(thresholds(view)).chain(externals(view)).collect();
    if said.is_empty() { "The plan has no alarms.".to_owned() } else { said.join(" ") }
}

/// How the external alarms stand; `None` without any.
fn externals(view: &ShiftView) -> Option<String> {
    let said =
        |evidence: &ExternalEvidence| format!("{} {}", evidence.external.name, external_text(evidence));
    let said: Vec<String> = view.externals.iter().map(|external| said(&external.evidence)).collect();
    (!said.is_empty()).then(|| format!("External alarms: {}.", said.join("; ")))
}

/// How the threshold alarms stand; `None` without any.
fn thresholds(view: &ShiftView) -> Option<String> {
    let said = |state: AlarmState| {
        let those = view.thresholds.iter().filter(move |evidence| evidence.state == state);
        let said: Vec<String> = those.map(named_text).collect();
        said.join("; ")
    };
    let states = [
        (AlarmState::Alarm, "raised"),
        (AlarmState::InsufficientData, "too little data"),
        (AlarmState::Ok, "ok"),
    ];
    let parts =
        states.into_iter().map(|(state, word)| (word, said(state))).filter(|(_, said)| !said.is_empty());
    let parts: Vec<String> = parts.map(|(word, said)| format!("{word}: {said}")).collect();
    (!parts.is_empty()).then(|| format!("Thresholds {}.", parts.join("; ")))
}

/// `slow (latency p90 above 300ms in 2 of 3 periods of 10s: 1 of the last 3 breach, the newest with 120ms over 20 samples)`
fn named_text(evidence: &ThresholdEvidence) -> String {
    format!("{} ({})", evidence.threshold.name, threshold_text(evidence))
}

/// Threshold and external alarms with too little data: what they are called, and what they say.
fn silent(view: &ShiftView) -> Vec<(String, String)> {
    let lacks = AlarmState::InsufficientData;
    let thresholds = view.thresholds.iter().filter(|evidence| evidence.state == lacks);
    let externals = view.externals.iter().map(|external| &external.evidence);
    let externals = externals.filter(|evidence| evidence.state == lacks);
    thresholds
        .map(|evidence| (format!("threshold {}", evidence.threshold.name), threshold_text(evidence)))
        .chain(
            externals.map(|evidence| {
                (format!("external alarm {}", evidence.external.name), external_text(evidence))
            }),
        )
        .collect()
}

/// How guards and regressions stand, of which there is at least one.
fn tests(view: &ShiftView) -> String {
    let all = || view.alarms.iter().map(|alarm| &alarm.evidence);
    let raised: Vec<String> =
        all().filter(|evidence| evidence.state == AlarmState::Alarm).map(called).collect();
    let lacking = lacking(view);
    let nearest = view.alarms.iter().max_by(|left, right| left.nearness.total_cmp(&right.nearness));
    match (nearest, raised.as_slice(), lacking.as_slice()) {
        (None, _, _) => String::new(),
        (Some(_), [_, ..], _) => format!("Raised: {}.", list(&raised)),
        (Some(_), [], [_, ..]) => {
            let who = if lacking.len() == 1 { "it" } else { "they" };
            format!("No alarm is raised, but {} before {who} can tell.", lacking_clause(&lacking))
        }
        (Some(nearest), [], []) => {
            let evidence = &nearest.evidence;
            let which = match view.alarms.len() {
                1 => format!("{} is not raised", capitalised(&called(evidence))),
                _ => format!("No alarm is raised; nearest is {}", called(evidence)),
            };
            format!(
                "{which}: {}; {}, needed {}.",
                counted(evidence),
                odds_text(evidence),
                odds(evidence.threshold)
            )
        }
    }
}

fn lacking(view: &ShiftView) -> Vec<&AlarmEvidence> {
    let all = view.alarms.iter().map(|alarm| &alarm.evidence);
    all.filter(|evidence| evidence.state == AlarmState::InsufficientData).collect()
}

/// `guard a needs 12 more of green's requests and guard b needs 1 more`
fn lacking_clause(lacking: &[&AlarmEvidence]) -> String {
    let mut needs = Vec::new();
    for evidence in lacking {
        let of_what = if needs.is_empty() { " of green's requests" } else { "" };
        needs.push(format!("{} needs {} more{of_what}", called(evidence), grouped(evidence.missing)));
    }
    list(&needs)
}

fn called(evidence: &AlarmEvidence) -> String {
    match evidence.rule {
        Rule::Guard(_) => format!("guard {}", evidence.name),
        Rule::Regression { .. } => format!("regression {}", evidence.name),
    }
}

/// `28 of green's last 41 requests failed (68.3%), permitted below 1%`
fn counted(evidence: &AlarmEvidence) -> String {
    let permitted = percent(evidence.rule.permitted());
    let (failed, permitted) = match evidence.rule {
        Rule::Guard(GuardBound::ErrorRate { below: _ }) => {
            ("failed".to_owned(), format!("permitted below {permitted}"))
        }
        Rule::Guard(GuardBound::Latency { quantile: _, below }) => {
            (format!("took {} or longer", span(below)), format!("permitted at most {permitted}"))
        }
        Rule::Regression { bound, compared } => (compared_by(&bound, &compared), blues(&bound, &compared)),
    };
    let (failures, all, last, only) = match evidence.telling() {
        Telling::All { requests, failures } => (failures, requests, "", "only"),
        Telling::Last { requests, failures } => (failures, requests, "last ", "last"),
    };
    let requests = format!("green's {last}{}", count(all, "request"));
    let happened = match (failures, all) {
        (_, 0) => return format!("green has had no request yet, {permitted}"),
        (0, _) => format!("none of {requests} {failed}"),
        (1, 1) => format!("green's {only} request {failed}"),
        (failures, all) if failures >= all => format!("all of {requests} {failed}"),
        (failures, all) => {
            format!("{} of {requests} {failed} ({})", grouped(failures), percent_of(failures, all))
        }
    };
    format!("{happened}, {permitted}")
}

/// What green's bad requests did: `failed`, `took 148 ms or longer, 1.2 times blue's p95`.
fn compared_by(bound: &RegressionBound, compared: &Compared) -> String {
    match (bound, compared.quantile, compared.times) {
        (RegressionBound::ErrorRate { .. }, ..) => "failed".to_owned(),
        (RegressionBound::ClientErrorRate { .. }, ..) => "were answered with a client error".to_owned(),
        (RegressionBound::Latency { ratio, .. }, Some(quantile), Some((green, _))) => {
            let times = if *ratio > 1.0 { format!("{ratio} times ") } else { String::new() };
            format!("took {} or longer, {times}blue's {}", span(green), format_quantile(quantile))
        }
        (RegressionBound::Latency { .. }, ..) => "were slow".to_owned(),
    }
}

/// Blue's side: `so did 31 of blue's 5,508 requests (0.6%), 1.5 times blue's rate permitted`.
fn blues(bound: &RegressionBound, compared: &Compared) -> String {
    let Compared { blue_requests, blue_failures, quantile: _, times } = *compared;
    let requests = format!("blue's {}", count(blue_requests, "request"));
    let seen = match (blue_requests, blue_failures, bound) {
        (0, ..) => return "and blue has had none to compare with".to_owned(),
        (_, 0, _) => format!("none of {requests} did"),
        (_, failed, RegressionBound::ErrorRate { .. } | RegressionBound::ClientErrorRate { .. }) => {
            format!("so did {} of {requests} ({})", grouped(failed), percent_of(failed, blue_requests))
        }
        (_, slow, RegressionBound::Latency { .. }) => {
            let time = times.map(|(_, blue)| format!(" took {} or longer", span(blue))).unwrap_or_default();
            format!("{} of {requests}{time} ({})", grouped(slow), percent_of(slow, blue_requests))
        }
    };
    match bound {
        RegressionBound::ErrorRate { tolerance } | RegressionBound::ClientErrorRate { tolerance } => {
            match tolerance {
                Tolerance::Ratio(1.0) => seen,
                Tolerance::Ratio(ratio) => format!("{seen}, {ratio} times blue's rate permitted"),
                Tolerance::Points(points) => format!("{seen}, {} more permitted", percent(*points)),
            }
        }
        RegressionBound::Latency { .. } => seen,
    }
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
fn unended(text: &str) -> &str {
    text.trim_end_matches('.')
}
