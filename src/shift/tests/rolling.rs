//! Rolling plans on their way forward.

use super::{transcript::check, *};

const BEGIN: &str = "
    0s start -> preparing until 1m | provision green 1
    5s green ready -> baking 0 until 1m5s | serve green 1, begin 0, publish 33.34%
    ";
const RETIRING_BATCH: &str = "1m5s wake clear -> retiring batch 0 until 1m35s | drain blue to 2";
const PREPARING_BATCH: &str =
    "1m6s blue drained -> preparing batch 1 until 2m6s | retire blue to 2, provision green 2";
const SECOND: &str = "1m10s green ready -> baking 1 until 2m10s | serve green 2, begin 1, publish 66.67%";

#[track_caller]
fn after(lines: &[&str], end: &str) {
    check(thirds(None), &format!("{}\n{end}", lines.join("\n")));
}

#[test]
fn sagemakers_sample_replaces_three_instances_one_after_the_other() {
    after(
        &[BEGIN, RETIRING_BATCH, PREPARING_BATCH, SECOND],
        "
        2m10s wake clear -> retiring batch 1 until 2m40s | drain blue to 1
        2m40s wake no data -> preparing batch 2 until 3m40s | retire blue to 1, provision green 3
        3m green ready -> baking 2 until 4m | serve green 3, begin 2, publish 100%
        4m wake clear -> retiring blue until 4m30s | adopt green, drain blue
        4m1s blue drained -> promoted | retire blue, finish
        ",
    );
}

#[test]
fn a_batch_that_does_not_divide_the_fleet_leaves_a_smaller_last_one() {
    check(
        plan(rolling(instances(2), None)).sized(sizes(3, 3)).unwrap(),
        "
        0s start -> preparing until 1m | provision green 2
        5s green ready -> baking 0 until 1m5s | serve green 2, begin 0, publish 66.67%
        1m5s wake clear -> retiring batch 0 until 1m35s | drain blue to 1
        1m6s blue drained -> preparing batch 1 until 2m6s | retire blue to 1, provision green 3
        1m9s green ready -> baking 1 until 2m9s | serve green 3, begin 1, publish 100%
        2m9s wake clear -> retiring blue until 2m39s | adopt green, drain blue
        2m39s wake clear -> promoted | retire blue, finish
        ",
    );
}

#[test]
fn a_blue_that_is_smaller_than_green_goes_in_proportion() {
    check(
        plan(rolling(instances(1), None)).sized(sizes(1, 3)).unwrap(),
        "
        0s start -> preparing until 1m | provision green 1
        5s green ready -> baking 0 until 1m5s | serve green 1, begin 0, publish 33.34%
        1m5s wake clear -> preparing batch 1 until 2m5s | provision green 2
        1m9s green ready -> baking 1 until 2m9s | serve green 2, begin 1, publish 66.67%
        2m9s wake clear -> preparing batch 2 until 3m9s | provision green 3
        3m green ready -> baking 2 until 4m | serve green 3, begin 2, publish 100%
        4m wake clear -> retiring blue until 4m30s | adopt green, drain blue
        ",
    );
}

#[test]
fn a_fleet_of_one_instance_is_replaced_in_one_batch() {
    check(
        plan(rolling(Batch::Part(share("5%")), None)).sized(sizes(1, 1)).unwrap(),
        "
        0s start -> preparing until 1m | provision green 1
        5s green ready -> baking 0 until 1m5s | serve green 1, begin 0, publish 100%
        1m5s wake clear -> retiring blue until 1m35s | adopt green, drain blue
        1m6s blue drained -> promoted | retire blue, finish
        ",
    );
}

