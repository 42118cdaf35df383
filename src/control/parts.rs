//! Parts of fleets: what a rolling shift has of blue and of green.
//!
//! Fleets whose instances are named are there and checked the whole time; a part of one is its first so many instances, and the table
//! names those alone. Whoever runs the servers may start and end them as the events of the shift tell of its batches.
//!
//! Of a fleet that a provider makes there is no more than the part: a batch is ordered when its step comes, and let go when it has
//! drained. The next batch of one fleet is made when the provider of the other has really ended what it let go, so that no more
//! instances exist than the plan has room for.

use std::sync::Arc;

use super::{
    awaited::Awaited,
    endpoint::{Endpoint, Links, LiveFleet, drained},
    run::{Aborting, Green, Run},
    task::Note,
    watched::Live,
};
use crate::{
    fleet::{Fleet, FleetSpec, Instance, Side},
    name::FleetId,
    route::FleetRoute,
    shift::{Count, InService, Ordered, State},
    store::FleetRecord,
};

impl Endpoint {
    /// Waits until so many instances of a fleet are healthy, which a note tells at once if they are. Those that are not there yet are
    /// ordered of the fleet's provider.
    pub(super) fn order(&mut self, links: &Links, side: Side, count: Count) {
        let Some(run) = &mut self.run else { return };
        let green = run.green.as_mut().and_then(|green| Some((green.fleet.as_mut()?, &mut green.awaited)));
        let (live, awaited, other) = match (side, green) {
            (Side::Blue, green) => {
                let other = green.map(|(green, _)| green);
                (&mut self.blue, &mut run.awaited_blue, other)
            }
            (Side::Green, Some((green, awaited))) => (green, awaited, Some(&mut self.blue)),
            (Side::Green, None) => return,
        };
        // A rollback at once has room for both fleets, and waits for nobody.
        live.grow_to(count, other.as_deref().filter(|_| !run.engine.goes_back_at_once()));
        *awaited = Awaited::of(&live.route.fleet, count, live.wanted());
        if awaited.is_over() {
            run.tell_ready(links, side);
        }
    }

    /// Lets a fleet's instances go but the first: nothing is in flight on the others, or their time is over (S7). Where no provider makes
    /// them whoever runs them may end them now.
    pub(super) fn keep_first(&mut self, links: &Links, side: Side, keep: u32) {
        let Some(run) = &mut self.run else { return };
        run.drain = None;
        let live = match side {
            Side::Blue => &mut self.blue,
            Side::Green => match run.green.as_mut().and_then(|green| green.fleet.as_mut()) {
                Some(live) => live,
                None => return,
            },
        };
        let Some(made) = &mut live.made else { return };
        let leaving = made.resize(keep);
        made.want(leaving);
        let whole = &live.route.fleet;
        let instances = first(whole, Count::First(keep)).to_vec();
        let fleet = Arc::new(Fleet::of(whole.version.clone(), instances));
        live.refleet(&self.record, Arc::clone(&fleet), links);
        if side == Side::Blue {
            run.blue.fleet = fleet;
        }
    }

    /// Publishes a table with so many instances of a fleet. Instances of blue that were about to go stay.
    pub(super) fn serve(&mut self, links: &Links, side: Side, count: Count) {
        if let (Side::Blue, Some(run)) = (side, &mut self.run) {
            run.drain = None;
        }
        let name = self.record.declared.name.clone();
        let Some(live) = self.part_mut(side) else { return };
        live.serves = count;
        links.publisher.refleet(&name, side, &live.served().fleet);
    }

    /// Publishes a table with the first instances of a fleet alone, and watches the others.
    pub(super) fn drain_rest(&mut self, links: &Links, side: Side, keep: u32) {
        self.serve(links, side, Count::First(keep));
        let Some(live) = self.part_mut(side) else { return };
        let whole = &live.route.fleet;
        let instances = whole.instances.iter().skip(size(keep)).cloned().collect();
        let rest = Fleet::of(whole.version.clone(), instances);
        let Some(run) = &mut self.run else { return };
        if let (Side::Green, Some(green)) = (side, &mut run.green) {
            green.leave();
        }
        let note = Note::Drained { endpoint: run.endpoint.clone(), shift: run.id.clone(), side };
        let notes = links.notes.clone();
        run.drain = Some(Aborting(tokio::spawn(async move {
            drained(&rest).await;
            drop(notes.send(note).await);
        })));
    }

    /// What the table names of both fleets goes on as the fleet in service.
    pub(super) fn settle(&mut self, links: &Links) {
        let Some(run) = &mut self.run else { return };
        links.roster.remove(&run.id);
        let green = run.green.as_mut().and_then(|green| green.fleet.take());
        let (blue, keeps_green) = (run.engine.ordered().and_then(|ordered| ordered.blue), run.keeps_green());
        if let Some(blue) = blue.filter(|_| self.blue.made.is_some()) {
            self.keep_first(links, Side::Blue, blue);
            self.blue.serves = Count::All;
        }
        let mut instances = self.blue.served().fleet.instances.clone();
        match green {
            Some(green) if keeps_green => {
                instances.extend(green.served().fleet.instances.iter().cloned());
                self.blue.rest = green.made;
            }
            Some(LiveFleet { made: Some(made), .. }) => made.let_go(),
            Some(LiveFleet { made: None, .. }) | None => {}
        }
        let fleet = Arc::new(Fleet::of(self.record.serving.version.clone(), instances));
        self.blue.serves = Count::All;
        self.blue.refleet(&self.record, fleet, links);
        links.publisher.adopt(&self.record.declared.name, &self.blue.route);
    }

