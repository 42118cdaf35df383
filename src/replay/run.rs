//! One play of a plan: the real engine, alarms and meters in virtual time.
//!
//! Time jumps from one happening to the next: a request is dealt, passes a latency bound, ends; the alarms look; a bake is over. The alarms
//! look at once when an outcome speaks against green, as the bell has it, and else a look's time after something was counted.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    AlarmAtEnd, End, Entry, Played, Replay, Source, Stage, StepEnd, StepReplay, late,
    stage::{Dealer, Dealt},
    tokens::{News, Streamed},
};
use crate::{
    alarm::{AlarmBook, AlarmPlan},
    config::PlanSpec,
    fleet::Side,
    meter::{
        Bell, FleetMeters, Outcome, Overdue, PassedMarks, Reading, Rescue, Stamp, Verdict, WarmUp, WatchPoint,
    },
    route::Split,
    shift::{Command, Effect, Input, PauseReason, Shift, Standing, State},
    time::{Moment, format_duration},
    trial::{Meters, Trial, evidence_text, threshold_text},
};

/// How often the alarms look where nothing speaks against green: as often as the evaluator.
const LOOK: Duration = Duration::from_millis(10);

/// Plays a plan. The seed makes its draws.
pub fn play(plan: &PlanSpec, stage: &Stage<'_>, seed: u64) -> Replay {
    let mut run = Run::new(plan, stage, seed);
    run.begin();
    while !run.is_over() && run.advance() {}
    run.finish()
}

struct Run<'s> {
    plan: &'s PlanSpec,
    stage: &'s Stage<'s>,
    dealer: Dealer<'s>,
    engine: Shift,
    trial: Trial,
    standing: Standing,
    watch: WatchPoint,
    blue: FleetMeters,
    green: FleetMeters,
    split: Split,
    now: Moment,
    began: Moment,
    last: Moment,
    looked_at: Moment,
    is_looked_at: bool,
    /// Of the next arrival.
    place: usize,
    pending: BinaryHeap<Reverse<Pending<'s>>>,
    /// Numbers what is pending, so that of one moment the earlier dealt comes first.
    dealt: u64,
    played: Played,
    steps: Vec<StepReplay>,
    /// When green got its first request.
    first_green: Option<Moment>,
    /// Green's meters when the step began.
    at_step: (u64, u64),
    /// The line of the outcome that is being counted.
    counting: Option<usize>,
    end: Option<End>,
}

/// What will happen to a request under way.
struct Pending<'s> {
    at: Moment,
    number: u64,
    what: Happening,
    side: Side,
    course: Course,
    entry: &'s Entry,
}

/// What the meters are told of a request beside its outcome.
#[derive(Clone, Copy, Default)]
struct Course {
    stamp: Stamp,
    dealt_at: Moment,
    overdue: Overdue,
    /// The marks of a comparison of latency that were in force then; zero where nothing is counted by them.
    marks: u32,
    is_warm_up: bool,
}

/// What happens first, of one moment and one request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// It passes this bound while it is open.
    Passes(usize),
    /// It passes this mark of a comparison while it is open.
    PassesMark(usize),
    /// Something of its tokens becomes known.
    Tells(News),
    /// It ends.
    Ends,
}

/// The earliest first; of one moment, in the order of dealing.
impl Ord for Pending<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number, self.what).cmp(&(other.at, other.number, other.what))
    }
}

impl PartialOrd for Pending<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pending<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pending<'_> {}

