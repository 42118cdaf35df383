//! What is told while a shift is waited for: a line that moves on a terminal; elsewhere, such as in a CI job's log, a line at each change
//! and one a minute besides, so that nobody takes a long bake for a job that hangs.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    output::Output,
    view::{
        self,
        text::{millis, moment, percent, right, seconds_between, span},
    },
};
use crate::{admin::wire, clock, time::WallTime};

/// Where no line can be taken back, how long nothing is said while nothing changes. CI systems end jobs that are silent for many minutes.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// What makes a new line worth printing.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Place {
    state: String,
    step: Option<usize>,
    share: String,
    held: Option<String>,
}

impl Place {
    pub(super) fn of(shift: &wire::Shift) -> Self {
        let wire::Shift { state, step, share, held, .. } = shift;
        Self { state: state.clone(), step: *step, share: share.clone(), held: held.clone() }
    }
}

/// What has been told.
#[derive(Debug, Default)]
pub(super) struct Progress {
    said: Option<(Instant, Place)>,
    is_lost: bool,
}

impl Progress {
    /// Tells of a shift that runs, if there is something to tell.
    pub(super) fn see(&mut self, shift: &wire::Shift, output: &mut Output) {
        let now = clock::wall();
        if std::mem::take(&mut self.is_lost) {
            output.note("the admin port answers again");
        }
        if output.is_live() {
            output.status(&line(shift, now));
            return;
        }
        let place = Place::of(shift);
        if self.said.as_ref().is_none_or(|(at, before)| *before != place || at.elapsed() >= LINE_EVERY) {
            output.note(&line(shift, now));
            self.said = Some((Instant::now(), place));
        }
    }

    /// Tells that the admin port is away, once.
    pub(super) fn lose(&mut self, output: &mut Output) {
        if !std::mem::replace(&mut self.is_lost, true) {
            output.note("the admin port does not answer; trying again");
        }
    }
}

/// Where a shift is, what holds it or comes next and when, and how green does: what matters most comes first, since a terminal shows only
/// what fits.
fn line(shift: &wire::Shift, now: WallTime) -> String {
    let elapsed = moment(&shift.started_at).map(|start| span(seconds_between(start, now)));
    let mut parts = vec![format!("{} {}", shift.endpoint, shift.state.replace('_', " "))];
    parts.extend(shift.step.map(|step| format!("step {step}/{}", shift.steps.len())));
    parts.push(format!("{} to {}", shift.share, shift.green_version));
    parts.push(why(shift, now));
    let (blue, green) = (&shift.fleets.blue.recent, &shift.fleets.green.recent);
    parts.push(format!("errors {} (blue {})", percent(green.error_rate), percent(blue.error_rate)));
    parts.push(format!("p99 {} (blue {})", millis(green.p99_ms), millis(blue.p99_ms)));
    parts.extend(view::nearest(shift));
    format!("{}  {}", right(&elapsed.unwrap_or_default(), 6), parts.join(", "))
}

/// Why it does not go on and until when, or what comes next and when.
fn why(shift: &wire::Shift, now: WallTime) -> String {
    if let Some(held) = &shift.held {
        return format!("held: {held}");
    }
    let lacking: Vec<&str> = shift
        .alarms
        .iter()
        .filter(|alarm| alarm.state == "insufficient_data")
        .map(|alarm| alarm.name.as_str())
        .chain(
            shift.thresholds.iter().filter(|it| it.state == "insufficient_data").map(|it| it.name.as_str()),
        )
        .chain(shift.externals.iter().filter(|it| it.state == "insufficient_data").map(|it| it.name.as_str()))
        .collect();
    let next = match shift.next.at.as_deref().and_then(moment) {
        Some(at) => format!("in {}: {}", span(seconds_between(now, at)), shift.next.what),
        None => format!("next: {}", shift.next.what),
    };
    if shift.state.starts_with("holding") && !lacking.is_empty() {
        format!("too little data for {}; {next}", lacking.join(" and "))
    } else {
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::tests::baking;

    fn now() -> WallTime {
        moment("2026-01-31T12:02:12Z").unwrap()
    }

    #[test]
    fn a_line_begins_with_the_place_and_says_what_comes_next_and_when() {
        assert_eq!(
            line(&baking(), now()),
            " 2m12s  chat baking, step 2/4, 25% to v2, in 20s: step 3 of 4: 50% to green, errors 0.22% (blue 0.00%), \
             p99 212ms (blue 48ms), nearest alarm slow at 70%"
        );
    }

    #[test]
    fn a_shift_that_holds_says_what_holds_it() {
        let mut shift = wire::Shift { state: "holding".into(), ..baking() };
        shift.next = wire::Next { what: "as soon as the alarms have enough data, step 3".into(), at: None };
        shift.alarms[1].state = "insufficient_data".into();
        assert!(
            line(&shift, now()).contains("too little data for slow; next: as soon as"),
            "{}",
            line(&shift, now())
        );
        shift.held = Some("all endpoints are frozen by ops".into());
        assert!(
            line(&shift, now()).contains("held: all endpoints are frozen by ops,"),
            "{}",
            line(&shift, now())
        );
    }
}
