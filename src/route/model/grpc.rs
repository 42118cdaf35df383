//! The model's name in the first message of a gRPC call.
//!
//! Every request of the Open Inference Protocol's gRPC service that belongs to a model has its name as field 1
//! (`ModelInferRequest.model_name`, `ModelReadyRequest.name`, ...), and every implementation writes fields in order.
//! Wire format: a flag byte and a length of four bytes (gRPC over HTTP/2, "Length-Prefixed-Message"), then protobuf.

use super::{NAME_LIMIT_BYTES, Scan};

/// Flag and length of a message.
const PREFIX_BYTES: usize = 5;

/// Field 1, length-delimited.
const TAG: u8 = 0x0a;

/// The prefix, the tag, a length of at most two bytes, and the name.
const MOST_BYTES: usize = PREFIX_BYTES + 1 + 2 + NAME_LIMIT_BYTES;

/// Gathers the first bytes of a body until they hold the name.
#[derive(Debug, Default)]
pub struct GrpcScanner {
    start: Vec<u8>,
}

impl GrpcScanner {
    /// Takes the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) -> Scan<String> {
        let room = MOST_BYTES.saturating_sub(self.start.len());
        self.start.extend(bytes.iter().take(room));
        model_of_message(&self.start)
    }
}

/// The model that a gRPC call's first message names, from the first bytes of the call's body.
///
/// A compressed message, and one that does not begin with field 1, names none.
pub fn model_of_message(bytes: &[u8]) -> Scan<String> {
    let Some((prefix, message)) = bytes.split_at_checked(PREFIX_BYTES) else {
        return if matches!(bytes.first(), Some(flag) if *flag != 0) { Scan::Absent } else { Scan::More };
    };
    let [flag, length @ ..] = prefix else { return Scan::Absent };
    let message_bytes = length.iter().fold(0_u32, |length, byte| length << 8 | u32::from(*byte));
    if *flag != 0 || message_bytes == 0 {
        return Scan::Absent;
    }
    let (length, rest) = match message {
        [] | [TAG] => return Scan::More,
        [TAG, low, rest @ ..] if *low < 0x80 => (usize::from(*low), rest),
        [TAG, _] => return Scan::More,
        [TAG, low, high, rest @ ..] if *high < 0x80 => {
            (usize::from(*low & 0x7f) | usize::from(*high) << 7, rest)
        }
        [_, ..] => return Scan::Absent,
    };
    let is_inside = u32::try_from(length).is_ok_and(|length| length < message_bytes);
    if length == 0 || length > NAME_LIMIT_BYTES || !is_inside {
        return Scan::Absent;
    }
    match rest.get(..length).map(std::str::from_utf8) {
        None => Scan::More,
        Some(Ok(name)) => Scan::Found(name.to_owned()),
        Some(Err(_)) => Scan::Absent,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(name: &str) -> Vec<u8> {
        let mut body = vec![TAG];
        if name.len() < 128 {
            body.push(u8::try_from(name.len()).unwrap());
        } else {
            body.extend([
                u8::try_from(name.len() & 0x7f).unwrap() | 0x80,
                u8::try_from(name.len() >> 7).unwrap(),
            ]);
        }
        body.extend(name.bytes());
        body.extend(b"\x12\x011");
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn the_first_field_of_the_first_message_is_the_model() {
        for name in ["iris", "a", &"m".repeat(127), &"m".repeat(128), &"m".repeat(256)] {
            assert_eq!(model_of_message(&message(name)), Scan::Found(name.to_owned()));
        }
    }

    #[test]
    fn compressed_empty_and_other_messages_name_none() {
        let mut compressed = message("iris");
        compressed[0] = 1;
        let too_long = message(&"m".repeat(257));
        let cases: [&[u8]; 7] = [
            &compressed,
            &too_long,
            &[1],
            &[0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 2, 0x12, 0],
            &[0, 0, 0, 0, 2, 0x0a, 9],
            &[0, 0, 0, 0, 9, 0x0a, 2, 0xff, 0xff],
        ];
        for bytes in cases {
            assert_eq!(model_of_message(bytes), Scan::Absent, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn the_cut_of_the_frames_does_not_matter(name in "[a-z/-]{1,200}", cut in 0_usize..200) {
            let bytes = message(&name);
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut scanner = GrpcScanner::default();
            match scanner.feed(first) {
                Scan::More => prop_assert_eq!(scanner.feed(second), Scan::Found(name)),
                found @ (Scan::Found(_) | Scan::Absent) => prop_assert_eq!(found, Scan::Found(name)),
            }
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let _ = model_of_message(&bytes);
        }
    }
}
