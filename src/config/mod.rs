//! Configuration and plan files: raw documents in, checked domain values out, all problems at once.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    alarm::AlarmPlan,
    fleet::FleetSpec,
    name::EndpointName,
    route::{Limits, MatchRule},
    shift::ShiftPlan,
};

/// A whole checked configuration file.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// `[data]`
    pub data: DataConfig,
    /// `[admin]`
    pub admin: AdminConfig,
    /// `[state]`
    pub state: StateConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `[[endpoint]]`
    pub endpoints: Vec<EndpointSpec>,
}

/// `[data]`: the proxy port.
#[derive(Clone, PartialEq, Debug)]
pub struct DataConfig {
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// Worker threads, at least 1 (0 in the file: one per core).
    pub workers: usize,
    /// Whether responses carry `x-snapback-fleet`.
    pub expose_fleet: bool,
    /// For a client to send a request's head, once its first byte came.
    pub head_timeout: Duration,
    /// How long an idle client connection is kept.
    pub keep_alive_timeout: Duration,
    /// How long an idle upstream connection is kept; shorter than the model servers' own (uvicorn: 5 s).
    pub upstream_idle_timeout: Duration,
    /// The largest request head.
    pub head_limit_bytes: usize,
    /// How many client connections a worker holds at most.
    pub connections_per_worker: usize,
    /// After SIGTERM, how long running requests may finish.
    pub drain_timeout: Duration,
}

/// `[admin]`: the admin port.
#[derive(Clone, PartialEq, Debug)]
pub struct AdminConfig {
    /// Where operators connect; loopback unless told otherwise.
    pub listen: SocketAddr,
}

/// `[state]`: the journal.
#[derive(Clone, PartialEq, Debug)]
pub struct StateConfig {
    /// The database file, relative to the working directory.
    pub path: PathBuf,
}

/// `[log]`
#[derive(Clone, PartialEq, Debug)]
pub struct LogConfig {
    /// A tracing filter such as `info` or `snapback=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[[endpoint]]`, also the body of `PUT /v1/endpoints/{name}`.
#[derive(Clone, PartialEq, Debug)]
pub struct EndpointSpec {
    /// Its name.
    pub name: EndpointName,
    /// Its requests.
    pub rule: MatchRule,
    /// The fleet in service, until a shift promotes another.
    pub blue: FleetSpec,
    /// How instances are checked.
    pub health: HealthSpec,
    /// Bounds on requests.
    pub limits: Limits,
}

/// `[endpoint.health]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthSpec {
    /// `GET` this path and want 2xx; without a path, a TCP connection is enough.
    pub path: Option<String>,
    /// From one check to the next.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// So many failures in a row make an instance unhealthy.
    pub unhealthy_after: u32,
    /// So many successes in a row make it healthy.
    pub healthy_after: u32,
}

/// A plan file, also the body of `POST /v1/endpoints/{name}/shifts`.
#[derive(Clone, PartialEq, Debug)]
pub struct PlanSpec {
    /// The fleet coming in.
    pub green: FleetSpec,
    /// The steps and limits.
    pub shift: ShiftPlan,
    /// The alarms.
    pub alarms: AlarmPlan,
}

/// One thing wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The key path, such as `endpoint[0].blue.instances[1]`; empty for the document itself.
    pub key: String,
    /// The line in the file, from 1; `None` for JSON documents.
    pub line: Option<usize>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems {
    /// The file's name as the user gave it, or `request body`.
    pub source: String,
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One line a problem: `snapback.toml:12: endpoint[0].blu: unknown key; did you mean "blue"?`
impl std::fmt::Display for Problems {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

impl std::error::Error for Problems {}

/// Reads and checks a configuration file.
pub fn load(_path: &std::path::Path) -> Result<Config, Problems> {
    todo!()
}

/// Checks the text of a configuration file; `source` names it in problems.
pub fn parse(_text: &str, _source: &str) -> Result<Config, Problems> {
    todo!()
}

impl PlanSpec {
    /// Checks the text of a plan file.
    pub fn from_toml(_text: &str, _source: &str) -> Result<Self, Problems> {
        todo!()
    }

    /// Checks a plan in JSON.
    pub fn from_json(_document: &serde_json::Value) -> Result<Self, Problems> {
        todo!()
    }

    /// The plan as JSON; [`PlanSpec::from_json`] reads it back to an equal value.
    pub fn to_json(&self) -> serde_json::Value {
        todo!()
    }
}

impl EndpointSpec {
    /// Checks an endpoint in JSON. The name comes from the URL; a `name` in the document must agree.
    pub fn from_json(_name: &EndpointName, _document: &serde_json::Value) -> Result<Self, Problems> {
        todo!()
    }

    /// The endpoint as JSON; [`EndpointSpec::from_json`] reads it back to an equal value.
    pub fn to_json(&self) -> serde_json::Value {
        todo!()
    }
}
