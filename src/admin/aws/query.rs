//! The Query protocol: a form with the operation in `Action`, and XML (<https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>).
//!
//! `Dimensions.member.1.Name=x` is read into the document that a JSON client would have sent, by the operation's shape, so that everything
//! behind it knows one form. Answers are written from the same documents as JSON answers are.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value};

use super::{
    fault::{Fault, Kind},
    shape::{Member, Shape},
};

/// How many fields a form may have: a thousand metrics with some dimensions each.
const MOST_FIELDS: usize = 50_000;

/// How deep a name may go; a metric's dimension in a query of an alarm is at eight.
const DEEPEST: usize = 20;

const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";

/// A form as a tree of names.
#[derive(Debug, Default)]
pub(super) struct Form {
    value: Option<String>,
    inner: BTreeMap<String, Form>,
}

impl Form {
    /// Takes a form apart.
    pub(super) fn read(body: &[u8]) -> Result<Self, Fault> {
        let mut form = Self::default();
        for (count, (name, value)) in form_urlencoded::parse(body).enumerate() {
            if count >= MOST_FIELDS || name.split('.').count() > DEEPEST {
                return Err(malformed("the form has too many fields, or too deep ones"));
            }
            let mut place = &mut form;
            for part in name.split('.') {
                place = place.inner.entry(part.to_owned()).or_default();
            }
            place.value = Some(value.into_owned());
        }
        Ok(form)
    }

    /// The value of a field at the top.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.inner.get(name)?.value.as_deref()
    }

    /// The document that it means.
    pub(super) fn document(&self, members: &[Member]) -> Result<Value, Fault> {
        let mut document = Map::new();
        for member in members {
            if let Some(form) = self.inner.get(member.name) {
                document.insert(member.name.to_owned(), form.value_of(member.shape, member.name)?);
            }
        }
        Ok(Value::Object(document))
    }

    fn value_of(&self, shape: &Shape, name: &str) -> Result<Value, Fault> {
        let text = || self.value.clone().unwrap_or_default();
        let wrong =
            |wanted: &str| malformed(format!("{:?} can not be converted to a {wanted} at {name}", text()));
        match shape {
            Shape::Text { .. } | Shape::Word(_) => Ok(Value::String(text())),
            Shape::Whole { .. } => text().parse::<i64>().map(Value::from).map_err(|_| wrong("Integer")),
            Shape::Number { .. } => text().parse::<f64>().map(Value::from).map_err(|_| wrong("Double")),
            Shape::Flag => text().parse::<bool>().map(Value::from).map_err(|_| wrong("Boolean")),
            Shape::Time => Ok(text().parse::<f64>().map_or_else(|_| Value::String(text()), Value::from)),
            Shape::List { item, .. } => {
                let items = self.inner.get("member").map(|members| &members.inner);
                let mut placed: Vec<(u32, &Self)> = Vec::new();
                for (place, form) in items.into_iter().flatten() {
                    placed.push((place.parse().map_err(|_| wrong("List"))?, form));
                }
                placed.sort_by_key(|(place, _)| *place);
                let values = placed.into_iter().map(|(_, form)| form.value_of(item, name));
                Ok(Value::Array(values.collect::<Result<_, _>>()?))
            }
            Shape::Map { value, .. } => {
                let mut map = Map::new();
                for entry in self.inner.get("entry").iter().flat_map(|entries| entries.inner.values()) {
                    let key = entry.field("key").unwrap_or_default().to_owned();
                    if let Some(form) = entry.inner.get("value") {
                        map.insert(key, form.value_of(value, name)?);
                    }
                }
                Ok(Value::Object(map))
            }
            Shape::Structure(members) => self.document(members),
            Shape::Anything => Ok(Value::Null),
        }
    }
}

/// An answer as XML.
pub(super) fn answer(operation: &str, document: Option<&Value>, id: &str) -> String {
    let mut text = format!("<{operation}Response xmlns=\"{NAMESPACE}\">");
    if let Some(document) = document {
        text.push_str(&format!("<{operation}Result>"));
        write_inner(&mut text, "", document);
        text.push_str(&format!("</{operation}Result>"));
    }
    let id = escaped(id);
    text.push_str(&format!(
        "<ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{operation}Response>"
    ));
    text
}

/// An error as XML.
pub(super) fn fault((side, code): (&str, &str), message: &str, id: &str) -> String {
    let (message, id) = (escaped(message), escaped(id));
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{side}</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>{id}</RequestId></ErrorResponse>"
    )
}

