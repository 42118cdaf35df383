//! Fleets that a provider makes: what it has made of them comes into service, and what is wanted of them changes.

use std::{num::NonZeroU32, sync::Arc};

use super::{
    Actor, ControlError, EndpointView, Execution,
    declare::Changes,
    endpoint::{Endpoint, Links, LiveFleet, kept},
    keeper::{FleetNews, FleetNote, Made},
    ledger::Draft,
    publisher::Change,
    run::{Green, Run},
    task::Task,
};
use crate::{
    config::{PlanSpec, Problem},
    fleet::{Address, Fleet, Health, Instance, Member, Side},
    name::{EndpointName, FleetId, ShiftId},
    provider::News,
    route::FleetRoute,
    shift::Input,
    store::{EndpointRecord, FleetRecord, Record},
    time::Moment,
};

/// After so many failures in a row a shift whose green cannot be made rolls back, and a rollback whose blue cannot be made has failed. One
/// may be chance, and somebody waits.
const ORDER_FAILURES: u32 = 3;

/// The fleet of a new declaration, while the one in service goes on.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) fleet: LiveFleet,
    /// Instances that have not been healthy yet.
    awaited: Vec<Arc<Instance>>,
}

/// What an instance set that a provider told of is to its endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Blue,
    /// What serves beside blue's own, since a rollback failed.
    Rest,
    Incoming,
    /// Green, before its first instances were told.
    Making,
    Green,
}

impl Task {
    /// A keeper tells of its fleet.
    pub(super) async fn fleet_told(&mut self, note: FleetNote) {
        let FleetNote { endpoint, fleet, what } = note;
        match what {
            FleetNews::Members(members) => self.members_told(&endpoint, &fleet, members).await,
            FleetNews::Failed { times, reason } => {
                tracing::warn!(%endpoint, %fleet, times, reason, "a provider failed");
                if times.is_power_of_two() {
                    let text = format!("fleet {fleet}, failure {times} in a row: {reason}");
                    self.tell(&endpoint, "fleet.failed", text).await;
                }
                let ordered =
                    self.endpoints.get(&endpoint).and_then(|endpoint| endpoint.ordered_from(&fleet));
                if let Some((shift, side)) = ordered.filter(|_| times >= ORDER_FAILURES) {
                    let input = match side {
                        Side::Green => Input::GreenFailed { reason },
                        Side::Blue => Input::BlueFailed { reason },
                    };
                    self.feed_shift(&endpoint, &shift, input).await;
                }
            }
            FleetNews::Gone => {
                let draft =
                    self.fleet_draft(&endpoint, "fleet.retired", format!("nothing of {fleet} is left"));
                // One that could not be written is let go once more at the next start, which finds nothing.
                drop(self.commit(vec![Record::FleetGone(fleet)], &[draft]).await);
            }
        }
    }

    /// Something happened to an instance.
    pub(super) async fn heard(&mut self, news: News) {
        let News { endpoint, fleet, kind, text } = news;
        tracing::info!(%endpoint, %fleet, kind = kind.event(), text, "a provider tells of an instance");
        self.tell(&endpoint, kind.event(), format!("{fleet}: {text}")).await;
    }

    /// The journal knows a fleet's instances before requests do.
    async fn members_told(&mut self, name: &EndpointName, fleet: &FleetId, mut members: Vec<Member>) {
        let Some(endpoint) = self.endpoints.get_mut(name) else { return };
        let Some(role) = endpoint.role_of(fleet) else { return };
        let Some(made) = endpoint.made_mut(role) else { return };
        // Those that are known stay the first, in their order: the last are those that go when there are to be fewer.
        let place = |member: &Member| made.record.members.iter().position(|known| known.id == member.id);
        members.sort_by_key(|member| place(member).unwrap_or(usize::MAX));
        let provider = made.record.spec.provider.clone();
        let is_counted_elsewhere = provider.is_some_and(|provider| provider.is_counted_elsewhere());
        if is_counted_elsewhere {
            made.record.count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        }
        // Where none of those that are known stays, the others serve before their first check: there is nobody else.
        let health = if is_counted_elsewhere && !members.iter().any(|member| place(member).is_some()) {
            Health::Unknown
        } else {
            Health::Unhealthy
        };
        let is_news = made.record.members != members;
        // What was told before the count changed is about another count.
        if usize::try_from(made.record.count).ok() != Some(members.len()) || !is_news && role != Role::Making
        {
            return;
        }
        let fresh: Vec<_> = members.iter().filter(|member| !made.record.members.contains(member)).collect();
        let fresh: Vec<_> = fresh.into_iter().map(|member| member.address.clone()).collect();
        made.record.members = members;
        let record = made.record.clone();
        let addresses: Vec<_> = record.members.iter().map(|member| member.address.as_str()).collect();
        let text = format!("{fleet}, {}: {}", record.spec.version, addresses.join(", "));
        let draft = self.fleet_draft(name, "fleet.provisioned", text);
        // The records of a commit that failed are written when it is tried again, or with the shift's next state.
        drop(self.commit(vec![Record::Fleet(Box::new(record.clone()))], &[draft]).await);
        let made = self.links.provider.fixed().fleet_of_members(&record.spec, &record.members);
        for instance in made.instances.iter().filter(|instance| fresh.contains(instance.address())) {
            // It is there, but whether it is ready only a check can say.
            instance.set_health(health);
        }
        if let Some(endpoint) = self.endpoints.get_mut(name) {
            endpoint.take_members(role, made, &self.links);
        }
    }

