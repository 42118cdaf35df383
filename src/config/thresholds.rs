//! The threshold alarms of a plan: read, checked and written.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use super::{
    alarms::{alarm_name, check_name},
    document::{Value, quoted},
    reader::{Table, parsed, text, whole, word},
    shape,
    units::{countable_time, duration, format_fraction, fraction, percentage, quantile, resolvable_time},
};
use crate::{
    alarm::{
        AlarmPlan, Bound, Comparison, LowSamples, Measure, MissingData, Statistic, Threshold, Trim, Unit,
    },
    fleet::{FleetSpec, in_words},
    name::VariantName,
    shift::{NoData, ShiftPlan},
    time::format_duration,
};

/// Each keeps a copy of green's histogram to compare with: some 14 KiB.
const MAX_THRESHOLDS: usize = 16;

/// CloudWatch evaluates a day at most; a hundred periods of any length are more than a shift waits for.
const MAX_PERIODS: usize = 100;

/// Below this a period has too few requests to make a statistic of, and the evaluator's looks, ten milliseconds apart, blur its ends.
const SHORTEST_PERIOD: Duration = Duration::from_secs(1);

const METRICS: [(&str, Metric); 8] = [
    ("latency", Metric::Latency),
    ("first_byte", Metric::FirstByte),
    ("first_token", Metric::FirstToken),
    ("token_gap", Metric::TokenGap),
    ("error_rate", Metric::ErrorRate),
    ("client_error_rate", Metric::ClientErrorRate),
    ("requests", Metric::Requests),
    ("failures", Metric::Failures),
];
const PLAIN_STATISTICS: [(&str, Statistic); 5] = [
    ("average", Statistic::Average),
    ("sum", Statistic::Sum),
    ("minimum", Statistic::Minimum),
    ("maximum", Statistic::Maximum),
    ("sample_count", Statistic::SampleCount),
];
type Trimmed = fn(Trim) -> Statistic;
const TRIMMED: [(&str, Trimmed); 4] = [
    ("tm", Statistic::TrimmedMean),
    ("wm", Statistic::WinsorizedMean),
    ("tc", Statistic::TrimmedCount),
    ("ts", Statistic::TrimmedSum),
];
pub(super) const COMPARISONS: [(&str, Comparison); 4] = [
    ("above", Comparison::Above),
    ("at_least", Comparison::AtLeast),
    ("below", Comparison::Below),
    ("at_most", Comparison::AtMost),
];
const MISSING: [(&str, MissingData); 4] = [
    ("missing", MissingData::Missing),
    ("ignore", MissingData::Ignore),
    ("breaching", MissingData::Breaching),
    ("not_breaching", MissingData::NotBreaching),
];
const LOW_SAMPLES: [(&str, LowSamples); 2] =
    [("evaluate", LowSamples::Evaluate), ("ignore", LowSamples::Ignore)];

#[derive(Clone, Copy)]
enum Metric {
    Latency,
    FirstByte,
    FirstToken,
    TokenGap,
    ErrorRate,
    ClientErrorRate,
    Requests,
    Failures,
}

pub(super) fn read(root: &Table<'_>, names: &mut BTreeSet<String>) -> Vec<Threshold> {
    let tables = root.tables("threshold", &shape::THRESHOLD);
    if tables.len() > MAX_THRESHOLDS {
        root.problem(
            "threshold",
            format!("{} thresholds are more than the {MAX_THRESHOLDS} a plan can have", tables.len()),
        );
    }
    let read = |table: &Table<'_>| {
        let threshold = read_threshold(table)?;
        check_name(table, &threshold.name, names);
        Some(threshold)
    };
    tables.iter().filter_map(read).collect()
}

/// Whether each can be raised before the shift has gone on without it.
pub(super) fn check(root: &Table<'_>, alarms: &AlarmPlan, shift: &ShiftPlan) {
    let limits = shift.limits();
    let (most, whose) = match limits.no_data {
        NoData::Hold | NoData::Fail => (limits.execution_timeout, "execution_timeout"),
        NoData::Pass => {
            let bakes = shift.steps().iter().map(|step| step.bake);
            (bakes.max().unwrap_or_default(), "the longest bake, and no_data = \"pass\" waits for nothing")
        }
    };
    for threshold in alarms.thresholds.iter().filter(|threshold| threshold.shortest() > most) {
        root.problem(
            "threshold",
            format!(
                "{:?} needs {} periods of {} to be raised, which is longer than {whose} ({}): shorten the period, or have fewer datapoints",
                threshold.name,
                threshold.datapoints,
                format_duration(threshold.period),
                format_duration(most)
            ),
        );
    }
}

/// Whether green has the variants that they look at.
pub(super) fn check_variants(root: &Table<'_>, alarms: &AlarmPlan, green: &FleetSpec) {
    for Threshold { name, variant, .. } in &alarms.thresholds {
        if let Some(variant) = variant
            && !green.variant_names().any(|other| other == variant)
        {
            let there = in_words(green.variant_names());
            root.problem(
                "threshold",
                format!(
                    "{name:?} looks at the variant {variant}, and green has not: its variants are {there}"
                ),
            );
        }
    }
}

