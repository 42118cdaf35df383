//! An endpoint under control: its record, its fleet in service, its running shift.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{
    FleetView, InstanceView,
    fleets::Incoming,
    growth::Growth,
    keeper::Made,
    past::Past,
    poller::Poller,
    prober::{Prober, Probes},
    publisher::{Declared, Publisher},
    queue::Ended,
    raised::SecondLook,
    run::Run,
    series::Series,
    shadow::LiveShadow,
    task::Note,
    timer::Timer,
    traffic::{Ring, traffic_since},
    variants,
    watched::Roster,
};
use crate::{
    fleet::{Fleet, FleetSpec, Health, Instance, Side},
    meter::{Bell, FleetMeters, Reading, Recorder},
    provider::Providers,
    route::{EndpointSlot, FleetRoute},
    shift::Count,
    store::{EndpointRecord, FleetRecord, Freeze, QueuedShift},
    time::Moment,
};

/// How often a draining fleet is looked at: fine enough for the reported moment, and a sum over its instances costs nothing.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// How long instances that a new declaration does not name may finish their requests; as long as a shift's drain by default.
const DECLARED_DRAIN: Duration = Duration::from_secs(30);

/// An endpoint under control.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) record: EndpointRecord,
    pub(super) slot: EndpointSlot,
    pub(super) blue: LiveFleet,
    /// What gets copies of its requests.
    pub(super) shadow: Option<LiveShadow>,
    /// A declared fleet that takes blue's place as soon as it is ready.
    pub(super) incoming: Option<Incoming>,
    pub(super) run: Option<Run>,
    /// Shifts that wait for their turn, in their order.
    pub(super) queue: Vec<QueuedShift>,
    /// What is asked on behalf of the one whose turn has come.
    pub(super) second_look: Option<SecondLook>,
    /// The shift that ended last, as far as it is known.
    pub(super) ended: Option<Ended>,
    /// What keeps its shifts from going on.
    pub(super) freeze: Option<Freeze>,
    /// Its last outcomes, over all its fleets; `None` where they are not recorded.
    pub(super) recorder: Option<Arc<Recorder>>,
    /// Its last minutes.
    pub(super) series: Series,
}

/// A fleet in use: routed to, checked, sampled.
#[derive(Debug)]
pub(super) struct LiveFleet {
    pub(super) route: FleetRoute,
    pub(super) ring: Ring,
    pub(super) past: Past,
    pub(super) probes: Probes,
    pub(super) growth: Growth,
    /// Whoever makes its instances, where a provider does.
    pub(super) made: Option<Made>,
    /// Whoever makes those of its instances that a rollback that failed has left of another fleet.
    pub(super) rest: Option<Made>,
    /// How many of its instances the table names; all but in a rolling shift.
    pub(super) serves: Count,
}

/// What the control task works through.
#[derive(Clone, Debug)]
pub(super) struct Links {
    pub(super) publisher: Arc<Publisher>,
    pub(super) roster: Arc<Roster>,
    pub(super) bell: Arc<Bell>,
    pub(super) prober: Prober,
    pub(super) poller: Poller,
    pub(super) provider: Providers,
    pub(super) timer: Timer,
    pub(super) notes: mpsc::Sender<Note>,
}

impl Endpoint {
    /// An endpoint with no shift, its fleet under checks. What a provider has made of it before is in service at once.
    pub(super) fn new(
        record: EndpointRecord,
        slot: EndpointSlot,
        made: Option<FleetRecord>,
        links: &Links,
    ) -> Self {
        let blue = LiveFleet::of(&record, (&record.serving, made), links);
        let recorder = recorder(&record, links);
        Self {
            shadow: LiveShadow::follow(None, &record, links),
            record,
            slot,
            blue,
            incoming: None,
            run: None,
            queue: Vec::new(),
            second_look: None,
            ended: None,
            freeze: None,
            recorder,
            series: Series::default(),
        }
    }

