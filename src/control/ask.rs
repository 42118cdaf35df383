//! What can be asked of the control task, and its answers.

use std::{num::NonZeroU32, sync::Arc};

use tokio::sync::oneshot;

use super::{
    Actor, ControlError, EndpointView, Execution, Lineage, QueuedView, Report, ShiftCommand, ShiftView,
    Submitted, begin,
    declare::{self, Blue, Changes, Known, KnownEndpoints, Occasion},
    endpoint::Endpoint,
    freeze::Frost,
    glance::Look,
    hours,
    ledger::Draft,
    raised::Before,
    resources::ResourceChange,
    run::{By, Run},
    task::Task,
    variants::Weights,
};
use crate::{
    alarm::Dealing,
    config::{Config, EndpointSpec, PlanSpec},
    fleet::{FleetSpec, Health, InstanceSpec, Side},
    lint::{Finding, Situation},
    meter::Recorder,
    name::{EndpointName, ShiftId, nearest_name},
    shift::{IfRunning, Input, Shift, Wait},
    store::{EndpointRecord, Freeze, Origin, Record, StoreError},
    time::WallTime,
};

/// Where an answer goes. Whoever asked may have gone meanwhile; the thing is done all the same.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// A question or an order.
#[derive(Debug)]
pub(super) enum Ask {
    Endpoints {
        reply: Reply<Vec<EndpointView>>,
    },
    Endpoint {
        name: EndpointName,
        reply: Reply<EndpointView>,
    },
    /// What is seen.
    Look(Look),
    Put {
        spec: Box<EndpointSpec>,
        blue: Blue,
        actor: Actor,
        execution: Execution,
        reply: Reply<EndpointView>,
    },
    /// Another count of instances.
    Scale {
        name: EndpointName,
        count: NonZeroU32,
        actor: Actor,
        execution: Execution,
        reply: Reply<EndpointView>,
    },
    /// Other weights of the variants.
    Weigh {
        name: EndpointName,
        weights: Weights,
        actor: Actor,
        execution: Execution,
        reply: Reply<EndpointView>,
    },
    /// About freezes; answered with all there are then.
    Frost {
        frost: Frost,
        reply: Reply<Vec<Freeze>>,
    },
    Delete {
        name: EndpointName,
        actor: Actor,
        execution: Execution,
        reply: Reply<()>,
    },
    /// An endpoint's recording, and how its requests come to their fleet.
    Recorder {
        endpoint: EndpointName,
        reply: Reply<(Option<Arc<Recorder>>, Dealing)>,
    },
    /// What a shift to this green would run in.
    Situation {
        endpoint: EndpointName,
        green: Box<FleetSpec>,
        reply: Reply<Situation>,
    },
    /// What is known of these external alarms before a shift.
    Before {
        endpoint: EndpointName,
        names: Vec<String>,
        reply: Reply<Before>,
    },
    /// What is known of an endpoint.
    Record {
        endpoint: EndpointName,
        reply: Reply<Box<EndpointRecord>>,
    },
    Start {
        endpoint: EndpointName,
        order: Box<Order>,
        execution: Execution,
        reply: Reply<Submitted>,
    },
    /// Takes a shift out of its queue.
    Cancel {
        id: ShiftId,
        actor: Actor,
        reply: Reply<QueuedView>,
    },
    Command {
        id: ShiftId,
        command: ShiftCommand,
        execution: Execution,
        reply: Reply<Option<ShiftView>>,
    },
    /// A running shift; `None` when it does not run.
    Shift {
        id: ShiftId,
        reply: Reply<Option<ShiftView>>,
    },
    /// An endpoint's running shift.
    RunningShift {
        endpoint: EndpointName,
        reply: Reply<Option<ShiftView>>,
    },
    Apply {
        config: Box<Config>,
        actor: Actor,
        execution: Execution,
        reply: Reply<Vec<String>>,
    },
    /// A report on an external alarm; answered with the shifts that heard it.
    Report {
        report: Report,
        execution: Execution,
        reply: Reply<Vec<ShiftId>>,
    },
    /// Keeps documents of another face.
    Keep {
        change: ResourceChange,
        actor: Actor,
        reply: Reply<()>,
    },
    /// Remembers something that changed nothing here.
    Note {
        kind: &'static str,
        cause: String,
        actor: Actor,
        reply: Reply<()>,
    },
}

