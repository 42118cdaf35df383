//! A hash of the first bytes of a prompt, so that requests with a common beginning find the instance that has it in its cache.
//!
//! No tokenizer and no parse: the bytes are those of the first top-level member called `messages`, `prompt` or `input`, as they stand
//! in the body. Clients that write the same conversation in another way miss the cache, and nothing else.

use super::{
    Scan,
    json::{Members, Token},
};
use crate::route::hash::Fnv;

/// Hashes up to a number of bytes of the prompt.
#[derive(Debug)]
pub struct PromptScanner {
    members: Members,
    hash: Fnv,
    /// Bytes of the prompt that are still to be hashed.
    left: usize,
    is_inside: bool,
}

impl PromptScanner {
    /// For the first `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        Self { members: Members::default(), hash: Fnv::default(), left: bytes, is_inside: false }
    }

    /// Takes the next bytes of the body. A prompt shorter than the bytes asked for is hashed to its end.
    pub fn feed(&mut self, bytes: &[u8]) -> Scan<u64> {
        let mut rest = bytes;
        loop {
            if !self.is_inside {
                rest = rest.get(self.members.plain(rest)..).unwrap_or_default();
            }
            let Some((byte, after)) = rest.split_first() else { return Scan::More };
            rest = after;
            match self.members.step(*byte) {
                Err(_) if !self.is_inside => return Scan::Absent,
                Ok(Token::End) if !self.is_inside => return Scan::Absent,
                Err(_) | Ok(Token::End | Token::ValueEnds) if self.is_inside => return self.found(),
                Ok(Token::ValueBegins) => {
                    self.is_inside = matches!(self.members.key(), Some(b"messages" | b"prompt" | b"input"));
                }
                Err(_)
                | Ok(Token::Inner | Token::Byte(_) | Token::Escaped(_) | Token::ValueEnds | Token::End) => {}
            }
            if self.is_inside {
                self.hash.write(&[*byte]);
                self.left = self.left.saturating_sub(1);
                if self.left == 0 {
                    return self.found();
                }
            }
        }
    }

    fn found(&self) -> Scan<u64> {
        Scan::Found(self.hash.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str, bytes: usize) -> Scan<u64> {
        PromptScanner::new(bytes).feed(text.as_bytes())
    }

    #[test]
    fn prompts_with_the_same_beginning_have_the_same_hash() {
        let one = hash(r#"{"model":"m","messages":[{"role":"system","content":"You are kind. A"}]}"#, 40);
        let two = hash(r#"{"messages":[{"role":"system","content":"You are kind. B"}],"model":"x"}"#, 40);
        assert!(matches!(one, Scan::Found(_)));
        assert_eq!(one, two);
        assert_ne!(
            one,
            hash(r#"{"messages":[{"role":"system","content":"You are rude. B"}],"model":"x"}"#, 40)
        );
    }

    #[test]
    fn a_short_prompt_is_hashed_to_its_end_and_the_cut_of_the_frames_does_not_matter() {
        let text = r#"{"prompt":"hi","n":1}"#;
        let whole = hash(text, 1_000);
        assert_eq!(whole, hash(r#"{"prompt":"hi"}"#, 1_000));
        assert_ne!(whole, hash(r#"{"prompt":"ho"}"#, 1_000));
        for cut in 0..text.len() {
            let mut scanner = PromptScanner::new(1_000);
            let (first, second) = text.as_bytes().split_at(cut);
            let seen = match scanner.feed(first) {
                Scan::More => scanner.feed(second),
                known @ (Scan::Found(_) | Scan::Absent) => known,
            };
            assert_eq!(seen, whole, "{cut}");
        }
    }

    #[test]
    fn a_body_without_a_prompt_has_no_hash() {
        for text in ["{}", "[]", r#"{"x":{"prompt":"a"}}"#, "nonsense"] {
            assert_eq!(hash(text, 10), Scan::Absent, "{text}");
        }
        assert_eq!(hash(r#"{"model":"m","#, 10), Scan::More);
    }
}
