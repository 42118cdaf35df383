//! A shift under watch: its alarms, and the one place where a snap is decided and acted on.
//!
//! The evaluator's thread looks at every shift that gives green traffic; the control task looks once more at the very moment at which
//! it decides something. Both come through [`Watched::judge`], so whoever sees the breach first publishes the blue-only table,
//! and the other finds it done.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use super::{external::external_text, publisher::Publisher, thresholds::threshold_text, timer::Timer, words};
use crate::{
    alarm::{
        self, AlarmBook, AlarmEvidence, AlarmPlan, AlarmState, Dealing, ExternalBook, ExternalEvidence,
        LEAST_ANSWERS, Sight, ThresholdBook, ThresholdEvidence, Totals,
    },
    meter::{Bell, Reading, WatchPoint},
    name::{EndpointName, ShiftId},
    route::FleetRoute,
    shift::{Cause, Standing},
    time::Moment,
    weight::Share,
};

/// A shift under watch, shared by the evaluator, the watchdog and the control task.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) endpoint: EndpointName,
    pub(super) shift: ShiftId,
    pub(super) green: FleetRoute,
    blue: FleetRoute,
    pub(super) watch: Arc<WatchPoint>,
    publisher: Arc<Publisher>,
    timer: Timer,
    bench: Mutex<Bench>,
    /// Apart from the bench, and never held for longer than a table takes to make: the watchdog must get here while a look hangs.
    snapped: Mutex<Option<Snap>>,
    /// Whether green has a share, so that the evaluator has something to look at.
    live: AtomicBool,
    changed: AtomicBool,
}

/// The alarms and what they said last.
#[derive(Debug)]
struct Bench {
    book: AlarmBook,
    thresholds: ThresholdBook,
    externals: ExternalBook,
    looked_at: Moment,
    standing: Standing,
}

/// A snap and its moments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Snap {
    pub(super) cause: Cause,
    /// The earliest moment at which the response that tipped the alarm may have been counted; `None` when no alarm decided.
    pub(super) breach: Option<Moment>,
    pub(super) decided: Moment,
    pub(super) published: Moment,
    /// Green responses settled when the decision fell.
    pub(super) green_responses: u64,
    /// Green requests in flight when the decision fell.
    pub(super) green_in_flight: u64,
}

/// What is needed to watch a shift.
#[derive(Debug)]
pub(super) struct WatchParts<'a> {
    pub(super) endpoint: EndpointName,
    pub(super) shift: ShiftId,
    pub(super) green: FleetRoute,
    pub(super) blue: FleetRoute,
    /// How the endpoint's requests come to their fleet.
    pub(super) dealing: Dealing,
    pub(super) alarms: &'a AlarmPlan,
    /// How many bakes the plan has.
    pub(super) bakes: usize,
    /// How often the process has started again during the shift.
    pub(super) life: u32,
    pub(super) bell: Arc<Bell>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) timer: Timer,
}

impl Watched {
    pub(super) fn new(parts: WatchParts<'_>) -> Self {
        let WatchParts { endpoint, shift, green, blue, dealing, alarms, bakes, life, bell, publisher, timer } =
            parts;
        let book = AlarmBook::new(alarms, bakes.max(1), life, dealing, &blue.meters.read());
        let bench = Bench {
            book,
            thresholds: ThresholdBook::new(&alarms.thresholds),
            externals: ExternalBook::new(&alarms.externals),
            looked_at: timer.now(),
            standing: Standing::InsufficientData,
        };
        Self {
            endpoint,
            shift,
            green,
            blue,
            watch: Arc::new(WatchPoint::new(&AlarmBook::bounds(alarms), bell)),
            publisher,
            timer,
            bench: Mutex::new(bench),
            snapped: Mutex::new(None),
            live: AtomicBool::new(false),
            changed: AtomicBool::new(false),
        }
    }

    /// Whether green has a share.
    pub(super) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Green has a share from now on, or none any more.
    pub(super) fn set_live(&self, live: Live) {
        self.live.store(live == Live::Yes, Ordering::Release);
    }

