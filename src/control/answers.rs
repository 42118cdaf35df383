//! What is sent to webhooks and to a Prometheus, and what their answers mean.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde::Deserialize;

use crate::alarm::{AlarmState, Answer, Query, Question, Subject};

/// Longer than any sentence; it stands in the shift's representation and in its journal. What is longer is cut.
const REASON_LIMIT: usize = 300;

/// A webhook's answer. What else it says is passed over: whoever answers need not know every reader.
#[derive(Deserialize)]
struct Said {
    state: String,
    #[serde(default)]
    reason: String,
}

/// <https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview>
#[derive(Deserialize)]
struct Reply {
    status: String,
    data: Option<Found>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    result_type: String,
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Series {
    value: Option<(f64, String)>,
}

/// The body of a webhook that is asked by POST.
pub(super) fn webhook_question(alarm: &str, subject: &Subject) -> Bytes {
    let Subject { endpoint, shift, blue, green } = subject;
    let document = serde_json::json!({ "alarm": alarm, "endpoint": endpoint, "shift": shift, "blue": blue, "green": green });
    document.to_string().into()
}

/// The body of a query: its text, and the time after which a Prometheus need not go on.
pub(super) fn form(query: &str, timeout: Duration) -> Bytes {
    format!("query={}&timeout={}ms", encoded(query), timeout.as_millis()).into()
}

/// Everything but letters, digits and `-._~` as %XX (<https://url.spec.whatwg.org/#urlencoded-serializing>).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Whether an answer's head says that its body is worth reading.
pub(super) fn acceptable<B>(response: &Response<B>, question: &Question) -> Result<(), String> {
    let status = response.status();
    if status.is_redirection() {
        return Err(format!("it answered {}, and redirects are not followed", status.as_u16()));
    }
    let explains = match question {
        Question::Prometheus(_) => status.is_client_error() || status.is_server_error(),
        Question::Webhook(_) => false,
    };
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_none_or(is_json);
    let is_readable = status.is_success() || explains && is_json;
    if !is_readable {
        return Err(format!("it answered {}", status.as_u16()));
    }
    if is_json {
        Ok(())
    } else {
        Err(format!("it answered {}, not application/json", shortened(kind.unwrap_or_default())))
    }
}

/// `application/json`, with or without parameters, and kinds that are JSON with a name of their own (RFC 6839, section 3.1).
fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json")
}

/// Reads an answer's body.
pub(super) fn read(status: StatusCode, body: &[u8], question: &Question) -> Result<Answer, String> {
    match question {
        Question::Webhook(_) => said(body),
        Question::Prometheus(query) => found(status, body, query),
    }
}

fn said(body: &[u8]) -> Result<Answer, String> {
    let wanted = r#"{"state": "ok" or "alarm" or "insufficient_data", "reason": "..."}"#;
    let Said { state, reason } = serde_json::from_slice(body)
        .map_err(|error| format!("its answer is not {wanted}: {}", shortened(&error.to_string())))?;
    let state = AlarmState::parse(&state)
        .ok_or_else(|| format!("its answer is not {wanted}: the state is {:?}", shortened(&state)))?;
    Ok(Answer { state, reason: shortened(&reason), value: None })
}

fn found(status: StatusCode, body: &[u8], query: &Query) -> Result<Answer, String> {
    let reply: Result<Reply, _> = serde_json::from_slice(body);
    let reply = match reply {
        Ok(reply) => reply,
        Err(_) if !status.is_success() => return Err(format!("it answered {}", status.as_u16())),
        Err(error) => {
            return Err(format!("its answer is not a Prometheus's: {}", shortened(&error.to_string())));
        }
    };
    let Reply { status: outcome, data, error } = reply;
    if outcome != "success" {
        return Err(format!("the query failed: {}", shortened(&error.unwrap_or(outcome))));
    }
    let Some(Found { result_type, result }) = data else {
        return Err("its answer is not a Prometheus's: it has no data".to_owned());
    };
    let unfit = |error: serde_json::Error| {
        format!("its answer is not a Prometheus's: {}", shortened(&error.to_string()))
    };
    let values = match result_type.as_str() {
        "vector" => {
            let series: Vec<Series> = serde_json::from_value(result).map_err(unfit)?;
            series.into_iter().map(|series| series.value.map(|(_, value)| value)).collect()
        }
        "scalar" => vec![Some(serde_json::from_value::<(f64, String)>(result).map_err(unfit)?.1)],
        other => {
            return Err(format!(
                "the query gives a {}, where an instant vector or a scalar is wanted",
                shortened(other)
            ));
        }
    };
    let number = |text: Option<String>| {
        let text = text.ok_or("the query gives histograms, where numbers are wanted")?;
        text.parse::<f64>().map_err(|_| "its answer is not a Prometheus's: a value is no number")
    };
    let values: Result<Vec<f64>, &str> = values.into_iter().map(number).collect();
    Ok(query.judge(values?))
}

