//! Traffic figures: counts since a moment, and the last seconds.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{Traffic, TrafficWindow, series::FleetPoint};
use crate::{
    meter::{FailureKind, FleetMeters, HistogramSnapshot, Reading},
    time::Moment,
};

/// How often the control task takes a sample.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// Samples kept, so that the window is about five seconds: long enough for a p99 at a hundred requests a second to mean something, short
/// enough for a live view to show a change within seconds.
const SAMPLES: usize = 10;

/// The last seconds of a fleet.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    at: Moment,
    /// Shared with the sample before when nothing happened in between: an idle endpoint keeps one copy of its histograms, not ten.
    figures: Arc<Figures>,
}

#[derive(Debug)]
struct Figures {
    reading: Reading,
    latency: HistogramSnapshot,
    first_byte: HistogramSnapshot,
    first_token: HistogramSnapshot,
}

impl Figures {
    fn of(meters: &FleetMeters, reading: Reading) -> Self {
        Self {
            reading,
            latency: meters.latency(),
            first_byte: meters.first_byte(),
            first_token: meters.first_token(),
        }
    }
}

impl Ring {
    /// Takes a sample.
    pub(super) fn sample(&mut self, meters: &FleetMeters, now: Moment) {
        let reading = meters.read();
        let figures = match self.samples.back() {
            Some(last) if last.figures.reading == reading => Arc::clone(&last.figures),
            Some(_) | None => Arc::new(Figures::of(meters, reading)),
        };
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at: now, figures });
    }

    /// What happened since the oldest sample.
    pub(super) fn window(&self, meters: &FleetMeters, now: Moment) -> TrafficWindow {
        let Some(oldest) = self.samples.front() else { return TrafficWindow::default() };
        between(&oldest.figures, &Figures::of(meters, meters.read()), now.since(oldest.at))
    }

    /// What happened from the oldest sample to the newest; costs nothing where nothing did.
    pub(super) fn latest(&self) -> TrafficWindow {
        let (Some(oldest), Some(newest)) = (self.samples.front(), self.samples.back()) else {
            return TrafficWindow::default();
        };
        let span = newest.at.since(oldest.at);
        if Arc::ptr_eq(&oldest.figures, &newest.figures) {
            return TrafficWindow { span, ..TrafficWindow::default() };
        }
        between(&oldest.figures, &newest.figures, span)
    }

    /// What happened in the last two samples, with the quantiles of the whole window: one second has too few requests for a p99.
    pub(super) fn point(&self) -> FleetPoint {
        let Some(newest) = self.samples.back() else { return FleetPoint::default() };
        let before = self.samples.iter().rev().nth(2).or(self.samples.front()).unwrap_or(newest);
        let (now, then) = (&newest.figures.reading, &before.figures.reading);
        let (window, count) = (self.latest(), |now: u64, then: u64| small(now.saturating_sub(then)));
        let micros =
            |span: Option<Duration>| span.map(|span| u32::try_from(span.as_micros()).unwrap_or(u32::MAX));
        FleetPoint {
            requests: count(now.dealt, then.dealt),
            settled: count(judged(now), judged(then)),
            failed: count(now.failed(), then.failed()),
            in_flight: small(now.dealt.saturating_sub(now.settled())),
            p50_us: micros(window.p50),
            p99_us: micros(window.p99),
            first_token_p50_us: micros(window.first_token_p50),
            first_token_p99_us: micros(window.first_token_p99),
        }
    }
}

/// What happened from one reading to a later one.
fn between(then: &Figures, now: &Figures, span: Duration) -> TrafficWindow {
    let requests = now.reading.dealt.saturating_sub(then.reading.dealt);
    let failed = now.reading.failed().saturating_sub(then.reading.failed());
    let settled = judged(&now.reading).saturating_sub(judged(&then.reading));
    let latency = now.latency.since(&then.latency);
    let first_byte = now.first_byte.since(&then.first_byte);
    let first_token = now.first_token.since(&then.first_token);
    TrafficWindow {
        span,
        requests,
        rate: per_second(requests, span),
        error_rate: ratio(failed, settled),
        p50: latency.quantile(0.5),
        p99: latency.quantile(0.99),
        first_byte_p50: first_byte.quantile(0.5),
        first_byte_p99: first_byte.quantile(0.99),
        first_token_p50: first_token.quantile(0.5),
        first_token_p99: first_token.quantile(0.99),
    }
}

/// Settled; what counts for nobody is no part of a rate.
pub(super) fn judged(reading: &Reading) -> u64 {
    reading.settled().saturating_sub(reading.client_gone + reading.shed)
}

