//! Reads and writes what an endpoint counts as a failure, and which of these are rescued.
//!
//! A request that is rescued counts as a failure of green. So what is rescued must count for blue too, or a comparison of the two would
//! find a green worse that does the same: a status that is to be rescued is a failure, and where both lists are written they must agree.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{
    document::{Value, quoted},
    reader::{Table, boolean, text},
    rescue::{self, grpc_status},
    shape,
    units::{format_size, size},
};
use crate::{
    meter::GrpcStatus,
    route::{BodySign, FailureBody, FailureClasses, GrpcStatuses, RescuePolicy, Statuses},
};

/// Errors are sentences and say early what they are; looking at more costs every answer.
const DEFAULT_WITHIN: usize = 4 << 10;
const MAX_WITHIN: u64 = 64 << 10;

/// So many statuses in a row are written as a range.
const SHORTEST_RANGE: usize = 3;

/// The classes, and with them what is sent a second time.
pub(super) fn read(failures: &Table<'_>, rescue: &Table<'_>) -> (FailureClasses, RescuePolicy) {
    let default = FailureClasses::default();
    let statuses = failures.list("statuses", "[424, 429, \"5xx\"]", statuses);
    let grpc_statuses = failures.list("grpc_statuses", "[\"INTERNAL\", \"UNAVAILABLE\"]", grpc_status);
    let switch = |key: &'static str, default: bool| failures.optional(key, boolean).unwrap_or(default);
    let written = FailureClasses {
        statuses: statuses
            .as_ref()
            .map_or(default.statuses, |listed| union(listed.iter().map(|listed| listed.value))),
        grpc_statuses: grpc_statuses.as_ref().map_or(default.grpc_statuses, |listed| {
            GrpcStatuses::of(listed.iter().map(|listed| listed.value))
        }),
        in_band: switch("in_band", default.in_band),
        timeouts: switch("timeouts", default.timeouts),
        client_errors: switch("client_errors", default.client_errors),
        gone_clients: switch("gone_clients", default.gone_clients),
        body: failures.table("body", &shape::FAILURE_BODY).and_then(|table| read_body(&table)).map(Arc::new),
    };
    agree(written, (statuses.is_some(), grpc_statuses.is_some()), rescue)
}

/// Brings the two together. `written` says which lists of `classes` stand in the document: what does not is as wide, and what of
/// `rescue` does not is as narrow, as the other says.
fn agree(
    classes: FailureClasses,
    written: (bool, bool),
    rescue: &Table<'_>,
) -> (FailureClasses, RescuePolicy) {
    let (mut classes, mut policy) = (classes, rescue::read(rescue));
    let stray: Vec<_> = policy.statuses.iter().filter(|status| !classes.statuses.contains(*status)).collect();
    match (written.0, rescue.has("statuses")) {
        _ if stray.is_empty() || classes.client_errors => {}
        (false, _) => classes.statuses = union([classes.statuses, policy.statuses]),
        (true, false) => policy.statuses = common(policy.statuses, classes.statuses),
        (true, true) => {
            rescue.problem("statuses", conflict(&stray.iter().map(u16::to_string).collect::<Vec<_>>()))
        }
    }
    let stray: Vec<_> =
        policy.grpc_statuses.iter().filter(|status| !classes.grpc_statuses.contains(*status)).collect();
    match (written.1, rescue.has("grpc_statuses")) {
        _ if stray.is_empty() || classes.client_errors => {}
        (false, _) => {
            classes.grpc_statuses =
                GrpcStatuses::of(classes.grpc_statuses.iter().chain(policy.grpc_statuses.iter()));
        }
        (true, false) => {
            let both = policy.grpc_statuses.iter().filter(|status| classes.grpc_statuses.contains(*status));
            policy.grpc_statuses = GrpcStatuses::of(both);
        }
        (true, true) => {
            let names: Vec<_> = stray.iter().map(|status| format!("{:?}", status.as_str())).collect();
            rescue.problem("grpc_statuses", conflict(&names));
        }
    }
    (classes, policy)
}

fn conflict(stray: &[String]) -> String {
    format!(
        "{} would be rescued but is no failure by endpoint.failures: what is rescued counts against green, so it must count for blue \
         too; add it there, or leave it out here",
        stray.join(", ")
    )
}

