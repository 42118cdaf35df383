//! The world around control in tests.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use tokio::{sync::watch, time::Instant};

use super::{oracle::Oracle, orchestra::Orchestra};
use crate::{
    clock,
    config::{self, Config, EndpointSpec, PlanSpec},
    control::{
        Actor, ControlError, Execution, Handle, Parts, ShiftCommand, ShiftView,
        evaluator::{Evaluator, Heartbeat},
        probe::{Check, Target},
        run::Aborting,
        start::{Senses, StartError, assemble},
        timer::Timer,
    },
    fault::simulated::Died,
    fleet::Side,
    meter::{Bell, FailureKind, FleetMeters, Outcome, Verdict},
    name::{EndpointName, FleetId, ShiftId, VariantName},
    provider::Heir,
    route::{EndpointRoute, RouteTable},
    shift::Command,
    store::{
        Chain, Event, FleetRecord, Freeze, Head, Journal, Loaded, QueuedShift, Record, Resource, ShiftRecord,
        StoreError,
    },
    time::{Moment, WallTime},
    weight::Share,
};

/// A journal in memory that can be made to fail, and remembers each commit.
#[derive(Debug, Default)]
pub(super) struct Memory {
    state: Mutex<Kept>,
    table: Mutex<Option<Arc<ArcSwap<RouteTable>>>>,
    /// What operators' commands have made, which outlives the process as the journal does.
    pub(super) orchestra: Arc<Orchestra>,
}

#[derive(Debug, Default)]
struct Kept {
    endpoints: BTreeMap<EndpointName, crate::store::EndpointRecord>,
    shifts: BTreeMap<ShiftId, ShiftRecord>,
    written_at: BTreeMap<ShiftId, Instant>,
    fleets: BTreeMap<FleetId, FleetRecord>,
    freezes: BTreeMap<Option<EndpointName>, Freeze>,
    resources: BTreeMap<(&'static str, String), Resource>,
    queue: Vec<QueuedShift>,
    events: Vec<Event>,
    commits: Vec<Vec<Record>>,
    failing: bool,
    death: Option<Death>,
    dead: bool,
    /// For each commit of a shift: its state, and green's share in the table at that moment.
    seen: Vec<(String, Share)>,
}

/// When the process is killed, as its journal sees it: nothing is written any more, and nothing comes of what was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Death {
    /// After so many more commits, when the next one is not durable yet.
    Before { commits: u8 },
    /// The same, when it is.
    After { commits: u8 },
}

impl Memory {
    /// A journal that holds the first commits of another, as after a crash.
    pub(super) fn with_commits(commits: &[Vec<Record>]) -> Arc<Self> {
        let memory = Arc::new(Self::default());
        for records in commits {
            memory.commit(records).unwrap();
        }
        memory
    }

    pub(super) fn set_failing(&self, failing: bool) {
        self.state.lock().unwrap().failing = failing;
    }

    pub(super) fn die(&self, death: Death) {
        self.state.lock().unwrap().death = Some(death);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state.lock().unwrap().dead
    }

    /// It dies at once.
    pub(super) fn kill(&self) {
        self.state.lock().unwrap().dead = true;
    }

    /// The next process opens it.
    pub(super) fn revive(&self) {
        let mut state = self.state.lock().unwrap();
        (state.death, state.dead) = (None, false);
    }

    /// How long ago a shift was written, by the paused clock.
    pub(super) fn written_ago(&self, id: &ShiftId) -> Duration {
        self.state.lock().unwrap().written_at[id].elapsed()
    }

    pub(super) fn commits(&self) -> Vec<Vec<Record>> {
        self.state.lock().unwrap().commits.clone()
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.state.lock().unwrap().events.clone()
    }

    pub(super) fn endpoint(&self, name: &EndpointName) -> Option<crate::store::EndpointRecord> {
        self.state.lock().unwrap().endpoints.get(name).cloned()
    }

    pub(super) fn is_frozen(&self) -> bool {
        !self.state.lock().unwrap().freezes.is_empty()
    }

    /// The shift that runs, if one does, as far as its identity.
    pub(super) fn running_id(&self) -> Option<ShiftId> {
        let state = self.state.lock().unwrap();
        let running = state.shifts.values().find(|shift| !shift.snapshot.state.is_terminal());
        running.map(|shift| shift.id.clone())
    }

