//! Replays of plans, on the wire.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{replay, shift::Cause, time::format_duration, trial::cause_text};

/// `POST /v1/endpoints/{name}/replay`, and what `snapback plan replay` works out by itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Replayed {
    /// What was played.
    pub recording: PlayedRecording,
    /// What the plan would have decided; null where it was played against itself.
    pub replay: Option<Replay>,
    /// Blue against itself, where that was asked for.
    pub aa: Option<Aa>,
}

/// A recording.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PlayedRecording {
    /// Whose, if it says so.
    pub endpoint: Option<String>,
    /// When its first request was dealt, if it says so.
    pub began_at: Option<String>,
    /// How many outcomes it has.
    pub outcomes: u64,
    /// From the first request to the last.
    pub span_ms: f64,
    /// What is not as it should be, in a sentence each.
    pub remarks: Vec<String>,
}

/// What a plan would have decided over recorded outcomes. Times count from the plan's beginning.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Replay {
    /// Where green's outcomes come from: `as_recorded`, `other_recording` or `split`.
    pub source: String,
    /// What was taken for granted, in a sentence each.
    pub assumptions: Vec<String>,
    /// Requests dealt to blue.
    pub blue_requests: u64,
    /// Requests dealt to green.
    pub green_requests: u64,
    /// Outcomes left out, because a fleet had more than the plan would have given it.
    pub left_out: u64,
    /// From the plan's beginning to the last request that could come.
    pub span_ms: f64,
    /// The steps that were begun.
    pub steps: Vec<ReplayStep>,
    /// How it ended.
    pub end: ReplayEnd,
}

/// One step of a replay.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReplayStep {
    /// Counted from 1.
    pub step: usize,
    /// Green's share.
    pub share: String,
    /// The bake as a duration such as `2m`.
    pub bake: String,
    /// When it began.
    pub began_ms: f64,
    /// When it ended, or when there was nothing more to play.
    pub ended_ms: f64,
    /// `passed`, `rolled_back` or `undecided`.
    pub end: String,
    /// Green requests whose end told something.
    pub green_responses: u64,
    /// Of these, failed.
    pub green_failures: u64,
    /// Every alarm as it stood at the end.
    pub alarms: Vec<ReplayAlarm>,
}

/// An alarm at a step's end.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReplayAlarm {
    /// Its name.
    pub name: String,
    /// `ok`, `alarm` or `insufficient_data`.
    pub state: String,
    /// Its numbers in a sentence.
    pub text: String,
    /// The evidence against green in nats; null for a threshold, which promises no probability.
    pub ln_e: Option<f64>,
    /// The evidence at which it is raised.
    pub threshold: Option<f64>,
    /// How many more of green's requests it needs in this step before it can tell anything.
    pub missing_requests: u64,
}

/// How a replay ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReplayEnd {
    /// `promoted`, `rolled_back` or `undecided`.
    pub state: String,
    /// When.
    pub at_ms: f64,
    /// Why, in a sentence.
    pub text: String,
    /// For a rollback: `alarm`, `failure_budget` and so on.
    pub cause: Option<String>,
    /// The alarm that was raised.
    pub alarm: Option<String>,
    /// The step of a rollback, from 1.
    pub step: Option<usize>,
    /// The line of the outcome that tipped the alarm; null when a deadline decided, or a period's end.
    pub line: Option<usize>,
    /// Green responses until then, the deciding one among them.
    pub green_responses: Option<u64>,
    /// Of these, failed.
    pub green_failures: Option<u64>,
    /// Green requests that were open then.
    pub green_in_flight: Option<u64>,
}

/// Blue against itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Aa {
    /// How many random splits were played.
    pub splits: u32,
    /// In how many a guard or a regression was raised.
    pub raised: u32,
    /// raised / splits.
    pub rate: f64,
    /// The ends of the interval in which that rate lies with a confidence of 95 %.
    pub rate_low: f64,
    /// See `rate_low`.
    pub rate_high: f64,
    /// What the plan promises of it.
    pub false_alarm: f64,
    /// Whether the splits show that the promise is kept: `kept`, `broken`, or `unsure` where there are too few to tell.
    pub promise: String,
    /// In how many splits each alarm was the first that was raised.
    pub by_alarm: BTreeMap<String, u32>,
    /// Splits that were rolled back by something that promises nothing: a threshold, the budget of failures, a deadline.
    pub other_rollbacks: u32,
    /// Splits in which green was promoted.
    pub promoted: u32,
    /// Splits in which the recording was over first.
    pub undecided: u32,
    /// What the traffic is like.
    pub behaviour: Behaviour,
}

/// What recorded traffic is like.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Behaviour {
    /// All of it.
    pub whole: Stretch,
    /// The same cut into equal times.
    pub stretches: Vec<Stretch>,
    /// How many times as unevenly failures come as single ones would.
    pub burst: f64,
    /// The longest median time of a stretch over the shortest.
    pub drift: Option<f64>,
}

/// A stretch of recorded traffic.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stretch {
    /// From the recording's beginning.
    pub from_ms: f64,
    /// How long it is.
    pub span_ms: f64,
    /// Requests whose end told something.
    pub requests: u64,
    /// Of these, failed.
    pub failures: u64,
    /// Of these, answered in a way that blames the client.
    pub client_errors: u64,
    /// Median time of answers.
    pub p50_ms: Option<f64>,
    /// 90th percentile.
    pub p90_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
    /// Median time to the first token.
    pub first_token_p50_ms: Option<f64>,
    /// 99th percentile.
    pub first_token_p99_ms: Option<f64>,
}

