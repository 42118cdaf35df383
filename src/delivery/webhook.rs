//! One webhook: sends the events that it wants, those of each endpoint in order, each at least once.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use rand::RngExt;
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

use super::{
    Render, bridge,
    lanes::Lanes,
    post::{Letter, Receiver},
    status::{LaneStatus, WebhookStatus, lock},
};
use crate::{
    clock,
    config::WebhookSpec,
    store::{DeadLetter, Event, Lane, Outbox, Progress, StoreError},
    time::Moment,
};

/// How many lanes send at a time: enough that a few receivers that hang do not hold up the rest, few enough for a receiver to bear.
const AT_ONCE: usize = 4;

/// How many events of a lane are read at a time in search of one that is wanted.
const BATCH: usize = 64;

/// How long what was done may stay out of the journal: so much is sent twice after a crash. Each writing waits for the disk, which decisions
/// use too.
const SAVE_EVERY: Duration = Duration::from_millis(500);

/// How long a lane rests when the journal cannot be read.
const REST: Duration = Duration::from_secs(10);

/// How long nothing is looked for when nothing happens.
const IDLE: Duration = Duration::from_secs(3_600);

/// A webhook at work.
#[derive(Debug)]
pub(super) struct Webhook {
    spec: WebhookSpec,
    receiver: Arc<Receiver>,
    outbox: Arc<dyn Outbox>,
    render: Render,
    status: Arc<std::sync::Mutex<WebhookStatus>>,
    lanes: Lanes,
    /// Dead letters that are tried again.
    revived: VecDeque<DeadLetter>,
    /// One of them is under way: they are in order too.
    is_reviving: bool,
    /// Not in the journal yet.
    unsaved: Vec<Progress>,
}

/// What wakes it.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) events: broadcast::Receiver<Event>,
    pub(super) retry: mpsc::Receiver<()>,
    pub(super) stop: watch::Receiver<bool>,
}

/// An attempt that has ended.
#[derive(Debug)]
struct Attempt {
    event: Event,
    /// Whose turn it was.
    turn: Turn,
    result: Result<(), String>,
}

/// Why an event is sent.
#[derive(Debug)]
enum Turn {
    /// It is its lane's next.
    Next(Lane),
    /// It is a dead letter.
    Again(DeadLetter),
}

impl Webhook {
    /// Goes on where it was. Blocks on the journal.
    pub(super) fn new(
        spec: WebhookSpec,
        outbox: Arc<dyn Outbox>,
        render: Render,
        status: Arc<std::sync::Mutex<WebhookStatus>>,
    ) -> Result<Self, StoreError> {
        let WebhookSpec { url, secret, bridge, timeout, ca, .. } = spec.clone();
        let receiver = Arc::new(Receiver::new(url, (secret, bridge), timeout, ca));
        let mut lanes = Lanes::new(outbox.cursors(&spec.name)?);
        for (lane, event) in outbox.newest()? {
            lanes.heard(lane, event);
        }
        Ok(Self {
            spec,
            receiver,
            outbox,
            render,
            status,
            lanes,
            revived: VecDeque::new(),
            is_reviving: false,
            unsaved: Vec::new(),
        })
    }

