//! What happens of itself, strategy by strategy, and what ends a shift early.

use super::{transcript::check, *};

#[test]
fn all_at_once_gives_everything_bakes_and_promotes() {
    check(
        plan(Strategy::AllAtOnce { final_bake: span("3m") }),
        "
        0s start -> preparing until 1m | provision
        10s green ready -> baking 0 until 3m10s | begin 0, publish 100%
        1m wake clear -> baking 0 until 3m10s
        3m10s wake clear -> retiring blue until 3m40s | adopt green, drain blue
        3m12s blue drained -> promoted | retire blue, finish
        ",
    );
}

#[test]
fn sagemakers_sample_canary_keeps_its_timeline() {
    // One of three instances for 300 s, then everything for 120 s (sample notebook of the deployment guardrails).
    let (bake, final_bake) = (span("300s"), span("120s"));
    check(
        plan(Strategy::Canary { share: share("33.34%"), bake, final_bake }),
        "
        0s start -> preparing until 1m | provision
        40s green ready -> baking 0 until 5m40s | begin 0, publish 33.34%
        5m39s wake clear -> baking 0 until 5m40s
        5m40s wake clear -> baking 1 until 7m40s | begin 1, publish 100%
        7m40s wake clear -> retiring blue until 8m10s | adopt green, drain blue
        7m41s blue drained -> promoted | retire blue, finish
        ",
    );
}

#[test]
fn sagemakers_sample_canary_goes_back_at_once_when_its_alarm_is_raised() {
    let (bake, final_bake) = (span("300s"), span("120s"));
    check(
        plan(Strategy::Canary { share: share("33.34%"), bake, final_bake }),
        "
        0s start -> preparing until 1m | provision
        40s green ready -> baking 0 until 5m40s | begin 0, publish 33.34%
        4m wake breach -> rolling back (alarm) until 4m30s | publish 0%, drain green
        4m2s green drained -> rolled back (alarm) | retire green, finish
        ",
    );
}

#[test]
fn evidence_that_green_is_good_ends_every_step_early_but_the_last() {
    check(
        plan(Strategy::Linear { step: share("50%"), bake: span("30m"), final_bake: span("20m") }),
        "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 30m5s | begin 0, publish 50%
        20s wake clear -> baking 0 until 30m5s
        30s wake safe -> baking 1 until 20m30s | begin 1, publish 100%
        40s wake safe -> baking 1 until 20m30s
        50s wake breach -> rolling back (alarm) until 1m20s | publish 0%, drain green
        ",
    );
}

#[test]
fn an_early_end_still_waits_for_approval_and_for_whoever_paused() {
    let approved = Step::with_approval(share("10%"), span("30m"));
    check(
        plan(Strategy::Steps { steps: vec![approved], final_bake: Some(span("1m")) }),
        "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 30m5s | begin 0, publish 10%
        10s pause safe -> paused 0 by operator, 29m55s left
        20s wake safe -> paused 0 by operator, 29m55s left
        25s resume clear -> baking 0 until 30m20s
        30s wake safe -> paused 0 for approval
        40s resume safe -> baking 1 until 1m40s | begin 1, publish 100%
        ",
    );
}

#[test]
fn a_linear_plan_rises_step_by_step() {
    check(
        plan(Strategy::Linear { step: share("40%"), bake: span("1m"), final_bake: span("2m") }),
        "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 1m5s | begin 0, publish 40%
        1m5s wake clear -> baking 1 until 2m5s | begin 1, publish 80%
        2m5s wake clear -> baking 2 until 4m5s | begin 2, publish 100%
        4m5s wake clear -> retiring blue until 4m35s | adopt green, drain blue
        4m35s wake clear -> promoted | retire blue, finish
        ",
    );
}

#[test]
fn a_step_that_asks_for_approval_waits_for_it() {
    check(
        plan(approved()),
        "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 5m5s | begin 0, publish 25%
        5m5s wake clear -> paused 0 for approval
        20m wake no data -> paused 0 for approval
        21m resume no data -> baking 1 until 31m | begin 1, publish 100%
        31m wake clear -> retiring blue until 31m30s | adopt green, drain blue
        31m1s blue drained -> promoted | retire blue, finish
        ",
    );
}

#[test]
fn approval_at_the_last_step_is_asked_before_blue_goes() {
    let steps = vec![Step::with_approval(Share::ALL, span("5m"))];
    check(
        plan_with(Strategy::Steps { steps, final_bake: None }, with_termination_wait()),
        "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 5m5s | begin 0, publish 100%
        5m5s wake clear -> paused 0 for approval
        6m resume clear -> termination wait until 8m
        8m wake no data -> retiring blue until 8m30s | adopt green, drain blue
        8m1s blue drained -> promoted | retire blue, finish
        ",
    );
}

#[test]
fn a_bake_of_zero_still_asks_the_alarms_before_the_next_step() {
    let steps = vec![Step::new(share("1%"), Duration::ZERO)];
    check(
        plan(Strategy::Steps { steps, final_bake: None }),
        "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 5s | begin 0, publish 1%
        5s wake no data -> holding 0
        6s wake clear -> baking 1 until 6s | begin 1, publish 100%
        6s wake clear -> retiring blue until 36s | adopt green, drain blue
        7s blue drained -> promoted | retire blue, finish
        ",
    );
}

