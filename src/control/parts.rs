//! Parts of fleets: what a rolling shift has in service of blue and of green.
//!
//! Both fleets are there and checked the whole time; a part of one is its first so many instances, and the table names those alone. Nothing is
//! started or ended here: whoever runs the servers may do so as the events of the shift tell of its batches.

use std::sync::Arc;

use super::{
    endpoint::{Endpoint, Links, LiveFleet, drained},
    run::{Aborting, Run},
    task::Note,
    watched::Live,
};
use crate::{
    fleet::{Fleet, FleetSpec, Health, Instance, Side},
    route::FleetRoute,
    shift::{Count, InService, State},
};

impl Endpoint {
    /// Waits until so many instances of a fleet are healthy, which a note tells at once if they are.
    pub(super) fn order(&mut self, links: &Links, side: Side, count: Count) {
        let Some(run) = &mut self.run else { return };
        let awaited = match (side, &mut run.green) {
            (Side::Blue, _) => {
                run.awaited_blue = unready(&self.blue.route.fleet, count);
                &run.awaited_blue
            }
            (Side::Green, Some(green)) => {
                let Some(live) = &green.fleet else { return };
                green.awaited = unready(&live.route.fleet, count);
                &green.awaited
            }
            (Side::Green, None) => return,
        };
        if awaited.is_empty() {
            let note = Note::Ready { endpoint: run.endpoint.clone(), shift: run.id.clone(), side };
            let notes = links.notes.clone();
            // Control that is gone needs no answer.
            tokio::spawn(async move { drop(notes.send(note).await) });
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
        if let (Side::Green, Some(green)) = (side, &run.green) {
            green.watched.set_live(Live::No);
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
        let green = green.filter(|_| run.engine.in_service().is_some_and(|serving| serving.green > 0));
        let mut instances = self.blue.served().fleet.instances.clone();
        instances.extend(green.into_iter().flat_map(|green| green.served().fleet.instances.clone()));
        let fleet = Arc::new(Fleet::of(self.record.serving.version.clone(), instances));
        self.blue.serves = Count::All;
        self.blue.refleet(&self.record, fleet, links);
        links.publisher.adopt(&self.record.declared.name, &self.blue.route);
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

impl Run {
    /// Whether an instance that has become healthy was the last that blue waited for.
    pub(super) fn completes_blue(&mut self, instance: &Arc<Instance>) -> bool {
        if instance.health() != Health::Healthy || self.awaited_blue.is_empty() {
            return false;
        }
        self.awaited_blue.retain(|awaited| !Arc::ptr_eq(awaited, instance));
        self.awaited_blue.is_empty()
    }

    /// Whether green has a share, or keeps one on the way back.
    pub(super) fn green_has_traffic(&self) -> bool {
        let keeps = matches!(self.engine.state(), State::ReleasingBatch { .. } | State::Restoring { .. })
            && self.engine.in_service().is_some_and(|serving| serving.green > 0);
        keeps || self.green.as_ref().is_some_and(|green| green.watched.is_live())
    }

    /// What serves when a rollback fails, as one specification: what blue has left, and what green has kept.
    pub(super) fn settled(&self, blue: &FleetSpec) -> FleetSpec {
        let InService { blue: ours, green: theirs } =
            self.engine.in_service().unwrap_or(InService { blue: u32::MAX, green: 0 });
        let mut instances: Vec<_> = blue.instances.iter().take(size(ours)).cloned().collect();
        for instance in self.plan.green.instances.iter().take(size(theirs)) {
            if instances.iter().all(|other| other.address != instance.address) {
                instances.push(instance.clone());
            }
        }
        FleetSpec { instances, ..blue.clone() }
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

fn unready(fleet: &Fleet, count: Count) -> Vec<Arc<Instance>> {
    let is_unready = |instance: &&Arc<Instance>| instance.health() != Health::Healthy;
    first(fleet, count).iter().filter(is_unready).cloned().collect()
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
