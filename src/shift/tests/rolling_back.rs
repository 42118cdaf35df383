//! Rolling plans on their way back: at once, in batches, and when blue cannot be had again.

use super::{transcript::check, *};

/// Up to the second batch's bake.
const SECOND: &str = "
    0s start -> preparing until 1m | provision green 1
    5s green ready -> baking 0 until 1m5s | serve green 1, begin 0, publish 33.34%
    1m5s wake clear -> retiring batch 0 until 1m35s | drain blue to 2
    1m6s blue drained -> preparing batch 1 until 2m6s | retire blue to 2, provision green 2
    1m10s green ready -> baking 1 until 2m10s | serve green 2, begin 1, publish 66.67%
    ";
/// Up to the third's.
const THIRD: &str = "
    2m10s wake clear -> retiring batch 1 until 2m40s | drain blue to 1
    2m11s blue drained -> preparing batch 2 until 3m11s | retire blue to 1, provision green 3
    3m green ready -> baking 2 until 4m | serve green 3, begin 2, publish 100%
    ";

#[track_caller]
fn at_once(lines: &[&str], end: &str) {
    check(thirds(None), &format!("{}\n{end}", lines.join("\n")));
}

#[track_caller]
fn in_batches(lines: &[&str], end: &str) {
    check(thirds(Some(instances(1))), &format!("{}\n{end}", lines.join("\n")));
}

#[test]
fn a_blue_that_has_lost_nothing_is_one_table_away_whatever_the_plan_says() {
    let begin = "
        0s start -> preparing until 1m | provision green 1
        5s green ready -> baking 0 until 1m5s | serve green 1, begin 0, publish 33.34%
        ";
    let back = "
        1m wake breach -> rolling back (alarm) until 1m30s | publish 0%, drain green
        1m1s green drained -> rolled back (alarm) | retire green, finish
        ";
    at_once(&[begin], back);
    in_batches(&[begin], back);
    let begin = format!("{begin}\n1m5s wake clear -> retiring batch 0 until 1m35s | drain blue to 2");
    let back = "1m6s wake breach -> rolling back (alarm) until 1m36s | publish 0%, serve blue 3, drain green";
    at_once(&[&begin], back);
    in_batches(&[&begin], back);
}

#[test]
fn at_once_blue_has_everything_from_the_first_moment_and_gets_its_instances_back_meanwhile() {
    at_once(
        &[SECOND],
        "
        1m30s wake breach -> releasing (alarm, 2 of blue, at once) until 2m | publish 0%, provision blue 3, drain green
        1m31s green drained -> restoring (alarm, 2 of blue, at once) until 2m31s | retire green, provision blue 3
        1m40s wake breach -> restoring (alarm, 2 of blue, at once) until 2m31s
        1m50s blue ready -> rolling back (alarm) until 2m20s | serve blue 3, publish 0%, drain green
        1m50s green drained -> rolled back (alarm) | retire green, finish
        ",
    );
    at_once(
        &[SECOND, THIRD],
        "
        3m30s abort clear -> releasing (aborted, 1 of blue, at once) until 4m | publish 0%, provision blue 3, drain green
        3m31s abort clear -> releasing (aborted, 1 of blue, at once) until 4m
        3m40s blue ready -> rolling back (aborted) until 4m | serve blue 3
        4m wake clear -> rolled back (aborted) | retire green, finish
        ",
    );
}

#[test]
fn in_batches_green_keeps_what_blue_cannot_take() {
    in_batches(
        &[SECOND, THIRD],
        "
        3m30s wake breach -> releasing (alarm, 1 of blue, in batches) until 4m | publish 66.67%, drain green to 2
        3m31s green drained -> restoring (alarm, 1 of blue, in batches) until 4m31s | retire green to 2, provision blue 2
        3m32s wake breach -> restoring (alarm, 1 of blue, in batches) until 4m31s
        3m50s blue ready -> releasing (alarm, 2 of blue, in batches) until 4m20s | serve blue 2, publish 33.34%, drain green to 1
        3m50s blue ready -> releasing (alarm, 2 of blue, in batches) until 4m20s
        4m20s wake clear -> restoring (alarm, 2 of blue, in batches) until 5m20s | retire green to 1, provision blue 3
        5m blue ready -> rolling back (alarm) until 5m30s | serve blue 3, publish 0%, drain green
        5m1s green drained -> rolled back (alarm) | retire green, finish
        ",
    );
}

