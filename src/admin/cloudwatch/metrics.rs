//! Metrics are put by users, and listed.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Api, Request, dimensions, list, metric, now, put,
    showing::{read_token, write_token},
    text,
};
use crate::{
    admin::aws::{
        fault::{Fault, Kind},
        front::Answer,
        shape::millis,
    },
    cloudwatch::{Distribution, INSTANCES_NAMESPACE, MetricId, SLOTS_SECONDS, StatisticSet},
};

/// How many metrics and how many values of one a request may have; AWS's own bounds.
const MOST_DATA: usize = 1_000;
const MOST_VALUES: usize = 150;

/// The greatest magnitude of a value.
const GREATEST: f64 = 2.348_542_582_773_833_4e108; // 2^360

/// How far ahead of time a datum may be.
const AHEAD_SECONDS: i64 = 2 * 3_600;

/// What `RecentlyActive` of `PT3H` means.
const RECENT_SECONDS: i64 = 3 * 3_600;

/// How many metrics a page has.
const PAGE: usize = 500;

/// A datum that makes sense.
struct Datum {
    id: MetricId,
    unit: String,
    second: i64,
    samples: Distribution,
}

impl Api {
    pub(super) fn put_data(&self, request: &Request) -> Result<Answer, Fault> {
        let namespace = request.text("Namespace");
        // What instances do is known where they run: an agent there puts it where SageMaker's users look for it.
        let is_agents = namespace == INSTANCES_NAMESPACE;
        if namespace.starts_with("AWS/") || namespace.starts_with("/aws/") && !is_agents {
            return Err(invalid(format!(
                "The value {namespace} for parameter Namespace is reserved: what is in it is measured here."
            )));
        }
        let entities = request.list("EntityMetricData").iter().filter_map(Value::as_object);
        let of_entities = entities.flat_map(|entity| list(entity, "MetricData"));
        let data: Vec<_> = request.list("MetricData").iter().chain(of_entities).collect();
        if data.is_empty() {
            return Err(Fault::new(Kind::MissingParameter, "The parameter MetricData is required."));
        }
        if data.len() > MOST_DATA {
            return Err(invalid(format!(
                "The collection MetricData must not have a size greater than {MOST_DATA}."
            )));
        }
        let now = now() / 1_000;
        let numbered = data.into_iter().filter_map(Value::as_object).zip(1_usize..);
        let read = numbered.map(|(datum, place)| read_datum(namespace, datum, place, now));
        let read: Vec<Datum> = read.collect::<Result<_, _>>()?;
        let mut state = self.state();
        for Datum { id, unit, second, samples } in read {
            let put = state.metrics.put(&id, &unit, (second, now), &samples);
            put.map_err(|full| Fault::new(Kind::Limit, full.to_string()))?;
        }
        Ok(Answer::default())
    }

    pub(super) fn list_metrics(&self, request: &Request) -> Result<Answer, Fault> {
        let after: Option<MetricId> = read_token(request.text("NextToken"))?
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|_| {
                Fault::new(Kind::InvalidToken, "The next token is not one that a page ended with.")
            })?;
        let (namespace, name) = (request.text("Namespace"), request.text("MetricName"));
        let filters: Vec<_> = request.list("Dimensions").iter().filter_map(Value::as_object).collect();
        let oldest = request.members.contains_key("RecentlyActive").then(|| now() / 1_000 - RECENT_SECONDS);
        let has = |id: &MetricId, filter: &Map<String, Value>| {
            let wanted = filter.get("Value").and_then(Value::as_str);
            let found = id.dimension(text(filter, "Name"));
            found.is_some_and(|found| wanted.is_none_or(|wanted| wanted == found))
        };
        let wanted = |(id, newest): &(MetricId, i64)| {
            (namespace.is_empty() || id.namespace == namespace)
                && (name.is_empty() || id.name == name)
                && oldest.is_none_or(|oldest| *newest >= oldest)
                && filters.iter().all(|filter| has(id, filter))
                && after.as_ref().is_none_or(|after| id > after)
        };
        let mut found: Vec<_> = self.state().metrics.metrics().into_iter().filter(wanted).collect();
        let is_last = found.len() <= PAGE;
        found.truncate(PAGE);
        let shown = found.iter().map(|(id, _)| {
            json!({ "Namespace": id.namespace, "MetricName": id.name, "Dimensions": dimensions(id) })
        });
        let mut document = json!({ "Metrics": shown.collect::<Vec<_>>() });
        if let Some((id, _)) = found.last().filter(|_| !is_last) {
            let text = serde_json::to_string(id).unwrap_or_default();
            put(&mut document, "NextToken", json!(write_token(&text)));
        }
        Ok(document.into())
    }
}

