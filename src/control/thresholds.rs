//! Threshold alarms as the journal keeps them.

use serde::{Deserialize, Serialize};

use crate::alarm::{AlarmPlan, AlarmState, Datapoint, ThresholdEvidence};

/// A threshold alarm in a shift's report. Its rule is in the shift's plan, under the name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct ThresholdForm {
    name: String,
    state: String,
    range: Vec<Option<DatapointForm>>,
    breaching: usize,
    lacking: usize,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct DatapointForm {
    value: f64,
    samples: u64,
}

impl ThresholdForm {
    pub(super) fn of(evidence: &ThresholdEvidence) -> Self {
        let ThresholdEvidence { threshold, state, range, breaching, lacking } = evidence;
        let form = |point: &Option<Datapoint>| {
            point.map(|Datapoint { value, samples }| DatapointForm { value, samples })
        };
        Self {
            name: threshold.name.clone(),
            state: state.as_str().to_owned(),
            range: range.iter().map(form).collect(),
            breaching: *breaching,
            lacking: *lacking,
        }
    }

    /// `None` for one that the plan does not have.
    pub(super) fn view(self, plan: &AlarmPlan) -> Option<ThresholdEvidence> {
        let Self { name, state, range, breaching, lacking } = self;
        let threshold = plan.thresholds.iter().find(|threshold| threshold.name == name)?.clone();
        let state = AlarmState::parse(&state)?;
        let point = |form: Option<DatapointForm>| {
            form.map(|DatapointForm { value, samples }| Datapoint { value, samples })
        };
        let range = range.into_iter().map(point).collect();
        Some(ThresholdEvidence { threshold, state, range, breaching, lacking })
    }
}
