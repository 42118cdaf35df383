//! What an operator should know of a plan, or change in it.

use std::time::Duration;

use super::{
    Finding, Forecast, Origin, Room, Severity, Sight, Situation, StepForecast,
    forecast::requests,
    periods,
    subject::{Kind, Subject, Topic},
    words::{count, percent, span, time_for},
};
use crate::{
    alarm::{self, BUDGET_CHANCE, Dealing},
    config::PlanSpec,
    shift::{NoData, StrategyKind},
    weight::Share,
};

/// Fewer of blue's requests say too little about it.
const ENOUGH_OF_BLUE: u64 = 100;

/// A blue within its bound shows so many bad requests once in a hundred times at most.
const SURELY_BEYOND: f64 = 0.01;

/// From here on a burst factor is worth writing (statistics: section 6.5).
const BURSTY: f64 = 2.0;

/// With fewer failures than this, how they come together is chance.
const ENOUGH_FAILURES: u64 = 20;

/// Blue has to take its own requests and green's back, and an endpoint's traffic swings by more than this within minutes.
const FULL: f64 = 0.8;

/// All findings, the worst first, otherwise in the order of the plan.
pub(super) fn findings(
    plan: &PlanSpec,
    subjects: &[Subject],
    forecast: &Forecast,
    situation: &Situation,
) -> Vec<Finding> {
    let mut found: Vec<Finding> = unknown_traffic(situation).into_iter().collect();
    found.extend(no_alarms(plan, subjects));
    found.extend(forecast.steps.iter().filter_map(|step| blind_step(plan, subjects, step, situation)));
    found.extend(subjects.iter().enumerate().filter_map(|(index, it)| never_fires(it, index, forecast)));
    found.extend(forecast.steps.iter().filter_map(|step| short_bake(subjects, step)));
    found.extend(latency_alone(subjects));
    found.extend(subjects.iter().filter_map(|subject| no_streams(subject, situation)));
    found.extend(subjects.iter().filter_map(|subject| blue_beyond(subject, situation)));
    found.extend(periods::blue_breaches(&plan.alarms, situation));
    found.extend(subjects.iter().filter_map(|subject| bursts(subject, situation)));
    found.extend(forecast.steps.iter().filter_map(|step| early_end(plan, step, situation)));
    found.extend(budget(plan, situation));
    found.extend(rooms(situation));
    found.extend(unbounded_green(plan, situation));
    found.extend(short_hours(plan));
    found.sort_by_key(|finding| finding.severity);
    found
}

pub(super) fn finding<const N: usize>(
    (severity, code): (Severity, &str),
    place: impl Into<String>,
    message: impl Into<String>,
    numbers: [(&str, f64); N],
) -> Finding {
    Finding {
        severity,
        code: code.to_owned(),
        place: place.into(),
        message: message.into(),
        numbers: numbers.map(|(name, number)| (name.to_owned(), number)).into(),
    }
}

/// Hours that are shorter than what the plan's waits take: the execution timeout counts on while they are closed.
fn short_hours(plan: &PlanSpec) -> Option<Finding> {
    let longest = plan.schedule.longest_closed()?;
    let timeout = plan.shift.limits().execution_timeout;
    let bakes = plan.shift.steps().iter().map(|step| step.bake).sum::<Duration>();
    let needed = longest.saturating_add(bakes).saturating_add(plan.shift.limits().termination_wait);
    if needed <= timeout {
        return None;
    }
    let message = format!(
        "its allowed hours are closed for up to {} at a stretch, its bakes and waits take {}, and its execution_timeout of {} counts on \
         while they are closed: a shift that is held over such a stretch rolls back; make execution_timeout at least {}, or start it early \
         enough",
        span(longest),
        span(needed.saturating_sub(longest)),
        span(timeout),
        span(needed)
    );
    let numbers = [("closed_s", longest.as_secs_f64()), ("needed_s", needed.as_secs_f64())];
    Some(finding((Severity::Note, "closed_hours"), "allowed_hours", message, numbers))
}

fn unknown_traffic(situation: &Situation) -> Option<Finding> {
    let why = match (situation.traffic.rate, situation.traffic.origin) {
        (Some(_), _) => return None,
        (None, Origin::Measured(over)) => {
            // Nobody needs the nanoseconds of how long it was looked.
            let over = Duration::from_secs(over.as_secs().max(1));
            format!("blue had no request in the last {}", span(over))
        }
        (None, Origin::Stated | Origin::Unknown) => "the traffic is not known".to_owned(),
    };
    let message = format!("{why}, so what a bake finds is not known either: state the traffic, such as 20/s");
    Some(finding((Severity::Note, "unknown_traffic"), "plan", message, []))
}

