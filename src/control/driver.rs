//! The driver: feeds a shift's engine and carries out what it decides. It makes no choice of its own.
//!
//! An input goes through three stages. [`Endpoint::advance`] steps the engine and, when it goes back to blue, does that at once;
//! the task then makes the new state durable; [`Endpoint::perform`] carries out the rest. A step forward that cannot be written is
//! taken back, so the journal is never behind what green was given.

use std::sync::Arc;

use super::{
    Actor, Transition,
    awaited::Awaited,
    endpoint::{Endpoint, Links, LiveFleet, drained},
    keeper::Made,
    ledger::Draft,
    outlook,
    past::Past,
    run::{Aborting, By, Green, Mark, Run},
    task::Note,
    watched::{Live, WatchParts, Watched},
    words,
};
use crate::{
    alarm::Dealing,
    fault,
    fleet::Side,
    name::{FleetId, ShiftId},
    shift::{Count, Effect, Input, Refusal, State},
    store::{EndpointRecord, FleetRecord, Record},
    time::Moment,
    weight::Share,
};

/// What an input led to.
#[derive(Debug)]
pub(super) enum Advance {
    /// Nothing that is to be written or done.
    Nothing,
    /// A step that is written before it takes effect.
    Forward(Box<Forward>),
    /// All traffic is blue's already; the events are to be written.
    Back {
        /// The rest.
        effects: Vec<Effect>,
    },
}

/// A step that is written before it takes effect.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) effects: Vec<Effect>,
    pub(super) drafts: Vec<Draft>,
    pub(super) undo: Undo,
}

/// What is put back when a step cannot be written.
#[derive(Debug)]
pub(super) struct Undo {
    mark: Mark,
    /// The endpoint before the step, where the step changes its fleet in service.
    record: Option<Box<EndpointRecord>>,
    adoption: Adoption,
}

/// Whether a step gives up the way back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Adoption {
    None,
    OfGreen,
}

impl Endpoint {
    /// Feeds the running shift's engine.
    pub(super) fn advance(&mut self, links: &Links, input: &Input, by: &By) -> Result<Advance, Refusal> {
        let record = self.record.clone();
        let Some(run) = &mut self.run else { return Ok(Advance::Nothing) };
        let now = links.timer.now();
        let mark = run.mark();
        let before = run.engine.state().clone();
        let effects = run.engine.step(now, input.clone())?;
        let after = run.engine.state().clone();
        if effects.is_empty() && before == after && !mark.differs(&run.engine) {
            return Ok(Advance::Nothing);
        }
        let turns_back = before.has_way_back() && after.cause().is_some();
        if turns_back || effects.first() == Some(&Effect::PublishShare(Share::NONE)) {
            run.go_back(links, &after);
            let mut drafts = run.drafts(links, input, by, &before);
            drafts.extend(run.batch_draft(mark.engine(), &effects, links.timer.wall_of(now)));
            log(&drafts);
            run.unwritten.get_or_insert_default().extend(drafts);
            if turns_back {
                self.note_shortage(links);
            }
            return Ok(Advance::Back { effects });
        }
        let adopts = effects.contains(&Effect::Adopt);
        if adopts && run.green.is_some() && links.publisher.release(&run.endpoint, &run.id).is_err() {
            // A breach came first: its report is on its way, and the shift has not got past the point of no return.
            run.put_back(mark);
            return Ok(Advance::Nothing);
        }
        run.stamp(links, input, &after, now);
        let mut drafts = run.drafts(links, input, by, &before);
        drafts.extend(run.batch_draft(mark.engine(), &effects, links.timer.wall_of(now)));
        if adopts {
            run.polls.clear();
            self.record.serving = run.plan.green.clone();
            self.record.fleet = run.plan.green.provider.as_ref().map(|_| FleetId::of_shift(&run.id));
            self.record.rest = None;
        }
        let settles = effects.contains(&Effect::Settle);
        if settles {
            self.record.serving = run.settled(&record.serving);
            self.record.rest = run.settled_rest();
        }
        let adoption = if adopts { Adoption::OfGreen } else { Adoption::None };
        let undo = Undo { mark, record: (adopts || settles).then(|| Box::new(record)), adoption };
        Ok(Advance::Forward(Box::new(Forward { effects, drafts, undo })))
    }

