//! Where the events of a stream end, however it is cut into frames.

use memchr::{memchr, memchr2};

/// How events follow one another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum Framing {
    /// `text/event-stream`: an event ends at an empty line. A line ends with LF, CR LF or CR
    /// (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>).
    Sse,
    /// `application/x-ndjson`: a line is an event.
    Lines,
}

/// What has come of the event and line that have not ended.
#[derive(Debug)]
pub(in crate::proxy) struct Splitter {
    framing: Framing,
    is_line_empty: bool,
    /// The last byte was a carriage return, so that a line feed belongs to the same end.
    is_after_return: bool,
}

/// The next part of a frame: what belongs to the current event, and what comes after.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::proxy) struct Part<'a> {
    pub(in crate::proxy) event: &'a [u8],
    pub(in crate::proxy) ends: bool,
    pub(in crate::proxy) rest: &'a [u8],
}

impl Splitter {
    pub(in crate::proxy) fn new(framing: Framing) -> Self {
        Self { framing, is_line_empty: true, is_after_return: false }
    }

    /// Reads on to the end of the current event, or of the frame.
    pub(in crate::proxy) fn next<'a>(&mut self, frame: &'a [u8]) -> Part<'a> {
        match self.framing {
            Framing::Sse => self.next_event(frame),
            Framing::Lines => match memchr(b'\n', frame) {
                Some(end) => Part { event: &frame[..end], ends: true, rest: &frame[end + 1..] },
                None => Part { event: frame, ends: false, rest: &[] },
            },
        }
    }

    fn next_event<'a>(&mut self, frame: &'a [u8]) -> Part<'a> {
        let frame = match frame.strip_prefix(b"\n") {
            Some(rest) if std::mem::take(&mut self.is_after_return) => rest,
            Some(_) | None => frame,
        };
        self.is_after_return &= frame.is_empty();
        let mut at = 0;
        while let Some(length) = memchr2(b'\n', b'\r', &frame[at..]) {
            let end = at + length;
            let is_blank = std::mem::replace(&mut self.is_line_empty, true) && length == 0;
            at = end + 1;
            if frame[end] == b'\r' {
                match frame.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.is_after_return = true,
                }
            }
            if is_blank {
                return Part { event: &frame[..end], ends: true, rest: &frame[at..] };
            }
        }
        self.is_line_empty &= at == frame.len();
        Part { event: frame, ends: false, rest: &[] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(framing: Framing, frames: &[&[u8]]) -> Vec<String> {
        let (mut splitter, mut open, mut events) = (Splitter::new(framing), Vec::new(), Vec::new());
        for frame in frames {
            let mut rest = *frame;
            while !rest.is_empty() {
                let part = splitter.next(rest);
                open.extend_from_slice(part.event);
                if part.ends {
                    let event = std::mem::take(&mut open);
                    events.push(String::from_utf8_lossy(&event).replace(['\r', '\n'], "|"));
                }
                rest = part.rest;
            }
        }
        events
    }

    #[test]
    fn events_end_at_an_empty_line_with_any_line_end() {
        for stream in ["a\nb\n\nc\n\n\nd", "a\rb\r\rc\r\r\rd", "\u{61}\nb\n\nc\n\n\nd"] {
            assert_eq!(events(Framing::Sse, &[stream.as_bytes()]), ["a|b|", "c|", ""], "{stream:?}");
        }
        assert_eq!(events(Framing::Sse, &[b"a\r\nb\r\n\r\nc\r\n\r\n\r\nd"]), ["a||b||", "c||", ""]);
        assert_eq!(events(Framing::Lines, &[b"{}\n{1}\n\n{"]), ["{}", "{1}", ""]);
    }

    proptest! {
        #[test]
        fn a_stream_is_split_alike_however_it_is_cut(
            stream in "[ab\r\n]{0,60}",
            cuts in prop::collection::vec(0_usize..60, 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let ends = cuts.iter().copied().chain([stream.len()]);
            let frames: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &stream.as_bytes()[start..end]).collect();
            let plain = |events: Vec<String>| events.iter().map(|event| event.replace('|', "")).collect::<Vec<_>>();
            for framing in [Framing::Sse, Framing::Lines] {
                prop_assert_eq!(plain(events(framing, &frames)), plain(events(framing, &[stream.as_bytes()])));
            }
        }
    }
}
