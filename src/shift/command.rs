//! What operators ask for.
//!
//! A command whose aim is reached already is accepted and does nothing. A command that would keep green going under a raised alarm is
//! not carried out: pause rolls back, resume and promote are refused. After the execution timeout only abort is left. While a shift is held
//! (a freeze, hours that are not allowed) nothing is granted that would make it go on; pause and abort are.

use std::time::Duration;

use super::{
    Cause, Command, Count, Effect, PauseReason, Refusal, Shift, Standing, State, decision::Decision,
};
use crate::{fleet::Side, time::Moment};

impl Shift {
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
        let (step, remaining, reason) = match self.state() {
            State::Baking { step, ends } => (*step, ends.since(now), PauseReason::Operator),
            State::Holding { step } | State::RetiringBatch { step, .. } => {
                (*step, Duration::ZERO, PauseReason::Operator)
            }
            State::Paused { step, remaining, reason } => (*step, *remaining, *reason),
            State::Preparing { .. }
            | State::PreparingBatch { .. }
            | State::HoldingBatch { .. }
            | State::TerminationWait { .. }
            | State::Retiring { .. }
            | State::RollingBack { .. }
            | State::ReleasingBatch { .. }
            | State::Restoring { .. }
            | State::Promoted
            | State::RolledBack { .. }
            | State::RollbackFailed { .. } => return Err(self.wrong_state(Command::Pause)),
        };
        if let Standing::Breached(cause) = standing {
            return Ok(self.roll_back(now, cause));
        }
        let is_going = matches!(self.state(), State::RetiringBatch { .. });
        let back = self.plan().rolling().filter(|_| is_going);
        let back = back.map(|rolling| Effect::Serve(Side::Blue, Count::First(rolling.blue_before(step))));
        Ok(Decision { state: State::Paused { step, remaining, reason }, effects: back.into_iter().collect() })
    }

    /// An approval goes on to the next step, also with too little data, since somebody has decided. A bake goes on with what was left of
    /// it; with nothing left it ends now, as it would have without the pause.
    fn resume(&self, now: Moment, standing: Standing) -> Result<Decision, Refusal> {
        let raised = Err(Refusal::AlarmRaised { command: Command::Resume.as_str() });
        match (self.state(), standing) {
            (State::Preparing { .. }, _) => Ok(self.stay()),
            (
                State::Baking { .. }
                | State::Holding { .. }
                | State::Paused { .. }
                | State::RetiringBatch { .. }
                | State::PreparingBatch { .. }
                | State::HoldingBatch { .. }
                | State::TerminationWait { .. },
                Standing::Breached(_),
            ) => raised,
            (State::Paused { reason: PauseReason::Approval, .. }, Standing::Held { why }) => {
                Err(held(Command::Resume, why))
            }
            (State::Paused { step, reason: PauseReason::Approval, .. }, _) => Ok(self.leave_step(now, *step)),
            (State::Paused { step, remaining, reason: PauseReason::Operator }, standing) => {
                Ok(if remaining.is_zero() {
                    self.judge(now, *step, standing)
                } else {
                    let ends = now.after(*remaining);
                    Decision { state: State::Baking { step: *step, ends }, effects: Vec::new() }
                })
            }
            (
                State::Baking { .. }
                | State::Holding { .. }
                | State::RetiringBatch { .. }
                | State::PreparingBatch { .. }
                | State::HoldingBatch { .. }
                | State::TerminationWait { .. },
                Standing::Clear | Standing::Safe { .. } | Standing::InsufficientData | Standing::Held { .. },
            ) => Ok(self.stay()),
            (
                State::Retiring { .. }
                | State::RollingBack { .. }
                | State::ReleasingBatch { .. }
                | State::Restoring { .. }
                | State::Promoted
                | State::RolledBack { .. }
                | State::RollbackFailed { .. },
                _,
            ) => Err(self.wrong_state(Command::Resume)),
        }
    }

    /// Skips what is left of the bakes; in the termination wait, what is left of that. Too little data does not stop it, since somebody
    /// has decided. A rolling shift still makes its batches one after the other: what there is not cannot serve.
    fn promote(&self, now: Moment, standing: Standing) -> Result<Decision, Refusal> {
        let raised = Err(Refusal::AlarmRaised { command: Command::Promote.as_str() });
        match (self.state(), standing) {
            (State::Preparing { .. }, _) => Err(Refusal::GreenNotReady),
            (
                State::Baking { .. }
                | State::Holding { .. }
                | State::Paused { .. }
                | State::RetiringBatch { .. }
                | State::PreparingBatch { .. }
                | State::HoldingBatch { .. }
                | State::TerminationWait { .. },
                Standing::Breached(_),
            ) => raised,
            (
                State::Baking { .. }
                | State::Holding { .. }
                | State::Paused { .. }
                | State::RetiringBatch { .. }
                | State::PreparingBatch { .. }
                | State::HoldingBatch { .. }
                | State::TerminationWait { .. },
                Standing::Held { why },
            ) => Err(held(Command::Promote, why)),
            (
                State::Baking { step, .. } | State::Holding { step } | State::Paused { step, .. },
                Standing::Clear | Standing::Safe { .. } | Standing::InsufficientData,
            ) => Ok(self.skip_bakes(now, *step)),
            (
                State::HoldingBatch { step },
                Standing::Clear | Standing::Safe { .. } | Standing::InsufficientData,
            ) => Ok(Decision {
                state: State::Baking { step: *step, ends: now },
                effects: self.publish_step(*step),
            }),
            (
                State::TerminationWait { .. },
                Standing::Clear | Standing::Safe { .. } | Standing::InsufficientData,
            ) => Ok(self.retire_blue(now)),
            (
                State::RetiringBatch { .. } | State::PreparingBatch { .. },
                Standing::Clear | Standing::Safe { .. } | Standing::InsufficientData,
            )
            | (State::Retiring { .. } | State::Promoted, _) => Ok(self.stay()),
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
        match self.state() {
            State::Preparing { .. }
            | State::Baking { .. }
            | State::Holding { .. }
            | State::Paused { .. }
            | State::RetiringBatch { .. }
            | State::PreparingBatch { .. }
            | State::HoldingBatch { .. }
            | State::TerminationWait { .. } => Ok(self.roll_back(now, Cause::Aborted)),
            State::RollingBack { .. }
            | State::ReleasingBatch { .. }
            | State::Restoring { .. }
            | State::RolledBack { .. } => Ok(self.stay()),
            State::Retiring { .. } | State::Promoted | State::RollbackFailed { .. } => {
                Err(self.wrong_state(Command::Abort))
            }
        }
    }

    fn wrong_state(&self, command: Command) -> Refusal {
        Refusal::WrongState { command: command.as_str(), state: self.state().as_str() }
    }
}

fn held(command: Command, why: String) -> Refusal {
    Refusal::Held { command: command.as_str(), why }
}
