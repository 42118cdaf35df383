//! How the rest of the process talks to control.

use std::{num::NonZeroU32, sync::Arc};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::{
    Actor, EndpointView, Glance, Lineage, Report, Scene, ShiftView, Submitted, Track,
    ask::{Ask, Order, Reply},
    asking::Inquire,
    declare::Blue,
    glance::Look,
    ledger::thread_failed,
    outlook,
    probe::Check,
    raised,
    report::{self, recorded_view},
    variants::Weights,
};
use crate::{
    alarm::Dealing,
    config::{Config, EndpointSpec, PlanSpec, Problem, Problems},
    lint::Lint,
    meter::Recorder,
    name::{EndpointName, ShiftId, Version},
    shift::{Command, IfRunning, Refusal},
    store::{Event, Journal, StoreError},
    time::WallTime,
    tls::{Keychain, Which},
};

/// How many questions may wait. Whoever asks when as many wait already waits for a place.
pub(super) const WAITING: usize = 64;

/// How many of an endpoint's shifts are shown.
const SHIFTS_SHOWN: usize = 100;

/// How many events one answer holds.
const EVENTS_AT_ONCE: usize = 1000;

/// A cheap copy for each that asks. What changes something, and what is asked about the present, is answered by control's one task, in
/// order; what is over is read from the journal.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) ready: watch::Receiver<Result<(), String>>,
    pub(super) keychain: Arc<Keychain>,
    pub(super) inquirer: Arc<dyn Inquire>,
    pub(super) check: Arc<dyn Check>,
}

/// A command to a shift, with who and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShiftCommand {
    /// What.
    pub command: Command,
    /// Who, and why.
    pub actor: Actor,
}

/// Why control did not do what was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No such endpoint.
    #[error("there is no endpoint {name}; there are: {known}")]
    NoEndpoint {
        /// As asked.
        name: EndpointName,
        /// The known names, separated by commas.
        known: String,
    },
    /// No running shift has such an external alarm.
    #[error("no running shift has an external alarm {name:?}; there are: {known}")]
    NoAlarm {
        /// As asked.
        name: String,
        /// The known names, separated by commas.
        known: String,
    },
    /// An alarm of the plan is raised already.
    #[error("{endpoint} cannot start this shift: {alarm}: {message}")]
    AlarmRaised {
        /// Whose shift.
        endpoint: EndpointName,
        /// `external quality`.
        alarm: String,
        /// Since what, and what would be right.
        message: String,
    },
    /// No such shift.
    #[error("there is no shift {0}")]
    NoShift(ShiftId),
    /// The endpoint has a running shift.
    #[error("endpoint {endpoint} has a running shift, {running}: wait for its end, or abort it")]
    ShiftRunning {
        /// Whose.
        endpoint: EndpointName,
        /// The running one.
        running: ShiftId,
    },
    /// The number of instances is not the proxy's to change.
    #[error("the instances of {version} at {endpoint} cannot be scaled: {why}")]
    NotScalable {
        /// Whose.
        endpoint: EndpointName,
        /// The version in service.
        version: Version,
        /// Whose it is, and what would do it.
        why: String,
    },
    /// There is no version before, or it cannot be had any more.
    #[error("cannot undo {endpoint}: {why}")]
    NothingToUndo {
        /// Whose.
        endpoint: EndpointName,
        /// Why not, and what would be right.
        why: String,
    },
    /// As many shifts wait for their turn as may.
    #[error(
        "endpoint {endpoint} has {most} shifts in its queue, and no more may wait: cancel one, or wait until one begins"
    )]
    QueueFull {
        /// Whose.
        endpoint: EndpointName,
        /// How many may wait.
        most: usize,
    },
    /// No shift of this id waits for its turn.
    #[error("no shift {0} waits for its turn: one that has begun is ended by abort")]
    NotQueued(ShiftId),
    /// Nothing begins while the endpoint is frozen.
    #[error("cannot start a shift: {why}")]
    Frozen {
        /// Who froze what, since when and why.
        why: String,
    },
    /// The engine refused a command.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The document cannot be carried out as it stands (an alarm that cannot fire, an ambiguous match).
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The journal failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process is ending.
    #[error("snapback is shutting down")]
    ShuttingDown,
}

/// Whether a change is carried out or only checked (`?dry_run=true`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Execution {
    /// Carried out.
    Real,
    /// Checked, and answered as if it had been; nothing changes.
    Dry,
}

impl Handle {
    /// All endpoints, by name.
    pub async fn endpoints(&self) -> Result<Vec<EndpointView>, ControlError> {
        self.ask(|reply| Ask::Endpoints { reply }).await
    }

