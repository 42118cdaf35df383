//! What users are told of a plan's alarms, word for word.

use super::messages::{PLAN_HEAD, plan_problems, whole_plan_problems};
use crate::{
    alarm::{Regression, RegressionBound, Tolerance},
    config::PlanSpec,
};

#[test]
fn guards_say_what_they_take() {
    let lines = r#"[[guard]]
metric = "error_rate"
below = "100%"
quantile = "p99"
burst = 1.5
[[guard]]
metric = "latency"
quantile = "p100"
below = 250
[[guard]]
metric = "token_gap"
[[guard]]
name = "too slow"
metric = "p99"
execution_timeout = "1h"
[[guard]]
metric = "error_rate"
below = 0.01
[[guard]]
below = 1
[[guard]]
metric = "latency"
quantile = 99
"#;
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:5: guard[0].below: "100%" is not a percentage above 0% and below 100%, such as "1%" or "0.05%""#,
            "p.toml:6: guard[0].quantile: a guard on error_rate has no quantile: leave it out",
            "p.toml:7: guard[0].burst: expected a whole number from 1 to 1000, not the number 1.5",
            r#"p.toml:10: guard[1].quantile: "p100" is not a quantile: write "p50", "p99" or "p99.9", above p0 and below p100"#,
            r#"p.toml:11: guard[1].below: 250 has no unit: write "250s" for seconds or "250ms" for milliseconds"#,
            r#"p.toml:12: guard[2].quantile: is missing; write quantile = "p99""#,
            r#"p.toml:12: guard[2].below: is missing; write below = "250ms""#,
            r#"p.toml:15: guard[3].name: "too slow" is not an alarm's name: use 1 to 63 letters, digits or any of _ - ."#,
            r#"p.toml:16: guard[3].metric: expected one of "error_rate", "latency", "first_token", "token_gap", not "p99""#,
            r#"p.toml:17: guard[3].execution_timeout: unknown key here; "execution_timeout" belongs at the top of the file, above the first [table]"#,
            r#"p.toml:20: guard[4].below: 0.01 has no unit: write a percentage in quotes, such as "5%""#,
            r#"p.toml:21: guard[5].metric: is missing; write metric = "error_rate""#,
            r#"p.toml:23: guard[6].below: is missing; write below = "250ms""#,
            r#"p.toml:25: guard[6].quantile: expected a quantile such as "p99", not the number 99"#,
        ]
    );
}

#[test]
fn thresholds_say_what_they_take() {
    let lines = r#"[[threshold]]
name = "a"
metric = "latency"
statistic = "p90"
above = "0s"
period = "500ms"
datapoints = "3 of 2"
missing = "broken"
[[threshold]]
name = "b"
metric = "latency"
statistic = "tm(90%:10%)"
above = "2h"
below = "1s"
period = "1s"
datapoints = 2
low_samples = "no"
[[threshold]]
name = "b"
metric = "error_rate"
statistic = "p90"
at_least = 0.01
period = "10s"
[[threshold]]
metric = "token"
[[threshold]]
name = "c"
metric = "first_byte"
statistic = "maximum"
at_least = "2h"
period = "1s"
"#;
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:7: threshold[0].above: is finer than the histograms' buckets, which are 1us wide: write "2us" or more"#,
            "p.toml:8: threshold[0].period: must be 1s or longer, not 500ms: a shorter period says little",
            "p.toml:9: threshold[0].datapoints: 3 of 2 can never be met: at most 2 of 2",
            r#"p.toml:10: threshold[0].missing: expected one of "missing", "ignore", "breaching", "not_breaching", not "broken""#,
            r#"p.toml:14: threshold[1].statistic: "tm(90%:10%)" is not a statistic: write average, sum, minimum, maximum, sample_count, a percentile such as "p90", or tm, wm, tc or ts with what they keep, such as "tm90" or "tm(10%:90%)""#,
            "p.toml:16: threshold[1].below: an alarm has one bound: keep one of above, at_least, below and at_most",
            r#"p.toml:18: threshold[1].datapoints: expected datapoints such as "2 of 3", not the number 2"#,
            r#"p.toml:19: threshold[1].low_samples: expected one of "evaluate", "ignore", not "no""#,
            r#"p.toml:23: threshold[2].statistic: error_rate has the statistic "average" alone, not "p90": leave it out"#,
            r#"p.toml:24: threshold[2].at_least: 0.01 has no unit: write a percentage in quotes, such as "5%""#,
            r#"p.toml:26: threshold[3].name: is missing; write name = "slow""#,
            r#"p.toml:26: threshold[3].above: is missing; write above = "300ms", or at_least, below or at_most"#,
            r#"p.toml:26: threshold[3].period: is missing; write period = "10s""#,
            r#"p.toml:27: threshold[3].metric: expected one of "latency", "first_byte", "first_token", "token_gap", "error_rate", "client_error_rate", "requests", "failures", not "token""#,
            "p.toml:32: threshold[4].at_least: is beyond the histograms' last bucket, from 72m on: write less",
        ]
    );
}

