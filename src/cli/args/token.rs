//! The grammar of tokens: how they are made and how they are shown.

use std::io::Read as _;

use clap::Subcommand;
use http::HeaderValue;

use super::Format;
use crate::config::{Role, token_expiry, token_name};

/// Longer than any token.
const FILE_LIMIT: u64 = 4 << 10;

/// `token`
#[derive(Clone, Debug, clap::Args)]
pub struct TokenArgs {
    /// How the answer is printed.
    #[command(flatten)]
    pub format: Format,
    /// What.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// `token ...`
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Print a new token, and what the file that tokens_file names needs of it. Nothing is kept.
    #[command(
        after_help = "Examples:\n  snapback token new --name ci --role operator\n  snapback token new --name grafana --role viewer --expires 2027-01-31"
    )]
    New {
        /// Who will hold it; the actor of what is done with it.
        #[arg(long, value_name = "NAME", value_parser = token_name)]
        name: String,
        /// viewer, operator or admin.
        #[arg(long, value_name = "ROLE", value_parser = Role::parse)]
        role: Role,
        /// The day from whose beginning on (UTC) it opens nothing; without it, it does not end.
        #[arg(long, value_name = "DAY", value_parser = token_expiry)]
        expires: Option<jiff::civil::Date>,
    },
}

/// An authorization header with a token; not shown when it is printed for debugging.
#[derive(Clone, Debug)]
pub struct BearerToken(HeaderValue);

impl BearerToken {
    /// Of this token; white space around it does not count.
    pub fn new(token: &str) -> Result<Self, String> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| "what it holds is not a token".to_owned())?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// Of the token in this file.
    pub(super) fn from_file(path: &str) -> Result<Self, String> {
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(FILE_LIMIT).read_to_string(&mut text));
        read.map_err(|error| error.to_string())?;
        if text.trim().is_empty() {
            return Err("the file is empty".to_owned());
        }
        Self::new(&text)
    }

    /// The header's value.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}
