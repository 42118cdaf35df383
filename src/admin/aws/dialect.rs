//! The protocols that answers are written in: JSON 1.1 of SageMaker, JSON 1.0 of CloudWatch, and the Query protocol with XML, which older
//! clients of CloudWatch speak; and Smithy's RPC v2 with CBOR, which some SDKs of CloudWatch choose.
//!
//! Clients tell errors apart by `__type` in a JSON body, and some by the `x-amzn-errortype` header, so both are sent. A service that once spoke
//! the Query protocol has other names for its errors there, which clients that speak JSON to it still know: `x-amzn-query-error` has those
//! (<https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>).

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use super::{
    cbor,
    fault::{Fault, Row},
    front::Answer,
    query,
};

/// Where older clients look for an error's type.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The name of an error in the Query protocol, and whose fault it is.
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");

/// Names the protocol without text, in requests and answers.
pub(super) const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
pub(super) const RPC_V2_CBOR: &str = "rpc-v2-cbor";

/// Names a request in clients' logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// How a request was made, and so is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    Json11,
    Json10,
    Query,
    Cbor,
}

impl Dialect {
    /// An answer to an operation of this name.
    pub(super) fn answer(self, operation: &str, answer: Answer, id: &str) -> Response {
        let Answer { document, headers } = answer;
        let body = match self {
            Self::Json11 => document.map_or_else(Body::empty, |document| Body::from(document.to_string())),
            // Without a body a client of this protocol would have nothing to read.
            Self::Json10 => Body::from(document.unwrap_or_else(|| json!({})).to_string()),
            Self::Query => Body::from(query::answer(operation, document.as_ref(), id)),
            Self::Cbor => Body::from(cbor::write(&document.unwrap_or_else(|| json!({})))),
        };
        let mut response = self.response(StatusCode::OK, body, id);
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }

    /// An error.
    pub(super) fn fault(self, fault: &Fault, id: &str) -> Response {
        let Row { status, name, code } = fault.kind.row();
        let side = if status.is_server_error() { "Receiver" } else { "Sender" };
        let message = fault.said();
        let body: Body = match self {
            Self::Json11 => json!({ "__type": name, "message": message }).to_string().into(),
            Self::Json10 | Self::Cbor => {
                let name = if name == "ValidationException" { code } else { name };
                let document =
                    json!({ "__type": format!("com.amazonaws.cloudwatch#{name}"), "message": message });
                if self == Self::Cbor { cbor::write(&document).into() } else { document.to_string().into() }
            }
            Self::Query => query::fault((side, code), &message, id).into(),
        };
        let mut response = self.response(status, body, id);
        let headers = response.headers_mut();
        match self {
            Self::Json11 => drop(headers.insert(ERROR_TYPE, HeaderValue::from_static(name))),
            Self::Json10 | Self::Query | Self::Cbor => {
                headers.insert(ERROR_TYPE, HeaderValue::from_static(code));
                if let Ok(value) = HeaderValue::try_from(format!("{code};{side}")) {
                    headers.insert(QUERY_ERROR, value);
                }
            }
        }
        response
    }

    fn response(self, status: StatusCode, body: Body, id: &str) -> Response {
        let content_type = match self {
            Self::Json11 => "application/x-amz-json-1.1",
            Self::Json10 => "application/x-amz-json-1.0",
            Self::Query => "text/xml",
            Self::Cbor => "application/cbor",
        };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self == Self::Cbor {
            headers.insert(SMITHY_PROTOCOL, HeaderValue::from_static(RPC_V2_CBOR));
        }
        if let Ok(id) = HeaderValue::try_from(id) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
}

/// Random, as AWS's are: nothing is to be read from it.
pub(in crate::admin) fn request_id() -> String {
    let bits = format!("{:032x}", rand::random::<u128>());
    let (head, rest) = bits.split_at(8);
    let (a, rest) = rest.split_at(4);
    let (b, rest) = rest.split_at(4);
    let (c, tail) = rest.split_at(4);
    format!("{head}-{a}-{b}-{c}-{tail}")
}
