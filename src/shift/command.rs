//! What operators ask for.
//!
//! A command whose aim is reached already is accepted and does nothing. A command that would keep green going under a raised alarm is
//! not carried out: pause rolls back, resume and promote are refused. After the execution timeout only abort is left.

use std::time::Duration;

use super::{Cause, Command, PauseReason, Refusal, Shift, Standing, State, decision::Decision};
use crate::time::Moment;

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
            Command::Pause | Command::Resume | Command::Promote if late => {
                Err(Refusal::TimedOut { command: command.as_str() })
            }
            Command::Pause => self.pause(now, standing),
            Command::Resume => self.resume(now, standing),
            Command::Promote => self.promote(now, standing),
        }
    }

    /// Keeps what is left of the bake.
    fn pause(&self, now: Moment, standing: Standing) -> Result<Decision, Refusal> {
        let (step, remaining, reason) = match self.state() {
            State::Baking { step, ends } => (*step, ends.since(now), PauseReason::Operator),
            State::Holding { step } => (*step, Duration::ZERO, PauseReason::Operator),
            State::Paused { step, remaining, reason } => (*step, *remaining, *reason),
            State::Preparing { .. }
            | State::TerminationWait { .. }
            | State::Retiring { .. }
            | State::RollingBack { .. }
            | State::Promoted
            | State::RolledBack { .. } => return Err(self.wrong_state(Command::Pause)),
        };
        Ok(match standing {
            Standing::Breached(cause) => self.roll_back(now, cause),
            Standing::Clear | Standing::InsufficientData => {
                Decision { state: State::Paused { step, remaining, reason }, effects: Vec::new() }
            }
        })
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
                | State::TerminationWait { .. },
                Standing::Breached(_),
            ) => raised,
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
                State::Baking { .. } | State::Holding { .. } | State::TerminationWait { .. },
                Standing::Clear | Standing::InsufficientData,
            ) => Ok(self.stay()),
            (
                State::Retiring { .. }
                | State::RollingBack { .. }
                | State::Promoted
                | State::RolledBack { .. },
                _,
            ) => Err(self.wrong_state(Command::Resume)),
        }
    }

    /// Skips what is left of the bakes; in the termination wait, what is left of that. Too little data does not stop it, since somebody
    /// has decided.
    fn promote(&self, now: Moment, standing: Standing) -> Result<Decision, Refusal> {
        let raised = Err(Refusal::AlarmRaised { command: Command::Promote.as_str() });
        match (self.state(), standing) {
            (State::Preparing { .. }, _) => Err(Refusal::GreenNotReady),
            (
                State::Baking { .. }
                | State::Holding { .. }
                | State::Paused { .. }
                | State::TerminationWait { .. },
                Standing::Breached(_),
            ) => raised,
            (
                State::Baking { step, .. } | State::Holding { step } | State::Paused { step, .. },
                Standing::Clear | Standing::InsufficientData,
            ) => {
                let last = self.last_step();
                let mut effects = if *step < last { self.publish_step(last) } else { Vec::new() };
                let mut decision = self.release_blue(now);
                effects.append(&mut decision.effects);
                Ok(Decision { effects, ..decision })
            }
            (State::TerminationWait { .. }, Standing::Clear | Standing::InsufficientData) => {
                Ok(self.retire_blue(now))
            }
            (State::Retiring { .. } | State::Promoted, _) => Ok(self.stay()),
            (State::RollingBack { .. } | State::RolledBack { .. }, _) => {
                Err(self.wrong_state(Command::Promote))
            }
        }
    }

    /// Always possible while there is a way back.
    fn abort(&self, now: Moment) -> Result<Decision, Refusal> {
        match self.state() {
            State::Preparing { .. }
            | State::Baking { .. }
            | State::Holding { .. }
            | State::Paused { .. }
            | State::TerminationWait { .. } => Ok(self.roll_back(now, Cause::Aborted)),
            State::RollingBack { .. } | State::RolledBack { .. } => Ok(self.stay()),
            State::Retiring { .. } | State::Promoted => Err(self.wrong_state(Command::Abort)),
        }
    }

    fn wrong_state(&self, command: Command) -> Refusal {
        Refusal::WrongState { command: command.as_str(), state: self.state().as_str() }
    }
}
