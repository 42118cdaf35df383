//! The grammar of `snapback endpoint`.

use std::{num::NonZeroU32, path::PathBuf};

use clap::Subcommand;

use super::Connection;
use crate::name::EndpointName;

const UNDO: &str = "\
The version before must be there still, or a provider must make it again. A shift that runs is taken back by `snapback shift abort`.

Examples:
  snapback endpoint undo chat --reason \"customers see odd answers\"
  snapback shift watch chat";

/// `endpoint`
#[derive(Clone, Debug, clap::Args)]
pub struct EndpointArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// Which question.
    #[command(subcommand)]
    pub command: EndpointCommand,
}

/// The questions about endpoints.
#[derive(Clone, Debug, Subcommand)]
pub enum EndpointCommand {
    /// All endpoints.
    List,
    /// One endpoint with its instances and traffic.
    Show {
        /// Its name.
        #[arg(value_name = "NAME", value_parser = EndpointName::parse)]
        name: EndpointName,
    },
    /// Give the fleet in service another count of instances; not while a shift runs.
    Scale {
        /// The endpoint's name.
        #[arg(value_name = "NAME", value_parser = EndpointName::parse)]
        name: EndpointName,
        /// How many instances.
        #[arg(long, value_name = "N")]
        count: NonZeroU32,
    },
    /// Go back to the version before, also after the end of the shift: a shift of its own.
    #[command(after_help = UNDO)]
    Undo {
        /// The endpoint's name.
        #[arg(value_name = "NAME", value_parser = EndpointName::parse)]
        name: EndpointName,
        /// A plan file without green, instead of all at once with the last shift's alarms and last bake.
        #[arg(long, value_name = "PLAN")]
        plan: Option<PathBuf>,
        /// Check everything and show what would be started; change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Why; goes into the journal and the events.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
}
