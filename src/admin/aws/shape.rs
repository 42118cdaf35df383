//! Requests held against the constraints of their service model, in Amazon's words.
//!
//! Clients check little: botocore looks for missing members, types and lower bounds, and lets every upper bound, enumeration and pattern through.
//! So a service checks everything, and says everything that it found in one message. The wording is what AWS's servers send and what moto
//! repeats, since people match on it:
//! `1 validation error detected: Value '99999' at 'waitIntervalInSeconds' failed to satisfy constraint: Member must have value less than or
//! equal to 3600`.

use serde_json::{Map, Value};

use super::{
    fault::{Fault, Kind},
    patterns::Pattern,
};

/// A value repeated in a message is cut after so many characters.
const SHOWN: usize = 200;

/// So many violations make their point; the count says how many there are.
const VIOLATIONS_SHOWN: usize = 20;

/// What a value may be.
#[derive(Debug)]
pub(in crate::admin) enum Shape {
    /// A text of so many characters that fits a pattern.
    Text { least: usize, most: usize, pattern: Option<&'static Pattern> },
    /// One of these.
    Word(&'static [&'static str]),
    /// A whole number within bounds.
    Whole { least: i64, most: i64 },
    /// A number of this or more.
    Number { least: f64 },
    /// Yes or no.
    Flag,
    /// A moment: seconds since 1970, or a date and time as ISO 8601 has them.
    Time,
    /// So many values of one shape.
    List { least: usize, most: usize, item: &'static Shape },
    /// At most so many texts by name.
    Map { most: usize, key: &'static Shape, value: &'static Shape },
    /// Members by name; those that are not known are passed over, as AWS does.
    Structure(&'static [Member]),
    /// Taken as it is: it is kept for the client and means nothing here.
    Anything,
}

/// A member of a structure.
#[derive(Debug)]
pub(in crate::admin) struct Member {
    pub(in crate::admin) name: &'static str,
    pub(in crate::admin) presence: Presence,
    pub(in crate::admin) shape: &'static Shape,
}

/// Whether a member must be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::admin) enum Presence {
    Required,
    Optional,
}

impl Member {
    pub(in crate::admin) const fn required(name: &'static str, shape: &'static Shape) -> Self {
        Self { name, presence: Presence::Required, shape }
    }

