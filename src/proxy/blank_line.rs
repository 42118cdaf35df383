//! Where a head ends, looked for without reading what was read before.
//!
//! A head that comes in many pieces would be parsed from its beginning at each of them: 64 KiB a byte at a time are billions of steps.
//! So it is parsed when its first piece has come, which is all of it as a rule and shows early what is no HTTP, and after that only
//! when a blank line has come, for which every byte is looked at once.

use memchr::memchr_iter;

/// How much of a head that is not complete was looked at. Zero where no part of one has come.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Searched(usize);

impl Searched {
    /// Whether a head in these bytes is worth parsing: they are the first, or a blank line has come since the last look.
    pub(super) fn may_be_complete(self, input: &[u8]) -> bool {
        // Two bytes back, the last look may have seen the first two of CR LF CR LF's last three.
        let from = self.0.saturating_sub(2);
        let unseen = input.get(from..).unwrap_or_default();
        self.0 == 0
            || memchr_iter(b'\n', unseen)
                .any(|place| matches!(unseen.get(place + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
    }

    /// After a look at these bytes, of which none was taken as a head.
    pub(super) fn note(&mut self, input: &[u8]) {
        self.0 = input.len();
    }

    /// A head was taken. What follows it is another one's.
    pub(super) fn forget(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a look at all of the text finds it worth parsing, after one at its first bytes.
    fn after(seen: usize, text: &str) -> bool {
        let mut searched = Searched::default();
        searched.note(&text.as_bytes()[..seen]);
        searched.may_be_complete(text.as_bytes())
    }

    #[test]
    fn a_blank_line_is_found_wherever_the_pieces_bounds_are() {
        for text in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\n\n", "x: y\n\r\n"] {
            for seen in 0..text.len() {
                assert!(after(seen, text), "{text:?} after {seen} bytes");
            }
        }
    }

    #[test]
    fn a_head_without_its_end_is_parsed_once() {
        let text = "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\nz";
        assert!(after(0, text), "the first piece may be no HTTP");
        for seen in 1..=text.len() {
            assert!(!after(seen, text), "after {seen} bytes");
        }
    }

    #[test]
    fn a_blank_line_that_was_looked_at_is_not_found_again() {
        let text = "\r\n\r\nGET / HTTP";
        assert!(after(2, text) && !after(6, text));
    }
}
