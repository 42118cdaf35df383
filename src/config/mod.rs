//! Configuration and plan files: raw documents in, checked domain values out, all problems at once.
//!
//! A document, TOML or JSON, first becomes a tree that remembers lines (`document`). Readers (`file`, `endpoint`, `plan`) take
//! its keys by way of `reader`, which refuses what is not in `shape` and goes on after a bad value, so that one pass finds every
//! problem. Values carry their units (`units`). `render` writes JSON that reads back to an equal value.

mod access_log;
mod alarms;
mod aws;
mod balance;
mod differences;
mod dns;
mod document;
mod endpoint;
mod externals;
mod failures;
mod file;
mod identities;
mod instance;
mod pace;
mod plan;
mod polls;
mod problems;
mod protection;
mod provider;
mod reader;
mod render;
mod rescue;
mod schedule;
mod shadow;
mod shape;
mod thresholds;
mod tls;
mod tokens;
mod traces;
mod turn;
mod units;
mod variant;
mod webhooks;

#[cfg(test)]
mod tests;

pub use alarms::alarm_name;
pub use identities::{IdentitySpec, Mark};
pub use problems::{Problem, Problems};
pub use schedule::parse_moment;
pub use shadow::ShadowSpec;
pub use shape::{known_keys, known_plan_keys};
pub use thresholds::{format_bound, format_measure};
pub use tokens::{
    Role, TokenSpec, format_token_hash, parse_tokens, token_expiry, token_hash, token_name, token_text,
};
pub use units::{format_fraction, format_quantile, format_size, format_tolerance};
pub use webhooks::{Bridge, PagedFile, WebhookSpec};

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use document::Node;
use http::HeaderName;
use problems::Report;
use reader::Table;

use crate::{
    alarm::{AlarmPlan, PollUrl, Token},
    fleet::{CertificateFiles, FleetSpec, ProviderSpec},
    name::EndpointName,
    net::{ListenAddress, ProxyProtocol, TrustedProxies},
    route::{
        Balance, FailureClasses, Invocations, Limits, MatchRule, Protection, RescuePolicy, Rewrite, Signals,
        Sticky, Underscores, Upgrades,
    },
    shift::{Schedule, ShiftPlan, Turn},
};

/// What JSON documents are called in problems.
const REQUEST_BODY: &str = "request body";

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
    /// `[access_log]`, if there is one.
    pub access_log: Option<AccessLogConfig>,
    /// `[traces]`, if there are any.
    pub traces: Option<TracesConfig>,
    /// `[events]`: the file that they are written to, if any.
    pub events_file: Option<PagedFile>,
    /// `[[webhook]]`
    pub webhooks: Vec<WebhookSpec>,
    /// `[aws]`
    pub aws: AwsConfig,
    /// `[[endpoint]]`
    pub endpoints: Vec<EndpointSpec>,
}

/// `[data]`: the proxy port.
#[derive(Clone, PartialEq, Debug)]
pub struct DataConfig {
    /// Where clients connect; with TLS if `tls` says no addresses of its own.
    pub listen: Vec<ListenAddress>,
    /// TLS towards clients.
    pub tls: Option<DataTls>,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// What becomes of header names with underscores, but for gRPC's metadata.
    pub underscores: Underscores,
    /// The peers whose `forwarded` and `x-forwarded-` headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// Worker threads, at least 1 (0 in the file: one per core).
    pub workers: usize,
    /// Whether responses carry `x-snapback-fleet`.
    pub expose_fleet: bool,
    /// Whether responses of endpoints with variants carry `x-snapback-variant`.
    pub expose_variant: bool,
    /// For a client to send a request's head, once its first byte came.
    pub head_timeout: Duration,
    /// How long an idle client connection is kept.
    pub keep_alive_timeout: Duration,
    /// How long an idle upstream connection is kept; shorter than the model servers' own (uvicorn: 5 s).
    pub upstream_idle_timeout: Duration,
    /// The largest request head.
    pub head_limit_bytes: usize,
    /// Bytes a second that clients must send of request bodies and take of responses; zero for no bound.
    pub least_rate: u64,
    /// How many client connections a worker holds at most.
    pub connections_per_worker: usize,
    /// How many requests a worker has in flight at most; more get 503.
    pub requests_per_worker: usize,
    /// How many bytes of request bodies a worker keeps for second tries at most; bodies beyond that pass without one.
    pub replay_memory_bytes: usize,
    /// How much of a request body is read in search of the model, where only the model tells the endpoint.
    pub model_window_bytes: usize,
    /// After SIGTERM, how long running requests may finish.
    pub drain_timeout: Duration,
}

