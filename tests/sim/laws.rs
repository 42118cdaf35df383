//! What holds at every moment, as somebody sees it who has the published table, the journal and a clock, and nothing else.
//!
//! - The generations of a process's tables never go back (S8).
//! - Green's share is never above what the journal says of the shift: what raises it is durable first. It may be below, since the way
//!   back acts before it writes (S2, S3).
//! - While everything is frozen, or the shift is paused between steps, or its hours are over, green's share does not rise, except to what it
//!   was before a restart.
//! - A scheduled shift does not begin before its moment.
//! - A share once taken away for good does not come back, neither later nor after a restart.
//! - A step begins after the whole bake of the one before, unless somebody asked otherwise (S5).
//! - What is over stays as it is, and the endpoint serves what it says (S4).
//! - One shift runs at a time, and the next begins when the one before is over.
//! - A fleet goes when nothing is in flight on it, or its time to drain is over (S7).
//! - Past its execution timeout a shift that can still go back gives green nothing, unless it goes back in batches (S10).

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    fleet::Side,
    route::EndpointRoute,
    shift::{Onward, PauseReason, ShiftPlan, State},
    store::ShiftRecord,
    weight::Share,
};

/// How much later than it happens something may be seen.
pub(super) const SEEN_WITHIN: Duration = Duration::from_millis(250);

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Laws {
    began: Instant,
    generation: u64,
    share: Share,
    /// The highest share that lives before this one came to, or had decided on.
    proven: Share,
    /// The most that green may have again after a restart though it goes back, until that was seen.
    kept: Share,
    /// When each step was first seen in this life of the process.
    reached: Vec<Option<Instant>>,
    /// Whether the journal knows of the way back.
    went_back: bool,
    draining_since: Option<Instant>,
    /// How it ended, and when that was seen.
    over: Option<(State, Instant)>,
    /// Whether everything is frozen.
    pub(super) is_frozen: bool,
    /// Time that the process cannot know of.
    pub(super) untold: Duration,
    /// Whether an operator skipped bakes.
    pub(super) is_skipped: bool,
}

/// What is seen at a moment.
#[derive(Debug)]
pub(super) struct Sight<'a> {
    pub(super) now: Instant,
    pub(super) generation: u64,
    pub(super) route: &'a EndpointRoute,
    pub(super) record: &'a ShiftRecord,
    /// Whether the process has died of its last commit or effect.
    pub(super) is_dead: bool,
    /// Whether its plan's hours were over for as long as it may take to see that they are.
    pub(super) are_hours_over: bool,
    /// Whether a request is open on blue and on green, as they were when the shift began.
    pub(super) open: [bool; 2],
}

type Verdict = Result<(), String>;

