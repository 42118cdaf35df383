//! A shift on paper: what `start`, `status` and `explain` print.

use super::{
    output::{
        Column::{Left, Right, State},
        Table,
    },
    plan,
    view::{
        self,
        text::{
            count, exact_percent, first, has_tokens, millis, moment, odds, paragraph, per_second, percent,
            took,
        },
    },
};
use crate::{admin::wire, time::WallTime};

/// What was started, or would be.
pub(super) fn started(shift: &wire::Shift) -> String {
    let wire::Shift { endpoint, blue_version: blue, green_version: green, .. } = shift;
    let first = match &shift.id {
        Some(id) => format!("shift {id} started: {endpoint} from {blue} to {green}"),
        None => format!("dry run: {endpoint} would shift from {blue} to {green}; nothing was changed"),
    };
    let last = match &shift.id {
        Some(id) => format!("\nwatch it with `snapback shift watch {id}`"),
        None => String::new(),
    };
    // Alarms have no numbers before a shift begins; a dry run's are in its plan.
    let has_alarms = !(shift.alarms.is_empty() && shift.thresholds.is_empty() && shift.externals.is_empty());
    let alarms = if has_alarms { format!("\n{}", alarms(shift)) } else { String::new() };
    let findings = if shift.findings.is_empty() { String::new() } else { plan::findings(&shift.findings) };
    format!("{first}\n\n{}{alarms}{findings}{last}", steps(shift))
}

/// Where a shift is, with both fleets' traffic and the alarms.
pub(super) fn status(shift: &wire::Shift, now: WallTime) -> String {
    let cause = shift.cause.as_ref().map(|cause| format!("{:<10}{}\n", "cause", cause.text));
    format!("{}{}\n{}\n{}", heading(shift, now), cause.unwrap_or_default(), traffic(shift), alarms(shift))
}

/// Why a shift is where it is: sentences, the alarms' numbers, the timeline.
pub(super) fn explanation(shift: &wire::Shift, now: WallTime) -> String {
    let mut timeline =
        Table::new([Left("AT"), Right("AFTER"), State("STATE"), Right("SHARE"), Left("BY"), Left("WHY")]);
    let started = moment(&shift.started_at);
    for wire::Transition { at, before: _, after, share, actor, cause } in &shift.transitions {
        let offset = started.zip(moment(at)).map(|(start, at)| took(start, at));
        timeline.row([
            at.clone(),
            offset.unwrap_or_default(),
            after.replace('_', " "),
            share.clone(),
            actor.clone(),
            cause.clone(),
        ]);
    }
    let decision = decision(shift).map(|table| format!("{table}\n")).unwrap_or_default();
    format!(
        "{}\n\n{}\n{}\n{decision}{timeline}",
        paragraph(&shift.explanation),
        heading(shift, now),
        alarms(shift)
    )
}

/// The moments of going back, to the millisecond; nothing before there is one.
fn decision(shift: &wire::Shift) -> Option<Table> {
    let mut table = Table::new([Left("AT"), Left("GOING BACK")]);
    let mut any = false;
    for (at, what) in [
        (&shift.breach_at, "the response that tipped the alarm was counted"),
        (&shift.decided_at, "the decision fell"),
        (&shift.published_at, "the blue-only table was published"),
        (&shift.last_green_dispatch_at, "the last request was dealt to green"),
        (&shift.drained_at, "nothing was in flight on green any more"),
    ] {
        if let Some(at) = at {
            any = true;
            table.row([at.clone(), what.to_owned()]);
        }
    }
    any.then_some(table).filter(|_| shift.decided_at.is_some())
}

