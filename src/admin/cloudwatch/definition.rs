//! An alarm made of a request that defines one.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{list, metric, text, whole};
use crate::{
    admin::aws::fault::{Fault, Kind},
    alarm::{Comparison, LowSamples, MissingData, ThresholdRule},
    cloudwatch::{Input, Math, MetricAlarm, Stat},
};

/// The longest that an alarm may look back with periods below an hour, and with others.
const DAY_SECONDS: i64 = 86_400;
const WEEK_SECONDS: i64 = 604_800;
const HOUR_SECONDS: i64 = 3_600;

/// How many metrics and expressions an alarm may have.
const MOST_QUERIES: usize = 20;

/// The periods of seconds: CloudWatch's own for alarms, and one and five seconds.
const SHORT_PERIODS: [i64; 5] = [1, 5, 10, 20, 30];

/// The alarm that a request defines.
pub(super) fn metric_alarm(request: &Map<String, Value>) -> Result<MetricAlarm, Fault> {
    for (member, why) in [
        ("ThresholdMetricId", "anomaly detection is not there"),
        ("EvaluationCriteria", "queries of PromQL are not there: an external alarm can ask a Prometheus"),
        ("WarmUpConfiguration", "an alarm is evaluated from when it is defined"),
        (
            "EvaluationInterval",
            "alarms are evaluated every minute, or as often as their shorter period asks for",
        ),
    ] {
        if request.contains_key(member) {
            return Err(Fault::validation(format!("{member} is not supported here: {why}.")));
        }
    }
    if request.get("EvaluationWindow").is_some_and(|window| window.get("WallClockWindow").is_some()) {
        return Err(Fault::validation(
            "EvaluationWindow: only SlidingWindow, which is the default, is supported here.",
        ));
    }
    let comparison = comparison(request)?;
    let bound = request.get("Threshold").and_then(Value::as_f64);
    let bound = bound.filter(|bound| bound.is_finite()).ok_or_else(|| missing("Threshold"))?;
    let (input, others, period) = inputs(request)?;
    let periods = whole(request, "EvaluationPeriods").ok_or_else(|| missing("EvaluationPeriods"))?;
    let datapoints = whole(request, "DatapointsToAlarm").unwrap_or(periods);
    if datapoints > periods {
        return Err(Fault::validation("DatapointsToAlarm must be less than or equal to EvaluationPeriods."));
    }
    let longest = if period < HOUR_SECONDS { DAY_SECONDS } else { WEEK_SECONDS };
    if period.saturating_mul(periods) > longest {
        let span = if longest == DAY_SECONDS { "a day" } else { "a week" };
        return Err(Fault::validation(format!(
            "Metrics cannot be checked across more than {span} (EvaluationPeriods * Period must be <= {longest})."
        )));
    }
    let statistic = match &input {
        Input::Metric { stat, .. } => *stat,
        Input::Math(_) => Stat::Of(crate::alarm::Statistic::Average),
    };
    let count = |number: i64| usize::try_from(number).unwrap_or(1).max(1);
    let rule = ThresholdRule {
        statistic: statistic.in_rules(),
        comparison,
        bound,
        periods: count(periods),
        datapoints: count(datapoints),
        missing: missing_data(request)?,
        low_samples: low_samples(request)?,
    };
    Ok(MetricAlarm { input, others, period, rule })
}

