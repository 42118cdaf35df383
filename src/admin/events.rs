//! `GET /v1/events`: server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{self, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use http::HeaderMap;

use super::{
    extract::{EventFilter, Parameters},
    feed::Feed,
    problem::Fault,
    represent,
    state::{Port, stopped},
};
use crate::{name::EndpointName, store::Event};

/// How often a comment is sent when nothing happens: shorter than the minute after which proxies drop idle connections.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn stream(
    State(port): State<Arc<Port>>,
    Parameters(EventFilter { endpoint, after }): Parameters<EventFilter>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Fault> {
    let endpoint = endpoint.map(|name| EndpointName::parse(&name)).transpose()?;
    let resume = resume_point(&headers)?.or(after);
    let place = port.streams.clone().try_acquire_owned().map_err(|_| Fault::Overloaded)?;
    let live = port.handle.subscribe();
    let handle = port.handle.clone();
    let read = move |after| {
        let handle = handle.clone();
        async move { handle.events_after(after).await }
    };
    let feed = match resume {
        Some(id) => Feed::after(id, live, read),
        None => Feed::from_now(live, read),
    };
    let events = stream::unfold((feed, place), |(mut feed, place)| async move {
        let event = feed.next().await?;
        Some((event, (feed, place)))
    });
    let wanted = events.filter(move |event| {
        let fits = endpoint.is_none() || event.endpoint == endpoint;
        async move { fits }
    });
    let messages = wanted.map(|event| Ok(message(event))).take_until(stopped(port.shutdown.clone()));
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The id that a client which lost its connection saw last. It counts before `?after=`, which such a client sends again unchanged.
fn resume_point(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    id.map(Some)
        .ok_or_else(|| Fault::Query("last-event-id is not the id of an event: a whole number".to_owned()))
}

fn message(event: Event) -> sse::Event {
    let (id, kind) = (event.id.to_string(), event.kind.clone());
    sse::Event::default().id(id).event(kind).data(event_json(event))
}

/// An event as the API writes it, in a line.
pub fn event_json(event: Event) -> String {
    serde_json::to_string(&represent::event(event)).expect("an event is strings and numbers")
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http_body_util::BodyExt;

    use super::*;
    use crate::{name::ShiftId, store::Hash, time::WallTime, weight::Share};

    #[tokio::test]
    async fn a_message_has_the_events_id_its_kind_and_itself_as_json() {
        let event = Event {
            id: 42,
            at: WallTime::from_millis(1_769_860_800_250),
            kind: "shift.state".to_owned(),
            endpoint: Some(EndpointName::parse("chat").unwrap()),
            shift: Some(ShiftId::parse("chat-7").unwrap()),
            before: Some("baking".to_owned()),
            after: Some("rolling_back".to_owned()),
            share: Some(Share::NONE),
            actor: "alarm".to_owned(),
            cause: "line one\nline two".to_owned(),
            peer: None,
            reason: None,
            evidence: None,
            hash: Hash::NONE,
        };
        let one = stream::iter([Ok::<_, Infallible>(message(event))]);
        let body = Sse::new(one).into_response().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            "id: 42\nevent: shift.state\ndata: {\"id\":42,\"at\":\"2026-01-31T12:00:00.250Z\",\"kind\":\"shift.state\",\
             \"endpoint\":\"chat\",\"shift\":\"chat-7\",\"before\":\"baking\",\"after\":\"rolling_back\",\"share\":\"0%\",\
             \"actor\":\"alarm\",\"peer\":null,\"cause\":\"line one\\nline two\",\"reason\":null,\"evidence\":null,\"hash\":null}\n\n"
        );
    }

    #[test]
    fn a_last_event_id_that_is_no_number_is_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(resume_point(&headers).unwrap(), None);
        headers.insert("last-event-id", "7".parse().unwrap());
        assert_eq!(resume_point(&headers).unwrap(), Some(7));
        headers.insert("last-event-id", "seven".parse().unwrap());
        assert_eq!(resume_point(&headers).unwrap_err().document().status, 400);
    }
}