    /// The declared fleet is ready: it comes into service, and the one that was goes.
    pub(super) fn replace_blue(&mut self, name: &EndpointName) {
        let Some(endpoint) = self.endpoints.get_mut(name) else { return };
        let Some(Incoming { fleet, awaited: _ }) = endpoint.incoming.take() else { return };
        let mut old = std::mem::replace(&mut endpoint.blue, fleet);
        self.links.publisher.declare([Change::Put(Box::new(endpoint.declared()))]);
        let gone = old.route.fleet;
        let gone = Fleet::of(gone.version.clone(), gone.instances.clone());
        self.links.retire_when_drained(gone, [old.made.take(), old.rest.take()]);
    }

    /// The same of every declared fleet that is ready though no check has just said so: it may have been waiting for an instance that it is
    /// not to have any more.
    pub(super) fn bring_in_ready(&mut self) {
        let is_ready = |endpoint: &Endpoint| endpoint.incoming.as_ref().is_some_and(Incoming::is_ready);
        let ready = self.endpoints.iter().filter(|(_, endpoint)| is_ready(endpoint));
        for name in ready.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.replace_blue(&name);
        }
    }

    /// The fleets that changes bring with them: new ones, and changed counts.
    pub(super) fn fleet_changes(&self, changes: &Changes) -> Vec<FleetRecord> {
        let fleet = |record: &EndpointRecord| {
            let id = record.fleet.clone()?;
            let known = self.endpoints.get(&record.declared.name);
            let count = record.declared.blue.provider.as_ref()?.count();
            match known.and_then(|known| known.fleet_records().find(|fleet| fleet.id == id)) {
                Some(fleet) => {
                    let declared = &known?.record.declared.blue;
                    let before = declared.provider.as_ref().and_then(|provider| provider.count());
                    let count = count.filter(|_| count != before)?;
                    Some(fleet.scaled(count.get()))
                }
                None => Some(FleetRecord {
                    id,
                    endpoint: record.declared.name.clone(),
                    spec: record.serving.clone(),
                    count: count.map_or(1, NonZeroU32::get),
                    members: Vec::new(),
                }),
            }
        };
        changes.put.iter().filter_map(fleet).collect()
    }

    /// The fleet in service is to have another count. While a shift runs its fleets stay as large as they were when it began: their
    /// comparison rests on it.
    pub(super) async fn scale(
        &mut self,
        name: &EndpointName,
        count: NonZeroU32,
        actor: &Actor,
        execution: Execution,
    ) -> Result<EndpointView, ControlError> {
        let endpoint = self.endpoint(name)?;
        if let Some(run) = &endpoint.run {
            return Err(ControlError::ShiftRunning { endpoint: name.clone(), running: run.id.clone() });
        }
        let incoming = endpoint.incoming.as_ref().and_then(|incoming| incoming.fleet.made.as_ref());
        let refused = |why: &str| ControlError::NotScalable {
            endpoint: name.clone(),
            version: endpoint.blue.route.fleet.version.clone(),
            why: why.to_owned(),
        };
        let Some(made) = incoming.or(endpoint.blue.made.as_ref()) else {
            return Err(refused(
                "they are the addresses that the declaration names, so their number is changed there",
            ));
        };
        if made.record.spec.provider.as_ref().is_some_and(|provider| provider.is_counted_elsewhere()) {
            return Err(refused(
                "they are the addresses of a name, so their number is changed by whoever answers for it",
            ));
        }
        if endpoint.blue.rest.is_some() {
            return Err(refused(
                "a rollback that failed has left them of two fleets: start a shift to a whole one first",
            ));
        }
        let scaled = made.record.scaled(count.get());
        if execution == Execution::Real && scaled != made.record {
            let cause = format!("{}: {} instances instead of {}", scaled.id, count, made.record.count);
            let draft = self.draft("fleet.scaled", Some(name), actor, cause);
            self.commit(vec![Record::Fleet(Box::new(scaled.clone()))], &[draft]).await?;
            if let Some(endpoint) = self.endpoints.get_mut(name) {
                endpoint.rescale(scaled, &self.links);
            }
        }
        Ok(self.endpoint(name)?.view(&self.links))
    }

    /// Lets instances of fleets in service go that have failed their checks for long; their providers make others in their place.
    pub(super) async fn replace_sick(&mut self) {
        let now = self.links.timer.now();
        let sick = |(name, endpoint): (&EndpointName, &mut Endpoint)| {
            Some((name.clone(), endpoint.blue.long_sick(now)?))
        };
        let sick: Vec<_> = self.endpoints.iter_mut().filter_map(sick).collect();
        for (name, member) in sick {
            let made = self.endpoints.get_mut(&name).and_then(|endpoint| endpoint.blue.made.as_mut());
            let Some(made) = made else { continue };
            made.record.members.retain(|other| *other != member);
            let record = made.record.clone();
            let text = format!(
                "{}: instance {} at {} failed its checks for long: another takes its place",
                record.id, member.id, member.address
            );
            let draft = self.fleet_draft(&name, "instance.replaced", text);
            // A record that cannot be written now is written when it is tried again.
            drop(self.commit(vec![Record::Fleet(Box::new(record))], &[draft]).await);
            let made = self.endpoints.get_mut(&name).and_then(|endpoint| endpoint.blue.made.as_mut());
            if let Some(made) = made {
                made.want(vec![member]);
            }
        }
    }

    async fn tell(&mut self, endpoint: &EndpointName, kind: &'static str, text: String) {
        let draft = self.fleet_draft(endpoint, kind, text);
        drop(self.commit(Vec::new(), &[draft]).await);
    }

    fn fleet_draft(&self, endpoint: &EndpointName, kind: &'static str, cause: String) -> Draft {
        let at = self.links.timer.wall_of(self.links.timer.now());
        Draft { endpoint: Some(endpoint.clone()), ..Draft::new(at, kind, "provider", cause) }
    }
}