fn union(sets: impl IntoIterator<Item = Statuses>) -> Statuses {
    Statuses::of(sets.into_iter().flat_map(Statuses::iter))
}

fn common(one: Statuses, other: Statuses) -> Statuses {
    Statuses::of(one.iter().filter(|status| other.contains(*status)))
}

/// The sign of an error in a body, and how far it is looked for.
fn read_body(table: &Table<'_>) -> Option<FailureBody> {
    let within = table.optional("within", size(1, MAX_WITHIN));
    let field = table.optional("field", sign).map(BodySign::Field);
    let contains = table.optional("contains", sign).map(BodySign::Contains);
    match (table.has("field"), table.has("contains")) {
        (true, true) => {
            table.problem("contains", "an error is told by a field or by a text: leave one of the two out")
        }
        (false, false) => table.problem(
            "field",
            "is missing, and so is contains; write field = \"error\" or contains = \"CUDA error\"",
        ),
        (true, false) | (false, true) => {}
    }
    let within_bytes = within.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(DEFAULT_WITHIN);
    Some(FailureBody { sign: field.or(contains)?, within_bytes })
}

fn sign(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    if (1..=FailureBody::SIGN_LIMIT_BYTES).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("must have from 1 to {} bytes", FailureBody::SIGN_LIMIT_BYTES))
    }
}

/// One item of the list: a status, all of a hundred, or a range.
fn statuses(value: &Value) -> Result<Statuses, String> {
    let (least, most) = (*Statuses::RANGE.start(), *Statuses::RANGE.end());
    let in_range = |status: u16| Statuses::RANGE.contains(&status).then_some(status);
    let found = match value {
        Value::Integer(status) => {
            u16::try_from(*status).ok().and_then(in_range).map(|status| Statuses::of([status]))
        }
        Value::Text(text) => match text.as_str() {
            "4xx" => Some(Statuses::of(400..=499)),
            "5xx" => Some(Statuses::of(500..=599)),
            text => text.split_once('-').and_then(|(first, last)| {
                let end = |text: &str| text.parse().ok().and_then(in_range);
                let (first, last) = (end(first)?, end(last)?);
                (first <= last).then(|| Statuses::of(first..=last))
            }),
        },
        Value::Null
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Date(_)
        | Value::List(_)
        | Value::Table(_) => None,
    };
    found.ok_or_else(|| {
        let given = if let Value::Text(text) = value { quoted(text) } else { value.describe() };
        format!(
            "expected a status from {least} to {most}, \"4xx\", \"5xx\" or a range such as \"502-504\", not {given}"
        )
    })
}

pub(super) fn render(classes: &FailureClasses) -> Json {
    let FailureClasses { statuses, grpc_statuses, in_band, timeouts, client_errors, gone_clients, body } =
        classes;
    let mut document = json!({
        "statuses": ranges(*statuses),
        "grpc_statuses": grpc_statuses.iter().map(GrpcStatus::as_str).collect::<Vec<_>>(),
        "in_band": in_band,
        "timeouts": timeouts,
        "client_errors": client_errors,
        "gone_clients": gone_clients,
    });
    if let Some(body) = body {
        document["body"] = render_body(body);
    }
    document
}

fn render_body(body: &FailureBody) -> Json {
    let FailureBody { sign, within_bytes } = body;
    let (key, sign) = match sign {
        BodySign::Field(name) => ("field", name),
        BodySign::Contains(text) => ("contains", text),
    };
    let within = u64::try_from(*within_bytes).unwrap_or(u64::MAX);
    json!({ key: sign, "within": format_size(within) })
}

fn ranges(set: Statuses) -> Vec<Json> {
    let listed: Vec<u16> = set.iter().collect();
    let runs = listed.chunk_by(|left, right| left + 1 == *right);
    let written = |run: &[u16]| match run {
        [first, .., last] if run.len() >= SHORTEST_RANGE => vec![json!(format!("{first}-{last}"))],
        few => few.iter().map(|status| json!(status)).collect(),
    };
    runs.flat_map(written).collect()
}