fn no_alarms(plan: &PlanSpec, subjects: &[Subject]) -> Option<Finding> {
    if !subjects.is_empty() {
        return None;
    }
    let then = match plan.alarms.max_failures {
        Some(_) => "only max_failures ends the shift",
        None => "nothing but a person ends the shift",
    };
    let message = format!("there is no alarm: {then}; add a [[guard]] on error_rate");
    Some(finding((Severity::Warning, "no_alarms"), "plan", message, []))
}

/// A step in which no alarm can be raised.
fn blind_step(
    plan: &PlanSpec,
    subjects: &[Subject],
    step: &StepForecast,
    situation: &Situation,
) -> Option<Finding> {
    let place = format!("step {}", step.number);
    if subjects.is_empty() || step.detections.iter().any(|detection| detection.sight.is_open()) {
        return None;
    }
    if step.bake.is_zero() {
        let message = format!(
            "it has no bake: what green does at {} is judged by no alarm before the shift goes on",
            step.share
        );
        return Some(finding((Severity::Note, "no_bake"), place, message, []));
    }
    let least = step.detections.iter().filter_map(|detection| detection.least).min();
    let (Some(least), Some(got), Some(rate)) = (least, step.requests, situation.traffic.rate) else {
        let message = "no alarm can be raised here: regressions rest where green has everything, and thresholds take their periods; add a \
                       [[guard]]";
        return Some(finding((Severity::Warning, "blind_step"), place, message, []));
    };
    let enough = time_for(least, rate * step.share.as_fraction());
    let (severity, then) = match plan.shift.limits().no_data {
        NoData::Hold => (Severity::Warning, "it holds until they have come"),
        NoData::Pass => (Severity::Error, "no_data = \"pass\" takes it for healthy"),
        NoData::Fail => (Severity::Error, "no_data = \"fail\" rolls back a healthy green"),
    };
    let message = format!(
        "green gets {} requests in {}, and not even a total outage raises an alarm before {}: {then}; bake = \"{}\" would do",
        count(got),
        span(step.bake),
        count(least),
        span(enough)
    );
    let numbers =
        [("requests", got as f64), ("needed", least as f64), ("needed_seconds", enough.as_secs_f64())];
    Some(finding((severity, "blind_step"), place, message, numbers))
}

/// An alarm that no step can raise, while others can be.
fn never_fires(subject: &Subject, index: usize, forecast: &Forecast) -> Option<Finding> {
    let of_alarm = || forecast.steps.iter().filter_map(|step| Some((step, step.detections.get(index)?)));
    if of_alarm().any(|(_, detection)| detection.sight.is_open()) {
        return None;
    }
    let least = of_alarm().filter_map(|(_, detection)| detection.least).min();
    let most = of_alarm()
        .filter(|(_, detection)| detection.sight == Sight::Nothing)
        .filter_map(|(step, _)| step.requests)
        .max();
    let message = match (subject.kind, least, most) {
        (Kind::Periods { shortest, .. }, ..) => {
            format!("cannot be raised in any bake: it takes {} of periods in a step", span(shortest))
        }
        (_, Some(least), Some(most)) => format!(
            "cannot be raised in any step: it takes {} bad requests of green in a step, and none has more than {} in all; give it \
             longer bakes",
            count(least),
            count(most)
        ),
        (_, None, _) | (_, _, None) => {
            "cannot be raised in any step: nothing is permitted less than it sees by chance".to_owned()
        }
    };
    let numbers =
        [("needed", least.unwrap_or_default() as f64), ("requests", most.unwrap_or_default() as f64)];
    Some(finding((Severity::Warning, "alarm_cannot_fire"), subject.place(), message, numbers))
}

/// A bake that would let a plainly worse green pass, by the alarm that needs longest.
fn short_bake(subjects: &[Subject], step: &StepForecast) -> Option<Finding> {
    let got = step.requests?;
    let all = subjects.iter().zip(&step.detections);
    let short = all.filter_map(|(subject, detection)| match detection.sight {
        Sight::Finds { rate, slowdown: _ } => {
            let (needed, effect, bake) = (detection.needed?, detection.effect?, detection.needed_bake?);
            (needed > got).then_some((subject, rate, effect, needed, bake))
        }
        Sight::Nothing | Sight::Periods { .. } | Sight::Reported | Sight::Unknown | Sight::Rests => None,
    });
    // Of several that need as many, the first of the plan.
    let (subject, rate, effect, needed, bake) = short.rev().max_by_key(|(.., needed, _)| *needed)?;
    let what = match subject.kind {
        Kind::Failures { .. } | Kind::FailuresAgainstBlue { .. } | Kind::Periods { .. } | Kind::Reported => {
            "an error rate of"
        }
        Kind::Times { .. } => "answers beyond the bound from",
        Kind::TimesAgainstBlue { .. } => "answers slower than blue's quantile from",
    };
    let message = format!(
        "its {} green requests find {what} {} or more ({}); {} takes {}: bake = \"{}\" would do",
        count(got),
        percent(rate),
        subject.name,
        percent(effect),
        count(needed),
        span(bake)
    );
    let numbers = [
        ("requests", got as f64),
        ("found_rate", rate),
        ("effect_rate", effect),
        ("needed", needed as f64),
        ("needed_seconds", bake.as_secs_f64()),
    ];
    Some(finding((Severity::Warning, "short_bake"), format!("step {}", step.number), message, numbers))
}

