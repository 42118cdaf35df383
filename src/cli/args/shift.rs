//! The grammar of `snapback shift`.

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;

use super::Connection;
use crate::{
    name::{EndpointName, ShiftId},
    time::parse_duration,
};

const EXIT_CODES: &str = "\
Exit status:
  0  done; for --wait and watch: promoted
  1  failed; for --wait and watch: rolled back
  2  the command line is wrong
  3  the shift still runs: the deadline of --wait passed, or watching was quit";

/// `shift`
#[derive(Clone, Debug, clap::Args)]
pub struct ShiftArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: ShiftCommand,
}

/// What can be done with shifts.
#[derive(Clone, Debug, Subcommand)]
pub enum ShiftCommand {
    /// Start a shift of an endpoint by a plan.
    #[command(after_help = EXIT_CODES)]
    Start {
        /// Whose traffic to shift.
        #[arg(value_name = "ENDPOINT", value_parser = EndpointName::parse)]
        endpoint: EndpointName,
        /// The plan: a TOML file, or JSON if its name ends in .json; `-` reads TOML from standard input.
        #[arg(value_name = "PLAN")]
        plan: PathBuf,
        /// Check everything and show what would be started; change nothing.
        #[arg(long, conflicts_with_all = ["watch", "wait"])]
        dry_run: bool,
        /// Begin though this external alarm of the plan is raised; it is not judged until it has been ok once.
        #[arg(long = "ignore-alarm", value_name = "NAME")]
        ignored_alarms: Vec<String>,
        /// Where another shift runs: refuse, queue behind it, or supersede it, which rolls it back (default: as the plan says, else refuse).
        #[arg(long, value_name = "refuse|queue|supersede", value_parser = if_running, hide_possible_values = true)]
        if_running: Option<IfRunning>,
        /// Why; goes into the journal and the events.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
        /// Watch it until it is over.
        #[arg(long, conflicts_with = "wait")]
        watch: bool,
        /// How long to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Where a shift is, with its traffic and alarms.
    #[command(after_help = EXIT_CODES)]
    Status {
        /// Which.
        #[command(flatten)]
        shift: ShiftRef,
        /// How long to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Watch a shift live until it is over; plain lines when the output is not a terminal.
    #[command(after_help = EXIT_CODES)]
    Watch {
        /// Which.
        #[command(flatten)]
        shift: ShiftRef,
    },
    /// Hold at the present step; alarms go on.
    Pause(Order),
    /// Go on, or approve the next step.
    Resume(Order),
    /// Skip the remaining bakes and give green everything, or skip this bake alone.
    Promote {
        /// Which, and why.
        #[command(flatten)]
        order: Order,
        /// Skip only what is left of the present step's bake.
        #[arg(long)]
        bake: bool,
    },
    /// Roll back: all traffic to blue at once.
    Abort(Order),
    /// Take a shift that waits for its turn out of its queue.
    Cancel {
        /// Its id, as `snapback endpoint show` has it.
        #[arg(value_name = "ID", value_parser = ShiftId::parse)]
        id: ShiftId,
        /// Why; goes into the journal and the events.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Why a shift is where it is, with the alarms' numbers and the timeline.
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

/// A shift, by itself or by its endpoint.
#[derive(Clone, Debug, clap::Args)]
pub struct ShiftRef {
    /// The shift's id, or an endpoint's name for its running or else newest shift.
    // Both kinds of name have the same alphabet, so either is safe in a path.
    #[arg(id = "shift", value_name = "ID|ENDPOINT", value_parser = ShiftId::parse)]
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
    /// Why; goes into the journal and the events.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
}