    /// Looks at a shift that was written, without a copy.
    pub(super) fn look_at<T>(&self, id: &ShiftId, look: impl FnOnce(&ShiftRecord) -> T) -> T {
        look(&self.state.lock().unwrap().shifts[id])
    }

    pub(super) fn running(&self) -> Option<ShiftRecord> {
        self.load().unwrap().running.into_iter().next()
    }

    pub(super) fn seen(&self) -> Vec<(String, Share)> {
        self.state.lock().unwrap().seen.clone()
    }
}

impl Kept {
    /// Whether the commit under way becomes durable. The process may die of it either way, and nothing is written after that.
    fn makes_durable(&mut self) -> bool {
        if self.dead {
            return false;
        }
        match &mut self.death {
            None => true,
            Some(Death::Before { commits: 0 }) => {
                self.dead = true;
                false
            }
            Some(Death::After { commits: 0 }) => {
                self.dead = true;
                true
            }
            Some(Death::Before { commits } | Death::After { commits }) => {
                *commits -= 1;
                true
            }
        }
    }
}

fn queue_of(state: &Kept) -> Vec<QueuedShift> {
    let mut queue = state.queue.clone();
    queue.sort_by_key(|queued| queued.supersedes.is_none());
    queue
}

impl Journal for Memory {
    fn load(&self) -> Result<Loaded, StoreError> {
        let state = self.state.lock().unwrap();
        let running = state.shifts.values().filter(|shift| !shift.snapshot.state.is_terminal());
        Ok(Loaded {
            endpoints: state.endpoints.values().cloned().collect(),
            running: running.cloned().collect(),
            fleets: state.fleets.values().cloned().collect(),
            freezes: state.freezes.values().cloned().collect(),
            queue: queue_of(&state),
            head: state.events.last().map(Event::head).unwrap_or_default(),
        })
    }

    fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap();
        let failed =
            |reason: &str| Err(StoreError::Write { path: "memory".into(), reason: reason.to_owned() });
        if state.failing {
            return failed("the disk is full");
        }
        if !state.makes_durable() {
            return failed("the process is gone");
        }
        for record in records {
            match record.clone() {
                Record::Endpoint(endpoint) => {
                    state.endpoints.insert(endpoint.declared.name.clone(), *endpoint);
                }
                Record::EndpointDeleted(name) => {
                    state.endpoints.remove(&name);
                    state.queue.retain(|queued| queued.endpoint != name);
                    state.freezes.remove(&Some(name));
                }
                Record::Freeze(freeze) => drop(state.freezes.insert(freeze.endpoint.clone(), *freeze)),
                Record::Queued(queued) => state.queue.push(*queued),
                Record::Dequeued(id) => state.queue.retain(|queued| queued.id != id),
                Record::Unfreeze(endpoint) => drop(state.freezes.remove(&endpoint)),
                Record::Shift(shift) => {
                    let table = self.table.lock().unwrap().as_ref().map(|table| table.load_full());
                    let route = table.and_then(|table| table.named(&shift.endpoint).cloned());
                    let share = route.map(|route| route.split.green).unwrap_or_default();
                    state.seen.push((shift.snapshot.state.as_str().to_owned(), share));
                    state.written_at.insert(shift.id.clone(), Instant::now());
                    state.queue.retain(|queued| queued.id != shift.id);
                    state.shifts.insert(shift.id.clone(), *shift);
                }
                Record::Fleet(fleet) => drop(state.fleets.insert(fleet.id.clone(), *fleet)),
                Record::FleetGone(id) => drop(state.fleets.remove(&id)),
                Record::Resource(resource) => {
                    drop(state.resources.insert((resource.kind, resource.name.clone()), *resource));
                }
                Record::ResourceGone(kind, name) => drop(state.resources.remove(&(kind, name))),
                Record::Event(event) => {
                    let last = state.events.last().map_or(0, |event| event.id);
                    assert_eq!(event.id, last + 1, "event ids have no gaps");
                    state.events.push(event);
                }
            }
        }
        state.commits.push(records.to_vec());
        if state.dead { failed("the process is gone") } else { Ok(()) }
    }

    fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let events = self.events().into_iter().filter(|event| event.id > after);
        Ok(events.take(limit).collect())
    }

    fn shifts_of(&self, endpoint: &EndpointName, limit: usize) -> Result<Vec<ShiftRecord>, StoreError> {
        let state = self.state.lock().unwrap();
        let shifts = state.shifts.values().rev().filter(|shift| shift.endpoint == *endpoint);
        Ok(shifts.take(limit).cloned().collect())
    }

    fn shift(&self, id: &ShiftId) -> Result<Option<ShiftRecord>, StoreError> {
        Ok(self.state.lock().unwrap().shifts.get(id).cloned())
    }

    fn resources(&self, kind: &'static str) -> Result<Vec<Resource>, StoreError> {
        let state = self.state.lock().unwrap();
        Ok(state.resources.values().filter(|resource| resource.kind == kind).cloned().collect())
    }

    fn resource(&self, kind: &'static str, name: &str) -> Result<Option<Resource>, StoreError> {
        Ok(self.state.lock().unwrap().resources.get(&(kind, name.to_owned())).cloned())
    }

    fn backup(&self) -> Result<Vec<u8>, StoreError> {
        Ok(Vec::new())
    }

    fn chain(&self) -> Result<Chain, StoreError> {
        let head = self.state.lock().unwrap().events.last().map(Event::head).unwrap_or_default();
        Ok(Chain { anchor: Head::default(), head })
    }
}

