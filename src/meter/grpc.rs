//! gRPC's status codes, and whom each of them speaks against.
//!
//! The codes and their names are those of <https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>.

use super::{FailureKind, Verdict};

/// How a gRPC call ended, as its server says in `grpc-status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GrpcStatus {
    /// 0: no error.
    Ok,
    /// 1: the call was cancelled, typically by the caller.
    Cancelled,
    /// 2: an error that nobody gave a code, or one that is not known.
    Unknown,
    /// 3: the request is wrong, whatever the state of the server.
    InvalidArgument,
    /// 4: the caller's deadline passed.
    DeadlineExceeded,
    /// 5: what was asked for does not exist.
    NotFound,
    /// 6: what was to be made exists.
    AlreadyExists,
    /// 7: the caller may not.
    PermissionDenied,
    /// 8: a quota or a queue is full.
    ResourceExhausted,
    /// 9: the server is not in the state that the request needs.
    FailedPrecondition,
    /// 10: a conflict, for example of a sequence.
    Aborted,
    /// 11: past the end.
    OutOfRange,
    /// 12: the server has no such method.
    Unimplemented,
    /// 13: something is broken.
    Internal,
    /// 14: the server cannot serve now.
    Unavailable,
    /// 15: data is lost.
    DataLoss,
    /// 16: the caller is not known.
    Unauthenticated,
}

impl GrpcStatus {
    /// Every status, each at its code.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// What a server wrote into `grpc-status`. What is no known code is [`GrpcStatus::Unknown`], as it is to every gRPC client.
    pub fn of_header(value: &[u8]) -> Self {
        let code = str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok());
        code.and_then(|code| Self::ALL.get(code)).map_or(Self::Unknown, |status| *status)
    }

    /// The status of this name, such as `UNAVAILABLE`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// The number on the wire, which is the place in [`GrpcStatus::ALL`].
    pub const fn code(self) -> usize {
        self as usize
    }

    /// The name in gRPC's own documents, in configuration and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// What an HTTP server would have answered, by
    /// <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::ResourceExhausted => 429,
            Self::Cancelled => 499,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
        }
    }

    /// What an answer with this status says of the fleet. A call that its client cancelled has no answer, so a server that
    /// says "cancelled" gave it up itself. Model servers use the two codes for "full" as HTTP's 429 and 503.
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Ok => Verdict::Success,
            Self::InvalidArgument
            | Self::NotFound
            | Self::AlreadyExists
            | Self::PermissionDenied
            | Self::FailedPrecondition
            | Self::OutOfRange
            | Self::Unimplemented
            | Self::Unauthenticated => Verdict::ClientError,
            Self::ResourceExhausted | Self::Unavailable => Verdict::Failure(FailureKind::Overload),
            Self::DeadlineExceeded => Verdict::Failure(FailureKind::Deadline),
            Self::Cancelled | Self::Unknown | Self::Aborted | Self::Internal | Self::DataLoss => {
                Verdict::Failure(FailureKind::ServerError)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_stands_at_its_code_and_is_found_by_its_name() {
        for (code, status) in GrpcStatus::ALL.into_iter().enumerate() {
            assert_eq!(status.code(), code);
            assert_eq!(GrpcStatus::named(status.as_str()), Some(status));
            assert_eq!(GrpcStatus::of_header(code.to_string().as_bytes()), status);
        }
        assert_eq!(GrpcStatus::named("unavailable"), None);
    }

    #[test]
    fn what_is_no_code_is_unknown_and_never_a_success() {
        for value in ["", "17", "-1", "99999999999999999999", "OK", "0x0", "\u{661}"] {
            assert_eq!(GrpcStatus::of_header(value.as_bytes()), GrpcStatus::Unknown, "{value:?}");
        }
        assert_eq!(GrpcStatus::of_header(b"\xff"), GrpcStatus::Unknown);
    }

    #[test]
    fn statuses_blame_whom_model_servers_mean_by_them() {
        let codes = |wanted: Verdict| -> Vec<usize> {
            GrpcStatus::ALL.iter().filter(|status| status.verdict() == wanted).map(|s| s.code()).collect()
        };
        assert_eq!(codes(Verdict::Success), [0]);
        assert_eq!(codes(Verdict::ClientError), [3, 5, 6, 7, 9, 11, 12, 16]);
        assert_eq!(codes(Verdict::Failure(FailureKind::Overload)), [8, 14]);
        assert_eq!(codes(Verdict::Failure(FailureKind::Deadline)), [4]);
        assert_eq!(codes(Verdict::Failure(FailureKind::ServerError)), [1, 2, 10, 13, 15]);
    }
}
