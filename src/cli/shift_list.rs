//! `snapback shift list`: what runs, what waits for its turn, and what is over.

use std::cmp::Reverse;

use serde_json::{Value, json};

use super::{
    CliError,
    args::{ListArgs, OutputFormat, ShiftKind},
    client::Client,
    output::{
        Column::{Left, Right, State},
        Output, Table,
    },
    view::text::{moment, percent, seconds_between, span, took},
};
use crate::{admin::wire, clock, time::WallTime};

/// A shift in the list; its document is kept as it came.
struct Listed {
    kind: ShiftKind,
    /// When it began, or since when it waits.
    since: String,
    document: Value,
}

/// Lists the shifts of one endpoint or of all.
pub(super) async fn list(client: &Client, args: ListArgs, output: &mut Output) -> Result<(), CliError> {
    let names = match &args.whose.endpoint {
        Some(name) => vec![name.to_string()],
        None => {
            let wire::Endpoints { endpoints } = client.get("/v1/endpoints").await?.read()?;
            endpoints.into_iter().map(|endpoint| endpoint.name).collect()
        }
    };
    let mut all = Vec::new();
    for name in &names {
        all.extend(of_endpoint(client, name, args.only).await?);
    }
    let listed = chosen(all, args.limit);
    match output.format() {
        OutputFormat::Json => output.json(&document(&listed)),
        OutputFormat::Table => output.text(&table(&listed, args.only, clock::wall())?),
    }
}

async fn of_endpoint(client: &Client, name: &str, only: Option<ShiftKind>) -> Result<Vec<Listed>, CliError> {
    let mut listed = Vec::new();
    if only != Some(ShiftKind::Queued) {
        let answer = client.get(&format!("/v1/endpoints/{name}/shifts")).await?;
        listed.extend(parts(answer.read()?, "shifts", "started_at"));
    }
    if only.is_none_or(|only| only == ShiftKind::Queued) {
        let answer = client.get(&format!("/v1/endpoints/{name}/queue")).await?;
        listed.extend(parts(answer.read()?, "queue", "queued_at"));
    }
    listed.retain(|shift| only.is_none_or(|only| only == shift.kind));
    Ok(listed)
}

/// The members of a list in an answer.
fn parts(mut answer: Value, list: &str, since: &str) -> Vec<Listed> {
    let Some(Value::Array(documents)) = answer.get_mut(list).map(Value::take) else { return Vec::new() };
    let listed = documents.into_iter().map(|document| {
        let kind = match document.get("over").and_then(Value::as_bool) {
            Some(true) => ShiftKind::Over,
            Some(false) => ShiftKind::Running,
            None => ShiftKind::Queued,
        };
        let since = document.get(since).and_then(Value::as_str).unwrap_or_default().to_owned();
        Listed { kind, since, document }
    });
    listed.collect()
}

/// Running ones, then the queues in their order, then those that are over, newest first and not more than asked for.
fn chosen(all: Vec<Listed>, limit: usize) -> Vec<Listed> {
    let (mut over, mut rest): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|shift| shift.kind == ShiftKind::Over);
    // Both sorts are stable: within a queue the order is the answer's.
    rest.sort_by_key(|shift| shift.kind);
    over.sort_by_key(|shift| Reverse(moment(&shift.since)));
    rest.into_iter().chain(over.into_iter().take(limit)).collect()
}

/// The API's own documents, under the names that they have there.
fn document(listed: &[Listed]) -> Value {
    let of = |is_queued: bool| -> Vec<&Value> {
        let those = listed.iter().filter(|shift| (shift.kind == ShiftKind::Queued) == is_queued);
        those.map(|shift| &shift.document).collect()
    };
    json!({ "shifts": of(false), "queue": of(true) })
}

fn table(listed: &[Listed], only: Option<ShiftKind>, now: WallTime) -> Result<String, CliError> {
    if listed.is_empty() {
        return Ok(match only {
            Some(ShiftKind::Running) => "no shift runs".to_owned(),
            Some(ShiftKind::Queued) => "no shift waits for its turn".to_owned(),
            Some(ShiftKind::Over) => "no shift is over".to_owned(),
            None => "no shifts yet: start one with `snapback shift start ENDPOINT PLAN`".to_owned(),
        });
    }
    let mut table = Table::new([
        Left("SHIFT"),
        Left("ENDPOINT"),
        Left("TO"),
        State("STATE"),
        Left("STEP"),
        Right("GREEN"),
        Right("FAILED"),
        Left("BY"),
        Right("AGO"),
        Right("TOOK"),
        Left("WHY"),
    ]);
    for shift in listed {
        let cells = match shift.kind {
            ShiftKind::Queued => queued(&serde_json::from_value(shift.document.clone())?),
            ShiftKind::Running | ShiftKind::Over => row(&serde_json::from_value(shift.document.clone())?),
        };
        let (mut first, last) = cells;
        let ago = moment(&shift.since).map(|since| span(seconds_between(since, now)));
        first.push(ago.unwrap_or_default());
        table.row(first.into_iter().chain(last));
    }
    Ok(table.to_string())
}

/// The cells before the age and those after it.
fn row(shift: &wire::Shift) -> (Vec<String>, Vec<String>) {
    let green = &shift.fleets.green.traffic;
    let failed =
        if green.requests == 0 { "-".to_owned() } else { percent(rate(green.failed, green.requests)) };
    let step = shift.step.map(|step| format!("{step}/{}", shift.steps.len())).unwrap_or_default();
    let first = vec![
        shift.id.clone().unwrap_or_default(),
        shift.endpoint.clone(),
        shift.green_version.clone(),
        shift.state.replace('_', " "),
        step,
        shift.share.clone(),
        failed,
        shift.actor.clone(),
    ];
    let ended = shift.ended_at.as_deref().and_then(moment);
    let length = moment(&shift.started_at).zip(ended).map(|(start, end)| took(start, end));
    let why = shift.cause.as_ref().map(|cause| cause.alarm.as_ref().unwrap_or(&cause.kind).replace('_', " "));
    let why = why.or_else(|| shift.held.clone());
    (first, vec![length.unwrap_or_else(|| "-".to_owned()), why.unwrap_or_default()])
}

fn queued(shift: &wire::Queued) -> (Vec<String>, Vec<String>) {
    let wire::Queued { id, endpoint, place, green_version, actor, waits_for, .. } = shift;
    let dash = || "-".to_owned();
    let id = id.clone().unwrap_or_default();
    let first = vec![
        id,
        endpoint.clone(),
        green_version.clone(),
        "queued".to_owned(),
        format!("#{place}"),
        dash(),
        dash(),
        actor.clone(),
    ];
    (first, vec![dash(), format!("waits for {waits_for}")])
}

#[expect(clippy::cast_precision_loss, reason = "above 2^53 requests the last digits do not matter")]
fn rate(failed: u64, requests: u64) -> f64 {
    failed as f64 / requests as f64
}
