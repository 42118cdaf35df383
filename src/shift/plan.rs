//! Shift plans: what is to happen, checked.

use std::time::Duration;

use super::rolling::{Batch, Rolling, Sizes};
use crate::{time::format_duration, weight::Share};

/// How the plan was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StrategyKind {
    /// Everything in one step.
    AllAtOnce,
    /// A small share first, then everything.
    Canary,
    /// Equal steps.
    Linear,
    /// Batches of instances, each of which takes the place of one of blue's.
    Rolling,
    /// Steps written out.
    Steps,
}

/// Whether an operator must agree before the shift goes on from a step whose bake is over.
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
    /// Whether somebody must agree before the next step; at the last step, before blue goes.
    pub approval: Approval,
}

/// A plan as it is written: the short forms of the common plans, and steps in full.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// Everything in one step.
    AllAtOnce {
        /// How long everything must stay healthy.
        final_bake: Duration,
    },
    /// A small share first, then everything.
    Canary {
        /// The small share, above 0% and below 100%.
        share: Share,
        /// How long the small share must stay healthy.
        bake: Duration,
        /// How long everything must stay healthy.
        final_bake: Duration,
    },
    /// Steps of one size; the last is smaller where the size does not divide the whole.
    Linear {
        /// The size, above 0%.
        step: Share,
        /// How long each step but the last must stay healthy.
        bake: Duration,
        /// How long everything must stay healthy.
        final_bake: Duration,
    },
    /// Batches of instances: green is made and blue is let go batch by batch, so that there is never a second whole fleet.
    Rolling {
        /// How many instances of green a step brings.
        batch: Batch,
        /// How long each step must stay healthy, the last one too.
        bake: Duration,
        /// How many instances of blue come back at a time in a rollback, while green keeps what they cannot take yet. `None`: blue
        /// gets everything at once, however few instances it has left, while the others are made.
        rollback_batch: Option<Batch>,
    },
    /// Steps written out.
    Steps {
        /// At least one.
        steps: Vec<Step>,
        /// The bake of the step to 100% that is added when the written steps end below it, zero when absent. With a written step to
        /// 100% there is none to add, and that step's own bake counts.
        final_bake: Option<Duration>,
    },
}

/// How long things may take in a shift of whatever strategy, and what to do when they cannot be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShiftLimits {
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

/// A checked plan. Its steps rise strictly and end at the whole, and its waits fit into its execution timeout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShiftPlan {
    kind: StrategyKind,
    steps: Vec<Step>,
    rolling: Option<Rolling>,
    limits: ShiftLimits,
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
    #[error(
        "execution_timeout {} is not longer than the plan's waits, {} in all: raise it or shorten the waits",
        format_duration(*timeout),
        format_duration(*waits)
    )]
    TimeoutTooShort {
        /// As given.
        timeout: Duration,
        /// All bakes and the termination wait.
        waits: Duration,
    },
    /// A final bake that no step would have.
    #[error(
        "final_bake is the bake of the step to 100% that is added after the written steps, but step {number} gives 100% itself: leave \
         final_bake out, or that step"
    )]
    FinalBakeUnused {
        /// The last step, counted from 1.
        number: usize,
    },
    /// A batch of nothing.
    #[error(
        "{key} is nothing: a batch has at least one instance, so write a number such as 1, or a part such as \"25%\""
    )]
    EmptyBatch {
        /// `batch` or `rollback_batch`.
        key: &'static str,
    },
    /// A batch of more than there is.
    #[error(
        "a batch of {batch} is more than green's {size}: write at most {size}, or use the strategy all_at_once, which makes the whole \
         fleet before it moves traffic"
    )]
    BatchTooLarge {
        /// As written.
        batch: u32,
        /// Green's instances.
        size: u32,
    },
    /// Nothing would be kept warm.
    #[error(
        "termination_wait keeps blue whole after the last step, but a rolling plan lets blue go batch by batch: leave it out, or use a \
         longer bake"
    )]
    TerminationWaitUnused,
}

impl Default for ShiftLimits {
    /// Two hours for a shift is many times what its bakes take in practice, and short enough that a forgotten pause ends the same day.
    /// Blue goes as soon as the last bake is over, as it does in SageMaker. Thirty seconds let most inference requests finish; streams
    /// of minutes argue for more. Five minutes let large weights load from a local disk; a cold download argues for more.
    fn default() -> Self {
        Self {
            execution_timeout: Duration::from_secs(7200),
            termination_wait: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            ready_timeout: Duration::from_secs(300),
            no_data: NoData::Hold,
            on_restart: OnRestart::Continue,
        }
    }
}

impl StrategyKind {
    /// `all_at_once`, `canary`, `linear`, `rolling` or `steps`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllAtOnce => "all_at_once",
            Self::Canary => "canary",
            Self::Linear => "linear",
            Self::Rolling => "rolling",
            Self::Steps => "steps",
        }
    }
}

impl Step {
    /// A step after which the shift goes on by itself.
    pub const fn new(share: Share, bake: Duration) -> Self {
        Self { share, bake, approval: Approval::NotNeeded }
    }

    /// A step after whose bake the shift waits for an operator.
    pub const fn with_approval(share: Share, bake: Duration) -> Self {
        Self { share, bake, approval: Approval::Required }
    }
}

