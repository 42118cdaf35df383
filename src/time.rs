//! Moments and durations as values. Nothing here reads a clock; `crate::clock` does.

use std::{fmt, time::Duration};

/// A point on this process's monotonic clock: nanoseconds since the process's anchor. All decisions are made on these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

/// A point on the wall clock: milliseconds since the Unix epoch. For display and for the journal, never for decisions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(i64);

impl Moment {
    /// From nanoseconds since the anchor.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the anchor.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this, zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This much later; the end of the clock (584 years) when it overflows.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", Duration::from_nanos(self.0))
    }
}

impl WallTime {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

/// RFC 3339 in UTC with milliseconds, such as `2026-01-31T12:00:00.250Z`.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(stamp) => write!(f, "{stamp:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a duration: write a whole number and a unit, such as \"250ms\", \"30s\", \"2m\", \"1h30m\""
)]
pub struct DurationError(String);

/// Parses `250ms`, `30s`, `2m`, `1h30m`, `1d`. Units: ns, us, ms, s, m, h, d; each number is whole. A bare `0` is zero.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError(text.chars().take(40).collect());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit_length = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(unit_length);
        let number: u64 = number.parse().map_err(|_| error())?;
        let unit = match unit {
            "ns" => Duration::from_nanos(1),
            "us" => Duration::from_micros(1),
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86_400),
            _ => return Err(error()),
        };
        let part =
            u32::try_from(number).ok().and_then(|number| unit.checked_mul(number)).ok_or_else(error)?;
        total = total.checked_add(part).ok_or_else(error)?;
        rest = tail;
    }
    if text.is_empty() { Err(error()) } else { Ok(total) }
}

/// Writes a duration so that [`parse_duration`] reads it back: `1h30m`, `250ms`, `0s`.
pub fn format_duration(span: Duration) -> String {
    const UNITS: [(&str, u128); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let mut rest = span.as_nanos();
    let mut text = String::new();
    for (unit, nanos) in UNITS {
        let count = rest / nanos;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            rest %= nanos;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A span as people are told it, rounded to the precision that its size deserves: `0.4 ms`, `412 ms`, `3.2 s`, `4 min 10 s`, `1 h 5 min`,
/// `2 d 3 h`. What is to be read back is written by [`format_duration`].
pub fn tell_duration(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match span.as_millis() {
        0 if span.is_zero() => "0 ms".to_owned(),
        0 if seconds < 0.000_05 => "less than 0.1 ms".to_owned(),
        0..10 => format!("{} ms", one_decimal(seconds * 1_000.0)),
        10..1_000 => format!("{:.0} ms", (seconds * 1_000.0).min(999.0)),
        1_000..10_000 => format!("{} s", one_decimal(seconds)),
        10_000..60_000 => format!("{} s", span.as_secs()),
        _ => long_span(span.as_secs()),
    }
}

fn long_span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let (whole, rest) = match (minutes, hours, days) {
        (_, 0, _) => (format!("{minutes} min"), (seconds % 60, "s")),
        (_, _, 0) => (format!("{hours} h"), (minutes % 60, "min")),
        (_, _, _) => (format!("{days} d"), (hours % 24, "h")),
    };
    match rest {
        (0, _) => whole,
        (number, unit) => format!("{whole} {number} {unit}"),
    }
}

/// One digit behind the point unless it is a zero.
fn one_decimal(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit_and_written_back() {
        for (text, millis) in [("250ms", 250), ("30s", 30_000), ("1h30m", 5_400_000), ("1d", 86_400_000)] {
            let span = parse_duration(text).unwrap();
            assert_eq!(span, Duration::from_millis(millis));
            assert_eq!(format_duration(span), text);
        }
        assert_eq!(format_duration(Duration::ZERO), "0s");
    }

    #[test]
    fn a_number_without_unit_or_a_foreign_unit_is_refused() {
        for bad in ["", "5", "s", "1.5s", "-1s", "5 s", "3w", "99999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn wall_time_is_written_in_utc_with_milliseconds() {
        assert_eq!(WallTime::from_millis(1_769_860_800_250).to_string(), "2026-01-31T12:00:00.250Z");
    }

    #[test]
    fn spans_have_the_precision_that_their_size_deserves() {
        for (nanos, text) in [
            (0, "0 ms"),
            (3_000, "less than 0.1 ms"),
            (400_000, "0.4 ms"),
            (3_240_000, "3.2 ms"),
            (412_600_000, "413 ms"),
            (999_900_000, "999 ms"),
            (1_000_000_000, "1 s"),
            (3_240_000_000, "3.2 s"),
            (42_900_000_000, "42 s"),
            (60_000_000_000, "1 min"),
            (250_000_000_000, "4 min 10 s"),
            (3_900_000_000_000, "1 h 5 min"),
            (183_600_000_000_000, "2 d 3 h"),
        ] {
            assert_eq!(tell_duration(Duration::from_nanos(nanos)), text);
        }
    }
}
