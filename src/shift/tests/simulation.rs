//! A seeded simulation: random plans, random inputs at random moments, restarts among them.
//!
//! The engine's own checks run at every step. The simulation adds what a single step cannot show: it keeps its own account of time,
//! bakes and shares, and a second shift that is put back from snapshots all the time, in a clock of its own, and must do the same.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{account::Account, *};
use crate::{
    fleet::Side,
    shift::{Bakes, Cause, Command, Effect, Input, PauseReason, Refusal, Shift, Standing, State},
    time::Moment,
};

const SEEDS: u64 = 2_000;
const INPUTS: usize = 60;

/// Says which seed it was when a test panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation failed with seed {}", self.0);
        }
    }
}

struct World {
    random: StdRng,
    now: Moment,
    /// Since the start, by a clock that no restart stops.
    real: Duration,
    shift: Shift,
    /// Put back from a snapshot now and then; `twin_lag` is how far its clock is behind.
    twin: Shift,
    twin_lag: Duration,
    standing: Standing,
    /// Time spent baking the step that green is in.
    baked: Duration,
    share: Share,
    /// The instances of a rolling shift.
    account: Option<Account>,
    /// When there was no way back any more, or the shift was on it.
    decided: Option<Duration>,
}

#[test]
fn whatever_happens_the_invariants_hold_and_the_shift_ends_by_its_own_wake_ups() {
    let mut ends = BTreeSet::new();
    for seed in 0..SEEDS {
        let seed = Seed(seed);
        let mut world = World::new(seed.0);
        world.feed(Input::Start);
        for _ in 0..INPUTS {
            world.go_on();
        }
        world.let_be();
        let state = world.shift.state();
        ends.insert(if let State::RolledBack { cause } = state { cause.as_str() } else { state.as_str() });
    }
    let all = [
        "aborted",
        "alarm",
        "execution_timeout",
        "green_gone",
        "green_not_ready",
        "no_data",
        "promoted",
        "restart",
        "rollback_failed",
    ];
    assert_eq!(ends, BTreeSet::from(all), "the simulation comes to every end there is");
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let plan = random_plan(&mut random);
        let now = Moment::default().after(span("1s"));
        let account = Account::new(&plan);
        let shift = Shift::new(plan, now);
        Self {
            random,
            now,
            real: Duration::ZERO,
            twin: shift.clone(),
            shift,
            twin_lag: Duration::ZERO,
            standing: Standing::Clear,
            baked: Duration::ZERO,
            share: Share::NONE,
            account,
            decided: None,
        }
    }

    /// Something happens: the wake-up that the engine asked for, if it is due first, or anything else.
    fn go_on(&mut self) {
        let pause = Duration::from_millis([0, 10, 5_000, 60_000, 300_000][self.random.random_range(0..5)]);
        self.standing = match (&self.standing, self.random.random_range(0..40)) {
            (Standing::Breached(_), _) => self.standing.clone(),
            (_, 0) => Standing::Breached(Cause::Alarm { name: "errors".into(), evidence: String::new() }),
            (_, 1..8) => Standing::InsufficientData,
            (_, 8..18) => Standing::Clear,
            (_, 18..20) => Standing::Safe { evidence: String::new() },
            (_, 20..22) => Standing::Held { why: "frozen".into() },
            (_, _) => self.standing.clone(),
        };
        if let Some(due) = self.shift.wake_at().filter(|due| due.since(self.now) <= pause) {
            self.pass(due.since(self.now));
            self.feed(Input::Wake(self.standing.clone()));
            return;
        }
        self.pass(pause);
        if self.random.random_range(0..25) == 0 {
            self.restart();
            return;
        }
        let input = self.random_input();
        self.feed(input);
    }

    fn random_input(&mut self) -> Input {
        match self.random.random_range(0..60) {
            0..10 => Input::GreenReady(self.standing.clone()),
            10..12 => Input::BlueReady,
            47 => Input::BlueFailed { reason: "no room".into() },
            12 => Input::GreenFailed { reason: "gone".into() },
            13 => Input::GreenGone,
            14..20 => Input::Drained(Side::Blue),
            20..26 => Input::Drained(Side::Green),
            26..32 => Input::Command(Command::Pause, self.standing.clone()),
            32..44 => Input::Command(Command::Resume, self.standing.clone()),
            44 => Input::Command(Command::Promote, self.standing.clone()),
            45 => Input::Command(Command::Abort, self.standing.clone()),
            46 => Input::Start,
            48..50 => {
                let step = self.random.random_range(0..3);
                Input::Command(Command::SkipBake { step }, self.standing.clone())
            }
            _ => Input::Wake(self.standing.clone()),
        }
    }

    fn pass(&mut self, time: Duration) {
        if matches!(self.shift.state(), State::Baking { .. }) {
            self.baked = self.baked.saturating_add(time);
        }
        self.now = self.now.after(time);
        self.real += time;
    }

    /// The process dies and comes back; the journal has the shift as of its last input, and the clock begins anew.
    fn restart(&mut self) {
        let downtime = Duration::from_secs([0, 1, 600][self.random.random_range(0..3)]);
        let snapshot = self.shift.snapshot(self.now);
        self.real += downtime;
        if let Some(decided) = &mut self.decided {
            *decided += downtime;
        }
        self.now = Moment::default().after(span("1s"));
        self.twin_lag = Duration::ZERO;
        self.shift = Shift::restore(self.shift.plan().clone(), &snapshot, self.now);
        self.twin = self.shift.clone();
        if self.standing != Standing::Clear {
            self.standing = Standing::InsufficientData;
        }
        self.feed(Input::Restarted { downtime });
    }

    fn feed(&mut self, input: Input) {
        let before = self.shift.clone();
        let result = self.shift.step(self.now, input.clone());
        self.compare_with_twin(&input, &result);
        if let Some(account) = &mut self.account
            && let Ok(effects) = &result
        {
            account.see(&input);
            effects.iter().for_each(|effect| account.carry_out(effect));
            account.check(&self.shift);
        }
        if matches!(input, Input::Command(Command::SkipBake { .. }, _))
            && before.state() != self.shift.state()
        {
            self.baked = Duration::MAX;
        }
        for effect in result.into_iter().flatten() {
            self.account(&before, &input, &effect);
        }
        let state = self.shift.state();
        if let (
            Input::Wake(Standing::Safe { .. }),
            State::Paused { step, reason: PauseReason::Approval, .. },
            State::Baking { .. },
        ) = (&input, state, before.state())
        {
            // The evidence stands for the rest of the bake.
            self.baked = self.shift.plan().steps()[*step].bake;
        }
        assert_eq!(self.share, self.shift.share(), "the share published is the share told");
        if !state.has_way_back() {
            let decided = *self.decided.get_or_insert(self.real);
            assert!(state.is_terminal() || self.real <= decided + self.longest_way_out(), "it ends (S10)");
        } else if matches!(input, Input::Wake(_) | Input::Restarted { .. }) {
            assert!(self.real < self.shift.plan().limits().execution_timeout, "time is up (S10)");
        }
    }

    /// A drain; of a rolling shift one for each batch of blue, each of which may take its time to come back, and one for a green that is
    /// given up meanwhile.
    fn longest_way_out(&self) -> Duration {
        let limits = self.shift.plan().limits();
        let batches = self.shift.plan().rolling().map_or(0, |rolling| rolling.sizes.blue.get() + 2);
        limits.drain_timeout + batches * (limits.drain_timeout + limits.ready_timeout)
    }

    /// What each effect means for what is known so far.
    fn account(&mut self, before: &Shift, input: &Input, effect: &Effect) {
        match effect {
            Effect::BeginStep(step) => {
                let asked = Command::SkipBake { step: step.saturating_sub(1) };
                let skips = matches!(
                    input,
                    Input::Command(Command::Promote, _)
                        | Input::Restarted { .. }
                        | Input::Wake(Standing::Safe { .. })
                ) || matches!(input, Input::Command(command, _) if *command == asked)
                    || before.bakes() == Bakes::Skipped;
                if let Some(last) = step.checked_sub(1).filter(|_| !skips) {
                    assert!(self.baked >= before.plan().steps()[last].bake, "a step bakes in full (S5)");
                }
                let over = matches!(
                    self.shift.state(),
                    State::Paused { reason: PauseReason::Approval, .. }
                        | State::RetiringBatch { .. }
                        | State::PreparingBatch { .. }
                );
                self.baked = if over { self.baked } else { Duration::ZERO };
            }
            Effect::PublishShare(share) => {
                let breached = matches!(self.standing, Standing::Breached(_));
                let held = matches!(self.standing, Standing::Held { .. });
                let again = matches!(input, Input::Restarted { .. });
                assert!(*share <= self.share || !held || again, "held (S2)");
                // Readiness is news from a time in which green had no traffic that an alarm could have been about.
                let is_first = matches!(before.state(), State::Preparing { .. });
                assert!(*share <= self.share || !breached || is_first, "raised (S2)");
                assert!(*share <= self.share || self.decided.is_none(), "no way forward from the way back");
                self.share = *share;
            }
            Effect::Provision(Side::Green, _) => assert!(!before.state().is_terminal()),
            Effect::Provision(Side::Blue, _) => {
                assert!(self.shift.state().cause().is_some(), "blue is there")
            }
            Effect::Adopt => assert_eq!(self.share, Share::ALL, "blue goes when green has everything"),
            Effect::Drain { side, keep: 0 } => {
                let idle = if *side == Side::Blue { Share::ALL } else { Share::NONE };
                assert_eq!(self.share, idle, "what drains gets nothing new");
            }
            Effect::Retire { keep: 0, .. } | Effect::Finish if self.account.is_none() => {
                assert!(self.shift.state().is_terminal());
            }
            Effect::Settle | Effect::Finish => assert!(self.shift.state().is_terminal()),
            Effect::Serve(..) | Effect::Drain { .. } | Effect::Retire { .. } => {
                assert!(self.account.is_some(), "only a rolling shift divides its fleets");
            }
        }
    }

    /// S6, at every step: a shift put back from the journal answers as the one that never went away.
    fn compare_with_twin(&mut self, input: &Input, result: &Result<Vec<Effect>, Refusal>) {
        let twin_now = Moment::default().after(self.now.since(Moment::default().after(self.twin_lag)));
        assert_eq!(self.twin.step(twin_now, input.clone()), *result, "S6");
        assert_eq!(self.twin.snapshot(twin_now), self.shift.snapshot(self.now), "S6");
        if self.random.random_range(0..4) == 0 {
            self.twin_lag = self.now.since(Moment::default());
            let snapshot = self.shift.snapshot(self.now);
            self.twin = Shift::restore(self.shift.plan().clone(), &snapshot, Moment::default());
        }
    }

    /// No inputs any more but the wake-ups asked for. A step takes one, its hold another.
    fn let_be(&mut self) {
        for _ in 0..4 * self.shift.plan().steps().len() + 8 {
            let Some(due) = self.shift.wake_at() else { break };
            self.pass(due.since(self.now));
            self.feed(Input::Wake(self.standing.clone()));
        }
        assert!(self.shift.state().is_terminal(), "{:?} never ends (S9)", self.shift);
    }
}

