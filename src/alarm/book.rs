//! All alarms of one shift, fed with readings of both fleets' meters.
//!
//! **Guarantee**: a healthy green is called bad in at most the plan's fraction `false_alarm` of all shifts, over all their steps, alarms and
//! looks together. Each of m guards and regressions gets a = false_alarm/m and is raised at evidence of ln(1/a) nats; that the parts add up needs no
//! independence (the union bound).
//!
//! **Bets**: a guard's money goes in over time (`purse`), and a part put in now may be paid only by requests dealt afterwards. So
//! every request is stamped with the number of the newest bet when it is dealt, and a new bet waits until no request of an older
//! stamp is open. At a step's start it does not wait; failures of requests two bets old are then left out, which makes the alarm more
//! careful, never less.
//!
//! Regressions have a purse of their own: a failure's label is a fresh coin for every bet placed before it is known, so their money need
//! not wait for open requests.
//!
//! **Counts** are differences between readings, for the current stamp and the one before; the meters' slots are used again and again, so
//! a slot is compared with itself at the last look. A client that leaves undecided takes its request out of the count by its stamp, even
//! when that was counted many looks ago.

use std::time::Duration;

use super::{
    AlarmEvidence, AlarmPlan, AlarmState, Dealing, Edges, Guard, GuardBound, Rule, Safety, Slow, Standing,
    Tails, Verdicts,
    contest::{Done, RegressionAlarm},
    guard::{GuardTest, Tally},
    outage::{Reserve, least_requests},
    purse::Purse,
    ramp::Ramp,
    recent::Recent,
};
use crate::{
    meter::{
        CohortReading, HistogramSnapshot, MAX_BOUNDS, MAX_TOKEN_BOUNDS, Reading, Run, Stamp, Timing,
        TokenBound, WHOLE_STREAM,
    },
    weight::Share,
};

/// Answers of blue since a step began that tell its present quantiles; with fewer, all that it ever gave do.
const RECENT_ANSWERS: u64 = 1_000;

/// Evidence in nats from which on an alarm that is not raised keeps a step from ending early.
const SUSPICION: f64 = 1.0;

/// All alarms of one shift. Never forgets: a raised alarm stays raised.
#[derive(Clone, Debug)]
pub struct AlarmBook {
    guards: Vec<GuardAlarm>,
    regressions: Vec<RegressionAlarm>,
    dealing: Dealing,
    purse: Purse,
    regressions_purse: Purse,
    /// Whether a step has begun since the last new bet: the next one waits for no open request.
    step_begun: bool,
    /// What the last look saw of green, and of blue.
    last: Reading,
    last_blue: Reading,
    edges: Edges,
    last_tails: Tails,
    /// How often blue's quantiles of latency were taken.
    latency_marks: u32,
    /// Blue's times when its quantiles of them were taken last.
    marked: [Option<HistogramSnapshot>; Timing::ALL.len()],
    /// Requests dealt in this step: green's and blue's.
    dealt_in_step: (u64, u64),
    max_failures: Option<u64>,
    /// Failures that clients saw in earlier lives of the process.
    spent: u64,
    /// Whether a step may end early.
    ramp: Option<Ramp>,
    /// The first raised alarm.
    breach: Option<AlarmEvidence>,
}

/// Both fleets' meters at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Green's.
    pub green: &'a Reading,
    /// Blue's, read right after.
    pub blue: &'a Reading,
    /// The slow answers of both, by [`AlarmBook::edges`].
    pub tails: &'a Tails,
    /// The watch point's stamp.
    pub stamp: Stamp,
    /// The longest run of failures in the order of dealing, where [`AlarmBook::looks_for_runs`]; else nothing.
    pub run: Run,
}

/// One guard at work.
#[derive(Clone, Debug)]
struct GuardAlarm {
    guard: Guard,
    counted: Counted,
    burst: f64,
    test: GuardTest,
    reserve: Option<Reserve>,
    threshold: f64,
    /// Sums of the tallies over the shift.
    total: Tally,
    recent: Recent,
    /// Requests of the current step whose end told something, and how many of them the alarm needs.
    judged: u64,
    needed: u64,
    raised: Option<AlarmEvidence>,
}

