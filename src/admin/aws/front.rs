//! The one path of the JSON protocols: `POST /`, with the operation in `x-amz-target`
//! (<https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>).
//!
//! A caller who gives up does not undo half of what it asked for: operations run to their end on tasks of their own.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::{
    caller,
    fault::{Fault, JSON_1_1, Kind},
};
use crate::{
    admin::{actor::HeaderActor, problem, refusals::Refusal, sagemaker, state::Port},
    control::Actor,
};

/// Which service and which of its operations.
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// Names a request in clients' logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// What an operation answers.
#[derive(Debug, Default)]
pub(in crate::admin) struct Answer {
    /// The body; without one, it is empty.
    pub(in crate::admin) document: Option<Value>,
    /// What stands in the head besides, for clients whose model of the body has no place for it.
    pub(in crate::admin) header: Option<(HeaderName, String)>,
}

impl From<Value> for Answer {
    fn from(document: Value) -> Self {
        Self { document: Some(document), header: None }
    }
}

/// `POST /`
pub(in crate::admin) async fn serve(
    State(port): State<Arc<Port>>,
    actor: HeaderActor,
    request: Request,
) -> Response {
    let Some(api) = port.sagemaker.clone() else {
        return problem::Fault::Method { method: Method::POST }.into_response();
    };
    let mut response = answer(api, actor, request).await.unwrap_or_else(Fault::into_response);
    response.headers_mut().insert(REQUEST_ID, request_id());
    response
}

async fn answer(api: Arc<sagemaker::Api>, actor: HeaderActor, request: Request) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let body = read(Request::from_parts(parts.clone(), body)).await?;
    let caller = match caller::of(api.keys(), &parts, &body).await {
        Ok(caller) => caller,
        Err(fault) => return Ok(recorded(fault, "an AWS signature")),
    };
    let operation = operation(&parts.headers)?;
    // What the signature proves stands, and a header's claim only where nobody has to sign.
    let actor = match caller {
        Some(id) => actor.signed_by(id),
        None => actor.or(None).map_err(|_| Fault::validation("x-snapback-actor is no name"))?,
    };
    match run(api, operation, actor, &body).await {
        Ok(answer) => Ok(answer.into_response()),
        Err(fault) if operation.changes() => Ok(recorded(fault, operation.name())),
        Err(fault) => Err(fault),
    }
}

/// For the trail: callers who have no business here, and what was to change something and was refused.
fn recorded(fault: Fault, what: &str) -> Response {
    let refusal = Refusal(format!("{what}: {}", fault.message));
    let mut response = fault.into_response();
    response.extensions_mut().insert(refusal);
    response
}

async fn run(
    api: Arc<sagemaker::Api>,
    operation: sagemaker::Operation,
    actor: Actor,
    body: &[u8],
) -> Result<Answer, Fault> {
    let document = if body.is_empty() { b"{}" } else { body };
    let document: Value = serde_json::from_slice(document)
        .map_err(|error| Fault::new(Kind::Serialization, format!("the body is not JSON: {error}")))?;
    let running = tokio::spawn(async move { api.run(operation, document, actor).await });
    running.await.unwrap_or_else(|_| Err(Fault::new(Kind::Internal, "an internal error; the log has more")))
}

/// The router bounds the body.
async fn read(request: Request) -> Result<Bytes, Fault> {
    Bytes::from_request(request, &()).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let limit = crate::admin::layers::BODY_LIMIT_BYTES / 1024;
            Fault::new(Kind::TooLarge, format!("the body is larger than {limit} KiB"))
        } else {
            Fault::new(Kind::Serialization, "the body broke off before its end")
        }
    })
}

fn operation(headers: &HeaderMap) -> Result<sagemaker::Operation, Fault> {
    let target = headers.get(TARGET).and_then(|target| target.to_str().ok());
    let Some(target) = target else {
        let message = "the header x-amz-target names no operation, such as SageMaker.DescribeEndpoint";
        return Err(Fault::new(Kind::UnknownOperation, message));
    };
    let name = target.strip_prefix("SageMaker.");
    name.and_then(sagemaker::Operation::named).ok_or_else(|| {
        let shown: String = target.chars().take(100).collect();
        Fault::new(Kind::UnknownOperation, format!("there is no operation {shown} here"))
    })
}

/// Random, as AWS's are: nothing is to be read from it.
fn request_id() -> HeaderValue {
    let bits = format!("{:032x}", rand::random::<u128>());
    let (head, rest) = bits.split_at(8);
    let (a, rest) = rest.split_at(4);
    let (b, rest) = rest.split_at(4);
    let (c, tail) = rest.split_at(4);
    let id = format!("{head}-{a}-{b}-{c}-{tail}");
    HeaderValue::try_from(id).expect("hexadecimal digits and dashes are a header's value")
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Self { document, header } = self;
        let mut response =
            Response::new(document.map_or_else(Body::empty, |document| Body::from(document.to_string())));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON_1_1);
        if let Some((name, value)) = header
            && let Ok(value) = HeaderValue::try_from(value)
        {
            headers.insert(name, value);
        }
        response
    }
}
