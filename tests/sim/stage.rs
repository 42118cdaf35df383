//! Where a story is played: control in a world of its own, and the laws looking on.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    laws::{Laws, Sight},
    story::{Act, Checks, Disk, Frost, Kill, Story},
};
use crate::{
    clock,
    control::{
        aside, jitter,
        tests::world::{Death, GREEN, Memory, World, clocks, config, plan},
    },
    fleet::{Instance, Side},
    meter::{FailureKind, Verdict},
    name::{ShiftId, Version},
    shift::{Command, State},
    store::Journal,
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
const AT_MOST: Duration = Duration::from_secs(240);

const MILLIS_AN_HOUR: i64 = 3_600_000;

/// What came of a story.
#[derive(Debug)]
pub(super) struct Told {
    /// How the shift ended, in the words of its cause.
    pub(super) end: &'static str,
    /// The law that was broken.
    pub(super) broken: Option<String>,
    pub(super) transcript: Vec<String>,
    /// What was written meanwhile.
    pub(super) journal: Arc<Memory>,
}

type Lines = Rc<RefCell<Vec<String>>>;

/// Plays a story to its end.
pub(super) fn tell(story: &Story) -> Told {
    let (lines, journal) = (Lines::default(), Arc::<Memory>::default());
    lines.borrow_mut().push(format!("{}green's checks: {:?}", story.plan, story.checks));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let played = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut stage = Stage::begin(story, Rc::clone(&lines), Arc::clone(&journal)).await?;
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
    Told { end, broken, transcript: lines.take(), journal }
}

struct Stage {
    world: Option<World>,
    laws: Laws,
    id: ShiftId,
    began: Instant,
    lines: Lines,
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
    async fn begin(story: &Story, lines: Lines, journal: Arc<Memory>) -> Result<Self, String> {
        // Nothing is left that would make no two runs alike: the system's clocks, other threads, chance.
        let wall_ahead = clocks();
        aside::simulated::begin();
        jitter::seed(story.seed);
        let world = start(journal);
        let steps = plan(&story.plan).shift.steps().len();
        apply(story.checks, &world);
        let id = world.begin(&story.plan).await.id;
        let mut stage = Self {
            world: Some(world),
            laws: Laws::new(Instant::now(), steps),
            id,
            began: Instant::now(),
            lines,
            open: Vec::new(),
            checks: story.checks,
            is_stalled: false,
            wall_ahead,
            lives: 0,
        };
        stage.look().await?;
        Ok(stage)
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
                apply(self.checks, self.world());
                self.look().await
            }
            Act::Journal(disk) => {
                self.world().journal.set_failing(disk == Disk::Full);
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
            Act::Kill => self.restart().await,
            Act::Clock { hours } => {
                self.wall_ahead.set(self.wall_ahead.get() + hours * MILLIS_AN_HOUR);
                self.look().await
            }
            Act::Stall => {
                self.is_stalled = true;
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
        let life = self.lives;
        self.pass(2 * LOOK_MILLIS, Traffic::None).await?;
        let share = self.world().green_share();
        let is_back = share == Share::NONE || !must_go || life != self.lives;
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
            if frost == Frost::End {
                self.laws.is_frozen = false;
            }
            self.observe()?;
            self.laws.is_frozen = frost == Frost::Begin;
        }
        self.look().await
    }

    /// The process is gone, and another begins with what is durable.
    async fn restart(&mut self) -> Result<(), String> {
        let world = self.world.take().expect("the world is there between acts");
        let journal = world.crash().await;
        journal.revive();
        let record = journal.shift(&self.id).unwrap().expect("the shift was written when it began");
        // Of the time since the last record only the wall clock tells.
        let told = clock::wall().as_millis() - record.recorded_at.as_millis();
        let told = Duration::from_millis(u64::try_from(told).unwrap_or_default());
        self.laws.untold += journal.written_ago(&self.id).saturating_sub(told);
        self.laws.begin_life(&record);
        self.laws.is_frozen = journal.is_frozen();
        self.world = Some(start(journal));
        self.open.clear();
        self.is_stalled = false;
        apply(self.checks, self.world());
        self.lives += 1;
        self.lines.borrow_mut().push(format!("{:>9.3?} the process starts again", self.began.elapsed()));
        self.observe()
    }

    /// Whatever was broken is mended, and nobody does anything any more: the shift comes to its end.
    async fn end(&mut self) -> Result<&'static str, String> {
        self.world().journal.set_failing(false);
        self.play(Act::Green(Checks::Pass)).await?;
        self.play(Act::End).await?;
        if self.is_stalled {
            self.play(Act::Kill).await?;
        }
        let began = Instant::now();
        while !self.state().is_terminal() {
            if began.elapsed() > AT_MOST {
                return Err(format!("S9: the shift is {} and stays so", self.state().as_str()));
            }
            if self.laws.is_frozen {
                self.play(Act::Frost(Frost::End)).await?;
            }
            if matches!(self.state(), State::Paused { .. }) {
                self.play(Act::Ask(Command::Resume)).await?;
            }
            self.pass(200, Traffic::Good).await?;
        }
        self.play(Act::Kill).await?;
        self.play(Act::Pass { millis: 2_000 }).await?;
        let state = self.state();
        Ok(if let State::RolledBack { cause } = &state { cause.as_str() } else { state.as_str() })
    }

    /// Looks at the laws, and lets the process die if it is time.
    async fn look(&mut self) -> Result<(), String> {
        self.observe()?;
        if self.world().journal.is_dead() { self.restart().await } else { Ok(()) }
    }

    fn observe(&mut self) -> Result<(), String> {
        let world = self.world.as_ref().expect("the world is there between acts");
        let record = world.journal.shift(&self.id).unwrap().expect("the shift was written when it began");
        let route = world.route();
        let is_open = |version: &Version| self.open.iter().any(|(other, _)| other == version);
        self.laws.observe(&Sight {
            now: Instant::now(),
            generation: world.table.load().generation().0,
            route: &route,
            record: &record,
            open: [is_open(&record.blue.version), is_open(&record.plan.green.version)],
        })
    }

    fn state(&self) -> State {
        let record = self.world().journal.shift(&self.id).unwrap();
        record.expect("the shift was written when it began").snapshot.state
    }

    fn world(&self) -> &World {
        self.world.as_ref().expect("the world is there between acts")
    }
}

fn start(journal: Arc<Memory>) -> World {
    World::start_paced(&config(), journal, EVALUATOR_LOOK).unwrap()
}

fn apply(checks: Checks, world: &World) {
    world.checks.set_sick(match checks {
        Checks::Pass => &[],
        Checks::Fail => &GREEN,
    });
}
