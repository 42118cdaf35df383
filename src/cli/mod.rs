//! The command line: its grammar, the commands that talk to an admin port, and the live view of a shift.
//!
//! Commands know the admin port's representations ([`crate::admin::wire`]) and nothing of what is behind them: a command works
//! the same against the proxy beside it and one across the world.

mod admin_url;
mod alarm;
mod apply;
pub mod args;
mod audit;
mod check;
mod client;
mod endpoint;
mod error;
mod events;
mod follow;
mod freeze;
mod init;
mod journal;
mod log_level;
mod manual;
mod names;
mod output;
mod paint;
mod plan;
mod plan_file;
mod plan_replay;
mod progress;
mod queued;
mod recording;
mod reload;
mod report;
mod screen;
mod shift;
mod shift_list;
mod sse;
mod token;
mod top;
pub mod view;
mod watch;
mod webhook;

pub use admin_url::{AdminScheme, AdminUrl, AdminUrlError};
use args::Connection;
pub use args::{Args, ClientCommand, Command};
pub use screen::Screen;

use std::process::ExitCode;

use crate::admin::wire;
use error::CliError;
use output::Output;
use paint::{Tone, toned};

/// How a command ended that did not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Exit {
    /// What was asked is done; of a shift: it is promoted.
    Done,
    /// The shift that was waited for rolled back.
    RolledBack,
    /// The shift that was waited for is still running, or waits for its turn.
    StillRunning,
    /// The shift that was waited for was dropped before its turn came.
    Dropped,
    /// The plan that was looked at has errors.
    PlanErrors,
    /// The chain of events that was checked breaks.
    Broken,
    /// Something was changed, and whoever asked wants to know that by the exit status.
    Changed,
}

/// Answers a shell that asks what can follow, and ends the process then; does nothing otherwise. To be called before anything is printed.
pub fn complete() {
    let grammar = clap_complete::CompleteEnv::with_factory(<Args as clap::CommandFactory>::command);
    grammar.var(names::VARIABLE).complete();
}

/// Carries a command out and says how the process ends; errors are printed here. Wants a thread without a runtime.
pub fn run(command: ClientCommand) -> ExitCode {
    let mut output = Output::standard(command.format());
    let connection = command.connection().cloned();
    let result = block_on(carry_out(command, &mut output));
    match result {
        Ok(exit) => exit.code(),
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            let told = error.report();
            let told =
                told.strip_prefix("error:").map(|rest| format!("{}{rest}", toned(Some(Tone::Bad), "error:")));
            output.note(&told.unwrap_or_else(|| error.report()));
            if let Some(connection) = connection.filter(|_| error.is_of_another_version()) {
                tell_versions(&connection, &mut output);
            }
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(command: ClientCommand, output: &mut Output) -> Result<Exit, CliError> {
    match command {
        ClientCommand::Check(args) => check::check(&args, output)?,
        ClientCommand::Init(args) => init::init(args, output)?,
        ClientCommand::Top(args) => return top::top(args, output).await,
        ClientCommand::Apply(args) => return apply::apply(args, output).await,
        ClientCommand::Completions { shell } => manual::completions(shell, output)?,
        ClientCommand::Man(args) => manual::manual(&args, output)?,
        ClientCommand::Endpoint(args) => endpoint::endpoint(args, output).await?,
        ClientCommand::Shift(args) => return shift::shift(args, output).await,
        ClientCommand::Plan(args) => return plan::plan(args, output).await,
        ClientCommand::Recording(args) => recording::recording(args, output).await?,
        ClientCommand::Events(args) => events::events(args, output).await?,
        ClientCommand::Alarm(args) => alarm::alarm(args, output).await?,
        ClientCommand::Freeze(args) => freeze::freeze(args, "freeze", output).await?,
        ClientCommand::Unfreeze(args) => freeze::freeze(args, "unfreeze", output).await?,
        ClientCommand::Reload(args) => reload::reload(args, output).await?,
        ClientCommand::LogLevel(args) => log_level::log_level(args, output).await?,
        ClientCommand::Webhook(args) => webhook::webhook(args, output).await?,
        ClientCommand::Audit(args) => return audit::audit(args, output).await,
        ClientCommand::Token(args) => token::token(args, output)?,
        ClientCommand::Journal(args) => journal::journal(args, output).await?,
    }
    Ok(Exit::Done)
}

/// Two versions that do not understand each other are told apart where the server says which one it is.
fn tell_versions(connection: &Connection, output: &mut Output) {
    const OWN: &str = env!("CARGO_PKG_VERSION");
    let asked = block_on(async { Ok(client::Client::new(connection).version().await) });
    match asked {
        Ok(Some(server)) if server != OWN => {
            output.note(&format!(
                "  the server is version {server}, this command {OWN}: use the same version of both"
            ));
        }
        Ok(Some(_) | None) | Err(_) => {}
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Start)?;
    let result = runtime.block_on(work);
    // A name that is still being looked up must not hold the process.
    runtime.shutdown_background();
    result
}

impl Exit {
    /// Of a shift that is over, or of one that nobody waits for any longer.
    fn of(shift: &wire::Shift) -> Self {
        match shift.state.as_str() {
            "promoted" => Self::Done,
            "rolled_back" | "rollback_failed" => Self::RolledBack,
            _ => Self::StillRunning,
        }
    }

    /// 2 is clap's: a wrong command line.
    fn code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::RolledBack | Self::Dropped | Self::PlanErrors | Self::Broken => ExitCode::FAILURE,
            Self::StillRunning => ExitCode::from(3),
            Self::Changed => ExitCode::from(4),
        }
    }
}

#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests;
