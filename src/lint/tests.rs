//! Plans and traffic in, findings out. Rates and counts of requests are those of the tables of detectability that `alarm::detect` is tested
//! by, reached here by way of a plan.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Finding, Lint, Origin, Room, Severity, Sight, Situation, Traffic, lint, parse_rate};
use crate::{
    alarm::Dealing,
    config::PlanSpec,
    meter::{Histogram, HistogramSnapshot},
};

/// A canary of 10 % for so long, then everything for so long, under these alarms.
fn plan(bake: &str, rest: Value) -> PlanSpec {
    let mut document = json!({
        "green": {"version": "v2", "instances": ["127.0.0.1:9003"]},
        "strategy": {"type": "canary", "share": "10%", "bake": bake, "final_bake": "1h"},
        "execution_timeout": "40d",
    });
    for (key, value) in rest.as_object().unwrap() {
        document[key] = value.clone();
    }
    PlanSpec::from_json(&document).unwrap()
}

/// Everything at once for so long: a plan with one bake.
fn at_once(bake: &str, rest: Value) -> PlanSpec {
    let mut rest = rest;
    rest["strategy"] = json!({"type": "all_at_once", "final_bake": bake});
    plan("1s", rest)
}

fn guard(below: &str) -> Value {
    json!({"guard": [{"metric": "error_rate", "below": below}]})
}

/// Ten requests a second, of so many settled ones so many failed.
fn traffic(settled: u64, failed: u64) -> Situation {
    let traffic = Traffic {
        origin: Origin::Measured(Duration::from_secs(300)),
        rate: Some(10.0),
        settled,
        failed,
        ..Traffic::unknown(None)
    };
    Situation { traffic, ..Situation::unknown(None) }
}

/// Answers whose times are lognormal with a median of 100 ms and a sigma of 0.6, by their quantiles.
fn lognormal() -> HistogramSnapshot {
    let histogram = Histogram::default();
    let normal_tail = |z: f64| {
        // Abramowitz and Stegun 26.2.17, good to 1e-7.
        let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
        let series = t
            * (0.319_381_530
                + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
        let tail = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * series;
        if z >= 0.0 { tail } else { 1.0 - tail }
    };
    let mut z = -4.0;
    for rank in 0..20_000_u32 {
        let above = 1.0 - (f64::from(rank) + 0.5) / 20_000.0;
        while normal_tail(z) > above {
            z += 0.000_2;
        }
        histogram.record(Duration::from_secs_f64(0.1 * (0.6 * z).exp()));
    }
    let mut sum = HistogramSnapshot::default();
    histogram.add_to(&mut sum);
    sum
}

fn codes(lint: &Lint) -> Vec<&str> {
    lint.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[track_caller]
fn the<'a>(lint: &'a Lint, code: &str) -> &'a Finding {
    lint.findings.iter().find(|finding| finding.code == code).unwrap_or_else(|| panic!("{:?}", lint.findings))
}

fn rate(lint: &Lint, step: usize, alarm: usize) -> f64 {
    let sight = lint.forecast.steps[step].detections[alarm].sight;
    let Sight::Finds { rate, slowdown: _ } = sight else { panic!("{sight:?}") };
    rate
}

/// Within half a unit of the last digit that the table gives, and a hundredth for other ways of rounding.
#[track_caller]
fn assert_close(found: f64, expected: f64, digit: f64) {
    assert!((found - expected).abs() <= 0.5 * digit + 0.01 * expected, "{found} is not {expected}");
}

#[test]
fn what_a_bake_finds_is_the_tables() {
    for (quantile, row) in [
        (
            "p99",
            [
                ("4800ms", 20.7, 0.1),
                ("20s", 8.3, 0.1),
                ("100s", 3.6, 0.1),
                ("500s", 1.99, 0.01),
                ("2000s", 1.46, 0.01),
            ],
        ),
        (
            "p95",
            [
                ("4800ms", 35.1, 0.1),
                ("20s", 17.0, 0.1),
                ("100s", 9.8, 0.1),
                ("500s", 7.0, 0.1),
                ("2000s", 6.1, 0.1),
            ],
        ),
    ] {
        for (bake, percent, digit) in row {
            let slow = json!({"guard": [{"metric": "latency", "quantile": quantile, "below": "250ms"}]});
            let lint = lint(&at_once(bake, slow), &traffic(0, 0));
            assert_close(100.0 * rate(&lint, 0, 0), percent, digit);
        }
    }
    // A guard on errors keeps a twentieth of its money for a sudden end, which may cost it a failure more.
    for (below, percent) in [("1%", 8.3), ("5%", 17.0)] {
        let found = 100.0 * rate(&lint(&at_once("20s", guard(below)), &traffic(0, 0)), 0, 0);
        assert!((percent - 0.2..=1.05 * percent).contains(&found), "{found} is not {percent}");
    }
}

