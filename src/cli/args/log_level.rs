//! The grammar of `log-level`.

use super::{Because, Connection};

/// `log-level`
#[derive(Clone, Debug, clap::Args)]
pub struct LogLevelArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// error, warn, info, debug, trace, off, or by module: "info,snapback::proxy=debug"; left out, nothing changes.
    #[arg(value_name = "LEVEL")]
    pub level: Option<String>,
    /// Go back to what the configuration file has.
    #[arg(long, conflicts_with = "level")]
    pub reset: bool,
    /// For how long, such as 10m; then it goes back by itself.
    #[arg(long = "for", value_name = "TIME", requires = "level")]
    pub span: Option<String>,
    /// Why.
    #[command(flatten)]
    pub because: Because,
}
