//! The grammar of `snapback apply`.

use std::path::PathBuf;

use super::{Because, Connection, WaitArgs};

/// `apply`
#[derive(Clone, Debug, clap::Args)]
pub struct ApplyArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// A folder of files that declare endpoints, or one such file.
    #[arg(value_name = "DIR|FILE")]
    pub path: PathBuf,
    /// Show what would change; change nothing.
    #[arg(long, conflicts_with_all = ["yes", "wait"])]
    pub dry_run: bool,
    /// Change it without asking.
    #[arg(long, short)]
    pub yes: bool,
    /// Delete endpoints that were declared through the API and are in no file.
    #[arg(long)]
    pub prune: bool,
    /// Start a shift again though one to the same version by the same plan was rolled back.
    #[arg(long)]
    pub retry: bool,
    /// Exit with 4, not 0, where something was changed or would be.
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Why.
    #[command(flatten)]
    pub because: Because,
    /// Whether to wait for the shifts that it starts or finds under way.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// What `apply --help` ends with.
pub(super) const HELP: &str = "\
The blue of an endpoint in a file is what should serve. Where another version serves and a plan belongs to the endpoint, a shift is
started, with that blue as its green; where none belongs to it, the fleet is replaced at once. The plan of endpoint chat is
chat.plan.toml beside its file, or else plan.toml: a plan without green. What is as the file has it stays untouched, a shift that is
under way goes on, and one that was rolled back is not started again before the version or the plan changes.

Examples:
  snapback apply endpoints --dry-run
  snapback apply endpoints --yes --wait --timeout 2h --reason \"commit 4f2a91c\"
  snapback apply endpoints --yes --prune --output json
  snapback apply endpoints --dry-run --detailed-exitcode

Exit status:
  0  everything is as the files say, or is on its way there; with --wait: every shift was promoted
  1  something was refused or failed, or a shift was rolled back
  2  the command line is wrong
  3  a shift still ran at the deadline of --wait
  4  with --detailed-exitcode: something was changed, or with --dry-run would be";
