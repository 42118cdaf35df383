//! The shift engine: a state machine that takes inputs and returns effects, and does nothing itself.
//!
//! Pure: no clock, no I/O, no knowledge of alarms' statistics. The driver in `control` feeds it and carries its effects out.
//!
//! ```text
//! preparing -> baking 0 -> baking 1 -> .. -> termination_wait -> retiring -> promoted
//!     |         |  ^ holding, paused              |
//!     +---------+--+------------------------------+--> rolling_back -> rolled_back
//!
//! rolling: baking k -> retiring_batch k -> preparing_batch k+1 (-> holding_batch k+1) -> baking k+1
//!     +---------+---------------+---------------------+---> releasing_batch -> restoring -> rolling_back
//!                                                               ^                 | |
//!                                                               +-----------------+ +-> rollback_failed
//! ```
//!
//! Blue serves on until `retiring`, so from every state before it the way back is one table away. From `retiring` on there is none:
//! blue is being let go, and a bad green is then the business of the next shift. A rolling shift lets blue go batch by batch, so its way
//! back leads over making blue's missing instances again (`way_back`).
//!
//! Invariants, cited by number in asserts and tests:
//! - S1 shares add up to the whole.
//! - S2 green's share never rises while an alarm is raised or has too little data (unless the plan says otherwise), or while the shift is held
//!   or paused.
//! - S3 the first effect of a rollback gives green nothing; in a rolling plan that goes back in batches, whatever blue's instances can
//!   take goes to blue with the first effect, and green keeps the rest alone.
//! - S4 a terminal state has no further effect.
//! - S5 a step begins only after the whole bake of the one before (an operator may skip one bake or all, and evidence that green is good
//!   ends one early where the plan lets it; both say so). The last bake is never cut short by evidence.
//! - S6 replaying the journal gives the same state and the same next effects.
//! - S7 an instance is retired only when nothing is in flight on it or its drain deadline has passed.
//! - S8 generations strictly rise.
//! - S9 every non-terminal state has a wake-up or waits for a named input.
//! - S10 a shift ends within its execution timeout, by rollback if need be. Each wait of the rollback has a bound of its own.
//!
//! Of rolling plans, with fleets of M and N instances and batches of b (and r on the way back):
//! - S11 no fewer than min(M, N) instances serve, all of them ready, unless the plan goes back at once; and no more than max(M, N) + b exist
//!   (max(M, N) + max(b, r) on the way back in batches, M + N on the way back at once).
//! - S12 no instance of either fleet gets more than its part of the whole, to the basis point, unless the plan goes back at once.

mod command;
mod decision;
mod engine;
mod invariants;
mod plan;
mod rolling;
mod schedule;
mod state;
mod turn;
mod way_back;

pub use decision::PAUSED;
pub use engine::Shift;
pub use plan::{
    Approval, NoData, OnRestart, PlanError, ShiftLimits, ShiftPlan, Step, Strategy, StrategyKind,
};
pub use rolling::{Back, Batch, InService, Ordered, Pace, Rolling, Sizes};
pub use state::{
    Bakes, Cause, Command, Count, Effect, Input, Onward, PauseReason, Refusal, Snapshot, Standing, State,
};

pub use schedule::{DAYS, Hours, Schedule, Wait, Window};
pub use turn::{IfRunning, StartAfter, Turn};

#[cfg(test)]
mod tests;