impl Incoming {
    fn is_ready(&self) -> bool {
        self.awaited.is_empty() && self.fleet.wanted() == self.fleet.route.fleet.instances.len()
    }
}

impl Endpoint {
    /// The fleets that a provider makes for it.
    pub(super) fn fleet_records(&self) -> impl Iterator<Item = &FleetRecord> {
        let incoming = self.incoming.as_ref().and_then(|incoming| incoming.fleet.made.as_ref());
        let run = self.run.as_ref();
        let green = run.and_then(|run| run.green.as_ref()?.fleet.as_ref()?.made.as_ref());
        let making = run.and_then(|run| run.making.as_ref());
        let made = self.blue.made.iter().chain(&self.blue.rest).chain(incoming).chain(green).chain(making);
        made.map(|made| &made.record)
    }

    /// How many instances the fleet in service is to have.
    pub(super) fn count(&self) -> u32 {
        let named = || u32::try_from(self.blue.route.fleet.instances.len()).unwrap_or(u32::MAX);
        self.blue.desired().filter(|_| self.blue.made.is_some()).unwrap_or_else(named)
    }

    /// The fleet that a shift is to bring in, where a provider makes it: as many instances as blue has now, unless the plan says otherwise.
    /// A rolling shift begins with its first batch.
    pub(super) fn green_of(&self, shift: &ShiftId, plan: &PlanSpec) -> Option<FleetRecord> {
        let green = &plan.green;
        let count = green.provider.as_ref()?.count();
        let whole = count.map_or_else(|| self.count().max(1), NonZeroU32::get);
        Some(FleetRecord {
            id: FleetId::of_shift(shift),
            endpoint: self.record.declared.name.clone(),
            spec: green.clone(),
            count: plan.shift.rolling().map_or(whole, |rolling| rolling.green(0)),
            members: Vec::new(),
        })
    }

    /// The running shift that has ordered instances from a fleet's provider which are not there yet, and what the fleet is to it.
    fn ordered_from(&self, fleet: &FleetId) -> Option<(ShiftId, Side)> {
        let run = self.run.as_ref()?;
        let side = match self.role_of(fleet)? {
            Role::Making => Side::Green,
            Role::Green if run.green.as_ref()?.awaited.is_short() => Side::Green,
            Role::Blue if run.awaited_blue.is_short() => Side::Blue,
            Role::Blue | Role::Rest | Role::Incoming | Role::Green => return None,
        };
        Some((run.id.clone(), side))
    }