/// Names are members' of the service model: nothing that a client sends becomes one, but as the key of an entry.
fn write_inner(text: &mut String, name: &str, value: &Value) {
    match value {
        Value::Object(members) if name == "ExtendedStatistics" => {
            for (key, value) in members {
                write!(text, "<entry><key>{}</key>", escaped(key)).expect("a string takes everything");
                write_element(text, "value", value);
                text.push_str("</entry>");
            }
        }
        Value::Object(members) => members.iter().for_each(|(name, value)| write_element(text, name, value)),
        Value::Array(items) => items.iter().for_each(|item| {
            text.push_str("<member>");
            write_inner(text, name, item);
            text.push_str("</member>");
        }),
        Value::Number(number) if is_time(name) => text.push_str(&moment(number.as_f64().unwrap_or_default())),
        Value::String(string) => text.push_str(&escaped(string)),
        Value::Number(_) | Value::Bool(_) => text.push_str(&value.to_string()),
        Value::Null => {}
    }
}

fn write_element(text: &mut String, name: &str, value: &Value) {
    text.push_str(&format!("<{name}>"));
    write_inner(text, name, value);
    text.push_str(&format!("</{name}>"));
}

/// All times of CloudWatch's answers are called so.
pub(super) fn is_time(name: &str) -> bool {
    name.ends_with("Timestamp") || name.ends_with("Timestamps")
}

fn moment(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "moments of this program are milliseconds since 1970"
    )]
    let millis = (seconds * 1_000.0).round() as i64;
    let moment = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    moment.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Signs that XML cannot have at all are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            '\t' | '\n' => escaped.push(sign),
            sign if u32::from(sign) < 0x20 || matches!(sign, '\u{fffe}' | '\u{ffff}') => {}
            sign => escaped.push(sign),
        }
    }
    escaped
}

fn malformed(message: impl Into<String>) -> Fault {
    Fault::new(Kind::Serialization, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static TEXT: Shape = Shape::Text { least: 0, most: 100, pattern: None };
    static PAIR: Shape =
        Shape::Structure(&[Member::required("Name", &TEXT), Member::optional("Value", &TEXT)]);
    static PAIRS: Shape = Shape::List { least: 0, most: 10, item: &PAIR };
    static MEMBERS: &[Member] = &[
        Member::optional("Dimensions", &PAIRS),
        Member::optional("Period", &Shape::Whole { least: 1, most: 100 }),
        Member::optional("Threshold", &Shape::Number { least: f64::MIN }),
        Member::optional("ActionsEnabled", &Shape::Flag),
        Member::optional("StartTime", &Shape::Time),
    ];

    fn document(form: &str) -> Result<Value, Fault> {
        Form::read(form.as_bytes())?.document(MEMBERS)
    }

    #[test]
    fn a_form_is_the_document_that_it_means() {
        let form = "Action=Put&Dimensions.member.2.Name=b&Dimensions.member.10.Name=j&Dimensions.member.1.Name=a+%26&Dimensions.member.1.Value=x\
                    &Period=60&Threshold=1.5&ActionsEnabled=false&StartTime=2026-01-01T00%3A00%3A00Z&Other=1";
        let expected = json!({
            "Dimensions": [{"Name": "a &", "Value": "x"}, {"Name": "b"}, {"Name": "j"}],
            "Period": 60, "Threshold": 1.5, "ActionsEnabled": false, "StartTime": "2026-01-01T00:00:00Z",
        });
        assert_eq!(document(form), Ok(expected));
        assert_eq!(document("Dimensions="), Ok(json!({"Dimensions": []})));
        assert_eq!(Form::read(b"Action=Put").unwrap().field("Action"), Some("Put"));
        for bad in
            ["Period=x", "Threshold=", "ActionsEnabled=yes", "Dimensions.member.x.Name=a", &"a.".repeat(30)]
        {
            assert_eq!(document(bad).map_err(|fault| fault.kind), Err(Kind::Serialization), "{bad}");
        }
    }

    #[test]
    fn answers_and_errors_are_xml_whatever_they_say() {
        let document = json!({"Points": [{"Timestamp": 1_800_000_000.5, "Sum": 2.0, "ExtendedStatistics": {"p99": 1.0}}], "Label": "<a&b\u{1}>"});
        assert_eq!(
            answer("Get", Some(&document), "id"),
            "<GetResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\"><GetResult><Points><member>\
             <Timestamp>2027-01-15T08:00:00.500Z</Timestamp><Sum>2.0</Sum><ExtendedStatistics><entry><key>p99</key><value>1.0</value>\
             </entry></ExtendedStatistics></member></Points><Label>&lt;a&amp;b&gt;</Label></GetResult><ResponseMetadata><RequestId>id\
             </RequestId></ResponseMetadata></GetResponse>"
        );
        assert!(fault(("Sender", "ValidationError"), "a < b", "id").contains("<Message>a &lt; b</Message>"));
    }
}