fn inputs(request: &Map<String, Value>) -> Result<(Input, BTreeMap<String, Input>, i64), Fault> {
    match (request.contains_key("MetricName"), list(request, "Metrics")) {
        (true, []) => {
            if !request.contains_key("Namespace") {
                return Err(missing("Namespace"));
            }
            let period = whole(request, "Period").ok_or_else(|| missing("Period"))?;
            check_period(period)?;
            let unit = request.get("Unit").and_then(Value::as_str).map(str::to_owned);
            Ok((
                Input::Metric { id: metric(request)?, stat: statistic(request)?, unit },
                BTreeMap::new(),
                period,
            ))
        }
        (false, []) => {
            Err(Fault::validation("Either MetricName with its Namespace, or Metrics must be specified."))
        }
        (true, _) => Err(Fault::new(
            Kind::Combination,
            "The parameters MetricName and Metrics cannot be used together.",
        )),
        (false, queries) => {
            if queries.len() > MOST_QUERIES {
                return Err(Fault::validation(format!(
                    "The parameter Metrics has {} entries, more than the {MOST_QUERIES} there can be.",
                    queries.len()
                )));
            }
            let Queries { inputs, returned, period } = read_queries(queries)?;
            let [returned] = returned.as_slice() else {
                return Err(Fault::validation("Exactly one element of the metrics list should return data."));
            };
            let input = inputs.get(returned).cloned();
            let input = input.ok_or_else(|| Fault::validation("The metrics list returns nothing."))?;
            Ok((input, inputs, period))
        }
    }
}

/// Metrics and expressions by their ids.
#[derive(Debug)]
pub(super) struct Queries {
    pub(super) inputs: BTreeMap<String, Input>,
    /// Those whose values are asked for, in their order.
    pub(super) returned: Vec<String>,
    /// Of all metrics.
    pub(super) period: i64,
}

/// Reads queries of one period.
pub(super) fn read_queries(queries: &[Value]) -> Result<Queries, Fault> {
    let mut inputs = BTreeMap::new();
    let mut returned = Vec::new();
    let mut periods = Vec::new();
    for query in queries.iter().filter_map(Value::as_object) {
        let id = text(query, "Id").to_owned();
        check_id(&id)?;
        let (input, period) = read_query(&id, query)?;
        periods.extend(period);
        if query.get("ReturnData").and_then(Value::as_bool).unwrap_or(true) {
            returned.push(id.clone());
        }
        if inputs.insert(id.clone(), input).is_some() {
            return Err(Fault::validation(format!("The id {id} is used more than once.")));
        }
    }
    for input in inputs.values() {
        if let Input::Math(math) = input
            && let Some(unknown) =
                math.ids().into_iter().find(|id| !inputs.contains_key(*id) && *id != "REPEAT")
        {
            return Err(Fault::validation(format!(
                "Error in expression: there is no metric or expression {unknown}."
            )));
        }
    }
    let period = periods.first().copied().unwrap_or(60);
    if let Some(other) = periods.iter().find(|other| **other != period) {
        return Err(Fault::validation(format!(
            "Metrics of an expression must have the same Period here, not {period} and {other}."
        )));
    }
    Ok(Queries { inputs, returned, period })
}

/// One query, and its period where it has one.
pub(super) fn read_query(id: &str, query: &Map<String, Value>) -> Result<(Input, Option<i64>), Fault> {
    match (query.get("MetricStat"), query.get("Expression").and_then(Value::as_str)) {
        (Some(Value::Object(asked)), None) => {
            let named = asked.get("Metric").and_then(Value::as_object).cloned().unwrap_or_default();
            if !(named.contains_key("Namespace") && named.contains_key("MetricName")) {
                return Err(Fault::validation(format!(
                    "The metric of {id} needs a Namespace and a MetricName."
                )));
            }
            let stat = parse_stat("Stat", text(asked, "Stat"))?;
            let period = whole(asked, "Period").unwrap_or_default();
            check_period(period)?;
            let unit = asked.get("Unit").and_then(Value::as_str).map(str::to_owned);
            Ok((Input::Metric { id: metric(&named)?, stat, unit }, Some(period)))
        }
        (None, Some(expression)) => {
            let math = Math::parse(expression);
            let math = math.map_err(|error| Fault::validation(format!("{error} (id: {id}).")))?;
            Ok((Input::Math(math), whole(query, "Period")))
        }
        (Some(_) | None, _) => {
            Err(Fault::validation(format!("Exactly one of MetricStat and Expression is needed for {id}.")))
        }
    }
}