    /// Runs until it is told to stop. What is under way then is sent again by the next process.
    pub(super) async fn run(mut self, mut inbox: Inbox) {
        let mut flights = JoinSet::new();
        let mut saves = tokio::time::interval(SAVE_EVERY);
        saves.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.launch(&mut flights);
            self.show();
            let wake = Instant::now() + self.until_due();
            tokio::select! {
                biased;
                _ = inbox.stop.changed() => break,
                Some(ended) = flights.join_next(), if !flights.is_empty() => match ended {
                    Ok(attempt) => self.concluded(attempt),
                    Err(error) => tracing::error!(%error, "an attempt to deliver an event did not end well"),
                },
                event = inbox.events.recv() => match event {
                    Ok(event) => self.heard(&event),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.catch_up(),
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                Some(()) = inbox.retry.recv() => self.revive(),
                _ = saves.tick(), if !self.unsaved.is_empty() => self.save(),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        self.save();
    }

    fn heard(&mut self, event: &Event) {
        self.lanes.heard(lane_of(event), event.id);
    }

    fn catch_up(&mut self) {
        match self.outbox.newest() {
            Ok(newest) => newest.into_iter().for_each(|(lane, event)| self.lanes.heard(lane, event)),
            Err(error) => {
                tracing::error!(webhook = self.spec.name, %error, "a webhook cannot see which events it has missed");
            }
        }
    }

    /// Sends what is due, as far as there is room.
    fn launch(&mut self, flights: &mut JoinSet<Attempt>) {
        while flights.len() < AT_ONCE {
            let now = clock::now();
            if let Some((event, turn)) = self.revived_event() {
                self.is_reviving = true;
                flights.spawn(attempt(Arc::clone(&self.receiver), self.render, event, turn));
                continue;
            }
            let Some((lane, done)) = self.lanes.take_due(now) else { return };
            match self.next_wanted(&lane, done) {
                Ok(Some(event)) => {
                    let turn = Turn::Next(lane);
                    flights.spawn(attempt(Arc::clone(&self.receiver), self.render, event, turn));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(webhook = self.spec.name, %error, "a webhook rests: events cannot be read");
                    self.lanes.rest(&lane, error.to_string(), now.after(REST));
                }
            }
        }
    }

    /// The lane's first event after this one that is wanted; the others are done with.
    fn next_wanted(&mut self, lane: &Lane, mut done: u64) -> Result<Option<Event>, StoreError> {
        loop {
            let batch = self.outbox.events_of(lane, done, BATCH)?;
            let Some(last) = batch.last().map(|event| event.id) else {
                self.lanes.exhausted(lane, done);
                return Ok(None);
            };
            let wanted =
                batch.into_iter().find(|event| self.spec.wants(event.endpoint.as_ref(), &event.kind));
            let passed = wanted.as_ref().map_or(last, |event| event.id - 1);
            if passed > done {
                done = passed;
                self.unsaved.push(Progress::Done { lane: lane.clone(), event: done });
            }
            if wanted.is_some() {
                return Ok(wanted);
            }
        }
    }

    fn concluded(&mut self, attempt: Attempt) {
        let Attempt { event, turn, result } = attempt;
        {
            let mut status = lock(&self.status);
            match &result {
                Ok(()) => {
                    status.delivered += 1;
                    status.delivered_at = Some(clock::wall());
                }
                Err(_) => status.failed += 1,
            }
        }
        match (turn, result) {
            (Turn::Next(lane), Ok(())) => self.done(lane, event.id),
            (Turn::Next(lane), Err(problem)) => self.failed(lane, &event, problem),
            (Turn::Again(_), Ok(())) => {
                self.is_reviving = false;
                self.unsaved.push(Progress::Buried { event: event.id });
            }
            (Turn::Again(letter), Err(reason)) => {
                self.is_reviving = false;
                tracing::warn!(
                    webhook = self.spec.name,
                    event = event.id,
                    reason,
                    "a dead letter failed again"
                );
                let attempts = letter.attempts.saturating_add(1);
                self.unsaved.push(Progress::Dead(DeadLetter { attempts, reason, ..letter }));
                self.revived.clear();
            }
        }
    }

    fn done(&mut self, lane: Lane, event: u64) {
        self.lanes.done(&lane, event);
        self.unsaved.push(Progress::Done { lane, event });
    }

    fn failed(&mut self, lane: Lane, event: &Event, problem: String) {
        let name = self.spec.name.as_str();
        let jitter = rand::rng().random_range(0.0..=1.0);
        let attempts = self.lanes.failed(&lane, problem.clone(), clock::now(), jitter);
        let wall = clock::wall();
        let age = wall.as_millis().saturating_sub(event.at.as_millis());
        let age = Duration::from_millis(u64::try_from(age).unwrap_or_default());
        if attempts < self.spec.attempts && age < self.spec.give_up {
            tracing::warn!(
                webhook = name,
                event = event.id,
                attempts,
                problem,
                "an event could not be delivered yet"
            );
            return;
        }
        tracing::error!(
            webhook = name,
            event = event.id,
            attempts,
            problem,
            "an event is given up: `snapback webhook retry` sends it again"
        );
        lock(&self.status).given_up += 1;
        let letter = DeadLetter { event: event.id, at: wall, attempts, reason: problem };
        self.unsaved.push(Progress::Dead(letter));
        self.done(lane, event.id);
    }

    /// Takes the dead letters up again, unless that is under way.
    fn revive(&mut self) {
        self.save();
        if self.is_reviving || !self.revived.is_empty() {
            return;
        }
        match self.outbox.dead_letters(&self.spec.name) {
            Ok(letters) => self.revived = letters.into(),
            Err(error) => {
                tracing::error!(webhook = self.spec.name, %error, "dead letters cannot be read");
            }
        }
    }

    fn revived_event(&mut self) -> Option<(Event, Turn)> {
        while !self.is_reviving {
            let letter = self.revived.pop_front()?;
            match self.outbox.event(letter.event) {
                Ok(Some(event)) => return Some((event, Turn::Again(letter))),
                Ok(None) => {
                    tracing::warn!(
                        webhook = self.spec.name,
                        event = letter.event,
                        "a dead letter's event is no longer kept"
                    );
                    self.unsaved.push(Progress::Buried { event: letter.event });
                }
                Err(error) => {
                    tracing::error!(webhook = self.spec.name, %error, "a dead letter's event cannot be read");
                    self.revived.clear();
                }
            }
        }
        None
    }

    /// Makes what was done durable. What cannot be written now is kept; at worst it is sent twice.
    fn save(&mut self) {
        if self.unsaved.is_empty() {
            return;
        }
        let progress = newest_of_each(mem::take(&mut self.unsaved));
        if let Err(error) = self.outbox.advance(&self.spec.name, &progress) {
            tracing::warn!(webhook = self.spec.name, %error, "how far a webhook has come is not in the journal");
            self.unsaved = progress;
        }
    }

    fn until_due(&self) -> Duration {
        let now = clock::now();
        self.lanes.next_due().map_or(IDLE, |due: Moment| due.since(now)).min(IDLE)
    }

    fn show(&self) {
        let pending =
            self.lanes.iter().filter(|(_, state)| state.newest > state.done).map(|(lane, state)| {
                LaneStatus {
                    lane: lane.clone(),
                    done: state.done,
                    newest: state.newest,
                    attempts: state.attempts,
                    problem: state.problem.clone(),
                }
            });
        lock(&self.status).pending = pending.collect();
    }
}

async fn attempt(receiver: Arc<Receiver>, render: Render, event: Event, turn: Turn) -> Attempt {
    // The hash is of this event and all before it, so no other journal has an event with this id.
    let hash = event.hash.to_string();
    let id = format!("evt_{}_{}", event.id, &hash[..16]);
    let body = match &receiver.bridge {
        Some(bridge) => bridge::body(bridge, event.clone(), render),
        None => render(event.clone()).into(),
    };
    let letter = Letter { id, body };
    let result = receiver.post(&letter).await;
    Attempt { event, turn, result }
}

fn lane_of(event: &Event) -> Lane {
    event.endpoint.clone().map_or(Lane::General, Lane::Endpoint)
}

/// Of the changes of a lane only the last counts, so that a long outage of the disk does not fill the memory.
fn newest_of_each(progress: Vec<Progress>) -> Vec<Progress> {
    let mut kept: Vec<Progress> = Vec::new();
    for change in progress.into_iter().rev() {
        let is_older = match &change {
            Progress::Done { lane, .. } => {
                kept.iter().any(|later| matches!(later, Progress::Done { lane: other, .. } if other == lane))
            }
            Progress::Dead(_) | Progress::Buried { .. } => false,
        };
        if !is_older {
            kept.push(change);
        }
    }
    kept.reverse();
    kept
}