/// Checks that pass for every address but the named ones.
#[derive(Debug, Default)]
pub(super) struct Scripted {
    sick: Mutex<BTreeSet<String>>,
}

impl Scripted {
    pub(super) fn set_sick(&self, addresses: &[&str]) {
        *self.sick.lock().unwrap() = addresses.iter().map(|address| (*address).to_owned()).collect();
    }
}

impl Check for Scripted {
    fn check<'a>(&'a self, target: &'a mut Target) -> BoxFuture<'a, Result<(), String>> {
        let sick = self.sick.lock().unwrap().contains(target.instance.address().as_str());
        Box::pin(async move { if sick { Err("scripted".to_owned()) } else { Ok(()) } })
    }
}

/// Control with everything around it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) journal: Arc<Memory>,
    pub(super) checks: Arc<Scripted>,
    pub(super) orchestra: Arc<Orchestra>,
    pub(super) oracle: Arc<Oracle>,
    pub(super) table: Arc<ArcSwap<RouteTable>>,
    pub(super) handle: Handle,
    pub(super) timer: Timer,
    pub(super) heartbeat: Arc<Heartbeat>,
    stop: watch::Sender<bool>,
    task: Aborting,
    evaluator: Option<Aborting>,
    _watchdog: Aborting,
}

/// When time begins: at the first second of the year 2030.
/// What the wall clock of [`clocks`] shows first.
pub(super) const BEGINNING: WallTime = WallTime::from_millis(1_893_456_000_000);
const BEGINNING_MOMENT: Moment = Moment::from_nanos(1_000_000_000);

/// The green instances of [`plan`].
pub(super) const GREEN: [&str; 2] = ["127.0.0.1:9003", "127.0.0.1:9004"];

/// A canary of 10% with a guard on errors.
pub(super) const CANARY: &str = "strategy = { type = \"canary\", share = \"10%\", bake = \"10s\", final_bake = \"20s\" }\n\
    [[guard]]\nname = \"errors\"\nmetric = \"error_rate\"\nbelow = \"1%\"\n";

/// A plan that shifts to v2.
pub(super) fn plan(rest: &str) -> PlanSpec {
    let [one, two] = GREEN;
    let text = format!("green = {{ version = \"v2\", instances = [\"{one}\", \"{two}\"] }}\n{rest}");
    PlanSpec::from_toml(&text, "plan.toml").unwrap()
}

/// A configuration with one endpoint, `chat`, served by v1.
pub(super) fn config() -> Config {
    config_of(&[("chat", "v1", "127.0.0.1:9001", "/")])
}

