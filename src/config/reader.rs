//! Takes keys from a table and reports what is wrong with them.
//!
//! A key with a problem reads as absent and reading goes on, so that one pass finds everything. What was read is thrown away
//! if there was any problem, so a stand-in for a bad value never takes effect.

use std::ops::RangeInclusive;

use super::{
    document::{Entry, Node, Value, quoted},
    problems::{Place, Report},
    shape::Shape,
};
use crate::name::nearest_name;

/// A table of a document whose keys are all known to its shape; the others were reported when it was opened.
#[derive(Debug)]
pub(super) struct Table<'d> {
    report: &'d Report,
    shape: &'static Shape,
    place: Place,
    entries: &'d [Entry],
    /// Keys that an unknown key was probably meant to be: their absence is no second problem.
    misspelt: Vec<&'static str>,
}

/// A value and where it stands, for checks that look at several values.
#[derive(Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<'d> Table<'d> {
    /// Opens the document itself.
    pub(super) fn root(report: &'d Report, root: &'d Node, shape: &'static Shape) -> Option<Self> {
        Self::open(report, root, shape, Place { key: String::new(), line: root.line })
    }

    fn open(report: &'d Report, node: &'d Node, shape: &'static Shape, place: Place) -> Option<Self> {
        let Some(entries) = node.value.as_table() else {
            let found = node.value.describe();
            report.add(
                &place,
                format!("expected a table with the keys {}, not {found}", shape.keys.join(", ")),
            );
            return None;
        };
        let mut table = Self { report, shape, place, entries, misspelt: Vec::new() };
        for entry in entries {
            if let Some(message) = table.refusal(&entry.name) {
                report.add(&table.place.key(&entry.name, entry.line), message);
            }
        }
        Some(table)
    }

    /// What is wrong with a key that the shape does not have.
    fn refusal(&mut self, name: &str) -> Option<String> {
        if self.shape.keys.contains(&name) {
            return None;
        }
        if let Some((_, why)) = self.shape.refused.iter().find(|(key, _)| *key == name) {
            return Some((*why).to_owned());
        }
        if let Some(key) = nearest(name, self.shape.keys) {
            self.misspelt.push(key);
            return Some(format!("unknown key; did you mean {key:?}?"));
        }
        Some(match (self.home_of(name), self.place.line) {
            (Some(""), Some(_)) => {
                format!("unknown key here; {name:?} belongs at the top of the file, above the first [table]")
            }
            (Some(""), None) => format!("unknown key here; {name:?} belongs at the top of the document"),
            (Some(table), _) => format!("unknown key here; {name:?} is a key of {table}"),
            (None, _) => format!("unknown key; the keys here are {}", self.shape.keys.join(", ")),
        })
    }

    /// The table that a key was probably written for: in TOML a key lands in the last table above it, which is easily one too deep;
    /// at the top of the document, keys of a table are easily written without it.
    fn home_of(&self, name: &str) -> Option<&'static str> {
        let own = self.shape.path;
        let above =
            |path: &str| path.is_empty() || own.starts_with(path) && own[path.len()..].starts_with('.');
        let mut homes = self.shape.document.iter().filter(|shape| {
            shape.path != own && (own.is_empty() || above(shape.path)) && shape.keys.contains(&name)
        });
        let home = homes.next()?.path;
        homes.all(|shape| shape.path == home).then_some(home)
    }

    fn entry(&self, key: &'static str) -> Option<&'d Entry> {
        debug_assert!(
            self.shape.keys.contains(&key),
            "{key} is read but not in the shape {}",
            self.shape.path
        );
        self.entries.iter().find(|entry| entry.name == key && entry.node.value != Value::Null)
    }

    /// Where a key stands; the table's own line when it is absent.
    pub(super) fn place_of(&self, key: &'static str) -> Place {
        self.place.key(key, self.entry(key).map_or(self.place.line, |entry| entry.line))
    }

    /// Reports a problem with a key.
    pub(super) fn problem(&self, key: &'static str, message: impl Into<String>) {
        self.report.add(&self.place_of(key), message);
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.entry(key).is_some() || self.misspelt.contains(&key)
    }

    /// A key that may be absent.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        read(&entry.node.value).map_err(|message| self.problem(key, message)).ok()
    }

    /// A key that must be there; `example` says what to write when it is not.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.demand(key, example);
        self.optional(key, read)
    }

    /// Reports a key that must be there and is not.
    pub(super) fn demand(&self, key: &'static str, example: &str) {
        if !self.has(key) {
            self.problem(key, format!("is missing; write {key} = {example}"));
        }
    }

    /// A table under a key that may be absent.
    pub(super) fn table(&self, key: &'static str, shape: &'static Shape) -> Option<Self> {
        let entry = self.entry(key)?;
        Self::open(self.report, &entry.node, shape, self.place_of(key))
    }

    /// A table whose keys all have defaults: empty when it is absent, and when something else stands in its place.
    pub(super) fn section(&self, key: &'static str, shape: &'static Shape) -> Self {
        let place = self.place.key(key, None);
        let empty = Self { report: self.report, shape, place, entries: &[], misspelt: Vec::new() };
        self.table(key, shape).unwrap_or(empty)
    }

    /// A table under a key that must be there.
    pub(super) fn required_table(
        &self,
        key: &'static str,
        example: &str,
        shape: &'static Shape,
    ) -> Option<Self> {
        self.demand(key, example);
        self.table(key, shape)
    }

    /// The tables of a list such as `[[endpoint]]`; none when the key is absent.
    pub(super) fn tables(&self, key: &'static str, shape: &'static Shape) -> Vec<Self> {
        let items = self.items(key, "[[table]] sections or a list of tables").unwrap_or_default();
        items.into_iter().filter_map(|(node, place)| Self::open(self.report, node, shape, place)).collect()
    }

    /// The items of a list, each read by itself; `None` when the key is absent, or holds no list or a bad item.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Vec<Placed<T>>> {
        let read = |(node, place): (&Node, Place)| match read(&node.value) {
            Ok(value) => Some(Placed { value, place }),
            Err(message) => {
                self.report.add(&place, message);
                None
            }
        };
        let items = self.items(key, &format!("a list such as {example}"))?;
        // Every item is read, and so every problem reported, before the first bad one spoils the list.
        items.into_iter().map(read).collect::<Vec<_>>().into_iter().collect()
    }

    /// The items of a list that are each a value or a table of a shape; else as [`Table::list`].
    pub(super) fn values_or_tables<T>(
        &self,
        key: &'static str,
        example: &str,
        shape: &'static Shape,
        read_value: impl Fn(&Value) -> Result<T, String>,
        read_table: impl Fn(&Self) -> Option<T>,
    ) -> Option<Vec<Placed<T>>> {
        let read = |(node, place): (&'d Node, Place)| {
            let value = if node.value.as_table().is_some() {
                Self::open(self.report, node, shape, place.clone()).and_then(|table| read_table(&table))
            } else {
                read_value(&node.value).map_err(|message| self.report.add(&place, message)).ok()
            };
            value.map(|value| Placed { value, place })
        };
        let items = self.items(key, &format!("a list such as {example}"))?;
        // As in `list`: every problem is reported before the first spoils the list.
        items.into_iter().map(read).collect::<Vec<_>>().into_iter().collect()
    }

    /// A table of texts whose keys are the operator's own; `None` when the key is absent or holds anything else.
    pub(super) fn texts(
        &self,
        key: &'static str,
        example: &str,
        check_name: impl Fn(&str) -> Result<(), String>,
    ) -> Option<Vec<(String, String)>> {
        let entry = self.entry(key)?;
        let Some(entries) = entry.node.value.as_table() else {
            let found = entry.node.value.describe();
            self.problem(key, format!("expected a table such as {example}, not {found}"));
            return None;
        };
        let place = self.place_of(key);
        let read = |entry: &Entry| {
            let checked = check_name(&entry.name).and_then(|()| text(&entry.node.value).map(str::to_owned));
            let report = |message| self.report.add(&place.key(&entry.name, entry.line), message);
            checked.map_err(report).ok().map(|value| (entry.name.clone(), value))
        };
        // As in `list`: every problem is reported before the first spoils the table.
        entries.iter().map(read).collect::<Vec<_>>().into_iter().collect()
    }

    fn items(&self, key: &'static str, wanted: &str) -> Option<Vec<(&'d Node, Place)>> {
        let entry = self.entry(key)?;
        let list = self.place_of(key);
        let Value::List(items) = &entry.node.value else {
            self.problem(key, format!("expected {wanted}, not {}", entry.node.value.describe()));
            return None;
        };
        let placed = |(index, node): (usize, &'d Node)| (node, list.item(index, node.line));
        Some(items.iter().enumerate().map(placed).collect())
    }

    pub(super) fn report(&self) -> &'d Report {
        self.report
    }
}

