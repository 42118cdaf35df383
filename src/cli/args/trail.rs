//! The grammar of commands about events that leave the process, who did what, and the journal.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Because, Connection, EventFilter};

/// `events`
#[derive(Clone, Debug, clap::Args)]
pub struct EventsArgs {
    /// Where and how.
    #[command(flatten)]
    pub connection: Connection,
    /// Go on with new events as they happen, also after a lost connection.
    #[arg(long, short)]
    pub follow: bool,
    /// Which.
    #[command(flatten)]
    pub filter: EventFilter,
}

/// `webhook ...`
#[derive(Clone, Debug, Subcommand)]
pub enum WebhookCommand {
    /// How the webhooks do, what waits, and what could not be delivered.
    #[command(after_help = "Example:\n  snapback webhook list")]
    List,
    /// Send what could not be delivered again, in order, until one fails.
    #[command(after_help = "Example:\n  snapback webhook retry ops --reason \"the receiver is back\"")]
    Retry {
        /// Its name.
        #[arg(value_name = "NAME", value_parser = webhook_name)]
        name: String,
        /// Why.
        #[command(flatten)]
        because: Because,
    },
}

/// `audit ...`
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Who asked for what, from where and why, and who was refused.
    #[command(
        after_help = "Examples:\n  snapback audit list\n  snapback audit list --endpoint chat --after 120"
    )]
    List(EventFilter),
    /// Whether any event was changed, taken out or cut off. Exit status 1 if so.
    #[command(after_help = "Examples:\n  snapback audit verify\n  snapback audit verify --file events.jsonl")]
    Verify {
        /// Check this file of events by itself, without asking the admin port.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// `journal ...`
#[derive(Clone, Debug, Subcommand)]
pub enum JournalCommand {
    /// Copy the journal while it serves.
    #[command(
        after_help = "Example:\n  snapback journal backup monday.db\n\nTo restore: stop snapback, move the file in [state] path away with its -wal and -shm, put the copy in its place, start."
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
