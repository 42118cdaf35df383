//! The stream of events that a client follows: what the journal has, then what happens, without gap or duplicate.
//!
//! Event ids rise without gaps, so the live channel is checked by counting: an id that was had already is skipped, and one that is too high
//! sends the feed back to the journal. A receiver that fell behind the channel needs no other treatment.

use std::{collections::VecDeque, future::Future};

use tokio::sync::broadcast::{self, error::RecvError};

use crate::{control::ControlError, store::Event};

/// Events for one client. `read` gives the journal's events above an id, oldest first, some of them at a time.
pub(super) struct Feed<Read> {
    read: Read,
    live: broadcast::Receiver<Event>,
    mode: Mode,
    /// The id of the newest event that was given out or is not wanted.
    last: u64,
    /// Read from the journal, not given out yet.
    ready: VecDeque<Event>,
    /// Came live while events before it were missing.
    early: Option<Event>,
}

/// Where the next event comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The client named an event; whether this journal has it is not known yet.
    Resume,
    /// The journal has events that were not given out.
    Journal,
    /// Only new ones; so many were missed before the first of them.
    LiveFromNow { missed: u64 },
    /// New ones; each must follow upon the last.
    Live,
}

impl<Read, Reading> Feed<Read>
where
    Read: Fn(u64) -> Reading,
    Reading: Future<Output = Result<Vec<Event>, ControlError>>,
{
    /// Events above an id, those of the past first. An id that the journal does not have belongs to another journal (the file was
    /// replaced): then everything is new to the client and the feed begins at the start.
    ///
    /// `live` must have been subscribed to before this is called.
    pub(super) fn after(id: u64, live: broadcast::Receiver<Event>, read: Read) -> Self {
        let mode = if id == 0 { Mode::Journal } else { Mode::Resume };
        Self { read, live, mode, last: id, ready: VecDeque::new(), early: None }
    }

    /// Events from now on.
    pub(super) fn from_now(live: broadcast::Receiver<Event>, read: Read) -> Self {
        let mode = Mode::LiveFromNow { missed: 0 };
        Self { read, live, mode, last: 0, ready: VecDeque::new(), early: None }
    }

    /// The next event; `None` when there will be none: control has ended, or the journal cannot be read. A client that comes
    /// back with the last id that it saw loses nothing.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last = event.id;
                return Some(event);
            }
            match self.mode {
                Mode::Resume => self.resume().await?,
                Mode::Journal => self.read_on().await?,
                Mode::LiveFromNow { .. } | Mode::Live => self.listen().await?,
            }
        }
    }

    async fn resume(&mut self) -> Option<()> {
        let mut batch = self.journal_after(self.last - 1).await?;
        if batch.front().is_some_and(|event| event.id == self.last) {
            batch.pop_front();
            self.ready = batch;
        } else {
            self.last = 0;
        }
        self.mode = Mode::Journal;
        Some(())
    }

    async fn read_on(&mut self) -> Option<()> {
        self.ready = self.journal_after(self.last).await?;
        if self.ready.is_empty() {
            self.mode = Mode::Live;
            self.ready.extend(self.early.take().filter(|event| event.id > self.last));
        }
        Some(())
    }

    async fn listen(&mut self) -> Option<()> {
        match (self.live.recv().await, self.mode) {
            (Err(RecvError::Closed), _) => return None,
            (Err(RecvError::Lagged(count)), Mode::LiveFromNow { missed }) => {
                self.mode = Mode::LiveFromNow { missed: missed + count };
            }
            // The next id will be too high.
            (Err(RecvError::Lagged(_)), Mode::Live | Mode::Journal | Mode::Resume) => {}
            (Ok(event), Mode::LiveFromNow { missed }) => {
                self.last = event.id.saturating_sub(missed + 1);
                self.mode = Mode::Live;
                self.take(event);
            }
            (Ok(event), Mode::Live | Mode::Journal | Mode::Resume) => self.take(event),
        }
        Some(())
    }

    fn take(&mut self, event: Event) {
        if event.id == self.last + 1 {
            self.ready.push_back(event);
        } else if event.id > self.last {
            self.early = Some(event);
            self.mode = Mode::Journal;
        }
    }

    async fn journal_after(&self, id: u64) -> Option<VecDeque<Event>> {
        match (self.read)(id).await {
            Ok(batch) => Some(batch.into()),
            Err(error) => {
                tracing::warn!(%error, "an event stream ends because the journal cannot be read");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Ready, ready},
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::{store::Hash, time::WallTime};

    fn event(id: u64) -> Event {
        Event {
            id,
            at: WallTime::from_millis(0),
            kind: "shift.state".to_owned(),
            endpoint: None,
            shift: None,
            before: None,
            after: None,
            share: None,
            actor: "timer".to_owned(),
            cause: String::new(),
            peer: None,
            reason: None,
            evidence: None,
            hash: Hash::NONE,
        }
    }

    /// A journal that gives two events at a time, and the channel beside it.
    struct World {
        journal: Arc<Mutex<u64>>,
        live: broadcast::Sender<Event>,
    }

    impl World {
        fn with(events: u64) -> Self {
            Self { journal: Arc::new(Mutex::new(events)), live: broadcast::channel(2).0 }
        }

        fn happens(&self) {
            let mut newest = self.journal.lock().unwrap();
            *newest += 1;
            let _listeners = self.live.send(event(*newest));
        }

        fn reader(&self) -> impl Fn(u64) -> Ready<Result<Vec<Event>, ControlError>> + use<> {
            let journal = self.journal.clone();
            move |after| ready(Ok((after + 1..=*journal.lock().unwrap()).take(2).map(event).collect()))
        }

        fn after(&self, id: u64) -> Feed<impl Fn(u64) -> Ready<Result<Vec<Event>, ControlError>> + use<>> {
            Feed::after(id, self.live.subscribe(), self.reader())
        }
    }

    async fn ids<Read, Reading>(feed: &mut Feed<Read>, count: usize) -> Vec<u64>
    where
        Read: Fn(u64) -> Reading,
        Reading: Future<Output = Result<Vec<Event>, ControlError>>,
    {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(feed.next().await.unwrap().id);
        }
        ids
    }

    #[tokio::test]
    async fn the_past_comes_first_and_what_happens_meanwhile_comes_once() {
        let world = World::with(5);
        let mut feed = world.after(2);
        world.happens();
        assert_eq!(ids(&mut feed, 4).await, [3, 4, 5, 6]);
        world.happens();
        assert_eq!(ids(&mut feed, 1).await, [7]);
    }

    #[tokio::test]
    async fn a_client_that_fell_behind_the_channel_gets_everything_from_the_journal() {
        let world = World::with(1);
        let mut feed = world.after(1);
        world.happens();
        assert_eq!(ids(&mut feed, 1).await, [2]);
        for _ in 0..7 {
            world.happens();
        }
        assert_eq!(ids(&mut feed, 7).await, [3, 4, 5, 6, 7, 8, 9]);
    }

    #[tokio::test]
    async fn from_now_on_means_no_past_and_yet_nothing_missed() {
        let world = World::with(5);
        let mut feed = Feed::from_now(world.live.subscribe(), world.reader());
        for _ in 0..4 {
            world.happens();
        }
        assert_eq!(ids(&mut feed, 4).await, [6, 7, 8, 9]);
    }

    #[tokio::test]
    async fn an_id_of_another_journal_begins_at_the_start() {
        assert_eq!(ids(&mut World::with(2).after(500), 2).await, [1, 2]);
    }

    #[tokio::test]
    async fn an_event_that_the_journal_does_not_have_yet_is_not_lost() {
        let world = World::with(3);
        let mut feed = world.after(3);
        world.live.send(event(5)).unwrap();
        assert_eq!(ids(&mut feed, 1).await, [5]);
    }

    #[tokio::test]
    async fn the_feed_ends_with_control() {
        let world = World::with(1);
        let mut feed = world.after(0);
        drop(world);
        assert_eq!(ids(&mut feed, 1).await, [1]);
        assert!(feed.next().await.is_none());
    }
}
