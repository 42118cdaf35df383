//! What an endpoint's owner counts as a failure of its fleets.
//!
//! The default is what model servers mean by their answers ([`Verdict::of_status`], [`GrpcStatus::verdict`]). Owners know their servers
//! better: some answer a client's bad input with 500, and behind some a 404 is an outage. The classes are the same for blue and
//! green, so that a comparison of the two stays one, and everything that counts reads them: alarms, metrics, rescues.
//!
//! What cannot be anybody's choice is not asked for: a connection that was refused or broke, an answer that is not HTTP or was cut short,
//! and a fleet without an instance are failures always.

use std::sync::Arc;

use super::{FailureBody, GrpcStatuses, Statuses};
use crate::meter::{FailureKind, GrpcStatus, Verdict};

/// What counts as a failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailureClasses {
    /// The statuses that do. The other errors blame the client.
    pub statuses: Statuses,
    /// The statuses of gRPC calls that do. The other errors blame the caller.
    pub grpc_statuses: GrpcStatuses,
    /// Whether a failure inside an answer that began as a success does.
    pub in_band: bool,
    /// Whether an answer that did not come in time does, be it by the endpoint's limits or by a gRPC caller's own deadline.
    pub timeouts: bool,
    /// Whether an answer that blames the client does.
    pub client_errors: bool,
    /// Whether a client that goes away before the end of its answer does.
    pub gone_clients: bool,
    /// What an error in a body looks like whose status calls it a success; none is looked for without.
    pub body: Option<Arc<FailureBody>>,
}

impl Default for FailureClasses {
    /// Bad input and clients that leave say nothing of a fleet.
    fn default() -> Self {
        let is_failure = |verdict: Verdict| matches!(verdict, Verdict::Failure(_));
        Self {
            statuses: Statuses::of(Statuses::RANGE.filter(|status| is_failure(Verdict::of_status(*status)))),
            grpc_statuses: GrpcStatuses::of(
                GrpcStatus::ALL.into_iter().filter(|status| is_failure(status.verdict())),
            ),
            in_band: true,
            timeouts: true,
            client_errors: false,
            gone_clients: false,
            body: None,
        }
    }
}

impl FailureClasses {
    /// The class of a complete answer with this status. One beyond the known statuses is a failure: no client knows what it means.
    pub fn of_status(&self, status: u16) -> Verdict {
        if !Statuses::RANGE.contains(&status) {
            return Verdict::of_status(status);
        }
        if self.statuses.contains(status) {
            return Verdict::Failure(match Verdict::of_status(status) {
                Verdict::Failure(kind) => kind,
                Verdict::Success
                | Verdict::ClientError
                | Verdict::Excused
                | Verdict::ClientGone
                | Verdict::Shed => FailureKind::ServerError,
            });
        }
        self.of_client_error()
    }

    /// The class of a call that ended with this status.
    pub fn of_grpc(&self, status: GrpcStatus) -> Verdict {
        match (status, status.verdict()) {
            (GrpcStatus::Ok, verdict) => verdict,
            (status, Verdict::Failure(kind)) if self.grpc_statuses.contains(status) => self.of_failure(kind),
            (status, _) if self.grpc_statuses.contains(status) => Verdict::Failure(FailureKind::ServerError),
            (_, _) => self.of_client_error(),
        }
    }

    /// The class of an answer that blames the client.
    pub fn of_client_error(&self) -> Verdict {
        if self.client_errors { Verdict::Failure(FailureKind::ClientError) } else { Verdict::ClientError }
    }

    /// The class of a failure of this kind.
    pub fn of_failure(&self, kind: FailureKind) -> Verdict {
        let counts = match kind {
            FailureKind::InBand => self.in_band,
            FailureKind::HeadTimeout | FailureKind::IdleTimeout | FailureKind::Deadline => self.timeouts,
            FailureKind::ServerError
            | FailureKind::Overload
            | FailureKind::NoInstance
            | FailureKind::ConnectFailed
            | FailureKind::Reset
            | FailureKind::Truncated
            | FailureKind::BadResponse
            | FailureKind::ClientError
            | FailureKind::ClientGone => true,
        };
        if counts { Verdict::Failure(kind) } else { Verdict::Excused }
    }

