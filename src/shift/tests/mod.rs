//! The engine's tests: what each strategy does, what every command does in every state, what a restart does in every state, all sequences
//! of inputs up to some length, and a seeded simulation of whatever happens to happen.

mod account;
mod commands;
mod enumeration;
mod held;
mod plans;
mod restarts;
mod rolling;
mod rolling_back;
mod simulation;
mod strategies;
mod transcript;

use std::{num::NonZeroU32, time::Duration};

use super::{Batch, NoData, OnRestart, ShiftLimits, ShiftPlan, Sizes, Step, Strategy};
use crate::{time::parse_duration, weight::Share};

fn share(text: &str) -> Share {
    Share::parse(text).unwrap()
}

fn span(text: &str) -> Duration {
    parse_duration(text).unwrap()
}

/// An hour for everything, a minute to become ready, half a minute to drain.
fn limits() -> ShiftLimits {
    ShiftLimits { execution_timeout: span("1h"), ready_timeout: span("1m"), ..ShiftLimits::default() }
}

fn plan(strategy: Strategy) -> ShiftPlan {
    ShiftPlan::new(strategy, limits()).unwrap()
}

fn plan_with(strategy: Strategy, limits: ShiftLimits) -> ShiftPlan {
    ShiftPlan::new(strategy, limits).unwrap()
}

/// A tenth for five minutes, then everything for ten.
fn canary() -> Strategy {
    Strategy::Canary { share: share("10%"), bake: span("5m"), final_bake: span("10m") }
}

fn with_no_data(no_data: NoData) -> ShiftLimits {
    ShiftLimits { no_data, ..limits() }
}

fn with_termination_wait() -> ShiftLimits {
    ShiftLimits { termination_wait: span("2m"), ..limits() }
}

fn that_rolls_back_on_restart() -> ShiftLimits {
    ShiftLimits { on_restart: OnRestart::RollBack, ..with_termination_wait() }
}

/// A quarter, and then only with somebody's approval everything.
fn approved() -> Strategy {
    Strategy::Steps {
        steps: vec![Step::with_approval(share("25%"), span("5m"))],
        final_bake: Some(span("10m")),
    }
}

fn instances(count: u32) -> Batch {
    Batch::Instances(NonZeroU32::new(count).unwrap())
}

fn sizes(blue: u32, green: u32) -> Sizes {
    Sizes { blue: NonZeroU32::new(blue).unwrap(), green: NonZeroU32::new(green).unwrap() }
}

/// Batches that bake for a minute.
fn rolling(batch: Batch, rollback_batch: Option<Batch>) -> Strategy {
    Strategy::Rolling { batch, bake: span("1m"), rollback_batch }
}

/// SageMaker's sample: a third of three, one instance after the other.
fn thirds(rollback_batch: Option<Batch>) -> ShiftPlan {
    plan(rolling(Batch::Part(share("33%")), rollback_batch)).sized(sizes(3, 3)).unwrap()
}
