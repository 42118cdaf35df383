//! The engine.

use super::{Effect, Input, Refusal, ShiftPlan, Snapshot, State};
use crate::{time::Moment, weight::Share};

/// One run of a plan.
#[derive(Clone, Debug)]
pub struct Shift {
    plan: ShiftPlan,
    state: State,
}

impl Shift {
    /// A shift that has not begun; feed it [`Input::Start`].
    pub fn new(_plan: ShiftPlan, _now: Moment) -> Self {
        todo!()
    }

    /// A shift from the journal; feed it [`Input::Restarted`].
    pub fn restore(_plan: ShiftPlan, _snapshot: &Snapshot, _now: Moment) -> Self {
        todo!()
    }

    /// Takes an input and says what to do about it. Only commands are ever refused, and a refusal changes nothing.
    pub fn step(&mut self, _now: Moment, _input: Input) -> Result<Vec<Effect>, Refusal> {
        todo!()
    }

    /// When the engine wants a `Wake`, at the latest (S9). `None` when over, or when it waits for a named input without a deadline.
    pub fn wake_at(&self) -> Option<Moment> {
        todo!()
    }

    /// Where it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its plan.
    pub fn plan(&self) -> &ShiftPlan {
        &self.plan
    }

    /// Green's share as of the last effects.
    pub fn share(&self) -> Share {
        todo!()
    }

    /// For the journal.
    pub fn snapshot(&self, _now: Moment) -> Snapshot {
        todo!()
    }
}
