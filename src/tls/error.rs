//! What can be wrong with the files of a TLS configuration.

use std::path::{Path, PathBuf};

/// Why a file cannot be used. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what would help.
    pub reason: String,
}

impl TlsError {
    pub(super) fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), reason: reason.into() }
    }
}