fn random_plan(random: &mut StdRng) -> ShiftPlan {
    if random.random_range(0..2) == 0 {
        return random_rolling_plan(random);
    }
    let shares: BTreeSet<u16> =
        (0..random.random_range(1..5)).map(|_| random.random_range(1..=Share::WHOLE)).collect();
    let steps: Vec<Step> = shares
        .into_iter()
        .map(|points| {
            let share = Share::from_basis_points(points).unwrap();
            let bake = seconds(random, [0, 1, 60, 300]);
            if random.random_range(0..4) == 0 {
                Step::with_approval(share, bake)
            } else {
                Step::new(share, bake)
            }
        })
        .collect();
    let whole = steps.last().is_some_and(|step| step.share == Share::ALL);
    let final_bake = (!whole).then(|| seconds(random, [0, 1, 60, 300]));
    let termination_wait = seconds(random, [0, 0, 1, 120]);
    let limits = ShiftLimits { termination_wait, ..random_limits(random) };
    ShiftPlan::new(Strategy::Steps { steps, final_bake }, limits).unwrap()
}

fn random_rolling_plan(random: &mut StdRng) -> ShiftPlan {
    let (blue, green) = (random.random_range(1..6), random.random_range(1..6));
    let batch = instances(random.random_range(1..=green));
    let back = random.random_range(0..6);
    let bake = seconds(random, [0, 1, 60, 120]);
    let rollback_batch = (back > 0).then(|| instances(back));
    let limits = random_limits(random);
    let plan = ShiftPlan::new(Strategy::Rolling { batch, bake, rollback_batch }, limits).unwrap();
    plan.sized(sizes(blue, green)).unwrap()
}

fn random_limits(random: &mut StdRng) -> ShiftLimits {
    ShiftLimits {
        execution_timeout: span("30m") + seconds(random, [0, 60, 1_000, 8_000]),
        termination_wait: Duration::ZERO,
        drain_timeout: seconds(random, [0, 1, 30, 60]),
        ready_timeout: seconds(random, [1, 60, 300, 10_000]),
        no_data: [NoData::Hold, NoData::Pass, NoData::Fail][random.random_range(0..3)],
        on_restart: [OnRestart::Continue, OnRestart::RollBack][random.random_range(0..2)],
    }
}

fn seconds(random: &mut StdRng, choices: [u64; 4]) -> Duration {
    Duration::from_secs(choices[random.random_range(0..4)])
}
