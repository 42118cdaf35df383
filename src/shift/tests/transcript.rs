//! Transcripts: one line per input, `moment input -> state | effects`.
//!
//! A test writes the whole transcript as it should be. The inputs on the left are fed to a shift, and what it says is compared with
//! the right.

use std::time::Duration;

use crate::{
    fleet::Side,
    shift::{
        Back, Cause, Command, Count, Effect, Input, Pace, PauseReason, Shift, ShiftPlan, Standing, State,
    },
    time::{Moment, format_duration, parse_duration},
};

/// Runs the inputs of a transcript and panics, with the whole transcript as it is, where it differs.
///
/// Inputs: `start`, `skip STEP STANDING`, `green ready` (which takes a standing, clear if there is none), `green failed`, `blue ready`, `blue failed`, `green gone`, `wake STANDING`, `blue drained`, `green drained`, `COMMAND STANDING`, and
/// `restart`, which restores the shift as it was written down at the input before. Standings: `clear`, `safe`, `no data`, `held`, `breach`.
#[track_caller]
pub(super) fn check(plan: ShiftPlan, expected: &str) {
    let mut shift = Shift::new(plan, Moment::default());
    let mut recorded = Moment::default();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut actual = Vec::new();
    for line in &expected {
        let said = line.split(" -> ").next().unwrap().trim();
        let (moment, words) = said.split_once(' ').unwrap();
        let now = Moment::default().after(parse_duration(moment).unwrap());
        let input = if words.trim() == "restart" {
            shift = Shift::restore(shift.plan().clone(), &shift.snapshot(recorded), now);
            Input::Restarted { downtime: now.since(recorded) }
        } else {
            parse_input(words.trim())
        };
        recorded = now;
        let before = shift.clone();
        let answer = match shift.step(now, input) {
            Ok(effects) => format!("{}{}", write_state(shift.state()), write_effects(&effects)),
            Err(refusal) => {
                assert_eq!(before.state(), shift.state(), "a refusal changes nothing");
                assert_eq!(before.snapshot(now), shift.snapshot(now), "a refusal changes nothing");
                refusal.to_string()
            }
        };
        actual.push(format!("{said} -> {answer}"));
    }
    assert!(actual == expected, "the transcript is\n{}\n", actual.join("\n"));
}

fn parse_input(words: &str) -> Input {
    let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
    let command = |command| Input::Command(command, parse_standing(rest));
    match (first, rest) {
        ("start", "") => Input::Start,
        ("green", "ready") => Input::GreenReady(Standing::Clear),
        ("green", "ready held") => Input::GreenReady(parse_standing("held")),
        ("green", "ready no data") => Input::GreenReady(Standing::InsufficientData),
        ("green", "ready breach") => Input::GreenReady(parse_standing("breach")),
        ("blue", "ready") => Input::BlueReady,
        ("blue", "failed") => Input::BlueFailed { reason: "no room".to_owned() },
        ("green", "failed") => Input::GreenFailed { reason: "no such image".to_owned() },
        ("green", "gone") => Input::GreenGone,
        ("blue", "drained") => Input::Drained(Side::Blue),
        ("green", "drained") => Input::Drained(Side::Green),
        ("wake", standing) => Input::Wake(parse_standing(standing)),
        ("pause", _) => command(Command::Pause),
        ("resume", _) => command(Command::Resume),
        ("promote", _) => command(Command::Promote),
        ("skip", rest) => {
            let (step, standing) = rest.split_once(' ').unwrap();
            let step = step.parse().unwrap();
            Input::Command(Command::SkipBake { step }, parse_standing(standing))
        }
        ("abort", _) => command(Command::Abort),
        _ => panic!("{words:?} is not an input"),
    }
}

fn parse_standing(word: &str) -> Standing {
    match word {
        "clear" => Standing::Clear,
        "safe" => Standing::Safe { evidence: "odds of 24 : 1".to_owned() },
        "no data" => Standing::InsufficientData,
        "held" => Standing::Held { why: "chat is frozen".to_owned() },
        "breach" => Standing::Breached(Cause::Alarm {
            name: "errors".to_owned(),
            evidence: "9 of 12 failed".to_owned(),
        }),
        _ => panic!("{word:?} is not a standing"),
    }
}

fn write_state(state: &State) -> String {
    match state {
        State::Preparing { ready_by } => format!("preparing until {}", write(*ready_by)),
        State::Baking { step, ends } => format!("baking {step} until {}", write(*ends)),
        State::Holding { step } => format!("holding {step}"),
        State::Paused { step, remaining, reason: PauseReason::Operator } => {
            format!("paused {step} by operator, {} left", format_duration(*remaining))
        }
        State::Paused { step, remaining, reason: PauseReason::Approval } => {
            assert_eq!(*remaining, Duration::ZERO, "approval comes after the bake");
            format!("paused {step} for approval")
        }
        State::RetiringBatch { step, drain_by } => {
            format!("retiring batch {step} until {}", write(*drain_by))
        }
        State::PreparingBatch { step, ready_by } => {
            format!("preparing batch {step} until {}", write(*ready_by))
        }
        State::HoldingBatch { step } => format!("holding batch {step}"),
        State::TerminationWait { ends } => format!("termination wait until {}", write(*ends)),
        State::Retiring { drain_by } => format!("retiring blue until {}", write(*drain_by)),
        State::RollingBack { cause, drain_by } => {
            format!("rolling back ({}) until {}", cause.as_str(), write(*drain_by))
        }
        State::ReleasingBatch { cause, back, drain_by } => {
            format!("releasing ({}, {}) until {}", cause.as_str(), write_back(*back), write(*drain_by))
        }
        State::Restoring { cause, back, ready_by } => {
            format!("restoring ({}, {}) until {}", cause.as_str(), write_back(*back), write(*ready_by))
        }
        State::Promoted => "promoted".to_owned(),
        State::RolledBack { cause } => format!("rolled back ({})", cause.as_str()),
        State::RollbackFailed { cause, reason, back } => {
            format!("rollback failed ({}, {}): {reason}", cause.as_str(), write_back(*back))
        }
    }
}

fn write_back(Back { blue, pace }: Back) -> String {
    let pace = match pace {
        Pace::AtOnce => "at once",
        Pace::Batches => "in batches",
    };
    format!("{blue} of blue, {pace}")
}

fn write_count(count: Count) -> String {
    match count {
        Count::All => String::new(),
        Count::First(count) => format!(" {count}"),
    }
}

fn write(moment: Moment) -> String {
    format_duration(moment.since(Moment::default()))
}

fn write_effects(effects: &[Effect]) -> String {
    let effects: Vec<String> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Provision(Side::Green, Count::All) => "provision".to_owned(),
            Effect::Provision(side, count) => format!("provision {side}{}", write_count(*count)),
            Effect::Serve(side, count) => format!("serve {side}{}", write_count(*count)),
            Effect::BeginStep(step) => format!("begin {step}"),
            Effect::PublishShare(share) => format!("publish {share}"),
            Effect::Drain { side, keep: 0 } => format!("drain {side}"),
            Effect::Drain { side, keep } => format!("drain {side} to {keep}"),
            Effect::Retire { side, keep: 0 } => format!("retire {side}"),
            Effect::Retire { side, keep } => format!("retire {side} to {keep}"),
            Effect::Adopt => "adopt green".to_owned(),
            Effect::Settle => "settle".to_owned(),
            Effect::Finish => "finish".to_owned(),
        })
        .collect();
    if effects.is_empty() { String::new() } else { format!(" | {}", effects.join(", ")) }
}
