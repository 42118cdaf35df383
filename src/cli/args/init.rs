//! The grammar of `snapback init`.

use std::path::PathBuf;

use super::Format;
use crate::name::{EndpointName, Version};

/// `init`
#[derive(Clone, Debug, clap::Args)]
pub struct InitArgs {
    /// The folder that the files are written into.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// The model servers of the version in service: HOST:PORT, several separated by commas.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub blue: Vec<String>,
    /// The model servers of the version that is to come in; without them no plan is written.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub green: Vec<String>,
    /// The endpoint's name.
    #[arg(long, value_name = "NAME", default_value = "chat", value_parser = EndpointName::parse)]
    pub endpoint: EndpointName,
    /// What the version in service is called.
    #[arg(long, value_name = "V", default_value = "v1", value_parser = Version::parse)]
    pub blue_version: Version,
    /// What the version that comes in is called.
    #[arg(long, value_name = "V", default_value = "v2", value_parser = Version::parse)]
    pub green_version: Version,
    /// Where clients connect.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Where operators connect.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub admin_listen: String,
    /// The path that model servers answer with 2xx while they are well; without it, that they take a connection is enough.
    #[arg(long, value_name = "PATH")]
    pub health: Option<String>,
    /// How the answer is printed.
    #[command(flatten)]
    pub format: Format,
}

/// What `init --help` ends with.
pub(super) const HELP: &str = "\
Without --blue it asks on a terminal. It writes snapback.toml, and with green also plan.toml, and never over a file that is there.

Examples:
  snapback init
  snapback init --blue 127.0.0.1:9001 --green 127.0.0.1:9002
  snapback init --dir /etc/snapback --endpoint chat --blue gpu1:8000,gpu2:8000 --health /health --listen 0.0.0.0:8080";
