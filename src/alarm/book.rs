//! All alarms of one shift, fed with readings of green's meters.
//!
//! **Guarantee**: a healthy green is called bad in at most the plan's fraction `false_alarm` of all shifts, over all their steps, alarms and
//! looks together. Each of m guards gets a = false_alarm/m and is raised at evidence of ln(1/a) nats; that the parts add up needs no
//! independence (the union bound).
//!
//! **Bets**: a guard's money goes in over time (`purse`), and a part put in now may be paid only by requests dealt afterwards. So
//! every request is stamped with the number of the newest bet when it is dealt, and a new bet waits until no request of an older
//! stamp is open. At a step's start it does not wait; failures of requests two bets old are then left out, which makes the alarm more
//! careful, never less.
//!
//! **Counts** are differences between readings, for the current stamp and the one before; the meters' slots are used again and again, so
//! a slot is compared with itself at the last look. A client that leaves undecided takes its request out of the count by its stamp, even
//! when that was counted many looks ago.

use std::time::Duration;

use super::{
    AlarmEvidence, AlarmPlan, AlarmState, Guard, GuardBound, Standing, Verdicts,
    guard::{GuardTest, Tally, least_failures},
    purse::Purse,
    recent::Recent,
};
use crate::meter::{CohortReading, MAX_BOUNDS, Reading, Stamp};

/// All alarms of one shift. Never forgets: a raised alarm stays raised.
#[derive(Clone, Debug)]
pub struct AlarmBook {
    alarms: Vec<GuardAlarm>,
    purse: Purse,
    /// Whether a step has begun since the last new bet: the next one waits for no open request.
    step_begun: bool,
    /// What the last look saw.
    last: Reading,
    max_failures: Option<u64>,
    /// The first raised alarm.
    breach: Option<AlarmEvidence>,
}

/// One guard at work.
#[derive(Clone, Debug)]
struct GuardAlarm {
    guard: Guard,
    counted: Counted,
    test: GuardTest,
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
enum Counted {
    Failures,
    /// Requests that took as long as the bound of this index or longer.
    Exceedances(usize),
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
    /// The alarms of a plan with this many bakes (at least 1), for meters of green that start at zero. `life` counts the process starts
    /// that this shift has seen, from 0: each later life gets half the false-alarm probability of the one before, so the promise over
    /// the shift is at most doubled.
    pub fn new(plan: &AlarmPlan, bakes: usize, life: u32) -> Self {
        let bounds = Self::bounds(plan);
        let threshold = plan.threshold(life);
        Self {
            alarms: plan.guards.iter().map(|guard| GuardAlarm::new(guard, &bounds, threshold)).collect(),
            purse: Purse::new(bakes),
            step_begun: false,
            last: Reading::default(),
            max_failures: plan.max_failures,
            breach: None,
        }
    }

    /// The latency bounds that the data plane must count against, each once, in the order of the meters' `exceeded`.
    pub fn bounds(plan: &AlarmPlan) -> Vec<Duration> {
        let mut bounds = Vec::new();
        for guard in &plan.guards {
            match guard.bound {
                GuardBound::Latency { below, .. } if !bounds.contains(&below) => bounds.push(below),
                GuardBound::Latency { .. } | GuardBound::ErrorRate { .. } => {}
            }
        }
        bounds
    }

    /// A bake begins. Call before its first request is dealt; the next look begins a new bet.
    pub fn begin_step(&mut self) {
        self.purse.begin_step();
        self.step_begun = true;
        let stake = self.purse.first_part();
        for alarm in &mut self.alarms {
            alarm.judged = 0;
            alarm.needed = least_failures(alarm.guard.bound.permitted(), alarm.threshold, stake);
        }
    }

