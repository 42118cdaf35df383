//! The start: journal and configuration become endpoints, fleets, running shifts and the first table.
//!
//! All of it happens before anything is served, so clients never meet a table that the journal does not know. A journal that can be
//! read but not written keeps nobody from being served: the endpoints serve what the journal says, shifts stand still with all
//! traffic on blue, and control is not ready until it can write.

use std::{collections::BTreeMap, time::Duration};

use super::{
    ask::change_records,
    begin,
    declare::{Changes, Known, KnownEndpoints, Occasion, file_changes},
    driver::{Advance, log},
    keeper::Made,
    queue::Ended,
    report::{Report, Resumed},
    run::{By, Run},
    series::Totals,
    start::StartError,
    task::Task,
};
use crate::{
    config::Config,
    fleet::FleetSpec,
    name::{EndpointName, FleetId},
    route::FleetRoute,
    shift::{Input, Shift},
    store::{EndpointRecord, FleetRecord, Loaded, QueuedShift, ShiftRecord, StoreError},
};

/// Who changes endpoints when a file is read at the start.
const FILE: &str = "file";

impl Task {
    /// Takes over what the journal holds and what the file says, and publishes the first table. Blocks.
    pub(super) fn recover(&mut self, loaded: Loaded, config: &Config) -> Result<(), StartError> {
        let Loaded { endpoints, running, fleets, freezes, queue, head: _ } = loaded;
        self.freezes = freezes.into_iter().map(|freeze| (freeze.endpoint.clone(), freeze)).collect();
        let mut fleets: Fleets = fleets.into_iter().map(|fleet| (fleet.id.clone(), fleet)).collect();
        let mut known = known(&endpoints, &running);
        let wall = self.links.timer.wall_of(self.links.timer.now());
        let mut changes = file_changes(&known, config, Occasion::Start, wall)?;
        changes.fleets = self.fleets_at_start(&changes, &known, &fleets);
        for line in &changes.lines {
            tracing::info!(change = line, "the configuration file differs from the journal");
        }
        let drafts = self.change_drafts(&known, &changes, &FILE.into());
        if self.ledger.commit_blocking(change_records(&changes), &drafts).is_err() {
            self.commit_failed();
        }
        let Changes { put, fleets: changed, removed, lines: _ } = changes;
        fleets.extend(changed.into_iter().map(|fleet| (fleet.id.clone(), fleet)));
        known.retain(|name, _| !removed.contains(name));
        for record in put {
            let running = known.get(&record.declared.name).and_then(|known| known.running.clone());
            known.insert(record.declared.name.clone(), Known { record, running });
        }
        let put = records(&known);
        let serving = put.iter().filter_map(|record| fleets.remove(record.fleet.as_ref()?)).collect();
        let rests =
            put.iter().filter_map(|record| Some((record.declared.name.clone(), record.rest.clone()?)));
        let rests: Vec<_> = rests.collect();
        self.install(Changes { put, fleets: serving, ..Changes::default() });
        for (name, rest) in rests {
            if let (Some(endpoint), Some(rest)) = (self.endpoints.get_mut(&name), fleets.remove(&rest)) {
                endpoint.join_rest(rest, &self.links);
            }
        }
        for record in running {
            let green = fleets.remove(&FleetId::of_shift(&record.id));
            // Where there is no way back, what green or blue had in flight ended with the process that served it.
            match green {
                Some(green) if has_green(&record) => self.restore(record, Some(green)),
                Some(green) => {
                    self.restore(record, None);
                    Made::unwanted(green, &self.links);
                }
                None => self.restore(record, None),
            }
        }
        for (_, unwanted) in fleets {
            Made::unwanted(unwanted, &self.links);
        }
        self.line_up(queue)?;
        Ok(())
    }

    /// Whoever waited still does. What ended last is read where it matters to somebody.
    fn line_up(&mut self, queue: Vec<QueuedShift>) -> Result<(), StoreError> {
        for queued in queue {
            let name = queued.endpoint.clone();
            let Some(endpoint) = self.endpoints.get_mut(&name) else {
                tracing::error!(shift = %queued.id, endpoint = %name, "the journal holds a queued shift of no endpoint; it is left alone");
                continue;
            };
            if endpoint.queue.is_empty() && endpoint.run.is_none() {
                let newest = self.ledger.journal().shifts_of(&name, 1)?.pop();
                endpoint.ended = newest.map(|shift| Ended {
                    superseded_by: Report::read(&shift).resumed().lineage.superseded_by,
                    id: shift.id,
                    state: shift.snapshot.state,
                    at: shift.moments.ended_at,
                });
            }
            endpoint.queue.push(queued);
        }
        Ok(())
    }

