//! The top-level members of a JSON object, byte by byte, and the scanner for the one called `model`.
//!
//! A strict reader of RFC 8259 that keeps no document: a state, a bit for each open container, and the first bytes of the
//! current key. What is read is checked, what comes after the name is not: that is the model server's to judge. Of two members with
//! the same key the first counts, since whoever stops at the name cannot see the second. A byte order mark is passed over.

use super::{NAME_LIMIT_BYTES, Scan};

/// Deeper documents are refused. No request of the known protocols is deeper than twenty.
const MOST_OPEN: u32 = 64;

/// The longest key that anybody asks for: the owner of an endpoint may name one of its own.
pub(super) const KEY_BYTES: usize = 64;

/// The machine that the scanners drive.
#[derive(Clone, Debug)]
pub(super) struct Members {
    state: State,
    /// Open containers; the document's own object is the first.
    open: u32,
    /// A bit for each open container: set for an object.
    objects: u64,
    text: Text,
    high_surrogate: u16,
    key: [u8; KEY_BYTES],
    /// More than [`KEY_BYTES`] when the key is longer than anybody asks for.
    key_length: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Start,
    /// This byte of the byte order mark is due.
    Bom(u8),
    Open,
    FirstKey,
    NextKey,
    Colon,
    FirstItem,
    Value,
    AfterValue,
    Text,
    Escape,
    Hex {
        left: u8,
        code: u16,
    },
    LowBackslash,
    LowU,
    Literal(&'static [u8]),
    Number(Number),
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// What a string is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Text {
    Key,
    Value,
}

/// What a byte was to the top level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    /// Nothing in particular.
    Inner,
    /// The first byte of a member's value.
    ValueBegins,
    /// A byte of a member's value that is a string.
    Byte(u8),
    /// The last byte of an escaped character in a member's value that is a string.
    Escaped(char),
    /// The value of a member is over.
    ValueEnds,
    /// The document is over.
    End,
}

/// The bytes are no JSON object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NotAnObject;

type Step = Result<Token, NotAnObject>;

impl Default for Members {
    fn default() -> Self {
        Self {
            state: State::Start,
            open: 0,
            objects: 0,
            text: Text::Value,
            high_surrogate: 0,
            key: [0; KEY_BYTES],
            key_length: 0,
        }
    }
}

impl Members {
    /// The key of the member whose value is being read, if it has at most [`KEY_BYTES`].
    pub(super) fn key(&self) -> Option<&[u8]> {
        self.key.get(..self.key_length)
    }

    /// How many of these bytes can be passed over without a look at each: they are inside a string.
    pub(super) fn plain(&self, bytes: &[u8]) -> usize {
        if self.state != State::Text || self.is_top_key() {
            return 0;
        }
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        bytes.iter().position(is_special).unwrap_or(bytes.len())
    }

    /// Takes one byte.
    pub(super) fn step(&mut self, byte: u8) -> Step {
        match self.state {
            State::Start if byte == 0xef => self.go(State::Bom(0xbb)),
            State::Bom(due) if byte == due => {
                self.go(if due == 0xbb { State::Bom(0xbf) } else { State::Open })
            }
            State::Bom(_) | State::End => Err(NotAnObject),
            State::Text => self.in_text(byte),
            State::Escape => self.escape(byte),
            State::Hex { left, code } => self.hex(left, code, byte),
            State::LowBackslash if byte == b'\\' => self.go(State::LowU),
            State::LowU if byte == b'u' => self.go(State::Hex { left: 4, code: 0 }),
            State::LowBackslash | State::LowU => Err(NotAnObject),
            State::Literal(rest) => match rest.split_first() {
                Some((due, [])) if *due == byte => self.end_value(),
                Some((due, rest)) if *due == byte => self.go(State::Literal(rest)),
                _ => Err(NotAnObject),
            },
            State::Number(number) => self.number(number, byte),
            State::Start
            | State::Open
            | State::FirstKey
            | State::NextKey
            | State::Colon
            | State::FirstItem
            | State::Value
            | State::AfterValue => match byte {
                b' ' | b'\t' | b'\n' | b'\r' => Ok(Token::Inner),
                byte => self.between(byte),
            },
        }
    }

