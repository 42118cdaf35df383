//! Numbers and spans as people read them.

pub(super) use crate::time::tell_duration as span;

/// `1 request`, `12,034 requests`.
pub(super) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// `12,034`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A fraction as a percentage with three significant digits: `17.1%`, `0.25%`. Only nothing is 0%, and only everything is 100%.
pub(super) fn percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    if percent <= 0.0 {
        "0%".to_owned()
    } else if percent < 0.001 {
        "less than 0.001%".to_owned()
    } else if fraction < 1.0 && percent >= 99.95 {
        "more than 99.9%".to_owned()
    } else {
        format!("{}%", significant(percent, 3))
    }
}

/// A part of a whole as a percentage; of nothing, 0%.
pub(super) fn percent_of(part: u64, whole: u64) -> String {
    percent(ratio(part, whole).unwrap_or(0.0))
}

/// A part of a whole; `None` of nothing.
#[expect(clippy::cast_precision_loss, reason = "above 2^53 requests the last digits do not matter")]
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Evidence in nats as odds, with two significant digits: `12,000 : 1`.
pub(super) fn odds(nats: f64) -> String {
    const TRILLION: f64 = 1e12;
    let odds = nats.exp();
    if odds >= TRILLION {
        return "more than a trillion : 1".to_owned();
    }
    if odds < 9.95 {
        return format!("{} : 1", trimmed(format!("{odds:.1}")));
    }
    let unit = 10_f64.powi(whole_digits(odds) - 2);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 10 and a trillion")]
    let rounded = ((odds / unit).round() * unit).round() as u64;
    format!("{} : 1", grouped(rounded))
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The same with its first letter large.
pub(super) fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

/// So many significant digits, no zeros at the end.
fn significant(number: f64, digits: i32) -> String {
    let decimals = usize::try_from(digits - whole_digits(number)).unwrap_or(0);
    trimmed(format!("{number:.decimals$}"))
}

/// The number of digits before the point; zero or less for numbers below one.
#[expect(clippy::cast_possible_truncation, reason = "a double has at most 309 digits before its point")]
fn whole_digits(number: f64) -> i32 {
    number.log10().floor() as i32 + 1
}

fn trimmed(decimal: String) -> String {
    if decimal.contains('.') {
        decimal.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        decimal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_and_agree_with_their_noun() {
        for (number, text) in
            [(0, "0 requests"), (1, "1 request"), (999, "999 requests"), (12_034, "12,034 requests")]
        {
            assert_eq!(count(number, "request"), text);
        }
        assert_eq!(grouped(1_000_000), "1,000,000");
    }

    #[test]
    fn percentages_have_three_significant_digits_and_are_never_rounded_to_all_or_nothing() {
        for (fraction, text) in [
            (0.0, "0%"),
            (7.0 / 41.0, "17.1%"),
            (0.0025, "0.25%"),
            (0.01, "1%"),
            (0.012_345, "1.23%"),
            (0.000_001, "less than 0.001%"),
            (0.000_3, "0.03%"),
            (0.999_9, "more than 99.9%"),
            (0.998, "99.8%"),
            (1.0, "100%"),
        ] {
            assert_eq!(percent(fraction), text);
        }
        assert_eq!(percent_of(0, 0), "0%");
    }

    #[test]
    fn odds_have_two_significant_digits() {
        for (odds_of, text) in [
            (1.0, "1 : 1"),
            (3.44, "3.4 : 1"),
            (9.96, "10 : 1"),
            (12.4, "12 : 1"),
            (1_000.0, "1,000 : 1"),
            (12_345.0, "12,000 : 1"),
            (99_700.0, "100,000 : 1"),
            (1e15, "more than a trillion : 1"),
        ] {
            assert_eq!(odds(f64::ln(odds_of)), text);
        }
        assert_eq!(odds(f64::INFINITY), "more than a trillion : 1");
    }

    #[test]
    fn lists_end_in_and() {
        let items = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(list(&items(&["a"])), "a");
        assert_eq!(list(&items(&["a", "b"])), "a and b");
        assert_eq!(list(&items(&["a", "b", "c"])), "a, b and c");
        assert_eq!(capitalised("guard p99"), "Guard p99");
    }
}