/// `[admin]`: the admin port.
#[derive(Clone, PartialEq, Debug)]
pub struct AdminConfig {
    /// Where operators connect; loopback unless something says who may call, or `allow_remote`.
    pub listen: SocketAddr,
    /// Whether `listen` may be an address that other machines reach. It needs neither tokens nor certificates then, so it is off unless written.
    pub allow_remote: bool,
    /// TLS towards operators.
    pub tls: Option<AdminTls>,
    /// Who may call by the certificate that it shows, and what for.
    pub identities: Vec<IdentitySpec>,
    /// Who may call, and what for; without it whoever reaches the port may do everything.
    pub tokens_file: Option<PathBuf>,
}

/// `[data.tls]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataTls {
    /// The addresses that speak TLS, beside the plain ones of `data.listen`; without any, those of `data.listen` do.
    pub listen: Vec<ListenAddress>,
    /// What is shown to clients and asked of them.
    pub server: ServerTls,
}

/// `[admin.tls]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminTls(pub ServerTls);

/// The server's side of TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerTls {
    /// At least one. A client gets the first that holds the name it asks for, else the first of all.
    pub certificates: Vec<CertificateFiles>,
    /// The authorities that sign clients' certificates.
    pub client_ca: Option<PathBuf>,
    /// Whether clients must show one.
    pub client_auth: ClientAuth,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They may come without; a bad one is refused.
    Optional,
    /// They must.
    Required,
}

/// `[state]`: the journal.
#[derive(Clone, PartialEq, Debug)]
pub struct StateConfig {
    /// The database file, relative to the working directory.
    pub path: PathBuf,
    /// How long a start with inherited sockets waits for the process before it to let the file go.
    pub takeover_timeout: Duration,
    /// So many of the newest events stay in it.
    pub keep_events: u64,
    /// So many of each endpoint's newest shifts that are over stay in it.
    pub keep_shifts: u32,
}

/// `[aws]`: Amazon's APIs on the admin port.
#[derive(Clone, PartialEq, Debug)]
pub struct AwsConfig {
    /// Whether it speaks SageMaker's.
    pub sagemaker: bool,
    /// The region that stands in the names of resources.
    pub region: String,
    /// The account that stands there, twelve digits.
    pub account: String,
    /// Whether invocations on the data port must be signed, too.
    pub sign_invocations: bool,
    /// Who may call; where there is any, every request must be signed.
    pub keys: Vec<AwsKey>,
    /// What models may name as the maker of their instances.
    pub fleets: Vec<AwsFleet>,
}

/// `[[aws.keys]]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AwsKey {
    /// The access key's id.
    pub id: String,
    /// Where its secret is.
    pub secret: Token,
}

/// `[[aws.fleets]]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AwsFleet {
    /// What a model calls it.
    pub name: String,
    /// Who makes the instances; how many, and of which model, is added.
    pub provider: Arc<ProviderSpec>,
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

/// `[access_log]` that goes somewhere.
#[derive(Clone, PartialEq, Debug)]
pub struct AccessLogConfig {
    /// Where to.
    pub to: AccessTarget,
    /// The odds for a request that came to nothing bad.
    pub sample: f64,
    /// The odds for the others.
    pub sample_failures: f64,
    /// Whether paths are written with their queries.
    pub with_query: bool,
    /// How many requests of a worker wait for the writer at most.
    pub queue: usize,
}

/// Where the access log goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessTarget {
    /// To standard output.
    Stdout,
    /// To a file, page by page.
    File(PagedFile),
}

/// `[traces]` that go somewhere.
#[derive(Clone, PartialEq, Debug)]
pub struct TracesConfig {
    /// Where the collector takes OTLP over HTTP.
    pub url: PollUrl,
    /// The odds for a request whose caller has not decided.
    pub sample: f64,
    /// Whether a caller's decision counts.
    pub follow_parent: bool,
    /// What the collector knows the proxy by.
    pub service: String,
    /// How many requests of a worker wait to be sent at most.
    pub queue: usize,
    /// How long the collector may take.
    pub timeout: Duration,
    /// The authorities that sign the collector's certificate; none: those that this machine trusts.
    pub ca: Option<PathBuf>,
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
    /// What counts as a failure.
    pub failures: FailureClasses,
    /// When requests may be sent a second time.
    pub rescue: RescuePolicy,
    /// What keeps a session on its fleet during a shift.
    pub sticky: Option<Sticky>,
    /// How instances share requests.
    pub balance: Balance,
    /// What keeps instances, and clients, from instances in trouble.
    pub protection: Protection,
    /// What the model servers get instead of the path that clients send.
    pub rewrite: Option<Rewrite>,
    /// What clients may switch their connection to.
    pub upgrades: Upgrades,
    /// What is read of the model servers' streams.
    pub signals: Signals,
    /// How many of its last outcomes are kept for replays; 0 for none.
    pub recording: usize,
    /// The header by which requests name their variant.
    pub variant_header: Option<HeaderName>,
    /// Whether its clients speak Amazon SageMaker Runtime's API.
    pub invocations: Option<Invocations>,
    /// What gets copies of its requests, whose answers nobody gets.
    pub shadow: Option<ShadowSpec>,
}