fn heading(shift: &wire::Shift, now: WallTime) -> String {
    let mut lines = vec![
        ("shift", format!("{}, started by {}", shift.id.as_deref().unwrap_or("-"), shift.actor)),
        ("endpoint", format!("{}, {}", shift.endpoint, view::standing(shift))),
    ];
    for (name, other) in
        [("undoes", &shift.undoes), ("replaces", &shift.supersedes), ("makes way", &shift.superseded_by)]
    {
        lines.extend(other.clone().map(|other| (name, other)));
    }
    let place = view::place(shift);
    if !place.is_empty() {
        lines.push(("place", place));
    }
    let got = shift.share_got.map(|got| format!(", got {}", exact_percent(got))).unwrap_or_default();
    lines.push(("share", format!("green {} wanted{got}", shift.share)));
    let started = moment(&shift.started_at);
    let end = shift.ended_at.as_deref().and_then(moment);
    let elapsed = started.map(|start| took(start, end.unwrap_or(now))).unwrap_or_default();
    let ended = if shift.over { format!(", took {elapsed}") } else { format!(", {elapsed} ago") };
    lines.push(("started", format!("{}{ended}", shift.started_at)));
    if let Some(wire::FailureBudget { failures, max_failures, nearness }) = shift.failure_budget {
        let (reached, most) = (count(failures), count(max_failures));
        lines.push(("failures", format!("{reached} of {most} that end the shift, {}", near(nearness))));
    }
    if !shift.over {
        lines.push(("next", view::next(&shift.next, now)));
    }
    lines.into_iter().map(|(name, text)| format!("{name:<10}{text}\n")).collect()
}

fn steps(shift: &wire::Shift) -> Table {
    let mut table = Table::new([Right("STEP"), Right("SHARE"), Right("BAKE"), Left("THEN")]);
    let last = shift.steps.len();
    for (number, wire::Step { share, bake, approval }) in (1..).zip(&shift.steps) {
        let then = match (number == last, approval) {
            (true, _) => "promoted",
            (false, true) => "waits for approval",
            (false, false) => "next step",
        };
        table.row([number.to_string(), share.clone(), bake.clone(), then.to_owned()]);
    }
    table
}

fn traffic(shift: &wire::Shift) -> Table {
    let mut table = Table::new([
        Left("FLEET"),
        Left("VERSION"),
        Right("REQ/S"),
        Right("ERRORS"),
        Right("P50"),
        Right("P99"),
        Right(if has_tokens(shift) { "FIRST TOKEN" } else { "FIRST BYTE" }),
        Right("IN FLIGHT"),
        Right("REQUESTS"),
        Right("FAILED"),
    ]);
    for (side, version, wire::ShiftFleet { traffic, recent }) in [
        ("blue", &shift.blue_version, &shift.fleets.blue),
        ("green", &shift.green_version, &shift.fleets.green),
    ] {
        table.row([
            side.to_owned(),
            version.clone(),
            per_second(recent.rate),
            percent(recent.error_rate),
            millis(recent.p50_ms),
            millis(recent.p99_ms),
            first(recent, has_tokens(shift)),
            count(traffic.in_flight),
            count(traffic.requests),
            count(traffic.failed),
        ]);
    }
    table
}

fn alarms(shift: &wire::Shift) -> String {
    let tables = [
        (!shift.alarms.is_empty()).then(|| tests(shift).to_string()),
        (!shift.thresholds.is_empty()).then(|| thresholds(shift).to_string()),
        (!shift.externals.is_empty()).then(|| externals(shift).to_string()),
    ];
    let tables: Vec<String> = tables.into_iter().flatten().collect();
    if tables.is_empty() {
        "no alarms: nothing but a person ends this shift early\n".to_owned()
    } else {
        tables.join("\n")
    }
}

/// External alarms: what was reported of them.
fn externals(shift: &wire::Shift) -> Table {
    let mut table = Table::new([
        Left("EXTERNAL"),
        State("STATE"),
        Left("LEASE"),
        Left("THEN"),
        Right("VALUE"),
        Right("BOUND"),
        Right("NEAR"),
        Left("SAYS"),
    ]);
    for external in &shift.externals {
        let wire::External { name, state, lease, on_expiry, text, value, bound, nearness, .. } = external;
        let (state, then) = (state.replace('_', " "), on_expiry.replace('_', " "));
        let number =
            |number: &Option<f64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let cells = [state, lease.clone(), then, number(value), number(bound), near(*nearness), text.clone()];
        table.row([name.clone()].into_iter().chain(cells));
    }
    table
}

