//! One run of a plan: the engine, the fleets, the moments, and what is still to be written.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::{
    Actor, Lineage, Traffic, Transition,
    awaited::Awaited,
    endpoint::LiveFleet,
    external_form::Lasting,
    fate::{Fate, Tally},
    keeper::Made,
    ledger::Draft,
    owed::Owed,
    series::Track,
    timer::Timer,
    watched::{Snap, Watched},
};
use crate::{
    alarm::Subject,
    config::PlanSpec,
    fleet::{Fleet, FleetSpec},
    lint::Finding,
    meter::Reading,
    name::{EndpointName, FleetId, ShiftId},
    route::FleetRoute,
    shift::{Bakes, Count, Onward, Shift, State},
    store::{FleetRecord, Moments},
    time::{Moment, WallTime},
    weight::Share,
};

/// How many changes of state a shift remembers; the oldest go first. A plan makes some dozens; only a script that pauses and resumes
/// without end reaches it, and the events keep them all.
const MAX_TRANSITIONS: usize = 1000;

/// One run of a plan.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: ShiftId,
    pub(super) endpoint: EndpointName,
    pub(super) actor: String,
    pub(super) started_at: WallTime,
    pub(super) plan: PlanSpec,
    pub(super) blue_spec: FleetSpec,
    /// Which of the provisioned fleets blue is.
    pub(super) blue_fleet: Option<FleetId>,
    /// The fleet that was in service when this began, by whatever name the table knows it now.
    pub(super) blue: FleetRoute,
    pub(super) blue_baseline: Reading,
    pub(super) engine: Shift,
    /// What was to be known of the plan when it was started.
    pub(super) findings: Vec<Finding>,
    pub(super) lineage: Lineage,
    /// Green as a provider is to make it, until that is begun.
    pub(super) made: Option<FleetRecord>,
    /// Green while a provider makes its first instances.
    pub(super) making: Option<Made>,
    pub(super) green: Option<Green>,
    /// How much of green was ordered first.
    pub(super) ordered: Count,
    /// Instances of blue that are to come back.
    pub(super) awaited_blue: Awaited,
    /// The former blue, once green has been adopted.
    pub(super) old_blue: Option<LiveFleet>,
    pub(super) moments: Moments,
    pub(super) rollback: Rollback,
    /// What blue lacked when it took everything back, in a clause.
    pub(super) blue_short: Option<String>,
    pub(super) transitions: Vec<Transition>,
    /// Its traffic from its beginning.
    pub(super) track: Track,
    /// What earlier processes counted.
    pub(super) earlier: Earlier,
    /// What was dealt, blue's and green's, when green's share was last published.
    pub(super) dealt_at_share: Option<(u64, u64)>,
    pub(super) drain: Option<Aborting>,
    /// Reports on external alarms from before a restart, until green is watched again.
    pub(super) lasting: Vec<Lasting>,
    /// The polls of its alarms, as long as it has a way back.
    pub(super) polls: Vec<Aborting>,
    /// The events of a rollback that has acted and is not in the journal yet.
    pub(super) unwritten: Option<Vec<Draft>>,
    /// Inputs that are to be fed again.
    pub(super) owed: Owed,
    /// Whether a look at the alarms led to a step that could not be written: what they say is not said again.
    pub(super) looks_again: bool,
    /// Whether the engine was last told that it may not go on.
    pub(super) is_held: bool,
    /// Until when nothing is tried again after such a failure.
    pub(super) blocked_until: Option<Moment>,
}

/// Green while it is a shift's.
#[derive(Debug)]
pub(super) struct Green {
    pub(super) watched: Arc<Watched>,
    /// `None` once the endpoint has it.
    pub(super) fleet: Option<LiveFleet>,
    /// Instances that its share waits for.
    pub(super) awaited: Awaited,
}

/// How fast a rollback was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Rollback {
    /// From the response that tipped the alarm to the decision.
    pub(super) decision: Option<Duration>,
    /// When the blue-only table was published, if it was in this process.
    pub(super) published: Option<Moment>,
    /// From there to green's last request, as an earlier process knew it.
    pub(super) earlier_dispatch: Option<Duration>,
    pub(super) green_responses: Option<u64>,
    pub(super) green_in_flight: Option<u64>,
    /// Green's counters then, if it was in this process.
    pub(super) tally: Option<Tally>,
    /// What had become of its open requests, as an earlier process knew it.
    pub(super) earlier_fate: Option<Fate>,
}

/// What earlier processes counted in this shift.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Earlier {
    pub(super) blue: Traffic,
    pub(super) green: Traffic,
}

/// Who made an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum By {
    /// Time, an alarm, a check: the input says which.
    Itself,
    /// Somebody.
    Operator(Actor),
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Aborting(pub(super) JoinHandle<()>);

/// What is put back when a change of state cannot be written.
#[derive(Debug)]
pub(super) struct Mark {
    engine: Shift,
    moments: Moments,
    transitions: Vec<Transition>,
}