    /// Takes a step back that could not be written.
    pub(super) fn undo(&mut self, links: &Links, undo: Undo) {
        let Undo { mark, record, adoption } = undo;
        let Some(run) = &mut self.run else { return };
        run.put_back(mark);
        if let Some(record) = record {
            self.record = *record;
            if adoption == Adoption::OfGreen
                && run.green.is_some()
                && links.publisher.rearm(&run.endpoint, &run.id).is_err()
            {
                tracing::error!(shift = %run.id, "a shift that went back had no latch");
            }
        }
    }

    /// Carries out effects that have been written, or need not be.
    ///
    /// Where green is given its share together with its provisioning, after a restart, it is provisioned before anything else happens;
    /// else meanwhile, and a note tells of it.
    pub(super) fn perform(&mut self, links: &Links, effects: Vec<Effect>) {
        let gives_share = effects.iter().any(|effect| matches!(effect, Effect::PublishShare(_)));
        for effect in effects {
            fault::point(|| format!("before {effect:?}"));
            let Some(run) = &mut self.run else { return };
            match effect {
                Effect::Provision(Side::Green, count) if run.green.is_none() => {
                    run.ordered = count;
                    if let (Some(made), Count::First(count)) = (&mut run.made, count) {
                        // The rest of what was ordered comes with the next order.
                        made.count = count.max(made.known());
                    }
                    if gives_share {
                        let (id, made) = (run.id.clone(), run.made.take());
                        let live = LiveFleet::of(&self.record, (&run.plan.green, made), links);
                        self.provisioned(links, &id, live);
                    } else {
                        run.provision(links);
                    }
                }
                Effect::Provision(side, count) => self.order(links, side, count),
                Effect::Serve(side, count) => self.serve(links, side, count),
                Effect::BeginStep(step) => {
                    links.publisher.begin_step(&run.endpoint, &run.id, step + 1);
                    if let Some((green, step)) = run.green.as_ref().zip(run.plan.shift.steps().get(step)) {
                        green.watched.begin_step(step.share);
                    }
                }
                Effect::PublishShare(share) => run.publish(links, share),
                Effect::Drain { side, keep } => {
                    run.owed.forget_drains();
                    match keep {
                        0 => run.drain(links, side),
                        keep => self.drain_rest(links, side, keep),
                    }
                }
                Effect::Retire { side, keep: 0 } => run.retire(links, side),
                Effect::Retire { side, keep } => self.keep_first(links, side, keep),
                Effect::Adopt => self.adopt(links),
                Effect::Settle => self.settle(links),
                Effect::Finish => {
                    links.publisher.disarm(&run.endpoint);
                    links.roster.remove(&run.id);
                    self.ended = Some(run.ended());
                    self.run = None;
                    self.blue.serves = Count::All;
                }
            }
        }
        if let Some(run) = &self.run {
            links.publisher.leave(&run.endpoint, &run.id, run.engine.share_after_snap());
        }
    }

    /// The instances of a green that no provider makes are there: they always were.
    pub(super) fn found(&mut self, links: &Links, shift: &ShiftId) {
        if let Some(run) = self.run.as_ref().filter(|run| run.id == *shift) {
            let live = LiveFleet::of(&self.record, (&run.plan.green, None), links);
            self.provisioned(links, shift, live);
        }
    }

    /// Green's instances are there: they are checked and watched from now on. Instances of a shift that is over by now go again.
    pub(super) fn provisioned(&mut self, links: &Links, shift: &ShiftId, live: LiveFleet) {
        let fits =
            |run: &&mut Run| run.id == *shift && run.green.is_none() && wants_green(run.engine.state());
        let Some(run) = self.run.as_mut().filter(fits) else {
            if let Some(made) = live.made {
                made.let_go();
            }
            return;
        };
        let route = live.route.clone();
        let watched = Arc::new(Watched::new(WatchParts {
            endpoint: run.endpoint.clone(),
            shift: run.id.clone(),
            green: route,
            blue: run.blue.clone(),
            dealing: if self.record.declared.sticky.is_some() { Dealing::Sticky } else { Dealing::Deck },
            alarms: &run.plan.alarms,
            bakes: run.plan.shift.steps().len(),
            life: run.engine.snapshot(links.timer.now()).restarts,
            spent: run.earlier.green.failed_for_clients(),
            bell: Arc::clone(&links.bell),
            publisher: Arc::clone(&links.publisher),
            timer: links.timer,
        }));
        watched.resume(std::mem::take(&mut run.lasting));
        links.roster.add(Arc::clone(&watched));
        run.polls = links.poller.watch(&watched, &run.plan.alarms.externals, &run.subject());
        let awaited = Awaited::of(&live.route.fleet, run.ordered, live.wanted());
        run.green = Some(Green { watched, fleet: Some(live), awaited });
    }

