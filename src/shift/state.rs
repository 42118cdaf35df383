//! The engine's words: states, inputs, effects, causes.

use std::time::Duration;

use super::rolling::Back;
use crate::{fleet::Side, time::Moment, weight::Share};

/// Where a shift is. `step` counts from 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Green is being provisioned and must become ready; it gets nothing yet.
    Preparing {
        /// When green must be ready.
        ready_by: Moment,
    },
    /// A step's bake is under way.
    Baking {
        /// The step.
        step: usize,
        /// When its bake is over.
        ends: Moment,
    },
    /// The bake is over, but alarms have too little data to go on (S2).
    Holding {
        /// The step.
        step: usize,
    },
    /// Stands at a step until somebody resumes, promotes or aborts.
    Paused {
        /// The step; alarms go on.
        step: usize,
        /// How much of its bake is left.
        remaining: Duration,
        /// Why.
        reason: PauseReason,
    },
    /// A rolling step is over and healthy: its batch of blue gets nothing new and finishes its requests.
    RetiringBatch {
        /// The step that is over.
        step: usize,
        /// When the batch goes in any case.
        drain_by: Moment,
    },
    /// A rolling step's batch of green is being made; green has the share of the step before.
    PreparingBatch {
        /// The step to come, 1 or more.
        step: usize,
        /// When the batch must be ready.
        ready_by: Moment,
    },
    /// The batch is ready, but alarms have too little data to give it its share (S2).
    HoldingBatch {
        /// The step to come, 1 or more.
        step: usize,
    },
    /// Green has everything and passed its last bake; blue is kept warm.
    TerminationWait {
        /// When blue may go.
        ends: Moment,
    },
    /// Blue finishes its running requests and goes.
    Retiring {
        /// When it goes in any case.
        drain_by: Moment,
    },
    /// Blue is whole. Green gets nothing and finishes its running requests.
    RollingBack {
        /// Why.
        cause: Cause,
        /// When it goes in any case.
        drain_by: Moment,
    },
    /// Blue has lost instances. Those of green that are not needed any more finish their running requests.
    ReleasingBatch {
        /// Why.
        cause: Cause,
        /// How far blue is back.
        back: Back,
        /// When they go in any case.
        drain_by: Moment,
    },
    /// The next of blue's missing instances are being made, all of them where the way back is taken at once.
    Restoring {
        /// Why.
        cause: Cause,
        /// How far blue is back.
        back: Back,
        /// When they must be ready.
        ready_by: Moment,
    },
    /// Over: green is the fleet in service.
    Promoted,
    /// Over: blue still is.
    RolledBack {
        /// Why.
        cause: Cause,
    },
    /// Over: blue's missing instances could not be had again. What served then, of both fleets, is the fleet in service, and the next
    /// shift of the endpoint replaces it.
    RollbackFailed {
        /// Why the shift went back.
        cause: Cause,
        /// Why it did not get there.
        reason: String,
        /// How far it got.
        back: Back,
    },
}

/// Why a shift stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PauseReason {
    /// Somebody asked for it.
    Operator,
    /// The step asks for approval before the next one.
    Approval,
}

/// Why a shift rolled back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// An alarm was raised.
    Alarm {
        /// Its name.
        name: String,
        /// Its numbers in a sentence.
        evidence: String,
    },
    /// The plan's budget of user-visible failures is spent.
    FailureBudget {
        /// Failures that reached clients.
        failures: u64,
    },
    /// Somebody aborted it.
    Aborted,
    /// The execution timeout passed.
    ExecutionTimeout,
    /// Green did not become ready, or could not be provisioned.
    GreenNotReady {
        /// What was wrong.
        reason: String,
    },
    /// Every instance of green failed its health checks.
    GreenGone,
    /// Alarms had too little data at the end of a bake and the plan says that this fails.
    NoData,
    /// The process started again and the plan says that this rolls back.
    Restart,
    /// The alarms had not been looked at for a second (the watchdog).
    EvaluatorStalled,
}