#[test]
fn the_requests_for_a_green_five_times_as_bad_as_its_bound_are_the_tables_and_say_how_long_would_do() {
    let lint = lint(&at_once("20s", guard("1%")), &traffic(0, 0));
    let seen = &lint.forecast.steps[0].detections[0];
    assert_eq!((seen.needed, seen.needed_bake), (Some(506), Some(Duration::from_secs(51))));
    let short = the(&lint, "short_bake");
    assert_eq!((short.severity, short.place.as_str()), (Severity::Warning, "step 1"));
    assert_eq!(
        short.message,
        "its 200 green requests find an error rate of 8.33% or more (error_rate); 5% takes 506: bake = \"51s\" would do"
    );
    assert_eq!((short.numbers["needed"], short.numbers["requests"]), (506.0, 200.0));
    let longer = super::lint(&at_once("51s", guard("1%")), &traffic(0, 0));
    assert_eq!(codes(&longer), [""; 0]);
}

#[test]
fn a_regression_is_forecast_with_blues_rate_and_rests_where_green_has_everything() {
    // 0.5 %: what is assumed of a blue that nothing is known of.
    let regression = json!({"regression": [{"metric": "error_rate"}], "strategy": {"type": "steps", "steps": [
        {"share": "10%", "bake": "200s"}, {"share": "100%", "bake": "1m"}]}});
    let unknown = lint(&plan("1s", regression.clone()), &traffic(0, 0));
    // Two bakes: half the money, so a little less than the table's 7.6 % for 200 requests of one.
    let found = 100.0 * rate(&unknown, 0, 0);
    assert!((7.6..8.6).contains(&found), "{found}");
    assert_eq!(unknown.forecast.steps[1].detections[0].sight, Sight::Rests);
    let blind = the(&unknown, "blind_step");
    assert_eq!((blind.severity, blind.place.as_str()), (Severity::Warning, "step 2"));
    assert!(blind.message.contains("[[guard]]"), "{}", blind.message);
    let worse = lint(&plan("1s", regression), &traffic(100_000, 2_000));
    assert!(rate(&worse, 0, 0) > rate(&unknown, 0, 0) + 0.03, "a blue at 2 % hides more");
}

#[test]
fn slowness_is_told_in_blues_times_once_they_are_known() {
    let against_blue = json!({"regression": [{"metric": "latency", "quantile": "p95"}]});
    let mut situation = traffic(20_000, 0);
    let at = |situation: &Situation| {
        let lint = lint(&plan("677s", against_blue.clone()), situation);
        lint.forecast.steps[0].detections[0].sight
    };
    assert!(matches!(at(&situation), Sight::Finds { slowdown: None, .. }));
    situation.traffic.latency = lognormal();
    // Of the simulation's shifts with a green 1.3 times as slow, 95 % were found within 677 requests at p95 alone.
    let Sight::Finds { slowdown: Some(times), .. } = at(&situation) else { panic!("{:?}", at(&situation)) };
    assert!((1.25..1.42).contains(&times), "{times}");
}

#[test]
fn a_step_with_too_few_requests_for_a_total_outage_is_blind_and_what_then_happens_is_the_plans_choice() {
    // ln(1000) against ln(100), and the purse's costs: three.
    for (no_data, severity, then) in [
        ("hold", Severity::Warning, "it holds until they have come"),
        ("pass", Severity::Error, "takes it for healthy"),
        ("fail", Severity::Error, "rolls back a healthy green"),
    ] {
        let mut rest = guard("1%");
        rest["no_data"] = no_data.into();
        let lint = lint(&plan("2s", rest), &traffic(0, 0));
        let blind = the(&lint, "blind_step");
        assert_eq!((blind.severity, blind.place.as_str()), (severity, "step 1"));
        assert!(blind.message.contains(then), "{}", blind.message);
        assert_eq!(blind.numbers["requests"], 2.0);
        assert_eq!(blind.numbers["needed"], 3.0);
        assert_eq!(lint.has_errors(), severity == Severity::Error);
    }
}

