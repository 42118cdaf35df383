//! What an instance writes, bounded.
//!
//! A process writes into a file of its own and not into a pipe: a pipe would end with the proxy, and with it the process at its next line.
//! The file is open for appending, so it can be cut to nothing under the process; what was in it is copied first. So a log is
//! at most twice its limit, and what the process wrote between two looks more.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// How much of a log's end is looked at for its last line.
const TAIL_BYTES: u64 = 4 << 10;
/// How much of a line goes into an event.
const LINE_CHARS: usize = 200;

/// Opens a log for a process to write to.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Moves what is in a log that has reached its limit to a second file, in the place of what is there. Blocks.
pub(super) fn bound(path: &Path, limit_bytes: u64) -> io::Result<()> {
    if fs::metadata(path)?.len() < limit_bytes {
        return Ok(());
    }
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    let mut log = File::open(path)?;
    let excess = log.metadata()?.len().saturating_sub(limit_bytes);
    log.seek(SeekFrom::Start(excess))?;
    let copied = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(older);
    let copied = copied.and_then(|mut older| io::copy(&mut log.take(limit_bytes), &mut older));
    // A full disk must not keep the log from being cut: it may well be what fills the disk.
    OpenOptions::new().write(true).open(path)?.set_len(0)?;
    copied.map(drop)
}

/// The last line that was written, if there is any. Blocks.
pub(super) fn last_line(path: &Path) -> Option<String> {
    let mut log = File::open(path).ok()?;
    let length = log.metadata().ok()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    log.take(TAIL_BYTES).read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    let line = tail.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.chars().filter(|character| !character.is_control()).take(LINE_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_at_its_limit_begins_anew_under_its_writer_and_what_was_in_it_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = open(&path).unwrap();
        for round in 0..5 {
            writeln!(writer, "{round}{}", "x".repeat(98)).unwrap();
            bound(&path, 150).unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 100, "the fifth line alone");
        assert_eq!(last_line(&path).unwrap().chars().next(), Some('4'));
        assert_eq!(fs::metadata(folder.path().join("log.1")).unwrap().len(), 150);
    }

    #[test]
    fn the_last_line_is_found_behind_empty_ones_and_nothing_in_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(last_line(&path), None);
        open(&path).unwrap().write_all(b"first\nno module named x\x1b[0m\n\n\n").unwrap();
        assert_eq!(last_line(&path).as_deref(), Some("no module named x[0m"));
    }
}