    pub(in crate::admin) const fn optional(name: &'static str, shape: &'static Shape) -> Self {
        Self { name, presence: Presence::Optional, shape }
    }
}

/// The request's members, if they fit the shape. A member that is null is as good as absent.
pub(in crate::admin) fn check(document: Value, members: &[Member]) -> Result<Map<String, Value>, Fault> {
    let Value::Object(mut document) = document else {
        return Err(mismatch(&document, "Structure"));
    };
    drop_nulls(&mut document);
    let mut violations = Vec::new();
    check_members(&document, members, &mut Path::default(), &mut violations)?;
    if violations.is_empty() { Ok(document) } else { Err(Fault::validation(message(&violations))) }
}

/// Where a value stands: members begin in lower case, places in a list are counted from 1.
#[derive(Default)]
struct Path(String);

impl Path {
    /// Goes down for the length of a call.
    fn within<T>(&mut self, name: &str, call: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        if length > 0 {
            self.0.push('.');
        }
        self.0.push_str(name);
        let result = call(self);
        self.0.truncate(length);
        result
    }
}

fn drop_nulls(document: &mut Map<String, Value>) {
    document.retain(|_, value| !value.is_null());
    for value in document.values_mut() {
        drop_nulls_within(value);
    }
}

/// JSON is read no deeper than 128 levels, so this ends.
fn drop_nulls_within(value: &mut Value) {
    match value {
        Value::Object(members) => drop_nulls(members),
        Value::Array(items) => items.iter_mut().for_each(drop_nulls_within),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn check_members(
    document: &Map<String, Value>,
    members: &[Member],
    path: &mut Path,
    violations: &mut Vec<String>,
) -> Result<(), Fault> {
    for member in members {
        path.within(&lowered(member.name), |path| match document.get(member.name) {
            Some(value) => check_value(value, member.shape, path, violations),
            None if member.presence == Presence::Required => {
                violations.push(format!(
                    "Value null at '{}' failed to satisfy constraint: Member must not be null",
                    path.0
                ));
                Ok(())
            }
            None => Ok(()),
        })?;
    }
    Ok(())
}

fn check_value(
    value: &Value,
    shape: &Shape,
    path: &mut Path,
    violations: &mut Vec<String>,
) -> Result<(), Fault> {
    let mut violate = |constraint: String| {
        let shown = shown(value);
        violations
            .push(format!("Value '{shown}' at '{}' failed to satisfy constraint: {constraint}", path.0));
    };
    match shape {
        Shape::Text { least, most, pattern } => {
            let text = value.as_str().ok_or_else(|| mismatch(value, "String"))?;
            check_length(text.chars().count(), (*least, *most), &mut violate);
            if let Some(pattern) = pattern.filter(|pattern| !(pattern.fits)(text)) {
                violate(format!("Member must satisfy regular expression pattern: {}", pattern.text));
            }
        }
        Shape::Word(words) => {
            let text = value.as_str().ok_or_else(|| mismatch(value, "String"))?;
            if !words.contains(&text) {
                violate(format!("Member must satisfy enum value set: [{}]", words.join(", ")));
            }
        }
        Shape::Whole { least, most } => {
            let number = whole(value).ok_or_else(|| mismatch(value, "Integer"))?;
            check_bounds(number, (*least, *most), &mut violate);
        }
        Shape::Number { least } => {
            let number = value.as_f64().ok_or_else(|| mismatch(value, "Float"))?;
            if number < *least {
                violate(format!("Member must have value greater than or equal to {least}"));
            }
        }
        Shape::Flag => value.as_bool().map(|_| ()).ok_or_else(|| mismatch(value, "Boolean"))?,
        Shape::Time => millis(value).map(|_| ()).ok_or_else(|| mismatch(value, "Timestamp"))?,
        Shape::List { least, most, item } => {
            let items = value.as_array().ok_or_else(|| mismatch(value, "List"))?;
            check_length(items.len(), (*least, *most), &mut violate);
            for (index, value) in items.iter().take(*most).enumerate() {
                path.within(&format!("{}.member", index + 1), |path| {
                    check_value(value, item, path, violations)
                })?;
            }
        }
        Shape::Map { most, key, value: of } => {
            let members = value.as_object().ok_or_else(|| mismatch(value, "Map"))?;
            check_length(members.len(), (0, *most), &mut violate);
            for (name, value) in members.iter().take(*most) {
                let name_value = Value::String(name.clone());
                path.within("key", |path| check_value(&name_value, key, path, violations))?;
                path.within(&format!("{}.member", cut(name)), |path| {
                    check_value(value, of, path, violations)
                })?;
            }
        }
        Shape::Structure(members) => {
            let document = value.as_object().ok_or_else(|| mismatch(value, "Structure"))?;
            check_members(document, members, path, violations)?;
        }
        Shape::Anything => {}
    }
    Ok(())
}

fn check_length(length: usize, (least, most): (usize, usize), violate: &mut impl FnMut(String)) {
    if length < least {
        violate(format!("Member must have length greater than or equal to {least}"));
    }
    if length > most {
        violate(format!("Member must have length less than or equal to {most}"));
    }
}

fn check_bounds(number: i64, (least, most): (i64, i64), violate: &mut impl FnMut(String)) {
    if number < least {
        violate(format!("Member must have value greater than or equal to {least}"));
    }
    if number > most {
        violate(format!("Member must have value less than or equal to {most}"));
    }
}

/// A whole number, also written as `3.0`; one beyond 64 bits is at the end of them, where every bound sees it.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    if let Some(number) = number.as_i64() {
        return Some(number);
    }
    if number.as_u64().is_some() {
        return Some(i64::MAX);
    }
    let number = number.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has no fraction, and what is out of range ends at the range's end"
    )]
    (number.fract() == 0.0).then_some(number as i64)
}

/// A moment in milliseconds since 1970.
pub(in crate::admin) fn millis(value: &Value) -> Option<i64> {
    match value {
        #[expect(clippy::cast_possible_truncation, reason = "what is out of range ends at the range's end")]
        Value::Number(number) => number.as_f64().map(|seconds| (seconds * 1_000.0) as i64),
        Value::String(text) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn mismatch(value: &Value, wanted: &str) -> Fault {
    let found = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    };
    Fault::new(Kind::Serialization, format!("{found} can not be converted to a {wanted}"))
}

fn message(violations: &[String]) -> String {
    let count = violations.len();
    let plural = if count == 1 { "" } else { "s" };
    let shown: Vec<_> = violations.iter().take(VIOLATIONS_SHOWN).map(String::as_str).collect();
    format!("{count} validation error{plural} detected: {}", shown.join("; "))
}

/// `ProductionVariants` is `productionVariants`.
fn lowered(name: &str) -> String {
    let mut signs = name.chars();
    signs.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + signs.as_str())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => cut(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            cut(&value.to_string())
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}