/// Enough to see what is meant, on one line.
fn shortened(text: &str) -> String {
    text.chars()
        .take(REASON_LIMIT)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alarm::{Comparison, Method};

    const WEBHOOK: Question = Question::Webhook(Method::Get);

    fn query() -> Question {
        Question::Prometheus(Query {
            text: "bad".to_owned(),
            comparison: Comparison::Above,
            bound: 0.5,
            missing: AlarmState::InsufficientData,
        })
    }

    fn prometheus(body: &str) -> Result<Answer, String> {
        read(StatusCode::OK, body.as_bytes(), &query())
    }

    #[test]
    fn a_webhook_says_its_state_and_why() {
        let answer =
            read(StatusCode::OK, br#"{"state": "alarm", "reason": "4 of 20\nbad", "more": 1}"#, &WEBHOOK);
        let answer = answer.unwrap();
        assert_eq!((answer.state, answer.reason.as_str()), (AlarmState::Alarm, "4 of 20 bad"));
        for bad in ["", "ok", "[]", "{}", r#"{"state": "fine"}"#, r#"{"state": "ok"} trailing"#, "\u{0}"] {
            let refused = read(StatusCode::OK, bad.as_bytes(), &WEBHOOK).unwrap_err();
            assert!(refused.starts_with("its answer is not {"), "{refused}");
        }
        let long = format!(r#"{{"state": "ok", "reason": "{}"}}"#, "x".repeat(100_000));
        assert_eq!(read(StatusCode::OK, long.as_bytes(), &WEBHOOK).unwrap().reason.len(), REASON_LIMIT);
        assert!(read(StatusCode::OK, "[".repeat(100_000).as_bytes(), &WEBHOOK).is_err());
    }

    #[test]
    fn a_prometheus_gives_vectors_and_scalars() {
        let vector = |values: &str| {
            prometheus(&format!(
                r#"{{"status":"success","data":{{"resultType":"vector","result":[{values}]}}}}"#
            ))
        };
        let two =
            r#"{"metric":{},"value":[1700000000.1,"0.25"]},{"metric":{},"value":[1700000000.1,"0.75"]}"#;
        let answer = vector(two).unwrap();
        assert_eq!((answer.state, answer.value), (AlarmState::Alarm, Some(0.75)));
        assert_eq!(vector("").unwrap().state, AlarmState::InsufficientData);
        let nan = r#"{"metric":{},"value":[1,"NaN"]}"#;
        assert_eq!(vector(nan).unwrap().state, AlarmState::InsufficientData);
        assert_eq!(vector(&nan.replace("NaN", "+Inf")).unwrap().state, AlarmState::Alarm);
        assert!(vector(r#"{"metric":{},"histogram":[1,{}]}"#).unwrap_err().contains("histograms"));
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"0.5"]}}"#;
        assert_eq!(prometheus(scalar).unwrap().state, AlarmState::Ok);
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert!(prometheus(matrix).unwrap_err().contains("gives a matrix"));
    }

    #[test]
    fn a_failed_query_says_why() {
        let failed = r#"{"status":"error","errorType":"bad_data","error":"parse error at char 3"}"#;
        let refused = read(StatusCode::BAD_REQUEST, failed.as_bytes(), &query()).unwrap_err();
        assert_eq!(refused, "the query failed: parse error at char 3");
        let refused = read(StatusCode::SERVICE_UNAVAILABLE, b"", &query()).unwrap_err();
        assert_eq!(refused, "it answered 503");
        for bad in [
            "",
            "{}",
            "[1]",
            r#"{"status":"success"}"#,
            r#"{"status":"success","data":{"resultType":"vector","result":{}}}"#,
        ] {
            assert!(prometheus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_json_of_a_success_is_read() {
        let response = |status: u16, kind: &str| {
            let builder = Response::builder().status(status);
            let builder = if kind.is_empty() { builder } else { builder.header(header::CONTENT_TYPE, kind) };
            builder.body(()).unwrap()
        };
        let said = |status, kind, question: &Question| acceptable(&response(status, kind), question);
        assert_eq!(said(200, "Application/JSON; charset=utf-8", &WEBHOOK), Ok(()));
        assert_eq!(said(200, "application/problem+json", &WEBHOOK), Ok(()));
        assert_eq!(said(200, "", &WEBHOOK), Ok(()));
        assert_eq!(
            said(200, "text/html", &WEBHOOK).unwrap_err(),
            "it answered text/html, not application/json"
        );
        assert_eq!(
            said(302, "application/json", &query()).unwrap_err(),
            "it answered 302, and redirects are not followed"
        );
        assert_eq!(said(500, "application/json", &WEBHOOK).unwrap_err(), "it answered 500");
        assert_eq!(said(400, "application/json", &query()), Ok(()));
        assert_eq!(said(502, "text/html", &query()).unwrap_err(), "it answered 502");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(body: Vec<u8>, text in "[\\[{\"a-z:0-9,}\\]]{0,60}") {
            for body in [body.as_slice(), text.as_bytes()] {
                for question in [WEBHOOK, query()] {
                    let read = read(StatusCode::OK, body, &question);
                    prop_assert!(read.is_err() || read.unwrap().reason.chars().count() <= REASON_LIMIT);
                }
            }
        }
    }

    #[test]
    fn a_query_is_sent_as_a_form() {
        let form = form("a{b=~\"c d\"} > 1", Duration::from_secs(5));
        assert_eq!(form, "query=a%7Bb%3D~%22c%20d%22%7D%20%3E%201&timeout=5000ms");
    }
}
