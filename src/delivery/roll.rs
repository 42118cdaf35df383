//! The pages of the events' file: the one that is written, and the full ones before it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use crate::{
    pages::{Page, numbered},
    store::{Hash, Head},
};

/// How far from a page's end its last line is looked for; a line is some kilobytes at most.
const TAIL: u64 = 1 << 20;

/// Opens or makes the page that is written. What a crash has left behind the last whole line is cut off: its event is written again.
pub(super) fn open(path: &Path) -> io::Result<Page> {
    let mut page = Page::open(path)?;
    if page.length() > 0 {
        let (_, end) = last_line(path)?;
        if end < page.length() {
            page.cut(end)?;
        }
    }
    Ok(page)
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
    use std::fs;

    use super::*;
    use crate::pages::turn;

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
            open(&path).unwrap().append(line(3).as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), line(1) + &line(2) + &line(3), "{torn:?}");
        }
    }

    #[test]
    fn full_pages_are_numbered_and_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        for id in 1..=5 {
            let mut page = open(&path).unwrap();
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
}
