//! The shift engine: a state machine that takes inputs and returns effects, and does nothing itself.
//!
//! Pure: no clock, no I/O, no knowledge of alarms' statistics. The driver in `control` feeds it and carries its effects out.
//!
//! ```text
//! preparing -> baking 0 -> baking 1 -> .. -> termination_wait -> retiring -> promoted
//!     |         |  ^ holding, paused              |
//!     +---------+--+------------------------------+--> rolling_back -> rolled_back
//! ```
//!
//! Blue serves on until `retiring`, so from every state before it the way back is one table away. From `retiring` on there is none:
//! blue is being let go, and a bad green is then the business of the next shift.
//!
//! Invariants, cited by number in asserts and tests:
//! - S1 shares add up to the whole.
//! - S2 green's share never rises while an alarm is raised or has too little data (unless the plan says otherwise).
//! - S3 the first effect of a rollback gives green nothing.
//! - S4 a terminal state has no further effect.
//! - S5 a step begins only after the whole bake of the one before (an operator's promote skips bakes, and says so).
//! - S6 replaying the journal gives the same state and the same next effects.
//! - S7 an instance is retired only when nothing is in flight on it or its drain deadline has passed.
//! - S8 generations strictly rise.
//! - S9 every non-terminal state has a wake-up or waits for a named input.
//! - S10 a shift ends within its execution timeout, by rollback if need be.

mod command;
mod decision;
mod engine;
mod invariants;
mod plan;
mod state;

pub use engine::Shift;
pub use plan::{
    Approval, NoData, OnRestart, PlanError, ShiftLimits, ShiftPlan, Step, Strategy, StrategyKind,
};
pub use state::{Cause, Command, Effect, Input, PauseReason, Refusal, Snapshot, Standing, State};

#[cfg(test)]
mod tests;
