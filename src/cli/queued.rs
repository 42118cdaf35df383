//! Waiting for the turn of a shift that is in a queue.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{CliError, client::Client, follow::Retry, output::Output};
use crate::admin::wire;

/// How soon a turn is noticed; another shift's end takes longer than this.
const POLL: Duration = Duration::from_millis(500);

/// What waiting came to.
pub(super) enum Turn {
    /// The shift has begun.
    Begun(Box<wire::Shift>),
    /// It was dropped or taken out.
    Gone,
    /// The time was up.
    NotYet,
}

/// Waits until a shift begins, or until the time is up.
pub(super) async fn until_begun(
    client: &Client,
    queued: &wire::Queued,
    limit: Option<Duration>,
    output: &mut Output,
) -> Result<Turn, CliError> {
    let wire::Queued { id, endpoint, .. } = queued;
    let id = id.as_deref().ok_or(CliError::NoId)?;
    // Beyond the clock's end there is no deadline.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut retry = Retry::new();
    let mut told = queued.waits_for.clone();
    while deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let pause = match standing(client, id, endpoint).await {
            Ok(Standing::Waits(now)) => {
                retry = Retry::new();
                let line = format!("{id} waits for {}, number {} in the queue", now.waits_for, now.place);
                output.status(&line);
                if now.waits_for != told && !output.is_live() {
                    output.note(&line);
                }
                told = now.waits_for;
                POLL
            }
            Ok(Standing::Begun(shift)) => return Ok(Turn::Begun(shift)),
            Ok(Standing::Gone) => {
                let gone = CliError::LeftQueue { id: id.to_owned(), endpoint: endpoint.clone() };
                output.note(&gone.report());
                return Ok(Turn::Gone);
            }
            Err(error) => retry.after(error)?,
        };
        sleep(pause).await;
    }
    output.note(&format!("{id} still waits for its turn at the deadline; `snapback shift list` shows it"));
    Ok(Turn::NotYet)
}

/// The shift of this id, if it is in a queue.
pub(super) async fn of_id(client: &Client, id: &str) -> Result<Option<wire::Queued>, CliError> {
    let wire::Endpoints { endpoints } = client.get("/v1/endpoints").await?.read()?;
    let mut waiting = endpoints.into_iter().flat_map(|endpoint| endpoint.queue);
    Ok(waiting.find(|queued| queued.id.as_deref() == Some(id)))
}

enum Standing {
    Waits(Box<wire::Queued>),
    Begun(Box<wire::Shift>),
    Gone,
}

async fn standing(client: &Client, id: &str, endpoint: &str) -> Result<Standing, super::client::ClientError> {
    let wire::Queue { queue } = client.get(&format!("/v1/endpoints/{endpoint}/queue")).await?.read()?;
    if let Some(queued) = queue.into_iter().find(|queued| queued.id.as_deref() == Some(id)) {
        return Ok(Standing::Waits(Box::new(queued)));
    }
    // Asked after the queue: what has left it by now has begun, or never will.
    match client.get(&format!("/v1/shifts/{id}")).await {
        Ok(answer) => Ok(Standing::Begun(Box::new(answer.read()?))),
        Err(error) if error.is_not_found() => Ok(Standing::Gone),
        Err(error) => Err(error),
    }
}
