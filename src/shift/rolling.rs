//! Rolling plans: how many instances of each fleet serve at each step, and on the way back.
//!
//! Amazon SageMaker's rolling deployment: a batch of green is made and gets its part of the traffic, bakes, and a batch of blue goes, until
//! all of blue is replaced. With fleets of one size N and batches of b there are never fewer than N instances in service and never more
//! than N + b in existence. Fleets of two sizes are replaced in proportion: blue keeps as many instances as its part of the traffic
//! needs, rounded up, so that no instance of either fleet gets more than it would get in a fleet of its own that has everything (S12).

use std::{num::NonZeroU32, time::Duration};

use super::{PlanError, State, Step};
use crate::weight::Share;

/// A number of instances, counted or as a part of their fleet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Batch {
    /// So many.
    Instances(NonZeroU32),
    /// So much of the fleet: rounded up, and at least one, as in SageMaker, where 33 % of 3 is 1.
    Part(Share),
}

/// How many instances the two fleets of a rolling shift have when they are whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// The fleet in service, before the shift.
    pub blue: NonZeroU32,
    /// The fleet coming in, after it.
    pub green: NonZeroU32,
}

/// How many instances of each fleet the table names. `blue` is 0 once green has been adopted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InService {
    /// The first so many of blue.
    pub blue: u32,
    /// The first so many of green.
    pub green: u32,
}

/// How many instances of each fleet are ordered of whoever makes them; `None` where a state leaves a fleet as it is: what drains goes
/// when it has drained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ordered {
    /// Of blue.
    pub blue: Option<u32>,
    /// Of green.
    pub green: Option<u32>,
}

/// How a rolling shift goes back once blue has lost instances.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Blue has everything at once, while its missing instances are made.
    AtOnce,
    /// Green keeps what the instances that blue has left cannot take, until they are back.
    Batches,
}

/// How far a rolling shift is on its way back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Back {
    /// How many instances blue has.
    pub blue: u32,
    /// How the rest comes back.
    pub pace: Pace,
}

/// A rolling strategy over fleets of known sizes. Steps count from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rolling {
    /// How many instances of green a step brings.
    pub batch: Batch,
    /// How long each step must stay healthy.
    pub bake: Duration,
    /// How many instances of blue come back at a time in a rollback; `None` where blue gets everything at once.
    pub rollback_batch: Option<Batch>,
    /// The fleets.
    pub sizes: Sizes,
}

impl Batch {
    /// How many that is of a fleet of this size, 1 to `size`.
    pub fn of(self, size: NonZeroU32) -> u32 {
        match self {
            Self::Instances(count) => count.min(size).get(),
            Self::Part(share) => {
                scaled(size.get(), u32::from(share.basis_points()), u32::from(Share::WHOLE)).max(1)
            }
        }
    }
}

impl Sizes {
    /// One instance each: what a plan is written for until the fleets are known.
    pub const ONE: Self = Self { blue: NonZeroU32::MIN, green: NonZeroU32::MIN };
}

impl Rolling {
    /// As many steps as it takes, all of one batch but the last, which takes what is left.
    pub(super) fn steps(&self) -> Result<Vec<Step>, PlanError> {
        let parts = [(Some(self.batch), "batch"), (self.rollback_batch, "rollback_batch")];
        for (batch, key) in parts {
            if batch == Some(Batch::Part(Share::NONE)) {
                return Err(PlanError::EmptyBatch { key });
            }
        }
        let size = self.sizes.green.get();
        let count = size.div_ceil(self.batch.of(self.sizes.green));
        Ok((0..count as usize).map(|step| Step::new(part(self.green(step), size), self.bake)).collect())
    }

    /// How many instances green has at a step.
    pub fn green(&self, step: usize) -> u32 {
        let batch = u64::from(self.batch.of(self.sizes.green));
        let steps = u64::try_from(step).unwrap_or(u64::MAX).saturating_add(1);
        let size = self.sizes.green.get();
        u32::try_from(batch.saturating_mul(steps)).map_or(size, |count| count.min(size))
    }

    /// How many instances blue has when a step begins, before the step's batch goes.
    pub fn blue_before(&self, step: usize) -> u32 {
        step.checked_sub(1).map_or(self.sizes.blue.get(), |before| self.blue_after(before))
    }

    /// How many instances blue has once a step's batch has gone.
    pub fn blue_after(&self, step: usize) -> u32 {
        let green = self.sizes.green.get();
        scaled(self.sizes.blue.get(), green - self.green(step), green)
    }

    /// Green's share on the way back: what the instances of blue that there are cannot take.
    pub fn share_on_the_way_back(&self, back: Back) -> Share {
        match back.pace {
            Pace::AtOnce => Share::NONE,
            Pace::Batches => {
                let size = self.sizes.blue.get();
                part(size - back.blue.min(size), size)
            }
        }
    }