/// Which of the meters' counters a guard looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Counted {
    Failures,
    /// Requests that took as long as the bound of this index or longer.
    Exceedances(usize),
    /// What of streams took as long as the bound on tokens of this index or longer.
    Tokens(usize),
    /// Nothing: the bound is one more than the meters can count, which `config` refuses. The alarm then stays at too little data,
    /// so that no shift goes on by it.
    Nothing,
}

/// What has happened since the last look, by the stamps of the requests.
#[derive(Clone, Copy, Debug)]
struct Progress {
    current: CohortReading,
    previous: CohortReading,
    settled: u64,
}

impl AlarmBook {
    /// The alarms of a plan with this many bakes (at least 1), for meters of green that start at zero and meters of blue that stand at
    /// `blue`. `life` counts the process starts
    /// that this shift has seen, from 0: each later life gets half the false-alarm probability of the one before, so the promise over
    /// the shift is at most doubled.
    pub fn new(plan: &AlarmPlan, bakes: usize, life: u32, dealing: Dealing, blue: &Reading) -> Self {
        let (bounds, token_bounds) = (Self::bounds(plan), Self::token_bounds(plan));
        let threshold = plan.threshold(life);
        let history = Done::between(&Reading::default(), blue);
        let regression = |regression| RegressionAlarm::new(regression, dealing, history, threshold);
        let guards: Vec<_> = plan
            .guards
            .iter()
            .map(|guard| GuardAlarm::new(guard, (&bounds, &token_bounds), threshold, dealing))
            .collect();
        let counted: Vec<_> = guards.iter().map(|alarm| alarm.counted).collect();
        Self {
            guards,
            ramp: Ramp::of(plan, dealing, &counted),
            regressions: plan.regressions.iter().map(regression).collect(),
            dealing,
            purse: Purse::new(bakes),
            regressions_purse: Purse::new(bakes),
            step_begun: false,
            last: Reading::default(),
            last_blue: blue.clone(),
            edges: Edges::default(),
            last_tails: Tails::default(),
            latency_marks: 0,
            marked: Default::default(),
            dealt_in_step: (0, 0),
            max_failures: plan.max_failures,
            spent: 0,
            breach: None,
        }
    }

    /// The same with so many failures that clients saw before the process started: the budget of failures is the whole shift's.
    pub fn with_spent(self, spent: u64) -> Self {
        Self { spent, ..self }
    }

    /// The latency bounds that the data plane must count against, each once, in the order of the meters' `exceeded`.
    pub fn bounds(plan: &AlarmPlan) -> Vec<Duration> {
        let mut bounds = Vec::new();
        for guard in &plan.guards {
            match guard.bound {
                GuardBound::Latency { below, .. } if !bounds.contains(&below) => bounds.push(below),
                GuardBound::Latency { .. }
                | GuardBound::ErrorRate { .. }
                | GuardBound::FirstToken { .. }
                | GuardBound::TokenGap { .. } => {}
            }
        }
        bounds
    }

    /// The same of the bounds on tokens, in the order of the meters' `tokens`.
    pub fn token_bounds(plan: &AlarmPlan) -> Vec<TokenBound> {
        let mut bounds = Vec::new();
        for bound in plan.guards.iter().filter_map(|guard| guard.bound.of_tokens()) {
            if !bounds.contains(&bound) {
                bounds.push(bound);
            }
        }
        bounds
    }

    /// Whether the data plane is to keep the order in which green's requests are dealt.
    pub fn needs_order(plan: &AlarmPlan, dealing: Dealing) -> bool {
        let has_reserve =
            |guard: &Guard| Reserve::of(guard, dealing.burst(guard.burst), plan.threshold(0)).is_some();
        plan.guards.iter().any(has_reserve)
    }

    /// Whether the data plane is to look at the open requests of both fleets, by the marks that [`Edges::late_marks`] gives it.
    pub fn compares_latency(plan: &AlarmPlan) -> bool {
        plan.regressions.iter().any(|regression| regression.bound.timing() == Some(Timing::Latency))
    }

    /// Whether the next look wants the longest run of failures: something failed since the last one.
    pub fn looks_for_runs(&self, green: &Reading) -> bool {
        green.failed() > self.last.failed() && self.guards.iter().any(|alarm| alarm.reserve.is_some())
    }

