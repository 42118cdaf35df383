//! The proxy's own answers: RFC 9457 problem documents, from one table. What went wrong inside never reaches a client.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
};

use super::{
    body::ResponseBody,
    error::{Failure, FailureSide, Sent, Shed},
    headers::{self, Connection},
};
use crate::route::ShedStatus;

/// One row of the table.
struct Row<'f> {
    status: StatusCode,
    /// The end of the problem's `type`, which programs can match on.
    name: &'static str,
    title: &'static str,
    detail: &'f str,
}

/// What all of them are (RFC 9457 section 3).
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// Why an answer is the proxy's own, for whoever says it in other words; kept with the answer.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    pub(super) side: FailureSide,
    pub(super) sent: Option<Sent>,
    pub(super) title: &'static str,
    pub(super) detail: Box<str>,
}

impl Cause {
    fn of(failure: &Failure) -> Self {
        let Row { title, detail, .. } = row(failure);
        Self { side: failure.side(), sent: failure.sent(), title, detail: detail.into() }
    }
}

/// The answer to a request that failed, as a problem document.
pub(super) fn problem(failure: &Failure, connection: Connection) -> Response<ResponseBody> {
    let status = row(failure).status;
    let mut response = Response::new(ResponseBody::Own(Bytes::from(document(failure))));
    *response.status_mut() = status;
    response.extensions_mut().insert(Cause::of(failure));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers::announce(headers, connection);
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

/// The problem document.
pub(super) fn document(failure: &Failure) -> String {
    let Row { status, name, title, detail } = row(failure);
    let side = match failure.side() {
        FailureSide::Downstream => "downstream",
        FailureSide::Upstream => "upstream",
        FailureSide::Internal => "internal",
    };
    // The table's texts hold nothing that JSON escapes, nor do variants' names; a client's text never comes here.
    format!(
        "{{\"type\":\"urn:snapback:{name}\",\"title\":\"{title}\",\"status\":{},\"detail\":\"{detail}\",\"side\":\"{side}\"}}\n",
        status.as_u16()
    )
}

/// The end of the problem's type.
pub(super) fn name(failure: &Failure) -> &'static str {
    row(failure).name
}

/// The same in one line.
pub(super) fn title(failure: &Failure) -> &'static str {
    row(failure).title
}