/// Ids begin with a lower-case letter, so that no function is taken for one.
fn check_id(id: &str) -> Result<(), Fault> {
    let fits = id.starts_with(|sign: char| sign.is_ascii_lowercase())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if fits {
        return Ok(());
    }
    let shown: String = id.chars().take(100).collect();
    Err(Fault::validation(format!(
        "The value {shown} for parameter Id is not valid: it begins with a lower-case letter and has letters, digits and underscores."
    )))
}

fn statistic(request: &Map<String, Value>) -> Result<Stat, Fault> {
    match (request.get("Statistic"), request.get("ExtendedStatistic")) {
        (Some(_), Some(_)) => Err(Fault::new(
            Kind::Combination,
            "The parameters Statistic and ExtendedStatistic cannot be used together.",
        )),
        (Some(plain), None) => parse_stat("Statistic", plain.as_str().unwrap_or_default()),
        (None, Some(extended)) => extended_stat(extended.as_str().unwrap_or_default()),
        (None, None) => Err(missing("Statistic or ExtendedStatistic")),
    }
}

/// An extended one, which is none of the five others.
pub(super) fn extended_stat(name: &str) -> Result<Stat, Fault> {
    if Stat::is_plain(name) {
        return Err(invalid("ExtendedStatistic", name));
    }
    parse_stat("ExtendedStatistic", name)
}

/// Any statistic.
pub(super) fn parse_stat(parameter: &str, name: &str) -> Result<Stat, Fault> {
    Stat::parse(name).ok_or_else(|| invalid(parameter, name))
}

/// Periods of seconds, or of whole minutes.
pub(super) fn check_period(period: i64) -> Result<(), Fault> {
    if SHORT_PERIODS.contains(&period) || period > 0 && period % 60 == 0 && period <= WEEK_SECONDS {
        return Ok(());
    }
    Err(Fault::validation("Period must be 1, 5, 10, 20, 30 or a multiple of 60."))
}

fn comparison(request: &Map<String, Value>) -> Result<Comparison, Fault> {
    match text(request, "ComparisonOperator") {
        "GreaterThanThreshold" => Ok(Comparison::Above),
        "GreaterThanOrEqualToThreshold" => Ok(Comparison::AtLeast),
        "LessThanThreshold" => Ok(Comparison::Below),
        "LessThanOrEqualToThreshold" => Ok(Comparison::AtMost),
        "" => Err(missing("ComparisonOperator")),
        other => Err(Fault::validation(format!(
            "ComparisonOperator {other} needs anomaly detection, which is not there."
        ))),
    }
}

fn missing_data(request: &Map<String, Value>) -> Result<MissingData, Fault> {
    match text(request, "TreatMissingData") {
        "" | "missing" => Ok(MissingData::Missing),
        "ignore" => Ok(MissingData::Ignore),
        "breaching" => Ok(MissingData::Breaching),
        "notBreaching" => Ok(MissingData::NotBreaching),
        other => Err(invalid("TreatMissingData", other)),
    }
}

fn low_samples(request: &Map<String, Value>) -> Result<LowSamples, Fault> {
    match text(request, "EvaluateLowSampleCountPercentile") {
        "" | "evaluate" => Ok(LowSamples::Evaluate),
        "ignore" => Ok(LowSamples::Ignore),
        other => Err(invalid("EvaluateLowSampleCountPercentile", other)),
    }
}

fn missing(parameter: &str) -> Fault {
    Fault::new(Kind::MissingParameter, format!("The parameter {parameter} is required."))
}

fn invalid(parameter: &str, value: &str) -> Fault {
    let shown: String = value.chars().take(100).collect();
    Fault::new(
        Kind::InvalidParameter,
        format!("The value {shown} for parameter {parameter} is not supported."),
    )
}