impl Run {
    /// Green's share by the last published table.
    pub(super) fn share(&self) -> Share {
        self.share_of(&self.engine)
    }

    /// The same as this engine tells it: a snap comes before the engine hears of it.
    pub(super) fn share_of(&self, engine: &Shift) -> Share {
        let comes_first = self.snap().is_some() && engine.state().cause().is_none();
        if comes_first { engine.share_after_snap() } else { engine.share() }
    }

    /// Whose alarms its are.
    pub(super) fn subject(&self) -> Subject {
        Subject {
            endpoint: self.endpoint.to_string(),
            shift: self.id.to_string(),
            blue: self.blue_spec.version.to_string(),
            green: self.plan.green.version.to_string(),
        }
    }

    /// The snap, if there was one in this process.
    pub(super) fn snap(&self) -> Option<Snap> {
        self.green.as_ref()?.watched.snapped()
    }

    /// The fleets that the endpoint does not hold.
    pub(super) fn fleets_mut(&mut self) -> impl Iterator<Item = &mut LiveFleet> {
        self.green.as_mut().and_then(|green| green.fleet.as_mut()).into_iter().chain(self.old_blue.as_mut())
    }

    /// Green's instances, until the endpoint has them.
    pub(super) fn green_fleet(&self) -> Option<&Arc<Fleet>> {
        Some(&self.green.as_ref()?.fleet.as_ref()?.route.fleet)
    }

    /// Green's meters, zero before there is a green.
    pub(super) fn green_reading(&self) -> Reading {
        self.green.as_ref().map(|green| green.watched.green.meters.read()).unwrap_or_default()
    }

    /// What was dealt so far: blue's and green's.
    pub(super) fn dealt(&self) -> (u64, u64) {
        (self.blue.meters.read().dealt, self.green_reading().dealt)
    }

    /// When it has to be looked at again, at the latest. A journal that cannot be written holds a shift up, but not its way back: past
    /// its execution timeout it goes there first and writes later.
    ///
    /// Blue is not let go while the shift is held, so that the end of the termination wait wakes nobody then.
    pub(super) fn wake_at(&self, is_held: bool) -> Option<Moment> {
        if is_held && matches!(self.engine.state(), State::TerminationWait { .. }) {
            return Some(self.engine.deadline());
        }
        let wake = self.engine.wake_at().into_iter().chain(self.is_behind().then(Moment::default)).min()?;
        let Some(until) = self.blocked_until else { return Some(wake) };
        let wake = wake.max(until);
        Some(if self.engine.state().has_way_back() { wake.min(self.engine.deadline()) } else { wake })
    }

    /// Whether something is to be tried again as soon as it may be.
    fn is_behind(&self) -> bool {
        self.looks_again || !self.owed.is_empty()
    }

    /// Remembers a rollback's moments.
    pub(super) fn note_snap(&mut self, snap: &Snap, timer: &Timer) {
        let Snap { cause: _, breach, decided, published, green_responses, green_in_flight, tally } = snap;
        self.moments.breach_at = breach.map(|moment| timer.wall_of(moment));
        self.moments.decided_at = Some(timer.wall_of(*decided));
        self.moments.published_at = Some(timer.wall_of(*published));
        self.rollback = Rollback {
            decision: breach.map(|breach| decided.since(breach)),
            published: Some(*published),
            earlier_dispatch: None,
            green_responses: Some(*green_responses),
            green_in_flight: Some(*green_in_flight),
            tally: Some(*tally),
            earlier_fate: None,
        };
    }

    /// Remembers a rollback of a shift that gave green nothing.
    pub(super) fn note_rollback_without_green(&mut self, now: WallTime) {
        self.moments.decided_at.get_or_insert(now);
        self.moments.published_at.get_or_insert(now);
    }

    pub(super) fn remember(&mut self, transition: Transition) {
        self.track_change(transition.at, transition.share);
        if self.transitions.len() == MAX_TRANSITIONS {
            self.transitions.remove(0);
        }
        self.transitions.push(transition);
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { engine: self.engine.clone(), moments: self.moments, transitions: self.transitions.clone() }
    }

    pub(super) fn put_back(&mut self, mark: Mark) {
        let Mark { engine, moments, transitions } = mark;
        self.engine = engine;
        self.moments = moments;
        self.transitions = transitions;
    }
}

impl Mark {
    /// The engine that is kept here.
    pub(super) fn engine(&self) -> &Shift {
        &self.engine
    }

    /// Whether an engine goes on in another way than the one that is kept here, though its state may be the same.
    pub(super) fn differs(&self, engine: &Shift) -> bool {
        let goes_on = |engine: &Shift| -> (Bakes, Onward) { (engine.bakes(), engine.onward()) };
        goes_on(&self.engine) != goes_on(engine)
    }
}

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}
