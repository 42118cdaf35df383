//! Streams as the common model servers send them, written down from the wire or from their sources.

use std::time::Duration;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const ROLE: &str =
    r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const STOP: &str = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}"#;
const DONE: &str = "[DONE]";

const GOOD: Verdict = Verdict::Success;
const IN_BAND: Verdict = Verdict::Failure(FailureKind::InBand);
const TRUNCATED: Verdict = Verdict::Failure(FailureKind::Truncated);

fn text(content: &str) -> String {
    format!(
        r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":"{content}"}},"finish_reason":null}}]}}"#
    )
}

fn sse(data: &[&str]) -> String {
    data.iter().map(|data| format!("data: {data}\n\n")).collect()
}

fn named(events: &[(&str, &str)]) -> String {
    events.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect()
}

fn at(millis: u64) -> Moment {
    Moment::from_nanos(millis * 1_000_000)
}

/// What came of a stream.
#[derive(PartialEq, Eq, Debug)]
struct Heard {
    verdict: Verdict,
    first_text: Option<u64>,
    tokens: u64,
    gaps: Vec<u64>,
}

/// Reads frames that come one after another, the first after 10 ms and each 10 ms after the one before.
fn hear(framing: Framing, frames: &[&[u8]]) -> Heard {
    let (mut tap, mut gaps) = (Tap::new(framing), Vec::new());
    let mut note = |gap: Duration| gaps.push(u64::try_from(gap.as_millis()).unwrap());
    for (place, frame) in (1..).zip(frames) {
        tap.read(frame, at(10 * place), true, &mut note);
    }
    tap.finish(&mut note);
    let first_text = tap.first_text().map(|first| first.as_nanos() / 1_000_000);
    Heard { verdict: tap.verdict(), first_text, tokens: tap.tokens(), gaps }
}

fn whole(stream: &str) -> (Verdict, bool, u64) {
    let heard = hear(Framing::Sse, &[stream.as_bytes()]);
    (heard.verdict, heard.first_text.is_some(), heard.tokens)
}

/// A stream is good with any line end, and has so many tokens.
fn assert_complete(server: &str, stream: &str, tokens: u64) {
    for stream in [stream.to_owned(), stream.replace('\n', "\r\n"), stream.replace("data: ", "data:")] {
        let (verdict, _, counted) = whole(&stream);
        assert_eq!((verdict, counted), (GOOD, tokens), "{server}: {stream}");
    }
}

