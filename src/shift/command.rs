//! What operators ask for.
//!
//! A command whose aim is reached already is accepted and does nothing. A command that would keep green going under a raised alarm is
//! not carried out: pause rolls back, resume and promote are refused. After the execution timeout only abort is left. While a shift is held
//! (a freeze, hours that are not allowed) nothing is granted that would make it go on; pause and abort are.
//!
//! A pause stops a step's bake and keeps what is left of it. Where there is no bake to stop (before the first step, while a batch of green is
//! made or waits for data, while blue is kept warm) the state stays what it is, and the shift stays in it ([`Onward::Paused`]).

use std::time::Duration;

use super::{
    Cause, Command, Count, Effect, Input, Onward, PauseReason, Refusal, Shift, Standing, State,
    decision::Decision, state::Phase,
};
use crate::{fleet::Side, time::Moment};

impl Shift {
    /// What an input that is granted makes of a pause where no bake can be stopped.
    pub(super) fn onward_after(&self, input: &Input) -> Onward {
        match input {
            Input::Command(Command::Pause, _) if self.state().is_between_steps() => Onward::Paused,
            Input::Command(Command::Resume | Command::Promote, _) => Onward::Free,
            Input::Command(Command::Pause | Command::SkipBake { .. } | Command::Abort, _)
            | Input::Start
            | Input::GreenReady(_)
            | Input::GreenFailed { .. }
            | Input::BlueReady
            | Input::BlueFailed { .. }
            | Input::Wake(_)
            | Input::GreenGone
            | Input::Drained(_)
            | Input::Restarted { .. } => self.onward(),
        }
    }

    pub(super) fn command(
        &self,
        now: Moment,
        command: Command,
        standing: Standing,
    ) -> Result<Decision, Refusal> {
        let late = self.state().has_way_back() && self.timed_out(now);
        match command {
            Command::Abort => self.abort(now),
            Command::Pause | Command::Resume | Command::Promote | Command::SkipBake { .. } if late => {
                Err(Refusal::TimedOut { command: command.as_str() })
            }
            Command::Pause => self.pause(now, standing),
            Command::Resume => self.resume(now, standing),
            Command::Promote => self.promote(now, standing),
            Command::SkipBake { step } => self.skip_bake(now, step, standing),
        }
    }

    /// Keeps what is left of the bake. A batch of blue that was about to go comes back into service.
    fn pause(&self, now: Moment, standing: Standing) -> Result<Decision, Refusal> {
        if let (true, Standing::Breached(cause)) = (self.state().is_on_trial(), standing) {
            return Ok(self.roll_back(now, cause));
        }
        let (step, remaining, reason) = match self.state() {
            State::Baking { step, ends } => (*step, ends.since(now), PauseReason::Operator),
            State::Holding { step } | State::RetiringBatch { step, .. } => {
                (*step, Duration::ZERO, PauseReason::Operator)
            }
            State::Paused { step, remaining, reason } => (*step, *remaining, *reason),
            State::Preparing { .. }
            | State::PreparingBatch { .. }
            | State::HoldingBatch { .. }
            | State::TerminationWait { .. } => return Ok(self.stay()),
            State::Retiring { .. }
            | State::RollingBack { .. }
            | State::ReleasingBatch { .. }
            | State::Restoring { .. }
            | State::Promoted
            | State::RolledBack { .. }
            | State::RollbackFailed { .. } => return Err(self.wrong_state(Command::Pause)),
        };
        let is_going = matches!(self.state(), State::RetiringBatch { .. });
        let back = self.plan().rolling().filter(|_| is_going);
        let back = back.map(|rolling| Effect::Serve(Side::Blue, Count::First(rolling.blue_before(step))));
        Ok(Decision { state: State::Paused { step, remaining, reason }, effects: back.into_iter().collect() })
    }

    /// An approval goes on to the next step, also with too little data, since somebody has decided. A bake goes on with what was left of
    /// it; with nothing left it ends now, as it would have without the pause.
    fn resume(&self, now: Moment, standing: Standing) -> Result<Decision, Refusal> {
        if !self.state().has_way_back() {
            return Err(self.wrong_state(Command::Resume));
        }
        if self.state().is_on_trial() && matches!(standing, Standing::Breached(_)) {
            return Err(Refusal::AlarmRaised { command: Command::Resume.as_str() });
        }
        if let State::Paused { step, remaining, reason } = self.state() {
            return match (reason, standing) {
                (PauseReason::Approval, Standing::Held { why }) => Err(held(Command::Resume, why)),
                (PauseReason::Approval, _) => Ok(self.leave_step(now, *step)),
                (PauseReason::Operator, standing) if remaining.is_zero() => {
                    Ok(self.judge(now, *step, standing))
                }
                (PauseReason::Operator, _) => {
                    let ends = now.after(*remaining);
                    Ok(Decision { state: State::Baking { step: *step, ends }, effects: Vec::new() })
                }
            };
        }
        if let (State::HoldingBatch { step }, Onward::Paused) = (self.state(), self.onward()) {
            return Ok(self.judge_batch(now, *step, standing));
        }
        Ok(self.stay())
    }

