//! A document as a tree that remembers lines, made from TOML or from JSON, so that one reader serves both.

use toml::{
    Spanned,
    de::{DeFloat, DeInteger, DeString, DeTable, DeValue},
};

use super::Problems;

/// A value and the line it begins on.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) line: Option<usize>,
}

/// What TOML and JSON can both say.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    /// JSON's `null`: as if the key were absent.
    Null,
    Bool(bool),
    /// Wider than any document's integer, so that a range check sees every value as it was written.
    Integer(i128),
    Float(f64),
    Text(String),
    /// TOML's dates and times, which no key takes.
    Date(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key and its value, in the document's order.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) line: Option<usize>,
    pub(super) node: Node,
}

/// Turns byte offsets into lines.
struct Lines {
    /// The offset of each line's first byte.
    starts: Vec<usize>,
}

impl Node {
    /// Parses TOML; a syntax error is the only problem then, since what follows it cannot be trusted.
    pub(super) fn from_toml(text: &str, source: &str) -> Result<Self, Problems> {
        let lines = Lines::new(text);
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { value: lines.table(table.into_inner()), line: Some(1) }),
            Err(error) => {
                let line = error.span().map(|span| lines.line_of(span.start));
                Err(Problems::whole(source, line, format!("not valid TOML: {}", error.message())))
            }
        }
    }

    /// The same tree without lines.
    pub(super) fn from_json(document: &serde_json::Value) -> Self {
        let value = match document {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => number
                .as_i128()
                .map(Value::Integer)
                .unwrap_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN))),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => Value::List(items.iter().map(Self::from_json).collect()),
            serde_json::Value::Object(members) => {
                let entry = |(name, value): (&String, &serde_json::Value)| Entry {
                    name: name.clone(),
                    line: None,
                    node: Self::from_json(value),
                };
                Value::Table(members.iter().map(entry).collect())
            }
        };
        Self { value, line: None }
    }

    /// The same tree as JSON. What JSON cannot say, an infinite number, reads as null there; a date is its text.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(number) => i64::try_from(*number).map_or(serde_json::Value::Null, Into::into),
            Value::Float(number) => (*number).into(),
            Value::Text(text) | Value::Date(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Table(entries) => {
                entries.iter().map(|entry| (entry.name.clone(), entry.node.to_json())).collect()
            }
        }
    }
}

impl Value {
    /// The entries, if it is a table.
    pub(super) fn as_table(&self) -> Option<&[Entry]> {
        match self {
            Self::Table(entries) => Some(entries),
            Self::Null
            | Self::Bool(_)
            | Self::Integer(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Date(_)
            | Self::List(_) => None,
        }
    }

    /// The value in a message: `the number 5`, `a list`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Integer(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Text(text) => format!("the text {}", quoted(text)),
            Self::Date(text) => format!("the date {text}"),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}

/// A text in a message, kept short: whoever sent the document chose it.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    let dots = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown:?}{dots}")
}

impl Lines {
    fn new(text: &str) -> Self {
        let after_newlines =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    fn node(&self, spanned: Spanned<DeValue<'_>>) -> Node {
        let line = Some(self.line_of(spanned.span().start));
        let value = match spanned.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => integer(&number),
            DeValue::Float(number) => float(&number),
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Datetime(moment) => Value::Date(moment.to_string()),
            DeValue::Array(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => self.table(table),
        };
        Node { value, line }
    }

    /// The parser sorts keys by name; their offsets bring back the document's order.
    fn table(&self, table: DeTable<'_>) -> Value {
        let mut entries: Vec<(Spanned<DeString<'_>>, Spanned<DeValue<'_>>)> = table.into_iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let entry = |(name, value): (Spanned<DeString<'_>>, Spanned<DeValue<'_>>)| Entry {
            line: Some(self.line_of(name.span().start)),
            name: name.into_inner().into_owned(),
            node: self.node(value),
        };
        Value::Table(entries.into_iter().map(entry).collect())
    }
}

fn integer(number: &DeInteger<'_>) -> Value {
    match i128::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) => Value::Integer(number),
        Err(_) => Value::Float(f64::INFINITY),
    }
}

fn float(number: &DeFloat<'_>) -> Value {
    Value::Float(number.as_str().parse().unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(node: &Node) -> &[Entry] {
        node.value.as_table().unwrap()
    }

    #[test]
    fn keys_keep_their_lines_and_the_documents_order() {
        let node =
            Node::from_toml("b = 1\n\n[z]\na = [\n  1,\n  2]\n[[e]]\nx = 1\n[[e]]\nx = 2\n", "f").unwrap();
        let top: Vec<_> = table(&node).iter().map(|entry| (entry.name.as_str(), entry.line)).collect();
        assert_eq!(top, [("b", Some(1)), ("z", Some(3)), ("e", Some(7))]);
        let z = &table(&node)[1].node;
        assert_eq!(z.line, Some(3));
        let Value::List(items) = &table(z)[0].node.value else { panic!() };
        assert_eq!(items.iter().map(|item| item.line).collect::<Vec<_>>(), [Some(5), Some(6)]);
        let Value::List(tables) = &table(&node)[2].node.value else { panic!() };
        assert_eq!(tables.iter().map(|item| item.line).collect::<Vec<_>>(), [Some(7), Some(9)]);
    }

    #[test]
    fn a_syntax_error_is_one_problem_with_its_line() {
        let problems = Node::from_toml("a = 1\nb = = 2\n", "f.toml").unwrap_err();
        assert_eq!(problems.problems.len(), 1);
        assert_eq!(problems.problems[0].line, Some(2), "{problems}");
    }

    #[test]
    fn json_and_toml_of_the_same_document_differ_in_lines_only() {
        fn without_lines(node: Node) -> Node {
            let value = match node.value {
                Value::List(items) => Value::List(items.into_iter().map(without_lines).collect()),
                Value::Table(entries) => Value::Table(
                    entries
                        .into_iter()
                        .map(|Entry { name, line: _, node }| Entry {
                            name,
                            line: None,
                            node: without_lines(node),
                        })
                        .collect(),
                ),
                value @ (Value::Null
                | Value::Bool(_)
                | Value::Integer(_)
                | Value::Float(_)
                | Value::Text(_)
                | Value::Date(_)) => value,
            };
            Node { value, line: None }
        }
        let toml = Node::from_toml("a = [0x10, 1.5, true]\nb = { c = \"x\" }", "f").unwrap();
        let json = Node::from_json(&serde_json::json!({ "a": [16, 1.5, true], "b": { "c": "x" } }));
        assert_eq!(Node::from_json(&toml.to_json()), json);
        assert_eq!(without_lines(toml), json);
    }
}
