//! What an input leads to, in every state. What operators ask for is in `command`.

use std::time::Duration;

use super::{
    Approval, Cause, Effect, Input, NoData, OnRestart, PauseReason, Refusal, Shift, Standing, State,
};
use crate::{
    fleet::Side,
    time::{Moment, format_duration},
    weight::Share,
};

/// The state after an input, and what to do about it.
pub(super) struct Decision {
    /// The state after.
    pub(super) state: State,
    /// What to do, in this order.
    pub(super) effects: Vec<Effect>,
}

impl Shift {
    /// Decides; changes nothing.
    pub(super) fn decide(&self, now: Moment, input: Input) -> Result<Decision, Refusal> {
        match input {
            Input::Start => Ok(self.start()),
            Input::GreenReady => Ok(self.green_ready(now)),
            Input::GreenFailed { reason } => Ok(self.lose_green(now, Cause::GreenNotReady { reason })),
            Input::GreenGone => Ok(self.lose_green(now, Cause::GreenGone)),
            Input::Wake(standing) => Ok(self.wake(now, standing)),
            Input::Drained(side) => Ok(self.drained(side)),
            Input::Restarted { .. } => Ok(self.restarted(now)),
            Input::Command(command, standing) => self.command(now, command, standing),
        }
    }

    /// Begins, once. Later it is a repetition.
    fn start(&self) -> Decision {
        match self.state() {
            State::Preparing { .. } => self.stay_and(vec![Effect::Provision]),
            State::Baking { .. }
            | State::Holding { .. }
            | State::Paused { .. }
            | State::TerminationWait { .. }
            | State::Retiring { .. }
            | State::RollingBack { .. }
            | State::Promoted
            | State::RolledBack { .. } => self.stay(),
        }
    }

    /// After a restart green is provisioned again with its share published already, so readiness is news in one state only.
    fn green_ready(&self, now: Moment) -> Decision {
        match self.state() {
            State::Preparing { .. } if self.timed_out(now) => self.roll_back(now, Cause::ExecutionTimeout),
            State::Preparing { .. } => self.begin_step(now, 0),
            State::Baking { .. }
            | State::Holding { .. }
            | State::Paused { .. }
            | State::TerminationWait { .. }
            | State::Retiring { .. }
            | State::RollingBack { .. }
            | State::Promoted
            | State::RolledBack { .. } => self.stay(),
        }
    }

    /// Green cannot be had, or not any more. Once blue is on its way out green is the fleet in service, and its health is no longer a
    /// shift's business.
    fn lose_green(&self, now: Moment, cause: Cause) -> Decision {
        match self.state() {
            State::Preparing { .. }
            | State::Baking { .. }
            | State::Holding { .. }
            | State::Paused { .. }
            | State::TerminationWait { .. } => self.roll_back(now, cause),
            State::Retiring { .. }
            | State::RollingBack { .. }
            | State::Promoted
            | State::RolledBack { .. } => self.stay(),
        }
    }

    /// A raised alarm comes first, then the execution timeout, then what the state waits for. Before the first step green has no traffic
    /// that an alarm could be about, and once blue goes there is nothing to go back to: there the standing says nothing.
    fn wake(&self, now: Moment, standing: Standing) -> Decision {
        match (self.state(), standing) {
            (
                State::Baking { .. }
                | State::Holding { .. }
                | State::Paused { .. }
                | State::TerminationWait { .. },
                Standing::Breached(cause),
            ) => self.roll_back(now, cause),
            (state, _) if state.has_way_back() && self.timed_out(now) => {
                self.roll_back(now, Cause::ExecutionTimeout)
            }
            (State::Preparing { ready_by }, _) if now >= *ready_by => {
                let limit = format_duration(self.plan().limits().ready_timeout);
                self.roll_back(now, Cause::GreenNotReady { reason: format!("not ready within {limit}") })
            }
            (State::Baking { step, ends }, standing) if now >= *ends => self.judge(now, *step, standing),
            (State::Holding { step }, standing) => self.judge(now, *step, standing),
            (State::TerminationWait { ends }, _) if now >= *ends => self.retire_blue(now),
            (State::Retiring { drain_by }, _) if now >= *drain_by => promoted(),
            (State::RollingBack { cause, drain_by }, _) if now >= *drain_by => rolled_back(cause),
            (
                State::Preparing { .. }
                | State::Baking { .. }
                | State::Paused { .. }
                | State::TerminationWait { .. }
                | State::Retiring { .. }
                | State::RollingBack { .. }
                | State::Promoted
                | State::RolledBack { .. },
                _,
            ) => self.stay(),
        }
    }

    /// A fleet that had to go has nothing in flight.
    fn drained(&self, side: Side) -> Decision {
        match (self.state(), side) {
            (State::Retiring { .. }, Side::Blue) => promoted(),
            (State::RollingBack { cause, .. }, Side::Green) => rolled_back(cause),
            (
                State::Preparing { .. }
                | State::Baking { .. }
                | State::Holding { .. }
                | State::Paused { .. }
                | State::TerminationWait { .. }
                | State::Retiring { .. }
                | State::RollingBack { .. }
                | State::Promoted
                | State::RolledBack { .. },
                Side::Blue | Side::Green,
            ) => self.stay(),
        }
    }

