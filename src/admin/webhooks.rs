//! `/v1/webhooks`

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{
    actor::HeaderActor,
    extract::{Change, Nothing, Parameters, WebhookPath},
    problem::Fault,
    state::Port,
    wire,
};
use crate::{
    control::{ControlError, Execution},
    delivery::{FileStatus, LaneStatus, WebhookStatus},
    store::{DeadLetter, Lane, StoreError},
};

pub(super) async fn list(
    State(port): State<Arc<Port>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<wire::Webhooks>, Fault> {
    let webhooks = read(&port).await?.into_iter().map(webhook).collect();
    Ok(Json(wire::Webhooks { webhooks, file: port.webhooks.file().map(file) }))
}

pub(super) async fn retry(
    State(port): State<Arc<Port>>,
    WebhookPath(name): WebhookPath,
    Parameters(change): Parameters<Change>,
    actor: HeaderActor,
) -> Result<Json<wire::Retry>, Fault> {
    let actor = actor.or(None)?;
    let all = read(&port).await?;
    let Some(status) = all.iter().find(|status| status.name == name) else {
        let known: Vec<_> = all.iter().map(|status| status.name.as_str()).collect();
        return Err(Fault::NoWebhook { name, known: known.join(", ") });
    };
    let dead_letters = status.dead_letters.len();
    if change.execution() == Execution::Real {
        let cause = format!("webhook {name}: {dead_letters} dead letters are tried again");
        port.handle.note("webhook.retried", cause, actor).await?;
        port.webhooks.retry(&name);
    }
    Ok(Json(wire::Retry { dead_letters }))
}

/// Reads the journal on a thread that may block.
async fn read(port: &Arc<Port>) -> Result<Vec<WebhookStatus>, Fault> {
    let webhooks = port.webhooks.clone();
    let read = tokio::task::spawn_blocking(move || webhooks.list()).await;
    let read = read
        .unwrap_or_else(|error| Err(StoreError::Write { path: "journal".into(), reason: error.to_string() }));
    read.map_err(|error| ControlError::from(error).into())
}

fn webhook(status: WebhookStatus) -> wire::Webhook {
    let WebhookStatus { name, url, delivered, failed, given_up, delivered_at, pending, dead_letters } =
        status;
    let state = match (pending.is_empty(), pending.iter().any(|lane| lane.problem.is_some())) {
        (true, _) => "idle",
        (false, true) => "failing",
        (false, false) => "delivering",
    };
    wire::Webhook {
        name,
        url,
        state: state.to_owned(),
        delivered,
        failed,
        given_up,
        delivered_at: delivered_at.map(|at| at.to_string()),
        pending: pending.into_iter().map(lane).collect(),
        dead_letters: dead_letters.into_iter().map(dead_letter).collect(),
    }
}

fn lane(status: LaneStatus) -> wire::Pending {
    let LaneStatus { lane, done, newest, attempts, problem } = status;
    let endpoint = match lane {
        Lane::General => None,
        Lane::Endpoint(name) => Some(name.to_string()),
    };
    wire::Pending { endpoint, done, newest, attempts, problem }
}

fn dead_letter(letter: DeadLetter) -> wire::DeadLetter {
    let DeadLetter { event, at, attempts, reason } = letter;
    wire::DeadLetter { event, at: at.to_string(), attempts, reason }
}

fn file(status: FileStatus) -> wire::EventsFile {
    let FileStatus { written, problem } = status;
    wire::EventsFile { written, problem }
}
