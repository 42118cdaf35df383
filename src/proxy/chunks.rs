//! The chunked transfer coding (RFC 9112 section 7.1), decoded strictly.
//!
//! Line ends are CRLF and nothing else, sizes are hexadecimal digits and nothing else. Extensions are read over, since they mean nothing
//! to the proxy, and trailers are kept, both within a bound: what an instance sends without end must not be read without end.

use bytes::{Buf, Bytes};
use http::HeaderMap;

use super::{decode::Malformed, trailers};

/// Extensions, leading zeros of sizes, and trailers of one body together.
const OVERHEAD_LIMIT_BYTES: usize = 16 * 1024;

/// Where in a chunked body the decoder is.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    overhead_bytes: usize,
    /// The lines after the last chunk, as they came.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Before a size.
    SizeStart,
    /// In a size.
    Size(u64),
    /// In the blanks after a size.
    SizeBlank(u64),
    /// After a size, in an extension.
    Extension(u64),
    /// After a size's carriage return.
    SizeEnd(u64),
    /// In a chunk, with so many bytes to come.
    Data(u64),
    /// After a chunk.
    DataEnd,
    /// After a chunk's carriage return.
    DataLineEnd,
    /// At the beginning of a line after the last chunk.
    TrailerStart,
    /// In a trailer.
    Trailer,
    /// After a trailer's carriage return.
    TrailerLineEnd,
    /// After the carriage return of the empty line that ends it all.
    LastLineEnd,
    Done,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self { state: State::SizeStart, overhead_bytes: 0, trailers: Vec::new() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether there are trailers to be taken.
    pub(super) fn has_trailers(&self) -> bool {
        self.is_done() && !self.trailers.is_empty()
    }

    /// The trailers of a body that is done, once.
    pub(super) fn take_trailers(&mut self) -> Result<HeaderMap, Malformed> {
        trailers::read(&std::mem::take(&mut self.trailers))
    }

    /// The next data in `input`, of which it takes what it understands; `None` when it needs more or is done.
    pub(super) fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        while !self.is_done() {
            if let State::Data(left) = self.state {
                if input.is_empty() {
                    return Ok(None);
                }
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let rest = left - u64::try_from(length).unwrap_or(left);
                self.state = if rest == 0 { State::DataEnd } else { State::Data(rest) };
                // After a chunk's end comes its line end, often in the same read: taking it now tells whether this was the last
                // data, so that the end can go out with it.
                let data = input.split_to(length);
                self.skim(input)?;
                return Ok(Some(data));
            }
            let Some(byte) = input.first().copied() else { return Ok(None) };
            input.advance(1);
            self.take(byte)?;
        }
        Ok(None)
    }

    /// Takes what comes before the next data.
    fn skim(&mut self, input: &mut Bytes) -> Result<(), Malformed> {
        while !matches!(self.state, State::Data(_) | State::Done) {
            let Some(byte) = input.first().copied() else { break };
            input.advance(1);
            self.take(byte)?;
        }
        Ok(())
    }

    fn take(&mut self, byte: u8) -> Result<(), Malformed> {
        self.state = self.step(byte)?;
        match self.state {
            State::Trailer | State::TrailerLineEnd => self.trailers.push(byte),
            State::TrailerStart | State::LastLineEnd | State::Done if !self.trailers.is_empty() => {
                self.trailers.push(byte);
            }
            State::SizeStart
            | State::Size(_)
            | State::SizeBlank(_)
            | State::Extension(_)
            | State::SizeEnd(_)
            | State::Data(_)
            | State::DataEnd
            | State::DataLineEnd
            | State::TrailerStart
            | State::LastLineEnd
            | State::Done => {}
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<State, Malformed> {
        let bad = Err(Malformed("A chunk of its body is malformed."));
        match (self.state, byte) {
            (State::SizeStart, _) => match digit(byte) {
                Some(digit) => Ok(State::Size(digit)),
                None => bad,
            },
            (State::Size(size) | State::SizeBlank(size), b'\r') => Ok(State::SizeEnd(size)),
            (State::Size(size) | State::SizeBlank(size), b';') => Ok(State::Extension(size)),
            (State::Size(size), b' ' | b'\t') => Ok(State::SizeBlank(size)),
            (State::SizeBlank(size), b' ' | b'\t') => self.overhead(State::SizeBlank(size)),
            // Zeros before a size could go on for ever.
            (State::Size(0), b'0') => self.overhead(State::Size(0)),
            (State::Size(size), _) => match digit(byte) {
                Some(digit) if size >> 60 == 0 => Ok(State::Size(size << 4 | digit)),
                Some(_) | None => bad,
            },
            (State::Extension(size), b'\r') => Ok(State::SizeEnd(size)),
            (State::Trailer, b'\r') => Ok(State::TrailerLineEnd),
            (State::Extension(_) | State::Trailer, b'\n') => bad,
            (State::Extension(_) | State::Trailer, _) => self.overhead(self.state),
            (State::SizeEnd(0), b'\n') => Ok(State::TrailerStart),
            (State::SizeEnd(size), b'\n') => Ok(State::Data(size)),
            (State::DataEnd, b'\r') => Ok(State::DataLineEnd),
            (State::DataLineEnd, b'\n') => Ok(State::SizeStart),
            (State::TrailerStart, b'\r') => Ok(State::LastLineEnd),
            (State::TrailerStart, b'\n') => bad,
            (State::TrailerStart, _) => self.overhead(State::Trailer),
            (State::TrailerLineEnd, b'\n') => Ok(State::TrailerStart),
            (State::LastLineEnd, b'\n') => Ok(State::Done),
            (
                State::SizeBlank(_)
                | State::SizeEnd(_)
                | State::DataEnd
                | State::DataLineEnd
                | State::TrailerLineEnd
                | State::LastLineEnd
                | State::Data(_)
                | State::Done,
                _,
            ) => bad,
        }
    }

    fn overhead(&mut self, next: State) -> Result<State, Malformed> {
        self.overhead_bytes += 1;
        if self.overhead_bytes > OVERHEAD_LIMIT_BYTES {
            return Err(Malformed(
                "Its body has more than 16 KiB of extensions, leading zeros and trailers.",
            ));
        }
        Ok(next)
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes in pieces of these lengths; the data, and whether the end was seen, or the error.
    fn decode(text: &[u8], mut lengths: impl Iterator<Item = usize>) -> Result<(Vec<u8>, bool), Malformed> {
        let (mut chunks, mut data, mut rest) = (Chunks::new(), Vec::new(), text);
        while !rest.is_empty() && !chunks.is_done() {
            let (piece, tail) = rest.split_at(lengths.next().unwrap_or(1).clamp(1, rest.len()));
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(bytes) = chunks.decode(&mut input)? {
                data.extend_from_slice(&bytes);
            }
            rest = tail;
        }
        Ok((data, chunks.is_done()))
    }

    #[test]
    fn chunks_are_read_and_what_stands_between_them_is_read_over() {
        for (text, data, is_done) in [
            ("0\r\n\r\n", "", true),
            ("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", true),
            ("A;x=\"y\"\r\n0123456789\r\n00\r\n\r\n", "0123456789", true),
            ("3 \r\nabc\r\n0\r\nx: y\r\nz: 1\r\n\r\n", "abc", true),
            ("3 \t ; x\r\nabc\r\n0\t\r\n\r\n", "abc", true),
            ("3\r\nabc\r\n", "abc", false),
            ("5\r\nab", "ab", false),
            ("0\r\nx: y\r\n", "", false),
        ] {
            for size in [1, 2, 3, 100] {
                let decoded = decode(text.as_bytes(), std::iter::repeat(size));
                assert_eq!(decoded, Ok((data.as_bytes().to_vec(), is_done)), "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn whatever_is_not_exactly_a_chunk_is_refused() {
        let long = format!("0\r\nx: {}\r\n\r\n", "y".repeat(20_000));
        let zeros = format!("{}3\r\nabc\r\n0\r\n\r\n", "0".repeat(20_000));
        let blanks = format!("3{}\r\nabc\r\n0\r\n\r\n", " ".repeat(20_000));
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "3\nabc\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "3\r\r\n",
            "3 4\r\nabc\r\n",
            "3 x\r\nabc\r\n",
            "3\t0\r\n",
            "3 \n",
            "10000000000000000\r\n",
            "fffffffffffffffff\r\n",
            "0\r\n\n",
            "0\r\nx: y\n\r\n",
            "0\r\n\r\r",
            "3;x\nabc\r\n",
            &long,
            &zeros,
            &blanks,
        ] {
            for size in [1, 100_000] {
                assert!(decode(text.as_bytes(), std::iter::repeat(size)).is_err(), "{text:?} by {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_body_comes_out_as_it_went_in(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..20),
            lengths in prop::collection::vec(1_usize..20, 1..50),
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            let decoded = decode(&text, lengths.iter().copied().cycle());
            prop_assert_eq!(decoded, Ok((chunks.concat(), true)));
        }

        #[test]
        fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(decode(&text, std::iter::repeat(7)));
        }
    }
}
