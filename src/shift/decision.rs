//! What an input leads to, in every state. What operators ask for is in `command`, the way back in `way_back`.

use std::time::Duration;

use super::{
    Approval, Bakes, Cause, Count, Effect, Input, NoData, OnRestart, Onward, PauseReason, Refusal, Rolling,
    Shift, Standing, State, state::Phase,
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

/// Why a shift does not go on that somebody has paused where no bake can be stopped.
pub const PAUSED: &str = "it is paused until somebody resumes it";

/// Whether the alarms let a shift go on.
enum Verdict {
    Go,
    Hold,
    Back(Cause),
}

impl Shift {
    /// Decides; changes nothing.
    pub(super) fn decide(&self, now: Moment, input: Input) -> Result<Decision, Refusal> {
        match input {
            Input::Start => Ok(self.start()),
            Input::GreenReady(standing) => Ok(self.green_ready(now, self.under_pause(standing))),
            Input::GreenFailed { reason } => Ok(self.lose_green(now, Cause::GreenNotReady { reason })),
            Input::BlueReady => Ok(self.blue_ready(now)),
            Input::BlueFailed { reason } => Ok(self.blue_failed(reason)),
            Input::GreenGone => Ok(self.lose_green(now, Cause::GreenGone)),
            Input::Wake(standing) => Ok(self.wake(now, self.under_pause(standing))),
            Input::Drained(side) => Ok(self.drained(now, side)),
            Input::Restarted { .. } => Ok(self.restarted(now)),
            Input::Command(command, standing) => self.command(now, command, standing),
        }
    }

    /// A standing as it is while somebody has paused the shift. What is wrong with a green that has requests stays wrong.
    fn under_pause(&self, standing: Standing) -> Standing {
        let is_wrong = self.state().is_on_trial() && matches!(standing, Standing::Breached(_));
        match self.onward() {
            Onward::Paused if !is_wrong => Standing::Held { why: PAUSED.to_owned() },
            Onward::Free | Onward::Paused => standing,
        }
    }

    /// Begins, once. Later it is a repetition.
    fn start(&self) -> Decision {
        match self.state().phase() {
            Phase::Before => self.stay_and(vec![self.provision_green(0)]),
            Phase::At(_)
            | Phase::Between(_)
            | Phase::Warm
            | Phase::Leaving
            | Phase::Back
            | Phase::Mending(_)
            | Phase::Over => self.stay(),
        }
    }

    /// Before the first step there was no traffic that an alarm could be about. After a restart green is provisioned again with its share
    /// published already, so readiness is news in few states.
    fn green_ready(&self, now: Moment, standing: Standing) -> Decision {
        match self.state() {
            State::Preparing { .. } | State::PreparingBatch { .. } if self.timed_out(now) => {
                self.roll_back(now, Cause::ExecutionTimeout)
            }
            State::Preparing { .. } if matches!(standing, Standing::Held { .. }) => self.await_leave(),
            State::Preparing { .. } => self.begin_step(now, 0),
            State::PreparingBatch { step, .. } => self.judge_batch(now, *step, standing),
            State::Baking { .. }
            | State::Holding { .. }
            | State::Paused { .. }
            | State::RetiringBatch { .. }
            | State::HoldingBatch { .. }
            | State::TerminationWait { .. }
            | State::Retiring { .. }
            | State::RollingBack { .. }
            | State::ReleasingBatch { .. }
            | State::Restoring { .. }
            | State::Promoted
            | State::RolledBack { .. }
            | State::RollbackFailed { .. } => self.stay(),
        }
    }

    /// Green is ready, but may not have its first share yet: the only wait left is the execution timeout's.
    fn await_leave(&self) -> Decision {
        Decision { state: State::Preparing { ready_by: self.deadline() }, effects: Vec::new() }
    }

    /// Green cannot be had, or not any more. Once blue is on its way out green is the fleet in service, and its health is no longer a
    /// shift's business.
    fn lose_green(&self, now: Moment, cause: Cause) -> Decision {
        match (self.state().phase(), self.state().cause()) {
            (Phase::Before | Phase::At(_) | Phase::Between(_) | Phase::Warm, _) => self.roll_back(now, cause),
            (Phase::Mending(back), Some(first)) if cause == Cause::GreenGone => {
                self.give_green_up(now, first, back)
            }
            (Phase::Leaving | Phase::Back | Phase::Mending(_) | Phase::Over, _) => self.stay(),
        }
    }

    /// A raised alarm comes first, then the execution timeout, then what the state waits for. Before the first step green has no traffic
    /// that an alarm could be about, and once blue goes there is nothing to go back to: there the standing says nothing.
    fn wake(&self, now: Moment, standing: Standing) -> Decision {
        match (self.state(), standing) {
            (state, Standing::Breached(cause)) if state.is_on_trial() => self.roll_back(now, cause),
            (state, _) if state.has_way_back() && self.timed_out(now) => {
                self.roll_back(now, Cause::ExecutionTimeout)
            }
            (State::Preparing { ready_by } | State::PreparingBatch { ready_by, .. }, _)
                if now >= *ready_by =>
            {
                let limit = format_duration(self.plan().limits().ready_timeout);
                self.roll_back(now, Cause::GreenNotReady { reason: format!("not ready within {limit}") })
            }
            (State::Baking { step, ends }, standing) if now >= *ends => self.judge(now, *step, standing),
            (State::Baking { step, .. }, standing @ Standing::Safe { .. }) if *step < self.last_step() => {
                self.judge(now, *step, standing)
            }
            (State::Holding { step }, standing) => self.judge(now, *step, standing),
            (State::HoldingBatch { step }, standing) => self.judge_batch(now, *step, standing),
            (State::RetiringBatch { step, drain_by }, _) if now >= *drain_by => self.next_batch(now, *step),
            (State::TerminationWait { .. }, Standing::Held { .. }) => self.stay(),
            (State::TerminationWait { ends }, _) if now >= *ends => self.retire_blue(now),
            (State::Retiring { drain_by }, _) if now >= *drain_by => promoted(),
            (State::RollingBack { cause, drain_by }, _) if now >= *drain_by => rolled_back(cause),
            (State::ReleasingBatch { cause, back, drain_by }, _) if now >= *drain_by => {
                self.make_blue(now, cause, *back)
            }
            (State::Restoring { cause, back, ready_by }, _) if now >= *ready_by => {
                self.restoring_takes_too_long(cause, *back)
            }
            (
                State::Preparing { .. }
                | State::Baking { .. }
                | State::Paused { .. }
                | State::RetiringBatch { .. }
                | State::PreparingBatch { .. }
                | State::TerminationWait { .. }
                | State::Retiring { .. }
                | State::RollingBack { .. }
                | State::ReleasingBatch { .. }
                | State::Restoring { .. }
                | State::Promoted
                | State::RolledBack { .. }
                | State::RollbackFailed { .. },
                _,
            ) => self.stay(),
        }
    }

    /// What had to go has nothing in flight.
    fn drained(&self, now: Moment, side: Side) -> Decision {
        match (self.state(), side) {
            (State::RetiringBatch { .. }, Side::Blue) if self.timed_out(now) => {
                self.roll_back(now, Cause::ExecutionTimeout)
            }
            (State::RetiringBatch { step, .. }, Side::Blue) => self.next_batch(now, *step),
            (State::Retiring { .. }, Side::Blue) => promoted(),
            (State::RollingBack { cause, .. }, Side::Green) => rolled_back(cause),
            (State::ReleasingBatch { cause, back, .. }, Side::Green) => self.make_blue(now, cause, *back),
            (
                State::Preparing { .. }
                | State::Baking { .. }
                | State::Holding { .. }
                | State::Paused { .. }
                | State::RetiringBatch { .. }
                | State::PreparingBatch { .. }
                | State::HoldingBatch { .. }
                | State::TerminationWait { .. }
                | State::Retiring { .. }
                | State::RollingBack { .. }
                | State::ReleasingBatch { .. }
                | State::Restoring { .. }
                | State::Promoted
                | State::RolledBack { .. }
                | State::RollbackFailed { .. },
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
                self.roll_back_after_restart(now, Cause::Restart)
            }
            state if state.has_way_back() && self.timed_out(now) => {
                self.roll_back_after_restart(now, Cause::ExecutionTimeout)
            }
            State::Preparing { .. } => Decision {
                state: State::Preparing { ready_by: now.after(limits.ready_timeout) },
                effects: vec![self.provision_green(0)],
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
            State::RetiringBatch { step, .. } => {
                let mut effects = self.serve_again(*step);
                effects.extend(self.drain_batch(*step));
                self.stay_and(effects)
            }
            State::PreparingBatch { step, .. } | State::HoldingBatch { step } => {
                let mut effects = self.serve_again(*step - 1);
                let next = self.next_batch(now, *step - 1);
                effects.extend(next.effects);
                Decision { effects, ..next }
            }
            State::TerminationWait { .. } => self.stay_and(self.serve_again(self.last_step())),
            State::Retiring { .. } => {
                self.stay_and(vec![Effect::Adopt, Effect::Drain { side: Side::Blue, keep: 0 }])
            }
            State::RollingBack { .. } => self.stay_and(vec![
                Effect::PublishShare(Share::NONE),
                Effect::Drain { side: Side::Green, keep: 0 },
            ]),
            State::ReleasingBatch { .. } | State::Restoring { .. } => self.go_on_back(now),
            State::Promoted | State::RolledBack { .. } | State::RollbackFailed { .. } => self.stay(),
        }
    }

    /// A bake is over, or may end early; do the alarms let the shift go on? (S2)
    pub(super) fn judge(&self, now: Moment, step: usize, standing: Standing) -> Decision {
        match self.verdict(standing) {
            Verdict::Go => self.pass_step(now, step),
            Verdict::Hold => Decision { state: State::Holding { step }, effects: Vec::new() },
            Verdict::Back(cause) => self.roll_back(now, cause),
        }
    }

    /// A batch is ready; do the alarms still let it have its share? (S2)
    pub(super) fn judge_batch(&self, now: Moment, step: usize, standing: Standing) -> Decision {
        match self.verdict(standing) {
            Verdict::Go => self.begin_step(now, step),
            Verdict::Hold => Decision { state: State::HoldingBatch { step }, effects: Vec::new() },
            Verdict::Back(cause) => self.roll_back(now, cause),
        }
    }

    fn verdict(&self, standing: Standing) -> Verdict {
        match (standing, self.bakes(), self.plan().limits().no_data) {
            (Standing::Breached(cause), _, _) => Verdict::Back(cause),
            (Standing::Held { .. }, _, _) => Verdict::Hold,
            (Standing::Clear | Standing::Safe { .. }, _, _)
            | (Standing::InsufficientData, Bakes::Skipped, _)
            | (Standing::InsufficientData, Bakes::Kept, NoData::Pass) => Verdict::Go,
            (Standing::InsufficientData, Bakes::Kept, NoData::Hold) => Verdict::Hold,
            (Standing::InsufficientData, Bakes::Kept, NoData::Fail) => Verdict::Back(Cause::NoData),
        }
    }

    pub(super) fn pass_step(&self, now: Moment, step: usize) -> Decision {
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
        match self.plan().rolling() {
            _ if step == self.last_step() => self.release_blue(now),
            None => self.begin_step(now, step + 1),
            // Of a blue that is smaller than green not every step takes something.
            Some(rolling) if rolling.blue_after(step) == rolling.blue_before(step) => {
                self.prepare_batch(now, step + 1)
            }
            Some(_) => {
                let drain_by = now.after(self.plan().limits().drain_timeout);
                Decision {
                    state: State::RetiringBatch { step, drain_by },
                    effects: self.drain_batch(step).into_iter().collect(),
                }
            }
        }
    }

    fn begin_step(&self, now: Moment, step: usize) -> Decision {
        let ends = match self.bakes() {
            Bakes::Kept => now.after(self.plan().steps()[step].bake),
            Bakes::Skipped => now,
        };
        Decision { state: State::Baking { step, ends }, effects: self.publish_step(step) }
    }

    /// The alarms come first, so that no request of the step is dealt before they count.
    pub(super) fn publish_step(&self, step: usize) -> Vec<Effect> {
        let serve = |rolling: &Rolling| Effect::Serve(Side::Green, Count::First(rolling.green(step)));
        let serve = self.plan().rolling().map(serve);
        let share = self.plan().steps()[step].share;
        serve.into_iter().chain([Effect::BeginStep(step), Effect::PublishShare(share)]).collect()
    }

    /// What brings a step back after a restart, at the share that it had, with the instances that blue had.
    fn serve_again(&self, step: usize) -> Vec<Effect> {
        let blue = |rolling: &Rolling| {
            let has_gone = matches!(self.state(), State::PreparingBatch { .. } | State::HoldingBatch { .. });
            let count = if has_gone { rolling.blue_after(step) } else { rolling.blue_before(step) };
            Effect::Serve(Side::Blue, Count::First(count))
        };
        let blue = self.plan().rolling().map(blue);
        blue.into_iter().chain([self.provision_green(step)]).chain(self.publish_step(step)).collect()
    }

    /// As much of green as a step needs: all of it, but in a rolling plan.
    fn provision_green(&self, step: usize) -> Effect {
        let count = self.plan().rolling().map_or(Count::All, |rolling| Count::First(rolling.green(step)));
        Effect::Provision(Side::Green, count)
    }

    /// A step's batch of blue takes no more requests.
    fn drain_batch(&self, step: usize) -> Option<Effect> {
        let keep = self.plan().rolling()?.blue_after(step);
        Some(Effect::Drain { side: Side::Blue, keep })
    }

    /// A step's batch of blue has drained, or its time is up, or its process is gone: it is let go, and the next of green is made.
    fn next_batch(&self, now: Moment, step: usize) -> Decision {
        let next = self.prepare_batch(now, step + 1);
        let retire = self
            .plan()
            .rolling()
            .map(|rolling| Effect::Retire { side: Side::Blue, keep: rolling.blue_after(step) });
        Decision { effects: retire.into_iter().chain(next.effects).collect(), ..next }
    }

    fn prepare_batch(&self, now: Moment, step: usize) -> Decision {
        let ready_by = now.after(self.plan().limits().ready_timeout);
        Decision {
            state: State::PreparingBatch { step, ready_by },
            effects: vec![self.provision_green(step)],
        }
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
            effects: vec![Effect::Adopt, Effect::Drain { side: Side::Blue, keep: 0 }],
        }
    }

    /// Nothing changes.
    pub(super) fn stay(&self) -> Decision {
        self.stay_and(Vec::new())
    }

    pub(super) fn stay_and(&self, effects: Vec<Effect>) -> Decision {
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
    Decision {
        state: State::Promoted,
        effects: vec![Effect::Retire { side: Side::Blue, keep: 0 }, Effect::Finish],
    }
}

fn rolled_back(cause: &Cause) -> Decision {
    Decision {
        state: State::RolledBack { cause: cause.clone() },
        effects: vec![Effect::Retire { side: Side::Green, keep: 0 }, Effect::Finish],
    }
}
