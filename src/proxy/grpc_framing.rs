//! Where the messages of a gRPC stream begin and end ("Length-Prefixed-Message" in gRPC over HTTP/2), however they are cut into frames.
//!
//! Keeps five bytes at most: a message is told piece by piece as it passes.

/// Flag and length of a message.
const PREFIX_BYTES: usize = 5;

/// How far a stream of messages has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Framing {
    prefix: [u8; PREFIX_BYTES],
    /// How much of it has come.
    prefix_bytes: usize,
    /// How much of the current message is to come.
    left: usize,
}

/// What the next bytes of a stream are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece<'b> {
    /// A part of a prefix.
    Prefix,
    /// The end of one: a message begins, and one of no bytes has ended too.
    Begins {
        /// Whether what follows is compressed.
        is_compressed: bool,
        /// How many bytes follow.
        length: usize,
    },
    /// A part of the message.
    Content {
        /// Never empty.
        bytes: &'b [u8],
        /// Whether the message ends with it.
        is_last: bool,
    },
}

impl Framing {
    /// What the bytes begin with, and the rest of them. Makes progress unless there is none.
    pub(super) fn next<'b>(&mut self, bytes: &'b [u8]) -> (Piece<'b>, &'b [u8]) {
        if self.left > 0 {
            let (now, later) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= now.len();
            return (Piece::Content { bytes: now, is_last: self.left == 0 }, later);
        }
        let missing = self.prefix.get_mut(self.prefix_bytes..).unwrap_or_default();
        let (now, later) = bytes.split_at(missing.len().min(bytes.len()));
        for (place, byte) in missing.iter_mut().zip(now) {
            *place = *byte;
        }
        self.prefix_bytes += now.len();
        if self.prefix_bytes < PREFIX_BYTES {
            return (Piece::Prefix, later);
        }
        self.prefix_bytes = 0;
        let [flag, length @ ..] = self.prefix;
        self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        (Piece::Begins { is_compressed: flag != 0, length: self.left }, later)
    }

    /// How many messages end within these bytes.
    pub(super) fn ends_in(&mut self, mut bytes: &[u8]) -> u64 {
        let mut ends = 0;
        while !bytes.is_empty() {
            let (piece, rest) = self.next(bytes);
            bytes = rest;
            ends += u64::from(match piece {
                Piece::Prefix => false,
                Piece::Begins { length, .. } => length == 0,
                Piece::Content { is_last, .. } => is_last,
            });
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_message_ends_once_wherever_it_is_cut(lengths in prop::collection::vec(0_u32..40, 0..9), cut in 1_usize..50) {
            let message = |length: &u32| [&[1][..], &length.to_be_bytes(), &vec![7; *length as usize]].concat();
            let bytes: Vec<u8> = lengths.iter().flat_map(message).collect();
            let mut framing = Framing::default();
            let ends: u64 = bytes.chunks(cut).map(|part| framing.ends_in(part)).sum();
            prop_assert_eq!(ends, lengths.len() as u64);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let _ends = Framing::default().ends_in(&bytes);
        }
    }
}
