//! Active health checks: one task for each instance, for as long as its fleet is in use.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    jitter::jittered,
    probe::{Check, Target},
    task::Note,
};
use crate::{
    config::HealthSpec,
    fleet::{Fleet, Health, Instance},
    name::EndpointName,
    tls::Keychain,
};

/// Starts checks.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    pub(super) check: Arc<dyn Check>,
    pub(super) notes: mpsc::Sender<Note>,
    pub(super) keychain: Arc<Keychain>,
}

/// A fleet's checks. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Probes(Vec<JoinHandle<()>>);

/// A change of an instance's health.
#[derive(Clone, Debug)]
pub(super) struct HealthChange {
    pub(super) endpoint: EndpointName,
    pub(super) instance: Arc<Instance>,
    pub(super) before: Health,
    pub(super) health: Health,
    /// Why, in a sentence.
    pub(super) cause: String,
}

/// Results in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    successes: u32,
    failures: u32,
}

impl Prober {
    /// Checks every instance of a fleet from now on, the first time at once.
    pub(super) fn watch(&self, endpoint: &EndpointName, fleet: &Fleet, spec: &HealthSpec) -> Probes {
        let start = |instance: &Arc<Instance>| {
            let tls = instance.tls().map(|spec| self.keychain.connector(spec));
            let target = Target::new(Arc::clone(instance), spec.clone(), tls);
            tokio::spawn(self.clone().run(endpoint.clone(), target))
        };
        Probes(fleet.instances.iter().map(start).collect())
    }

    async fn run(self, endpoint: EndpointName, mut target: Target) {
        let mut streak = Streak::default();
        loop {
            let limit = target.spec.timeout;
            let result = match tokio::time::timeout(limit, self.check.check(&mut target)).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer within {}", crate::time::format_duration(limit))),
            };
            let before = target.instance.health();
            let health = streak.count(before, &target.spec, result.is_ok());
            if health != before {
                target.instance.set_health(health);
                let cause = streak.describe(&result);
                let instance = Arc::clone(&target.instance);
                let change = HealthChange { endpoint: endpoint.clone(), instance, before, health, cause };
                if self.notes.send(Note::Health(change)).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(jittered(target.spec.interval)).await;
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Streak {
    /// The health after one more check.
    fn count(&mut self, before: Health, spec: &HealthSpec, passed: bool) -> Health {
        if passed {
            *self = Self { successes: self.successes.saturating_add(1), failures: 0 };
        } else {
            *self = Self { successes: 0, failures: self.failures.saturating_add(1) };
        }
        if self.successes >= spec.healthy_after.max(1) {
            Health::Healthy
        } else if self.failures >= spec.unhealthy_after.max(1) {
            Health::Unhealthy
        } else {
            before
        }
    }

    fn describe(&self, result: &Result<(), String>) -> String {
        match result {
            Ok(()) => format!("{} in a row passed", checks(self.successes)),
            Err(reason) => format!("{} in a row failed, the last one: {reason}", checks(self.failures)),
        }
    }
}

fn checks(count: u32) -> String {
    if count == 1 { "1 check".to_owned() } else { format!("{count} checks") }
}
