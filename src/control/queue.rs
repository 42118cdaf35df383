//! Shifts that wait for their turn behind the one that runs, and shifts that supersede it.
//!
//! A queued shift is durable before its sender is told, and outlives the process. Whose turn it is follows from what runs, what ended last
//! and who waits, and is looked at after everything that happens ([`Task::take_turns`]), so that a crash between two steps costs
//! nothing:
//!
//! - A shift that supersedes another stands before all others. As long as the other runs and has a way back, it is rolled back; when it
//!   is over, whatever came of it, the new one begins.
//! - The first in line begins when the one before was promoted, or, where its plan says so, when it is over. If the one before was not
//!   promoted, those that wanted that are dropped, up to the first that begins in any case; each drop is an event that says why.
//! - One whose plan names a start or hours to come stands aside until then, for as long as others may pass it. What its plan says of a
//!   shift that runs is settled at that moment: it is dropped, waits, or makes the other one make way.
//! - What cannot begin when its turn comes is dropped with the reason: an external alarm that is raised by then keeps it from beginning as it
//!   would have kept it from being queued. While the endpoint is frozen nobody's turn comes.

use super::{
    Actor, ControlError, Execution, Handle, Lineage, QueuedView, ShiftView,
    ask::{Ask, Order},
    begin,
    endpoint::Endpoint,
    ledger::Draft,
    outlook::FindingForm,
    raised::with_later_look,
    run::{By, Run},
    task::Task,
};
use crate::{
    name::{EndpointName, ShiftId},
    shift::{Command, IfRunning, Input, StartAfter, State, Turn, Wait},
    store::{QueuedShift, Record, StoreError},
    time::WallTime,
};

/// How many shifts of an endpoint may wait. More than a handful of versions that nobody has seen serve is a mistake in a pipeline.
const MOST_QUEUED: usize = 8;

/// What came of asking for a shift.
#[derive(Clone, PartialEq, Debug)]
pub enum Submitted {
    /// It has begun.
    Begun(Box<ShiftView>),
    /// It waits for its turn.
    Queued(Box<QueuedView>),
}

/// The shift of an endpoint that ended last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ended {
    pub(super) id: ShiftId,
    pub(super) state: State,
    pub(super) at: Option<WallTime>,
    pub(super) superseded_by: Option<ShiftId>,
}

/// Whose turn it is.
enum Act {
    /// Nobody's.
    Wait,
    /// The running one makes way.
    MakeWay(ShiftId),
    /// This one's.
    Begin(ShiftId),
    /// This one's turn will not come.
    Drop(ShiftId, String),
}

impl Handle {
    /// Takes a shift out of its queue.
    pub async fn cancel_queued(
        &self,
        id: &ShiftId,
        actor: impl Into<Actor>,
    ) -> Result<QueuedView, ControlError> {
        let (id, actor) = (id.clone(), actor.into());
        self.ask(|reply| Ask::Cancel { id, actor, reply }).await
    }
}