/// Failed requests have no latency: a green that fails everything at once has the best of all quantiles.
fn latency_alone(subjects: &[Subject]) -> Option<Finding> {
    let latency = subjects.iter().find(|subject| subject.topic() == Topic::Times)?;
    if subjects.iter().any(|subject| subject.topic() == Topic::Failures) {
        return None;
    }
    let message = "a request that failed has no latency, so a green that fails everything at once raises no alarm: add a [[guard]] or \
                   a [[regression]] on error_rate";
    Some(finding((Severity::Warning, "latency_without_errors"), latency.place(), message, []))
}

/// An alarm on tokens where blue's answers have none.
fn no_streams(subject: &Subject, situation: &Situation) -> Option<Finding> {
    let timing = subject.timing()?;
    let settled = situation.traffic.settled;
    if settled < ENOUGH_OF_BLUE || situation.traffic.part_with(timing) > 0.0 {
        return None;
    }
    let message = format!(
        "none of blue's last {} requests was answered with a stream whose tokens could be read, so it has nothing to judge: let it look \
         at latency, or see that the endpoint's signals fit what its model servers speak",
        count(settled)
    );
    Some(finding((Severity::Warning, "no_streams"), subject.place(), message, [("requests", settled as f64)]))
}

/// A bound that blue itself does not keep.
fn blue_beyond(subject: &Subject, situation: &Situation) -> Option<Finding> {
    let (requests, bad) = subject.of_blue(&situation.traffic)?;
    let (permitted, what) = match subject.kind {
        Kind::Failures { below } => (below, "fails"),
        Kind::Times { timing: _, permitted, below: _ } => {
            (permitted, "takes as long as the bound or longer in")
        }
        Kind::FailuresAgainstBlue { .. }
        | Kind::TimesAgainstBlue { .. }
        | Kind::Periods { .. }
        | Kind::Reported => return None,
    };
    let rate = bad as f64 / requests.max(1) as f64;
    if requests < ENOUGH_OF_BLUE || rate < permitted {
        return None;
    }
    let chance = alarm::chance_of_spending(requests, permitted, bad);
    let severity = if chance < SURELY_BEYOND { Severity::Error } else { Severity::Warning };
    let message = format!(
        "blue itself {what} {} of its last {} requests, where the guard permits {}: a green as good as blue rolls back; raise the \
         bound, or compare with blue by a [[regression]]",
        percent(rate),
        count(requests),
        percent(permitted)
    );
    let numbers = [("blue_rate", rate), ("blue_requests", requests as f64), ("permitted_rate", permitted)];
    Some(finding((severity, "blue_beyond_bound"), subject.place(), message, numbers))
}

/// Failures of blue that come together, under a guard that takes each for one of its own.
fn bursts(subject: &Subject, situation: &Situation) -> Option<Finding> {
    let is_of_failures = match subject.kind {
        Kind::Failures { .. } => true,
        Kind::Times { .. }
        | Kind::FailuresAgainstBlue { .. }
        | Kind::TimesAgainstBlue { .. }
        | Kind::Periods { .. }
        | Kind::Reported => false,
    };
    let failures: u64 = situation.traffic.slices.iter().map(|(_, failed)| failed).sum();
    // With everything on green its failures come as blue's do now.
    let fitting = alarm::fitting_burst(&situation.traffic.slices, 0.5);
    if !is_of_failures
        || subject.states_burst
        || failures < ENOUGH_FAILURES
        || fitting <= BURSTY.max(subject.burst)
    {
        return None;
    }
    let wanted = fitting.ceil();
    let message = format!(
        "blue's failures come together, {wanted} times as unevenly as single ones would: a short burst of a healthy green can raise \
         it; burst = {wanted} would do"
    );
    Some(finding((Severity::Warning, "bursts"), subject.place(), message, [("burst", wanted)]))
}