/// What the alarms say, as far as the engine needs to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing is wrong, and there is enough data to say so.
    Clear,
    /// The same, and the plan lets a step end early on such evidence that green is good.
    Safe {
        /// The evidence in a sentence.
        evidence: String,
    },
    /// Nothing is raised, but there is too little data.
    InsufficientData,
    /// Nothing is raised, but the shift may not go on at this moment, however good its data: somebody or the clock forbids it. It holds,
    /// and never goes back for that; its execution timeout counts on.
    Held {
        /// Who or what, in a clause.
        why: String,
    },
    /// Roll back. The evaluator may have published the blue-only table already.
    Breached(Cause),
}

/// What an operator may ask for at any time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Hold at this step.
    Pause,
    /// Go on.
    Resume,
    /// Skip the remaining bakes.
    Promote,
    /// End this step's bake now. Names the step, so that a repeated one never skips the bake of the next.
    SkipBake {
        /// The step.
        step: usize,
    },
    /// Roll back.
    Abort,
}

/// How many of a fleet's instances: those that its specification names first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// All that there are.
    All,
    /// So many.
    First(u32),
}

/// Whether the bakes still to come take their time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bakes {
    /// They do.
    #[default]
    Kept,
    /// Somebody has promoted the shift: its remaining steps begin as soon as they can.
    Skipped,
}

/// Whether an operator lets the shift go on to what comes next, where no bake can be stopped: before its first step, while a batch of green
/// is made or waits for data, and while blue is kept warm. A bake that is stopped is [`State::Paused`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Onward {
    /// It goes on when it can.
    #[default]
    Free,
    /// Somebody has paused it: it stays as if it were held, until it is resumed or promoted.
    Paused,
}

/// Where a state stands, for what is the same in several states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Green gets nothing yet.
    Before,
    /// A step has begun, and the next has not.
    At(usize),
    /// Blue has lost the batch of the step before; this one has not begun.
    Between(usize),
    /// Green has everything and blue is kept warm.
    Warm,
    /// Blue goes.
    Leaving,
    /// On the way back with a whole blue.
    Back,
    /// On the way back, and blue has to be made whole first.
    Mending(Back),
    /// Over.
    Over,
}

/// What happens to a shift.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Begin; answered by `Provision`. To be fed once, at the moment of [`super::Shift::new`].
    Start,
    /// As much of green as was asked for is provisioned and ready. The standing is of this very moment.
    GreenReady(Standing),
    /// Green cannot be provisioned.
    GreenFailed {
        /// What was wrong.
        reason: String,
    },
    /// As much of blue as a rollback asked for is provisioned and ready.
    BlueReady,
    /// Blue's missing instances cannot be provisioned.
    BlueFailed {
        /// What was wrong.
        reason: String,
    },
    /// The moment of [`super::Shift::wake_at`] has come, or the alarms' standing changed. The standing is of this very moment. A
    /// spurious one changes nothing.
    Wake(Standing),
    /// Every instance of green fails its health checks.
    GreenGone,
    /// The instances that were to drain have nothing in flight any more.
    Drained(Side),
    /// Somebody asks.
    Command(Command, Standing),
    /// The process has started again after this long; the first input of a restored shift.
    Restarted {
        /// By the wall clock, never below zero.
        downtime: Duration,
    },
}

/// What the driver must do, in this order. Each carries all it needs, and may be carried out again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Make so many instances of a fleet and probe them; answered by `GreenReady` or `GreenFailed`, or by `BlueReady` or `BlueFailed`.
    Provision(Side, Count),
    /// Publish a table in which so many instances of a fleet take its requests. They are ready, except after a restart.
    Serve(Side, Count),
    /// The alarms begin a step. Comes before the step's share is published.
    BeginStep(usize),
    /// Publish a table that gives green this share.
    PublishShare(Share),
    /// Publish a table in which only the first `keep` instances of a fleet take requests, and watch the others; answered by `Drained` when
    /// nothing is in flight on them.
    Drain {
        /// Whose.
        side: Side,
        /// How many take requests on.
        keep: u32,
    },
    /// Let all instances of a fleet go but the first `keep` (S7).
    Retire {
        /// Whose.
        side: Side,
        /// How many stay.
        keep: u32,
    },
    /// Green becomes the endpoint's fleet in service: the record and a table with green as blue.
    Adopt,
    /// What the table names of both fleets becomes the endpoint's fleet in service.
    Settle,
    /// The shift is over; the endpoint is free.
    Finish,
}

