//! The three books of alarms behind one look.

use std::time::Duration;

use super::{evidence_text, external_text, safety_text, threshold_text};
use crate::{
    alarm::{
        self, AlarmBook, AlarmEvidence, AlarmPlan, AlarmState, Dealing, ExternalBook, ExternalEvidence,
        LEAST_ANSWERS, Safety, Sight, ThresholdBook, ThresholdEvidence, Totals,
    },
    meter::{DealingOrder, FleetMeters, Reading, Run, Timing, TokenBound, WatchPoint},
    shift::{Cause, Standing},
    time::Moment,
    weight::Share,
};

/// All alarms of one shift.
#[derive(Clone, Debug)]
pub struct Trial {
    book: AlarmBook,
    thresholds: ThresholdBook,
    externals: ExternalBook,
    looked_at: Moment,
    step_began: Moment,
    /// How long a step lasts at least, before it may end early.
    shortest_step: Duration,
    /// Why the step may end early, once it may.
    safe: Option<String>,
}

/// Both fleets' meters.
#[derive(Clone, Copy, Debug)]
pub struct Meters<'a> {
    /// Green's, which begin at zero with the shift.
    pub green: &'a FleetMeters,
    /// Blue's.
    pub blue: &'a FleetMeters,
}

/// What a look found.
#[derive(Clone, Debug)]
pub struct Look {
    /// What the alarms say.
    pub standing: Standing,
    /// What showed the breach, if there is one.
    pub breach: Option<Breach>,
    /// The moment of the look before.
    pub before: Moment,
    /// Green's meters as they were seen.
    pub green: Reading,
}

/// What showed a breach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breach {
    /// The meters: a response, or a period of them, tipped an alarm since the look before.
    Metered,
    /// A report from outside, or its absence.
    Reported,
}

impl Trial {
    /// The alarms of a plan with this many bakes, for meters of blue that stand at `blue`. `life` counts the process starts that this shift
    /// has seen, from 0.
    pub fn new(
        plan: &AlarmPlan,
        bakes: usize,
        life: u32,
        dealing: Dealing,
        blue: &Reading,
        now: Moment,
    ) -> Self {
        Self {
            book: AlarmBook::new(plan, bakes.max(1), life, dealing, blue),
            thresholds: ThresholdBook::new(&plan.thresholds),
            externals: ExternalBook::new(&plan.externals),
            looked_at: now,
            step_began: now,
            shortest_step: shortest_step(plan),
            safe: None,
        }
    }

    /// The same with so many failures of green that clients saw in earlier lives of the process.
    pub fn with_spent(self, spent: u64) -> Self {
        Self { book: self.book.with_spent(spent), ..self }
    }

    /// A step begins in which green has this share. To be followed by a look before a request of it is dealt, which begins the step's first
    /// bet.
    pub fn begin_step(&mut self, share: Share, now: Moment) {
        self.book.begin_step(share);
        self.thresholds.begin_step(now);
        self.externals.begin_step(now);
        (self.step_began, self.safe) = (now, None);
    }

    /// Looks at the meters, and begins a new bet at the watch point where one is due.
    pub fn look(&mut self, now: Moment, meters: Meters<'_>, watch: &WatchPoint) -> Look {
        let before = std::mem::replace(&mut self.looked_at, now);
        let green = meters.green.read();
        let verdicts = self.compare(meters, &green, watch);
        if verdicts.new_bet {
            watch.advance();
        }
        self.close_periods(meters.green, &green);
        let metered = with_thresholds(standing_of(verdicts.standing), &self.thresholds);
        let is_metered = matches!(metered, Standing::Breached(_));
        let standing = self.with_safety(with_externals(metered, self.externals.evidence(now)));
        let breach = match standing {
            Standing::Breached(_) if is_metered => Some(Breach::Metered),
            Standing::Breached(_) => Some(Breach::Reported),
            Standing::Clear | Standing::Safe { .. } | Standing::InsufficientData | Standing::Held { .. } => {
                None
            }
        };
        Look { standing, breach, before, green }
    }

    /// What all alarms say, the evidence that green is good among it. It stands as it was when there was enough of it first.
    fn with_safety(&mut self, standing: Standing) -> Standing {
        let lasts = self.looked_at.since(self.step_began) >= self.shortest_step;
        match standing {
            Standing::Clear if lasts => {
                let shown = self.book.safety().filter(Safety::is_shown);
                let Some(shown) = shown else { return Standing::Clear };
                let evidence = self.safe.get_or_insert_with(|| safety_text(&shown)).clone();
                Standing::Safe { evidence }
            }
            Standing::Clear
            | Standing::Safe { .. }
            | Standing::InsufficientData
            | Standing::Held { .. }
            | Standing::Breached(_) => standing,
        }
    }

    /// The evidence that green is good, where steps may end early.
    pub fn safety(&self) -> Option<Safety> {
        self.book.safety()
    }