    /// A bake begins in which green has this share. Call before its first request is dealt; the next look begins a new bet.
    pub fn begin_step(&mut self, share: Share) {
        self.purse.begin_step();
        self.regressions_purse.begin_step();
        self.step_begun = true;
        let stake = self.purse.first_part();
        for alarm in &mut self.guards {
            alarm.begin_step(stake);
        }
        for alarm in &mut self.regressions {
            alarm.begin_step(share.as_fraction(), stake);
        }
        self.edges = Edges::default();
        self.last_tails = Tails::default();
        self.dealt_in_step = (0, 0);
        if let Some(ramp) = &mut self.ramp {
            ramp.begin_step(share);
        }
    }

    /// Whether a regression wants blue's quantiles of this time, by [`AlarmBook::mark`], before the next look.
    pub fn lacks_marks(&self, timing: Timing) -> bool {
        self.regressions.iter().any(|alarm| alarm.lacks_marks() == Some(timing))
    }

    /// Takes blue's quantiles of a time, which green's of this step are compared with, from all that blue has shown so far. Call with
    /// green's distribution of the same moment.
    pub fn mark(&mut self, timing: Timing, green: &HistogramSnapshot, blue: &HistogramSnapshot) {
        let recent = self.marked[timing.index()].as_ref().map(|marked| blue.since(marked));
        let recent = recent.filter(|recent| recent.count() >= RECENT_ANSWERS);
        for alarm in self.regressions.iter_mut().filter(|alarm| alarm.lacks_marks() == Some(timing)) {
            alarm.mark(recent.as_ref().unwrap_or(blue));
        }
        if timing == Timing::Latency {
            self.latency_marks = self.latency_marks.wrapping_add(1).max(1);
        }
        self.edges =
            Edges::of(self.regressions.iter().flat_map(RegressionAlarm::marks)).numbered(self.latency_marks);
        self.edges.count(timing, &mut self.last_tails, green, blue);
        self.marked[timing.index()] = Some(blue.clone());
    }

    /// The times at which slow answers are to be counted for the next look.
    pub fn edges(&self) -> &Edges {
        &self.edges
    }

    /// Looks at the meters. Readings only ever grow; a counter that shrank counts as no progress, and from there on.
    pub fn look(&mut self, sight: Sight<'_>) -> Verdicts {
        let Sight { green, blue, tails: _, stamp: current, run } = sight;
        self.compare(sight);
        if let Some(ramp) = &mut self.ramp {
            ramp.look([green, blue], &bad(&self.regressions));
        }
        let progress = Progress::between(&self.last, green, current);
        self.last.clone_from(green);
        self.purse.dealt(progress.current.dealt + progress.previous.dealt);
        for alarm in &mut self.guards {
            alarm.look_for_outage(green.dealt, run);
            alarm.take_in(&progress, self.purse.cash());
        }
        if self.breach.is_none() {
            let guard = self.guards.iter().find_map(|alarm| alarm.raised.as_ref());
            let raised = guard.or_else(|| self.regressions.iter().find_map(RegressionAlarm::raised));
            self.breach = raised.cloned();
        }
        let nothing_older_is_open = green.open_before(current) == 0;
        let new_bet =
            self.tells_stamps() && self.purse.is_due() && (self.step_begun || nothing_older_is_open);
        if new_bet {
            self.step_begun = false;
            let money = self.purse.draw();
            for alarm in &mut self.guards {
                alarm.test.bet(money);
            }
            if let Some(ramp) = &mut self.ramp {
                ramp.begin_stamp(current.after(), [green, blue], &bad(&self.regressions));
            }
        }
        Verdicts { standing: self.standing(), new_bet }
    }

    /// The evidence that the step may end early; `None` where that is not asked for, or nothing is known yet. An alarm that has evidence
    /// against green, though it is not raised, leaves none for it.
    pub fn safety(&self) -> Option<Safety> {
        let safety = self.ramp.as_ref()?.safety()?;
        let suspected = self.evidence().iter().any(|evidence| evidence.ln_e > SUSPICION);
        Some(if suspected { Safety { ln_e: safety.ln_e.min(0.0), ..safety } } else { safety })
    }

    /// Whether anything is told apart by stamps.
    fn tells_stamps(&self) -> bool {
        !self.guards.is_empty() || self.ramp.is_some()
    }

