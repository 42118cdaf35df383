//! What one event of a model server's stream says: nothing yet, text, that the answer is complete, or that the model failed.
//!
//! Knows the streams of OpenAI's completions and responses, of Anthropic's messages, of Ollama and of TGI, as the common model servers
//! send them. What it does not know is taken for text.

use serde_json::Value;

/// What one event says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) struct Said {
    pub(in crate::proxy) content: Content,
    pub(in crate::proxy) sign: Sign,
    /// How many tokens the model has put out so far, as its server counts them.
    pub(in crate::proxy) tokens: Option<u64>,
    /// Whether it is part of a stream that shows its end in words of its own.
    pub(in crate::proxy) shows_end: bool,
}

/// What it tells a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum Content {
    /// Nothing: a role, an empty text, a beginning.
    Nothing,
    /// Something, but no part of the model's answer: a comment, a count, an end.
    Remark,
    /// A part of the model's answer.
    Text,
    /// What is not understood.
    Unknown,
}

/// What it says of the answer as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum Sign {
    /// It goes on.
    None,
    /// It is complete.
    Complete,
    /// It was broken off.
    Broken,
    /// The model failed.
    Failed,
    /// It cannot be given, and the client is to blame.
    Refused,
    /// The stream ends, for whatever reason.
    Done,
}

impl Said {
    const NOTHING: Self = Self::of(Content::Nothing);

    const fn of(content: Content) -> Self {
        Self { content, sign: Sign::None, tokens: None, shows_end: false }
    }

    /// What an event of a `text/event-stream` says; its lines without the empty one that ends it.
    pub(in crate::proxy) fn in_event(event: &[u8]) -> Self {
        let Ok(event) = std::str::from_utf8(event) else { return Self::of(Content::Unknown) };
        let event = event.trim_start_matches('\u{feff}');
        let (mut name, mut data, mut error) = ("", String::new(), None);
        let mut has_comment = false;
        for line in event.split(['\r', '\n']).filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => has_comment = true,
                "event" => name = value,
                "data" => {
                    if !data.is_empty() {
                        data.push('\n');
                    }
                    data.push_str(value);
                }
                // Llama.cpp once sent errors in a field of their own.
                "error" => error = Some(value),
                _ => {}
            }
        }
        if let Some(error) = error {
            return Self::error(&serde_json::json!({ "error": serde_json::from_str::<Value>(error).ok() }));
        }
        match data.trim() {
            "" if matches!(name, "error" | "response.failed") => Self::error(&Value::Null),
            "" if has_comment => Self::of(Content::Remark),
            "" => Self::NOTHING,
            "[DONE]" => Self { sign: Sign::Done, ..Self::of(Content::Remark) },
            data => Self::in_data(data, name),
        }
    }

    /// What a line of JSON says.
    pub(in crate::proxy) fn in_line(line: &[u8]) -> Self {
        std::str::from_utf8(line).map_or(Self::of(Content::Unknown), |line| Self::in_data(line, ""))
    }

    /// `name` is what the event calls itself, where it does.
    fn in_data(data: &str, name: &str) -> Self {
        // What was too long to be kept whole is known by its name.
        let document = serde_json::from_str(data).unwrap_or(Value::Null);
        let kind = document["type"].as_str().unwrap_or(name);
        let is_error = !is_empty(&document["error"])
            || document["object"] == "error"
            || [name, kind].iter().any(|kind| matches!(*kind, "error" | "response.failed"));
        if is_error {
            return Self::error(&document);
        }
        let said = if let Some(choices) = document["choices"].as_array() {
            in_choices(choices)
        } else if kind.starts_with("response.") {
            in_response(kind, &document)
        } else if kind.starts_with("message_") || kind.starts_with("content_block_") || kind == "ping" {
            in_message(kind, &document)
        } else if let Some(is_done) = document["done"].as_bool() {
            in_ollama(is_done, &document)
        } else if let Some(text) = document["token"]["text"].as_str() {
            // TGI's own stream.
            let is_complete = document["generated_text"].is_string();
            let content = if text.is_empty() { Content::Nothing } else { Content::Text };
            Self { sign: if is_complete { Sign::Complete } else { Sign::None }, ..Self::of(content) }
        } else {
            Self::of(Content::Unknown)
        };
        Self { tokens: tokens(&document), ..said }
    }

    fn error(document: &Value) -> Self {
        let sign = if blames_client(document) { Sign::Refused } else { Sign::Failed };
        Self { sign, ..Self::of(Content::Remark) }
    }
}

