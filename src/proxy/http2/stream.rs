//! A stream's task: its request is answered, and what answers it is sent as the client takes it.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT},
};
use http_body::Body as _;

use super::{Body, reply::Reply};
use crate::proxy::{
    body::ResponseBody, caller::Caller, client::Client, forward, incoming::Incoming, upgrade::Duplex,
};

/// Has a stream's request answered, in a task on the worker's own thread.
pub(super) fn begin(client: &Rc<Client>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let registered = Registered::new(Caller::stream(client));
    drop(tokio::task::spawn_local(attend(registered, request, respond)));
}

/// A stream among those of its connection, until dropped.
struct Registered {
    caller: Rc<Caller>,
}

impl Registered {
    fn new(caller: Rc<Caller>) -> Self {
        caller.client.add_stream(&caller.pulse);
        Self { caller }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.caller.client.remove_stream(&self.caller.pulse);
        self.caller.worker().note_panic();
    }
}

/// Serves a stream until it ends or is late. Dropped before its end, it is reset.
async fn attend(registered: Registered, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let caller = &registered.caller;
    let pulse = &caller.pulse;
    let mut serving = pin!(serve(caller, request, respond));
    poll_fn(|context| {
        pulse.listen(context.waker());
        let poll = serving.as_mut().poll(context);
        // Whoever could do better than resetting has seen by now that the stream is late.
        if poll.is_pending() && pulse.is_late() { Poll::Ready(()) } else { poll }
    })
    .await;
}

async fn serve(caller: &Rc<Caller>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    if request
        .headers()
        .get(EXPECT)
        .is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        caller.await_asking();
    }
    let (parts, stream) = request.into_parts();
    // What comes on a stream that may become a tunnel is no body.
    let (incoming, tunnelled) = if parts.method == Method::CONNECT {
        (Incoming::None, Some(stream))
    } else {
        (Incoming::Http2(Body::new(caller, stream)), None)
    };
    // On the heap, for as long as the request has no answer and no longer: a token stream may go on for hours.
    let handling = Box::pin(forward::handle(caller, Request::from_parts(parts, incoming)));
    let Some(response) = answer(caller, handling, &mut respond).await else { return };
    let (head, body) = finish(caller, response);
    let is_whole = body.is_end_stream() && !caller.has_tunnel();
    let Ok(sending) = respond.send_response(head, is_whole) else {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return;
    };
    if is_whole {
        return;
    }
    match (caller.take_tunnel(), tunnelled) {
        (Some(tunnel), Some(receiving)) => {
            Box::pin(tunnel.relay(caller, Duplex::new(sending, receiving), Bytes::new())).await;
        }
        (Some(_), None) | (None, _) => Reply::new(&caller.client, body, sending).send().await,
    }
}

/// The response; `None` when the client has reset the stream before.
async fn answer(
    caller: &Caller,
    mut handling: Pin<Box<impl Future<Output = Response<ResponseBody>>>>,
    respond: &mut SendResponse<Bytes>,
) -> Option<Response<ResponseBody>> {
    poll_fn(|context| {
        if let Poll::Ready(response) = handling.as_mut().poll(context) {
            return Poll::Ready(Some(response));
        }
        if caller.takes_asking() {
            let mut question = Response::new(());
            *question.status_mut() = StatusCode::CONTINUE;
            // Of a stream that is there no more, the next line tells.
            let _asked = respond.send_informational(question).is_ok();
        }
        respond.poll_reset(context).map(|_reset| None)
    })
    .await
}

/// What a response's head says in this protocol.
fn finish(caller: &Caller, response: Response<ResponseBody>) -> (Response<()>, ResponseBody) {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONNECTION);
    if !parts.headers.contains_key(DATE) {
        parts.headers.insert(DATE, caller.worker().date());
    }
    let length = body.size_hint().exact().filter(|_| !body.is_end_stream());
    if let Some(length) = length
        && !parts.headers.contains_key(CONTENT_LENGTH)
    {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    (Response::from_parts(parts, ()), body)
}