#[test]
fn a_guard_has_a_bound_that_the_histograms_can_tell_from_others() {
    let lines = |metric: &str, below: &str| {
        format!("[[guard]]\nmetric = \"{metric}\"\nquantile = \"p99\"\nbelow = \"{below}\"\n")
    };
    let guard = |metric: &str, below: &str| plan_problems(&lines(metric, below));
    for metric in ["latency", "first_token", "token_gap"] {
        for below in ["0s", "50ns", "1us"] {
            assert_eq!(
                guard(metric, below),
                [
                    r#"p.toml:6: guard[0].below: is finer than the histograms' buckets, which are 1us wide: write "2us" or more"#
                ],
                "{metric} {below}"
            );
        }
        for below in ["73m", "3h"] {
            assert_eq!(
                guard(metric, below),
                ["p.toml:6: guard[0].below: is beyond the histograms' last bucket, from 72m on: write less"],
                "{metric} {below}"
            );
        }
        for below in ["2us", "72m"] {
            PlanSpec::from_toml(&format!("{PLAN_HEAD}{}", lines(metric, below)), "p.toml").unwrap();
        }
    }
}

#[test]
fn external_alarms_say_what_they_take() {
    let lines = r#"[[external]]
lease = "500ms"
[[external]]
name = "a b"
on_expiry = "fine"
[[external]]
name = "quality"
[[external]]
name = "quality"
leese = "1m"
"#;
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:3: external[0].name: is missing; write name = "quality""#,
            "p.toml:4: external[0].lease: must be 1s or longer, not 500ms",
            r#"p.toml:6: external[1].name: "a b" is not an alarm's name: use 1 to 63 letters, digits or any of _ - ."#,
            r#"p.toml:7: external[1].on_expiry: expected one of "ok", "alarm", "insufficient_data", not "fine""#,
            r#"p.toml:11: external[3].name: there are two alarms called "quality": give one a name of its own"#,
            r#"p.toml:12: external[3].leese: unknown key; did you mean "lease"?"#,
        ]
    );
}

#[test]
fn polled_alarms_say_what_they_take() {
    let lines = r#"[[external]]
name = "a"
lease = "10s"
poll = { url = "http://me:secret@grader/", method = "PUT", every = "100ms", token_env = "HOME", ca = "ca.pem" }
[[external]]
name = "b"
poll = { url = "http://grader/", token_file = "t", token_env = "SNAPBACK_TOKEN_B", ca = "ca.pem", errors = 0 }
prometheus = { url = "prometheus:9090", query = "up{version=\"$verion\"}", above = "5%", below = 1 }
[[external]]
name = "c"
lease = "10s"
prometheus = { url = "http://prometheus:9090", query = "", above = "5%", datapoints = "3 of 2", every = "8s" }
[[external]]
name = "d"
lease = "10s"
poll = { timeout = "2m", every = "8s" }
[external.prometheus]
"#;
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:6: external[0].poll.method: expected one of "GET", "POST", not "PUT""#,
            r#"p.toml:6: external[0].poll.url: a URL with a name or a password would be shown with the plan: write token_file or token_env instead"#,
            r#"p.toml:6: external[0].poll.every: must be from 1s to 1h, not 100ms"#,
            r#"p.toml:6: external[0].poll.token_env: "HOME" is not a variable for a token: its name begins with SNAPBACK_TOKEN_, so that no plan can send other variables away"#,
            r#"p.toml:9: external[1].poll.errors: expected a whole number from 1 to 100, not the number 0"#,
            r#"p.toml:9: external[1].poll.token_env: there is one token: keep either token_file or token_env"#,
            r#"p.toml:9: external[1].poll.ca: has no use with an http URL: write https, or leave it out"#,
            r#"p.toml:10: external[1].prometheus: an alarm has one source: keep either poll or prometheus"#,
            r#"p.toml:14: external[2].prometheus.query: must be from 1 to 4096 bytes long, not 0"#,
            r#"p.toml:14: external[2].prometheus.above: expected a number such as 0.05, in the query's unit, not the text "5%""#,
            r#"p.toml:14: external[2].prometheus.datapoints: 3 of 2 can never be met: at most 2 of 2"#,
            r#"p.toml:18: external[3].poll.url: is missing; write url = "https://grader.internal/state""#,
            r#"p.toml:18: external[3].poll.timeout: must be from 100ms to 1m, not 2m"#,
            r#"p.toml:19: external[3].prometheus: an alarm has one source: keep either poll or prometheus"#,
        ]
    );
}