fn read_datum(namespace: &str, datum: &Map<String, Value>, place: usize, now: i64) -> Result<Datum, Fault> {
    let at = format!("MetricData.member.{place}");
    let mut members = datum.clone();
    members.insert("Namespace".to_owned(), json!(namespace));
    let second = datum.get("Timestamp").and_then(millis).map_or(now, |millis| millis.div_euclid(1_000));
    if second > now + AHEAD_SECONDS || second < now - SLOTS_SECONDS {
        let days = SLOTS_SECONDS / 86_400;
        return Err(invalid(format!(
            "The parameter {at}.Timestamp must specify a time no more than {days} days in the past and no more than two hours in the future."
        )));
    }
    let samples =
        samples(datum, &at)?.ok_or_else(|| invalid(format!("The parameter {at} has no sample.")))?;
    let unit = datum.get("Unit").and_then(Value::as_str).unwrap_or("None").to_owned();
    Ok(Datum { id: metric(&members)?, unit, second, samples })
}

/// Exactly one of a value, values, and a set of statistics.
fn samples(datum: &Map<String, Value>, at: &str) -> Result<Option<Distribution>, Fault> {
    let (value, values, set) = (datum.get("Value"), datum.get("Values"), datum.get("StatisticValues"));
    let given = [value, values, set].into_iter().flatten().count();
    if given != 1 {
        let message = if given == 0 {
            format!(
                "At least one of the parameters {at}.Value, {at}.Values and {at}.StatisticValues must be specified."
            )
        } else {
            format!(
                "The parameters {at}.Value, {at}.Values and {at}.StatisticValues are mutually exclusive and you have specified more than one."
            )
        };
        let kind = if given == 0 { Kind::MissingParameter } else { Kind::Combination };
        return Err(Fault::new(kind, message));
    }
    if let Some(set) = set {
        let part = |name: &str| {
            checked(set.get(name).and_then(Value::as_f64), &format!("{at}.StatisticValues.{name}"))
        };
        let set = StatisticSet {
            count: part("SampleCount")?,
            sum: part("Sum")?,
            least: part("Minimum")?,
            greatest: part("Maximum")?,
        };
        if set.least > set.greatest || set.count <= 0.0 {
            return Err(invalid(format!(
                "The parameter {at}.StatisticValues must have a Minimum that is not above its Maximum, and samples."
            )));
        }
        return Ok(Distribution::of_set(set));
    }
    if let Some(value) = value {
        return Ok(Distribution::of([(checked(value.as_f64(), &format!("{at}.Value"))?, 1.0)]));
    }
    let (values, counts) = (list(datum, "Values"), list(datum, "Counts"));
    if values.len() > MOST_VALUES || !counts.is_empty() && counts.len() != values.len() {
        return Err(invalid(format!(
            "The collection {at}.Values must have at most {MOST_VALUES} members, and {at}.Counts as many."
        )));
    }
    let mut pairs: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for (index, value) in values.iter().enumerate() {
        let count = counts.get(index).map_or(Some(1.0), Value::as_f64);
        let value = checked(value.as_f64(), &format!("{at}.Values.member.{}", index + 1))?;
        let count = checked(count, &format!("{at}.Counts.member.{}", index + 1))?;
        if count < 0.0 {
            return Err(invalid(format!(
                "The parameter {at}.Counts.member.{} must not be negative.",
                index + 1
            )));
        }
        pairs.insert(index, (value, count));
    }
    Ok(Distribution::of(pairs.into_values()))
}

fn checked(number: Option<f64>, at: &str) -> Result<f64, Fault> {
    number.filter(|number| number.abs() <= GREATEST).ok_or_else(|| {
        invalid(format!("The value for parameter {at} must be a number between -2^360 and 2^360."))
    })
}

fn invalid(message: String) -> Fault {
    Fault::new(Kind::InvalidParameter, message)
}