    /// One endpoint.
    pub async fn endpoint(&self, name: &EndpointName) -> Result<EndpointView, ControlError> {
        self.ask(|reply| Ask::Endpoint { name: name.clone(), reply }).await
    }

    /// All endpoints at a glance, by name.
    pub async fn glances(&self) -> Result<Vec<Glance>, ControlError> {
        self.ask(|reply| Ask::Look(Look::Glances { reply })).await
    }

    /// One endpoint with its running shift, and the points of its last minutes after a moment.
    pub async fn scene(&self, name: &EndpointName, after: Option<WallTime>) -> Result<Scene, ControlError> {
        let scene = self.ask(|reply| Ask::Look(Look::Scene { name: name.clone(), after, reply })).await?;
        Ok(*scene)
    }

    /// A shift's traffic from its beginning; empty for one of a journal that was written before there were any.
    pub async fn track(&self, id: &ShiftId) -> Result<Track, ControlError> {
        if let Some(track) = self.ask(|reply| Ask::Look(Look::Track { id: id.clone(), reply })).await? {
            return Ok(track);
        }
        let wanted = id.clone();
        let record = self.read(move |journal| journal.shift(&wanted)).await?;
        let record = record.ok_or_else(|| ControlError::NoShift(id.clone()))?;
        Ok(report::Report::read(&record).track())
    }

    /// Where an endpoint's outcomes are recorded, if they are, and how its requests come to their fleet.
    pub async fn recorder(
        &self,
        name: &EndpointName,
    ) -> Result<(Option<Arc<Recorder>>, Dealing), ControlError> {
        self.ask(|reply| Ask::Recorder { endpoint: name.clone(), reply }).await
    }

    /// Declares or changes an endpoint. A changed blue replaces the fleet in service; refused while a shift runs. A blue that is the same
    /// as in the declaration before leaves in service what a shift has promoted since.
    pub async fn put_endpoint(
        &self,
        spec: EndpointSpec,
        actor: impl Into<Actor>,
        execution: Execution,
    ) -> Result<EndpointView, ControlError> {
        let (spec, actor) = (Box::new(spec), actor.into());
        self.ask(|reply| Ask::Put { spec, actor, blue: Blue::Declared, execution, reply }).await
    }

    /// Declares an endpoint whose blue serves from now on, whatever a shift has promoted since it was declared before.
    pub async fn serve_fleet(&self, spec: EndpointSpec, actor: &Actor) -> Result<EndpointView, ControlError> {
        let (spec, actor, execution) = (Box::new(spec), actor.clone(), Execution::Real);
        self.ask(|reply| Ask::Put { spec, actor, blue: Blue::Served, execution, reply }).await
    }

    /// Gives the fleet in service another count of instances; refused while a shift runs, and where no provider makes them.
    pub async fn scale_endpoint(
        &self,
        name: &EndpointName,
        count: NonZeroU32,
        actor: &Actor,
        execution: Execution,
    ) -> Result<EndpointView, ControlError> {
        let (name, actor) = (name.clone(), actor.clone());
        self.ask(|reply| Ask::Scale { name, count, actor, execution, reply }).await
    }

    /// Gives the variants of the fleet in service other weights, from the next request on; refused while a shift runs.
    pub async fn weigh_variants(
        &self,
        name: &EndpointName,
        weights: Weights,
        actor: &Actor,
        execution: Execution,
    ) -> Result<EndpointView, ControlError> {
        let (name, actor) = (name.clone(), actor.clone());
        self.ask(|reply| Ask::Weigh { name, weights, actor, execution, reply }).await
    }

    /// Removes an endpoint; refused while a shift runs. Its shifts stay in the journal.
    pub async fn delete_endpoint(
        &self,
        name: &EndpointName,
        actor: impl Into<Actor>,
        execution: Execution,
    ) -> Result<(), ControlError> {
        let (name, actor) = (name.clone(), actor.into());
        self.ask(|reply| Ask::Delete { name, actor, execution, reply }).await
    }

    /// Starts a shift. A dry run answers with the id `dry-run`.
    pub async fn start_shift(
        &self,
        endpoint: &EndpointName,
        plan: PlanSpec,
        actor: impl Into<Actor>,
        execution: Execution,
    ) -> Result<ShiftView, ControlError> {
        self.begin_shift(endpoint, plan, actor.into(), execution, Lineage::default()).await
    }

    /// Starts a shift, or queues it where another one runs and its plan says so.
    pub async fn submit_shift(
        &self,
        endpoint: &EndpointName,
        plan: PlanSpec,
        actor: impl Into<Actor>,
    ) -> Result<Submitted, ControlError> {
        let lint = self.lint(endpoint, &plan, None).await?;
        let findings = lint.as_ref().map(|lint| lint.findings.as_slice()).unwrap_or_default();
        raised::refuse_raised(endpoint, findings)?;
        let order = Order { plan, actor: actor.into(), findings: Vec::new(), lineage: Lineage::default() };
        self.begin(endpoint, order, Execution::Real, lint).await
    }

