//! What the metrics know of shifts: the running ones as control shows them, and the ends of those that are over.

use std::{collections::BTreeMap, time::Duration};

use super::{
    collector::real,
    exposition::Exposition,
    names::{
        self, ANSWERED, FAILED, NO_CAUSE, NO_SHIFT, OPEN_RESULTS, PROMOTED, ROLLBACK_CAUSES, ROLLBACK_FAILED,
        ROLLED_BACK, SHIFT_STATES,
    },
};
use crate::{
    alarm::{AlarmEvidence, AlarmState, Budget, ExternalEvidence, ThresholdEvidence},
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
    /// The plan's budget of failures, if it has one.
    pub budget: Option<Budget>,
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
        /// How fast traffic followed, and at what price.
        aftermath: Aftermath,
    },
    /// What was left of both fleets is.
    RollbackFailed {
        /// Why it went back.
        cause: Cause,
    },
}

/// What came of a decision to go back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Aftermath {
    /// From the blue-only table's publishing to the last request dealt to green.
    pub last_green_dispatch: Option<Duration>,
    /// From there until nothing was in flight on green.
    pub drain: Option<Duration>,
    /// Requests that green had settled when the decision fell.
    pub green_responses: Option<u64>,
    /// Whether blue lacked instances or room, or had been idle for long, when it took everything back.
    pub is_blue_short: bool,
    /// Requests that green still had then: finished, rescued, failed, left by their clients, still running when green went, and cut by a
    /// restart.
    pub open: Option<[u64; 6]>,
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
    /// In the same order.
    rollback_failed: [u64; ROLLBACK_CAUSES.len()],
    decision: Option<Duration>,
    aftermath: Aftermath,
}

impl Ends {
    /// Counts one.
    pub(super) fn count(&mut self, endpoint: &EndpointName, end: &ShiftEnd) {
        let ended = self.0.entry(endpoint.clone()).or_default();
        match end {
            ShiftEnd::Promoted => ended.promoted += 1,
            ShiftEnd::RolledBack { cause, decision, aftermath } => {
                count(&mut ended.rolled_back, cause);
                ended.decision = decision.or(ended.decision);
                ended.aftermath = *aftermath;
            }
            ShiftEnd::RollbackFailed { cause } => count(&mut ended.rollback_failed, cause),
        }
    }

    /// Writes those of the endpoints that the table has, from zero on, and forgets the others.
    pub(super) fn write(&mut self, text: &Exposition, table: &RouteTable) {
        self.0.retain(|endpoint, _| table.named(endpoint).is_some());
        let shifts = text.counters(&names::SHIFTS);
        let decision = text.gauges(&names::ROLLBACK_DECISION);
        let aftermath = write_aftermath(text);
        let none = Ended::default();
        for route in table.endpoints() {
            let endpoint = route.name.as_str();
            let ended = self.0.get(&route.name).unwrap_or(&none);
            shifts([endpoint, PROMOTED, NO_CAUSE], ended.promoted);
            for (cause, count) in ROLLBACK_CAUSES.into_iter().zip(ended.rolled_back) {
                shifts([endpoint, ROLLED_BACK, cause], count);
            }
            for (cause, count) in ROLLBACK_CAUSES.into_iter().zip(ended.rollback_failed) {
                shifts([endpoint, ROLLBACK_FAILED, cause], count);
            }
            if let Some(span) = ended.decision {
                decision([endpoint], span.as_secs_f64());
            }
            aftermath(endpoint, &ended.aftermath);
        }
    }
}