    /// The running shift for the journal; with it the endpoint, from where the shift changes which fleet serves.
    pub(super) fn records(&self, links: &Links) -> Vec<Record> {
        let Some(record) = self.shift_record(links) else { return Vec::new() };
        let endpoint =
            (!record.snapshot.state.has_way_back()).then(|| Record::Endpoint(Box::new(self.record.clone())));
        let fleets = self.ordered_fleets().into_iter().map(|fleet| Record::Fleet(Box::new(fleet)));
        endpoint.into_iter().chain(fleets).chain([Record::Shift(Box::new(record))]).collect()
    }

    /// What these were is in the journal now.
    pub(super) fn written(&mut self) {
        if let Some(run) = &mut self.run {
            run.unwritten = None;
            run.blocked_until = None;
        }
    }

    fn adopt(&mut self, links: &Links) {
        let Some(run) = &mut self.run else { return };
        let Some(green) = &mut run.green else { return };
        green.watched.set_live(Live::No);
        links.roster.remove(&run.id);
        if let Some(mut fleet) = green.fleet.take() {
            // Its traffic so far was a part of the endpoint's.
            fleet.past = Past::default();
            fleet.serves = Count::All;
            links.publisher.adopt(&run.endpoint, &fleet.route);
            run.old_blue = Some(std::mem::replace(&mut self.blue, fleet));
        }
    }
}

/// Whether a green that has only just been made still has a use: none on the way back, but what it keeps in a rolling shift.
fn wants_green(state: &State) -> bool {
    state.has_way_back() || matches!(state, State::ReleasingBatch { .. } | State::Restoring { .. })
}

/// One line for each change of state.
pub(super) fn log(drafts: &[Draft]) {
    for draft in drafts.iter().filter(|draft| draft.after.is_some()) {
        tracing::info!(
            endpoint = draft.endpoint.as_ref().map(tracing::field::display),
            shift = draft.shift.as_ref().map(tracing::field::display),
            before = draft.before.as_deref(),
            after = draft.after.as_deref(),
            share = draft.share.map(tracing::field::display),
            actor = draft.actor,
            cause = draft.cause,
            "the shift changes its state"
        );
    }
}

impl Run {
    /// Gives blue everything, unless the evaluator has done so already.
    fn go_back(&mut self, links: &Links, after: &State) {
        let Some(cause) = after.cause() else { return };
        self.polls.clear();
        let snap = self.green.as_ref().and_then(|green| green.watched.snap(cause.clone()));
        match snap {
            Some(snap) => self.note_snap(&snap, &links.timer),
            None => self.note_rollback_without_green(links.timer.wall_of(links.timer.now())),
        }
    }

    /// Notes the moments that a step brings with it.
    fn stamp(&mut self, links: &Links, input: &Input, after: &State, now: Moment) {
        let wall = links.timer.wall_of(now);
        if matches!(input, Input::Drained(_)) {
            self.moments.drained_at = Some(wall);
        }
        if after.is_terminal() {
            self.moments.ended_at = Some(wall);
        }
    }

