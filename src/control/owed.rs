//! What happened to a shift and could not be written: it is fed again before anything else is.
//!
//! Order matters. A restart that the journal does not know yet has given green nothing, so the bake of before is not over however late it
//! is: whoever asked the engine first what the time says would go on to a step whose predecessor never baked (S5).

use std::{collections::VecDeque, mem::discriminant};

use super::{
    ControlError,
    run::{By, Run},
    task::Task,
};
use crate::{name::EndpointName, shift::Input};

/// Inputs that led to a state that could not be written, oldest first: at most one of each kind, since the state stays as it is.
#[derive(Debug, Default)]
pub(super) struct Owed(VecDeque<Input>);

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers what happened last. Commands and wake-ups are not remembered: who asks is told, and time asks again.
    pub(super) fn push(&mut self, input: Input) {
        if is_lasting(&input) && !self.0.iter().any(|owed| discriminant(owed) == discriminant(&input)) {
            self.0.push_back(input);
        }
    }

    /// The same of what happened before all others.
    pub(super) fn put_back(&mut self, input: Input) {
        if is_lasting(&input) {
            self.0.push_front(input);
        }
    }

    /// Other instances drain from now on: what was said of those before is not about them (S7).
    pub(super) fn forget_drains(&mut self) {
        self.0.retain(|owed| !matches!(owed, Input::Drained(_)));
    }

    fn pop(&mut self) -> Option<Input> {
        self.0.pop_front()
    }
}

fn is_lasting(input: &Input) -> bool {
    match input {
        Input::Command(..) | Input::Wake(_) | Input::Start => false,
        Input::GreenReady(_)
        | Input::BlueReady
        | Input::BlueFailed { .. }
        | Input::GreenFailed { .. }
        | Input::GreenGone
        | Input::Drained(_)
        | Input::Restarted { .. } => true,
    }
}

impl Task {
    /// Feeds what is owed. An error means that some still is.
    pub(super) async fn settle_owed(&mut self, name: &EndpointName) -> Result<(), ControlError> {
        while let Some(owed) = self.run_mut(name).and_then(|run| run.owed.pop()) {
            let input = match (owed, self.leave(name)) {
                (Input::GreenReady(_), Some(now)) => Input::GreenReady(now),
                (other, _) => other,
            };
            if let Err(error) = self.feed_next(name, input, By::Itself).await
                && self.run_mut(name).is_some_and(|run| !run.owed.is_empty())
            {
                return Err(error);
            }
        }
        Ok(())
    }

    pub(super) fn run_mut(&mut self, name: &EndpointName) -> Option<&mut Run> {
        self.endpoints.get_mut(name)?.run.as_mut()
    }
}