    /// Takes over a changed record. What serves goes on serving as far as it is the same: an unchanged fleet keeps its instances and
    /// meters, an instance kept from one fleet to the next keeps its requests in flight, a kept version keeps its meters.
    pub(super) fn redeclare(&mut self, record: EndpointRecord, made: Option<FleetRecord>, links: &Links) {
        let before = std::mem::replace(&mut self.record, record);
        if before.declared.recording != self.record.declared.recording {
            self.recorder = recorder(&self.record, links);
        }
        if before.declared.shadow != self.record.declared.shadow
            || before.declared.health != self.record.declared.health
        {
            self.shadow = LiveShadow::follow(self.shadow.take(), &self.record, links);
        }
        if let Some(made) = made {
            if before.fleet.as_ref() == Some(&made.id) {
                self.rescale(made, links);
            } else {
                self.bring_in(made, links);
            }
        } else if before.serving != self.record.serving {
            self.forget_incoming();
            let (fleet, gone) = remade(&self.blue.route.fleet, &self.record.serving, links);
            let names = |spec: &FleetSpec| spec.variant_names().cloned().collect::<Vec<_>>();
            let (was, is) = (&before.serving, &self.record.serving);
            let meters = if was.version == is.version && names(was) == names(is) {
                Arc::clone(&self.blue.route.meters)
            } else {
                links.meters(&fleet)
            };
            let mut old = std::mem::replace(
                &mut self.blue,
                LiveFleet::new(&self.record, FleetRoute { fleet, meters }, links),
            );
            let made = [old.made.take(), old.rest.take()];
            self.blue.grow_from(old, self.record.declared.protection.slow_start, links.timer.now());
            links.retire_when_drained(gone, made);
        } else if before.declared.health != self.record.declared.health {
            let (name, health) = (&self.record.declared.name, &self.record.declared.health);
            self.blue.probes = links.prober.watch(name, &self.blue.route.fleet, health);
            if let Some(green) = self.run.as_mut().and_then(|run| run.green.as_mut()?.fleet.as_mut()) {
                green.probes = links.prober.watch(name, &green.route.fleet, health);
            }
        }
    }

    /// What its route says apart from a shift.
    pub(super) fn declared(&self) -> Declared {
        Declared {
            slot: self.slot,
            name: self.record.declared.name.clone(),
            rule: self.record.declared.rule.clone(),
            limits: self.record.declared.limits,
            failures: self.record.declared.failures.clone(),
            rescue: self.record.declared.rescue,
            sticky: self.record.declared.sticky.clone(),
            balance: self.record.declared.balance.clone(),
            protection: self.record.declared.protection,
            rewrite: self.record.declared.rewrite.clone(),
            upgrades: self.record.declared.upgrades.clone(),
            signals: self.record.declared.signals,
            variant_header: self.record.declared.variant_header.clone(),
            invocations: self.record.declared.invocations.clone(),
            recorder: self.recorder.clone(),
            blue: self.blue.served(),
            shadow: self.shadow.as_ref().and_then(|shadow| shadow.route(&self.record, self.slot)),
        }
    }

    /// Takes a sample of every fleet's meters, and gives new instances the part of this moment.
    pub(super) fn sample(&mut self, now: Moment) {
        let slow_start = self.record.declared.protection.slow_start;
        for fleet in self.fleets_mut() {
            fleet.sample(now);
            fleet.growth.tick(slow_start, now);
        }
    }

    /// An instance's health has changed. Of a green without a share it says nothing: its instances have had no requests yet.
    pub(super) fn grow(&mut self, instance: &Arc<Instance>, health: Health, now: Moment) {
        let slow_start = self.record.declared.protection.slow_start;
        let is_idle = |run: &&Run| run.green.as_ref().is_some_and(|green| !green.watched.is_live());
        let idle_green = self.run.as_ref().filter(is_idle).and_then(Run::green_fleet).cloned();
        let is_its = |fleet: &Fleet| fleet.instances.iter().any(|other| Arc::ptr_eq(other, instance));
        if idle_green.is_some_and(|fleet| is_its(&fleet)) {
            return;
        }
        for fleet in self.fleets_mut().filter(|fleet| is_its(&fleet.route.fleet)) {
            match health {
                Health::Healthy => fleet.growth.rise(instance, slow_start, now),
                Health::Unhealthy | Health::Unknown => fleet.growth.fall(instance, slow_start),
            }
        }
    }

