//! The command line's grammar, for every command of the binary; that of endpoints, shifts, plans and the trail is in files of their own.

mod endpoint;
mod log_level;
mod plan;
mod shift;
mod token;
mod trail;

pub use endpoint::{EndpointArgs, EndpointCommand};
pub use log_level::LogLevelArgs;
pub use plan::{LintArgs, PlanArgs, PlanCommand, RecordingArgs, RecordingCommand, ReplayArgs};
pub use shift::{IfRunning, Order, ShiftArgs, ShiftCommand, ShiftRef, WaitArgs};
pub use token::{BearerToken, TokenArgs, TokenCommand};
pub use trail::{AuditArgs, AuditCommand, JournalArgs, JournalCommand, WebhookArgs, WebhookCommand};

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use super::admin_url::AdminUrl;
use crate::{
    admin::wire::ReportedState,
    config::alarm_name,
    name::{EndpointName, Version},
    version,
};

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
  snapback check -c snapback.toml               find every problem in a configuration
  snapback serve -c snapback.toml               run the proxy
  snapback shift start chat plan.toml --watch   start a shift and watch it live"
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
        after_help = "SIGHUP reloads the file; SIGTERM drains running requests and ends.\n\nExample:\n  snapback serve -c snapback.toml"
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
    Client(ClientCommand),
}

/// The commands that need nothing but files and an admin port.
#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    /// Check configuration and plan files, and report every problem at once.
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
    Endpoint(EndpointArgs),
    /// Start, watch and steer shifts.
    #[command(
        display_order = 5,
        after_help = "Wherever a shift is asked for, an endpoint's name stands for its running shift, or else its newest one.

Examples:
  snapback shift start chat plan.toml --watch
  snapback shift status chat --wait --timeout 30m
  snapback shift abort chat --reason \"support sees odd answers\"
  snapback shift explain chat"
    )]
    Shift(ShiftArgs),
    /// Ask what a plan can find, before it is run, and what it would have decided.
    #[command(
        display_order = 6,
        after_help = "Examples:
  snapback plan lint chat plan.toml
  snapback plan lint chat plan.toml --offline --traffic 20/s
  snapback plan replay plan.toml --endpoint chat
  snapback plan replay plan.toml --recording monday.ndjson --aa"
    )]
    Plan(PlanArgs),
    /// Keep an endpoint's last outcomes as a file, for replays.
    #[command(
        display_order = 6,
        after_help = "An outcome is a status, times and counts; no body and nothing that a client sent.\n\nExample:\n  snapback recording export chat > monday.ndjson"
    )]
    Recording(RecordingArgs),
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
    Alarm(AlarmArgs),
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
        after_help = "A file with problems changes nothing.\n\nExample:\n  snapback reload --dry-run"
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
    Webhook(WebhookArgs),
    /// See who did what, and whether the record of it is whole.
    #[command(
        display_order = 10,
        after_help = "Examples:\n  snapback audit list --endpoint chat\n  snapback audit verify\n  snapback audit verify --file events.jsonl"
    )]
    Audit(AuditArgs),
    /// Copy the journal.
    #[command(display_order = 11, after_help = "Example:\n  snapback journal backup monday.db")]
    Journal(JournalArgs),
    /// Make tokens for the admin port.
    #[command(
        display_order = 12,
        after_help = "Example:\n  snapback token new --name ci --role operator --expires 2027-01-31"
    )]
    Token(TokenArgs),
}

/// `serve`
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `check`
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct CheckArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A plan file.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
}

/// `demo`
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DemoArgs {
    /// Print the report as one JSON object on the last line.
    #[arg(long)]
    pub json: bool,
    /// Keep everything up afterwards, and print the addresses and things to try.
    #[arg(long)]
    pub stay: bool,
    /// Makes the clients' arrivals and prompts the same again.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Where the proxy's clients connect (default: a free port on loopback).
    #[arg(long, value_name = "ADDR")]
    pub data: Option<SocketAddr>,
    /// Where operators connect (default: a free port on loopback).
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,
}

