//! Keepers: one for each fleet that a provider makes, which sees to it that what is wanted of the fleet comes to be.
//!
//! A keeper is told what is wanted and not what to do: it asks the provider, bounds each call, tries again with growing waits, checks what
//! it is told, and tells the control task. What is wanted may change at any time; a call that is under way is dropped then,
//! which providers bear.

use std::{collections::BTreeSet, time::Duration};

use tokio::sync::{mpsc, watch};

use super::{
    endpoint::{Links, drained_or_late},
    task::Note,
};
use crate::{
    fleet::{Address, Fleet, Member, ProviderSpec},
    name::{EndpointName, FleetId},
    provider::{Order, Providers},
    store::FleetRecord,
    time::{Moment, format_duration},
};

/// The wait before a failed call is made again; doubled with each failure in a row.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest such wait. What was mended is found out within a minute.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// What is wanted of a fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Goal {
    /// So many instances.
    Have {
        /// How many.
        count: u32,
        /// Those that are known, and stay.
        members: Vec<Member>,
        /// Those that go first.
        leaving: Vec<Member>,
    },
    /// None, for good.
    Gone,
}

/// What a keeper tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FleetNote {
    pub(super) endpoint: EndpointName,
    pub(super) fleet: FleetId,
    pub(super) what: FleetNews,
}

/// What became of what was wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum FleetNews {
    /// These are its instances now.
    Members(Vec<Member>),
    /// The provider failed, so many times in a row.
    Failed {
        /// How often.
        times: u32,
        /// What was wrong the last time.
        reason: String,
    },
    /// Nothing is left of it.
    Gone,
}

/// A fleet that a provider makes, and its keeper.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) record: FleetRecord,
    /// An instance that fails its checks, and since when.
    pub(super) sick: Option<(Address, Moment)>,
    goal: watch::Sender<Goal>,
}

/// The task behind a [`Made`].
struct Keeper {
    order: Order,
    providers: Providers,
    notes: mpsc::Sender<Note>,
}

impl Made {
    /// A fleet that is wanted from now on, as the journal has it; `None` where no provider makes its instances.
    pub(super) fn wanted(record: FleetRecord, links: &Links) -> Option<Self> {
        let (count, members) = (record.count, record.members.clone());
        Self::begin(record, links, Goal::Have { count, members, leaving: Vec::new() })
    }

    /// A fleet of the journal that nobody wants any more.
    pub(super) fn unwanted(record: FleetRecord, links: &Links) {
        drop(Self::begin(record, links, Goal::Gone));
    }

    fn begin(record: FleetRecord, links: &Links, goal: Goal) -> Option<Self> {
        let order = Order {
            fleet: record.id.clone(),
            endpoint: record.endpoint.clone(),
            version: record.spec.version.clone(),
            provider: record.spec.provider.clone()?,
            count: record.count,
            members: record.members.clone(),
        };
        let keeper = Keeper { order, providers: links.provider.clone(), notes: links.notes.clone() };
        let (goal, wanted) = watch::channel(goal);
        tokio::spawn(keeper.run(wanted));
        Some(Self { record, sick: None, goal })
    }

    /// Wants what the record says, after these have gone.
    pub(super) fn want(&self, leaving: Vec<Member>) {
        let (count, members) = (self.record.count, self.record.members.clone());
        self.goal.send_replace(Goal::Have { count, members, leaving });
    }

    /// The same, once nothing is in flight on these, or their time is over (S7).
    pub(super) fn want_when_drained(&self, leaving: Vec<Member>, gone: Fleet) {
        let (count, members) = (self.record.count, self.record.members.clone());
        let goal = self.goal.clone();
        tokio::spawn(async move {
            drained_or_late(&gone).await;
            goal.send_if_modified(|goal| match goal {
                Goal::Have { .. } => {
                    *goal = Goal::Have { count, members, leaving };
                    true
                }
                // The whole fleet goes meanwhile.
                Goal::Gone => false,
            });
        });
    }

    /// Wants nothing of the fleet any more. Its keeper goes on until nothing is left.
    pub(super) fn let_go(self) {
        self.goal.send_replace(Goal::Gone);
    }
}

