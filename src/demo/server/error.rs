//! What is wrong with a request, or with the model: one table of statuses.

use http::StatusCode;
use serde_json::{Value, json};

use crate::demo::model::EncodeError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("{0}")]
    BadRequest(String),
    #[error("the model {0:?} does not exist; this server has {name:?}", name = super::MODEL_NAME)]
    UnknownModel(String),
    #[error("there is nothing at {0}")]
    NotFound(String),
    #[error("this path takes {0}")]
    WrongMethod(&'static str),
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("every slot is taken: try again")]
    Overloaded,
    /// The model itself failed. Real servers answer 500 too when their engine throws.
    #[error("the model failed: {0}")]
    Model(#[from] EncodeError),
}

/// How the error's body looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    /// `{"error": {"message", "type", "param", "code"}}`
    OpenAi,
    /// `{"error": "text"}`
    OpenInference,
}

impl ApiError {
    pub(super) fn status(&self) -> StatusCode {
        self.class().0
    }

    pub(super) fn body(&self, dialect: Dialect) -> Value {
        let message = self.to_string();
        let (_, kind, code) = self.class();
        match dialect {
            Dialect::OpenAi => {
                json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
            }
            Dialect::OpenInference => json!({"error": message}),
        }
    }

    fn class(&self) -> (StatusCode, &'static str, Option<&'static str>) {
        const INVALID: &str = "invalid_request_error";
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, INVALID, None),
            Self::UnknownModel(_) => (StatusCode::NOT_FOUND, INVALID, Some("model_not_found")),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, INVALID, Some("unknown_url")),
            Self::WrongMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, INVALID, Some("method_not_supported")),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, INVALID, Some("request_too_large")),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded_error", Some("overloaded")),
            Self::Model(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", Some("internal_error")),
        }
    }
}
