//! `snapback events`: the journal, one event a line, and what is added to it from now on.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{sleep, timeout};

use super::{
    CliError,
    args::{EventsArgs, OutputFormat},
    client::{Client, ClientError},
    follow::{POLL, Retry},
    output::Output,
    sse::Parser,
};
use crate::admin::wire;

const PATH: &str = "/v1/events";

/// Without `--follow`: the journal's events come at once, so that a pause this long means that they are through.
const QUIET: Duration = Duration::from_millis(500);

/// With `--follow`: a connection this silent may be a dead one, and asking again costs nothing.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Prints events until they are through, or with `--follow` for good.
pub(super) async fn events(args: EventsArgs, output: &mut Output) -> Result<(), CliError> {
    let client = Client::new(&args.connection);
    let follow = args.follow;
    let mut printer = Printer { after: args.filter.after, args, output };
    let mut retry = Retry::new();
    let mut is_first = true;
    let mut is_lost = false;
    loop {
        let ended = match client.open_stream(&printer.path(), printer.after).await {
            Ok(body) => {
                retry = Retry::new();
                is_first = false;
                is_lost = false;
                printer.drain(&client, body).await
            }
            Err(error) => Err(error.into()),
        };
        match ended {
            Ok(()) if follow => sleep(POLL).await,
            Ok(()) => return Ok(()),
            // What never worked is told at once; what worked before is tried again, and the ids make up for what was missed.
            Err(CliError::Client(error)) if follow && !is_first => {
                if !std::mem::replace(&mut is_lost, true) {
                    printer.output.note(&format!("{error}; trying again"));
                }
                sleep(retry.after(error)?).await;
            }
            Err(error) => return Err(error),
        }
    }
}

struct Printer<'a> {
    args: EventsArgs,
    after: u64,
    output: &'a mut Output,
}

impl Printer<'_> {
    /// The stream of what has not been printed yet.
    fn path(&self) -> String {
        let endpoint = self.args.filter.endpoint.as_ref().map(|name| format!("&endpoint={name}"));
        format!("{PATH}?after={}{}", self.after, endpoint.unwrap_or_default())
    }

    /// Prints a stream's events until it ends or falls silent.
    async fn drain(&mut self, client: &Client, mut body: Incoming) -> Result<(), CliError> {
        let patience = if self.args.follow { SILENCE_LIMIT } else { QUIET };
        let mut parser = Parser::default();
        while let Ok(Some(frame)) = timeout(patience, body.frame()).await {
            let frame = frame.map_err(|source| client.lost(source))?;
            let Some(bytes) = frame.data_ref() else { continue };
            let messages = parser.push(bytes).map_err(|_| ClientError::TooLong { path: PATH.to_owned() })?;
            for data in messages {
                self.print(&data)?;
            }
        }
        Ok(())
    }

    fn print(&mut self, data: &str) -> Result<(), CliError> {
        let event: wire::Event = serde_json::from_str(data)
            .map_err(|source| ClientError::Unreadable { path: PATH.to_owned(), source })?;
        if event.id <= self.after {
            return Ok(());
        }
        self.after = event.id;
        match self.output.format() {
            OutputFormat::Json => self.output.text(data),
            OutputFormat::Table => self.output.text(&line(&event)),
        }
    }
}

/// `12  2026-01-31T12:00:01.200Z  chat  chat-7  preparing -> baking  5%  snapback: green is ready`
pub(super) fn line(event: &wire::Event) -> String {
    let wire::Event {
        id,
        at,
        kind,
        endpoint,
        shift,
        before,
        after,
        share,
        actor,
        cause,
        // The cause has the reason in it already; the rest is for programs.
        peer: _,
        reason: _,
        evidence: _,
        hash: _,
    } = event;
    let change = match (before, after) {
        (Some(before), Some(after)) => format!("{before} -> {after}"),
        (None, Some(after)) => format!("{kind}: {after}"),
        (Some(_) | None, None) => kind.clone(),
    };
    let mut parts = vec![format!("{id:>5}"), at.clone()];
    parts.extend([endpoint, shift].into_iter().flatten().cloned());
    parts.push(change);
    parts.extend(share.clone());
    parts.push(if cause.is_empty() { actor.clone() } else { format!("{actor}: {cause}") });
    parts.join("  ")
}