#[test]
fn a_batch_gets_its_share_only_if_the_alarms_agree_when_it_is_ready() {
    after(
        &[BEGIN, RETIRING_BATCH, PREPARING_BATCH],
        "
        1m10s green ready no data -> holding batch 1
        1m11s green ready no data -> holding batch 1
        1m12s wake no data -> holding batch 1
        1m20s wake clear -> baking 1 until 2m20s | serve green 2, begin 1, publish 66.67%
        ",
    );
    after(
        &[BEGIN, RETIRING_BATCH, PREPARING_BATCH],
        "1m10s green ready breach -> releasing (alarm, 2 of blue, at once) until 1m40s | publish 0%, provision blue 3, drain green",
    );
    for (no_data, end) in [
        (
            NoData::Pass,
            "1m10s green ready no data -> baking 1 until 2m10s | serve green 2, begin 1, publish 66.67%",
        ),
        (
            NoData::Fail,
            "1m10s green ready no data -> releasing (no_data, 2 of blue, at once) until 1m40s | publish 0%, provision blue 3, drain green",
        ),
    ] {
        let plan = plan_with(rolling(instances(1), None), with_no_data(no_data)).sized(sizes(3, 3)).unwrap();
        check(plan, &[BEGIN, RETIRING_BATCH, PREPARING_BATCH, end].join("\n"));
    }
}

#[test]
fn a_batch_that_cannot_be_had_ends_the_shift() {
    let back = "releasing (green_not_ready, 2 of blue, at once) until";
    let effects = "publish 0%, provision blue 3, drain green";
    after(&[BEGIN, RETIRING_BATCH, PREPARING_BATCH], &format!("1m30s green failed -> {back} 2m | {effects}"));
    after(
        &[BEGIN, RETIRING_BATCH, PREPARING_BATCH],
        &format!(
            "
            2m5s wake clear -> preparing batch 1 until 2m6s
            2m6s wake clear -> {back} 2m36s | {effects}
            "
        ),
    );
}

#[test]
fn pause_puts_a_batch_of_blue_that_was_about_to_go_back_into_service() {
    after(
        &[BEGIN, RETIRING_BATCH],
        "
        1m6s pause clear -> paused 0 by operator, 0s left | serve blue 3
        1m7s blue drained -> paused 0 by operator, 0s left
        2m resume clear -> retiring batch 0 until 2m30s | drain blue to 2
        ",
    );
}

#[test]
fn a_batch_that_is_ready_waits_until_whoever_paused_the_shift_resumes_it() {
    let next = "baking 1 until 3m | serve green 2, begin 1, publish 66.67%";
    let paused =
        [BEGIN, RETIRING_BATCH, PREPARING_BATCH, "1m7s pause no data -> preparing batch 1 until 2m6s"];
    after(
        &paused,
        &format!(
            "
            1m8s wake clear -> preparing batch 1 until 2m6s
            1m9s resume clear -> preparing batch 1 until 2m6s
            2m green ready -> {next}
            "
        ),
    );
    let ready = [&paused[..], &["1m10s green ready -> holding batch 1"]].concat();
    after(&ready, &format!("1m20s wake clear -> holding batch 1\n2m resume clear -> {next}"));
    after(
        &ready,
        "2m resume held -> holding batch 1\n3m wake clear -> baking 1 until 4m | serve green 2, begin 1, publish 66.67%",
    );
    after(&ready, "2m promote clear -> baking 1 until 2m | serve green 2, begin 1, publish 66.67%");
    after(
        &[BEGIN, RETIRING_BATCH, PREPARING_BATCH, "1m10s green ready no data -> holding batch 1"],
        &format!(
            "1m11s pause clear -> holding batch 1\n1m12s wake clear -> holding batch 1\n2m resume clear -> {next}"
        ),
    );
    let back = "releasing (alarm, 2 of blue, at once) until";
    after(&ready, &format!("2m wake breach -> {back} 2m30s | publish 0%, provision blue 3, drain green"));
}

