//! Answers in the words of this API.
//!
//! What a model failed is never a 502 or 503: SDKs take those for the service's and send the request again, several times
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>). It is a 424 with the model's own status in the body.

use std::{future::poll_fn, pin::Pin};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRAILER},
};
use http_body::Body as _;
use serde_json::{Value, json};

use crate::{
    aws::SignatureError,
    proxy::{
        answer::Cause,
        body::ResponseBody,
        caller::Caller,
        error::{FailureSide, Sent},
        headers,
        settings::Amazon,
    },
};

/// Where clients find an error's name.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

const VALIDATION: &str = "ValidationError";
const MODEL: &str = "ModelError";
const UNAVAILABLE: &str = "ServiceUnavailable";

/// As much of a container's words as `Message` and `OriginalMessage` hold.
const MESSAGE_CHARACTERS: usize = 2_048;

/// More of an error's body is not read for their sake: the connection ends instead.
const READ_BYTES: usize = 64 * 1024;

/// What stands in errors' texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    pub(super) endpoint: &'a str,
    pub(super) amazon: Option<&'a Amazon>,
}

impl Names<'_> {
    /// Where SageMaker keeps what containers write.
    fn log_stream(&self) -> String {
        let (region, account) = self.amazon.map_or(("", ""), |amazon| (&*amazon.region, &*amazon.account));
        format!("arn:aws:logs:{region}:{account}:log-group:/aws/sagemaker/Endpoints/{}", self.endpoint)
    }
}

/// The answer to a request of which nothing was sent on.
pub(super) fn refusal(caller: &Caller, message: &str) -> Response<ResponseBody> {
    let mut response = error(StatusCode::BAD_REQUEST, VALIDATION, &json!({ "Message": message }));
    headers::announce(response.headers_mut(), caller.after_response());
    caller.end_exchange();
    response
}

/// The answer to a request that is not known to be signed, as `response` has it. Clients tell what they did wrong by the error's name.
pub(super) fn unsigned(defect: &SignatureError, response: Response<ResponseBody>) -> Response<ResponseBody> {
    let document = json!({ "message": defect.to_string() });
    with_head_of(response, error(StatusCode::FORBIDDEN, defect.name(), &document))
}

/// What the proxy itself had to say of a request, as `response` has it.
pub(super) fn own_failure(
    names: &Names<'_>,
    cause: Cause,
    response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let Cause { side, sent, title, detail } = cause;
    let message = format!("{title}. {detail}");
    let (status, name) = match (side, sent) {
        // Of the client's making: its own status says more than 400, and no SDK sends it again.
        (FailureSide::Downstream, _) => (response.status(), VALIDATION),
        // Nothing was executed, so to send it again is right.
        (FailureSide::Internal, _) | (FailureSide::Upstream, Some(Sent::Nothing)) => {
            (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE)
        }
        (FailureSide::Upstream, Some(Sent::Perhaps) | None) => (StatusCode::FAILED_DEPENDENCY, MODEL),
    };
    let document = if name == MODEL {
        json!({
            "Message": message,
            "OriginalStatusCode": response.status().as_u16(),
            "OriginalMessage": message,
            "LogStreamArn": names.log_stream(),
        })
    } else {
        json!({ "Message": message })
    };
    with_head_of(response, error(status, name, &document))
}

/// What else stands in the head that says the same to others.
fn with_head_of(said: Response<ResponseBody>, mut ours: Response<ResponseBody>) -> Response<ResponseBody> {
    for (name, value) in
        said.headers().iter().filter(|(name, _)| **name != CONTENT_TYPE && **name != CONTENT_LENGTH)
    {
        ours.headers_mut().insert(name, value.clone());
    }
    ours
}

/// The answer that stands for a container's 4xx or 5xx.
pub(super) async fn model_error(
    names: &Names<'_>,
    response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    let status = head.status.as_u16();
    let told = read(body).await;
    let original: String = String::from_utf8_lossy(told.as_deref().unwrap_or_default())
        .chars()
        .take(MESSAGE_CHARACTERS)
        .collect();
    let (whose, code) = if status < 500 { ("client", "CLIENT") } else { ("server", "SERVER") };
    let told = match told {
        Some(_) => format!("with message \"{original}\""),
        None => "and could not load the entire response body".to_owned(),
    };
    let message = format!("Received {whose} error ({status}) from primary {told}.");
    let document = json!({
        "Message": message.chars().take(MESSAGE_CHARACTERS).collect::<String>(),
        "OriginalStatusCode": status,
        "OriginalMessage": original,
        "LogStreamArn": names.log_stream(),
        "ErrorCode": format!("{code}_ERROR_FROM_MODEL"),
    });
    let answer = error(StatusCode::FAILED_DEPENDENCY, MODEL, &document);
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, TRAILER] {
        head.headers.remove(name);
    }
    let (ours, body) = answer.into_parts();
    head.headers.extend(ours.headers);
    (head.status, head.extensions) = (ours.status, http::Extensions::new());
    Response::from_parts(head, body)
}

/// A container's words; `None` if they broke off, or are too many.
async fn read(mut body: ResponseBody) -> Option<Vec<u8>> {
    let mut told = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let bytes = frame.ok()?.into_data().unwrap_or_default();
        if told.len() + bytes.len() > READ_BYTES {
            return None;
        }
        told.extend_from_slice(&bytes);
    }
    Some(told)
}

fn error(status: StatusCode, name: &'static str, document: &Value) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Own(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ERROR_TYPE, HeaderValue::from_static(name));
    response
}
