//! The demo's operator: uses the admin port as anybody would.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header::CONTENT_TYPE};
use http_body_util::Full;
use serde::de::DeserializeOwned;

use super::{
    connections::{Broken, Connections},
    plans::ENDPOINT,
};
use crate::{
    admin::wire,
    config::{PlanSpec, Problems},
};

/// Somebody with the admin port's address.
#[derive(Debug)]
pub(super) struct Operator {
    admin: Connections,
}

/// Why the admin port did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperatorError {
    #[error("the plan is wrong: {0}")]
    Plan(#[from] Problems),
    #[error("{path}: {source}")]
    Broken { path: String, source: Broken },
    #[error("{path}: status {}: {}", .problem.status, .problem.detail)]
    Refused { path: String, problem: Box<wire::Problem> },
    #[error("{path}: the answer is not the document that was expected: {source}")]
    Document { path: String, source: serde_json::Error },
    #[error("the admin port gave the new shift no id")]
    NoId,
}

impl Operator {
    pub(super) fn at(admin: SocketAddr) -> Self {
        Self { admin: Connections::to(admin) }
    }

    /// Starts a shift by a plan file's text; returns its id.
    pub(super) async fn start_shift(&self, plan: &str) -> Result<String, OperatorError> {
        let plan = PlanSpec::from_toml(plan, "plan")?.to_json();
        let mut request = Request::new(Full::new(Bytes::from(plan.to_string())));
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let shift: wire::Shift = self.ask(format!("/v1/endpoints/{ENDPOINT}/shifts"), request).await?;
        shift.id.ok_or(OperatorError::NoId)
    }

    /// A shift now.
    pub(super) async fn shift(&self, id: &str) -> Result<wire::Shift, OperatorError> {
        self.ask(format!("/v1/shifts/{id}"), Request::default()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: String,
        mut request: Request<Full<Bytes>>,
    ) -> Result<T, OperatorError> {
        *request.uri_mut() = path.parse().expect("these paths are well-formed");
        let answer = match self.admin.ask(request).await {
            Ok(answer) => answer,
            Err(source) => return Err(OperatorError::Broken { path, source }),
        };
        if answer.status.is_success() {
            return serde_json::from_slice(&answer.body)
                .map_err(|source| OperatorError::Document { path, source });
        }
        match serde_json::from_slice(&answer.body) {
            Ok(problem) => Err(OperatorError::Refused { path, problem: Box::new(problem) }),
            Err(source) => Err(OperatorError::Document { path, source }),
        }
    }
}
