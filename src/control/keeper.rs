//! Keepers: one for each fleet that a provider makes, which sees to it that what is wanted of the fleet comes to be.
//!
//! A keeper is told what is wanted and not what to do: it asks the provider, bounds each call, tries again with growing waits, checks what
//! it is told, and tells the control task. What is wanted may change at any time; a call that is under way is dropped then,
//! which providers bear.
//!
//! A batch of one fleet may have to wait until a batch of another has really gone, so that no more instances exist than are paid for: a
//! keeper counts the turns of what is wanted of it, and says which it has carried out.

use std::{collections::BTreeSet, time::Duration};

use tokio::sync::{mpsc, watch};

use super::{
    endpoint::{Links, drained_or_late},
    run::Aborting,
    task::Note,
};
use crate::{
    fault,
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
    goal: watch::Sender<(u64, Goal)>,
    turn: u64,
    /// The last turn that let instances go. The first may do so: what an earlier process was about to let go may still be there.
    parting: u64,
    done: watch::Receiver<u64>,
    /// What becomes the goal later, unless another does before.
    later: Option<Aborting>,
}

/// A turn of what was wanted of a fleet.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    number: u64,
    done: watch::Receiver<u64>,
}

/// The task behind a [`Made`].
struct Keeper {
    order: Order,
    providers: Providers,
    notes: mpsc::Sender<Note>,
    done: watch::Sender<u64>,
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
        let (done_sender, done) = watch::channel(0);
        let (providers, notes) = (links.provider.clone(), links.notes.clone());
        let keeper = Keeper { order, providers, notes, done: done_sender };
        let turn = 1;
        let (goal, wanted) = watch::channel((turn, goal));
        tokio::spawn(keeper.run(wanted));
        Some(Self { record, sick: None, goal, turn, parting: turn, done, later: None })
    }

    /// Wants so many, if it does not want as many already: of fewer the first stay, and those that go first are given back.
    pub(super) fn resize(&mut self, count: u32) -> Vec<Member> {
        let keep = usize::try_from(count).unwrap_or(usize::MAX).min(self.record.members.len());
        self.record.count = count;
        self.record.members.split_off(keep)
    }

    /// Gives an order up that has not been carried out.
    pub(super) fn give_up(&mut self) {
        let known = number(&self.record.members);
        if known < self.record.count {
            self.record.count = known;
            self.want(Vec::new());
        }
    }

    /// Wants what the record says, after these have gone.
    pub(super) fn want(&mut self, leaving: Vec<Member>) {
        self.later = None;
        self.turn += 1;
        if !leaving.is_empty() {
            self.parting = self.turn;
        }
        self.goal.send_replace((self.turn, self.have(leaving)));
    }

    /// The same, once another fleet's keeper has carried out what was wanted of it.
    pub(super) fn want_after(&mut self, other: Turn) {
        self.turn += 1;
        let (goal, next) = (self.goal.clone(), (self.turn, self.have(Vec::new())));
        self.later = Some(Aborting(tokio::spawn(async move {
            other.over().await;
            goal.send_replace(next);
        })));
    }

    /// The same, once nothing is in flight on these, or their time is over (S7).
    pub(super) fn want_when_drained(&mut self, leaving: Vec<Member>, gone: Fleet) {
        self.turn += 1;
        let (goal, next) = (self.goal.clone(), (self.turn, self.have(leaving)));
        self.later = Some(Aborting(tokio::spawn(async move {
            drained_or_late(&gone).await;
            goal.send_replace(next);
        })));
    }

    /// The last letting go, to be waited for.
    pub(super) fn parting(&self) -> Turn {
        Turn { number: self.parting, done: self.done.clone() }
    }

    /// Wants nothing of the fleet any more. Its keeper goes on until nothing is left.
    pub(super) fn let_go(self) {
        self.goal.send_replace((self.turn + 1, Goal::Gone));
    }

    fn have(&self, leaving: Vec<Member>) -> Goal {
        Goal::Have { count: self.record.count, members: self.record.members.clone(), leaving }
    }
}

impl Turn {
    /// Returns when it has been carried out, or its keeper has ended.
    async fn over(mut self) {
        drop(self.done.wait_for(|done| *done >= self.number).await);
    }
}

impl Keeper {
    /// Ends when nothing is left, or whoever wanted something is gone.
    async fn run(mut self, mut goal: watch::Receiver<(u64, Goal)>) {
        loop {
            let (turn, wanted) = goal.borrow_and_update().clone();
            let has_news = tokio::select! {
                biased;
                changed = goal.changed() => changed.is_ok(),
                () = self.pursue(&wanted, turn) => return,
            };
            if !has_news {
                // A fleet that is on its way out goes, whoever is there to hear of it.
                if wanted == Goal::Gone {
                    self.pursue(&wanted, turn).await;
                }
                return;
            }
        }
    }

    /// Returns when nothing is left, if that is what is wanted; else never.
    async fn pursue(&mut self, wanted: &Goal, turn: u64) {
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
                    self.done.send_replace(turn);
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
            self.comes_to("retirement");
            provider.retire(&self.order, leaving).await.map_err(|error| error.to_string())?;
            leaving.clear();
        }
        self.comes_to("provisioning");
        let mut made = provider.provision(&self.order).await.map_err(|error| error.to_string())?;
        self.comes_to("news of the provisioning");
        // What a call that was cut short has left: nobody here knows of it, so nothing is in flight on it.
        let is_surplus = |member: &Member| !self.order.members.contains(member);
        if self.order.provider.is_counted_elsewhere() {
            check(&made, number(&made))?;
            return Ok(FleetNews::Members(made));
        }
        if number(&made) > self.order.count && number(&self.order.members) == self.order.count {
            let surplus: Vec<_> = made.iter().filter(|member| is_surplus(member)).cloned().collect();
            provider.retire(&self.order, &surplus).await.map_err(|error| error.to_string())?;
            made.retain(|member| !is_surplus(member));
        }
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
        self.comes_to("retirement of all");
        provider.retire(&self.order, &members).await.map_err(|error| error.to_string())?;
        self.comes_to("news of the retirement");
        let left = provider.list(&self.order).await.map_err(|error| error.to_string())?;
        match left.as_slice() {
            [] => Ok(FleetNews::Gone),
            [left, ..] => {
                Err(format!("instance {} at {} was retired and is still there", left.id, left.address))
            }
        }
    }

    fn comes_to(&self, what: &str) {
        fault::point(|| format!("before {what} of {}", self.order.version));
    }

    /// Control that is gone needs no news.
    async fn tell(&self, what: FleetNews) {
        let (endpoint, fleet) = (self.order.endpoint.clone(), self.order.fleet.clone());
        drop(self.notes.send(Note::Fleet(FleetNote { endpoint, fleet, what })).await);
    }
}

/// Holds what a provider says against what was ordered.
fn check(members: &[Member], count: u32) -> Result<(), String> {
    if number(members) != count {
        let told = number(members);
        return Err(format!("{count} instances were ordered, and the provider tells of {told}"));
    }
    let ids: BTreeSet<_> = members.iter().map(|member| &member.id).collect();
    let addresses: BTreeSet<_> = members.iter().map(|member| &member.address).collect();
    if ids.len() < members.len() || addresses.len() < members.len() {
        return Err("the provider tells of the same instance twice".to_owned());
    }
    Ok(())
}

fn number(members: &[Member]) -> u32 {
    u32::try_from(members.len()).unwrap_or(u32::MAX)
}

fn retry_wait(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST_RETRY)
}
