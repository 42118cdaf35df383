//! The pages of the events' file: the one that is written, and the full ones before it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::store::{Hash, Head};

/// How far from a page's end its last line is looked for; a line is some kilobytes at most.
const TAIL: u64 = 1 << 20;

/// The page that is written.
#[derive(Debug)]
pub(super) struct Page {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Page {
    /// Opens or makes it. What a crash has left behind the last whole line is cut off: its event is written again.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let mut length = file.metadata()?.len();
        if length > 0 {
            let (_, end) = last_line(path)?;
            if end < length {
                file.set_len(end)?;
                length = end;
            }
        }
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Whether the path leads to another file by now, because a tool has moved this one away.
    pub(super) fn is_moved(&self) -> bool {
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(here)) => (there.dev(), there.ino()) != (here.dev(), here.ino()),
            (Err(_), _) | (_, Err(_)) => true,
        }
    }

    /// Whether so many more bytes would make it larger than it may be. One line always fits.
    pub(super) fn is_full(&self, more: usize, limit: u64) -> bool {
        self.length > 0 && self.length.saturating_add(more as u64) > limit
    }

    /// Appends whole lines, or nothing.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            // A part of them may be there; what cannot even be cut off now is cut off at the next opening.
            drop(self.file.set_len(self.length));
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }
}

/// Makes room for a new page: the newest full one is `.1`, and of those there are so many.
pub(super) fn turn(path: &Path, kept: u32) -> io::Result<()> {
    if kept == 0 {
        return fs::remove_file(path);
    }
    for number in (1..kept).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(path, numbered(path, 1))
}

/// The last event that is in the pages.
pub(super) fn last_event(path: &Path) -> io::Result<Option<Head>> {
    for page in [path.to_owned(), numbered(path, 1)] {
        match last_line(&page) {
            Ok((Some(head), _)) => return Ok(Some(head)),
            Ok((None, _)) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The last whole line's event, and where that line ends.
fn last_line(path: &Path) -> io::Result<(Option<Head>, u64)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let mut end = tail.len();
    while let Some(newline) = tail[..end].iter().rposition(|byte| *byte == b'\n') {
        let begin = tail[..newline].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
        if let Some(head) = head_of(&tail[begin..newline]) {
            return Ok((Some(head), start + newline as u64 + 1));
        }
        end = newline;
    }
    Ok((None, start))
}

fn head_of(line: &[u8]) -> Option<Head> {
    let event: serde_json::Value = serde_json::from_slice(line).ok()?;
    let hash = event["hash"].as_str().map_or(Some(Hash::NONE), Hash::parse)?;
    Some(Head { id: event["id"].as_u64()?, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u64) -> String {
        format!("{{\"id\":{id},\"hash\":null}}\n")
    }

    fn last(path: &Path) -> Option<u64> {
        last_event(path).unwrap().map(|head| head.id)
    }

    #[test]
    fn what_a_crash_left_half_written_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        assert_eq!(last(&path), None);
        for torn in ["{\"id\":3,\"ha", "\0\0\0\0\0\0", "{\"id\":3\0\0\0\n", "nonsense\n\n"] {
            fs::write(&path, format!("{}{}{torn}", line(1), line(2))).unwrap();
            assert_eq!(last(&path), Some(2), "{torn:?}");
            Page::open(&path).unwrap().append(line(3).as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), line(1) + &line(2) + &line(3), "{torn:?}");
        }
    }

    #[test]
    fn full_pages_are_numbered_and_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        for id in 1..=5 {
            let mut page = Page::open(&path).unwrap();
            page.append(line(id).as_bytes()).unwrap();
            assert!(page.is_full(20, 30) && !page.is_full(20, 1_000));
            turn(&path, 2).unwrap();
            assert_eq!(last(&path), Some(id));
        }
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["events.jsonl.1", "events.jsonl.2"]);
        assert_eq!(fs::read_to_string(folder.path().join("events.jsonl.2")).unwrap(), line(4));
    }

    #[test]
    fn a_page_that_a_tool_moved_away_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let page = Page::open(&path).unwrap();
        assert!(!page.is_moved());
        fs::rename(&path, folder.path().join("old")).unwrap();
        assert!(page.is_moved());
        fs::write(&path, "").unwrap();
        assert!(page.is_moved());
    }
}