/// `model-server`
#[derive(Clone, Debug, clap::Args)]
pub struct ModelServerArgs {
    /// Which of the demo's models to serve.
    #[arg(long, value_name = "V", value_parser = Version::parse)]
    pub version: Version,
    /// Where to listen.
    #[arg(long, value_name = "ADDR")]
    pub listen: SocketAddr,
}

/// What every command to an admin port takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Connection {
    /// The admin port.
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        env = "SNAPBACK_ADMIN",
        value_name = "URL",
        default_value = "http://127.0.0.1:9090",
        value_parser = AdminUrl::parse
    )]
    pub admin: AdminUrl,
    /// For https: trust the authorities in this PEM file, and no others.
    #[arg(long, global = true, help_heading = "Connection", env = "SNAPBACK_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// For https: the certificate that says who you are, where the admin port asks for one.
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        env = "SNAPBACK_CERT",
        value_name = "FILE",
        requires = "key"
    )]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        env = "SNAPBACK_KEY",
        value_name = "FILE",
        requires = "cert"
    )]
    pub key: Option<PathBuf>,
    /// The file with the token that says who you are, where the admin port asks for one; without it SNAPBACK_TOKEN is the token.
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        value_name = "FILE",
        value_parser = BearerToken::from_file
    )]
    pub token_file: Option<BearerToken>,
    /// `table` for people, `json` for programs: the API's document, unchanged.
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        value_name = "FORMAT",
        value_enum,
        default_value_t = OutputFormat::Table,
        hide_possible_values = true
    )]
    pub output: OutputFormat,
}

/// How answers are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// The API's document, unchanged.
    Json,
}

/// `events`
#[derive(Clone, Debug, clap::Args)]
pub struct EventsArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// Go on with new events as they happen, also after a lost connection.
    #[arg(long, short)]
    pub follow: bool,
    /// Only events with an id above this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub after: u64,
    /// Only this endpoint's events.
    #[arg(long, value_name = "NAME", value_parser = EndpointName::parse)]
    pub endpoint: Option<EndpointName>,
}

/// `alarm`
#[derive(Clone, Debug, clap::Args)]
pub struct AlarmArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// What.
    #[command(subcommand)]
    pub command: AlarmCommand,
}

