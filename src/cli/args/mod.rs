//! The command line's grammar: every command of the binary. What several commands take is in `parts`.
//!
//! Each command's help ends with examples; a test reads them by this grammar.

mod apply;
mod endpoint;
mod init;
mod local;
mod log_level;
mod order;
mod parts;
mod plan;
mod shift;
mod token;
mod trail;

#[cfg(test)]
mod tests;

pub use apply::ApplyArgs;
pub use endpoint::EndpointCommand;
pub use init::InitArgs;
pub use local::{CheckArgs, DemoArgs, ManArgs, ModelServerArgs, ServeArgs, Shell, TopArgs};
pub use log_level::LogLevelArgs;
pub use order::{AlarmCommand, FreezeArgs, ReloadArgs};
pub use parts::{
    AnyEndpoint, Asked, Because, Connection, DryRun, EventFilter, Format, OneEndpoint, OutputFormat, PlanFile,
};
pub use plan::{LintArgs, PlanCommand, RecordingCommand, ReplayArgs};
pub use shift::{IfRunning, ListArgs, Order, ShiftCommand, ShiftKind, ShiftRef, WaitArgs};
pub use token::{BearerToken, TokenArgs, TokenCommand};
pub use trail::{AuditCommand, EventsArgs, JournalCommand, WebhookCommand};

use clap::{Parser, Subcommand};

use crate::version;

/// The whole command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "snapback",
    version = version::text(),
    max_term_width = 100,
    about = "A reverse proxy that ships new model versions safely.",
    long_about = "A reverse proxy that ships new model versions safely: it shifts traffic from the fleet in service (blue) \
                  to the incoming one (green), watches every response, and snaps back the moment green is worse.",
    after_help = "Examples:
  snapback demo                                 see it all on this machine, in about a minute
  snapback init                                 write a first configuration for your own servers
  snapback check -c snapback.toml               find every problem in a configuration
  snapback serve -c snapback.toml               run the proxy
  snapback shift start chat plan.toml --watch   start a shift and watch it live

Exit status:
  0  done; of a shift that was waited for or watched: promoted
  1  failed; of a shift: rolled back
  2  the command line is wrong
  3  the shift still runs, or still waits for its turn

Colours are for terminals, and not where NO_COLOR is set. What goes wrong is on standard error."
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, by who carries them out.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the proxy: data port, admin port, alarms and shifts.
    #[command(
        display_order = 1,
        after_help = "SIGHUP reloads the file; SIGTERM drains running requests and ends.\n\nExamples:\n  snapback serve\n  snapback serve -c /etc/snapback/snapback.toml"
    )]
    Serve(ServeArgs),
    /// See a good model promoted and a bad one rolled back, all on this machine.
    #[command(
        display_order = 3,
        after_help = "Examples:\n  snapback demo\n  snapback demo --json | tail -n 1 | python3 -m json.tool\n  snapback demo --stay --data 127.0.0.1:8080 --admin-listen 127.0.0.1:9090\n\nExit status 0 only if the story really happened."
    )]
    Demo(DemoArgs),
    /// Run one of the demo's model servers.
    #[command(hide = true)]
    ModelServer(ModelServerArgs),
    /// Everything that [`super::run`] carries out.
    #[command(flatten)]
    Client(Box<ClientCommand>),
}

/// The commands that need nothing but files and an admin port.
#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    /// Write a first configuration, and a first plan.
    #[command(display_order = 1, after_help = init::HELP)]
    Init(InitArgs),
    /// Check configuration and plan files, report every problem at once, and say what they come to.
    #[command(
        display_order = 2,
        after_help = "Examples:\n  snapback check -c snapback.toml\n  snapback check --plan plan.toml\n\nExit status 0 when there is no problem, else 1."
    )]
    Check(CheckArgs),
    /// Show endpoints, their fleets and their traffic.
    #[command(
        display_order = 4,
        after_help = "Examples:\n  snapback endpoint list\n  snapback endpoint show chat --output json"
    )]
    Endpoint(Asked<EndpointCommand>),
    /// See all endpoints live: rates, errors, times, shifts and how near their alarms are.
    #[command(
        display_order = 4,
        after_help = "u, n, r, e and p sort by urgency, name, rate, errors and p99; j and k move; q quits. Without a terminal it prints them once.\n\nExample:\n  snapback top"
    )]
    Top(TopArgs),
    /// Make endpoints what files say: show the difference, change it, start shifts where versions change.
    #[command(display_order = 5, after_help = apply::HELP)]
    Apply(ApplyArgs),
    /// Start, watch and steer shifts.
    #[command(
        display_order = 5,
        after_help = "Wherever a shift is asked for, an endpoint's name stands for its running shift, or else its newest one.

