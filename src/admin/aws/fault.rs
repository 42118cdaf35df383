//! Errors as clients of Amazon's APIs know them.
//!
//! Clients tell errors apart by `__type` in the body, and some by the `x-amzn-errortype` header, so both are sent. Nearly everything that can
//! be wrong with a request to SageMaker is a `ValidationException`, "not found" among them; clients match on the message's beginning.
//! Types and statuses: <https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html>.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::{control::ControlError, store::StoreError};

/// The type of every answer of the JSON 1.1 protocol.
pub(in crate::admin) const JSON_1_1: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// Where older clients look for an error's type.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Longer than any message of this program; what clients sent stands in some.
const MESSAGE_LIMIT: usize = 4_000;

/// What kind of error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::admin) enum Kind {
    /// The request does not fit its constraints, or the state of things.
    Validation,
    /// The body is not JSON, or a member has another type.
    Serialization,
    /// No service here has this operation.
    UnknownOperation,
    /// The body is longer than the limit.
    TooLarge,
    /// Nobody signed it.
    Unsigned,
    /// Its signature lacks a part.
    IncompleteSignature,
    /// Nobody has the key that it was signed with.
    UnknownKey,
    /// It was signed with another secret, changed on its way, or signed too long ago.
    InvalidSignature,
    /// More resources than there may be.
    ResourceLimit,
    /// It cannot be done now and may be tried again; clients do so by themselves.
    Unavailable,
    /// A defect here.
    Internal,
}

/// An error and its sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::admin) struct Fault {
    pub(in crate::admin) kind: Kind,
    pub(in crate::admin) message: String,
}

impl Kind {
    fn row(self) -> (StatusCode, &'static str) {
        match self {
            Self::Validation => (StatusCode::BAD_REQUEST, "ValidationException"),
            Self::Serialization => (StatusCode::BAD_REQUEST, "SerializationException"),
            Self::UnknownOperation => (StatusCode::BAD_REQUEST, "UnknownOperationException"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException"),
            // Forbidden, so that the trail has them as refused callers.
            Self::Unsigned => (StatusCode::FORBIDDEN, "MissingAuthenticationTokenException"),
            Self::IncompleteSignature => (StatusCode::FORBIDDEN, "IncompleteSignatureException"),
            Self::UnknownKey => (StatusCode::FORBIDDEN, "UnrecognizedClientException"),
            Self::InvalidSignature => (StatusCode::FORBIDDEN, "InvalidSignatureException"),
            Self::ResourceLimit => (StatusCode::BAD_REQUEST, "ResourceLimitExceeded"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure"),
        }
    }
}

impl Fault {
    /// What is wrong with a request, in a sentence.
    pub(in crate::admin) fn validation(message: impl Into<String>) -> Self {
        Self { kind: Kind::Validation, message: message.into() }
    }

    /// Another kind.
    pub(in crate::admin) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<ControlError> for Fault {
    /// What control refuses is a matter of the request, but what the journal or the process's end refuses is not.
    fn from(error: ControlError) -> Self {
        let kind = if matches!(error, ControlError::Store(_) | ControlError::ShuttingDown) {
            Kind::Unavailable
        } else {
            Kind::Validation
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::new(Kind::Unavailable, error.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Self { kind, message } = self;
        let (status, name) = kind.row();
        let message: String = message.chars().take(MESSAGE_LIMIT).collect();
        let body = serde_json::json!({ "__type": name, "message": message });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON_1_1);
        headers.insert(ERROR_TYPE, HeaderValue::from_static(name));
        response
    }
}
