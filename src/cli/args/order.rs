//! The grammar of orders to the proxy as a whole.

use clap::Subcommand;

use super::{AnyEndpoint, Because, Connection, DryRun};
use crate::{admin::wire::ReportedState, config::alarm_name};

/// `alarm ...`
#[derive(Clone, Debug, Subcommand)]
pub enum AlarmCommand {
    /// Say what an external alarm says from now on.
    #[command(
        after_help = "Examples:\n  snapback alarm set quality ok --reason \"20 of 20 answers graded well\"\n  snapback alarm set quality alarm --reason \"3 of 20 answers are wrong\""
    )]
    Set {
        /// The name of an external alarm of a plan.
        #[arg(value_name = "NAME", value_parser = alarm_name)]
        name: String,
        /// ok, alarm or insufficient_data.
        #[arg(value_name = "STATE", value_parser = reported_state)]
        state: ReportedState,
        /// Why.
        #[command(flatten)]
        because: Because,
    },
}

fn reported_state(text: &str) -> Result<ReportedState, String> {
    ReportedState::ALL
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| "an alarm is ok, alarm or insufficient_data".to_owned())
}

/// `freeze` and `unfreeze`
#[derive(Clone, Debug, clap::Args)]
pub struct FreezeArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// Whose shifts.
    #[command(flatten)]
    pub whose: AnyEndpoint,
    /// Why.
    #[command(flatten)]
    pub because: Because,
}

/// `reload`
#[derive(Clone, Debug, clap::Args)]
pub struct ReloadArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// Whether to.
    #[command(flatten)]
    pub dry_run: DryRun,
    /// Why.
    #[command(flatten)]
    pub because: Because,
}