#[test]
fn a_rollback_batch_of_the_whole_brings_all_of_blue_back_before_the_rest_of_the_traffic() {
    check(
        thirds(Some(Batch::Part(Share::ALL))),
        &format!(
            "{SECOND}\n{THIRD}
            3m30s wake breach -> releasing (alarm, 1 of blue, in batches) until 4m | publish 66.67%, drain green to 2
            3m31s green drained -> restoring (alarm, 1 of blue, in batches) until 4m31s | retire green to 2, provision blue 3
            3m50s blue ready -> rolling back (alarm) until 4m20s | serve blue 3, publish 0%, drain green
            "
        ),
    );
}

#[test]
fn a_batch_of_blue_that_has_not_gone_yet_takes_its_part_again_with_the_first_effect() {
    in_batches(
        &[SECOND, "2m10s wake clear -> retiring batch 1 until 2m40s | drain blue to 1"],
        "2m12s wake breach -> releasing (alarm, 2 of blue, in batches) until 2m42s | publish 33.34%, serve blue 2, drain green to 1",
    );
}

#[test]
fn a_green_without_a_healthy_instance_keeps_nothing() {
    in_batches(
        &[SECOND],
        "1m30s green gone -> releasing (green_gone, 2 of blue, at once) until 2m | publish 0%, provision blue 3, drain green",
    );
    let releasing = "1m30s wake breach -> releasing (alarm, 2 of blue, in batches) until 2m | publish 33.34%, drain green to 1";
    let restoring = "1m31s green drained -> restoring (alarm, 2 of blue, in batches) until 2m31s | retire green to 1, provision blue 3";
    let gone = "releasing (alarm, 2 of blue, at once) until 2m10s";
    in_batches(
        &[SECOND, releasing],
        &format!("1m40s green gone -> {gone} | publish 0%, provision blue 3, drain green"),
    );
    in_batches(
        &[SECOND, releasing, restoring],
        &format!(
            "
            1m40s green gone -> {gone} | publish 0%, provision blue 3, drain green
            1m41s green gone -> {gone}
            "
        ),
    );
}

#[test]
fn a_rollback_that_cannot_have_blue_again_ends_where_it_stands() {
    let at_once_ = "
        1m30s wake breach -> releasing (alarm, 2 of blue, at once) until 2m | publish 0%, provision blue 3, drain green
        1m30s blue failed -> releasing (alarm, 2 of blue, at once) until 2m
        1m31s green drained -> restoring (alarm, 2 of blue, at once) until 2m31s | retire green, provision blue 3
        ";
    at_once(
        &[SECOND, at_once_],
        "
        1m40s blue failed -> rollback failed (alarm, 2 of blue, at once): no room | settle, finish
        1m41s blue ready -> rollback failed (alarm, 2 of blue, at once): no room
        1m42s abort clear -> cannot abort a shift that is rollback_failed
        1h restart -> rollback failed (alarm, 2 of blue, at once): no room
        ",
    );
    in_batches(
        &[SECOND, THIRD],
        "
        3m30s wake breach -> releasing (alarm, 1 of blue, in batches) until 4m | publish 66.67%, drain green to 2
        3m31s green drained -> restoring (alarm, 1 of blue, in batches) until 4m31s | retire green to 2, provision blue 2
        4m30s wake clear -> restoring (alarm, 1 of blue, in batches) until 4m31s
        4m31s wake clear -> rollback failed (alarm, 1 of blue, in batches): blue's missing instances were not ready within 1m | settle, finish
        ",
    );
}