#[test]
fn between_batches_there_is_no_bake_to_skip_and_the_next_has_not_begun() {
    let asked = "
        1m7s skip 0 clear -> preparing batch 1 until 2m6s
        1m7s skip 1 clear -> cannot skip the bake of step 2: the shift has not begun it
        ";
    after(&[BEGIN, RETIRING_BATCH, PREPARING_BATCH], asked);
}

#[test]
fn resume_has_nothing_to_do_between_batches() {
    after(&[BEGIN, RETIRING_BATCH], "1m6s resume clear -> retiring batch 0 until 1m35s");
    after(&[BEGIN, RETIRING_BATCH], "1m6s resume breach -> cannot resume: an alarm is raised");
    after(&[BEGIN, RETIRING_BATCH, PREPARING_BATCH], "1m7s resume no data -> preparing batch 1 until 2m6s");
}

#[test]
fn promote_skips_all_bakes_and_still_makes_one_batch_after_the_other() {
    after(
        &[BEGIN],
        "
        20s promote no data -> retiring batch 0 until 50s | drain blue to 2
        21s promote clear -> retiring batch 0 until 50s
        22s blue drained -> preparing batch 1 until 1m22s | retire blue to 2, provision green 2
        30s green ready no data -> baking 1 until 30s | serve green 2, begin 1, publish 66.67%
        30s wake no data -> retiring batch 1 until 1m | drain blue to 1
        31s blue drained -> preparing batch 2 until 1m31s | retire blue to 1, provision green 3
        40s restart -> preparing batch 2 until 1m40s | serve blue 1, provision green 2, serve green 2, begin 1, publish 66.67%, retire blue to 1, provision green 3
        50s green ready no data -> baking 2 until 50s | serve green 3, begin 2, publish 100%
        50s wake clear -> retiring blue until 1m20s | adopt green, drain blue
        ",
    );
    after(
        &[BEGIN, RETIRING_BATCH, PREPARING_BATCH, "1m10s green ready no data -> holding batch 1"],
        "
        1m11s promote breach -> cannot promote: an alarm is raised
        1m12s promote no data -> baking 1 until 1m12s | serve green 2, begin 1, publish 66.67%
        ",
    );
    after(
        &[BEGIN, RETIRING_BATCH, PREPARING_BATCH],
        "
        1m7s promote no data -> preparing batch 1 until 2m6s
        1m10s green ready no data -> baking 1 until 1m10s | serve green 2, begin 1, publish 66.67%
        1m10s wake breach -> releasing (alarm, 2 of blue, at once) until 1m40s | publish 0%, provision blue 3, drain green
        ",
    );
}

#[test]
fn a_restart_brings_back_what_each_fleet_had() {
    after(
        &["0s start -> preparing until 1m | provision green 1"],
        "40s restart -> preparing until 1m40s | provision green 1",
    );
    after(
        &[BEGIN],
        "30s restart -> baking 0 until 1m30s | serve blue 3, provision green 1, serve green 1, begin 0, publish 33.34%",
    );
    after(
        &[BEGIN, RETIRING_BATCH],
        "1m6s restart -> retiring batch 0 until 1m36s | serve blue 3, provision green 1, serve green 1, begin 0, publish 33.34%, drain blue to 2",
    );
    let batch = "| serve blue 2, provision green 1, serve green 1, begin 0, publish 33.34%, retire blue to 2, provision green 2";
    after(
        &[BEGIN, RETIRING_BATCH, PREPARING_BATCH],
        &format!("1m20s restart -> preparing batch 1 until 2m20s {batch}"),
    );
    after(
        &[BEGIN, RETIRING_BATCH, PREPARING_BATCH, "1m10s green ready no data -> holding batch 1"],
        &format!("1m20s restart -> preparing batch 1 until 2m20s {batch}"),
    );
    after(
        &[BEGIN, RETIRING_BATCH, PREPARING_BATCH, SECOND],
        "2m restart -> baking 1 until 3m | serve blue 2, provision green 2, serve green 2, begin 1, publish 66.67%",
    );
}
