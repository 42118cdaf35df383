//! The only code that stores into the table that the data plane reads.
//!
//! The control task and the evaluator's thread share one publisher. Its lock is held for the making of one table and never across
//! anything that waits, so going to blue never stands behind a disk. Generations rise strictly (S8).
//!
//! Green's share can rise in one way only, [`Publisher::give`], and not after a snap: a share that was decided before a breach and
//! arrives after it is refused, whoever brings it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use http::HeaderName;

use super::timer::Timer;
use crate::{
    fleet::{Fleet, Side},
    meter::{Recorder, Recording, WatchPoint},
    name::{EndpointName, ShiftId},
    route::{
        Balance, EndpointRoute, EndpointSlot, FailureClasses, FleetRoute, Generation, Invocations, Leg,
        Limits, MatchRule, Protection, RescuePolicy, Rewrite, RouteTable, Shadow, Signals, Split, Sticky,
        Upgrades,
    },
    time::Moment,
    weight::Share,
};

/// Publishes tables.
#[derive(Debug)]
pub(super) struct Publisher {
    table: Arc<ArcSwap<RouteTable>>,
    timer: Timer,
    state: Mutex<Routes>,
}

#[derive(Debug)]
struct Routes {
    routes: BTreeMap<EndpointName, Arc<EndpointRoute>>,
    guards: BTreeMap<EndpointName, Guard>,
    generation: u64,
    /// One count for all endpoints, so that an endpoint that takes over a slot never continues its predecessor's deck.
    epoch: u64,
}

/// Whether a running shift may still be snapped back.
#[derive(Debug)]
struct Guard {
    shift: ShiftId,
    latch: Latch,
    /// The step it is in.
    step: usize,
    /// What a snap leaves green: nothing, but in a rolling shift that goes back in batches.
    left: Share,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Latch {
    /// Green may be given a share, and a snap takes it away.
    Armed,
    /// Snapped: green gets nothing for the rest of the shift.
    Snapped,
    /// Green is about to become the fleet in service: there is no blue to snap back to.
    Released,
}

/// The shift was snapped back, or is over, so green is given nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Latched;

/// What an endpoint's declaration says of its route.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) slot: EndpointSlot,
    pub(super) name: EndpointName,
    pub(super) rule: MatchRule,
    pub(super) limits: Limits,
    pub(super) failures: FailureClasses,
    pub(super) rescue: RescuePolicy,
    pub(super) sticky: Option<Sticky>,
    pub(super) balance: Balance,
    pub(super) protection: Protection,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) upgrades: Upgrades,
    pub(super) signals: Signals,
    pub(super) variant_header: Option<HeaderName>,
    pub(super) invocations: Option<Invocations>,
    pub(super) recorder: Option<Arc<Recorder>>,
    pub(super) blue: FleetRoute,
    pub(super) shadow: Option<Arc<Shadow>>,
}

/// A change of the endpoints.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// New or changed. What a running shift set stays as it is.
    Put(Box<Declared>),
    /// Gone.
    Remove(EndpointName),
}

impl Publisher {
    pub(super) fn new(table: Arc<ArcSwap<RouteTable>>, timer: Timer) -> Self {
        let generation = table.load().generation().0;
        let state =
            Routes { routes: BTreeMap::new(), guards: BTreeMap::new(), generation, epoch: generation };
        Self { table, timer, state: Mutex::new(state) }
    }

    /// Carries out changes of endpoints, all in one table.
    pub(super) fn declare(&self, changes: impl IntoIterator<Item = Change>) -> Moment {
        let mut state = self.lock();
        for change in changes {
            match change {
                Change::Put(declared) => state.put(*declared),
                Change::Remove(name) => {
                    state.routes.remove(&name);
                }
            }
        }
        self.store(&mut state)
    }

    /// A shift begins: from now on it may be given a share, until it is snapped back.
    pub(super) fn arm(&self, endpoint: &EndpointName, shift: &ShiftId) {
        let guard = Guard { shift: shift.clone(), latch: Latch::Armed, step: 0, left: Share::NONE };
        self.lock().guards.insert(endpoint.clone(), guard);
    }

