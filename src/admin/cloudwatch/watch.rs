//! What happens by itself, once a second: samples are taken, alarms are looked at, control is told, and what is to outlive the process is written.

use std::{sync::Arc, time::Duration};

use super::{
    Api,
    alarms::{Alarm, Body},
    definition::metric_alarm,
    now,
    record::{ALARM, AlarmRecord, Kind},
    samples::Sampler,
};
use crate::{
    admin::aws::fault::{Fault, Kind as FaultKind},
    cloudwatch::{CompositeRule, Kept, SLOT_SECONDS, SLOTS_SECONDS},
    control::{Actor, ResourceChange},
    store::Resource,
};

/// The kind of resource in the journal that holds five minutes of metrics, named by their beginning.
const SLOT: &str = "cloudwatch-metrics";

/// Five minutes are written this long after they are over for the last time, so that what is put a little late is in them.
const SLOT_DELAY_SECONDS: i64 = 30;

/// They are written every minute until then, so that a process that is killed loses no more than that.
const KEEP_SECONDS: i64 = 60;

/// How often the past is trimmed.
const TRIM_SECONDS: i64 = 60;

/// How many old entries go at a time.
const GONE_AT_ONCE: usize = 100;

/// Digits of a name, so that names are in the order of time.
const DIGITS: usize = 12;

/// Looks until it is dropped.
pub(in crate::admin) async fn watch(api: Option<Arc<Api>>) {
    let Some(api) = api else { return std::future::pending().await };
    while let Err(fault) = api.load().await {
        tracing::warn!(fault.message, "the metrics and alarms of before cannot be read");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut sampler = Sampler::default();
    loop {
        // At the beginning of each second, so that a second's samples are its own.
        let beyond = u64::try_from(now().rem_euclid(1_000)).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(1_000 - beyond)).await;
        let second = now().div_euclid(1_000);
        sampler.look(&api, second).await;
        api.look(second).await;
        if second % TRIM_SECONDS == 0 {
            api.state().metrics.trim(second);
        }
        if second.rem_euclid(KEEP_SECONDS) == SLOT_DELAY_SECONDS {
            api.keep_slot(slot_of(second - SLOT_DELAY_SECONDS - 1)).await;
        }
    }
}

/// Writes what is not in the journal yet, when the process ends by its own will.
pub(in crate::admin) async fn keep(api: Option<Arc<Api>>) {
    // What was not read cannot be added to.
    let Some(api) = api.filter(|api| api.loaded.get().is_some()) else { return };
    let now = now().div_euclid(1_000);
    let (before, current) = (slot_of(now - SLOT_DELAY_SECONDS), slot_of(now));
    if before != current {
        api.keep_slot(before).await;
    }
    api.keep_slot(current).await;
}

/// When the five minutes began that this second is in.
fn slot_of(second: i64) -> i64 {
    second.div_euclid(SLOT_SECONDS) * SLOT_SECONDS
}

impl Api {
    /// Reads what an earlier process has kept; once.
    pub(super) async fn load(&self) -> Result<(), Fault> {
        self.loaded.get_or_try_init(|| self.read_all()).await.copied()
    }

    async fn read_all(&self) -> Result<(), Fault> {
        let alarms = self.handle.resources(ALARM).await?.into_iter().filter_map(|resource| {
            let Resource { name, document, kind: _ } = resource;
            let alarm = serde_json::from_value::<AlarmRecord>(document).map_err(|error| error.to_string());
            match alarm.and_then(revived) {
                Ok(alarm) => Some((name, alarm)),
                Err(error) => {
                    tracing::error!(name, error, "an alarm in the journal cannot be read");
                    None
                }
            }
        });
        let alarms = alarms.collect();
        let slots = self.handle.resources(SLOT).await?;
        let mut state = self.state();
        state.alarms.restore(alarms);
        for Resource { name, document, kind: _ } in slots {
            match (name.parse::<i64>(), serde_json::from_value::<Kept>(document)) {
                (Ok(begins), Ok(kept)) => state.metrics.restore(begins, kept),
                (Err(_), _) | (_, Err(_)) => tracing::warn!(name, "metrics in the journal cannot be read"),
            }
        }
        state.metrics.trim(now() / 1_000);
        Ok(())
    }

    /// Looks at the alarms that are due.
    async fn look(&self, second: i64) {
        let changes = {
            // What changes an alarm by hand is not to be undone by a look at what it was before.
            let _turn = self.turn.lock().await;
            let mut state = self.state();
            let super::State { metrics, alarms } = &mut *state;
            alarms.look(metrics, second)
        };
        self.tell(changes).await;
        self.tell_unheard().await;
        let _turn = self.turn.lock().await;
        if let Err(fault) = self.save().await {
            tracing::warn!(fault.message, "states of alarms are not in the journal yet");
        }
    }

    /// Writes the states that the journal does not have. To be called by whoever has the turn.
    pub(super) async fn save(&self) -> Result<(), Fault> {
        let unsaved = self.state().alarms.take_unsaved();
        if unsaved.is_empty() {
            return Ok(());
        }
        let records: Vec<_> = unsaved.iter().map(|(name, record)| (name.as_str(), record)).collect();
        let kept = self.keep(&records, String::new(), &Actor::from("cloudwatch")).await;
        if kept.is_err() {
            self.state().alarms.unsave(unsaved.into_iter().map(|(name, _)| name));
        }
        kept
    }

    /// Writes five minutes as far as they have come, and lets go of those that are too old.
    async fn keep_slot(&self, begins: i64) {
        let kept = self.state().metrics.kept(begins);
        if kept.is_empty() {
            return;
        }
        if let Err(fault) = self.write_slot(begins, &kept).await {
            tracing::warn!(fault.message, "five minutes of metrics are not in the journal");
        }
    }

    async fn write_slot(&self, begins: i64, kept: &Kept) -> Result<(), Fault> {
        let document = serde_json::to_value(kept).map_err(|error| {
            Fault::new(FaultKind::Internal, format!("metrics cannot be written: {error}"))
        })?;
        let oldest = slot_name(begins - SLOTS_SECONDS);
        let names = self.handle.resources(SLOT).await?.into_iter().map(|resource| resource.name);
        let gone = names.filter(|name| *name < oldest).take(GONE_AT_ONCE).map(|name| (SLOT, name)).collect();
        let put = vec![Resource { kind: SLOT, name: slot_name(begins), document }];
        let change = ResourceChange { put, gone, ..ResourceChange::default() };
        Ok(self.handle.keep(change, "cloudwatch").await?)
    }
}

fn slot_name(begins: i64) -> String {
    format!("{begins:0DIGITS$}")
}

/// An alarm that was written by an earlier process.
fn revived(record: AlarmRecord) -> Result<Alarm, String> {
    let body = match record.kind {
        Kind::Metric => {
            let definition = metric_alarm(&record.request).map_err(|fault| fault.message)?;
            Body::Metric(Box::new(definition))
        }
        Kind::Composite => {
            let rule =
                record.request.get("AlarmRule").and_then(serde_json::Value::as_str).unwrap_or_default();
            Body::Composite(CompositeRule::parse(rule).map_err(|error| error.to_string())?)
        }
    };
    Ok(Alarm::new(record, body))
}
