//! What an exchange's answer says of its fleet.

use http::{HeaderMap, Method, header::CONTENT_ENCODING};

use super::{Answered, Exchange};
use crate::{
    meter::{FailureKind, Verdict},
    proxy::{
        error::Failure,
        grpc_messages::Form,
        hearing::{Reader, Turn},
        tap::Tap,
        upload::Progress,
    },
    route::{BodyScanner, FailureClasses, RescuePolicy, Scan, Signals},
    time::Moment,
};

impl Exchange {
    /// What counts as a failure.
    pub(super) fn classes(&self) -> &FailureClasses {
        &self.view.route.failures
    }

    /// Whether a failure is one that the endpoint's owner counts. One that is not is nobody's to rescue.
    pub(in crate::proxy) fn counts(&self, failure: &Failure) -> bool {
        self.classes().of(failure.verdict()) != Verdict::Excused
    }

    /// The answer is a failure: its status is one that the endpoint's owner names.
    pub(in crate::proxy) fn blame(&mut self) {
        self.is_blamed = true;
        self.heed_failure();
    }

    /// The answer holds a failure, which is one unless the endpoint's owner does not count such.
    pub(in crate::proxy) fn find_in_band_failure(&mut self) {
        if self.classes().in_band {
            self.blame();
        } else {
            self.is_excused = true;
        }
    }

    /// Whether it is a failure, whatever its status.
    pub(in crate::proxy) fn is_blamed(&self) -> bool {
        self.is_blamed
    }

    /// Whether the endpoint's owner names the answer's status among those to be rescued. A gRPC call has a status of its own, which is
    /// what counts once it is there.
    pub(in crate::proxy) fn has_named_status(&self) -> bool {
        let RescuePolicy { statuses, grpc_statuses, .. } = self.policy();
        match (self.grpc_status(), self.answered) {
            (Some(status), _) => grpc_statuses.contains(status),
            (None, Some(Answered { status, .. })) => statuses.contains(status),
            (None, None) => false,
        }
    }

    /// What reads the response as a stream, if it may be one and its endpoint's streams are read.
    pub(super) fn reader(&self, status: u16, method: &Method, headers: &HeaderMap) -> Option<Reader> {
        match (self.view.route.signals, &self.grpc) {
            (Signals::Off, _) | (Signals::Auto, Some(_)) => None,
            (Signals::Grpc, Some(call)) => {
                let form = match (call.form, self.whose_turn()) {
                    // Nobody knows whether the instance owes anything before the client has ended.
                    (Form::Seen, Turn::Untold) => Form::Untold,
                    (form, Turn::Instance | Turn::Untold) => form,
                };
                form.messages().map(Reader::Messages)
            }
            (Signals::Auto | Signals::Grpc, None) if method == Method::HEAD => None,
            (Signals::Auto | Signals::Grpc, None) => Tap::of(status, headers).map(Reader::Events),
        }
    }

    /// What looks for errors in the response's body, where the endpoint's owner has said what they look like. What is compressed is not
    /// decompressed, and event streams and gRPC calls have signs of their own.
    pub(super) fn wanted_body(
        &self,
        status: u16,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<Box<BodyScanner>> {
        let wanted = self.classes().body.as_deref()?;
        let is_plain = headers
            .get(CONTENT_ENCODING)
            .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
        let is_fit = (200..300).contains(&status)
            && method != Method::HEAD
            && is_plain
            && !self.hearing.reads_events()
            && self.grpc.is_none();
        is_fit.then(|| Box::new(wanted.scanner()))
    }

    /// What looks for errors in the response's body from its beginning, if any is looked for.
    pub(in crate::proxy) fn fresh_body(&self) -> Option<BodyScanner> {
        self.body.as_deref().cloned()
    }

    /// A part of the response's body passes.
    pub(super) fn look_into_body(&mut self, bytes: &[u8]) {
        let Some(body) = &mut self.body else { return };
        match body.read(bytes) {
            Scan::More => {}
            Scan::Absent => self.body = None,
            Scan::Found(()) => {
                self.body = None;
                self.find_in_band_failure();
            }
        }
    }

    /// An answer that says that the fleet failed is the verdict at once, whether or not the client stays for the rest.
    pub(super) fn heed_failure(&mut self) {
        // That a gRPC call has no status yet says nothing before its end.
        let is_open = self.grpc.as_ref().is_some_and(|call| call.status.is_none());
        match self.verdict_of_answer() {
            Some(Verdict::Failure(FailureKind::Truncated)) if is_open => {}
            Some(failure @ Verdict::Failure(_)) => self.verdict = failure,
            Some(
                Verdict::Success
                | Verdict::ClientError
                | Verdict::Excused
                | Verdict::ClientGone
                | Verdict::Shed,
            )
            | None => {}
        }
    }

    /// What the answer says of the fleet, once it is complete.
    pub(super) fn verdict_of_answer(&self) -> Option<Verdict> {
        let Answered { status, .. } = self.answered?;
        let verdict = match &self.grpc {
            // It was not waited for the status.
            Some(call) if self.is_blamed && call.status.is_none() => self.classes().of_status(status),
            Some(call) => call.verdict(status, self.classes()),
            None => self.classes().of_status(status),
        };
        Some(match verdict {
            Verdict::Success if self.is_blamed => Verdict::Failure(FailureKind::InBand),
            Verdict::Success if self.is_excused => Verdict::Excused,
            Verdict::ClientError if self.is_blamed => Verdict::Failure(FailureKind::ServerError),
            Verdict::Success
            | Verdict::ClientError
            | Verdict::Excused
            | Verdict::ClientGone
            | Verdict::Shed
            | Verdict::Failure(_) => verdict,
        })
    }

    /// Whether a call that ends now without an answer had run out of its time while its instance was due to act. Before the first message
    /// of the answer, that is also an instance that waits for more than the client has sent: a conversation to which it says nothing
    /// looks the same from here.
    pub(super) fn is_overdue(&self, now: Moment) -> bool {
        let Some(deadline) = self.grpc.as_ref().and_then(|call| call.deadline.as_ref()) else { return false };
        let is_open_to_more = match self.request_body.as_ref().map(|body| body.progress()) {
            None | Some(Progress::Complete | Progress::InstanceIsDue) => false,
            Some(Progress::ClientIsDue | Progress::Stopped(_)) => true,
        };
        let is_instance_due = self.answered.is_none() || self.hearing.awaits_more();
        is_instance_due && !(is_open_to_more && self.bytes_out > 0) && deadline.is_over(now)
    }

    /// Who must act for the answer to go on: in a conversation that is open to more the client may have to.
    pub(super) fn whose_turn(&self) -> Turn {
        let is_open =
            || self.request_body.as_ref().is_some_and(|body| body.progress() == Progress::ClientIsDue);
        if self.grpc.is_some() && is_open() { Turn::Untold } else { Turn::Instance }
    }

    /// Whether nobody ended it, so that its client went away. How long a tunnel lasts is the client's choice.
    pub(super) fn was_left(&self) -> bool {
        let is_tunnel = self.answered.is_some_and(|answered| answered.status == 101);
        self.ended_at.is_none() && !is_tunnel
    }
}
