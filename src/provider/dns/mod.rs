//! The `dns` provider: instances are whatever addresses a name has, asked for again when the answer's time to live is over.
//!
//! Nothing is started or ended here: somebody else runs the instances, and says by the name which there are. An address that leaves the
//! answer gets no more requests, and those that it has finish.
//!
//! A resolver that fails, hangs or has nothing to say changes nothing: the last known addresses stay, it is told, and the question is put
//! again after growing waits. An answer without addresses is taken as such a failure for as long as it lasts, and never as "no instances":
//! a fleet with none refuses every request, while one whose instances are really gone loses them to the health checks, address by
//! address and for a reason that can be read. Names lose all their addresses by mistakes in zones, and by orchestrators in which no
//! instance happens to be ready, far more often than because a fleet in service is to end; to end it there are shifts.

mod ask;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{sync::mpsc, time::Instant};

use super::{News, NewsKind, Order, Provider, ProviderError};
use crate::{
    fleet::{DnsSpec, Member, ProviderSpec},
    name::FleetId,
    time::format_duration,
};
use ask::ask;

/// The wait before a question that failed is put again; doubled with each failure in a row.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest such wait.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Resolves names.
#[derive(Debug)]
pub(super) struct DnsProvider {
    news: mpsc::Sender<News>,
    answers: Mutex<BTreeMap<FleetId, Answer>>,
}

/// The addresses of a name, in their order, and how long they hold.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Answer {
    members: Vec<Member>,
    until: Instant,
}

impl DnsProvider {
    pub(super) fn new(news: mpsc::Sender<News>) -> Self {
        Self { news, answers: Mutex::default() }
    }

    /// The answer that holds, or a new one.
    async fn resolve(&self, order: &Order) -> Result<Vec<Member>, String> {
        let known = self.lock().get(&order.fleet).filter(|answer| Instant::now() < answer.until).cloned();
        match known {
            Some(answer) => Ok(answer.members),
            None => self.resolve_again(order, spec(order)?).await,
        }
    }

    async fn resolve_again(&self, order: &Order, spec: &DnsSpec) -> Result<Vec<Member>, String> {
        let (members, ttl) = ask(spec).await?;
        let until = Instant::now() + ttl.clamp(spec.ttl_floor, spec.ttl_ceiling.max(spec.ttl_floor));
        self.lock().insert(order.fleet.clone(), Answer { members: members.clone(), until });
        Ok(members)
    }

    /// Returns when the answer is another one.
    async fn follow(&self, order: &Order, spec: &DnsSpec, told: &[Member]) {
        let mut told = told.to_vec();
        told.sort();
        let mut failures: u32 = 0;
        loop {
            match failures {
                0 => {
                    let until = self.lock().get(&order.fleet).map(|answer| answer.until);
                    tokio::time::sleep_until(until.unwrap_or_else(Instant::now)).await;
                }
                _ => tokio::time::sleep(retry_wait(failures)).await,
            }
            match self.resolve_again(order, spec).await {
                Ok(members) => {
                    if failures > 0 {
                        self.tell(order, NewsKind::Resolved, format!("{} has addresses again", spec.name))
                            .await;
                    }
                    failures = 0;
                    if members != told {
                        return;
                    }
                }
                Err(reason) => {
                    failures = failures.saturating_add(1);
                    if failures.is_power_of_two() {
                        let wait = format_duration(retry_wait(failures));
                        let text = format!(
                            "failure {failures} in a row: {reason}; the last {} known addresses stay, the next question is in {wait}",
                            told.len()
                        );
                        self.tell(order, NewsKind::Unresolved, text).await;
                    }
                }
            }
        }
    }

    /// Control that is gone needs no news.
    async fn tell(&self, order: &Order, kind: NewsKind, text: String) {
        let (endpoint, fleet) = (order.endpoint.clone(), order.fleet.clone());
        drop(self.news.send(News { endpoint, fleet, kind, text }).await);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FleetId, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Provider for DnsProvider {
    fn provision<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Vec<Member>, ProviderError>> {
        Box::pin(async move { self.resolve(order).await.map_err(|reason| order.error("provision", reason)) })
    }

    /// There is nothing of it that is this proxy's to let go.
    fn list<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Vec<Member>, ProviderError>> {
        self.lock().remove(&order.fleet);
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn retire<'a>(
        &'a self,
        _order: &'a Order,
        _members: &'a [Member],
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn changed<'a>(&'a self, order: &'a Order, told: &'a [Member]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match spec(order) {
                Ok(spec) => self.follow(order, spec, told).await,
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn patience(&self, order: &Order) -> Duration {
        // The question is bounded on its own; what comes on top is reading the system's configuration.
        spec(order).map_or(DnsSpec::TIMEOUT, |spec| spec.timeout).saturating_add(Duration::from_secs(1))
    }
}

fn spec(order: &Order) -> Result<&DnsSpec, String> {
    match &*order.provider {
        ProviderSpec::Dns(spec) => Ok(spec),
        ProviderSpec::Process(_) | ProviderSpec::Command(_) => Err("the fleet has no name".to_owned()),
    }
}

fn retry_wait(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_after_a_failure_doubles_up_to_a_minute() {
        let waits = [1, 2, 3, 7, u32::MAX].map(|failures| retry_wait(failures).as_secs());
        assert_eq!(waits, [1, 2, 4, 60, 60]);
    }
}
