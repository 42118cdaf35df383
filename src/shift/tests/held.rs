//! Shifts that may not go on: a freeze, hours that are not allowed. They hold, and never go back for it.

use super::{transcript::check, *};

const BEGIN: &str = "
    0s start -> preparing until 1m | provision
    5s green ready -> baking 0 until 5m5s | begin 0, publish 10%
    ";

#[test]
fn a_held_shift_holds_at_the_end_of_its_bake_and_goes_on_when_it_is_let() {
    check(
        plan(canary()),
        &format!(
            "{BEGIN}
            1m wake held -> baking 0 until 5m5s
            5m5s wake held -> holding 0
            6m wake held -> holding 0
            7m wake clear -> baking 1 until 17m | begin 1, publish 100%
            "
        ),
    );
}

#[test]
fn a_held_shift_does_not_go_back_for_want_of_data_but_does_for_an_alarm_an_abort_and_its_timeout() {
    let fails = ShiftLimits { no_data: NoData::Fail, ..limits() };
    let held = format!("{BEGIN}\n5m5s wake held -> holding 0");
    let plan = || plan_with(canary(), fails);
    let back = |cause: &str, at: &str, until: &str| {
        format!("{held}\n{at} -> rolling back ({cause}) until {until} | publish 0%, drain green")
    };
    check(plan(), &back("alarm", "6m wake breach", "6m30s"));
    check(plan(), &back("aborted", "6m abort held", "6m30s"));
    check(plan(), &back("execution_timeout", "1h wake held", "1h30s"));
}

#[test]
fn a_green_that_is_ready_gets_nothing_while_the_shift_is_held_and_has_the_execution_timeout_for_it() {
    check(
        plan(canary()),
        "
        0s start -> preparing until 1m | provision
        5s green ready held -> preparing until 1h
        2m wake held -> preparing until 1h
        3m green ready -> baking 0 until 8m | begin 0, publish 10%
        ",
    );
}

#[test]
fn blue_is_not_let_go_while_the_shift_is_held() {
    check(
        plan_with(canary(), with_termination_wait()),
        &format!(
            "{BEGIN}
            20s promote clear -> termination wait until 2m20s | begin 1, publish 100%
            2m20s wake held -> termination wait until 2m20s
            9m wake no data -> retiring blue until 9m30s | adopt green, drain blue
            "
        ),
    );
}

#[test]
fn nothing_is_granted_that_would_make_a_held_shift_go_on() {
    check(
        plan(canary()),
        &format!(
            "{BEGIN}
            20s promote held -> cannot promote: chat is frozen
            20s skip 0 held -> cannot skip the bake: chat is frozen
            21s pause held -> paused 0 by operator, 4m44s left
            22s resume held -> baking 0 until 5m6s
            "
        ),
    );
    let approval =
        Strategy::Steps { steps: vec![Step::with_approval(share("10%"), span("5m"))], final_bake: None };
    check(
        plan(approval),
        &format!(
            "{BEGIN}
            5m5s wake clear -> paused 0 for approval
            6m resume held -> cannot resume: chat is frozen
            "
        ),
    );
}

#[test]
fn one_bake_can_be_skipped_and_a_repetition_does_not_skip_the_next() {
    check(
        plan(canary()),
        &format!(
            "{BEGIN}
            20s skip 1 clear -> cannot skip the bake of step 2: the shift has not begun it
            20s skip 0 breach -> cannot skip the bake: an alarm is raised
            20s skip 0 no data -> baking 1 until 10m20s | begin 1, publish 100%
            21s skip 0 clear -> baking 1 until 10m20s
            22s skip 1 clear -> retiring blue until 52s | adopt green, drain blue
            23s skip 1 clear -> retiring blue until 52s
            "
        ),
    );
}

#[test]
fn a_skipped_bake_does_not_stand_for_an_approval() {
    let approval =
        Strategy::Steps { steps: vec![Step::with_approval(share("10%"), span("5m"))], final_bake: None };
    check(
        plan(approval),
        &format!(
            "{BEGIN}
            20s skip 0 clear -> paused 0 for approval
            21s skip 0 clear -> paused 0 for approval
            "
        ),
    );
}
