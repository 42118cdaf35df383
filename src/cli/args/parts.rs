//! What several commands take in the same shape.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use super::BearerToken;
use crate::{
    cli::{admin_url::AdminUrl, names},
    name::EndpointName,
};

/// A command that has commands of its own, carried out at an admin port.
#[derive(Clone, Debug, clap::Args)]
pub struct Asked<C: Subcommand> {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: C,
}

/// What every command to an admin port takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Connection {
    /// The admin port.
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        env = "SNAPBACK_ADMIN",
        value_name = "URL",
        default_value = "http://127.0.0.1:9090",
        value_parser = AdminUrl::parse
    )]
    pub admin: AdminUrl,
    /// For https: trust the authorities in this PEM file, and no others.
    #[arg(long, global = true, help_heading = "Connection", env = "SNAPBACK_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// For https: the certificate that says who you are, where the admin port asks for one.
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        env = "SNAPBACK_CERT",
        value_name = "FILE",
        requires = "key"
    )]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        env = "SNAPBACK_KEY",
        value_name = "FILE",
        requires = "cert"
    )]
    pub key: Option<PathBuf>,
    /// The file with the token that says who you are, where the admin port asks for one; without it SNAPBACK_TOKEN is the token.
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        value_name = "FILE",
        value_parser = BearerToken::from_file
    )]
    pub token_file: Option<BearerToken>,
    /// How the answer is printed.
    #[command(flatten)]
    pub format: Format,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Format {
    /// `table` for people, `json` for programs: the API's document, unchanged.
    #[arg(
        long,
        global = true,
        help_heading = "Output",
        value_name = "FORMAT",
        value_enum,
        default_value_t = OutputFormat::Table,
        hide_possible_values = true
    )]
    pub output: OutputFormat,
}

/// How answers are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// The API's document, unchanged.
    Json,
}

/// The endpoint that a command is about.
#[derive(Clone, Debug, clap::Args)]
pub struct OneEndpoint {
    /// The endpoint's name.
    #[arg(
        value_name = "ENDPOINT",
        value_parser = EndpointName::parse,
        add = ArgValueCompleter::new(names::endpoints)
    )]
    pub endpoint: EndpointName,
}

/// The endpoint that a command is about, or all.
#[derive(Clone, Debug, clap::Args)]
pub struct AnyEndpoint {
    /// The endpoint's name; without it, all endpoints.
    #[arg(
        value_name = "ENDPOINT",
        value_parser = EndpointName::parse,
        add = ArgValueCompleter::new(names::endpoints)
    )]
    pub endpoint: Option<EndpointName>,
}

/// Which events.
#[derive(Clone, Debug, clap::Args)]
pub struct EventFilter {
    /// Only events with an id above this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub after: u64,
    /// Only this endpoint's events.
    #[arg(
        long,
        value_name = "ENDPOINT",
        value_parser = EndpointName::parse,
        add = ArgValueCompleter::new(names::endpoints)
    )]
    pub endpoint: Option<EndpointName>,
}

/// A plan.
#[derive(Clone, Debug, clap::Args)]
pub struct PlanFile {
    /// The plan: a TOML file, or JSON if its name ends in .json; `-` reads TOML from standard input.
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
}

/// Whether to change anything.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DryRun {
    /// Check everything and show what would come of it; change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

impl DryRun {
    /// The query of a request that changes nothing, or none.
    pub fn query(self) -> &'static str {
        if self.dry_run { "?dry_run=true" } else { "" }
    }
}

/// Why something is done.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Because {
    /// Why; goes into the journal and the events.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
}