    /// The fleets that the file's changes bring with them, before there are endpoints.
    fn fleets_at_start(
        &self,
        changes: &Changes,
        known: &KnownEndpoints,
        fleets: &Fleets,
    ) -> Vec<FleetRecord> {
        let count_of = |spec: &FleetSpec| spec.provider.as_ref().and_then(|provider| provider.count());
        let fleet = |record: &EndpointRecord| {
            let fleet = fleets.get(record.fleet.as_ref()?)?;
            let before = known.get(&record.declared.name).map(|known| &known.record.declared.blue);
            let count = count_of(&record.declared.blue);
            let count = count.filter(|_| before.is_some_and(|before| count_of(before) != count))?;
            Some(fleet.scaled(count.get()))
        };
        let is_known = |fresh: &FleetRecord| fleets.contains_key(&fresh.id);
        let fresh = self.fleet_changes(changes).into_iter().filter(|fresh| !is_known(fresh));
        fresh.chain(changes.put.iter().filter_map(fleet)).collect()
    }

    /// Goes on with a shift.
    fn restore(&mut self, record: ShiftRecord, green: Option<FleetRecord>) {
        let (id, name) = (record.id.clone(), record.endpoint.clone());
        let now = self.links.timer.now();
        let wall = self.links.timer.wall_of(now).as_millis();
        let away = wall.saturating_sub(record.recorded_at.as_millis());
        let downtime = Duration::from_millis(u64::try_from(away).unwrap_or_default());
        let Some(endpoint) = self.endpoints.get_mut(&name) else {
            tracing::error!(shift = %id, endpoint = %name, "the journal holds a running shift of no endpoint; it is left alone");
            return;
        };
        let mut run = begin::run(endpoint, &self.links, id.clone(), record.plan.clone(), &record.actor);
        run.engine = Shift::restore(record.plan.shift.clone(), &record.snapshot, now);
        let Resumed { earlier, rollback, blue_short, transitions, findings, lineage, lasting, track } =
            Report::read(&record).resumed();
        let ShiftRecord { blue, blue_fleet, started_at, moments, .. } = record;
        if endpoint.record.serving != blue {
            // Green had been adopted. What blue had in flight ended with the process that served it.
            let fleet = self.links.provider.fixed().fleet(&blue);
            run.blue = FleetRoute { meters: self.links.meters(&fleet), fleet };
        }
        endpoint.run = Some(Run {
            blue_spec: blue,
            blue_fleet,
            made: green,
            started_at,
            moments,
            earlier,
            rollback,
            blue_short,
            transitions,
            findings,
            lineage,
            track: track.from(Totals::of(&run.blue.meters.read())),
            lasting: lasting.into_iter().filter(|report| run.plan.alarms.is_told(&report.name)).collect(),
            ..run
        });
        self.links.publisher.arm(&name, &id);
        self.feed_blocking(&name, Input::Restarted { downtime });
    }

    /// What [`Task::feed`] does, from where blocking is allowed.
    fn feed_blocking(&mut self, name: &EndpointName, input: Input) {
        let Some(endpoint) = self.endpoints.get_mut(name) else { return };
        let advance = match endpoint.advance(&self.links, &input, &By::Itself) {
            Ok(advance) => advance,
            Err(refusal) => {
                tracing::error!(endpoint = %name, %refusal, "a shift of the journal cannot go on");
                return;
            }
        };
        match advance {
            Advance::Nothing => {}
            Advance::Back { effects } => {
                endpoint.perform(&self.links, effects);
                let drafts = endpoint.run.as_ref().and_then(|run| run.unwritten.clone()).unwrap_or_default();
                match self.ledger.commit_blocking(endpoint.records(&self.links), &drafts) {
                    Ok(()) => endpoint.written(),
                    Err(_) => self.commit_failed(),
                }
            }
            Advance::Forward(step) => {
                match self.ledger.commit_blocking(endpoint.records(&self.links), &step.drafts) {
                    Ok(()) => {
                        log(&step.drafts);
                        endpoint.perform(&self.links, step.effects);
                    }
                    Err(_) => {
                        endpoint.undo(&self.links, step.undo);
                        let retry_at = self.ledger.retry_at(self.links.timer.now());
                        if let Some(run) = &mut endpoint.run {
                            run.owed.push(input);
                            run.blocked_until = Some(retry_at);
                        }
                        self.commit_failed();
                    }
                }
            }
        }
    }
}

/// Whether a running shift still has a use for what was made of its green.
fn has_green(record: &ShiftRecord) -> bool {
    let state = &record.snapshot.state;
    let serving = record.plan.shift.rolling().map(|rolling| rolling.in_service(state));
    // Of a green that has been adopted the endpoint knows.
    let keeps = serving.is_some_and(|serving| serving.blue > 0 && serving.green > 0);
    state.has_way_back() || keeps
}

/// Provisioned fleets by their identity.
type Fleets = BTreeMap<FleetId, FleetRecord>;

fn known(endpoints: &[EndpointRecord], running: &[ShiftRecord]) -> KnownEndpoints {
    let shifts: BTreeMap<_, _> = running.iter().map(|record| (&record.endpoint, &record.id)).collect();
    let known = |record: &EndpointRecord| Known {
        record: record.clone(),
        running: shifts.get(&record.declared.name).map(|id| (*id).clone()),
    };
    endpoints.iter().map(|record| (record.declared.name.clone(), known(record))).collect()
}

fn records(known: &KnownEndpoints) -> Vec<EndpointRecord> {
    known.values().map(|known| known.record.clone()).collect()
}