impl Keeper {
    /// Ends when nothing is left, or whoever wanted something is gone.
    async fn run(mut self, mut goal: watch::Receiver<Goal>) {
        loop {
            let wanted = goal.borrow_and_update().clone();
            let has_news = tokio::select! {
                biased;
                changed = goal.changed() => changed.is_ok(),
                () = self.pursue(&wanted) => return,
            };
            if !has_news {
                // A fleet that is on its way out goes, whoever is there to hear of it.
                if wanted == Goal::Gone {
                    self.pursue(&wanted).await;
                }
                return;
            }
        }
    }

    /// Returns when nothing is left, if that is what is wanted; else never.
    async fn pursue(&mut self, wanted: &Goal) {
        let mut leaving = Vec::new();
        if let Goal::Have { count, members, leaving: those } = wanted {
            (self.order.count, self.order.members) = (*count, members.clone());
            leaving.clone_from(those);
        }
        let provider = self.order.provider.clone();
        let mut failures = 0;
        loop {
            let limit = self.providers.of(&provider).patience(&self.order);
            let tried = match wanted {
                Goal::Have { .. } => {
                    tokio::time::timeout(limit, self.provision(&provider, &mut leaving)).await
                }
                Goal::Gone => tokio::time::timeout(limit, self.retire_all(&provider)).await,
            };
            match tried.unwrap_or_else(|_| Err(format!("no answer within {}", format_duration(limit)))) {
                Ok(FleetNews::Members(members)) => {
                    failures = 0;
                    self.order.members.clone_from(&members);
                    self.tell(FleetNews::Members(members.clone())).await;
                    self.providers.of(&provider).changed(&self.order, &members).await;
                }
                Ok(news @ (FleetNews::Gone | FleetNews::Failed { .. })) => return self.tell(news).await,
                Err(reason) => {
                    failures += 1;
                    self.tell(FleetNews::Failed { times: failures, reason }).await;
                    tokio::time::sleep(retry_wait(failures)).await;
                }
            }
        }
    }

    async fn provision(
        &self,
        provider: &ProviderSpec,
        leaving: &mut Vec<Member>,
    ) -> Result<FleetNews, String> {
        let provider = self.providers.of(provider);
        if !leaving.is_empty() {
            provider.retire(&self.order, leaving).await.map_err(|error| error.to_string())?;
            leaving.clear();
        }
        let made = provider.provision(&self.order).await.map_err(|error| error.to_string())?;
        check(&made, self.order.count)?;
        Ok(FleetNews::Members(made))
    }

    /// What a provider says is believed after a second look.
    async fn retire_all(&self, provider: &ProviderSpec) -> Result<FleetNews, String> {
        let provider = self.providers.of(provider);
        let members = provider.list(&self.order).await.map_err(|error| error.to_string())?;
        if members.is_empty() {
            return Ok(FleetNews::Gone);
        }
        provider.retire(&self.order, &members).await.map_err(|error| error.to_string())?;
        let left = provider.list(&self.order).await.map_err(|error| error.to_string())?;
        match left.as_slice() {
            [] => Ok(FleetNews::Gone),
            [left, ..] => {
                Err(format!("instance {} at {} was retired and is still there", left.id, left.address))
            }
        }
    }

    /// Control that is gone needs no news.
    async fn tell(&self, what: FleetNews) {
        let (endpoint, fleet) = (self.order.endpoint.clone(), self.order.fleet.clone());
        drop(self.notes.send(Note::Fleet(FleetNote { endpoint, fleet, what })).await);
    }
}

/// Holds what a provider says against what was ordered.
fn check(members: &[Member], count: u32) -> Result<(), String> {
    let number = u32::try_from(members.len()).unwrap_or(u32::MAX);
    if number != count {
        return Err(format!("{count} instances were ordered, and the provider tells of {number}"));
    }
    let ids: BTreeSet<_> = members.iter().map(|member| &member.id).collect();
    let addresses: BTreeSet<_> = members.iter().map(|member| &member.address).collect();
    if ids.len() < members.len() || addresses.len() < members.len() {
        return Err("the provider tells of the same instance twice".to_owned());
    }
    Ok(())
}

fn retry_wait(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST_RETRY)
}
