//! Where a story is played: control in a world of its own, and the laws looking on.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    laws::{Laws, SEEN_WITHIN, Sight},
    setting::{Happened, MAKER, config_of, dies_at_points},
    story::{Act, Checks, Disk, Fleets, Frost, Kill, Story, Turn},
};
use crate::{
    clock,
    config::PlanSpec,
    control::{
        Execution, Submitted, aside, jitter,
        tests::{
            orchestra::Fault,
            world::{Death, GREEN, Memory, World, chat, clocks},
        },
    },
    fault::simulated::Died,
    fleet::{Instance, Side},
    meter::{FailureKind, Verdict},
    name::{ShiftId, Version},
    shift::{Command, Hours, Onward, State},
    store::Journal,
    time::WallTime,
    weight::Share,
};

/// How often the laws are looked at while time passes.
const LOOK: Duration = Duration::from_millis(LOOK_MILLIS);
const LOOK_MILLIS: u64 = 100;

/// How often the evaluator looks: seldom, since a look without news finds nothing, and well within the watchdog's limit.
const EVALUATOR_LOOK: Duration = Duration::from_millis(50);

/// So many failed requests of as many raise any alarm on errors.
const CERTAINLY_BAD: usize = 50;

/// No shift of these plans lasts longer once nothing happens any more.
const AT_MOST: Duration = Duration::from_secs(400);

/// So long everything may take that was ordered before a story begins.
const SETTLED: Duration = Duration::from_secs(3);

const MILLIS_AN_HOUR: i64 = 3_600_000;

/// What came of a story.
#[derive(Debug)]
pub(super) struct Told {
    /// How the shift ended, in the words of its cause.
    pub(super) end: &'static str,
    /// The law that was broken.
    pub(super) broken: Option<String>,
    pub(super) transcript: Vec<String>,
    /// How often each kind of thing has really happened.
    pub(super) happened: BTreeMap<String, usize>,
    /// What was written meanwhile.
    pub(super) journal: Arc<Memory>,
}

type Lines = Rc<RefCell<Vec<String>>>;

/// Plays a story to its end.
pub(super) fn tell(story: &Story) -> Told {
    let (lines, journal) = (Lines::default(), Arc::<Memory>::default());
    let happened = Happened::default();
    let fleets = story.fleets;
    let checks = story.checks;
    lines
        .borrow_mut()
        .push(format!("{}{}\nfleets: {fleets:?}, green's checks: {checks:?}", story.plan, story.hours));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let played = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut stage =
                Stage::begin(story, Rc::clone(&lines), Rc::clone(&happened), Arc::clone(&journal)).await?;
            for act in &story.acts {
                stage.play(*act).await?;
            }
            stage.end().await
        })
    }));
    let played = played.unwrap_or_else(|_| Err("a panic, printed above".to_owned()));
    let (end, broken) = match played {
        Ok(end) => (end, None),
        Err(broken) => ("broken", Some(broken)),
    };
    lines.borrow_mut().extend(broken.clone());
    Told { end, broken, transcript: lines.take(), happened: happened.take(), journal }
}

