//! What the first events of a stream say to a client: nothing yet, something, or that the model failed.
//!
//! Knows the streams of OpenAI's completions and of Anthropic's messages as the common model servers send them. What it does not
//! know says something.

use serde_json::Value;

/// What has been said so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// Nothing.
    Nothing,
    /// Text, or what is not understood.
    Something,
    /// That the model failed.
    Failure,
}

/// Takes a stream apart into events, which end at an empty line.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// What has come of an event that has not ended.
    rest: Vec<u8>,
}

impl Scanner {
    /// Reads on, up to the first event that does not say nothing.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Meaning {
        self.rest.extend_from_slice(bytes);
        while let Some((event, next)) = first_event(&self.rest) {
            let meaning = meaning_of(event);
            if meaning != Meaning::Nothing {
                return meaning;
            }
            self.rest.drain(..next);
        }
        // A comment is there to be seen before its event has ended.
        if self.rest.starts_with(b":") { Meaning::Something } else { Meaning::Nothing }
    }
}

/// The lines of the first whole event, and where the next one begins. A line ends with CR LF, LF or CR; a line feed that comes later than
/// its carriage return reads as one more empty event, which says nothing.
fn first_event(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut line_start = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let end = match (byte, bytes.get(at + 1)) {
            (b'\r', Some(b'\n')) => at + 2,
            (b'\r' | b'\n', _) => at + 1,
            _ => {
                at += 1;
                continue;
            }
        };
        if at == line_start {
            return Some((bytes.get(..at)?, end));
        }
        (line_start, at) = (end, end);
    }
    None
}

fn meaning_of(event: &[u8]) -> Meaning {
    let Ok(event) = std::str::from_utf8(event) else { return Meaning::Something };
    let event = event.trim_start_matches('\u{feff}');
    let mut data = String::new();
    for line in event.split(['\r', '\n']).filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (field, value) {
            // A comment.
            ("", _) => return Meaning::Something,
            ("event", "error" | "response.failed") => return Meaning::Failure,
            ("data", value) => {
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
            }
            // Llama.cpp once sent errors in a field of their own.
            ("error", _) => return Meaning::Failure,
            _ => {}
        }
    }
    match data.trim() {
        "" => Meaning::Nothing,
        // The end of a stream that has had no text.
        "[DONE]" => Meaning::Failure,
        data => serde_json::from_str(data).map_or(Meaning::Something, |document| meaning_of_data(&document)),
    }
}

fn meaning_of_data(document: &Value) -> Meaning {
    let kind = document["type"].as_str().unwrap_or_default();
    let is_error = !document["error"].is_null() || document["object"] == "error" || kind == "error";
    if is_error {
        return if blames_client(document) { Meaning::Something } else { Meaning::Failure };
    }
    if matches!(kind, "message_start" | "content_block_start" | "ping") {
        return Meaning::Nothing;
    }
    match document["choices"].as_array() {
        Some(choices) if !choices.is_empty() => meaning_of_choices(choices),
        Some(_) | None => Meaning::Something,
    }
}

/// Servers put the status that they would have answered with into the error.
fn blames_client(document: &Value) -> bool {
    let code = [&document["error"]["code"], &document["code"]].into_iter().find_map(Value::as_u64);
    code.is_some_and(|code| (400..500).contains(&code) && !matches!(code, 408 | 424 | 429))
}

fn meaning_of_choices(choices: &[Value]) -> Meaning {
    let reason = |choice: &Value| choice["finish_reason"].as_str().map(str::to_owned);
    if choices.iter().any(|choice| matches!(reason(choice).as_deref(), Some("error" | "abort"))) {
        return Meaning::Failure;
    }
    let says_nothing = |choice: &Value| {
        let delta = choice["delta"].as_object();
        let is_known = delta.is_some() || choice.get("text").is_some();
        let mut parts = delta.into_iter().flatten().filter(|(name, _)| *name != "role");
        is_known
            && reason(choice).is_none()
            && is_empty(&choice["text"])
            && parts.all(|(_, part)| is_empty(part))
    };
    if choices.iter().all(says_nothing) { Meaning::Nothing } else { Meaning::Something }
}

fn is_empty(part: &Value) -> bool {
    match part {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
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
        assert_eq!(meaning(":"), Meaning::Something, "a comment is seen at once");
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
