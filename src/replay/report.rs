//! What a replay found.

use std::time::Duration;

use super::Source;
use crate::{
    alarm::AlarmState,
    shift::{Cause, State},
    weight::Share,
};

/// What a plan would have decided over recorded outcomes. Times count from the plan's beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// Where green's outcomes come from.
    pub source: Source,
    /// What was taken for granted, in a sentence each.
    pub assumptions: Vec<String>,
    /// What was played.
    pub played: Played,
    /// The steps that were begun.
    pub steps: Vec<StepReplay>,
    /// How it ended.
    pub end: End,
}

/// The outcomes of a play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Requests dealt to blue.
    pub blue: u64,
    /// Requests dealt to green.
    pub green: u64,
    /// Left out, because a fleet had more than the plan would have given it.
    pub left_out: u64,
    /// From the plan's beginning to the last request that could come.
    pub span: Duration,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReplay {
    /// Counted from 1.
    pub number: usize,
    /// Green's share.
    pub share: Share,
    /// How long it should bake.
    pub bake: Duration,
    /// When it began.
    pub began: Duration,
    /// When it ended, or when there was nothing more to play.
    pub ended: Duration,
    /// How it ended.
    pub end: StepEnd,
    /// Green requests that ended in it.
    pub green_responses: u64,
    /// Of these, failed.
    pub green_failures: u64,
    /// Every alarm as it stood at the end.
    pub alarms: Vec<AlarmAtEnd>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// Its bake was over and healthy.
    Passed,
    /// The shift rolled back in it.
    RolledBack,
    /// The recording was over first.
    Undecided,
}

/// An alarm at a step's end.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmAtEnd {
    /// Its name.
    pub name: String,
    /// What it says.
    pub state: AlarmState,
    /// Its numbers in a sentence.
    pub text: String,
    /// The evidence against green in nats; `None` of a threshold.
    pub ln_e: Option<f64>,
    /// The evidence at which it is raised.
    pub threshold: Option<f64>,
    /// How many more of green's requests it needs in this step before it can tell anything.
    pub missing: u64,
}

/// How a play ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// Green became the fleet in service.
    Promoted {
        /// When.
        at: Duration,
    },
    /// The shift rolled back.
    RolledBack {
        /// When.
        at: Duration,
        /// Why.
        cause: Cause,
        /// In which step, counted from 1.
        step: usize,
        /// The line of the outcome that tipped the alarm; `None` when a deadline decided, or a period's end.
        line: Option<usize>,
        /// Green responses until then, the deciding one among them.
        green_responses: u64,
        /// Of these, failed.
        green_failures: u64,
        /// Green requests that were open.
        green_in_flight: u64,
    },
    /// The recording was over first.
    Undecided {
        /// When.
        at: Duration,
        /// Where the shift stood.
        state: State,
        /// Why no more could be played, in a sentence.
        why: String,
    },
}
