//! What users are told of a plan's fleets, steps and limits, word for word.

use super::messages::{plan_problems, whole_plan_problems};

#[test]
fn a_plans_turn_says_what_it_takes() {
    assert_eq!(
        plan_problems("if_running = \"wait\"\nstart_after = true\n"),
        [
            r#"p.toml:3: if_running: expected one of "refuse", "queue", "supersede", not "wait""#,
            r#"p.toml:4: start_after: expected one of "promoted", "ended", not true"#,
        ]
    );
}

#[test]
fn a_plans_schedule_says_what_it_takes() {
    let lines = "start_at = \"2027-01-31T09:00:00\"\nallowed_hours = [{ days = [\"monday\"], from = \"9\", zone = \"Europe/Bonn\" }, { days = [], zone = \"UTC\" }, \
                 { from = \"09:00\", to = \"09:00\", zone = \"UTC\" }, { to = \"25:00\" }]\n";
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:3: start_at: "2027-01-31T09:00:00" is not a moment with its offset from UTC: write one such as "2027-01-31T09:00:00+01:00""#,
            r#"p.toml:4: allowed_hours[0].days[0]: expected one of "mon", "tue", "wed", "thu", "fri", "sat", "sun", not "monday""#,
            r#"p.toml:4: allowed_hours[0].from: "9" is not a time of the day: write one such as "09:00""#,
            r#"p.toml:4: allowed_hours[0].zone: no time zone is called "Europe/Bonn": write a name such as "Europe/Berlin" or "UTC""#,
            "p.toml:4: allowed_hours[1].days: names no day: leave it out for all days",
            "p.toml:4: allowed_hours[2].to: is the time in from, so that no hour lies between them: write another, or leave both out for the whole day",
            r#"p.toml:4: allowed_hours[3].to: "25:00" is not a time of the day: write one such as "09:00""#,
            r#"p.toml:4: allowed_hours[3].zone: is missing; write zone = "Europe/Berlin""#,
        ]
    );
}

#[test]
fn a_plans_limits_say_what_they_take() {
    let lines = "false_alarm = \"50%\"\nmax_failures = 0\nno_data = \"wait\"\non_restart = 1\nready_timeout = \"0s\"\n\
                 execution_timeout = \"7m\"\n";
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:3: false_alarm: must be below 50%, such as "0.1%": a test that is wrong every second time says nothing"#,
            "p.toml:4: max_failures: expected a whole number from 1 to 1000000000, not the number 0",
            r#"p.toml:5: no_data: expected one of "hold", "pass", "fail", not "wait""#,
            r#"p.toml:6: on_restart: expected one of "continue", "roll_back", not the number 1"#,
            "p.toml:7: ready_timeout: must be longer than 0s",
            "p.toml:8: execution_timeout: execution_timeout 7m is not longer than the plan's waits, 7m in all: raise it or shorten \
             the waits",
        ]
    );
}

#[test]
fn a_plan_needs_a_green_fleet_and_a_strategy() {
    assert_eq!(
        whole_plan_problems(""),
        [
            r#"p.toml:1: green: is missing; write green = { version = "v2", instances = ["127.0.0.1:9003"] }"#,
            r#"p.toml:1: strategy: is missing; write strategy = { type = "canary", share = "5%", bake = "2m", final_bake = "5m" }"#,
        ]
    );
}

/// Problems of a plan with this strategy, whose keys begin at line 3.
fn strategy_problems(keys: &str) -> Vec<String> {
    let green = "green = { version = \"v2\", instances = [\"a:1\"] }";
    whole_plan_problems(&format!(
        "{green}\n[strategy]\n{keys}\n[[guard]]\nmetric = \"error_rate\"\nbelow = \"1%\"\n"
    ))
}