#[test]
fn an_alarm_that_no_bake_can_raise_is_named_and_those_that_can_are_not() {
    let rest = json!({
        "strategy": {"type": "all_at_once", "final_bake": "1s"},
        "guard": [
            {"metric": "error_rate", "below": "1%"},
            {"metric": "latency", "quantile": "p50", "below": "1s"},
        ],
    });
    let lint = lint(&plan("1s", rest), &traffic(0, 0));
    let never = the(&lint, "alarm_cannot_fire");
    assert_eq!(never.place, "guard latency_p50");
    assert!(never.numbers["needed"] > never.numbers["requests"], "{never:?}");
    assert_eq!(codes(&lint).iter().filter(|code| **code == "alarm_cannot_fire").count(), 1);
    assert!(!codes(&lint).contains(&"blind_step"), "the other one sees something");
}

#[test]
fn a_threshold_sees_whole_periods_and_none_in_a_bake_that_is_too_short() {
    let rest = json!({
        "guard": [{"metric": "error_rate", "below": "1%"}],
        "threshold": [{"name": "slow", "metric": "latency", "statistic": "p90", "above": "1s", "period": "30s", "datapoints": "2 of 3"}],
    });
    let lint = lint(&plan("50s", rest), &traffic(0, 0));
    let sights: Vec<Sight> = lint.forecast.steps.iter().map(|step| step.detections[1].sight).collect();
    assert_eq!(sights, [Sight::Nothing, Sight::Periods { whole: 120 }]);
}

#[test]
fn a_bound_that_blue_itself_does_not_keep_is_an_error_and_one_at_its_edge_a_warning() {
    for (failed, severity) in [(300, Some(Severity::Error)), (101, Some(Severity::Warning)), (50, None)] {
        let lint = lint(&at_once("1h", guard("1%")), &traffic(10_000, failed));
        let found = lint.findings.iter().find(|finding| finding.code == "blue_beyond_bound");
        assert_eq!(found.map(|finding| finding.severity), severity, "{failed}");
    }
    let mut situation = traffic(20_000, 0);
    situation.traffic.latency = lognormal();
    let slow = json!({"guard": [
        {"metric": "error_rate", "below": "1%"}, {"metric": "latency", "quantile": "p99", "below": "250ms"}]});
    let lint = lint(&at_once("1h", slow), &situation);
    let beyond = the(&lint, "blue_beyond_bound");
    assert_eq!(beyond.place, "guard latency_p99");
    // ln 2.5 / 0.6 is 1.527 sigmas, beyond which 6.3 % lie.
    assert!((beyond.numbers["blue_rate"] - 0.063).abs() < 0.002, "{beyond:?}");
}

#[test]
fn a_threshold_that_blue_itself_would_raise_is_warned_of() {
    let threshold = json!([
        {"name": "slow", "metric": "latency", "statistic": "p90", "above": "200ms", "period": "10s"},
        {"name": "failing", "metric": "error_rate", "at_least": "1%", "period": "10s"},
        {"name": "idle", "metric": "requests", "below": 1, "period": "10s"},
    ]);
    let plan = at_once("1h", json!({"threshold": threshold}));
    let places = |settled, failed| {
        let mut situation = traffic(settled, failed);
        situation.traffic.latency = lognormal();
        let findings = lint(&plan, &situation).findings.into_iter();
        findings
            .filter(|finding| finding.code == "blue_beyond_bound")
            .map(|finding| finding.place)
            .collect::<Vec<_>>()
    };
    // The 90th percentile of these times is 100 ms * e^(1.2816 * 0.6) = 216 ms.
    assert_eq!(places(10_000, 100), ["threshold slow", "threshold failing"]);
    assert_eq!(places(10_000, 99), ["threshold slow"]);
    assert!(places(99, 99).is_empty(), "too few of blue's requests");
}