impl Strategy {
    /// How it was written.
    pub const fn kind(&self) -> StrategyKind {
        match self {
            Self::AllAtOnce { .. } => StrategyKind::AllAtOnce,
            Self::Canary { .. } => StrategyKind::Canary,
            Self::Linear { .. } => StrategyKind::Linear,
            Self::Rolling { .. } => StrategyKind::Rolling,
            Self::Steps { .. } => StrategyKind::Steps,
        }
    }

    /// What a rolling strategy is, over fleets of one instance each.
    fn rolling(&self) -> Option<Rolling> {
        match *self {
            Self::Rolling { batch, bake, rollback_batch } => {
                Some(Rolling { batch, bake, rollback_batch, sizes: Sizes::ONE })
            }
            Self::AllAtOnce { .. } | Self::Canary { .. } | Self::Linear { .. } | Self::Steps { .. } => None,
        }
    }

    /// The steps that it stands for.
    fn into_steps(self) -> Result<Vec<Step>, PlanError> {
        match self {
            Self::AllAtOnce { final_bake } => Ok(vec![Step::new(Share::ALL, final_bake)]),
            Self::Canary { share: Share::ALL, .. } => Err(PlanError::WholeCanary),
            Self::Canary { share, bake, final_bake } => {
                Ok(vec![Step::new(share, bake), Step::new(Share::ALL, final_bake)])
            }
            Self::Linear { step, bake, final_bake } => linear_steps(step, bake, final_bake),
            Self::Rolling { batch, bake, rollback_batch } => {
                Rolling { batch, bake, rollback_batch, sizes: Sizes::ONE }.steps()
            }
            Self::Steps { steps, final_bake } => close_steps(steps, final_bake),
        }
    }
}

impl ShiftPlan {
    /// Checks a plan: shares rise strictly from above 0%, and the waits are shorter than the execution timeout.
    ///
    /// How many steps a rolling plan has depends on its fleets: until [`ShiftPlan::sized`] it is one for an instance each.
    pub fn new(strategy: Strategy, limits: ShiftLimits) -> Result<Self, PlanError> {
        let (kind, rolling) = (strategy.kind(), strategy.rolling());
        if rolling.is_some() && !limits.termination_wait.is_zero() {
            return Err(PlanError::TerminationWaitUnused);
        }
        Self { kind, steps: strategy.into_steps()?, rolling, limits }.checked()
    }

    /// The plan for fleets of these sizes, which makes a difference to rolling plans alone.
    pub fn sized(self, sizes: Sizes) -> Result<Self, PlanError> {
        let Some(rolling) = self.rolling else { return Ok(self) };
        if let Batch::Instances(batch) = rolling.batch
            && batch > sizes.green
        {
            return Err(PlanError::BatchTooLarge { batch: batch.get(), size: sizes.green.get() });
        }
        let rolling = Rolling { sizes, ..rolling };
        Self { steps: rolling.steps()?, rolling: Some(rolling), ..self }.checked()
    }

    fn checked(self) -> Result<Self, PlanError> {
        let mut before = Share::NONE;
        for (index, step) in self.steps.iter().enumerate() {
            let number = index + 1;
            if step.share == Share::NONE {
                return Err(PlanError::EmptyStep { number });
            }
            if step.share <= before {
                return Err(PlanError::StepDoesNotRise { number, share: step.share, before });
            }
            before = step.share;
        }
        let (timeout, waits) = (self.limits.execution_timeout, self.waits());
        if timeout > waits { Ok(self) } else { Err(PlanError::TimeoutTooShort { timeout, waits }) }
    }

    /// How the plan was written.
    pub const fn kind(&self) -> StrategyKind {
        self.kind
    }

    /// The steps: at least one, rising strictly, the last to 100%.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many instances serve at which step, if the plan is a rolling one.
    pub const fn rolling(&self) -> Option<&Rolling> {
        self.rolling.as_ref()
    }

    /// How long things may take.
    pub const fn limits(&self) -> &ShiftLimits {
        &self.limits
    }

    /// All bakes and the termination wait: the shortest time from the first step to blue's going.
    pub fn waits(&self) -> Duration {
        self.steps.iter().fold(self.limits.termination_wait, |sum, step| sum.saturating_add(step.bake))
    }
}

/// SageMaker's rule: as many steps as it takes, all of one size but the last, which takes what is left.
fn linear_steps(step: Share, bake: Duration, final_bake: Duration) -> Result<Vec<Step>, PlanError> {
    if step == Share::NONE {
        return Err(PlanError::EmptyStep { number: 1 });
    }
    let mut steps = Vec::new();
    let mut share = step;
    while share < Share::ALL {
        steps.push(Step::new(share, bake));
        share = share.plus(step);
    }
    steps.push(Step::new(Share::ALL, final_bake));
    Ok(steps)
}

/// Adds the step to everything where the written ones end below it.
fn close_steps(mut steps: Vec<Step>, final_bake: Option<Duration>) -> Result<Vec<Step>, PlanError> {
    let Some(last) = steps.last() else { return Err(PlanError::NoSteps) };
    match (last.share, final_bake) {
        (Share::ALL, None) => {}
        (Share::ALL, Some(_)) => return Err(PlanError::FinalBakeUnused { number: steps.len() }),
        (_, final_bake) => steps.push(Step::new(Share::ALL, final_bake.unwrap_or_default())),
    }
    Ok(steps)
}
