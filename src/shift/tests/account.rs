//! An account of instances, kept from effects alone: what exists, what is ready, what serves. It knows nothing of plans but their sizes.

use super::*;
use crate::{
    fleet::Side,
    shift::{Back, Count, Effect, Input, Pace, Shift, State},
};

/// One fleet's instances; each count is of the first so many.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Fleet {
    ordered: u32,
    exist: u32,
    ready: u32,
    serve: u32,
}

/// Both fleets of a rolling shift.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Account {
    blue: Fleet,
    green: Fleet,
    /// Green's instances are the endpoint's, whoever starts again.
    has_adopted: bool,
    has_settled: bool,
}

impl Account {
    /// Before a shift: blue is whole.
    pub(super) fn new(plan: &ShiftPlan) -> Option<Self> {
        let blue = plan.rolling()?.sizes.blue.get();
        let blue = Fleet { ordered: blue, exist: blue, ready: blue, serve: blue };
        Some(Self { blue, green: Fleet::default(), has_adopted: false, has_settled: false })
    }

    /// What happens to the instances. A process that starts again finds all that was ordered, and names all of blue.
    pub(super) fn see(&mut self, input: &Input) {
        match input {
            Input::GreenReady(_) => self.green.ready = self.green.ordered,
            Input::BlueReady => self.blue.ready = self.blue.ordered,
            Input::Restarted { .. } => {
                let stays = self.has_adopted || self.has_settled;
                self.green.serve = if stays { self.green.serve } else { 0 };
                self.green.ready = self.green.exist;
                self.blue.ready = self.blue.exist;
            }
            Input::Start
            | Input::GreenFailed { .. }
            | Input::BlueFailed { .. }
            | Input::Wake(_)
            | Input::GreenGone
            | Input::Drained(_)
            | Input::Command(..) => {}
        }
    }

    pub(super) fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Provision(side, Count::First(count)) => {
                let fleet = self.fleet(*side);
                fleet.ordered = *count;
                fleet.exist = fleet.exist.max(*count);
            }
            Effect::Serve(side, Count::First(count)) => {
                let fleet = self.fleet(*side);
                assert!(*count <= fleet.ready, "what serves is ready: {self:?}");
                self.fleet(*side).serve = *count;
            }
            Effect::Drain { side, keep } => {
                let fleet = self.fleet(*side);
                fleet.serve = fleet.serve.min(*keep);
            }
            Effect::Retire { side, keep } => {
                let fleet = self.fleet(*side);
                assert!(fleet.serve <= *keep, "what serves stays: {self:?}");
                let fleet = self.fleet(*side);
                fleet.exist = fleet.exist.min(*keep);
                fleet.ready = fleet.ready.min(*keep);
            }
            Effect::Adopt => self.has_adopted = true,
            Effect::Provision(_, Count::All) | Effect::Serve(_, Count::All) => {
                panic!("a rolling shift counts its instances")
            }
            Effect::Settle => self.has_settled = true,
            Effect::PublishShare(_) | Effect::BeginStep(_) | Effect::Finish => {}
        }
    }

    /// S11, and that the engine says what was done.
    pub(super) fn check(&self, shift: &Shift) {
        let (plan, state) = (shift.plan().rolling().unwrap(), shift.state());
        let said = shift.in_service().unwrap();
        let blue = if self.has_adopted { 0 } else { self.blue.serve };
        assert_eq!((blue, self.green.serve), (said.blue, said.green), "in {state:?}");
        let (most, least) = (plan.sizes.blue.max(plan.sizes.green), plan.sizes.blue.min(plan.sizes.green));
        let at_once = match state {
            State::ReleasingBatch { back: Back { pace, .. }, .. }
            | State::Restoring { back: Back { pace, .. }, .. }
            | State::RollbackFailed { back: Back { pace, .. }, .. } => *pace == Pace::AtOnce,
            // Green may still be there, if blue was back before green's last request had ended.
            State::RollingBack { .. } => true,
            State::Preparing { .. }
            | State::Baking { .. }
            | State::Holding { .. }
            | State::Paused { .. }
            | State::RetiringBatch { .. }
            | State::PreparingBatch { .. }
            | State::HoldingBatch { .. }
            | State::TerminationWait { .. }
            | State::Retiring { .. }
            | State::Promoted
            | State::RolledBack { .. } => false,
        };
        let serve = said.blue + said.green;
        let exist = self.blue.exist + self.green.exist;
        let back = plan.rollback_batch.map_or(0, |batch| batch.of(plan.sizes.blue));
        let goes_back = state.cause().is_some();
        let batch = plan.batch.of(plan.sizes.green);
        let batch = if goes_back { batch.max(back) } else { batch };
        let limit = if at_once { plan.sizes.blue.get() + plan.sizes.green.get() } else { most.get() + batch };
        assert!(exist <= limit, "{exist} exist, {limit} may, in {state:?}");
        let is_whole_blue = matches!(state, State::RollingBack { .. }) && said.blue == plan.sizes.blue.get();
        assert!(at_once && !is_whole_blue || serve >= least.get(), "{serve} serve in {state:?}");
    }

    fn fleet(&mut self, side: Side) -> &mut Fleet {
        match side {
            Side::Blue => &mut self.blue,
            Side::Green => &mut self.green,
        }
    }
}
