//! The control task: the one writer of everything that control knows.
//!
//! It takes one thing at a time, from people, checks, the evaluator and the clock, and finishes it, the journal's commit included,
//! before the next. Only going back to blue does not wait for it.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Interval, MissedTickBehavior},
};

use super::{
    ControlError,
    ask::Ask,
    declare::{Changes, Known, KnownEndpoints},
    driver::{Advance, Forward, log},
    endpoint::{Endpoint, Links},
    keeper::FleetNote,
    ledger::{Draft, Ledger},
    parts::first,
    poller::Polled,
    prober::HealthChange,
    publisher::Change,
    raised::Held,
    run::{By, Run},
    traffic::SAMPLE_EVERY,
    watchdog::{Collapse, Vital},
};
use crate::{
    config::Config,
    fleet::{Health, Instance, Side},
    lint::Finding,
    name::{EndpointName, ShiftId},
    provider::News,
    route::EndpointSlot,
    shift::{Effect, Input, Standing},
    store::{EndpointRecord, FleetRecord, Freeze, Record, StoreError},
    time::Moment,
};

/// What the tasks around the control task tell it.
#[derive(Debug)]
pub(super) enum Note {
    /// A check changed its mind.
    Health(HealthChange),
    /// Green's instances are there: they always were.
    Provisioned { endpoint: EndpointName, shift: ShiftId },
    /// A provider has made a fleet, or failed to, or let it go.
    Fleet(FleetNote),
    /// What was ordered of a fleet is healthy already.
    Ready { endpoint: EndpointName, shift: ShiftId, side: Side },
    /// Instances that get no new requests have nothing in flight.
    Drained { endpoint: EndpointName, shift: ShiftId, side: Side },
    /// A polled alarm changed its state.
    Polled(Box<Polled>),
    /// The polled alarms of a queued shift whose turn has come were asked.
    Looked { endpoint: EndpointName, shift: ShiftId, findings: Vec<Finding> },
}

/// The control task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) links: Links,
    pub(super) ledger: Ledger,
    pub(super) endpoints: BTreeMap<EndpointName, Endpoint>,
    /// The configuration that the process runs by, as far as a reload cannot change it.
    pub(super) config: Config,
    /// When a failed commit is tried again.
    pub(super) retry_at: Option<Moment>,
    /// Who is frozen: endpoints, or, under `None`, all of them.
    pub(super) freezes: BTreeMap<Option<EndpointName>, Freeze>,
    /// The last report on each external alarm, for as long as it holds.
    pub(super) held: BTreeMap<String, Held>,
    /// Learns of it when this ends in the middle of something.
    pub(super) collapse: Arc<Collapse>,
}

