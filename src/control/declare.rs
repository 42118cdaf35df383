//! What a declaration of endpoints changes: the rules by which a file, the API and the journal are brought together.
//!
//! - A declaration that names another blue than the one before it replaces the fleet in service; one that repeats its blue leaves
//!   whatever a shift has promoted since, so that a changed timeout does not roll a model back.
//! - While a shift runs the fleet in service cannot be replaced and the endpoint cannot go.
//! - A file removes only endpoints that a file declared.
//! - At a start the API's last word on an endpoint stands against the file, since a restart may be a crash and nobody asked for a change;
//!   a reload was asked for, so the file's word stands then.

use std::collections::BTreeMap;

use super::begin::declared_fleet_id;
use crate::{
    config::{Config, EndpointSpec, Problem, Problems},
    name::{EndpointName, ShiftId},
    route::MatchRule,
    store::{EndpointRecord, FleetRecord, Origin},
    time::WallTime,
};

/// An endpoint as far as a declaration must know it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) record: EndpointRecord,
    pub(super) running: Option<ShiftId>,
}

/// All endpoints as far as a declaration must know them.
pub(super) type KnownEndpoints = BTreeMap<EndpointName, Known>;

/// What the blue of a declaration that is put stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Blue {
    /// What the endpoint begins with: repeated, it leaves what a shift has promoted since.
    Declared,
    /// What serves from now on.
    Served,
}

/// When a file is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Occasion {
    /// At the process's start.
    Start,
    /// Because somebody asked.
    Reload,
}

/// What is to change.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Changes {
    /// New and changed endpoints.
    pub(super) put: Vec<EndpointRecord>,
    /// New and changed fleets that providers make for them.
    pub(super) fleets: Vec<FleetRecord>,
    /// Endpoints that go.
    pub(super) removed: Vec<EndpointName>,
    /// For people, a line each; also what is left as it is, and why.
    pub(super) lines: Vec<String>,
}

/// The record after a declaration. Another count alone makes no other fleet.
pub(super) fn merged(
    before: Option<&EndpointRecord>,
    declared: EndpointSpec,
    origin: Origin,
    now: WallTime,
) -> EndpointRecord {
    let (serving, fleet, rest) = match before {
        Some(before) if before.declared.blue.is_same_but_for_count(&declared.blue) => {
            (before.serving.clone(), before.fleet.clone(), before.rest.clone())
        }
        Some(_) | None => {
            let fleet = declared.blue.provider.as_ref().map(|_| declared_fleet_id(&declared.name, now));
            (declared.blue.clone(), fleet, None)
        }
    };
    EndpointRecord { declared, origin, serving, fleet, rest }
}

/// What a configuration file changes.
pub(super) fn file_changes(
    known: &KnownEndpoints,
    config: &Config,
    occasion: Occasion,
    now: WallTime,
) -> Result<Changes, Problems> {
    let mut changes = Changes::default();
    for spec in &config.endpoints {
        match known.get(&spec.name) {
            None => {
                changes.lines.push(format!("endpoint {}: added, {} serves", spec.name, spec.blue.version));
                changes.put.push(merged(None, spec.clone(), Origin::File, now));
            }
            Some(known) if occasion == Occasion::Start && known.record.origin == Origin::Api => {
                if known.record.declared != *spec {
                    changes.lines.push(format!(
                        "endpoint {}: stays as the API declared it last, not as the file has it; a reload would take the file's",
                        spec.name
                    ));
                }
            }
            Some(known) => put_known(&mut changes, known, spec, now),
        }
    }
    remove_unnamed(&mut changes, known, config);
    refuse_ambiguous(known, &changes)?;
    Ok(changes)
}

/// Refuses a rule that would take requests that another endpoint's rule takes with equal right.
pub(super) fn refuse_ambiguous_rule(known: &KnownEndpoints, spec: &EndpointSpec) -> Result<(), Problems> {
    let others = known.values().map(|known| &known.record.declared);
    let other = others.filter(|other| other.name != spec.name).find(|other| meets(&other.rule, &spec.rule));
    match other {
        Some(other) => Err(ambiguous("request body", spec, other)),
        None => Ok(()),
    }
}

fn put_known(changes: &mut Changes, known: &Known, spec: &EndpointSpec, now: WallTime) {
    let (name, before) = (&spec.name, &known.record);
    let mut after = merged(Some(before), spec.clone(), Origin::File, now);
    if let Some(shift) = &known.running
        && after.declared.blue != before.declared.blue
    {
        changes.lines.push(format!(
            "endpoint {name}: blue stays {}, since shift {shift} is running; reload again when it is over",
            before.serving.version
        ));
        let declared = EndpointSpec { blue: before.declared.blue.clone(), ..spec.clone() };
        after = merged(Some(before), declared, Origin::File, now);
    }
    if after == *before {
        return;
    }
    if after.serving != before.serving {
        changes.lines.push(format!("endpoint {name}: {} serves", after.serving.version));
    } else if after.declared != before.declared {
        changes.lines.push(format!("endpoint {name}: changed, {} goes on serving", after.serving.version));
    }
    changes.put.push(after);
}

fn remove_unnamed(changes: &mut Changes, known: &KnownEndpoints, config: &Config) {
    let named = |name: &EndpointName| config.endpoints.iter().any(|spec| spec.name == *name);
    let unnamed = known.iter().filter(|(name, known)| known.record.origin == Origin::File && !named(name));
    for (name, known) in unnamed {
        match &known.running {
            Some(shift) => changes.lines.push(format!(
                "endpoint {name}: stays, since shift {shift} is running; reload again when it is over"
            )),
            None => {
                changes.lines.push(format!("endpoint {name}: removed"));
                changes.removed.push(name.clone());
            }
        }
    }
}

fn refuse_ambiguous(known: &KnownEndpoints, changes: &Changes) -> Result<(), Problems> {
    let mut after: BTreeMap<_, _> =
        known.iter().map(|(name, known)| (name, &known.record.declared)).collect();
    for name in &changes.removed {
        after.remove(name);
    }
    for record in &changes.put {
        after.insert(&record.declared.name, &record.declared);
    }
    let specs: Vec<_> = after.into_values().collect();
    for (index, spec) in specs.iter().enumerate() {
        if let Some(other) = specs[..index].iter().find(|other| meets(&other.rule, &spec.rule)) {
            return Err(ambiguous("the configuration and the journal together", spec, other));
        }
    }
    Ok(())
}

fn meets(left: &MatchRule, right: &MatchRule) -> bool {
    left.is_ambiguous_with(right)
}

fn ambiguous(source: &str, spec: &EndpointSpec, other: &EndpointSpec) -> Problems {
    let problem = Problem {
        key: "match".to_owned(),
        line: None,
        message: format!(
            "endpoints {} and {} would both take the same requests and neither rule is narrower: give one of them a longer path_prefix, a \
             host or a header",
            spec.name, other.name
        ),
    };
    Problems { source: source.to_owned(), problems: vec![problem] }
}