    /// Looks at green's meters. `current` is the watch point's stamp. Readings only ever grow; a counter that shrank counts as no
    /// progress, and from there on.
    pub fn look(&mut self, green: &Reading, current: Stamp) -> Verdicts {
        let progress = Progress::between(&self.last, green, current);
        self.last.clone_from(green);
        self.purse.dealt(progress.current.dealt + progress.previous.dealt);
        for alarm in &mut self.alarms {
            alarm.take_in(&progress, self.purse.cash());
        }
        if self.breach.is_none() {
            self.breach = self.alarms.iter().find_map(|alarm| alarm.raised.clone());
        }
        let nothing_older_is_open = green.open_before(current) == 0;
        let new_bet =
            !self.alarms.is_empty() && self.purse.is_due() && (self.step_begun || nothing_older_is_open);
        if new_bet {
            self.step_begun = false;
            let money = self.purse.draw();
            for alarm in &mut self.alarms {
                alarm.test.bet(money);
            }
        }
        Verdicts { standing: self.standing(), new_bet }
    }

    /// What every alarm says, in the plan's order, with the numbers of the last look.
    pub fn evidence(&self) -> Vec<AlarmEvidence> {
        self.alarms.iter().map(|alarm| alarm.evidence(self.purse.cash())).collect()
    }

    fn standing(&self) -> Standing {
        if let Some(evidence) = &self.breach {
            return Standing::Breached(evidence.clone());
        }
        let failures = self.last.failed_for_clients();
        if let Some(max_failures) = self.max_failures
            && failures >= max_failures
        {
            return Standing::BudgetSpent { failures, max_failures };
        }
        let blind = self.alarms.iter().filter(|alarm| alarm.state() == AlarmState::InsufficientData);
        let alarms: Vec<String> = blind.map(|alarm| alarm.guard.name.clone()).collect();
        if alarms.is_empty() { Standing::Clear } else { Standing::InsufficientData { alarms } }
    }
}

impl GuardAlarm {
    fn new(guard: &Guard, bounds: &[Duration], threshold: f64) -> Self {
        let counted = match guard.bound {
            GuardBound::ErrorRate { .. } => Counted::Failures,
            GuardBound::Latency { below, .. } => {
                let index = bounds.iter().take(MAX_BOUNDS).position(|bound| *bound == below);
                index.map_or(Counted::Nothing, Counted::Exceedances)
            }
        };
        Self {
            guard: guard.clone(),
            counted,
            test: GuardTest::new(guard.bound.permitted()),
            threshold,
            total: Tally::default(),
            recent: Recent::default(),
            judged: 0,
            needed: u64::MAX,
            raised: None,
        }
    }

    fn take_in(&mut self, progress: &Progress, cash: f64) {
        if self.raised.is_some() {
            return;
        }
        let (current, previous) =
            (self.counted.tally(&progress.current), self.counted.tally(&progress.previous));
        let untold =
            self.counted.untold(&progress.current).saturating_add(self.counted.untold(&progress.previous));
        self.judged = self.judged.saturating_add(progress.settled.saturating_sub(untold));
        let both = current.plus(previous);
        self.total = self.total.plus(both);
        self.recent.observe(self.test.increments(), both);
        self.test.observe(current, previous);
        if self.test.reaches(self.threshold, cash) {
            self.raised = Some(AlarmEvidence { state: AlarmState::Alarm, missing: 0, ..self.evidence(cash) });
        }
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
                bound: self.guard.bound,
                state: self.state(),
                requests: self.total.requests as u64,
                failures: self.total.failures as u64,
                recent_requests: recent.requests as u64,
                recent_failures: recent.failures as u64,
                ln_e: self.test.ln_e(cash),
                threshold: self.threshold,
                missing: self.needed.saturating_sub(self.judged),
            }
        })
    }
}

impl Counted {
    fn tally(self, cohort: &CohortReading) -> Tally {
        let failures = match self {
            Self::Failures => cohort.failed,
            Self::Exceedances(index) => cohort.exceeded[index],
            Self::Nothing => return Tally::default(),
        };
        Tally { requests: cohort.dealt as f64 - self.untold(cohort) as f64, failures: failures as f64 }
    }

    /// Requests that have ended in a way that says nothing about what is counted.
    fn untold(self, cohort: &CohortReading) -> u64 {
        match self {
            Self::Failures => cohort.left,
            Self::Exceedances(index) => cohort.excused[index],
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
