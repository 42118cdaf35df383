//! Prometheus's text format, version 0.0.4.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>. Samples of one family stand together,
//! under its HELP and TYPE lines; label values escape `\`, `"` and line feeds.

use std::fmt::{self, Write};

use super::buckets::{BOUNDS, Buckets};

/// The media type of a scrape.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One metric: its name, what it means, and which labels its series have.
#[derive(Debug)]
pub(super) struct Family<const LABELS: usize> {
    /// With its unit, and `_total` for a counter.
    pub(super) name: &'static str,
    /// Counter, gauge or histogram.
    pub(super) kind: Kind,
    /// A sentence without a full stop.
    pub(super) help: &'static str,
    /// Each from a closed set: nothing that a client sends becomes a label.
    pub(super) labels: [&'static str; LABELS],
}

/// What a metric's numbers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// They only rise.
    Counter,
    /// They rise and fall.
    Gauge,
    /// They count by size.
    Histogram,
}

/// One number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value {
    /// A count.
    Whole(u64),
    /// A measure.
    Real(f64),
}

/// The text of a scrape, as it grows.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

/// Takes the samples of one family.
#[derive(Debug)]
pub(super) struct Samples<'a, const LABELS: usize> {
    family: &'a Family<LABELS>,
    text: &'a mut String,
}

impl Exposition {
    /// Begins a family. Its samples go into what is returned, before another family begins.
    pub(super) fn family<'a, const LABELS: usize>(
        &'a mut self,
        family: &'a Family<LABELS>,
    ) -> Samples<'a, LABELS> {
        let Family { name, kind, help, labels: _ } = family;
        push(&mut self.text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Samples { family, text: &mut self.text }
    }

    /// The finished text.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

impl<const LABELS: usize> Samples<'_, LABELS> {
    /// One series. The label values stand in the order of the family's labels.
    pub(super) fn sample(&mut self, labels: [&str; LABELS], value: impl Into<Value>) {
        self.series("", labels, None, value.into());
    }

    /// All series of one histogram.
    pub(super) fn histogram(&mut self, labels: [&str; LABELS], buckets: &Buckets) {
        for (bound, count) in BOUNDS.iter().zip(buckets.cumulative()) {
            self.series("_bucket", labels, Some(&bound.to_string()), count.into());
        }
        self.series("_bucket", labels, Some("+Inf"), buckets.count().into());
        self.series("_sum", labels, None, buckets.sum().as_secs_f64().into());
        self.series("_count", labels, None, buckets.count().into());
    }

    fn series(&mut self, suffix: &str, labels: [&str; LABELS], bound: Option<&str>, value: Value) {
        push(self.text, format_args!("{}{suffix}", self.family.name));
        let named = self.family.labels.into_iter().zip(labels).chain(bound.map(|bound| ("le", bound)));
        let mut opening = '{';
        for (name, value) in named {
            push(self.text, format_args!("{opening}{name}=\"{}\"", Escaped(value)));
            opening = ',';
        }
        let closing = if opening == ',' { "}" } else { "" };
        push(self.text, format_args!("{closing} {value}\n"));
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Whole(count)
    }
}

impl From<f64> for Value {
    fn from(measure: f64) -> Self {
        Self::Real(measure)
    }
}

impl From<bool> for Value {
    fn from(holds: bool) -> Self {
        Self::Whole(u64::from(holds))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(count) => count.fmt(f),
            Self::Real(measure) if measure.is_nan() => f.write_str("NaN"),
            Self::Real(measure) if measure.is_infinite() => {
                f.write_str(if *measure > 0.0 { "+Inf" } else { "-Inf" })
            }
            Self::Real(measure) => measure.fmt(f),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// A label's value, escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

fn push(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::meter::{Histogram, HistogramSnapshot};

    #[test]
    fn a_family_is_written_with_help_type_and_escaped_labels() {
        let family = Family { name: "a_ratio", kind: Kind::Gauge, help: "A thing", labels: ["x", "y"] };
        let mut exposition = Exposition::default();
        let mut samples = exposition.family(&family);
        samples.sample(["1", "q\"\\\n"], 0.25);
        samples.sample(["2", ""], 7);
        samples.sample(["3", ""], f64::NEG_INFINITY);
        assert_eq!(
            exposition.finish(),
            "# HELP a_ratio A thing\n# TYPE a_ratio gauge\na_ratio{x=\"1\",y=\"q\\\"\\\\\\n\"} 0.25\na_ratio{x=\"2\",y=\"\"} 7\n\
             a_ratio{x=\"3\",y=\"\"} -Inf\n"
        );
    }

    #[test]
    fn a_series_without_labels_has_no_braces() {
        let family = Family { name: "a_total", kind: Kind::Counter, help: "A thing", labels: [] };
        let mut exposition = Exposition::default();
        exposition.family(&family).sample([], true);
        assert!(exposition.finish().ends_with("\na_total 1\n"));
    }

    #[test]
    fn a_histogram_has_rising_buckets_a_sum_and_a_count() {
        let (histogram, mut snapshot) = (Histogram::default(), HistogramSnapshot::default());
        for millis in [2, 200, 2_000_000] {
            histogram.record(Duration::from_millis(millis));
        }
        histogram.add_to(&mut snapshot);
        let mut buckets = Buckets::default();
        buckets.add(&snapshot);
        let family = Family { name: "a_seconds", kind: Kind::Histogram, help: "A thing", labels: ["x"] };
        let mut exposition = Exposition::default();
        exposition.family(&family).histogram(["1"], &buckets);
        let text = exposition.finish();
        for line in [
            "a_seconds_bucket{x=\"1\",le=\"0.0015\"} 0",
            "a_seconds_bucket{x=\"1\",le=\"0.0025\"} 1",
            "a_seconds_bucket{x=\"1\",le=\"600\"} 2",
            "a_seconds_bucket{x=\"1\",le=\"+Inf\"} 3",
            "a_seconds_sum{x=\"1\"} 2000.202",
            "a_seconds_count{x=\"1\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
