//! The grammar of commands that need no admin port.

use std::{net::SocketAddr, path::PathBuf};

use super::Format;
use crate::name::Version;

/// `serve`
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `check`
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("files").required(true).multiple(true).args(["config", "plan"]))]
pub struct CheckArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A plan file.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// How the answer is printed.
    #[command(flatten)]
    pub format: Format,
}

/// `demo`
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DemoArgs {
    /// Print the report as one JSON object on the last line.
    #[arg(long)]
    pub json: bool,
    /// Keep everything up afterwards, and print the addresses and things to try.
    #[arg(long)]
    pub stay: bool,
    /// Makes the clients' arrivals and prompts the same again.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Where the proxy's clients connect (default: a free port on loopback).
    #[arg(long, value_name = "ADDR")]
    pub data: Option<SocketAddr>,
    /// Where operators connect (default: a free port on loopback).
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,
}

/// `model-server`
#[derive(Clone, Debug, clap::Args)]
pub struct ModelServerArgs {
    /// Which of the demo's models to serve.
    #[arg(long, value_name = "V", value_parser = Version::parse)]
    pub version: Version,
    /// Where to listen.
    #[arg(long, value_name = "ADDR")]
    pub listen: SocketAddr,
}