#[test]
fn latency_without_errors_is_warned_of_and_any_alarm_on_failures_is_enough() {
    let mut rest = json!({"guard": [{"metric": "latency", "quantile": "p99", "below": "250ms"}]});
    assert_eq!(
        the(&lint(&at_once("1h", rest.clone()), &traffic(0, 0)), "latency_without_errors").place,
        "guard latency_p99"
    );
    rest["threshold"] = json!([{"name": "down", "metric": "error_rate", "above": "50%", "period": "10s"}]);
    assert!(!codes(&lint(&at_once("1h", rest), &traffic(0, 0))).contains(&"latency_without_errors"));
}

#[test]
fn a_budget_that_a_healthy_green_spends_is_named_with_one_that_would_do() {
    // 0.0995 %, near the 0.1 % of which ten failures in 10,000 requests are the mean.
    let budget = |max: u64| {
        let mut rest = guard("1%");
        rest["max_failures"] = max.into();
        lint(&at_once("1000s", rest), &traffic(100_000, 99))
    };
    let small = budget(10);
    let finding = the(&small, "budget_too_small");
    assert_eq!((finding.place.as_str(), finding.numbers["requests"]), ("max_failures", 10_000.0));
    assert!((finding.numbers["chance"] - 0.542).abs() < 0.02, "{finding:?}");
    assert_eq!(finding.numbers["sufficient"], 19.0);
    assert!(finding.message.ends_with("max_failures = 19 would do"), "{}", finding.message);
    assert_eq!(codes(&budget(19)), [""; 0]);
}

#[test]
fn fleets_without_room_are_told_where_their_limits_are_known() {
    let at = |in_flight, most, green_room| {
        let situation = Situation { blue: Room { in_flight, most }, green_room, ..traffic(0, 0) };
        codes(&lint(&at_once("1h", guard("1%")), &situation)).join(" ")
    };
    assert_eq!(at(15, Some(16), None), "blue_too_small green_unbounded");
    assert_eq!(at(9, Some(16), Some(8)), "green_too_small");
    assert_eq!(at(8, Some(16), Some(8)), "");
    assert_eq!(at(1_000, None, None), "green_unbounded");
    assert_eq!(at(0, None, None), "");
}

#[test]
fn failures_of_blue_that_come_together_ask_for_a_burst_factor_unless_the_plan_has_one() {
    let mut situation = traffic(30_000, 360);
    situation.traffic.slices = vec![(100, 0); 300];
    for slice in situation.traffic.slices.iter_mut().step_by(60) {
        *slice = (100, 60);
    }
    let mut rest = json!({"guard": [{"metric": "error_rate", "below": "5%"}]});
    let bursty = lint(&at_once("1h", rest.clone()), &situation);
    let wanted = the(&bursty, "bursts").numbers["burst"];
    assert!(wanted > 2.0, "{wanted}");
    rest["guard"][0]["burst"] = 200.into();
    assert!(!codes(&lint(&at_once("1h", rest), &situation)).contains(&"bursts"));
}

#[test]
fn hours_that_are_closed_for_longer_than_a_shift_may_take_are_told() {
    let at = |timeout: &str| {
        let hours = json!([{"from": "08:00", "to": "20:00", "zone": "UTC"}]);
        let mut rest = guard("1%");
        (rest["allowed_hours"], rest["execution_timeout"]) = (hours, timeout.into());
        lint(&at_once("1h", rest), &traffic(0, 0))
    };
    let told = at("12h");
    let finding = the(&told, "closed_hours");
    assert_eq!((finding.numbers["closed_s"], finding.numbers["needed_s"]), (43_200.0, 46_800.0));
    assert!(!codes(&at("13h")).contains(&"closed_hours"), "a night and the bake fit");
    assert!(!codes(&lint(&at_once("1h", guard("1%")), &traffic(0, 0))).contains(&"closed_hours"));
}

#[test]
fn clients_dealt_by_a_sticky_key_need_more_requests() {
    let needed = |dealing| {
        let situation = Situation { dealing, ..traffic(0, 0) };
        lint(&at_once("1h", guard("1%")), &situation).forecast.steps[0].detections[0].least.unwrap()
    };
    assert!(needed(Dealing::Sticky) >= 3 * needed(Dealing::Deck));
}

