//! What the metrics know of shifts: the running ones as control shows them, and the ends of those that are over.

use std::{collections::BTreeMap, time::Duration};

use super::{
    exposition::Exposition,
    names::{self, NO_CAUSE, NO_SHIFT, PROMOTED, ROLLBACK_CAUSES, ROLLED_BACK, SHIFT_STATES},
};
use crate::{
    alarm::{AlarmEvidence, AlarmState, ExternalEvidence, ThresholdEvidence},
    name::EndpointName,
    route::RouteTable,
    shift::Cause,
};

/// What control knows of a running shift, for the metrics.
#[derive(Clone, PartialEq, Debug)]
pub struct ShiftFigures {
    /// Whose.
    pub endpoint: EndpointName,
    /// The state's name.
    pub state: &'static str,
    /// Every guard and regression of its plan.
    pub alarms: Vec<AlarmEvidence>,
    /// Every threshold alarm of its plan.
    pub thresholds: Vec<ThresholdEvidence>,
    /// Every external alarm of its plan.
    pub externals: Vec<ExternalEvidence>,
}

/// How a shift ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ShiftEnd {
    /// Green is the fleet in service.
    Promoted,
    /// Blue still is.
    RolledBack {
        /// Why.
        cause: Cause,
        /// From the response that tipped the alarm to the decision; `None` when it was not an alarm's.
        decision: Option<Duration>,
        /// From the blue-only table's publishing to the last request dealt to green.
        last_green_dispatch: Option<Duration>,
    },
}

/// Each endpoint's ended shifts, as far as this process saw them end.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeMap<EndpointName, Ended>);

/// One endpoint's ended shifts.
#[derive(Debug, Default)]
struct Ended {
    promoted: u64,
    /// In the order of [`ROLLBACK_CAUSES`].
    rolled_back: [u64; ROLLBACK_CAUSES.len()],
    decision: Option<Duration>,
    last_green_dispatch: Option<Duration>,
}

impl Ends {
    /// Counts one.
    pub(super) fn count(&mut self, endpoint: &EndpointName, end: &ShiftEnd) {
        let ended = self.0.entry(endpoint.clone()).or_default();
        match end {
            ShiftEnd::Promoted => ended.promoted += 1,
            ShiftEnd::RolledBack { cause, decision, last_green_dispatch } => {
                for (name, count) in ROLLBACK_CAUSES.iter().zip(&mut ended.rolled_back) {
                    *count += u64::from(*name == cause.as_str());
                }
                ended.decision = decision.or(ended.decision);
                ended.last_green_dispatch = last_green_dispatch.or(ended.last_green_dispatch);
            }
        }
    }

    /// Writes those of the endpoints that the table has, from zero on, and forgets the others.
    pub(super) fn write(&mut self, text: &Exposition, table: &RouteTable) {
        self.0.retain(|endpoint, _| table.named(endpoint).is_some());
        let shifts = text.counters(&names::SHIFTS);
        let decision = text.gauges(&names::ROLLBACK_DECISION);
        let last_green_dispatch = text.gauges(&names::ROLLBACK_LAST_GREEN_DISPATCH);
        let none = Ended::default();
        for route in table.endpoints() {
            let endpoint = route.name.as_str();
            let ended = self.0.get(&route.name).unwrap_or(&none);
            shifts([endpoint, PROMOTED, NO_CAUSE], ended.promoted);
            for (cause, count) in ROLLBACK_CAUSES.into_iter().zip(ended.rolled_back) {
                shifts([endpoint, ROLLED_BACK, cause], count);
            }
            if let Some(span) = ended.decision {
                decision([endpoint], span.as_secs_f64());
            }
            if let Some(span) = ended.last_green_dispatch {
                last_green_dispatch([endpoint], span.as_secs_f64());
            }
        }
    }
}

/// Writes the running shifts and their alarms.
pub(super) fn write_running(text: &Exposition, table: &RouteTable, shifts: &[ShiftFigures]) {
    let state = text.gauges(&names::SHIFT_STATE);
    for route in table.endpoints() {
        let running = shifts.iter().find(|shift| shift.endpoint == route.name);
        let current = running.map_or(NO_SHIFT, |shift| shift.state);
        for name in SHIFT_STATES {
            state([route.name.as_str(), name], f64::from(name == current));
        }
    }
    let evidence = text.gauges(&names::ALARM_EVIDENCE);
    let threshold = text.gauges(&names::ALARM_THRESHOLD);
    let state = text.gauges(&names::ALARM_STATE);
    for shift in shifts {
        let endpoint = shift.endpoint.as_str();
        for alarm in &shift.alarms {
            evidence([endpoint, &alarm.name], alarm.ln_e);
            threshold([endpoint, &alarm.name], alarm.threshold);
        }
        let tests = shift.alarms.iter().map(|alarm| (alarm.name.as_str(), alarm.state));
        let thresholds = shift.thresholds.iter().map(|alarm| (alarm.threshold.name.as_str(), alarm.state));
        let externals = shift.externals.iter().map(|alarm| (alarm.external.name.as_str(), alarm.state));
        for (alarm, current) in tests.chain(thresholds).chain(externals) {
            for name in AlarmState::ALL {
                state([endpoint, alarm, name.as_str()], f64::from(name == current));
            }
        }
    }
}