/// Writes what came of each endpoint's last rollback, as far as it is known.
fn write_aftermath(text: &Exposition) -> impl Fn(&str, &Aftermath) {
    let last_green_dispatch = text.gauges(&names::ROLLBACK_LAST_GREEN_DISPATCH);
    let drained = text.gauges(&names::ROLLBACK_DRAIN);
    let responses = text.gauges(&names::ROLLBACK_GREEN_RESPONSES);
    let requests = text.gauges(&names::ROLLBACK_OPEN_REQUESTS);
    let short = text.gauges(&names::ROLLBACK_BLUE_SHORT);
    move |endpoint, aftermath| {
        let Aftermath { last_green_dispatch: late, drain, green_responses, is_blue_short, open } = *aftermath;
        short([endpoint], f64::from(is_blue_short));
        if let Some(span) = late {
            last_green_dispatch([endpoint], span.as_secs_f64());
        }
        if let Some(span) = drain {
            drained([endpoint], span.as_secs_f64());
        }
        if let Some(count) = green_responses {
            responses([endpoint], real(count));
        }
        for (result, count) in OPEN_RESULTS.into_iter().zip(open.into_iter().flatten()) {
            requests([endpoint, result], real(count));
        }
    }
}

fn count(counts: &mut [u64; ROLLBACK_CAUSES.len()], cause: &Cause) {
    for (name, count) in ROLLBACK_CAUSES.iter().zip(counts) {
        *count += u64::from(*name == cause.as_str());
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
    for shift in shifts {
        write_alarms(text, shift);
    }
}

/// What every kind of alarm has.
struct Shown<'a> {
    name: &'a str,
    state: AlarmState,
    nearness: f64,
    value: Option<f64>,
    bound: Option<f64>,
}

/// Series go with the shift, since each scrape writes those of running shifts alone.
fn write_alarms(text: &Exposition, shift: &ShiftFigures) {
    let evidence = text.gauges(&names::ALARM_EVIDENCE);
    let threshold = text.gauges(&names::ALARM_THRESHOLD);
    let state = text.gauges(&names::ALARM_STATE);
    let value = text.gauges(&names::ALARM_VALUE);
    let bound = text.gauges(&names::ALARM_BOUND);
    let nearness = text.gauges(&names::ALARM_NEARNESS);
    let polls = text.counters(&names::ALARM_POLLS);
    let endpoint = shift.endpoint.as_str();
    for alarm in &shift.alarms {
        evidence([endpoint, &alarm.name], alarm.ln_e);
        threshold([endpoint, &alarm.name], alarm.threshold);
    }
    for alarm in shift.externals.iter().filter(|alarm| alarm.external.poll.is_some()) {
        polls([endpoint, &alarm.external.name, ANSWERED], alarm.polls.answered);
        polls([endpoint, &alarm.external.name, FAILED], alarm.polls.failed);
    }
    for alarm in shift.shown() {
        let labels = [endpoint, alarm.name];
        for name in AlarmState::ALL {
            state([endpoint, alarm.name, name.as_str()], f64::from(name == alarm.state));
        }
        nearness(labels, alarm.nearness);
        if let Some(seen) = alarm.value {
            value(labels, seen);
        }
        if let Some(limit) = alarm.bound {
            bound(labels, limit);
        }
    }
}

impl ShiftFigures {
    fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        let tests = self.alarms.iter().map(|alarm| Shown {
            name: &alarm.name,
            state: alarm.state,
            nearness: alarm.nearness(),
            value: (alarm.requests > 0).then(|| real(alarm.failures) / real(alarm.requests)),
            bound: Some(alarm.rule.permitted()),
        });
        let thresholds = self.thresholds.iter().map(|alarm| Shown {
            name: &alarm.threshold.name,
            state: alarm.state,
            nearness: alarm.nearness(),
            value: alarm.newest().map(|newest| newest.value),
            bound: Some(alarm.threshold.bound.value()),
        });
        let externals = self.externals.iter().map(|alarm| Shown {
            name: &alarm.external.name,
            state: alarm.state,
            nearness: alarm.nearness(),
            value: alarm.measure().and_then(|(_, value)| value),
            bound: alarm.measure().map(|(query, _)| query.bound),
        });
        let budget = self.budget.iter().map(|budget| Shown {
            name: Budget::NAME,
            state: budget.state(),
            nearness: budget.nearness(),
            value: Some(real(budget.failures)),
            bound: Some(real(budget.max_failures)),
        });
        tests.chain(thresholds).chain(externals).chain(budget)
    }
}