/// A shift to be started.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) plan: PlanSpec,
    pub(super) actor: Actor,
    pub(super) findings: Vec<Finding>,
    pub(super) lineage: Lineage,
}

impl Task {
    pub(super) async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Endpoints { reply } => {
                respond(
                    reply,
                    Ok(self.endpoints.values().map(|endpoint| endpoint.view(&self.links)).collect()),
                );
            }
            Ask::Endpoint { name, reply } => {
                respond(reply, self.endpoint(&name).map(|endpoint| endpoint.view(&self.links)));
            }
            Ask::Look(look) => self.look(look),
            Ask::Put { spec, blue, actor, execution, reply } => {
                respond(reply, self.put_endpoint((*spec, blue), &actor, execution).await);
            }
            Ask::Scale { name, count, actor, execution, reply } => {
                respond(reply, self.scale(&name, count, &actor, execution).await);
            }
            Ask::Weigh { name, weights, actor, execution, reply } => {
                respond(reply, self.weigh(&name, &weights, &actor, execution).await);
            }
            Ask::Frost { frost, reply } => respond(reply, self.frost(frost).await),
            Ask::Delete { name, actor, execution, reply } => {
                respond(reply, self.delete_endpoint(&name, &actor, execution).await);
            }
            Ask::Situation { endpoint, green, reply } => {
                let now = self.links.timer.now();
                respond(reply, self.endpoint(&endpoint).map(|endpoint| endpoint.situation(&green, now)));
            }
            Ask::Before { endpoint, names, reply } => respond(reply, self.before(&endpoint, &names)),
            Ask::Recorder { endpoint, reply } => {
                let found = self.endpoint(&endpoint);
                respond(reply, found.map(|endpoint| (endpoint.recorder.clone(), endpoint.dealing())));
            }
            Ask::Record { endpoint, reply } => {
                respond(reply, self.endpoint(&endpoint).map(|endpoint| Box::new(endpoint.record.clone())));
            }
            Ask::Start { endpoint, order, execution, reply } => {
                respond(reply, self.start_shift(&endpoint, *order, execution).await);
            }
            Ask::Cancel { id, actor, reply } => respond(reply, self.cancel(&id, &actor).await),
            Ask::Command { id, command, execution, reply } => {
                respond(reply, self.command_shift(&id, command, execution).await);
            }
            Ask::Shift { id, reply } => {
                let runs = self.endpoints.values().filter(|endpoint| endpoint.runs(&id));
                let view = runs.filter_map(|endpoint| endpoint.shift_view(&self.links)).next();
                respond(reply, Ok(view));
            }
            Ask::RunningShift { endpoint, reply } => {
                respond(reply, self.endpoint(&endpoint).map(|endpoint| endpoint.shift_view(&self.links)));
            }
            Ask::Apply { config, actor, execution, reply } => {
                respond(reply, self.apply(&config, &actor, execution).await);
            }
            Ask::Report { report, execution, reply } => self.answer_report(report, execution, reply).await,
            Ask::Keep { change, actor, reply } => respond(reply, self.keep(change, &actor).await),
            Ask::Note { kind, cause, actor, reply } => {
                let draft = self.draft(kind, None, &actor, cause);
                respond(reply, self.commit(Vec::new(), &[draft]).await.map_err(ControlError::from));
            }
        }
    }

    pub(super) fn endpoint(&self, name: &EndpointName) -> Result<&Endpoint, ControlError> {
        self.endpoints.get(name).ok_or_else(|| ControlError::NoEndpoint {
            name: name.clone(),
            known: known_names(name, self.endpoints.keys()),
        })
    }

    async fn put_endpoint(
        &mut self,
        (spec, blue): (EndpointSpec, Blue),
        actor: &Actor,
        execution: Execution,
    ) -> Result<EndpointView, ControlError> {
        let known = self.known();
        declare::refuse_ambiguous_rule(&known, &spec)?;
        let (name, before) = (spec.name.clone(), known.get(&spec.name));
        let stands = before.map(|known| &known.record).filter(|_| blue == Blue::Declared);
        let record = declare::merged(stands, spec, Origin::Api, self.wall());
        if let Some(Known { record: before, running: Some(running) }) = before
            && before.declared.blue != record.declared.blue
        {
            return Err(ControlError::ShiftRunning { endpoint: name, running: running.clone() });
        }
        if execution == Execution::Dry {
            return Ok(self.view_of_record(record));
        }
        if before.is_none_or(|before| before.record != record) {
            let draft = self.put_draft(&known, &record, actor);
            let mut changes = Changes { put: vec![record], ..Changes::default() };
            changes.fleets = self.fleet_changes(&changes);
            self.commit(change_records(&changes), &[draft]).await?;
            self.install(changes);
        }
        Ok(self.endpoint(&name)?.view(&self.links))
    }

    async fn delete_endpoint(
        &mut self,
        name: &EndpointName,
        actor: &Actor,
        execution: Execution,
    ) -> Result<(), ControlError> {
        if let Some(run) = &self.endpoint(name)?.run {
            return Err(ControlError::ShiftRunning { endpoint: name.clone(), running: run.id.clone() });
        }
        if execution == Execution::Dry {
            return Ok(());
        }
        let draft = self.deleted_draft(&self.known(), name, actor, "deleted".to_owned());
        let drafts: Vec<_> = self.orphaned(name, actor).into_iter().chain([draft]).collect();
        self.commit(vec![Record::EndpointDeleted(name.clone())], &drafts).await?;
        self.install(Changes { removed: vec![name.clone()], ..Changes::default() });
        Ok(())
    }

    async fn start_shift(
        &mut self,
        name: &EndpointName,
        order: Order,
        execution: Execution,
    ) -> Result<Submitted, ControlError> {
        let wall = self.wall();
        hours::check_start(&order.plan, wall)?;
        let endpoint = self.endpoint(name)?;
        let is_refused = endpoint.run.is_some() && order.plan.turn.if_running == IfRunning::Refuse;
        let waits = match order.plan.schedule.wait(wall) {
            Some(Wait::Start(_)) => true,
            Some(Wait::Hours(_)) => !is_refused,
            None => endpoint.run.is_some() && !is_refused,
        };
        if waits {
            return self.enqueue(name, order, execution).await.map(Box::new).map(Submitted::Queued);
        }
        let id = match execution {
            Execution::Dry => {
                let run = self.run_of(name, order, begin::dry_run_id())?;
                let view = self.endpoint(name)?.view_of_run(&run, &run.engine, &self.links);
                return Ok(Submitted::Begun(Box::new(view)));
            }
            Execution::Real => self.fresh_id(name).await?,
        };
        self.begin_now(name, order, id).await.map(Box::new).map(Submitted::Begun)
    }

    /// Begins a shift where none runs.
    pub(super) async fn begin_now(
        &mut self,
        name: &EndpointName,
        order: Order,
        id: ShiftId,
    ) -> Result<ShiftView, ControlError> {
        let actor = order.actor.clone();
        let run = self.run_of(name, order, id.clone())?;
        if let Some(endpoint) = self.endpoints.get_mut(name) {
            endpoint.run = Some(run);
        }
        self.links.publisher.arm(name, &id);
        if let Err(error) = self.feed(name, Input::Start, By::Operator(actor)).await {
            self.links.publisher.disarm(name);
            if let Some(endpoint) = self.endpoints.get_mut(name) {
                endpoint.run = None;
            }
            return Err(error);
        }
        self.endpoint(name)?.shift_view(&self.links).ok_or(ControlError::NoShift(id))
    }

    /// Refuses an order for later that could not be carried out now either, save for a freeze, which may be lifted by then.
    pub(super) fn check_later(&self, name: &EndpointName, order: &Order) -> Result<(), ControlError> {
        match self.run_of(name, order.clone(), begin::dry_run_id()) {
            Ok(_) | Err(ControlError::Frozen { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A run of an order that can be carried out on the endpoint as it stands.
    fn run_of(&self, name: &EndpointName, order: Order, id: ShiftId) -> Result<Run, ControlError> {
        let Order { plan, actor, findings, lineage } = order;
        let endpoint = self.endpoint(name)?;
        begin::check(endpoint, &plan)?;
        let plan = begin::fitted(endpoint, plan)?;
        Ok(Run { findings, lineage, ..begin::run(endpoint, &self.links, id, plan, &actor.name) })
    }

    /// `None` for a shift that does not run.
    async fn command_shift(
        &mut self,
        id: &ShiftId,
        command: ShiftCommand,
        execution: Execution,
    ) -> Result<Option<ShiftView>, ControlError> {
        let found = self.endpoints.iter().find(|(_, endpoint)| endpoint.runs(id));
        let Some((name, endpoint)) = found else { return Ok(None) };
        let Some(standing) = self.standing(name) else { return Ok(None) };
        let ShiftCommand { command, actor } = command;
        let input = Input::Command(command, standing);
        if execution == Execution::Dry {
            let Some(run) = &endpoint.run else { return Ok(None) };
            let mut engine: Shift = run.engine.clone();
            engine.step(self.links.timer.now(), input)?;
            return Ok(Some(endpoint.view_of_run(run, &engine, &self.links)));
        }
        let name = name.clone();
        self.feed(&name, input, By::Operator(actor)).await?;
        Ok(self.endpoints.get(&name).and_then(|endpoint| endpoint.shift_view(&self.links)))
    }

    async fn apply(
        &mut self,
        config: &Config,
        actor: &Actor,
        execution: Execution,
    ) -> Result<Vec<String>, ControlError> {
        let known = self.known();
        let mut changes = declare::file_changes(&known, config, Occasion::Reload, self.wall())?;
        changes.fleets = self.fleet_changes(&changes);
        let mut lines = changes.lines.clone();
        lines.extend(self.config.restart_needed(config));
        if execution == Execution::Dry {
            return Ok(lines);
        }
        let mut drafts = self.change_drafts(&known, &changes, actor);
        drafts.push(self.draft("config.reloaded", None, actor, summary(&lines)));
        self.commit(change_records(&changes), &drafts).await?;
        self.install(changes);
        Ok(lines)
    }

    /// The events of a file's changes.
    pub(super) fn change_drafts(
        &self,
        known: &KnownEndpoints,
        changes: &Changes,
        actor: &Actor,
    ) -> Vec<Draft> {
        let put = changes.put.iter().map(|record| self.put_draft(known, record, actor));
        let cause = "not in the file";
        let deleted = |name: &EndpointName| self.deleted_draft(known, name, actor, cause.to_owned());
        let orphaned = changes.removed.iter().flat_map(|name| self.orphaned(name, actor));
        put.chain(orphaned).chain(changes.removed.iter().map(deleted)).collect()
    }

    pub(super) fn wall(&self) -> WallTime {
        self.links.timer.wall_of(self.links.timer.now())
    }

    fn put_draft(&self, known: &KnownEndpoints, record: &EndpointRecord, actor: &Actor) -> Draft {
        let name = &record.declared.name;
        let serves = record.serving.version.to_string();
        let draft = self.draft("endpoint.put", Some(name), actor, format!("{serves} serves"));
        Draft { before: served(known, name), after: Some(serves), ..draft }
    }

    fn deleted_draft(
        &self,
        known: &KnownEndpoints,
        name: &EndpointName,
        actor: &Actor,
        cause: String,
    ) -> Draft {
        let draft = self.draft("endpoint.deleted", Some(name), actor, cause);
        Draft { before: served(known, name), ..draft }
    }

    pub(super) async fn fresh_id(&self, endpoint: &EndpointName) -> Result<ShiftId, StoreError> {
        let now = self.links.timer.wall_of(self.links.timer.now());
        let queue =
            self.endpoints.get(endpoint).map(|endpoint| endpoint.queue.as_slice()).unwrap_or_default();
        let waiting: Vec<ShiftId> = queue.iter().map(|queued| queued.id.clone()).collect();
        let (journal, endpoint) = (std::sync::Arc::clone(self.ledger.journal()), endpoint.clone());
        let found = super::aside::aside(move || begin::fresh_id(&*journal, &endpoint, &waiting, now)).await;
        found.unwrap_or_else(|error| Err(super::ledger::thread_failed(&error)))
    }

    pub(super) async fn commit(&mut self, records: Vec<Record>, drafts: &[Draft]) -> Result<(), StoreError> {
        let written = self.ledger.commit(records, drafts).await;
        if written.is_err() {
            self.commit_failed();
        }
        written
    }

    pub(super) fn draft(
        &self,
        kind: &'static str,
        endpoint: Option<&EndpointName>,
        actor: &Actor,
        cause: String,
    ) -> Draft {
        let at = self.links.timer.wall_of(self.links.timer.now());
        Draft {
            endpoint: endpoint.cloned(),
            peer: actor.peer.clone(),
            reason: actor.given_reason(),
            ..Draft::new(at, kind, &actor.name, cause)
        }
    }

    /// An endpoint as it would be with this record.
    fn view_of_record(&self, record: EndpointRecord) -> EndpointView {
        let (split, generation) = self.links.publisher.split(&record.declared.name);
        let now = self.endpoints.get(&record.declared.name);
        let view = now.map(|endpoint| endpoint.view(&self.links));
        let same_fleet = now.is_some_and(|endpoint| endpoint.record.serving == record.serving);
        match view {
            Some(view) if same_fleet => {
                EndpointView { declared: record.declared, origin: record.origin, ..view }
            }
            Some(_) | None => EndpointView {
                blue: unstarted(&record.serving),
                declared: record.declared,
                origin: record.origin,
                green: None,
                shadow: None,
                share: split.green,
                generation,
                freeze: now.and_then(|endpoint| endpoint.freeze.clone()),
                running_shift: None,
                queue: Vec::new(),
            },
        }
    }
}

impl Endpoint {
    fn runs(&self, id: &ShiftId) -> bool {
        self.run.as_ref().is_some_and(|run| run.id == *id)
    }
}

/// The version that an endpoint has served so far.
fn served(known: &KnownEndpoints, name: &EndpointName) -> Option<String> {
    known.get(name).map(|known| known.record.serving.version.to_string())
}

/// The records of a file's changes.
pub(super) fn change_records(changes: &Changes) -> Vec<Record> {
    let put = changes.put.iter().map(|record| Record::Endpoint(Box::new(record.clone())));
    let fleets = changes.fleets.iter().map(|fleet| Record::Fleet(Box::new(fleet.clone())));
    put.chain(fleets).chain(changes.removed.iter().cloned().map(Record::EndpointDeleted)).collect()
}

/// A fleet that nobody has checked or sent anything to.
fn unstarted(spec: &FleetSpec) -> super::FleetView {
    let instance =
        |InstanceSpec { address, weight, max_concurrency: _ }: &InstanceSpec| super::InstanceView {
            address: address.clone(),
            weight: *weight,
            health: Health::Unknown,
            is_ejected: false,
            in_flight: 0,
        };
    super::FleetView {
        side: Side::Blue,
        version: spec.version.clone(),
        desired: spec.provider.as_ref().map(|provider| provider.count().map_or(1, NonZeroU32::get)),
        instances: spec.instances.iter().map(instance).collect(),
        variants: super::variants::unstarted(spec),
        waiting: 0,
        traffic: super::Traffic::default(),
        recent: super::TrafficWindow::default(),
    }
}

fn summary(lines: &[String]) -> String {
    if lines.is_empty() { "nothing changed".to_owned() } else { lines.join("; ") }
}

pub(super) fn respond<T>(reply: Reply<T>, answer: Result<T, ControlError>) {
    drop(reply.send(answer));
}

/// The names that there are, as far as a sentence holds them, and the one that was probably meant.
fn known_names<'a>(asked: &EndpointName, known: impl ExactSizeIterator<Item = &'a EndpointName>) -> String {
    const TOLD: usize = 10;
    let known: Vec<&str> = known.map(EndpointName::as_str).collect();
    let told = match known.len().checked_sub(TOLD) {
        None if known.is_empty() => "none".to_owned(),
        None | Some(0) => known.join(", "),
        Some(more) => format!("{} and {more} more", known[..TOLD].join(", ")),
    };
    let meant = nearest_name(asked.as_str(), known.iter().copied());
    meant.map_or_else(|| told.clone(), |meant| format!("{told}; did you mean {meant}?"))
}
