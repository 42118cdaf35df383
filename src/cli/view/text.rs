//! Figures and texts for people, in few characters.

use ratatui::text::Span;

use crate::{admin::wire, time::WallTime};

/// `24,012`
pub(in crate::cli) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate per second: `0.4`, `180.2`, `1,802`.
pub(in crate::cli) fn per_second(rate: f64) -> String {
    if rate < 1_000.0 { format!("{rate:.1}") } else { count(whole(rate)) }
}

/// A fraction: `0.42%`, `12.3%`, `100%`. Never rounds something to nothing: the least that is shown is `<0.01%`.
pub(in crate::cli) fn percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    match percent {
        _ if percent > 0.0 && percent < 0.005 => "<0.01%".to_owned(),
        _ if percent < 9.995 => format!("{percent:.2}%"),
        _ if percent < 99.95 => format!("{percent:.1}%"),
        _ => format!("{percent:.0}%"),
    }
}

/// A fraction to the hundredth of a percent, so that figures in a column can be compared: `24.96%`.
pub(in crate::cli) fn exact_percent(fraction: f64) -> String {
    format!("{:.2}%", fraction * 100.0)
}

/// Whether a shift's fleets stream tokens, so that their first one tells more than the first byte.
pub(in crate::cli) fn has_tokens(shift: &wire::Shift) -> bool {
    let wire::Fleets { blue, green } = &shift.fleets;
    [blue, green].into_iter().any(|fleet| fleet.recent.first_token_p50_ms.is_some())
}

/// Until a client sees something: the median of first bytes, or of first tokens with their 99th percentile, `120ms/1.2s`.
pub(in crate::cli) fn first(recent: &wire::Recent, is_of_tokens: bool) -> String {
    match (is_of_tokens, recent.first_token_p50_ms) {
        (false, _) => millis(recent.first_byte_p50_ms),
        (true, None) => millis(None),
        (true, p50) => format!("{}/{}", millis(p50), millis(recent.first_token_p99_ms)),
    }
}

/// Milliseconds: `0.42ms`, `4.2ms`, `212ms`, `1.24s`, `1m12s`; a dash for nothing measured.
pub(in crate::cli) fn millis(millis: Option<f64>) -> String {
    match millis {
        None => "-".to_owned(),
        Some(ms) if ms < 0.995 => format!("{ms:.2}ms"),
        Some(ms) if ms < 9.95 => format!("{ms:.1}ms"),
        Some(ms) if ms < 999.5 => format!("{ms:.0}ms"),
        Some(ms) if ms < 9_995.0 => format!("{:.2}s", ms / 1_000.0),
        Some(ms) if ms < 59_950.0 => format!("{:.1}s", ms / 1_000.0),
        Some(ms) => span(whole(ms) / 1_000),
    }
}

/// Whole seconds: `47s`, `2m13s`, `1h02m`.
pub(in crate::cli) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Reads a moment of the API; `None` for what is not one.
pub(in crate::cli) fn moment(text: &str) -> Option<WallTime> {
    let stamp: jiff::Timestamp = text.parse().ok()?;
    Some(WallTime::from_millis(stamp.as_millisecond()))
}

/// Whole seconds from one moment to a later one, zero when it is not later: two machines' clocks may differ.
pub(in crate::cli) fn seconds_between(earlier: WallTime, later: WallTime) -> u64 {
    u64::try_from(later.as_millis().saturating_sub(earlier.as_millis())).unwrap_or(0) / 1_000
}

/// The time from one moment to a later one, finer than a second while that matters.
pub(in crate::cli) fn took(earlier: WallTime, later: WallTime) -> String {
    match later.as_millis().saturating_sub(earlier.as_millis()) {
        #[expect(clippy::cast_precision_loss, reason = "below ten thousand")]
        millis_between @ 0..10_000 => millis(Some(millis_between as f64)),
        _ => span(seconds_between(earlier, later)),
    }
}

/// A countdown's seconds, rounded up: it says `1s` until the moment itself.
pub(in crate::cli) fn seconds_until(now: WallTime, then: WallTime) -> u64 {
    u64::try_from(then.as_millis().saturating_sub(now.as_millis())).unwrap_or(0).div_ceil(1_000)
}

/// Evidence in nats as odds against chance, two digits in at most twelve characters: `1.5 : 1`, `9,900 : 1`, `12M : 1`; a dash for
/// none.
pub(in crate::cli) fn odds(ln_e: f64) -> String {
    let odds = ln_e.exp();
    match odds {
        _ if ln_e <= 0.0 => "-".to_owned(),
        _ if odds < 9.95 => format!("{odds:.1} : 1"),
        _ if odds < 995e3 => format!("{} : 1", count(whole(two_digits(odds)))),
        _ if odds < 995e6 => format!("{:.0}M : 1", two_digits(odds) / 1e6),
        _ if odds < 995e9 => format!("{:.0}G : 1", two_digits(odds) / 1e9),
        _ => "> 1T : 1".to_owned(),
    }
}

