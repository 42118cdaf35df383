//! An answer as server-sent events: role, text, the reason of the end, usage if wanted, `[DONE]`.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::Value;

use super::{
    Body,
    openai::{Delivery, Job, Kind, Usage},
};

/// What comes next.
#[derive(Debug)]
enum Next {
    Role,
    Text,
    Usage,
    Done,
}

/// The body is the generation itself: a client that reads slowly slows it down, and one that goes away ends it.
pub(super) fn body(job: Job) -> Body {
    let first = match job.frame.kind {
        Kind::Chat => Next::Role,
        Kind::Completion => Next::Text,
    };
    let events = stream::unfold(Some((job, first)), |state| async move {
        let (mut job, next) = state?;
        let (text, next) = event(&mut job, next).await;
        let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(format!("data: {text}\n\n"))));
        Some((frame, next.map(|next| (job, next))))
    });
    StreamBody::new(events).boxed_unsync()
}

async fn event(job: &mut Job, next: Next) -> (String, Option<Next>) {
    match next {
        Next::Role => {
            job.paced.read_prompt().await;
            (job.frame.role().to_string(), Some(Next::Text))
        }
        Next::Text => {
            let chunk = job.paced.next_chunk().await;
            let piece = job.frame.piece(&chunk.text, chunk.finish);
            let next = match (chunk.finish, job.delivery) {
                (None, _) => Next::Text,
                (Some(_), Delivery::Stream { usage: Usage::Wanted }) => Next::Usage,
                (Some(_), Delivery::Stream { usage: Usage::NotWanted } | Delivery::Whole) => Next::Done,
            };
            (with_null_usage(piece, job.delivery), Some(next))
        }
        Next::Usage => (job.frame.usage(job.paced.generation()).to_string(), Some(Next::Done)),
        Next::Done => ("[DONE]".to_owned(), None),
    }
}

/// Where usage is wanted, the pieces before it say `null`: OpenAI's reference promises the field in every one.
fn with_null_usage(mut piece: Value, delivery: Delivery) -> String {
    if delivery == (Delivery::Stream { usage: Usage::Wanted }) {
        piece["usage"] = Value::Null;
    }
    piece.to_string()
}