    /// Remembers a change of state, and makes its events.
    fn drafts(&mut self, links: &Links, input: &Input, by: &By, before: &State) -> Vec<Draft> {
        let after = self.engine.state().clone();
        let at = links.timer.wall_of(links.timer.now());
        let (actor, cause) = words::change(input, by, before, &after);
        let asked = match by {
            By::Operator(actor) => Some(actor),
            By::Itself => None,
        };
        let reason = asked.and_then(Actor::given_reason);
        let draft = |kind, cause: &str| Draft {
            endpoint: Some(self.endpoint.clone()),
            shift: Some(self.id.clone()),
            share: Some(self.share()),
            peer: asked.and_then(|actor| actor.peer.clone()),
            reason: reason.clone(),
            ..Draft::new(at, kind, &actor, cause.to_owned())
        };
        let mut drafts = Vec::new();
        if let Input::Command(command, _) = input {
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            drafts.push(draft("shift.command", &format!("{}{why}", command.as_str())));
        }
        if matches!(input, Input::Start) {
            let cause = self.lineage.told(&cause);
            let mut started = draft("shift.started", &cause);
            started.after = Some(after.as_str().to_owned());
            drafts.push(started);
            drafts.extend(outlook::warnings(&self.findings).iter().map(|text| draft("shift.warning", text)));
        } else if *before != after {
            let mut changed = draft("shift.state", &cause);
            changed.evidence = Some(self.evidence(&after));
            let (before, after) = (before.as_str().to_owned(), after.as_str().to_owned());
            (changed.before, changed.after) = (Some(before.clone()), Some(after.clone()));
            drafts.push(changed);
            self.remember(Transition { at, before, after, share: self.share(), actor, cause });
        }
        drafts
    }

    /// Instances that are simply there are told of by the same note as those that a keeper has made.
    fn provision(&mut self, links: &Links) {
        match self.made.take() {
            Some(made) => self.making = Made::wanted(made, links),
            None => {
                let (notes, endpoint, shift) = (links.notes.clone(), self.endpoint.clone(), self.id.clone());
                tokio::spawn(async move {
                    // Control that is gone needs no answer.
                    drop(notes.send(Note::Provisioned { endpoint, shift }).await);
                });
            }
        }
    }

    /// Green as a provider makes it, whether it has come to be or not.
    pub(super) fn green_record(&self) -> Option<FleetRecord> {
        let live = self.green.as_ref().and_then(|green| green.fleet.as_ref()?.made.as_ref());
        self.made.clone().or_else(|| Some(self.making.as_ref().or(live)?.record.clone()))
    }

    fn publish(&mut self, links: &Links, share: Share) {
        let goes_back = self.engine.state().cause().is_some();
        // A rollback's table was published when it was decided, but where green keeps something.
        if share == Share::NONE && self.engine.in_service().is_none() {
            return;
        }
        if share != Share::NONE {
            self.dealt_at_share = Some(self.dealt());
        }
        let Some(Green { watched, fleet: Some(green), awaited: _ }) = &self.green else { return };
        let served = green.served();
        let fleets = (&served, &watched.watch);
        if goes_back {
            if let Err(latched) = links.publisher.hold(&self.endpoint, &self.id, share, fleets) {
                tracing::debug!(shift = %self.id, ?latched, "green had lost its share before");
            }
            return;
        }
        watched.set_live(Live::Yes);
        match links.publisher.give(&self.endpoint, &self.id, share, fleets) {
            // An evaluator that waits as if there were nothing to see is to look now.
            Ok(published) => watched.watch.ring(published),
            Err(latched) => {
                tracing::debug!(shift = %self.id, ?latched, "a share came after the way back was taken");
            }
        }
    }

    fn drain(&mut self, links: &Links, side: Side) {
        if let (Side::Green, Some(green)) = (side, &mut self.green) {
            green.leave();
        }
        let fleet = match side {
            Side::Blue => Some(Arc::clone(&self.blue.fleet)),
            Side::Green => self.green_fleet().cloned(),
        };
        if side == Side::Green {
            self.dealt_at_share = Some(self.dealt());
        }
        let note = Note::Drained { endpoint: self.endpoint.clone(), shift: self.id.clone(), side };
        let notes = links.notes.clone();
        self.drain = Some(Aborting(tokio::spawn(async move {
            if let Some(fleet) = fleet {
                drained(&fleet).await;
            }
            drop(notes.send(note).await);
        })));
    }

    fn retire(&mut self, links: &Links, side: Side) {
        self.drain = None;
        let fleet = match side {
            Side::Blue => self.old_blue.take(),
            Side::Green => {
                links.publisher.drop_green(&self.endpoint);
                self.green.as_mut().and_then(|green| green.fleet.take())
            }
        };
        if let Some(made) = self.made.take_if(|_| side == Side::Green) {
            // It may have been there before a restart.
            Made::unwanted(made, links);
        }
        let making = (side == Side::Green).then(|| self.making.take()).flatten();
        let fleets = fleet.into_iter().flat_map(|fleet| [fleet.made, fleet.rest]).flatten();
        fleets.chain(making).for_each(Made::let_go);
    }
}
