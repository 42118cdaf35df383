//! The `process` provider: model servers as processes of this machine.
//!
//! Each instance has a supervisor, a task that waits for its end and starts it again (`supervisor`). What was started outlives a crash
//! of the proxy and is known again by its marks (`place`); whoever orders the same fleet then takes it over where it listens.

mod launch;
mod log;
mod place;
mod ports;
mod supervisor;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use rustix::process::{Signal, kill_process, kill_process_group};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};

use super::{Heir, News, NewsKind, Order, Provider, ProviderError};
use crate::fleet::{Address, Member, OnExit, ProcessSpec, ProviderSpec};
use launch::Recipe;
use place::{Folder, Found, Identity, Place, Rank};
use ports::Ports;
use supervisor::{Process, Supervisor, Wish};

/// To look at every process of a machine and start some more. A system on which this takes longer starts no model server either.
const PROVISION_PATIENCE: Duration = Duration::from_secs(30);

/// Starts and supervises processes.
#[derive(Debug)]
pub struct ProcessProvider {
    folder: Folder,
    news: mpsc::Sender<News>,
    ports: Arc<Ports>,
    moved: Arc<Notify>,
    running: Mutex<BTreeMap<Place, Instance>>,
}

/// A supervised instance.
#[derive(Debug)]
struct Instance {
    port: watch::Receiver<u16>,
    wish: watch::Sender<Wish>,
    on_exit: OnExit,
    supervisor: JoinHandle<()>,
}

impl ProcessProvider {
    pub(super) fn new(folder: PathBuf, news: mpsc::Sender<News>) -> Self {
        Self {
            folder: Folder::new(folder),
            news,
            ports: Arc::default(),
            moved: Arc::default(),
            running: Mutex::default(),
        }
    }

    /// Ends the processes that end with the proxy, and leaves the others to whoever comes next.
    pub(super) async fn close(&self, heir: Heir) {
        let running = std::mem::take(&mut *self.lock());
        let ending = running.into_values().filter_map(|instance| match (heir, instance.on_exit) {
            (Heir::Nobody, OnExit::End) => Some(instance.stop()),
            (Heir::Nobody, OnExit::Keep) | (Heir::Successor, _) => {
                instance.supervisor.abort();
                None
            }
        });
        join_all(ending).await;
    }

    async fn bring_up(&self, order: &Order, spec: &ProcessSpec) -> Result<Vec<Member>, ProviderError> {
        let left = self.find(order, "provision").await?;
        let wanted = self.wanted(order, &left);
        let mut adoptable = self.sort_out(&wanted, left);
        for place in &wanted {
            if self.lock().contains_key(place) {
                continue;
            }
            let known = order.members.iter().find(|member| member.id == place.index.to_string());
            let known = known.and_then(|member| member.address.literal()).map(|address| address.port());
            self.begin(order, spec, place, (adoptable.remove(place), known))
                .await
                .map_err(|error| order.error("provision", format!("{:?}: {error}", program(spec))))?;
        }
        for place in self.places(order, |place| !wanted.contains(place)) {
            self.stop(&place).await;
        }
        Ok(self.members(order))
    }

    /// The places of the fleet: those that are known first, then those that run, then free ones.
    fn wanted(&self, order: &Order, left: &[(Place, Found)]) -> BTreeSet<Place> {
        let known = order.members.iter().filter_map(|member| member.id.parse().ok());
        let running = self.places(order, |_| true).into_iter().map(|place| place.index);
        let left = left.iter().map(|(place, _)| place.index);
        let mut indices = BTreeSet::new();
        for index in known.chain(running).chain(left).chain(0..) {
            if indices.len() >= usize::try_from(order.count).unwrap_or(usize::MAX) {
                break;
            }
            indices.insert(index);
        }
        indices.into_iter().map(|index| Place { fleet: order.fleet.clone(), index }).collect()
    }

    /// Takes an instance over, or starts it: where it listened before, if it can be had.
    async fn begin(
        &self,
        order: &Order,
        spec: &ProcessSpec,
        place: &Place,
        (found, known): (Option<Found>, Option<u16>),
    ) -> std::io::Result<()> {
        let recipe = Recipe {
            place: place.clone(),
            version: order.version.clone(),
            spec: spec.clone(),
            folder: self.folder.clone(),
        };
        let (port, process, kind) = match found.and_then(|found| Some((found, found.adopt()?))) {
            Some((found, process)) => {
                self.ports.claim(found.port);
                (found.port, process, NewsKind::Adopted)
            }
            None => {
                let port = known.map_or_else(|| self.ports.take(), |port| self.ports.take_again(port))?;
                let child = recipe.launch(port).inspect_err(|_| self.ports.release(port))?;
                (port, Process::Own(child), NewsKind::Started)
            }
        };
        let (port_sender, port_receiver) = watch::channel(port);
        let (wish_sender, wish) = watch::channel(Wish::Run);
        let text = format!("instance {} at 127.0.0.1:{port}: process {}", place.index, process.number());
        let supervisor = Supervisor {
            endpoint: order.endpoint.clone(),
            recipe,
            ports: Arc::clone(&self.ports),
            port: port_sender,
            moved: Arc::clone(&self.moved),
            wish,
            news: self.news.clone(),
            deaths: 0,
        };
        let instance = Instance {
            port: port_receiver,
            wish: wish_sender,
            on_exit: spec.on_exit,
            supervisor: tokio::spawn(supervisor.run(process)),
        };
        self.lock().insert(place.clone(), instance);
        let (endpoint, fleet) = (order.endpoint.clone(), order.fleet.clone());
        drop(self.news.send(News { endpoint, fleet, kind, text }).await);
        Ok(())
    }