fn read_threshold(table: &Table<'_>) -> Option<Threshold> {
    let name = table.required("name", "\"slow\"", parsed(alarm_name));
    let variant = table.optional("variant", parsed(VariantName::parse));
    let measure = read_measure(table);
    let bound = read_bound(table, measure);
    let period = table.required("period", "\"10s\"", period);
    let counts =
        if table.has("datapoints") { table.optional("datapoints", datapoints) } else { Some((1, 1)) };
    let missing = table.optional("missing", word(&MISSING)).unwrap_or(MissingData::Missing);
    let low_samples = table.optional("low_samples", word(&LOW_SAMPLES)).unwrap_or(LowSamples::Evaluate);
    let (measure, (comparison, bound), (datapoints, periods)) = (measure?, bound?, counts?);
    let name = name?;
    Some(Threshold {
        name,
        variant,
        measure,
        comparison,
        bound,
        period: period?,
        periods,
        datapoints,
        missing,
        low_samples,
    })
}

fn read_measure(table: &Table<'_>) -> Option<Measure> {
    let metric = table.required("metric", "\"latency\"", word(&METRICS))?;
    let of_times = || table.required("statistic", "\"p90\"", statistic);
    let one = |measure: Measure, word: &'static str| {
        let given = table.has("statistic").then(|| table.optional("statistic", text_of));
        if let Some(Some(given)) = given
            && given != word
        {
            let metric = metric_word(measure);
            table.problem(
                "statistic",
                format!("{metric} has the statistic {word:?} alone, not {}: leave it out", quoted(&given)),
            );
        }
        measure
    };
    match metric {
        Metric::Latency => of_times().map(Measure::Latency),
        Metric::FirstByte => of_times().map(Measure::FirstByte),
        Metric::FirstToken => of_times().map(Measure::FirstToken),
        Metric::TokenGap => of_times().map(Measure::TokenGap),
        Metric::ErrorRate => Some(one(Measure::ErrorRate, "average")),
        Metric::ClientErrorRate => Some(one(Measure::ClientErrorRate, "average")),
        Metric::Requests => Some(one(Measure::Requests, "sum")),
        Metric::Failures => Some(one(Measure::Failures, "sum")),
    }
}

/// The one comparison there must be. Without a measure its bound cannot be read, which the measure's problem says enough about.
fn read_bound(table: &Table<'_>, measure: Option<Measure>) -> Option<(Comparison, Bound)> {
    let given: Vec<_> = COMPARISONS.into_iter().filter(|(key, _)| table.has(key)).collect();
    let (key, comparison) = match given.as_slice() {
        [one] => *one,
        [] => {
            table.problem("above", "is missing; write above = \"300ms\", or at_least, below or at_most");
            return None;
        }
        [_, (second, _), ..] => {
            table.problem(second, "an alarm has one bound: keep one of above, at_least, below and at_most");
            return None;
        }
    };
    let measure = measure?;
    let bound = match measure.unit() {
        Unit::Time => Bound::Time(table.optional(key, |value| time(value, measure))?),
        Unit::Fraction => Bound::Fraction(table.optional(key, fraction)?),
        Unit::Count => Bound::Count(table.optional(key, whole(0..=1_000_000_000))?),
    };
    Some((comparison, bound))
}

/// A time that the histograms can tell from its neighbours.
fn time(value: &Value, measure: Measure) -> Result<Duration, String> {
    let exact = match measure {
        Measure::Latency(statistic)
        | Measure::FirstByte(statistic)
        | Measure::FirstToken(statistic)
        | Measure::TokenGap(statistic) => {
            matches!(statistic, Statistic::Average | Statistic::Sum | Statistic::TrimmedSum(_))
        }
        Measure::ErrorRate | Measure::ClientErrorRate | Measure::Requests | Measure::Failures => true,
    };
    if exact { countable_time(value) } else { resolvable_time(value) }
}

fn period(value: &Value) -> Result<Duration, String> {
    match duration(value)? {
        span if span < SHORTEST_PERIOD => {
            Err(format!("must be 1s or longer, not {}: a shorter period says little", format_duration(span)))
        }
        span => Ok(span),
    }
}

/// `2 of 3`: M and N.
pub(super) fn datapoints(value: &Value) -> Result<(usize, usize), String> {
    let text = text(value)
        .map_err(|_| format!("expected datapoints such as \"2 of 3\", not {}", value.describe()))?;
    let error = || format!("{} is not a number of datapoints: write for instance \"2 of 3\"", quoted(text));
    let whole = |number: &str| {
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse::<usize>().ok()).flatten()
    };
    let (least, of) = text.split_once(" of ").ok_or_else(error)?;
    match (whole(least).ok_or_else(error)?, whole(of).ok_or_else(error)?) {
        (_, 0) | (0, _) => Err(format!("{} can never be met: at least 1 of 1", quoted(text))),
        (least, of) if least > of => Err(format!("{least} of {of} can never be met: at most {of} of {of}")),
        (_, of) if of > MAX_PERIODS => Err(format!("looks at {of} periods: at most {MAX_PERIODS}")),
        counts => Ok(counts),
    }
}