#[test]
fn complete_completions_of_every_known_server_are_good_and_their_tokens_are_counted() {
    let (a, b) = (&text(" a")[..], &text(" b")[..]);
    let last = r#"{"choices":[{"delta":{"content":" b"},"finish_reason":"length"}]}"#;
    let reasoning = r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#;
    let tools = r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#;
    let calls = r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#;
    for (server, stream, tokens) in [
        ("vLLM", sse(&[ROLE, a, last, DONE]), 2),
        ("vLLM, usage", sse(&[ROLE, a, b, STOP, USAGE, DONE]), 9),
        ("vLLM, reasoning", sse(&[ROLE, reasoning, a, STOP, DONE]), 2),
        ("vLLM, tools", sse(&[ROLE, tools, tools, calls, DONE]), 2),
        (
            "completions",
            sse(&[
                r#"{"choices":[{"text":"a"}]}"#,
                r#"{"choices":[{"text":"b","finish_reason":"stop"}]}"#,
                DONE,
            ]),
            2,
        ),
        ("SGLang", sse(&[ROLE, a, b, a, b, a, STOP, DONE]), 5),
        ("llama.cpp", format!(": keep-alive\n\n{}", sse(&[ROLE, a, b, STOP, USAGE, DONE])), 9),
        ("no answer but a good end", sse(&[ROLE, STOP, DONE]), 0),
        ("no [DONE]", sse(&[ROLE, a, STOP]), 1),
        ("no empty line at the end", sse(&[ROLE, a, STOP, DONE]).trim_end().to_owned(), 1),
        (
            "two answers, one broken off",
            sse(&[ROLE, a, STOP, r#"{"choices":[{"delta":{},"finish_reason":"abort"}]}"#, DONE]),
            1,
        ),
        ("TGI chat", sse(&[a, last, DONE]), 2),
        ("unknown events", sse(&[r#"{"output":"a"}"#, "plain", r#"{"output":"c"}"#]), 3),
        ("unknown events and [DONE]", sse(&["plain", DONE]), 1),
    ] {
        assert_complete(server, &stream, tokens);
    }
}

#[test]
fn complete_streams_of_other_protocols_are_good_and_their_tokens_are_counted() {
    for (server, stream, tokens) in [
        (
            "TGI",
            sse(&[
                r#"{"index":1,"token":{"text":" a"},"generated_text":null}"#,
                r#"{"index":2,"token":{"text":" b"},"generated_text":" a b","details":{"generated_tokens":2}}"#,
            ]),
            2,
        ),
        (
            "responses",
            named(&[
                ("response.created", r#"{"type":"response.created","response":{}}"#),
                ("response.output_item.added", r#"{"type":"response.output_item.added"}"#),
                ("response.output_text.delta", r#"{"type":"response.output_text.delta","delta":" a"}"#),
                ("response.output_text.delta", r#"{"type":"response.output_text.delta","delta":" b"}"#),
                ("response.output_text.done", r#"{"type":"response.output_text.done","text":" a b"}"#),
                (
                    "response.completed",
                    r#"{"type":"response.completed","response":{"error":null,"usage":{"output_tokens":4}}}"#,
                ),
            ]),
            4,
        ),
        (
            "Anthropic",
            named(&[
                ("message_start", r#"{"type":"message_start","message":{"usage":{"output_tokens":1}}}"#),
                ("content_block_start", r#"{"type":"content_block_start"}"#),
                ("ping", r#"{"type":"ping"}"#),
                (
                    "content_block_delta",
                    r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#,
                ),
                ("content_block_stop", r#"{"type":"content_block_stop"}"#),
                (
                    "message_delta",
                    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#,
                ),
                ("message_stop", r#"{"type":"message_stop"}"#),
            ]),
            15,
        ),
    ] {
        assert_complete(server, &stream, tokens);
    }
    let ollama = concat!(
        "{\"message\":{\"content\":\" a\"},\"done\":false}\n",
        "{\"message\":{\"content\":\"\"},\"done\":true,\"eval_count\":3}\n"
    );
    let heard = hear(Framing::Lines, &[ollama.as_bytes()]);
    assert_eq!((heard.verdict, heard.tokens, heard.first_text), (GOOD, 3, Some(10)));
}

#[test]
fn what_broke_inside_is_a_failure_and_what_a_client_did_is_the_clients() {
    let a = &text(" a")[..];
    let engine = r#"{"error":{"message":"died","type":"InternalServerError","param":null,"code":500}}"#;
    let too_long = r#"{"error":{"message":"too long","code":400}}"#;
    let flat = r#"{"object":"error","message":"too long","code":400}"#;
    let tgi = r#"{"error":{"message":"CUDA","http_status_code":422}}"#;
    let abort = r#"{"choices":[{"delta":{"content":""},"finish_reason":"abort"}]}"#;
    let created = ("response.created", r#"{"type":"response.created"}"#);
    let started = ("message_start", r#"{"type":"message_start"}"#);
    for (stream, expected) in [
        (sse(&[ROLE, a, a, engine, DONE]), IN_BAND),
        (sse(&[ROLE, a, engine, a, a, a, a, a, a, STOP, DONE]), IN_BAND),
        (sse(&[ROLE, engine, DONE]), IN_BAND),
        (sse(&[ROLE, too_long, DONE]), Verdict::ClientError),
        (sse(&[flat]), Verdict::ClientError),
        (sse(&[ROLE, a, too_long, DONE]), IN_BAND),
        (sse(&[tgi, DONE]), IN_BAND),
        (
            sse(&[r#"{"index":1,"token":{"text":" a"}}"#, r#"{"error":"CUDA","error_type":"generation"}"#]),
            IN_BAND,
        ),
        (sse(&[ROLE, a]) + "error: {\"code\":400}\n\n" + &sse(&[DONE]), IN_BAND),
        (sse(&[ROLE]) + "error: {\"code\":400}\n\n", Verdict::ClientError),
        (sse(&[ROLE, a, abort, DONE]), IN_BAND),
        (sse(&[DONE]), IN_BAND),
        (sse(&[ROLE, DONE]), IN_BAND),
        (sse(&[ROLE, a, DONE]), IN_BAND),
        (String::new(), IN_BAND),
        (": keep-alive\n\n".repeat(3), IN_BAND),
        (sse(&[ROLE]), TRUNCATED),
        (sse(&[ROLE, a, a]), TRUNCATED),
        (sse(&[ROLE, a, a, a, a, a, a]), TRUNCATED),
        (named(&[created, ("response.failed", r#"{"type":"response.failed"}"#)]), IN_BAND),
        (named(&[created, ("error", r#"{"type":"error","code":"server_error"}"#)]), IN_BAND),
        (named(&[created]), TRUNCATED),
        (named(&[started, ("error", r#"{"type":"error","error":{"type":"overloaded_error"}}"#)]), IN_BAND),
        (named(&[started, ("ping", "{}")]), TRUNCATED),
    ] {
        assert_eq!(whole(&stream).0, expected, "{stream}");
    }
    let line = "{\"response\":\" a\",\"done\":false}\n";
    for (end, expected) in [("{\"error\":\"an error\"}\n", IN_BAND), ("", TRUNCATED)] {
        let stream = format!("{line}{line}{end}");
        assert_eq!(hear(Framing::Lines, &[stream.as_bytes()]).verdict, expected, "{end}");
    }
}

#[test]
fn the_first_token_is_the_first_text_and_a_gap_lies_between_frames_with_text() {
    let (a, comment) = (sse(&[&text("a")]), ": keep-alive\n\n".to_owned());
    let frames = [
        comment.clone(),
        sse(&[ROLE]),
        a.clone(),
        a.clone() + &a,
        comment,
        a.clone(),
        sse(&[STOP]),
        sse(&[USAGE, DONE]),
    ];
    let frames: Vec<&[u8]> = frames.iter().map(|frame| frame.as_bytes()).collect();
    let heard = hear(Framing::Sse, &frames);
    assert_eq!(heard, Heard { verdict: GOOD, first_text: Some(30), tokens: 9, gaps: vec![10, 20] });
}

#[test]
fn an_event_without_an_end_came_with_its_last_frame() {
    for (events, expected) in [(1, (Some(10), vec![])), (9, (Some(10), vec![10; 8]))] {
        let event = sse(&["text"]);
        let mut frames = vec![event.as_bytes(); events];
        *frames.last_mut().unwrap() = event.trim_end().as_bytes();
        let heard = hear(Framing::Sse, &frames);
        assert_eq!((heard.first_text, heard.gaps, heard.tokens), (expected.0, expected.1, events as u64));
    }
}

#[test]
fn what_lay_ready_when_the_client_read_on_makes_no_gap_and_the_next_one_is_counted_from_it() {
    let (mut tap, mut gaps) = (Tap::new(Framing::Sse), Vec::new());
    let event = sse(&[&text("a")]);
    for (millis, was_awaited) in [(1, true), (2, true), (9_000, false), (9_001, false), (9_004, true)] {
        tap.read(event.as_bytes(), at(millis), was_awaited, |gap| gaps.push(gap.as_millis()));
    }
    tap.finish(|gap| gaps.push(gap.as_millis()));
    assert_eq!(gaps, [1, 3]);
}

#[test]
fn bare_text_under_the_name_of_events_counts_frame_by_frame() {
    let heard = hear(Framing::Sse, &[b"tok0 ", b"tok1 ", b"data: tok2 "]);
    assert_eq!(heard, Heard { verdict: GOOD, first_text: Some(10), tokens: 3, gaps: vec![10, 10] });
}

#[test]
fn after_the_first_text_signs_of_life_are_no_progress() {
    let mut tap = Tap::new(Framing::Sse);
    let mut read = |frame: &str| tap.read(frame.as_bytes(), at(1), true, |_| {});
    assert_eq!(read(": keep-alive\n\n"), Progress::Made, "the model may be reading a long prompt");
    assert_eq!(read(&sse(&[&text("a")])), Progress::Made);
    for idle in [": keep-alive\n\n", ":\n\n", "\n\n", ": half", " and half\n\n", "event: ping\ndata: {}\n\n"]
    {
        assert_eq!(read(idle), Progress::None, "{idle:?}");
    }
    for busy in ["data: {", "}\n\n", &sse(&[STOP])] {
        assert_eq!(read(busy), Progress::Made, "{busy:?}");
    }
}

#[test]
fn a_long_event_is_text_and_its_name_still_tells_an_end() {
    let long = "x".repeat(40_000);
    let delta = format!(r#"{{"type":"response.output_text.delta","delta":"{long}"}}"#);
    let completed = format!(r#"{{"type":"response.completed","response":"{long}"}}"#);
    let stream = named(&[("response.output_text.delta", &delta), ("response.completed", &completed)]);
    assert_eq!(whole(&stream), (GOOD, true, 1));
}

#[test]
fn only_plain_streams_with_a_good_status_are_read() {
    let headers = |kind: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    for (kind, expected) in [
        ("text/event-stream", Some(Framing::Sse)),
        ("Text/Event-Stream; charset=utf-8", Some(Framing::Sse)),
        ("application/x-ndjson", Some(Framing::Lines)),
        ("application/json", None),
        ("text/event-streams", None),
    ] {
        assert_eq!(framing(200, &headers(kind)), expected, "{kind}");
        assert_eq!(framing(500, &headers(kind)), None, "{kind}");
    }
    let mut compressed = headers("text/event-stream");
    compressed.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(framing(200, &compressed), None);
    assert_eq!(framing(200, &HeaderMap::new()), None);
}

proptest! {
    #[test]
    fn a_stream_is_understood_alike_however_it_is_cut(
        picks in prop::collection::vec(0_usize..8, 0..12),
        ends in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        cuts in prop::collection::vec(0_usize..2_000, 0..30),
    ) {
        let parts = [
            sse(&[ROLE]),
            sse(&[&text("a")]),
            sse(&[&text("a")]),
            ": keep-alive\n\n".to_owned(),
            sse(&[r#"{"error":{"code":400}}"#]),
            sse(&[STOP]),
            sse(&[USAGE]),
            sse(&[DONE]),
        ];
        let stream: String = picks.into_iter().map(|pick| &parts[pick][..]).collect();
        let stream = stream.replace('\n', ends);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.sort_unstable();
        let frames: Vec<&[u8]> = [0].into_iter().chain(cuts.iter().copied())
            .zip(cuts.iter().copied().chain([stream.len()]))
            .map(|(start, end)| &stream.as_bytes()[start..end])
            .collect();
        let (cut, whole) = (hear(Framing::Sse, &frames), hear(Framing::Sse, &[stream.as_bytes()]));
        prop_assert_eq!(
            (cut.verdict, cut.tokens, cut.first_text.is_some()),
            (whole.verdict, whole.tokens, whole.first_text.is_some())
        );
        prop_assert!(whole.gaps.is_empty() && cut.gaps.len() < frames.len());
    }

    #[test]
    fn no_bytes_are_too_odd(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
        let frames: Vec<&[u8]> = frames.iter().map(|frame| &frame[..]).collect();
        hear(Framing::Sse, &frames);
        hear(Framing::Lines, &frames);
    }
}