    /// What lives of the fleet and has no supervisor, leaders first.
    async fn find(
        &self,
        order: &Order,
        attempted: &'static str,
    ) -> Result<Vec<(Place, Found)>, ProviderError> {
        let (folder, fleet) = (self.folder.clone(), order.fleet.clone());
        let found = tokio::task::spawn_blocking(move || folder.find(&fleet)).await;
        let mut found = found.map_err(|error| order.error(attempted, error))?;
        let running = self.lock();
        found.retain(|(place, _)| !running.contains_key(place));
        Ok(found)
    }

    /// Those that can be taken over. What is left at other places, and what lost its leader, is what a crash made of it: it is killed.
    fn sort_out(&self, wanted: &BTreeSet<Place>, left: Vec<(Place, Found)>) -> BTreeMap<Place, Found> {
        let mut adoptable = BTreeMap::new();
        for (place, found) in left {
            if !wanted.contains(&place) {
                found.kill();
                self.folder.forget(&place);
            } else if found.rank == Rank::Leader {
                adoptable.insert(place, found);
            } else if !adoptable.contains_key(&place) {
                found.kill();
            }
        }
        adoptable
    }

    /// Lets one instance go and waits for it.
    async fn stop(&self, place: &Place) {
        let instance = self.lock().remove(place);
        if let Some(instance) = instance {
            instance.stop().await;
        }
    }

    fn places(&self, order: &Order, fits: impl Fn(&Place) -> bool) -> Vec<Place> {
        let running = self.lock();
        running.keys().filter(|place| place.fleet == order.fleet && fits(place)).cloned().collect()
    }

    fn members(&self, order: &Order) -> Vec<Member> {
        let running = self.lock();
        let own = running.iter().filter(|(place, _)| place.fleet == order.fleet);
        own.map(|(place, instance)| member(place.index, *instance.port.borrow())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Instance>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Provider for ProcessProvider {
    fn provision<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Vec<Member>, ProviderError>> {
        match &*order.provider {
            ProviderSpec::Process(spec) => Box::pin(self.bring_up(order, spec)),
            ProviderSpec::Command(_) | ProviderSpec::Dns(_) => {
                Box::pin(async { Err(order.error("provision", "the fleet is made of no processes")) })
            }
        }
    }

    fn list<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Vec<Member>, ProviderError>> {
        Box::pin(async move {
            let mut members = self.members(order);
            for (place, found) in self.find(order, "list").await? {
                let other = member(place.index, found.port);
                if !members.iter().any(|member| member.id == other.id) {
                    members.push(other);
                }
            }
            Ok(members)
        })
    }

    fn retire<'a>(
        &'a self,
        order: &'a Order,
        members: &'a [Member],
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            let left = self.find(order, "retire").await?;
            let indices: BTreeSet<u32> = members.iter().filter_map(|member| member.id.parse().ok()).collect();
            let places = indices.iter().map(|index| Place { fleet: order.fleet.clone(), index: *index });
            let places: Vec<_> = places.collect();
            for (place, found) in left.iter().filter(|(place, _)| places.contains(place)) {
                // Of a crash: its grace ended with the proxy that would have given it.
                found.kill();
                self.folder.forget(place);
            }
            join_all(places.iter().map(|place| self.stop(place))).await;
            Ok(())
        })
    }

    fn changed<'a>(&'a self, order: &'a Order, told: &'a [Member]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let mut moved = std::pin::pin!(self.moved.notified());
                // From here on a move is not missed.
                moved.as_mut().enable();
                if self.members(order) != told {
                    return;
                }
                moved.await;
            }
        })
    }

    fn patience(&self, order: &Order) -> Duration {
        match &*order.provider {
            ProviderSpec::Process(spec) => PROVISION_PATIENCE.saturating_add(spec.stop_grace),
            ProviderSpec::Command(_) | ProviderSpec::Dns(_) => PROVISION_PATIENCE,
        }
    }
}

impl Instance {
    /// Lets it go and waits for its end. Once begun it goes on, also when nobody waits any more.
    async fn stop(self) {
        self.wish.send_replace(Wish::Stop);
        if self.supervisor.await.is_err() {
            tracing::error!("a supervisor had panicked");
        }
    }
}

impl Process {
    fn number(&self) -> u32 {
        match self {
            Self::Own(child) => child.id(),
            Self::Adopted(Identity { pid, start: _ }) => pid.as_raw_nonzero().get().unsigned_abs(),
        }
    }
}

impl Found {
    /// Ends it, with its group if it leads one.
    fn kill(self) {
        if self.identity.is_alive() {
            // It may have ended meanwhile.
            match self.rank {
                Rank::Leader => kill_process_group(self.identity.pid, Signal::KILL).ok(),
                Rank::Child => kill_process(self.identity.pid, Signal::KILL).ok(),
            };
        }
    }
}

fn member(index: u32, port: u16) -> Member {
    let address = Address::parse(&format!("127.0.0.1:{port}")).expect("a port that was given is not zero");
    Member { id: index.to_string(), address }
}

fn program(spec: &ProcessSpec) -> &str {
    spec.command.first().map(String::as_str).unwrap_or_default()
}