#[test]
fn nothing_turns_a_shift_around_once_more_on_its_way_back() {
    let releasing = "1m30s wake breach -> releasing (alarm, 2 of blue, in batches) until 2m | publish 33.34%, drain green to 1";
    in_batches(
        &[SECOND, releasing],
        "
        1m31s promote clear -> cannot promote a shift that is releasing_batch
        1m31s resume clear -> cannot resume a shift that is releasing_batch
        1m31s pause clear -> cannot pause a shift that is releasing_batch
        1m31s green ready -> releasing (alarm, 2 of blue, in batches) until 2m
        1m32s green drained -> restoring (alarm, 2 of blue, in batches) until 2m32s | retire green to 1, provision blue 3
        1m33s promote clear -> cannot promote a shift that is restoring
        1m33s resume clear -> cannot resume a shift that is restoring
        1m33s pause clear -> cannot pause a shift that is restoring
        1m33s green failed -> restoring (alarm, 2 of blue, in batches) until 2m32s
        ",
    );
}

#[test]
fn the_way_back_goes_on_after_a_restart_where_it_was() {
    let releasing = "1m30s wake breach -> releasing (alarm, 2 of blue, in batches) until 2m | publish 33.34%, drain green to 1";
    in_batches(
        &[SECOND, releasing],
        "
        1m40s restart -> releasing (alarm, 2 of blue, in batches) until 2m10s | serve blue 2, provision green 1, serve green 1, publish 33.34%, drain green to 1
        1m41s green drained -> restoring (alarm, 2 of blue, in batches) until 2m41s | retire green to 1, provision blue 3
        2m restart -> restoring (alarm, 2 of blue, in batches) until 3m | serve blue 2, provision green 1, serve green 1, publish 33.34%, retire green to 1, provision blue 3
        ",
    );
    at_once(
        &[SECOND],
        "
        1m30s wake breach -> releasing (alarm, 2 of blue, at once) until 2m | publish 0%, provision blue 3, drain green
        1m40s restart -> releasing (alarm, 2 of blue, at once) until 2m10s | serve blue 2, publish 0%, provision blue 3, drain green
        1m41s green drained -> restoring (alarm, 2 of blue, at once) until 2m41s | retire green, provision blue 3
        2m restart -> restoring (alarm, 2 of blue, at once) until 3m | serve blue 2, publish 0%, retire green, provision blue 3
        ",
    );
}

#[test]
fn the_execution_timeout_and_a_restart_may_begin_the_way_back_between_batches() {
    let limits = ShiftLimits { on_restart: OnRestart::RollBack, ..limits() };
    let plan = plan_with(rolling(instances(1), None), limits).sized(sizes(3, 3)).unwrap();
    check(
        plan,
        &format!(
            "{SECOND}
            1m20s restart -> releasing (restart, 2 of blue, at once) until 1m50s | serve blue 2, publish 0%, provision blue 3, drain green
            "
        ),
    );
    let limits =
        ShiftLimits { execution_timeout: span("3m10s"), ready_timeout: span("10m"), ..self::limits() };
    let late = || plan_with(rolling(instances(1), None), limits).sized(sizes(3, 3)).unwrap();
    let begin = "
        0s start -> preparing until 10m | provision green 1
        5s green ready -> baking 0 until 1m5s | serve green 1, begin 0, publish 33.34%
        ";
    let back = "releasing (execution_timeout, 2 of blue, at once) until 3m40s | publish 0%, provision blue 3, drain green";
    let batch = "
        1m5s wake clear -> retiring batch 0 until 1m35s | drain blue to 2
        1m6s blue drained -> preparing batch 1 until 11m6s | retire blue to 2, provision green 2
        ";
    for input in ["wake clear", "green ready"] {
        check(late(), &format!("{begin}\n{batch}\n3m10s {input} -> {back}"));
    }
    let back = "rolling back (execution_timeout) until 3m40s | publish 0%, serve blue 3, drain green";
    let batch = "3m9s wake clear -> retiring batch 0 until 3m39s | drain blue to 2";
    for input in ["wake clear", "blue drained"] {
        check(late(), &format!("{begin}\n{batch}\n3m10s {input} -> {back}"));
    }
}
