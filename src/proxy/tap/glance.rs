//! What an event is by its first bytes, so that most of a stream need not be parsed.

use super::split::Framing;

/// What an event is at first sight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Glance {
    /// A comment, or a sign of life of another kind.
    Idle,
    /// Part of the protocol, without text.
    Silent,
    /// Text, most likely.
    Text,
    /// An error, if the rest says so too.
    Suspect,
}

/// Every error event that model servers are known to send begins in one of these ways, or calls itself one.
const ERRORS: [&[u8]; 3] = [b"{\"error\"", b"{\"object\":\"error\"", b"{\"type\":\"error\""];
const SPACED_ERRORS: [&[u8]; 2] = [b"{\"object\": \"error\"", b"{\"type\": \"error\""];

pub(super) fn glance(framing: Framing, event: &[u8]) -> Glance {
    match framing {
        Framing::Lines => glance_at_data(event),
        Framing::Sse => event.strip_prefix(b"data:").map_or_else(|| glance_at_lines(event), glance_at_data),
    }
}

fn glance_at_data(data: &[u8]) -> Glance {
    let data = data.strip_prefix(b" ").unwrap_or(data);
    // The third byte tells the common beginnings, such as `{"id"` and `{"choices"`, from all of these.
    let may_be = matches!(data.get(2), Some(b'e' | b'o' | b't'));
    if may_be && ERRORS.iter().chain(&SPACED_ERRORS).any(|error| data.starts_with(error)) {
        return Glance::Suspect;
    }
    Glance::Text
}

/// An event whose first line is not its data.
fn glance_at_lines(event: &[u8]) -> Glance {
    for line in event.split(|byte| matches!(byte, b'\r' | b'\n')) {
        if let Some(data) = line.strip_prefix(b"data:") {
            return glance_at_data(data);
        }
        if let Some(name) = line.strip_prefix(b"event:")
            && let Some(glance) = glance_at_name(name.trim_ascii())
        {
            return glance;
        }
        if line.starts_with(b"error") {
            return Glance::Suspect;
        }
    }
    Glance::Idle
}

/// What an event's name tells, if it does.
fn glance_at_name(name: &[u8]) -> Option<Glance> {
    const KINDS: [&[u8]; 3] = [b"response.", b"message_", b"content_block_"];
    match name {
        b"ping" => Some(Glance::Idle),
        b"error" | b"response.failed" => Some(Glance::Suspect),
        b"message_delta" => Some(Glance::Silent),
        _ if name.ends_with(b"delta") => Some(Glance::Text),
        _ if KINDS.iter().any(|kind| name.starts_with(kind)) => Some(Glance::Silent),
        _ => None,
    }
}

/// Whether what a stream begins with is an event of `text/event-stream`; `None` while too little of it is there to tell.
pub(super) fn is_event(beginning: &[u8]) -> Option<bool> {
    const FIELDS: [&[u8]; 6] = [b"data", b"event", b"id", b"retry", b"error", b":"];
    const MARK: &[u8] = "\u{feff}".as_bytes();
    let beginning = beginning.strip_prefix(MARK).unwrap_or(beginning);
    if FIELDS.iter().any(|field| beginning.starts_with(field)) {
        return Some(true);
    }
    let may_become = |whole: &[u8]| whole.starts_with(beginning);
    if may_become(MARK) || FIELDS.into_iter().any(may_become) { None } else { Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_suspected_and_texts_are_not() {
        for (event, expected) in [
            (r#"data: {"id":"x","choices":[]}"#, Glance::Text),
            (r#"data:{"error":"gone"}"#, Glance::Suspect),
            (r#"data: {"error": {"code": 500}}"#, Glance::Suspect),
            (r#"data: {"object":"error"}"#, Glance::Suspect),
            (r#"data: {"object": "error"}"#, Glance::Suspect),
            (r#"data: {"object":"chat.completion.chunk"}"#, Glance::Text),
            (r#"data: {"type":"error"}"#, Glance::Suspect),
            ("data: [DONE]", Glance::Text),
            ("data: [", Glance::Text),
            ("error: {}", Glance::Suspect),
            ("event: error\ndata: {}", Glance::Suspect),
            ("event: response.failed\ndata: {}", Glance::Suspect),
            ("event: response.output_text.delta\ndata: {}", Glance::Text),
            ("event: response.output_text.done\ndata: {}", Glance::Silent),
            ("event: content_block_delta\r\ndata: {}", Glance::Text),
            ("event: message_delta\ndata: {}", Glance::Silent),
            ("event: ping\ndata: {}", Glance::Idle),
            ("event: token\ndata: {}", Glance::Text),
            (": keep-alive\n", Glance::Idle),
            (": keep-alive\ndata: {}", Glance::Text),
            ("id: 7\ndata: {}", Glance::Text),
            ("id: 7\r\ndata: {\"error\":1}", Glance::Suspect),
        ] {
            assert_eq!(glance(Framing::Sse, event.as_bytes()), expected, "{event}");
        }
        assert_eq!(glance(Framing::Lines, br#"{"error":"gone"}"#), Glance::Suspect);
        assert_eq!(glance(Framing::Lines, br#"{"model":"m"}"#), Glance::Text);
    }

    #[test]
    fn a_stream_is_taken_for_events_only_when_it_begins_like_one() {
        for (beginning, expected) in [
            ("data: x", Some(true)),
            (":", Some(true)),
            ("\u{feff}id", Some(true)),
            ("\u{feff}", None),
            ("da", None),
            ("", None),
            ("tok0 ", Some(false)),
            ("dax", Some(false)),
        ] {
            assert_eq!(is_event(beginning.as_bytes()), expected, "{beginning:?}");
        }
    }
}