    /// The fleets of a running rolling shift as its state wants them, which is what the journal is to say of them.
    pub(super) fn ordered_fleets(&self) -> Vec<FleetRecord> {
        let Some(run) = &self.run else { return Vec::new() };
        let Ordered { blue, green } = run.engine.ordered().unwrap_or(Ordered { blue: None, green: None });
        let ours = self.blue.made.as_ref().zip(blue).map(|(made, blue)| made.record.scaled(blue));
        let is_leaving = run.engine.ordered().is_some() && green.is_none();
        let theirs = run.green_record().map(|record| match green {
            Some(green) => record.scaled(green),
            // What was ordered beyond these is not made any more.
            None if is_leaving => FleetRecord { count: record.count.min(record.known()), ..record },
            None => record,
        });
        ours.into_iter().chain(theirs).collect()
    }

    fn part_mut(&mut self, side: Side) -> Option<&mut LiveFleet> {
        match side {
            Side::Blue => Some(&mut self.blue),
            Side::Green => self.run.as_mut()?.green.as_mut()?.fleet.as_mut(),
        }
    }
}

impl LiveFleet {
    /// What the table names of it.
    pub(super) fn served(&self) -> FleetRoute {
        let whole = &self.route.fleet;
        let fleet = match self.serves {
            Count::First(count) if size(count) < whole.instances.len() => {
                Arc::new(Fleet::of(whole.version.clone(), first(whole, self.serves).to_vec()))
            }
            Count::First(_) | Count::All => Arc::clone(whole),
        };
        FleetRoute { fleet, meters: Arc::clone(&self.route.meters) }
    }
}

impl Green {
    /// It is on its way out: it gets no share that could rise, and no more instances.
    pub(super) fn leave(&mut self) {
        self.watched.set_live(Live::No);
        if let Some(made) = self.fleet.as_mut().and_then(|fleet| fleet.made.as_mut()) {
            made.give_up();
        }
    }
}

impl LiveFleet {
    /// How many instances are wanted of it.
    pub(super) fn wanted(&self) -> usize {
        self.made.as_ref().map_or(self.route.fleet.instances.len(), |made| size(made.record.count))
    }

    /// Wants at least so many, once another fleet has let go what it was to let go.
    fn grow_to(&mut self, count: Count, other: Option<&Self>) {
        let (Some(made), Count::First(count)) = (&mut self.made, count) else { return };
        drop(made.resize(count.max(made.record.count)));
        match other.and_then(|other| other.made.as_ref()) {
            Some(other) => made.want_after(other.parting()),
            None => made.want(Vec::new()),
        }
    }
}

impl Run {
    /// What was ordered of a fleet is ready.
    pub(super) fn tell_ready(&self, links: &Links, side: Side) {
        let note = Note::Ready { endpoint: self.endpoint.clone(), shift: self.id.clone(), side };
        let notes = links.notes.clone();
        // Control that is gone needs no answer.
        tokio::spawn(async move { drop(notes.send(note).await) });
    }

    /// Whether green has a share, or keeps one on the way back.
    pub(super) fn green_has_traffic(&self) -> bool {
        let is_on_the_way_back =
            matches!(self.engine.state(), State::ReleasingBatch { .. } | State::Restoring { .. });
        is_on_the_way_back && self.keeps_green()
            || self.green.as_ref().is_some_and(|green| green.watched.is_live())
    }

    /// What serves when a rollback fails, as one specification: what blue has left, and what green has kept.
    pub(super) fn settled(&self, blue: &FleetSpec) -> FleetSpec {
        let InService { blue: ours, green: theirs } =
            self.engine.in_service().unwrap_or(InService { blue: u32::MAX, green: 0 });
        if blue.provider.is_some() {
            return blue.clone();
        }
        let mut instances: Vec<_> = blue.instances.iter().take(size(ours)).cloned().collect();
        for instance in self.plan.green.instances.iter().take(size(theirs)) {
            if instances.iter().all(|other| other.address != instance.address) {
                instances.push(instance.clone());
            }
        }
        FleetSpec { instances, ..blue.clone() }
    }

    /// Which provisioned fleet serves beside blue then.
    pub(super) fn settled_rest(&self) -> Option<FleetId> {
        let is_kept = self.keeps_green() && self.plan.green.provider.is_some();
        is_kept.then(|| FleetId::of_shift(&self.id))
    }

    fn keeps_green(&self) -> bool {
        self.engine.in_service().is_some_and(|serving| serving.green > 0)
    }
}

/// The first so many instances of a fleet.
pub(super) fn first(fleet: &Fleet, count: Count) -> &[Arc<Instance>] {
    let all = fleet.instances.as_slice();
    match count {
        Count::All => all,
        Count::First(count) => all.get(..size(count)).unwrap_or(all),
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