    fn compare(&mut self, meters: Meters<'_>, green: &Reading, watch: &WatchPoint) -> alarm::Verdicts {
        let blue = meters.blue.read();
        let mut is_marked = false;
        for timing in Timing::ALL {
            if self.book.lacks_marks(timing) && blue.timed(timing) >= LEAST_ANSWERS {
                self.book.mark(timing, &meters.green.times(timing), &meters.blue.times(timing));
                is_marked |= timing == Timing::Latency;
            }
        }
        if is_marked {
            watch.mark(self.book.edges().late_marks());
        }
        let tails = self.book.edges().read(meters.green, meters.blue);
        let order = watch.order().filter(|_| self.book.looks_for_runs(green));
        let run = order.map_or_else(Run::default, DealingOrder::longest_run);
        self.book.look(Sight { green, blue: &blue, tails: &tails, stamp: watch.stamp(), run })
    }

    /// The histograms are read only where a period is over. Where nobody tells variants apart, as in a replay, all of green stands for each.
    fn close_periods(&mut self, green: &FleetMeters, reading: &Reading) {
        if !self.thresholds.is_due(self.looked_at) {
            return;
        }
        for variant in self.thresholds.due_variants(self.looked_at) {
            let meters = variant.as_ref().and_then(|name| green.variant(name));
            let own = meters.map(|meters| meters.read());
            let meters = meters.map_or(green, |meters| &**meters);
            let totals = Totals {
                reading: own.as_ref().unwrap_or(reading),
                latency: &meters.latency(),
                first_byte: &meters.first_byte(),
                first_token: &meters.first_token(),
                token_gap: &meters.token_gap(),
            };
            self.thresholds.look(self.looked_at, variant.as_ref(), totals);
        }
    }

    /// When a look has a period to close that nothing else announces.
    pub fn due_at(&self) -> Option<Moment> {
        self.thresholds.due_at()
    }

    /// The external alarms, to be told something. The next look acts on it.
    pub fn externals_mut(&mut self) -> &mut ExternalBook {
        &mut self.externals
    }

    /// Every guard and regression with the numbers of the last look.
    pub fn evidence(&self) -> Vec<AlarmEvidence> {
        self.book.evidence()
    }

    /// Every threshold alarm with the datapoints of the last look.
    pub fn thresholds(&self) -> Vec<ThresholdEvidence> {
        self.thresholds.evidence()
    }

    /// The external alarms.
    pub fn externals(&self) -> &ExternalBook {
        &self.externals
    }
}

/// Whatever the evidence, a step shows what a fleet does for this long: some faults take seconds to begin.
const SHORTEST_STEP: Duration = Duration::from_secs(10);

/// Twice the longest bound, so that answers that are about to be late have had their time.
fn shortest_step(plan: &AlarmPlan) -> Duration {
    let of_tokens = AlarmBook::token_bounds(plan).into_iter().map(|bound| match bound {
        TokenBound::FirstToken { below } | TokenBound::TokenGap { below } => below,
    });
    let bounds = AlarmBook::bounds(plan).into_iter().chain(of_tokens);
    bounds.map(|bound| bound.saturating_mul(2)).fold(SHORTEST_STEP, Duration::max)
}

/// What all alarms say, threshold alarms among them.
fn with_thresholds(standing: Standing, thresholds: &ThresholdBook) -> Standing {
    match (standing, thresholds.raised()) {
        (decided @ (Standing::Breached(_) | Standing::Held { .. }), _) => decided,
        (Standing::Clear | Standing::Safe { .. } | Standing::InsufficientData, Some(raised)) => {
            Standing::Breached(Cause::Alarm {
                evidence: threshold_text(&raised),
                name: raised.threshold.name,
            })
        }
        (Standing::Clear, None) if thresholds.lacks_data() => Standing::InsufficientData,
        (standing @ (Standing::Clear | Standing::Safe { .. } | Standing::InsufficientData), None) => standing,
    }
}

/// What all alarms say, external ones among them.
fn with_externals(standing: Standing, externals: impl Iterator<Item = ExternalEvidence>) -> Standing {
    externals.fold(standing, |standing, evidence| match (standing, evidence.state) {
        (decided @ (Standing::Breached(_) | Standing::Held { .. }), _) => decided,
        (Standing::Clear | Standing::Safe { .. } | Standing::InsufficientData, AlarmState::Alarm) => {
            Standing::Breached(Cause::Alarm {
                evidence: external_text(&evidence),
                name: evidence.external.name,
            })
        }
        (Standing::InsufficientData, AlarmState::Ok)
        | (
            Standing::Clear | Standing::Safe { .. } | Standing::InsufficientData,
            AlarmState::InsufficientData,
        ) => Standing::InsufficientData,
        (standing @ (Standing::Clear | Standing::Safe { .. }), AlarmState::Ok) => standing,
    })
}

/// What the alarms say, in the engine's words.
fn standing_of(standing: alarm::Standing) -> Standing {
    match standing {
        alarm::Standing::Clear => Standing::Clear,
        alarm::Standing::InsufficientData { .. } => Standing::InsufficientData,
        alarm::Standing::Breached(evidence) => {
            Standing::Breached(Cause::Alarm { evidence: evidence_text(&evidence), name: evidence.name })
        }
        alarm::Standing::BudgetSpent { failures, max_failures: _ } => {
            Standing::Breached(Cause::FailureBudget { failures })
        }
    }
}