    pub(super) fn fleets_mut(&mut self) -> impl Iterator<Item = &mut LiveFleet> {
        let others = self.run.as_mut().map(Run::fleets_mut).into_iter().flatten();
        let incoming = self.incoming.as_mut().map(|incoming| &mut incoming.fleet);
        let shadow = self.shadow.as_mut().map(|shadow| &mut shadow.fleet);
        std::iter::once(&mut self.blue).chain(incoming).chain(others).chain(shadow)
    }
}

impl LiveFleet {
    /// A fleet of this endpoint, under checks from now on.
    pub(super) fn new(record: &EndpointRecord, route: FleetRoute, links: &Links) -> Self {
        let probes = links.prober.watch(&record.declared.name, &route.fleet, &record.declared.health);
        let (ring, past, growth) = (Ring::default(), Past::default(), Growth::default());
        let (made, rest, serves) = (None, None, Count::All);
        let mut fleet = Self { route, ring, past, probes, growth, made, rest, serves };
        fleet.sample(links.timer.now());
        fleet
    }

    /// A fleet from its beginning: of the instances that are named, or those that a provider is known to have made.
    pub(super) fn of(
        record: &EndpointRecord,
        (spec, made): (&FleetSpec, Option<FleetRecord>),
        links: &Links,
    ) -> Self {
        let fixed = links.provider.fixed();
        let fleet = match &made {
            Some(made) => fixed.fleet_of_members(&made.spec, &made.members),
            None => fixed.fleet(spec),
        };
        let meters = links.meters(&fleet);
        let live = Self::new(record, FleetRoute { fleet, meters }, links);
        Self { made: made.and_then(|made| Made::wanted(made, links)), ..live }
    }

    fn sample(&mut self, now: Moment) {
        let meters = &self.route.meters;
        self.ring.sample(meters, now);
        self.past.sample(meters, &meters.read(), now);
    }

    /// Goes on with other instances; those of a specification that stay are the same, with what is in flight on them.
    pub(super) fn refleet(&mut self, record: &EndpointRecord, fleet: Arc<Fleet>, links: &Links) {
        let (slow_start, now) = (record.declared.protection.slow_start, links.timer.now());
        let route = FleetRoute { fleet, meters: Arc::clone(&self.route.meters) };
        self.probes = links.prober.watch(&record.declared.name, &route.fleet, &record.declared.health);
        let old = std::mem::replace(&mut self.route, route);
        self.take_growth(&old.fleet, slow_start, now);
    }

    /// Takes the growth over from the fleet that this one takes the place of; instances that join those that stay are new.
    fn grow_from(&mut self, old: Self, slow_start: Duration, now: Moment) {
        self.growth = old.growth;
        self.take_growth(&old.route.fleet, slow_start, now);
    }

    fn take_growth(&mut self, old: &Fleet, slow_start: Duration, now: Moment) {
        let instances = &self.route.fleet.instances;
        let is_old =
            |instance: &&Arc<Instance>| old.instances.iter().any(|other| Arc::ptr_eq(other, instance));
        let growth = std::mem::take(&mut self.growth);
        if instances.iter().any(|instance| is_old(&instance)) {
            self.growth = growth.of(instances);
            for new in instances.iter().filter(|instance| !is_old(instance)) {
                self.growth.join(new, slow_start, now);
            }
        }
    }

    /// How many instances providers are to make for it, if any do.
    pub(super) fn desired(&self) -> Option<u32> {
        let counts = self.made.iter().chain(&self.rest).map(|made| made.record.count);
        counts.reduce(u32::saturating_add)
    }

