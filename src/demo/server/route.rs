//! Which path leads where.

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    Body, MODEL_NAME, Service,
    error::{ApiError, Dialect},
    infer,
    openai::{Delivery, Job, Kind},
    stream,
};

/// The largest request body; a prompt of this size is far beyond what the model looks at.
const BODY_LIMIT_BYTES: usize = 256 * 1024;

/// Triton's binary data extension: how many of the body's bytes are JSON.
const JSON_LENGTH: &str = "inference-header-content-length";

/// Answers a request, whatever it is.
pub(super) async fn handle(service: &Service, request: Request<Incoming>) -> Response<Body> {
    let dialect = match request.uri().path().starts_with("/v2") {
        true => Dialect::OpenInference,
        false => Dialect::OpenAi,
    };
    match dispatch(service, request).await {
        Ok(response) => response,
        Err(error) => {
            if matches!(error, ApiError::Model(_)) {
                tracing::debug!(%error, version = %service.model.version(), "a request failed");
            }
            json_response(error.status(), &error.body(dialect))
        }
    }
}

async fn dispatch(service: &Service, request: Request<Incoming>) -> Result<Response<Body>, ApiError> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        // The second as containers of SageMaker are asked.
        ["health"] | ["ping"] => get(&request, || Ok(json!({"status": "ok"}))),
        ["v1", "models"] => get(&request, || Ok(json!({"object": "list", "data": [card(service)]}))),
        ["v1", "models", name] => get(&request, || service.check_model(Some(name)).map(|()| card(service))),
        ["v1", "completions"] => complete(service, Kind::Completion, &posted(request).await?).await,
        ["v1", "chat", "completions"] => complete(service, Kind::Chat, &posted(request).await?).await,
        // As vLLM's containers have it: the body says which of the two.
        ["invocations"] => {
            let body = posted(request).await?;
            let document: Value = serde_json::from_slice(&body).unwrap_or_default();
            let kind = if document.get("messages").is_some() { Kind::Chat } else { Kind::Completion };
            complete(service, kind, &body).await
        }
        ["v2"] => get(&request, || Ok(server_metadata())),
        ["v2", "health", "live"] => get(&request, || Ok(json!({"live": true}))),
        ["v2", "health", "ready"] => get(&request, || Ok(json!({"ready": true}))),
        ["v2", "models", name] => {
            get(&request, || service.check_model(Some(name)).map(|()| infer::metadata(service)))
        }
        ["v2", "models", name, "ready"] => get(&request, || {
            service.check_model(Some(name)).map(|()| json!({"name": MODEL_NAME, "ready": true}))
        }),
        ["v2", "models", name, "infer"] => {
            service.check_model(Some(name))?;
            let json_length = json_length(&request)?;
            let body = posted(request).await?;
            infer::infer(service, &body, json_length)
                .await
                .map(|answer| json_response(StatusCode::OK, &answer))
        }
        _ => Err(ApiError::NotFound(path.chars().take(80).collect())),
    }
}

async fn complete(service: &Service, kind: Kind, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let job = Job::accept(service, kind, body)?;
    match job.delivery {
        Delivery::Whole => Ok(json_response(StatusCode::OK, &job.complete().await)),
        Delivery::Stream { .. } => {
            let mut response = Response::new(stream::body(job));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            Ok(response)
        }
    }
}

fn get(
    request: &Request<Incoming>,
    answer: impl FnOnce() -> Result<Value, ApiError>,
) -> Result<Response<Body>, ApiError> {
    if request.method() != Method::GET {
        return Err(ApiError::WrongMethod("GET"));
    }
    answer().map(|value| json_response(StatusCode::OK, &value))
}

/// The whole body of a POST.
async fn posted(request: Request<Incoming>) -> Result<bytes::Bytes, ApiError> {
    if request.method() != Method::POST {
        return Err(ApiError::WrongMethod("POST"));
    }
    match Limited::new(request.into_body(), BODY_LIMIT_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge(BODY_LIMIT_BYTES)),
        Err(error) => Err(ApiError::BadRequest(format!("the body could not be read: {error}"))),
    }
}

fn json_length(request: &Request<Incoming>) -> Result<Option<usize>, ApiError> {
    let number = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
    match request.headers().get(JSON_LENGTH) {
        None => Ok(None),
        Some(value) => match number(value) {
            Some(length) => Ok(Some(length)),
            None => Err(ApiError::BadRequest(format!("{JSON_LENGTH} is not a number"))),
        },
    }
}

fn card(service: &Service) -> Value {
    json!({
        "id": MODEL_NAME,
        "object": "model",
        "created": 0,
        "owned_by": "snapback",
        "version": service.model.version().as_str(),
    })
}

fn server_metadata() -> Value {
    json!({
        "name": "snapback model-server",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data"],
    })
}

fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(value.to_string().into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
