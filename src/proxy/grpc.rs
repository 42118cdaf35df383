//! The proxy's own answers to gRPC calls. A gRPC client reads a status of its own kind; of a problem document it would make
//! "unknown".

use http::{HeaderMap, HeaderValue, Response, Version, header::CONTENT_TYPE, request};

use super::{answer, body::ResponseBody, error::Failure};

/// What a gRPC call and its answer are made of; a format such as `+proto` may follow.
const MEDIA_TYPE: &str = "application/grpc";

/// Whether a request is a gRPC call. That is never asked of HTTP/1, which gRPC does not use.
pub(super) fn is_call(head: &request::Parts) -> bool {
    head.version == Version::HTTP_2 && has_media_type(&head.headers)
}

fn has_media_type(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let rest = value.as_bytes().strip_prefix(MEDIA_TYPE.as_bytes());
    // `application/grpc-web` is another protocol, with its status in the body.
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The answer to a call that failed: a head that is the trailers too ("Trailers-Only" in gRPC over HTTP/2). Its HTTP status
/// is always 200.
pub(super) fn status(failure: &Failure) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert("grpc-status", HeaderValue::from_static(code(failure)));
    // Percent-encoding would leave the table's titles as they are: visible ASCII, without a percent sign.
    headers.insert("grpc-message", HeaderValue::from_static(answer::title(failure)));
    response
}

/// gRPC's status codes, by what gRPC's table for HTTP statuses makes of the same failure, and where a limit was reached by the code
/// that says so.
fn code(failure: &Failure) -> &'static str {
    const DEADLINE_EXCEEDED: &str = "4";
    const RESOURCE_EXHAUSTED: &str = "8";
    const UNIMPLEMENTED: &str = "12";
    const INTERNAL: &str = "13";
    const UNAVAILABLE: &str = "14";
    match failure {
        Failure::StalledBody
        | Failure::HeadTimeout
        | Failure::IdleTimeout
        | Failure::TotalTimeout
        | Failure::Overlong => DEADLINE_EXCEEDED,
        Failure::LargeHead | Failure::LargeBody => RESOURCE_EXHAUSTED,
        Failure::NoMatch | Failure::Connect | Failure::UnknownCoding => UNIMPLEMENTED,
        Failure::BadRequest(_)
        | Failure::OddPath(_)
        | Failure::LongTarget
        | Failure::BrokenBody
        | Failure::BadResponse(_)
        | Failure::Truncated(_) => INTERNAL,
        Failure::NoInstance
        | Failure::Unresolved
        | Failure::ConnectFailed(_)
        | Failure::ConnectTimeout
        | Failure::Busy
        | Failure::Reset(_) => UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_by_its_media_type_and_not_taken_for_grpc_web() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(has_media_type(&headers), expected, "{value}");
        }
    }

    #[test]
    fn a_message_needs_no_encoding_and_tells_nothing_from_inside() {
        for failure in [
            Failure::NoMatch,
            Failure::LargeBody,
            Failure::HeadTimeout,
            Failure::BadRequest("secret"),
            Failure::ConnectFailed(std::io::Error::other("secret")),
        ] {
            let response = status(&failure);
            let message = response.headers()["grpc-message"].to_str().unwrap();
            assert!(message.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%'), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
