//! The engine's invariants, checked after every step in debug builds and in tests. The numbers are those of the module text.
//!
//! S8 is about the tables that the driver publishes, and is kept by `route::RouteTable`.

use super::{
    Bakes, Command, Count, Effect, Input, NoData, Onward, Pace, Shift, Standing, State, state::Phase,
};
use crate::{fleet::Side, time::Moment, weight::Share};

/// Panics when the step from `before` to `after` breaks an invariant.
pub(super) fn check(before: &Shift, now: Moment, input: &Input, after: &Shift, effects: &[Effect]) {
    let step = Step { before, now, input, after, effects };
    for (number, holds) in [
        ("S1", step.shares_add_up()),
        ("S2", step.share_rises_only_with_leave()),
        ("S3", step.rollback_begins_with_what_blue_can_take()),
        ("S4", step.terminal_states_are_inert()),
        ("S5", step.steps_begin_in_order_after_their_bakes()),
        ("S6", step.journal_gives_the_same_shift()),
        ("S7", step.fleets_retire_when_drained()),
        ("S9", after.wake_at().is_none() == after.state().is_terminal()),
        ("S10", step.timeout_is_kept()),
        ("S11", step.enough_instances_serve()),
        ("S12", step.instances_get_their_parts()),
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
            Effect::Provision(..)
            | Effect::Serve(..)
            | Effect::BeginStep(_)
            | Effect::Drain { .. }
            | Effect::Retire { .. }
            | Effect::Adopt
            | Effect::Settle
            | Effect::Finish => None,
        })
    }

    /// How many instances of a fleet the table names after the effects, as they tell it.
    fn told(&self, side: Side) -> Option<u32> {
        self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Serve(whose, Count::First(count)) if *whose == side => Some(*count),
            Effect::Drain { side: whose, keep } if *whose == side => Some(*keep),
            Effect::Serve(..)
            | Effect::Drain { .. }
            | Effect::Provision(..)
            | Effect::BeginStep(_)
            | Effect::PublishShare(_)
            | Effect::Retire { .. }
            | Effect::Adopt
            | Effect::Settle
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
            Input::GreenReady(_) | Input::Wake(_) if self.before.onward() == Onward::Paused => false,
            Input::GreenReady(standing) if matches!(self.before.state(), State::Preparing { .. }) => {
                !matches!(standing, Standing::Held { .. })
            }
            Input::GreenReady(standing) | Input::Wake(standing) => match standing {
                Standing::Clear | Standing::Safe { .. } => true,
                Standing::InsufficientData => {
                    self.before.plan().limits().no_data == NoData::Pass
                        || self.before.bakes() == Bakes::Skipped
                }
                Standing::Breached(_) | Standing::Held { .. } => false,
            },
            Input::Command(Command::Resume | Command::Promote | Command::SkipBake { .. }, standing) => {
                !matches!(standing, Standing::Breached(_) | Standing::Held { .. })
            }
            Input::Command(Command::Pause | Command::Abort, _)
            | Input::Start
            | Input::GreenFailed { .. }
            | Input::BlueReady
            | Input::BlueFailed { .. }
            | Input::GreenGone
            | Input::Drained(_)
            | Input::Restarted { .. } => false,
        };
        leave || self.shares().all(|share| share <= self.before.share())
    }

    fn rollback_begins_with_what_blue_can_take(&self) -> bool {
        let goes_back = |shift: &Shift| matches!(shift.state().phase(), Phase::Back | Phase::Mending(_));
        if goes_back(self.before) || !goes_back(self.after) {
            return true;
        }
        // A process that has just started gives green nothing, so what serves is brought up first.
        let has_restarted = matches!(self.input, Input::Restarted { .. });
        if !has_restarted && !matches!(self.effects.first(), Some(Effect::PublishShare(_))) {
            return false;
        }
        let Some(share) = self.shares().next() else { return false };
        let State::ReleasingBatch { back, .. } = self.after.state() else { return share == Share::NONE };
        match (back.pace, self.after.plan().rolling()) {
            (Pace::AtOnce, _) => share == Share::NONE,
            (Pace::Batches, None) => false,
            (Pace::Batches, Some(rolling)) => {
                // One basis point more would be more than blue's instances are for.
                let for_blue = u64::from(share.complement().basis_points());
                let (size, whole) = (u64::from(rolling.sizes.blue.get()), u64::from(Share::WHOLE));
                let can_take = u64::from(back.blue) * whole;
                for_blue * size <= can_take && (for_blue + 1) * size > can_take
            }
        }
    }

    fn terminal_states_are_inert(&self) -> bool {
        !self.before.state().is_terminal()
            || (self.effects.is_empty() && self.after.state() == self.before.state())
    }

    fn steps_begin_in_order_after_their_bakes(&self) -> bool {
        let is_skipped = |step: usize| matches!(self.input, Input::Command(Command::SkipBake { step: asked }, _) if *asked == step);
        let has_baked = match self.before.state() {
            State::Baking { step, ends } => self.now >= *ends || self.is_safe() || is_skipped(*step),
            State::Paused { step, remaining, .. } => remaining.is_zero() || is_skipped(*step),
            State::Preparing { .. }
            | State::Holding { .. }
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
            | State::RollbackFailed { .. } => true,
        };
        let over = match self.before.state().phase() {
            Phase::At(step) => has_baked.then_some(step),
            Phase::Between(step) => step.checked_sub(1),
            Phase::Before | Phase::Warm | Phase::Leaving | Phase::Back | Phase::Mending(_) | Phase::Over => {
                None
            }
        };
        let promotes = matches!(self.input, Input::Command(Command::Promote, _));
        let leaves = step_left(self.after.state());
        let next = over.map_or(0, |step| step + 1);
        let is_first = matches!(self.before.state(), State::Preparing { .. });
        let begins = |step: usize| match self.input {
            Input::Restarted { .. } => self.before.share() == self.before.plan().steps()[step].share,
            Input::Start
            | Input::GreenReady(_)
            | Input::GreenFailed { .. }
            | Input::BlueReady
            | Input::BlueFailed { .. }
            | Input::Wake(_)
            | Input::GreenGone
            | Input::Drained(_)
            | Input::Command(..) => promotes || (step == next && (over.is_some() || is_first)),
        };
        (leaves.is_none() || leaves == over || promotes)
            && self.effects.iter().all(|effect| match effect {
                Effect::BeginStep(step) => begins(*step),
                Effect::Provision(..)
                | Effect::Serve(..)
                | Effect::PublishShare(_)
                | Effect::Drain { .. }
                | Effect::Retire { .. }
                | Effect::Adopt
                | Effect::Settle
                | Effect::Finish => true,
            })
    }

    /// Whether the alarms say that a step may end early.
    fn is_safe(&self) -> bool {
        matches!(self.input, Input::Wake(Standing::Safe { .. }))
    }

    fn journal_gives_the_same_shift(&self) -> bool {
        let snapshot = self.after.snapshot(self.now);
        let restored = Shift::restore(self.after.plan().clone(), &snapshot, self.now);
        let due = |shift: &Shift| shift.wake_at().map(|moment| moment.max(self.now));
        restored.snapshot(self.now) == snapshot && due(&restored) == due(self.after)
    }

    /// What a process had in flight ended with it, so that a restart may retire what was to be retired before it.
    fn fleets_retire_when_drained(&self) -> bool {
        let restarts = matches!(self.input, Input::Restarted { .. });
        self.effects.iter().all(|effect| match effect {
            Effect::Retire { side, keep: _ } => match self.before.state() {
                State::RetiringBatch { drain_by, .. }
                | State::Retiring { drain_by }
                | State::RollingBack { drain_by, .. }
                | State::ReleasingBatch { drain_by, .. } => {
                    *self.input == Input::Drained(*side) || self.now >= *drain_by
                }
                State::PreparingBatch { .. } | State::HoldingBatch { .. } | State::Restoring { .. } => {
                    restarts
                }
                State::Preparing { .. }
                | State::Baking { .. }
                | State::Holding { .. }
                | State::Paused { .. }
                | State::TerminationWait { .. }
                | State::Promoted
                | State::RolledBack { .. }
                | State::RollbackFailed { .. } => false,
            },
            Effect::Provision(..)
            | Effect::Serve(..)
            | Effect::BeginStep(_)
            | Effect::PublishShare(_)
            | Effect::Drain { .. }
            | Effect::Adopt
            | Effect::Settle
            | Effect::Finish => true,
        })
    }

    /// The table names the instances that the state says, and they are enough.
    fn enough_instances_serve(&self) -> bool {
        let (Some(rolling), Some(before), Some(after)) =
            (self.after.plan().rolling(), self.before.in_service(), self.after.in_service())
        else {
            return true;
        };
        let adopts = self.effects.contains(&Effect::Adopt);
        let told = self.told(Side::Blue).unwrap_or(before.blue) == after.blue
            && (adopts || self.told(Side::Green).unwrap_or(before.green) == after.green);
        let enough = rolling.sizes.blue.min(rolling.sizes.green).get();
        told && (self.goes_back_at_once() || after.blue + after.green >= enough)
    }

    /// Neither fleet gets more than its instances are for.
    fn instances_get_their_parts(&self) -> bool {
        let (Some(rolling), Some(after)) = (self.after.plan().rolling(), self.after.in_service()) else {
            return true;
        };
        let fits = |share: Share, count: u32, size: u32| {
            let (share, count, size) = (u64::from(share.basis_points()), u64::from(count), u64::from(size));
            // A share of whole basis points may be less than one above the part.
            share * size < count * u64::from(Share::WHOLE) + size
        };
        let share = self.after.share();
        self.goes_back_at_once()
            || (fits(share, after.green, rolling.sizes.green.get())
                && fits(share.complement(), after.blue, rolling.sizes.blue.get()))
    }

    fn goes_back_at_once(&self) -> bool {
        self.after.state().back().is_some_and(|back| back.pace == Pace::AtOnce)
    }

    /// Past its execution timeout a shift rolls back at the next wake-up, and never begins a step.
    fn timeout_is_kept(&self) -> bool {
        let late = self.after.state().has_way_back() && self.after.timed_out(self.now);
        let begins = self.effects.iter().any(|effect| matches!(effect, Effect::BeginStep(_)));
        !late || !(begins || matches!(self.input, Input::Wake(_) | Input::Restarted { .. }))
    }
}

/// The rolling step whose batch of blue goes or has gone in this state, on the way forward.
fn step_left(state: &State) -> Option<usize> {
    match state {
        State::RetiringBatch { step, .. } => Some(*step),
        State::PreparingBatch { step, .. } => step.checked_sub(1),
        State::Preparing { .. }
        | State::Baking { .. }
        | State::Holding { .. }
        | State::Paused { .. }
        | State::HoldingBatch { .. }
        | State::TerminationWait { .. }
        | State::Retiring { .. }
        | State::RollingBack { .. }
        | State::ReleasingBatch { .. }
        | State::Restoring { .. }
        | State::Promoted
        | State::RolledBack { .. }
        | State::RollbackFailed { .. } => None,
    }
}