    fn go(&mut self, state: State) -> Step {
        self.state = state;
        Ok(Token::Inner)
    }

    fn is_top_key(&self) -> bool {
        self.open == 1 && self.text == Text::Key
    }

    fn is_top_value(&self) -> bool {
        self.open == 1 && self.text == Text::Value
    }

    /// A byte between two tokens that is no space.
    fn between(&mut self, byte: u8) -> Step {
        match (self.state, byte) {
            (State::Start | State::Open, b'{') => self.push(State::FirstKey),
            (State::FirstKey | State::NextKey, b'"') => {
                if self.open == 1 {
                    self.key_length = 0;
                }
                self.text = Text::Key;
                self.go(State::Text)
            }
            (State::FirstKey, b'}') | (State::FirstItem, b']') => self.pop(),
            (State::Colon, b':') => self.go(State::Value),
            (State::Value | State::FirstItem, byte) => self.value(byte),
            (State::AfterValue, b',') => {
                let is_object = self.is_in_object();
                self.go(if is_object { State::NextKey } else { State::Value })
            }
            (State::AfterValue, b'}') if self.is_in_object() => self.pop(),
            (State::AfterValue, b']') if !self.is_in_object() => self.pop(),
            _ => Err(NotAnObject),
        }
    }

    fn value(&mut self, byte: u8) -> Step {
        let begins = if self.open == 1 { Token::ValueBegins } else { Token::Inner };
        let state = match byte {
            b'"' => {
                self.text = Text::Value;
                State::Text
            }
            b'{' => return self.push(State::FirstKey).map(|_| begins),
            b'[' => return self.push(State::FirstItem).map(|_| begins),
            b't' => State::Literal(b"rue"),
            b'f' => State::Literal(b"alse"),
            b'n' => State::Literal(b"ull"),
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Whole),
            _ => return Err(NotAnObject),
        };
        self.go(state).map(|_| begins)
    }

    fn push(&mut self, inside: State) -> Step {
        if self.open == MOST_OPEN {
            return Err(NotAnObject);
        }
        let bit = 1 << self.open;
        if inside == State::FirstKey {
            self.objects |= bit
        } else {
            self.objects &= !bit
        }
        self.open += 1;
        self.go(inside)
    }

    fn pop(&mut self) -> Step {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            self.state = State::End;
            return Ok(Token::End);
        }
        self.end_value()
    }

    fn end_value(&mut self) -> Step {
        self.state = State::AfterValue;
        Ok(if self.open == 1 { Token::ValueEnds } else { Token::Inner })
    }

    fn is_in_object(&self) -> bool {
        self.open > 0 && self.objects & 1 << (self.open - 1) != 0
    }

    fn in_text(&mut self, byte: u8) -> Step {
        match byte {
            b'"' if self.text == Text::Key => self.go(State::Colon),
            b'"' => self.end_value(),
            b'\\' => self.go(State::Escape),
            0..=0x1f => Err(NotAnObject),
            byte if self.is_top_key() => {
                self.push_key(&[byte]);
                Ok(Token::Inner)
            }
            byte if self.is_top_value() => Ok(Token::Byte(byte)),
            _ => Ok(Token::Inner),
        }
    }

    fn escape(&mut self, byte: u8) -> Step {
        let meant = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.go(State::Hex { left: 4, code: 0 }),
            _ => return Err(NotAnObject),
        };
        self.escaped(meant)
    }

    fn hex(&mut self, left: u8, code: u16, byte: u8) -> Step {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
        let code = code << 4 | digit.ok_or(NotAnObject)?;
        if left > 1 {
            return self.go(State::Hex { left: left - 1, code });
        }
        if self.high_surrogate == 0 && (0xd800..0xdc00).contains(&code) {
            self.high_surrogate = code;
            return self.go(State::LowBackslash);
        }
        let high = std::mem::take(&mut self.high_surrogate);
        let units = [high, code];
        let pair = if high == 0 { &units[1..] } else { &units[..] };
        match char::decode_utf16(pair.iter().copied()).next() {
            Some(Ok(meant)) => self.escaped(meant),
            Some(Err(_)) | None => Err(NotAnObject),
        }
    }

    fn escaped(&mut self, meant: char) -> Step {
        self.state = State::Text;
        if self.is_top_key() {
            self.push_key(meant.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(if self.is_top_value() { Token::Escaped(meant) } else { Token::Inner })
    }

    fn push_key(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.key.get_mut(self.key_length) {
                *place = *byte;
            }
            self.key_length = self.key_length.saturating_add(1);
        }
    }

    fn number(&mut self, number: Number, byte: u8) -> Step {
        let next = match (number, byte) {
            (Number::Minus, b'0') => Number::Zero,
            (Number::Minus, b'1'..=b'9') | (Number::Whole, b'0'..=b'9') => Number::Whole,
            (Number::Zero | Number::Whole, b'.') => Number::Point,
            (Number::Point | Number::Fraction, b'0'..=b'9') => Number::Fraction,
            (Number::Zero | Number::Whole | Number::Fraction, b'e' | b'E') => Number::Exponent,
            (Number::Exponent, b'+' | b'-') => Number::ExponentSign,
            (Number::Exponent | Number::ExponentSign | Number::ExponentDigits, b'0'..=b'9') => {
                Number::ExponentDigits
            }
            (Number::Zero | Number::Whole | Number::Fraction | Number::ExponentDigits, byte) => {
                let ended = self.end_value()?;
                // What ends the number may end the container around it, too.
                let token = self.step(byte)?;
                return Ok(if token == Token::Inner { ended } else { token });
            }
            (Number::Minus | Number::Point | Number::Exponent | Number::ExponentSign, _) => {
                return Err(NotAnObject);
            }
        };
        self.go(State::Number(next))
    }
}

