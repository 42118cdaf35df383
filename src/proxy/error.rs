//! What can go wrong with a request, on which side, and whether it may be tried again.

use std::io;

use http::HeaderName;
use rustix::io::Errno;

use super::{call::Lost, decode::Malformed, pulse::Late, upload::UploadError};
use crate::{
    aws::SignatureError,
    meter::{FailureKind, Rejection, Verdict},
    route::{Admission, Blame, EndpointRoute, PathError, ShedStatus},
};

/// Where a failure arose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FailureSide {
    /// The client's side.
    Downstream,
    /// The model server's side.
    Upstream,
    /// The proxy's own.
    Internal,
}

/// Why a request got no complete answer from an instance. Each message prints its own level only.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The request's head could be read in two ways, or is not HTTP. Nothing was sent upstream.
    #[error("downstream: refused the request's head: {0}")]
    BadRequest(&'static str),
    /// The proxy makes no tunnels to where clients want. Nothing was sent upstream.
    #[error("downstream: refused the method CONNECT")]
    Connect,
    /// The request can only be answered by a protocol that its endpoint does not allow. Nothing was sent upstream.
    #[error("downstream: refused a protocol that the endpoint does not allow")]
    UnknownProtocol,
    /// A transfer coding other than chunked. Nothing was sent upstream.
    #[error("downstream: refused an unknown transfer coding")]
    UnknownCoding,
    /// The request target is too long. Nothing was sent upstream.
    #[error("downstream: refused a request target that is too long")]
    LongTarget,
    /// The path leads different readers to different places. Nothing was sent upstream.
    #[error("downstream: refused the request's path")]
    OddPath(#[source] PathError),
    /// The request's head is larger than it may be. Nothing was sent upstream.
    #[error("downstream: the request's head is too large")]
    LargeHead,
    /// The request body is larger than the endpoint allows; if it did not say so, a part was sent upstream.
    #[error("downstream: the request body is larger than the endpoint's limit")]
    LargeBody,
    /// The request body is malformed or ended early; a part was sent upstream.
    #[error("downstream: could not read the request body")]
    BrokenBody,
    /// The client stopped sending its request body; a part was sent upstream.
    #[error("downstream: the client stopped sending the request body")]
    StalledBody,
    /// The client sent its request body more slowly than it must; a part was sent upstream.
    #[error("downstream: the client sent the request body too slowly")]
    SlowBody,
    /// The worker has as many requests in flight as it may. Nothing was sent upstream.
    #[error("internal: the worker has as many requests in flight as it may")]
    Busy,
    /// A gRPC call's timeout cannot be read. Nothing was sent upstream.
    #[error("downstream: refused a malformed grpc-timeout")]
    BadTimeout,
    /// A gRPC call's deadline passed. The instance may be executing it, and there is no time for a second try. Whose fault that is, the
    /// exchange knows.
    #[error("upstream: the call's deadline passed before its end")]
    Deadline,
    /// No instance of the fleet had room, and as many requests waited as may. Nothing was sent upstream.
    #[error("internal: no instance has room, and the queue is full")]
    QueueFull(Shed),
    /// No instance of the fleet had room for as long as a request waits. Nothing was sent upstream.
    #[error("internal: no instance had room in time")]
    QueueTimeout(Shed),
    /// No endpoint's rule fits. Nothing was sent upstream.
    #[error("downstream: no endpoint takes the request")]
    NoMatch,
    /// The request names a variant that its endpoint does not have; holds what the client is told. Nothing was sent upstream.
    #[error("downstream: the request names a variant that its endpoint does not have")]
    UnknownVariant(Box<str>),
    /// The request is not signed as it must be. Nothing was sent upstream.
    #[error("downstream: the request is not signed as it must be")]
    Unsigned(#[source] SignatureError),
    /// No instance of the fleet can serve. Nothing was sent upstream.
    #[error("upstream: no instance of the fleet can take the request")]
    NoInstance,
    /// A gRPC call was dealt to a fleet that speaks HTTP/1. Nothing was sent upstream.
    #[error("upstream: the fleet speaks HTTP/1, and gRPC needs HTTP/2")]
    NeedsHttp2,
    /// The client wants a tunnel, and the instance, which speaks HTTP/2, makes none. Nothing of the request was sent upstream.
    #[error(
        "upstream: the instance speaks HTTP/2 without extended CONNECT, and the request asks for a tunnel"
    )]
    NeedsTunnels,
    /// The instance's host name has no address yet. Nothing was sent upstream.
    #[error("upstream: the instance's host name is not resolved")]
    Unresolved,
    /// The system has no descriptor or port for a connection to the instance. Nothing was sent upstream.
    #[error("internal: the system has no room for another connection")]
    Exhausted(#[source] io::Error),
    /// The connection was refused or is impossible. Nothing was sent upstream.
    #[error("upstream: could not connect to the instance")]
    ConnectFailed(#[source] io::Error),
    /// The connection was not made in time. Nothing was sent upstream.
    #[error("upstream: connecting to the instance took too long")]
    ConnectTimeout,
    /// The instance said that it did not look at the request, as HTTP/2 can. It was not executed.
    #[error("upstream: the instance did not take the request")]
    Refused(#[source] io::Error),
    /// The connection ended before the response's head. The instance may have executed the request.
    #[error("upstream: the connection ended before a response")]
    Reset(#[source] io::Error),
    /// The response's head is not HTTP, or not an answer to what was asked. The instance has executed the request.
    #[error("upstream: refused the response: {0}")]
    BadResponse(&'static str),
    /// No response head in time. The instance may be executing the request.
    #[error("upstream: no response head in time")]
    HeadTimeout,
    /// The instance stopped reading the request or sending the response. It may be executing the request.
    #[error("upstream: the instance stopped reading or sending")]
    IdleTimeout,
    /// No response head within the endpoint's total timeout. The instance may be executing the request.
    #[error("upstream: no response head within the total timeout")]
    TotalTimeout,
    /// The response went on for longer than the endpoint's total timeout.
    #[error("upstream: the response was not over within the total timeout")]
    Overlong,
    /// The response ended before its end.
    #[error("upstream: the response body was cut short")]
    Truncated(#[source] Lost),
}

/// What becomes of a request for which there is no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shed {
    pub(super) status: ShedStatus,
    blame: Blame,
}

impl Shed {
    pub(super) fn new(admission: &Admission) -> Self {
        Self { status: admission.shed_status, blame: admission.blame }
    }
}

/// What running out of descriptors, memory for sockets, or ports of this machine looks like. None of it is the instance's doing.
const EXHAUSTION: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];

/// What an instance may have got of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// Nothing: it was not executed.
    Nothing,
    /// At least a part: it may have been executed.
    Perhaps,
}

impl Failure {
    /// Of a connection that was not made.
    pub(super) fn not_connected(error: io::Error) -> Self {
        let is_exhaustion = |errno: &Errno| error.raw_os_error() == Some(errno.raw_os_error());
        if EXHAUSTION.iter().any(is_exhaustion) { Self::Exhausted(error) } else { Self::ConnectFailed(error) }
    }

    /// Of a request that names a variant which this endpoint does not have.
    pub(super) fn unknown_variant(route: &EndpointRoute) -> Self {
        let header = route.variant_header.as_ref().map_or("", HeaderName::as_str);
        let names = route.blue.fleet.variant_names();
        Self::UnknownVariant(format!("{header} names none of this endpoint's variants: {names}.").into())
    }

    /// Of a wait that has limits of its own, and so can only run into those of the whole request.
    pub(super) fn overdue(late: Late) -> Self {
        match late {
            Late::Expired => Self::Deadline,
            Late::Slow => Self::SlowBody,
            Late::Overdue | Late::Silent => Self::TotalTimeout,
        }
    }

    /// How much of the request the instance may have got when it failed; `None` when it was not the instance that
    /// failed, or when there is no time left for a second try.
    pub(super) fn sent(&self) -> Option<Sent> {
        match self {
            Self::BadRequest(_)
            | Self::Connect
            | Self::UnknownProtocol
            | Self::UnknownCoding
            | Self::LongTarget
            | Self::OddPath(_)
            | Self::LargeHead
            | Self::LargeBody
            | Self::BrokenBody
            | Self::StalledBody
            | Self::SlowBody
            | Self::Busy
            | Self::BadTimeout
            | Self::Deadline
            | Self::Exhausted(_)
            | Self::NoMatch
            | Self::UnknownVariant(_)
            | Self::Unsigned(_) => None,
            Self::QueueFull(shed) | Self::QueueTimeout(shed) => match shed.blame {
                Blame::Nobody => None,
                Blame::Fleet => Some(Sent::Nothing),
            },
            Self::NoInstance
            | Self::NeedsHttp2
            | Self::NeedsTunnels
            | Self::Unresolved
            | Self::ConnectFailed(_)
            | Self::ConnectTimeout
            | Self::Refused(_) => Some(Sent::Nothing),
            Self::Reset(_)
            | Self::BadResponse(_)
            | Self::HeadTimeout
            | Self::IdleTimeout
            | Self::TotalTimeout
            | Self::Overlong
            | Self::Truncated(_) => Some(Sent::Perhaps),
        }
    }

    /// Why a request that was dealt to no fleet was refused; `None` when that was not for what it is.
    pub(super) fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::BadRequest(_) | Self::OddPath(_) | Self::BrokenBody | Self::BadTimeout => {
                Some(Rejection::Malformed)
            }
            Self::Connect | Self::UnknownProtocol | Self::UnknownCoding => Some(Rejection::Unsupported),
            Self::UnknownVariant(_) => Some(Rejection::UnknownVariant),
            Self::Unsigned(_) => Some(Rejection::Unsigned),
            Self::LongTarget => Some(Rejection::LongTarget),
            Self::LargeHead => Some(Rejection::LargeHead),
            Self::LargeBody => Some(Rejection::LargeBody),
            Self::StalledBody | Self::SlowBody | Self::Deadline => Some(Rejection::Late),
            Self::Busy
            | Self::QueueFull(_)
            | Self::QueueTimeout(_)
            | Self::Exhausted(_)
            | Self::NoMatch
            | Self::NoInstance
            | Self::NeedsHttp2
            | Self::NeedsTunnels
            | Self::Unresolved
            | Self::ConnectFailed(_)
            | Self::ConnectTimeout
            | Self::Refused(_)
            | Self::Reset(_)
            | Self::BadResponse(_)
            | Self::HeadTimeout
            | Self::IdleTimeout
            | Self::TotalTimeout
            | Self::Overlong
            | Self::Truncated(_) => None,
        }
    }

    /// Where it arose.
    pub(super) fn side(&self) -> FailureSide {
        match self {
            Self::BadRequest(_)
            | Self::Connect
            | Self::UnknownProtocol
            | Self::UnknownCoding
            | Self::LongTarget
            | Self::OddPath(_)
            | Self::LargeHead
            | Self::LargeBody
            | Self::BrokenBody
            | Self::StalledBody
            | Self::SlowBody
            | Self::BadTimeout
            | Self::NoMatch
            | Self::UnknownVariant(_)
            | Self::Unsigned(_) => FailureSide::Downstream,
            Self::Busy | Self::Exhausted(_) | Self::QueueFull(_) | Self::QueueTimeout(_) => {
                FailureSide::Internal
            }
            Self::NoInstance
            | Self::NeedsHttp2
            | Self::NeedsTunnels
            | Self::Unresolved
            | Self::ConnectFailed(_)
            | Self::ConnectTimeout
            | Self::Refused(_)
            | Self::Reset(_)
            | Self::BadResponse(_)
            | Self::HeadTimeout
            | Self::IdleTimeout
            | Self::TotalTimeout
            | Self::Overlong
            | Self::Deadline
            | Self::Truncated(_) => FailureSide::Upstream,
        }
    }

    /// What it says about the fleet that the request was dealt to. What the client did, or the proxy lacks, counts for nobody.
    pub(super) fn verdict(&self) -> Verdict {
        Verdict::Failure(match self {
            Self::BadRequest(_)
            | Self::Connect
            | Self::UnknownProtocol
            | Self::UnknownCoding
            | Self::LongTarget
            | Self::OddPath(_)
            | Self::LargeHead
            | Self::LargeBody
            | Self::BrokenBody
            | Self::StalledBody
            | Self::SlowBody
            | Self::Busy
            | Self::BadTimeout
            | Self::Deadline
            | Self::NoMatch
            | Self::UnknownVariant(_)
            | Self::Unsigned(_) => return Verdict::ClientGone,
            Self::Exhausted(_) => return Verdict::Shed,
            Self::QueueFull(shed) | Self::QueueTimeout(shed) => match shed.blame {
                Blame::Nobody => return Verdict::Shed,
                Blame::Fleet => FailureKind::Overload,
            },
            Self::NoInstance | Self::NeedsHttp2 | Self::NeedsTunnels => FailureKind::NoInstance,
            Self::Unresolved | Self::ConnectFailed(_) | Self::ConnectTimeout | Self::Refused(_) => {
                FailureKind::ConnectFailed
            }
            Self::Reset(_) => FailureKind::Reset,
            Self::BadResponse(_) => FailureKind::BadResponse,
            Self::HeadTimeout | Self::TotalTimeout => FailureKind::HeadTimeout,
            Self::IdleTimeout => FailureKind::IdleTimeout,
            Self::Truncated(_) | Self::Overlong => FailureKind::Truncated,
        })
    }
}

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge => Self::LargeBody,
            UploadError::Broken => Self::BrokenBody,
        }
    }
}

impl From<Lost> for Failure {
    /// Of a call that ended before its response's head.
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Refused(error) => Self::Refused(error),
            Lost::Closed(error) => Self::Reset(error),
            Lost::Malformed(Malformed(defect)) => Self::BadResponse(defect),
            Lost::Request(error) => error.into(),
        }
    }
}