/// A configuration of these endpoints: name, version, address, path prefix.
pub(super) fn config_of(endpoints: &[(&str, &str, &str, &str)]) -> Config {
    let mut text = "[data]\nlisten = [\"127.0.0.1:8080\"]\nworkers = 1\n".to_owned();
    for (name, version, address, prefix) in endpoints {
        text.push_str(&format!(
            "[[endpoint]]\nname = \"{name}\"\nmatch = {{ path_prefix = \"{prefix}\" }}\n\
             blue = {{ version = \"{version}\", instances = [\"{address}\"] }}\n"
        ));
    }
    config::parse(&text, "test.toml").unwrap()
}

/// The endpoint of [`config_of`] alone.
pub(super) fn endpoint_of(name: &str, version: &str, address: &str, prefix: &str) -> EndpointSpec {
    config_of(&[(name, version, address, prefix)]).endpoints.remove(0)
}

pub(super) fn chat() -> EndpointName {
    EndpointName::parse("chat").unwrap()
}

pub(super) fn share(text: &str) -> Share {
    Share::parse(text).unwrap()
}

/// What the wall clock shows.
pub(super) fn wall() -> WallTime {
    clock::wall()
}

/// Gives this thread clocks that follow the runtime's paused one. Says by how many milliseconds the wall clock is ahead, to be changed.
pub(super) fn clocks() -> Rc<Cell<i64>> {
    let (began, ahead) = (Instant::now(), Rc::new(Cell::new(0)));
    let jumped = Rc::clone(&ahead);
    clock::simulated::begin(move || {
        let passed = began.elapsed();
        let millis = i64::try_from(passed.as_millis()).expect("a test lasts hours at the most");
        let wall = WallTime::from_millis(BEGINNING.as_millis() + millis + jumped.get());
        (BEGINNING_MOMENT.after(passed), wall)
    });
    ahead
}

impl World {
    pub(super) fn start() -> Self {
        Self::start_with(&config(), Arc::default())
    }

    pub(super) fn start_with(config: &Config, journal: Arc<Memory>) -> Self {
        Self::try_start(config, journal).unwrap()
    }

    pub(super) fn try_start(config: &Config, journal: Arc<Memory>) -> Result<Self, StartError> {
        Self::start_paced(config, journal, Duration::from_millis(10))
    }

    /// With an evaluator that looks this often.
    pub(super) fn start_paced(
        config: &Config,
        journal: Arc<Memory>,
        pace: Duration,
    ) -> Result<Self, StartError> {
        let table = Arc::new(ArcSwap::from_pointee(RouteTable::default()));
        *journal.table.lock().unwrap() = Some(Arc::clone(&table));
        let checks = Arc::new(Scripted::default());
        let parts = Parts {
            keychain: Arc::default(),
            config,
            journal: Arc::<Memory>::clone(&journal),
            table: Arc::clone(&table),
            bell: Arc::new(Bell::new()),
            workers: 1,
            heir: Heir::Nobody,
        };
        let oracle = Arc::new(Oracle::default());
        let orchestra = Arc::clone(&journal.orchestra);
        let senses = Senses {
            check: Arc::<Scripted>::clone(&checks),
            inquirer: Arc::<Oracle>::clone(&oracle),
            commands: Arc::<Orchestra>::clone(&orchestra),
        };
        let pieces = assemble(parts, senses)?;
        let timer = pieces.task.links.timer;
        let heartbeat = Arc::clone(&pieces.evaluator.heartbeat);
        Ok(Self {
            orchestra: Arc::clone(&journal.orchestra),
            journal,
            checks,
            oracle,
            table,
            handle: pieces.handle,
            timer,
            heartbeat,
            stop: pieces.stop,
            task: Aborting(tokio::spawn(pieces.task.run(pieces.inbox))),
            evaluator: Some(Aborting(tokio::spawn(looks(pieces.evaluator, pace)))),
            _watchdog: Aborting(tokio::spawn(pieces.watchdog.run())),
        })
    }

    /// Ends the process as kill -9 would, except that the commit under way is finished; it may have died at a fault point already.
    pub(super) async fn crash(self) -> Arc<Memory> {
        self.stop.send_replace(true);
        let Self { journal, mut task, .. } = self;
        if let Err(error) = (&mut task.0).await {
            assert!(error.into_panic().is::<Died>(), "the control task panicked");
        }
        *journal.table.lock().unwrap() = None;
        journal
    }