/// Finds the value of the top-level member `model`, if it is a string.
#[derive(Debug, Default)]
pub struct JsonScanner {
    members: Members,
    /// From the first byte of the value.
    name: Option<Vec<u8>>,
    is_over: bool,
}

impl JsonScanner {
    /// Takes the next bytes of the body. Once the answer is known, what comes is not looked at.
    pub fn feed(&mut self, bytes: &[u8]) -> Scan<String> {
        if self.is_over {
            return Scan::Absent;
        }
        let mut rest = bytes;
        loop {
            if self.name.is_none() {
                rest = rest.get(self.members.plain(rest)..).unwrap_or_default();
            }
            let Some((byte, after)) = rest.split_first() else { return Scan::More };
            rest = after;
            match self.take(*byte) {
                Scan::More => {}
                known @ (Scan::Found(_) | Scan::Absent) => {
                    self.is_over = true;
                    return known;
                }
            }
        }
    }

    fn take(&mut self, byte: u8) -> Scan<String> {
        let Ok(token) = self.members.step(byte) else { return Scan::Absent };
        match (token, &mut self.name) {
            (Token::End, _) => return Scan::Absent,
            (Token::ValueBegins, _) if self.members.key() == Some(b"model") => {
                if byte != b'"' {
                    return Scan::Absent;
                }
                self.name = Some(Vec::new());
            }
            (Token::Byte(byte), Some(name)) => name.push(byte),
            (Token::Escaped(meant), Some(name)) => name.extend(meant.encode_utf8(&mut [0; 4]).bytes()),
            (Token::ValueEnds, Some(name)) => {
                return String::from_utf8(std::mem::take(name)).map_or(Scan::Absent, Scan::Found);
            }
            (
                Token::Inner | Token::ValueBegins | Token::Byte(_) | Token::Escaped(_) | Token::ValueEnds,
                _,
            ) => {}
        }
        let is_long = self.name.as_ref().is_some_and(|name| name.len() > NAME_LIMIT_BYTES);
        if is_long { Scan::Absent } else { Scan::More }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn scan(text: impl AsRef<[u8]>) -> Scan<String> {
        JsonScanner::default().feed(text.as_ref())
    }

    fn found(name: &str) -> Scan<String> {
        Scan::Found(name.to_owned())
    }

    #[test]
    fn the_top_level_model_is_found_wherever_it_stands() {
        for text in [
            r#"{"model":"llama-3"}"#,
            "\u{feff} {\n\t\"model\" :\r \"llama-3\" , \"messages\":",
            r#"{"messages":[{"model":"x","content":"\"model\":\"y\""}],"stream":true,"n":-1.5e+3,"model":"llama-3""#,
            r#"{"mod\u0065l":"ll\u0061ma-3"}"#,
        ] {
            assert_eq!(scan(text), found("llama-3"), "{text}");
        }
        assert_eq!(scan(r#"{"model":"\ud83d\ude00\n\/"}"#), found("\u{1f600}\n/"));
    }

    #[test]
    fn of_two_models_the_first_counts() {
        assert_eq!(scan(r#"{"model":"a","model":"b"}"#), found("a"));
    }

    #[test]
    fn a_document_without_a_model_that_is_a_string_has_none() {
        for text in [
            "{}",
            r#"{"model":5}"#,
            r#"{"model":null,"model":"a"}"#,
            r#"{"model":["a"]}"#,
            r#"{"models":"a"}"#,
            r#"{"MODEL":"a"}"#,
            r#"{"x":{"model":"a"}}"#,
            r#"[{"model":"a"}]"#,
            r#""model""#,
        ] {
            assert_eq!(scan(text), Scan::Absent, "{text}");
        }
        assert_eq!(scan(format!(r#"{{"model":"{}"}}"#, "m".repeat(257))), Scan::Absent);
        assert_eq!(scan(format!(r#"{{"model":"{}"}}"#, "m".repeat(256))), found(&"m".repeat(256)));
    }

    #[test]
    fn what_is_no_json_before_the_name_hides_it() {
        for start in [
            "{,",
            "{'a':1,",
            r#"{"a" 1,"#,
            r#"{"a":01,"#,
            r#"{"a":1.,"#,
            r#"{"a":+1,"#,
            r#"{"a":tru,"#,
            r#"{"a":[1}],"#,
            r#"{"a":[1,],"#,
            r#"{"a":"\x","#,
            r#"{"a":"\ud800","#,
            r#"{"a":"\ud800\u0041","#,
            r#"{"a":"\udc00","#,
            "{\"a\":\"\n\",",
            r#"{"a":NaN,"#,
            "\u{feff}\u{feff}{",
        ] {
            assert_eq!(scan(format!(r#"{start}"model":"m"}}"#)), Scan::Absent, "{start}");
        }
        assert_eq!(scan(b"{\"model\":\"\xff\"}"), Scan::Absent);
        let deep =
            |depth: usize| format!(r#"{{"a":{}{},"model":"m"}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(scan(deep(63)), found("m"));
        assert_eq!(scan(deep(64)), Scan::Absent);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("model|messages|.{0,9}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_full_parse_finds(
            members in prop::collection::vec(("model|messages|mode|.{0,9}", value()), 0..5), pretty: bool, cut in 0_usize..300,
        ) {
            let document = Value::Object(members.into_iter().collect());
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
            let wanted = document.get("model").and_then(Value::as_str).map_or(Scan::Absent, found);
            let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
            let mut scanner = JsonScanner::default();
            let seen = match scanner.feed(first) {
                Scan::More => scanner.feed(second),
                known @ (Scan::Found(_) | Scan::Absent) => known,
            };
            prop_assert_eq!(seen, wanted, "{}", text);
        }

        #[test]
        fn a_damaged_document_is_read_as_a_full_parse_would_or_to_the_name(at in 0_usize..80, byte: u8) {
            let mut text = json!({"a": [1, {"b": -0.5e-3}], "c": "\u{1f600}\n", "d": true, "model": "m"}).to_string().into_bytes();
            let place = at % text.len();
            text[place] = byte;
            let seen = scan(&text);
            if let Ok(document) = serde_json::from_slice::<Value>(&text) {
                prop_assert_eq!(seen, document.get("model").and_then(Value::as_str).map_or(Scan::Absent, found));
            }
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>, json in r#"[{}\[\]",:\\udmodel0-9.eE+ -]{0,60}"#) {
            let _ = scan(&bytes);
            let _ = scan(&json);
            let _ = scan(format!("{{{json}"));
        }
    }
}
