//! Values of metrics are asked for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Api, Request,
    definition::{Queries, check_period, extended_stat, parse_stat, read_queries, read_query},
    list, metric, now, put, text,
};
use crate::{
    admin::aws::{
        fault::{Fault, Kind},
        front::Answer,
    },
    alarm::{Comparison, LowSamples, MissingData, Statistic, ThresholdRule},
    cloudwatch::{Input, MetricAlarm, Stat},
};

/// How many datapoints `GetMetricStatistics` answers with at most, and `GetMetricData` where nobody asks for fewer; AWS's own bounds.
const MOST_STATISTICS: i64 = 1_440;
const MOST_DATAPOINTS: usize = 100_800;

/// How many queries one request may have; AWS's own bound.
const MOST_QUERIES: usize = 500;

/// How many spans all queries of a request may look at, and so how long one can take.
const MOST_SPANS: usize = 500_000;

/// What was found for one query.
struct Found {
    id: String,
    label: String,
    /// Beginning and value, in the order that is asked for.
    points: Vec<(i64, f64)>,
}

impl Api {
    pub(super) fn get_statistics(&self, request: &Request) -> Result<Answer, Fault> {
        let id = metric(&request.members)?;
        let period = request.whole("Period").unwrap_or_default();
        check_period(period)?;
        let window = window(request, period)?;
        let (from, _, count) = window;
        if count as u64 > MOST_STATISTICS.unsigned_abs() {
            return Err(Fault::new(
                Kind::Combination,
                format!(
                    "You have requested up to {count} datapoints, which exceeds the limit of {MOST_STATISTICS}. You may reduce the datapoints \
                     requested by increasing Period, or decreasing the time range."
                ),
            ));
        }
        let names = |member: &str| {
            list(&request.members, member)
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (plain, extended) = (names("Statistics"), names("ExtendedStatistics"));
        if plain.is_empty() && extended.is_empty() {
            let message =
                "At least one of the parameters Statistics and ExtendedStatistics must be specified.";
            return Err(Fault::new(Kind::MissingParameter, message));
        }
        let unit = Some(request.text("Unit")).filter(|unit| !unit.is_empty());
        let read = |name: &String, of: &dyn Fn(&str) -> Result<Stat, Fault>| Ok((name.clone(), of(name)?));
        let plain: Vec<_> = plain
            .iter()
            .map(|name| read(name, &|name| parse_stat("Statistics", name)))
            .collect::<Result<_, Fault>>()?;
        let extended: Vec<_> =
            extended.iter().map(|name| read(name, &extended_stat)).collect::<Result<_, Fault>>()?;
        let state = self.state();
        let label = json!(id.name);
        let Some(spans) = state.metrics.spans(&id, unit, window, now() / 1_000) else {
            return Ok(json!({ "Label": label, "Datapoints": [] }).into());
        };
        let unit = unit.or(state.metrics.unit(&id)).unwrap_or("None");
        let of = |(name, stat): &(String, Stat)| (name.clone(), spans.values(*stat));
        let (plain, extended): (Vec<_>, Vec<_>) =
            (plain.iter().map(of).collect(), extended.iter().map(of).collect());
        let mut points = Vec::new();
        for index in 0..count {
            let at = |values: &[Option<crate::alarm::Datapoint>]| {
                Some(values.get(index).copied().flatten()?.value)
            };
            let mut point = Map::new();
            for (name, values) in &plain {
                point.extend(at(values).map(|value| (name.clone(), json!(value))));
            }
            let more: Map<String, Value> = extended
                .iter()
                .filter_map(|(name, values)| Some((name.clone(), json!(at(values)?))))
                .collect();
            if !more.is_empty() {
                point.insert("ExtendedStatistics".to_owned(), Value::Object(more));
            }
            if !point.is_empty() {
                let begins = from + period * i64::try_from(index).unwrap_or_default();
                point.insert("Timestamp".to_owned(), json!(begins as f64));
                point.insert("Unit".to_owned(), json!(unit));
                points.push(Value::Object(point));
            }
        }
        Ok(json!({ "Label": label, "Datapoints": points }).into())
    }

    pub(super) fn get_data(&self, request: &Request) -> Result<Answer, Fault> {
        let queries = request.list("MetricDataQueries");
        if queries.len() > MOST_QUERIES {
            return Err(Fault::validation(format!(
                "The collection MetricDataQueries must not have a size greater than {MOST_QUERIES}."
            )));
        }
        let most = request.whole("MaxDatapoints").and_then(|most| usize::try_from(most).ok());
        let most = most.unwrap_or(MOST_DATAPOINTS).clamp(1, MOST_DATAPOINTS);
        let descending = request.text("ScanBy") != "TimestampAscending";
        let skipped = match request.text("NextToken") {
            "" => 0,
            token => token.parse::<usize>().map_err(|_| {
                Fault::new(Kind::InvalidToken, "The next token is not one that a page ended with.")
            })?,
        };
        let found = self.found(request, queries, descending)?;
        let total: usize = found.iter().map(|found| found.points.len()).sum();
        let (mut skip, mut room) = (skipped, most);
        let mut results = Vec::new();
        for Found { id, label, points } in found {
            let passed = skip.min(points.len());
            skip -= passed;
            let rest = points.get(passed..).unwrap_or_default();
            let shown = rest.get(..rest.len().min(room)).unwrap_or_default();
            room -= shown.len();
            // What an earlier page showed in full is not shown again as empty.
            if passed > 0 && rest.is_empty() {
                continue;
            }
            let word = if shown.len() < rest.len() { "PartialData" } else { "Complete" };
            results.push(json!({
                "Id": id,
                "Label": label,
                "Timestamps": shown.iter().map(|(begins, _)| *begins as f64).collect::<Vec<_>>(),
                "Values": shown.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
                "StatusCode": word,
            }));
        }
        let mut document = json!({ "MetricDataResults": results, "Messages": [] });
        if skipped + most < total {
            put(&mut document, "NextToken", json!((skipped + most).to_string()));
        }
        Ok(document.into())
    }

    fn found(&self, request: &Request, queries: &[Value], descending: bool) -> Result<Vec<Found>, Fault> {
        let (groups, order) = groups(queries)?;
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        let mut left = MOST_SPANS;
        let now = now() / 1_000;
        let state = self.state();
        for Queries { inputs, returned, period } in groups {
            let window = window(request, period)?;
            let (from, _, count) = window;
            let needed = count.saturating_mul(returned.len().max(1));
            left = left.checked_sub(needed).ok_or_else(|| {
                Fault::validation(format!(
                    "The queries look at more than {MOST_SPANS} periods together: ask for fewer, for longer ones, or for a shorter time."
                ))
            })?;
            for id in returned {
                let Some(input) = inputs.get(&id).cloned() else { continue };
                let asked = MetricAlarm { input, others: inputs.clone(), period, rule: NO_RULE };
                let values = asked.datapoints(&state.metrics, (from + period * as_i64(count), count), now);
                let values = values.map_err(|error| Fault::validation(error.to_string()))?;
                let begins = (0..).map(|index| from + period * index);
                let points = begins.zip(values).filter_map(|(begins, point)| Some((begins, point?.value)));
                let mut points: Vec<_> = points.collect();
                if descending {
                    points.reverse();
                }
                let label = label(queries, &id);
                found.insert(id.clone(), Found { id, label, points });
            }
        }
        Ok(order.iter().filter_map(|id| found.remove(id)).collect())
    }
}

/// Nothing is compared where values are only asked for.
const NO_RULE: ThresholdRule = ThresholdRule {
    statistic: Statistic::Average,
    comparison: Comparison::Above,
    bound: 0.0,
    periods: 1,
    datapoints: 1,
    missing: MissingData::Missing,
    low_samples: LowSamples::Evaluate,
};

/// Metrics that no expression names are asked for each with its own period; everything else together, with one.
fn groups(queries: &[Value]) -> Result<(Vec<Queries>, Vec<String>), Fault> {
    let all: Vec<_> = queries.iter().filter_map(Value::as_object).collect();
    let has_expression = all.iter().any(|query| query.contains_key("Expression"));
    let shown =
        |query: &&&Map<String, Value>| query.get("ReturnData").and_then(Value::as_bool).unwrap_or(true);
    let order: Vec<_> = all.iter().filter(shown).map(|query| text(query, "Id").to_owned()).collect();
    if has_expression {
        return Ok((vec![read_queries(queries)?], order));
    }
    let mut groups = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    for query in all {
        let id = text(query, "Id").to_owned();
        if !ids.insert(id.clone()) {
            return Err(Fault::validation(format!("The id {id} is used more than once.")));
        }
        let (input, period) = read_query(&id, query)?;
        let inputs: BTreeMap<String, Input> = BTreeMap::from([(id.clone(), input)]);
        let is_shown = order.contains(&id);
        let returned = if is_shown { vec![id] } else { Vec::new() };
        groups.push(Queries { inputs, returned, period: period.unwrap_or(60) });
    }
    Ok((groups, order))
}

/// Beginning, period and number of the spans between two moments. They begin where AWS's do: at a whole period of seconds, or at a whole minute.
fn window(request: &Request, period: i64) -> Result<(i64, i64, usize), Fault> {
    let (from, to) = (request.time("StartTime"), request.time("EndTime"));
    let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
    if from >= to {
        return Err(Fault::validation("The parameter StartTime must be less than the parameter EndTime."));
    }
    let whole = period.clamp(1, 60);
    let aligned = from.div_euclid(1_000).div_euclid(whole) * whole;
    // What begins before the end is within; the last span may reach beyond it.
    let seconds = to.saturating_add(999).div_euclid(1_000).saturating_sub(aligned);
    let count = seconds.saturating_add(period - 1).div_euclid(period.max(1));
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > MOST_SPANS {
        return Err(Fault::new(
            Kind::Combination,
            format!(
                "You have requested up to {count} datapoints, which exceeds the limit of {MOST_STATISTICS}. You may reduce the datapoints \
                 requested by increasing Period, or decreasing the time range."
            ),
        ));
    }
    Ok((aligned, period, count))
}

fn label(queries: &[Value], id: &str) -> String {
    let query = queries.iter().filter_map(Value::as_object).find(|query| text(query, "Id") == id);
    let Some(query) = query else { return id.to_owned() };
    let given = query.get("Label").and_then(Value::as_str);
    let of_metric =
        query.get("MetricStat").and_then(|asked| asked.pointer("/Metric/MetricName").and_then(Value::as_str));
    given.or(of_metric).unwrap_or(id).to_owned()
}

fn as_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
