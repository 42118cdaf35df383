//! Providers: what starts and stops a fleet's instances.

mod fixed;

pub use fixed::StaticProvider;

use std::sync::Arc;

use crate::fleet::{Fleet, FleetSpec};

/// Makes fleets from their specifications, and lets them go.
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// Starts a fleet's instances and says where they are; readiness is the prober's business.
    fn provision(&self, spec: &FleetSpec) -> impl Future<Output = Result<Arc<Fleet>, ProviderError>> + Send;

    /// Lets a fleet's instances go. Called when nothing is in flight on them, or their drain deadline has passed.
    fn retire(&self, fleet: &Fleet) -> impl Future<Output = Result<(), ProviderError>> + Send;
}

/// Why a fleet could not be made or let go.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot {attempted} fleet {version}: {reason}")]
pub struct ProviderError {
    /// `provision` or `retire`.
    pub attempted: &'static str,
    /// The fleet's version.
    pub version: String,
    /// What went wrong.
    pub reason: String,
}