    /// The class of a verdict that was reached without asking the owner.
    pub fn of(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Failure(kind) => self.of_failure(kind),
            Verdict::ClientError => self.of_client_error(),
            Verdict::Success | Verdict::Excused | Verdict::ClientGone | Verdict::Shed => verdict,
        }
    }

    /// The class of a request whose client went away before anything was known of its end.
    pub fn of_gone_client(&self) -> Verdict {
        if self.gone_clients { Verdict::Failure(FailureKind::ClientGone) } else { Verdict::ClientGone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_every_status_is_what_model_servers_mean_by_it() {
        let classes = FailureClasses::default();
        for status in 100..=999 {
            assert_eq!(classes.of_status(status), Verdict::of_status(status), "{status}");
        }
        for status in GrpcStatus::ALL {
            assert_eq!(classes.of_grpc(status), status.verdict(), "{status:?}");
        }
    }

    #[test]
    fn an_error_that_is_not_listed_blames_the_client_and_one_that_is_the_fleet() {
        let classes = FailureClasses {
            statuses: Statuses::of([404, 503]),
            grpc_statuses: GrpcStatuses::of([GrpcStatus::NotFound, GrpcStatus::Unavailable]),
            ..FailureClasses::default()
        };
        assert_eq!(classes.of_status(500), Verdict::ClientError);
        assert_eq!(classes.of_status(404), Verdict::Failure(FailureKind::ServerError));
        assert_eq!(classes.of_status(503), Verdict::Failure(FailureKind::Overload));
        assert_eq!(classes.of_status(302), Verdict::Success);
        assert_eq!(classes.of_status(600), Verdict::Failure(FailureKind::ServerError));
        assert_eq!(classes.of_grpc(GrpcStatus::Internal), Verdict::ClientError);
        assert_eq!(classes.of_grpc(GrpcStatus::NotFound), Verdict::Failure(FailureKind::ServerError));
        assert_eq!(classes.of_grpc(GrpcStatus::Unavailable), Verdict::Failure(FailureKind::Overload));
        assert_eq!(classes.of_grpc(GrpcStatus::Ok), Verdict::Success);
    }

    #[test]
    fn what_the_owner_does_not_count_is_excused_and_what_cannot_be_excused_is_not() {
        let classes = FailureClasses { in_band: false, timeouts: false, ..FailureClasses::default() };
        for kind in FailureKind::ALL {
            let is_excused = matches!(
                kind,
                FailureKind::InBand
                    | FailureKind::HeadTimeout
                    | FailureKind::IdleTimeout
                    | FailureKind::Deadline
            );
            let expected = if is_excused { Verdict::Excused } else { Verdict::Failure(kind) };
            assert_eq!(classes.of(Verdict::Failure(kind)), expected, "{kind:?}");
        }
        assert_eq!(classes.of_grpc(GrpcStatus::DeadlineExceeded), Verdict::Excused);
    }

    #[test]
    fn client_errors_and_clients_that_leave_count_where_the_owner_asks_for_it() {
        let classes = FailureClasses { client_errors: true, gone_clients: true, ..FailureClasses::default() };
        let failure = Verdict::Failure(FailureKind::ClientError);
        assert_eq!((classes.of_status(404), classes.of_grpc(GrpcStatus::NotFound)), (failure, failure));
        assert_eq!(classes.of(Verdict::ClientError), failure);
        assert_eq!(classes.of_gone_client(), Verdict::Failure(FailureKind::ClientGone));
        assert_eq!(FailureClasses::default().of_gone_client(), Verdict::ClientGone);
    }
}
