//! Values with units: durations, shares, percentages, quantiles and sizes.
//!
//! A bare number is refused everywhere, since `interval = 5` means seconds to one reader and milliseconds to the next. What is
//! written here reads back to the very same value.

use std::{num::NonZeroU32, time::Duration};

use super::{
    document::{Value, quoted},
    reader::text,
};
use crate::{alarm::Tolerance, meter::Edge, shift::Batch, time::parse_duration, weight::Share};

/// The longest duration that a document may ask for. Far beyond any real wait, so that a slip of units shows, and near
/// enough that sums of waits stay within every clock.
const MAX_DURATION: Duration = Duration::from_secs(365 * 86_400);

const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A duration, zero included.
pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let span = match value {
        Value::Text(text) => parse_duration(text).map_err(|error| error.to_string())?,
        Value::Integer(number) => {
            return Err(format!(
                "{number} has no unit: write \"{number}s\" for seconds or \"{number}ms\" for milliseconds"
            ));
        }
        Value::Float(number) => {
            return Err(format!("{number} has no unit: write a whole number and a unit, such as \"250ms\""));
        }
        Value::Null | Value::Bool(_) | Value::Date(_) | Value::List(_) | Value::Table(_) => {
            return Err(format!("expected a duration such as \"30s\", not {}", value.describe()));
        }
    };
    if span > MAX_DURATION { Err("is longer than 365d, the longest duration".to_owned()) } else { Ok(span) }
}

/// A duration above zero.
pub(super) fn positive_duration(value: &Value) -> Result<Duration, String> {
    match duration(value)? {
        Duration::ZERO => Err("must be longer than 0s".to_owned()),
        span => Ok(span),
    }
}

/// The width of the histograms' finest buckets.
const FINEST_TIME: Duration = Duration::from_nanos(1_024);

/// A time that can be counted at: not below the histograms' finest bucket, in which no answer can be told from another.
pub(super) fn countable_time(value: &Value) -> Result<Duration, String> {
    match duration(value)? {
        bound if bound < FINEST_TIME => {
            Err("is finer than the histograms' buckets, which are 1us wide: write \"2us\" or more".to_owned())
        }
        bound => Ok(bound),
    }
}

/// A time that the histograms can tell from its neighbours on both sides.
pub(super) fn resolvable_time(value: &Value) -> Result<Duration, String> {
    let bound = countable_time(value)?;
    if Edge::at_or_above(bound).is_none() {
        return Err("is beyond the histograms' last bucket, from 72m on: write less".to_owned());
    }
    Ok(bound)
}

/// A share of the traffic.
pub(super) fn share(value: &Value) -> Result<Share, String> {
    with_percent_sign(value)?;
    Share::parse(text(value)?).map_err(|error| error.to_string())
}

/// A number of instances, or a part of a fleet.
pub(super) fn batch(value: &Value) -> Result<Batch, String> {
    let example = "write a number of instances such as 2, or a part of the fleet such as \"25%\"";
    match value {
        Value::Integer(number) => u32::try_from(*number)
            .ok()
            .and_then(NonZeroU32::new)
            .map(Batch::Instances)
            .ok_or_else(|| format!("{number} is not a number of instances from 1 on: {example}")),
        Value::Text(text) => Share::parse(text)
            .map(Batch::Part)
            .map_err(|_| format!("{} is not a part of a fleet: {example}", quoted(text))),
        Value::Null
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Date(_)
        | Value::List(_)
        | Value::Table(_) => Err(format!("{example}, not {}", value.describe())),
    }
}

/// A fraction above 0 and below 1, written as a percentage with as many decimals as it needs.
pub(super) fn fraction(value: &Value) -> Result<f64, String> {
    with_percent_sign(value)?;
    let text = text(value)?;
    let error = || {
        format!("{} is not a percentage above 0% and below 100%, such as \"1%\" or \"0.05%\"", quoted(text))
    };
    let number = text.strip_suffix('%').ok_or_else(error)?;
    hundredths(number).filter(|fraction| *fraction > 0.0 && *fraction < 1.0).ok_or_else(error)
}

/// A fraction from 0 to 1, written as a percentage with as many decimals as it needs.
pub(super) fn percent(value: &Value) -> Result<f64, String> {
    with_percent_sign(value)?;
    let text = text(value)?;
    let error =
        || format!("{} is not a percentage from 0% to 100%, such as \"1%\" or \"0.05%\"", quoted(text));
    let number = text.strip_suffix('%').ok_or_else(error)?;
    hundredths(number).filter(|fraction| (0.0..=1.0).contains(fraction)).ok_or_else(error)
}

/// A quantile above 0 and below 1: `p99`, `p99.9`.
pub(super) fn quantile(value: &Value) -> Result<f64, String> {
    let text =
        text(value).map_err(|_| format!("expected a quantile such as \"p99\", not {}", value.describe()))?;
    let number = text.strip_prefix('p').and_then(hundredths);
    number.filter(|fraction| *fraction > 0.0 && *fraction < 1.0).ok_or_else(|| {
        format!(
            "{} is not a quantile: write \"p50\", \"p99\" or \"p99.9\", above p0 and below p100",
            quoted(text)
        )
    })
}

