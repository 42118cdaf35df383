//! What a plan can find at an endpoint's traffic: told in dry runs, and recorded as warnings when a shift starts.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use crate::{
    alarm::Dealing,
    fleet::{FleetSpec, Health},
    lint::{Finding, Lint, Room, Severity, Situation},
    name::EndpointName,
    time::Moment,
};

/// How many warnings of a start become events; a plan that has more shows the same thing in each of its steps.
const MOST_EVENTS: usize = 20;

impl Endpoint {
    /// How its requests come to their fleet.
    pub(super) fn dealing(&self) -> Dealing {
        if self.record.declared.sticky.is_some() { Dealing::Sticky } else { Dealing::Deck }
    }

    /// What a plan to this green would run in.
    pub(super) fn situation(&self, green: &FleetSpec, now: Moment) -> Situation {
        let declared = &self.record.declared;
        let by_default = declared.protection.admission.max_concurrency;
        let fleet = &self.blue.route.fleet;
        let healthy = fleet.instances.iter().filter(|instance| instance.health() == Health::Healthy);
        Situation {
            traffic: self.blue.past.traffic(&self.blue.route.meters, now),
            dealing: self.dealing(),
            blue: Room {
                in_flight: fleet.in_flight(),
                most: room(healthy.map(|instance| instance.max_concurrency()), by_default),
            },
            green_room: room(green.instances.iter().map(|instance| instance.max_concurrency), by_default),
        }
    }
}

/// How many requests instances take at a time; `None` when one of them takes any number.
pub(super) fn room(
    instances: impl Iterator<Item = Option<NonZeroU32>>,
    by_default: Option<NonZeroU32>,
) -> Option<u64> {
    instances.map(|own| own.or(by_default).map(|most| u64::from(most.get()))).sum()
}

/// Looks at a plan on a thread that may compute. What is said before a shift must not stand in the way of one: a failure, which would be
/// a defect, says nothing.
pub(super) async fn lint(
    endpoint: &EndpointName,
    plan: &crate::config::PlanSpec,
    situation: Situation,
) -> Option<Lint> {
    let plan = plan.clone();
    let looked = super::aside::aside(move || crate::lint::lint(&plan, &situation)).await;
    looked.map_err(|error| tracing::error!(%endpoint, %error, "a plan could not be looked at")).ok()
}

/// The errors and warnings of a start, a line each.
pub(super) fn warnings(findings: &[Finding]) -> Vec<String> {
    let told = |finding: &&Finding| match finding.severity {
        Severity::Error | Severity::Warning => true,
        Severity::Note => false,
    };
    let lines = findings.iter().filter(told).map(|finding| format!("{}: {}", finding.place, finding.message));
    lines.take(MOST_EVENTS).collect()
}

/// A finding as the journal keeps it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct FindingForm {
    severity: String,
    code: String,
    place: String,
    message: String,
    numbers: std::collections::BTreeMap<String, f64>,
}

impl FindingForm {
    pub(super) fn of(finding: &Finding) -> Self {
        let Finding { severity, code, place, message, numbers } = finding.clone();
        Self { severity: severity.as_str().to_owned(), code, place, message, numbers }
    }

    pub(super) fn finding(self) -> Finding {
        let Self { severity, code, place, message, numbers } = self;
        let known = Severity::ALL.into_iter().find(|known| known.as_str() == severity);
        Finding { severity: known.unwrap_or(Severity::Note), code, place, message, numbers }
    }
}
