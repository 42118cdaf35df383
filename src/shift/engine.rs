//! The engine: a shift's memory, and the one place where a decision takes hold.

use std::time::Duration;

use super::{
    Back, Bakes, Command, Effect, InService, Input, Onward, Ordered, Pace, Refusal, ShiftPlan, Snapshot,
    State, decision::Decision, invariants,
};
use crate::{time::Moment, weight::Share};

/// One run of a plan.
///
/// [`Shift::step`] is all that changes it, and depends on nothing but the shift, the moment and the input. Moments never go back.
#[derive(Clone, Debug)]
pub struct Shift {
    plan: ShiftPlan,
    state: State,
    /// How long the shift had been running at `as_of`. A start on the monotonic clock would not do: after a restart it lies before the
    /// new process's first moment.
    elapsed: Duration,
    as_of: Moment,
    reached: Option<usize>,
    restarts: u32,
    bakes: Bakes,
    onward: Onward,
}

impl Shift {
    /// A shift that has not begun; feed it [`Input::Start`]. Its execution timeout counts from now.
    pub fn new(plan: ShiftPlan, now: Moment) -> Self {
        let state = State::Preparing { ready_by: now.after(plan.limits().ready_timeout) };
        Self {
            plan,
            state,
            elapsed: Duration::ZERO,
            as_of: now,
            reached: None,
            restarts: 0,
            bakes: Bakes::Kept,
            onward: Onward::Free,
        }
    }

    /// A shift from the journal; feed it [`Input::Restarted`].
    ///
    /// The snapshot must be of a run of this very plan, which the journal checks when it reads one.
    pub fn restore(plan: ShiftPlan, snapshot: &Snapshot, now: Moment) -> Self {
        let Snapshot { state, elapsed, step, restarts, bakes, onward } = snapshot.clone();
        let state = state.with_moments(|left| now.after(left.since(Moment::default())));
        Self { plan, state, elapsed, as_of: now, reached: step, restarts, bakes, onward }
    }

    /// Takes an input and says what to do about it. Only commands are ever refused, and a refusal changes nothing.
    ///
    /// A command whose aim is reached already is accepted and does nothing, so that a client may repeat one whose answer it missed:
    /// pause of a paused shift, resume of one that goes on, promote of a promoted one, abort of one that rolls back. No command is
    /// accepted that would keep green going under a raised alarm: pause then rolls back, resume and promote are refused.
    pub fn step(&mut self, now: Moment, input: Input) -> Result<Vec<Effect>, Refusal> {
        let before = cfg!(debug_assertions).then(|| (self.clone(), input.clone()));
        if let Input::Restarted { downtime } = input
            && !self.state.is_terminal()
        {
            self.elapsed = self.elapsed(now).saturating_add(downtime);
            self.as_of = now;
            self.restarts = self.restarts.saturating_add(1);
        }
        let promotes = matches!(input, Input::Command(Command::Promote, _)) && self.state.has_way_back();
        let onward = self.onward_after(&input);
        let Decision { state, effects } = self.decide(now, input)?;
        if promotes {
            self.bakes = Bakes::Skipped;
        }
        self.onward = if state.has_way_back() { onward } else { Onward::Free };
        if state.is_terminal() && !self.state.is_terminal() {
            self.elapsed = self.elapsed(now);
            self.as_of = now;
        }
        self.state = state;
        for effect in &effects {
            if let Effect::BeginStep(step) = effect {
                self.reached = self.reached.max(Some(*step));
            }
        }
        if let Some((before, input)) = before {
            invariants::check(&before, now, &input, self, &effects);
        }
        Ok(effects)
    }

    /// When the engine wants a `Wake`, at the latest (S9). `None` when over.
    ///
    /// A standing that changes is worth a `Wake` at any time: a shift that holds for want of data has no other way to learn of it.
    pub fn wake_at(&self) -> Option<Moment> {
        match self.state {
            State::Preparing { ready_by: ends }
            | State::Baking { ends, .. }
            | State::RetiringBatch { drain_by: ends, .. }
            | State::PreparingBatch { ready_by: ends, .. } => Some(ends.min(self.deadline())),
            State::TerminationWait { ends } if self.onward == Onward::Free => Some(ends.min(self.deadline())),
            State::Holding { .. }
            | State::HoldingBatch { .. }
            | State::Paused { .. }
            | State::TerminationWait { .. } => Some(self.deadline()),
            State::Retiring { drain_by: ends }
            | State::RollingBack { drain_by: ends, .. }
            | State::ReleasingBatch { drain_by: ends, .. }
            | State::Restoring { ready_by: ends, .. } => Some(ends),
            State::Promoted | State::RolledBack { .. } | State::RollbackFailed { .. } => None,
        }
    }

    /// Where it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its plan.
    pub fn plan(&self) -> &ShiftPlan {
        &self.plan
    }

    /// Green's share as of the last effects. It follows from the state, so the two cannot disagree; what was green and has been adopted
    /// counts as green to the end of the shift.
    pub fn share(&self) -> Share {
        match self.state {
            State::Preparing { .. } | State::RollingBack { .. } | State::RolledBack { .. } => Share::NONE,
            State::Baking { step, .. }
            | State::Holding { step }
            | State::Paused { step, .. }
            | State::RetiringBatch { step, .. } => self.plan.steps()[step].share,
            State::PreparingBatch { step, .. } | State::HoldingBatch { step } => {
                self.plan.steps()[step - 1].share
            }
            State::ReleasingBatch { back, .. }
            | State::Restoring { back, .. }
            | State::RollbackFailed { back, .. } => {
                self.plan.rolling().map_or(Share::NONE, |rolling| rolling.share_on_the_way_back(back))
            }
            State::TerminationWait { .. } | State::Retiring { .. } | State::Promoted => Share::ALL,
        }
    }

    /// How many instances of each fleet the table names as of the last effects, in a rolling shift.
    pub fn in_service(&self) -> Option<InService> {
        self.plan.rolling().map(|rolling| rolling.in_service(&self.state))
    }

    /// How many instances of each fleet are to exist, in a rolling shift.
    pub fn ordered(&self) -> Option<Ordered> {
        self.plan.rolling().map(|rolling| rolling.ordered(&self.state))
    }

    /// Whether blue has everything while its missing instances are made.
    pub fn goes_back_at_once(&self) -> bool {
        matches!(
            self.state,
            State::ReleasingBatch { back: Back { pace: Pace::AtOnce, .. }, .. }
                | State::Restoring { back: Back { pace: Pace::AtOnce, .. }, .. }
        )
    }

    /// Whether the bakes still to come take their time.
    pub const fn bakes(&self) -> Bakes {
        self.bakes
    }

    /// Whether somebody has paused it where no bake can be stopped.
    pub const fn onward(&self) -> Onward {
        self.onward
    }

    /// For the journal.
    pub fn snapshot(&self, now: Moment) -> Snapshot {
        Snapshot {
            state: self.state.clone().with_moments(|moment| Moment::default().after(moment.since(now))),
            elapsed: self.elapsed(now),
            step: self.reached,
            restarts: self.restarts,
            bakes: self.bakes,
            onward: self.onward,
        }
    }

    /// When the execution timeout ends (S10).
    pub fn deadline(&self) -> Moment {
        self.as_of.after(self.plan.limits().execution_timeout.saturating_sub(self.elapsed))
    }

    /// How long the shift has been running, downtime and pauses included; stands still once it is over.
    fn elapsed(&self, now: Moment) -> Duration {
        if self.state.is_terminal() {
            self.elapsed
        } else {
            self.elapsed.saturating_add(now.since(self.as_of))
        }
    }
}