impl<'s> Run<'s> {
    fn new(plan: &'s PlanSpec, stage: &'s Stage<'s>, seed: u64) -> Self {
        let (began, last) = stage.bounds();
        let blue = FleetMeters::new(1);
        let watch = WatchPoint::new(&AlarmBook::bounds(&plan.alarms), Arc::new(Bell::new()));
        let watch =
            watch.warming(plan.alarms.warm_up).with_token_bounds(&AlarmBook::token_bounds(&plan.alarms));
        let needs_order = AlarmBook::needs_order(&plan.alarms, stage.dealing());
        let watch = if needs_order { watch.in_order(1) } else { watch };
        let watch = if AlarmBook::compares_latency(&plan.alarms) { watch.comparing_latency() } else { watch };
        let mut pending = BinaryHeap::new();
        for (number, entry) in (0..).zip(stage.history()) {
            let record = &entry.record;
            blue.shard(0).dealt(Stamp::default(), record.dealt_at);
            let at = record.dealt_at.after(record.duration);
            if at <= began {
                let (shard, stamp) = (blue.shard(0), Stamp::default());
                let streamed = Streamed { record, shard, stamp, watch: None, is_warm_up: false };
                for (_, news) in News::of(record, &[]) {
                    streamed.tell(news);
                }
                streamed.end();
                let outcome = outcome(entry, Course::default(), PassedMarks::default());
                blue.shard(0).settled(Stamp::default(), None, &outcome);
            } else {
                let (what, side, course) = (Happening::Ends, Side::Blue, Course::default());
                pending.push(Reverse(Pending { at, number, what, side, course, entry }));
            }
        }
        // Nobody reports what an outside alarm says here; without it the others are judged by themselves.
        let alarms = AlarmPlan { externals: Vec::new(), ..plan.alarms.clone() };
        let trial = Trial::new(&alarms, plan.shift.steps().len(), 0, stage.dealing(), &blue.read(), began);
        Self {
            plan,
            stage,
            dealer: Dealer::new(stage, StdRng::seed_from_u64(seed)),
            engine: Shift::new(plan.shift.clone(), began),
            trial,
            standing: Standing::InsufficientData,
            watch,
            blue,
            green: FleetMeters::new(1),
            split: Split::default(),
            now: began,
            began,
            last,
            looked_at: began,
            is_looked_at: true,
            place: 0,
            dealt: u64::try_from(pending.len()).unwrap_or(u64::MAX),
            pending,
            played: Played { span: last.since(began), ..Played::default() },
            steps: Vec::new(),
            first_green: None,
            at_step: (0, 0),
            counting: None,
            end: None,
        }
    }

    fn begin(&mut self) {
        self.feed(Input::Start);
    }

    fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// Does what comes next; false when nothing does.
    fn advance(&mut self) -> bool {
        let arrival = self.stage.arrivals().get(self.place).copied();
        let ends = self.pending.peek().map(|Reverse(next)| next.at);
        let look = (!self.is_looked_at).then(|| self.looked_at.after(LOOK));
        let decision = [look, self.engine.wake_at(), self.trial.due_at()].into_iter().flatten().min();
        let request = [arrival.map(|entry| entry.record.dealt_at), ends].into_iter().flatten().min();
        match (request, decision) {
            // What is due comes before a request of the same moment, which then belongs to what follows.
            (Some(request), Some(decision)) if decision <= request => self.decide(decision),
            (Some(_), _) => match arrival {
                Some(entry) if ends.is_none_or(|ends| entry.record.dealt_at < ends) => self.arrive(entry),
                Some(_) | None => self.happen(),
            },
            // Past the last request there is no traffic that could be judged.
            (None, Some(decision)) if decision <= self.last.max(self.now) => self.decide(decision),
            (None, _) => {
                if !self.is_looked_at {
                    self.look();
                }
                return false;
            }
        }
        true
    }

    fn decide(&mut self, at: Moment) {
        self.now = self.now.max(at);
        self.look();
        if self.end.is_none() && self.engine.wake_at().is_some_and(|wake| wake <= self.now) {
            self.feed(Input::Wake(self.standing.clone()));
        }
    }