    /// Gives green a share. Says when it was published.
    pub(super) fn give(
        &self,
        endpoint: &EndpointName,
        shift: &ShiftId,
        share: Share,
        green: (&FleetRoute, &Arc<WatchPoint>),
    ) -> Result<Moment, Latched> {
        let mut state = self.lock();
        state.move_latch(endpoint, shift, Latch::Armed, Latch::Armed)?;
        let split = state.next_split(share);
        let (fleet, watch) = green;
        state.edit(endpoint, |route| {
            route.split = split;
            route.green = Some(fleet.clone());
            route.watch = Some(Arc::clone(watch));
        });
        Ok(self.store(&mut state))
    }

    /// The shift begins a step: what is published from now on belongs to it.
    pub(super) fn begin_step(&self, endpoint: &EndpointName, shift: &ShiftId, step: usize) {
        if let Some(guard) = self.lock().guards.get_mut(endpoint).filter(|guard| guard.shift == *shift) {
            guard.step = step;
        }
    }

    /// From now on a snap leaves green this share, if it has as much.
    pub(super) fn leave(&self, endpoint: &EndpointName, shift: &ShiftId, share: Share) {
        if let Some(guard) = self.lock().guards.get_mut(endpoint).filter(|guard| guard.shift == *shift) {
            guard.left = share;
        }
    }

    /// What green keeps on the way back: never more than it had, but after a restart, when it has nothing yet.
    pub(super) fn hold(
        &self,
        endpoint: &EndpointName,
        shift: &ShiftId,
        share: Share,
        green: (&FleetRoute, &Arc<WatchPoint>),
    ) -> Result<Moment, Latched> {
        let mut state = self.lock();
        let has_restarted = state.move_latch(endpoint, shift, Latch::Armed, Latch::Snapped).is_ok();
        state.move_latch(endpoint, shift, Latch::Snapped, Latch::Snapped)?;
        let before = state.routes.get(endpoint).map(|route| route.split.green).unwrap_or_default();
        let share = if has_restarted { share } else { share.min(before) };
        if share == before {
            return Ok(self.timer.now());
        }
        let split = state.next_split(share);
        let (fleet, watch) = green;
        state.edit(endpoint, |route| {
            route.split = split;
            route.green = Some(fleet.clone());
            route.watch = Some(Arc::clone(watch));
        });
        Ok(self.store(&mut state))
    }

    /// Gives blue everything, at once and for the rest of the shift; in a rolling shift that goes back in batches, everything that its
    /// instances are for. `None` when that was done before, or there is no way back any
    /// more; else the moment after which no request is dealt to green by a worker that reads the table.
    ///
    /// Green stays in the table with no share, so that the views still see its running requests.
    pub(super) fn snap_to_blue(&self, endpoint: &EndpointName, shift: &ShiftId) -> Option<Moment> {
        let mut state = self.lock();
        state.move_latch(endpoint, shift, Latch::Armed, Latch::Snapped).ok()?;
        let left = state.guards.get(endpoint).map(|guard| guard.left).unwrap_or_default();
        let before = state.routes.get(endpoint).map(|route| route.split.green).unwrap_or_default();
        let split = state.next_split(left.min(before));
        state.edit(endpoint, |route| route.split = split);
        Some(self.store(&mut state))
    }

    /// Ends the possibility of a snap, before green becomes the fleet in service. Refused when the shift was snapped back before.
    pub(super) fn release(&self, endpoint: &EndpointName, shift: &ShiftId) -> Result<(), Latched> {
        self.lock().move_latch(endpoint, shift, Latch::Armed, Latch::Released)
    }

    /// Takes a release back: the shift did not get past the point of no return.
    pub(super) fn rearm(&self, endpoint: &EndpointName, shift: &ShiftId) -> Result<(), Latched> {
        self.lock().move_latch(endpoint, shift, Latch::Released, Latch::Armed)
    }