#[test]
fn a_strategy_takes_the_keys_of_its_type() {
    assert_eq!(
        strategy_problems("type = \"linear\"\nshare = \"5%\"\nbake = 2"),
        [
            r#"p.toml:2: strategy.step: is missing; write step = "25%""#,
            r#"p.toml:2: strategy.final_bake: is missing; write final_bake = "5m""#,
            "p.toml:4: strategy.share: unknown key; the keys here are type, step, bake, final_bake, ramp_when_safe",
            r#"p.toml:5: strategy.bake: 2 has no unit: write "2s" for seconds or "2ms" for milliseconds"#,
        ]
    );
    assert_eq!(
        strategy_problems("share = \"5%\""),
        [r#"p.toml:2: strategy.type: is missing; write type = "canary""#]
    );
    assert_eq!(
        strategy_problems("type = \"blue_green\""),
        [
            r#"p.toml:3: strategy.type: expected one of "all_at_once", "canary", "linear", "rolling", "steps", not "blue_green""#
        ]
    );
    assert_eq!(
        strategy_problems("type = \"rolling\"\nbatch = \"a\"\nrollback_batch = 0\nfinal_bake = \"1m\""),
        [
            r#"p.toml:2: strategy.bake: is missing; write bake = "2m""#,
            r#"p.toml:4: strategy.batch: "a" is not a part of a fleet: write a number of instances such as 2, or a part of the fleet such as "25%""#,
            r#"p.toml:5: strategy.rollback_batch: 0 is not a number of instances from 1 on: write a number of instances such as 2, or a part of the fleet such as "25%""#,
            "p.toml:6: strategy.final_bake: unknown key; the keys here are type, batch, bake, rollback_batch",
        ]
    );
    assert_eq!(
        strategy_problems("type = \"rolling\"\nbatch = 2\nbake = \"1m\""),
        [
            "p.toml:4: strategy.batch: a batch of 2 is more than green's 1: write at most 1, or use the strategy all_at_once, which makes the whole fleet before it moves traffic"
        ]
    );
    assert_eq!(
        strategy_problems("type = \"rolling\"\nbatch = \"0%\"\nbake = \"1m\""),
        [
            r#"p.toml:4: strategy.batch: batch is nothing: a batch has at least one instance, so write a number such as 1, or a part such as "25%""#
        ]
    );
}

#[test]
fn shares_are_percentages_that_rise() {
    assert_eq!(
        strategy_problems("type = \"canary\"\nshare = 5\nbake = \"1m\"\nfinal_bake = \"1m\""),
        [r#"p.toml:4: strategy.share: 5 has no unit: write "5%""#]
    );
    assert_eq!(
        strategy_problems("type = \"canary\"\nshare = \"100%\"\nbake = \"1m\"\nfinal_bake = \"1m\""),
        [
            "p.toml:4: strategy.share: a canary takes less than 100%: for everything in one step use the strategy all_at_once"
        ]
    );
    assert_eq!(
        strategy_problems("type = \"linear\"\nstep = \"0%\"\nbake = \"1m\"\nfinal_bake = \"1m\""),
        ["p.toml:4: strategy.step: step 1 gives green nothing: a step's share is above 0%"]
    );
    assert_eq!(
        strategy_problems(
            "type = \"steps\"\nsteps = [{ share = \"5%\", bake = \"1m\" }, { share = \"4%\", bake = \"1m\" }]"
        ),
        [
            "p.toml:4: strategy.steps: step 2 gives green 4%, which is not more than the 5% of the step before: shares must rise"
        ]
    );
    assert_eq!(
        strategy_problems("type = \"steps\"\nsteps = [{ share = \"5%\" }, 5]"),
        [
            "p.toml:4: strategy.steps[1]: expected a table with the keys share, bake, approval, not the number 5",
            r#"p.toml:4: strategy.steps[0].bake: is missing; write bake = "2m""#,
        ]
    );
    assert_eq!(
        strategy_problems("type = \"steps\"\nsteps = []"),
        ["p.toml:4: strategy.steps: a plan needs at least one step"]
    );
}

#[test]
fn a_final_bake_that_no_step_would_have_is_refused() {
    assert_eq!(
        strategy_problems(
            "type = \"steps\"\nsteps = [{ share = \"100%\", bake = \"1m\" }]\nfinal_bake = \"1m\""
        ),
        [
            "p.toml:5: strategy.final_bake: final_bake is the bake of the step to 100% that is added after the written steps, but \
          step 1 gives 100% itself: leave final_bake out, or that step"
        ]
    );
}

#[test]
fn guards_over_bakes_of_no_length_are_refused() {
    assert_eq!(
        strategy_problems("type = \"all_at_once\"\nfinal_bake = \"0s\""),
        [
            "p.toml:2: strategy: every bake is 0s, so no guard has time to see a request: give the strategy a bake, such as \
          final_bake = \"5m\", or leave the guards out"
        ]
    );
}

#[test]
fn a_warm_up_is_so_many_requests_or_so_much_time() {
    for (lines, expected) in [
        (
            "warm_up = { requests = 0, time = \"1s\" }",
            &[
                "p.toml:3: warm_up.requests: expected a whole number from 1 to 100000, not the number 0",
                "p.toml:3: warm_up.time: a warm-up is over after so many requests or after a time: leave one of the two out",
            ][..],
        ),
        (
            "warm_up = {}",
            &[
                "p.toml:3: warm_up.requests: is missing, and so is time; write requests = 50 or time = \"30s\"",
            ],
        ),
        ("warm_up = { time = \"0s\" }", &["p.toml:3: warm_up.time: must be longer than 0s"]),
        (
            "warm_up = \"30s\"",
            &["p.toml:3: warm_up: expected a table with the keys requests, time, not the text \"30s\""],
        ),
    ] {
        assert_eq!(plan_problems(lines), expected, "{lines}");
    }
}

#[test]
fn a_ramp_when_safe_is_refused_where_it_cannot_work() {
    let green = "green = { version = \"v2\", instances = [\"a:1\"] }\n";
    let ramp = "ramp_when_safe = {}";
    let at_once = format!("{green}strategy = {{ type = \"all_at_once\", final_bake = \"5m\", {ramp} }}\n");
    assert_eq!(
        whole_plan_problems(&at_once),
        [
            "p.toml:2: strategy.ramp_when_safe: has no step to end early: with all_at_once green has everything at once, and the last bake is \
             never cut short; use the strategy canary, linear or steps"
        ]
    );
    let steps = format!(
        "{green}strategy = {{ type = \"steps\", steps = [{{ share = \"100%\", bake = \"1m\" }}], {ramp} }}\n"
    );
    assert_eq!(
        whole_plan_problems(&steps),
        [
            "p.toml:2: strategy: ramp_when_safe has no step to end early: give the strategy a step below 100% with a bake, or leave it out",
            "p.toml:2: strategy: ramp_when_safe takes an alarm on failures, or a green that fails everything at once would be the safest of \
             all: add a [[regression]] or a [[guard]] with metric = \"error_rate\", or leave it out",
        ]
    );
    let canary = |ramp: &str, alarms: &str| {
        format!(
            "{green}strategy = {{ type = \"canary\", share = \"5%\", bake = \"2m\", final_bake = \"5m\", {ramp} }}\n{alarms}"
        )
    };
    let alarms = "guard = [{ metric = \"error_rate\", below = \"1%\" }]\nregression = [{ metric = \"latency\", tolerance = \"1.1x\" }]\n";
    assert_eq!(
        whole_plan_problems(&canary(ramp, alarms)),
        [
            "p.toml:2: strategy: ramp_when_safe cannot end a step before latency_regression is shown to be kept, and with a tolerance of 1.1x \
             it never is of a green as fast as blue: give it tolerance = \"1.2x\" or more, or leave one of the two out"
        ]
    );
    assert_eq!(
        whole_plan_problems(&canary("ramp_when_safe = { margin = 0.5, request = 5 }", "")),
        [
            "p.toml:2: strategy.ramp_when_safe.request: unknown key; did you mean \"requests\"?",
            "p.toml:2: strategy.ramp_when_safe.margin: 0.5 has no unit: write a percentage in quotes, such as \"5%\"",
            "p.toml:2: strategy: ramp_when_safe takes an alarm on failures, or a green that fails everything at once would be the safest of \
             all: add a [[regression]] or a [[guard]] with metric = \"error_rate\", or leave it out",
        ]
    );
}