    /// The alarms begin a step in which green has this share. The look that follows at once begins the step's first bet before a request of it is dealt.
    pub(super) fn begin_step(&self, share: Share) {
        if let Ok(mut bench) = self.bench.lock() {
            bench.book.begin_step(share);
            let now = self.timer.now();
            bench.thresholds.begin_step(now);
            bench.externals.begin_step(now);
        }
        self.judge(None);
    }

    /// Looks at the meters now, and goes to blue if an alarm is raised. `rung` is the first ring since the look before.
    ///
    /// The response that tipped the alarm was not counted at the look before, and everything that speaks against green rings the bell
    /// after its moment is taken, so the later of the two moments bounds the breach from below: the time from breach to decision is
    /// never said to be shorter than it was.
    pub(super) fn judge(&self, rung: Option<Moment>) -> Standing {
        if let Some(snap) = self.snapped() {
            return Standing::Breached(snap.cause);
        }
        let Ok(mut bench) = self.bench.lock() else {
            // A look that panicked left numbers that nobody can trust.
            self.snap(Cause::EvaluatorStalled);
            return Standing::Breached(Cause::EvaluatorStalled);
        };
        let before = bench.looked_at;
        bench.looked_at = self.timer.now();
        let reading = self.green.meters.read();
        let verdicts = self.look(&mut bench.book, &reading);
        if verdicts.new_bet {
            self.watch.advance();
        }
        self.close_periods(&mut bench, &reading);
        let metered = with_thresholds(standing_of(verdicts.standing), &bench.thresholds);
        // Only what the meters showed has a response or a period that tipped it.
        let breach = matches!(metered, Standing::Breached(_)).then(|| before.max(rung.unwrap_or(before)));
        let standing = with_externals(metered, bench.externals.evidence(bench.looked_at));
        if let Standing::Breached(cause) = &standing {
            self.snap_on(cause.clone(), breach, &reading);
        }
        if standing != bench.standing {
            bench.standing = standing.clone();
            self.changed.store(true, Ordering::Release);
        }
        standing
    }

    fn look(&self, book: &mut AlarmBook, green: &Reading) -> alarm::Verdicts {
        let blue = self.blue.meters.read();
        if book.lacks_marks() && blue.succeeded + blue.client_errors >= LEAST_ANSWERS {
            book.mark(&self.green.meters.latency(), &self.blue.meters.latency());
        }
        let tails = book.edges().read(&self.green.meters, &self.blue.meters);
        book.look(Sight { green, blue: &blue, tails: &tails, stamp: self.watch.stamp() })
    }

    /// The histograms are read only where a period is over.
    fn close_periods(&self, bench: &mut Bench, reading: &Reading) {
        let now = bench.looked_at;
        if bench.thresholds.is_due(now) {
            let (latency, first_byte) = (self.green.meters.latency(), self.green.meters.first_byte());
            let totals = Totals { reading, latency: &latency, first_byte: &first_byte };
            bench.thresholds.look(now, totals);
        }
    }

    /// Goes to blue for a reason that is no alarm's.
    pub(super) fn snap(&self, cause: Cause) -> Option<Snap> {
        self.snap_on(cause, None, &self.green.meters.read())
    }

    /// The snap, if there was one.
    pub(super) fn snapped(&self) -> Option<Snap> {
        self.snapped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the standing changed since this was asked last.
    pub(super) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }

