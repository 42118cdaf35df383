//! The grammar of `plan` and `recording`.

use std::path::PathBuf;

use clap::Subcommand;
use clap_complete::engine::ArgValueCompleter;

use super::{OneEndpoint, PlanFile};
use crate::{
    cli::names,
    lint::parse_rate,
    name::{EndpointName, ShiftId},
    replay::MOST_SPLITS,
};

/// The questions about plans.
#[derive(Clone, Debug, Subcommand)]
pub enum PlanCommand {
    /// What each step's alarms can find at the endpoint's traffic, and what to change.
    #[command(
        after_help = "Examples:\n  snapback plan lint chat plan.toml\n  snapback plan lint chat plan.toml --offline --traffic 20/s\n\nExit status:\n  0  no errors; there may be warnings\n  1  the plan has errors, or could not be looked at\n  2  the command line is wrong"
    )]
    Lint(LintArgs),
    /// What a plan would have decided over recorded outcomes, and when: the real engine and alarms, in virtual time.
    #[command(
        after_help = "A recording that holds both fleets is played as it was, at the plan's shares; one of a single fleet
is dealt to both, as if green were as good as blue. With --aa blue is played against itself many times
over: how often would this plan have called a healthy green bad on this traffic?

Examples:
  snapback plan replay plan.toml --endpoint chat
  snapback plan replay plan.toml --recording monday.ndjson --green-from tuesday.ndjson
  snapback plan replay plan.toml --recording monday.ndjson --aa

Exit status:
  0  promoted; with --aa: the plan's promise about false alarms is not broken
  1  rolled back; with --aa: it is broken; or the replay failed
  2  the command line is wrong
  3  the recording was over before the plan had decided"
    )]
    Replay(ReplayArgs),
}

/// `plan lint`
#[derive(Clone, Debug, clap::Args)]
pub struct LintArgs {
    /// Whose traffic is to be shifted.
    #[command(flatten)]
    pub whose: OneEndpoint,
    /// Which plan.
    #[command(flatten)]
    pub plan: PlanFile,
    /// At this rate of requests, such as 20/s, instead of that of the last minutes; then the admin port need not be in reach.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub traffic: Option<f64>,
    /// From the file alone, without asking the admin port.
    #[arg(long)]
    pub offline: bool,
}

/// `plan replay`
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["endpoint", "recording"]))]
pub struct ReplayArgs {
    /// Which plan.
    #[command(flatten)]
    pub plan: PlanFile,
    /// Over what this endpoint's proxy has recorded.
    #[arg(
        long,
        value_name = "ENDPOINT",
        value_parser = EndpointName::parse,
        add = ArgValueCompleter::new(names::endpoints)
    )]
    pub endpoint: Option<EndpointName>,
    /// Over a file that `snapback recording export` has made, or another tool.
    #[arg(long, value_name = "FILE")]
    pub recording: Option<PathBuf>,
    /// Take green's outcomes from this recording, one after the other.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["aa", "shift"])]
    pub green_from: Option<PathBuf>,
    /// Of a recording with several shifts, this one's; without it, the last.
    #[arg(long, value_name = "ID", value_parser = ShiftId::parse, conflicts_with = "aa")]
    pub shift: Option<ShiftId>,
    /// Play blue against itself, by random splits.
    #[arg(long)]
    pub aa: bool,
    /// How many splits to play.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_000,
        requires = "aa",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_SPLITS))
    )]
    pub splits: u32,
    /// Makes the draws others.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// What can be done with recordings.
#[derive(Clone, Debug, Subcommand)]
pub enum RecordingCommand {
    /// Write an endpoint's recording to standard output: a JSON document a line.
    #[command(after_help = "Example:\n  snapback recording export chat > monday.ndjson")]
    Export(OneEndpoint),
}