/// Threshold alarms: their newest period, and how many of those that are looked at breach.
fn thresholds(shift: &wire::Shift) -> Table {
    let mut table = Table::new([
        Left("THRESHOLD"),
        Left("BREACHES"),
        State("STATE"),
        Right("NEWEST"),
        Right("BREACHING"),
        Right("RAISED BY"),
        Right("PERIOD"),
        Right("NEAR"),
    ]);
    for threshold in &shift.thresholds {
        table.row([
            threshold.name.clone(),
            view::breach(threshold),
            threshold.state.replace('_', " "),
            threshold.value.clone().unwrap_or_else(|| "-".to_owned()),
            count(threshold.breaching),
            threshold.datapoints.clone(),
            threshold.period.clone(),
            near(threshold.nearness),
        ]);
    }
    table
}

/// How near an alarm is.
fn near(nearness: f64) -> String {
    format!("{:.0}%", nearness * 100.0)
}

/// Guards and regressions: what they saw against what they permit.
fn tests(shift: &wire::Shift) -> Table {
    let mut table = Table::new([
        Left("ALARM"),
        Left("BOUND"),
        State("STATE"),
        Right("BAD"),
        Right("OF"),
        Right("SEEN"),
        Right("ALLOWED"),
        Right("EVIDENCE"),
        Right("ODDS"),
    ]);
    for alarm in &shift.alarms {
        table.row([
            alarm.name.clone(),
            view::bound(alarm),
            alarm.state.replace('_', " "),
            count(alarm.failures),
            count(alarm.requests),
            alarm.rate.map_or_else(|| "-".to_owned(), percent),
            percent(alarm.permitted_rate),
            near(alarm.nearness),
            odds(alarm.ln_e),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::paint::Paint;
    use crate::cli::view::tests::{baking, rolled_back};

    #[test]
    fn a_status_has_place_traffic_and_alarms() {
        let now = moment("2026-01-31T12:02:12Z").unwrap();
        assert_eq!(
            Paint::Plain.render(&status(&baking(), now)),
            "\
shift     chat-7, started by admin
endpoint  chat, v1 -> v2 baking
place     step 2 of 4
share     green 25% wanted, got 24.96%
started   2026-01-31T12:00:00.000Z, 2m12s ago
next      step 3 of 4: 50% to green, in 20s

FLEET  VERSION  REQ/S  ERRORS   P50    P99  FIRST BYTE  IN FLIGHT  REQUESTS  FAILED
blue   v1       180.2   0.00%  12ms   48ms       4.1ms         12    24,012       3
green  v2        60.1   0.22%  13ms  212ms       4.3ms          4     8,004      18

ALARM   BOUND                STATE  BAD     OF   SEEN  ALLOWED  EVIDENCE     ODDS
errors  error_rate < 1%      ok      18  8,004  0.22%    1.00%        4%  1.3 : 1
slow    latency p99 < 250ms  ok      95  8,004  1.19%    1.00%       70%  200 : 1
"
        );
    }

    #[test]
    fn an_explanation_begins_with_the_sentences_and_ends_with_the_timeline() {
        let text = explanation(&rolled_back(), moment("2026-01-31T13:00:00Z").unwrap());
        assert!(text.starts_with("The shift rolled back from step 2"), "{text}");
        assert!(text.contains("12:02:15.250Z  the decision fell"), "{text}");
        assert!(text.contains("took 2m20s"), "{text}");
        assert!(text.trim_end().ends_with("nothing is in flight on green"), "{text}");
    }

    #[test]
    fn a_dry_run_says_that_nothing_was_changed() {
        let mut shift = baking();
        shift.id = None;
        let text = started(&shift);
        assert!(text.starts_with("dry run: chat would shift from v1 to v2; nothing was changed"), "{text}");
        assert!(
            text.contains("   3    50%    1m  waits for approval\n   4   100%    5m  promoted"),
            "{text}"
        );
    }
}