impl Task {
    /// Queues a shift behind the running one, or before all others where it supersedes that.
    pub(super) async fn enqueue(
        &mut self,
        name: &EndpointName,
        order: Order,
        execution: Execution,
    ) -> Result<QueuedView, ControlError> {
        let wall = self.wall();
        let is_first =
            self.endpoint(name).is_ok_and(|endpoint| endpoint.run.is_none() && endpoint.queue.is_empty());
        if is_first {
            self.check_later(name, &order)?;
        }
        let Order { plan, actor, findings, lineage: _ } = order;
        let endpoint = self.endpoint(name)?;
        let waits = plan.schedule.wait(wall).is_some();
        let supersedes = match (plan.turn.if_running, &endpoint.run) {
            (IfRunning::Supersede, Some(run)) if !waits => Some(run.id.clone()),
            (IfRunning::Supersede | IfRunning::Queue | IfRunning::Refuse, _) => None,
        };
        // At most one makes another shift make way: the last one that asked.
        let replaces = |first: &&QueuedShift| supersedes.is_some() && first.supersedes.is_some();
        let replaced = endpoint.queue.first().filter(replaces).cloned();
        if endpoint.queue.len() >= MOST_QUEUED && replaced.is_none() {
            return Err(ControlError::QueueFull { endpoint: name.clone(), most: MOST_QUEUED });
        }
        let id = match execution {
            Execution::Dry => begin::dry_run_id(),
            Execution::Real => self.fresh_id(name).await?,
        };
        let queued = QueuedShift {
            id,
            endpoint: name.clone(),
            plan,
            actor: actor.name.clone(),
            peer: actor.peer.clone(),
            reason: actor.reason.clone(),
            queued_at: wall,
            supersedes,
            findings: serde_json::to_value(findings.iter().map(FindingForm::of).collect::<Vec<_>>())
                .expect("findings are texts and finite numbers"),
        };
        let endpoint = self.endpoint(name)?;
        let mut after = endpoint.queue.clone();
        after.retain(|waiting| Some(&waiting.id) != replaced.as_ref().map(|replaced| &replaced.id));
        let place = if queued.supersedes.is_some() { 0 } else { after.len() };
        after.insert(place, queued.clone());
        let view = endpoint.queued_view(&after, place, wall);
        if execution == Execution::Dry {
            return Ok(view);
        }
        let mut drafts = vec![self.queue_draft("shift.queued", &queued, &actor, view.waits_for.clone())];
        let mut records = vec![Record::Queued(Box::new(queued.clone()))];
        if let Some(replaced) = &replaced {
            let why = format!("superseded by {} before it began", queued.id);
            drafts.push(self.queue_draft("shift.dropped", replaced, &actor, why));
            records.push(Record::Dequeued(replaced.id.clone()));
        }
        self.commit(records, &drafts).await?;
        if let Some(endpoint) = self.endpoints.get_mut(name) {
            endpoint.queue = after;
        }
        Ok(view)
    }

    pub(super) async fn cancel(&mut self, id: &ShiftId, actor: &Actor) -> Result<QueuedView, ControlError> {
        let place =
            |endpoint: &Endpoint| Some((endpoint.place_of(id)?, endpoint.record.declared.name.clone()));
        let Some((place, name)) = self.endpoints.values().find_map(place) else {
            return Err(ControlError::NotQueued(id.clone()));
        };
        let endpoint = self.endpoint(&name)?;
        let view = endpoint.queued_view(&endpoint.queue, place, self.wall());
        let queued = endpoint.queue[place].clone();
        let why = actor.given_reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        self.take_out(&name, &queued, actor, format!("cancelled{why}")).await?;
        Ok(view)
    }

    /// Lets everybody begin whose turn it is, and drops those whose turn will not come. Does nothing where nothing has changed.
    pub(super) async fn take_turns(&mut self) {
        if self.retry_at.is_some() {
            return;
        }
        let waiting = |endpoint: &&Endpoint| !endpoint.queue.is_empty();
        let names =
            self.endpoints.values().filter(waiting).map(|endpoint| endpoint.record.declared.name.clone());
        for name in names.collect::<Vec<_>>() {
            // Each act takes one out of the queue or is the last one.
            for _ in 0..=MOST_QUEUED {
                let Some(act) = self.endpoints.get(&name).map(|endpoint| endpoint.turn(self.wall())) else {
                    break;
                };
                match act {
                    Act::Wait => break,
                    Act::MakeWay(by) => {
                        self.make_way(&name, &by).await;
                        break;
                    }
                    Act::Begin(id) => self.begin_queued(&name, &id).await,
                    Act::Drop(id, why) => self.drop_queued(&name, &id, why).await,
                }
                if self.retry_at.is_some() {
                    return;
                }
            }
        }
    }

    /// Rolls the running shift back, in the name of whoever supersedes it.
    async fn make_way(&mut self, name: &EndpointName, by: &ShiftId) {
        let Some(standing) = self.standing(name) else { return };
        let Some(endpoint) = self.endpoints.get_mut(name) else { return };
        let actor = endpoint.queue.iter().find(|queued| queued.id == *by).map(actor_of);
        let (Some(run), Some(actor)) = (&mut endpoint.run, actor) else { return };
        run.lineage.superseded_by = Some(by.clone());
        let why = actor.given_reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        let actor = Actor { reason: format!("superseded by {by}{why}"), ..actor };
        let input = Input::Command(Command::Abort, standing);
        if let Err(error) = self.feed(name, input, By::Operator(actor)).await {
            tracing::warn!(endpoint = %name, %error, "a shift does not make way");
        }
    }

