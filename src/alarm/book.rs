//! All alarms of one shift, fed with readings of green's meters.

use std::time::Duration;

use super::{AlarmPlan, GuardBound};
use crate::meter::{Reading, Stamp};

/// What an alarm says (CloudWatch's three states).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AlarmState {
    /// Green is within the bound as far as one can tell.
    Ok,
    /// The bound is violated; stays so for the rest of the shift.
    Alarm,
    /// So few of this step's requests are settled that not even a total outage could have raised it.
    InsufficientData,
}

/// What all alarms say together.
#[derive(Clone, PartialEq, Debug)]
pub enum Standing {
    /// Every alarm is ok.
    Clear,
    /// None is raised, but these have too little data.
    InsufficientData {
        /// The names of those alarms.
        alarms: Vec<String>,
    },
    /// At least one is raised: the first one's evidence.
    Breached(AlarmEvidence),
    /// Green's failures that reached clients have used up the plan's budget.
    BudgetSpent {
        /// Failures so far.
        failures: u64,
        /// The plan's number.
        max_failures: u64,
    },
}

/// An alarm with the numbers behind it.
#[derive(Clone, PartialEq, Debug)]
pub struct AlarmEvidence {
    /// The alarm's name.
    pub name: String,
    /// What it bounds.
    pub bound: GuardBound,
    /// What it says.
    pub state: AlarmState,
    /// Green requests that entered the test in this shift (dealt, less those that left undecided).
    pub requests: u64,
    /// Of those, known to have failed: errors, or answers that took as long as the bound or longer.
    pub failures: u64,
    /// The evidence against green in nats: ln E. The odds against chance are e^ln_e to 1.
    pub ln_e: f64,
    /// The ln E at which the alarm is raised: ln(number of alarms / false-alarm probability).
    pub threshold: f64,
    /// How many more requests of this step must settle before a total outage could have raised it; zero once enough have.
    pub missing: u64,
}

/// What one look at the meters led to.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdicts {
    /// What the alarms say now.
    pub standing: Standing,
    /// Whether a new bet begins: the caller advances the watch point's stamp and passes the new stamp from then on.
    pub new_bet: bool,
}

/// All alarms of one shift. Never forgets: a raised alarm stays raised.
#[derive(Clone, Debug)]
pub struct AlarmBook {}

impl AlarmBook {
    /// The alarms of a plan with this many bakes (at least 1). `life` counts the process starts that this shift has seen, from 0: each
    /// later life gets half the false-alarm probability of the one before, so the promise over the shift is at most doubled.
    pub fn new(_plan: &AlarmPlan, _bakes: usize, _life: u32) -> Self {
        todo!()
    }

    /// The latency bounds that the data plane must count against, in the order of the meters' `exceeded`.
    pub fn bounds(_plan: &AlarmPlan) -> Vec<Duration> {
        todo!()
    }

    /// A bake begins. Call before its first request is dealt; the next look begins a new bet.
    pub fn begin_step(&mut self) {
        todo!()
    }

    /// Looks at green's meters. `current` is the watch point's stamp. Readings only ever grow; one that shrank counts as no progress.
    pub fn look(&mut self, _green: &Reading, _current: Stamp) -> Verdicts {
        todo!()
    }

    /// What every alarm says, in the plan's order, with the numbers of the last look.
    pub fn evidence(&self) -> Vec<AlarmEvidence> {
        todo!()
    }
}

impl AlarmState {
    /// `ok`, `alarm` or `insufficient_data`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Alarm => "alarm",
            Self::InsufficientData => "insufficient_data",
        }
    }
}

impl AlarmEvidence {
    /// How near the alarm is: 0 with no evidence against green, 1 when raised.
    pub fn nearness(&self) -> f64 {
        if self.threshold > 0.0 { (self.ln_e / self.threshold).clamp(0.0, 1.0) } else { 1.0 }
    }
}
