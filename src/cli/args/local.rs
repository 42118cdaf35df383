//! The grammar of commands that need no admin port.

use std::{net::SocketAddr, path::PathBuf};

use clap::ValueEnum;

use super::{Connection, Format};
use crate::name::Version;

/// `serve`
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "snapback.toml")]
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

/// `top`
#[derive(Clone, Debug, clap::Args)]
pub struct TopArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
}

/// `man`
#[derive(Clone, Debug, clap::Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder, instead of printing the first one.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How the answer is printed.
    #[command(flatten)]
    pub format: Format,
}

/// A shell that can ask for completions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

impl Shell {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Bash, Self::Zsh, Self::Fish];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }
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