/// `alarm ...`
#[derive(Clone, Debug, Subcommand)]
pub enum AlarmCommand {
    /// Say what an external alarm says from now on.
    Set {
        /// The name of an external alarm of a plan.
        #[arg(value_name = "NAME", value_parser = alarm_name)]
        name: String,
        /// ok, alarm or insufficient_data.
        #[arg(value_name = "STATE", value_parser = reported_state)]
        state: ReportedState,
        /// Why; is shown with the alarm, and goes into the journal and the events.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
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
    /// Whose shifts; without a name those of all endpoints.
    #[arg(value_name = "ENDPOINT", value_parser = EndpointName::parse)]
    pub endpoint: Option<EndpointName>,
    /// Why; is shown with what is held, and goes into the journal and the events.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// `reload`
#[derive(Clone, Debug, clap::Args)]
pub struct ReloadArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// Say what would change; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Why; goes into the journal and the events.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
}

impl ClientCommand {
    /// How the command's answer is printed.
    pub fn format(&self) -> OutputFormat {
        match self {
            Self::Check(_) | Self::Token(_) => OutputFormat::Table,
            Self::Endpoint(args) => args.connection.output,
            Self::Shift(args) => args.connection.output,
            Self::Plan(args) => args.connection.output,
            Self::Recording(args) => args.connection.output,
            Self::Events(args) => args.connection.output,
            Self::Alarm(args) => args.connection.output,
            Self::Freeze(args) | Self::Unfreeze(args) => args.connection.output,
            Self::LogLevel(args) => args.connection.output,
            Self::Reload(args) => args.connection.output,
            Self::Webhook(args) => args.connection.output,
            Self::Audit(args) => args.connection.output,
            Self::Journal(args) => args.connection.output,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Args::try_parse_from(line.split(' ')).map(|args| args.command)
    }

    #[test]
    fn the_grammar_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_design_is_understood() {
        for line in [
            "snapback serve -c snapback.toml",
            "snapback check -c snapback.toml --plan plan.toml",
            "snapback check --plan plan.toml",
            "snapback demo --json --stay --seed 7 --data 127.0.0.1:0 --admin-listen [::1]:0",
            "snapback endpoint list",
            "snapback endpoint show chat --output json",
            "snapback shift start chat plan.toml --dry-run",
            "snapback shift start chat plan.toml --watch",
            "snapback shift start chat plan.toml --wait --timeout 1h30m --reason v2",
            "snapback shift status chat-1 --wait --timeout 30s --admin http://[::1]:9",
            "snapback shift watch chat",
            "snapback shift watch chat --admin https://proxy --ca ca.pem --cert me.pem --key me.key",
            "snapback shift pause chat",
            "snapback shift resume chat --reason checked",
            "snapback shift promote chat",
            "snapback shift promote chat --bake --reason quiet",
            "snapback shift abort chat --reason odd",
            "snapback shift explain chat",
            "snapback plan lint chat plan.toml --output json",
            "snapback plan lint chat plan.toml --traffic 20/s --offline",
            "snapback plan replay plan.toml --endpoint chat --output json",
            "snapback plan replay plan.toml --recording a.ndjson --green-from b.ndjson --seed 3",
            "snapback plan replay plan.toml --recording a.ndjson --aa --splits 200",
            "snapback recording export chat",
            "snapback events --follow --after 3 --endpoint chat",
            "snapback alarm set quality insufficient_data --reason waiting",
            "snapback freeze chat --reason incident",
            "snapback freeze",
            "snapback unfreeze chat",
            "snapback reload --dry-run --reason moved",
            "snapback webhook list",
            "snapback webhook retry ops --reason mended",
            "snapback audit list --after 7 --endpoint chat",
            "snapback audit verify --file events.jsonl",
            "snapback journal backup monday.db",
            "snapback token new --name ci --role operator --expires 2027-01-31",
            "snapback model-server --version v1 --listen 127.0.0.1:0",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn a_wrong_command_line_exits_with_2_and_says_what_is_wrong() {
        for (line, says) in [
            ("snapback shift status chat --timeout 30s", "--wait"),
            ("snapback shift status chat --wait --timeout 30", "whole number and a unit"),
            ("snapback shift status a/b", "is not a shift id"),
            ("snapback shift start chat plan.toml --dry-run --wait", "cannot be used with"),
            ("snapback endpoint show -a", "unexpected argument"),
            ("snapback endpoint list --admin ftp://x", "http://HOST:PORT"),
            ("snapback endpoint list --admin https://x --cert me.pem", "--key"),
            ("snapback alarm set quality OK", "ok, alarm or insufficient_data"),
            ("snapback alarm set a/b ok", "is not an alarm's name"),
            ("snapback plan lint chat plan.toml --traffic 20", "is not a rate of requests"),
            ("snapback plan lint chat", "PLAN"),
            ("snapback plan replay plan.toml", "--recording"),
            ("snapback plan replay plan.toml --endpoint chat --splits 3", "--aa"),
            ("snapback plan replay plan.toml --endpoint chat --recording a.ndjson", "cannot be used with"),
            ("snapback endpoint list --token-file /nonexistent/token", "No such file"),
            ("snapback token new --name ci --role root", "viewer, operator or admin"),
            ("snapback token new --name ci --role viewer --expires soon", "is not a day"),
            ("snapback check", "--config"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn the_demos_model_server_is_not_offered() {
        assert!(!Args::command().render_long_help().to_string().contains("model-server"));
    }
}