    /// How many instances green needs for that share.
    pub fn green_on_the_way_back(&self, back: Back) -> u32 {
        match back.pace {
            Pace::AtOnce => 0,
            Pace::Batches => {
                let size = self.sizes.blue.get();
                scaled(self.sizes.green.get(), size - back.blue.min(size), size)
            }
        }
    }

    /// How many instances blue has after the next batch of a rollback.
    pub fn next_blue(&self, back: Back) -> u32 {
        let size = self.sizes.blue;
        match (back.pace, self.rollback_batch) {
            (Pace::Batches, Some(batch)) => back.blue.saturating_add(batch.of(size)).min(size.get()),
            (Pace::AtOnce, _) | (Pace::Batches, None) => size.get(),
        }
    }

    /// How many instances of each fleet the table names. It follows from the state, as the share does.
    pub fn in_service(&self, state: &State) -> InService {
        let whole = self.sizes.blue.get();
        match *state {
            State::Preparing { .. } | State::RollingBack { .. } | State::RolledBack { .. } => {
                InService { blue: whole, green: 0 }
            }
            State::Baking { step, .. } | State::Holding { step } | State::Paused { step, .. } => {
                InService { blue: self.blue_before(step), green: self.green(step) }
            }
            State::RetiringBatch { step, .. } => {
                InService { blue: self.blue_after(step), green: self.green(step) }
            }
            State::PreparingBatch { step, .. } | State::HoldingBatch { step } => {
                InService { blue: self.blue_before(step), green: self.green(step - 1) }
            }
            State::ReleasingBatch { back, .. }
            | State::Restoring { back, .. }
            | State::RollbackFailed { back, .. } => {
                InService { blue: back.blue, green: self.green_on_the_way_back(back) }
            }
            State::TerminationWait { .. } | State::Retiring { .. } | State::Promoted => {
                InService { blue: 0, green: self.sizes.green.get() }
            }
        }
    }

    /// How many instances of each fleet are to exist. A batch of blue that goes is ordered until it has drained, a batch of green from the
    /// moment at which it is to be made.
    pub fn ordered(&self, state: &State) -> Ordered {
        let whole = self.sizes.blue.get();
        match *state {
            State::Preparing { .. } => Ordered { blue: Some(whole), green: Some(self.green(0)) },
            State::Baking { step, .. }
            | State::Holding { step }
            | State::Paused { step, .. }
            | State::RetiringBatch { step, .. }
            | State::PreparingBatch { step, .. }
            | State::HoldingBatch { step } => {
                Ordered { blue: Some(self.blue_before(step)), green: Some(self.green(step)) }
            }
            State::ReleasingBatch { back, .. } => Ordered {
                blue: Some(match back.pace {
                    Pace::AtOnce => whole,
                    Pace::Batches => back.blue,
                }),
                green: None,
            },
            State::Restoring { back, .. } => {
                Ordered { blue: Some(self.next_blue(back)), green: Some(self.green_on_the_way_back(back)) }
            }
            // What a rollback at once did not get is wanted on, since blue alone serves; of a mix there is enough.
            State::RollbackFailed { back, .. } => Ordered {
                blue: Some(match back.pace {
                    Pace::AtOnce => whole,
                    Pace::Batches => back.blue,
                }),
                green: Some(self.green_on_the_way_back(back)),
            },
            State::RollingBack { .. } | State::RolledBack { .. } => {
                Ordered { blue: Some(whole), green: None }
            }
            State::TerminationWait { .. } | State::Retiring { .. } | State::Promoted => {
                Ordered { blue: None, green: Some(self.sizes.green.get()) }
            }
        }
    }

    /// How the plan goes back.
    pub const fn pace(&self) -> Pace {
        match self.rollback_batch {
            Some(_) => Pace::Batches,
            None => Pace::AtOnce,
        }
    }
}

/// `count` times `part / whole`, rounded up; `part` is at most `whole`, and `whole` above zero.
fn scaled(count: u32, part: u32, whole: u32) -> u32 {
    let scaled = (u64::from(count) * u64::from(part)).div_ceil(u64::from(whole));
    u32::try_from(scaled).expect("a part of a count is not more than the count")
}

/// So many instances of so many as a share, rounded up to the next basis point: blue's complement is then never more than its instances
/// are for.
fn part(count: u32, size: u32) -> Share {
    let points = scaled(u32::from(Share::WHOLE), count.min(size), size);
    let points = u16::try_from(points).expect("a part of the whole is not more than the whole");
    Share::from_basis_points(points).expect("a part of the whole is a share")
}
