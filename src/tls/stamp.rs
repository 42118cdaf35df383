//! Whether files have changed.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// How files looked when they were last read. A renewal may replace a file, write into it, or turn a symbolic link (as
/// Kubernetes does with secrets); each changes one of these numbers.
#[derive(Debug)]
pub(crate) struct Stamp {
    files: Vec<PathBuf>,
    seen: Mutex<Vec<Option<Look>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Look {
    device: u64,
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    bytes: u64,
}

impl Stamp {
    /// To be taken before the files are read: a change in between is then seen as one.
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        let seen = files.iter().map(|path| look(path)).collect();
        Self { files, seen: Mutex::new(seen) }
    }

    /// Whether a file looks different from the last time; this look becomes the last. So a bad file is told of once and not with
    /// every look.
    pub(crate) fn has_changed(&self) -> bool {
        let looks: Vec<_> = self.files.iter().map(|path| look(path)).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *seen != looks;
        *seen = looks;
        changed
    }
}

fn look(path: &Path) -> Option<Look> {
    let found = std::fs::metadata(path).ok()?;
    Some(Look {
        device: found.dev(),
        inode: found.ino(),
        seconds: found.mtime(),
        nanoseconds: found.mtime_nsec(),
        bytes: found.size(),
    })
}
