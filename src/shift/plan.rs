//! Shift plans: what is to happen, checked.

use std::time::Duration;

use crate::weight::Share;

/// How the plan was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StrategyKind {
    /// Everything in one step.
    AllAtOnce,
    /// A small share first, then everything.
    Canary,
    /// Equal steps.
    Linear,
    /// Steps written out.
    Steps,
}

/// Whether a step waits for an operator before it begins... the step after it, once its bake is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Approval {
    /// The shift goes on by itself.
    NotNeeded,
    /// After this step's bake the shift pauses until somebody resumes it.
    Required,
}

/// What happens at the end of a bake when alarms have too little data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoData {
    /// The step holds until there is enough (the default).
    Hold,
    /// The step counts as healthy.
    Pass,
    /// The shift rolls back.
    Fail,
}

/// What becomes of a running shift when the process starts again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnRestart {
    /// It goes on from its step with a fresh bake (the default).
    Continue,
    /// It rolls back.
    RollBack,
}

/// One share of traffic, and how long it must stay healthy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Green's share from this step on.
    pub share: Share,
    /// How long.
    pub bake: Duration,
    /// Whether somebody must agree before the next step.
    pub approval: Approval,
}

/// A checked plan. Its steps rise strictly and end at the whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShiftPlan {
    kind: StrategyKind,
    steps: Vec<Step>,
    /// The shift ends within this, by rollback if need be; longer than all waits together.
    pub execution_timeout: Duration,
    /// How long blue is kept warm after the last bake.
    pub termination_wait: Duration,
    /// How long a fleet that gets no new requests may finish its running ones.
    pub drain_timeout: Duration,
    /// How long green may take to become ready.
    pub ready_timeout: Duration,
    /// What a bake without enough data means.
    pub no_data: NoData,
    /// What a restart of the process means.
    pub on_restart: OnRestart,
}

/// Why steps do not make a plan. Each message says what would be right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// There is none.
    #[error("a plan needs at least one step")]
    NoSteps,
    /// A step gives green less than or as much as the one before.
    #[error(
        "step {number} gives green {share}, which is not more than the {before} of the step before: shares must rise"
    )]
    StepDoesNotRise {
        /// Counted from 1.
        number: usize,
        /// Its share.
        share: Share,
        /// The share before.
        before: Share,
    },
    /// A step, the canary or the linear step has no share.
    #[error("step {number} gives green nothing: a step's share is above 0%")]
    EmptyStep {
        /// Counted from 1.
        number: usize,
    },
    /// A canary of everything.
    #[error("a canary takes less than 100%: for everything in one step use the strategy all_at_once")]
    WholeCanary,
    /// The timeout cannot be kept.
    #[error("execution_timeout {timeout:?} is not longer than the plan's waits, {waits:?} in all")]
    TimeoutTooShort {
        /// As given.
        timeout: Duration,
        /// All bakes and the termination wait.
        waits: Duration,
    },
}