    pub(super) async fn begin_shift(
        &self,
        endpoint: &EndpointName,
        plan: PlanSpec,
        actor: Actor,
        execution: Execution,
        lineage: Lineage,
    ) -> Result<ShiftView, ControlError> {
        if plan.turn.if_running != IfRunning::Refuse {
            let message = "here a shift begins at once or not at all: leave if_running out";
            let problem = Problem { key: "if_running".to_owned(), line: None, message: message.to_owned() };
            return Err(Problems { source: "plan".to_owned(), problems: vec![problem] }.into());
        }
        if !plan.schedule.is_empty() {
            let message = "here a shift begins at once or not at all: leave start_at and allowed_hours out";
            let problem = Problem { key: "start_at".to_owned(), line: None, message: message.to_owned() };
            return Err(Problems { source: "plan".to_owned(), problems: vec![problem] }.into());
        }
        let lint = self.lint(endpoint, &plan, None).await?;
        if execution == Execution::Real {
            let findings = lint.as_ref().map(|lint| lint.findings.as_slice()).unwrap_or_default();
            raised::refuse_raised(endpoint, findings)?;
        }
        let order = Order { plan, actor, findings: Vec::new(), lineage };
        match self.begin(endpoint, order, execution, lint).await? {
            Submitted::Begun(view) => Ok(*view),
            Submitted::Queued(queued) => Err(ControlError::NoShift(queued.queued.id)),
        }
    }

    /// Checks a shift as a dry run of its start does, at a rate of requests a second that somebody states, or else at that of the last
    /// minutes.
    pub async fn check_shift(
        &self,
        endpoint: &EndpointName,
        plan: PlanSpec,
        actor: impl Into<Actor>,
        rate: Option<f64>,
    ) -> Result<Submitted, ControlError> {
        let lint = self.lint(endpoint, &plan, rate).await?;
        let order = Order { plan, actor: actor.into(), findings: Vec::new(), lineage: Lineage::default() };
        self.begin(endpoint, order, Execution::Dry, lint).await
    }

    async fn lint(
        &self,
        endpoint: &EndpointName,
        plan: &PlanSpec,
        rate: Option<f64>,
    ) -> Result<Option<Lint>, ControlError> {
        let (name, green) = (endpoint.clone(), Box::new(plan.green.clone()));
        let mut situation = self.ask(|reply| Ask::Situation { endpoint: name, green, reply }).await?;
        if let Some(rate) = rate {
            situation.traffic = situation.traffic.at(rate);
        }
        let externals = self.look_at_externals(endpoint, plan).await?;
        let lint = outlook::lint(endpoint, plan, situation).await;
        Ok(lint.map(|lint| lint.with(externals)))
    }

    async fn begin(
        &self,
        endpoint: &EndpointName,
        order: Order,
        execution: Execution,
        lint: Option<Lint>,
    ) -> Result<Submitted, ControlError> {
        let (forecast, findings) = lint.map(|lint| (lint.forecast, lint.findings)).unzip();
        let order = Box::new(Order { findings: findings.unwrap_or_default(), ..order });
        let endpoint = endpoint.clone();
        let submitted = self.ask(|reply| Ask::Start { endpoint, order, execution, reply }).await?;
        Ok(match (submitted, execution) {
            (Submitted::Begun(view), Execution::Dry) => {
                Submitted::Begun(Box::new(ShiftView { forecast, ..*view }))
            }
            (submitted, Execution::Real | Execution::Dry) => submitted,
        })
    }

    /// Commands a shift. A shift that is over is commanded as its engine would have it: what it has come to already is granted.
    pub async fn command_shift(
        &self,
        id: &ShiftId,
        command: ShiftCommand,
        execution: Execution,
    ) -> Result<ShiftView, ControlError> {
        let asked = command.command;
        let running = self.ask(|reply| Ask::Command { id: id.clone(), command, execution, reply }).await?;
        match running {
            Some(view) => Ok(view),
            None => over(self.recorded(id).await?, asked),
        }
    }

    /// Reports the state of an external alarm to the running shifts that watch it, and says which.
    pub async fn report_alarm(
        &self,
        report: Report,
        execution: Execution,
    ) -> Result<Vec<ShiftId>, ControlError> {
        self.ask(|reply| Ask::Report { report, execution, reply }).await
    }

    /// One shift, running or over.
    pub async fn shift(&self, id: &ShiftId) -> Result<ShiftView, ControlError> {
        match self.ask(|reply| Ask::Shift { id: id.clone(), reply }).await? {
            Some(view) => Ok(view),
            None => self.recorded(id).await,
        }
    }