    async fn begin_queued(&mut self, name: &EndpointName, id: &ShiftId) {
        let Some(endpoint) = self.endpoints.get(name) else { return };
        let Some(queued) = endpoint.queue.iter().find(|queued| queued.id == *id).cloned() else { return };
        // It was promoted after all where it was past its way back.
        let went_back = |ended: &&Ended| {
            let made_way = Some(&ended.id) == queued.supersedes.as_ref()
                || ended.superseded_by.as_ref() == Some(&queued.id);
            ended.state != State::Promoted && made_way
        };
        let supersedes = endpoint.ended.as_ref().filter(went_back).map(|ended| ended.id.clone());
        let later = match self.look_again(&queued) {
            None => return,
            Some(Ok(later)) => later,
            Some(Err(error)) => {
                return self.drop_queued(name, id, format!("it could not begin: {error}")).await;
            }
        };
        let findings: Vec<FindingForm> = serde_json::from_value(queued.findings.clone()).unwrap_or_default();
        let findings = findings.into_iter().map(FindingForm::finding).collect();
        let order = Order {
            plan: queued.plan.clone(),
            actor: actor_of(&queued),
            findings: with_later_look(findings, later),
            lineage: Lineage { supersedes, ..Lineage::default() },
        };
        match self.begin_now(name, order, queued.id.clone()).await {
            Ok(_) => {
                if let Some(endpoint) = self.endpoints.get_mut(name) {
                    endpoint.queue.retain(|waiting| waiting.id != queued.id);
                }
            }
            // Tried again when the journal can be written.
            Err(ControlError::Store(_)) => {}
            Err(error) => self.drop_queued(name, id, format!("it could not begin: {error}")).await,
        }
    }

    async fn drop_queued(&mut self, name: &EndpointName, id: &ShiftId, why: String) {
        let Some(endpoint) = self.endpoints.get(name) else { return };
        let Some(queued) = endpoint.queue.iter().find(|queued| queued.id == *id).cloned() else { return };
        tracing::info!(endpoint = %name, shift = %id, why, "a queued shift is dropped");
        // A failure is told by the ledger, and the drop is tried again.
        drop(self.take_out(name, &queued, &Actor::from("queue"), why).await);
    }

    async fn take_out(
        &mut self,
        name: &EndpointName,
        queued: &QueuedShift,
        actor: &Actor,
        why: String,
    ) -> Result<(), StoreError> {
        let draft = self.queue_draft("shift.dropped", queued, actor, why);
        self.commit(vec![Record::Dequeued(queued.id.clone())], &[draft]).await?;
        if let Some(endpoint) = self.endpoints.get_mut(name) {
            endpoint.queue.retain(|waiting| waiting.id != queued.id);
        }
        Ok(())
    }

    /// The events of shifts that wait on an endpoint that goes.
    pub(super) fn orphaned(&self, name: &EndpointName, actor: &Actor) -> Vec<Draft> {
        let queue = self.endpoints.get(name).map(|endpoint| endpoint.queue.as_slice()).unwrap_or_default();
        let why = "its endpoint is gone";
        queue.iter().map(|queued| self.queue_draft("shift.dropped", queued, actor, why.to_owned())).collect()
    }

    fn queue_draft(&self, kind: &'static str, queued: &QueuedShift, actor: &Actor, cause: String) -> Draft {
        let draft = self.draft(kind, Some(&queued.endpoint), actor, cause);
        Draft { shift: Some(queued.id.clone()), ..draft }
    }
}

impl Endpoint {
    /// Those that wait, in their order.
    pub(super) fn queue_views(&self, now: WallTime) -> Vec<QueuedView> {
        (0..self.queue.len()).map(|place| self.queued_view(&self.queue, place, now)).collect()
    }

    fn place_of(&self, id: &ShiftId) -> Option<usize> {
        self.queue.iter().position(|queued| queued.id == *id)
    }

    /// Whether the external alarms of a shift whose turn has come are being asked.
    fn looks_for(&self, id: &ShiftId) -> bool {
        self.second_look.as_ref().is_some_and(|look| look.awaits(id))
    }