    /// Whether the standing changed since [`Watched::take_changed`] was asked.
    pub(super) fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// Every alarm with the numbers of the last look.
    pub(super) fn evidence(&self) -> Vec<AlarmEvidence> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner).book.evidence()
    }

    /// Takes a report on an external alarm. The next look acts on it.
    pub(super) fn report(&self, name: &str, state: AlarmState, reason: &str) {
        if let Ok(mut bench) = self.bench.lock() {
            bench.externals.report(name, state, reason, self.timer.now());
        }
    }

    /// Every external alarm: as it is now, and once there was a snap, as it was then.
    pub(super) fn externals(&self) -> Vec<ExternalEvidence> {
        let now = self.snapped().map_or_else(|| self.timer.now(), |snap| snap.decided);
        self.bench.lock().unwrap_or_else(PoisonError::into_inner).externals.evidence(now).collect()
    }

    /// Every threshold alarm with the datapoints of the last look.
    pub(super) fn thresholds(&self) -> Vec<ThresholdEvidence> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner).thresholds.evidence()
    }

    fn snap_on(&self, cause: Cause, breach: Option<Moment>, reading: &Reading) -> Option<Snap> {
        // Held over the publishing, so that whoever finds the latch closed finds the snap's moments too.
        let mut snapped = self.snapped.lock().unwrap_or_else(PoisonError::into_inner);
        if snapped.is_some() {
            return snapped.clone();
        }
        let decided = self.timer.now();
        let published = self.publisher.snap_to_blue(&self.endpoint, &self.shift)?;
        let green_responses = reading.settled();
        let green_in_flight = reading.dealt.saturating_sub(green_responses);
        *snapped = Some(Snap { cause, breach, decided, published, green_responses, green_in_flight });
        self.changed.store(true, Ordering::Release);
        snapped.clone()
    }
}

/// Whether green has a share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Live {
    /// It has.
    Yes,
    /// It has none.
    No,
}

/// All shifts under watch.
#[derive(Debug, Default)]
pub(super) struct Roster(Mutex<Vec<Arc<Watched>>>);

impl Roster {
    pub(super) fn add(&self, watched: Arc<Watched>) {
        self.lock().push(watched);
    }

    pub(super) fn remove(&self, shift: &ShiftId) {
        self.lock().retain(|watched| watched.shift != *shift);
    }

    /// The shifts that give green traffic.
    pub(super) fn live(&self) -> Vec<Arc<Watched>> {
        self.lock().iter().filter(|watched| watched.is_live()).cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Watched>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all alarms say, threshold alarms among them.
fn with_thresholds(standing: Standing, thresholds: &ThresholdBook) -> Standing {
    match (standing, thresholds.raised()) {
        (breached @ Standing::Breached(_), _) => breached,
        (Standing::Clear | Standing::InsufficientData, Some(raised)) => Standing::Breached(Cause::Alarm {
            evidence: threshold_text(&raised),
            name: raised.threshold.name,
        }),
        (Standing::Clear, None) if thresholds.lacks_data() => Standing::InsufficientData,
        (standing @ (Standing::Clear | Standing::InsufficientData), None) => standing,
    }
}

/// What all alarms say, external ones among them.
fn with_externals(standing: Standing, externals: impl Iterator<Item = ExternalEvidence>) -> Standing {
    externals.fold(standing, |standing, evidence| match (standing, evidence.state) {
        (breached @ Standing::Breached(_), _) => breached,
        (Standing::Clear | Standing::InsufficientData, AlarmState::Alarm) => {
            Standing::Breached(Cause::Alarm {
                evidence: external_text(&evidence),
                name: evidence.external.name,
            })
        }
        (Standing::InsufficientData, AlarmState::Ok)
        | (Standing::Clear | Standing::InsufficientData, AlarmState::InsufficientData) => {
            Standing::InsufficientData
        }
        (Standing::Clear, AlarmState::Ok) => Standing::Clear,
    })
}

/// What the alarms say, in the engine's words.
fn standing_of(standing: alarm::Standing) -> Standing {
    match standing {
        alarm::Standing::Clear => Standing::Clear,
        alarm::Standing::InsufficientData { .. } => Standing::InsufficientData,
        alarm::Standing::Breached(evidence) => {
            Standing::Breached(Cause::Alarm { evidence: words::evidence(&evidence), name: evidence.name })
        }
        alarm::Standing::BudgetSpent { failures, max_failures: _ } => {
            Standing::Breached(Cause::FailureBudget { failures })
        }
    }
}