    /// Green becomes the fleet in service.
    pub(super) fn adopt(&self, endpoint: &EndpointName, green: &FleetRoute) -> Moment {
        let mut state = self.lock();
        let split = state.next_split(Share::NONE);
        state.edit(endpoint, |route| {
            route.split = split;
            route.blue = green.clone();
            route.green = None;
            route.watch = None;
        });
        self.store(&mut state)
    }

    /// A fleet has other instances from now on. Its share stays as it is.
    pub(super) fn refleet(&self, endpoint: &EndpointName, side: Side, fleet: &Arc<Fleet>) -> Moment {
        let mut state = self.lock();
        state.edit(endpoint, |route| match (side, &mut route.green) {
            (Side::Blue, _) => route.blue.fleet = Arc::clone(fleet),
            (Side::Green, Some(green)) => green.fleet = Arc::clone(fleet),
            // It comes into the table with its first share.
            (Side::Green, None) => {}
        });
        self.store(&mut state)
    }

    /// Takes green out of the table, after it was snapped back and has drained.
    pub(super) fn drop_green(&self, endpoint: &EndpointName) -> Moment {
        let mut state = self.lock();
        let split = state.next_split(Share::NONE);
        state.edit(endpoint, |route| {
            route.split = split;
            route.green = None;
            route.watch = None;
        });
        self.store(&mut state)
    }

    /// The shift is over.
    pub(super) fn disarm(&self, endpoint: &EndpointName) {
        self.lock().guards.remove(endpoint);
    }

    /// An endpoint's split and the number of the table that serves it.
    pub(super) fn split(&self, endpoint: &EndpointName) -> (Split, Generation) {
        let state = self.lock();
        let split = state.routes.get(endpoint).map(|route| route.split).unwrap_or_default();
        (split, Generation(state.generation))
    }

    fn store(&self, state: &mut Routes) -> Moment {
        state.generation += 1;
        let endpoints = state.routes.values().cloned().collect();
        self.table.store(Arc::new(RouteTable::new(Generation(state.generation), endpoints)));
        self.timer.now()
    }

    /// A thread that panicked inside left the routes whole, since each change of them is one assignment after another of checked
    /// values, and going to blue must stay possible.
    fn lock(&self) -> MutexGuard<'_, Routes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routes {
    fn put(&mut self, declared: Declared) {
        let Declared {
            slot,
            name,
            rule,
            limits,
            failures,
            rescue,
            sticky,
            balance,
            protection,
            rewrite,
            upgrades,
            signals,
            variant_header,
            invocations,
            recorder,
            blue,
            shadow,
        } = declared;
        let shift = self.guards.get(&name).map(|guard| guard.shift.clone());
        let fresh = self.next_split(Share::NONE);
        let route = self.routes.entry(name.clone()).or_insert_with(|| {
            Arc::new(EndpointRoute {
                slot,
                name,
                rule: rule.clone(),
                limits,
                failures: failures.clone(),
                rescue,
                sticky: sticky.clone(),
                balance: balance.clone(),
                protection,
                rewrite: rewrite.clone(),
                upgrades: upgrades.clone(),
                signals,
                variant_header: variant_header.clone(),
                invocations: invocations.clone(),
                split: fresh,
                blue: blue.clone(),
                green: None,
                leg: None,
                watch: None,
                recording: Recording::default(),
                shadow: shadow.clone(),
            })
        });
        let route = Arc::make_mut(route);
        route.rule = rule;
        route.limits = limits;
        route.failures = failures;
        route.rescue = rescue;
        route.sticky = sticky;
        route.balance = balance;
        route.protection = protection;
        route.rewrite = rewrite;
        route.upgrades = upgrades;
        route.signals = signals;
        route.variant_header = variant_header;
        route.invocations = invocations;
        route.blue = blue;
        route.shadow = shadow;
        route.record_to(recorder, shift.as_ref());
    }