    fn arrive(&mut self, entry: &'s Entry) {
        self.place += 1;
        self.now = self.now.max(entry.record.dealt_at);
        let (side, entry) = match self.dealer.deal(entry, self.split) {
            Dealt::To(side, entry) => (side, entry),
            Dealt::LeftOut => {
                self.played.left_out += 1;
                return;
            }
            Dealt::UsedUp => {
                self.stop("green's recording has no more outcomes".to_owned());
                return;
            }
        };
        if entry.record.rescue == Some(Rescue::Failed) {
            self.green.shard(0).rescue(Rescue::Failed);
            self.is_looked_at = false;
            return;
        }
        let stamp = self.watch.stamp();
        let (meters, bounds) = match side {
            Side::Blue => {
                self.played.blue += 1;
                (&self.blue, &[][..])
            }
            Side::Green => {
                self.played.green += 1;
                self.first_green.get_or_insert(self.now);
                (&self.green, self.watch.bounds_nanos())
            }
        };
        meters.shard(0).dealt(stamp, self.now);
        let is_warm_up = side == Side::Green && self.warms_up();
        if is_warm_up {
            meters.shard(0).warm_up();
        }
        if let (Side::Green, Some(order)) = (side, self.watch.order()) {
            order.dealt(0, self.now);
        }
        let marks = if is_warm_up { 0 } else { late::in_force(&self.watch) };
        let mut course = Course { stamp, dealt_at: self.now, overdue: Overdue::default(), marks, is_warm_up };
        let number = self.dealt;
        self.dealt += 1;
        for (bound, nanos) in bounds.iter().enumerate() {
            let limit = Duration::from_nanos(*nanos);
            if entry.record.duration > limit && !is_warm_up {
                course.overdue.insert(bound);
                let (at, what) = (self.now.after(limit), Happening::Passes(bound));
                self.pending.push(Reverse(Pending { at, number, what, side, course, entry }));
            }
        }
        let token_bounds = if side == Side::Green { self.watch.token_bounds() } else { &[] };
        let news = News::of(&entry.record, token_bounds);
        let news = news.into_iter().map(|(after, news)| (after, Happening::Tells(news)));
        let takes = if is_warm_up { Duration::ZERO } else { entry.record.duration };
        let passes = late::passes(&self.watch, side, takes);
        let passes = passes.into_iter().map(|(after, mark)| (after, Happening::PassesMark(mark)));
        for (after, what) in passes.chain(news).chain([(entry.record.duration, Happening::Ends)]) {
            let at = self.now.after(after);
            self.pending.push(Reverse(Pending { at, number, what, side, course, entry }));
        }
        self.is_looked_at = false;
    }

    /// Whether the request of green that was just dealt is one of its instances' first, if they take turns.
    fn warms_up(&self) -> bool {
        match self.watch.warm_up() {
            None => false,
            Some(WarmUp::Requests(each)) => {
                let instances = u64::try_from(self.plan.green.instances.len()).unwrap_or(u64::MAX);
                self.played.green <= instances.saturating_mul(each.into())
            }
            Some(WarmUp::Time(time)) => self.first_green.is_some_and(|first| self.now.since(first) < time),
        }
    }

    /// Something happens to a request under way.
    fn happen(&mut self) {
        let Some(Reverse(Pending { at, number: _, what, side, course, entry })) = self.pending.pop() else {
            return;
        };
        self.now = self.now.max(at);
        self.is_looked_at = false;
        let streamed = self.streamed(side, entry, course);
        if what == Happening::Ends {
            streamed.end();
        }
        let tips = match (what, side) {
            (Happening::Passes(bound), _) => {
                self.green.shard(0).overdue(course.stamp, &self.watch, bound);
                true
            }
            (Happening::PassesMark(mark), Side::Blue) => {
                late::pass(&self.watch, self.blue.shard(0), course.marks, mark);
                false
            }
            (Happening::PassesMark(mark), Side::Green) => {
                late::pass(&self.watch, self.green.shard(0), course.marks, mark);
                true
            }
            (Happening::Tells(news), _) => streamed.tell(news),
            (Happening::Ends, Side::Blue) => {
                let passed = late::passed(&self.watch, side, course.marks, entry.record.duration);
                self.blue.shard(0).settled(course.stamp, Some(&self.watch), &outcome(entry, course, passed));
                false
            }
            (Happening::Ends, Side::Green) => {
                let passed = late::passed(&self.watch, side, course.marks, entry.record.duration);
                let outcome = outcome(entry, course, passed);
                // Blue against itself has no rescues that its green could have had.
                if entry.record.rescue == Some(Rescue::Tried) && self.stage.source() != Source::Split {
                    self.green.shard(0).rescue(Rescue::Tried);
                }
                if let (Verdict::Failure(_), Some(order)) = (outcome.verdict, self.watch.order()) {
                    order.failed(0, course.dealt_at);
                }
                self.green.shard(0).settled(course.stamp, Some(&self.watch), &outcome);
                self.watch.is_against(&outcome)
            }
        };
        if tips {
            self.counting = Some(entry.line);
            self.look();
            self.counting = None;
        }
    }

