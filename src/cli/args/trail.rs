//! The grammar of commands about events that leave the process, who did what, and the journal.

use std::path::PathBuf;

use clap::Subcommand;

use super::Connection;
use crate::name::EndpointName;

/// `webhook`
#[derive(Clone, Debug, clap::Args)]
pub struct WebhookArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// What.
    #[command(subcommand)]
    pub command: WebhookCommand,
}

/// `webhook ...`
#[derive(Clone, Debug, Subcommand)]
pub enum WebhookCommand {
    /// How the webhooks do, what waits, and what could not be delivered.
    List,
    /// Send what could not be delivered again, in order, until one fails.
    Retry {
        /// Its name.
        #[arg(value_name = "NAME", value_parser = webhook_name)]
        name: String,
        /// Why; goes into the journal and the events.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
}

/// `audit`
#[derive(Clone, Debug, clap::Args)]
pub struct AuditArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// Which question.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// `audit ...`
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Who asked for what, from where and why, and who was refused.
    List {
        /// Only events with an id above this.
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: u64,
        /// Only this endpoint's events.
        #[arg(long, value_name = "NAME", value_parser = EndpointName::parse)]
        endpoint: Option<EndpointName>,
    },
    /// Whether any event was changed, taken out or cut off. Exit status 1 if so.
    Verify {
        /// Check this file of events by itself, without asking the admin port.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// `journal`
#[derive(Clone, Debug, clap::Args)]
pub struct JournalArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// What.
    #[command(subcommand)]
    pub command: JournalCommand,
}

/// `journal ...`
#[derive(Clone, Debug, Subcommand)]
pub enum JournalCommand {
    /// Copy the journal while it serves.
    #[command(
        after_help = "To restore: stop snapback, move the file in [state] path away with its -wal and -shm, put the copy in its place, start."
    )]
    Backup {
        /// A new file on this machine.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// As the configuration has them, and safe in a path.
fn webhook_name(text: &str) -> Result<String, String> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("a webhook's name is 1 to 63 letters, digits, _ or -".to_owned())
    }
}
