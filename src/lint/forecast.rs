//! What each step finds with each alarm.

use std::time::Duration;

use super::{
    Situation, Traffic,
    subject::{Kind, Subject},
    words,
};
use crate::{config::PlanSpec, shift::Step, weight::Share};

/// Steps that are forecast; of a plan with more, the first ones and the last. Linear plans can have thousands, each takes milliseconds, and
/// neighbours differ little.
const MOST_STEPS: usize = 32;

/// A forecast looks at no more requests than this: what more would find is of no interest, and takes long to compute.
const MOST_REQUESTS: f64 = 1e7;

/// What a plan finds at some traffic.
#[derive(Clone, PartialEq, Debug)]
pub struct Forecast {
    /// The traffic.
    pub traffic: Traffic,
    /// The steps in order; of very many, the first ones and the last.
    pub steps: Vec<StepForecast>,
}

/// What a step finds.
#[derive(Clone, PartialEq, Debug)]
pub struct StepForecast {
    /// Counted from 1.
    pub number: usize,
    /// Green's.
    pub share: Share,
    /// How long.
    pub bake: Duration,
    /// Green requests in the bake; `None` when the traffic is not known.
    pub requests: Option<u64>,
    /// By alarm, in the plan's order.
    pub detections: Vec<Detection>,
}

/// What an alarm finds in a step.
#[derive(Clone, PartialEq, Debug)]
pub struct Detection {
    /// The alarm's name.
    pub alarm: String,
    /// What it finds.
    pub sight: Sight,
    /// The least number of green requests that raise it if all of them are bad; `None` where it rests, or when no number does.
    pub least: Option<u64>,
    /// A rate at which green is plainly worse than permitted: five times.
    pub effect: Option<f64>,
    /// How many green requests find that, with a probability of 95 %.
    pub needed: Option<u64>,
    /// How long so many take; `None` when the traffic is not known. Of a threshold, how long it takes until it can be raised.
    pub needed_bake: Option<Duration>,
}

/// What an alarm finds in a step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Sight {
    /// The least rate of bad requests found with a probability of 95 %. For latency, of requests that took as long as the bound or, against
    /// blue, longer than blue's quantile.
    Finds {
        /// From 0 to 1.
        rate: f64,
        /// For latency, how many times as slow as blue such a green is, if blue's times are known.
        slowdown: Option<f64>,
    },
    /// Not even a total outage.
    Nothing,
    /// A threshold sees so many whole periods, enough to be raised. It promises no probability.
    Periods {
        /// From 1.
        whole: u64,
    },
    /// What an external alarm's reporter sees.
    Reported,
    /// The traffic is not known.
    Unknown,
    /// Green has everything, so there is nothing to compare it with.
    Rests,
}

pub(super) fn forecast(plan: &PlanSpec, subjects: &[Subject], situation: &Situation) -> Forecast {
    let steps = plan.shift.steps();
    let numbered = || steps.iter().enumerate().map(|(index, step)| (index + 1, step));
    let skipped = steps.len().saturating_sub(MOST_STEPS);
    let shown = numbered().filter(|(number, _)| *number < MOST_STEPS || *number >= MOST_STEPS + skipped);
    let outlook = |(number, step): (usize, &Step)| StepForecast {
        number,
        share: step.share,
        bake: step.bake,
        requests: requests(step, &situation.traffic),
        detections: subjects
            .iter()
            .map(|subject| detection(subject, step, steps.len(), &situation.traffic))
            .collect(),
    };
    Forecast { traffic: situation.traffic.clone(), steps: shown.map(outlook).collect() }
}

/// Green requests in a step's bake.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number, or saturated")]
pub(super) fn requests(step: &Step, traffic: &Traffic) -> Option<u64> {
    traffic.rate.map(|rate| (rate * step.share.as_fraction() * step.bake.as_secs_f64()).floor() as u64)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most ten million")]
fn detection(subject: &Subject, step: &Step, bakes: usize, traffic: &Traffic) -> Detection {
    let nothing = Detection {
        alarm: subject.name.clone(),
        sight: Sight::Rests,
        least: None,
        effect: None,
        needed: None,
        needed_bake: None,
    };
    if let Kind::Periods { shortest, period, topic: _ } = subject.kind {
        let whole = step.bake.as_nanos() / period.as_nanos().max(1);
        let whole = u64::try_from(whole).unwrap_or(u64::MAX);
        let sight = if step.bake >= shortest { Sight::Periods { whole } } else { Sight::Nothing };
        return Detection { sight, needed_bake: Some(shortest), ..nothing };
    }
    if subject.kind == Kind::Reported {
        return Detection { sight: Sight::Reported, ..nothing };
    }
    let Some(test) = subject.test(step.share.as_fraction(), bakes) else { return nothing };
    let part = subject.timing().map_or(1.0, |timing| traffic.part_with(timing));
    let sight = match requests(step, traffic) {
        None => Sight::Unknown,
        Some(requests) => match test.smallest_rate((requests as f64 * part).min(MOST_REQUESTS) as u64) {
            Some(rate) => Sight::Finds { rate, slowdown: subject.slowdown(rate, traffic) },
            None => Sight::Nothing,
        },
    };
    let effect = Subject::effect(test.edge());
    let needed = test.requests_needed(effect);
    let per_second = traffic.rate.map(|rate| rate * part * step.share.as_fraction());
    Detection {
        sight,
        least: test.requests_needed(1.0),
        effect: Some(effect),
        needed,
        needed_bake: needed
            .zip(per_second.filter(|rate| *rate > 0.0))
            .map(|(needed, rate)| words::time_for(needed, rate)),
        ..nothing
    }
}

impl Sight {
    /// What is found, in a few words.
    pub fn text(self) -> String {
        match self {
            Self::Finds { rate, slowdown: None } => format!("{} or more", words::percent(rate)),
            Self::Finds { rate, slowdown: Some(times) } => {
                format!("{} or more ({} blue's times)", words::percent(rate), words::times(times))
            }
            Self::Nothing => "nothing".to_owned(),
            Self::Periods { whole } => format!("{} periods", words::count(whole)),
            Self::Reported => "what is reported".to_owned(),
            Self::Unknown => "unknown".to_owned(),
            Self::Rests => "rests".to_owned(),
        }
    }

    /// Whether an alarm can be raised here, as far as one can tell.
    pub(super) fn is_open(self) -> bool {
        match self {
            Self::Finds { .. } | Self::Periods { .. } | Self::Reported | Self::Unknown => true,
            Self::Nothing | Self::Rests => false,
        }
    }
}
