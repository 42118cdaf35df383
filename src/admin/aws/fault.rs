//! Errors as clients of Amazon's APIs know them.
//!
//! Clients tell errors apart by `__type` in the body, and some by the `x-amzn-errortype` header, so both are sent. Nearly everything that can
//! be wrong with a request to SageMaker is a `ValidationException`, "not found" among them; clients match on the message's beginning.
//! Types and statuses: <https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html>.

use http::StatusCode;

use crate::{control::ControlError, store::StoreError};

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
    /// A value that is none for its parameter; CloudWatch's own kind.
    InvalidParameter,
    /// Parameters that do not go together; CloudWatch's own kind.
    Combination,
    /// A parameter that is needed is missing; CloudWatch's own kind.
    MissingParameter,
    /// There is no such resource; CloudWatch's own kind.
    NotFound,
    /// A page's token that no page ended with; CloudWatch's own kind.
    InvalidToken,
    /// More alarms or metrics than there may be; CloudWatch's own kind.
    Limit,
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

/// How a kind of error is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) status: StatusCode,
    /// In the JSON protocols.
    pub(super) name: &'static str,
    /// In the Query protocol, and for clients that came from there.
    pub(super) code: &'static str,
}

impl Kind {
    /// Statuses and names are those of the services' models.
    pub(super) fn row(self) -> Row {
        let (bad, forbidden) = (StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN);
        let (status, name, code) = match self {
            Self::Validation => (bad, "ValidationException", "ValidationError"),
            Self::Serialization => (bad, "SerializationException", "MalformedInput"),
            Self::UnknownOperation => (bad, "UnknownOperationException", "InvalidAction"),
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", "RequestEntityTooLarge")
            }
            // Forbidden, so that the trail has them as refused callers.
            Self::Unsigned => {
                (forbidden, "MissingAuthenticationTokenException", "MissingAuthenticationToken")
            }
            Self::IncompleteSignature => (forbidden, "IncompleteSignatureException", "IncompleteSignature"),
            Self::UnknownKey => (forbidden, "UnrecognizedClientException", "InvalidClientTokenId"),
            Self::InvalidSignature => (forbidden, "InvalidSignatureException", "SignatureDoesNotMatch"),
            Self::ResourceLimit => (bad, "ResourceLimitExceeded", "ResourceLimitExceeded"),
            Self::InvalidParameter => (bad, "InvalidParameterValueException", "InvalidParameterValue"),
            Self::Combination => (bad, "InvalidParameterCombinationException", "InvalidParameterCombination"),
            Self::MissingParameter => (bad, "MissingRequiredParameterException", "MissingParameter"),
            Self::NotFound => (StatusCode::NOT_FOUND, "ResourceNotFound", "ResourceNotFound"),
            Self::InvalidToken => (bad, "InvalidNextToken", "InvalidNextToken"),
            Self::Limit => (bad, "LimitExceededFault", "LimitExceeded"),
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "ServiceUnavailable")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", "InternalFailure"),
        };
        Row { status, name, code }
    }
}

impl Fault {
    /// What is wrong with a request, in a sentence.
    pub(in crate::admin) fn validation(message: impl Into<String>) -> Self {
        Self { kind: Kind::Validation, message: message.into() }
    }

    /// The message, no longer than clients are to be sent.
    pub(super) fn said(&self) -> String {
        self.message.chars().take(MESSAGE_LIMIT).collect()
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