/// The known key that a misspelt one is nearest to.
fn nearest(name: &str, keys: &'static [&'static str]) -> Option<&'static str> {
    nearest_name(&name.to_ascii_lowercase().replace('-', "_"), keys.iter().copied())
}

/// Any text.
pub(super) fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Null
        | Value::Bool(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Date(_)
        | Value::List(_)
        | Value::Table(_) => Err(format!("expected a text in quotes, not {}", value.describe())),
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Null
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Date(_)
        | Value::List(_)
        | Value::Table(_) => Err(format!("expected true or false, not {}", value.describe())),
    }
}

/// A text that a domain type's own parser takes; its error says what would be right.
pub(super) fn parsed<T, E: std::fmt::Display>(
    parse: impl Fn(&str) -> Result<T, E>,
) -> impl Fn(&Value) -> Result<T, String> {
    move |value| parse(text(value)?).map_err(|error| error.to_string())
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let choice = || words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        let given =
            text(value).map_err(|_| format!("expected one of {}, not {}", choice(), value.describe()))?;
        let found = words.iter().find(|(word, _)| *word == given);
        found
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| format!("expected one of {}, not {}", choice(), quoted(given)))
    }
}

/// A whole number in a range.
pub(super) fn whole<T: PartialOrd + TryFrom<i128> + std::fmt::Display>(
    range: RangeInclusive<T>,
) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let (least, most) = (range.start(), range.end());
        let error = || format!("expected a whole number from {least} to {most}, not {}", value.describe());
        let Value::Integer(number) = value else { return Err(error()) };
        T::try_from(*number).ok().filter(|number| range.contains(number)).ok_or_else(error)
    }
}