    /// An endpoint's shifts, newest first, at most 100. Those of an endpoint that is gone are there as long as it had any.
    pub async fn shifts(&self, endpoint: &EndpointName) -> Result<Vec<ShiftView>, ControlError> {
        let running = self.ask(|reply| Ask::RunningShift { endpoint: endpoint.clone(), reply }).await;
        let name = endpoint.clone();
        let records = self.read(move |journal| journal.shifts_of(&name, SHIFTS_SHOWN)).await?;
        let running = match running {
            Ok(running) => running,
            Err(ControlError::NoEndpoint { .. }) if !records.is_empty() => None,
            Err(error) => return Err(error),
        };
        let views = records.into_iter().map(recorded_view).map(|recorded| match &running {
            Some(live) if live.id == recorded.id => live.clone(),
            Some(_) | None => recorded,
        });
        Ok(views.collect())
    }

    /// An endpoint's newest shift, running or over.
    pub async fn newest_shift(&self, endpoint: &EndpointName) -> Result<Option<ShiftView>, ControlError> {
        let running = self.ask(|reply| Ask::RunningShift { endpoint: endpoint.clone(), reply }).await?;
        if running.is_some() {
            return Ok(running);
        }
        let name = endpoint.clone();
        let records = self.read(move |journal| journal.shifts_of(&name, 1)).await?;
        Ok(records.into_iter().next().map(recorded_view))
    }

    /// Applies a checked configuration file: its endpoints, as far as no running shift stands against it. Other sections cannot change while
    /// the process runs. Certificates are read again in any case. Says in a line each what changed, what was left as it is and why, and which other keys differ.
    pub async fn apply(
        &self,
        config: &Config,
        actor: impl Into<Actor>,
        execution: Execution,
    ) -> Result<Vec<String>, ControlError> {
        let (config, actor) = (Box::new(config.clone()), actor.into());
        let by = actor.clone();
        let mut changes = self.ask(|reply| Ask::Apply { config, actor: by, execution, reply }).await?;
        if execution == Execution::Real {
            changes.extend(self.refresh_certificates(Which::All, actor).await);
        }
        Ok(changes)
    }

    /// Remembers in the stream of events (`config.refused`) that a configuration file was refused.
    pub async fn note_refused_config(
        &self,
        problems: &Problems,
        actor: impl Into<Actor>,
    ) -> Result<(), ControlError> {
        self.note("config.refused", problems.to_string(), actor).await
    }

    /// Remembers in the stream of events something that changed nothing here, such as a refusal.
    pub async fn note(
        &self,
        kind: &'static str,
        cause: String,
        actor: impl Into<Actor>,
    ) -> Result<(), ControlError> {
        let actor = actor.into();
        self.ask(|reply| Ask::Note { kind, cause, actor, reply }).await
    }

    /// Journalled events with an id above `after`, at most 1,000.
    pub async fn events_after(&self, after: u64) -> Result<Vec<Event>, ControlError> {
        Ok(self.read(move |journal| journal.events_after(after, EVENTS_AT_ONCE)).await?)
    }

    /// Events from now on, each after it was journalled. A receiver that lags behind 1,024 events is told so and reads the journal again.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Whether new shifts can be accepted, that is, the journal can be written, recovery is over, and control runs; with the reason if not.
    pub fn ready(&self) -> Result<(), String> {
        if self.asks.is_closed() {
            return Err("control has ended: the process must be started again".to_owned());
        }
        self.ready.borrow().clone()
    }

    pub(super) async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Ask) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(make(reply)).await.map_err(|_| ControlError::ShuttingDown)?;
        answer.await.map_err(|_| ControlError::ShuttingDown)?
    }

    async fn recorded(&self, id: &ShiftId) -> Result<ShiftView, ControlError> {
        let wanted = id.clone();
        let record = self.read(move |journal| journal.shift(&wanted)).await?;
        record.map(recorded_view).ok_or_else(|| ControlError::NoShift(id.clone()))
    }

    /// Reads the journal on a thread that may block.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn Journal) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let journal = Arc::clone(&self.journal);
        let read = super::aside::aside(move || query(&*journal)).await;
        read.unwrap_or_else(|error| Err(thread_failed(&error)))
    }
}

/// A command to a shift that is over.
fn over(view: ShiftView, command: Command) -> Result<ShiftView, ControlError> {
    use crate::shift::State;
    let granted = match command {
        Command::Promote | Command::SkipBake { .. } => view.state == State::Promoted,
        Command::Abort => matches!(view.state, State::RolledBack { .. }),
        Command::Pause | Command::Resume => false,
    };
    if granted {
        return Ok(view);
    }
    Err(Refusal::WrongState { command: command.as_str(), state: view.state.as_str() }.into())
}