/// What wakes the control task.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) notes: mpsc::Receiver<Note>,
    /// What happened to instances that a provider made.
    pub(super) news: mpsc::Receiver<News>,
    /// A standing changed.
    pub(super) notice: Arc<Notify>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Task {
    /// Runs until it is told to stop, or whoever could tell it is gone.
    pub(super) async fn run(mut self, mut inbox: Inbox) {
        let _vital = Vital(Arc::clone(&self.collapse));
        let mut samples = sample_ticks();
        loop {
            self.end_holds().await;
            self.take_turns().await;
            let wake = self.links.timer.instant(self.wake_at());
            tokio::select! {
                biased;
                _ = inbox.stop.changed() => return self.settle().await,
                () = inbox.notice.notified() => self.standings_changed().await,
                Some(note) = inbox.notes.recv() => {
                    self.noted(note).await;
                    if inbox.notes.is_empty() || self.ledger.is_full() {
                        self.settle().await;
                    }
                }
                Some(news) = inbox.news.recv() => self.heard(news).await,
                () = tokio::time::sleep_until(wake) => self.time_has_come().await,
                _ = samples.tick() => {
                    self.sample();
                    self.replace_sick().await;
                }
                Some(ask) = inbox.asks.recv() => self.answer(ask).await,
            }
        }
    }

    /// Feeds a shift's engine and carries out what follows. An input whose step could not be written is kept for later, except a
    /// command, whose sender is told.
    pub(super) async fn feed(
        &mut self,
        name: &EndpointName,
        input: Input,
        by: By,
    ) -> Result<(), ControlError> {
        let settled = self.settle_owed(name).await;
        match settled {
            Ok(()) => self.feed_next(name, input, by).await,
            Err(error) => self.feed_unsettled(name, input, by, error).await,
        }
    }

    /// Feeds what comes next: nothing before it is owed.
    pub(super) async fn feed_next(
        &mut self,
        name: &EndpointName,
        input: Input,
        by: By,
    ) -> Result<(), ControlError> {
        let Some(endpoint) = self.endpoints.get_mut(name) else { return Ok(()) };
        if let Some(run) = &mut endpoint.run {
            run.note_hold(&input);
        }
        match endpoint.advance(&self.links, &input, &by)? {
            Advance::Nothing => Ok(()),
            Advance::Back { effects } => {
                self.back(name, effects).await;
                Ok(())
            }
            Advance::Forward(step) => self.forward(name, input, *step).await,
        }
    }

    /// Feeds what comes after something that cannot be written: only going back to blue does not wait for that.
    async fn feed_unsettled(
        &mut self,
        name: &EndpointName,
        input: Input,
        by: By,
        error: ControlError,
    ) -> Result<(), ControlError> {
        let Some(endpoint) = self.endpoints.get_mut(name) else { return Ok(()) };
        match endpoint.advance(&self.links, &input, &by)? {
            Advance::Nothing => Ok(()),
            Advance::Back { effects } => {
                self.back(name, effects).await;
                Ok(())
            }
            Advance::Forward(step) => {
                endpoint.undo(&self.links, step.undo);
                if let Some(run) = &mut endpoint.run {
                    run.owed.push(input);
                }
                Err(error)
            }
        }
    }

    async fn back(&mut self, name: &EndpointName, effects: Vec<Effect>) {
        self.perform(name, effects);
        // It has acted; a record that cannot be written now is written later.
        if let Err(error) = self.write_back(name).await {
            tracing::error!(endpoint = %name, %error, "a rollback has acted but is not in the journal yet");
        }
    }

    /// Looks at a shift's alarms now, and tells the engine.
    pub(super) async fn wake(&mut self, name: &EndpointName) {
        let Some(standing) = self.leave(name) else { return };
        if let Some(run) = self.run_mut(name) {
            run.looks_again = false;
        }
        if let Err(error) = self.feed(name, Input::Wake(standing), By::Itself).await {
            tracing::warn!(endpoint = %name, %error, "a shift stays where it is");
        }
    }

    /// What a running shift's alarms say at this moment, to whoever commands it.
    pub(super) fn standing(&self, name: &EndpointName) -> Option<Standing> {
        let endpoint = self.endpoints.get(name)?;
        Some(endpoint.under_ban(endpoint.look()?, self.wall()))
    }

    /// The same to a shift that would go on by itself.
    pub(super) fn leave(&self, name: &EndpointName) -> Option<Standing> {
        let endpoint = self.endpoints.get(name)?;
        Some(endpoint.under_hold(endpoint.look()?, self.wall()))
    }

    /// What declarations must know of the endpoints.
    pub(super) fn known(&self) -> KnownEndpoints {
        let known = |endpoint: &Endpoint| Known {
            record: endpoint.record.clone(),
            running: endpoint.run.as_ref().map(|run| run.id.clone()),
        };
        self.endpoints.iter().map(|(name, endpoint)| (name.clone(), known(endpoint))).collect()
    }

    /// Takes over changes that have been written, in one table.
    pub(super) fn install(&mut self, changes: Changes) {
        let Changes { put, fleets, removed, lines: _ } = changes;
        let mut fleets: BTreeMap<_, _> =
            fleets.into_iter().map(|fleet| (fleet.endpoint.clone(), fleet)).collect();
        let mut routes: Vec<Change> = removed.iter().cloned().map(Change::Remove).collect();
        for name in removed {
            self.freezes.remove(&Some(name.clone()));
            if let Some(endpoint) = self.endpoints.remove(&name) {
                endpoint.dismantle(&self.links);
            }
        }
        for record in put {
            let made = fleets.remove(&record.declared.name);
            routes.push(Change::Put(Box::new(self.put(record, made).declared())));
        }
        self.spread_frost();
        self.links.publisher.declare(routes);
    }

    /// Makes durable what nothing waited for.
    async fn settle(&mut self) {
        if self.ledger.settle().await.is_err() {
            self.commit_failed();
        }
    }

    /// A commit failed: it is tried again later.
    pub(super) fn commit_failed(&mut self) {
        self.retry_at = Some(self.ledger.retry_at(self.links.timer.now()));
    }

    fn put(&mut self, record: EndpointRecord, made: Option<FleetRecord>) -> &Endpoint {
        let name = record.declared.name.clone();
        if let Some(endpoint) = self.endpoints.get_mut(&name) {
            endpoint.redeclare(record, made, &self.links);
        } else {
            let slot = self.free_slot();
            self.endpoints.insert(name.clone(), Endpoint::new(record, slot, made, &self.links));
        }
        &self.endpoints[&name]
    }

    /// The lowest slot that no endpoint has. A slot is used again once its endpoint is gone; the epoch of the new one's split is of its
    /// own, so no deck goes on from the old one's.
    fn free_slot(&self) -> EndpointSlot {
        let taken = |slot: &EndpointSlot| self.endpoints.values().any(|endpoint| endpoint.slot == *slot);
        let slot = (0..).map(EndpointSlot).find(|slot| !taken(slot));
        slot.expect("fewer endpoints than numbers of 32 bits")
    }

    async fn forward(
        &mut self,
        name: &EndpointName,
        input: Input,
        step: Forward,
    ) -> Result<(), ControlError> {
        let Forward { effects, drafts, undo } = step;
        let Some(endpoint) = self.endpoints.get_mut(name) else { return Ok(()) };
        let records = endpoint.records(&self.links);
        let unwritten = endpoint.run.as_ref().and_then(|run| run.unwritten.clone()).unwrap_or_default();
        let all: Vec<Draft> = unwritten.into_iter().chain(drafts.iter().cloned()).collect();
        let written = self.ledger.commit(records, &all).await;
        let Some(endpoint) = self.endpoints.get_mut(name) else { return Ok(()) };
        match written {
            Ok(()) => {
                endpoint.written();
                log(&drafts);
                self.perform(name, effects);
                Ok(())
            }
            Err(error) => {
                endpoint.undo(&self.links, undo);
                self.commit_failed();
                if let Some(run) = self.endpoints.get_mut(name).and_then(|endpoint| endpoint.run.as_mut()) {
                    run.blocked_until = self.retry_at;
                    run.looks_again |= matches!(input, Input::Wake(_));
                    run.owed.put_back(input);
                }
                Err(error.into())
            }
        }
    }

    /// Writes a rollback that has acted.
    async fn write_back(&mut self, name: &EndpointName) -> Result<(), StoreError> {
        let Some(endpoint) = self.endpoints.get_mut(name) else { return Ok(()) };
        let records = endpoint.records(&self.links);
        let drafts = endpoint.run.as_ref().and_then(|run| run.unwritten.clone()).unwrap_or_default();
        let written = self.ledger.commit(records, &drafts).await;
        match &written {
            Ok(()) => endpoint.written(),
            Err(_) => self.commit_failed(),
        }
        written
    }

    async fn standings_changed(&mut self) {
        let changed = |run: &Run| run.green.as_ref().is_some_and(|green| green.watched.take_changed());
        for name in self.names_where(changed) {
            self.wake(&name).await;
        }
    }

    async fn time_has_come(&mut self) {
        let now = self.links.timer.now();
        let is_due = |endpoint: &Endpoint| self.wake_of(endpoint).is_some_and(|at| at <= now);
        let due = self.endpoints.iter().filter(|(_, endpoint)| is_due(endpoint));
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            // What is owed comes first.
            self.wake(&name).await;
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry().await;
        }
    }

    /// Writes what has acted already; when there is nothing of the kind, the endpoints as they are, to see whether it can.
    async fn retry(&mut self) {
        self.retry_at = None;
        for name in self.names_where(|run| run.unwritten.is_some()) {
            if self.write_back(&name).await.is_err() {
                return;
            }
        }
        if self.ledger.is_failing() {
            let records =
                self.endpoints.values().map(|endpoint| Record::Endpoint(Box::new(endpoint.record.clone())));
            let fleets = self.endpoints.values().flat_map(Endpoint::fleet_records);
            let fleets = fleets.map(|fleet| Record::Fleet(Box::new(fleet.clone())));
            if self.ledger.commit(records.chain(fleets).collect(), &[]).await.is_err() {
                self.commit_failed();
            }
        }
    }

    async fn noted(&mut self, note: Note) {
        match note {
            Note::Health(change) => self.health_changed(change).await,
            Note::Provisioned { endpoint, shift } => {
                if let Some(endpoint) = self.endpoints.get_mut(&endpoint) {
                    endpoint.found(&self.links, &shift);
                }
            }
            Note::Fleet(note) => self.fleet_told(note).await,
            Note::Ready { endpoint, shift, side } => self.part_ready(&endpoint, &shift, side).await,
            Note::Drained { endpoint, shift, side } => {
                self.feed_shift(&endpoint, &shift, Input::Drained(side)).await;
            }
            Note::Polled(polled) => self.polled(*polled).await,
            Note::Looked { endpoint, shift, findings } => self.looked(&endpoint, &shift, findings),
        }
    }

    /// Feeds a shift that the sender of a note knew, if it is still the running one.
    pub(super) async fn feed_shift(&mut self, name: &EndpointName, shift: &ShiftId, input: Input) {
        let run = self.endpoints.get(name).and_then(|endpoint| endpoint.run.as_ref());
        if run.is_some_and(|run| run.id == *shift)
            && let Err(error) = self.feed(name, input, By::Itself).await
        {
            tracing::warn!(endpoint = %name, %error, "a shift stays where it is");
        }
    }

    async fn health_changed(&mut self, change: HealthChange) {
        let HealthChange { endpoint: name, instance, before, health, cause } = change;
        let address = instance.address().clone();
        tracing::info!(endpoint = %name, instance = %address, health = health.as_str(), cause, "an instance's health changed");
        let now = self.links.timer.now();
        if let Some(endpoint) = self.endpoints.get_mut(&name) {
            endpoint.grow(&instance, health, now);
        }
        let is_incoming_ready =
            self.endpoints.get_mut(&name).is_some_and(|endpoint| endpoint.hears(&instance));
        let run = self.endpoints.get_mut(&name).and_then(|endpoint| endpoint.run.as_mut());
        let (news, is_blue_back) = run.map_or((GreenNews::None, false), |run| {
            (run.green_news(&instance), run.awaited_blue.hear(&instance))
        });
        // Going back comes before the journal, as ever; going on comes after the event that allowed it.
        if news == GreenNews::Gone {
            drop(self.feed(&name, Input::GreenGone, By::Itself).await);
        }
        let at = self.links.timer.wall_of(self.links.timer.now());
        let draft = Draft {
            endpoint: Some(name.clone()),
            before: Some(before.as_str().to_owned()),
            after: Some(health.as_str().to_owned()),
            evidence: Some(serde_json::json!({ "instance": address.as_str() })),
            ..Draft::new(at, "instance.health", "prober", format!("{address}: {cause}"))
        };
        self.ledger.defer(draft);
        if is_incoming_ready || is_blue_back || news == GreenNews::Ready {
            self.settle().await;
        }
        if is_incoming_ready {
            self.replace_blue(&name);
        }
        if news == GreenNews::Ready {
            self.green_ready(&name).await;
        }
        if is_blue_back && let Err(error) = self.feed(&name, Input::BlueReady, By::Itself).await {
            tracing::warn!(endpoint = %name, %error, "a shift stays where it is");
        }
    }

    /// What was ordered of a fleet was healthy when it was ordered, and still is if nothing is awaited by now.
    async fn part_ready(&mut self, name: &EndpointName, shift: &ShiftId, side: Side) {
        let run = self.endpoints.get(name).and_then(|endpoint| endpoint.run.as_ref());
        let Some(run) = run.filter(|run| run.id == *shift) else { return };
        match side {
            Side::Blue if run.awaited_blue.is_over() => {
                self.feed_shift(name, shift, Input::BlueReady).await;
            }
            Side::Green if run.green.as_ref().is_some_and(|green| green.awaited.is_over()) => {
                self.green_ready(name).await;
            }
            Side::Blue | Side::Green => {}
        }
    }

    async fn green_ready(&mut self, name: &EndpointName) {
        let Some(standing) = self.leave(name) else { return };
        if let Err(error) = self.feed(name, Input::GreenReady(standing), By::Itself).await {
            tracing::warn!(endpoint = %name, %error, "a shift stays where it is");
        }
    }

    fn sample(&mut self) {
        let now = self.links.timer.now();
        let wall = self.links.timer.wall_of(now);
        for endpoint in self.endpoints.values_mut() {
            endpoint.sample(now);
            endpoint.chart(wall);
        }
    }

    fn wake_at(&self) -> Moment {
        let runs = self.endpoints.values().filter_map(|endpoint| self.wake_of(endpoint));
        let never = Moment::from_nanos(u64::MAX);
        runs.chain(self.retry_at).min().unwrap_or(never)
    }

    fn names_where(&self, wanted: impl Fn(&Run) -> bool) -> Vec<EndpointName> {
        let fits = |endpoint: &Endpoint| endpoint.run.as_ref().is_some_and(&wanted);
        self.endpoints.iter().filter(|(_, endpoint)| fits(endpoint)).map(|(name, _)| name.clone()).collect()
    }

    fn perform(&mut self, name: &EndpointName, effects: Vec<Effect>) {
        if let Some(endpoint) = self.endpoints.get_mut(name) {
            endpoint.perform(&self.links, effects);
        }
    }
}