pub(super) fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// What a fleet's requests came to since `baseline`. Those in flight are all that are in flight now.
pub(super) fn traffic_since(reading: &Reading, baseline: &Reading) -> Traffic {
    let kinds = FailureKind::ALL.into_iter().zip(reading.failures.iter().zip(&baseline.failures));
    let failures = kinds.map(|(kind, (now, then))| (kind, now.saturating_sub(*then)));
    Traffic {
        requests: reading.dealt.saturating_sub(baseline.dealt),
        succeeded: reading.succeeded.saturating_sub(baseline.succeeded),
        client_errors: reading.client_errors.saturating_sub(baseline.client_errors),
        failed: reading.failed().saturating_sub(baseline.failed()),
        failures: failures.filter(|(_, count)| *count > 0).collect(),
        excused: reading.excused.saturating_sub(baseline.excused),
        warm_ups: reading.warm_ups.saturating_sub(baseline.warm_ups),
        client_gone: reading.client_gone.saturating_sub(baseline.client_gone),
        shed: reading.shed.saturating_sub(baseline.shed),
        retried: reading.retried.saturating_sub(baseline.retried),
        rescued: reading.rescued().saturating_sub(baseline.rescued()),
        rescue_failed: reading.rescue_failed().saturating_sub(baseline.rescue_failed()),
        not_rescued: reading.not_rescued().saturating_sub(baseline.not_rescued()),
        in_flight: reading.dealt.saturating_sub(reading.settled()),
    }
}

impl Traffic {
    /// The sum with what an earlier process counted, whose requests in flight ended with it.
    pub(super) fn plus_earlier(mut self, earlier: &Self) -> Self {
        self.requests += earlier.requests;
        self.succeeded += earlier.succeeded;
        self.client_errors += earlier.client_errors;
        self.failed += earlier.failed;
        self.excused += earlier.excused;
        self.warm_ups += earlier.warm_ups;
        self.client_gone += earlier.client_gone;
        self.shed += earlier.shed;
        self.retried += earlier.retried;
        self.rescued += earlier.rescued;
        self.rescue_failed += earlier.rescue_failed;
        self.not_rescued += earlier.not_rescued;
        for (kind, count) in &earlier.failures {
            match self.failures.iter_mut().find(|(known, _)| known == kind) {
                Some((_, sum)) => *sum += count,
                None => self.failures.push((*kind, *count)),
            }
        }
        self.failures.sort_by_key(|(kind, _)| kind.index());
        self
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of 2^53 or more would be off by one")]
fn per_second(count: u64, span: Duration) -> f64 {
    if span.is_zero() { 0.0 } else { count as f64 / span.as_secs_f64() }
}

/// A fraction, zero of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of 2^53 or more would be off by one")]
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::{Outcome, Stamp, Verdict};

    fn served(meters: &FleetMeters, verdict: Verdict, millis: u64) {
        let outcome = Outcome {
            status: Some(200),
            first_byte: Some(Duration::from_millis(1)),
            ..Outcome::of(verdict, Duration::from_millis(millis))
        };
        meters.shard(0).dealt(Stamp::default(), Moment::from_nanos(1));
        meters.shard(0).settled(Stamp::default(), None, &outcome);
    }

    fn second(number: u64) -> Moment {
        Moment::from_nanos(number * 1_000_000_000)
    }

    #[test]
    fn a_window_holds_what_happened_since_its_oldest_sample() {
        let (meters, mut ring) = (FleetMeters::new(1), Ring::default());
        served(&meters, Verdict::Failure(FailureKind::Reset), 1);
        ring.sample(&meters, second(1));
        for _ in 0..6 {
            served(&meters, Verdict::Success, 10);
        }
        served(&meters, Verdict::Failure(FailureKind::Reset), 1);
        served(&meters, Verdict::Failure(FailureKind::Overload), 1);
        served(&meters, Verdict::ClientGone, 1);
        let window = ring.window(&meters, second(4));
        assert_eq!((window.span, window.requests), (Duration::from_secs(3), 9));
        assert!((window.rate - 3.0).abs() < 1e-9 && (window.error_rate - 0.25).abs() < 1e-9, "{window:?}");
        let p50 = window.p50.unwrap().as_secs_f64();
        assert!((0.010..0.0102).contains(&p50), "{p50}");
    }

    #[test]
    fn the_oldest_sample_is_five_seconds_old_at_most() {
        let (meters, mut ring) = (FleetMeters::new(1), Ring::default());
        for half in 0..100_u64 {
            ring.sample(&meters, Moment::from_nanos(half * 500_000_000));
        }
        let span = ring.window(&meters, Moment::from_nanos(100 * 500_000_000)).span;
        assert_eq!(span, Duration::from_secs(5));
    }

    #[test]
    fn traffic_since_a_baseline_leaves_out_what_was_before_but_not_what_is_in_flight() {
        let meters = FleetMeters::new(1);
        served(&meters, Verdict::Success, 1);
        meters.shard(0).dealt(Stamp::default(), Moment::from_nanos(1));
        let baseline = meters.read();
        served(&meters, Verdict::Failure(FailureKind::Reset), 1);
        let traffic = traffic_since(&meters.read(), &baseline);
        assert_eq!((traffic.requests, traffic.failed, traffic.succeeded, traffic.in_flight), (1, 1, 0, 1));
        assert_eq!(traffic.failures, [(FailureKind::Reset, 1)]);
        let both = traffic.plus_earlier(&Traffic {
            requests: 2,
            failures: vec![(FailureKind::ServerError, 2)],
            ..Traffic::default()
        });
        assert_eq!(both.requests, 3);
        assert_eq!(both.failures, [(FailureKind::ServerError, 2), (FailureKind::Reset, 1)]);
    }
}
