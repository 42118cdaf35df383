//! Why a command failed, and how that is said.

use std::{error::Error, io, path::PathBuf};

use super::client::ClientError;
use crate::{
    config,
    replay::{FileError, StageError},
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The admin port did not do it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file has problems.
    #[error(transparent)]
    Problems(#[from] config::Problems),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A copy cannot be kept.
    #[error("cannot write {}", path.display())]
    Copy {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A plan is not JSON.
    #[error("{} is not JSON", path.display())]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// A plan has no external alarm of a name that is to be ignored.
    #[error("{} has no external alarm {name} to ignore", path.display())]
    NoExternalAlarm { path: PathBuf, name: String },
    /// A recording has a line that is none of a recording's.
    #[error("{}: {problem}", path.display())]
    Recording { path: PathBuf, problem: FileError },
    /// A recording does not have what is asked for.
    #[error(transparent)]
    Replay(StageError),
    /// No shift and no endpoint is called so.
    #[error("there is no shift {name}, and no endpoint: {detail}")]
    NoSuchName { name: String, detail: String },
    /// The endpoint is as it was declared.
    #[error("endpoint {0} has had no shift yet: start one with `snapback shift start {0} PLAN`")]
    NoShiftYet(String),
    /// A shift that waited is neither in its queue any more nor has it begun.
    #[error(
        "{id} left the queue of {endpoint} without beginning: `snapback events --endpoint {endpoint}` says why"
    )]
    LeftQueue { id: String, endpoint: String },
    /// A document of the server's is not what this version of the command knows.
    #[error("cannot read a shift in the answer: is the server of the same version as this command?")]
    Document(#[from] serde_json::Error),
    /// The server named a shift in a way that no shift can be named.
    #[error("the admin port named a shift without a proper id: is it of the same version as this command?")]
    NoId,
    /// `init` is told nothing, and nobody is there to be asked.
    #[error("nobody can be asked here: say where the model servers are with --blue HOST:PORT")]
    NothingToWrite,
    /// Nobody is there to agree.
    #[error("nobody can be asked here: add --yes to apply it, or --dry-run to look at it")]
    NotAgreed,
    /// Standard output is closed or full.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// The terminal cannot be set up or drawn to.
    #[error("cannot use the terminal for the live view")]
    Terminal(#[source] io::Error),
    /// The runtime cannot start.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// The server has been away for long.
    #[error("gave up after {seconds}s without an answer")]
    GaveUp {
        seconds: u64,
        #[source]
        source: ClientError,
    },
}

impl CliError {
    /// Whether whoever read the output has had enough: no failure, as in `snapback events | head`.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the server may be of another version than this command.
    pub(super) fn is_of_another_version(&self) -> bool {
        match self {
            Self::Client(error) => error.is_of_another_version(),
            Self::NoId | Self::Document(_) => true,
            Self::Problems(_)
            | Self::File { .. }
            | Self::Copy { .. }
            | Self::Json { .. }
            | Self::NoExternalAlarm { .. }
            | Self::Recording { .. }
            | Self::Replay(_)
            | Self::NoSuchName { .. }
            | Self::NoShiftYet(_)
            | Self::LeftQueue { .. }
            | Self::NotAgreed
            | Self::NothingToWrite
            | Self::Output(_)
            | Self::Terminal(_)
            | Self::Start(_)
            | Self::GaveUp { .. } => false,
        }
    }

    /// The error with its causes, and what to try next. A file's problems stand as they are, `file:line: ...`, where editors find them.
    pub(super) fn report(&self) -> String {
        if let Self::Problems(problems) = self {
            return problems.to_string();
        }
        let mut text = format!("error: {self}");
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        let hint = match self {
            Self::Client(error) | Self::GaveUp { source: error, .. } => error.hint(),
            Self::Problems(_)
            | Self::File { .. }
            | Self::Copy { .. }
            | Self::Json { .. }
            | Self::NoExternalAlarm { .. }
            | Self::Recording { .. }
            | Self::Replay(_)
            | Self::NoSuchName { .. }
            | Self::NoShiftYet(_)
            | Self::LeftQueue { .. }
            | Self::Document(_)
            | Self::NoId
            | Self::NotAgreed
            | Self::NothingToWrite
            | Self::Output(_)
            | Self::Terminal(_)
            | Self::Start(_) => None,
        };
        if let Some(hint) = hint {
            text.push_str(&format!("\n  {hint}"));
        }
        text
    }
}
