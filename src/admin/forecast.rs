//! What a plan can find, on the wire.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::lint;

/// What `snapback plan lint` works out by itself; the answer to a dry run has the same two fields.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Lint {
    /// What each step can find.
    pub forecast: Forecast,
    /// What an operator should know or change, the worst first.
    pub findings: Vec<Finding>,
}

/// What a plan's steps can find.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Forecast {
    /// The traffic that it is for.
    pub traffic: ForecastTraffic,
    /// The steps in order; of very many, the first ones and the last.
    pub steps: Vec<StepForecast>,
}

/// The traffic that a forecast is for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ForecastTraffic {
    /// Where the rate comes from: `measured`, `stated` or `unknown`.
    pub origin: String,
    /// Over how long it was measured.
    pub span_ms: Option<f64>,
    /// Requests a second.
    pub rate: Option<f64>,
    /// Blue's requests that its rates are from; with none, they are assumed.
    pub blue_requests: u64,
    /// Blue's rate of failures as the forecast takes it.
    pub blue_error_rate: f64,
    /// Blue's rate of answers that blame the client, as the forecast takes it.
    pub blue_client_error_rate: f64,
    /// Blue's median time, dispatch to last byte.
    pub blue_p50_ms: Option<f64>,
    /// Blue's 99th percentile.
    pub blue_p99_ms: Option<f64>,
}

/// What a step can find.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepForecast {
    /// Counted from 1.
    pub step: usize,
    /// Green's share.
    pub share: String,
    /// The bake as a duration such as `2m`.
    pub bake: String,
    /// Green requests in it; null when the traffic is not known.
    pub requests: Option<u64>,
    /// By alarm.
    pub alarms: Vec<Detection>,
}

/// What an alarm can find in a step.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Detection {
    /// The alarm's name.
    pub alarm: String,
    /// `rate`, `nothing`, `periods`, `reported`, `unknown` or `rests`.
    pub sight: String,
    /// In a few words.
    pub text: String,
    /// For `rate`, the least rate of bad green requests that is found with a probability of 95 %.
    pub rate: Option<f64>,
    /// For latency, how many times as slow as blue such a green is.
    pub slowdown: Option<f64>,
    /// For `periods`, how many whole ones the bake has.
    pub periods: Option<u64>,
    /// The least number of green requests that raise it if all of them are bad.
    pub least_requests: Option<u64>,
    /// A rate at which green is plainly worse than permitted: five times.
    pub effect_rate: Option<f64>,
    /// How many green requests find that with a probability of 95 %.
    pub needed_requests: Option<u64>,
    /// How long so many take.
    pub needed_ms: Option<f64>,
}

/// One thing that an operator should know of a plan, or change in it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// What kind of finding, such as `short_bake`.
    pub code: String,
    /// Where in the plan: `step 1`, `guard error_rate`.
    pub place: String,
    /// What is so, and what would be right.
    pub message: String,
    /// The figures in it, by name.
    pub numbers: BTreeMap<String, f64>,
}

impl From<lint::Lint> for Lint {
    fn from(lint: lint::Lint) -> Self {
        let lint::Lint { forecast, findings } = lint;
        Self { forecast: forecast.into(), findings: findings.into_iter().map(Finding::from).collect() }
    }
}

impl From<lint::Forecast> for Forecast {
    fn from(forecast: lint::Forecast) -> Self {
        let lint::Forecast { traffic, steps } = forecast;
        Self { traffic: traffic.into(), steps: steps.into_iter().map(StepForecast::from).collect() }
    }
}

impl From<lint::Traffic> for ForecastTraffic {
    fn from(traffic: lint::Traffic) -> Self {
        let (blue_error_rate, blue_client_error_rate) = (traffic.error_rate(), traffic.client_error_rate());
        let lint::Traffic {
            origin,
            rate,
            settled,
            failed: _,
            client_errors: _,
            latency,
            first_token: _,
            token_gap: _,
            slices: _,
        } = traffic;
        let (origin, span) = match origin {
            lint::Origin::Measured(span) => ("measured", Some(span)),
            lint::Origin::Stated => ("stated", None),
            lint::Origin::Unknown => ("unknown", None),
        };
        Self {
            origin: origin.to_owned(),
            span_ms: span.map(millis),
            rate,
            blue_requests: settled,
            blue_error_rate,
            blue_client_error_rate,
            blue_p50_ms: latency.quantile(0.5).map(millis),
            blue_p99_ms: latency.quantile(0.99).map(millis),
        }
    }
}

impl From<lint::StepForecast> for StepForecast {
    fn from(step: lint::StepForecast) -> Self {
        let lint::StepForecast { number, share, bake, requests, detections } = step;
        Self {
            step: number,
            share: share.to_string(),
            bake: crate::time::format_duration(bake),
            requests,
            alarms: detections.into_iter().map(Detection::from).collect(),
        }
    }
}

impl From<lint::Detection> for Detection {
    fn from(detection: lint::Detection) -> Self {
        let lint::Detection { alarm, sight, least, effect, needed, needed_bake } = detection;
        let (name, rate, slowdown, periods) = match sight {
            lint::Sight::Finds { rate, slowdown } => ("rate", Some(rate), slowdown, None),
            lint::Sight::Nothing => ("nothing", None, None, None),
            lint::Sight::Periods { whole } => ("periods", None, None, Some(whole)),
            lint::Sight::Reported => ("reported", None, None, None),
            lint::Sight::Unknown => ("unknown", None, None, None),
            lint::Sight::Rests => ("rests", None, None, None),
        };
        Self {
            alarm,
            sight: name.to_owned(),
            text: sight.text(),
            rate,
            slowdown,
            periods,
            least_requests: least,
            effect_rate: effect,
            needed_requests: needed,
            needed_ms: needed_bake.map(millis),
        }
    }
}

impl From<lint::Finding> for Finding {
    fn from(finding: lint::Finding) -> Self {
        let lint::Finding { severity, code, place, message, numbers } = finding;
        Self { severity: severity.as_str().to_owned(), code, place, message, numbers }
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}