#[test]
fn blue_is_kept_warm_for_the_termination_wait_with_the_alarms_on() {
    check(
        plan_with(Strategy::AllAtOnce { final_bake: span("1m") }, with_termination_wait()),
        "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 1m5s | begin 0, publish 100%
        1m5s wake clear -> termination wait until 3m5s
        2m wake clear -> termination wait until 3m5s
        3m4s wake breach -> rolling back (alarm) until 3m34s | publish 0%, drain green
        3m34s wake breach -> rolled back (alarm) | retire green, finish
        ",
    );
}

#[test]
fn an_alarm_is_heeded_in_every_state_in_which_green_has_traffic() {
    let begin = "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 5m5s | begin 0, publish 10%
        ";
    let back = "rolling back (alarm) until 6m30s | publish 0%, drain green";
    for middle in [
        "",
        "5m5s wake no data -> holding 0",
        "1m5s pause clear -> paused 0 by operator, 4m left",
        "1m5s promote clear -> termination wait until 3m5s | begin 1, publish 100%",
    ] {
        let plan = || plan_with(canary(), with_termination_wait());
        check(plan(), &format!("{begin}\n{middle}\n6m wake breach -> {back}"));
    }
}

#[test]
fn too_little_data_holds_passes_or_fails_as_the_plan_says() {
    let begin = "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 5m5s | begin 0, publish 10%
        1m wake no data -> baking 0 until 5m5s
        ";
    for (no_data, end) in [
        (
            NoData::Hold,
            "
            5m5s wake no data -> holding 0
            7m wake no data -> holding 0
            8m wake clear -> baking 1 until 18m | begin 1, publish 100%
            ",
        ),
        (NoData::Pass, "5m5s wake no data -> baking 1 until 15m5s | begin 1, publish 100%"),
        (NoData::Fail, "5m5s wake no data -> rolling back (no_data) until 5m35s | publish 0%, drain green"),
    ] {
        check(plan_with(canary(), with_no_data(no_data)), &format!("{begin}\n{end}"));
    }
}

#[test]
fn a_green_that_is_not_ready_in_time_or_fails_or_goes_ends_the_shift() {
    for input in ["green failed", "green gone", "wake clear"] {
        let cause = if input == "green gone" { "green_gone" } else { "green_not_ready" };
        check(
            plan(canary()),
            &format!(
                "
                0s start -> preparing until 1m | provision
                59s wake clear -> preparing until 1m
                1m {input} -> rolling back ({cause}) until 1m30s | publish 0%, drain green
                1m green drained -> rolled back ({cause}) | retire green, finish
                "
            ),
        );
    }
    check(
        plan(canary()),
        "
        0s start -> preparing until 1m | provision
        5s green ready -> baking 0 until 5m5s | begin 0, publish 10%
        9s green gone -> rolling back (green_gone) until 39s | publish 0%, drain green
        ",
    );
}

#[test]
fn the_execution_timeout_ends_a_shift_wherever_it_stands() {
    for (middle, wait) in [
        ("5m5s wake no data -> holding 0", "holding 0"),
        ("5m5s wake clear -> paused 0 for approval", "paused 0 for approval"),
    ] {
        check(
            plan(approved()),
            &format!(
                "
                0s start -> preparing until 1m | provision
                5s green ready -> baking 0 until 5m5s | begin 0, publish 25%
                {middle}
                59m59s wake no data -> {wait}
                1h wake clear -> rolling back (execution_timeout) until 1h30s | publish 0%, drain green
                1h30s wake clear -> rolled back (execution_timeout) | retire green, finish
                "
            ),
        );
    }
    let slow = ShiftLimits { ready_timeout: span("2h"), ..limits() };
    check(
        plan_with(canary(), slow),
        "
        0s start -> preparing until 2h | provision
        1h green ready -> rolling back (execution_timeout) until 1h30s | publish 0%, drain green
        ",
    );
}

#[test]
fn what_comes_too_late_or_twice_changes_nothing() {
    check(
        plan(Strategy::AllAtOnce { final_bake: span("1m") }),
        "
        0s start -> preparing until 1m | provision
        1s wake breach -> preparing until 1m
        1s green drained -> preparing until 1m
        5s green ready -> baking 0 until 1m5s | begin 0, publish 100%
        6s green ready -> baking 0 until 1m5s
        6s start -> baking 0 until 1m5s
        7s blue drained -> baking 0 until 1m5s
        1m5s wake clear -> retiring blue until 1m35s | adopt green, drain blue
        1m6s wake breach -> retiring blue until 1m35s
        1m6s green gone -> retiring blue until 1m35s
        1m6s green drained -> retiring blue until 1m35s
        1m7s blue drained -> promoted | retire blue, finish
        1m7s blue drained -> promoted
        2h wake breach -> promoted
        2h green gone -> promoted
        2h restart -> promoted
        ",
    );
}