/// By how much green may be worse than blue: `1.5x` its rate, or `0.5%` above it.
pub(super) fn tolerance(value: &Value) -> Result<Tolerance, String> {
    const MOST: f64 = 100.0;
    let text = text(value).map_err(|_| {
        format!("expected a tolerance such as \"1.5x\" or \"0.5%\", not {}", value.describe())
    })?;
    let points = text.strip_suffix('%').and_then(hundredths).filter(|points| *points > 0.0 && *points < 1.0);
    let ratio = || {
        let number = text.strip_suffix('x').filter(|number| hundredths(number).is_some())?;
        number.parse().ok().filter(|ratio| (1.0..=MOST).contains(ratio))
    };
    points.map(Tolerance::Points).or_else(|| ratio().map(Tolerance::Ratio)).ok_or_else(|| {
        format!(
            "{} is not a tolerance: write \"1.5x\" for one and a half times blue's, from 1x to {MOST}x, or \"0.5%\" for so many \
             percentage points above it",
            quoted(text)
        )
    })
}

/// `1.5x` or `0.5%`: every tolerance reads back to the same value.
pub fn format_tolerance(tolerance: Tolerance) -> String {
    match tolerance {
        Tolerance::Ratio(ratio) => format!("{ratio}x"),
        Tolerance::Points(points) => format_fraction(points),
    }
}

/// A size in bytes within bounds that are both allowed.
pub(super) fn size(least: u64, most: u64) -> impl Fn(&Value) -> Result<u64, String> {
    move |value| {
        let bytes = match value {
            Value::Text(text) => parse_size(text).ok_or_else(|| {
                format!(
                    "{} is not a size: write a whole number and B, KiB, MiB or GiB, such as \"64KiB\"",
                    quoted(text)
                )
            })?,
            Value::Integer(number) => {
                return Err(format!(
                    "{number} has no unit: write \"{number}B\" for bytes, or a size such as \"64KiB\""
                ));
            }
            Value::Null
            | Value::Bool(_)
            | Value::Float(_)
            | Value::Date(_)
            | Value::List(_)
            | Value::Table(_) => {
                return Err(format!("expected a size such as \"64KiB\", not {}", value.describe()));
            }
        };
        if (least..=most).contains(&bytes) {
            Ok(bytes)
        } else {
            Err(format!(
                "must be from {} to {}, not {}",
                format_size(least),
                format_size(most),
                format_size(bytes)
            ))
        }
    }
}

/// `1%` for 0.01: every fraction above 0 and below 1 reads back to the same value.
pub fn format_fraction(fraction: f64) -> String {
    format!("{}%", percent_digits(fraction))
}

/// `p99.9` for 0.999: every quantile above 0 and below 1 reads back to the same value.
pub fn format_quantile(quantile: f64) -> String {
    format!("p{}", percent_digits(quantile))
}

/// `64KiB` for 65,536: the largest unit that leaves a whole number.
pub fn format_size(bytes: u64) -> String {
    let unit = SIZES.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = SIZES.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    let is_whole = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| is_whole)?.checked_mul(*unit)
}

fn with_percent_sign(value: &Value) -> Result<(), String> {
    match value {
        Value::Text(_) => Ok(()),
        Value::Integer(number) => Err(format!("{number} has no unit: write \"{number}%\"")),
        Value::Float(number) => {
            Err(format!("{number} has no unit: write a percentage in quotes, such as \"5%\""))
        }
        Value::Null | Value::Bool(_) | Value::Date(_) | Value::List(_) | Value::Table(_) => {
            Err(format!("expected a percentage such as \"5%\", not {}", value.describe()))
        }
    }
}

/// A percentage without its sign as a fraction; `None` for what is no plain decimal number.
pub(super) fn percentage(number: &str) -> Option<f64> {
    hundredths(number)
}

/// A hundredth of a decimal number. Moving the decimal point in the text, rather than dividing, gives the float that is
/// nearest to what was written, which is what lets [`percent_digits`] give the text back.
fn hundredths(number: &str) -> Option<f64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if number.len() > 40 || !digits(whole) || !digits(decimals) {
        return None;
    }
    format!("{number}e-2").parse().ok()
}

/// A hundred times a fraction as a plain decimal number, by moving the decimal point of its shortest form.
fn percent_digits(fraction: f64) -> String {
    let scientific = format!("{fraction:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let point = exponent.parse::<i32>().unwrap_or(0) + 3;
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => format!("{digits:0<point$}"),
        Ok(point) if point > 0 => format!("{}.{}", &digits[..point], &digits[point..]),
        Ok(_) | Err(_) => {
            let zeros = usize::try_from(-i64::from(point)).unwrap_or(0);
            format!("0.{}{digits}", "0".repeat(zeros))
        }
    }
}