impl From<&replay::Recording> for PlayedRecording {
    fn from(recording: &replay::Recording) -> Self {
        let replay::Recording { endpoint, began_at, dealing: _, entries, remarks } = recording;
        Self {
            endpoint: endpoint.clone(),
            began_at: began_at.clone(),
            outcomes: u64::try_from(entries.len()).unwrap_or(u64::MAX),
            span_ms: millis(recording.span()),
            remarks: remarks.clone(),
        }
    }
}

impl From<replay::Replay> for Replay {
    fn from(replay: replay::Replay) -> Self {
        let replay::Replay { source, assumptions, played, steps, end } = replay;
        let replay::Played { blue, green, left_out, span } = played;
        Self {
            source: match source {
                replay::Source::AsRecorded => "as_recorded",
                replay::Source::Other => "other_recording",
                replay::Source::Split => "split",
            }
            .to_owned(),
            assumptions,
            blue_requests: blue,
            green_requests: green,
            left_out,
            span_ms: millis(span),
            steps: steps.into_iter().map(ReplayStep::from).collect(),
            end: end.into(),
        }
    }
}

impl From<replay::StepReplay> for ReplayStep {
    fn from(step: replay::StepReplay) -> Self {
        let replay::StepReplay {
            number,
            share,
            bake,
            began,
            ended,
            end,
            green_responses,
            green_failures,
            alarms,
        } = step;
        Self {
            step: number,
            share: share.to_string(),
            bake: format_duration(bake),
            began_ms: millis(began),
            ended_ms: millis(ended),
            end: match end {
                replay::StepEnd::Passed => "passed",
                replay::StepEnd::RolledBack => "rolled_back",
                replay::StepEnd::Undecided => "undecided",
            }
            .to_owned(),
            green_responses,
            green_failures,
            alarms: alarms.into_iter().map(ReplayAlarm::from).collect(),
        }
    }
}

impl From<replay::AlarmAtEnd> for ReplayAlarm {
    fn from(alarm: replay::AlarmAtEnd) -> Self {
        let replay::AlarmAtEnd { name, state, text, ln_e, threshold, missing } = alarm;
        let finite = |number: &f64| number.is_finite();
        Self {
            name,
            state: state.as_str().to_owned(),
            text,
            ln_e: ln_e.filter(finite),
            threshold: threshold.filter(finite),
            missing_requests: missing,
        }
    }
}

impl From<replay::End> for ReplayEnd {
    fn from(end: replay::End) -> Self {
        let nothing = Self {
            state: String::new(),
            at_ms: 0.0,
            text: String::new(),
            cause: None,
            alarm: None,
            step: None,
            line: None,
            green_responses: None,
            green_failures: None,
            green_in_flight: None,
        };
        match end {
            replay::End::Promoted { at } => Self {
                state: "promoted".to_owned(),
                at_ms: millis(at),
                text: "every step passed, and green is the fleet in service".to_owned(),
                ..nothing
            },
            replay::End::RolledBack {
                at,
                cause,
                step,
                line,
                green_responses,
                green_failures,
                green_in_flight,
            } => Self {
                state: "rolled_back".to_owned(),
                at_ms: millis(at),
                text: cause_text(&cause),
                cause: Some(cause.as_str().to_owned()),
                alarm: match cause {
                    Cause::Alarm { name, evidence: _ } => Some(name),
                    Cause::FailureBudget { .. }
                    | Cause::Aborted
                    | Cause::ExecutionTimeout
                    | Cause::GreenNotReady { .. }
                    | Cause::GreenGone
                    | Cause::NoData
                    | Cause::Restart
                    | Cause::EvaluatorStalled => None,
                },
                step: Some(step),
                line,
                green_responses: Some(green_responses),
                green_failures: Some(green_failures),
                green_in_flight: Some(green_in_flight),
            },
            replay::End::Undecided { at, state, why } => Self {
                state: "undecided".to_owned(),
                at_ms: millis(at),
                text: format!("{why}; the shift is {}", state.as_str().replace('_', " ")),
                ..nothing
            },
        }
    }
}

impl From<replay::Aa> for Aa {
    fn from(aa: replay::Aa) -> Self {
        let promise = match (aa.shows_promise(), aa.breaks_promise()) {
            (true, _) => "kept",
            (false, true) => "broken",
            (false, false) => "unsure",
        };
        let replay::Aa { splits, rate, false_alarm, behaviour } = aa;
        let replay::Splits { played, raised, by_alarm, other_rollbacks, promoted, undecided } = splits;
        let replay::Interval { rate, low, high } = rate;
        let replay::Behaviour { whole, stretches, burst, drift } = behaviour;
        Self {
            splits: played,
            raised,
            rate,
            rate_low: low,
            rate_high: high,
            false_alarm,
            promise: promise.to_owned(),
            by_alarm,
            other_rollbacks,
            promoted,
            undecided,
            behaviour: Behaviour {
                whole: whole.into(),
                stretches: stretches.into_iter().map(Stretch::from).collect(),
                burst,
                drift,
            },
        }
    }
}

impl From<replay::Stretch> for Stretch {
    fn from(stretch: replay::Stretch) -> Self {
        let replay::Stretch { from, span, requests, failures, client_errors, latency, first_token } = stretch;
        let [p50, p90, p99] = latency.map(|time| time.map(millis));
        let [first_token_p50, _, first_token_p99] = first_token.map(|time| time.map(millis));
        Self {
            from_ms: millis(from),
            span_ms: millis(span),
            requests,
            failures,
            client_errors,
            p50_ms: p50,
            p90_ms: p90,
            p99_ms: p99,
            first_token_p50_ms: first_token_p50,
            first_token_p99_ms: first_token_p99,
        }
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}
