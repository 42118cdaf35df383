//! Errors in bodies whose status calls them a success, as an endpoint's owner describes them.
//!
//! Some model servers answer 200 and say in the body that they failed. No two do it alike, so nothing is looked for unless the
//! endpoint declares it: a member at the top of a JSON object, or a text. Only the first bytes are looked at, as they pass; none of them
//! is kept back or kept, but for the few that a text may have begun in.

use memchr::memmem;

use super::{Scan, model::FieldScanner};

/// What such an error looks like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailureBody {
    /// The sign of it.
    pub sign: BodySign,
    /// How many bytes of the body are looked at.
    pub within_bytes: usize,
}

/// The sign of an error in a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BodySign {
    /// A member of this name at the top of a JSON object, with something in it: `null`, `false`, zero and what is empty say nothing.
    Field(String),
    /// These bytes.
    Contains(String),
}

/// Looks for the sign in one body.
#[derive(Clone, Debug)]
pub struct BodyScanner {
    left_bytes: usize,
    search: Search,
}

#[derive(Clone, Debug)]
enum Search {
    Field(FieldScanner),
    /// With the last bytes that came, in which the text may have begun.
    Text {
        text: String,
        tail: Vec<u8>,
    },
}

impl FailureBody {
    /// The longest field or text.
    pub const SIGN_LIMIT_BYTES: usize = FieldScanner::NAME_LIMIT_BYTES;

    /// What reads a body from its beginning.
    pub fn scanner(&self) -> BodyScanner {
        let search = match &self.sign {
            BodySign::Field(name) => Search::Field(FieldScanner::new(name)),
            BodySign::Contains(text) => Search::Text { text: text.clone(), tail: Vec::new() },
        };
        BodyScanner { left_bytes: self.within_bytes, search }
    }
}

impl BodyScanner {
    /// Takes the next bytes of the body.
    pub fn read(&mut self, bytes: &[u8]) -> Scan<()> {
        let seen = bytes.get(..self.left_bytes).unwrap_or(bytes);
        self.left_bytes -= seen.len();
        let found = match &mut self.search {
            Search::Field(scanner) => scanner.feed(seen),
            Search::Text { text, tail } => find(text.as_bytes(), tail, seen),
        };
        if found == Scan::More && self.left_bytes == 0 { Scan::Absent } else { found }
    }
}

/// Looks for a text in these bytes and where they join those before.
fn find(text: &[u8], tail: &mut Vec<u8>, bytes: &[u8]) -> Scan<()> {
    let overlap = text.len().saturating_sub(1);
    tail.extend_from_slice(bytes.get(..overlap).unwrap_or(bytes));
    if memmem::find(tail, text).is_some() || memmem::find(bytes, text).is_some() {
        return Scan::Found(());
    }
    if bytes.len() >= overlap {
        tail.clear();
        tail.extend_from_slice(&bytes[bytes.len() - overlap..]);
    } else {
        tail.drain(..tail.len().saturating_sub(overlap));
    }
    Scan::More
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(sign: BodySign, within_bytes: usize, parts: &[&[u8]]) -> bool {
        let mut scanner = FailureBody { sign, within_bytes }.scanner();
        parts.iter().any(|part| scanner.read(part) == Scan::Found(()))
    }

    fn field(body: &str) -> bool {
        scan(BodySign::Field("error".to_owned()), 4096, &[body.as_bytes()])
    }

    #[test]
    fn a_member_with_something_in_it_is_a_sign_and_one_with_nothing_is_none() {
        for body in [
            r#"{"error":"gone"}"#,
            r#"{"id":1,"x":{"error":null},"error" : { "code": 5 }}"#,
            r#"{"error":true}"#,
            r#"{"error":12}"#,
            r#"{"error":-1}"#,
            r#"{"error":[ 1]}"#,
            r#"{"err\u006fr":"\n"}"#,
        ] {
            assert!(field(body), "{body}");
        }
        for body in [
            r#"{"error":null}"#,
            r#"{"error":false,"x":1}"#,
            r#"{"error":0}"#,
            r#"{"error":""}"#,
            r#"{"error":{ }}"#,
            r#"{"error":[]}"#,
            r#"{"result":{"error":"inside"}}"#,
            r#"{"errors":"x"}"#,
            r#"["error"]"#,
            "error",
            "",
        ] {
            assert!(!field(body), "{body}");
        }
    }

    #[test]
    fn nothing_beyond_the_first_bytes_is_looked_at() {
        let text = || BodySign::Contains("CUDA".to_owned());
        assert!(scan(text(), 8, &[b"xxxxCUDA"]));
        assert!(!scan(text(), 8, &[b"xxxxxCUDA"]));
        assert!(!scan(text(), 8, &[b"xxxxx", b"CUDA"]));
        let body = br#"{"a":1,"error":"x"}"#;
        assert!(scan(BodySign::Field("error".to_owned()), 17, &[body]));
        assert!(!scan(BodySign::Field("error".to_owned()), 15, &[body]));
    }

    proptest! {
        #[test]
        fn a_text_is_found_however_the_body_is_cut(
            body in "[abc]{0,60}", text in "[abc]{1,5}", cuts in prop::collection::vec(0_usize..9, 0..20),
        ) {
            let (mut parts, mut rest) = (Vec::new(), body.as_bytes());
            for cut in cuts {
                let (part, after) = rest.split_at(cut.min(rest.len()));
                parts.push(part);
                rest = after;
            }
            parts.push(rest);
            prop_assert_eq!(scan(BodySign::Contains(text.clone()), 4096, &parts), body.contains(&text));
        }

        #[test]
        fn a_member_is_found_however_the_body_is_cut(cut in 0_usize..40) {
            let body = br#"{"a":[1,{"error":"no"}],"error":"\u0041"}"#;
            let (first, second) = body.split_at(cut);
            prop_assert!(scan(BodySign::Field("error".to_owned()), 4096, &[first, second]));
        }
    }
}