    fn streamed(&self, side: Side, entry: &'s Entry, course: Course) -> Streamed<'_> {
        let (meters, watch) = match side {
            Side::Blue => (&self.blue, None),
            Side::Green => (&self.green, Some(&self.watch)),
        };
        let Course { stamp, dealt_at: _, overdue: _, marks: _, is_warm_up } = course;
        Streamed { record: &entry.record, shard: meters.shard(0), stamp, watch, is_warm_up }
    }

    /// The alarms look, and the engine hears of it if they say something else.
    fn look(&mut self) {
        self.looked_at = self.now;
        self.is_looked_at = true;
        let meters = Meters { green: &self.green, blue: &self.blue };
        let standing = self.trial.look(self.now, meters, &self.watch).standing;
        if standing != self.standing {
            self.standing = standing.clone();
            self.feed(Input::Wake(standing));
        }
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            // Only an approval can be refused, by the deadline that is about to pass.
            let Ok(effects) = self.engine.step(self.now, input) else { continue };
            for effect in effects {
                self.perform(effect, &mut inputs);
            }
            if let State::TerminationWait { .. } = self.engine.state() {
                self.close_step(StepEnd::Passed);
            }
            if let State::Paused { reason: PauseReason::Approval, .. } = self.engine.state() {
                inputs.push_back(Input::Command(Command::Resume, self.standing.clone()));
            }
        }
    }

    fn perform(&mut self, effect: Effect, inputs: &mut VecDeque<Input>) {
        match effect {
            Effect::BeginStep(step) => self.begin_step(step),
            Effect::PublishShare(share) => {
                self.split = Split { green: share, epoch: self.split.epoch + 1 };
                if let Some(cause) = self.engine.state().cause().cloned() {
                    self.close_step(StepEnd::RolledBack);
                    let reading = self.green.read();
                    self.end = Some(End::RolledBack {
                        at: self.now.since(self.began),
                        cause,
                        step: self.steps.len(),
                        line: self.counting,
                        green_responses: reading.settled(),
                        green_failures: reading.failed(),
                        green_in_flight: reading.dealt.saturating_sub(reading.settled()),
                    });
                }
            }
            // What was recorded had its instances; in a replay they are there as soon as they are wanted.
            Effect::Provision(Side::Green, _) => inputs.push_back(Input::GreenReady(self.standing.clone())),
            Effect::Drain { side, keep: _ } => inputs.push_back(Input::Drained(side)),
            Effect::Adopt => {
                self.close_step(StepEnd::Passed);
                self.end = Some(End::Promoted { at: self.now.since(self.began) });
            }
            Effect::Provision(Side::Blue, _)
            | Effect::Serve(..)
            | Effect::Retire { .. }
            | Effect::Settle
            | Effect::Finish => {}
        }
    }

    fn begin_step(&mut self, step: usize) {
        self.close_step(StepEnd::Passed);
        let Some(planned) = self.plan.shift.steps().get(step).copied() else { return };
        let now = self.now.since(self.began);
        let reading = self.green.read();
        self.at_step = (told(&reading), reading.failed());
        self.steps.push(StepReplay {
            number: step + 1,
            share: planned.share,
            bake: planned.bake,
            began: now,
            ended: now,
            end: StepEnd::Undecided,
            green_responses: 0,
            green_failures: 0,
            alarms: Vec::new(),
        });
        self.trial.begin_step(planned.share, self.now);
        // The look that begins the step's first bet. What it says reaches the engine with the next one.
        let meters = Meters { green: &self.green, blue: &self.blue };
        self.standing = self.trial.look(self.now, meters, &self.watch).standing;
        (self.looked_at, self.is_looked_at) = (self.now, false);
    }

