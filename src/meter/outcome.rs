//! What one request came to.

use std::time::Duration;

use super::{GrpcStatus, PassedMarks};

/// What one request came to, known at its last byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The judgement.
    pub verdict: Verdict,
    /// The status that the upstream answered with, when it answered.
    pub status: Option<u16>,
    /// How a gRPC call ended, when the upstream said so.
    pub grpc_status: Option<GrpcStatus>,
    /// From dispatch to the response's head, when there was one.
    pub first_byte: Option<Duration>,
    /// From dispatch to the first token of a stream, when one came.
    pub first_token: Option<Duration>,
    /// Tokens of a stream, as its server counts them; where it does not, events with text.
    pub tokens_out: u64,
    /// From dispatch to the last byte, or to the moment at which the request failed.
    pub duration: Duration,
    /// Bytes of request body passed upstream.
    pub bytes_in: u64,
    /// Bytes of response body passed downstream.
    pub bytes_out: u64,
    /// The latency bounds that it was counted against while it was open.
    pub overdue: Overdue,
    /// The marks of a comparison that it was counted against while it was open.
    pub passed: PassedMarks,
    /// Whether it was dealt while its instance warmed up: it is counted, and nothing is made of how long it took.
    pub is_warm_up: bool,
}

#[cfg(test)]
impl Outcome {
    /// Of a request that brought nothing but this verdict, after this time.
    pub(crate) fn of(verdict: Verdict, duration: Duration) -> Self {
        Self {
            verdict,
            status: None,
            grpc_status: None,
            first_byte: None,
            first_token: None,
            tokens_out: 0,
            duration,
            bytes_in: 0,
            bytes_out: 0,
            overdue: Overdue::default(),
            passed: PassedMarks::default(),
            is_warm_up: false,
        }
    }
}

/// Latency bounds, by their index in [`super::WatchPoint::bounds_nanos`], that a request passed while it was open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overdue(u8);

/// Whom an outcome speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A complete answer.
    Success,
    /// A complete answer that blames the client (most 4xx). Counts as served: it is no failure of the fleet.
    ClientError,
    /// The fleet failed.
    Failure(FailureKind),
    /// The fleet failed in a way that the endpoint's owner does not count as a failure. It has no latency either.
    Excused,
    /// The client went away first. Counts for nobody.
    ClientGone,
    /// The proxy found no room for it on an instance and sent it to none. Counts for nobody.
    Shed,
}

/// How a fleet failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureKind {
    /// A status that blames the server: 5xx, and 424 as SageMaker's and TGI's "the model failed".
    ServerError,
    /// 503, 529 or 429: the model server is full.
    Overload,
    /// No instance could take the request.
    NoInstance,
    /// No connection: refused, unreachable, or not made in time.
    ConnectFailed,
    /// The connection ended before the response's head.
    Reset,
    /// No response head in time.
    HeadTimeout,
    /// The response stopped flowing.
    IdleTimeout,
    /// The response ended before its end.
    Truncated,
    /// The answer was not HTTP, or not what was asked for.
    BadResponse,
    /// The failure was inside an answer that began as a success.
    InBand,
    /// The deadline that a gRPC caller had set passed first.
    Deadline,
    /// The answer blames the client, and the endpoint's owner counts that as a failure.
    ClientError,
    /// The client went away first, and the endpoint's owner counts that as a failure.
    ClientGone,
}

/// What came of the wish to give a failure of green to blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rescue {
    /// It was sent to blue, before the client saw anything of green's failure.
    Tried,
    /// It was sent to blue, which failed too.
    Failed,
    /// Its body was too large to be kept for a second try.
    BodyTooLarge,
    /// As many second tries as the endpoint allows had been made.
    OverBudget,
}

impl Rescue {
    /// Every kind, in the order of [`Rescue::index`].
    pub const ALL: [Self; 4] = [Self::Tried, Self::Failed, Self::BodyTooLarge, Self::OverBudget];

    /// The place in [`Rescue::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tried => "tried",
            Self::Failed => "failed",
            Self::BodyTooLarge => "body_too_large",
            Self::OverBudget => "over_budget",
        }
    }
}

const _: () = assert!(super::MAX_BOUNDS <= 8, "each bound has a bit");

impl Overdue {
    /// Adds a bound, below [`super::MAX_BOUNDS`].
    pub const fn insert(&mut self, bound: usize) {
        self.0 |= 1 << bound;
    }

    /// Whether it passed this one.
    pub const fn contains(self, bound: usize) -> bool {
        self.0 & (1 << bound) != 0
    }
}

impl Verdict {
    /// The class of a complete answer with this status. The table is section 1.4 of the class table every model server was
    /// checked against: 429 and 503 mean "queue full", 424 "the model failed", 408 from upstream is a server failure, 501
    /// says that the feature is off.
    pub const fn of_status(status: u16) -> Self {
        match status {
            429 | 503 | 529 => Self::Failure(FailureKind::Overload),
            408 | 424 => Self::Failure(FailureKind::ServerError),
            400..=499 | 501 => Self::ClientError,
            100..=399 => Self::Success,
            _ => Self::Failure(FailureKind::ServerError),
        }
    }

    /// `success`, `client_error`, `failure`, `excused`, `client_gone` or `shed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientError => "client_error",
            Self::Failure(_) => "failure",
            Self::Excused => "excused",
            Self::ClientGone => "client_gone",
            Self::Shed => "shed",
        }
    }
}

impl FailureKind {
    /// Every kind, in the order of [`FailureKind::index`].
    pub const ALL: [Self; 13] = [
        Self::ServerError,
        Self::Overload,
        Self::NoInstance,
        Self::ConnectFailed,
        Self::Reset,
        Self::HeadTimeout,
        Self::IdleTimeout,
        Self::Truncated,
        Self::BadResponse,
        Self::InBand,
        Self::Deadline,
        Self::ClientError,
        Self::ClientGone,
    ];

    /// The place in [`FailureKind::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerError => "server_error",
            Self::Overload => "overload",
            Self::NoInstance => "no_instance",
            Self::ConnectFailed => "connect_failed",
            Self::Reset => "reset",
            Self::HeadTimeout => "head_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::Truncated => "truncated",
            Self::BadResponse => "bad_response",
            Self::InBand => "in_band",
            Self::Deadline => "deadline_exceeded",
            Self::ClientError => "client_error",
            Self::ClientGone => "client_gone",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_fall_into_the_class_that_model_servers_mean_by_them() {
        assert_eq!(Verdict::of_status(200), Verdict::Success);
        assert_eq!(Verdict::of_status(404), Verdict::ClientError);
        assert_eq!(Verdict::of_status(501), Verdict::ClientError);
        assert_eq!(Verdict::of_status(429), Verdict::Failure(FailureKind::Overload));
        assert_eq!(Verdict::of_status(424), Verdict::Failure(FailureKind::ServerError));
        assert_eq!(Verdict::of_status(500), Verdict::Failure(FailureKind::ServerError));
    }

    #[test]
    fn every_kind_of_failure_and_of_rescue_stands_at_its_index() {
        for (place, kind) in Rescue::ALL.iter().enumerate() {
            assert_eq!(kind.index(), place);
        }
        for (place, kind) in FailureKind::ALL.iter().enumerate() {
            assert_eq!(kind.index(), place);
        }
    }
}