/// A step that is to end early when green is safe, and cannot.
fn early_end(plan: &PlanSpec, step: &StepForecast, situation: &Situation) -> Option<Finding> {
    let place = || format!("step {}", step.number);
    if plan.alarms.ramp.is_none() || step.share >= Share::ALL || step.bake.is_zero() {
        return None;
    }
    let severity = Severity::Warning;
    if situation.dealing == Dealing::Sticky {
        let message = "ramp_when_safe ends no step early where sticky keys deal clients: one client's requests are not each a coin of their \
                       own, so the step lasts its whole bake";
        return Some(finding((severity, "never_safe"), place(), message, []));
    }
    let least = plan.alarms.least_safe_requests(step.share, situation.traffic.error_rate());
    let (got, rate) = (step.requests?, situation.traffic.rate?);
    let Some(least) = least else {
        let message = "ramp_when_safe cannot end it early: no number of good requests is evidence enough against these bounds";
        return Some(finding((severity, "never_safe"), place(), message, []));
    };
    if least <= got {
        return None;
    }
    let enough = time_for(least, rate * step.share.as_fraction());
    let message = format!(
        "ramp_when_safe cannot end it early: a green without a failure is called safe after {} requests at the earliest, {} at this traffic, \
         and the bake of {} sees {}",
        count(least),
        span(enough),
        span(step.bake),
        count(got)
    );
    let numbers =
        [("needed", least as f64), ("requests", got as f64), ("needed_seconds", enough.as_secs_f64())];
    Some(finding((severity, "never_safe"), place(), message, numbers))
}

/// A budget of failures that a healthy green is likely to spend.
fn budget(plan: &PlanSpec, situation: &Situation) -> Option<Finding> {
    let (limit, traffic) = (plan.alarms.max_failures?, &situation.traffic);
    let all: Option<u64> = plan.shift.steps().iter().map(|step| requests(step, traffic)).sum();
    let all = all.filter(|_| traffic.settled >= ENOUGH_OF_BLUE)?;
    let chance = alarm::chance_of_spending(all, traffic.error_rate(), limit);
    if chance <= BUDGET_CHANCE {
        return None;
    }
    let enough = alarm::sufficient_budget(all, traffic.error_rate());
    let message = format!(
        "a green that fails as often as blue ({}) spends these {} failures in the shift's {} requests with a chance of {}: \
         max_failures = {enough} would do",
        percent(traffic.error_rate()),
        count(limit),
        count(all),
        percent(chance)
    );
    let numbers = [
        ("chance", chance),
        ("requests", all as f64),
        ("blue_rate", traffic.error_rate()),
        ("sufficient", enough as f64),
    ];
    Some(finding((Severity::Warning, "budget_too_small"), "max_failures", message, numbers))
}

/// A green that gets everything in one moment, with nothing that bounds how much an instance of it takes at a time.
fn unbounded_green(plan: &PlanSpec, situation: &Situation) -> Option<Finding> {
    let in_flight = situation.blue.in_flight;
    if plan.shift.kind() != StrategyKind::AllAtOnce || situation.green_room.is_some() || in_flight == 0 {
        return None;
    }
    let message = format!(
        "\"all_at_once\" gives green everything in one moment, {} in flight at present, and nothing bounds how many an instance takes at a \
         time: give it max_concurrency, so that one that is still cold queues what it cannot take",
        count(in_flight)
    );
    let numbers = [("in_flight", in_flight as f64)];
    Some(finding((Severity::Note, "green_unbounded"), "green", message, numbers))
}

/// Fleets without room for all requests: blue's when it has to take everything back, green's when it gets everything.
fn rooms(situation: &Situation) -> Vec<Finding> {
    let Situation { traffic: _, dealing: _, blue, green_room } = situation;
    let Room { in_flight, most } = *blue;
    let mut found = Vec::new();
    if let Some(most) = most.filter(|most| in_flight > 0 && in_flight as f64 >= FULL * *most as f64) {
        let message = format!(
            "it has {} requests in flight and its healthy instances take {} at a time, so there is little room to take everything \
             back: add instances, or raise max_concurrency",
            count(in_flight),
            count(most)
        );
        let numbers = [("in_flight", in_flight as f64), ("room", most as f64)];
        found.push(finding((Severity::Warning, "blue_too_small"), "blue", message, numbers));
    }
    if let Some(most) = green_room.filter(|most| in_flight > *most) {
        let message = format!(
            "its instances take {} requests at a time, and blue has {} in flight: the last step cannot go well; add instances, or raise \
             max_concurrency",
            count(most),
            count(in_flight)
        );
        let numbers = [("in_flight", in_flight as f64), ("room", most as f64)];
        found.push(finding((Severity::Warning, "green_too_small"), "green", message, numbers));
    }
    found
}