struct Stage {
    world: Option<World>,
    laws: Laws,
    id: ShiftId,
    began: Instant,
    lines: Lines,
    happened: Happened,
    plan: String,
    hours: String,
    fleets: Fleets,
    last_state: &'static str,
    /// How many other shifts somebody wanted.
    submitted: u16,
    /// At how many points from now the process dies.
    points: Rc<Cell<Option<u8>>>,
    /// Requests in flight: the version that serves each, and where.
    open: Vec<(Version, Arc<Instance>)>,
    checks: Checks,
    is_stalled: bool,
    /// By how many milliseconds the wall clock has jumped.
    wall_ahead: Rc<Cell<i64>>,
    /// How often the process has started again.
    lives: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Traffic {
    Good,
    None,
}

impl Stage {
    async fn begin(
        story: &Story,
        lines: Lines,
        happened: Happened,
        journal: Arc<Memory>,
    ) -> Result<Self, String> {
        // Nothing is left that would make no two runs alike: the system's clocks, other threads, chance.
        let wall_ahead = clocks();
        aside::simulated::begin();
        jitter::seed(story.seed);
        let points = dies_at_points(&journal, &happened);
        let world = World::start_paced(&config_of(story.fleets), journal, EVALUATOR_LOOK).unwrap();
        if story.fleets == Fleets::Made {
            tokio::time::sleep(SETTLED).await;
        }
        let mut stage = Self {
            world: Some(world),
            laws: Laws::new(Instant::now(), 0),
            id: ShiftId::parse("none").expect("a name"),
            began: Instant::now(),
            lines,
            happened,
            plan: story.plan.clone(),
            hours: story.hours.clone(),
            fleets: story.fleets,
            last_state: "",
            submitted: 0,
            points,
            open: Vec::new(),
            checks: story.checks,
            is_stalled: false,
            wall_ahead,
            lives: 0,
        };
        let spec = stage.spec("v2", "");
        let world = stage.world();
        let begun = match world.handle.submit_shift(&chat(), spec, "ann").await {
            Ok(Submitted::Begun(view)) => view,
            Ok(Submitted::Queued(view)) => return Err(format!("the shift waits for {}", view.waits_for)),
            Err(error) => return Err(error.to_string()),
        };
        stage.id = begun.id;
        // Only now it is known of how many instances the fleets are.
        let steps = stage.world().journal.look_at(&stage.id, |record| record.plan.shift.steps().len());
        stage.laws = Laws::new(Instant::now(), steps);
        stage.apply();
        stage.look().await?;
        Ok(stage)
    }

    /// The story's plan to a version.
    fn spec(&self, version: &str, turn: &str) -> PlanSpec {
        let [one, two] = GREEN;
        let instances = match (self.fleets, version) {
            (Fleets::Made, _) => format!("provider = {{ {MAKER} }}"),
            (Fleets::Named, "v2") => format!("instances = [\"{one}\", \"{two}\"]"),
            (Fleets::Named, _) => format!("instances = [\"127.0.0.1:{}\"]", 9_004 + self.submitted),
        };
        let (hours, plan) = (&self.hours, &self.plan);
        let text = format!("green = {{ version = \"{version}\", {instances} }}\n{turn}\n{hours}\n{plan}");
        PlanSpec::from_toml(&text, "plan.toml").unwrap()
    }

    fn note(&self, what: impl Into<String>) {
        *self.happened.borrow_mut().entry(what.into()).or_default() += 1;
    }

    async fn play(&mut self, act: Act) -> Result<(), String> {
        let acted = self.act(act).await;
        let state = self.state();
        let line = format!(
            "{:>9.3?} {act:?} -> {}, green has {}",
            self.began.elapsed(),
            state.as_str(),
            self.world().green_share()
        );
        self.lines.borrow_mut().push(line);
        acted
    }

    async fn act(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Pass { millis } => self.pass(millis, Traffic::Good).await,
            Act::Silence { millis } => self.pass(millis, Traffic::None).await,
            Act::Serve { requests, green_failures } => self.serve(requests, green_failures).await,
            Act::Open => self.open().await,
            Act::End => self.close().await,
            Act::Ask(command) => self.ask(command).await,
            Act::Frost(frost) => self.frost(frost).await,
            Act::Green(checks) => {
                self.checks = checks;
                self.apply();
                self.note(format!("checks {checks:?}"));
                self.look().await
            }
            Act::Journal(disk) => {
                self.world().journal.set_failing(disk == Disk::Full);
                self.note(format!("disk {disk:?}"));
                self.look().await
            }
            Act::KillAt { commits, when } => {
                let death = match when {
                    Kill::Before => Death::Before { commits },
                    Kill::After => Death::After { commits },
                };
                self.world().journal.die(death);
                Ok(())
            }
            Act::KillAtPoint { points } => {
                self.points.set(Some(points));
                Ok(())
            }
            Act::Kill => {
                self.note("killed between acts");
                self.restart().await
            }
            Act::Submit(Turn::Queue) => self.submit("if_running = \"queue\"", "submitted to Queue").await,
            Act::Submit(Turn::Supersede) => {
                self.submit("if_running = \"supersede\"", "submitted to Supersede").await
            }
            Act::Schedule { seconds } => {
                let start = WallTime::from_millis(clock::wall().as_millis() + seconds * 1_000);
                let lines = format!("if_running = \"queue\"\nstart_at = \"{start}\"");
                self.submit(&lines, "scheduled").await
            }
            Act::Undo => self.undo().await,
            Act::Provider(fault) => {
                self.world().orchestra.fault(fault);
                if self.fleets == Fleets::Made {
                    self.note(format!("provider {fault:?}"));
                }
                self.look().await
            }
            Act::Clock { hours } => {
                self.wall_ahead.set(self.wall_ahead.get() + hours * MILLIS_AN_HOUR);
                self.note(if hours > 0 { "clock forward" } else { "clock back" });
                self.look().await
            }
            Act::Stall => {
                self.is_stalled = true;
                self.note("evaluator stalled");
                self.world.as_mut().expect("the world is there between acts").stall_evaluator();
                self.look().await
            }
        }
    }

