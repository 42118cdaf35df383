//! What handlers take from a request, checked: names in the path, the query, the body.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
};
use http::{StatusCode, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};

use super::{problem::Fault, wire};
use crate::{
    control::Execution,
    lint::parse_rate,
    name::{EndpointName, NameError, ShiftId},
    shift::IfRunning,
};

/// As many as a declaration can name.
const MOST_INSTANCES: u32 = 1024;

/// `{name}` in the path.
pub(super) struct EndpointPath(pub(super) EndpointName);

/// `{id}` in the path.
pub(super) struct ShiftPath(pub(super) ShiftId);

/// `{name}` of an alarm in the path.
pub(super) struct AlarmPath(pub(super) String);

/// A query whose every key is known.
pub(super) struct Parameters<T>(pub(super) T);

/// The query of what takes no parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The query of what changes something.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[serde(default)]
    dry_run: bool,
}

/// The query of what starts a shift.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    #[serde(default)]
    dry_run: bool,
    traffic: Option<String>,
    if_running: Option<String>,
}

/// The query of `GET /v1/audit`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditFilter {
    /// Only what is about this endpoint.
    pub(super) endpoint: Option<String>,
    /// Only events with an id above this.
    pub(super) after: Option<u64>,
}

/// `{name}` of a webhook in the path.
pub(super) struct WebhookPath(pub(super) String);

/// The query of `GET /v1/events`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventFilter {
    /// Only events of this endpoint.
    pub(super) endpoint: Option<String>,
    /// Only events with an id above this, those of the past among them.
    pub(super) after: Option<u64>,
}

/// The query of `GET /v1/live`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LiveFilter {
    /// What it is about; all endpoints when absent.
    pub(super) endpoint: Option<String>,
}

/// The query of `GET /v1/history`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryFilter {
    /// Only what is about this endpoint.
    pub(super) endpoint: Option<String>,
    /// Only events with an id below this.
    pub(super) before: Option<u64>,
}

/// A body that is one JSON document.
pub(super) struct Document(pub(super) serde_json::Value);

/// A body that may be absent.
pub(super) struct OptionalCommand<T = wire::CommandBody>(pub(super) T);

/// A report on an external alarm.
pub(super) struct StateReport(pub(super) wire::AlarmReport);

/// Another count of instances.
pub(super) struct Scale(pub(super) wire::ScaleBody);

/// A body that is this.
pub(super) struct Read<T>(pub(super) T);

impl Change {
    /// Whether it is to happen.
    pub(super) fn execution(&self) -> Execution {
        if self.dry_run { Execution::Dry } else { Execution::Real }
    }
}

impl Start {
    /// What becomes of the shift where another one runs, if the query says it.
    pub(super) fn if_running(&self) -> Result<Option<IfRunning>, Fault> {
        let Some(text) = &self.if_running else { return Ok(None) };
        let known = IfRunning::ALL.into_iter().find(|known| known.as_str() == text);
        known.map(Some).ok_or_else(|| Fault::Query("if_running is refuse, queue or supersede".to_owned()))
    }

    /// Whether it is to happen, and for a dry run the requests a second that somebody states.
    pub(super) fn execution(self) -> Result<(Execution, Option<f64>), Fault> {
        let Self { dry_run, traffic, if_running: _ } = self;
        let rate = traffic.as_deref().map(parse_rate).transpose();
        let rate = rate.map_err(|error| Fault::Query(format!("traffic: {error}")))?;
        match (dry_run, rate) {
            (true, rate) => Ok((Execution::Dry, rate)),
            (false, None) => Ok((Execution::Real, None)),
            (false, Some(_)) => Err(Fault::Query(
                "traffic is what a dry run forecasts at: add dry_run=true, or leave it out".to_owned(),
            )),
        }
    }
}

async fn path_text<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Fault> {
    let path = parts.uri.path().to_owned();
    Path::<String>::from_request_parts(parts, state)
        .await
        .map(|Path(text)| text)
        .map_err(|_| Fault::NoRoute { path })
}

impl<S: Send + Sync> FromRequestParts<S> for EndpointPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let name: Result<EndpointName, NameError> = EndpointName::parse(&path_text(parts, state).await?);
        Ok(Self(name?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AlarmPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        path_text(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebhookPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        path_text(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ShiftPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        Ok(Self(ShiftId::parse(&path_text(parts, state).await?)?))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Fault> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            // The rejection's cause names the key; its own text only says that there is a cause.
            Err(rejection) => Err(Fault::Query(
                std::error::Error::source(&rejection)
                    .map_or_else(|| rejection.body_text(), ToString::to_string),
            )),
        }
    }
}

async fn whole_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Fault> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Fault::BodyTooLarge
        } else {
            Fault::BodyUnreadable
        }
    })
}

fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Fault::Shape(error),
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => Fault::Syntax(error),
    })
}

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        read_json(&whole_body(request, state).await?).map(Self)
    }
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalCommand<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let body = whole_body(request, state).await?;
        if body.is_empty() { Ok(Self(T::default())) } else { read_json(&body).map(Self) }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Read<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        read_json(&whole_body(request, state).await?).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Scale {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let body: wire::ScaleBody = read_json(&whole_body(request, state).await?)?;
        if body.count.get() > MOST_INSTANCES {
            return Err(Fault::Shape(serde::de::Error::custom(format!(
                "count: {} instances are more than the {MOST_INSTANCES} a fleet can have",
                body.count
            ))));
        }
        Ok(Self(body))
    }
}

impl<S: Send + Sync> FromRequest<S> for StateReport {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        read_json(&whole_body(request, state).await?).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(fault: Fault) -> u16 {
        fault.document().status
    }

    #[tokio::test]
    async fn an_unknown_query_key_is_refused_and_named() {
        let (mut parts, ()) = http::Request::get("/x?dryrun=true").body(()).unwrap().into_parts();
        let refused = Parameters::<Change>::from_request_parts(&mut parts, &()).await.err().unwrap();
        let document = refused.document();
        assert_eq!(document.status, 400);
        assert!(
            document.detail.contains("unknown field `dryrun`, expected `dry_run`"),
            "{}",
            document.detail
        );
    }

    #[tokio::test]
    async fn a_command_without_a_body_has_no_reason_and_one_with_a_foreign_key_is_refused() {
        let request =
            |body: &'static str| http::Request::post("/x").body(axum::body::Body::from(body)).unwrap();
        let OptionalCommand(command): OptionalCommand =
            OptionalCommand::from_request(request(""), &()).await.unwrap();
        assert_eq!(command, wire::CommandBody::default());
        let OptionalCommand(command): OptionalCommand =
            OptionalCommand::from_request(request("{\"reason\":\"slow\"}"), &()).await.unwrap();
        assert_eq!(command.reason, "slow");
        for (body, expected) in [("{\"why\":1}", 422), ("{", 400)] {
            let refused =
                OptionalCommand::<wire::CommandBody>::from_request(request(body), &()).await.err().unwrap();
            assert_eq!(status(refused), expected, "{body}");
        }
    }
}
