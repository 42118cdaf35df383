//! A fleet's last minutes, from which a plan is forecast before it is run.

use std::{collections::VecDeque, time::Duration};

use crate::{
    lint::{Origin, Traffic},
    meter::{FleetMeters, HistogramSnapshot, Reading, Timing},
    time::Moment,
};

/// How far apart two marks are: the figures look back on one to two such times. Long enough for a rate of one in a thousand to show at
/// a few requests a second, short enough to be about now.
const BETWEEN_MARKS: Duration = Duration::from_secs(150);

/// How long a slice is, in which failures count as coming together.
const SLICE: Duration = Duration::from_secs(1);

/// As many slices as there are between the older mark and now.
const SLICES: usize = 300;

/// A fleet's last minutes.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    older: Option<Mark>,
    newer: Option<Mark>,
    /// When the newest slice ended, and what had been counted then.
    sliced: Option<(Moment, Counts)>,
    slices: VecDeque<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Mark {
    at: Moment,
    counts: Counts,
    latency: HistogramSnapshot,
    first_token: HistogramSnapshot,
    token_gap: HistogramSnapshot,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    dealt: u64,
    settled: u64,
    failed: u64,
    client_errors: u64,
}

impl Past {
    /// Looks at the meters; called about twice a second.
    pub(super) fn sample(&mut self, meters: &FleetMeters, reading: &Reading, now: Moment) {
        let counts = Counts::of(reading);
        if self.newer.as_ref().is_none_or(|newer| now.since(newer.at) >= BETWEEN_MARKS) {
            self.older = self.newer.take();
            self.newer = Some(Mark {
                at: now,
                counts,
                latency: meters.latency(),
                first_token: meters.times(Timing::FirstToken),
                token_gap: meters.times(Timing::TokenGap),
            });
        }
        match self.sliced {
            Some((at, _)) if now.since(at) < SLICE => {}
            before => {
                if let Some((_, before)) = before {
                    if self.slices.len() == SLICES {
                        self.slices.pop_front();
                    }
                    let since = counts.since(before);
                    self.slices.push_back((since.settled, since.failed));
                }
                self.sliced = Some((now, counts));
            }
        }
    }

    /// What came since the older mark.
    pub(super) fn traffic(&self, meters: &FleetMeters, now: Moment) -> Traffic {
        let Some(mark) = self.older.as_ref().or(self.newer.as_ref()) else { return Traffic::unknown(None) };
        let span = now.since(mark.at);
        let Counts { dealt, settled, failed, client_errors } = Counts::of(&meters.read()).since(mark.counts);
        #[expect(clippy::cast_precision_loss, reason = "counts of 2^53 or more would be off by one")]
        let rate = dealt as f64 / span.as_secs_f64();
        Traffic {
            origin: Origin::Measured(span),
            rate: (dealt > 0 && rate.is_finite()).then_some(rate),
            settled,
            failed,
            client_errors,
            latency: meters.latency().since(&mark.latency),
            first_token: meters.times(Timing::FirstToken).since(&mark.first_token),
            token_gap: meters.times(Timing::TokenGap).since(&mark.token_gap),
            slices: self.slices.iter().copied().collect(),
        }
    }
}

impl Counts {
    fn of(reading: &Reading) -> Self {
        Self {
            dealt: reading.dealt,
            // What counts for nobody is no part of a rate.
            settled: reading.succeeded + reading.client_errors + reading.excused + reading.failed(),
            failed: reading.failed(),
            client_errors: reading.client_errors,
        }
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            dealt: self.dealt.saturating_sub(earlier.dealt),
            settled: self.settled.saturating_sub(earlier.settled),
            failed: self.failed.saturating_sub(earlier.failed),
            client_errors: self.client_errors.saturating_sub(earlier.client_errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::{FailureKind, Outcome, Stamp, Verdict};

    fn served(meters: &FleetMeters, verdict: Verdict) {
        let outcome = Outcome {
            status: Some(200),
            first_byte: Some(Duration::from_millis(1)),
            ..Outcome::of(verdict, Duration::from_millis(10))
        };
        meters.shard(0).dealt(Stamp::default(), Moment::from_nanos(1));
        meters.shard(0).settled(Stamp::default(), None, &outcome);
    }

    fn half_second(number: u64) -> Moment {
        Moment::from_nanos(number * 500_000_000)
    }

    #[test]
    fn the_past_is_the_last_minutes_and_no_longer() {
        let (meters, mut past) = (FleetMeters::new(1), Past::default());
        assert_eq!(past.traffic(&meters, half_second(0)), Traffic::unknown(None));
        for number in 0..2_000 {
            past.sample(&meters, &meters.read(), half_second(number));
            served(
                &meters,
                if number == 3 { Verdict::Failure(FailureKind::Reset) } else { Verdict::Success },
            );
        }
        let traffic = past.traffic(&meters, half_second(2_000));
        let Origin::Measured(span) = traffic.origin else { panic!("{traffic:?}") };
        assert!((150..=300).contains(&span.as_secs()), "{span:?}");
        assert_eq!((traffic.rate, traffic.failed), (Some(2.0), 0));
        assert_eq!(traffic.settled, 2 * span.as_secs());
        assert_eq!(traffic.latency.count(), traffic.settled);
        assert_eq!(traffic.slices, [(2, 0); SLICES]);
    }

    #[test]
    fn a_fleet_without_requests_has_no_rate_and_one_that_just_began_looks_back_on_all_of_it() {
        let (meters, mut past) = (FleetMeters::new(1), Past::default());
        past.sample(&meters, &meters.read(), half_second(0));
        assert_eq!(past.traffic(&meters, half_second(20)).rate, None);
        served(&meters, Verdict::Failure(FailureKind::Reset));
        served(&meters, Verdict::ClientGone);
        let traffic = past.traffic(&meters, half_second(4));
        assert_eq!((traffic.rate, traffic.settled, traffic.failed), (Some(1.0), 1, 1));
    }
}