    /// What a provider made of a fleet that a rollback has left beside blue serves again, after a restart.
    pub(super) fn join_rest(&mut self, rest: FleetRecord, links: &Links) {
        let fresh = links.provider.fixed().fleet_of_members(&rest.spec, &rest.members);
        self.blue.rest = Made::wanted(rest, links);
        self.take_members(Role::Rest, fresh, links);
    }

    /// The fleet in service, of which one part has other instances now.
    fn joined(&self, role: Role, fresh: Arc<Fleet>, links: &Links) -> Arc<Fleet> {
        let fixed = links.provider.fixed();
        let of = |made: &Made| fixed.fleet_of_members(&made.record.spec, &made.record.members);
        let ours = || self.blue.made.as_ref().map_or_else(|| fixed.fleet(&self.record.serving), of);
        let (ours, rest) = match (role, &self.blue.rest) {
            (Role::Rest, _) => (ours(), fresh),
            (Role::Blue | Role::Incoming | Role::Making | Role::Green, None) => return fresh,
            (Role::Blue | Role::Incoming | Role::Making | Role::Green, Some(rest)) => (fresh, of(rest)),
        };
        let instances = ours.instances.iter().chain(&rest.instances).cloned().collect();
        Arc::new(Fleet::of(ours.version.clone(), instances))
    }

    /// Why no shift can begin while another declared fleet is on its way into service.
    pub(super) fn being_replaced(&self) -> Option<Problem> {
        self.incoming.as_ref().map(|incoming| Problem {
            key: "green".to_owned(),
            line: None,
            message: format!(
                "{} was declared and takes the place of {} as soon as it is ready: start the shift after that",
                incoming.fleet.route.fleet.version, self.blue.route.fleet.version
            ),
        })
    }

    /// A declared fleet that a provider makes takes the place of the one in service when it is ready, and not before.
    pub(super) fn bring_in(&mut self, made: FleetRecord, links: &Links) {
        self.forget_incoming();
        let fleet = LiveFleet::of(&self.record, (&made.spec.clone(), Some(made)), links);
        self.incoming = Some(Incoming { awaited: fleet.route.fleet.instances.clone(), fleet });
    }

    /// A fleet is to have another count. More are made; those that are too many get no more requests, and go when theirs have finished.
    pub(super) fn rescale(&mut self, scaled: FleetRecord, links: &Links) {
        let Some(role) = self.role_of(&scaled.id) else { return };
        let Some(made) = self.made_mut(role) else { return };
        let before = std::mem::replace(&mut made.record, scaled);
        let after = made.record.clone();
        let leaving: Vec<_> =
            before.members.into_iter().filter(|member| !after.members.contains(member)).collect();
        if leaving.is_empty() {
            return made.want(leaving);
        }
        let instances = self.fleets_mut().flat_map(|fleet| fleet.route.fleet.instances.clone());
        let is_leaving =
            |instance: &Arc<Instance>| leaving.iter().any(|member| member.address == *instance.address());
        let instances = instances.filter(is_leaving).collect();
        let gone = Fleet::of(after.spec.version.clone(), instances);
        let fresh = links.provider.fixed().fleet_of_members(&after.spec, &after.members);
        self.take_members(role, fresh, links);
        if let Some(made) = self.made_mut(role) {
            made.want_when_drained(leaving, gone);
        }
    }

    /// Another declaration has taken the place of one that never came into service.
    pub(super) fn forget_incoming(&mut self) {
        let made = self.incoming.take().and_then(|incoming| incoming.fleet.made);
        if let Some(made) = made {
            made.let_go();
        }
    }

    /// The endpoint is gone, and its fleets go.
    pub(super) fn dismantle(mut self, links: &Links) {
        self.forget_incoming();
        let fleet = &self.blue.route.fleet;
        let gone = Fleet::of(fleet.version.clone(), fleet.instances.clone());
        links.retire_when_drained(gone, [self.blue.made, self.blue.rest]);
        if let Some(shadow) = self.shadow {
            shadow.retire(links);
        }
    }

    /// An instance has become healthy, if it has; says whether the declared fleet is ready by that.
    pub(super) fn hears(&mut self, instance: &Arc<Instance>) -> bool {
        let Some(Incoming { fleet: _, awaited }) = &mut self.incoming else { return false };
        if instance.health() != Health::Healthy || awaited.is_empty() {
            return false;
        }
        awaited.retain(|awaited| !Arc::ptr_eq(awaited, instance));
        awaited.is_empty()
    }