#[test]
fn queries_have_one_bound_and_placeholders_that_stand_for_something_and_leases_outlast_a_question() {
    let lines = r#"[[external]]
name = "a"
prometheus = { url = "http://prometheus:9090", query = "up{version=\"$verion\"}", above = 1, below = 1 }
[[external]]
name = "b"
prometheus = { url = "prometheus:9090", query = "up" }
[[external]]
name = "c"
lease = "12s"
poll = { url = "http://grader/", every = "8s" }
"#;
    assert_eq!(
        plan_problems(lines),
        [
            r#"p.toml:5: external[0].prometheus.query: $verion stands for nothing: there are $endpoint, $shift, $blue, $green"#,
            r#"p.toml:5: external[0].prometheus.below: an alarm has one bound: keep one of above, at_least, below and at_most"#,
            r#"p.toml:8: external[1].prometheus.above: is missing; write above = 0.05, or at_least, below or at_most"#,
            r#"p.toml:8: external[1].prometheus.url: "prometheus:9090" is not a URL to ask at: write for instance "https://grader.internal:8443/state""#,
            r#"p.toml:11: external[2].lease: must be 13s or longer, which is every and timeout together, or answers would expire before the next one: not 12s"#,
        ]
    );
}

#[test]
fn no_alarm_takes_the_name_of_the_budget_of_failures() {
    assert_eq!(
        plan_problems("[[external]]\nname = \"max_failures\"\n"),
        [
            r#"p.toml:4: external[0].name: "max_failures" is the name of the plan's budget of failures: give the alarm another"#
        ]
    );
}

