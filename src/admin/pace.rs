//! What an explanation says of a shift's pace: how far green has warmed up, and what its step's early end waits for.

use super::words::{count, grouped, odds, span};
use crate::{
    alarm::{SAFE_EVIDENCE, Safety},
    control::ShiftView,
    meter::WarmUp,
};

/// How far green has got with its warm-up, where the plan has one.
pub(super) fn warm_up(view: &ShiftView) -> String {
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
                format!(
                    "Green is warm: its first {} were counted but not judged by how long they take.",
                    count(done, "request")
                )
            }
        }
        WarmUp::Time(each) => format!(
            "Requests of each instance's first {} are {judged}: {} so far.",
            span(each),
            grouped(done)
        ),
    }
}

/// What the step's early end waits for, where the plan lets it end early.
pub(super) fn early_end(view: &ShiftView) -> String {
    let Some(Safety { requests, failures: _, ln_e, is_enough }) = view.safety else { return String::new() };
    let Some(rule) = view.plan.alarms.ramp else { return String::new() };
    let so_far = if ln_e > 0.0 {
        format!("odds of {} so far that it is", odds(ln_e))
    } else {
        "no evidence so far that it is".to_owned()
    };
    let few = if is_enough {
        String::new()
    } else {
        format!(" and {} of {}", grouped(requests), count(rule.requests, "request"))
    };
    format!(
        "The step ends early once green is shown to be within every bound: {so_far}, needed {}{few}.",
        odds(SAFE_EVIDENCE)
    )
}