    fn role_of(&self, fleet: &FleetId) -> Option<Role> {
        let is_it = |made: Option<&Made>| made.is_some_and(|made| made.record.id == *fleet);
        let incoming = self.incoming.as_ref().and_then(|incoming| incoming.fleet.made.as_ref());
        let green = self.run.as_ref().and_then(|run| run.green.as_ref()?.fleet.as_ref()?.made.as_ref());
        if is_it(self.blue.made.as_ref()) {
            Some(Role::Blue)
        } else if is_it(self.blue.rest.as_ref()) {
            Some(Role::Rest)
        } else if is_it(incoming) {
            Some(Role::Incoming)
        } else if is_it(green) {
            Some(Role::Green)
        } else {
            self.run.as_ref().filter(|run| run.is_making(fleet)).map(|_| Role::Making)
        }
    }

    fn made_mut(&mut self, role: Role) -> Option<&mut Made> {
        let run = self.run.as_mut();
        match role {
            Role::Blue => self.blue.made.as_mut(),
            Role::Rest => self.blue.rest.as_mut(),
            Role::Incoming => self.incoming.as_mut()?.fleet.made.as_mut(),
            Role::Making => run?.making.as_mut(),
            Role::Green => run?.green.as_mut()?.fleet.as_mut()?.made.as_mut(),
        }
    }

    /// A fleet has these instances now; those that it had stay what they are.
    fn take_members(&mut self, role: Role, fresh: Arc<Fleet>, links: &Links) {
        let name = self.record.declared.name.clone();
        match role {
            Role::Blue | Role::Rest => {
                let (fleet, _) = kept(&self.blue.route.fleet, self.joined(role, fresh, links));
                self.blue.refleet(&self.record, Arc::clone(&fleet), links);
                links.publisher.refleet(&name, Side::Blue, &self.blue.served().fleet);
                if let Some(run) = self.run.as_mut().filter(|run| run.old_blue.is_none()) {
                    if run.awaited_blue.remake(&fleet) {
                        run.tell_ready(links, Side::Blue);
                    }
                    run.blue.fleet = fleet;
                }
            }
            Role::Incoming => {
                if let Some(incoming) = &mut self.incoming {
                    let (fleet, _) = kept(&incoming.fleet.route.fleet, fresh);
                    incoming.awaited = unready(&fleet);
                    incoming.fleet.refleet(&self.record, fleet, links);
                }
            }
            Role::Making => {
                let Some(run) = &mut self.run else { return };
                let (id, made) = (run.id.clone(), run.making.take());
                let route = FleetRoute { meters: links.meters(&fresh), fleet: fresh };
                let live = LiveFleet { made, ..LiveFleet::new(&self.record, route, links) };
                self.provisioned(links, &id, live);
            }
            Role::Green => {
                let Some(run) = &mut self.run else { return };
                let Some(Green { watched: _, fleet: Some(live), awaited }) = &mut run.green else { return };
                let (fleet, _) = kept(&live.route.fleet, fresh);
                let is_ready = awaited.remake(&fleet);
                live.refleet(&self.record, fleet, links);
                links.publisher.refleet(&name, Side::Green, &live.served().fleet);
                if is_ready {
                    run.tell_ready(links, Side::Green);
                }
            }
        }
    }
}

impl LiveFleet {
    /// An instance that has failed its checks for as long as its provider bears it, if there is one. One at a time: the next one's time
    /// begins when this one's place is taken, so that a fleet whose checks are wrong is not replaced over and over.
    fn long_sick(&mut self, now: Moment) -> Option<Member> {
        let instances = &self.route.fleet.instances;
        let made = self.made.as_mut()?;
        let after = made.record.spec.provider.as_ref()?.replace_after()?;
        let is_sick = |instance: &&Arc<Instance>| instance.health() == Health::Unhealthy;
        let mut sick = instances.iter().filter(is_sick).map(|instance| instance.address());
        let is_still = |(address, _): &(Address, Moment)| sick.clone().any(|other| other == address);
        let known = made.sick.take().filter(is_still);
        let (address, since) = known.or_else(|| Some((sick.next()?.clone(), now)))?;
        if now.since(since) < after {
            made.sick = Some((address, since));
            return None;
        }
        made.record.members.iter().find(|member| member.address == address).cloned()
    }
}

impl Run {
    /// Whether a provider is making its green, which has no instance yet.
    fn is_making(&self, fleet: &FleetId) -> bool {
        self.making.as_ref().is_some_and(|made| made.record.id == *fleet)
    }
}

/// The instances that no check has passed yet.
fn unready(fleet: &Fleet) -> Vec<Arc<Instance>> {
    fleet.instances.iter().filter(|instance| instance.health() != Health::Healthy).cloned().collect()
}