    /// Lets the regressions take in what both fleets did since the last look. A part that is due goes in before, for labels that are
    /// known from now on.
    fn compare(&mut self, sight: Sight<'_>) {
        if self.regressions.is_empty() {
            return;
        }
        let Sight { green, blue, tails, stamp: _, run: _ } = sight;
        let (of_green, of_blue) = (Done::between(&self.last, green), Done::between(&self.last_blue, blue));
        self.last_blue.clone_from(blue);
        let is_due = self.regressions_purse.is_due() && !(of_green.is_nothing() && of_blue.is_nothing());
        if is_due {
            let money = self.regressions_purse.draw();
            let seen = self.share_of_clients();
            for alarm in &mut self.regressions {
                alarm.bet(money, seen);
            }
        }
        self.regressions_purse.dealt(of_green.dealt);
        self.dealt_in_step.0 += of_green.dealt;
        self.dealt_in_step.1 += of_blue.dealt;
        let slow = |timing, marks| self.edges.slow(timing, &self.last_tails, tails, marks);
        for alarm in &mut self.regressions {
            alarm.take_in(of_green, of_blue, slow, self.regressions_purse.cash());
        }
        self.last_tails.follow(tails);
    }

    /// Green's share of this step's requests so far, where clients and not requests are dealt.
    fn share_of_clients(&self) -> Option<f64> {
        let (green, blue) = self.dealt_in_step;
        match self.dealing {
            Dealing::Sticky if green > 0 => Some(green as f64 / (green + blue) as f64),
            Dealing::Sticky | Dealing::Deck => None,
        }
    }

    /// What every alarm says, guards first and each kind in the plan's order, with the numbers of the last look.
    pub fn evidence(&self) -> Vec<AlarmEvidence> {
        let guards = self.guards.iter().map(|alarm| alarm.evidence(self.purse.cash()));
        let cash = self.regressions_purse.cash();
        guards.chain(self.regressions.iter().map(|alarm| alarm.evidence(cash))).collect()
    }

    fn standing(&self) -> Standing {
        if let Some(evidence) = &self.breach {
            return Standing::Breached(evidence.clone());
        }
        let failures = self.last.failed_for_clients().saturating_add(self.spent);
        if let Some(max_failures) = self.max_failures
            && failures >= max_failures
        {
            return Standing::BudgetSpent { failures, max_failures };
        }
        let guards = self.guards.iter().map(|alarm| (alarm.state(), alarm.guard.name.as_str()));
        let all = guards.chain(self.regressions.iter().map(|alarm| (alarm.state(), alarm.name())));
        let blind = all.filter(|(state, _)| *state == AlarmState::InsufficientData);
        let alarms: Vec<String> = blind.map(|(_, name)| name.to_owned()).collect();
        if alarms.is_empty() { Standing::Clear } else { Standing::InsufficientData { alarms } }
    }
}

/// What each regression has counted so far.
fn bad(regressions: &[RegressionAlarm]) -> Vec<Vec<Slow>> {
    regressions.iter().map(RegressionAlarm::bad).collect()
}

impl GuardAlarm {
    fn new(
        guard: &Guard,
        (bounds, token_bounds): (&[Duration], &[TokenBound]),
        threshold: f64,
        dealing: Dealing,
    ) -> Self {
        let burst = dealing.burst(guard.burst);
        let counted = match guard.bound {
            GuardBound::ErrorRate { .. } => Counted::Failures,
            GuardBound::Latency { below, .. } => {
                let index = bounds.iter().take(MAX_BOUNDS).position(|bound| *bound == below);
                index.map_or(Counted::Nothing, Counted::Exceedances)
            }
            GuardBound::FirstToken { .. } | GuardBound::TokenGap { .. } => {
                let wanted = guard.bound.of_tokens();
                let index =
                    token_bounds.iter().take(MAX_TOKEN_BOUNDS).position(|bound| Some(*bound) == wanted);
                index.map_or(Counted::Nothing, Counted::Tokens)
            }
        };
        Self {
            guard: guard.clone(),
            counted,
            burst,
            test: GuardTest::new(guard.bound.permitted(), burst),
            reserve: Reserve::of(guard, burst, threshold),
            threshold,
            total: Tally::default(),
            recent: Recent::default(),
            judged: 0,
            needed: u64::MAX,
            raised: None,
        }
    }

