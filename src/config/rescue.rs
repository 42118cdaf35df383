//! Reads and writes what an endpoint says about second tries and about sessions.

use http::HeaderName;
use serde_json::{Value as Json, json};

use super::{
    document::{Value, quoted},
    endpoint::header_name,
    reader::{Table, parsed, whole, word},
    units::{positive_duration, share},
};
use crate::{
    meter::GrpcStatus,
    route::{GrpcStatuses, HedgePolicy, HedgedFleets, Replayed, RescuePolicy, RescueUntil, Statuses, Sticky},
    time::format_duration,
};

const REPLAYED: [(&str, Replayed); 3] = [
    (Replayed::Never.as_str(), Replayed::Never),
    (Replayed::ConnectFailures.as_str(), Replayed::ConnectFailures),
    (Replayed::BeforeFirstByte.as_str(), Replayed::BeforeFirstByte),
];
const UNTIL: [(&str, RescueUntil); 2] = [
    (RescueUntil::Head.as_str(), RescueUntil::Head),
    (RescueUntil::FirstToken.as_str(), RescueUntil::FirstToken),
];
const HEDGED: [(&str, HedgedFleets); 2] =
    [(HedgedFleets::Blue.as_str(), HedgedFleets::Blue), (HedgedFleets::Both.as_str(), HedgedFleets::Both)];

pub(super) fn read(table: &Table<'_>) -> RescuePolicy {
    let default = RescuePolicy::default();
    let on = table.optional("on", word(&REPLAYED));
    let statuses = table.list("statuses", "[424, 500, 502, 503, 504]", whole(Statuses::RANGE));
    let grpc_statuses = table.list("grpc_statuses", "[\"INTERNAL\", \"UNAVAILABLE\"]", grpc_status);
    let until = table.optional("until", word(&UNTIL));
    let retry = table.optional("retry", word(&REPLAYED));
    RescuePolicy {
        on: on.unwrap_or(default.on),
        statuses: statuses
            .map_or(default.statuses, |listed| Statuses::of(listed.into_iter().map(|status| status.value))),
        grpc_statuses: grpc_statuses.map_or(default.grpc_statuses, |listed| {
            GrpcStatuses::of(listed.into_iter().map(|status| status.value))
        }),
        until: until.unwrap_or(default.until),
        retry: retry.unwrap_or(default.retry),
        hedge: default.hedge,
        budget: table.optional("budget", share).unwrap_or(default.budget),
    }
}

/// Without a time there is nothing to hedge at.
pub(super) fn read_hedge(table: &Table<'_>) -> Option<HedgePolicy> {
    let after = table.required("after", "\"300ms\"", positive_duration);
    let fleets = table.optional("fleets", word(&HEDGED)).unwrap_or(HedgedFleets::Blue);
    Some(HedgePolicy { after: after?, fleets })
}

/// A failure's name or code.
pub(super) fn grpc_status(value: &Value) -> Result<GrpcStatus, String> {
    let found = match value {
        Value::Text(name) => GrpcStatus::named(name),
        Value::Integer(code) => {
            usize::try_from(*code).ok().and_then(|code| GrpcStatus::ALL.get(code)).copied()
        }
        Value::Null
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Date(_)
        | Value::List(_)
        | Value::Table(_) => None,
    };
    match found {
        Some(GrpcStatus::Ok) => Err("OK is no failure: leave it out".to_owned()),
        Some(status) => Ok(status),
        None => Err(format!(
            "expected a gRPC status such as \"UNAVAILABLE\", or its code such as 14, not {}",
            value.describe()
        )),
    }
}

/// A session's key is in a header or in a cookie, not in both: two keys could lead to two fleets.
pub(super) fn read_sticky(table: &Table<'_>) -> Option<Sticky> {
    let header: Option<HeaderName> = table.optional("header", parsed(header_name));
    let cookie = table.optional("cookie", parsed(cookie_name));
    match (table.has("header"), table.has("cookie")) {
        (true, true) => {
            table
                .problem("cookie", "a session's key is in a header or in a cookie: leave one of the two out");
            None
        }
        (true, false) => header.map(Sticky::Header),
        (false, true) => cookie.map(Sticky::Cookie),
        (false, false) => {
            table.problem(
                "header",
                "is missing, and so is cookie; write header = \"x-session-id\" or cookie = \"sid\"",
            );
            None
        }
    }
}

/// A token (RFC 6265 section 4.1.1).
fn cookie_name(text: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
    if !text.is_empty() && text.len() <= 256 && text.bytes().all(is_token) {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not the name of a cookie: write a name such as \"sid\"", quoted(text)))
    }
}

pub(super) fn render(policy: &RescuePolicy) -> Json {
    // A table of its own shows the hedge.
    let RescuePolicy { on, statuses, grpc_statuses, until, retry, hedge: _, budget } = policy;
    json!({
        "on": on.as_str(),
        "statuses": statuses.iter().collect::<Vec<_>>(),
        "grpc_statuses": grpc_statuses.iter().map(GrpcStatus::as_str).collect::<Vec<_>>(),
        "until": until.as_str(),
        "retry": retry.as_str(),
        "budget": budget.to_string(),
    })
}

pub(super) fn render_hedge(hedge: &HedgePolicy) -> Json {
    let HedgePolicy { after, fleets } = hedge;
    json!({ "after": format_duration(*after), "fleets": fleets.as_str() })
}

pub(super) fn render_sticky(sticky: &Sticky) -> Json {
    match sticky {
        Sticky::Header(name) => json!({ "header": name.as_str() }),
        Sticky::Cookie(name) => json!({ "cookie": name }),
    }
}
