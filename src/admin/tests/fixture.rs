//! A shift as control would show it, and changes to it.

use std::time::Duration;

use crate::{
    alarm::{
        AlarmEvidence, AlarmState, Datapoint, ExternalEvidence, GuardBound, Polls, Rule, Source,
        ThresholdEvidence,
    },
    config::PlanSpec,
    control::{AlarmView, ExternalView, Lineage, Next, ShiftView, Traffic, TrafficWindow, Transition},
    meter::FailureKind,
    name::{EndpointName, ShiftId, Version},
    shift::State,
    store::Moments,
    time::WallTime,
    weight::Share,
};

/// Noon, and the moment at which every view is looked at.
pub(super) const NOW: WallTime = WallTime::from_millis(1_769_860_800_250);

/// So long after [`NOW`].
pub(super) fn later(seconds: i64) -> WallTime {
    WallTime::from_millis(NOW.as_millis() + seconds * 1_000)
}

/// Four steps to v2 under two guards and a budget.
pub(super) fn plan() -> PlanSpec {
    PlanSpec::from_json(&serde_json::json!({
        "green": {"version": "v2", "instances": ["127.0.0.1:9003"]},
        "strategy": {"type": "linear", "step": "25%", "bake": "2m", "final_bake": "5m"},
        "execution_timeout": "2h",
        "max_failures": 50,
        "guard": [
            {"name": "error_rate", "metric": "error_rate", "below": "1%"},
            {"name": "p99", "metric": "latency", "quantile": "p99", "below": "250ms"},
        ],
        "threshold": [
            {"name": "slow", "metric": "latency", "statistic": "p90", "above": "300ms", "period": "10s", "datapoints": "2 of 3"},
        ],
        "external": [{"name": "quality", "lease": "1m", "on_expiry": "alarm"}],
    }))
    .unwrap()
}

pub(super) fn error_rate() -> AlarmEvidence {
    AlarmEvidence {
        name: "error_rate".to_owned(),
        rule: Rule::Guard(GuardBound::ErrorRate { below: 0.01 }),
        state: AlarmState::Ok,
        requests: 804,
        failures: 2,
        recent_requests: 0,
        recent_failures: 0,
        ln_e: 1.23,
        threshold: f64::ln(2_000.0),
        missing: 0,
    }
}

pub(super) fn p99() -> AlarmEvidence {
    AlarmEvidence {
        name: "p99".to_owned(),
        rule: Rule::Guard(GuardBound::Latency { quantile: 0.99, below: Duration::from_millis(250) }),
        failures: 0,
        ln_e: -0.7,
        ..error_rate()
    }
}

/// The plan's threshold, a breach and a silent period behind it.
pub(super) fn threshold() -> ThresholdEvidence {
    ThresholdEvidence {
        threshold: plan().alarms.thresholds[0].clone(),
        state: AlarmState::Ok,
        range: vec![
            Some(Datapoint { value: 0.412, samples: 20 }),
            None,
            Some(Datapoint { value: 0.12, samples: 1 }),
        ],
        breaching: 1,
        lacking: 0,
    }
}

/// The plan's external alarm, reported ok.
pub(super) fn external() -> ExternalView {
    let evidence = ExternalEvidence {
        external: plan().alarms.externals[0].clone(),
        state: AlarmState::Ok,
        source: Source::Report("20 of 20 graded well".to_owned()),
        polls: Polls::default(),
    };
    ExternalView { evidence, lease_ends_at: Some(later(60)) }
}

/// One that a query answers, with a value of 3.2 where 5 is the bound, and a failure behind it.
pub(super) fn polled() -> ExternalView {
    let document = serde_json::json!({
        "green": {"version": "v2", "instances": ["127.0.0.1:9002"]},
        "strategy": {"type": "all_at_once", "final_bake": "5m"},
        "external": [{"name": "drift", "prometheus": {
            "url": "http://127.0.0.1:9090", "query": "drift{version=\"$green\"}", "above": 5, "datapoints": "2 of 3"
        }}],
    });
    let evidence = ExternalEvidence {
        external: PlanSpec::from_json(&document).unwrap().alarms.externals.remove(0),
        state: AlarmState::Ok,
        source: Source::Report("3.2 is not above 5".to_owned()),
        polls: Polls {
            answered: 12,
            failed: 1,
            failed_in_a_row: 1,
            last_failure: "no answer within 5s".to_owned(),
            alarming: 1,
            value: Some(3.2),
        },
    };
    ExternalView { evidence, lease_ends_at: Some(later(60)) }
}

pub(super) fn alarms(evidence: impl IntoIterator<Item = AlarmEvidence>) -> Vec<AlarmView> {
    evidence.into_iter().map(|evidence| AlarmView { nearness: evidence.nearness(), evidence }).collect()
}

/// Who brought the shift into a state, and why.
pub(super) fn transition(after: &str, actor: &str, cause: &str) -> Transition {
    Transition {
        at: NOW,
        before: "baking".to_owned(),
        after: after.to_owned(),
        share: Share::NONE,
        actor: actor.to_owned(),
        cause: cause.to_owned(),
    }
}

/// A healthy shift in this state.
pub(super) fn view(state: State) -> ShiftView {
    ShiftView {
        id: ShiftId::parse("chat-7").unwrap(),
        endpoint: EndpointName::parse("chat").unwrap(),
        actor: "team".to_owned(),
        blue_version: Version::parse("v1").unwrap(),
        plan: plan(),
        lineage: Lineage::default(),
        state,
        step: Some(1),
        share: Share::parse("50%").unwrap(),
        share_got: Some(0.4998),
        started_at: later(-300),
        moments: Moments::default(),
        decision: None,
        publish_to_last_green_dispatch: None,
        green_responses_to_decision: None,
        green_in_flight_at_decision: None,
        blue_short: None,
        fate: None,
        restarts: 0,
        thresholds: Vec::new(),
        externals: Vec::new(),
        safety: None,
        alarms: alarms([error_rate(), p99()]),
        blue: Traffic { requests: 2_000, succeeded: 2_000, in_flight: 1, ..Traffic::default() },
        green: Traffic {
            requests: 807,
            succeeded: 802,
            failed: 2,
            failures: vec![(FailureKind::ServerError, 2)],
            in_flight: 3,
            ..Traffic::default()
        },
        blue_recent: TrafficWindow::default(),
        green_recent: TrafficWindow { rate: 3.2, ..TrafficWindow::default() },
        held: None,
        held_until: None,
        next: Next { what: "step 3 of 4: 75% to green".to_owned(), at: Some(later(80)) },
        transitions: Vec::new(),
        findings: Vec::new(),
        forecast: None,
    }
}
