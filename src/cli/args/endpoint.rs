//! The grammar of `snapback endpoint`.

use std::{num::NonZeroU32, path::PathBuf};

use clap::Subcommand;

use super::{Because, DryRun, OneEndpoint};
use crate::name::VariantName;

const UNDO: &str = "\
The version before must be there still, or a provider must make it again. A shift that runs is taken back by `snapback shift abort`.

Examples:
  snapback endpoint undo chat --reason \"customers see odd answers\"
  snapback shift watch chat";

const WEIGHTS: &str = "\
A variant's share of the requests is its weight over the sum of all. Variants that are left out keep theirs.

Example:
  snapback endpoint weights chat a=3 b=1";

/// A variant's name, `=`, and a number.
fn weight(text: &str) -> Result<(String, f64), String> {
    let example = "write a variant, '=' and a number, such as a=3 or b=0.25";
    let (name, number) = text.split_once('=').ok_or(example)?;
    VariantName::parse(name).map_err(|error| error.to_string())?;
    let number = number.parse().map_err(|_| format!("{number:?} is no weight: {example}"))?;
    Ok((name.to_owned(), number))
}

/// The questions about endpoints.
#[derive(Clone, Debug, Subcommand)]
pub enum EndpointCommand {
    /// All endpoints.
    #[command(
        after_help = "Examples:\n  snapback endpoint list\n  snapback endpoint list --output json | jq '.endpoints[].name'"
    )]
    List,
    /// One endpoint with its instances and traffic.
    #[command(after_help = "Example:\n  snapback endpoint show chat")]
    Show {
        /// Which.
        #[command(flatten)]
        which: OneEndpoint,
    },
    /// Give the fleet in service another count of instances; not while a shift runs.
    #[command(after_help = "Example:\n  snapback endpoint scale chat --count 3")]
    Scale {
        /// Which.
        #[command(flatten)]
        which: OneEndpoint,
        /// How many instances.
        #[arg(long, value_name = "N")]
        count: NonZeroU32,
    },
    /// Give the variants of the fleet in service other weights, such as a=3 b=1; not while a shift runs.
    #[command(after_help = WEIGHTS)]
    Weights {
        /// Which.
        #[command(flatten)]
        which: OneEndpoint,
        /// A variant and what it is to weigh against the others; 0 for nothing.
        #[arg(value_name = "VARIANT=WEIGHT", required = true, value_parser = weight)]
        weights: Vec<(String, f64)>,
        /// Whether to.
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Go back to the version before, also after the end of the shift: a shift of its own.
    #[command(after_help = UNDO)]
    Undo {
        /// Which.
        #[command(flatten)]
        which: OneEndpoint,
        /// A plan file without green, instead of all at once with the last shift's alarms and last bake.
        #[arg(long, value_name = "PLAN")]
        plan: Option<PathBuf>,
        /// Whether to.
        #[command(flatten)]
        dry_run: DryRun,
        /// Why.
        #[command(flatten)]
        because: Because,
    },
}