/// Why a command changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The state does not allow it.
    #[error("cannot {command} a shift that is {state}")]
    WrongState {
        /// `pause`, `resume`, `promote` or `abort`.
        command: &'static str,
        /// The state's name.
        state: &'static str,
    },
    /// Green's share would rise under a raised alarm (S2).
    #[error("cannot {command}: an alarm is raised")]
    AlarmRaised {
        /// `resume`, `promote` or `skip the bake`.
        command: &'static str,
    },
    /// The shift may not go on at this moment.
    #[error("cannot {command}: {why}")]
    Held {
        /// `resume`, `promote` or `skip the bake`.
        command: &'static str,
        /// Who or what forbids it.
        why: String,
    },
    /// The shift has not come to this step.
    #[error("cannot skip the bake of step {asked}: the shift has not begun it")]
    StepToCome {
        /// As asked, from 1.
        asked: usize,
    },
    /// The execution timeout has passed, so the shift is about to roll back (S10).
    #[error("cannot {command}: the execution timeout has passed and the shift is about to roll back")]
    TimedOut {
        /// `pause`, `resume` or `promote`.
        command: &'static str,
    },
    /// Promote before green is ready.
    #[error("cannot promote: green is not ready yet")]
    GreenNotReady,
}

/// A state as the journal keeps it: moments turned into durations, since a monotonic clock does not survive its process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The state, its moments replaced: counted from the snapshot's own moment zero, so `ends` holds what was left.
    pub state: State,
    /// How long the shift has been running, downtime included.
    pub elapsed: Duration,
    /// The highest step that was begun; `None` before the first.
    pub step: Option<usize>,
    /// How often the process has started again during the shift.
    pub restarts: u32,
    /// Whether somebody has promoted it.
    pub bakes: Bakes,
    /// Whether somebody has paused it where no bake can be stopped.
    pub onward: Onward,
}

