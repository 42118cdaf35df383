//! The engine's invariants, checked after every step in debug builds and in tests. The numbers are those of the module text.
//!
//! S8 is about the tables that the driver publishes, and is kept by `route::RouteTable`.

use super::{Command, Effect, Input, NoData, Shift, Standing, State};
use crate::{time::Moment, weight::Share};

/// Panics when the step from `before` to `after` breaks an invariant.
pub(super) fn check(before: &Shift, now: Moment, input: &Input, after: &Shift, effects: &[Effect]) {
    let step = Step { before, now, input, after, effects };
    for (number, holds) in [
        ("S1", step.shares_add_up()),
        ("S2", step.share_rises_only_with_leave()),
        ("S3", step.rollback_gives_green_nothing_first()),
        ("S4", step.terminal_states_are_inert()),
        ("S5", step.steps_begin_in_order_after_their_bakes()),
        ("S6", step.journal_gives_the_same_shift()),
        ("S7", step.fleets_retire_when_drained()),
        ("S9", after.wake_at().is_none() == after.state().is_terminal()),
        ("S10", step.timeout_is_kept()),
    ] {
        assert!(
            holds,
            "{number} is broken by {input:?} at {now:?}: {before:?} gave {effects:?} and {after:?}"
        );
    }
}

struct Step<'a> {
    before: &'a Shift,
    now: Moment,
    input: &'a Input,
    after: &'a Shift,
    effects: &'a [Effect],
}

impl Step<'_> {
    fn shares(&self) -> impl Iterator<Item = Share> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::PublishShare(share) => Some(*share),
            Effect::Provision
            | Effect::BeginStep(_)
            | Effect::Drain(_)
            | Effect::Retire(_)
            | Effect::Adopt
            | Effect::Finish => None,
        })
    }

    /// Blue's share is green's complement, and what the engine says of green's share is what it had published.
    fn shares_add_up(&self) -> bool {
        let share = self.after.share();
        let whole = share.basis_points() + share.complement().basis_points() == Share::WHOLE;
        let told = self.shares().last().unwrap_or(self.before.share());
        whole && told == share
    }

    fn share_rises_only_with_leave(&self) -> bool {
        let leave = match self.input {
            Input::GreenReady => matches!(self.before.state(), State::Preparing { .. }),
            Input::Wake(standing) => match standing {
                Standing::Clear => true,
                Standing::InsufficientData => self.before.plan().limits().no_data == NoData::Pass,
                Standing::Breached(_) => false,
            },
            Input::Command(Command::Resume | Command::Promote, standing) => {
                !matches!(standing, Standing::Breached(_))
            }
            Input::Command(Command::Pause | Command::Abort, _)
            | Input::Start
            | Input::GreenFailed { .. }
            | Input::GreenGone
            | Input::Drained(_)
            | Input::Restarted { .. } => false,
        };
        leave || self.shares().all(|share| share <= self.before.share())
    }

    fn rollback_gives_green_nothing_first(&self) -> bool {
        let was_under_way = matches!(self.before.state(), State::RollingBack { .. });
        let is_under_way = matches!(self.after.state(), State::RollingBack { .. });
        was_under_way || !is_under_way || self.effects.first() == Some(&Effect::PublishShare(Share::NONE))
    }

    fn terminal_states_are_inert(&self) -> bool {
        !self.before.state().is_terminal()
            || (self.effects.is_empty() && self.after.state() == self.before.state())
    }

    fn steps_begin_in_order_after_their_bakes(&self) -> bool {
        let baked = match self.before.state() {
            State::Preparing { .. } => Some(0),
            State::Baking { step, ends } if self.now >= *ends => Some(step + 1),
            State::Holding { step } => Some(step + 1),
            State::Paused { step, remaining, .. } if remaining.is_zero() => Some(step + 1),
            State::Baking { .. }
            | State::Paused { .. }
            | State::TerminationWait { .. }
            | State::Retiring { .. }
            | State::RollingBack { .. }
            | State::Promoted
            | State::RolledBack { .. } => None,
        };
        self.effects.iter().all(|effect| match (effect, self.input) {
            (Effect::BeginStep(_), Input::Command(Command::Promote, _)) => true,
            (Effect::BeginStep(step), Input::Restarted { .. }) => {
                self.before.share() == self.before.plan().steps()[*step].share
            }
            (Effect::BeginStep(step), _) => Some(*step) == baked,
            (
                Effect::Provision
                | Effect::PublishShare(_)
                | Effect::Drain(_)
                | Effect::Retire(_)
                | Effect::Adopt
                | Effect::Finish,
                _,
            ) => true,
        })
    }

    fn journal_gives_the_same_shift(&self) -> bool {
        let snapshot = self.after.snapshot(self.now);
        let restored = Shift::restore(self.after.plan().clone(), &snapshot, self.now);
        let due = |shift: &Shift| shift.wake_at().map(|moment| moment.max(self.now));
        restored.snapshot(self.now) == snapshot && due(&restored) == due(self.after)
    }

    fn fleets_retire_when_drained(&self) -> bool {
        self.effects.iter().all(|effect| match effect {
            Effect::Retire(side) => match self.before.state() {
                State::Retiring { drain_by } | State::RollingBack { drain_by, .. } => {
                    *self.input == Input::Drained(*side) || self.now >= *drain_by
                }
                State::Preparing { .. }
                | State::Baking { .. }
                | State::Holding { .. }
                | State::Paused { .. }
                | State::TerminationWait { .. }
                | State::Promoted
                | State::RolledBack { .. } => false,
            },
            Effect::Provision
            | Effect::BeginStep(_)
            | Effect::PublishShare(_)
            | Effect::Drain(_)
            | Effect::Adopt
            | Effect::Finish => true,
        })
    }

    /// Past its execution timeout a shift rolls back at the next wake-up, and never begins a step.
    fn timeout_is_kept(&self) -> bool {
        let late = self.after.state().has_way_back() && self.after.timed_out(self.now);
        let begins = self.effects.iter().any(|effect| matches!(effect, Effect::BeginStep(_)));
        !late || !(begins || matches!(self.input, Input::Wake(_) | Input::Restarted { .. }))
    }
}
