//! Whether an answer is good, down to its last byte.

use http::StatusCode;
use serde_json::Value;

use super::request::Form;
use crate::demo::connections::{Answer, Broken};

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Flaw {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("status {status}: {message}")]
    Status { status: u16, message: String },
    #[error("not the JSON that was promised: {0}")]
    Json(#[from] serde_json::Error),
    #[error("incomplete: {0}")]
    Incomplete(&'static str),
}

/// Looks at what came back for a request.
pub(super) fn judge(form: Form, seen: Result<Answer, Broken>) -> Result<(), Flaw> {
    let Answer { status, body } = seen?;
    if status != StatusCode::OK {
        return Err(Flaw::Status { status: status.as_u16(), message: message(&body) });
    }
    match form {
        Form::ChatStream => stream(&body),
        Form::Chat | Form::Completion => {
            let answer: Value = serde_json::from_slice(&body)?;
            finish_reason(&answer).map(|_| ()).ok_or(Flaw::Incomplete("no finish_reason"))
        }
        Form::Infer => {
            let answer: Value = serde_json::from_slice(&body)?;
            answer["outputs"][0]["data"][0].as_str().map(|_| ()).ok_or(Flaw::Incomplete("no output"))
        }
    }
}

/// Good means: a clean end, `[DONE]`, a reason for the end, and no error on the way. A stream may have all of the first three and still
/// carry an error in its 200.
fn stream(body: &[u8]) -> Result<(), Flaw> {
    let text = std::str::from_utf8(body).map_err(|_| Flaw::Incomplete("not UTF-8"))?;
    let events = text.strip_suffix("\n\n").ok_or(Flaw::Incomplete("no end of the last event"))?;
    let mut has_reason = false;
    let mut is_done = false;
    for event in events.split("\n\n") {
        let data = event.strip_prefix("data: ").ok_or(Flaw::Incomplete("an event without data"))?;
        if data == "[DONE]" {
            is_done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(data)?;
        if !chunk["error"].is_null() {
            return Err(Flaw::Incomplete("an error in the stream"));
        }
        has_reason |= finish_reason(&chunk).is_some();
    }
    match (has_reason, is_done) {
        (true, true) => Ok(()),
        (false, _) => Err(Flaw::Incomplete("no finish_reason")),
        (true, false) => Err(Flaw::Incomplete("no [DONE]")),
    }
}

fn finish_reason(answer: &Value) -> Option<&str> {
    answer["choices"][0]["finish_reason"].as_str()
}

/// What an error's body says: OpenAI's shape, the Open Inference Protocol's, or a problem document's.
fn message(body: &[u8]) -> String {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = [&document["error"]["message"], &document["error"], &document["detail"], &document["title"]]
        .into_iter()
        .find_map(Value::as_str)
        .unwrap_or("without a reason");
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(form: Form, status: StatusCode, body: &'static str) -> Result<(), String> {
        judge(form, Ok(Answer { status, body: body.into() })).map_err(|flaw| flaw.to_string())
    }

    #[test]
    fn a_stream_is_good_only_with_a_reason_done_and_no_error() {
        const ROLE: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":null}]}\n\n";
        const END: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        let good = |body: &[&str]| stream(body.concat().as_bytes()).is_ok();
        assert!(good(&[ROLE, END, "data: [DONE]\n\n"]));
        for bad in [
            &[ROLE, END][..],
            &[ROLE, "data: [DONE]\n\n"],
            &[ROLE, END, "data: [DONE]\n"],
            &[ROLE, "data: {\"error\":{\"message\":\"x\"}}\n\n", END, "data: [DONE]\n\n"],
            &["data: [DONE]\n\n"],
            &[""],
        ] {
            assert!(!good(bad), "{bad:?}");
        }
    }

    #[test]
    fn an_error_says_its_status_and_what_its_body_says() {
        for (body, says) in [
            ("{\"error\":{\"message\":\"no\"}}", "status 500: no"),
            ("{\"error\":\"no\"}", "status 500: no"),
            ("{\"title\":\"t\",\"detail\":\"d\"}", "status 500: d"),
            ("<html>", "status 500: without a reason"),
        ] {
            assert_eq!(judged(Form::Infer, StatusCode::INTERNAL_SERVER_ERROR, body).unwrap_err(), says);
        }
    }

    #[test]
    fn half_a_document_is_no_answer() {
        assert!(judged(Form::Chat, StatusCode::OK, "{\"choices\":[{\"finish_reason\":\"stop\"}]}").is_ok());
        assert!(judged(Form::Chat, StatusCode::OK, "{\"choices\":[{\"finish").is_err());
        assert!(judged(Form::Chat, StatusCode::OK, "{\"choices\":[]}").is_err());
        assert!(judged(Form::Infer, StatusCode::OK, "{\"outputs\":[{\"data\":[\"x\"]}]}").is_ok());
        assert!(judged(Form::Infer, StatusCode::OK, "{\"outputs\":[]}").is_err());
    }
}
