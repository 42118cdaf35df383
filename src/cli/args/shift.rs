//! The grammar of `snapback shift`.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use super::{AnyEndpoint, Because, DryRun, OneEndpoint, PlanFile};
use crate::{
    cli::names,
    config::parse_moment,
    name::ShiftId,
    time::{WallTime, parse_duration},
};

const START: &str = "\
While it waits, it says on standard error where the shift is, what holds it and what comes next.

Examples:
  snapback shift start chat plan.toml --dry-run
  snapback shift start chat plan.toml --watch
  snapback shift start chat plan.toml --wait --timeout 1h --reason \"release 12\"
  snapback shift start chat plan.toml --if-running queue --wait
  snapback shift start chat plan.toml --start-at 2030-01-31T22:00:00+01:00

Exit status:
  0  started; with --wait or --watch: promoted
  1  not started; with --wait or --watch: rolled back
  2  the command line is wrong
  3  it still runs: the deadline of --wait passed, or watching was quit; or it waits for its turn";

const STATUS: &str = "\
Examples:
  snapback shift status chat
  snapback shift status chat-7 --wait --timeout 30m
  snapback shift status chat-9

Exit status:
  0  with --wait: promoted; without: there is such a shift
  1  with --wait: rolled back; or it failed
  2  the command line is wrong
  3  the deadline of --wait passed, and it still runs";

const WATCH: &str = "\
On a terminal ? shows the keys: they pause, resume, promote and abort. Elsewhere it prints a line at each change.

Examples:
  snapback shift watch chat
  snapback shift watch chat --output json | jq .share

Exit status:
  0  promoted
  1  rolled back
  3  watching was quit, and it still runs";

const LIST: &str = "\
Running shifts come first, then those that wait for their turn, then those that are over, newest first.

Examples:
  snapback shift list
  snapback shift list chat --limit 5
  snapback shift list --only running --output json";

/// What can be done with shifts.
#[derive(Clone, Debug, Subcommand)]
pub enum ShiftCommand {
    /// Start a shift of an endpoint by a plan.
    #[command(after_help = START, group = clap::ArgGroup::new("then").args(["dry_run", "watch", "wait"]))]
    Start {
        /// Whose traffic to shift.
        #[command(flatten)]
        whose: OneEndpoint,
        /// How.
        #[command(flatten)]
        plan: PlanFile,
        /// Whether to.
        #[command(flatten)]
        dry_run: DryRun,
        /// Begin though this external alarm of the plan is raised; it is not judged until it has been ok once.
        #[arg(long = "ignore-alarm", value_name = "NAME")]
        ignored_alarms: Vec<String>,
        /// Where another shift runs: refuse, queue behind it, or supersede it, which rolls it back (default: as the plan says, else refuse).
        #[arg(long, value_name = "refuse|queue|supersede", value_parser = if_running, hide_possible_values = true)]
        if_running: Option<IfRunning>,
        /// Begin not before this moment (default: as the plan says, else now).
        #[arg(long, value_name = "2030-01-31T22:00:00Z", value_parser = parse_moment)]
        start_at: Option<WallTime>,
        /// Why.
        #[command(flatten)]
        because: Because,
        /// Watch it until it is over.
        #[arg(long)]
        watch: bool,
        /// How long to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Shifts that run, that wait for their turn and that are over, of one endpoint or of all.
    #[command(after_help = LIST)]
    List(ListArgs),
    /// Where a shift is, with its traffic and alarms.
    #[command(after_help = STATUS)]
    Status {
        /// Which.
        #[command(flatten)]
        shift: ShiftRef,
        /// How long to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Watch a shift live until it is over; plain lines when the output is not a terminal.
    #[command(after_help = WATCH)]
    Watch {
        /// Which.
        #[command(flatten)]
        shift: ShiftRef,
    },
    /// Hold at the present step; alarms go on.
    #[command(after_help = "Example:\n  snapback shift pause chat --reason \"looking at a trace\"")]
    Pause(Order),
    /// Go on, or approve the next step.
    #[command(after_help = "Example:\n  snapback shift resume chat --reason \"answers look right\"")]
    Resume(Order),
    /// Skip the remaining bakes and give green everything, or skip this bake alone.
    #[command(
        after_help = "Examples:\n  snapback shift promote chat --bake\n  snapback shift promote chat --reason \"hotfix\""
    )]
    Promote {
        /// Which, and why.
        #[command(flatten)]
        order: Order,
        /// Skip only what is left of the present step's bake.
        #[arg(long)]
        bake: bool,
    },
    /// Roll back: all traffic to blue at once.
    #[command(after_help = "Example:\n  snapback shift abort chat --reason \"support sees odd answers\"")]
    Abort(Order),
    /// Take a shift that waits for its turn out of its queue.
    #[command(
        after_help = "`snapback shift list` has its id.\n\nExample:\n  snapback shift cancel chat-9 --reason \"superseded\""
    )]
    Cancel {
        /// Its id.
        #[arg(value_name = "ID", value_parser = ShiftId::parse, add = ArgValueCompleter::new(names::queued))]
        id: ShiftId,
        /// Why.
        #[command(flatten)]
        because: Because,
    },
    /// Why a shift is where it is, with the alarms' numbers and the timeline.
    #[command(after_help = "Examples:\n  snapback shift explain chat\n  snapback shift explain chat-7")]
    Explain {
        /// Which.
        #[command(flatten)]
        shift: ShiftRef,
    },
}

/// The words of the plan's key. A name of the API's, since the grammar knows no engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IfRunning(pub &'static str);

fn if_running(text: &str) -> Result<IfRunning, String> {
    let known = ["refuse", "queue", "supersede"].into_iter().find(|known| *known == text);
    known.map(IfRunning).ok_or_else(|| "it is refuse, queue or supersede".to_owned())
}

/// `shift list`
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// Whose.
    #[command(flatten)]
    pub whose: AnyEndpoint,
    /// Only those that run, that wait for their turn, or that are over.
    #[arg(long, value_name = "running|queued|over", value_enum, hide_possible_values = true)]
    pub only: Option<ShiftKind>,
    /// At most so many that are over, of all endpoints together.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

/// Where in its life a shift is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum ShiftKind {
    /// It runs.
    Running,
    /// It waits for its turn.
    Queued,
    /// It is over.
    Over,
}

/// A shift, by itself or by its endpoint.
#[derive(Clone, Debug, clap::Args)]
pub struct ShiftRef {
    /// The shift's id, or an endpoint's name for its running or else newest shift.
    // Both kinds of name have the same alphabet, so either is safe in a path.
    #[arg(
        id = "shift",
        value_name = "ID|ENDPOINT",
        value_parser = ShiftId::parse,
        add = ArgValueCompleter::new(names::shifts)
    )]
    pub id_or_endpoint: ShiftId,
}

/// Whether and how long to wait for a shift's end.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct WaitArgs {
    /// Wait until the shift is over.
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this long, such as 30m; the shift goes on.
    #[arg(long, value_name = "D", requires = "wait", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

/// A command to a running shift.
#[derive(Clone, Debug, clap::Args)]
pub struct Order {
    /// Which.
    #[command(flatten)]
    pub shift: ShiftRef,
    /// Why.
    #[command(flatten)]
    pub because: Because,
}
