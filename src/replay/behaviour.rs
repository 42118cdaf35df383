//! What recorded traffic is like: how often it fails, how long it takes, how unevenly, and whether that changes over the recording.

use std::time::Duration;

use super::{Entry, Stage};
use crate::{
    alarm,
    meter::{Histogram, HistogramSnapshot, Verdict},
    time::Moment,
};

/// How many stretches show whether the traffic changes: enough to tell a trend from one bad minute, few enough to be read.
const STRETCHES: u32 = 5;

/// Failures within this time count as coming together.
const SLICE: Duration = Duration::from_secs(1);

/// A recording longer than a week is looked at in coarser slices, so that there are never more than these.
const MOST_SLICES: u64 = 604_800;

/// What recorded traffic is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// The whole of it.
    pub whole: Stretch,
    /// The same cut into equal times, in order.
    pub stretches: Vec<Stretch>,
    /// How many times as unevenly failures come as single ones would; 1 when they come one by one.
    pub burst: f64,
    /// The longest median of a stretch over the shortest; `None` where a stretch has no answers.
    pub drift: Option<f64>,
}

/// Some of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// From the beginning.
    pub from: Duration,
    /// How long it is.
    pub span: Duration,
    /// Requests whose end told something.
    pub requests: u64,
    /// Of these, failed.
    pub failures: u64,
    /// Of these, answered in a way that blames the client.
    pub client_errors: u64,
    /// Median, 90th and 99th percentile of the time that answers took.
    pub latency: [Option<Duration>; 3],
    /// The same of the time to the first token.
    pub first_token: [Option<Duration>; 3],
}

/// Looks at a stage's requests, whichever fleet they were of.
pub fn behaviour(stage: &Stage<'_>) -> Behaviour {
    let (began, last) = stage.bounds();
    let entries = stage.arrivals();
    let span = last.since(began);
    let whole = stretch(entries, Duration::ZERO, span);
    let part = span / STRETCHES;
    let stretches: Vec<Stretch> = (0..STRETCHES)
        .map(|number| {
            let (from, to) =
                (part * number, if number + 1 == STRETCHES { span } else { part * (number + 1) });
            let within = |entry: &&&Entry| {
                let at = entry.record.dealt_at.since(began);
                at >= from && (at < to || number + 1 == STRETCHES)
            };
            let entries: Vec<&Entry> = entries.iter().filter(within).copied().collect();
            stretch(&entries, from, to.saturating_sub(from))
        })
        .collect();
    let medians: Option<Vec<f64>> =
        stretches.iter().map(|stretch| stretch.latency[0].map(|time| time.as_secs_f64())).collect();
    let drift = medians.and_then(|medians| {
        let most = medians.iter().copied().fold(0.0, f64::max);
        let least = medians.iter().copied().fold(f64::INFINITY, f64::min);
        (least > 0.0).then_some(most / least)
    });
    Behaviour { whole, stretches, burst: alarm::fitting_burst(&slices(entries, began, span), 0.5), drift }
}

fn stretch(entries: &[&Entry], from: Duration, span: Duration) -> Stretch {
    let (latency, first_token) = (Histogram::default(), Histogram::default());
    let (mut requests, mut failures, mut client_errors) = (0, 0, 0);
    for entry in entries {
        let record = &entry.record;
        match record.verdict {
            Verdict::Success => {}
            Verdict::ClientError => client_errors += 1,
            Verdict::Failure(_) => failures += 1,
            Verdict::Excused | Verdict::ClientGone | Verdict::Shed => continue,
        }
        requests += 1;
        if !matches!(record.verdict, Verdict::Failure(_)) {
            latency.record(record.duration);
        }
        if let Some(time) = record.first_token {
            first_token.record(time);
        }
    }
    let quantiles = |histogram: &Histogram| {
        let mut sum = HistogramSnapshot::default();
        histogram.add_to(&mut sum);
        [0.5, 0.9, 0.99].map(|quantile| sum.quantile(quantile))
    };
    Stretch {
        from,
        span,
        requests,
        failures,
        client_errors,
        latency: quantiles(&latency),
        first_token: quantiles(&first_token),
    }
}

/// (settled, failed) in each slice.
fn slices(entries: &[&Entry], began: Moment, span: Duration) -> Vec<(u64, u64)> {
    let slice = SLICE.max(span / u32::try_from(MOST_SLICES).unwrap_or(u32::MAX)).as_nanos().max(1);
    let mut slices = Vec::new();
    for entry in entries {
        let failed = match entry.record.verdict {
            Verdict::Success | Verdict::ClientError => 0,
            Verdict::Failure(_) => 1,
            Verdict::Excused | Verdict::ClientGone | Verdict::Shed => continue,
        };
        let place = entry.record.dealt_at.since(began).as_nanos() / slice;
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if slices.len() <= place {
            slices.resize(place + 1, (0, 0));
        }
        slices[place].0 += 1;
        slices[place].1 += failed;
    }
    slices
}
