//! Lists: filtered, in order, page by page.
//!
//! A page's token names the last entry that was shown, so that what is created or deleted between two pages neither repeats an entry nor
//! hides one.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Request;
use crate::admin::aws::{fault::Fault, front::Answer, shape::millis};

/// How many entries a page has where nobody says.
const DEFAULT_PAGE: usize = 10;

/// What can be listed.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// In milliseconds since 1970, as the next.
    pub(super) created: i64,
    pub(super) modified: i64,
    /// Empty for what has none.
    pub(super) status: &'static str,
    pub(super) document: Value,
}

/// What is asked for of a list.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    key: Key,
    order: Order,
    after: Option<Place>,
    size: usize,
    name_contains: &'a str,
    status: &'a str,
    created: Span,
    modified: Span,
}

/// By what a list is sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    Name,
    Created,
    Status,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Ascending,
    Descending,
}

/// From the first moment on, up to the second, which is not within it.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Option<i64>,
    to: Option<i64>,
}

/// Where an entry stands in any order: entries with the same key go by their name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Place {
    number: i64,
    word: String,
    name: String,
}

impl<'a> Listing<'a> {
    /// What a request asks for.
    pub(super) fn of(request: &'a Request) -> Result<Self, Fault> {
        let token = request.members.get("NextToken").and_then(Value::as_str);
        let time = |member: &str| request.members.get(member).and_then(millis);
        let size = request.members.get("MaxResults").and_then(Value::as_u64);
        Ok(Self {
            key: match request.text("SortBy") {
                "Name" => Key::Name,
                "Status" => Key::Status,
                _ => Key::Created,
            },
            order: if request.text("SortOrder") == "Ascending" {
                Order::Ascending
            } else {
                Order::Descending
            },
            after: token.map(read_token).transpose()?,
            size: size.and_then(|size| usize::try_from(size).ok()).unwrap_or(DEFAULT_PAGE),
            name_contains: request.text("NameContains"),
            status: request.text("StatusEquals"),
            created: Span { from: time("CreationTimeAfter"), to: time("CreationTimeBefore") },
            modified: Span { from: time("LastModifiedTimeAfter"), to: time("LastModifiedTimeBefore") },
        })
    }

    /// The page of these entries that is asked for, under this name.
    pub(super) fn page(&self, entries: Vec<Entry>, member: &str) -> Result<Answer, Fault> {
        let entries = entries.into_iter().filter(|entry| self.wants(entry));
        let mut placed: Vec<_> = entries.map(|entry| (self.place(&entry), entry.document)).collect();
        placed.sort_by(|(left, _), (right, _)| self.compare(left, right));
        if let Some(after) = &self.after {
            placed.retain(|(place, _)| self.compare(place, after).is_gt());
        }
        let is_last = placed.len() <= self.size;
        placed.truncate(self.size);
        let token = placed.last().filter(|_| !is_last).map(|(place, _)| write_token(place));
        let shown: Vec<_> = placed.into_iter().map(|(_, document)| document).collect();
        Ok(match token {
            Some(token) => json!({ member: shown, "NextToken": token }).into(),
            None => json!({ member: shown }).into(),
        })
    }

    fn wants(&self, entry: &Entry) -> bool {
        let name = entry.name.to_ascii_lowercase();
        name.contains(&self.name_contains.to_ascii_lowercase())
            && (self.status.is_empty() || self.status == entry.status)
            && self.created.holds(entry.created)
            && self.modified.holds(entry.modified)
    }

    fn place(&self, entry: &Entry) -> Place {
        let (number, word) = match self.key {
            Key::Name => (0, ""),
            Key::Created => (entry.created, ""),
            Key::Status => (0, entry.status),
        };
        Place { number, word: word.to_owned(), name: entry.name.clone() }
    }

    fn compare(&self, left: &Place, right: &Place) -> std::cmp::Ordering {
        match self.order {
            Order::Ascending => left.cmp(right),
            Order::Descending => right.cmp(left),
        }
    }
}

impl Span {
    fn holds(self, moment: i64) -> bool {
        self.from.is_none_or(|from| moment >= from) && self.to.is_none_or(|to| moment < to)
    }
}

fn write_token(place: &Place) -> String {
    let text = serde_json::to_string(place).expect("numbers and texts are JSON");
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn read_token(token: &str) -> Result<Place, Fault> {
    let text = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    let place = text.and_then(|text| serde_json::from_slice(&text).ok());
    place
        .ok_or_else(|| Fault::validation("Invalid NextToken: it is not one that an earlier page ended with."))
}