/// What an instance is asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum HealthCheck {
    /// Nothing: that it takes a connection is enough.
    #[default]
    Connection,
    /// `GET` this path, and want 2xx.
    Get(String),
    /// gRPC's health service about this service, and want SERVING; an empty name stands for the whole server.
    Grpc(String),
}

/// `[endpoint.health]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthSpec {
    /// What is asked.
    pub check: HealthCheck,
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
    /// When it may begin beside another shift.
    pub turn: Turn,
    /// When it may begin at all, and at which hours it may go on.
    pub schedule: Schedule,
}

/// Reads and checks a configuration file.
pub fn load(path: &std::path::Path) -> Result<Config, Problems> {
    let source = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, &source),
        Err(error) => {
            let hint = match error.kind() == std::io::ErrorKind::NotFound {
                true => ": `snapback init` writes a first one",
                false => "",
            };
            Err(Problems::whole(&source, None, format!("cannot read the file: {error}{hint}")))
        }
    }
}

/// Checks the text of a configuration file; `source` names it in problems.
pub fn parse(text: &str, source: &str) -> Result<Config, Problems> {
    let root = Node::from_toml(text, source)?;
    let report = Report::default();
    let config = Table::root(&report, &root, &shape::ROOT).and_then(|table| file::read(&table));
    report.conclude(source, config)
}

/// A TOML document as JSON, unchecked, for whoever checks it later.
pub fn toml_to_json(text: &str, source: &str) -> Result<serde_json::Value, Problems> {
    Ok(Node::from_toml(text, source)?.to_json())
}

/// A fleet as JSON, in the shape of a plan's `green`.
pub fn fleet_to_json(spec: &FleetSpec) -> serde_json::Value {
    render::fleet(spec)
}

/// A fleet's provider as JSON; [`provider_from_json`] reads it back to an equal value.
pub fn provider_to_json(spec: &ProviderSpec) -> serde_json::Value {
    provider::render(spec)
}

/// Checks a fleet's provider in JSON.
pub fn provider_from_json(document: &serde_json::Value) -> Result<ProviderSpec, Problems> {
    let root = Node::from_json(document);
    let report = Report::default();
    let shape = provider::shape_of(&root.value, &shape::BLUE_PARTS.provider);
    let read = Table::root(&report, &root, shape).and_then(|table| provider::read_spec(&table));
    report.conclude(REQUEST_BODY, read)
}

impl PlanSpec {
    /// Checks the text of a plan file.
    pub fn from_toml(text: &str, source: &str) -> Result<Self, Problems> {
        Self::from_tree(&Node::from_toml(text, source)?, source)
    }

    /// Checks a plan in JSON.
    pub fn from_json(document: &serde_json::Value) -> Result<Self, Problems> {
        Self::from_tree(&Node::from_json(document), REQUEST_BODY)
    }

    fn from_tree(root: &Node, source: &str) -> Result<Self, Problems> {
        let report = Report::default();
        let plan = Table::root(&report, root, &shape::PLAN_ROOT).and_then(|table| plan::read(&table));
        report.conclude(source, plan)
    }

    /// The plan as JSON; [`PlanSpec::from_json`] reads it back to an equal value.
    pub fn to_json(&self) -> serde_json::Value {
        render::plan(self)
    }
}

impl EndpointSpec {
    /// Checks an endpoint in JSON. The name comes from the URL; a `name` in the document must agree.
    pub fn from_json(name: &EndpointName, document: &serde_json::Value) -> Result<Self, Problems> {
        let root = Node::from_json(document);
        let report = Report::default();
        let endpoint = Table::root(&report, &root, &shape::ENDPOINT_BODY)
            .and_then(|table| endpoint::read_named(&table, name.clone()));
        report.conclude(REQUEST_BODY, endpoint)
    }

    /// The endpoint as JSON; [`EndpointSpec::from_json`] reads it back to an equal value.
    pub fn to_json(&self) -> serde_json::Value {
        render::endpoint(self)
    }
}
