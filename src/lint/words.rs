//! Numbers as a plan writes them, rounded so that people read them.

use std::time::Duration;

use crate::{config::format_fraction, time::format_duration};

/// `11.4%`: three significant digits.
pub(super) fn percent(rate: f64) -> String {
    if rate <= 0.0 { "0%".to_owned() } else { format_fraction(significant(rate)) }
}

/// `1.79x`
pub(super) fn times(number: f64) -> String {
    format!("{}x", significant(number))
}

/// `12,034`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The time in which so many requests come, rounded up to what an operator would write.
pub(super) fn time_for(requests: u64, per_second: f64) -> Duration {
    let seconds = (requests as f64 / per_second).ceil();
    let unit = match seconds {
        ..600.0 => 1.0,
        600.0..36_000.0 => 60.0,
        _ => 3_600.0,
    };
    Duration::try_from_secs_f64((seconds / unit).ceil() * unit).unwrap_or(Duration::MAX)
}

/// `8m26s`; past a week the number does not matter.
pub(super) fn span(time: Duration) -> String {
    const WEEK: Duration = Duration::from_secs(7 * 86_400);
    if time > WEEK { "more than a week".to_owned() } else { format_duration(time) }
}

fn significant(number: f64) -> f64 {
    let unit = 10_f64.powf(2.0 - number.log10().floor());
    (number * unit).round() / unit
}
