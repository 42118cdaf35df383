//! Files that are appended to in pages: the one that is written, and so many full ones beside it, `FILE.1` the newest.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The page that is written.
#[derive(Debug)]
pub struct Page {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Page {
    /// Opens or makes it.
    ///
    /// # Errors
    /// When the system does not let it be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Cuts off what is behind so many bytes.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.length = length;
        Ok(())
    }

    /// Whether the path leads to another file by now, because a tool has moved this one away.
    pub fn is_moved(&self) -> bool {
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(here)) => (there.dev(), there.ino()) != (here.dev(), here.ino()),
            (Err(_), _) | (_, Err(_)) => true,
        }
    }

    /// Whether so many more bytes would make it larger than it may be. What comes first always fits.
    pub fn is_full(&self, more: usize, limit: u64) -> bool {
        self.length > 0 && self.length.saturating_add(more as u64) > limit
    }

    /// Appends whole lines, or nothing.
    ///
    /// # Errors
    /// When they cannot be written. A part of them may be there if what was written cannot even be cut off.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            drop(self.file.set_len(self.length));
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }
}

/// Makes room for a new page: the newest full one is `.1`, and of those there are so many.
///
/// # Errors
/// When a file cannot be renamed.
pub fn turn(path: &Path, kept: u32) -> io::Result<()> {
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

/// The full page of this number.
pub fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn full_pages_are_numbered_and_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        for number in 1..=5 {
            let mut page = Page::open(&path).unwrap();
            page.append(format!("{number}\n").as_bytes()).unwrap();
            assert!(page.is_full(2, 3) && !page.is_full(2, 4));
            turn(&path, 2).unwrap();
        }
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["lines.1", "lines.2"]);
        assert_eq!(fs::read_to_string(numbered(&path, 2)).unwrap(), "4\n");
    }
}
