//! What the first events of a stream say to a client: nothing yet, something, or that the model failed.

use super::{
    event::{Content, Said, Sign},
    split::{Framing, Splitter},
};

/// What has been said so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum Meaning {
    /// Nothing.
    Nothing,
    /// Text, or what is not understood.
    Something,
    /// That the model failed.
    Failure,
}

/// Reads a `text/event-stream` from its beginning.
#[derive(Debug)]
pub(in crate::proxy) struct Scanner {
    splitter: Splitter,
    /// What has come of an event that has not ended.
    open: Vec<u8>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { splitter: Splitter::new(Framing::Sse), open: Vec::new() }
    }
}

impl Scanner {
    /// Reads on, up to the first event that does not say nothing.
    pub(in crate::proxy) fn read(&mut self, mut frame: &[u8]) -> Meaning {
        while !frame.is_empty() {
            let part = self.splitter.next(frame);
            self.open.extend_from_slice(part.event);
            // A comment is there to be seen before its event has ended, so what follows it in the event takes nothing back.
            if self.open.starts_with(b":") {
                return Meaning::Something;
            }
            if part.ends {
                let meaning = Meaning::of(Said::in_event(&self.open));
                if meaning != Meaning::Nothing {
                    return meaning;
                }
                self.open.clear();
            }
            frame = part.rest;
        }
        Meaning::Nothing
    }
}

impl Meaning {
    fn of(Said { content, sign, .. }: Said) -> Self {
        match (sign, content) {
            // The end of a stream that has had no text is a failure too.
            (Sign::Failed | Sign::Broken | Sign::Done, _) => Self::Failure,
            (Sign::None, Content::Nothing) => Self::Nothing,
            (Sign::None, Content::Remark | Content::Text | Content::Unknown)
            | (Sign::Complete | Sign::Refused, _) => Self::Something,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROLE: &str =
        r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;

    fn meaning(stream: &str) -> Meaning {
        Scanner::default().read(stream.as_bytes())
    }

    #[test]
    fn roles_empty_texts_and_beginnings_say_nothing() {
        for quiet in [
            ROLE,
            r#"data:{"choices":[{"delta":{"role":"assistant","content":null}}]}"#,
            r#"data: {"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":null}]}"#,
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}",
            "id: 1\nretry: 10",
            "\u{feff}id: 1",
        ] {
            for end in ["\n\n", "\r\n\r\n", "\r\rx"] {
                assert_eq!(
                    meaning(&(quiet.replace('\n', &end[..end.len() / 2]) + end)),
                    Meaning::Nothing,
                    "{quiet:?}"
                );
            }
        }
        assert_eq!(meaning("data: {\"choices\":[{\"delta\":{\"content\":\"no end"), Meaning::Nothing);
    }

    #[test]
    fn text_reasoning_tools_ends_comments_and_the_unknown_say_something() {
        for telling in [
            r#"data: {"choices":[{"delta":{"content":"a"}}]}"#,
            r#"data: {"choices":[{"delta":{"reasoning_content":"a"}}]}"#,
            r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#,
            r#"data: {"choices":[{"text":"a"}]}"#,
            r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"data: {"choices":[],"usage":{}}"#,
            r#"data: {"type":"content_block_delta"}"#,
            r#"data: {"token":{"text":"a"}}"#,
            r#"data: {"error":{"message":"too long","code":400}}"#,
            ": keep-alive",
            "data: plain text",
            "data: 5",
        ] {
            assert_eq!(meaning(&format!("{ROLE}\n\n{telling}\n\n")), Meaning::Something, "{telling}");
        }
        for comment in [":", ": wait\nevent: error\ndata: {}\n\n"] {
            assert_eq!(meaning(comment), Meaning::Something, "a comment is seen at once");
        }
    }

    #[test]
    fn errors_and_an_end_without_a_token_say_that_the_model_failed() {
        for failed in [
            "data: [DONE]",
            r#"data: {"error":{"message":"engine died","code":500}}"#,
            r#"data: {"error":"gone","error_type":"generation"}"#,
            r#"data: {"object":"error","message":"full","code":503}"#,
            r#"data: {"type":"error","error":{"type":"overloaded_error"}}"#,
            r#"data: {"choices":[{"delta":{},"finish_reason":"abort"}]}"#,
            "event: error\ndata: {}",
            "error: {\"code\":500}",
        ] {
            assert_eq!(meaning(&format!("{ROLE}\n\n{failed}\n\n")), Meaning::Failure, "{failed}");
        }
    }

    proptest! {
        #[test]
        fn a_stream_means_the_same_however_it_is_cut(cuts in prop::collection::vec(1_usize..40, 0..30)) {
            let stream = format!("id: 7\r\n\r\n{ROLE}\r\r{ROLE}\n\ndata: [DONE]\n\n");
            let (mut scanner, mut rest, mut last) = (Scanner::default(), stream.as_bytes(), Meaning::Nothing);
            for cut in cuts.into_iter().chain([stream.len()]) {
                let (part, others) = rest.split_at(cut.min(rest.len()));
                prop_assert_eq!(last, Meaning::Nothing);
                last = scanner.read(part);
                rest = others;
                if rest.is_empty() || last == Meaning::Failure {
                    break;
                }
            }
            prop_assert_eq!(last, Meaning::Failure);
        }

        #[test]
        fn any_bytes_mean_something_and_none_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Scanner::default().read(&bytes);
        }
    }
}
