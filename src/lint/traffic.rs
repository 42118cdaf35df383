//! The traffic that a plan would run in, as far as it is known.

use std::time::Duration;

use crate::{
    alarm::Dealing,
    meter::{HistogramSnapshot, Timing},
};

/// What a plan would run in.
#[derive(Clone, PartialEq, Debug)]
pub struct Situation {
    /// The endpoint's traffic, all of it blue's.
    pub traffic: Traffic,
    /// How requests come to their fleet.
    pub dealing: Dealing,
    /// The fleet in service, where it is known.
    pub blue: Room,
    /// How many requests green takes at a time; `None` for any number, or when it is not known.
    pub green_room: Option<u64>,
}

/// How full the fleet in service is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Room {
    /// Requests in flight on it.
    pub in_flight: u64,
    /// How many its healthy instances take at a time; `None` for any number, or when it is not known.
    pub most: Option<u64>,
}

/// Blue's traffic of the last minutes.
#[derive(Clone, PartialEq, Debug)]
pub struct Traffic {
    /// Where the rate comes from.
    pub origin: Origin,
    /// Requests a second, above 0; `None` when it is not known, or none came.
    pub rate: Option<f64>,
    /// Requests whose end told something.
    pub settled: u64,
    /// Of those, failed.
    pub failed: u64,
    /// Of those, answered in a way that blames the client.
    pub client_errors: u64,
    /// The times of complete answers, from dispatch to the last byte.
    pub latency: HistogramSnapshot,
    /// The times from dispatch to the first token, of streams.
    pub first_token: HistogramSnapshot,
    /// The mean times between tokens, one for each stream.
    pub token_gap: HistogramSnapshot,
    /// (settled, failed) in slices of about a second, for how failures come together.
    pub slices: Vec<(u64, u64)>,
}

/// Where a rate of traffic comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// From blue's meters, over so long.
    Measured(Duration),
    /// Whoever asked has said it.
    Stated,
    /// Nobody has.
    Unknown,
}

/// Why a text is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a rate of requests: write a number above 0 and /s, /m or /h, such as \"20/s\" or \"300/m\""
)]
pub struct RateError(String);

/// Parses `20/s`, `0.5/s`, `300/m`, `1000/h` into requests a second, from one a day to a hundred million.
pub fn parse_rate(text: &str) -> Result<f64, RateError> {
    const RANGE: std::ops::RangeInclusive<f64> = 1.0 / 86_400.0..=1e8;
    let parsed = text.split_once('/').and_then(|(number, unit)| {
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let number: f64 = number.parse().ok().filter(|_| is_plain)?;
        RANGE.contains(&(number / seconds)).then_some(number / seconds)
    });
    parsed.ok_or_else(|| RateError(text.chars().take(40).collect()))
}

impl Situation {
    /// When nothing is known but perhaps the rate of requests.
    pub fn unknown(rate: Option<f64>) -> Self {
        Self {
            traffic: Traffic::unknown(rate),
            dealing: Dealing::Deck,
            blue: Room::default(),
            green_room: None,
        }
    }
}

impl Traffic {
    /// When nothing is known but perhaps the rate.
    pub fn unknown(rate: Option<f64>) -> Self {
        Self {
            origin: if rate.is_some() { Origin::Stated } else { Origin::Unknown },
            rate,
            settled: 0,
            failed: 0,
            client_errors: 0,
            latency: HistogramSnapshot::default(),
            first_token: HistogramSnapshot::default(),
            token_gap: HistogramSnapshot::default(),
            slices: Vec::new(),
        }
    }

    /// The same at a rate that somebody states.
    pub fn at(self, rate: f64) -> Self {
        Self { origin: Origin::Stated, rate: Some(rate), ..self }
    }

    /// Blue's times.
    pub fn times(&self, timing: Timing) -> &HistogramSnapshot {
        match timing {
            Timing::Latency => &self.latency,
            Timing::FirstToken => &self.first_token,
            Timing::TokenGap => &self.token_gap,
        }
    }

    /// The part of the requests that have such a time: not every one is a stream. All of them while it is not known.
    pub fn part_with(&self, timing: Timing) -> f64 {
        match timing {
            Timing::FirstToken | Timing::TokenGap if self.settled > 0 => {
                (self.times(timing).count() as f64 / self.settled as f64).min(1.0)
            }
            Timing::Latency | Timing::FirstToken | Timing::TokenGap => 1.0,
        }
    }

    /// Blue's rate of failures.
    pub fn error_rate(&self) -> f64 {
        careful(self.failed, self.settled)
    }

    /// Blue's rate of answers that blame the client.
    pub fn client_error_rate(&self) -> f64 {
        careful(self.client_errors, self.settled)
    }
}

/// A rate as regressions estimate blue's: half a percent of nothing, and near the counted one soon.
fn careful(part: u64, whole: u64) -> f64 {
    (part as f64 + 0.5) / (whole as f64 + 100.0)
}