#[test]
fn thresholds_have_names_of_their_own_and_the_time_to_be_raised() {
    let threshold = |name: &str, period: &str| {
        format!(
            "[[threshold]]\nname = \"{name}\"\nmetric = \"failures\"\nabove = 0\nperiod = \"{period}\"\ndatapoints = \"2 of 3\"\n"
        )
    };
    let guard = "[[guard]]\nname = \"same\"\nmetric = \"error_rate\"\nbelow = \"1%\"\n";
    assert_eq!(
        plan_problems(&format!("{guard}{}", threshold("same", "1s"))),
        [r#"p.toml:8: threshold[0].name: there are two alarms called "same": give one a name of its own"#]
    );
    assert_eq!(
        plan_problems(&threshold("late", "2h")),
        [
            r#"p.toml:3: threshold: "late" needs 2 periods of 2h to be raised, which is longer than execution_timeout (2h): shorten the period, or have fewer datapoints"#
        ]
    );
    let many: String = (0..17).map(|number| threshold(&format!("t{number}"), "1s")).collect();
    assert_eq!(
        plan_problems(&many),
        ["p.toml:3: threshold: 17 thresholds are more than the 16 a plan can have"]
    );
}

#[test]
fn a_plan_has_so_many_guards_on_tokens() {
    let metric = |number: usize| if number.is_multiple_of(2) { "first_token" } else { "token_gap" };
    let guard = |number| {
        format!(
            "[[guard]]\nname = \"g{number}\"\nmetric = \"{}\"\nquantile = \"p95\"\nbelow = \"1s\"\n",
            metric(number)
        )
    };
    let plan = |guards: usize| (0..guards).map(guard).collect::<String>();
    assert_eq!(
        plan_problems(&plan(9)),
        ["p.toml:45: guard[8].metric: a plan has at most 8 guards on first_token and token_gap together"]
    );
    let unnamed = plan(2).replace("name = \"g0\"\n", "").replace("name = \"g1\"\n", "");
    let plan = PlanSpec::from_toml(&format!("{PLAN_HEAD}{unnamed}"), "p.toml").unwrap();
    let names: Vec<_> = plan.alarms.guards.iter().map(|guard| guard.name.as_str()).collect();
    assert_eq!(names, ["first_token_p95", "token_gap_p95"]);
}

#[test]
fn regressions_say_what_they_take() {
    let lines = r#"[[regression]]
metric = "error_rate"
tolerance = "0.9x"
quantile = "p99"
burst = 0
[[regression]]
metric = "latency"
tolerance = "5%"
[[regression]]
metric = "latency"
tolerance = "1.01x"
quantile = "p0"
[[regression]]
metric = "first_token"
tolerance = "1%"
[[regression]]
name = "latency_regression"
metric = "client_error_rate"
tolerance = 1.5
below = "1%"
[[regression]]
metric = "error"
"#;
    let tolerance = "is not a tolerance: write \"1.5x\" for one and a half times blue's, from 1x to 100x, or \"0.5%\" for so many \
                     percentage points above it";
    assert_eq!(
        plan_problems(lines),
        [
            format!("p.toml:5: regression[0].tolerance: \"0.9x\" {tolerance}"),
            "p.toml:6: regression[0].quantile: only a regression on latency, first_token or token_gap has a quantile: leave it out"
                .to_owned(),
            "p.toml:7: regression[0].burst: expected a whole number from 1 to 1000, not the number 0".to_owned(),
            "p.toml:10: regression[1].tolerance: times are compared by a ratio: write for instance \"1.2x\"".to_owned(),
            "p.toml:13: regression[2].tolerance: \"1.01x\" is finer than the buckets that times are counted in, which are a 64th \
             wide: write \"1x\", or \"1.02x\" and more"
                .to_owned(),
            r#"p.toml:14: regression[2].quantile: "p0" is not a quantile: write "p50", "p99" or "p99.9", above p0 and below p100"#
                .to_owned(),
            "p.toml:17: regression[3].tolerance: times are compared by a ratio: write for instance \"1.2x\"".to_owned(),
            "p.toml:21: regression[4].tolerance: expected a tolerance such as \"1.5x\" or \"0.5%\", not the number 1.5".to_owned(),
            "p.toml:22: regression[4].below: a regression is bounded by blue: write tolerance, or an absolute bound in a [[guard]]"
                .to_owned(),
            r#"p.toml:24: regression[5].metric: expected one of "error_rate", "client_error_rate", "latency", "first_token", "token_gap", not "error""#
                .to_owned(),
        ]
    );
}

#[test]
fn a_regression_needs_a_blue_that_takes_traffic() {
    let plan = |strategy: &str| {
        format!(
            "green = {{ version = \"v2\", instances = [\"a:1\"] }}\nstrategy = {strategy}\n[[regression]]\nmetric = \"latency\"\n"
        )
    };
    for (kind, strategy) in [
        ("all_at_once", "{ type = \"all_at_once\", final_bake = \"5m\" }"),
        ("canary", "{ type = \"canary\", share = \"5%\", bake = \"0s\", final_bake = \"5m\" }"),
    ] {
        assert_eq!(
            whole_plan_problems(&plan(strategy)),
            [format!(
                "p.toml:3: regression: a regression compares green with a blue that takes traffic at the same moments, and {kind} has no \
                 step below 100% with a bake: use strategy = {{ type = \"canary\", share = \"5%\", bake = \"2m\", final_bake = \"5m\" }}, \
                 or a [[guard]], which needs no blue"
            )]
        );
    }
}

#[test]
fn alarms_of_all_kinds_have_names_of_their_own() {
    let lines = "[[guard]]\nname = \"same\"\nmetric = \"error_rate\"\nbelow = \"1%\"\n\
                 [[regression]]\nname = \"same\"\nmetric = \"error_rate\"\n";
    assert_eq!(
        plan_problems(lines),
        [r#"p.toml:8: regression[0].name: there are two alarms called "same": give one a name of its own"#]
    );
    let many =
        (0..17).map(|number| format!("[[regression]]\nmetric = \"error_rate\"\nname = \"r{number}\"\n"));
    assert_eq!(
        plan_problems(&many.collect::<String>()),
        ["p.toml:3: regression: 17 regressions are more than the 16 a plan can have"]
    );
}

#[test]
fn a_regression_without_a_name_is_called_after_its_metric_and_has_no_tolerance() {
    let lines = "[[regression]]\nmetric = \"error_rate\"\n[[regression]]\nmetric = \"client_error_rate\"\n\
                 [[regression]]\nmetric = \"latency\"\n[[regression]]\nmetric = \"latency\"\nquantile = \"p95\"\ntolerance = \"1.2x\"\n\
                 [[regression]]\nmetric = \"first_token\"\nquantile = \"p90\"\n[[regression]]\nmetric = \"token_gap\"\n";
    let plan = PlanSpec::from_toml(&format!("{PLAN_HEAD}{lines}"), "p.toml").unwrap();
    let tolerance = Tolerance::Ratio(1.0);
    let regression = |name: &str, bound| Regression { name: name.to_owned(), bound, burst: None };
    assert_eq!(
        plan.alarms.regressions,
        [
            regression("error_rate_regression", RegressionBound::ErrorRate { tolerance }),
            regression("client_error_rate_regression", RegressionBound::ClientErrorRate { tolerance }),
            regression("latency_regression", RegressionBound::Latency { quantile: None, ratio: 1.0 }),
            regression(
                "latency_p95_regression",
                RegressionBound::Latency { quantile: Some(0.95), ratio: 1.2 }
            ),
            regression(
                "first_token_p90_regression",
                RegressionBound::FirstToken { quantile: Some(0.9), ratio: 1.0 }
            ),
            regression("token_gap_regression", RegressionBound::TokenGap { quantile: None, ratio: 1.0 }),
        ]
    );
}

#[test]
fn guards_have_names_of_their_own_and_a_number_that_the_meters_can_hold() {
    let guard = |below: usize| {
        format!(
            "[[guard]]\nmetric = \"latency\"\nquantile = \"p99\"\nbelow = \"{below}ms\"\nname = \"g{below}\"\n"
        )
    };
    let guards: String = (1..=9).map(guard).collect();
    assert_eq!(
        plan_problems(&guards),
        ["p.toml:44: guard[8].metric: a plan has at most 8 guards on latency"]
    );
    let twice = "[[guard]]\nmetric = \"error_rate\"\nbelow = \"1%\"\n".repeat(2);
    assert_eq!(
        plan_problems(&twice),
        [r#"p.toml:6: guard[1].name: there are two alarms called "error_rate": give one a name of its own"#]
    );
    let many: String = (0..17)
        .map(|number| format!("[[guard]]\nmetric = \"error_rate\"\nbelow = \"1%\"\nname = \"g{number}\"\n"))
        .collect();
    assert_eq!(plan_problems(&many), ["p.toml:3: guard: 17 guards are more than the 16 a plan can have"]);
}

#[test]
fn a_guard_without_a_name_is_called_after_its_metric() {
    let guards = "[[guard]]\nmetric = \"error_rate\"\nbelow = \"1%\"\n\
                  [[guard]]\nmetric = \"latency\"\nquantile = \"p99.9\"\nbelow = \"1s\"\n";
    let plan = PlanSpec::from_toml(&format!("{PLAN_HEAD}{guards}"), "p.toml").unwrap();
    let names: Vec<&str> = plan.alarms.guards.iter().map(|guard| guard.name.as_str()).collect();
    assert_eq!(names, ["error_rate", "latency_p99.9"]);
}