    async fn pass(&mut self, millis: u64, traffic: Traffic) -> Result<(), String> {
        let until = Instant::now() + Duration::from_millis(millis);
        loop {
            if traffic == Traffic::Good {
                self.world().good_traffic();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.look().await;
            }
            tokio::time::sleep(left.min(LOOK)).await;
            self.look().await?;
        }
    }

    async fn serve(&mut self, requests: u16, green_failures: u16) -> Result<(), String> {
        let world = self.world();
        let route = world.route();
        let green = usize::from(requests) * usize::from(route.split.green.basis_points()) / 10_000;
        let failures = green * usize::from(green_failures) / 100;
        world.serve_well(Side::Blue, usize::from(requests) - green);
        if route.green.is_some() {
            let failure = Verdict::Failure(FailureKind::ServerError);
            world.serve(Side::Green, failures, failure);
            world.serve_well(Side::Green, green - failures);
        }
        let is_bad = failures == green && green >= CERTAINLY_BAD;
        let must_go = is_bad && !self.is_stalled && self.state().has_way_back();
        let (life, id) = (self.lives, self.id.clone());
        self.pass(2 * LOOK_MILLIS, Traffic::None).await?;
        let share = self.world().green_share();
        // In batches green may keep what blue cannot take, whoever is to blame.
        let goes_back = self.plan.contains("rollback_batch") && self.state().cause().is_some();
        let is_back = share == Share::NONE || goes_back || !must_go || life != self.lives || id != self.id;
        if is_back {
            Ok(())
        } else {
            Err(format!("green failed {failures} of {green} and still has {share}"))
        }
    }

    async fn open(&mut self) -> Result<(), String> {
        let route = self.world().route();
        let dealt =
            [(Side::Blue, route.split.green < Share::ALL), (Side::Green, route.split.green > Share::NONE)];
        for (side, is_dealt) in dealt {
            if is_dealt && let Some(fleet) = route.fleet(side) {
                let instance = Arc::clone(&fleet.fleet.instances[0]);
                instance.begin(0);
                self.open.push((fleet.fleet.version.clone(), instance));
            }
        }
        self.look().await
    }

    async fn close(&mut self) -> Result<(), String> {
        for (_, instance) in self.open.drain(..) {
            instance.end(0);
        }
        self.look().await
    }

    async fn ask(&mut self, command: Command) -> Result<(), String> {
        let asked = self.world().command(&self.id, command).await;
        // Whoever dies of a commit cannot say that it is durable.
        let may_be_granted = asked.is_ok() || self.world().journal.is_dead();
        if asked.is_ok() {
            self.note(format!("granted {}", command.as_str()));
        }
        if command == Command::Pause && self.is_paused_between_steps() {
            self.note("paused between steps");
        }
        if matches!(command, Command::Promote | Command::SkipBake { .. }) && may_be_granted {
            self.laws.is_skipped = true;
        }
        self.look().await
    }