#[test]
fn without_traffic_the_needs_are_told_and_the_rest_is_said_to_be_unknown() {
    let idle = Situation::unknown(None);
    let lint = lint(&plan("2m", guard("1%")), &idle);
    assert_eq!(codes(&lint), ["unknown_traffic"]);
    assert!(!lint.has_errors());
    let seen = &lint.forecast.steps[0].detections[0];
    assert_eq!((seen.sight, seen.needed_bake), (Sight::Unknown, None));
    assert!(seen.needed.is_some_and(|needed| needed > 500), "{seen:?}");
}

#[test]
fn a_plan_without_alarms_is_told_who_ends_the_shift_then() {
    assert!(the(&lint(&plan("2m", json!({})), &traffic(0, 0)), "no_alarms").message.contains("a person"));
    let budget = lint(&plan("2m", json!({"max_failures": 5})), &traffic(0, 0));
    assert!(the(&budget, "no_alarms").message.contains("max_failures"));
}

#[test]
fn of_thousands_of_steps_the_first_and_the_last_are_forecast() {
    let many =
        plan("1s", json!({"strategy": {"type": "linear", "step": "0.1%", "bake": "1s", "final_bake": "1m"}}));
    let numbers: Vec<usize> =
        lint(&many, &traffic(0, 0)).forecast.steps.iter().map(|step| step.number).collect();
    assert_eq!((numbers.len(), numbers[0], numbers[31]), (32, 1, 1_000));
}

#[test]
fn rates_are_read_with_their_unit_and_anything_else_is_refused() {
    for (text, rate) in [("20/s", 20.0), ("0.5/s", 0.5), ("300/m", 5.0), ("1800/h", 0.5)] {
        assert_eq!(parse_rate(text), Ok(rate));
    }
    for bad in
        ["", "20", "/s", "-1/s", "1e3/s", "nan/s", "inf/s", "0/s", "20/d", "20 /s", "1/s/s", "1000000000/s"]
    {
        assert!(parse_rate(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_alarm_on_tokens_is_forecast_by_blues_streams_alone() {
    let guard = json!({"guard": [
        {"metric": "first_token", "quantile": "p99", "below": "10s"},
        {"metric": "error_rate", "below": "1%"},
    ]});
    let plan = at_once("500s", guard);
    let mut situation = traffic(1_000, 0);
    let without = lint(&plan, &situation);
    assert_eq!(without.forecast.steps[0].detections[0].sight, Sight::Nothing);
    assert!(
        the(&without, "no_streams")
            .message
            .starts_with("none of blue's last 1,000 requests was answered with a stream")
    );
    let histogram = Histogram::default();
    (0..200).for_each(|_| histogram.record(Duration::from_millis(300)));
    histogram.add_to(&mut situation.traffic.first_token);
    let with = lint(&plan, &situation);
    assert!(!codes(&with).contains(&"no_streams"), "{:?}", codes(&with));
    // A fifth of 5,000 requests are streams, and two alarms share the budget.
    assert!(rate(&with, 0, 0) > 1.5 * rate(&with, 0, 1), "{} {}", rate(&with, 0, 0), rate(&with, 0, 1));
}

#[test]
fn a_step_that_is_to_end_early_and_cannot_is_told_how_many_requests_that_takes() {
    let mut early = guard("1%");
    early["strategy"] = json!({
        "type": "canary", "share": "10%", "bake": "5m", "final_bake": "1h", "ramp_when_safe": {"margin": "50%", "requests": 1},
    });
    let said = lint(&plan("5m", early.clone()), &traffic(1_000, 0));
    let finding = the(&said, "never_safe");
    assert_eq!((finding.place.as_str(), finding.severity), ("step 1", Severity::Warning));
    assert_eq!((finding.numbers["needed"], finding.numbers["requests"]), (378.0, 300.0));
    assert!(finding.message.contains("after 378 requests at the earliest"), "{}", finding.message);
    let sticky = Situation { dealing: Dealing::Sticky, ..traffic(1_000, 0) };
    assert!(the(&lint(&plan("5m", early.clone()), &sticky), "never_safe").message.contains("sticky keys"));
    early["strategy"]["bake"] = json!("1h");
    assert!(!codes(&lint(&plan("1h", early), &traffic(1_000, 0))).contains(&"never_safe"));
}