impl State {
    /// The state's name in the API and in events.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Preparing { .. } => "preparing",
            Self::Baking { .. } => "baking",
            Self::Holding { .. } => "holding",
            Self::Paused { .. } => "paused",
            Self::RetiringBatch { .. } => "retiring_batch",
            Self::PreparingBatch { .. } => "preparing_batch",
            Self::HoldingBatch { .. } => "holding_batch",
            Self::TerminationWait { .. } => "termination_wait",
            Self::Retiring { .. } => "retiring",
            Self::RollingBack { .. } => "rolling_back",
            Self::ReleasingBatch { .. } => "releasing_batch",
            Self::Restoring { .. } => "restoring",
            Self::Promoted => "promoted",
            Self::RolledBack { .. } => "rolled_back",
            Self::RollbackFailed { .. } => "rollback_failed",
        }
    }

    /// Whether the shift is over.
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Promoted | Self::RolledBack { .. } | Self::RollbackFailed { .. })
    }

    /// Whether the shift can still roll back: blue is there, or can be had again, and the shift is not on its way back already. From
    /// [`State::Retiring`] on there is no way back.
    pub const fn has_way_back(&self) -> bool {
        match self.phase() {
            Phase::Before | Phase::At(_) | Phase::Between(_) | Phase::Warm => true,
            Phase::Leaving | Phase::Back | Phase::Mending(_) | Phase::Over => false,
        }
    }

    /// Whether green gets requests that alarms can be about, and the shift can still roll back for them.
    pub(super) const fn is_on_trial(&self) -> bool {
        match self.phase() {
            Phase::At(_) | Phase::Between(_) | Phase::Warm => true,
            Phase::Before | Phase::Leaving | Phase::Back | Phase::Mending(_) | Phase::Over => false,
        }
    }

    /// Whether the shift waits for something other than a step's bake before it goes on, so that a pause is kept beside the state.
    pub(super) const fn is_between_steps(&self) -> bool {
        match self.phase() {
            Phase::Before | Phase::Between(_) | Phase::Warm => true,
            Phase::At(_) | Phase::Leaving | Phase::Back | Phase::Mending(_) | Phase::Over => false,
        }
    }

    /// How far a shift is or came that had to make blue whole first; `None` for all others.
    pub(super) const fn back(&self) -> Option<Back> {
        match (self, self.phase()) {
            (Self::RollbackFailed { back, .. }, _) => Some(*back),
            (_, Phase::Mending(back)) => Some(back),
            (
                _,
                Phase::Before
                | Phase::At(_)
                | Phase::Between(_)
                | Phase::Warm
                | Phase::Leaving
                | Phase::Back
                | Phase::Over,
            ) => None,
        }
    }

    /// Where it stands.
    pub(super) const fn phase(&self) -> Phase {
        match self {
            Self::Preparing { .. } => Phase::Before,
            Self::Baking { step, .. }
            | Self::Holding { step }
            | Self::Paused { step, .. }
            | Self::RetiringBatch { step, .. } => Phase::At(*step),
            Self::PreparingBatch { step, .. } | Self::HoldingBatch { step } => Phase::Between(*step),
            Self::TerminationWait { .. } => Phase::Warm,
            Self::Retiring { .. } => Phase::Leaving,
            Self::RollingBack { .. } => Phase::Back,
            Self::ReleasingBatch { back, .. } | Self::Restoring { back, .. } => Phase::Mending(*back),
            Self::Promoted | Self::RolledBack { .. } | Self::RollbackFailed { .. } => Phase::Over,
        }
    }

    /// Why the shift goes or went back, if it does or did.
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::RollingBack { cause, .. }
            | Self::ReleasingBatch { cause, .. }
            | Self::Restoring { cause, .. }
            | Self::RolledBack { cause }
            | Self::RollbackFailed { cause, .. } => Some(cause),
            Self::Preparing { .. }
            | Self::Baking { .. }
            | Self::Holding { .. }
            | Self::Paused { .. }
            | Self::RetiringBatch { .. }
            | Self::PreparingBatch { .. }
            | Self::HoldingBatch { .. }
            | Self::TerminationWait { .. }
            | Self::Retiring { .. }
            | Self::Promoted => None,
        }
    }

    /// The same state with its moment, if it has one, told by another clock.
    pub(super) fn with_moments(self, told: impl FnOnce(Moment) -> Moment) -> Self {
        match self {
            Self::Preparing { ready_by } => Self::Preparing { ready_by: told(ready_by) },
            Self::Baking { step, ends } => Self::Baking { step, ends: told(ends) },
            Self::Holding { step } => Self::Holding { step },
            Self::Paused { step, remaining, reason } => Self::Paused { step, remaining, reason },
            Self::RetiringBatch { step, drain_by } => Self::RetiringBatch { step, drain_by: told(drain_by) },
            Self::PreparingBatch { step, ready_by } => {
                Self::PreparingBatch { step, ready_by: told(ready_by) }
            }
            Self::HoldingBatch { step } => Self::HoldingBatch { step },
            Self::TerminationWait { ends } => Self::TerminationWait { ends: told(ends) },
            Self::Retiring { drain_by } => Self::Retiring { drain_by: told(drain_by) },
            Self::RollingBack { cause, drain_by } => Self::RollingBack { cause, drain_by: told(drain_by) },
            Self::ReleasingBatch { cause, back, drain_by } => {
                Self::ReleasingBatch { cause, back, drain_by: told(drain_by) }
            }
            Self::Restoring { cause, back, ready_by } => {
                Self::Restoring { cause, back, ready_by: told(ready_by) }
            }
            Self::Promoted => Self::Promoted,
            Self::RolledBack { cause } => Self::RolledBack { cause },
            Self::RollbackFailed { cause, reason, back } => Self::RollbackFailed { cause, reason, back },
        }
    }
}

impl Command {
    /// `pause`, `resume`, `promote`, `skip the bake` or `abort`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::SkipBake { .. } => "skip the bake",
            Self::Abort => "abort",
        }
    }
}

impl Cause {
    /// The cause's name in the API and in events.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Alarm { .. } => "alarm",
            Self::FailureBudget { .. } => "failure_budget",
            Self::Aborted => "aborted",
            Self::ExecutionTimeout => "execution_timeout",
            Self::GreenNotReady { .. } => "green_not_ready",
            Self::GreenGone => "green_gone",
            Self::NoData => "no_data",
            Self::Restart => "restart",
            Self::EvaluatorStalled => "evaluator_stalled",
        }
    }
}