    /// What was given before is seen before the law of the freeze counts.
    async fn frost(&mut self, frost: Frost) -> Result<(), String> {
        let handle = &self.world().handle;
        let done = match frost {
            Frost::Begin => handle.freeze(None, "ann").await,
            Frost::End => handle.unfreeze(None, "ann").await,
        };
        if done.is_ok() {
            self.note(format!("frost {frost:?}"));
            if frost == Frost::End {
                self.laws.is_frozen = false;
            }
            self.observe()?;
            self.laws.is_frozen = frost == Frost::Begin;
        }
        self.look().await
    }

    async fn submit(&mut self, word: &str, what: &str) -> Result<(), String> {
        // Each has a version of its own, so that a version tells of one fleet.
        self.submitted += 1;
        let spec = self.spec(&format!("v{}", 2 + self.submitted), word);
        match self.world().handle.submit_shift(&chat(), spec, "ann").await {
            Ok(Submitted::Queued(_)) => self.note(what),
            Ok(Submitted::Begun(_)) => self.note("submitted at once"),
            Err(_) => {}
        }
        self.look().await
    }

    async fn undo(&mut self) -> Result<(), String> {
        let undone = self.world().handle.undo(&chat(), None, "ann", Execution::Real).await;
        if undone.is_ok() {
            self.note("undone");
        }
        self.look().await
    }

    /// The process is gone, and another begins with what is durable.
    async fn restart(&mut self) -> Result<(), String> {
        let world = self.world.take().expect("the world is there between acts");
        let journal = world.crash().await;
        journal.revive();
        self.points.set(self.points.get().filter(|_| self.lives.is_multiple_of(2)));
        let record = journal.shift(&self.id).unwrap().expect("the shift was written when it began");
        // Of the time since the last record only the wall clock tells.
        let told = clock::wall().as_millis() - record.recorded_at.as_millis();
        let told = Duration::from_millis(u64::try_from(told).unwrap_or_default());
        self.laws.untold += journal.written_ago(&self.id).saturating_sub(told);
        self.laws.begin_life(&record);
        self.laws.is_frozen = journal.is_frozen();
        self.world = Some(self.start(&journal));
        self.open.clear();
        self.is_stalled = false;
        self.apply();
        self.lives += 1;
        self.lines.borrow_mut().push(format!("{:>9.3?} the process starts again", self.began.elapsed()));
        self.observe()
    }

    /// Starts the process; it may die of that, and is started again.
    fn start(&self, journal: &Arc<Memory>) -> World {
        let config = config_of(self.fleets);
        loop {
            let begin = || World::start_paced(&config, Arc::clone(journal), EVALUATOR_LOOK).unwrap();
            match catch_unwind(AssertUnwindSafe(begin)) {
                Ok(world) => return world,
                Err(died) if died.is::<Died>() => {
                    self.note("died while it started");
                    journal.revive();
                }
                Err(panic) => resume_unwind(panic),
            }
        }
    }

    /// Lets the checks of green's instances say what they are to say.
    fn apply(&self) {
        let world = self.world();
        let made = world.orchestra.addresses(self.id.as_str());
        let green: Vec<_> = GREEN.into_iter().chain(made.iter().map(String::as_str)).collect();
        world.checks.set_sick(match self.checks {
            Checks::Pass => &[],
            Checks::Fail => &green,
        });
    }