    pub(super) fn view(&self, side: Side, now: Moment) -> FleetView {
        let instance = |instance: &Arc<Instance>| InstanceView {
            address: instance.address().clone(),
            weight: instance.weight(),
            health: instance.health(),
            is_ejected: instance.is_ejected(),
            in_flight: instance.in_flight(),
        };
        let reading = self.route.meters.read();
        FleetView {
            side,
            version: self.route.fleet.version.clone(),
            desired: self.desired(),
            instances: self.route.fleet.instances.iter().map(instance).collect(),
            variants: variants::views(&self.route),
            waiting: reading.waiting,
            traffic: traffic_since(&reading, &Reading::default()),
            recent: self.ring.window(&self.route.meters, now),
        }
    }
}

impl Links {
    /// Fresh meters for a fleet.
    pub(super) fn meters(&self, fleet: &Fleet) -> Arc<FleetMeters> {
        let names = fleet.variants.iter().map(|variant| &variant.name);
        Arc::new(FleetMeters::with_variants(self.provider.workers, names))
    }

    /// Lets instances go that the endpoint's new declaration does not name, once their requests have finished (S7), and with them the
    /// fleets that providers made, if they were of such.
    pub(super) fn retire_when_drained(&self, gone: Fleet, made: [Option<Made>; 2]) {
        tokio::spawn(async move {
            drained_or_late(&gone).await;
            made.into_iter().flatten().for_each(Made::let_go);
        });
    }
}

/// Waits until nothing is in flight on instances that get no new requests, or their time is over.
pub(super) async fn drained_or_late(gone: &Fleet) {
    if tokio::time::timeout(DECLARED_DRAIN, drained(gone)).await.is_err() {
        tracing::warn!(version = %gone.version, in_flight = gone.in_flight(), "the drain deadline passed");
    }
}

/// Waits until nothing is in flight on a fleet that gets no new requests. Needs two looks that find nothing: a worker that took the
/// table before the last one counts its request an instant later.
pub(super) async fn drained(fleet: &Fleet) {
    let mut idle_looks = 0;
    while idle_looks < 2 {
        tokio::time::sleep(DRAIN_LOOK).await;
        idle_looks = if fleet.in_flight() == 0 { idle_looks + 1 } else { 0 };
    }
}

/// A recording as long as the endpoint wants it. It begins empty: what was recorded at another length is gone.
fn recorder(record: &EndpointRecord, links: &Links) -> Option<Arc<Recorder>> {
    let outcomes = record.declared.recording;
    (outcomes > 0).then(|| Arc::new(Recorder::new(links.provider.workers, outcomes)))
}

/// A fleet of another specification that keeps the instances with the same addresses, protocol and TLS, and the instances that it does not keep.
fn remade(old: &Fleet, spec: &FleetSpec, links: &Links) -> (Arc<Fleet>, Fleet) {
    kept(old, links.provider.fixed().fleet(spec))
}

/// A fresh fleet with the instances of the old one in the place of those that are the same, and the old one's others.
pub(super) fn kept(old: &Fleet, fresh: Arc<Fleet>) -> (Arc<Fleet>, Fleet) {
    let is_same = |old: &Instance, new: &Instance| {
        old.address() == new.address() && old.protocol() == new.protocol() && old.tls() == new.tls()
    };
    let in_old = |instance: &Arc<Instance>| old.instances.iter().find(|old| is_same(old, instance));
    let keep = |instance: &Arc<Instance>| {
        let Some(old) = in_old(instance) else { return Arc::clone(instance) };
        old.set_weight(instance.weight());
        old.set_max_concurrency(instance.max_concurrency());
        Arc::clone(old)
    };
    let instances: Vec<_> = fresh.instances.iter().map(keep).collect();
    let gone = old.instances.iter().filter(|old| !instances.iter().any(|new| Arc::ptr_eq(new, old)));
    let gone = Fleet::of(old.version.clone(), gone.cloned().collect());
    let (version, variants) = (fresh.version.clone(), fresh.variants.clone());
    (Arc::new(Fleet { version, instances, variants }), gone)
}