    fn close_step(&mut self, end: StepEnd) {
        let (reading, alarms) = (self.green.read(), self.alarms());
        let Some(step) = self.steps.last_mut().filter(|step| step.end == StepEnd::Undecided) else { return };
        step.ended = self.now.since(self.began);
        step.end = end;
        step.green_responses = told(&reading).saturating_sub(self.at_step.0);
        step.green_failures = reading.failed().saturating_sub(self.at_step.1);
        step.alarms = alarms;
    }

    fn alarms(&self) -> Vec<AlarmAtEnd> {
        let counted = self.trial.evidence().into_iter().map(|evidence| AlarmAtEnd {
            text: evidence_text(&evidence),
            state: evidence.state,
            ln_e: Some(evidence.ln_e),
            threshold: Some(evidence.threshold),
            missing: evidence.missing,
            name: evidence.name,
        });
        let periods = self.trial.thresholds().into_iter().map(|evidence| AlarmAtEnd {
            text: threshold_text(&evidence),
            state: evidence.state,
            ln_e: None,
            threshold: None,
            missing: 0,
            name: evidence.threshold.name,
        });
        counted.chain(periods).collect()
    }

    fn stop(&mut self, why: String) {
        self.look();
        if self.end.is_none() {
            self.close_step(StepEnd::Undecided);
            let at = self.now.since(self.began);
            self.end = Some(End::Undecided { at, state: self.engine.state().clone(), why });
        }
    }

    fn finish(mut self) -> Replay {
        if self.end.is_none() {
            let (span, waits) = (self.played.span, self.plan.shift.waits());
            let why = if span < waits {
                format!(
                    "the recording is over after {}, and the plan takes {} at least",
                    format_duration(Duration::from_millis(
                        u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
                    )),
                    format_duration(waits)
                )
            } else {
                "the recording is over, and the alarms had too little data to go on".to_owned()
            };
            self.stop(why);
        }
        let mut assumptions = self.stage.assumptions().to_vec();
        let has_approvals =
            self.plan.shift.steps().iter().any(|step| step.approval == crate::shift::Approval::Required);
        assumptions
            .extend(has_approvals.then(|| "approvals are given as soon as they are asked for".to_owned()));
        let warms_up = self.plan.alarms.warm_up.is_some();
        assumptions
            .extend(warms_up.then(|| {
                "green's instances take turns at its first requests, which warm them up".to_owned()
            }));
        let on_tokens = self.plan.alarms.on_tokens();
        assumptions
            .extend(on_tokens.map(|_| "a request without a first token was to be no stream".to_owned()));
        let of_variants = self.plan.alarms.thresholds.iter().any(|threshold| threshold.variant.is_some());
        assumptions.extend(of_variants.then(|| {
            "thresholds on a variant look at all of green: a recording does not tell variants apart"
                .to_owned()
        }));
        assumptions.extend(self.plan.alarms.externals.iter().map(|external| {
            let why = match &external.poll {
                None => "nobody reports here, and a recording holds no reports",
                Some(_) => "a recording holds no answers of what it asks",
            };
            format!("external alarm {} is left out: {why}", external.name)
        }));
        assumptions
            .push("what was open when the recording was taken is not in it, and is no evidence".to_owned());
        Replay {
            source: self.stage.source(),
            assumptions,
            played: self.played,
            steps: self.steps,
            end: self.end.expect("it was stopped, if it had not ended"),
        }
    }
}

/// Requests whose end told something.
fn told(reading: &Reading) -> u64 {
    reading.succeeded + reading.client_errors + reading.failed()
}

/// The outcome that the meters counted.
fn outcome(entry: &Entry, course: Course, passed: PassedMarks) -> Outcome {
    let Course { stamp: _, dealt_at: _, overdue, marks: _, is_warm_up } = course;
    let record = &entry.record;
    Outcome {
        verdict: record.verdict,
        status: record.status,
        grpc_status: record.grpc_status,
        first_byte: record.first_byte,
        first_token: record.first_token,
        tokens_out: record.tokens_out,
        duration: record.duration,
        bytes_in: 0,
        bytes_out: 0,
        overdue,
        passed,
        is_warm_up,
    }
}