Examples:
  snapback shift start chat plan.toml --watch
  snapback shift list chat
  snapback shift status chat --wait --timeout 30m
  snapback shift abort chat --reason \"support sees odd answers\"
  snapback shift explain chat"
    )]
    Shift(Asked<ShiftCommand>),
    /// Ask what a plan can find, before it is run, and what it would have decided.
    #[command(
        display_order = 6,
        after_help = "Examples:
  snapback plan lint chat plan.toml
  snapback plan lint chat plan.toml --offline --traffic 20/s
  snapback plan replay plan.toml --endpoint chat
  snapback plan replay plan.toml --recording monday.ndjson --aa"
    )]
    Plan(Asked<PlanCommand>),
    /// Keep an endpoint's last outcomes as a file, for replays.
    #[command(
        display_order = 6,
        after_help = "An outcome is a status, times and counts; no body and nothing that a client sent.\n\nExample:\n  snapback recording export chat > monday.ndjson"
    )]
    Recording(Asked<RecordingCommand>),
    /// Print what happened, one event a line.
    #[command(
        display_order = 7,
        after_help = "Examples:\n  snapback events --endpoint chat\n  snapback events --follow --output json | jq .cause"
    )]
    Events(EventsArgs),
    /// Report the state of an external alarm to the shifts that watch it.
    #[command(
        display_order = 6,
        after_help = "A report holds for the lease that the plan gives the alarm.\n\nExample:\n  snapback alarm set quality ok --reason \"20 of 20 answers graded well\""
    )]
    Alarm(Asked<AlarmCommand>),
    /// Keep shifts from beginning and going on, of one endpoint or of all.
    #[command(
        display_order = 6,
        after_help = "A running shift holds at the end of its bake; alarms, aborts and its execution timeout count as ever.\n\nExamples:\n  snapback freeze chat --reason \"incident 1207\"\n  snapback freeze --reason \"end of the year\""
    )]
    Freeze(FreezeArgs),
    /// Lift a freeze: of one endpoint, or the one of all.
    #[command(
        display_order = 6,
        after_help = "Example:\n  snapback unfreeze chat --reason \"incident closed\""
    )]
    Unfreeze(FreezeArgs),
    /// Make the proxy read its configuration file again.
    #[command(
        display_order = 8,
        after_help = "A file with problems changes nothing.\n\nExamples:\n  snapback reload --dry-run\n  snapback reload --reason \"new limits\""
    )]
    Reload(ReloadArgs),
    /// Show or change which lines the proxy writes to its log.
    #[command(
        display_order = 8,
        after_help = "Examples:\n  snapback log-level\n  snapback log-level info,snapback::proxy=debug --for 10m --reason \"odd resets\""
    )]
    LogLevel(LogLevelArgs),
    /// See how webhooks do, and send again what they could not deliver.
    #[command(
        display_order = 9,
        after_help = "Examples:\n  snapback webhook list\n  snapback webhook retry ops --reason \"the receiver is back\""
    )]
    Webhook(Asked<WebhookCommand>),
    /// See who did what, and whether the record of it is whole.
    #[command(
        display_order = 10,
        after_help = "Examples:\n  snapback audit list --endpoint chat\n  snapback audit verify\n  snapback audit verify --file events.jsonl"
    )]
    Audit(Asked<AuditCommand>),
    /// Copy the journal.
    #[command(display_order = 11, after_help = "Example:\n  snapback journal backup monday.db")]
    Journal(Asked<JournalCommand>),
    /// Make tokens for the admin port.
    #[command(
        display_order = 12,
        after_help = "Example:\n  snapback token new --name ci --role operator --expires 2027-01-31"
    )]
    Token(TokenArgs),
    /// Print a script that completes commands, options, and names of endpoints and shifts.
    #[command(
        display_order = 13,
        after_help = "Names come from the admin port in SNAPBACK_ADMIN.

Examples:
  snapback completions bash > ~/.local/share/bash-completion/completions/snapback
  snapback completions zsh > \"${fpath[1]}/_snapback\"
  snapback completions fish > ~/.config/fish/completions/snapback.fish"
    )]
    Completions {
        /// Which shell's.
        #[arg(value_name = "bash|zsh|fish", value_enum, hide_possible_values = true)]
        shell: Shell,
    },
    /// Write manual pages.
    #[command(
        display_order = 14,
        after_help = "Examples:\n  snapback man | man -l -\n  snapback man --dir ~/.local/share/man/man1"
    )]
    Man(ManArgs),
}

impl ClientCommand {
    /// How the command's answer is printed.
    pub fn format(&self) -> OutputFormat {
        let alone = match self {
            Self::Check(args) => args.format,
            Self::Token(args) => args.format,
            Self::Man(args) => args.format,
            Self::Init(args) => args.format,
            Self::Endpoint(_)
            | Self::Apply(_)
            | Self::Top(_)
            | Self::Completions { .. }
            | Self::Shift(_)
            | Self::Plan(_)
            | Self::Recording(_)
            | Self::Events(_)
            | Self::Alarm(_)
            | Self::Freeze(_)
            | Self::Unfreeze(_)
            | Self::Reload(_)
            | Self::LogLevel(_)
            | Self::Webhook(_)
            | Self::Audit(_)
            | Self::Journal(_) => Format { output: OutputFormat::Table },
        };
        self.connection().map_or(alone, |connection| connection.format).output
    }

    /// The admin port that it is for; `None` for one that needs none.
    pub fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Check(_) | Self::Token(_) | Self::Completions { .. } | Self::Man(_) | Self::Init(_) => None,
            Self::Apply(args) => Some(&args.connection),
            Self::Top(args) => Some(&args.connection),
            Self::Endpoint(args) => Some(&args.connection),
            Self::Shift(args) => Some(&args.connection),
            Self::Plan(args) => Some(&args.connection),
            Self::Recording(args) => Some(&args.connection),
            Self::Events(args) => Some(&args.connection),
            Self::Alarm(args) => Some(&args.connection),
            Self::Freeze(args) | Self::Unfreeze(args) => Some(&args.connection),
            Self::Reload(args) => Some(&args.connection),
            Self::LogLevel(args) => Some(&args.connection),
            Self::Webhook(args) => Some(&args.connection),
            Self::Audit(args) => Some(&args.connection),
            Self::Journal(args) => Some(&args.connection),
        }
    }
}