fn law(holds: bool, broken: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Laws {
    pub(super) fn new(now: Instant, steps: usize) -> Self {
        Self {
            began: now,
            generation: 0,
            share: Share::NONE,
            proven: Share::NONE,
            kept: Share::NONE,
            reached: vec![None; steps],
            went_back: false,
            draining_since: None,
            over: None,
            is_frozen: false,
            untold: Duration::ZERO,
            is_skipped: false,
        }
    }

    /// Those of the shift that comes next in the same process.
    pub(super) fn of_next(&self, now: Instant, record: &ShiftRecord) -> Self {
        let Self { generation, is_frozen, .. } = *self;
        let steps = record.plan.shift.steps().len();
        Self { generation, is_frozen, ..Self::new(now, steps) }
    }

    /// The process starts again, and finds this.
    pub(super) fn begin_life(&mut self, record: &ShiftRecord) {
        let state = &record.snapshot.state;
        self.proven = self.proven.max(self.share).max(most(&record.plan.shift, state));
        self.generation = 0;
        self.share = Share::NONE;
        self.kept = if state.cause().is_some() { most(&record.plan.shift, state) } else { Share::NONE };
        self.reached.fill(None);
        // What waits for approval has baked, and so has what lets its batch of blue go or has done so.
        let baked = match state {
            State::Paused { step, reason: PauseReason::Approval, .. } | State::RetiringBatch { step, .. } => {
                Some(*step)
            }
            State::PreparingBatch { step, .. } | State::HoldingBatch { step } => step.checked_sub(1),
            State::Preparing { .. }
            | State::Baking { .. }
            | State::Holding { .. }
            | State::Paused { reason: PauseReason::Operator, .. }
            | State::TerminationWait { .. }
            | State::Retiring { .. }
            | State::RollingBack { .. }
            | State::ReleasingBatch { .. }
            | State::Restoring { .. }
            | State::Promoted
            | State::RolledBack { .. }
            | State::RollbackFailed { .. } => None,
        };
        if let Some(step) = baked {
            self.reached[step] = Some(self.began);
        }
        self.draining_since = None;
    }

    pub(super) fn observe(&mut self, sight: &Sight<'_>) -> Verdict {
        let (share, state) = (sight.route.split.green, &sight.record.snapshot.state);
        law(sight.generation >= self.generation, || {
            format!("S8: table {} after table {}", sight.generation, self.generation)
        })?;
        self.generation = sight.generation;
        let plan = &sight.record.plan.shift;
        // A process that died between a commit and what it allows has not taken anything away yet, and serves nobody any more.
        let most = if sight.is_dead { most(plan, state).max(self.share) } else { most(plan, state) };
        law(share <= most, || {
            format!("S2: green has {share}, but the journal says {}, which is {most}", state.as_str())
        })?;
        law(share <= self.share.max(self.kept) || !self.went_back, || {
            format!("S3: green has {share} after the way back")
        })?;
        self.went_back |= state.cause().is_some();
        if share > self.share {
            let is_paused = sight.record.snapshot.onward == Onward::Paused;
            let is_held = self.is_frozen || is_paused || sight.are_hours_over;
            law(!is_held || share <= self.proven, || {
                format!("S2: green is given {share} while the shift is frozen, paused or out of its hours")
            })?;
            if !self.went_back {
                self.check_step(sight.now, plan, share)?;
            }
        }
        self.kept = Share::NONE;
        // The way back acts before the journal knows of it.
        if share == Share::NONE && self.share > Share::NONE {
            self.draining_since.get_or_insert(sight.now);
        }
        self.share = share;
        self.check_end(sight)?;
        let (waited, timeout) = (sight.now - self.began, plan.limits().execution_timeout);
        // In batches green may keep what blue cannot take, before and after the journal can be told.
        let keeps = plan.rolling().is_some_and(|rolling| rolling.rollback_batch.is_some());
        law(
            keeps
                || !state.has_way_back()
                || share == Share::NONE
                || waited <= timeout + self.untold + SEEN_WITHIN,
            || format!("S10: green has {share} {waited:?} after the start"),
        )
    }

    fn check_step(&mut self, now: Instant, plan: &ShiftPlan, share: Share) -> Verdict {
        let step = plan.steps().iter().position(|step| step.share == share);
        let step = step.ok_or_else(|| format!("green has {share}, which is no step's share"))?;
        let is_known = share <= self.proven || self.is_skipped;
        let before = self.reached.get(step.wrapping_sub(1)).copied().flatten();
        // A step that nobody saw was over within a look.
        let lasted = before.map_or(Duration::ZERO, |since| now - since);
        let has_baked =
            step.checked_sub(1).is_none_or(|before| lasted + SEEN_WITHIN >= plan.steps()[before].bake);
        law(is_known || has_baked, || {
            format!("S5: step {step} began before the bake of the one before was over")
        })?;
        self.reached[step].get_or_insert(now);
        Ok(())
    }

    fn check_end(&mut self, sight: &Sight<'_>) -> Verdict {
        let state = &sight.record.snapshot.state;
        if let Some((over, since)) = &self.over {
            law(state == over, || format!("S4: a shift that was {} is {}", over.as_str(), state.as_str()))?;
            let has_settled = sight.now - *since > SEEN_WITHIN;
            return if has_settled { check_result(sight) } else { Ok(()) };
        }
        if matches!(state, State::Retiring { .. } | State::RollingBack { .. }) {
            self.draining_since.get_or_insert(sight.now);
        }
        if !state.is_terminal() {
            return Ok(());
        }
        self.over = Some((state.clone(), sight.now));
        if matches!(state, State::RollbackFailed { .. }) {
            // What is left of both serves.
            return Ok(());
        }
        let goes = if *state == State::Promoted { Side::Blue } else { Side::Green };
        let is_open = sight.open[usize::from(goes == Side::Green)];
        let drained = self.draining_since.map_or(Duration::ZERO, |since| sight.now - since);
        law(!is_open || drained + SEEN_WITHIN >= sight.record.plan.shift.limits().drain_timeout, || {
            format!("S7: {goes:?} went after {drained:?} with a request in flight")
        })
    }
}

/// What is over is what serves.
fn check_result(sight: &Sight<'_>) -> Verdict {
    let ShiftRecord { snapshot, plan, blue, .. } = sight.record;
    if matches!(snapshot.state, State::RollbackFailed { .. }) {
        return Ok(());
    }
    let stays = if snapshot.state == State::Promoted { &plan.green.version } else { &blue.version };
    law(sight.route.blue.fleet.version == *stays && sight.route.green.is_none(), || {
        format!(
            "S4: {} serves after the shift was {}",
            sight.route.blue.fleet.version,
            snapshot.state.as_str()
        )
    })
}

/// The highest share that a state of the journal allows.
fn most(plan: &ShiftPlan, state: &State) -> Share {
    match state {
        State::Preparing { .. } | State::RollingBack { .. } | State::RolledBack { .. } => Share::NONE,
        State::Baking { step, .. }
        | State::Holding { step }
        | State::Paused { step, .. }
        | State::RetiringBatch { step, .. } => plan.steps()[*step].share,
        State::PreparingBatch { step, .. } | State::HoldingBatch { step } => plan.steps()[*step - 1].share,
        State::ReleasingBatch { back, .. }
        | State::Restoring { back, .. }
        | State::RollbackFailed { back, .. } => {
            plan.rolling().map_or(Share::NONE, |rolling| rolling.share_on_the_way_back(*back))
        }
        State::TerminationWait { .. } | State::Retiring { .. } | State::Promoted => Share::ALL,
    }
}
