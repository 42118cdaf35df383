//! Undo: back to the version before, also after the end of the shift that replaced it.
//!
//! An undo is a shift like any other, with its alarms and its way back; what is special is where its plan comes from. The version before is
//! the blue of the newest shift that was promoted, as long as what that shift brought in still is what serves: after a declaration of
//! another fleet, or a rollback that failed half way, no shift knows what should be gone back to. An undo that was promoted is such a shift
//! itself, so undoing twice goes forward again.
//!
//! The plan is all at once, since the version before has served these very requests, with the alarms, limits and last bake of the shift
//! that is undone; or one that is given. A version that a provider made is made again. One whose instances are named must still be there: each is
//! checked once before the shift begins, so that who presses undo in a bad hour learns at once, not after a timeout.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Actor, ControlError, Execution, Handle, Lineage, ShiftView, ask::Ask, probe::Target};
use crate::{
    alarm::AlarmPlan,
    config::{HealthSpec, PlanSpec, Problem, Problems, fleet_to_json},
    fleet::{Fleet, FleetSpec, Instance},
    name::{EndpointName, ShiftId},
    provider::StaticProvider,
    shift::{Schedule, ShiftPlan, State, Strategy, Turn},
    store::{EndpointRecord, ShiftRecord},
    time::format_duration,
};

/// Among so many of an endpoint's newest shifts the one that was promoted last is looked for; as many as there are to be seen.
const LOOKED_AT: usize = 100;

/// What is to be taken back.
struct Past {
    promoted: ShiftId,
    before: FleetSpec,
    plan: PlanSpec,
}

impl Handle {
    /// Starts the shift back to the version before, by a plan document without `green`, or by the last one's alarms, all at once.
    pub async fn undo(
        &self,
        endpoint: &EndpointName,
        plan: Option<serde_json::Value>,
        actor: impl Into<Actor>,
        execution: Execution,
    ) -> Result<ShiftView, ControlError> {
        let record = self.ask(|reply| Ask::Record { endpoint: endpoint.clone(), reply }).await?;
        let name = endpoint.clone();
        let shifts = self.read(move |journal| journal.shifts_of(&name, LOOKED_AT)).await?;
        let Past { promoted, before, plan: last } = past(&record, shifts)
            .map_err(|why| ControlError::NothingToUndo { endpoint: endpoint.clone(), why })?;
        let plan = match plan {
            Some(document) => given(document, &before)?,
            None => back(&before, &last)?,
        };
        self.refuse_gone(&record, &before).await?;
        let lineage = Lineage { undoes: Some(promoted), ..Lineage::default() };
        self.begin_shift(endpoint, plan, actor.into(), execution, lineage).await
    }

    /// Refuses to go back to instances that are named and not there any more.
    async fn refuse_gone(&self, record: &EndpointRecord, before: &FleetSpec) -> Result<(), ControlError> {
        if before.provider.is_some() {
            return Ok(());
        }
        let fleet: Arc<Fleet> = StaticProvider { workers: 1 }.fleet(before);
        let health = &record.declared.health;
        let checks = fleet.instances.iter().map(|instance| self.check_once(instance, health));
        let failing: Vec<String> = join_all(checks).await.into_iter().flatten().collect();
        if failing.is_empty() {
            return Ok(());
        }
        let why = format!(
            "of {}'s {} instances {} did not pass their check ({}): start them again, or begin a shift to a version that is there",
            before.version,
            fleet.instances.len(),
            failing.len(),
            failing.join("; ")
        );
        Err(ControlError::NothingToUndo { endpoint: record.declared.name.clone(), why })
    }

    /// What is wrong with an instance, if something is.
    async fn check_once(&self, instance: &Arc<Instance>, health: &HealthSpec) -> Option<String> {
        let tls = instance.tls().map(|spec| self.keychain.connector(spec));
        let mut target = Target::new(Arc::clone(instance), health.clone(), tls);
        let address = instance.address().clone();
        match tokio::time::timeout(health.timeout, self.check.check(&mut target)).await {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(format!("{address}: {reason}")),
            Err(_) => Some(format!("{address}: no answer within {}", format_duration(health.timeout))),
        }
    }
}

/// What came before what serves, or why nobody knows.
fn past(record: &EndpointRecord, shifts: Vec<ShiftRecord>) -> Result<Past, String> {
    let serving = &record.serving;
    let promoted = shifts.into_iter().find(|shift| shift.snapshot.state == State::Promoted);
    let Some(ShiftRecord { id, blue, plan, .. }) = promoted else {
        return Err(format!("no shift has brought {} in, so there is no version before it", serving.version));
    };
    // What it weighs by hand since then is no other fleet.
    if !plan.green.unweighed().is_same_but_for_count(&serving.unweighed()) {
        return Err(format!(
            "{} does not serve by the last shift that was promoted, {id}, which brought {} in: begin a shift to the version that is wanted",
            serving.version, plan.green.version
        ));
    }
    Ok(Past { promoted: id, before: blue, plan })
}

/// All at once to the version before, with the alarms and the last bake of the shift that is undone.
fn back(before: &FleetSpec, last: &PlanSpec) -> Result<PlanSpec, Problems> {
    let final_bake = last.shift.steps().last().map(|step| step.bake).unwrap_or_default();
    let shift = ShiftPlan::new(Strategy::AllAtOnce { final_bake }, *last.shift.limits());
    let shift = shift.map_err(|error| problem("strategy", error.to_string()))?;
    let alarms = AlarmPlan { ramp: None, ..last.alarms.clone() };
    // Read like any other: what a plan of one step cannot have is said, not dropped.
    let (turn, schedule) = (Turn::default(), Schedule::default());
    PlanSpec::from_json(&PlanSpec { green: before.clone(), shift, alarms, turn, schedule }.to_json())
}

/// A plan that names no fleet, to the version before.
fn given(mut document: serde_json::Value, before: &FleetSpec) -> Result<PlanSpec, Problems> {
    if !document["green"].is_null() {
        let message = format!("an undo goes back to {}, the version before: leave green out", before.version);
        return Err(problem("green", message));
    }
    if let Some(document) = document.as_object_mut() {
        document.insert("green".to_owned(), fleet_to_json(before));
    }
    PlanSpec::from_json(&document)
}

fn problem(key: &str, message: String) -> Problems {
    let problem = Problem { key: key.to_owned(), line: None, message };
    Problems { source: "plan".to_owned(), problems: vec![problem] }
}
