//! gRPC calls: how they are told from other requests, what their ends say, and the proxy's own answers to them.
//!
//! A call's HTTP status is 200 whatever becomes of it. What it came to stands in `grpc-status`, after the last message or in a head
//! that is the trailers too; an answer without one was cut short. A gRPC client reads a status of its own kind; of a problem
//! document it would make "unknown".

use std::rc::Rc;

use http::{HeaderMap, HeaderValue, Response, Version, header::CONTENT_TYPE, request};

use super::{
    answer,
    body::ResponseBody,
    caller::Caller,
    deadline::{self, Deadline},
    error::{Failure, Shed},
    grpc_messages::{Form, StreamingMethods},
    grpc_replies::Replies,
};
use crate::{
    clock,
    meter::{FailureKind, GrpcStatus, Verdict},
    route::{FailureClasses, ShedStatus},
    time::Moment,
};

/// What is known of a call.
#[derive(Clone, Debug)]
pub(super) struct GrpcCall {
    /// When its caller wants it to be over.
    pub(super) deadline: Option<Rc<Deadline>>,
    /// How it ended, once its instance has said so.
    pub(super) status: Option<GrpcStatus>,
    /// Whether its answer is a stream, as far as its method tells.
    pub(super) form: Form,
    /// Its path, while a second message of its answer would say something new of its method.
    untold: Option<Box<str>>,
    /// Only of a call whose answer may hold errors and end well.
    replies: Option<Box<Replies>>,
}

const STATUS: &str = "grpc-status";

/// What a gRPC call and its answer are made of; a format such as `+proto` may follow.
const MEDIA_TYPE: &str = "application/grpc";

impl GrpcCall {
    /// A request as a call, if it is one. That is never asked of HTTP/1, which gRPC does not use.
    pub(super) fn of(caller: &Caller, head: &request::Parts) -> Result<Option<Self>, Failure> {
        if head.version != Version::HTTP_2 || !has_media_type(&head.headers) {
            return Ok(None);
        }
        caller.mark_grpc();
        let begin = |timeout| Deadline::begin(caller.worker(), &caller.pulse, timeout, clock::now());
        let deadline = deadline::timeout(&head.headers)?.map(begin).transpose()?;
        let path = head.uri.path();
        Ok(Some(Self {
            deadline,
            status: None,
            form: Form::of(path),
            untold: None,
            replies: Replies::of(path),
        }))
    }

    /// Tells the instance that gets the call now how much of its time is left.
    pub(super) fn tell(&self, headers: &mut HeaderMap, now: Moment) {
        if let Some(deadline) = &self.deadline {
            deadline.tell(headers, now);
        }
    }

    /// The same call as another instance gets it.
    pub(super) fn again(&self) -> Self {
        let (deadline, replies) = (self.deadline.clone(), self.fresh_replies());
        Self { deadline, status: None, form: self.form, untold: self.untold.clone(), replies }
    }

    /// Takes what was seen of the method before, at an endpoint that reads messages.
    pub(super) fn remember(&mut self, path: &str, methods: &StreamingMethods) {
        self.form = methods.form(path, self.form);
        self.untold = (self.form == Form::Untold).then(|| path.into());
    }

    /// Its answer turns out to be a stream, as far as its messages tell.
    pub(super) fn tell_streaming(&mut self, methods: &StreamingMethods) {
        if let Some(path) = self.untold.take() {
            methods.see(&path);
        }
    }

    /// What reads the answer from its beginning for errors in it.
    pub(super) fn fresh_replies(&self) -> Option<Box<Replies>> {
        self.replies.is_some().then(Box::default)
    }

    /// Whether a part of the answer holds an error.
    pub(super) fn finds_error(&mut self, bytes: &[u8]) -> bool {
        self.replies.as_mut().is_some_and(|replies| replies.read(bytes))
    }

    /// Reads trailers, or a head that may be all there is.
    pub(super) fn read(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get(STATUS) {
            self.status = Some(GrpcStatus::of_header(status.as_bytes()));
        }
    }

    /// What a complete answer says of the fleet. What has no status of gRPC's own did not come from its server, or was cut short.
    pub(super) fn verdict(&self, http_status: u16, classes: &FailureClasses) -> Verdict {
        match (self.status, classes.of_status(http_status)) {
            (Some(status), _) => classes.of_grpc(status),
            (None, Verdict::Success) => Verdict::Failure(FailureKind::Truncated),
            (None, verdict) => verdict,
        }
    }
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
    *response.headers_mut() = trailers(failure);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

/// The end of a call that failed after its answer had begun.
pub(super) fn trailers(failure: &Failure) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    trailers.insert(STATUS, HeaderValue::from_static(code(failure)));
    // Percent-encoding would leave the table's titles as they are: visible ASCII, without a percent sign.
    trailers.insert("grpc-message", HeaderValue::from_static(answer::title(failure)));
    trailers
}

/// gRPC's status codes, by what gRPC's table for HTTP statuses makes of the same failure, and where a limit was reached by the code
/// that says so.
fn code(failure: &Failure) -> &'static str {
    const INVALID_ARGUMENT: &str = "3";
    const DEADLINE_EXCEEDED: &str = "4";
    const RESOURCE_EXHAUSTED: &str = "8";
    const UNIMPLEMENTED: &str = "12";
    const INTERNAL: &str = "13";
    const UNAVAILABLE: &str = "14";
    const UNAUTHENTICATED: &str = "16";
    match failure {
        Failure::UnknownVariant(_) => INVALID_ARGUMENT,
        Failure::Unsigned(_) => UNAUTHENTICATED,
        Failure::StalledBody
        | Failure::SlowBody
        | Failure::HeadTimeout
        | Failure::IdleTimeout
        | Failure::TotalTimeout
        | Failure::Overlong
        | Failure::Deadline => DEADLINE_EXCEEDED,
        Failure::LargeHead | Failure::LargeBody => RESOURCE_EXHAUSTED,
        Failure::NoMatch
        | Failure::NeedsHttp2
        | Failure::NeedsTunnels
        | Failure::Connect
        | Failure::UnknownProtocol
        | Failure::UnknownCoding => UNIMPLEMENTED,
        // A malformed timeout is refused as gRPC's own server in Go does it.
        Failure::BadRequest(_)
        | Failure::BadTimeout
        | Failure::OddPath(_)
        | Failure::LongTarget
        | Failure::BrokenBody
        | Failure::BadResponse(_) => INTERNAL,
        // As a server says that is full; callers back off.
        Failure::QueueFull(Shed { status: ShedStatus::TooManyRequests, .. })
        | Failure::QueueTimeout(Shed { status: ShedStatus::TooManyRequests, .. }) => RESOURCE_EXHAUSTED,
        Failure::QueueFull(Shed { status: ShedStatus::ServiceUnavailable, .. })
        | Failure::QueueTimeout(Shed { status: ShedStatus::ServiceUnavailable, .. })
        | Failure::Exhausted(_)
        | Failure::NoInstance
        | Failure::Unresolved
        | Failure::ConnectFailed(_)
        | Failure::ConnectTimeout
        | Failure::Busy
        | Failure::Refused(_)
        | Failure::Reset(_)
        | Failure::Truncated(_) => UNAVAILABLE,
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