    fn edit(&mut self, endpoint: &EndpointName, change: impl FnOnce(&mut EndpointRoute)) {
        if let Some(route) = self.routes.get_mut(endpoint) {
            let route = Arc::make_mut(route);
            change(route);
            let guard = self.guards.get(endpoint);
            route.record_under(guard.map(|guard| &guard.shift));
            let leg = guard.filter(|_| route.green.is_some()).map(|guard| (&guard.shift, guard.step));
            if route.leg.as_deref().map(|leg| (&leg.shift, leg.step)) != leg {
                route.leg = leg.map(|(shift, step)| Arc::new(Leg { shift: shift.clone(), step }));
            }
        }
    }

    fn next_split(&mut self, green: Share) -> Split {
        self.epoch += 1;
        Split { green, epoch: self.epoch }
    }

    fn move_latch(
        &mut self,
        endpoint: &EndpointName,
        shift: &ShiftId,
        from: Latch,
        to: Latch,
    ) -> Result<(), Latched> {
        let guard = self.guards.get_mut(endpoint).filter(|guard| guard.shift == *shift).ok_or(Latched)?;
        if guard.latch != from {
            return Err(Latched);
        }
        guard.latch = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        meter::{Bell, FleetMeters, Record, Verdict},
        name::Version,
    };

    fn fleet(version: &str) -> FleetRoute {
        let version = Version::parse(version).unwrap();
        let fleet = Arc::new(Fleet::of(version, Vec::new()));
        FleetRoute { fleet, meters: Arc::new(FleetMeters::new(1)) }
    }

    struct Bench {
        publisher: Publisher,
        chat: EndpointName,
        shift: ShiftId,
        green: FleetRoute,
        watch: Arc<WatchPoint>,
    }

    impl Bench {
        fn new() -> Self {
            let table = Arc::new(ArcSwap::from_pointee(RouteTable::default()));
            let publisher = Publisher::new(table, Timer::new());
            let (chat, shift) = (EndpointName::parse("chat").unwrap(), ShiftId::parse("chat-1").unwrap());
            let bench = Self {
                publisher,
                chat,
                shift,
                green: fleet("v2"),
                watch: Arc::new(WatchPoint::new(&[Duration::from_millis(1)], Arc::new(Bell::new()))),
            };
            bench.put("v1");
            bench.publisher.arm(&bench.chat, &bench.shift);
            bench
        }

        fn put(&self, version: &str) {
            self.declare(version, None);
        }

        fn declare(&self, version: &str, recorder: Option<Arc<Recorder>>) {
            self.publisher.declare([Change::Put(Box::new(Declared {
                slot: EndpointSlot(0),
                name: self.chat.clone(),
                rule: MatchRule::default(),
                limits: Limits::default(),
                failures: FailureClasses::default(),
                rescue: RescuePolicy::default(),
                sticky: None,
                balance: Balance::default(),
                protection: Protection::default(),
                rewrite: None,
                upgrades: Upgrades::default(),
                signals: Signals::Auto,
                variant_header: None,
                invocations: None,
                recorder,
                blue: fleet(version),
                shadow: None,
            }))]);
        }

        fn give(&self, percent: &str) -> Result<Moment, Latched> {
            let share = Share::parse(percent).unwrap();
            self.publisher.give(&self.chat, &self.shift, share, (&self.green, &self.watch))
        }

        fn route(&self) -> Arc<EndpointRoute> {
            Arc::clone(self.publisher.table.load().named(&self.chat).unwrap())
        }
    }

    #[test]
    fn after_a_snap_no_share_is_given_whoever_brings_it() {
        let bench = Bench::new();
        bench.give("10%").unwrap();
        assert!(bench.publisher.snap_to_blue(&bench.chat, &bench.shift).is_some());
        let snapped = bench.publisher.table.load().generation();
        assert_eq!(bench.give("50%"), Err(Latched));
        assert_eq!(bench.publisher.release(&bench.chat, &bench.shift), Err(Latched));
        assert_eq!(bench.publisher.snap_to_blue(&bench.chat, &bench.shift), None, "once is enough");
        assert_eq!(bench.publisher.table.load().generation(), snapped, "what was refused published nothing");
        bench.put("v1");
        assert_eq!(bench.route().split.green, Share::NONE);
        let other = ShiftId::parse("chat-2").unwrap();
        bench.publisher.arm(&bench.chat, &other);
        assert_eq!(bench.give("50%"), Err(Latched), "the latch of the next shift is not this one's");
    }

