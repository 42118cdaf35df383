//! CBOR (RFC 8949) as Smithy's protocol has it (<https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>): the same documents as
//! in JSON, but that moments are tagged, so that everything behind it knows one form.

use serde_json::{Map, Number, Value};

use super::{
    fault::{Fault, Kind},
    query::is_time,
};

/// How deep a document may go; the deepest that an operation here takes is at ten.
const DEEPEST: usize = 40;

/// Major types.
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

/// What ends what has no length.
const BREAK: u8 = 0xff;

/// The tag of moments, in seconds since 1970.
const MOMENT: u64 = 1;

/// The document that some bytes are; none are an empty one.
pub(super) fn read(bytes: &[u8]) -> Result<Value, Fault> {
    if bytes.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let mut reader = Reader { rest: bytes };
    let document = reader.value(DEEPEST)?;
    if reader.rest.is_empty() { Ok(document) } else { Err(malformed("there is more behind the document")) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

/// The head of an item.
struct Head {
    major: u8,
    /// The low five bits: whether, and in how many bytes, an argument follows.
    info: u8,
    /// A number, or a length; `None` where the end is marked instead.
    argument: Option<u64>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| malformed("it ends before its end"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, Fault> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn head(&mut self) -> Result<Head, Fault> {
        let first = self.number(1)?;
        let first = u8::try_from(first).unwrap_or_default();
        let (major, info) = (first >> 5, first & 0x1f);
        let argument = match info {
            0..=23 => Some(u64::from(info)),
            24 => Some(self.number(1)?),
            25 => Some(self.number(2)?),
            26 => Some(self.number(4)?),
            27 => Some(self.number(8)?),
            31 if matches!(major, TEXT | ARRAY | MAP) => None,
            _ => return Err(malformed("it has an item that CBOR does not know")),
        };
        Ok(Head { major, info, argument })
    }

    /// Whether the mark that ends what has no length is next, which then is taken.
    fn ends(&mut self) -> bool {
        let ends = self.rest.first() == Some(&BREAK);
        if ends {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        ends
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        let Some(depth) = depth.checked_sub(1) else { return Err(malformed("it goes too deep")) };
        let Head { major, info, argument } = self.head()?;
        match (major, argument) {
            (UNSIGNED, Some(number)) => Ok(Value::from(number)),
            (NEGATIVE, Some(number)) => Ok(match i64::try_from(number) {
                Ok(number) => Value::from(-1 - number),
                Err(_) => float(-1.0 - number as f64),
            }),
            (TEXT, length) => self.text(length).map(Value::String),
            (ARRAY, length) => self.array(length, depth),
            (MAP, length) => self.map(length, depth),
            (TAG, Some(MOMENT)) => {
                let moment = self.value(depth)?;
                if moment.is_number() {
                    Ok(moment)
                } else {
                    Err(malformed("it has a moment that is no number"))
                }
            }
            (SIMPLE, Some(bits)) => simple(info, bits),
            (_, _) => Err(malformed("it has an item that no member is")),
        }
    }

    fn text(&mut self, length: Option<u64>) -> Result<String, Fault> {
        let Some(length) = length else {
            let mut text = String::new();
            while !self.ends() {
                let Head { major, argument, .. } = self.head()?;
                if major != TEXT || argument.is_none() {
                    return Err(malformed("it has a text with something else inside"));
                }
                text.push_str(&self.text(argument)?);
            }
            return Ok(text);
        };
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| malformed("it has a text that is not UTF-8"))
    }

    /// No room is made beforehand: a length is only what somebody says.
    fn array(&mut self, length: Option<u64>, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        let mut left = length;
        while !self.is_over(&mut left) {
            items.push(self.value(depth)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, length: Option<u64>, depth: usize) -> Result<Value, Fault> {
        let mut members = Map::new();
        let mut left = length;
        while !self.is_over(&mut left) {
            let Head { major, argument, .. } = self.head()?;
            if major != TEXT {
                return Err(malformed("it has a member without a name"));
            }
            let name = self.text(argument)?;
            members.insert(name, self.value(depth)?);
        }
        Ok(Value::Object(members))
    }

    fn is_over(&mut self, left: &mut Option<u64>) -> bool {
        match left {
            None => self.ends(),
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }
}

fn simple(info: u8, bits: u64) -> Result<Value, Fault> {
    match info {
        20 | 21 => Ok(Value::Bool(info == 21)),
        22 | 23 => Ok(Value::Null),
        25 => Ok(float(half(bits))),
        26 => Ok(float(f64::from(f32::from_bits(u32::try_from(bits).unwrap_or_default())))),
        27 => Ok(float(f64::from_bits(bits))),
        _ => Err(malformed("it has a word that CBOR does not know")),
    }
}

/// A number of sixteen bits (RFC 8949 appendix D).
fn half(bits: u64) -> f64 {
    let (exponent, mantissa) = ((bits >> 10) & 0x1f, (bits & 0x3ff) as f64);
    let magnitude = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (mantissa + 1_024.0) * 2_f64.powi(i32::try_from(exponent).unwrap_or_default() - 25),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// What is no number in JSON is nothing here either, which every member's constraints refuse.
fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// A document's bytes.
pub(super) fn write(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put("", document, &mut out);
    out
}

fn put(name: &str, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(SIMPLE << 5 | 22),
        Value::Bool(flag) => out.push(SIMPLE << 5 | if *flag { 21 } else { 20 }),
        Value::Number(number) => put_number(number, is_time(name), out),
        Value::String(text) => put_text(text, out),
        Value::Array(items) => {
            put_head(ARRAY, items.len() as u64, out);
            items.iter().for_each(|item| put(name, item, out));
        }
        Value::Object(members) => {
            put_head(MAP, members.len() as u64, out);
            for (name, value) in members {
                put_text(name, out);
                put(name, value, out);
            }
        }
    }
}

fn put_number(number: &Number, is_moment: bool, out: &mut Vec<u8>) {
    if is_moment {
        put_head(TAG, MOMENT, out);
    }
    match (number.as_u64(), number.as_i64()) {
        (Some(number), _) => put_head(UNSIGNED, number, out),
        (None, Some(number)) => put_head(NEGATIVE, number.unsigned_abs() - 1, out),
        (None, None) => {
            out.push(SIMPLE << 5 | 27);
            out.extend_from_slice(&number.as_f64().unwrap_or_default().to_be_bytes());
        }
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_head(TEXT, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn put_head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let bytes = argument.to_be_bytes();
    let [.., e, f, g, h] = bytes;
    let major = major << 5;
    match argument {
        0..=23 => out.push(major | h),
        24..=0xff => out.extend_from_slice(&[major | 24, h]),
        0x100..=0xffff => out.extend_from_slice(&[major | 25, g, h]),
        0x1_0000..=0xffff_ffff => out.extend_from_slice(&[major | 26, e, f, g, h]),
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

fn malformed(what: &str) -> Fault {
    Fault::new(Kind::Serialization, format!("the body is not CBOR: {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        pairs.collect()
    }

    #[test]
    fn the_examples_of_the_standard_are_what_it_says() {
        // RFC 8949, appendix A.
        for (hex, value) in [
            ("00", json!(0)),
            ("1903e8", json!(1_000)),
            ("1bffffffffffffffff", json!(u64::MAX)),
            ("3903e7", json!(-1_000)),
            ("f93c00", json!(1.0)),
            ("f90001", json!(5.960_464_477_539_063e-8)),
            ("f9c400", json!(-4.0)),
            ("fa47c35000", json!(100_000.0)),
            ("fb3ff199999999999a", json!(1.1)),
            ("f5", json!(true)),
            ("f6", json!(null)),
            ("c1fb41d452d9e8e00000", json!(1_363_896_227.5)),
            ("62c3bc", json!("\u{fc}")),
            ("826161a161626163", json!(["a", {"b": "c"}])),
            ("9f018202039f0405ffff", json!([1, [2, 3], [4, 5]])),
            ("bf6346756ef563416d7421ff", json!({"Fun": true, "Amt": -2})),
            ("7f657374726561646d696e67ff", json!("streaming")),
        ] {
            assert_eq!(read(&bytes(hex)), Ok(value), "{hex}");
        }
        assert_eq!(read(b""), Ok(json!({})));
    }

    #[test]
    fn what_is_no_document_is_refused_however_it_is_broken() {
        let deep = "81".repeat(100);
        for hex in [
            "18",
            "1c",
            "4100",
            "5f",
            "61ff",
            "a1",
            "a10001",
            "c2",
            "c101ff",
            "9f01",
            "ff",
            "0000",
            "7f00ff",
            deep.as_str(),
        ] {
            assert!(read(&bytes(hex)).is_err(), "{hex}");
        }
        // A length that nobody sends makes no room.
        assert!(read(&bytes("9bffffffffffffffff")).is_err());
    }

    #[test]
    fn moments_are_tagged_on_their_way_out() {
        let document = json!({"Timestamp": 1.5, "Timestamps": [2, 2.5], "Sum": 1.5});
        let out = write(&document);
        assert_eq!(out.iter().filter(|byte| **byte == 0xc1).count(), 3);
        assert_eq!(read(&out), Ok(document));
    }

    fn any_document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e300..1e300_f64).prop_map(Value::from),
            ".{0,300}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..40).prop_map(Value::from),
                prop::collection::btree_map("[A-Za-z]{1,9}", inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(document in any_document()) {
            prop_assert_eq!(read(&write(&document)), Ok(document));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _read = read(&bytes).is_ok();
        }
    }
}
