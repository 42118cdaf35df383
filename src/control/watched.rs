//! A shift under watch: its alarms, and the one place where a snap is decided and acted on.
//!
//! The evaluator's thread looks at every shift that gives green traffic; the control task looks once more at the very moment at which
//! it decides something. Both come through [`Watched::judge`], so whoever sees the breach first publishes the blue-only table,
//! and the other finds it done.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{ExternalView, Report, external_form::Lasting, fate::Tally, publisher::Publisher, timer::Timer};
use crate::{
    alarm::{
        AlarmBook, AlarmEvidence, AlarmPlan, AlarmState, Answer, Dealing, ExternalBook, ExternalEvidence,
        Safety, ThresholdEvidence,
    },
    clock,
    meter::{Bell, Reading, WatchPoint},
    name::{EndpointName, ShiftId},
    route::FleetRoute,
    shift::{Cause, Standing},
    time::Moment,
    trial::{Breach, Look, Meters, Trial},
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
    trial: Trial,
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
    /// Green's counters when the decision fell.
    pub(super) tally: Tally,
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
    /// Failures of green that clients saw before the process started.
    pub(super) spent: u64,
    pub(super) bell: Arc<Bell>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) timer: Timer,
}

impl Watched {
    pub(super) fn new(parts: WatchParts<'_>) -> Self {
        let WatchParts {
            endpoint,
            shift,
            green,
            blue,
            dealing,
            alarms,
            bakes,
            life,
            spent,
            bell,
            publisher,
            timer,
        } = parts;
        let (blue_now, now) = (blue.meters.read(), timer.now());
        let trial = Trial::new(alarms, bakes, life, dealing, &blue_now, now).with_spent(spent);
        let watch = WatchPoint::new(&AlarmBook::bounds(alarms), bell)
            .with_token_bounds(&AlarmBook::token_bounds(alarms))
            .warming(alarms.warm_up);
        let needs_order = AlarmBook::needs_order(alarms, dealing);
        let watch = if needs_order { watch.in_order(green.meters.workers()) } else { watch };
        let watch = if AlarmBook::compares_latency(alarms) { watch.comparing_latency() } else { watch };
        let bench = Bench { trial, standing: Standing::InsufficientData };
        Self {
            endpoint,
            shift,
            green,
            blue,
            watch: Arc::new(watch),
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
            bench.trial.begin_step(share, self.timer.now());
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
        let meters = Meters { green: &self.green.meters, blue: &self.blue.meters };
        let Look { standing, breach, before, green } =
            bench.trial.look(self.timer.now(), meters, &self.watch);
        if let Standing::Breached(cause) = &standing {
            // Only what the meters showed has a response or a period that tipped it.
            let breach = (breach == Some(Breach::Metered)).then(|| before.max(rung.unwrap_or(before)));
            self.snap_on(cause.clone(), breach, &green);
        }
        if standing != bench.standing {
            bench.standing = standing.clone();
            self.changed.store(true, Ordering::Release);
        }
        standing
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
        self.bench.lock().unwrap_or_else(PoisonError::into_inner).trial.evidence()
    }

    /// Takes a report on an external alarm. The next look acts on it.
    pub(super) fn report(&self, name: &str, state: AlarmState, reason: &str) {
        if let Ok(mut bench) = self.bench.lock() {
            bench.trial.externals_mut().report(name, state, reason, self.timer.now());
        }
    }

    /// Takes what a poll came to, or why it failed. A raised alarm acts here. Says what the alarm said before, and what it says now; `None` when
    /// there is no such alarm.
    pub(super) fn polled(
        &self,
        name: &str,
        outcome: Result<Answer, String>,
    ) -> Option<(AlarmState, ExternalEvidence)> {
        let mut bench = self.bench.lock().ok()?;
        let now = self.timer.now();
        let before = bench.trial.externals_mut().polled(name, outcome, now)?;
        let after = bench.trial.externals().evidence(now).find(|evidence| evidence.external.name == name)?;
        drop(bench);
        if after.state == AlarmState::Alarm && self.is_live() {
            self.judge(None);
        }
        Some((before, after))
    }

    /// Goes on with the reports of an earlier process that still hold. Where a lease has ended meanwhile, whoever reports could not renew it, so
    /// the wait for a report begins anew.
    pub(super) fn resume(&self, reports: Vec<Lasting>) {
        let (now, wall) = (self.timer.now(), clock::wall());
        let Ok(mut bench) = self.bench.lock() else { return };
        for Lasting { name, state, reason, until } in reports {
            let left = until.as_millis().saturating_sub(wall.as_millis());
            if let Ok(left @ 1..) = u64::try_from(left) {
                bench.trial.externals_mut().resume(
                    &name,
                    state,
                    &reason,
                    now.after(Duration::from_millis(left)),
                );
            }
        }
    }

    /// Every external alarm: as it is now, and once there was a snap, as it was then.
    pub(super) fn externals(&self) -> Vec<ExternalView> {
        self.views(self.bench.lock().unwrap_or_else(PoisonError::into_inner).trial.externals())
    }

    /// Every external alarm as it would be with a report.
    pub(super) fn externals_with(&self, report: &Report) -> Vec<ExternalView> {
        let mut externals =
            self.bench.lock().unwrap_or_else(PoisonError::into_inner).trial.externals().clone();
        externals.report(&report.name, report.state, &report.reason, self.timer.now());
        self.views(&externals)
    }

    fn views(&self, externals: &ExternalBook) -> Vec<ExternalView> {
        let now = self.snapped().map_or_else(|| self.timer.now(), |snap| snap.decided);
        let wall = |ends: Option<Moment>| ends.map(|ends| self.timer.wall_of(ends));
        let all = externals.evidence(now).zip(externals.leases().map(wall));
        all.map(|(evidence, lease_ends_at)| ExternalView { evidence, lease_ends_at }).collect()
    }

    /// The evidence that the step may end early.
    pub(super) fn safety(&self) -> Option<Safety> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner).trial.safety()
    }

    /// Every threshold alarm with the datapoints of the last look.
    pub(super) fn thresholds(&self) -> Vec<ThresholdEvidence> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner).trial.thresholds()
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
        *snapped = Some(Snap {
            cause,
            breach,
            decided,
            published,
            green_responses,
            green_in_flight,
            tally: Tally::of(reading),
        });
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