fn statistic(value: &Value) -> Result<Statistic, String> {
    let given =
        text(value).map_err(|_| format!("expected a statistic such as \"p90\", not {}", value.describe()))?;
    if let Some((_, statistic)) = PLAIN_STATISTICS.iter().find(|(word, _)| *word == given) {
        return Ok(*statistic);
    }
    if given.starts_with('p') {
        return quantile(value).map(Statistic::Percentile);
    }
    let trimmed = TRIMMED.iter().find_map(|(word, make)| Some(make(trim(given.strip_prefix(word)?)?)));
    trimmed.ok_or_else(|| {
        format!(
            "{} is not a statistic: write average, sum, minimum, maximum, sample_count, a percentile such as \"p90\", or tm, wm, tc or \
             ts with what they keep, such as \"tm90\" or \"tm(10%:90%)\"",
            quoted(given)
        )
    })
}

/// `90`: up to the 90th percentile; `(10%:90%)`: between two.
fn trim(text: &str) -> Option<Trim> {
    let inner = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let trim = match inner {
        Some(inner) => {
            let (from, to) = inner.split_once(':')?;
            Trim { from: percentage(from.strip_suffix('%')?)?, to: percentage(to.strip_suffix('%')?)? }
        }
        None => Trim { from: 0.0, to: percentage(text)? },
    };
    (trim.from < trim.to && trim.to <= 1.0 && (inner.is_none() || trim.from > 0.0)).then_some(trim)
}

fn text_of(value: &Value) -> Result<String, String> {
    text(value).map(str::to_owned)
}

/// The word for a measure's metric.
fn metric_word(measure: Measure) -> &'static str {
    match measure {
        Measure::Latency(_) => "latency",
        Measure::FirstByte(_) => "first_byte",
        Measure::FirstToken(_) => "first_token",
        Measure::TokenGap(_) => "token_gap",
        Measure::ErrorRate => "error_rate",
        Measure::ClientErrorRate => "client_error_rate",
        Measure::Requests => "requests",
        Measure::Failures => "failures",
    }
}

/// A measure in the words of a plan: its metric and its statistic.
pub fn format_measure(measure: Measure) -> (&'static str, String) {
    let statistic = match measure {
        Measure::Latency(statistic)
        | Measure::FirstByte(statistic)
        | Measure::FirstToken(statistic)
        | Measure::TokenGap(statistic) => format_statistic(statistic),
        Measure::ErrorRate | Measure::ClientErrorRate => "average".to_owned(),
        Measure::Requests | Measure::Failures => "sum".to_owned(),
    };
    (metric_word(measure), statistic)
}

/// A bound in the words of a plan: `300ms`, `1%`, `10`.
pub fn format_bound(bound: Bound) -> String {
    match bound {
        Bound::Time(time) => format_duration(time),
        Bound::Fraction(fraction) => format_fraction(fraction),
        Bound::Count(count) => count.to_string(),
    }
}

fn format_statistic(statistic: Statistic) -> String {
    let kept = |word: &str, trim: Trim| match trim {
        Trim { from: 0.0, to } => format!("{word}{}", format_fraction(to).trim_end_matches('%')),
        Trim { from, to } => format!("{word}({}:{})", format_fraction(from), format_fraction(to)),
    };
    match statistic {
        Statistic::Average => "average".to_owned(),
        Statistic::Sum => "sum".to_owned(),
        Statistic::Minimum => "minimum".to_owned(),
        Statistic::Maximum => "maximum".to_owned(),
        Statistic::SampleCount => "sample_count".to_owned(),
        Statistic::Percentile(quantile) => super::format_quantile(quantile),
        Statistic::TrimmedMean(trim) => kept("tm", trim),
        Statistic::WinsorizedMean(trim) => kept("wm", trim),
        Statistic::TrimmedCount(trim) => kept("tc", trim),
        Statistic::TrimmedSum(trim) => kept("ts", trim),
    }
}

pub(super) fn render(threshold: &Threshold) -> serde_json::Value {
    let Threshold {
        name,
        variant,
        measure,
        comparison,
        bound,
        period,
        periods,
        datapoints,
        missing,
        low_samples,
    } = threshold;
    let (metric, statistic) = format_measure(*measure);
    let bound = match bound {
        Bound::Count(count) => (*count).into(),
        Bound::Time(_) | Bound::Fraction(_) => serde_json::Value::from(format_bound(*bound)),
    };
    let mut document = json!({
        "name": name,
        "metric": metric,
        "statistic": statistic,
        "period": format_duration(*period),
        "datapoints": format!("{datapoints} of {periods}"),
        "missing": missing.as_str(),
        "low_samples": low_samples.as_str(),
    });
    document[comparison.as_str()] = bound;
    if let Some(variant) = variant {
        document["variant"] = variant.as_str().into();
    }
    document
}
