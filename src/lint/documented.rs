//! The tables of the page on statistics (`src/docs/statistics.md`) are what this code forecasts.

use serde_json::{Value, json};

use super::{
    Origin, Situation, Traffic,
    subject::subjects,
    words::{count, percent},
};
use crate::config::PlanSpec;

const PAGE: &str = include_str!("../docs/statistics.md");

/// A canary with one alarm, at the default false-alarm probability.
fn plan(alarm: &Value) -> PlanSpec {
    let mut document = json!({
        "green": {"version": "v2", "instances": ["127.0.0.1:9003"]},
        "strategy": {"type": "canary", "share": "10%", "bake": "5m", "final_bake": "5m"},
    });
    for (key, value) in alarm.as_object().unwrap() {
        document[key] = value.clone();
    }
    PlanSpec::from_json(&document).unwrap()
}

/// The forecast of the alarm in a step of this share, against a blue of which 0.5 % of all requests fail.
fn forecast(alarm: &Value, share: f64) -> crate::alarm::Forecast {
    let traffic = Traffic {
        origin: Origin::Stated,
        rate: Some(20.0),
        settled: 100_000,
        failed: 500,
        ..Traffic::unknown(None)
    };
    let situation = Situation { traffic, ..Situation::unknown(None) };
    let plan = plan(alarm);
    let all = subjects(&plan.alarms, &situation);
    all[0].test(share, plan.shift.steps().len()).unwrap()
}

fn guard(below: &str) -> Value {
    json!({"guard": [{"metric": "error_rate", "below": below}]})
}

fn regression() -> Value {
    json!({"regression": [{"metric": "error_rate"}]})
}

/// Whether the page has these lines; if not, they are what it should have.
fn assert_on_page(rows: &[String]) {
    let missing: Vec<_> = rows.iter().filter(|row| !PAGE.lines().any(|line| line == row.as_str())).collect();
    assert!(missing.is_empty(), "the page lacks these lines:\n{}", rows.join("\n"));
}

fn needed(forecast: &crate::alarm::Forecast, rates: &[f64]) -> String {
    let cells = rates.iter().map(|rate| count(forecast.requests_needed(*rate).unwrap()));
    cells.collect::<Vec<_>>().join(" | ")
}

#[test]
fn the_pages_table_of_requests_that_a_guard_needs_is_what_is_forecast() {
    let rows: Vec<_> = [("0.1%", 0.001), ("1%", 0.01), ("5%", 0.05)]
        .iter()
        .map(|(below, rate)| {
            let forecast = forecast(&guard(below), 0.1);
            format!("| `below = \"{below}\"` | {} |", needed(&forecast, &[2.0 * rate, 5.0 * rate, 0.5, 1.0]))
        })
        .collect();
    assert_on_page(&rows);
}

#[test]
fn the_pages_table_of_requests_that_a_regression_needs_is_what_is_forecast() {
    let rows: Vec<_> = [("1%", 0.01), ("10%", 0.1), ("50%", 0.5)]
        .iter()
        .map(|(name, share)| {
            let forecast = forecast(&regression(), *share);
            format!("| {name} | {} |", needed(&forecast, &[0.01, 0.02, 0.05, 1.0]))
        })
        .collect();
    assert_on_page(&rows);
}

#[test]
fn the_pages_table_of_what_a_step_finds_is_what_is_forecast() {
    let (guard, regression) = (forecast(&guard("1%"), 0.1), forecast(&regression(), 0.1));
    let found = |forecast: &crate::alarm::Forecast, requests| {
        forecast.smallest_rate(requests).map_or_else(|| "nothing".to_owned(), percent)
    };
    let rows: Vec<_> = [2, 50, 200, 1_000, 5_000, 20_000]
        .iter()
        .map(|requests| {
            format!(
                "| {} | {} | {} |",
                count(*requests),
                found(&guard, *requests),
                found(&regression, *requests)
            )
        })
        .collect();
    assert_on_page(&rows);
}
