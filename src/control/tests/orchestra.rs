//! What operators' commands do in tests: instances that exist in memory alone, made at once and ended after a while.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::BoxFuture;

use crate::{
    fleet::{Address, Member},
    name::FleetId,
    provider::{Order, Provider, ProviderError},
};

/// How long an instance takes to end.
const END: Duration = Duration::from_secs(3);

/// Makes and ends instances, and remembers how many there were at most. One that was let go exists until it has ended.
#[derive(Debug, Default)]
pub(in crate::control) struct Orchestra(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    fleets: BTreeMap<FleetId, Vec<Member>>,
    made: u16,
    most: usize,
    fault: Fault,
}

/// What goes wrong when instances are to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::control) enum Fault {
    #[default]
    None,
    /// More than these cannot be had.
    Quota(usize),
    /// No answer comes.
    Hangs,
    /// What is told is one less than there is.
    Lies,
}

impl Orchestra {
    pub(in crate::control) fn fault(&self, fault: Fault) {
        self.lock().fault = fault;
    }

    /// How many instances there were at most since this was asked last.
    pub(in crate::control) fn most(&self) -> usize {
        let mut made = self.lock();
        let now = made.count();
        std::mem::replace(&mut made.most, now)
    }

    /// How many there are of each fleet that has any.
    pub(in crate::control) fn fleets(&self) -> BTreeMap<String, usize> {
        let made = self.lock();
        let fleets = made.fleets.iter().filter(|(_, members)| !members.is_empty());
        fleets.map(|(fleet, members)| (fleet.to_string(), members.len())).collect()
    }

    /// Where a fleet's instances are.
    pub(in crate::control) fn addresses(&self, fleet: &str) -> Vec<String> {
        let made = self.lock();
        let members = made.fleets.get(&FleetId::parse(fleet).unwrap()).into_iter().flatten();
        members.map(|member| member.address.as_str().to_owned()).collect()
    }

    /// Makes one of a fleet that nobody ordered, as a call that was cut short does.
    pub(in crate::control) fn leak(&self, fleet: &str) {
        self.lock().make(&FleetId::parse(fleet).unwrap());
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.0.lock().unwrap()
    }
}

impl Made {
    fn count(&self) -> usize {
        self.fleets.values().map(Vec::len).sum()
    }

    fn make(&mut self, fleet: &FleetId) {
        self.made += 1;
        let address = Address::parse(&format!("127.0.0.1:{}", 20_000 + self.made)).unwrap();
        // Names that do not sort as they were made.
        let id = format!("{}-{}", 1_000 - self.made, self.made);
        self.fleets.entry(fleet.clone()).or_default().push(Member { id, address });
        self.most = self.most.max(self.count());
    }
}

impl Provider for Orchestra {
    fn provision<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Vec<Member>, ProviderError>> {
        Box::pin(async move {
            let fault = self.lock().fault;
            if fault == Fault::Hangs {
                return std::future::pending().await;
            }
            let mut made = self.lock();
            while made.fleets.get(&order.fleet).map_or(0, Vec::len) < order.count as usize {
                if let Fault::Quota(quota) = fault
                    && made.count() >= quota
                {
                    let (attempted, version) = ("provision", order.version.clone());
                    return Err(ProviderError { attempted, version, reason: "no quota left".to_owned() });
                }
                made.make(&order.fleet);
            }
            let mut members = made.fleets[&order.fleet].clone();
            members.sort();
            if fault == Fault::Lies {
                members.pop();
            }
            Ok(members)
        })
    }

    fn list<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Vec<Member>, ProviderError>> {
        Box::pin(async move { Ok(self.lock().fleets.get(&order.fleet).cloned().unwrap_or_default()) })
    }

    fn retire<'a>(
        &'a self,
        order: &'a Order,
        members: &'a [Member],
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            tokio::time::sleep(END).await;
            let mut made = self.lock();
            let fleet = made.fleets.entry(order.fleet.clone()).or_default();
            fleet.retain(|member| !members.contains(member));
            Ok(())
        })
    }

    fn changed<'a>(&'a self, _order: &'a Order, _told: &'a [Member]) -> BoxFuture<'a, ()> {
        Box::pin(std::future::pending())
    }

    fn patience(&self, _order: &Order) -> Duration {
        Duration::from_secs(10)
    }
}
