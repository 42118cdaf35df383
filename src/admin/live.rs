//! `GET /v1/live`: what a dashboard shows, as server-sent events: once a second how things are, and in between what happens.
//!
//! One stream has both, because a browser opens six connections to a host and a dashboard may be open in several tabs.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{self, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        broadcast::{self, error::RecvError},
    },
    time::Instant,
};

use super::{
    events::event_json,
    extract::{LiveFilter, Parameters},
    glances::{Known, Seen},
    problem::Fault,
    state::{Port, stopped},
};
use crate::{
    control::{ControlError, Handle},
    name::EndpointName,
    store::Event,
    time::WallTime,
};

/// How often it says how things are. Control makes a point as often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long after an event it says how things are now: events of one change come together.
const SETTLE: Duration = Duration::from_millis(50);

/// What somebody looks at, and how much of it they have seen.
#[derive(Debug)]
enum View {
    All(Known),
    One { name: EndpointName, seen: Option<WallTime> },
}

/// One open stream.
#[derive(Debug)]
struct Live {
    handle: Handle,
    events: broadcast::Receiver<Event>,
    view: View,
    ready: VecDeque<sse::Event>,
    look_at: Instant,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn stream(
    State(port): State<Arc<Port>>,
    Parameters(LiveFilter { endpoint }): Parameters<LiveFilter>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Fault> {
    let view = match endpoint {
        Some(name) => View::One { name: EndpointName::parse(&name)?, seen: None },
        None => View::All(Known::default()),
    };
    let place = port.streams.clone().try_acquire_owned().map_err(|_| Fault::Overloaded)?;
    let (handle, look_at) = (port.handle.clone(), Instant::now() + LOOK_EVERY);
    let events = handle.subscribe();
    let mut live = Live { handle, events, view, ready: VecDeque::new(), look_at, _place: place };
    // An endpoint that is not there is an answer of its own, not a stream that ends.
    live.look().await?;
    let messages = stream::unfold(live, |mut live| async move {
        let message = live.next().await?;
        Some((Ok(message), live))
    });
    Ok(Sse::new(messages.take_until(stopped(port.shutdown.clone()))).keep_alive(KeepAlive::new()))
}

impl Live {
    /// The next message; `None` when there will be none: control has ended, or the endpoint is gone.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            tokio::select! {
                () = tokio::time::sleep_until(self.look_at) => self.look().await.ok()?,
                event = self.events.recv() => self.heard(event)?,
            }
        }
    }

    fn heard(&mut self, event: Result<Event, RecvError>) -> Option<()> {
        let message = match event {
            Ok(event) if self.concerns(&event) => {
                sse::Event::default().id(event.id.to_string()).event("journal").data(event_json(event))
            }
            Ok(_) => return Some(()),
            // The journal has them: whoever shows events reads them again.
            Err(RecvError::Lagged(missed)) => sse::Event::default().event("missed").data(missed.to_string()),
            Err(RecvError::Closed) => return None,
        };
        self.ready.push_back(message);
        self.look_at = self.look_at.min(Instant::now() + SETTLE);
        Some(())
    }

    fn concerns(&self, event: &Event) -> bool {
        match &self.view {
            View::All(_) => true,
            View::One { name, seen: _ } => event.endpoint.as_ref() == Some(name),
        }
    }

    async fn look(&mut self) -> Result<(), ControlError> {
        let message = match &mut self.view {
            View::All(known) => message("glances", &known.news(self.handle.glances().await?)),
            View::One { name, seen } => {
                let (scene, last) = Seen::of(self.handle.scene(name, *seen).await?);
                *seen = last.or(*seen);
                message("endpoint", &scene)
            }
        };
        self.ready.push_back(message);
        self.look_at = Instant::now() + LOOK_EVERY;
        Ok(())
    }
}

fn message(kind: &str, what: &impl Serialize) -> sse::Event {
    let data = serde_json::to_string(what).expect("representations have string keys and finite numbers");
    sse::Event::default().event(kind).data(data)
}