impl Endpoint {
    /// What the running shift's alarms say at this moment.
    fn look(&self) -> Option<Standing> {
        Some(match &self.run.as_ref()?.green {
            Some(green) if green.watched.is_live() => green.watched.judge(None),
            Some(green) => green
                .watched
                .snapped()
                .map_or(Standing::InsufficientData, |snap| Standing::Breached(snap.cause)),
            None => Standing::InsufficientData,
        })
    }
}

/// What an instance's health means for a shift.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum GreenNews {
    /// Nothing.
    None,
    /// Every instance of green has been healthy.
    Ready,
    /// Green has a share and no healthy or unknown instance.
    Gone,
}

impl Run {
    /// What the changed health of an instance means for this shift. While green gets ready its instances may well be unhealthy: large
    /// weights take their time, and the plan says how long.
    fn green_news(&mut self, instance: &Arc<Instance>) -> GreenNews {
        let has_traffic = self.green_has_traffic();
        let Some(green) = &mut self.green else { return GreenNews::None };
        match instance.health() {
            Health::Healthy => {
                if green.awaited.hear(instance) {
                    GreenNews::Ready
                } else {
                    GreenNews::None
                }
            }
            Health::Unhealthy if has_traffic => {
                let fleet = green.fleet.as_ref();
                let mut instances =
                    fleet.into_iter().flat_map(|fleet| first(&fleet.route.fleet, fleet.serves));
                let gone = instances.all(|instance| instance.health() == Health::Unhealthy);
                if gone { GreenNews::Gone } else { GreenNews::None }
            }
            Health::Unhealthy | Health::Unknown => GreenNews::None,
        }
    }
}

fn sample_ticks() -> Interval {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
