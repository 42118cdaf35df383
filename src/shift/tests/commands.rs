//! What operators may ask for, in every state.

use super::{transcript::check, *};
use crate::{
    shift::{Command, Input, Onward, Shift, Standing},
    time::Moment,
};

const BEGIN: &str = "
    0s start -> preparing until 1m | provision
    5s green ready -> baking 0 until 5m5s | begin 0, publish 10%
    ";
const ROLLING_BACK: &str = "20s abort clear -> rolling back (aborted) until 50s | publish 0%, drain green";
const ROLLED_BACK: &str = "21s green drained -> rolled back (aborted) | retire green, finish";
const TERMINATION_WAIT: &str = "20s promote clear -> termination wait until 2m20s | begin 1, publish 100%";
const RETIRING: &str = "21s promote clear -> retiring blue until 51s | adopt green, drain blue";
const PROMOTED: &str = "22s blue drained -> promoted | retire blue, finish";

/// A canary with a termination wait, taken to a state, and then this.
#[track_caller]
fn after(lines: &[&str], end: &str) {
    check(plan_with(canary(), with_termination_wait()), &format!("{}\n{end}", lines.join("\n")));
}

#[test]
fn a_pause_keeps_what_is_left_of_the_bake() {
    after(
        &[BEGIN],
        "
        1m5s pause no data -> paused 0 by operator, 4m left
        2m pause clear -> paused 0 by operator, 4m left
        9m wake clear -> paused 0 by operator, 4m left
        10m resume no data -> baking 0 until 14m
        11m resume clear -> baking 0 until 14m
        14m wake clear -> baking 1 until 24m | begin 1, publish 100%
        ",
    );
}

#[test]
fn a_pause_with_nothing_left_of_the_bake_is_judged_when_it_ends() {
    let paused = "
        5m5s wake no data -> holding 0
        6m resume no data -> holding 0
        6m pause clear -> paused 0 by operator, 0s left
        ";
    after(&[BEGIN, paused], "7m resume no data -> holding 0");
    after(&[BEGIN, paused], "7m resume clear -> baking 1 until 17m | begin 1, publish 100%");
}

#[test]
fn promote_skips_the_bakes_and_then_the_termination_wait() {
    after(
        &[BEGIN],
        "
        20s promote no data -> termination wait until 2m20s | begin 1, publish 100%
        21s resume clear -> termination wait until 2m20s
        22s promote clear -> retiring blue until 52s | adopt green, drain blue
        23s promote clear -> retiring blue until 52s
        24s blue drained -> promoted | retire blue, finish
        25s promote clear -> promoted
        ",
    );
    check(
        plan(canary()),
        &format!(
            "{BEGIN}
            1m pause clear -> paused 0 by operator, 4m5s left
            2m promote clear -> retiring blue until 2m30s | begin 1, publish 100%, adopt green, drain blue
            "
        ),
    );
    check(
        plan(Strategy::AllAtOnce { final_bake: span("5m") }),
        "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 5m5s | begin 0, publish 100%
        20s promote clear -> retiring blue until 50s | adopt green, drain blue
        ",
    );
}

#[test]
fn abort_goes_back_from_every_state_that_has_a_way_back() {
    let back = "1m abort breach -> rolling back (aborted) until 1m30s | publish 0%, drain green";
    after(&["0s start -> preparing until 1m | provision"], back);
    after(&[BEGIN], back);
    after(&[BEGIN, "20s pause clear -> paused 0 by operator, 4m45s left"], back);
    after(&[BEGIN, TERMINATION_WAIT], back);
    after(
        &[BEGIN, "5m5s wake no data -> holding 0"],
        "6m abort clear -> rolling back (aborted) until 6m30s | publish 0%, drain green",
    );
}

#[test]
fn abort_may_be_repeated() {
    after(&[BEGIN, ROLLING_BACK], "21s abort clear -> rolling back (aborted) until 50s");
    after(&[BEGIN, ROLLING_BACK, ROLLED_BACK], "22s abort clear -> rolled back (aborted)");
}

#[test]
fn there_is_no_way_back_once_blue_goes() {
    after(&[BEGIN, TERMINATION_WAIT, RETIRING], "22s abort clear -> cannot abort a shift that is retiring");
    after(
        &[BEGIN, TERMINATION_WAIT, RETIRING, PROMOTED],
        "23s abort clear -> cannot abort a shift that is promoted",
    );
}

#[test]
fn a_pause_before_the_first_step_keeps_a_green_that_is_ready_waiting() {
    let start = "0s start -> preparing until 1m | provision";
    after(
        &[start],
        "
        1s pause clear -> preparing until 1m
        2s pause no data -> preparing until 1m
        5s green ready -> preparing until 1h
        6s wake clear -> preparing until 1h
        7s promote clear -> cannot promote: green is not ready yet
        8s green ready breach -> preparing until 1h
        9m resume clear -> preparing until 1h
        9m green ready -> baking 0 until 14m | begin 0, publish 10%
        ",
    );
    let paused = "1s pause clear -> preparing until 1m";
    let late = "1m wake clear -> rolling back (green_not_ready) until 1m30s | publish 0%, drain green";
    after(&[start, paused], late);
}