#[rustfmt::skip]
fn row(failure: &Failure) -> Row<'_> {
    let row = |status, name, title, detail| Row { status, name, title, detail };
    match failure {
        Failure::BadRequest(defect) => row(StatusCode::BAD_REQUEST, "bad-request",
            "The request is not valid HTTP", defect),
        Failure::Connect => row(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed",
            "The method is not allowed", "CONNECT asks for a tunnel to a host of the client's choice, and this proxy makes none."),
        Failure::UnknownProtocol => row(StatusCode::NOT_IMPLEMENTED, "unknown-protocol",
            "The protocol is not available here", "This endpoint's clients cannot switch to the protocol in :protocol."),
        Failure::UnknownCoding => row(StatusCode::NOT_IMPLEMENTED, "unknown-transfer-coding",
            "The transfer coding is unknown", "A request body may be chunked; other transfer codings are not understood."),
        Failure::LongTarget => row(StatusCode::URI_TOO_LONG, "target-too-long",
            "The request target is too long", "A path with its query may have 16 KiB."),
        Failure::OddPath(_) => row(StatusCode::BAD_REQUEST, "odd-path",
            "The path can be read in more than one way", "The path has an encoded zero byte or a backslash, or it leads above the root."),
        Failure::LargeHead => row(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large",
            "The request's head is too large", "The request line and the headers are together larger than is accepted here."),
        Failure::LargeBody => row(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large",
            "The request body is too large", "The body is larger than this endpoint accepts."),
        Failure::BrokenBody => row(StatusCode::BAD_REQUEST, "broken-body",
            "The request body could not be read", "The body's framing is malformed, or it ended before its end."),
        Failure::StalledBody => row(StatusCode::REQUEST_TIMEOUT, "request-timeout",
            "The request did not arrive in time", "The body stopped flowing for longer than this endpoint waits."),
        Failure::SlowBody => row(StatusCode::REQUEST_TIMEOUT, "request-too-slow",
            "The request came too slowly", "The body was sent more slowly than is accepted here."),
        Failure::Busy => row(StatusCode::SERVICE_UNAVAILABLE, "busy",
            "The proxy has as many requests as it takes", "Nothing was sent to a model server. The request may be sent again."),
        Failure::BadTimeout => row(StatusCode::BAD_REQUEST, "bad-grpc-timeout",
            "The call's grpc-timeout is malformed", "It has up to eight digits and a unit: H, M, S, m, u or n."),
        Failure::Deadline => row(StatusCode::GATEWAY_TIMEOUT, "deadline-exceeded",
            "The call's deadline passed", "The model server did not end the call in the time that the client had set."),
        Failure::QueueFull(shed) => row(shed_status(*shed), "queue-full",
            "The model servers have no room", "As many requests wait as may. Nothing was sent to a model server; the request may be sent again."),
        Failure::QueueTimeout(shed) => row(shed_status(*shed), "queue-timeout",
            "The model servers had no room in time", "No model server had room within this endpoint's queue timeout. The request may be sent again."),
        Failure::Exhausted(_) => row(StatusCode::SERVICE_UNAVAILABLE, "exhausted",
            "The proxy has no room for another connection", "Nothing was sent to a model server. The request may be sent again."),
        Failure::NoMatch => row(StatusCode::NOT_FOUND, "no-match",
            "No endpoint takes this request", "No endpoint's match fits the request's host, path, headers and model."),
        Failure::UnknownVariant(detail) => row(StatusCode::BAD_REQUEST, "unknown-variant",
            "The endpoint has no such variant", detail),
        Failure::Unsigned(_) => row(StatusCode::FORBIDDEN, "unsigned",
            "The request is not signed as it must be", "This endpoint takes requests that one of its keys has signed (AWS Signature Version 4)."),
        Failure::NoInstance => row(StatusCode::SERVICE_UNAVAILABLE, "no-instance",
            "No model server can take this request", "Every instance of the fleet fails its health checks."),
        Failure::NeedsHttp2 => row(StatusCode::BAD_GATEWAY, "needs-http2",
            "The fleet speaks HTTP/1 and gRPC needs HTTP/2", "No instance was asked. A fleet of gRPC servers has protocol = h2c, or h2 with TLS."),
        Failure::NeedsTunnels => row(StatusCode::BAD_GATEWAY, "needs-tunnels",
            "The model server makes no tunnels over HTTP/2", "It does not announce extended CONNECT (RFC 8441). Nothing was sent to it."),
        Failure::Unresolved | Failure::ConnectFailed(_) => row(StatusCode::BAD_GATEWAY, "connect-failed",
            "The model server could not be reached", "No connection could be made."),
        Failure::ConnectTimeout => row(StatusCode::GATEWAY_TIMEOUT, "connect-timeout",
            "The model server could not be reached in time", "The connection was not made within this endpoint's connect timeout."),
        Failure::Refused(_) => row(StatusCode::SERVICE_UNAVAILABLE, "upstream-refused",
            "The model server did not take the request", "It was not executed, and may be sent again."),
        Failure::Reset(_) => row(StatusCode::BAD_GATEWAY, "upstream-reset",
            "The model server did not answer", "The connection ended before a response. The request may have been executed."),
        Failure::BadResponse(_) => row(StatusCode::BAD_GATEWAY, "bad-response",
            "The model server's answer is not valid", "The answer was not HTTP, or not an answer to this request."),
        Failure::HeadTimeout => row(StatusCode::GATEWAY_TIMEOUT, "head-timeout",
            "The model server did not answer in time", "No response came within this endpoint's head timeout. The request may have been executed."),
        Failure::IdleTimeout => row(StatusCode::GATEWAY_TIMEOUT, "idle-timeout",
            "The model server stopped", "Nothing flowed for longer than this endpoint waits. The request may have been executed."),
        Failure::TotalTimeout => row(StatusCode::GATEWAY_TIMEOUT, "total-timeout",
            "The model server did not answer in time", "No response came within this endpoint's total timeout. The request may have been executed."),
        Failure::Overlong | Failure::Truncated(_) => row(StatusCode::BAD_GATEWAY, "truncated",
            "The model server's answer was cut short", "The answer ended before its end. The request has been executed."),
    }
}

fn shed_status(shed: Shed) -> StatusCode {
    match shed.status {
        ShedStatus::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ShedStatus::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_a_problem_document_that_names_its_side() {
        let failures = [
            Failure::BadRequest("It has no Host."),
            Failure::Connect,
            Failure::UnknownProtocol,
            Failure::UnknownCoding,
            Failure::LongTarget,
            Failure::OddPath(crate::route::PathError::Zero),
            Failure::LargeHead,
            Failure::LargeBody,
            Failure::BrokenBody,
            Failure::StalledBody,
            Failure::SlowBody,
            Failure::BadTimeout,
            Failure::Deadline,
            Failure::Busy,
            Failure::NoMatch,
            Failure::UnknownVariant("The variants are a and b.".into()),
            Failure::Unsigned(crate::aws::SignatureError::Incomplete("secret".to_owned())),
            Failure::Exhausted(std::io::Error::other("secret")),
            Failure::NoInstance,
            Failure::QueueFull(Shed::new(&crate::route::Admission::default())),
            Failure::QueueTimeout(Shed::new(&crate::route::Admission::default())),
            Failure::NeedsHttp2,
            Failure::NeedsTunnels,
            Failure::Unresolved,
            Failure::ConnectFailed(std::io::Error::other("secret")),
            Failure::ConnectTimeout,
            Failure::Refused(std::io::Error::other("secret")),
            Failure::BadResponse("secret"),
            Failure::HeadTimeout,
            Failure::IdleTimeout,
            Failure::TotalTimeout,
            Failure::Overlong,
        ];
        for failure in failures {
            let response = problem(&failure, Connection::Closed);
            let ResponseBody::Own(body) = response.body() else { panic!("an answer has a body") };
            let document: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert_eq!(document["status"], response.status().as_u16(), "{failure}");
            assert!(failure.to_string().starts_with(document["side"].as_str().unwrap()), "{failure}");
            assert!(!document.to_string().contains("secret"), "{failure}");
        }
    }
}