    #[test]
    fn a_snapped_green_stays_in_the_table_until_it_is_dropped() {
        let bench = Bench::new();
        bench.give("10%").unwrap();
        bench.publisher.snap_to_blue(&bench.chat, &bench.shift).unwrap();
        assert!(bench.route().green.is_some() && bench.route().watch.is_some());
        bench.publisher.drop_green(&bench.chat);
        assert!(bench.route().green.is_none() && bench.route().watch.is_none());
    }

    #[test]
    fn outcomes_are_recorded_under_the_shift_only_while_it_gives_green_a_share() {
        let bench = Bench::new();
        let recorder = Arc::new(Recorder::new(1, 8));
        bench.declare("v1", Some(Arc::clone(&recorder)));
        let mut routes = vec![bench.route()];
        bench.give("10%").unwrap();
        routes.push(bench.route());
        bench.publisher.snap_to_blue(&bench.chat, &bench.shift).unwrap();
        routes.push(bench.route());
        for route in &routes {
            let outcome = Record {
                dealt_at: Moment::default(),
                side: Side::Blue,
                part: 0,
                verdict: Verdict::Success,
                status: None,
                grpc_status: None,
                first_byte: None,
                first_token: None,
                worst_gap: None,
                gaps: None,
                tokens_out: 0,
                duration: Duration::ZERO,
                rescue: None,
            };
            route.recording.write(0, &outcome);
        }
        let recorded = recorder.read().records;
        let told: Vec<_> = recorded
            .iter()
            .map(|(_, part)| (part.share.to_string(), part.shift.as_ref().map(ShiftId::as_str)))
            .collect();
        let expected = [("0%", None), ("10%", Some("chat-1")), ("0%", None)];
        assert_eq!(told, expected.map(|(share, shift)| (share.to_owned(), shift)));
        bench.put("v1");
        assert!(!bench.route().recording.is_on());
    }

    #[test]
    fn past_the_point_of_no_return_there_is_no_snap_unless_it_was_taken_back() {
        let bench = Bench::new();
        bench.give("100%").unwrap();
        bench.publisher.release(&bench.chat, &bench.shift).unwrap();
        assert_eq!(bench.publisher.snap_to_blue(&bench.chat, &bench.shift), None);
        assert_eq!(bench.route().split.green, Share::ALL);
        bench.publisher.rearm(&bench.chat, &bench.shift).unwrap();
        assert!(bench.publisher.snap_to_blue(&bench.chat, &bench.shift).is_some());
    }

    #[test]
    fn generations_rise_with_each_table_and_a_deck_is_new_with_each_share_and_only_then() {
        let bench = Bench::new();
        let mut tables = Vec::new();
        let mut note = || {
            let route = bench.route();
            tables.push((bench.publisher.table.load().generation().0, route.split.epoch));
        };
        note();
        bench.give("10%").unwrap();
        note();
        bench.put("v1");
        note();
        bench.give("20%").unwrap();
        note();
        bench.publisher.snap_to_blue(&bench.chat, &bench.shift).unwrap();
        note();
        assert!(tables.windows(2).all(|pair| pair[0].0 < pair[1].0), "S8: {tables:?}");
        let epochs: Vec<_> = tables.iter().map(|(_, epoch)| *epoch).collect();
        assert_eq!(epochs[1], epochs[2], "a declaration changes no share");
        assert!(epochs[0] < epochs[1] && epochs[2] < epochs[3] && epochs[3] < epochs[4], "{epochs:?}");
    }
}