    pub(super) fn stall_evaluator(&mut self) {
        self.evaluator = None;
    }

    pub(super) fn route(&self) -> Arc<EndpointRoute> {
        Arc::clone(self.table.load().named(&chat()).unwrap())
    }

    pub(super) fn green_share(&self) -> Share {
        self.route().split.green
    }

    /// Serves requests of one verdict by the published table, as the data plane would.
    pub(super) fn serve(&self, side: Side, count: usize, verdict: Verdict) {
        let route = self.route();
        self.serve_on((side, &route.fleet(side).unwrap().meters), count, verdict);
    }

    /// The same by one of its variants.
    pub(super) fn serve_by(&self, (side, variant): (Side, &str), count: usize, verdict: Verdict) {
        let route = self.route();
        let name = VariantName::parse(variant).unwrap();
        self.serve_on((side, route.fleet(side).unwrap().meters.variant(&name).unwrap()), count, verdict);
    }

    fn serve_on(&self, (side, meters): (Side, &FleetMeters), count: usize, verdict: Verdict) {
        let route = self.route();
        let (watch, shard) = (route.watch.as_deref(), meters.shard(0));
        for _ in 0..count {
            let now = self.timer.now();
            let stamp = watch.map(|watch| watch.stamp()).unwrap_or_default();
            let outcome = Outcome {
                status: Some(200),
                first_byte: Some(Duration::from_millis(2)),
                ..Outcome::of(verdict, Duration::from_millis(5))
            };
            shard.dealt(stamp, now);
            shard.settled(stamp, watch, &outcome);
            if let Some(watch) = watch
                && side == Side::Green
                && watch.is_against(&outcome)
            {
                watch.ring(now);
            }
        }
    }

    pub(super) fn serve_well(&self, side: Side, count: usize) {
        self.serve(side, count, Verdict::Success);
    }

    pub(super) fn fail(&self, side: Side, count: usize) {
        self.serve(side, count, Verdict::Failure(FailureKind::ServerError));
    }

    pub(super) async fn begin(&self, rest: &str) -> ShiftView {
        self.handle.start_shift(&chat(), plan(rest), "ann", Execution::Real).await.unwrap()
    }

    pub(super) async fn command(&self, id: &ShiftId, command: Command) -> Result<ShiftView, ControlError> {
        let command =
            ShiftCommand { command, actor: Actor { reason: "because".to_owned(), ..Actor::from("ann") } };
        self.handle.command_shift(id, command, Execution::Real).await
    }

    pub(super) async fn shift(&self, id: &ShiftId) -> ShiftView {
        self.handle.shift(id).await.unwrap()
    }

    /// Lets time pass until the shift is as wanted, with good traffic on both sides meanwhile if there is a share.
    pub(super) async fn until(&self, id: &ShiftId, mut wanted: impl FnMut(&ShiftView) -> bool) -> ShiftView {
        for _ in 0..10_000 {
            let view = self.shift(id).await;
            if wanted(&view) {
                return view;
            }
            self.good_traffic();
            self.pass(100).await;
        }
        panic!("the shift did not get there: {:#?}", self.shift(id).await.state)
    }

    /// The same until green has this share.
    pub(super) async fn until_share(&self, id: &ShiftId, text: &str) -> ShiftView {
        for _ in 0..100_000 {
            if self.green_share() == share(text) {
                return self.shift(id).await;
            }
            self.good_traffic();
            self.pass(10).await;
        }
        panic!("green did not get {text}: {:#?}", self.shift(id).await.state)
    }

    pub(super) async fn until_over(&self, id: &ShiftId) -> ShiftView {
        self.until(id, |view| view.state.is_terminal()).await
    }

    pub(super) async fn pass(&self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    pub(super) fn good_traffic(&self) {
        let green = u64::from(self.green_share().basis_points()) / 1000;
        self.serve_well(Side::Blue, usize::try_from(10 - green).unwrap());
        if self.route().green.is_some() {
            self.serve_well(Side::Green, usize::try_from(green).unwrap());
        }
    }
}

async fn looks(evaluator: Evaluator, pace: Duration) {
    loop {
        evaluator.round();
        tokio::time::sleep(pace).await;
    }
}