    /// The process has started again: its table gives green nothing, its fleets are unknown, its alarms remember nothing.
    ///
    /// A bake starts afresh because the evidence of the first one is lost; for the same reason a shift that an operator paused has its
    /// whole bake before it when it is resumed. A bake that was over (approval, termination wait) stays over.
    fn restarted(&self, now: Moment) -> Decision {
        let limits = self.plan().limits();
        match self.state() {
            state if state.has_way_back() && limits.on_restart == OnRestart::RollBack => {
                self.roll_back(now, Cause::Restart)
            }
            state if state.has_way_back() && self.timed_out(now) => {
                self.roll_back(now, Cause::ExecutionTimeout)
            }
            State::Preparing { .. } => Decision {
                state: State::Preparing { ready_by: now.after(limits.ready_timeout) },
                effects: vec![Effect::Provision],
            },
            State::Baking { step, .. } | State::Holding { step } => {
                Decision { effects: self.serve_again(*step), ..self.begin_step(now, *step) }
            }
            State::Paused { step, reason: PauseReason::Operator, .. } => Decision {
                state: State::Paused {
                    step: *step,
                    remaining: self.plan().steps()[*step].bake,
                    reason: PauseReason::Operator,
                },
                effects: self.serve_again(*step),
            },
            State::Paused { step, reason: PauseReason::Approval, .. } => {
                self.stay_and(self.serve_again(*step))
            }
            State::TerminationWait { .. } => self.stay_and(self.serve_again(self.last_step())),
            State::Retiring { .. } => self.stay_and(vec![Effect::Adopt, Effect::Drain(Side::Blue)]),
            State::RollingBack { .. } => {
                self.stay_and(vec![Effect::PublishShare(Share::NONE), Effect::Drain(Side::Green)])
            }
            State::Promoted | State::RolledBack { .. } => self.stay(),
        }
    }

    /// A bake is over; do the alarms let the shift go on? (S2)
    pub(super) fn judge(&self, now: Moment, step: usize, standing: Standing) -> Decision {
        match (standing, self.plan().limits().no_data) {
            (Standing::Breached(cause), _) => self.roll_back(now, cause),
            (Standing::Clear, _) | (Standing::InsufficientData, NoData::Pass) => self.pass_step(now, step),
            (Standing::InsufficientData, NoData::Hold) => {
                Decision { state: State::Holding { step }, effects: Vec::new() }
            }
            (Standing::InsufficientData, NoData::Fail) => self.roll_back(now, Cause::NoData),
        }
    }

    fn pass_step(&self, now: Moment, step: usize) -> Decision {
        match self.plan().steps()[step].approval {
            Approval::NotNeeded => self.leave_step(now, step),
            Approval::Required => Decision {
                state: State::Paused { step, remaining: Duration::ZERO, reason: PauseReason::Approval },
                effects: Vec::new(),
            },
        }
    }

    /// Goes on to the next step, or past the last one.
    pub(super) fn leave_step(&self, now: Moment, step: usize) -> Decision {
        if step < self.last_step() { self.begin_step(now, step + 1) } else { self.release_blue(now) }
    }

    fn begin_step(&self, now: Moment, step: usize) -> Decision {
        let ends = now.after(self.plan().steps()[step].bake);
        Decision { state: State::Baking { step, ends }, effects: self.publish_step(step) }
    }

    /// The alarms come first, so that no request of the step is dealt before they count.
    pub(super) fn publish_step(&self, step: usize) -> Vec<Effect> {
        vec![Effect::BeginStep(step), Effect::PublishShare(self.plan().steps()[step].share)]
    }

    /// What brings a step back after a restart, at the share that it had.
    fn serve_again(&self, step: usize) -> Vec<Effect> {
        let mut effects = vec![Effect::Provision];
        effects.append(&mut self.publish_step(step));
        effects
    }

    /// Green has everything and has proved itself: blue goes, after the termination wait if there is one.
    pub(super) fn release_blue(&self, now: Moment) -> Decision {
        let wait = self.plan().limits().termination_wait;
        if wait.is_zero() {
            self.retire_blue(now)
        } else {
            Decision { state: State::TerminationWait { ends: now.after(wait) }, effects: Vec::new() }
        }
    }

    /// The point of no return: blue takes no more requests and is about to be gone.
    pub(super) fn retire_blue(&self, now: Moment) -> Decision {
        Decision {
            state: State::Retiring { drain_by: now.after(self.plan().limits().drain_timeout) },
            effects: vec![Effect::Adopt, Effect::Drain(Side::Blue)],
        }
    }

    /// The way back is the same from everywhere, also where green has nothing yet: to give it nothing once more costs nothing, and no
    /// state can be wrong about it (S3).
    pub(super) fn roll_back(&self, now: Moment, cause: Cause) -> Decision {
        Decision {
            state: State::RollingBack { cause, drain_by: now.after(self.plan().limits().drain_timeout) },
            effects: vec![Effect::PublishShare(Share::NONE), Effect::Drain(Side::Green)],
        }
    }

    /// Nothing changes.
    pub(super) fn stay(&self) -> Decision {
        self.stay_and(Vec::new())
    }

    fn stay_and(&self, effects: Vec<Effect>) -> Decision {
        Decision { state: self.state().clone(), effects }
    }

    /// Whether the execution timeout has passed (S10).
    pub(super) fn timed_out(&self, now: Moment) -> bool {
        now >= self.deadline()
    }

    pub(super) fn last_step(&self) -> usize {
        self.plan().steps().len() - 1
    }
}

fn promoted() -> Decision {
    Decision { state: State::Promoted, effects: vec![Effect::Retire(Side::Blue), Effect::Finish] }
}

fn rolled_back(cause: &Cause) -> Decision {
    Decision {
        state: State::RolledBack { cause: cause.clone() },
        effects: vec![Effect::Retire(Side::Green), Effect::Finish],
    }
}