fn two_digits(number: f64) -> f64 {
    let unit = 10_f64.powf(number.log10().floor() - 1.0);
    (number / unit).round() * unit
}

/// How many columns a terminal gives this text.
pub(in crate::cli) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// At most so many columns; what had to be cut ends with an ellipsis.
pub(in crate::cli) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += width(character.encode_utf8(&mut [0; 4]));
        if used >= columns {
            break;
        }
        kept.push(character);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// Exactly so many columns, text at the left.
pub(in crate::cli) fn left(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let pad = columns.saturating_sub(width(&text));
    text + &" ".repeat(pad)
}

/// Exactly so many columns, text at the right.
pub(in crate::cli) fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    " ".repeat(columns.saturating_sub(width(&text))) + &text
}

/// Lines of at most so many columns, broken between words; a longer word stands alone and is cut.
pub(in crate::cli) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && width(&line) + 1 + width(word) > columns {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&cut(word, columns));
        }
        lines.push(line);
    }
    lines
}

/// A paragraph for a terminal or a file: wide enough to read, narrow enough for any terminal.
pub(in crate::cli) fn paragraph(text: &str) -> String {
    wrap(text, 80).join("\n")
}

/// A bar `columns` wide, filled from the left to this fraction in eighths of a column, and how many columns the fill touches.
pub(in crate::cli) fn bar(fraction: f64, columns: usize) -> (String, usize) {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
    let eighths = columns as f64 * 8.0 * fraction;
    // Something is never drawn as nothing.
    let eighths = if fraction > 0.0 { eighths.round().max(1.0) } else { 0.0 };
    let eighths = usize::try_from(whole(eighths)).unwrap_or(0);
    let text = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    (text, eighths.div_ceil(8))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and a figure on a screen wants nothing else"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_take_few_characters_and_keep_what_matters() {
        assert_eq!(
            [count(0), count(999), count(1_000), count(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([per_second(0.44), per_second(180.24), per_second(1_802.4)], ["0.4", "180.2", "1,802"]);
        assert_eq!(
            [percent(0.0), percent(0.00001), percent(0.0042), percent(0.099_97), percent(1.0)],
            ["0.00%", "<0.01%", "0.42%", "10.0%", "100%"]
        );
        assert_eq!(
            [0.42, 4.2, 9.96, 212.0, 999.6, 1_240.0, 12_400.0, 72_000.0].map(|ms| millis(Some(ms))),
            ["0.42ms", "4.2ms", "10ms", "212ms", "1.00s", "1.24s", "12.4s", "1m12s"]
        );
        assert_eq!(millis(None), "-");
        assert_eq!(
            [span(0), span(59), span(133), span(3_720), span(90_000)],
            ["0s", "59s", "2m13s", "1h02m", "1d01h"]
        );
        assert_eq!(
            [-1.0, 0.4, 9.2, 16.3, 25.0, f64::INFINITY].map(odds),
            ["-", "1.5 : 1", "9,900 : 1", "12M : 1", "72G : 1", "> 1T : 1"]
        );
    }

    #[test]
    fn a_countdown_says_one_second_until_the_moment_itself() {
        let at = WallTime::from_millis;
        assert_eq!([seconds_until(at(0), at(1)), seconds_until(at(5), at(5))], [1, 0]);
        assert_eq!([seconds_between(at(0), at(1_999)), seconds_between(at(9), at(5))], [1, 0]);
    }

    #[test]
    fn texts_fill_their_column_exactly_or_are_cut_with_an_ellipsis() {
        assert_eq!(left("ab", 4), "ab  ");
        assert_eq!(right("ab", 4), "  ab");
        assert_eq!(left("abcdef", 4), "abc…");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(width(&left("日本語テキスト", 6)), 6);
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three\nfour", 8), ["one two", "three", "four"]);
        assert_eq!(wrap("immeasurable x", 5), ["imme…", "x"]);
    }

    #[test]
    fn a_bar_shows_eighths_of_a_column_and_never_draws_something_as_nothing() {
        assert_eq!(bar(0.5, 5), ("██▌".to_owned(), 3));
        assert_eq!(bar(0.0001, 5), ("▏".to_owned(), 1));
        assert_eq!(bar(f64::NAN, 5), (String::new(), 0));
        assert_eq!(bar(9.0, 2), ("██".to_owned(), 2));
    }
}