    /// Skips what is left of the bakes; in the termination wait, what is left of that. Too little data does not stop it, since somebody
    /// has decided. A rolling shift still makes its batches one after the other: what there is not cannot serve.
    fn promote(&self, now: Moment, standing: Standing) -> Result<Decision, Refusal> {
        let raised = Err(Refusal::AlarmRaised { command: Command::Promote.as_str() });
        match (self.state(), standing) {
            (State::Preparing { .. }, _) => Err(Refusal::GreenNotReady),
            (state, Standing::Breached(_)) if state.is_on_trial() => raised,
            (state, Standing::Held { why }) if state.is_on_trial() => Err(held(Command::Promote, why)),
            (State::Baking { step, .. } | State::Holding { step } | State::Paused { step, .. }, _) => {
                Ok(self.skip_bakes(now, *step))
            }
            (State::HoldingBatch { step }, _) => Ok(Decision {
                state: State::Baking { step: *step, ends: now },
                effects: self.publish_step(*step),
            }),
            (State::TerminationWait { .. }, _) => Ok(self.retire_blue(now)),
            (
                State::RetiringBatch { .. }
                | State::PreparingBatch { .. }
                | State::Retiring { .. }
                | State::Promoted,
                _,
            ) => Ok(self.stay()),
            (
                State::RollingBack { .. }
                | State::ReleasingBatch { .. }
                | State::Restoring { .. }
                | State::RolledBack { .. }
                | State::RollbackFailed { .. },
                _,
            ) => Err(self.wrong_state(Command::Promote)),
        }
    }

    /// Ends one step's bake; too little data does not stop it, since somebody has decided. What comes after the bake stays: a step that
    /// asks for approval still does. Of a bake that is over there is nothing to skip.
    fn skip_bake(&self, now: Moment, asked: usize, standing: Standing) -> Result<Decision, Refusal> {
        let command = Command::SkipBake { step: asked };
        match (self.state(), standing) {
            (State::Preparing { .. }, _) => Err(Refusal::StepToCome { asked: asked + 1 }),
            (
                State::Baking { step, .. }
                | State::Holding { step }
                | State::Paused { step, .. }
                | State::RetiringBatch { step, .. },
                _,
            ) if asked > *step => Err(Refusal::StepToCome { asked: asked + 1 }),
            (State::PreparingBatch { step, .. } | State::HoldingBatch { step }, _) if asked >= *step => {
                Err(Refusal::StepToCome { asked: asked + 1 })
            }
            (
                State::Baking { step, .. }
                | State::Holding { step }
                | State::Paused { step, reason: PauseReason::Operator, .. },
                standing,
            ) if asked == *step => match standing {
                Standing::Breached(_) => Err(Refusal::AlarmRaised { command: command.as_str() }),
                Standing::Held { why } => Err(held(command, why)),
                Standing::Clear | Standing::Safe { .. } | Standing::InsufficientData => {
                    Ok(self.pass_step(now, *step))
                }
            },
            (
                State::Baking { .. }
                | State::Holding { .. }
                | State::Paused { .. }
                | State::RetiringBatch { .. }
                | State::PreparingBatch { .. }
                | State::HoldingBatch { .. }
                | State::TerminationWait { .. }
                | State::Retiring { .. }
                | State::Promoted,
                _,
            ) => Ok(self.stay()),
            (
                State::RollingBack { .. }
                | State::ReleasingBatch { .. }
                | State::Restoring { .. }
                | State::RolledBack { .. }
                | State::RollbackFailed { .. },
                _,
            ) => Err(self.wrong_state(command)),
        }
    }

    fn skip_bakes(&self, now: Moment, step: usize) -> Decision {
        if self.plan().rolling().is_some() {
            return self.leave_step(now, step);
        }
        let last = self.last_step();
        let mut effects = if step < last { self.publish_step(last) } else { Vec::new() };
        let mut decision = self.release_blue(now);
        effects.append(&mut decision.effects);
        Decision { effects, ..decision }
    }

    /// Always possible while there is a way back.
    fn abort(&self, now: Moment) -> Result<Decision, Refusal> {
        match self.state().phase() {
            Phase::Before | Phase::At(_) | Phase::Between(_) | Phase::Warm => {
                Ok(self.roll_back(now, Cause::Aborted))
            }
            Phase::Back | Phase::Mending(_) => Ok(self.stay()),
            Phase::Over if matches!(self.state(), State::RolledBack { .. }) => Ok(self.stay()),
            Phase::Leaving | Phase::Over => Err(self.wrong_state(Command::Abort)),
        }
    }

    fn wrong_state(&self, command: Command) -> Refusal {
        Refusal::WrongState { command: command.as_str(), state: self.state().as_str() }
    }
}

fn held(command: Command, why: String) -> Refusal {
    Refusal::Held { command: command.as_str(), why }
}