#[test]
fn a_pause_in_the_termination_wait_keeps_blue_warm_until_it_ends_and_no_longer_than_the_execution_timeout() {
    let paused = "21s pause clear -> termination wait until 2m20s";
    after(
        &[BEGIN, TERMINATION_WAIT, paused],
        "
        2m20s wake clear -> termination wait until 2m20s
        9m resume clear -> termination wait until 2m20s
        9m wake clear -> retiring blue until 9m30s | adopt green, drain blue
        ",
    );
    after(
        &[BEGIN, TERMINATION_WAIT, paused],
        "9m promote clear -> retiring blue until 9m30s | adopt green, drain blue",
    );
    after(
        &[BEGIN, TERMINATION_WAIT, paused],
        "9m wake breach -> rolling back (alarm) until 9m30s | publish 0%, drain green",
    );
    after(
        &[
            BEGIN,
            TERMINATION_WAIT,
            "21s pause breach -> rolling back (alarm) until 51s | publish 0%, drain green",
        ],
        "22s green drained -> rolled back (alarm) | retire green, finish",
    );
    after(
        &[BEGIN, TERMINATION_WAIT, paused],
        "1h wake clear -> rolling back (execution_timeout) until 1h30s | publish 0%, drain green",
    );
}

#[test]
fn a_paused_shift_wants_no_waking_before_its_execution_timeout_and_stays_paused_over_a_restart() {
    let at = |text| Moment::default().after(span(text));
    let deadline = at("1h");
    let mut shift = Shift::new(plan_with(canary(), with_termination_wait()), Moment::default());
    shift.step(at("0s"), Input::Start).unwrap();
    shift.step(at("5s"), Input::GreenReady(Standing::Clear)).unwrap();
    shift.step(at("20s"), Input::Command(Command::Promote, Standing::Clear)).unwrap();
    assert_eq!(shift.wake_at(), Some(at("2m20s")));
    shift.step(at("21s"), Input::Command(Command::Pause, Standing::Clear)).unwrap();
    assert_eq!((shift.wake_at(), shift.onward()), (Some(deadline), Onward::Paused));
    let mut again = Shift::restore(shift.plan().clone(), &shift.snapshot(at("21s")), at("21s"));
    again.step(at("21s"), Input::Restarted { downtime: Duration::ZERO }).unwrap();
    assert_eq!((again.wake_at(), again.onward()), (Some(deadline), Onward::Paused));
    again.step(at("22s"), Input::Command(Command::Abort, Standing::Clear)).unwrap();
    assert_eq!(again.onward(), Onward::Free, "there is nothing to go on to");
}

#[test]
fn a_shift_that_is_over_or_on_its_way_out_cannot_be_paused() {
    after(&[BEGIN, TERMINATION_WAIT, RETIRING], "22s pause clear -> cannot pause a shift that is retiring");
    after(
        &[BEGIN, TERMINATION_WAIT, RETIRING, PROMOTED],
        "23s pause clear -> cannot pause a shift that is promoted",
    );
    after(&[BEGIN, ROLLING_BACK], "21s pause clear -> cannot pause a shift that is rolling_back");
    after(&[BEGIN, ROLLING_BACK, ROLLED_BACK], "22s pause clear -> cannot pause a shift that is rolled_back");
}

#[test]
fn a_shift_that_is_over_or_on_its_way_out_cannot_be_resumed() {
    after(&["0s start -> preparing until 1m | provision"], "1s resume clear -> preparing until 1m");
    after(&[BEGIN, TERMINATION_WAIT, RETIRING], "22s resume clear -> cannot resume a shift that is retiring");
    after(
        &[BEGIN, TERMINATION_WAIT, RETIRING, PROMOTED],
        "23s resume clear -> cannot resume a shift that is promoted",
    );
    after(&[BEGIN, ROLLING_BACK], "21s resume clear -> cannot resume a shift that is rolling_back");
    after(
        &[BEGIN, ROLLING_BACK, ROLLED_BACK],
        "22s resume clear -> cannot resume a shift that is rolled_back",
    );
}

#[test]
fn promote_needs_a_green_that_is_ready_and_not_on_its_way_back() {
    after(
        &["0s start -> preparing until 1m | provision"],
        "1s promote clear -> cannot promote: green is not ready yet",
    );
    after(&[BEGIN, ROLLING_BACK], "21s promote clear -> cannot promote a shift that is rolling_back");
    after(
        &[BEGIN, ROLLING_BACK, ROLLED_BACK],
        "22s promote clear -> cannot promote a shift that is rolled_back",
    );
}

#[test]
fn no_command_keeps_green_going_under_a_raised_alarm() {
    let back = "rolling back (alarm) until 1m30s | publish 0%, drain green";
    for state in [BEGIN.to_owned(), format!("{BEGIN}\n20s pause clear -> paused 0 by operator, 4m45s left")] {
        after(&[&state], "1m resume breach -> cannot resume: an alarm is raised");
        after(&[&state], "1m promote breach -> cannot promote: an alarm is raised");
        after(&[&state], &format!("1m pause breach -> {back}"));
    }
    after(&[BEGIN, TERMINATION_WAIT], "1m promote breach -> cannot promote: an alarm is raised");
    check(
        plan(approved()),
        "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 5m5s | begin 0, publish 25%
        5m5s wake clear -> paused 0 for approval
        6m resume breach -> cannot resume: an alarm is raised
        ",
    );
}

#[test]
fn after_the_execution_timeout_only_abort_is_left() {
    let late = "the execution timeout has passed and the shift is about to roll back";
    after(
        &[BEGIN],
        &format!(
            "
            6m pause clear -> paused 0 by operator, 0s left
            1h pause clear -> cannot pause: {late}
            1h resume clear -> cannot resume: {late}
            1h promote clear -> cannot promote: {late}
            1h abort clear -> rolling back (aborted) until 1h30s | publish 0%, drain green
            "
        ),
    );
}