    /// Whose turn it is among those whose own plan makes them wait for nothing: one that supersedes whatever runs first.
    fn turn(&self, now: WallTime) -> Act {
        let due = || self.queue.iter().filter(|queued| queued.plan.schedule.wait(now).is_none());
        let supersedes = |queued: &&QueuedShift| queued.plan.turn.if_running == IfRunning::Supersede;
        let Some(first) = due().find(supersedes).or_else(|| due().next()) else { return Act::Wait };
        if let Some(run) = &self.run {
            return match first.plan.turn.if_running {
                IfRunning::Supersede if run.engine.state().has_way_back() => Act::MakeWay(first.id.clone()),
                IfRunning::Refuse => {
                    let why = format!(
                        "{} was running when its time came, and its plan refuses to wait for it",
                        run.id
                    );
                    Act::Drop(first.id.clone(), why)
                }
                IfRunning::Supersede | IfRunning::Queue => Act::Wait,
            };
        }
        match self.ended.as_ref().filter(|ended| was_to_follow(first, ended)) {
            Some(Ended { id, state, .. }) if *state != State::Promoted => {
                let became = state.as_str().replace('_', " ");
                let why = format!("{id}, which it was to follow once promoted, was {became}");
                Act::Drop(first.id.clone(), why)
            }
            Some(_) | None if self.freeze.is_some() || self.looks_for(&first.id) => Act::Wait,
            Some(_) | None => Act::Begin(first.id.clone()),
        }
    }

    fn queued_view(&self, queue: &[QueuedShift], place: usize, now: WallTime) -> QueuedView {
        let queued = &queue[place];
        let wait = queued.plan.schedule.wait(now);
        let waits_for = match wait {
            Some(wait) => scheduled(queued, wait),
            None => self.waits_for(queue, place, now),
        };
        QueuedView { queued: queued.clone(), place: place + 1, waits_for, not_before: wait.map(Wait::until) }
    }

    /// What one waits for whose plan makes it wait for no moment.
    fn waits_for(&self, queue: &[QueuedShift], place: usize, now: WallTime) -> String {
        let queued = &queue[place];
        let is_due = |before: &&QueuedShift| before.plan.schedule.wait(now).is_none();
        let before = queue[..place].iter().rfind(is_due).map(|before| &before.id);
        let before = before.or(self.run.as_ref().map(|run| &run.id));
        match (&queued.supersedes, before, queued.plan.turn.if_running, queued.plan.turn.start_after) {
            (Some(other), _, _, _) => {
                format!("the end of {other}, which it supersedes and which rolls back")
            }
            (None, Some(before), IfRunning::Supersede, _) => {
                format!("the end of {before}, which makes way for it")
            }
            (None, Some(before), _, StartAfter::Promoted) => {
                format!("the promotion of {before}; dropped if that goes back")
            }
            (None, Some(before), _, StartAfter::Ended) => format!("the end of {before}"),
            (None, None, _, _) if self.freeze.is_some() => "its endpoint to be unfrozen".to_owned(),
            (None, None, _, _) => "its endpoint to be free".to_owned(),
        }
    }
}

/// Whether a shift that has ended is one whose promotion a queued one was to wait for. Of one with a schedule, what had ended before it was
/// asked for, or before the moment that its plan names, was not in its way.
fn was_to_follow(queued: &QueuedShift, ended: &Ended) -> bool {
    let Turn { if_running, start_after } = queued.plan.turn;
    let schedule = &queued.plan.schedule;
    let since = schedule.start_at.unwrap_or(queued.queued_at);
    let is_later = schedule.is_empty() || ended.at.is_none_or(|at| at >= since);
    if_running == IfRunning::Queue && start_after == StartAfter::Promoted && is_later
}

/// What a shift waits for by its own plan, and what becomes of it then if another one runs.
fn scheduled(queued: &QueuedShift, wait: Wait) -> String {
    let what = match wait {
        Wait::Start(at) => format!("its start at {at}"),
        Wait::Hours(at) => {
            format!("its allowed hours ({}), which begin at {at}", queued.plan.schedule.hours_text())
        }
    };
    let then = match queued.plan.turn.if_running {
        IfRunning::Refuse => "dropped if another shift runs then",
        IfRunning::Queue => "behind the shift that runs then, if one does",
        IfRunning::Supersede => "the shift that runs then, if one does, makes way for it",
    };
    format!("{what}; {then}")
}

fn actor_of(queued: &QueuedShift) -> Actor {
    Actor { name: queued.actor.clone(), peer: queued.peer.clone(), reason: queued.reason.clone() }
}

impl Run {
    /// What is left to say of a shift that ends now.
    pub(super) fn ended(&self) -> Ended {
        Ended {
            id: self.id.clone(),
            state: self.engine.state().clone(),
            at: self.moments.ended_at,
            superseded_by: self.lineage.superseded_by.clone(),
        }
    }
}
