//! `/v1/log`: which lines the proxy writes to its log.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{
    actor::HeaderActor,
    extract::{Change, Nothing, Parameters, Read},
    problem::Fault,
    state::Port,
};
use crate::{
    control::{Actor, Execution, Handle},
    telemetry::{LogLevel, LogLevelStatus, Passing},
    time::{format_duration, parse_duration},
};

/// What is to last longer belongs into the configuration.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The event of a change.
const KIND: &str = "log.level";

/// `GET /v1/log`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Log {
    /// The filter in force.
    pub level: String,
    /// The one of the configuration.
    pub configured: String,
    /// When it goes back to that by itself; null when it does not.
    pub until: Option<String>,
}

/// The body of `POST /v1/log`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogBody {
    /// The filter; without it, the one of the configuration.
    #[serde(default)]
    pub level: Option<String>,
    /// For how long, such as `10m`; without it, until the process ends.
    #[serde(default, rename = "for")]
    pub span: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Who.
    #[serde(default)]
    pub actor: Option<String>,
}

impl From<LogLevelStatus> for Log {
    fn from(status: LogLevelStatus) -> Self {
        let LogLevelStatus { level, configured, until } = status;
        Self { level, configured, until: until.map(|until| until.to_string()) }
    }
}

pub(super) async fn show(Parameters(Nothing {}): Parameters<Nothing>) -> Result<Json<Log>, Fault> {
    Ok(Json(level()?.status().into()))
}

/// The change is in the trail before it counts.
pub(super) async fn change(
    State(port): State<Arc<Port>>,
    Parameters(change): Parameters<Change>,
    actor: HeaderActor,
    Read(body): Read<LogBody>,
) -> Result<Json<Log>, Fault> {
    let LogBody { level: wanted, span, reason, actor: named } = body;
    let (level, actor) = (level()?, actor.because(named, reason)?);
    let span = span.as_deref().map(span_of).transpose()?;
    let before = level.status();
    let after = wanted.clone().unwrap_or_else(|| before.configured.clone());
    LogLevel::check(&after).map_err(|error| Fault::LogLevel(error.to_string()))?;
    if change.execution() == Execution::Dry {
        let until = span.map(|span| crate::clock::wall_of(crate::clock::now().after(span)));
        return Ok(Json(LogLevelStatus { level: after, until, ..before }.into()));
    }
    let lasting = span.map(|span| format!(" for {}", format_duration(span))).unwrap_or_default();
    let cause = format!("the log's level is {after:?}{lasting}, after {:?}", before.level);
    port.handle.note(KIND, cause, actor).await?;
    let changed = level.change(wanted.as_deref(), span);
    let passing = changed.map_err(|error| Fault::LogLevel(error.to_string()))?;
    if let Some((passing, span)) = passing.zip(span) {
        tokio::spawn(go_back(port.handle.clone(), level, passing, span));
    }
    Ok(Json(level.status().into()))
}

/// Ends a change that was for so long.
async fn go_back(handle: Handle, level: &'static LogLevel, passing: Passing, span: Duration) {
    tokio::time::sleep(span).await;
    let Some(ended) = level.end(passing) else { return };
    let cause =
        format!("the log's level is {:?} again: its time with {ended:?} is over", level.status().level);
    if let Err(error) = handle.note(KIND, cause, Actor::from("snapback")).await {
        tracing::warn!(%error, "the end of a log level is missing in the events");
    }
}

fn level() -> Result<&'static LogLevel, Fault> {
    LogLevel::of_process().ok_or(Fault::NoLog)
}

fn span_of(text: &str) -> Result<Duration, Fault> {
    let span = parse_duration(text).map_err(|error| Fault::LogLevel(format!("for: {error}")))?;
    if span.is_zero() || span > LONGEST {
        let longest = format_duration(LONGEST);
        return Err(Fault::LogLevel(format!("for: {text} is not a time from 1ns to {longest}")));
    }
    Ok(span)
}
