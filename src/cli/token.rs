//! `snapback token new`: makes a token for the admin port. It asks no admin port: whoever keeps the file decides.

use std::io;

use ring::rand::{SecureRandom as _, SystemRandom};

use super::{
    CliError,
    args::{OutputFormat, TokenArgs, TokenCommand},
    output::Output,
};
use crate::config::{format_token_hash, token_hash, token_text};

/// Prints the token, which is nowhere else, and what the file needs of it.
pub(super) fn token(args: TokenArgs, output: &mut Output) -> Result<(), CliError> {
    let TokenCommand::New { name, role, expires } = args.command;
    let mut bits = [0; 32];
    let filled = SystemRandom::new().fill(&mut bits);
    filled.map_err(|_| CliError::Start(io::Error::other("the system gives no random bits")))?;
    let token = token_text(bits);
    let hash = format_token_hash(&token_hash(token.as_bytes()));
    if output.format() == OutputFormat::Json {
        let expires = expires.map(|day| day.to_string());
        let entry =
            serde_json::json!({ "name": name, "role": role.to_string(), "hash": hash, "expires": expires });
        return output.json(&serde_json::json!({ "token": token, "entry": entry }));
    }
    let expires = expires.map(|day| format!("\nexpires = \"{day}\"")).unwrap_or_default();
    output.text(&format!(
        "{token}\n\n# The line above is the token: keep it, it is not shown again. Add this to the file of [admin] tokens_file:\n\
         [[token]]\nname = \"{name}\"\nrole = \"{role}\"\nhash = \"{hash}\"{expires}"
    ))
}
