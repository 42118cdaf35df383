//! One request from its head to its last byte, as it is told to whoever wants a line or spans of it.
//!
//! The data plane fills it in as the request passes and hands it over at its end. Nothing here is read by anything that decides.

use std::sync::Arc;

use http::{Method, Version};

use super::trace_context::TraceContext;
use crate::{
    fleet::{Address, Side},
    meter::{Outcome, Verdict},
    route::EndpointRoute,
    time::Moment,
};

/// One request.
#[derive(Clone, Debug)]
pub struct Passage {
    /// When its head was complete.
    pub received_at: Moment,
    /// When its last byte had passed, or it was given up.
    pub ended_at: Moment,
    /// What its client spoke.
    pub protocol: Version,
    /// Its method.
    pub method: Method,
    /// Its path as the client wrote it, with the query where that is wanted, cut to a bound.
    pub path: Box<str>,
    /// The endpoint as it was when the request was dealt; `None` of one that was dealt to no fleet.
    pub dealt: Option<Dealt>,
    /// Each time that it was given to an instance, in the order in which that ended.
    pub tries: Vec<Try>,
    /// How often it was sent again within its fleet.
    pub retries: u32,
    /// The status that the client got; `None` of a client that left before.
    pub status: Option<u16>,
    /// What the client was told of a request that came to no good answer of an instance.
    pub problem: Option<&'static str>,
    /// Where it stands in a trace.
    pub trace: Option<TraceContext>,
    /// The odds at which such requests are told of.
    pub rate: f64,
}

/// Where a request was dealt to.
#[derive(Clone, Debug)]
pub struct Dealt {
    /// Its endpoint.
    pub route: Arc<EndpointRoute>,
    /// The fleet.
    pub side: Side,
    /// The variant's place in the fleet.
    pub variant: usize,
}

/// Which try of a request it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// The one that it was dealt for.
    Dealt,
    /// The same, moved to another instance of its fleet.
    Moved,
    /// A copy of one whose instance was slow to answer.
    Copy,
    /// Blue's, for a request that green failed.
    Rescue,
}

/// One try of a request.
#[derive(Clone, Debug)]
pub struct Try {
    /// Which.
    pub attempt: Attempt,
    /// Its span's id; zero where there is no trace.
    pub span: u64,
    /// The fleet that tried.
    pub side: Side,
    /// The instance, if one could take it.
    pub instance: Option<Address>,
    /// When it was given to the instance.
    pub began_at: Moment,
    /// When it ended.
    pub ended_at: Moment,
    /// What it came to. Of a copy that another answer was faster than, a client that went away.
    pub outcome: Outcome,
}

impl Dealt {
    /// The variant's name, where the endpoint has variants.
    pub fn variant(&self) -> Option<&str> {
        let variant = self.route.blue.fleet.variants.get(self.variant)?;
        Some(variant.name.as_str())
    }
}

impl Attempt {
    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dealt => "dealt",
            Self::Moved => "moved",
            Self::Copy => "copy",
            Self::Rescue => "rescue",
        }
    }
}

impl Passage {
    /// The try that the fleet it was dealt to is judged by.
    pub fn judged(&self) -> Option<&Try> {
        self.tries.iter().rev().find(|one| matches!(one.attempt, Attempt::Dealt | Attempt::Moved))
    }

    /// The try whose answer the client got, as far as it got one.
    pub fn answering(&self) -> Option<&Try> {
        self.tries.iter().rev().find(|one| one.attempt != Attempt::Copy)
    }

    /// Whether blue answered what green had failed.
    pub fn is_rescued(&self) -> bool {
        self.tries.iter().any(|one| one.attempt == Attempt::Rescue)
    }

    /// What it came to, in a word.
    pub fn outcome(&self) -> &'static str {
        match (self.judged(), self.status) {
            (Some(judged), _) => judged.outcome.verdict.as_str(),
            (None, Some(_)) => "refused",
            (None, None) => Verdict::ClientGone.as_str(),
        }
    }

    /// How its fleet failed, if it did.
    pub fn failure(&self) -> Option<&'static str> {
        match self.judged()?.outcome.verdict {
            Verdict::Failure(kind) => Some(kind.as_str()),
            Verdict::Success
            | Verdict::ClientError
            | Verdict::Excused
            | Verdict::ClientGone
            | Verdict::Shed => None,
        }
    }

    /// Whether it is one to look at: its fleet failed, whether or not the client saw it, or the proxy had no room for it.
    pub fn is_bad(&self) -> bool {
        let is_failed = self.judged().is_some_and(|judged| {
            matches!(judged.outcome.verdict, Verdict::Failure(_) | Verdict::Excused | Verdict::Shed)
        });
        is_failed || self.status.is_some_and(|status| status >= 500)
    }
}

/// A protocol's version as OpenTelemetry has it.
pub fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        _ => "other",
    }
}