    /// Whatever was broken is mended, and nobody does anything any more: the shift comes to its end.
    async fn end(&mut self) -> Result<&'static str, String> {
        self.world().journal.set_failing(false);
        self.points.set(None);
        self.play(Act::Provider(Fault::None)).await?;
        self.play(Act::Green(Checks::Pass)).await?;
        self.play(Act::End).await?;
        if self.is_stalled {
            self.play(Act::Kill).await?;
        }
        loop {
            self.bring_to_end().await?;
            let id = self.id.clone();
            self.play(Act::Kill).await?;
            self.play(Act::Pass { millis: 2_000 }).await?;
            // Whoever waited has had its turn.
            if id == self.id {
                break;
            }
        }
        Ok(self.end_of())
    }

    /// Nobody does anything any more but what the shift waits for.
    async fn bring_to_end(&mut self) -> Result<(), String> {
        let began = Instant::now();
        while !self.state().is_terminal() {
            if began.elapsed() > AT_MOST {
                return Err(format!("S9: the shift is {} and stays so", self.state().as_str()));
            }
            if self.laws.is_frozen {
                self.play(Act::Frost(Frost::End)).await?;
            }
            if matches!(self.state(), State::Paused { .. }) || self.is_paused_between_steps() {
                self.play(Act::Ask(Command::Resume)).await?;
            }
            self.pass(200, Traffic::Good).await?;
        }
        Ok(())
    }

    /// Looks at the laws, and lets the process die if it is time.
    async fn look(&mut self) -> Result<(), String> {
        self.observe()?;
        if self.world().journal.is_dead() { self.restart().await } else { Ok(()) }
    }

    fn observe(&mut self) -> Result<(), String> {
        self.follow()?;
        let Self { world, laws, open, id, happened, last_state, .. } = self;
        let world = world.as_ref().expect("the world is there between acts");
        let route = world.route();
        let is_open = |version: &Version| open.iter().any(|(other, _)| other == version);
        let is_dead = world.journal.is_dead();
        let wall = clock::wall().as_millis();
        let seen_within = i64::try_from(SEEN_WITHIN.as_millis()).expect("a moment");
        world.journal.look_at(id, |record| {
            let schedule = &record.plan.schedule;
            let is_over = |wall| matches!(schedule.hours(WallTime::from_millis(wall)), Hours::Closed(_));
            if is_over(wall) {
                happened.borrow_mut().entry("out of hours".to_owned()).or_default();
            }
            let state = &record.snapshot.state;
            if *last_state != state.as_str() {
                *last_state = state.as_str();
                *happened.borrow_mut().entry(format!("state {last_state}")).or_default() += 1;
            }
            laws.observe(&Sight {
                now: Instant::now(),
                generation: world.table.load().generation().0,
                route: &route,
                record,
                is_dead,
                are_hours_over: [wall, wall - seen_within].into_iter().all(is_over),
                open: [is_open(&record.blue.version), is_open(&record.plan.green.version)],
            })
        })
    }

    /// The shift that runs is the one that is looked at; there is one at a time.
    fn follow(&mut self) -> Result<(), String> {
        let journal = Arc::clone(&self.world().journal);
        let Some(next) = journal.running_id().filter(|next| *next != self.id) else { return Ok(()) };
        if !self.state().is_terminal() {
            return Err(format!("{} has begun while {} is {}", next, self.id, self.state().as_str()));
        }
        let start = journal.look_at(&next, |record| record.plan.schedule.start_at);
        if let Some(start) = start.filter(|start| *start > clock::wall()) {
            return Err(format!("{next} has begun before {start}"));
        }
        self.lines.borrow_mut().push(format!("{:>9.3?} another shift begins", self.began.elapsed()));
        self.note("another shift begins");
        self.note(format!("ended {}", self.end_of()));
        self.laws = journal.look_at(&next, |record| self.laws.of_next(Instant::now(), record));
        self.id = next;
        // Of what was let go before, only blue's requests are this shift's business.
        let blue = self.world().journal.look_at(&self.id, |record| record.blue.version.clone());
        let (stays, gone) = self.open.drain(..).partition(|(version, _)| *version == blue);
        self.open = stays;
        for (_, instance) in gone {
            instance.end(0);
        }
        self.apply();
        Ok(())
    }

    fn state(&self) -> State {
        self.world().journal.look_at(&self.id, |record| record.snapshot.state.clone())
    }

    fn is_paused_between_steps(&self) -> bool {
        self.world().journal.look_at(&self.id, |record| record.snapshot.onward == Onward::Paused)
    }

    /// How the shift ended, in the words of its cause.
    fn end_of(&self) -> &'static str {
        let state = self.state();
        if let State::RolledBack { cause } = &state { cause.as_str() } else { state.as_str() }
    }

    fn world(&self) -> &World {
        self.world.as_ref().expect("the world is there between acts")
    }
}
