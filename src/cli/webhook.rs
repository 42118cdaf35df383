//! `snapback webhook`: how deliveries do, and another try for what could not be delivered.

use super::{
    CliError,
    args::{Asked, Because, WebhookCommand},
    client::Client,
    output::{Column, Output, Table},
};
use crate::admin::wire;

/// Carries out a command about webhooks.
pub(super) async fn webhook(args: Asked<WebhookCommand>, output: &mut Output) -> Result<(), CliError> {
    let client = Client::new(&args.connection);
    match args.command {
        WebhookCommand::List => {
            let answer = client.get("/v1/webhooks").await?;
            output.answer(&answer, || Ok(listed(&answer.read()?)))
        }
        WebhookCommand::Retry { name, because: Because { reason } } => {
            let client = client.because(&reason);
            let answer = client.post(&format!("/v1/webhooks/{name}/retry"), None).await?;
            output.answer(&answer, || {
                let wire::Retry { dead_letters } = answer.read()?;
                Ok(match dead_letters {
                    0 => "there are no dead letters".to_owned(),
                    count => format!(
                        "{count} dead letters are tried again, in order, until one fails: see `snapback webhook list`"
                    ),
                })
            })
        }
    }
}

fn listed(all: &wire::Webhooks) -> String {
    let wire::Webhooks { webhooks, file } = all;
    let mut table = Table::new([
        Column::Left("WEBHOOK"),
        Column::Left("STATE"),
        Column::Right("DELIVERED"),
        Column::Right("FAILED"),
        Column::Right("DEAD"),
        Column::Left("URL"),
    ]);
    let mut notes = Vec::new();
    for webhook in webhooks {
        let wire::Webhook { name, url, state, delivered, failed, dead_letters, pending, .. } = webhook;
        table.row([
            name.clone(),
            state.clone(),
            delivered.to_string(),
            failed.to_string(),
            dead_letters.len().to_string(),
            url.clone(),
        ]);
        for lane in pending {
            let wire::Pending { endpoint, done, newest, attempts, problem } = lane;
            let whose = endpoint.as_deref().unwrap_or("no endpoint");
            let problem = problem
                .as_ref()
                .map(|problem| format!(": {problem}, attempt {attempts}"))
                .unwrap_or_default();
            notes.push(format!("{name}: events of {whose} after {done}, up to {newest}, wait{problem}"));
        }
        for letter in dead_letters {
            let wire::DeadLetter { event, at, attempts, reason } = letter;
            notes.push(format!(
                "{name}: event {event} was given up at {at} after {attempts} attempts: {reason}"
            ));
        }
    }
    if let Some(wire::EventsFile { written, problem }) = file {
        let problem = problem.as_ref().map(|problem| format!("; {problem}")).unwrap_or_default();
        notes.push(format!("the events' file has everything up to event {written}{problem}"));
    }
    let text = if webhooks.is_empty() { "there are no webhooks".to_owned() } else { table.to_string() };
    format!("{text}\n{}", notes.join("\n"))
}
