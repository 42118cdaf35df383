//! What becomes of a shift whose process dies and starts again, in every state.

use super::{transcript::check, *};
use crate::{
    shift::{Input, Shift, Standing, State},
    time::Moment,
};

const BEGIN: &str = "
    0s start -> preparing until 1m | provision
    5s green ready -> baking 0 until 5m5s | begin 0, publish 10%
    ";
const TERMINATION_WAIT: &str = "20s promote clear -> termination wait until 2m20s | begin 1, publish 100%";
const RETIRING: &str = "21s promote clear -> retiring blue until 51s | adopt green, drain blue";

#[track_caller]
fn after(lines: &[&str], end: &str) {
    check(plan_with(canary(), with_termination_wait()), &format!("{}\n{end}", lines.join("\n")));
}

#[test]
fn green_is_prepared_anew() {
    after(
        &["0s start -> preparing until 1m | provision"],
        "
        40s restart -> preparing until 1m40s | provision
        50s green ready -> baking 0 until 5m50s | begin 0, publish 10%
        ",
    );
}

#[test]
fn a_bake_begins_afresh_at_the_same_share() {
    after(
        &[BEGIN],
        "
        4m wake clear -> baking 0 until 5m5s
        6m restart -> baking 0 until 11m | provision, begin 0, publish 10%
        6m10s green ready -> baking 0 until 11m
        11m wake clear -> baking 1 until 21m | begin 1, publish 100%
        22m restart -> baking 1 until 32m | provision, begin 1, publish 100%
        ",
    );
    after(
        &[BEGIN, "5m5s wake no data -> holding 0"],
        "6m restart -> baking 0 until 11m | provision, begin 0, publish 10%",
    );
}

#[test]
fn a_green_that_does_not_come_back_after_the_restart_ends_the_shift() {
    after(
        &[BEGIN],
        "
        1m restart -> baking 0 until 6m | provision, begin 0, publish 10%
        1m1s green failed -> rolling back (green_not_ready) until 1m31s | publish 0%, drain green
        ",
    );
}

#[test]
fn a_paused_shift_stays_paused_and_has_its_whole_bake_before_it() {
    after(
        &[BEGIN, "4m5s pause clear -> paused 0 by operator, 1m left"],
        "
        6m restart -> paused 0 by operator, 5m left | provision, begin 0, publish 10%
        7m resume clear -> baking 0 until 12m
        ",
    );
    check(
        plan(approved()),
        "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 5m5s | begin 0, publish 25%
        5m5s wake clear -> paused 0 for approval
        6m restart -> paused 0 for approval | provision, begin 0, publish 25%
        7m resume clear -> baking 1 until 17m | begin 1, publish 100%
        ",
    );
}

#[test]
fn a_termination_wait_goes_on_with_what_remained() {
    after(
        &[BEGIN, TERMINATION_WAIT],
        "
        10m restart -> termination wait until 12m | provision, begin 1, publish 100%
        11m restart -> termination wait until 13m | provision, begin 1, publish 100%
        ",
    );
}

#[test]
fn what_was_on_its_way_out_goes_on_its_way() {
    after(
        &[BEGIN, TERMINATION_WAIT, RETIRING],
        "
        1m restart -> retiring blue until 1m30s | adopt green, drain blue
        1m1s blue drained -> promoted | retire blue, finish
        1h restart -> promoted
        ",
    );
    after(
        &[BEGIN],
        "
        10s wake breach -> rolling back (alarm) until 40s | publish 0%, drain green
        30s restart -> rolling back (alarm) until 1m | publish 0%, drain green
        31s green drained -> rolled back (alarm) | retire green, finish
        1h restart -> rolled back (alarm)
        ",
    );
}

#[test]
fn a_plan_may_say_that_a_restart_rolls_back() {
    let back = "3m restart -> rolling back (restart) until 3m30s | publish 0%, drain green";
    let pause = "20s pause clear -> paused 0 by operator, 4m45s left";
    let hold = "
        5m5s wake no data -> holding 0
        6m restart -> rolling back (restart) until 6m30s | publish 0%, drain green
        ";
    let leave = "3m restart -> retiring blue until 3m30s | adopt green, drain blue";
    let wait = format!("{TERMINATION_WAIT}\n{back}");
    let pause = format!("{pause}\n{back}");
    let retire = format!("{TERMINATION_WAIT}\n{RETIRING}\n{leave}");
    for end in [back, &pause, hold, &wait, &retire] {
        check(plan_with(canary(), that_rolls_back_on_restart()), &format!("{BEGIN}\n{end}"));
    }
    check(
        plan_with(canary(), that_rolls_back_on_restart()),
        &format!("0s start -> preparing until 1m | provision\n{back}"),
    );
}

#[test]
fn downtime_counts_towards_the_execution_timeout() {
    after(
        &[BEGIN],
        "
        1m wake clear -> baking 0 until 5m5s
        50m restart -> baking 0 until 55m | provision, begin 0, publish 10%
        55m wake clear -> baking 1 until 1h5m | begin 1, publish 100%
        1h wake clear -> rolling back (execution_timeout) until 1h30s | publish 0%, drain green
        ",
    );
    after(&[BEGIN], "1h restart -> rolling back (execution_timeout) until 1h30s | publish 0%, drain green");
}

#[test]
fn the_clock_of_a_new_process_may_be_younger_than_the_shift() {
    let mut shift = Shift::new(plan(canary()), Moment::default());
    let at = |text: &str| Moment::default().after(span(text));
    shift.step(at("0s"), Input::Start).unwrap();
    shift.step(at("5s"), Input::GreenReady(Standing::Clear)).unwrap();
    let snapshot = shift.snapshot(at("2m"));
    assert_eq!(snapshot.elapsed, span("2m"));
    assert_eq!(snapshot.state, State::Baking { step: 0, ends: at("3m5s") });
    assert_eq!((snapshot.step, snapshot.restarts), (Some(0), 0));

    let mut shift = Shift::restore(plan(canary()), &snapshot, at("1s"));
    shift.step(at("3s"), Input::Restarted { downtime: span("50m") }).unwrap();
    assert_eq!(shift.wake_at(), Some(at("5m3s")));
    shift.step(at("5m3s"), Input::Wake(Standing::Clear)).unwrap();
    assert_eq!(shift.wake_at(), Some(at("8m1s")), "52 of 60 minutes were over at the restart");
    let snapshot = shift.snapshot(at("6m1s"));
    assert_eq!((snapshot.elapsed, snapshot.step, snapshot.restarts), (span("58m"), Some(1), 1));
}

#[test]
fn the_time_of_a_shift_stands_still_when_it_is_over() {
    let mut shift = Shift::new(plan(canary()), Moment::default());
    let at = |text: &str| Moment::default().after(span(text));
    shift.step(at("3s"), Input::GreenGone).unwrap();
    shift.step(at("9s"), Input::Drained(crate::fleet::Side::Green)).unwrap();
    assert_eq!(shift.wake_at(), None);
    assert_eq!(shift.snapshot(at("2h")).elapsed, span("9s"));
}