    /// A step begins in which this much money goes in first.
    fn begin_step(&mut self, stake: f64) {
        self.judged = 0;
        self.needed = least_requests(&self.guard, self.burst, (self.threshold, self.reserve.as_ref()), stake);
    }

    /// Requests dealt so far, and the longest run of failures among the last of them.
    fn look_for_outage(&mut self, dealt: u64, run: Run) {
        if let Some(reserve) = &mut self.reserve
            && self.raised.is_none()
        {
            reserve.take_in(dealt, run);
        }
    }

    fn take_in(&mut self, progress: &Progress, cash: f64) {
        if self.raised.is_some() {
            return;
        }
        let (current, previous) =
            (self.counted.tally(&progress.current), self.counted.tally(&progress.previous));
        self.judged = self.judged.saturating_add(self.counted.judged(progress));
        let both = current.plus(previous);
        self.total = self.total.plus(both);
        self.recent.observe(self.test.increments(), both);
        self.test.observe(current, previous);
        if self.is_reached(cash) {
            self.raised = Some(AlarmEvidence { state: AlarmState::Alarm, missing: 0, ..self.evidence(cash) });
        }
    }

    /// ln of the wealth of all bets.
    fn ln_e(&self, cash: f64) -> f64 {
        let others = self.test.ln_e(cash);
        self.reserve.as_ref().map_or(others, |reserve| reserve.with(others))
    }

    fn is_reached(&self, cash: f64) -> bool {
        self.reserve.as_ref().map_or_else(
            || self.test.reaches(self.threshold, cash),
            |reserve| reserve.is_won() || self.test.reaches(reserve.threshold_of_others(), cash),
        )
    }

    fn state(&self) -> AlarmState {
        if self.raised.is_some() {
            AlarmState::Alarm
        } else if self.judged < self.needed {
            AlarmState::InsufficientData
        } else {
            AlarmState::Ok
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sums of counters, exact below 2^53; a cast of what is below zero gives zero"
    )]
    fn evidence(&self, cash: f64) -> AlarmEvidence {
        self.raised.clone().unwrap_or_else(|| {
            let recent = self.recent.tally();
            AlarmEvidence {
                name: self.guard.name.clone(),
                rule: Rule::Guard(self.guard.bound),
                state: self.state(),
                requests: self.total.requests as u64,
                failures: self.total.failures.round() as u64,
                recent_requests: recent.requests as u64,
                recent_failures: recent.failures.round() as u64,
                ln_e: self.ln_e(cash),
                threshold: self.threshold,
                missing: self.needed.saturating_sub(self.judged),
            }
        })
    }
}

impl Counted {
    pub(super) fn tally(self, cohort: &CohortReading) -> Tally {
        let failures = match self {
            Self::Failures => cohort.failed as f64,
            Self::Exceedances(index) => cohort.exceeded[index] as f64,
            Self::Tokens(index) => cohort.tokens[index].long as f64 / WHOLE_STREAM as f64,
            Self::Nothing => return Tally::default(),
        };
        Tally { requests: cohort.dealt as f64 - self.untold(cohort) as f64, failures }
    }

    /// Requests on which the verdict has fallen.
    fn judged(self, progress: &Progress) -> u64 {
        let Progress { current, previous, settled } = progress;
        match self {
            // A stream's first token, and most of its gaps, are known long before its end.
            Self::Tokens(index) => current.tokens[index].judged + previous.tokens[index].judged,
            Self::Failures | Self::Exceedances(_) | Self::Nothing => {
                settled.saturating_sub(self.untold(current).saturating_add(self.untold(previous)))
            }
        }
    }

    /// Requests that have ended in a way that says nothing about what is counted.
    fn untold(self, cohort: &CohortReading) -> u64 {
        match self {
            Self::Failures => cohort.left,
            Self::Exceedances(index) => cohort.excused[index],
            Self::Tokens(index) => cohort.tokens[index].excused,
            Self::Nothing => u64::MAX,
        }
    }
}

impl Progress {
    fn between(last: &Reading, now: &Reading, current: Stamp) -> Self {
        let previous = current.before();
        Self {
            current: now.cohort(current).since(last.cohort(current)),
            previous: now.cohort(previous).since(last.cohort(previous)),
            settled: now.settled().saturating_sub(last.settled()),
        }
    }
}
