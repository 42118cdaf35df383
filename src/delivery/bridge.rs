//! Events for Amazon's EventBridge, or for what speaks its `PutEvents`
//! (<https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>).
//!
//! An event that Amazon's services would send is put as they would; any other is put under Snapback's own name. The bus gives events ids of its
//! own, so the one that they have here is in their detail where they are Snapback's, and the receiver's to tell apart otherwise by its time.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

use super::Render;
use crate::{
    aws::{Request, Scope, sign},
    clock,
    config::Bridge,
    store::Event,
};

/// The operation.
const TARGET: &str = "AWSEvents.PutEvents";

/// Where events are that no service of Amazon's would send.
const OWN_SOURCE: &str = "snapback";

/// The kind of events that hold one as a service of Amazon's would send it.
const SHAPED: &str = "aws.event";

/// The body that puts one event.
pub(super) fn body(bridge: &Bridge, event: Event, render: Render) -> Bytes {
    let time = event.at.as_millis() as f64 / 1_000.0;
    let shaped = event.evidence.clone().filter(|_| event.kind == SHAPED);
    let text = |document: &Value, name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut entry = match shaped {
        Some(shaped) => json!({
            "Source": text(&shaped, "source"),
            "DetailType": text(&shaped, "detail-type"),
            "Detail": shaped.get("detail").map(ToString::to_string),
            "Resources": shaped.get("resources"),
        }),
        None => json!({ "Source": OWN_SOURCE, "DetailType": event.kind.clone(), "Detail": render(event) }),
    };
    if let Some(members) = entry.as_object_mut() {
        members.insert("Time".to_owned(), json!(time));
        members.insert("EventBusName".to_owned(), json!(bridge.bus));
        if let Some(source) = &bridge.source {
            members.insert("Source".to_owned(), json!(source));
        }
    }
    json!({ "Entries": [entry] }).to_string().into()
}

/// The headers of a request that puts this body.
pub(super) fn headers(
    bridge: &Bridge,
    (authority, path): (&str, &str),
    secret: &str,
    body: &[u8],
) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let host = HeaderValue::try_from(authority).map_err(|error| error.to_string())?;
    headers.insert(header::HOST, host);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    headers.insert("x-amz-target", HeaderValue::from_static(TARGET));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = Request { method: "POST", path, query, headers: &headers, body };
    let scope = Scope { key: &bridge.key, region: &bridge.region, service: "events" };
    for (name, value) in sign(&request, scope, secret, clock::wall()) {
        headers.insert(name, HeaderValue::try_from(value).map_err(|error| error.to_string())?);
    }
    Ok(headers)
}

/// An answer of success may say that the event was not taken.
pub(super) fn check(answer: &[u8]) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    match answer.get("FailedEntryCount").and_then(Value::as_u64) {
        Some(0) => Ok(()),
        None => Err("the answer is none of PutEvents".to_owned()),
        Some(_) => {
            let entry = answer.pointer("/Entries/0").cloned().unwrap_or_default();
            let text =
                |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().chars().take(200);
            let (code, message): (String, String) =
                (text("ErrorCode").collect(), text("ErrorMessage").collect());
            Err(format!("the bus did not take it: {code} {message}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_success_that_took_nothing_is_a_failure() {
        assert_eq!(check(br#"{"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}"#), Ok(()));
        let refused = br#"{"FailedEntryCount":1,"Entries":[{"ErrorCode":"NotAuthorizedForSourceException","ErrorMessage":"no"}]}"#;
        assert!(check(refused).unwrap_err().contains("NotAuthorizedForSourceException"));
        assert!(check(b"<html>").is_err());
    }
}