/// Servers put the status that they would have answered with into the error.
fn blames_client(document: &Value) -> bool {
    let code = |code: &Value| code.as_u64().or_else(|| code.as_str()?.parse().ok());
    let code = [&document["error"]["code"], &document["code"]].into_iter().find_map(code);
    code.is_some_and(|code| (400..500).contains(&code) && !matches!(code, 408 | 424 | 429))
}

/// A part of a completion, or of a chat's.
fn in_choices(choices: &[Value]) -> Said {
    if choices.is_empty() {
        return Said::of(Content::Remark);
    }
    let reasons: Vec<&str> = choices.iter().filter_map(|choice| choice["finish_reason"].as_str()).collect();
    // One good end of several answers to a prompt is an answer.
    let sign = if reasons.iter().any(|reason| !matches!(*reason, "error" | "abort")) {
        Sign::Complete
    } else if reasons.is_empty() {
        Sign::None
    } else {
        Sign::Broken
    };
    let is_known = |choice: &Value| choice["delta"].is_object() || choice.get("text").is_some();
    let has_text = |choice: &Value| {
        let mut parts = choice["delta"].as_object().into_iter().flatten();
        !is_empty(&choice["text"]) || parts.any(|(name, part)| name != "role" && !is_empty(part))
    };
    let content = if choices.iter().any(has_text) {
        Content::Text
    } else if !choices.iter().all(is_known) && sign == Sign::None {
        Content::Unknown
    } else {
        Content::Nothing
    };
    Said { sign, shows_end: true, ..Said::of(content) }
}

/// OpenAI's responses (<https://platform.openai.com/docs/api-reference/responses-streaming>).
fn in_response(kind: &str, document: &Value) -> Said {
    let (content, sign) = match kind {
        "response.completed" | "response.incomplete" => (Content::Remark, Sign::Complete),
        "response.created" | "response.queued" | "response.in_progress" => (Content::Nothing, Sign::None),
        kind if kind.ends_with(".added") => (Content::Nothing, Sign::None),
        kind if kind.ends_with(".delta") && (document.is_null() || !is_empty(&document["delta"])) => {
            (Content::Text, Sign::None)
        }
        _ => (Content::Remark, Sign::None),
    };
    Said { sign, shows_end: true, ..Said::of(content) }
}

/// Anthropic's messages (<https://docs.anthropic.com/en/api/messages-streaming>).
fn in_message(kind: &str, document: &Value) -> Said {
    let mut parts = document["delta"].as_object().into_iter().flatten();
    let (content, sign) = match kind {
        "message_start" | "content_block_start" | "ping" => (Content::Nothing, Sign::None),
        "message_stop" => (Content::Remark, Sign::Complete),
        "content_block_delta"
            if document.is_null() || parts.any(|(name, part)| name != "type" && !is_empty(part)) =>
        {
            (Content::Text, Sign::None)
        }
        _ => (Content::Remark, Sign::None),
    };
    Said { sign, shows_end: true, ..Said::of(content) }
}

/// A line of Ollama's (<https://github.com/ollama/ollama/blob/main/docs/api.md>).
fn in_ollama(is_done: bool, document: &Value) -> Said {
    let message = &document["message"];
    let texts = [
        &document["response"],
        &document["thinking"],
        &message["content"],
        &message["thinking"],
        &message["tool_calls"],
    ];
    let has_text = texts.into_iter().any(|text| !is_empty(text));
    let sign = if is_done { Sign::Complete } else { Sign::None };
    Said { sign, shows_end: true, ..Said::of(if has_text { Content::Text } else { Content::Nothing }) }
}

fn tokens(document: &Value) -> Option<u64> {
    let usage = &document["usage"];
    let counts = [
        &usage["completion_tokens"],
        &usage["output_tokens"],
        &document["response"]["usage"]["output_tokens"],
        &document["eval_count"],
        &document["details"]["generated_tokens"],
    ];
    counts.into_iter().find_map(Value::as_u64)
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
