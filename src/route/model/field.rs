//! Whether a JSON object has a member of some name at its top, with something in it.

use super::{
    Scan,
    json::{KEY_BYTES, Members, Token},
};

/// Looks for the member. What is no JSON object has none.
#[derive(Clone, Debug)]
pub(in crate::route) struct FieldScanner {
    name: String,
    members: Members,
    value: Value,
    is_over: bool,
}

/// What is known of the member's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Value {
    /// It has not begun.
    None,
    /// A text has begun.
    Text,
    /// An object or a list has begun.
    Container,
}

impl FieldScanner {
    /// The longest name.
    pub(in crate::route) const NAME_LIMIT_BYTES: usize = KEY_BYTES;

    /// Looks for a member of this name, of at most [`Self::NAME_LIMIT_BYTES`].
    pub(in crate::route) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), members: Members::default(), value: Value::None, is_over: false }
    }

    /// Takes the next bytes. Once the answer is known, what comes is not looked at.
    pub(in crate::route) fn feed(&mut self, mut bytes: &[u8]) -> Scan<()> {
        if self.is_over {
            return Scan::Absent;
        }
        loop {
            if self.value == Value::None {
                bytes = bytes.get(self.members.plain(bytes)..).unwrap_or_default();
            }
            let Some((byte, rest)) = bytes.split_first() else { return Scan::More };
            bytes = rest;
            match self.take(*byte) {
                Scan::More => {}
                known @ (Scan::Found(()) | Scan::Absent) => {
                    self.is_over = true;
                    return known;
                }
            }
        }
    }

    fn take(&mut self, byte: u8) -> Scan<()> {
        let Ok(token) = self.members.step(byte) else { return Scan::Absent };
        match (self.value, token) {
            (_, Token::End) => Scan::Absent,
            (Value::None, Token::ValueBegins) if self.members.key() == Some(self.name.as_bytes()) => {
                match byte {
                    b'"' => self.value = Value::Text,
                    b'{' | b'[' => self.value = Value::Container,
                    // `null`, `false`, zero.
                    b'n' | b'f' | b'0' => return Scan::Absent,
                    _ => return Scan::Found(()),
                }
                Scan::More
            }
            (Value::Text, Token::Byte(_) | Token::Escaped(_)) => Scan::Found(()),
            (Value::Text | Value::Container, Token::ValueEnds) => Scan::Absent,
            (Value::Container, _) if !byte.is_ascii_whitespace() => Scan::Found(()),
            (
                Value::None | Value::Text | Value::Container,
                Token::Inner | Token::ValueBegins | Token::Byte(_) | Token::Escaped(_) | Token::ValueEnds,
            ) => Scan::More,
        }
    }
}
