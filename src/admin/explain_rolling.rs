//! Why a rolling shift is where it is, between two batches and on its way back.

use super::{
    explain::{at_the_latest, blue, cause_clause, green, of_steps, unended},
    words::{capitalised, count},
};
use crate::{
    control::ShiftView,
    shift::{Back, Cause, Pace},
    time::WallTime,
};

pub(super) fn retiring_batch(view: &ShiftView, step: usize, now: WallTime) -> String {
    let what = match view.blue.in_flight {
        0 => "has nothing in flight and goes".to_owned(),
        _ => format!("finishes its running requests and goes{}", at_the_latest(view, now)),
    };
    let of_step = capitalised(&of_steps(view, step));
    format!("{of_step} is over and healthy: its batch of {} {what}. {}", blue(view), in_service(view))
}

pub(super) fn preparing_batch(view: &ShiftView, step: usize, now: WallTime) -> String {
    let deadline = view.next.at.map_or_else(String::new, |_| at_the_latest(view, now));
    format!(
        "Preparing {}: a batch of {} must be ready{deadline}, else the shift rolls back. {}",
        of_steps(view, step),
        green(view),
        in_service(view)
    )
}

pub(super) fn holding_batch(view: &ShiftView, step: usize) -> String {
    let why = match view.held {
        Some(_) => "",
        None => ", but the alarms had too little data when last looked at",
    };
    format!("Holding before {}: its batch is ready{why}. {}", of_steps(view, step), in_service(view))
}

/// What is going on, on the way back.
pub(super) fn back(view: &ShiftView, cause: &Cause, back: Back) -> String {
    let missing = sizes(view).0.saturating_sub(back.blue);
    let missing = if missing == 1 { "the missing one is" } else { "the missing ones are" };
    let guard = match back.pace {
        Pace::AtOnce => format!(
            "{} has all requests, and what its instances cannot take is theirs to refuse, by their limits, until {missing} back.",
            capitalised(&blue(view))
        ),
        Pace::Batches => format!("{} keeps what blue cannot take yet.", capitalised(&green(view))),
    };
    format!("Rolling back {}. {guard} {}", cause_clause(view, cause), in_service(view))
}

pub(super) fn failed(view: &ShiftView, cause: &Cause, reason: &str) -> String {
    format!(
        "The rollback failed: {}. It had begun {}. What served then serves on, and the next shift replaces it. {}",
        unended(reason),
        cause_clause(view, cause),
        in_service(view)
    )
}

/// What each fleet has in service, of what it has when it is whole.
fn in_service(view: &ShiftView) -> String {
    let Some(rolling) = view.plan.shift.rolling() else { return String::new() };
    let serving = rolling.in_service(&view.state);
    let (blue, green) = sizes(view);
    format!(
        "In service: {} of blue's {}, {} of green's {}, at {} for green.",
        serving.blue,
        count(blue.into(), "instance"),
        serving.green,
        count(green.into(), "instance"),
        view.share
    )
}

fn sizes(view: &ShiftView) -> (u32, u32) {
    view.plan.shift.rolling().map_or((0, 0), |rolling| (rolling.sizes.blue.get(), rolling.sizes.green.get()))
}
