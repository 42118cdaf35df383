//! `snapback audit`: who did what, and whether the record of it is whole.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use super::{
    CliError, Exit,
    args::{Asked, AuditCommand, EventFilter, OutputFormat},
    client::Client,
    events,
    output::Output,
};
use crate::admin::wire;

/// Carries out a command about the audit trail.
pub(super) async fn audit(args: Asked<AuditCommand>, output: &mut Output) -> Result<Exit, CliError> {
    match args.command {
        AuditCommand::List(filter) => {
            list(&Client::new(&args.connection), filter, output).await?;
            Ok(Exit::Done)
        }
        AuditCommand::Verify { file: Some(file) } => verify_file(&file, output),
        AuditCommand::Verify { file: None } => verify(&Client::new(&args.connection), output).await,
    }
}

async fn list(
    client: &Client,
    EventFilter { mut after, endpoint }: EventFilter,
    output: &mut Output,
) -> Result<(), CliError> {
    let whose = endpoint.map(|name| format!("&endpoint={name}")).unwrap_or_default();
    loop {
        let answer = client.get(&format!("/v1/audit?after={after}{whose}")).await?;
        let wire::Audit { events: acts, next } = answer.read()?;
        for act in &acts {
            match output.format() {
                OutputFormat::Json => output.json(act)?,
                OutputFormat::Table => output.text(&line(act))?,
            }
        }
        match next {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

/// The event's line, with where it was asked from.
fn line(act: &wire::Event) -> String {
    let peer = act.peer.as_ref().map(|peer| format!("  from {peer}")).unwrap_or_default();
    format!("{}{peer}", events::line(act))
}

async fn verify(client: &Client, output: &mut Output) -> Result<Exit, CliError> {
    let answer = client.get("/v1/audit/verification").await?;
    let found: wire::Verification = answer.read()?;
    output.answer(&answer, || Ok(verdict(&found)))?;
    Ok(if found.whole { Exit::Done } else { Exit::Broken })
}

fn verdict(found: &wire::Verification) -> String {
    let wire::Verification { whole: _, first, last, hash, broken_at, how, file } = found;
    if let Some(event) = broken_at {
        let how = how.as_deref().unwrap_or("it does not follow from the one before");
        return format!("the chain breaks at event {event}: {how}");
    }
    let against = match file {
        Some(event) => format!(", and agrees with the events' file, whose last is event {event}"),
        None => String::new(),
    };
    match hash {
        Some(hash) => {
            format!(
                "events {first} to {last} are whole{against}\nkept elsewhere, this proves it later: event {last} {hash}"
            )
        }
        None => "there is no event in the chain yet".to_owned(),
    }
}

/// The lines of a file: each must follow from the one before. What is before the first line is not known here.
fn verify_file(path: &Path, output: &mut Output) -> Result<Exit, CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    let lines = BufReader::new(File::open(path).map_err(failed)?).lines();
    let mut last: Option<wire::Event> = None;
    for (number, line) in (1..).zip(lines) {
        let line = line.map_err(failed)?;
        let broken =
            |event: u64, how: &str| format!("the chain breaks at event {event}, line {number}: {how}");
        let Ok(event) = serde_json::from_str::<wire::Event>(&line) else {
            output.text(&format!("line {number} is no event: it was changed, or cut off"))?;
            return Ok(Exit::Broken);
        };
        if let Some(before) = &last {
            let expected = before.hash.as_deref().and_then(|hash| event.hash_after(hash));
            if event.id != before.id + 1 {
                output.text(&broken(before.id + 1, "it is missing"))?;
                return Ok(Exit::Broken);
            }
            if before.hash.is_some() && event.hash != expected {
                output.text(&broken(
                    event.id,
                    "its hash does not follow from it and the one before: one of them was changed",
                ))?;
                return Ok(Exit::Broken);
            }
        }
        last = Some(event);
    }
    output.text(&match last {
        Some(event) => {
            let hash = event.hash.unwrap_or_default();
            format!("every line follows from the one before; the last is event {} {hash}", event.id)
        }
        None => "there is no event in the file".to_owned(),
    })?;
    Ok(Exit::Done)
}
