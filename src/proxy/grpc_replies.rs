//! Errors inside a stream of inference replies that itself goes well.
//!
//! Triton answers each request of a `ModelStreamInfer` stream with a message of its own, which holds an error or a result; the stream
//! goes on after an error and ends with status 0 (`ModelStreamInferResponse { string error_message = 1; ModelInferResponse infer_response
//! = 2; }`). Other servers stream plain `ModelInferResponse`s, whose fields 1 and 2 are texts too, the model's name and version, but which
//! have more than these two. So an error is a message that has field 1 and no field beyond 2.
//!
//! Only a message that begins with field 1 is looked into, which a result of Triton's does not.

use super::grpc_framing::{Framing, Piece};

/// The method whose replies are looked into.
const METHOD: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// The largest message that is looked into: errors are sentences.
const LOOKED_INTO_BYTES: usize = 16 * 1024;

/// Field 1, length-delimited.
const FIELD_1: u8 = 0x0a;

/// Reads the length-prefixed messages of a stream, however they are cut into frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Replies {
    framing: Framing,
    /// What has come of the current message, if it is looked into.
    message: Vec<u8>,
    is_looked_into: bool,
}

impl Replies {
    /// For a call's target, if its replies are such.
    pub(super) fn of(path: &str) -> Option<Box<Self>> {
        (path == METHOD).then(Box::default)
    }

    /// Whether a reply that ends in these bytes is an error.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_error = false;
        while !bytes.is_empty() {
            let (piece, rest) = self.framing.next(bytes);
            bytes = rest;
            match piece {
                Piece::Prefix => {}
                Piece::Begins { is_compressed, length } => {
                    // A compressed message cannot be read.
                    self.is_looked_into = !is_compressed && length <= LOOKED_INTO_BYTES;
                    self.message.clear();
                }
                Piece::Content { bytes, is_last } => {
                    if self.message.is_empty() {
                        self.is_looked_into &= bytes.first() == Some(&FIELD_1);
                    }
                    if self.is_looked_into {
                        self.message.extend_from_slice(bytes);
                        is_error |= is_last && says_error(&self.message);
                    }
                }
            }
        }
        is_error
    }
}

/// Whether a protobuf message has a field 1 that is not empty, and no field beyond 2.
fn says_error(mut message: &[u8]) -> bool {
    let mut has_text = false;
    while !message.is_empty() {
        let Some(tag) = varint(&mut message) else { return false };
        let length = match tag & 7 {
            0 => match varint(&mut message) {
                Some(_) => 0,
                None => return false,
            },
            1 => 8,
            2 => match varint(&mut message) {
                Some(length) => length,
                None => return false,
            },
            5 => 4,
            _ => return false,
        };
        let Some(rest) = usize::try_from(length).ok().and_then(|length| message.get(length..)) else {
            return false;
        };
        message = rest;
        match tag >> 3 {
            1 => has_text |= length > 0,
            2 => {}
            _ => return false,
        }
    }
    has_text
}

/// The number at the front of the bytes, which it takes away.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            *bytes = bytes.get(place + 1..)?;
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length > 0x7f {
            bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes.extend(content);
        bytes
    }

    fn message(fields: &[Vec<u8>]) -> Vec<u8> {
        let body = fields.concat();
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn error() -> Vec<u8> {
        message(&[field(1, &b"out of memory ".repeat(20)), field(2, &field(3, b"id"))])
    }

    fn result() -> Vec<u8> {
        message(&[field(2, &[7; 40_000])])
    }

    /// What servers send that stream plain responses: name, version, id, an output.
    fn plain() -> Vec<u8> {
        message(&[field(1, b"iris"), field(2, b"1"), field(3, b"7"), field(5, b"x")])
    }

    #[test]
    fn errors_are_told_from_results_and_from_plain_responses() {
        let compressed = {
            let mut bytes = error();
            bytes[0] = 1;
            bytes
        };
        for (bytes, expected) in [
            (error(), true),
            (message(&[field(1, b"x")]), true),
            (result(), false),
            (plain(), false),
            (message(&[field(1, b""), field(2, b"")]), false),
            (message(&[field(1, &[b'x'; 20_000])]), false),
            (message(&[vec![FIELD_1, 200]]), false),
            (message(&[]), false),
            (compressed, false),
        ] {
            assert_eq!(Replies::default().read(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn only_the_one_method_has_such_replies() {
        assert!(Replies::of(METHOD).is_some());
        assert!(Replies::of("/inference.GRPCInferenceService/ModelInfer").is_none());
    }

    proptest! {
        #[test]
        fn the_cut_of_the_frames_does_not_matter(kinds in prop::collection::vec(0..3_u8, 0..6), size in 1_usize..999) {
            let bytes: Vec<u8> = kinds.iter().flat_map(|kind| match kind { 0 => error(), 1 => result(), _ => plain() }).collect();
            let mut replies = Replies::default();
            let found = bytes.chunks(size).map(|chunk| replies.read(chunk)).fold(false, |any, one| any | one);
            prop_assert_eq!(found, kinds.contains(&0));
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let _ = Replies::default().read(&bytes);
            let _ = says_error(&bytes);
        }
    }
}
