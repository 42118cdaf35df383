//! What is wrong with a document, for people.

use std::{cell::RefCell, fmt};

/// How many problems a report keeps. A reader fixes a screenful at a time, and a hostile document must not grow the answer.
const MAX_PROBLEMS: usize = 50;

/// One thing wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The key path, such as `endpoint[0].blue.instances[1]`; empty for the document itself.
    pub key: String,
    /// The line in the file, from 1; `None` for JSON documents.
    pub line: Option<usize>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems {
    /// The file's name as the user gave it, or `request body`.
    pub source: String,
    /// At least one.
    pub problems: Vec<Problem>,
}

/// Where a value stands, or where a missing one should.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) key: String,
    pub(super) line: Option<usize>,
}

/// The problems found so far. Shared by all readers of one document, so that one bad value does not hide the next.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
}

impl Problems {
    /// A single problem with the document as a whole.
    pub(super) fn whole(source: &str, line: Option<usize>, message: String) -> Self {
        Self { source: source.to_owned(), problems: vec![Problem { key: String::new(), line, message }] }
    }
}

impl Place {
    /// The place of a key in the table that stands here.
    pub(super) fn key(&self, name: &str, line: Option<usize>) -> Self {
        let dot = if self.key.is_empty() { "" } else { "." };
        Self { key: format!("{}{dot}{}", self.key, path_part(name)), line }
    }

    /// The place of an item in the list that stands here.
    pub(super) fn item(&self, index: usize, line: Option<usize>) -> Self {
        Self { key: format!("{}[{index}]", self.key), line }
    }
}

impl Report {
    pub(super) fn add(&self, place: &Place, message: impl Into<String>) {
        let problem = Problem { key: place.key.clone(), line: place.line, message: message.into() };
        self.problems.borrow_mut().push(problem);
    }

    /// The checked value, if nothing was wrong; else the problems in the document's order.
    pub(super) fn conclude<T>(self, source: &str, value: Option<T>) -> Result<T, Problems> {
        let mut problems = self.problems.into_inner();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            Some(_) | None => {
                assert!(!problems.is_empty(), "a value is withheld only where a problem was reported");
                problems.sort_by_key(|problem| problem.line);
                let dropped = problems.len().saturating_sub(MAX_PROBLEMS);
                problems.truncate(MAX_PROBLEMS);
                if dropped > 0 {
                    let message = format!("and {dropped} more problems, which are not shown");
                    problems.push(Problem { key: String::new(), line: None, message });
                }
                Err(Problems { source: source.to_owned(), problems })
            }
        }
    }
}

/// One line a problem: `snapback.toml:12: endpoint[0].blu: unknown key; did you mean "blue"?`
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().enumerate() {
            let Problem { key, line, message } = problem;
            let line_end = if place == 0 { "" } else { "\n" };
            write!(f, "{line_end}{}", self.source)?;
            if let Some(line) = line {
                write!(f, ":{line}")?;
            }
            if !key.is_empty() {
                write!(f, ": {key}")?;
            }
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A key as it would be written in TOML, kept short: whoever sent the document chose it.
fn path_part(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.len() <= 40 && name.bytes().all(is_bare) {
        return name.to_owned();
    }
    format!("{:?}", name.chars().take(40).collect::<String>())
}
